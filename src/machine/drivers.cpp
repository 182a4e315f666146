// SPDX-License-Identifier: BSD-3-Clause
#include "machine/drivers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/assert.hpp"
#include "base/types.hpp"
#include "pci/config_registers.hpp"

namespace iommufd::machine {
namespace {

// sysfs_streq: one newline at the end does not count.
std::string_view one_line(std::string_view text) {
  text = text.substr(0, text.find('\0'));
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

// What scanf's "%x %x ..." takes: numbers until one is none. With or without 0x.
std::vector<u64> hex_numbers(std::string_view text, std::size_t most) {
  std::vector<u64> out;
  while (out.size() < most) {
    const std::size_t from = text.find_first_not_of(" \t\n");
    if (from == std::string_view::npos) break;
    text.remove_prefix(from);
    if (text.starts_with("0x") || text.starts_with("0X")) text.remove_prefix(2);
    u64 value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc{}) break;
    out.push_back(value);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  }
  return out;
}

constexpr std::size_t kIdFields = 7;  // the seventh is the driver's own data

// Errors: kInval.
Result<PciId> parse_id(const std::vector<u64>& numbers) {
  if (numbers.size() < 2) return Err(Errno::kInval);
  const auto field = [&](std::size_t i, u32 fallback) {
    return i < numbers.size() ? static_cast<u32>(numbers[i]) : fallback;
  };
  return PciId{field(0, 0), field(1, 0), field(2, PciId::kAny), field(3, PciId::kAny), field(4, 0), field(5, 0)};
}

bool fits(u32 rule, u32 value) { return rule == PciId::kAny || rule == value; }

bool fits(const PciId& id, const PciId& function) {
  return fits(id.vendor, function.vendor) && fits(id.device, function.device) &&
         fits(id.subsystem_vendor, function.subsystem_vendor) && fits(id.subsystem_device, function.subsystem_device) &&
         ((id.class_code ^ function.class_code) & id.class_mask) == 0;
}

PciId id_of(const pci::FunctionSpec& spec) {
  return {spec.vendor, spec.device, spec.subsystem_vendor, spec.subsystem_device, spec.class_code, 0};
}

}  // namespace

Drivers::Drivers(vfio::Registry& registry, std::function<bool()> noiommu, std::function<void(std::string_view)> log)
    : registry_(registry),
      noiommu_(std::move(noiommu)),
      log_(std::move(log)),
      drivers_{{kVfioPci, {}}, {kPciStub, {}}} {}

void Drivers::stop() {
  ending_.store(true);
  std::vector<std::jthread> removers;
  {
    const MutexLock lock(mu_);
    for (const auto& slot : slots_) removers.push_back(std::move(slot->remover));
  }
}

void Drivers::add(pci::Function& function, core::PhysicalDevice& physical) {
  registry_.add(function, physical);
  const MutexLock lock(mu_);
  slots_.push_back(std::make_unique<Slot>(function, physical));
}

void Drivers::load_vfio_pci() {
  const MutexLock lock(mu_);
  Driver& vfio = driver_locked(kVfioPci);
  for (const auto& slot : slots_) {
    const pci::FunctionSpec& spec = slot->function.spec();
    const PciId id{spec.vendor, spec.device};
    if (std::ranges::find(vfio.ids, id) != vfio.ids.end()) continue;
    vfio.ids.push_back(id);
    vfio_pci_ids_ += fmt::format("{}{:04x}:{:04x}", vfio_pci_ids_.empty() ? "" : ",", spec.vendor, spec.device);
  }
  for (const auto& slot : slots_)
    if (matches(vfio, *slot)) (void)probe_locked(vfio, *slot);
}

Drivers::State Drivers::state(const pci::Function& function) const {
  const MutexLock lock(mu_);
  const Slot& slot = slot_locked(function);
  return {slot.driver != nullptr ? slot.driver->name : std::string_view(), slot.vfio, slot.driver_override};
}

Drivers::Slot& Drivers::slot_locked(const pci::Function& function) const {
  const auto at = std::ranges::find_if(slots_, [&](const auto& s) { return &s->function == &function; });
  IOMMUFD_ASSERT(at != slots_.end());
  return **at;
}

Drivers::Driver& Drivers::driver_locked(std::string_view name) {
  const auto at = std::ranges::find(drivers_, name, &Driver::name);
  IOMMUFD_ASSERT(at != drivers_.end());
  return *at;
}

Drivers::Slot* Drivers::find_locked(std::string_view text) {
  const std::string_view name = one_line(text);
  const auto at = std::ranges::find_if(slots_, [&](const auto& s) { return s->function.bdf().str() == name; });
  return at == slots_.end() ? nullptr : at->get();
}

Result<void> Drivers::settle_locked(Slot& slot, Wait wait) {
  while (slot.leaving) {
    if (wait == Wait::kNo) return Err(Errno::kBusy);
    settled_.wait(mu_);
  }
  return {};
}

bool Drivers::matches(const Driver& driver, const Slot& slot) {
  if (!slot.driver_override.empty()) return slot.driver_override == driver.name;
  const PciId function = id_of(slot.function.spec());
  return std::ranges::any_of(driver.ids, [&](const PciId& id) { return fits(id, function); });
}

Result<void> Drivers::probe_locked(Driver& driver, Slot& slot) {
  const std::string name = slot.function.bdf().str();
  if (driver.name == kVfioPci) {
    const bool noiommu = noiommu_();
    Result<Ref<vfio::Device>> device =
        registry_.probe(slot.function, noiommu ? vfio::UnsafeNoiommu::kOn : vfio::UnsafeNoiommu::kOff);
    if (!device) {
      log_(
          fmt::format("vfio-pci {}: probe failed with error -{}: the device has no IOMMU; "
                      "add --enable-unsafe-noiommu-mode to use it without one",
                      name, static_cast<int>(device.error())));
      return Err(device.error());
    }
    slot.vfio = *std::move(device);
    if (slot.vfio->is_noiommu()) {
      log_(fmt::format("vfio-pci {}: Adding kernel taint for vfio-noiommu cdev", name));
      log_(fmt::format("vfio-pci {}: Adding kernel taint for vfio-noiommu group on device", name));
    }
  }
  slot.driver = &driver;
  return {};
}

Result<void> Drivers::bind(std::string_view driver, std::string_view text, Wait wait) {
  {
    const MutexLock lock(mu_);
    Driver& to = driver_locked(driver);
    Slot* slot = find_locked(text);
    if (slot == nullptr || !matches(to, *slot)) return Err(Errno::kNoDev);
    IOMMUFD_TRY(settle_locked(*slot, wait));
    if (slot->driver != nullptr) return Err(Errno::kBusy);
    IOMMUFD_TRY(probe_locked(to, *slot));
  }
  tell_changed();
  return {};
}

Result<void> Drivers::unbind(std::string_view driver, std::string_view text, Wait wait) {
  Slot* slot = nullptr;
  Ref<vfio::Device> device;
  {
    const MutexLock lock(mu_);
    slot = find_locked(text);
    if (slot == nullptr) return Err(Errno::kNoDev);
    IOMMUFD_TRY(settle_locked(*slot, wait));
    if (slot->driver != &driver_locked(driver)) return Err(Errno::kNoDev);
    if (!slot->vfio) {
      slot->driver = nullptr;
    } else {
      slot->leaving = true;
      device = slot->vfio;
    }
  }
  if (!device) {
    tell_changed();
    return {};
  }
  device->begin_leaving();
  if (wait == Wait::kYes || device->wait_unused({})) {
    finish_leaving(*slot, device, 0);
    return {};
  }
  ask_release(*device, 0);
  // The thread of an earlier unbind has said its last word: the slot was not leaving.
  slot->remover = std::jthread([this, slot, device] { finish_leaving(*slot, device, 1); });
  return {};
}

void Drivers::ask_release(vfio::Device& device, u32 asked) {
  const std::string name = device.function().bdf().str();
  if (device.interrupts().request_release()) {
    if (asked % 10 == 0) log_(fmt::format("vfio-pci {}: Relaying device request to user (#{})", name, asked));
  } else if (asked == 0) {
    log_(fmt::format("vfio-pci {}: No device request channel registered, blocked until released by user", name));
  }
}

void Drivers::finish_leaving(Slot& slot, const Ref<vfio::Device>& device, u32 asked) {
  constexpr std::chrono::milliseconds kLook{100};  // at the end of the machine
  for (;; ++asked) {
    for (auto waited = kLook; asked != 0 && waited <= kRequestPeriod && !device->wait_unused(kLook); waited += kLook)
      if (ending_.load()) return;
    if (device->wait_unused({})) break;
    ask_release(*device, asked);
  }
  {
    const MutexLock lock(mu_);
    registry_.remove(*device);
    slot.vfio = nullptr;
    slot.driver = nullptr;
  }
  // The world has changed before anybody who waits for this sees it done.
  tell_changed();
  const MutexLock lock(mu_);
  slot.leaving = false;
  settled_.notify_all();
}

Result<void> Drivers::new_id(std::string_view driver, std::string_view text) {
  const std::vector<u64> numbers = hex_numbers(text, kIdFields);
  const PciId id = IOMMUFD_TRY(parse_id(numbers));
  // Neither driver has ids of its own, and so no data that it knows.
  if (numbers.size() == kIdFields && numbers.back() != 0) return Err(Errno::kInval);
  {
    const MutexLock lock(mu_);
    Driver& to = driver_locked(driver);
    PciId asked = id;
    asked.class_mask = 0;
    if (numbers.size() != kIdFields && std::ranges::any_of(to.ids, [&](const PciId& i) { return fits(i, asked); }))
      return Err(Errno::kExist);
    to.ids.push_back(id);
    for (const auto& slot : slots_)
      if (slot->driver == nullptr && matches(to, *slot)) (void)probe_locked(to, *slot);
  }
  tell_changed();
  return {};
}

Result<void> Drivers::remove_id(std::string_view driver, std::string_view text) {
  const PciId id = IOMMUFD_TRY(parse_id(hex_numbers(text, kIdFields - 1)));
  const MutexLock lock(mu_);
  std::vector<PciId>& ids = driver_locked(driver).ids;
  const auto at = std::ranges::find_if(ids, [&](const PciId& i) {
    return i.vendor == id.vendor && i.device == id.device && fits(id.subsystem_vendor, i.subsystem_vendor) &&
           fits(id.subsystem_device, i.subsystem_device) && ((i.class_code ^ id.class_code) & id.class_mask) == 0;
  });
  if (at == ids.end()) return Err(Errno::kNoDev);
  ids.erase(at);
  return {};
}

Result<void> Drivers::probe(std::string_view text, Wait wait) {
  {
    const MutexLock lock(mu_);
    Slot* slot = find_locked(text);
    if (slot == nullptr) return Err(Errno::kNoDev);
    IOMMUFD_TRY(settle_locked(*slot, wait));
    if (slot->driver != nullptr) return {};
    for (Driver& driver : drivers_)
      if (matches(driver, *slot) && probe_locked(driver, *slot)) break;
  }
  tell_changed();
  return {};
}

Result<void> Drivers::set_override(const pci::Function& function, std::string_view text) {
  if (text.size() >= kPageSize - 1) return Err(Errno::kInval);
  text = text.substr(0, text.find('\0'));  // Python likes to write them
  const MutexLock lock(mu_);
  slot_locked(function).driver_override = text.substr(0, text.find('\n'));
  return {};
}

u32 Drivers::enable_count(const pci::Function& function) const {
  const MutexLock lock(mu_);
  const Slot& slot = slot_locked(function);
  return slot.enables + (slot.vfio && slot.vfio->is_claimed() ? 1 : 0);
}

// Enabling lets the function decode memory, disabling stops its DMA; what else is on stays.
Result<void> Drivers::set_enabled(const pci::Function& function, bool on) {
  const MutexLock lock(mu_);
  Slot& slot = slot_locked(function);
  if (slot.driver != nullptr) return Err(Errno::kBusy);
  if (!on && slot.enables == 0) return Err(Errno::kIo);
  slot.enables += on ? 1 : ~u32{0};
  if (slot.enables > 1 || (slot.enables == 1 && !on)) return {};
  const std::vector<u8> config = slot.function.sysfs_config();
  u16 command = static_cast<u16>(config[pci::reg::kCommand] | config[pci::reg::kCommand + 1] << 8);
  command = static_cast<u16>(on ? command | pci::reg::kCommandMemory : command & ~pci::reg::kCommandMaster);
  slot.function.sysfs_write_config(pci::reg::kCommand, std::as_bytes(std::span(&command, 1)));
  return {};
}

}  // namespace iommufd::machine
