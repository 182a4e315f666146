// SPDX-License-Identifier: BSD-3-Clause
#include "base/packet.hpp"

#include <sys/socket.h>

#include <array>
#include <cstring>

#include "base/sys.hpp"

namespace iommufd {
namespace {

struct Ancillary {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> bytes{};
  void attach_to(msghdr& header) {
    header.msg_control = bytes.data();
    header.msg_controllen = bytes.size();
  }
};

}  // namespace

Result<void> send_packet_bytes(const Fd& socket, std::span<const std::byte> bytes, int fd, SendMode mode) {
  // sendmsg only reads it.
  iovec iov{const_cast<std::byte*>(bytes.data()), bytes.size()};
  Ancillary ancillary;
  msghdr header{};
  header.msg_iov = &iov;
  header.msg_iovlen = 1;
  if (fd >= 0) {
    ancillary.attach_to(header);
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &fd, sizeof(fd));
  }
  // SOCK_SEQPACKET: all of it or nothing.
  return sys::ok(::sendmsg(socket.get(), &header, MSG_NOSIGNAL | (mode == SendMode::kDontWait ? MSG_DONTWAIT : 0)));
}

Result<Fd> receive_packet_bytes(const Fd& socket, std::span<std::byte> bytes) {
  iovec iov{bytes.data(), bytes.size()};
  Ancillary ancillary;
  msghdr header{};
  header.msg_iov = &iov;
  header.msg_iovlen = 1;
  ancillary.attach_to(header);
  ssize_t n = 0;
  do {
    n = ::recvmsg(socket.get(), &header, MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  IOMMUFD_TRY(sys::ok(n));
  Fd received;
  const cmsghdr* c = CMSG_FIRSTHDR(&header);
  if (c != nullptr && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(c), sizeof(fd));
    received = Fd(fd);
  }
  if (n != static_cast<ssize_t>(bytes.size())) return Err(Errno::kIo);
  return received;
}

}  // namespace iommufd
