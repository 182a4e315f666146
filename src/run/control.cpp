// SPDX-License-Identifier: BSD-3-Clause
#include "run/control.hpp"

#include <sys/socket.h>

#include <array>
#include <cstring>

#include "base/sys.hpp"

namespace iommufd::run {

Result<ControlPair> ControlPair::create() {
  std::array<int, 2> fds{};
  IOMMUFD_TRY(sys::ok(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds.data())));
  return ControlPair{Fd(fds[0]), Fd(fds[1])};
}

Result<void> send_control(const Fd& socket, ControlMessage message, int fd) {
  iovec iov{&message, sizeof(message)};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> ancillary{};
  msghdr header{};
  header.msg_iov = &iov;
  header.msg_iovlen = 1;
  if (fd >= 0) {
    header.msg_control = ancillary.data();
    header.msg_controllen = ancillary.size();
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &fd, sizeof(fd));
  }
  if (::sendmsg(socket.get(), &header, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof(message))) return Err(Errno::kIo);
  return {};
}

std::optional<ReceivedControl> receive_control(const Fd& socket) {
  ReceivedControl out;
  iovec iov{&out.message, sizeof(out.message)};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> ancillary{};
  msghdr header{};
  header.msg_iov = &iov;
  header.msg_iovlen = 1;
  header.msg_control = ancillary.data();
  header.msg_controllen = ancillary.size();
  ssize_t n = 0;
  do {
    n = ::recvmsg(socket.get(), &header, MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  if (n != static_cast<ssize_t>(sizeof(out.message))) return {};
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(c), sizeof(fd));
    out.fd = Fd(fd);
  }
  return out;
}

}  // namespace iommufd::run
