// SPDX-License-Identifier: BSD-3-Clause
// What this machine's kernel says of its PCI functions, and whether one may be used without an IOMMU.
//
// A function is usable when no IOMMU manages it, no driver that would fight for it is bound, nothing of the machine depends on it,
// and it is an ordinary function with memory to map (spec/noiommu 2, 13). That devices without an IOMMU are wanted at all
// (--enable-unsafe-noiommu-mode) is for the caller to check.
#pragma once

#include <array>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "host/sysfs.hpp"
#include "pci/bdf.hpp"

namespace iommufd::host {

// One line of the file `resource`: a BAR, or the expansion ROM.
struct Resource {
  u64 start = 0;
  u64 size = 0;  // 0: there is none
  u64 flags = 0;

  [[nodiscard]] bool is_memory() const { return size != 0 && (flags & kMemory) != 0; }
  [[nodiscard]] bool is_port() const { return size != 0 && (flags & kPort) != 0; }

  static constexpr u64 kPort = 0x100, kMemory = 0x200;  // Linux's resource flags, in sysfs since 2.6
};

struct HostGroup {
  std::string number;
  bool is_noiommu = false;  // VFIO's own, for a device without an IOMMU: its name is vfio-noiommu
};

// How interrupts of a function reach a program: by memory that messages are written to and by the status bit of the line, which are looked
// at; or through a driver of the kernel.
enum class InterruptWay : u8 {
  kMemory,
  kUio,   // uio_pci_generic serves the line; messages as kMemory
  kVfio,  // the noiommu group of vfio-pci serves them all
};

struct HostFunction {
  static constexpr std::size_t kBars = 6, kRom = 6;

  pci::Bdf bdf;
  std::string folder;  // in sysfs, without links
  u16 vendor = 0, device = 0, subsystem_vendor = 0, subsystem_device = 0;
  u8 revision = 0;
  u32 class_code = 0;                          // 24 bits
  std::array<Resource, kBars + 1> resources;   // the ROM is the last
  std::optional<std::string> driver;           // what is bound
  std::optional<std::string> driver_override;  // the one driver that may be bound
  std::optional<HostGroup> group;
  bool has_iommu = false;  // an IOMMU's driver knows it, in a group or not
  bool is_bridge = false;
  bool has_line = false;                         // an interrupt pin
  std::optional<u32> msi_vectors, msix_vectors;  // nothing: no such capability, or config space is not ours to read
  std::vector<std::string> reset_methods;        // "flr", "pm", "bus"; a kernel before 5.15 does not say
  int numa_node = -1;
  std::vector<std::string> dependents;  // dependents.hpp

  [[nodiscard]] bool is_managed_by_iommu() const { return has_iommu || (group && !group->is_noiommu); }
  // Bound to a driver that touches the device only for its own user.
  [[nodiscard]] bool has_idle_driver() const;
  [[nodiscard]] InterruptWay interrupt_way() const;
};

// Nothing when there is no such function.
std::optional<HostFunction> describe(pci::Bdf bdf, const Roots& roots = {});
// All of them, by address.
std::vector<HostFunction> inventory(const Roots& roots = {});

// "what" is a clause whose subject is the function; "remedy" a sentence, or empty when there is none.
struct Refusal {
  std::string what;
  std::string remedy;
};
// "0000:00:04.0 is bound to the driver nvme. Unbind it: iommufd-user bind 0000:00:04.0"
std::string refusal_text(pci::Bdf bdf, const Refusal& refusal);

// There is no such function: with those that may have been meant.
Refusal absence(pci::Bdf bdf, const Roots& roots = {});
// The capabilities that this process lacks (of the initial user namespace: pagemap and config space want those).
std::optional<Refusal> find_lack_of_privilege(const Roots& roots = {});
// Something of the machine depends on it; it is a bridge.
std::optional<Refusal> find_use(const HostFunction& function);
std::optional<Refusal> find_bridge(const HostFunction& function);
// Whatever speaks against the function itself.
std::optional<Refusal> find_refusal(const HostFunction& function);

// All of the above, in this order; the error is a sentence for the user.
std::expected<HostFunction, std::string> usable(pci::Bdf bdf, const Roots& roots = {});

}  // namespace iommufd::host
