// SPDX-License-Identifier: BSD-3-Clause
#include "host/real_function.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <sstream>

#include "base/sys.hpp"
#include "host/claim.hpp"
#include "host/inventory.hpp"
#include "host/rom_file.hpp"
#include "host/uio_line.hpp"
#include "pci/config_registers.hpp"

namespace iommufd::host {
namespace {

namespace reg = pci::reg;
using pci::FunctionSpec;

// Further flags in the sysfs file `resource` (struct resource of the kernel).
constexpr u64 kPrefetch = 0x2000, kWide = 0x100000;

std::string directory_of(const pci::Bdf& bdf) { return "/sys/bus/pci/devices/" + bdf.str(); }

pci::BarSpec bar_of(const Resource& r) {
  pci::BarSpec bar;
  if (!r.is_port() && !r.is_memory()) return bar;
  bar.size = r.size;
  bar.kind = pci::BarKind::kIo;
  if (r.is_memory()) bar.kind = (r.flags & kWide) != 0 ? pci::BarKind::kMemory64 : pci::BarKind::kMemory32;
  if ((r.flags & kPrefetch) != 0) bar.prefetch = pci::Prefetch::kYes;
  const bool whole_pages = (r.start & kPageMask) == 0 && bar.size >= kPageSize;  // a smaller one shares its page
  if (bar.kind != pci::BarKind::kIo && whole_pages) bar.mappable = pci::Mappable::kYes;
  return bar;
}

void read_capabilities(FunctionSpec& spec, const ConfigFile& config, const VfioGroup* vfio) {
  const auto start_of = [](u32 at) { return static_cast<u8>(at); };
  if (const auto at = config.find(reg::kCapMsi)) {
    const bool maskable = (config.read(*at + reg::kMsiFlags, 2) & reg::kMsiMaskable) != 0;
    // Pages of ours tell vectors apart by address, and MSI has one address for all: one vector.
    const u32 vectors = vfio != nullptr ? std::max(vfio->vectors(pci::MessageKind::kMsi), 1U) : 1;
    spec.msi = pci::MsiSpec{.vectors_lg2 = std::bit_width(vectors) - 1U,
                            .mask = maskable ? pci::VectorMask::kYes : pci::VectorMask::kNo,
                            .at = start_of(*at)};
  }
  if (const auto at = config.find(reg::kCapMsix)) {
    constexpr u32 kBir = 7, kSizeMask = 0x7ff;
    const u32 table = config.read(*at + reg::kMsixTable, 4), pending = config.read(*at + reg::kMsixPending, 4);
    const pci::MsixSpec msix{.vectors = (config.read(*at + reg::kMsixControl, 2) & kSizeMask) + 1,
                             .table_bar = table & kBir,
                             .table_offset = table & ~kBir,
                             .pending_bar = pending & kBir,
                             .pending_offset = pending & ~kBir,
                             .at = start_of(*at)};
    const auto inside = [&](u32 bar, u64 offset, u64 size) {
      return bar < pci::kBarCount && offset + size <= spec.bars[bar].size;
    };
    if (inside(msix.table_bar, msix.table_offset, msix.table_size()) &&
        inside(msix.pending_bar, msix.pending_offset, msix.pending_size()))
      spec.msix = msix;
  }
  if (const auto at = config.find(reg::kCapPm)) {
    const bool kept = (config.read(*at + reg::kPmControl, 2) & reg::kPmNoSoftReset) != 0;
    spec.pm = pci::PmSpec{.state = kept ? pci::StateInD3::kKept : pci::StateInD3::kLost, .at = start_of(*at)};
  }
  if (const auto at = config.find(reg::kCapPcie)) spec.pcie = pci::PcieSpec{.at = start_of(*at)};
}

FunctionSpec read_spec(const ConfigFile& config, const HostFunction& function, bool resettable, const VfioGroup* vfio) {
  FunctionSpec spec;
  spec.vendor = static_cast<u16>(config.read(reg::kVendor, 2));
  spec.device = static_cast<u16>(config.read(reg::kDevice, 2));
  spec.revision = static_cast<u8>(config.read(reg::kRevision, 1));
  spec.class_code = config.read(reg::kRevision, 4) >> 8;
  spec.subsystem_vendor = static_cast<u16>(config.read(reg::kSubsystemVendor, 2));
  spec.subsystem_device = static_cast<u16>(config.read(reg::kSubsystem, 2));
  spec.interrupt_pin = static_cast<u8>(config.read(reg::kInterruptPin, 1));
  for (u32 i = 0; i < pci::kBarCount; ++i) spec.bars[i] = bar_of(function.resources[i]);
  read_capabilities(spec, config, vfio);
  spec.reset = resettable ? pci::ResetKind::kFunction : pci::ResetKind::kNone;
  return spec;
}

// The bridges are the functions on the way to it: /sys/devices/pci0000:00/0000:00:1c.0/0000:03:00.0.
pci::Placement read_placement(const HostFunction& function, const ConfigFile& config) {
  pci::Placement placement{.bdf = function.bdf};
  for (u32 i = 0; i < pci::kBarCount; ++i) placement.bar_base[i] = function.resources[i].start;
  placement.rom_base = function.resources[HostFunction::kRom].start;
  placement.irq = static_cast<u32>(read_number(function.folder + "/irq").value_or(0));
  placement.multi_function = (config.read(reg::kHeaderType, 1) & reg::kHeaderMultiFunction) != 0;
  std::istringstream parts(function.folder);
  for (std::string part; std::getline(parts, part, '/');) {
    const auto at = pci::Bdf::parse(part);
    if (!at || *at == function.bdf) continue;
    placement.bridges.push_back(*at);
    if (const auto bridge = ConfigFile::open(directory_of(*at) + "/config"))
      placement.buses.push_back(static_cast<u8>((*bridge)->read(reg::kSecondaryBus, 1)));
  }
  return placement;
}

}  // namespace

std::expected<std::shared_ptr<RealFunction>, std::string> RealFunction::open(const pci::Bdf& bdf, Guardian& guardian) {
  const std::string directory = directory_of(bdf);
  const auto failed = [&](std::string_view what, Errno e) {
    return std::unexpected(fmt::format("{}: {} ({})", bdf.str(), what, errno_name(e)));
  };
  if (const auto first = usable(bdf); !first) return std::unexpected(first.error());
  auto claimed = claim(bdf);
  if (!claimed) return std::unexpected(claimed.error());
  const auto found = usable(bdf);  // nobody changes it now
  if (!found) return std::unexpected(found.error());
  Result<std::unique_ptr<ConfigFile>> config = ConfigFile::open(directory + "/config");
  if (!config) return failed("its config space cannot be opened for writing", config.error());
  // Firmware may have left it on.
  (*config)->write(reg::kCommand, 2, (*config)->command() & ~u32{reg::kCommandMaster});
  std::unique_ptr<VfioGroup> vfio;
  if (found->interrupt_way() == InterruptWay::kVfio) {
    auto group = VfioGroup::open(bdf, found->group->number);
    if (!group) return std::unexpected(group.error());
    vfio = *std::move(group);
  }
  const bool resettable = ::access((directory + "/reset").c_str(), W_OK) == 0;
  FunctionSpec spec = read_spec(**config, *found, resettable, vfio.get());
  spec.rom = read_rom(directory, found->resources[HostFunction::kRom].size, **config);
  std::shared_ptr<RealFunction> function(
      new RealFunction(directory, std::move(spec), read_placement(*found, **config), guardian));
  Result<Bars> bars = Bars::open(directory, function->spec_.bars);
  if (!bars)
    return failed("its BARs cannot be mapped; is the kernel locked down, or its memory a driver's?", bars.error());
  if (const Result<void> told = guardian.add(bdf, resettable ? Reset::kPossible : Reset::kImpossible, claimed->get());
      !told)
    return failed("its guardian is gone", told.error());
  function->claim_ = *std::move(claimed);
  function->bars_ = std::move(*bars);
  if (found->interrupt_way() == InterruptWay::kUio) {
    Result<std::unique_ptr<UioLine>> line = UioLine::open(found->folder);
    if (!line && line.error() != Errno::kNoEnt)
      return failed("the file of uio_pci_generic in /dev cannot be opened", line.error());
    if (line) function->uio_ = std::move(*line);
  }
  function->vfio_ = std::move(vfio);
  if (!function->vfio_) {
    Result<std::unique_ptr<Messages>> messages = Messages::create(function->spec_, **config);
    if (!messages) return failed("no page can be pinned for its interrupts", messages.error());
    if (*messages)
      if (const Result<void> held = guardian.hold((*messages)->pin()); !held)
        return failed("its guardian cannot hold the page of its interrupts", held.error());
    function->messages_ = std::move(*messages);
  }
  function->status_ = Fd(::open((directory + "/config").c_str(), O_RDONLY | O_CLOEXEC));
  function->config_ = std::move(*config);
  return function;
}

std::unique_ptr<ConfigFile> RealFunction::take_config() {
  ConfigFile* config = config_.get();
  config->set_message_setup([this, config](pci::MessageKind kind) { return set_up_messages(*config, kind); });
  if (vfio_) config->leave_message_control();
  if (line() != nullptr) config->leave_intx_disable();
  config->set_master_watch([this](bool on) {
    if (on) has_been_live_.store(true);
    return guardian_.set_live(placement_.bdf, on).has_value() || !on;
  });
  return std::move(config_);
}

bool RealFunction::set_up_messages(ConfigFile& config, pci::MessageKind kind) const {
  if (kind == pci::MessageKind::kMsi) {
    messages_->point_msi(config);
    return true;
  }
  if (!spec_.msix) return false;
  messages_->point_msix(bars_);
  return true;
}

void RealFunction::set_message_sink(MessageSink sink) { message_sink_ = std::move(sink); }

// Vectors of MSI-X may be added later, which these kernels cannot do: all of them at once.
Result<u32> RealFunction::messages_begin(pci::MessageKind kind, u32 needed) const {
  if (!vfio_) return needed;
  const u32 wanted = kind == pci::MessageKind::kMsix ? spec_.msix->vectors : needed;
  const u32 given = IOMMUFD_TRY(vfio_->enable(kind, needed, wanted, message_sink_.sent));
  if (given >= needed && given < wanted)
    message_sink_.note(
        fmt::format("the kernel has {} of {} vectors of MSI-X left: the others are silent", given, wanted));
  return given;
}

void RealFunction::messages_end(pci::MessageKind kind) const {
  if (vfio_) vfio_->disable(kind);
}

std::string RealFunction::account() const {
  std::string_view line = "its status bit, looked at", messages = "memory that it writes to, looked at";
  if (uio_) line = "uio_pci_generic";
  if (vfio_) messages = line = "vfio-pci";
  std::string by;
  if (spec_.interrupt_pin != 0) by = fmt::format("; INTx by {}", line);
  if (spec_.msi || spec_.msix) by += fmt::format("; {} by {}", spec_.msix ? "MSI-X" : "MSI", messages);
  return fmt::format("{} ({:04x}:{:04x}){}", placement_.bdf.str(), spec_.vendor, spec_.device, by);
}

Result<void> RealFunction::reset() const {
  const Fd file(IOMMUFD_TRY(sys::check(::open((directory_ + "/reset").c_str(), O_WRONLY | O_CLOEXEC))));
  return sys::write_all(file.get(), "1\n");
}

u64 RealFunction::leave_as_it_is() const {
  const u64 pages = guardian_.pinned();
  if (!has_been_live_.load() || pages == 0) return 0;
  guardian_.keep_pages(placement_.bdf);
  return pages;
}

bool RealFunction::intx_pending() const {
  u16 status = 0;
  return ::pread(status_.get(), &status, sizeof(status), reg::kStatus) == sizeof(status) && status != 0xffff &&
         (status & reg::kStatusInterrupt) != 0;
}

}  // namespace iommufd::host
