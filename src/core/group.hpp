// SPDX-License-Identifier: BSD-3-Clause
// Attachments of an IOMMU group within one context (spec iommufd-core 5.2): which HWPT each PASID uses and which
// devices of the group share it. A noiommu device has a private dummy group: no Instance behind it, never in the
// context's table of groups, one device for ever (noiommu.md 7).
//
// Lock: mu_ (kGroup) serialises attach, replace and detach. It nests inside kHwptList and outside kDomains.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "core/device.hpp"
#include "core/hwpt.hpp"

namespace iommufd::core {

class Group final : public RefCounted {
 public:
  // `instance` null: the dummy group of a noiommu device.
  Group(iommu::Instance* instance, u32 id) : instance_(instance), id_(id) {}

  [[nodiscard]] iommu::Instance* instance() const { return instance_; }
  [[nodiscard]] u32 id() const { return id_; }

  // Spec 5.5. Errors: kBusy, kInval, kAddrInUse, ...
  Result<void> attach(Device& device, Pasid pasid, HwptPaging& hwpt) IOMMUFD_EXCLUDES(mu_);
  // Spec 5.7: moves the whole group. The uses of the old HWPT go to `old`, to be dropped with no lock held.
  Result<void> replace(Device& device, Pasid pasid, HwptPaging& hwpt, std::vector<Use<HwptPaging>>& old)
      IOMMUFD_EXCLUDES(mu_);
  // Spec 5.8. The use of the HWPT that the device had, or an empty one when it was not attached.
  Use<HwptPaging> detach(Device& device, Pasid pasid) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] bool is_attached(const Device& device, Pasid pasid) IOMMUFD_EXCLUDES(mu_);

  // The highest PASID at which `device` is attached: the RID comes last.
  [[nodiscard]] std::optional<Pasid> last_pasid_of(const Device& device) IOMMUFD_EXCLUDES(mu_);

  // Enters who is attached to the HWPTs of `hwpts`. Errors: kBusy (until the deadline).
  Result<void> snapshot(Deadline deadline, std::span<HwptSnapshot> hwpts) IOMMUFD_EXCLUDES(mu_);

  // Devices bound through it; guarded by the context's table lock.
  void join() { ++devices_; }
  bool leave() { return --devices_ == 0; }

 private:
  struct Attachment {
    HwptPaging* hwpt = nullptr;
    // One use of the HWPT and one of the device for each member.
    struct Member {
      Use<Device> device;
      Use<HwptPaging> hwpt;
    };
    std::vector<Member> members;
  };

  [[nodiscard]] bool has_pasids_locked() const IOMMUFD_REQUIRES(mu_);
  Result<void> check_pasid_locked(Pasid pasid, const HwptPaging& hwpt) const IOMMUFD_REQUIRES(mu_);
  static void program(const Device& device, Pasid pasid, HwptPaging* hwpt);
  static Result<void> ask(const Device& device, Pasid pasid, HwptPaging* hwpt);

  iommu::Instance* const instance_;
  const u32 id_;
  u32 devices_ = 0;
  Mutex mu_{LockRank::kGroup};
  std::map<Pasid, Attachment> attachments_ IOMMUFD_GUARDED_BY(mu_);
};

}  // namespace iommufd::core
