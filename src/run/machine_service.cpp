// SPDX-License-Identifier: BSD-3-Clause
#include "run/machine_service.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>

#include "dump/recorder.hpp"
#include "ioctl/iommu_file.hpp"
#include "ioctl/vfio_container_file.hpp"
#include "ioctl/vfio_device_file.hpp"
#include "ioctl/vfio_group_file.hpp"
#include "run/message.hpp"
#include "run/sysfs.hpp"

namespace iommufd::run {
namespace {

// Openers: what kind of node, and which.
enum class Opens : u32 { kIommu, kContainer, kDevice, kGroup };
constexpr u32 opener(Opens what, std::size_t index = 0) {
  return std::to_underlying(what) << 24 | static_cast<u32>(index);
}
constexpr Opens what_of(u32 opener) { return static_cast<Opens>(opener >> 24); }
constexpr u32 index_of(u32 opener) { return opener & 0xff'ffff; }

std::string hex(const std::vector<std::byte>& payload, std::size_t offset) {
  u64 word = 0;
  std::memcpy(&word, payload.data() + offset, sizeof word);
  return fmt::format("{:x}\n", word);
}

IommuInfo describe(const iommu::Instance& instance) {
  const iommu::HwInfo info = instance.hw_info();
  switch (instance.kind()) {
    case iommu::Kind::kVtd:
    case iommu::Kind::kVtdS1:
      return {instance.name(),
              {{"intel-iommu/cap", hex(info.payload, 8)},
               {"intel-iommu/ecap", hex(info.payload, 16)},
               {"intel-iommu/version", "1:0\n"}}};
    case iommu::Kind::kAmd:
    case iommu::Kind::kAmdV2:
      return {instance.name(), {{"amd-iommu/features", hex(info.payload, 0)}, {"amd-iommu/cap", "40000f54\n"}}};
    default: return {instance.name(), {}};
  }
}

// The group of an IOMMU, if it is not there yet.
void add_group(std::vector<GroupInfo>& groups, u32 id, const iommu::Instance& iommu) {
  if (std::ranges::find(groups, id, &GroupInfo::id) != groups.end()) return;
  GroupInfo group;
  group.id = id;
  group.reserved.assign(iommu.reserved().begin(), iommu.reserved().end());
  groups.push_back(std::move(group));
}

machine::Drivers::Wait wait_of(const Write& w) {
  return w.writer == Write::Writer::kWaits ? machine::Drivers::Wait::kYes : machine::Drivers::Wait::kNo;
}

// The answer to a write that is taken whole.
Result<u64> whole(const Write& w, Result<void> done) {
  IOMMUFD_TRY(std::move(done));
  return w.data.size();
}

// Numbers of message interrupts: behind those of lines, as many for each device as MSI-X can have.
constexpr u32 kFirstMessageIrq = 128;

PciDeviceInfo describe(machine::Drivers& drivers, const machine::MachineDevice& device, u32 opener,
                       u32 first_message_irq, std::atomic<bool>& runtime_power) {
  pci::Function& function = *device.function;
  const pci::FunctionSpec& spec = function.spec();
  PciDeviceInfo info;
  info.bdf = function.bdf();
  info.bridges.assign(function.bridges().begin(), function.bridges().end());
  info.vendor = spec.vendor;
  info.device = spec.device;
  info.subsystem_vendor = spec.subsystem_vendor;
  info.subsystem_device = spec.subsystem_device;
  info.class_code = spec.class_code;
  info.revision = spec.revision;
  const auto resources = function.sysfs_resources();
  std::ranges::copy_n(resources.begin(), static_cast<std::ptrdiff_t>(info.resources.size()), info.resources.begin());
  for (u32 i = 0; i < pci::kBarCount; ++i)
    if (spec.bars[i].mappable == pci::Mappable::kYes) info.mappable_bars.push_back(i);
  info.low_power = [&drivers, &function] {
    const machine::Drivers::State state = drivers.state(function);
    return state.vfio && state.vfio->dma_bufs().power() == vfio::Power::kLow;
  };
  info.runtime_power = &runtime_power;
  info.irq = function.irq();
  info.config_size = function.config_size();
  info.config = [&function] {
    const std::vector<u8> bytes = function.sysfs_config();
    return std::string(bytes.begin(), bytes.end());
  };
  info.write_config = [&function](u32 offset, std::string_view bytes) {
    function.sysfs_write_config(offset, std::as_bytes(std::span(bytes)));
  };
  info.rom_size = pci::rom_bar_size(spec);
  info.rom = [&function]() -> Result<std::string> {
    const std::span<const u8> images = IOMMUFD_TRY(function.sysfs_rom());
    return std::string(images.begin(), images.end());
  };
  info.enable_rom = [&function](bool on) { function.sysfs_enable_rom(on); };
  if (function.resettable()) info.reset = [&function] { function.reset(); };
  const machine::Drivers::State state = drivers.state(function);
  if (!device.physical.is_noiommu()) {
    info.iommu_group = device.physical.group_id;
    info.iommu = device.physical.iommu->name();
  } else if (state.vfio) {
    info.iommu_group = state.vfio->group().id();
  }
  if (state.vfio) {
    const vfio::Interrupts::Messages messages = state.vfio->interrupts().messages();
    for (u32 i = 0; i < messages.vectors; ++i) info.message_irqs.push_back(first_message_irq + i);
    info.message_irqs_msix = messages.msix;
    info.had_message_irqs = messages.were_any;
  }
  info.driver = state.driver;
  if (state.vfio) info.vfio = VfioNode{state.vfio->name(), {{kVfioDeviceMajor, state.vfio->index()}, opener}};
  info.enable_count = [&drivers, &function] { return drivers.enable_count(function); };
  info.set_enabled = [&drivers, &function](bool on) { return drivers.set_enabled(function, on); };
  info.driver_override = [&drivers, &function] { return drivers.state(function).driver_override; };
  info.set_driver_override = [&drivers, &function](const Write& w) {
    return whole(w, drivers.set_override(function, w.data));
  };
  return info;
}

DriverInfo describe_driver(machine::Drivers& drivers, std::string_view name) {
  DriverInfo info;
  info.name = name;
  info.module = name;
  std::ranges::replace(info.module, '-', '_');
  info.bind = [&drivers, name](const Write& w) { return whole(w, drivers.bind(name, w.data, wait_of(w))); };
  info.unbind = [&drivers, name](const Write& w) { return whole(w, drivers.unbind(name, w.data, wait_of(w))); };
  info.new_id = [&drivers, name](const Write& w) { return whole(w, drivers.new_id(name, w.data)); };
  info.remove_id = [&drivers, name](const Write& w) { return whole(w, drivers.remove_id(name, w.data)); };
  if (name != machine::Drivers::kVfioPci) return info;
  info.parameters.emplace_back("ids", drivers.vfio_pci_ids() + "\n");
  for (const char* off : {"disable_denylist", "disable_idle_d3", "disable_vga", "enable_sriov", "nointxmask"})
    info.parameters.emplace_back(off, "N\n");
  return info;
}

BridgeInfo describe(machine::MachineBridge& bridge) {
  pci::Bridge& hardware = bridge.bridge;
  const pci::Bridge::Spec& spec = hardware.spec();
  BridgeInfo info;
  info.secondary = spec.secondary;
  info.subordinate = spec.subordinate;
  PciDeviceInfo& f = info.function;
  f.bdf = spec.bdf;
  f.bridges = spec.bridges;
  f.vendor = hardware.vendor();
  f.device = hardware.device();
  f.subsystem_vendor = spec.port ? hardware.vendor() : u16{0};
  if (spec.port) f.driver = "pcieport";  // nobody drives a conventional bridge
  f.class_code = pci::Bridge::kClass;
  f.windows = hardware.sysfs_windows();
  f.config_size = hardware.config_size();
  f.config = [&hardware] {
    const std::vector<u8> bytes = hardware.sysfs_config();
    return std::string(bytes.begin(), bytes.end());
  };
  f.write_config = [&hardware](u32 offset, std::string_view bytes) {
    hardware.sysfs_write_config(offset, std::as_bytes(std::span(bytes)));
  };
  if (bridge.iommu != nullptr) {
    f.iommu_group = bridge.group_id;
    f.iommu = bridge.iommu->name();
  }
  return info;
}

class MachineService final : public Service {
 public:
  MachineService(std::unique_ptr<machine::Machine> machine, std::optional<dump::Directory> dump_tables)
      : machine_(std::move(machine)),
        runtime_power_(machine_->devices().size()),
        tree_(describe()),
        recorder_(std::move(dump_tables)) {
    machine_->drivers().set_changed([this] { machine_changed(); });
  }
  ~MachineService() override {
    machine_->drivers().stop();
    recorder_.write_index();
  }

  // Message interrupts come and go with SET_IRQS, which is not to wait for that: who looks at a path does.
  LiveTree& tree() override {
    if (machine_->vfio().message_changes() != messages_shown_.load(std::memory_order_acquire)) machine_changed();
    return tree_;
  }

  Result<Ref<ioctl::File>> open(u32 opener, ioctl::Call& call, std::unique_ptr<vfio::FileMemory> memory) override {
    switch (what_of(opener)) {
      case Opens::kIommu: return open_iommufd(core::LimitMode::kUser);
      case Opens::kContainer:
        if (machine_->container() == machine::ContainerKind::kIommufd) return open_iommufd(core::LimitMode::kProcess);
        return Ref<ioctl::File>(make_ref<ioctl::VfioContainerFile>(
            machine_->platform(), [machine = machine_.get()] { return machine->unsafe_noiommu(); }));
      case Opens::kGroup: {
        Ref<vfio::Group> group = machine_->vfio().find_group(index_of(opener));
        if (!group) return Err(Errno::kNoDev);  // gone since its node was looked up
        return ioctl::VfioGroupFile::open(call, std::move(group), report_noiommu_open);
      }
      case Opens::kDevice: break;
    }
    const Ref<vfio::Device> device = machine_->vfio(*machine_->devices()[index_of(opener)]);
    if (!device) return Err(Errno::kNoDev);
    return ioctl::open_vfio_device(call, *device, std::move(memory));
  }

  // Who knows where one page of a huge page is knows where all of it is.
  Result<void> publish(mem::AddressSpace& memory, UserVa page, std::span<PhysAddr> frames) override {
    std::vector<mem::PageRun> runs;
    IOMMUFD_TRY(memory.populate(page, frames.size(), Access::kRead, runs));
    const u64 huge = std::ranges::max(runs, {}, &mem::PageRun::page_size).page_size;
    const u64 start = align_down(page.raw(), huge);
    const u64 end = align_up(page.raw() + frames.size() * kPageSize, huge);
    std::vector<PhysAddr> all((end - start) / kPageSize);
    std::vector<mem::PageRun> around;
    // What cannot be had as a whole (a part was unmapped) is published as far as it was asked for.
    if (huge == kPageSize || !memory.populate(UserVa{start}, all.size(), Access::kRead, around))
      return publish_runs(memory, page, runs, frames);
    IOMMUFD_TRY(publish_runs(memory, UserVa{start}, around, all));
    std::ranges::copy(std::span(all).subspan((page.raw() - start) / kPageSize, frames.size()), frames.begin());
    return {};
  }

  Result<std::vector<dump::OutputFile>> dump(dump::Form form) override {
    constexpr auto kPatience = std::chrono::seconds(2);
    return dump::render(form, IOMMUFD_TRY(recorder_.look(std::chrono::steady_clock::now() + kPatience)));
  }
  void program_ended() override { recorder_.write_index(); }

  mem::PinKeeper* pin_keeper() override { return machine_->pin_keeper(); }

  FaultPlans* faults() override { return machine_->selftest() != nullptr ? &faults_ : nullptr; }

  // A client may have stored into a mapped register before this call: what it says must count first.
  void activity() override {
    if (machine_->needs_poller()) machine_->poller().look();
  }

 private:
  Result<void> publish_runs(mem::AddressSpace& memory, UserVa page, std::span<const mem::PageRun> runs,
                            std::span<PhysAddr> frames) {
    u64 done = 0;
    for (const mem::PageRun& run : runs) {
      IOMMUFD_TRY(machine_->platform().phys().publish(memory, advance(page, done * kPageSize), run,
                                                      frames.subspan(done, run.pages)));
      done += run.pages;
    }
    return {};
  }
  // A driver has taken or left a function.
  void machine_changed() IOMMUFD_EXCLUDES(tree_mu_) {
    const MutexLock lock(tree_mu_);
    messages_shown_.store(machine_->vfio().message_changes(), std::memory_order_release);
    tree_.replace(describe());
  }
  // The machine as it is now.
  PathTree describe() {
    MachineInfo info;
    info.faults = faults();
    info.iommufd = {{kMiscMajor, kIommufdMinor}, opener(Opens::kIommu)};
    info.container = {{kMiscMajor, kVfioMinor}, opener(Opens::kContainer)};
    for (const Ref<vfio::Group>& group : machine_->vfio().groups()) {
      const u32 minor = group->minor_number();
      info.vfio_groups.push_back({group->name(), {{kVfioGroupMajor, minor}, opener(Opens::kGroup, minor)}});
      if (group->is_noiommu()) info.groups.push_back({group->id(), "vfio-noiommu", "unknown", {}});
    }
    machine::Drivers& drivers = machine_->drivers();
    for (std::size_t i = 0; i < machine_->devices().size(); ++i) {
      const machine::MachineDevice& device = *machine_->devices()[i];
      info.devices.push_back(run::describe(drivers, device, opener(Opens::kDevice, i),
                                           kFirstMessageIrq + static_cast<u32>(i) * pci::kMaxMsixVectors,
                                           runtime_power_[i]));
      if (!device.physical.is_noiommu()) add_group(info.groups, device.physical.group_id, *device.physical.iommu);
    }
    for (const auto& bridge : machine_->bridges()) {
      info.bridges.push_back(run::describe(*bridge));
      if (bridge->iommu != nullptr) add_group(info.groups, bridge->group_id, *bridge->iommu);
    }
    for (const std::string_view name : machine::Drivers::names())
      info.drivers.push_back(describe_driver(drivers, name));
    info.probing.probe = [&drivers](const Write& w) { return whole(w, drivers.probe(w.data, wait_of(w))); };
    info.probing.autoprobe = [this] { return autoprobe_.load(); };
    info.probing.set_autoprobe = [this](bool on) { autoprobe_.store(on); };
    for (const auto& instance : machine_->iommus()) info.iommus.push_back(run::describe(*instance));
    info.noiommu.get = [machine = machine_.get()] { return machine->unsafe_noiommu(); };
    info.noiommu.set = [machine = machine_.get()](bool on) { machine->set_unsafe_noiommu(on); };
    return build_tree(info);
  }

  Result<Ref<ioctl::File>> open_iommufd(core::LimitMode mode) {
    auto file = make_ref<ioctl::IommuFile>(machine_->platform(), machine_->selftest(), mode);
    recorder_.watch(*file->context());
    return Ref<ioctl::File>(std::move(file));
  }
  static void report_noiommu_open(const vfio::Device& device, const std::string& caller) {
    message(fmt::format("vfio-pci {}: vfio-noiommu device opened by user ({})", device.function().bdf().str(), caller));
  }

  const std::unique_ptr<machine::Machine> machine_;
  FaultPlans faults_;
  std::atomic<bool> autoprobe_{true};
  std::vector<std::atomic<bool>> runtime_power_;  // by device
  std::atomic<u64> messages_shown_{0};            // Registry::message_changes() of tree_, or before it
  Mutex tree_mu_{LockRank::kRunTree};             // held while the next tree is made and takes its place
  LiveTree tree_;
  dump::Recorder recorder_;
};

}  // namespace

std::unique_ptr<Service> make_machine_service(std::unique_ptr<machine::Machine> machine,
                                              std::optional<dump::Directory> dump_tables) {
  return std::make_unique<MachineService>(std::move(machine), std::move(dump_tables));
}

}  // namespace iommufd::run
