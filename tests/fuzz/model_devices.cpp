// SPDX-License-Identifier: BSD-3-Clause
// Objects, domains, devices and dirty entries (spec iommufd-core 1.6 to 1.9, 4.9, 5; noiommu 9 to 11; iommufd-hwpt 6, 7).
#include "tests/fuzz/model.hpp"

namespace iommufd::fuzz {

bool Model::exists(u32 id) const {
  return ioases.contains(id) || hwpts.contains(id) || accesses.contains(id) ||
         (id != 0 && std::ranges::any_of(devices, [&](const BoundDevice& d) { return d.id == id; }));
}

bool Model::is_empty() const {
  return ioases.empty() && hwpts.empty() && accesses.empty() &&
         std::ranges::all_of(devices, [](const BoundDevice& d) { return d.id == 0; });
}

u32 Model::free_id() const {
  u32 id = 1;
  while (exists(id)) ++id;
  return id;
}

u32 Model::users_of_hwpt(u32 id) const {
  return static_cast<u32>(std::ranges::count_if(devices, [&](const BoundDevice& d) { return d.hwpt == id; }));
}

Answer Model::destroy(u32 id) {
  if (!exists(id)) return Errno::kNoEnt;
  if (hwpts.contains(id)) {
    if (users_of_hwpt(id) != 0) return Errno::kBusy;
    remove_hwpt(id);
    return {};
  }
  const auto ioas = ioases.find(id);
  if (ioas == ioases.end() || !ioas->second.hwpts.empty()) return Errno::kBusy;  // devices and accesses: their drivers
  if (std::ranges::any_of(accesses, [&](const auto& a) { return a.second.ioas == id; })) return Errno::kBusy;
  ioases.erase(ioas);
  if (compat_ioas == id) compat_ioas = 0;
  return {};
}

// ---- domains: 4.9 --------------------------------------------------------------------------------------------------

Answer Model::add_hwpt(u32 ioas, u32 id, Manager manager, bool automatic, bool can_track) {
  Ioas& s = ioases.at(ioas);
  if (const Answer no = can_align(s, kPageSize, alignment(ioas))) return no;
  const IovaRange above{kVtdLast + 1, kMax};
  if (manager == Manager::kVtd)
    if (const Answer no = can_reserve(s, above)) return no;
  if (s.domains.empty())
    if (const Answer no = can_fill(s.areas)) return no;
  if (manager == Manager::kVtd) s.reserved.emplace_back(above, id);
  Hwpt& h = hwpts[id];
  h.ioas = ioas;
  h.manager = manager;
  h.automatic = automatic;
  h.can_track = can_track;
  fill_entries(s, h, s.areas);
  s.hwpts.push_back(id);
  s.domains.push_back(id);
  return {};
}

void Model::remove_hwpt(u32 id) {
  const u32 ioas = hwpts.at(id).ioas;
  Ioas& s = ioases.at(ioas);
  unreserve(ioas, id);
  std::erase(s.hwpts, id);
  *std::ranges::find(s.domains, id) = s.domains.back();
  s.domains.pop_back();
  hwpts.erase(id);
}

void Model::leave(u32 hwpt) {
  if (hwpts.at(hwpt).automatic && users_of_hwpt(hwpt) == 0) remove_hwpt(hwpt);
}

// ---- devices: 5.4 to 5.8 -------------------------------------------------------------------------------------------

Answer Model::can_reserve_for(std::size_t device, const Ioas& s) {
  const Manager manager = Machine::kManagers[device];
  if (manager == Manager::kNone) return {};
  if (const Answer no = can_reserve(s, kMsiWindow)) return no;
  return manager == Manager::kAmd ? can_reserve(s, kHyperTransport) : Answer{};
}

Answer Model::reserve_for(std::size_t device, u32 ioas) {
  const Manager manager = Machine::kManagers[device];
  Ioas& s = ioases.at(ioas);
  if (const Answer no = can_reserve_for(device, s)) return no;
  if (manager != Manager::kNone) s.reserved.emplace_back(kMsiWindow, devices[device].id);
  if (manager == Manager::kAmd) s.reserved.emplace_back(kHyperTransport, devices[device].id);
  return {};
}

void Model::unreserve(u32 ioas, u32 owner) {
  std::erase_if(ioases.at(ioas).reserved, [&](const auto& r) { return r.second == owner; });
}

// The devices of its group that are attached; a device without an IOMMU has a group of its own.
std::vector<std::size_t> Model::attached_of_group(std::size_t device) const {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const bool same = i == device ||
                      (Machine::kManagers[i] != Manager::kNone && Machine::kManagers[i] == Machine::kManagers[device] &&
                       Machine::kGroups[i] == Machine::kGroups[device]);
    if (same && devices[i].hwpt != 0) out.push_back(i);
  }
  return out;
}

// 5.5 with noiommu 9: nobody asks a device without an IOMMU whose domain it gets.
Answer Model::attach_to(std::size_t device, u32 hwpt) {
  const std::vector<std::size_t> siblings = attached_of_group(device);
  if (!siblings.empty() && devices[siblings.front()].hwpt != hwpt) return Errno::kInval;
  const Hwpt& h = hwpts.at(hwpt);
  if (const Answer no = reserve_for(device, h.ioas)) return no;
  const Manager mine = Machine::kManagers[device];
  if (siblings.empty() && mine != Manager::kNone && h.manager != mine) {
    unreserve(h.ioas, devices[device].id);
    return Errno::kInval;
  }
  devices[device].hwpt = hwpt;
  return {};
}

