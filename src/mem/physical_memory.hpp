// SPDX-License-Identifier: BSD-3-Clause
// The simulated physical memory: which frame a client page has, and where the bytes of a frame are.
//
// Invariants
// * A page (PageKey) has one frame, however often and wherever it is pinned. The frame stays the page's after the last
//   unpin until it is taken for another page, oldest first.
// * A frame can be reached by DMA while it is pinned, and only then: resolve() finds nothing otherwise.
// * Frame 0, the MMIO hole below 4 GiB with the MSI window, and the first MiB are never handed out. In the hole are the BARs of
//   devices: their frames have addresses that are given (PageRun::on_bus), and exist as long as they are pinned.
// * Under the fragmented policy the frame after that of page i is never given to page i + 1. Huge pages are contiguous.
//
// Concurrency: resolve() takes no lock; it may be called only inside a DMA transaction (mem/dma_barrier.hpp): between its
// last unpin and its release a frame waits for the transactions that began before. Everything else takes mu_ (kFrames).
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "base/sys.hpp"
#include "mem/address_space.hpp"
#include "mem/dma_barrier.hpp"

namespace iommufd::mem {

struct PhysPolicy {
  // kReal: there is no simulated RAM; pages have the addresses that their runs say (PageRun::on_bus).
  enum class Kind : u8 { kFragmented, kContiguous, kReal };
  Kind kind = Kind::kFragmented;
  u64 seed = 1;              // kFragmented: another seed, another order
  u64 base = u64{1} << 20;   // bytes, 2 MiB steps are best; where RAM begins
  u64 size = u64{64} << 30;  // bytes; how far RAM reaches, holes included
};

class PhysicalMemory {
 public:
  // Errors: kInval when the window holds no usable frame, kNoMem.
  static Result<std::unique_ptr<PhysicalMemory>> create(const PhysPolicy& policy);
  ~PhysicalMemory();
  PhysicalMemory(const PhysicalMemory&) = delete;
  PhysicalMemory& operator=(const PhysicalMemory&) = delete;

  // Pins the pages of `run`, which `space` reaches from `va` on, and writes one address per page to `out`.
  // Memory of a device has the addresses that the run says, outside of RAM. Errors: kNoMem when the memory is full, or there are
  // no such addresses (nothing stays pinned).
  Result<void> pin(AddressSpace& space, UserVa va, const PageRun& run, std::span<PhysAddr> out) IOMMUFD_EXCLUDES(mu_);
  // Pins each page of `run` once and for all, however often it is asked for: its address was given away, and nobody will say when
  // it is no longer used. Errors: kNoMem (what was published until then stays so).
  Result<void> publish(AddressSpace& space, UserVa va, const PageRun& run, std::span<PhysAddr> out)
      IOMMUFD_EXCLUDES(mu_);
  // Takes one pin from each frame. From the last one on DMA does not reach it; when the call returns, no DMA that began
  // before does either, and the frame may become another page's. Never fails.
  void unpin_and_release(std::span<const PhysAddr> frames) IOMMUFD_EXCLUDES(mu_);
  DmaBarrier& barrier() { return barrier_; }

  struct Location {
    AddressSpace* space = nullptr;  // null: nothing is pinned there
    UserVa va;                      // of the byte asked for
    std::byte* direct = nullptr;    // non-null: the byte itself, for guarded copies
  };
  // Where the byte at `pa` is. Inside a DMA transaction only.
  [[nodiscard]] Location resolve(PhysAddr pa) const;

  // For who compares pages: the frame that a page has, if any, and how many pins it has.
  [[nodiscard]] std::optional<PhysAddr> frame_of(const PageKey& key) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] u32 pins_of(const PageKey& key) IOMMUFD_EXCLUDES(mu_);

  [[nodiscard]] u64 pinned_frames() const { return pinned_.load(std::memory_order_relaxed); }

 private:
  static constexpr u64 kChunkFrames = 512;  // 2 MiB

