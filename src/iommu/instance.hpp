// SPDX-License-Identifier: BSD-3-Clause
// An IOMMU of the machine: what kind it is, what it can do, and how its domains are made. The noiommu operations are an
// Instance too, of kind kNone, that manages no device: PhysicalDevice::iommu stays null (core/device.hpp).
//
// Thread-safe. DMA ownership (which context owns a group) is guarded by mu_.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/sync.hpp"
#include "base/types.hpp"
#include "iommu/domain.hpp"
#include "iommu/kind.hpp"
#include "iommu/reserved.hpp"

namespace iommufd::iommu {

// Flags of IOMMU_HWPT_ALLOC as drivers see them (FAULT_ID_VALID is the core's).
struct DomainFlags {
  bool nest_parent = false;
  bool dirty_tracking = false;
  bool pasid = false;
};

// What GET_HW_INFO tells of the IOMMU behind a device: type (enum iommu_hw_info_type) and payload bytes.
struct HwInfo {
  u32 type = 0;
  std::vector<std::byte> payload;
};

// User data of IOMMU_HWPT_ALLOC, for the driver of the IOMMU to make sense of.
struct UserData {
  u32 type = 0;
  u32 length = 0;  // bytes; 0: there is none
  // Copies the first bytes of it. Errors: kFault.
  std::function<Result<void>(std::span<std::byte>)> read;
};

class DevicePort;

class Instance {
 public:
  // `name` as under /sys/class/iommu: "ivhd0", "dmar0".
  // `extra`: reserved beside what its kind reserves.
  Instance(Kind kind, std::string name, pt::TableArena& arena, std::vector<ReservedRegion> extra = {});
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;
  virtual ~Instance() = default;

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] const std::string& name() const { return name_; }

  // A domain as this IOMMU's driver would make it. Errors: kOpNotSupp (a flag or user data that it does not know), kNoMem;
  // kInval, kFault (user data).
  virtual Result<std::unique_ptr<Domain>> alloc_domain(const DomainFlags& flags, const UserData& data);
  [[nodiscard]] virtual HwInfo hw_info() const;
  // Whether its page-table walker sets dirty bits, in the tables that it makes for domains that track them.
  [[nodiscard]] bool can_track_dirty() const {
    return kind_ != Kind::kNone && kind_ != Kind::kRiscV && kind_ != Kind::kSmmuV3;
  }
  // IOVA that devices behind it must not use, as merge_reserved() has it: where interrupts go, and what it was given.
  [[nodiscard]] std::span<const ReservedRegion> reserved() const { return reserved_; }
  // The same without types.
  [[nodiscard]] std::vector<IovaRange> reserved_regions() const;

  // DMA ownership of group `group`: one owner, several claims. Errors: kPerm when somebody else owns it.
  Result<void> claim_group(u32 group, const void* owner) IOMMUFD_EXCLUDES(mu_);
  void release_group(u32 group, const void* owner) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] bool owns_group(u32 group, const void* owner) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] bool is_group_owned(u32 group) IOMMUFD_EXCLUDES(mu_);

  // A device that this IOMMU translates for. Pre: `port` outlives the use of the IOMMU, and nobody flushes meanwhile.
  void add_port(DevicePort& port);
  // Every device that `domain` translates for, or did a moment ago, forgets what it knows of the range and ends what it has
  // begun there. With none of them busy it waits for nothing. Never inside a transaction.
  void flush(const Domain& domain, IovaRange range);

 protected:
  [[nodiscard]] pt::TableArena& arena() const { return arena_; }

 private:
  struct Claim {
    const void* owner;
    u32 count;
  };
  const Kind kind_;
  const std::string name_;
  const std::vector<ReservedRegion> reserved_;
  pt::TableArena& arena_;
  std::atomic<DevicePort*> ports_{nullptr};  // the last one that came, first
  Mutex mu_{LockRank::kLeaf};
  std::map<u32, Claim> claims_ IOMMUFD_GUARDED_BY(mu_);
};

}  // namespace iommufd::iommu