// 5.7: the whole group moves.
Answer Model::replace_by(std::size_t device, u32 hwpt) {
  const u32 old = devices[device].hwpt;
  if (old == hwpt) return {};
  const u32 from = hwpts.at(old).ioas, to = hwpts.at(hwpt).ioas;
  const Manager mine = Machine::kManagers[device];
  const std::vector<std::size_t> members = attached_of_group(device);
  if (mine != Manager::kNone) {
    if (from != to)
      if (const Answer no = can_reserve_for(device, ioases.at(to))) return no;
    if (const Manager other = hwpts.at(hwpt).manager; other != mine)
      return other == Manager::kNone ? Errno::kNoDev : Errno::kInval;
  }
  for (const std::size_t member : members) {
    devices[member].hwpt = hwpt;
    if (from == to) continue;
    unreserve(from, devices[member].id);
    FUZZ_CHECK(!reserve_for(member, to));
  }
  return {};
}

Result<u32> Model::attach(std::size_t device, u32 pt_id) {
  const u32 old = devices[device].hwpt;
  const auto change = [&](u32 hwpt) { return old == 0 ? attach_to(device, hwpt) : replace_by(device, hwpt); };
  const auto done = [&](u32 hwpt) {
    if (old != 0 && old != hwpt) leave(old);
    return hwpt;
  };
  if (hwpts.contains(pt_id)) {
    if (const Answer no = change(pt_id)) return Err(*no);
    return done(pt_id);
  }
  const auto ioas = ioases.find(pt_id);
  if (ioas == ioases.end()) return Err(exists(pt_id) ? Errno::kInval : Errno::kNoEnt);
  // 5.6: the first automatic HWPT that takes it; EINVAL asks the next.
  for (const u32 hwpt : ioas->second.hwpts) {
    if (!hwpts.at(hwpt).automatic) continue;
    const Answer no = change(hwpt);
    if (!no) return done(hwpt);
    if (*no != Errno::kInval) return Err(*no);
  }
  const u32 id = free_id();
  const Manager mine = Machine::kManagers[device];
  if (old != 0) {  // replace: the domain is filled first, then the device moves
    if (const Answer no = add_hwpt(pt_id, id, mine, true, false)) return Err(*no);
    if (const Answer no = replace_by(device, id)) {
      remove_hwpt(id);
      return Err(*no);
    }
    return done(id);
  }
  if (!attached_of_group(device).empty()) return Err(Errno::kInval);
  if (const Answer no = reserve_for(device, pt_id)) return Err(*no);
  if (const Answer no = add_hwpt(pt_id, id, mine, true, false)) {
    unreserve(pt_id, devices[device].id);
    return Err(*no);
  }
  devices[device].hwpt = id;
  return id;
}

void Model::detach(std::size_t device) {
  const u32 hwpt = std::exchange(devices[device].hwpt, 0);
  if (hwpt == 0) return;
  unreserve(hwpts.at(hwpt).ioas, devices[device].id);
  leave(hwpt);
}

void Model::unbind(std::size_t device) {
  detach(device);
  devices[device].id = 0;
}

// ---- entries -------------------------------------------------------------------------------------------------------

// Entries of 2 MiB are made where IOVA and memory are aligned and contiguous, unless pages are mapped one by one (3.9).
void Model::fill_entries(const Ioas& s, Hwpt& h, const Areas& areas) {
  constexpr u64 kHuge = SandboxMemory::kHugeSize;
  if (!s.huge_pages) return;
  for (const auto& [start, area] : areas) {
    if (area.pages->file >= 0 || area.va < SandboxMemory::kHugeBase || !is_aligned(start - area.va, kHuge)) continue;
    for (u64 at = align_down(start + (kHuge - 1), kHuge);
         area.last - start >= kHuge - 1 && at <= area.last - (kHuge - 1); at += kHuge)
      h.large.insert(at);
  }
}

void Model::forget_entries(const Ioas& s, u64 start, u64 last) {
  const auto inside = [&](u64 at) { return start <= at && at <= last; };
  for (const u32 hwpt : s.hwpts) {
    std::erase_if(hwpts.at(hwpt).large, inside);
    std::erase_if(hwpts.at(hwpt).dirty, inside);
  }
}

void Model::record_write(Hwpt& h, u64 iova) {
  if (!h.tracking) return;
  const u64 huge = align_down(iova, SandboxMemory::kHugeSize);
  h.dirty.insert(h.large.contains(huge) ? huge : align_down(iova, kPageSize));
}

std::vector<IovaRange> Model::read_dirty(Hwpt& h, u64 start, u64 last, bool clears) const {
  const Ioas& s = ioases.at(h.ioas);
  std::vector<IovaRange> out;
  // Up to the first byte that is not mapped.
  for (u64 at = start;;) {
    const auto area = area_at(s, at);
    if (area == s.areas.end()) return out;
    const u64 end = std::min(area->second.last, last);
    for (auto it = h.dirty.begin(); it != h.dirty.end();) {
      const u64 entry_last = *it + (h.large.contains(*it) ? SandboxMemory::kHugeSize : kPageSize) - 1;
      const bool met = *it <= end && at <= entry_last;
      if (met) out.push_back({std::max(*it, at), std::min(entry_last, end)});
      it = met && clears ? h.dirty.erase(it) : std::next(it);
    }
    if (end == last) return out;
    at = end + 1;
  }
}

}  // namespace iommufd::fuzz
