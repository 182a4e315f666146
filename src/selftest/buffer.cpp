// SPDX-License-Identifier: BSD-3-Clause
#include "selftest/buffer.hpp"

#include <algorithm>
#include <cstring>

#include "base/explain.hpp"

namespace iommufd::selftest {

Result<Ref<Buffer>> Buffer::create(u64 length) {
  const u64 size = align_down(length + kPageMask, kPageSize);
  if (size == 0 || size > kMaxPages * kPageSize)
    return reject(Errno::kInval, {"length", length, "must be 1 byte to 512 pages", "selftest-abi 3.19"});
  return Ref<Buffer>::adopt(new Buffer(IOMMUFD_TRY(sys::Mapping::anonymous(size))));
}

Result<std::size_t> Buffer::read_some(UserVa from, std::span<std::byte> buf) {
  const std::size_t n = from.raw() >= size() ? 0 : std::min<u64>(buf.size(), size() - from.raw());
  if (n != 0) std::memcpy(buf.data(), direct(from), n);
  return n;
}

Result<std::size_t> Buffer::write_some(UserVa to, std::span<const std::byte> buf) {
  const std::size_t n = to.raw() >= size() ? 0 : std::min<u64>(buf.size(), size() - to.raw());
  if (n != 0) std::memcpy(direct(to), buf.data(), n);
  return n;
}

// Part of one huge page, so that the frames are contiguous.
Result<void> Buffer::populate(UserVa page, u64 count, Access, std::vector<mem::PageRun>& out) {
  constexpr u64 kHugePage = u64{2} << 20;
  static_assert(kMaxPages * kPageSize <= kHugePage);
  out.push_back({mem::PageKey{id(), page.raw() >> kPageShift}, count, kHugePage});
  return {};
}

}  // namespace iommufd::selftest
