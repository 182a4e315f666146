// SPDX-License-Identifier: BSD-3-Clause
#include "pt/table_pages.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "base/assert.hpp"
#include "base/fault_point.hpp"
#include "base/sys.hpp"

namespace iommufd::pt {

namespace {
// Pages that are committed together: their links fill one host page.
constexpr u32 kChunkPages = kPageSize / sizeof(u32);
constexpr u64 kChunkBytes = kChunkPages * kPageSize;
constexpr u64 kMaxSize = u64{TablePageList::kNone / kChunkPages} * kChunkBytes;

constexpr unsigned kPhysBits = 52;  // of a table address in every format

constexpr u64 link_bytes(u64 size) { return (size >> kPageShift) * sizeof(u32); }

Result<void> make_writable(void* start, u64 bytes) {
  if (mprotect(start, bytes, PROT_READ | PROT_WRITE) != 0) return Err(Errno::kNoMem);
  return {};
}
}  // namespace

Result<std::unique_ptr<TableArena>> TableArena::create(const Config& config) {
  if (config.base.page_offset() != 0 || config.size == 0 || config.size > kMaxSize) return Err(Errno::kInval);
  const std::optional<PhysAddr> last = checked_add(config.base, config.size - 1);
  if (!is_aligned(config.size, kChunkBytes) || !last || last->raw() >> kPhysBits != 0) return Err(Errno::kInval);
  // Address space only: nothing is committed, whatever the overcommit policy of the host.
  void* memory = mmap(nullptr, config.size + link_bytes(config.size), PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return Err(sys::last_errno());
  return std::unique_ptr<TableArena>(new TableArena(config, static_cast<std::byte*>(memory)));
}

TableArena::TableArena(const Config& config, std::byte* memory)
    : base_(config.base),
      size_(config.size),
      reuse_(config.reuse),
      memory_(memory),
      links_(reinterpret_cast<u32*>(memory + config.size)),
      items_(reinterpret_cast<u64>(memory) - config.base.raw()) {}

TableArena::~TableArena() {
  IOMMUFD_ASSERT(pages_in_use() == 0);  // a table, or a Gather, outlived its arena
  munmap(memory_, size_ + link_bytes(size_));
}

u32 TableArena::index_of(PhysAddr page) const {
  const u64 index = offset_from(page, base_) >> kPageShift;
  IOMMUFD_ASSERT(page >= base_ && index < size_ >> kPageShift);
  return static_cast<u32>(index);
}

Result<void> TableArena::commit_locked() {
  if (u64{committed_} << kPageShift == size_) return Err(Errno::kNoMem);
  IOMMUFD_TRY(make_writable(memory_ + (u64{committed_} << kPageShift), kChunkBytes));
  IOMMUFD_TRY(make_writable(links_ + committed_, kChunkPages * sizeof(u32)));
  committed_ += kChunkPages;
  return {};
}

Result<PhysAddr> TableArena::allocate() {
  IOMMUFD_TRY(fault::point(Errno::kNoMem));
  u32 index = 0;
  {
    const MutexLock lock(mu_);
    const bool fresh_left = u64{fresh_} << kPageShift != size_;
    const bool reuse = free_.count != 0 && (reuse_ == Reuse::kNewestFirst || !fresh_left);
    if (!reuse) {
      if (fresh_ == committed_) IOMMUFD_TRY(commit_locked());
      in_use_.fetch_add(1, std::memory_order_relaxed);
      return page_at(fresh_++);  // the host's pages are zero
    }
    index = free_.first;
    free_.first = links_[index];
    if (--free_.count == 0) free_ = {};
  }
  in_use_.fetch_add(1, std::memory_order_relaxed);
  const PhysAddr page = page_at(index);
  std::memset(items(page), 0, kPageSize);
  return page;
}

void TableArena::push(TablePageList& pages, PhysAddr page) {
  const u32 index = index_of(page);
  links_[index] = pages.first;
  if (pages.count++ == 0) pages.last = index;
  pages.first = index;
}

void TableArena::append(TablePageList& pages, TablePageList& from) {
  if (from.count == 0) return;
  links_[from.last] = pages.first;
  pages.first = from.first;
  if (pages.count == 0) pages.last = from.last;
  pages.count += from.count;
  from = {};
}

void TableArena::free(TablePageList& pages) {
  if (pages.count == 0) return;
  in_use_.fetch_sub(pages.count, std::memory_order_relaxed);
  const MutexLock lock(mu_);
  append(free_, pages);
}

void TableArena::free(PhysAddr page) {
  TablePageList one;
  push(one, page);
  free(one);
}

Gather::~Gather() { IOMMUFD_ASSERT(tables() == 0); }

void Gather::free() {
  arena_.free(pages_);
  range_ = {~u64{0}, 0};
}

}  // namespace iommufd::pt
