// SPDX-License-Identifier: BSD-3-Clause
// The state of the engine against the model: areas, pins and charges, what devices reach by DMA at every mapped page and
// beside it, physical addresses, dirty bits.
#include "core/ioas.hpp"
#include "tests/fuzz/session.hpp"

namespace iommufd::fuzz {
namespace {

// All pages of a small area; of a large one those at both ends and some between.
template <class F>
void each_page(const Areas::value_type& area, F&& f) {
  const u64 pages = length_of(area) / kPageSize;
  for (u64 i = 0; i < pages; i += pages <= 12 || i < 2 || i + 66 > pages ? 1 : 63) f(i * kPageSize);
}

}  // namespace

void Session::compare() {
  compare_areas();
  compare_charges();
  compare_dma();
  compare_physical();
  compare_dirty();
}

// Every area where the model has it, as long, and of the same memory.
void Session::compare_areas() {
  for (const auto& [id, s] : model_.ioases) {
    Result<core::Use<core::Ioas>> ioas = file_->context()->get<core::Ioas>(ObjectId{id});
    FUZZ_CHECK(ioas.has_value());
    u32 n = 0;
    for (const auto& [start, area] : s.areas) {
      FUZZ_CHECK((*ioas)->nth_area(n++) == start);
      const auto slices = (*ioas)->slices(start, area.last - start + 1);
      FUZZ_CHECK(slices.has_value() && slices->size() == 1);
      const core::Ioas::Slice& slice = slices->front();
      FUZZ_CHECK(align_down(slice.pages->start(), kPageSize) + slice.offset == area.va);
      FUZZ_CHECK(slice.pages->writable() == area.pages->writable);
      if (area.last == Model::kMax) continue;
      const auto next = Model::area_at(s, area.last + 1);
      const auto beside = (*ioas)->slices(area.last + 1, 1);
      FUZZ_CHECK(beside.has_value() == (next != s.areas.end()));
      if (beside)
        FUZZ_CHECK(align_down(beside->front().pages->start(), kPageSize) + beside->front().offset == next->second.va);
    }
    FUZZ_CHECK(!(*ioas)->nth_area(n));
    const core::Ioas::Ranges ranges = (*ioas)->iova_ranges();
    FUZZ_CHECK(ranges.alignment == model_.alignment(id) && ranges.gaps == Model::usable(s));
    FUZZ_CHECK((*ioas)->huge_pages() == s.huge_pages);
  }
}

void Session::compare_charges() {
  const PinnedPages pinned = model_.pinned();
  const Model::Charges want = Model::charges(pinned);
  FUZZ_CHECK(user_->pages() == want.user);
  for (std::size_t i = 0; i < Model::kProcesses; ++i) {
    FUZZ_CHECK(processes_[i]->vm_pinned().pages() == want.pinned[i]);
    FUZZ_CHECK(processes_[i]->vm_locked().pages() == want.locked[i]);
  }
  std::set<std::pair<int, u64>> frames;
  for (const PinnedPage& p : pinned) frames.emplace(p.pages->file, p.page);
  FUZZ_CHECK(machine_.platform().phys().pinned_frames() == frames.size());
}

void Session::compare_dma() {
  for (std::size_t device = 0; device < Machine::kDevices; ++device) {
    if (Machine::kManagers[device] == Manager::kNone) continue;
    const u32 hwpt = model_.devices[device].hwpt;
    if (hwpt == 0) {
      FUZZ_CHECK(!reads(device, SandboxMemory::kHugeSize * 4));
      continue;
    }
    const Ioas& s = model_.ioases.at(model_.hwpts.at(hwpt).ioas);
    for (const auto& area : s.areas) check_area(device, s, area);
  }
}

void Session::check_area(std::size_t device, const Ioas& s, const Areas::value_type& a) {
  const auto& [start, area] = a;
  // Writes would make everything dirty: where that is recorded, device_writes() does them.
  const bool may_write = !model_.hwpts.at(model_.devices[device].hwpt).tracking;
  each_page(a, [&](u64 at) {
    FUZZ_CHECK(reads(device, start + at, area.pages.get(), area.va + at) == allows(area.access, Access::kRead));
    if (may_write)
      FUZZ_CHECK(writes(device, start + at, *area.pages, area.va + at) == allows(area.access, Access::kWrite));
  });
  if (start != 0 && Model::area_at(s, start - kPageSize) == s.areas.end())
    FUZZ_CHECK(!reads(device, start - kPageSize));
  if (area.last != Model::kMax && Model::area_at(s, area.last + 1) == s.areas.end())
    FUZZ_CHECK(!reads(device, area.last + 1));
}

// Where GET_PA answers: one frame per page of the client and one page per frame; a device without an IOMMU gets exactly
// there. Elsewhere it must refuse (noiommu 12 row 8).
void Session::compare_physical() {
  const bool privileged = std::exchange(call_.privileged, true);
  std::map<std::pair<int, u64>, u64> frame_of;
  std::map<u64, std::pair<int, u64>> page_of;
  for (const auto& [id, s] : model_.ioases) {
    const bool answers = !s.domains.empty() && model_.hwpts.at(s.domains.front()).manager == Manager::kNone;
    for (const auto& a : s.areas) {
      const auto& [start, area] = a;
      u64 length = 8, phys = 0;
      if (!answers) {
        FUZZ_CHECK(physical(id, start, length, phys) == Errno::kOpNotSupp);
        continue;
      }
      each_page(a, [&](u64 at) {
        FUZZ_CHECK(!physical(id, start + at + 24, length = 8, phys) && length == 8 && (phys & kPageMask) == 24);
        const std::pair page(area.pages->file, area.va + at);
        phys -= 24;
        FUZZ_CHECK(frame_of.emplace(page, phys).first->second == phys);
        FUZZ_CHECK(page_of.emplace(phys, page).first->second == page);
        for (std::size_t device = 0; device < Machine::kDevices; ++device) {
          if (Machine::kManagers[device] != Manager::kNone) continue;
          FUZZ_CHECK(reads(device, phys, area.pages.get(), area.va + at));
          FUZZ_CHECK(!area.pages->writable || writes(device, phys, *area.pages, area.va + at));
        }
      });
    }
  }
  call_.privileged = privileged;
}

void Session::compare_dirty() {
  for (const auto& [id, h] : model_.hwpts) {
    if (!h.can_track) continue;
    for (const auto& area : model_.ioases.at(h.ioas).areas)
      check_bitmap({.size = sizeof(abi::HwptGetDirtyBitmap),
                    .hwpt_id = id,
                    .flags = abi::HwptGetDirtyBitmap::kNoClear,
                    .reserved = 0,
                    .iova = area.first,
                    .length = length_of(area),
                    .page_size = kPageSize,
                    .data = kBuffer});
  }
}

std::span<std::byte> Session::bytes_of(const Pages& pages, u64 va) {
  return pages.file >= 0 ? machine_.file().bytes(va) : memory_->bytes(va);
}

bool Session::reads(std::size_t device, u64 address, const Pages* pages, u64 va) {
  u64 value = 0;
  ++counter_;
  if (pages != nullptr) std::memcpy(bytes_of(*pages, va + 64).data(), &counter_, sizeof counter_);
  if (!machine_.port(device).read(address + 64, std::as_writable_bytes(std::span(&value, 1)))) return false;
  FUZZ_CHECK(pages == nullptr || value == counter_);
  return true;
}

bool Session::writes(std::size_t device, u64 address, const Pages& pages, u64 va) {
  const u64 value = ++counter_;
  const std::span<std::byte> memory = bytes_of(pages, va + 64);
  std::memset(memory.data(), 0, sizeof value);
  const bool done = machine_.port(device).write(address + 64, std::as_bytes(std::span(&value, 1))).has_value();
  u64 seen = 0;
  std::memcpy(&seen, memory.data(), sizeof seen);
  FUZZ_CHECK(seen == (done ? value : 0));
  return done;
}

}  // namespace iommufd::fuzz
