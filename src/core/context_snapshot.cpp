// SPDX-License-Identifier: BSD-3-Clause
// Snapshots (snapshot.hpp). Devices are not referred to while locks are free: the last reference to one may end the
// context. Groups and IOASes may be.
#include <algorithm>
#include <utility>

#include "core/context.hpp"
#include "core/device.hpp"
#include "core/group.hpp"
#include "core/ioas.hpp"
#include "iommu/device_port.hpp"

namespace iommufd::core {

Result<ContextSnapshot> Context::snapshot(Deadline deadline) {
  ContextSnapshot out;
  std::vector<Ref<Ioas>> ioases;
  std::vector<Ref<Group>> groups;
  {
    const MutexLock lock(mu_);
    for (const Slot& slot : slots_) {
      if (!slot.object) continue;
      const u32 id = std::to_underlying(slot.object->id());
      if (slot.object->type() == ObjectType::kIoas) {
        ioases.emplace_back(static_cast<Ioas&>(*slot.object));
        out.ioases.push_back(id);
      } else if (slot.object->type() == ObjectType::kDevice) {
        // It is in the table, so it has its group and its physical device.
        const Device& device = static_cast<const Device&>(*slot.object);
        const PhysicalDevice& physical = device.physical();
        DeviceSnapshot& d = out.devices.emplace_back(DeviceSnapshot{id, physical.name, {}, iommu::Kind::kNone});
        if (!physical.is_noiommu()) {
          d.iommu = physical.iommu->name();
          d.kind = physical.iommu->kind();
        }
        if (std::ranges::find(groups, &device.group(), &Ref<Group>::get) == groups.end())
          groups.emplace_back(device.group());
      }
    }
  }
  for (const Ref<Ioas>& ioas : ioases) IOMMUFD_TRY(ioas->snapshot(deadline, out.hwpts));
  for (const Ref<Group>& group : groups) IOMMUFD_TRY(group->snapshot(deadline, out.hwpts));
  return out;
}

Result<void> Group::snapshot(Deadline deadline, std::span<HwptSnapshot> hwpts) {
  if (!mu_.try_lock_until(deadline)) return Err(Errno::kBusy);
  const MutexLock lock(mu_, AdoptLock{});
  for (const auto& [pasid, attachment] : attachments_) {
    const auto hwpt = std::ranges::find(hwpts, std::to_underlying(attachment.hwpt->id()), &HwptSnapshot::id);
    if (hwpt == hwpts.end()) continue;  // newer than its copy would be
    for (const Attachment::Member& member : attachment.members) {
      const PhysicalDevice& physical = member.device->physical();
      AttachedDevice& d =
          hwpt->devices.emplace_back(AttachedDevice{std::to_underlying(member.device->id()), physical.name, pasid});
      if (pasid == kRid && !physical.is_noiommu() && physical.port != nullptr)
        d.iotlb = physical.port->iotlb_counters();
    }
  }
  return {};
}

Result<void> Ioas::snapshot(Deadline deadline, std::vector<HwptSnapshot>& out) {
  if (!hwpt_mu_.try_lock_until(deadline)) return Err(Errno::kBusy);
  const MutexLock hwpts_lock(hwpt_mu_, AdoptLock{});
  // Whoever changes a table holds it at least shared.
  if (!domains_mu_.try_lock_until(deadline)) return Err(Errno::kBusy);
  const WriteLock domains_lock(domains_mu_, AdoptLock{});
  out.reserve(out.size() + hwpts_.size());
  for (const HwptPaging* hwpt : hwpts_) {
    const iommu::Domain& domain = hwpt->domain();
    HwptSnapshot& s = out.emplace_back();
    s.id = std::to_underlying(hwpt->id());
    s.ioas = std::to_underlying(id());
    s.automatic = hwpt->is_automatic();
    s.iommu = domain.owner().name();
    s.kind = domain.owner().kind();
    s.tracking = domain.dirty_tracking();
    s.aperture = domain.aperture();
    s.table = pt::copy_table(domain.table());
  }
  return {};
}

}  // namespace iommufd::core
