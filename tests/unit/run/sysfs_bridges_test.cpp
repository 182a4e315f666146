// SPDX-License-Identifier: BSD-3-Clause
// Bridges, what is below them, and expansion ROMs in /sys.
#include <gtest/gtest.h>

#include <string>

#include "run/sysfs.hpp"
#include "tests/unit/run/sample_machine.hpp"

namespace iommufd::run {
namespace {

class SysfsBridges : public ::testing::Test {
 protected:
  SysfsBridges() {
    BridgeInfo port;
    port.function.bdf = {1, 0, 0x1c, 0};
    port.function.class_code = 0x060400;
    port.function.driver = "pcieport";
    port.function.iommu_group = 5;
    port.function.config = [] { return std::string(4096, '\1'); };
    port.function.config_size = 4096;
    port.function.windows = {{}, {0xc0000000, 0xc00fffff, 0x200}, {}, {}};
    port.secondary = 8;
    port.subordinate = 9;
    BridgeInfo below = port;
    below.function.bdf = {1, 8, 0, 0};
    below.function.bridges = {port.function.bdf};
    below.function.driver.clear();
    machine_.info.bridges = {port, below};
    PciDeviceInfo device = machine_.info.devices[2];
    device.bdf = {1, 9, 0, 0};
    device.bridges = {port.function.bdf, below.function.bdf};
    device.rom_size = 4096;
    device.rom = [this]() -> Result<std::string> {
      if (!rom_enabled_) return Err(Errno::kInval);
      return std::string("images");
    };
    machine_.info.devices.push_back(device);
  }
  std::string read(const std::string& path) {
    const Lookup l = tree().lookup("/sys/bus/pci/devices/" + path, Follow::kYes);
    return l.outcome == Lookup::Outcome::kFound ? l.node->read(Reader::kPrivileged).value_or("(refused)") : "(missing)";
  }
  std::string where(const std::string& path) {
    const Lookup l = tree().lookup("/sys/bus/pci/" + path, Follow::kYes);
    return l.outcome == Lookup::Outcome::kFound ? l.path : "(missing)";
  }
  PathTree& tree() {
    if (!tree_) tree_.emplace(build_tree(machine_.info));
    return *tree_;
  }
  SampleMachine machine_;
  bool rom_enabled_ = false;
  std::optional<PathTree> tree_;
};

TEST_F(SysfsBridges, directories_nest_as_the_buses_do) {
  const std::string port = "/sys/devices/pci0001:00/0001:00:1c.0";
  EXPECT_EQ(where("devices/0001:00:1c.0"), port);
  EXPECT_EQ(where("devices/0001:08:00.0"), port + "/0001:08:00.0");
  EXPECT_EQ(where("devices/0001:09:00.0"), port + "/0001:08:00.0/0001:09:00.0");
  EXPECT_EQ(where("devices/0001:09:00.0/subsystem"), "/sys/bus/pci");
}

TEST_F(SysfsBridges, ports_have_their_driver_buses_windows_and_group) {
  EXPECT_EQ(where("devices/0001:00:1c.0/driver"), "/sys/bus/pci/drivers/pcieport");
  EXPECT_EQ(where("drivers/pcieport/0001:00:1c.0"), "/sys/devices/pci0001:00/0001:00:1c.0");
  EXPECT_EQ(where("devices/0001:08:00.0/driver"), "(missing)");
  EXPECT_EQ(read("0001:00:1c.0/uevent").substr(0, 34), "DRIVER=pcieport\nPCI_CLASS=60400\nPC");
  EXPECT_EQ(read("0001:00:1c.0/secondary_bus_number"), "8\n");
  EXPECT_EQ(read("0001:00:1c.0/subordinate_bus_number"), "9\n");
  EXPECT_EQ(read("0001:00:1c.0/class"), "0x060400\n");
  EXPECT_EQ(where("devices/0001:00:1c.0/iommu_group"), "/sys/kernel/iommu_groups/5");
  const std::string resource = read("0001:00:1c.0/resource");
  EXPECT_EQ(resource.size(), 17U * 57);
  EXPECT_EQ(resource.substr(14 * 57, 57), "0x00000000c0000000 0x00000000c00fffff 0x0000000000000200\n");
}

TEST_F(SysfsBridges, a_rom_is_read_once_it_is_enabled) {
  EXPECT_EQ(read("0001:03:00.0/rom"), "(missing)");
  EXPECT_EQ(read("0001:09:00.0/rom"), "(refused)");
  rom_enabled_ = true;
  EXPECT_EQ(read("0001:09:00.0/rom"), "images");
}

}  // namespace
}  // namespace iommufd::run
