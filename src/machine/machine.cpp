// SPDX-License-Identifier: BSD-3-Clause
#include "machine/machine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/assert.hpp"
#include "host/host_kind.hpp"
#include "host/ram.hpp"
#include "machine/groups.hpp"
#include "machine/kinds.hpp"
#include "machine/placement.hpp"

namespace iommufd::machine {

mem::PhysPolicy phys_policy(const PhysSpec& spec) {
  mem::PhysPolicy policy;
  switch (spec.kind) {
    case PhysSpec::Kind::kFragmented: policy.kind = mem::PhysPolicy::Kind::kFragmented; break;
    case PhysSpec::Kind::kContiguous: policy.kind = mem::PhysPolicy::Kind::kContiguous; break;
    case PhysSpec::Kind::kReal: policy.kind = mem::PhysPolicy::Kind::kReal; break;
  }
  policy.seed = spec.seed.value_or(policy.seed);
  policy.base = spec.base.value_or(policy.base);
  policy.size = spec.size.value_or(policy.size);
  return policy;
}

namespace {

void identify(pci::FunctionSpec& function, const Identity& identity) {
  function.vendor = identity.vendor.value_or(function.vendor);
  function.device = identity.device.value_or(function.device);
  function.subsystem_vendor = identity.subsystem_vendor.value_or(function.subsystem_vendor);
  function.subsystem_device = identity.subsystem_device.value_or(function.subsystem_device);
  function.class_code = identity.class_code.value_or(function.class_code);
  function.revision = identity.revision.value_or(function.revision);
}

// What a device is; of a real function also where it is, and its config space.
struct Planned {
  models::Blueprint blueprint;
  std::optional<pci::Placement> placement{};
  std::unique_ptr<pci::HardwareConfig> config{};
  std::string account{};
};

std::expected<Planned, std::string> plan_simulated(const DeviceSpec& device, models::Poller& poller) {
  const models::Kind* kind = find_kind(device.model);
  if (kind == nullptr)
    return std::unexpected(fmt::format("unknown device model '{}': see 'iommufd-user devices'", device.model));
  models::Configured<models::Blueprint> blueprint = kind->configure(device.keys, poller);
  if (!blueprint) return std::unexpected(blueprint.error().text);
  if (blueprint->acquire)
    if (const auto acquired = blueprint->acquire(); !acquired) return std::unexpected(acquired.error().text);
  blueprint->spec.rom = device.rom;
  identify(blueprint->spec, device.identity);
  return Planned{.blueprint = std::move(*blueprint)};
}

std::expected<Planned, std::string> plan_real(const DeviceSpec& device, models::Poller& poller,
                                              host::Guardian& guardian) {
  auto real = host::open(*device.address, poller, guardian);
  if (!real) return std::unexpected(real.error().text);
  return Planned{std::move(real->blueprint), std::move(real->placement), std::move(real->config),
                 std::move(real->account)};
}

// In the order of the description; what they need of the machine outside (files, functions) is theirs then.
std::expected<std::vector<Planned>, std::string> plan(const MachineSpec& spec, models::Poller& poller,
                                                      host::Guardian* guardian) {
  std::vector<Planned> out;
  for (const DeviceSpec& device : spec.devices) {
    auto planned = is_real(device) ? plan_real(device, poller, *guardian) : plan_simulated(device, poller);
    if (!planned) return std::unexpected(planned.error());
    out.push_back(std::move(*planned));
  }
  return out;
}

}  // namespace

std::expected<std::unique_ptr<Machine>, std::string> Machine::create(const MachineSpec& spec, Log log) {
  std::unique_ptr<Machine> machine(new Machine(spec, std::move(log)));
  mem::PhysPolicy policy = phys_policy(spec.phys);
  if (policy.kind == mem::PhysPolicy::Kind::kReal) policy.size = host::ram_end();
  Result<std::unique_ptr<iommu::Platform>> platform = iommu::Platform::create(policy);
  if (!platform)
    return std::unexpected(
        fmt::format("phys: no usable physical memory in that window ({}): it needs whole 2 MiB blocks "
                    "outside 3 GiB to 4 GiB and below 64 TiB",
                    errno_name(platform.error())));
  machine->platform_ = std::move(*platform);
  if (spec.selftest == Selftest::kOn) machine->selftest_ = std::make_unique<selftest::World>(*machine->platform_);
  for (const IommuSpec& iommu : spec.iommus) machine->add(iommu);
  if (std::ranges::any_of(spec.devices, is_real)) {
    auto guardian = host::Guardian::start();
    if (!guardian)
      return std::unexpected(
          fmt::format("the guardian of real devices cannot be started ({})", errno_name(guardian.error())));
    machine->guardian_ = std::move(*guardian);
  }
  auto planned = plan(spec, machine->poller_, machine->guardian_.get());
  if (!planned) return std::unexpected(planned.error());
  std::vector<pci::FunctionSpec> simulated;
  for (const Planned& p : *planned) simulated.push_back(p.placement ? pci::FunctionSpec{} : p.blueprint.spec);
  auto placed = place(spec, simulated);
  if (!placed) return std::unexpected(placed.error());
  for (std::size_t i = 0; i < planned->size(); ++i) {
    // Behind the addresses of simulated BARs is something else in the real machine, or nothing.
    placed->devices[i].seen_by_peers = policy.kind != mem::PhysPolicy::Kind::kReal;
    if (const auto& real = (*planned)[i].placement) {
      placed->devices[i] = *real;
      machine->real_functions_.push_back((*planned)[i].account);
    }
  }
  const Groups groups = assign_groups(spec.bridges, spec.devices);
  for (std::size_t i = 0; i < spec.bridges.size(); ++i)
    machine->bridges_.push_back(std::make_unique<MachineBridge>(
        spec.bridges[i], placed->bridges[i], machine->find_iommu(iommu_of(spec.bridges[i], spec.bridges, spec.devices)),
        groups.bridges[i].value_or(0)));
  for (const std::optional<u32>& id : groups.bridges)
    if (id) machine->registry_.reserve_group(*id);
  for (std::size_t i = 0; i < spec.devices.size(); ++i)
    machine->add(spec.devices[i], (*planned)[i].blueprint, std::move((*planned)[i].config), placed->devices[i],
                 groups.devices[i]);
  machine->drivers_.load_vfio_pci();
  if (spec.seed_dma_fault)
    for (const auto& device : machine->devices_) device->port->corrupt_write(*spec.seed_dma_fault);
  return machine;
}

Machine::Machine(const MachineSpec& spec, Log log)
    : noiommu_(spec.noiommu == NoiommuMode::kOn),
      container_(spec.container),
      log_(std::move(log)),
      drivers_(registry_, [this] { return unsafe_noiommu(); }, log_) {}

Machine::~Machine() = default;

void Machine::add(const IommuSpec& spec) {
  const auto nth =
      std::ranges::count_if(iommus_, [&](const auto& i) { return share_node_names(i->kind(), spec.kind); });
  iommus_.push_back(std::make_unique<iommu::Instance>(spec.kind, iommu::node_name(spec.kind, static_cast<u64>(nth)),
                                                      platform_->tables(), spec.reserved));
  iommu_names_.push_back(spec.name);
}

iommu::Instance* Machine::find_iommu(std::string_view name) const {
  if (name == kNoIommu) return nullptr;
  const auto at = std::ranges::find(iommu_names_, name);
  IOMMUFD_ASSERT(at != iommu_names_.end());
  return iommus_[static_cast<std::size_t>(at - iommu_names_.begin())].get();
}

void Machine::add(const DeviceSpec& spec, const models::Blueprint& blueprint, std::unique_ptr<pci::HardwareConfig> real,
                  const pci::Placement& placement, std::optional<u32> group) {
  auto device = std::make_unique<MachineDevice>();
  device->spec = spec;
  const std::string name = spec.address->str();
  device->physical.iommu = find_iommu(spec.iommu);
  device->port = std::make_unique<iommu::DevicePort>(name, device->physical.iommu, platform_->phys(), &faults_);
  device->physical.name = name;
  device->physical.port = device->port.get();
  if (device->physical.iommu != nullptr) {
    device->physical.group_id = group.value();
    device->physical.reserved = device->physical.iommu->reserved_regions();
  }

  needs_poller_ |= real != nullptr;  // interrupts are looked for in memory, too
  for (const pci::BarSpec& bar : blueprint.spec.bars) needs_poller_ |= bar.mappable == pci::Mappable::kYes;
  device->function = std::make_unique<pci::Function>(
      placement, blueprint.spec, *device->port,
      [this](std::string_view line) { log_(fmt::format("iommufd-user: {}", line)); }, blueprint.make, std::move(real));

  drivers_.add(*device->function, device->physical);
  devices_.push_back(std::move(device));
}

}  // namespace iommufd::machine
