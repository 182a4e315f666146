// SPDX-License-Identifier: BSD-3-Clause
#include "run/control.hpp"

#include <sys/socket.h>

#include <array>

#include "base/packet.hpp"
#include "base/sys.hpp"

namespace iommufd::run {

Result<ControlPair> ControlPair::create() {
  std::array<int, 2> fds{};
  IOMMUFD_TRY(sys::ok(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds.data())));
  return ControlPair{Fd(fds[0]), Fd(fds[1])};
}

Result<void> send_control(const Fd& socket, ControlMessage message, int fd) { return send_packet(socket, message, fd); }

std::optional<ReceivedControl> receive_control(const Fd& socket) {
  ReceivedControl out;
  Result<Fd> fd = receive_packet(socket, out.message);
  if (!fd) return {};
  out.fd = *std::move(fd);
  return out;
}

}  // namespace iommufd::run
