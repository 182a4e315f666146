// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/registry.hpp"

#include <algorithm>
#include <utility>

#include "base/assert.hpp"
#include "base/explain.hpp"
#include "iommu/instance.hpp"

namespace iommufd::vfio {
namespace {

u32 lowest_free(const std::vector<u32>& taken) {
  u32 number = 0;
  while (std::ranges::find(taken, number) != taken.end()) ++number;
  return number;
}

bool in_one_group(const core::PhysicalDevice& a, const core::PhysicalDevice& b) {
  return !a.is_noiommu() && a.iommu == b.iommu && a.group_id == b.group_id;
}

}  // namespace

Registry::~Registry() = default;

void Registry::add(pci::Function& function, core::PhysicalDevice& physical) {
  const MutexLock lock(mu_);
  slots_.push_back(std::make_unique<Slot>(function, physical, watcher_, message_changes_));
  function.connect(slots_.back()->interrupts);
  if (const Ref<Group> group = find_group_locked(physical)) group->add_function(physical);
}

void Registry::reserve_group(u32 id) {
  const MutexLock lock(mu_);
  reserved_groups_.push_back(id);
}

Result<Ref<Device>> Registry::probe(const pci::Function& function, UnsafeNoiommu mode) {
  const MutexLock lock(mu_);
  const auto at = std::ranges::find_if(slots_, [&](const auto& s) { return &s->function == &function; });
  IOMMUFD_ASSERT(at != slots_.end() && !(*at)->device);
  Slot& slot = **at;
  if (slot.physical.is_noiommu() && mode == UnsafeNoiommu::kOff) {
    return reject(Errno::kInval,
                  {"enable_unsafe_noiommu_mode", 0, "must be on for a device without an IOMMU", "noiommu 2"});
  }
  std::vector<u32> taken;
  for (const auto& s : slots_)
    if (s->device) taken.push_back(s->device->index());
  const Ref<Group> group = group_of_locked(slot.physical);
  slot.device = make_ref<Device>(
      lowest_free(taken), Device::Parts{slot.function, slot.physical, slot.interrupts, slot.ioeventfds, slot.dma_bufs},
      group, *this);
  slot.interrupts.start_anew();
  group->add(*slot.device);
  return slot.device;
}

Ref<Group> Registry::find_group_locked(const core::PhysicalDevice& physical) const {
  const auto there =
      std::ranges::find_if(groups_, [&](const auto& g) { return in_one_group(*g->functions().front(), physical); });
  return there == groups_.end() ? nullptr : *there;
}

// The group of its IOMMU, if a device of it is registered, or a new one.
Ref<Group> Registry::group_of_locked(core::PhysicalDevice& physical) {
  if (Ref<Group> there = find_group_locked(physical)) return there;
  std::vector<u32> ids = reserved_groups_;  // that are taken
  std::vector<u32> minors;
  std::vector<core::PhysicalDevice*> functions;
  for (const auto& slot : slots_) {
    if (!slot->physical.is_noiommu()) ids.push_back(slot->physical.group_id);
    if (&slot->physical == &physical || in_one_group(slot->physical, physical)) functions.push_back(&slot->physical);
  }
  for (const Ref<Group>& group : groups_) {
    minors.push_back(group->minor_number());
    if (group->is_noiommu()) ids.push_back(group->id());
  }
  const u32 minor = lowest_free(minors), id = physical.is_noiommu() ? lowest_free(ids) : physical.group_id;
  const auto place = std::ranges::find_if(groups_, [&](const auto& g) { return g->minor_number() > minor; });
  return *groups_.insert(place, make_ref<Group>(id, minor, std::move(functions)));
}

void Registry::remove(Device& device) {
  Ref<Device> removed;  // dropped without the lock
  Ref<Group> gone;
  const MutexLock lock(mu_);
  const auto at = std::ranges::find_if(slots_, [&](const auto& s) { return s->device.get() == &device; });
  IOMMUFD_ASSERT(at != slots_.end());
  if (device.group().remove(device)) {
    const auto group = std::ranges::find(groups_, &device.group(), [](const auto& g) { return g.get(); });
    gone = std::move(*group);
    groups_.erase(group);
  }
  removed = std::exchange((*at)->device, nullptr);
}

std::vector<Ref<Device>> Registry::devices() const {
  const MutexLock lock(mu_);
  std::vector<Ref<Device>> out;
  for (const auto& slot : slots_)
    if (slot->device) out.push_back(slot->device);
  return out;
}

std::vector<Ref<Group>> Registry::groups() const {
  const MutexLock lock(mu_);
  return groups_;
}

Ref<Device> Registry::find(std::string_view name) const {
  for (Ref<Device>& device : devices())
    if (device->name() == name) return std::move(device);
  return nullptr;
}

Ref<Group> Registry::find_group(u32 minor) const {
  for (Ref<Group>& group : groups())
    if (group->minor_number() == minor) return std::move(group);
  return nullptr;
}

Result<std::vector<Dependent>> Registry::dependents(const Device& device, const core::Context* ctx) const {
  const pci::Bdf& at = device.function().bdf();
  if (device.function().on_root_bus()) {
    return reject(Errno::kNoDev, {"bus", at.bus, "a root bus cannot be reset", "vfio-device 14"});
  }
  std::vector<Seen> hit;
  {
    const MutexLock lock(mu_);
    for (const auto& slot : slots_) {
      if (slot->function.is_below(at)) hit.push_back({&slot->function, &slot->physical, slot->device});
    }
  }
  std::vector<Dependent> out;
  out.reserve(hit.size());
  for (const Seen& seen : hit) out.push_back(describe(seen, ctx));
  return out;
}

void Registry::hot_reset(std::span<const Dependent> hit) const {
  struct Hit {
    pci::Function* function;
    Ref<Device> device;  // null: VFIO has not taken it
  };
  std::vector<Hit> functions;
  {
    const MutexLock lock(mu_);
    for (const auto& slot : slots_) {
      const auto same = [&](const Dependent& d) { return d.bdf == slot->function.bdf(); };
      if (std::ranges::any_of(hit, same)) functions.push_back({&slot->function, slot->device});
    }
  }
  for (const Hit& one : functions) {
    if (one.device) {
      one.device->reset();
    } else {
      one.function->reset();
    }
  }
}

// No IOMMU knows the group of a noiommu device, so nothing but its own binding makes it the context's.
Dependent Registry::describe(const Seen& seen, const core::Context* ctx) {
  Dependent out{.bdf = seen.function->bdf()};
  if (seen.device) {
    out.group = Ref<Group>(seen.device->group());
    out.iommu_group = out.group->id();
  } else if (!seen.physical->is_noiommu()) {
    out.iommu_group = seen.physical->group_id;
  }
  if (ctx == nullptr) return out;
  const Ref<core::Device> bound = seen.device ? seen.device->bound() : nullptr;
  if (bound && &bound->context() == ctx) {
    out.owner = Dependent::Owner::kBound;
    out.id = bound->id();
  } else if (!seen.physical->is_noiommu() && seen.physical->iommu->owns_group(seen.physical->group_id, ctx)) {
    out.owner = Dependent::Owner::kSameGroup;
  }
  return out;
}

}  // namespace iommufd::vfio
