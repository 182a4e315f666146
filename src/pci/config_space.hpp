// SPDX-License-Identifier: BSD-3-Clause
// The configuration space of a simulated function or bridge: bytes, which of their bits a write can change or
// clear, what they are after a reset, and where the capabilities are. What a VFIO client sees of it is VirtualConfig's matter.
// function_config() and bridge_config() fill one. Not thread-safe: whoever has it locks around it.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "base/types.hpp"
#include "pci/function_spec.hpp"
#include "pci/hardware_config.hpp"

namespace iommufd::pci {

class ConfigSpace final : public HardwareConfig {
 public:
  // Bits that a write changes, and bits that a written 1 clears.
  struct Masks {
    u32 writable = 0;
    u32 clearing = 0;
  };

  explicit ConfigSpace(u32 size) : bytes_(size), initial_(size), writable_(size), clearing_(size) {}

  // --- building ---
  // A register with the value that it has after a reset.
  void put(u32 offset, u32 width, u32 value, Masks masks);
  void put(u32 offset, u32 width, u32 value) { put(offset, width, value, Masks{}); }
  // Links a capability of `length` bytes, header included, at `at` or (0) behind the last one. Returns its start.
  u32 link(u8 id, u32 length, u32 at);
  u32 link_extended(u16 id, u8 version, u32 length, u32 at);

  [[nodiscard]] u32 size() const override { return static_cast<u32>(bytes_.size()); }
  [[nodiscard]] u32 read(u32 offset, u32 width) const override;
  // A power state that does not exist is dropped.
  void write(u32 offset, u32 width, u32 value) override;
  void show(u32 offset, u32 width, u32 value) override;
  [[nodiscard]] std::vector<u8> bytes() const override { return bytes_; }
  void restore(std::span<const u8> saved) override;
  void set_power(PowerState state) override;
  void show_line(Level level) override;
  void reset() override { bytes_ = initial_; }
  // The bits that ask for it read 0.
  bool take_reset_request() override { return std::exchange(reset_requested_, false); }

 private:
  void absorb_reset_bit(u32 offset, u32 width, u32 bit);

  std::vector<u8> bytes_;
  std::vector<u8> initial_;
  std::vector<u8> writable_;  // masks per byte
  std::vector<u8> clearing_;
  bool reset_requested_ = false;
};

// As it is once firmware has placed the function: BARs set, decoding on.
ConfigSpace function_config(const FunctionSpec& spec, const Placement& placement);
// Links a PCI Express capability; `control`, what can be written in Device Control beside what every function has.
void add_pcie(ConfigSpace& config, const PcieSpec& pcie, u32 device_cap, u16 control);
void add_extended(ConfigSpace& config, const ExtendedCapabilitySpec& cap);
void add_pm(ConfigSpace& config, const PmSpec& pm);

}  // namespace iommufd::pci
