// SPDX-License-Identifier: BSD-3-Clause
#include "tests/fuzz/worker.hpp"

namespace iommufd::fuzz {
namespace {

using abi::IommuCommand;
using abi::TestOp;

constexpr u64 kHuge = SandboxMemory::kHugeSize;

u32 flags_of(Access access) {
  return abi::IoasMap::kFixedIova | (allows(access, Access::kRead) ? abi::IoasMap::kReadable : 0u) |
         (allows(access, Access::kWrite) ? abi::IoasMap::kWriteable : 0u);
}

}  // namespace

void Worker::run(u64 steps) {
  for (u64 step = 0; step < steps; ++step) {
    t_where.step = step;
    switch (random_.below(16)) {
      case 0:
      case 1:
      case 2:
      case 3: map(); break;
      case 4:
      case 5:
      case 6: unmap(); break;
      case 7:
      case 8: copy(); break;
      case 9: map_anywhere(); break;
      case 10: unmap_anywhere(); break;
      case 11: access(); break;
      case 12: read_dirty(); break;
      default: dma(); break;
    }
    check_charge();
  }
  while (!anywhere_.empty()) unmap_anywhere();
  if (at_ != kPlaces) client_.close(fd_);
}

bool Worker::overlaps(Place place, u64 start, u64 last) const {
  const Areas& areas = areas_[place];
  const auto next = areas.upper_bound(last);
  return next != areas.begin() && std::prev(next)->second.last >= start;
}

Worker::Areas::iterator Worker::pick(Place place) {
  Areas& areas = areas_[place];
  return areas.empty() ? areas.end() : std::next(areas.begin(), static_cast<s64>(random_.below(areas.size())));
}

// Small pages anywhere in the window, or a huge one where it gets a large entry.
void Worker::map() {
  const Place place = take_place();
  const auto [file, ioas] = where(place);
  const bool huge = random_.one_in(6);
  const Access access = static_cast<Access>(1 + random_.below(3));
  abi::IoasMap cmd{.size = sizeof cmd,
                   .flags = flags_of(access),
                   .ioas_id = ioas,
                   .reserved = 0,
                   .user_va = SandboxMemory::kBase + kPageSize * (16 + random_.below(44)),
                   .length = kPageSize * (1 + random_.below(4)),
                   .iova = window(number_) + kPageSize * random_.below(kWindowSize / kPageSize)};
  if (random_.one_in(2)) cmd.iova = window(number_) + kPageSize * random_.below(32);
  if (huge) {
    cmd.user_va = SandboxMemory::kHugeBase + kHuge * random_.below(SandboxMemory::kHugePages);
    cmd.length = kHuge;
    cmd.iova = window(number_) + kHuge * random_.below(kWindowSize / kHuge);
  }
  const u64 last = cmd.iova + cmd.length - 1;
  const auto want = [&]() -> Answer {
    if (overlaps(place, cmd.iova, last)) return Errno::kExist;
    const Access need = allows(access, Access::kWrite) ? Access::kReadWrite : Access::kRead;
    for (u64 at = 0; at < cmd.length; at += kPageSize)
      if (!allows(SandboxMemory::access(cmd.user_va + at), need)) return Errno::kFault;
    return {};
  }();
  expect_answer("MAP", client_.send(file, IommuCommand::kIoasMap, cmd), want);
  if (!want)
    areas_[place].emplace(cmd.iova, Area{last, cmd.user_va, access, next_backing_++, allows(access, Access::kWrite)});
}

// A whole mapping, or what is no mapping.
void Worker::unmap() {
  const Place place = take_place();
  const auto [file, ioas] = where(place);
  const auto area = pick(place);
  if (area == areas_[place].end()) return;
  const u64 length = area->second.last - area->first + 1;
  abi::IoasUnmap cmd{.size = sizeof cmd, .ioas_id = ioas, .iova = area->first, .length = length};
  if (length > kPageSize && random_.one_in(4)) {
    cmd.length -= kPageSize;
    expect_answer("UNMAP", client_.send(file, IommuCommand::kIoasUnmap, cmd), Errno::kNoEnt);
    return;
  }
  FUZZ_CHECK(!client_.send(file, IommuCommand::kIoasUnmap, cmd) && cmd.length == length);
  u64 value = 0;
  const std::size_t device = place == kTracked ? 0 : 3;
  if (place != kNoiommu)
    FUZZ_CHECK(!world_.port(device).read(area->first + 64, std::as_writable_bytes(std::span(&value, 1))));
  forget(place, area);
}

void Worker::forget(Place place, Areas::iterator area) {
  const u64 start = area->first, last = area->second.last, va = area->second.va;
  if (place == kTracked) std::erase_if(dirty_, [&](u64 at) { return start <= at && at <= last; });
  // The access is asked to unpin what lies there.
  if (at_ == place)
    std::erase_if(items_, [&](const auto& i) { return i.second.first <= last && start <= i.second.second; });
  areas_[place].erase(area);
  reuse(va, last - start + 1);
}

// A transaction that was under way when a page was unmapped is over: nobody else touches its bytes now.
void Worker::reuse(u64 va, u64 length) {
  for (u64 at = 0; at < length; at += kPageSize) {
    const auto maps = [&](const auto& a) {
      return a.second.va <= va + at && va + at <= a.second.va + (a.second.last - a.first);
    };
    if (std::ranges::none_of(areas_, [&](const Areas& areas) { return std::ranges::any_of(areas, maps); }))
      std::memset(byte(va + at), 0, kPageSize);
  }
}

// From one of the first file's IOASes to another, or inside one.
void Worker::copy() {
  const Place from = random_.one_in(2) ? kTracked : kNoiommu, to = random_.one_in(2) ? kTracked : kNoiommu;
  const auto area = pick(from);
  if (area == areas_[from].end()) return;
  const Access access = static_cast<Access>(1 + random_.below(3));
  const u64 length = area->second.last - area->first + 1;
  abi::IoasCopy cmd{.size = sizeof cmd,
                    .flags = flags_of(access),
                    .dst_ioas_id = where(to).ioas,
                    .src_ioas_id = where(from).ioas,
                    .length = length,
                    .dst_iova = window(number_) + kPageSize * random_.below((kWindowSize - length) / kPageSize + 1),
                    .src_iova = area->first};
  if (length == kHuge) cmd.dst_iova = align_down(cmd.dst_iova, kHuge);
  const u64 last = cmd.dst_iova + length - 1;
  const Answer want = overlaps(to, cmd.dst_iova, last)                           ? Errno::kExist
                      : allows(access, Access::kWrite) && !area->second.writable ? Errno::kPerm
                                                                                 : Answer{};
  expect_answer("COPY", client_.send(*world_.first, IommuCommand::kIoasCopy, cmd), want);
  if (want) return;
  Area made = area->second;
  made.last = last;
  made.access = access;
  areas_[to].emplace(cmd.dst_iova, made);
}

// Where domains come and go, and with them who is charged.
void Worker::map_anywhere() {
  client_.become(client_.elsewhere);
  abi::IoasMap cmd{.size = sizeof cmd,
                   .flags = abi::IoasMap::kReadable,
                   .ioas_id = world_.churned,
                   .reserved = 0,
                   .user_va = SandboxMemory::kHugeBase + kPageSize * random_.below(512),
                   .length = kPageSize * (1 + random_.below(16)),
                   .iova = 0};
  FUZZ_CHECK(!client_.send(*world_.first, IommuCommand::kIoasMap, cmd));
  FUZZ_CHECK(anywhere_.emplace(cmd.iova, cmd.length).second);
  client_.become(client_.process);
}

void Worker::unmap_anywhere() {
  if (anywhere_.empty()) return;
  const auto it = std::next(anywhere_.begin(), static_cast<s64>(random_.below(anywhere_.size())));
  abi::IoasUnmap cmd{.size = sizeof cmd, .ioas_id = world_.churned, .iova = it->first, .length = it->second};
  FUZZ_CHECK(!client_.send(*world_.first, IommuCommand::kIoasUnmap, cmd) && cmd.length == it->second);
  anywhere_.erase(it);
}

void Worker::access() {
  if (at_ == kPlaces) {
    const Place place = take_place();
    abi::TestCreateAccess args{.out_access_fd = 0, .flags = abi::TestCreateAccess::kNeedsPinPages};
    FUZZ_CHECK(!client_.send_test(where(place).file, TestOp::kCreateAccess, where(place).ioas, args));
    fd_ = args.out_access_fd;
    at_ = place;
    return;
  }
  const auto area = pick(at_);
  switch (random_.below(8)) {
    case 0:
      client_.close(fd_);
      items_.clear();
      at_ = kPlaces;
      return;
    case 1: {
      if (at_ == kOther) return;
      const Place to = at_ == kTracked ? kNoiommu : kTracked;
      abi::TestAccessReplaceIoas args{.ioas_id = where(to).ioas};
      FUZZ_CHECK(!client_.send_test(where(to).file, TestOp::kAccessReplaceIoas, fd_, args));
      items_.clear();
      at_ = to;
      return;
    }
    case 2: {
      if (items_.empty()) return;
      abi::TestDestroyAccessPages args{.access_pages_id = items_.begin()->first};
      FUZZ_CHECK(!client_.send_test(where(at_).file, TestOp::kDestroyAccessPages, fd_, args));
      items_.erase(items_.begin());
      return;
    }
    case 3:
    case 4:
    case 5:
      if (area != areas_[at_].end()) pin(at_, *area);
      return;
    default:
      if (area != areas_[at_].end()) move_bytes(at_, *area);
  }
}

void Worker::pin(Place place, const Areas::value_type& area) {
  const bool write = random_.one_in(2);
  const u64 length = area.second.last - area.first + 1;
  abi::TestAccessPages args{
      .flags = write ? abi::kTestWrite : 0, .out_access_pages_id = 0, .iova = area.first, .length = length, .uptr = 0};
  const Answer want =
      allows(area.second.access, write ? Access::kWrite : Access::kRead) ? Answer{} : Answer{Errno::kPerm};
  expect_answer("ACCESS_PAGES", client_.send_test(where(place).file, TestOp::kAccessPages, fd_, args), want);
  if (!want) items_.emplace(args.out_access_pages_id, std::pair(area.first, area.second.last));
}

// Bytes at +1024 of a page are the accesses'.
void Worker::move_bytes(Place place, const Areas::value_type& area) {
  const bool write = random_.one_in(2);
  const u64 value = ++counter_;
  abi::TestAccessRw args{.iova = area.first + 1024,
                         .length = sizeof value,
                         .uptr = Client::kBuffer,
                         .flags = write ? abi::kTestWrite : 0,
                         .pad = 0};
  std::byte* mine = byte(Client::kBuffer);
  std::byte* there = byte(area.second.va + 1024);
  std::memcpy(write ? mine : there, &value, sizeof value);
  const Answer want =
      allows(area.second.access, write ? Access::kWrite : Access::kRead) ? Answer{} : Answer{Errno::kPerm};
  expect_answer("ACCESS_RW", client_.send_test(where(place).file, TestOp::kAccessRw, fd_, args), want);
  if (!want) FUZZ_CHECK(std::memcmp(write ? there : mine, &value, sizeof value) == 0);
}

void Worker::dma() {
  switch (random_.below(3)) {
    case 0: return dma_by_iova(kTracked, 0);
    case 1: return dma_by_iova(kOther, 3);
    default: return dma_by_address();
  }
}

// Bytes at +64 of a page are this thread's.
void Worker::dma_by_iova(Place place, std::size_t device) {
  const auto area = pick(place);
  if (area == areas_[place].end()) return;
  const u64 at = kPageSize * random_.below((area->second.last - area->first + 1) / kPageSize);
  std::byte* memory = byte(area->second.va + at + 64);
  const u64 iova = area->first + at + 64;
  u64 value = ++counter_, got = 0;
  std::memcpy(memory, &value, sizeof value);
  const bool read = world_.port(device).read(iova, std::as_writable_bytes(std::span(&got, 1))).has_value();
  FUZZ_CHECK(read == allows(area->second.access, Access::kRead) && (!read || got == value));
  value = ++counter_;
  const bool wrote = world_.port(device).write(iova, std::as_bytes(std::span(&value, 1))).has_value();
  std::memcpy(&got, memory, sizeof got);
  FUZZ_CHECK(wrote == allows(area->second.access, Access::kWrite) && (got == value) == wrote);
  const bool large = area->second.last - area->first + 1 == kHuge;
  if (wrote && place == kTracked) dirty_.insert(large ? area->first : area->first + at);
}

void Worker::dma_by_address() {
  const auto area = pick(kNoiommu);
  if (area == areas_[kNoiommu].end()) return;
  const u64 length = area->second.last - area->first + 1;
  const u64 at = kPageSize * random_.below(length / kPageSize);
  abi::IoasNoiommuGetPa cmd{.size = sizeof cmd,
                            .flags = 0,
                            .ioas_id = world_.noiommu,
                            .reserved = 0,
                            .iova = area->first + at + 64,
                            .length = ~u64{0},
                            .out_phys = 0};
  FUZZ_CHECK(!client_.send(*world_.first, IommuCommand::kIoasNoiommuGetPa, cmd));
  FUZZ_CHECK(cmd.length == (length == kHuge ? kHuge - at - 64 : kPageSize - 64));
  u64 value = ++counter_, got = 0;
  std::memcpy(byte(area->second.va + at + 64), &value, sizeof value);
  FUZZ_CHECK(world_.port(4).read(cmd.out_phys, std::as_writable_bytes(std::span(&got, 1))) && got == value);
}

// What this thread's transfers wrote in its window, and nothing else.
void Worker::read_dirty() {
  const auto area = pick(kTracked);
  if (area == areas_[kTracked].end()) return;
  const u64 length = area->second.last - area->first + 1;
  const bool clears = random_.one_in(2);
  abi::HwptGetDirtyBitmap cmd{.size = sizeof cmd,
                              .hwpt_id = world_.hwpt,
                              .flags = clears ? 0u : 1u,
                              .reserved = 0,
                              .iova = area->first,
                              .length = length,
                              .page_size = kPageSize,
                              .data = Client::kBuffer};
  std::memset(byte(Client::kBuffer), 0, kPageSize);
  FUZZ_CHECK(!client_.send(*world_.first, IommuCommand::kHwptGetDirtyBitmap, cmd));
  for (u64 page = 0; page < length / kPageSize; ++page) {
    const bool bit = (std::to_integer<unsigned>(byte(Client::kBuffer)[page / 8]) >> page % 8 & 1) != 0;
    FUZZ_CHECK(bit == dirty_.contains(length == kHuge ? area->first : area->first + page * kPageSize));
  }
  if (clears) std::erase_if(dirty_, [&](u64 at) { return area->first <= at && at <= area->second.last; });
}

// Pages of a mapping and its copies count once; pins are in mapped areas, so they add nothing.
void Worker::check_charge() {
  std::set<std::pair<u64, u64>> pages;
  for (const Areas& areas : areas_)
    for (const auto& [start, area] : areas)
      for (u64 at = 0; at <= area.last - start; at += kPageSize) pages.emplace(area.backing, area.va + at);
  FUZZ_CHECK(client_.process->vm_pinned().pages() == pages.size());
  FUZZ_CHECK(client_.process->user_locked().pages() == pages.size());
}

}  // namespace iommufd::fuzz
