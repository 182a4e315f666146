// SPDX-License-Identifier: BSD-3-Clause
#include "core/group.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "base/explain.hpp"
#include "base/fault_point.hpp"
#include "base/rollback.hpp"
#include "core/ioas.hpp"
#include "iommu/device_port.hpp"

namespace iommufd::core {
namespace {

constexpr const char* kSection = "iommufd-core 5.5";

}  // namespace

// A noiommu device has no hardware to program; a PASID of a device without PASIDs has none either (spec 5.5).
void Group::program(const Device& device, Pasid pasid, HwptPaging* hwpt) {
  if (device.physical().is_noiommu() || pasid != kRid || device.physical().port == nullptr) return;
  device.physical().port->attach(hwpt == nullptr ? nullptr : &hwpt->domain());
}

// The driver has its say before anything changes.
Result<void> Group::ask(const Device& device, Pasid pasid, HwptPaging* hwpt) {
  AttachHook* hook = device.physical().hook;
  if (hook == nullptr) return {};
  return hook->set_hwpt(pasid, hwpt);
}

bool Group::has_pasids_locked() const {
  return std::ranges::any_of(attachments_, [](const auto& a) { return a.first != kRid; });
}

Result<void> Group::check_pasid_locked(Pasid pasid, const HwptPaging& hwpt) const {
  if (pasid == kRid) {
    if (!hwpt.pasid_compatible() && has_pasids_locked())
      return reject(Errno::kInval, {"pt_id", std::to_underlying(hwpt.id()),
                                    "PASIDs are attached: the HWPT needs ALLOC_PASID", kSection});
    return {};
  }
  if (!hwpt.pasid_compatible())
    return reject(Errno::kInval,
                  {"pt_id", std::to_underlying(hwpt.id()), "a PASID needs a HWPT made with ALLOC_PASID", kSection});
  const auto rid = attachments_.find(kRid);
  if (rid != attachments_.end() && !rid->second.hwpt->pasid_compatible())
    return reject(Errno::kInval,
                  {"pasid", pasid, "the device itself is attached to a HWPT made without ALLOC_PASID", kSection});
  return {};
}

Result<void> Group::attach(Device& device, Pasid pasid, HwptPaging& hwpt) {
  const MutexLock lock(mu_);
  const auto it = attachments_.find(pasid);
  const bool first = it == attachments_.end();
  if (!first) {
    if (std::ranges::any_of(it->second.members, [&](const auto& m) { return m.device.get() == &device; }))
      return reject(Errno::kBusy, {"pt_id", std::to_underlying(hwpt.id()), "the device is already attached", kSection});
    if (it->second.hwpt != &hwpt)
      return reject(Errno::kInval, {"pt_id", std::to_underlying(hwpt.id()),
                                    "another device of the group is attached elsewhere", kSection});
  }
  const PhysicalDevice& physical = device.physical();
  const bool reserves = pasid == kRid && !physical.is_noiommu();
  if (reserves) {
    IOMMUFD_TRY(fault::point(Errno::kInval));
    IOMMUFD_TRY(hwpt.ioas().reserve(physical.reserved, &device));
  }
  Rollback unreserve{[&] {
    if (reserves) hwpt.ioas().unreserve(&device);
  }};
  if (first) {
    IOMMUFD_TRY(check_pasid_locked(pasid, hwpt));
    if (!physical.is_noiommu() && &hwpt.domain().owner() != physical.iommu)
      return reject(Errno::kInval,
                    {"pt_id", std::to_underlying(hwpt.id()), "the HWPT was made for another IOMMU", kSection});
    if (pasid != kRid && physical.max_pasids != 0 && pasid >= physical.max_pasids)
      return reject(Errno::kInval, {"pasid", pasid, "the device has no PASID of that number", kSection});
  }
  Use<Device> device_use = Use<Device>::try_acquire(device);
  Use<HwptPaging> hwpt_use = Use<HwptPaging>::try_acquire(hwpt);
  IOMMUFD_ASSERT(device_use && hwpt_use);  // the caller holds one of each
  const auto entry = attachments_.try_emplace(pasid).first;
  Rollback forget{[&]() IOMMUFD_REQUIRES(mu_) {
    if (first) attachments_.erase(entry);
  }};
  Attachment& attachment = entry->second;
  attachment.members.reserve(attachment.members.size() + 1);
  if (first) IOMMUFD_TRY(ask(device, pasid, &hwpt));
  attachment.hwpt = &hwpt;
  attachment.members.push_back({std::move(device_use), std::move(hwpt_use)});
  forget.commit();
  unreserve.commit();
  program(device, pasid, &hwpt);
  return {};
}

Result<void> Group::replace(Device& device, Pasid pasid, HwptPaging& hwpt, std::vector<Use<HwptPaging>>& old) {
  const MutexLock lock(mu_);
  const auto it = attachments_.find(pasid);
  if (it == attachments_.end() ||
      std::ranges::none_of(it->second.members, [&](const auto& m) { return m.device.get() == &device; }))
    return reject(Errno::kInval, {"pasid", pasid, "nothing is attached that could be replaced", "iommufd-core 5.7"});
  Attachment& attachment = it->second;
  if (attachment.hwpt == &hwpt) return {};

  Ioas& from = attachment.hwpt->ioas();
  Ioas& to = hwpt.ioas();
  const bool moves = pasid == kRid && &from != &to && instance_ != nullptr;
  std::size_t reserved = 0;
  Rollback unreserve{[&] {
    for (std::size_t i = 0; i < reserved; ++i) to.unreserve(attachment.members[i].device.get());
  }};
  if (moves) {
    for (; reserved < attachment.members.size(); ++reserved) {
      Device& member = *attachment.members[reserved].device;
      IOMMUFD_TRY(fault::point(Errno::kInval));
      IOMMUFD_TRY(to.reserve(member.physical().reserved, &member));
    }
  }
  IOMMUFD_TRY(check_pasid_locked(pasid, hwpt));
  if (instance_ != nullptr && &hwpt.domain().owner() != instance_)
    return reject(hwpt.domain().is_noiommu() ? Errno::kNoDev : Errno::kInval,
                  {"pt_id", std::to_underlying(hwpt.id()), "the HWPT was made for another IOMMU",
                   "iommufd-core 5.7, noiommu 11"});
  old.reserve(old.size() + attachment.members.size());
  std::size_t asked = 0;
  Rollback ask_back{[&] {
    for (std::size_t i = 0; i < asked; ++i)
      static_cast<void>(ask(*attachment.members[i].device, pasid, attachment.hwpt));
  }};
  for (; asked < attachment.members.size(); ++asked) IOMMUFD_TRY(ask(*attachment.members[asked].device, pasid, &hwpt));
  ask_back.commit();
  for (Attachment::Member& member : attachment.members) {
    Use<HwptPaging> use = Use<HwptPaging>::try_acquire(hwpt);
    IOMMUFD_ASSERT(use);  // the caller holds one
    std::swap(member.hwpt, use);
    old.push_back(std::move(use));
    program(*member.device, pasid, &hwpt);
    if (moves) from.unreserve(member.device.get());
  }
  attachment.hwpt = &hwpt;
  unreserve.commit();
  return {};
}

Use<HwptPaging> Group::detach(Device& device, Pasid pasid) {
  Use<HwptPaging> hwpt;
  Use<Device> self;  // dropped after the lock
  const MutexLock lock(mu_);
  const auto it = attachments_.find(pasid);
  if (it == attachments_.end()) return hwpt;
  std::vector<Attachment::Member>& members = it->second.members;
  const auto member = std::ranges::find_if(members, [&](const auto& m) { return m.device.get() == &device; });
  if (member == members.end()) return hwpt;
  program(device, pasid, nullptr);
  if (members.size() == 1) static_cast<void>(ask(device, pasid, nullptr));
  if (pasid == kRid) it->second.hwpt->ioas().unreserve(&device);
  std::swap(hwpt, member->hwpt);
  std::swap(self, member->device);
  members.erase(member);
  if (members.empty()) attachments_.erase(it);
  return hwpt;
}

bool Group::is_attached(const Device& device, Pasid pasid) {
  const MutexLock lock(mu_);
  const auto it = attachments_.find(pasid);
  return it != attachments_.end() &&
         std::ranges::any_of(it->second.members, [&](const auto& m) { return m.device.get() == &device; });
}

std::optional<Pasid> Group::last_pasid_of(const Device& device) {
  const MutexLock lock(mu_);
  for (auto it = attachments_.rbegin(); it != attachments_.rend(); ++it)
    if (std::ranges::any_of(it->second.members, [&](const auto& m) { return m.device.get() == &device; }))
      return it->first;
  return {};
}

}  // namespace iommufd::core
