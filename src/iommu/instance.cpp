// SPDX-License-Identifier: BSD-3-Clause
#include "iommu/instance.hpp"

#include <cstring>

#include "base/assert.hpp"
#include "base/explain.hpp"
#include "pt/formats.hpp"

namespace iommufd::iommu {
namespace {

// The interrupt window of x86: memory writes there are messages, never DMA.
constexpr IovaRange kMsiWindow{0xfee0'0000, 0xfeef'ffff};

// What our IOMMUs say of themselves. AMD: extended feature register with 5-level host tables (HATS = 2), GASup, and
// accessed and dirty bits in host tables (HASup, HDSup).
constexpr u64 kAmdEfr = (u64{2} << 10) | (u64{1} << 7) | (u64{1} << 49) | (u64{1} << 52);
// VT-d: 48-bit guest addresses (MGAW 47), 4-level second stage (SAGAW bit 2), 2 MiB and 1 GiB pages (SLLPS), 256
// fault registers less one; coherent walks, queued invalidation, snoop control; scalable mode with second stage and its
// accessed and dirty bits (SMTS, SLADS, SLTS).
constexpr u64 kVtdCap = (u64{47} << 16) | (u64{1} << 10) | (u64{3} << 34) | (u64{1} << 39);
constexpr u64 kVtdEcap =
    (u64{1} << 0) | (u64{1} << 1) | (u64{1} << 7) | (u64{1} << 43) | (u64{1} << 45) | (u64{1} << 46);
// Snoop control is on, as iommufd switches it on for devices whose IOMMU has it (spec iommufd-core 5.5).
constexpr pt::VtdConfig kVtdTable{3, 48, 52, {pt::Feature::kForceCoherence}, ~u64{0}};

constexpr u32 kHwInfoIntelVtd = 1;  // enum iommu_hw_info_type; abi sits above nothing this folder may include
constexpr u32 kHwInfoAmd = 4;

template <class... Words>
std::vector<std::byte> words(Words... w) {
  std::vector<std::byte> out;
  const auto put = [&](u64 v) {
    const std::size_t at = out.size();
    out.resize(at + sizeof v);
    std::memcpy(out.data() + at, &v, sizeof v);
  };
  (put(w), ...);
  return out;
}

}  // namespace

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kNone: return "none";
    case Kind::kAmd: return "amd";
    case Kind::kVtd: return "vtd";
    case Kind::kMock: return "mock";
  }
  return "?";
}

std::optional<Kind> parse_kind(std::string_view name) {
  for (const Kind kind : {Kind::kNone, Kind::kAmd, Kind::kVtd})
    if (name == kind_name(kind)) return kind;
  return std::nullopt;
}

Instance::Instance(Kind kind, std::string name, pt::TableArena& arena)
    : kind_(kind), name_(std::move(name)), arena_(arena) {}

Result<std::unique_ptr<Domain>> Instance::alloc_domain(const DomainFlags& flags, const UserData& data) {
  if (data.length != 0)
    return reject(Errno::kOpNotSupp,
                  {"data_type", data.type, "a paging HWPT of this IOMMU takes no user data", "iommufd-hwpt 4.3"});
  // Nesting and PASIDs are capabilities that none of these IOMMUs reports.
  if (flags.nest_parent || flags.pasid || (flags.dirty_tracking && !can_track_dirty()))
    return reject(Errno::kOpNotSupp,
                  {"flags", 0, "the IOMMU of this device lacks what the flag asks for", "iommufd-core A.1 row 5f"});
  std::unique_ptr<pt::Table> table;
  switch (kind_) {
    case Kind::kNone:
    case Kind::kAmd: table = IOMMUFD_TRY(pt::make_amd_v1(arena_)); break;
    case Kind::kVtd: table = IOMMUFD_TRY(pt::make_vtd_second_stage(arena_, kVtdTable)); break;
    case Kind::kMock: return Err(Errno::kOpNotSupp);  // its own class makes them
  }
  const IovaRange aperture = table->aperture();
  return std::make_unique<Domain>(*this, arena_, std::move(table), aperture,
                                  flags.dirty_tracking ? DirtyTracking::kOff : DirtyTracking::kUnsupported);
}

HwInfo Instance::hw_info() const {
  switch (kind_) {
    case Kind::kNone: return {};
    case Kind::kAmd: return {kHwInfoAmd, words(kAmdEfr, u64{0})};
    case Kind::kMock: return {};
    case Kind::kVtd: return {kHwInfoIntelVtd, words(u64{0}, kVtdCap, kVtdEcap)};  // first word: flags and reserved
  }
  return {};
}

std::vector<IovaRange> Instance::reserved_regions() const {
  if (kind_ == Kind::kNone) return {};
  return {kMsiWindow};
}

Result<void> Instance::claim_group(u32 group, const void* owner) {
  const MutexLock lock(mu_);
  const auto [it, fresh] = claims_.try_emplace(group, Claim{owner, 0});
  if (it->second.owner != owner)
    return reject(Errno::kPerm,
                  {"group", group, "the IOMMU group is owned by another context", "iommufd-core 5.1 row 5"});
  ++it->second.count;
  return {};
}

void Instance::release_group(u32 group, const void* owner) {
  const MutexLock lock(mu_);
  const auto it = claims_.find(group);
  IOMMUFD_ASSERT(it != claims_.end() && it->second.owner == owner);
  if (--it->second.count == 0) claims_.erase(it);
}

bool Instance::owns_group(u32 group, const void* owner) {
  const MutexLock lock(mu_);
  const auto it = claims_.find(group);
  return it != claims_.end() && it->second.owner == owner;
}

}  // namespace iommufd::iommu
