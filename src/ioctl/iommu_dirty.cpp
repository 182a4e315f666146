// SPDX-License-Identifier: BSD-3-Clause
// Dirty tracking of hardware page tables (spec iommufd-core A.2, A.3; iommufd-hwpt 6, 7).
#include <algorithm>
#include <array>
#include <bit>

#include "base/explain.hpp"
#include "core/hwpt.hpp"
#include "core/ioas.hpp"
#include "ioctl/iommu_commands.hpp"

namespace iommufd::ioctl {
namespace {

Result<core::Use<core::HwptPaging>> find_hwpt(core::Context& ctx, u32 id) {
  Result<core::Use<core::HwptPaging>> hwpt = ctx.get<core::HwptPaging>(ObjectId{id});
  if (!hwpt) return reject(Errno::kNoEnt, {"hwpt_id", id, "must be a paging HWPT", "iommufd-core 1.7"});
  return hwpt;
}

// A stretch of the caller's bitmap. The walk sets bits here, with locks held; or_into() carries them over, without.
class BitmapWindow final : public pt::DirtySink {
 public:
  static constexpr u64 kBytes = kPageSize;
  static constexpr u64 kBits = kBytes * 8;

  // Bit 0 is [start, start + 2^granule_lg2).
  BitmapWindow(u64 start, unsigned granule_lg2) : start_(start), granule_lg2_(granule_lg2) {}

  void dirty(Iova iova, u64 length) override {
    const u64 first = (iova.raw() - start_) >> granule_lg2_;
    const u64 last = (iova.raw() + (length - 1) - start_) >> granule_lg2_;
    for (u64 bit = first; bit <= last; ++bit) bytes_[bit / 8] |= static_cast<std::byte>(1u << (bit % 8));
  }

  // Sets the bits in the bitmap that begins at `at`, in whatever part of it can be written; other bits stay.
  void or_into(mem::AddressSpace& memory, UserVa at) const {
    for (u64 done = 0; done < kBytes;) {
      const u64 in_page = std::min(kBytes - done, kPageSize - (at.raw() + done) % kPageSize);
      or_piece(memory, UserVa{at.raw() + done}, std::span(bytes_).subspan(done, in_page));
      done += in_page;
    }
  }

 private:
  // Touches only what lies between the first and the last byte with a bit.
  static void or_piece(mem::AddressSpace& memory, UserVa at, std::span<const std::byte> bits) {
    const auto set = [](std::byte b) { return b != std::byte{0}; };
    const auto first = std::ranges::find_if(bits, set);
    if (first == bits.end()) return;
    const std::size_t skip = static_cast<std::size_t>(first - bits.begin());
    std::size_t end = bits.size();
    while (!set(bits[end - 1])) --end;
    const std::span<const std::byte> part = bits.subspan(skip, end - skip);
    std::array<std::byte, kBytes> user;
    const std::span<std::byte> merged = std::span(user).first(part.size());
    const UserVa to{at.raw() + skip};
    if (!memory.read(to, merged)) return;
    std::ranges::transform(merged, part, merged.begin(), std::bit_or<>{});
    // Bits that cannot be written are lost, and the answer is success (A.3, quirk Q3).
    static_cast<void>(memory.write(to, merged));
  }

  const u64 start_;
  const unsigned granule_lg2_;
  std::array<std::byte, kBytes> bytes_{};
};

// Walks [first, last] stretch by stretch, up to the first hole.
void read_bitmap(core::HwptPaging& hwpt, mem::AddressSpace& memory, const abi::HwptGetDirtyBitmap& cmd, u64 last) {
  const auto mode =
      (cmd.flags & abi::HwptGetDirtyBitmap::kNoClear) != 0 ? pt::DirtyMode::kReadOnly : pt::DirtyMode::kReadAndClear;
  const unsigned granule_lg2 = static_cast<unsigned>(std::countr_zero(cmd.page_size));
  for (u64 at = cmd.iova, bitmap = cmd.data;; bitmap += BitmapWindow::kBytes) {
    BitmapWindow window(at, granule_lg2);
    const u64 left = last - at;
    const bool is_last = left >> granule_lg2 < BitmapWindow::kBits;
    const u64 end = is_last ? last : at + ((BitmapWindow::kBits << granule_lg2) - 1);
    const core::Ioas::Walk walk = hwpt.ioas().read_dirty(hwpt.domain(), at, end, mode, window);
    window.or_into(memory, UserVa{bitmap});
    if (is_last || walk == core::Ioas::Walk::kHole) return;
    at = end + 1;
  }
}

}  // namespace

Result<void> hwpt_set_dirty_tracking(core::Context& ctx, Arguments<abi::HwptSetDirtyTracking>& a) {
  if ((a.cmd.flags & ~abi::HwptSetDirtyTracking::kAllFlags) != 0)
    return reject(Errno::kOpNotSupp, {"flags", a.cmd.flags, "unknown bits", "iommufd-core A.2"});
  const core::Use<core::HwptPaging> hwpt = IOMMUFD_TRY(find_hwpt(ctx, a.cmd.hwpt_id));
  if (!hwpt->domain().can_track_dirty())
    return reject(Errno::kOpNotSupp,
                  {"hwpt_id", a.cmd.hwpt_id, "the HWPT was not made with DIRTY_TRACKING", "iommufd-core A.2"});
  const bool enable = (a.cmd.flags & abi::HwptSetDirtyTracking::kEnable) != 0;
  hwpt->ioas().set_dirty_tracking(hwpt->domain(), enable ? iommu::DirtyTracking::kOn : iommu::DirtyTracking::kOff);
  return {};
}

Result<void> hwpt_get_dirty_bitmap(core::Context& ctx, Arguments<abi::HwptGetDirtyBitmap>& a) {
  const abi::HwptGetDirtyBitmap& cmd = a.cmd;
  if ((cmd.flags & ~abi::HwptGetDirtyBitmap::kAllFlags) != 0 || cmd.reserved != 0)
    return reject(Errno::kOpNotSupp,
                  {"flags", cmd.flags, "unknown bits, or __reserved is not 0", "iommufd-core A.3 row 1"});
  const core::Use<core::HwptPaging> hwpt = IOMMUFD_TRY(find_hwpt(ctx, cmd.hwpt_id));
  u64 last = 0;
  if (__builtin_add_overflow(cmd.iova, cmd.length - 1, &last))
    return reject(Errno::kOverflow, {"length", cmd.length, "iova + length wraps", "iommufd-core A.3 row 3"});
  const u64 alignment = hwpt->ioas().iova_ranges().alignment;
  if (!is_aligned(cmd.iova, alignment) || !is_aligned(last + 1, alignment))
    return reject(Errno::kInval,
                  {"iova", cmd.iova, "the range must be aligned to the IOVA alignment", "iommufd-core A.3 row 4"});
  if (cmd.page_size == 0) return reject(Errno::kInval, {"page_size", 0, "must not be 0", "iommufd-core A.3 row 5"});
  if (!is_aligned(cmd.iova, cmd.page_size) || !is_aligned(last + 1, cmd.page_size))
    return reject(Errno::kInval,
                  {"page_size", cmd.page_size, "the range must be a multiple of it", "iommufd-core A.3 row 6"});
  if (!hwpt->domain().can_track_dirty())
    return reject(Errno::kOpNotSupp,
                  {"hwpt_id", cmd.hwpt_id, "the HWPT was not made with DIRTY_TRACKING", "iommufd-core A.3 row 7"});
  read_bitmap(*hwpt, *a.call().memory(), cmd, last);
  return {};
}

}  // namespace iommufd::ioctl
