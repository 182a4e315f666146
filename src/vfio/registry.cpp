// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/registry.hpp"

#include <algorithm>

#include "base/explain.hpp"
#include "iommu/instance.hpp"

namespace iommufd::vfio {

Result<std::reference_wrapper<Device>> Registry::add(pci::Function& function, core::PhysicalDevice& physical,
                                                     UnsafeNoiommu mode, u32 own_group) {
  slots_.push_back({&function, &physical, nullptr});
  if (physical.is_noiommu() && mode == UnsafeNoiommu::kOff) {
    return reject(Errno::kInval,
                  {"enable_unsafe_noiommu_mode", 0, "must be on for a device without an IOMMU", "noiommu 2"});
  }
  const u32 number = static_cast<u32>(devices_.size());
  const u32 id = physical.is_noiommu() ? own_group : physical.group_id;
  auto group =
      std::ranges::find_if(groups_, [&](const auto& g) { return g->id() == id && g->iommu() == physical.iommu; });
  if (group == groups_.end()) group = groups_.insert(group, std::make_unique<Group>(id, physical));
  devices_.push_back(std::make_unique<Device>(number, function, physical, **group, *this));
  (*group)->add(*devices_.back());
  slots_.back().device = devices_.back().get();
  return *devices_.back();
}

Device* Registry::find(std::string_view name) const {
  const auto it =
      std::ranges::find(devices_, name, [](const auto& device) -> std::string_view { return device->name(); });
  return it == devices_.end() ? nullptr : it->get();
}

Result<std::vector<Dependent>> Registry::dependents(const Device& device, const core::Context* ctx) const {
  const pci::Bdf& at = device.function().bdf();
  if (device.function().on_root_bus()) {
    return reject(Errno::kNoDev, {"bus", at.bus, "a root bus cannot be reset", "vfio-device 14"});
  }
  std::vector<Dependent> out;
  for (const Slot& slot : slots_) {
    const pci::Bdf& other = slot.function->bdf();
    if (other.domain == at.domain && other.bus == at.bus) out.push_back(describe(slot, ctx));
  }
  return out;
}

void Registry::hot_reset(std::span<const Dependent> hit) const {
  for (const Slot& slot : slots_) {
    const auto same = [&](const Dependent& d) { return d.bdf == slot.function->bdf(); };
    if (std::ranges::none_of(hit, same)) continue;
    if (slot.device != nullptr) {
      slot.device->reset();
    } else {
      slot.function->reset();
    }
  }
}

// No IOMMU knows the group of a noiommu device, so nothing but its own binding makes it the context's.
Dependent Registry::describe(const Slot& slot, const core::Context* ctx) {
  Dependent out{.bdf = slot.function->bdf()};
  if (slot.device != nullptr) out.group = &slot.device->group();
  if (ctx == nullptr) return out;
  const Ref<core::Device> bound = slot.device != nullptr ? slot.device->bound() : nullptr;
  if (bound && &bound->context() == ctx) {
    out.owner = Dependent::Owner::kBound;
    out.id = bound->id();
  } else if (!slot.physical->is_noiommu() && slot.physical->iommu->owns_group(slot.physical->group_id, ctx)) {
    out.owner = Dependent::Owner::kSameGroup;
  }
  return out;
}

}  // namespace iommufd::vfio
