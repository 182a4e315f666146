// SPDX-License-Identifier: BSD-3-Clause
#include "ioctl/arguments.hpp"

#include <algorithm>
#include <array>

#include "base/assert.hpp"
#include "base/explain.hpp"

namespace iommufd::ioctl {

ArgumentBytes::ArgumentBytes(Call& call, UserVa at, std::size_t want) : call_(call), at_(at) {
  IOMMUFD_ASSERT(want <= kLargest);
  const std::size_t in_page = std::min<std::size_t>(want, kPageSize - at.page_offset());
  have_ = call_.memory()->read_some(at_, std::span(bytes_).first(in_page)).value_or(0);
}

// Makes the first `bytes` bytes available: a struct that straddles pages needs a second read.
Result<void> ArgumentBytes::need(std::size_t bytes) {
  if (have_ >= bytes) return {};
  IOMMUFD_TRY(call_.memory()->read(advance(at_, have_), std::span(bytes_).subspan(have_, bytes - have_)));
  have_ = bytes;
  return {};
}

Result<u32> ArgumentBytes::size() {
  IOMMUFD_TRY(need(sizeof(u32)));
  u32 size = 0;
  std::memcpy(&size, bytes_, sizeof size);
  return size;
}

Result<void> ArgumentBytes::copy(std::size_t user_size, std::span<std::byte> out) {
  // The tail is looked at first, upward: a set byte before an unreadable page is kTooBig.
  for (std::size_t at = out.size(); at < user_size;) {
    std::array<std::byte, 512> chunk;
    const std::size_t want = std::min(user_size - at, chunk.size());
    const std::size_t got = call_.memory()->read_some(advance(at_, at), std::span(chunk).first(want)).value_or(0);
    if (std::ranges::any_of(std::span(chunk).first(got), [](std::byte b) { return b != std::byte{0}; }))
      return reject(Errno::kTooBig, {"size", user_size, "bytes beyond the known struct must be 0", "iommufd-core 1.4"});
    if (got < want) return Err(Errno::kFault);
    at += got;
  }
  const std::size_t body = std::min(user_size, out.size());
  IOMMUFD_TRY(need(body));
  std::memcpy(out.data(), bytes_, body);
  std::ranges::fill(out.subspan(body), std::byte{0});
  return {};
}

}  // namespace iommufd::ioctl
