// SPDX-License-Identifier: BSD-3-Clause
// A bridge of the machine: a PCI Express port or a conventional PCI-to-PCI bridge, as what sysfs and lspci show of it. Nothing
// goes through it: functions reach memory by their DmaPort, and BARs are found by their function.
//
// Lock: mu_ (kPci) guards its config space.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "base/sync.hpp"
#include "pci/config_space.hpp"
#include "pci/function_spec.hpp"

namespace iommufd::pci {

class Bridge {
 public:
  struct Spec {
    Bdf bdf;
    std::optional<PcieType> port{};  // nothing: conventional
    u16 acs = 0;                     // services of access control, all on; 0: none
    u8 secondary = 0;
    u8 subordinate = 0;
    Resource window{};  // memory behind it, in MiB; end 0: none
    bool multi_function = false;
    std::vector<Bdf> bridges{};  // above it, from the root bus down
  };
  static constexpr u32 kClass = 0x060400;

  explicit Bridge(const Spec& spec);
  Bridge(const Bridge&) = delete;
  Bridge& operator=(const Bridge&) = delete;

  [[nodiscard]] const Spec& spec() const { return spec_; }
  [[nodiscard]] u16 vendor() const { return ids_.vendor; }
  [[nodiscard]] u16 device() const { return ids_.device; }
  [[nodiscard]] u32 config_size() const { return spec_.port ? 4096 : 256; }
  // The lines of `resource` behind those of a function: windows for ports, memory, prefetchable memory, and one unused.
  [[nodiscard]] std::vector<Resource> sysfs_windows() const;
  [[nodiscard]] std::vector<u8> sysfs_config() IOMMUFD_EXCLUDES(mu_);
  // Pre: [offset, offset + size) is inside the space.
  void sysfs_write_config(u32 offset, std::span<const std::byte> in) IOMMUFD_EXCLUDES(mu_);

 private:
  struct Ids {
    u16 vendor, device;
  };
  static Ids ids_of(const Spec& spec);
  static ConfigSpace make_config(const Spec& spec, Ids ids);

  const Spec spec_;
  const Ids ids_;
  Mutex mu_{LockRank::kPci};
  ConfigSpace config_ IOMMUFD_GUARDED_BY(mu_);
};

}  // namespace iommufd::pci
