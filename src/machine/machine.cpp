// SPDX-License-Identifier: BSD-3-Clause
#include "machine/machine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/assert.hpp"

namespace iommufd::machine {

mem::PhysPolicy phys_policy(const PhysSpec& spec) {
  mem::PhysPolicy policy;
  policy.kind = spec.kind == PhysSpec::Kind::kContiguous ? mem::PhysPolicy::Kind::kContiguous
                                                         : mem::PhysPolicy::Kind::kFragmented;
  policy.seed = spec.seed.value_or(policy.seed);
  policy.base = spec.base.value_or(policy.base);
  policy.size = spec.size.value_or(policy.size);
  return policy;
}

namespace {

constexpr u64 kMmioEnd = 0xfec0'0000;  // below the I/O APIC, and far below the MSI window
constexpr u32 kFirstIrq = 16;          // the first that PC interrupt routing gives to PCI

}  // namespace

std::expected<std::unique_ptr<Machine>, std::string> Machine::create(const MachineSpec& spec, Log log) {
  std::unique_ptr<Machine> machine(new Machine(spec, std::move(log)));
  Result<std::unique_ptr<iommu::Platform>> platform = iommu::Platform::create(phys_policy(spec.phys));
  if (!platform)
    return std::unexpected(
        fmt::format("phys: no usable physical memory in that window ({}): it needs whole 2 MiB blocks "
                    "outside 3 GiB to 4 GiB and below 64 TiB",
                    errno_name(platform.error())));
  machine->platform_ = std::move(*platform);
  if (spec.selftest == Selftest::kOn) machine->selftest_ = std::make_unique<selftest::World>(*machine->platform_);
  for (const IommuSpec& iommu : spec.iommus) machine->add(iommu);
  const std::vector<u32> groups = assign_groups(spec.devices);
  for (std::size_t i = 0; i < spec.devices.size(); ++i)
    if (const auto added = machine->add(spec.devices[i], groups[i]); !added) return std::unexpected(added.error());
  if (spec.seed_dma_fault)
    for (const auto& device : machine->devices_) device->port->corrupt_write(*spec.seed_dma_fault);
  return machine;
}

Machine::Machine(const MachineSpec& spec, Log log)
    : noiommu_(spec.noiommu), container_(spec.container), log_(std::move(log)) {}

Machine::~Machine() = default;

void Machine::add(const IommuSpec& spec) {
  const auto nth =
      std::ranges::count_if(iommus_, [&](const auto& i) { return share_node_names(i->kind(), spec.kind); });
  iommus_.push_back(std::make_unique<iommu::Instance>(spec.kind, iommu::node_name(spec.kind, static_cast<u64>(nth)),
                                                      platform_->tables(), spec.reserved));
  iommu_names_.push_back(spec.name);
}

std::expected<void, std::string> Machine::add(const DeviceSpec& spec, u32 group) {
  const models::Kind* kind = models::find(spec.model);
  if (kind == nullptr)
    return std::unexpected(fmt::format("unknown device model '{}': see 'iommufd-user devices'", spec.model));
  const models::Configured<models::Blueprint> blueprint = kind->configure(spec.keys, poller_);
  if (!blueprint) return std::unexpected(blueprint.error().text);
  if (blueprint->acquire)
    if (const auto acquired = blueprint->acquire(); !acquired) return std::unexpected(acquired.error().text);

  auto device = std::make_unique<MachineDevice>();
  device->spec = spec;
  const std::string name = spec.address->str();
  const bool behind = spec.iommu != kNoIommu;
  if (behind) {
    const auto at = std::ranges::find(iommu_names_, spec.iommu);
    IOMMUFD_ASSERT(at != iommu_names_.end());
    device->physical.iommu = iommus_[static_cast<std::size_t>(at - iommu_names_.begin())].get();
  }
  device->port = std::make_unique<iommu::DevicePort>(name, device->physical.iommu, platform_->phys(), &faults_);
  device->physical.name = name;
  device->physical.port = device->port.get();
  if (behind) {
    device->physical.group_id = group;
    device->physical.reserved = device->physical.iommu->reserved_regions();
  }

  pci::Placement placement;
  placement.bdf = *spec.address;
  placement.below_bridge = spec.address->bus != 0;
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
      [this](std::string_view line) { log_(fmt::format("iommufd-user: {}", line)); }, blueprint->make);

  const Result<std::reference_wrapper<vfio::Device>> probed =
      registry_.add(*device->function, device->physical,
                    noiommu_ == NoiommuMode::kOn ? vfio::UnsafeNoiommu::kOn : vfio::UnsafeNoiommu::kOff, group);
  if (probed) {
    device->vfio = &probed->get();
    if (device->vfio->is_noiommu()) {
      log_(fmt::format("vfio-pci {}: Adding kernel taint for vfio-noiommu cdev", name));
      log_(fmt::format("vfio-pci {}: Adding kernel taint for vfio-noiommu group on device", name));
    }
  } else {
    log_(
        fmt::format("vfio-pci {}: probe failed with error -{}: the device has no IOMMU; "
                    "add --enable-unsafe-noiommu-mode to use it without one",
                    name, static_cast<int>(probed.error())));
  }
  devices_.push_back(std::move(device));
  return {};
}

}  // namespace iommufd::machine
