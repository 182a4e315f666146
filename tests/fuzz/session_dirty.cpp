// SPDX-License-Identifier: BSD-3-Clause
// What devices write, what the dirty bitmap says of it, and physical addresses (spec iommufd-core A.2, A.3; iommufd-hwpt 6,
// 7; noiommu 12).
#include "tests/fuzz/session.hpp"

namespace iommufd::fuzz {
namespace {

using abi::IommuCommand;
constexpr u64 kMax = Model::kMax;

}  // namespace

void Session::set_dirty_tracking(Input& input) {
  const u8 n = input.take<u8>();
  abi::HwptSetDirtyTracking cmd{.size = sizeof(cmd),
                                .flags = n < 0xc0   ? 1u
                                         : n < 0xf8 ? 0u
                                                    : 2u,
                                .hwpt_id = take_hwpt(input),
                                .reserved = n};
  const auto want = [&]() -> Answer {
    if (cmd.flags > 1) return Errno::kOpNotSupp;
    const auto it = model_.hwpts.find(cmd.hwpt_id);
    if (it == model_.hwpts.end()) return Errno::kNoEnt;
    if (!it->second.can_track) return Errno::kOpNotSupp;
    it->second.tracking = cmd.flags == 1;
    if (cmd.flags == 1) it->second.dirty.clear();
    return {};
  }();
  expect("SET_DIRTY_TRACKING", send(IommuCommand::kHwptSetDirtyTracking, cmd), want);
}

void Session::device_writes(Input& input) {
  const std::size_t device = take_device(input);
  const u32 hwpt = model_.devices[device].hwpt;
  const u8 aim = input.take<u8>(), page = input.take<u8>();
  if (hwpt == 0 || Machine::kManagers[device] == Manager::kNone) return;
  Hwpt& h = model_.hwpts.at(hwpt);
  const auto* area = pick_area(h.ioas, aim);
  if (area == nullptr) return;
  const u64 at = page % (length_of(*area) / kPageSize) * kPageSize;
  if (!writes(device, area->first + at, *area->second.pages, area->second.va + at)) return;
  Model::record_write(h, area->first + at);
}

void Session::get_dirty_bitmap(Input& input) {
  static constexpr std::array<u64, 8> kSizes{kPageSize, kPageSize,     kPageSize,    2 * kPageSize,
                                             512,       3 * kPageSize, u64{1} << 21, 0};
  const u8 n = input.take<u8>();
  abi::HwptGetDirtyBitmap cmd{.size = sizeof(cmd),
                              .hwpt_id = take_hwpt(input),
                              .flags = n < 0xa0   ? 0u
                                       : n < 0xfc ? 1u
                                                  : 2u,
                              .reserved = n == 0xfb ? 1u : 0u,
                              .iova = take_iova(input),
                              .length = take_length(input),
                              .page_size = kSizes[n % 8],
                              .data = kBuffer + n % 3};
  const auto hwpt = model_.hwpts.find(cmd.hwpt_id);
  const u8 aim = input.take<u8>();
  if (hwpt != model_.hwpts.end() && aim >= 0x20) {
    if (const auto* area = pick_area(hwpt->second.ioas, aim); area != nullptr) {
      cmd.iova = area->first;
      cmd.length = length_of(*area);
      // A part of it, or on into what follows.
      if ((aim & 3) == 1 && cmd.length > 3 * kPageSize) cmd.iova += kPageSize, cmd.length -= 2 * kPageSize;
      if ((aim & 3) == 2) cmd.length += 4 * kPageSize;
    }
  }
  if (aim == 0x1f) cmd.iova = cmd.length = 0;
  check_bitmap(cmd);
}

void Session::check_bitmap(abi::HwptGetDirtyBitmap cmd) {
  const u64 last = cmd.iova + (cmd.length - 1);
  const u64 granule = cmd.page_size & (~cmd.page_size + 1);
  const auto hwpt = model_.hwpts.find(cmd.hwpt_id);
  std::vector<IovaRange> dirty;
  const auto want = [&]() -> Answer {
    if (cmd.flags > 1 || cmd.reserved != 0) return Errno::kOpNotSupp;
    if (hwpt == model_.hwpts.end()) return Errno::kNoEnt;
    if (last < cmd.iova) return Errno::kOverflow;
    const auto off = [&](u64 a) { return ((cmd.iova | (last + 1)) & (a - 1)) != 0; };
    if (off(model_.alignment(hwpt->second.ioas)) || cmd.page_size == 0 || off(cmd.page_size)) return Errno::kInval;
    return hwpt->second.can_track ? Answer{} : Errno::kOpNotSupp;
  }();
  // Bits that were there stay; what lies beside the bitmap too.
  constexpr std::byte kThere{0x48};
  std::vector<std::byte> bitmap(kBufferSize, kThere);
  if (!want) {
    Hwpt& h = hwpt->second;
    const u64 room = (kBufferSize - 8) * 8;
    for (const IovaRange& r : model_.read_dirty(h, cmd.iova, last, false))
      if ((r.last - cmd.iova) / granule >= room) return;
    for (const IovaRange& r : model_.read_dirty(h, cmd.iova, last, cmd.flags == 0)) {
      for (u64 bit = (r.start - cmd.iova) / granule; bit <= (r.last - cmd.iova) / granule; ++bit)
        bitmap[cmd.data - kBuffer + bit / 8] |= static_cast<std::byte>(1u << bit % 8);
    }
  }
  const auto buffer = [&](u64 page) { return memory_->bytes(kBuffer + page * kPageSize); };
  for (u64 page = 0; page < kBufferSize / kPageSize; ++page) std::ranges::fill(buffer(page), kThere);
  expect("GET_DIRTY_BITMAP", send(IommuCommand::kHwptGetDirtyBitmap, cmd), want);
  for (u64 page = 0; page < kBufferSize / kPageSize; ++page)
    FUZZ_CHECK(std::memcmp(buffer(page).data(), bitmap.data() + page * kPageSize, kPageSize) == 0);
}

void Session::get_pa(Input& input) {
  const u32 ioas = take_ioas(input);
  u64 iova = take_iova(input);
  u64 length = take_length(input);
  if (const u8 aim = input.take<u8>(); aim >= 0x30)
    if (const auto* area = pick_area(ioas, aim)) iova = area->first + input.take<u16>() % length_of(*area);
  u64 phys = 0;
  const u64 most = length;
  const Ioas* s = find_ioas(ioas);
  u64 run = 0;
  const auto want = [&]() -> Answer {
    if (!call_.privileged) return Errno::kPerm;
    if (length == 0) return Errno::kInval;
    if (iova == kMax) return Errno::kOverflow;
    if (s == nullptr) return Errno::kNoEnt;
    const auto area = Model::area_at(*s, iova);
    if (area == s->areas.end()) return Errno::kNoEnt;
    if (s->domains.empty() || model_.hwpts.at(s->domains.front()).manager != Manager::kNone) return Errno::kOpNotSupp;
    // Contiguous as far as the huge page goes, and no further than the area; small pages lie apart.
    const u64 va = area->second.va + (iova - area->first);
    const bool huge = area->second.pages->file < 0 && va >= SandboxMemory::kHugeBase;
    const u64 unit = huge ? SandboxMemory::kHugeSize : kPageSize;
    run = std::min({most, unit - va % unit, area->second.last - iova + 1});
    return {};
  }();
  expect("GET_PA", physical(ioas, iova, length, phys), want);
  if (want) return;
  FUZZ_CHECK(length == run && (phys & kPageMask) == (iova & kPageMask));
}

Answer Session::physical(u32 ioas, u64 iova, u64& length, u64& phys) {
  abi::IoasNoiommuGetPa cmd{
      .size = sizeof(cmd), .flags = 0, .ioas_id = ioas, .reserved = 0, .iova = iova, .length = length, .out_phys = 0};
  const Answer answer = send(IommuCommand::kIoasNoiommuGetPa, cmd);
  length = cmd.length;
  phys = cmd.out_phys;
  return answer;
}

}  // namespace iommufd::fuzz
