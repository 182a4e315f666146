// SPDX-License-Identifier: BSD-3-Clause
// A thread of threads_fuzz that knows every answer: it maps, copies, unmaps, pins and does DMA in its own window of the
// shared IOASes, whatever the others do beside it. After each step its charge is exact too.
#pragma once

#include <map>
#include <set>

#include "tests/fuzz/world.hpp"

namespace iommufd::fuzz {

class Worker {
 public:
  Worker(World& world, Client& client, u64 seed, u64 number)
      : world_(world), client_(client), random_(seed * 64 + number), number_(number) {}
  void run(u64 steps);

  static constexpr u64 kWindowSize = SandboxMemory::kHugeSize * 4;
  // Of worker `number`, in every IOAS.
  static constexpr u64 window(u64 number) { return (number + 1) << 28; }

 private:
  enum Place : std::size_t { kTracked, kNoiommu, kOther, kPlaces };
  struct Area {
    u64 last = 0;
    u64 va = 0;
    Access access = Access::kNone;
    u64 backing = 0;
    bool writable = false;
  };
  using Areas = std::map<u64, Area>;
  struct Where {
    ioctl::IommuFile& file;
    u32 ioas;
  };

  Where where(Place place) {
    switch (place) {
      case kTracked: return {*world_.first, world_.tracked};
      case kNoiommu: return {*world_.first, world_.noiommu};
      default: return {*world_.second, world_.other};
    }
  }
  Place take_place() { return static_cast<Place>(random_.below(kPlaces)); }
  [[nodiscard]] bool overlaps(Place place, u64 start, u64 last) const;
  Areas::iterator pick(Place place);

  void map();
  void unmap();
  void copy();
  void map_anywhere();
  void unmap_anywhere();
  void access();
  void pin(Place place, const Areas::value_type& area);
  void move_bytes(Place place, const Areas::value_type& area);
  void dma();
  void dma_by_iova(Place place, std::size_t device);
  void dma_by_address();
  void read_dirty();
  void check_charge();
  void forget(Place place, Areas::iterator area);
  // The client uses its pages again that no device can reach any more.
  void reuse(u64 va, u64 length);
  std::byte* byte(u64 va) { return client_.memory->bytes(va).data(); }

  World& world_;
  Client& client_;
  Random random_;
  const u64 number_;
  std::array<Areas, kPlaces> areas_;
  std::set<u64> dirty_;          // first IOVAs of entries in `tracked`
  std::map<u64, u64> anywhere_;  // in `churned`: IOVA, length
  u32 fd_ = 0;                   // of the access
  Place at_ = kPlaces;           // where it is attached; kPlaces: there is none
  std::map<u32, std::pair<u64, u64>> items_;
  u64 next_backing_ = 1;
  u64 counter_ = 0;
};

}  // namespace iommufd::fuzz
