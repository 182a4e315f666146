// SPDX-License-Identifier: BSD-3-Clause
#include "iommu/instance.hpp"

#include <array>
#include <cstring>

#include "base/assert.hpp"
#include "base/explain.hpp"
#include "iommu/device_port.hpp"
#include "pt/formats.hpp"

namespace iommufd::iommu {
namespace {

// The interrupt window of x86: memory writes there are messages, never DMA.
constexpr ReservedRegion kMsiWindow{{0xfee0'0000, 0xfeef'ffff}, ReservedType::kMsi};
// What AMD's processors take for messages of HyperTransport (AMD I/O Virtualization Technology, 2.1.2). QEMU's block driver
// counts on a range that does not end at 2^64: its search for addresses begins at the end of the last one plus 1.
constexpr ReservedRegion kHyperTransport{{0xfd'0000'0000, 0xff'ffff'ffff}, ReservedType::kReserved};
// Arm: where Linux maps the doorbell of the interrupt controller (IOMMU_RESV_SW_MSI).
constexpr ReservedRegion kSoftwareMsi{{0x800'0000, 0x80f'ffff}, ReservedType::kSoftwareMsi};

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

// AMD v2: guest translation, four levels (GTSup; GATS = 0).
constexpr u64 kAmdGuestEfr = kAmdEfr | (u64{1} << 4);
// VT-d first stage beside the second (FSTS), with 1 GiB pages (FS1GP).
constexpr u64 kVtdFirstStageCap = kVtdCap | (u64{1} << 56);
constexpr u64 kVtdFirstStageEcap = kVtdEcap | (u64{1} << 47);
// SMMUv3: stage 2 only (S2P), AArch64 tables (TTF = 2), coherent walks (COHACC); 16-bit stream ids; 48-bit output (OAS = 5), 4 KiB
// granule. AIDR says version 3.1.
constexpr std::array<u32, 10> kSmmuInfo{0, 0, 1 | 2 << 2 | 1 << 4, 16, 0, 0, 0, 5 | 1 << 4, 0, 1};

constexpr pt::X86Config kAmdV2Table{3, 47, 52, {}, ~u64{0}};
constexpr pt::X86Config kVtdS1Table{3, 48, 52, {pt::Feature::kSignExtend}, ~u64{0}};
constexpr pt::RiscVConfig kRiscVTable{57, 56, true};
constexpr pt::ArmLpaeConfig kSmmuTable{3, 48, 48, {}, ~u64{0}};

constexpr u32 kHwInfoIntelVtd = 1;  // enum iommu_hw_info_type; abi sits above nothing this folder may include
constexpr u32 kHwInfoArmSmmuV3 = 2, kHwInfoAmd = 4;

std::vector<ReservedRegion> with_reserved_of(Kind kind, std::vector<ReservedRegion> regions) {
  switch (kind) {
    case Kind::kNone:
    case Kind::kMock:
    case Kind::kRiscV: break;  // RISC-V: interrupts are translated like other writes
    case Kind::kSmmuV3: regions.push_back(kSoftwareMsi); break;
    case Kind::kAmd:
    case Kind::kAmdV2:
      regions.push_back(kMsiWindow);
      regions.push_back(kHyperTransport);
      break;
    default: regions.push_back(kMsiWindow);
  }
  return merge_reserved(std::move(regions));
}

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

Instance::Instance(Kind kind, std::string name, pt::TableArena& arena, std::vector<ReservedRegion> extra)
    : kind_(kind), name_(std::move(name)), reserved_(with_reserved_of(kind, std::move(extra))), arena_(arena) {}

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
    // x86-64 tables have no dirty state that could be read back: as the kernel's drivers do, the other kind of table is used.
    case Kind::kAmdV2:
      table = IOMMUFD_TRY(flags.dirty_tracking ? pt::make_amd_v1(arena_) : pt::make_x86(arena_, kAmdV2Table));
      break;
    case Kind::kVtdS1:
      table = IOMMUFD_TRY(flags.dirty_tracking ? pt::make_vtd_second_stage(arena_, kVtdTable)
                                               : pt::make_x86(arena_, kVtdS1Table));
      break;
    case Kind::kRiscV: table = IOMMUFD_TRY(pt::make_riscv(arena_, kRiscVTable)); break;
    case Kind::kSmmuV3: table = IOMMUFD_TRY(pt::make_arm_lpae(arena_, kSmmuTable)); break;
    case Kind::kMock: return Err(Errno::kOpNotSupp);  // its own class makes them
  }
  const IovaRange aperture = table->aperture();
  return std::make_unique<Domain>(*this, arena_, std::move(table), aperture,
                                  flags.dirty_tracking ? DirtyTracking::kOff : DirtyTracking::kUnsupported);
}

HwInfo Instance::hw_info() const {
  switch (kind_) {
    case Kind::kAmd: return {kHwInfoAmd, words(kAmdEfr, u64{0})};
    case Kind::kAmdV2: return {kHwInfoAmd, words(kAmdGuestEfr, u64{0})};
    case Kind::kVtd: return {kHwInfoIntelVtd, words(u64{0}, kVtdCap, kVtdEcap)};  // first word: flags and reserved
    case Kind::kVtdS1: return {kHwInfoIntelVtd, words(u64{0}, kVtdFirstStageCap, kVtdFirstStageEcap)};
    case Kind::kSmmuV3: {
      const auto bytes = std::as_bytes(std::span(kSmmuInfo));
      return {kHwInfoArmSmmuV3, {bytes.begin(), bytes.end()}};
    }
    case Kind::kNone:
    case Kind::kMock:
    case Kind::kRiscV: break;  // its driver has no such query
  }
  return {};
}

std::vector<IovaRange> Instance::reserved_regions() const {
  std::vector<IovaRange> ranges;
  ranges.reserve(reserved_.size());
  for (const ReservedRegion& region : reserved_) ranges.push_back(region.range);
  return ranges;
}

void Instance::add_port(DevicePort& port) {
  port.next_ = ports_.load(std::memory_order_relaxed);
  ports_.store(&port, std::memory_order_release);
}

void Instance::flush(const Domain& domain, IovaRange range) {
  DevicePort* port = ports_.load(std::memory_order_acquire);
  if (port == nullptr) return;
  full_fence();
  for (; port != nullptr; port = port->next_) port->flush(domain, range);
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

bool Instance::is_group_owned(u32 group) {
  const MutexLock lock(mu_);
  return claims_.contains(group);
}

}  // namespace iommufd::iommu
