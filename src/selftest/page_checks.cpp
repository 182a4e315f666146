// SPDX-License-Identifier: BSD-3-Clause
#include "selftest/page_checks.hpp"

#include "base/explain.hpp"
#include "iommu/instance.hpp"

namespace iommufd::selftest {
namespace {

// Identities of a caller's pages, one after the other.
class PageKeys {
 public:
  // Of the pages that [start, start + length) touches; all at once when that works.
  PageKeys(mem::AddressSpace& memory, u64 start, u64 length) : memory_(memory), first_(start >> kPageShift) {
    const u64 count = ((start + length - 1) >> kPageShift) - first_ + 1;
    if (!memory_.populate(UserVa{first_ << kPageShift}, count, Access::kRead, runs_)) runs_.clear();
  }

  struct Page {
    mem::PageKey key;
    u64 page_size = kPageSize;
  };
  // Of the page that holds `va`. Pre: rising addresses. Errors: kFault.
  Result<Page> at(u64 va) {
    const u64 page = va >> kPageShift;
    if (runs_.empty()) return one(page);
    while (page - first_ >= runs_[run_].pages) first_ += runs_[run_++].pages;
    const mem::PageRun& run = runs_[run_];
    return Page{{run.first.space, run.first.index + (page - first_)}, run.page_size};
  }

 private:
  Result<Page> one(u64 page) {
    single_.clear();
    IOMMUFD_TRY(memory_.populate(UserVa{page << kPageShift}, 1, Access::kRead, single_));
    return Page{single_.front().first, single_.front().page_size};
  }

  mem::AddressSpace& memory_;
  u64 first_;
  std::vector<mem::PageRun> runs_, single_;
  std::size_t run_ = 0;
};

}  // namespace

Result<void> check_map(mem::PhysicalMemory& phys, mem::DmaEpoch& walker, const core::HwptPaging& hwpt, u64 iova,
                       u64 length, mem::AddressSpace& memory, u64 uptr) {
  constexpr const char* kSection = "selftest-abi 3.4";
  const iommu::Domain& domain = hwpt.domain();
  if (domain.owner().kind() != iommu::Kind::kMock)
    return reject(Errno::kInval, {"id", std::to_underlying(hwpt.id()), "must be a mock domain", kSection});
  const u64 step = domain.smallest_page();
  u64 end = 0;
  if (!is_aligned(iova | length | uptr, step) || __builtin_add_overflow(uptr, length, &end))
    return reject(Errno::kInval, {"iova", iova, "iova, length and uptr must be multiples of its page", kSection});
  if (length == 0) return {};
  PageKeys pages(memory, uptr, length);
  for (u64 done = 0; done < length; done += step) {
    const PageKeys::Page page = IOMMUFD_TRY(pages.at(uptr + done));
    const std::optional<PhysAddr> frame = phys.frame_of(page.key);
    const mem::DmaEpoch::Transaction walking(walker);
    const std::optional<pt::Translation> found = domain.lookup(Iova{iova + done});
    if (!frame || !found || found->pa != advance(*frame, (uptr + done) & kPageMask))
      return reject(Errno::kInval, {"iova", iova + done, "does not translate to the page at uptr", kSection});
  }
  return {};
}

Result<void> check_refs(mem::PhysicalMemory& phys, u64 length, mem::AddressSpace& memory, u64 uptr, u32 refs) {
  constexpr const char* kSection = "selftest-abi 3.5";
  u64 end = 0;
  if (!is_aligned(length | uptr, kPageSize) || __builtin_add_overflow(uptr, length, &end))
    return reject(Errno::kInval, {"uptr", uptr, "length and uptr must be multiples of a page", kSection});
  if (length == 0) return {};
  PageKeys pages(memory, uptr, length);
  for (u64 at = uptr; at != end; at += kPageSize) {
    const PageKeys::Page page = IOMMUFD_TRY(pages.at(at));
    if (page.page_size != kPageSize) continue;
    if (const u32 pins = phys.pins_of(page.key); pins != refs)
      return reject(Errno::kIo, {"refs", pins, "is how often the page is pinned", kSection});
  }
  return {};
}

Result<void> check_frames(mem::PhysicalMemory& phys, std::span<const PhysAddr> frames, mem::AddressSpace& memory,
                          u64 uptr) {
  if (frames.empty()) return {};
  PageKeys pages(memory, align_down(uptr, kPageSize), frames.size() * kPageSize);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const PageKeys::Page page = IOMMUFD_TRY(pages.at(align_down(uptr, kPageSize) + i * kPageSize));
    if (phys.frame_of(page.key) != frames[i])
      return reject(Errno::kBadE, {"uptr", uptr, "another page than the one at uptr is pinned", "selftest-abi 3.7"});
  }
  return {};
}

}  // namespace iommufd::selftest
