// SPDX-License-Identifier: BSD-3-Clause
#include "machine/machine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <tuple>

namespace iommufd::machine {
namespace {

mem::PhysPolicy policy_of(const PhysSpec& spec) {
  mem::PhysPolicy policy;
  policy.kind = spec.kind == PhysSpec::Kind::kContiguous ? mem::PhysPolicy::Kind::kContiguous
                                                         : mem::PhysPolicy::Kind::kFragmented;
  policy.seed = spec.seed.value_or(policy.seed);
  policy.base = spec.base.value_or(policy.base);
  policy.size = spec.size.value_or(policy.size);
  return policy;
}

constexpr u64 kMmioEnd = 0xfec0'0000;  // below the I/O APIC, and far below the MSI window
constexpr u32 kFirstIrq = 16;          // the first that PC interrupt routing gives to PCI

// How many groups the IOMMUs will have: one for each slot behind one.
u32 iommu_groups(const MachineSpec& spec) {
  std::set<std::tuple<iommu::Kind, u16, u8, u8>> slots;
  for (const DeviceSpec& device : spec.devices) {
    const pci::Bdf& at = *device.address;
    if (device.iommu != iommu::Kind::kNone) slots.emplace(device.iommu, at.domain, at.bus, at.device);
  }
  return static_cast<u32>(slots.size());
}

}  // namespace

std::expected<std::unique_ptr<Machine>, std::string> Machine::create(const MachineSpec& spec) {
  std::unique_ptr<Machine> machine(new Machine(spec));
  Result<std::unique_ptr<iommu::Platform>> platform = iommu::Platform::create(policy_of(spec.phys));
  if (!platform)
    return std::unexpected(
        fmt::format("--phys: no usable physical memory in that window ({}): it needs whole 2 MiB blocks "
                    "outside 3 GiB to 4 GiB and below 64 TiB",
                    errno_name(platform.error())));
  machine->platform_ = std::move(*platform);
  if (spec.selftest == Selftest::kOn) machine->selftest_ = std::make_unique<selftest::World>(*machine->platform_);
  for (const DeviceSpec& device : spec.devices)
    if (const auto added = machine->add(device); !added) return std::unexpected(added.error());
  if (spec.seed_dma_fault)
    for (const auto& device : machine->devices_) device->port->corrupt_write(*spec.seed_dma_fault);
  return machine;
}

Machine::Machine(const MachineSpec& spec)
    : noiommu_(spec.noiommu), container_(spec.container), next_own_group_(iommu_groups(spec)) {}

Machine::~Machine() = default;

iommu::Instance& Machine::instance(iommu::Kind kind) {
  const auto found = std::ranges::find_if(iommus_, [&](const auto& i) { return i->kind() == kind; });
  if (found != iommus_.end()) return **found;
  // As the kernel's drivers name theirs under /sys/class/iommu.
  const iommu::KindInfo& info = *std::ranges::find(iommu::device_kinds(), kind, &iommu::KindInfo::kind);
  std::string name(info.node);
  if (info.numbered)
    name +=
        std::to_string(std::ranges::count_if(iommus_, [&](const auto& i) { return i->name().starts_with(info.node); }));
  return *iommus_.emplace_back(std::make_unique<iommu::Instance>(kind, std::move(name), platform_->tables()));
}

// Functions of one slot cannot be told apart without ACS between them: they share a group, as in Linux.
u32 Machine::group_of(const iommu::Instance& instance, const pci::Bdf& bdf) {
  for (const auto& other : devices_) {
    const pci::Bdf& at = *other->spec.address;
    if (other->physical.iommu == &instance && at.domain == bdf.domain && at.bus == bdf.bus && at.device == bdf.device)
      return other->physical.group_id;
  }
  return next_group_++;
}

std::expected<void, std::string> Machine::add(const DeviceSpec& spec) {
  const models::Kind* kind = models::find(spec.model);
  if (kind == nullptr)
    return std::unexpected(fmt::format("unknown device model '{}': see 'iommufd-user devices'", spec.model));
  const models::Configured<models::Blueprint> blueprint = kind->configure(spec.keys, poller_);
  if (!blueprint) return std::unexpected(blueprint.error().text);

  auto device = std::make_unique<MachineDevice>();
  device->spec = spec;
  const iommu::Kind iommu_kind = spec.iommu;
  const std::string name = spec.address->str();
  const bool behind = iommu_kind != iommu::Kind::kNone;
  if (behind) device->physical.iommu = &instance(iommu_kind);
  device->port = std::make_unique<iommu::DevicePort>(name, device->physical.iommu, platform_->phys(), &faults_);
  device->physical.name = name;
  device->physical.port = device->port.get();
  if (behind) {
    device->physical.group_id = group_of(*device->physical.iommu, *spec.address);
    device->physical.reserved = device->physical.iommu->reserved_regions();
  }

  pci::Placement placement;
  placement.bdf = *spec.address;
  placement.irq = kFirstIrq + static_cast<u32>(devices_.size() % 8);
  for (std::size_t i = 0; i < pci::kBarCount; ++i) {
    const pci::BarSpec& bar = blueprint->spec.bars[i];
    if (bar.kind == pci::BarKind::kNone) continue;
    const u64 base = (next_mmio_ + bar.size - 1) & ~(bar.size - 1);
    if (base + bar.size > kMmioEnd)
      return std::unexpected(
          fmt::format("-d {},addr={}: no room is left for its BAR {} below 4 GiB", spec.model, name, i));
    placement.bar_base[i] = base;
    next_mmio_ = base + bar.size;
    has_mappable_bars_ |= bar.mappable == pci::Mappable::kYes;
  }
  device->function = std::make_unique<pci::Function>(
      placement, blueprint->spec, *device->port,
      [](std::string_view line) { fmt::print(stderr, "iommufd-user: {}\n", line); }, blueprint->make);

  const Result<std::reference_wrapper<vfio::Device>> probed = registry_.add(
      *device->function, device->physical,
      noiommu_ == NoiommuMode::kOn ? vfio::UnsafeNoiommu::kOn : vfio::UnsafeNoiommu::kOff, next_own_group_);
  if (probed) {
    device->vfio = &probed->get();
    if (device->vfio->is_noiommu()) {
      ++next_own_group_;
      fmt::print(stderr, "vfio-pci {}: Adding kernel taint for vfio-noiommu cdev\n", name);
      fmt::print(stderr, "vfio-pci {}: Adding kernel taint for vfio-noiommu group on device\n", name);
    }
  } else {
    fmt::print(stderr,
               "vfio-pci {}: probe failed with error -{}: the device has no IOMMU; "
               "add --enable-unsafe-noiommu-mode to use it without one\n",
               name, static_cast<int>(probed.error()));
  }
  devices_.push_back(std::move(device));
  return {};
}

}  // namespace iommufd::machine
