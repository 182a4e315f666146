// SPDX-License-Identifier: BSD-3-Clause
#include "mem/physical_memory.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/assert.hpp"
#include "base/rollback.hpp"

namespace iommufd::mem {
namespace {

constexpr u64 kMiB = u64{1} << 20;
constexpr u64 kGiB = u64{1} << 30;
// PC-like: RAM up to 3 GiB, then MMIO and the MSI window up to 4 GiB, then RAM again.
constexpr u64 kHoleStart = 3 * kGiB;
constexpr u64 kHoleEnd = 4 * kGiB;
constexpr u64 kLowest = kMiB;  // below: frame 0 and what PCs keep there
constexpr u64 kMaxEnd = u64{1} << 46;
constexpr u64 kShortMaskEnd = 256 * kMiB;   // devices with 28-bit masks: this RAM is used first
constexpr std::size_t kIdleFrames = 16384;  // unpinned frames that keep their page before they are reused

}  // namespace

Result<std::unique_ptr<PhysicalMemory>> PhysicalMemory::create(const PhysPolicy& policy) {
  const u64 start = std::max((policy.base + 2 * kMiB - 1) & ~(2 * kMiB - 1), kLowest);
  u64 end = 0;
  if (__builtin_add_overflow(policy.base, policy.size, &end) || end > kMaxEnd) return Err(Errno::kInval);
  end &= ~(2 * kMiB - 1);
  const bool simulated = policy.kind != PhysPolicy::Kind::kReal;
  const auto usable = [&](u64 lo, u64 hi) { return std::max(start, lo) < std::min(end, hi); };
  if (simulated && !usable(kLowest, kHoleStart) && !usable(kHoleEnd, kMaxEnd)) return Err(Errno::kInval);
  const u64 slots = div_round_up(std::max(end, kHoleEnd) >> kPageShift, kChunkFrames);
  sys::Mapping table = IOMMUFD_TRY(sys::Mapping::anonymous(slots * sizeof(std::atomic<Chunk*>)));
  std::unique_ptr<PhysicalMemory> memory(new PhysicalMemory(policy, std::move(table)));
  if (simulated) {
    const MutexLock lock(memory->mu_);
    for (const auto& [lo, hi] : {std::pair{kLowest, kShortMaskEnd}, {kShortMaskEnd, kHoleStart}, {kHoleEnd, kMaxEnd}})
      if (usable(lo, hi)) memory->add_zones(std::max(start, lo), std::min(end, hi));
  }
  return memory;
}

PhysicalMemory::PhysicalMemory(const PhysPolicy& policy, sys::Mapping chunk_table)
    : policy_(policy), chunk_table_(std::move(chunk_table)) {}

PhysicalMemory::~PhysicalMemory() {
  const std::size_t slots = chunk_table_.bytes().size() / sizeof(std::atomic<Chunk*>);
  for (std::size_t i = 0; i < slots; ++i) delete chunks()[i].load(std::memory_order_relaxed);
}

// Small pages from the lower half, huge pages from the upper half, so that neither eats the other's contiguity.
void PhysicalMemory::add_zones(u64 start, u64 end) {
  const u64 middle = align_down(start + (end - start) / 2, 2 * kMiB);
  const auto make = [](u64 lo, u64 hi, u64 unit) {
    Zone z;
    z.first = lo >> kPageShift;
    z.unit = unit;
    z.frames = ((hi - lo) >> kPageShift) / unit;
    z.bits = static_cast<unsigned>(std::bit_width(z.frames));
    return z;
  };
  if (middle > start) small_.push_back(make(start, middle, 1));
  const u64 huge_start = align_down(middle + 2 * kMiB - 1, 2 * kMiB);
  if (end > huge_start) huge_.push_back(make(huge_start, end, kChunkFrames));
}

std::atomic<PhysicalMemory::Chunk*>* PhysicalMemory::chunks() const {
  return reinterpret_cast<std::atomic<Chunk*>*>(chunk_table_.bytes().data());
}

PhysicalMemory::Frame* PhysicalMemory::find_frame(u64 frame) const {
  const u64 slot = frame / kChunkFrames;
  if (slot >= chunk_table_.bytes().size() / sizeof(std::atomic<Chunk*>)) return nullptr;
  Chunk* chunk = chunks()[slot].load(std::memory_order_acquire);
  return chunk == nullptr ? nullptr : &chunk->frames[frame % kChunkFrames];
}

PhysicalMemory::Frame& PhysicalMemory::frame_at_locked(u64 frame) {
  std::atomic<Chunk*>& slot = chunks()[frame / kChunkFrames];
  Chunk* chunk = slot.load(std::memory_order_relaxed);
  if (chunk == nullptr) {
    chunk = new Chunk;
    slot.store(chunk, std::memory_order_release);
  }
  return chunk->frames[frame % kChunkFrames];
}

// A bijection of [0, 2^bits): odd multiplications and xor-shifts, walked again when it leaves the zone.
u64 PhysicalMemory::permute(const Zone& zone, u64 position) const {
  if (policy_.kind == PhysPolicy::Kind::kContiguous) return position;
  const u64 mask = (u64{1} << zone.bits) - 1;
  const unsigned half = std::max(1u, zone.bits / 2);
  u64 x = position;
  do {
    for (u64 round = 0; round < 3; ++round) {
      x = (x * ((policy_.seed * 0x9e3779b97f4a7c15u + round * 0xbf58476d1ce4e5b9u) | 1) + policy_.seed + round) & mask;
      x ^= x >> half;
    }
  } while (x >= zone.frames);
  return x;
}

void PhysicalMemory::push_locked(Queue& queue, u64 frame) {
  Frame& f = *find_frame(frame);
  if (f.queued) return;  // it was pinned and unpinned again while it waited
  f.queued = true;
  f.next = 0;
  if (queue.size++ == 0) {
    queue.first = frame;
  } else {
    find_frame(queue.last)->next = frame;
  }
  queue.last = frame;
}

u64 PhysicalMemory::pop_locked(Queue& queue) {
  const u64 frame = queue.first;
  Frame& f = *find_frame(frame);
  f.queued = false;
  queue.first = f.next;
  --queue.size;
  return frame;
}

// The state of the frame (of all frames of its unit) is there afterwards.
Result<u64> PhysicalMemory::take_fresh_locked(std::deque<Zone>& zones) {
  for (Zone& zone : zones) {
    if (zone.next == zone.frames) continue;
    const u64 frame = zone.first + permute(zone, zone.next) * zone.unit;
    (void)frame_at_locked(frame);
    ++zone.next;
    return frame;
  }
  return Err(Errno::kNoMem);
}

bool PhysicalMemory::adjacent_locked(u64 frame) const {
  return policy_.kind == PhysPolicy::Kind::kFragmented && frame == last_frame_ + 1;
}

// The frame that has been idle longest; its old page loses it.
Result<u64> PhysicalMemory::take_idle_locked() {
  for (u64 tries = idle_.size; tries > 0; --tries) {
    const u64 number = pop_locked(idle_);
    Frame& f = *find_frame(number);
    if (f.pins != 0 || f.held != 0 || f.key.space == 0) continue;
    if (adjacent_locked(number) && tries > 1) {
      push_locked(idle_, number);
      continue;
    }
    by_key_.erase(f.key);
    f.key = {};
    return number;
  }
  return Err(Errno::kNoMem);
}

// Idle frames are used again once enough of them wait, or when nothing fresh is left.
Result<u64> PhysicalMemory::take_small_locked() {
  if (passed_over_.size != 0 && !adjacent_locked(passed_over_.first)) return pop_locked(passed_over_);
  if (idle_.size > kIdleFrames)
    if (const Result<u64> idle = take_idle_locked()) return idle;
  Result<u64> fresh = take_fresh_locked(small_);
  while (fresh && adjacent_locked(*fresh)) {
    push_locked(passed_over_, *fresh);
    fresh = take_fresh_locked(small_);
  }
  if (fresh) return fresh;
  return take_idle_locked();
}

Result<u64> PhysicalMemory::frame_of_locked(const PageKey& key, u64 page_size) {
  if (const auto it = by_key_.find(key); it != by_key_.end()) return it->second;
  if (page_size >= 2 * kMiB) {
    if (const Result<u64> block = take_fresh_locked(huge_)) {
      const u64 first_index = key.index & ~(kChunkFrames - 1);
      for (u64 i = 0; i < kChunkFrames; ++i) {
        const PageKey k{key.space, first_index + i};
        if (!by_key_.emplace(k, *block + i).second) continue;  // pinned before it became huge: it keeps its frame
        frame_at_locked(*block + i).key = k;
      }
      return by_key_.at(key);
    }
  }
  const auto entry = by_key_.emplace(key, 0).first;
  Rollback forget{[&]() IOMMUFD_REQUIRES(mu_) { by_key_.erase(entry); }};
  const u64 number = IOMMUFD_TRY(take_small_locked());
  forget.commit();
  entry->second = number;
  find_frame(number)->key = key;
  last_frame_ = number;
  return number;
}

Result<u64> PhysicalMemory::frame_on_bus_locked(PhysAddr address) {
  const u64 number = address.raw() >> kPageShift;
  if (number / kChunkFrames >= chunk_table_.bytes().size() / sizeof(std::atomic<Chunk*>)) return Err(Errno::kNoMem);
  frame_at_locked(number).of_device = true;
  return number;
}

void PhysicalMemory::pin_frame_locked(Frame& f, AddressSpace& space, UserVa va) {
  // With a home it was unpinned a moment ago and not yet released; it is the same page, so the old way to it still holds.
  if (f.home == nullptr) {
    Home& home = homes_.try_emplace(&space, Home{Ref<AddressSpace>(space), 0}).first->second;
    ++home.frames;
    f.home = &home;
    f.va.store(va.raw(), std::memory_order_relaxed);
    f.direct.store(space.direct(va), std::memory_order_relaxed);
  }
  if (f.pins++ != 0) return;
  pinned_.fetch_add(1, std::memory_order_relaxed);
  f.space.store(f.home->space.get(), std::memory_order_release);
}

Result<void> PhysicalMemory::pin(AddressSpace& space, UserVa va, const PageRun& run, std::span<PhysAddr> out) {
  IOMMUFD_ASSERT(out.size() == run.pages);
  std::size_t done = 0;
  Rollback undo{[&] { unpin_and_release(out.first(done)); }};
  {
    const MutexLock lock(mu_);
    for (; done < out.size(); ++done) {
      const PageKey key{run.first.space, run.first.index + done};
      const Result<u64> frame = run.on_bus ? frame_on_bus_locked(advance(*run.on_bus, done * kPageSize))
                                           : frame_of_locked(key, run.page_size);
      if (!frame) break;
      pin_frame_locked(*find_frame(*frame), space, advance(va, done * kPageSize));
      out[done] = PhysAddr{*frame << kPageShift};
    }
  }
  if (done != out.size()) return Err(Errno::kNoMem);
  undo.commit();
  return {};
}

Result<void> PhysicalMemory::publish(AddressSpace& space, UserVa va, const PageRun& run, std::span<PhysAddr> out) {
  IOMMUFD_ASSERT(out.size() == run.pages);
  const MutexLock lock(mu_);
  for (u64 i = 0; i < run.pages; ++i) {
    const u64 frame = IOMMUFD_TRY(run.on_bus ? frame_on_bus_locked(advance(*run.on_bus, i * kPageSize))
                                             : frame_of_locked({run.first.space, run.first.index + i}, run.page_size));
    Frame& f = *find_frame(frame);
    if (!std::exchange(f.published, true)) pin_frame_locked(f, space, advance(va, i * kPageSize));
    out[i] = PhysAddr{frame << kPageShift};
  }
  return {};
}

void PhysicalMemory::unpin_locked(std::span<const PhysAddr> frames) {
  for (const PhysAddr pa : frames) {
    Frame& f = *find_frame(pa.raw() >> kPageShift);
    IOMMUFD_ASSERT(f.pins != 0);
    ++f.held;
    if (--f.pins != 0) continue;
    f.space.store(nullptr, std::memory_order_release);
    pinned_.fetch_sub(1, std::memory_order_relaxed);
  }
}

std::size_t PhysicalMemory::release_locked(std::span<const PhysAddr> frames, Ref<AddressSpace>& gone) {
  std::size_t done = 0;
  while (done < frames.size() && !gone) {
    const u64 number = frames[done++].raw() >> kPageShift;
    Frame& f = *find_frame(number);
    IOMMUFD_ASSERT(f.held != 0);
    if (--f.held != 0 || f.pins != 0) continue;
    Home* home = std::exchange(f.home, nullptr);
    if (--home->frames == 0) gone = std::move(homes_.extract(home->space.get()).mapped().space);
    if (!f.of_device) push_locked(idle_, number);
  }
  return done;
}

void PhysicalMemory::unpin_and_release(std::span<const PhysAddr> frames) {
  if (frames.empty()) return;
  Ref<AddressSpace> gone;  // dropped without the lock
  std::size_t done = 0;
  bool quiet = false;
  {
    const MutexLock lock(mu_);
    unpin_locked(frames);
    quiet = barrier_.quiet();
    if (quiet) done = release_locked(frames, gone);
  }
  if (!quiet) barrier_.wait();
  while (done < frames.size()) {
    gone = nullptr;
    const MutexLock lock(mu_);
    done += release_locked(frames.subspan(done), gone);
  }
}

std::optional<PhysAddr> PhysicalMemory::frame_of(const PageKey& key) {
  const MutexLock lock(mu_);
  const auto it = by_key_.find(key);
  if (it == by_key_.end()) return std::nullopt;
  return PhysAddr{it->second << kPageShift};
}

u32 PhysicalMemory::pins_of(const PageKey& key) {
  const MutexLock lock(mu_);
  const auto it = by_key_.find(key);
  return it == by_key_.end() ? 0 : find_frame(it->second)->pins;
}

PhysicalMemory::Location PhysicalMemory::resolve(PhysAddr pa) const {
  const Frame* f = find_frame(pa.raw() >> kPageShift);
  if (f == nullptr) return {};
  AddressSpace* space = f->space.load(std::memory_order_acquire);
  if (space == nullptr) return {};
  const u64 offset = pa.page_offset();
  std::byte* direct = f->direct.load(std::memory_order_relaxed);
  return {space, UserVa{f->va.load(std::memory_order_relaxed) + offset}, direct == nullptr ? nullptr : direct + offset};
}

}  // namespace iommufd::mem