  // An address space that frames point into: kept alive until the last of them is released.
  struct Home {
    Ref<AddressSpace> space;
    u64 frames = 0;
  };
  struct Frame {
    std::atomic<AddressSpace*> space{nullptr};  // non-null: pinned, and this is how DMA reaches it
    std::atomic<u64> va{0};
    std::atomic<std::byte*> direct{nullptr};
    PageKey key;           // whose frame it is; space 0: nobody's
    Home* home = nullptr;  // owner of `space`; outlives the pin until the release
    u32 pins = 0;
    u32 held = 0;  // unpins that wait for their release
    u64 next = 0;  // in the queue that it is in
    bool queued = false;
    bool of_device = false;  // its address is the device's: it is nobody else's, ever
    bool published = false;  // has a pin that stays
  };
  // Frames in the order in which they came, linked through themselves: entering one allocates nothing.
  struct Queue {
    u64 first = 0;  // frame 0 is nobody's
    u64 last = 0;
    u64 size = 0;
  };
  struct Chunk {
    std::array<Frame, kChunkFrames> frames;
  };
  // A stretch of frames handed out in an order: permuted, or ascending.
  struct Zone {
    u64 first = 0;  // frame number
    u64 frames = 0;
    u64 next = 0;  // position in the order
    unsigned bits = 0;
    u64 unit = 1;  // frames per step: 1, or 512 for huge pages
  };
  struct KeyHash {
    std::size_t operator()(const PageKey& k) const noexcept {
      u64 h = k.index * 0x9e3779b97f4a7c15u + k.space * 0xbf58476d1ce4e5b9u;
      h ^= h >> 29;
      return h * 0x94d049bb133111ebu;
    }
  };
  PhysicalMemory(const PhysPolicy& policy, sys::Mapping chunk_table);
  void add_zones(u64 start, u64 end) IOMMUFD_REQUIRES(mu_);
  [[nodiscard]] std::atomic<Chunk*>* chunks() const;
  [[nodiscard]] Frame* find_frame(u64 frame) const;
  Frame& frame_at_locked(u64 frame) IOMMUFD_REQUIRES(mu_);
  void push_locked(Queue& queue, u64 frame) IOMMUFD_REQUIRES(mu_);
  u64 pop_locked(Queue& queue) IOMMUFD_REQUIRES(mu_);
  [[nodiscard]] u64 permute(const Zone& zone, u64 position) const;
  Result<u64> take_fresh_locked(std::deque<Zone>& zones) IOMMUFD_REQUIRES(mu_);
  [[nodiscard]] bool adjacent_locked(u64 frame) const IOMMUFD_REQUIRES(mu_);
  Result<u64> take_idle_locked() IOMMUFD_REQUIRES(mu_);
  Result<u64> take_small_locked() IOMMUFD_REQUIRES(mu_);
  Result<u64> frame_of_locked(const PageKey& key, u64 page_size) IOMMUFD_REQUIRES(mu_);
  Result<u64> frame_on_bus_locked(PhysAddr address) IOMMUFD_REQUIRES(mu_);
  void unpin_locked(std::span<const PhysAddr> frames) IOMMUFD_REQUIRES(mu_);
  // Releases from the front of `frames` on, and stops after one that let go of the last frame of an address space: that is
  // handed out in `gone`. Returns how many were released.
  std::size_t release_locked(std::span<const PhysAddr> frames, Ref<AddressSpace>& gone) IOMMUFD_REQUIRES(mu_);
  void pin_frame_locked(Frame& f, AddressSpace& space, UserVa va) IOMMUFD_REQUIRES(mu_);

  const PhysPolicy policy_;
  const sys::Mapping chunk_table_;
  std::atomic<u64> pinned_{0};
  DmaBarrier barrier_;

  mutable Mutex mu_{LockRank::kFrames};
  std::deque<Zone> small_ IOMMUFD_GUARDED_BY(mu_);
  std::deque<Zone> huge_ IOMMUFD_GUARDED_BY(mu_);
  std::unordered_map<PageKey, u64, KeyHash> by_key_ IOMMUFD_GUARDED_BY(mu_);
  Queue idle_ IOMMUFD_GUARDED_BY(mu_);          // unpinned frames, oldest first; some are pinned again
  Queue passed_over_ IOMMUFD_GUARDED_BY(mu_);   // fresh frames that would have made neighbours adjacent
  u64 last_frame_ IOMMUFD_GUARDED_BY(mu_) = 0;  // handed out last
  std::unordered_map<AddressSpace*, Home> homes_ IOMMUFD_GUARDED_BY(mu_);
};

}  // namespace iommufd::mem
