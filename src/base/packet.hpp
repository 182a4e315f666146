// SPDX-License-Identifier: BSD-3-Clause
// Packets of one size over Unix sockets (SOCK_SEQPACKET), each with a descriptor or none. Nothing here allocates or locks: a
// child that was forked and has not executed yet uses it too.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "base/types.hpp"

namespace iommufd {

enum class SendMode : u8 { kWait, kDontWait };

Result<void> send_packet_bytes(const Fd& socket, std::span<const std::byte> bytes, int fd, SendMode mode);
Result<Fd> receive_packet_bytes(const Fd& socket, std::span<std::byte> bytes);

// `fd` goes along when it is >= 0; it stays the caller's. Errors: those of sendmsg.
template <class T>
  requires std::is_trivially_copyable_v<T>
Result<void> send_packet(const Fd& socket, const T& packet, int fd = -1, SendMode mode = SendMode::kWait) {
  return send_packet_bytes(socket, std::as_bytes(std::span(&packet, 1)), fd, mode);
}

// Fills `packet`; gives the descriptor that came along, or none. Errors: those of recvmsg; kIo when the other end is gone or
// the packet has another size.
template <class T>
  requires std::is_trivially_copyable_v<T>
Result<Fd> receive_packet(const Fd& socket, T& packet) {
  return receive_packet_bytes(socket, std::as_writable_bytes(std::span(&packet, 1)));
}

}  // namespace iommufd
