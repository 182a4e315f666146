// SPDX-License-Identifier: BSD-3-Clause
#include "host/rom_file.hpp"

#include <algorithm>

#include "base/rollback.hpp"
#include "base/sys.hpp"
#include "host/sysfs.hpp"
#include "pci/config_registers.hpp"

namespace iommufd::host {
namespace {

namespace reg = pci::reg;
constexpr u64 kLargest = u64{16} << 20;  // PCI 3.0, 6.2.5.2

}  // namespace

std::shared_ptr<const std::vector<u8>> read_rom(const std::string& directory, u64 size, ConfigFile& config,
                                                const WriteAttribute& write) {
  const std::string path = directory + "/rom";
  if (size == 0 || size > kLargest || !exists(path)) return nullptr;
  const pci::PowerState power = config.power();
  config.set_power(pci::PowerState::kD0);
  const u16 command = config.command();
  config.write(reg::kCommand, 2, command | u32{reg::kCommandMemory});
  const Rollback restore{[&] {
    (void)write(path, "0");
    config.write(reg::kCommand, 2, command);
    config.set_power(power);
  }};
  auto content = std::make_shared<std::vector<u8>>(size, u8{0xff});
  if (!write(path, "1")) return content;
  const std::string images = sys::read_file(path).value_or("");
  std::ranges::copy(images.substr(0, size), content->begin());
  return content;
}

}  // namespace iommufd::host
