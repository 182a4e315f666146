// SPDX-License-Identifier: BSD-3-Clause
#include "iova/allocate.hpp"

#include <algorithm>
#include <bit>

namespace iommufd::iova::detail {
namespace {
constexpr u64 kHugeCap = u64{1} << 21;  // x86-64 with transparent huge pages
constexpr u64 kTooLong = 0x7fff'ffff'ffff'ffff;
}  // namespace

Result<u64> choose_alignment(const AllocRequest& request) {
  if (request.length >= kTooLong) return Err(Errno::kOverflow);
  u64 align = std::bit_ceil(request.length);
  if (request.hint != 0) align = std::min(align, request.hint & (~request.hint + 1));
  align = std::min(align, kHugeCap);
  if (align < request.alignment) return Err(Errno::kInval);
  return align;
}

bool place(u64 base, u64 last, u64 align, u64 offset, u64 length, u64& result) {
  u64 up = 0;
  if (__builtin_add_overflow(base, align - 1, &up)) return false;
  up = (up & ~(align - 1)) | offset;
  if (up >= last || last - up < length - 1) return false;
  result = up;
  return true;
}

}  // namespace iommufd::iova::detail
