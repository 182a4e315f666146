// SPDX-License-Identifier: BSD-3-Clause
// The contents of /sys and /dev against spec vfio-device 17 and noiommu 4 and 5.
#include "run/sysfs.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "run/sysfs_attributes.hpp"
#include "tests/unit/run/sample_machine.hpp"

namespace iommufd::run {
namespace {

using Outcome = Lookup::Outcome;

class SysfsTest : public ::testing::Test {
 protected:
  std::string read(const std::string& path, Reader reader = Reader::kPrivileged) {
    const Lookup l = tree_.lookup(path, Follow::kYes);
    return l.outcome == Outcome::kFound ? l.node->read(reader).value_or("(refused)") : "(missing)";
  }
  std::string target(const std::string& path) {
    const Lookup l = tree_.lookup(path, Follow::kNo);
    if (l.outcome != Outcome::kFound || l.node->kind() != NodeKind::kSymlink) return "(no link)";
    return l.node->target();
  }
  bool is_missing(const std::string& path) {
    const Lookup l = tree_.lookup(path, Follow::kNo);
    return l.outcome == Outcome::kError && l.error == Errno::kNoEnt;
  }
  SampleMachine machine_;
  PathTree tree_ = build_tree(machine_.info);
  const std::string translated_ = "/sys/bus/pci/devices/0001:01:00.0/";
  const std::string noiommu_ = "/sys/bus/pci/devices/0001:02:00.0/";
  const std::string refused_ = "/sys/bus/pci/devices/0001:03:00.0/";
};

TEST_F(SysfsTest, identity_is_printed_as_the_kernel_prints_it) {
  EXPECT_EQ(read(translated_ + "vendor"), "0x1234\n");
  EXPECT_EQ(read(translated_ + "device"), "0x11e8\n");
  EXPECT_EQ(read(translated_ + "subsystem_vendor"), "0x1af4\n");
  EXPECT_EQ(read(translated_ + "subsystem_device"), "0x1100\n");
  EXPECT_EQ(read(translated_ + "class"), "0x00ff00\n");
  EXPECT_EQ(read(translated_ + "revision"), "0x10\n");
  EXPECT_EQ(read(translated_ + "irq"), "11\n");
  EXPECT_EQ(read(translated_ + "numa_node"), "-1\n");
  EXPECT_EQ(read(translated_ + "enable"), "0\n");
  EXPECT_EQ(read(translated_ + "modalias"), "pci:v00001234d000011E8sv00001AF4sd00001100bc00scFFi00\n");
}

TEST_F(SysfsTest, uevent_names_the_driver_only_when_one_is_bound) {
  EXPECT_EQ(read(translated_ + "uevent"),
            "DRIVER=vfio-pci\nPCI_CLASS=FF00\nPCI_ID=1234:11E8\nPCI_SUBSYS_ID=1AF4:1100\n"
            "PCI_SLOT_NAME=0001:01:00.0\nMODALIAS=pci:v00001234d000011E8sv00001AF4sd00001100bc00scFFi00\n");
  EXPECT_TRUE(read(refused_ + "uevent").starts_with("PCI_CLASS="));
}

TEST_F(SysfsTest, resource_has_a_line_for_each_bar_the_rom_and_the_sriov_bars) {
  const std::string text = read(translated_ + "resource");
  EXPECT_EQ(text.substr(0, 57), "0x00000000fe000000 0x00000000fe0fffff 0x0000000000040200\n");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 13);
  EXPECT_TRUE(text.ends_with("0x0000000000000000 0x0000000000000000 0x0000000000000000\n"));
}

TEST_F(SysfsTest, config_takes_writes_inside_of_it) {
  const Node& config = *tree_.lookup(translated_ + "config", Follow::kYes).node;
  EXPECT_EQ(config.content(), Content::kBytes);
  EXPECT_EQ(config.write({.data = "ab", .offset = 4}), 2U);
  EXPECT_EQ(machine_.config.substr(4, 2), "ab");
  EXPECT_EQ(config.write({.data = "", .offset = 4}), 0U);
  EXPECT_EQ(config.write({.data = "abcd", .offset = 254}), 2U);
  EXPECT_EQ(config.write({.data = "a", .offset = 256}).error(), Errno::kFBig);
}

TEST_F(SysfsTest, reset_takes_1) {
  const Node& reset = *tree_.lookup(translated_ + "reset", Follow::kYes).node;
  EXPECT_FALSE(reset.readable());
  EXPECT_EQ(reset.write({.data = "1\n", .offset = 0}), 2U);
  EXPECT_EQ(reset.write({.data = "1", .offset = 0}), 1U);
  EXPECT_EQ(machine_.resets, 2U);
  EXPECT_EQ(reset.write({.data = "0", .offset = 0}).error(), Errno::kInval);
  EXPECT_EQ(reset.write({.data = "11", .offset = 0}).error(), Errno::kInval);
  EXPECT_EQ(machine_.resets, 2U);
}

TEST_F(SysfsTest, config_is_live_and_unprivileged_readers_see_64_bytes) {
  EXPECT_EQ(read(translated_ + "config").size(), 256U);
  EXPECT_EQ(read(translated_ + "config", Reader::kUnprivileged).size(), 64U);
  machine_.config[4] = '\x07';
  EXPECT_EQ(read(translated_ + "config")[4], '\x07');
  EXPECT_EQ(tree_.lookup(translated_ + "config", Follow::kYes).node->size(), 256U);
  EXPECT_EQ(tree_.lookup(translated_ + "vendor", Follow::kYes).node->size(), 4096U);
}

TEST_F(SysfsTest, driver_override_is_null_or_a_name) {
  const Node* node = tree_.lookup(translated_ + "driver_override", Follow::kYes).node;
  EXPECT_EQ(node->read(Reader::kPrivileged), "(null)\n");
  EXPECT_EQ(node->write({.data = "pci-stub"}), Result<u64>(8));
  EXPECT_EQ(machine_.written, "driver_override=pci-stub");
  machine_.driver_override = "pci-stub";
  EXPECT_EQ(node->read(Reader::kPrivileged), "pci-stub\n");
}

TEST_F(SysfsTest, drivers_have_their_files_and_hand_on_what_is_written) {
  const std::string driver = "/sys/bus/pci/drivers/vfio-pci/";
  for (const std::string name : {"bind", "unbind", "new_id", "remove_id"}) {
    const Node* node = tree_.lookup(driver + name, Follow::kYes).node;
    EXPECT_EQ(node->mode(), 0200U);
    EXPECT_EQ(node->write({.data = "x"}), Result<u64>(1));
    EXPECT_EQ(machine_.written, name + "=x");
  }
  EXPECT_EQ(tree_.lookup("/sys/bus/pci/drivers_probe", Follow::kYes).node->write({.data = "y"}), Result<u64>(1));
  EXPECT_EQ(machine_.written, "drivers_probe=y");
  EXPECT_EQ(target(driver + "module"), "../../../../module/vfio_pci");
  EXPECT_EQ(target("/sys/module/vfio_pci/drivers/pci:vfio-pci"), "../../../bus/pci/drivers/vfio-pci");
  EXPECT_EQ(read("/sys/module/vfio_pci/parameters/ids"), "1234:11e8\n");
  EXPECT_EQ(read("/sys/bus/pci/drivers_autoprobe"), "1\n");
}

TEST(SysfsAttributes, processors_as_a_mask) {
  EXPECT_EQ(cpu_mask("0\n"), "1");
  EXPECT_EQ(cpu_mask("0-3,8"), "10f");
  EXPECT_EQ(cpu_mask("0-31,33"), "2,ffffffff");
  EXPECT_EQ(cpu_mask("64"), "1,00000000,00000000");
  EXPECT_EQ(cpu_mask("3-1"), "");
}

TEST_F(SysfsTest, attributes_follow_from_config_space) {
  EXPECT_EQ(read(translated_ + "reset_method"), "device_specific\n");
  EXPECT_TRUE(is_missing(translated_ + "max_link_speed"));
  machine_.config[6] = 0x10;
  machine_.config[0x34] = 0x50;
  machine_.config[0x50] = 0x10;  // PCI Express, with a function reset
  machine_.config[0x50 + 7] = 0x10;
  machine_.config[0x50 + 12] = 0x43;  // 8 GT/s, 4 lanes
  machine_.config[0x50 + 18] = 0x12;  // now 5 GT/s, 1 lane
  tree_ = build_tree(machine_.info);
  EXPECT_EQ(read(translated_ + "reset_method"), "flr\n");
  EXPECT_EQ(read(translated_ + "max_link_speed"), "8.0 GT/s PCIe\n");
  EXPECT_EQ(read(translated_ + "max_link_width"), "4\n");
  EXPECT_EQ(read(translated_ + "current_link_speed"), "5.0 GT/s PCIe\n");
  EXPECT_EQ(read(translated_ + "current_link_width"), "1\n");
}

TEST_F(SysfsTest, power_follows_config_space_and_vfio) {
  EXPECT_EQ(read(translated_ + "power_state"), "D0\n");
  EXPECT_TRUE(is_missing(translated_ + "power"));
  machine_.config[6] = 0x10;
  machine_.config[0x34] = 0x50;
  machine_.config[0x50] = 0x01;  // power management, in D3hot
  machine_.config[0x54] = 0x03;
  std::atomic<bool> control = false, low = false;
  machine_.info.devices[0].runtime_power = &control;
  machine_.info.devices[0].low_power = [&low] { return low.load(); };
  tree_ = build_tree(machine_.info);
  EXPECT_EQ(read(translated_ + "power_state"), "D3hot\n");
  machine_.config[0x54] = 0;
  EXPECT_EQ(read(translated_ + "power_state"), "D0\n");
  EXPECT_EQ(read(translated_ + "power/runtime_status"), "active\n");
  low = true;
  EXPECT_EQ(read(translated_ + "power_state"), "D3hot\n");
  EXPECT_EQ(read(translated_ + "power/runtime_status"), "suspended\n");
  EXPECT_EQ(read(translated_ + "power/control"), "on\n");
  const Node* node = tree_.lookup(translated_ + "power/control", Follow::kYes).node;
  EXPECT_EQ(node->write({.data = "auto\n"}), Result<u64>(5));
  EXPECT_EQ(node->write({.data = "off\n"}), Err(Errno::kInval));
  EXPECT_EQ(read(translated_ + "power/control"), "auto\n");
  EXPECT_EQ(read(translated_ + "power/runtime_enabled"), "enabled\n");
}

TEST_F(SysfsTest, a_mappable_bar_has_a_file_of_its_size) {
  EXPECT_TRUE(is_missing(translated_ + "resource0"));
  machine_.info.devices[0].mappable_bars = {0};
  machine_.info.devices[0].resources[0] = {0xfe000000, 0xfe0fffff, 0x40200};
  tree_ = build_tree(machine_.info);
  const Node* node = tree_.lookup(translated_ + "resource0", Follow::kYes).node;
  ASSERT_NE(node, nullptr);
  EXPECT_EQ(node->size(), 0x100000u);
  EXPECT_EQ(node->mode(), 0600u);
  EXPECT_EQ(node->read(Reader::kPrivileged), Err(Errno::kIo));
}

TEST_F(SysfsTest, uevent_takes_actions) {
  const Node* node = tree_.lookup(translated_ + "uevent", Follow::kYes).node;
  EXPECT_EQ(node->write({.data = "change\n"}), Result<u64>(7));
  EXPECT_EQ(node->write({.data = "dance\n"}), Err(Errno::kInval));
}

TEST_F(SysfsTest, links_are_written_as_sysfs_writes_them) {
  EXPECT_EQ(target("/sys/bus/pci/devices/0001:01:00.0"), "../../../devices/pci0001:01/0001:01:00.0");
  EXPECT_EQ(target(translated_ + "driver"), "../../../bus/pci/drivers/vfio-pci");
  EXPECT_EQ(target(translated_ + "subsystem"), "../../../bus/pci");
  EXPECT_EQ(target(translated_ + "iommu_group"), "../../../kernel/iommu_groups/5");
  EXPECT_EQ(target(translated_ + "iommu"), "../../virtual/iommu/ivhd0");
  EXPECT_EQ(target(translated_ + "vfio-dev/vfio0/device"), "../../../0001:01:00.0");
  EXPECT_EQ(target(translated_ + "vfio-dev/vfio0/subsystem"), "../../../../../class/vfio-dev");
  EXPECT_EQ(target("/sys/class/vfio-dev/vfio0"), "../../devices/pci0001:01/0001:01:00.0/vfio-dev/vfio0");
  EXPECT_EQ(target("/sys/bus/pci/drivers/vfio-pci/0001:01:00.0"), "../../../../devices/pci0001:01/0001:01:00.0");
  EXPECT_EQ(target("/sys/bus/pci/drivers/vfio-pci/module"), "../../../../module/vfio_pci");
  EXPECT_EQ(target("/sys/kernel/iommu_groups/5/devices/0001:01:00.0"), "../../../../devices/pci0001:01/0001:01:00.0");
  EXPECT_EQ(target("/sys/class/iommu/ivhd0"), "../../devices/virtual/iommu/ivhd0");
  EXPECT_EQ(target("/sys/devices/virtual/iommu/ivhd0/devices/0001:01:00.0"), "../../../../pci0001:01/0001:01:00.0");
  EXPECT_EQ(target("/sys/class/misc/iommu"), "../../devices/virtual/misc/iommu");
  EXPECT_EQ(target("/sys/dev/char/384:0"), "../../devices/pci0001:01/0001:01:00.0/vfio-dev/vfio0");
  EXPECT_EQ(target("/dev/char/384:0"), "../vfio/devices/vfio0");
  EXPECT_EQ(target("/dev/char/10:1000000"), "../iommu");
}

// Every symlink of ours leads to a node of ours, but for subsystem links, which lead to directories of the machine.
void expect_links_resolve(const PathTree& tree, const Node& directory) {
  for (const auto& [name, child] : directory.children()) {
    if (child->kind() == NodeKind::kDirectory) expect_links_resolve(tree, *child);
    if (child->kind() == NodeKind::kSymlink) {
      EXPECT_EQ(tree.lookup(child->path(), Follow::kYes).outcome, Outcome::kFound)
          << child->path() << " -> " << child->target();
    }
  }
}
TEST_F(SysfsTest, every_link_leads_somewhere) { expect_links_resolve(tree_, tree_.root()); }

TEST_F(SysfsTest, dev_number_of_sysfs_is_that_of_the_node) {
  EXPECT_EQ(read(translated_ + "vfio-dev/vfio0/dev"), "384:0\n");
  const Lookup node = tree_.lookup("/dev/vfio/devices/vfio0", Follow::kYes);
  ASSERT_EQ(node.outcome, Outcome::kFound);
  EXPECT_EQ(node.node->kind(), NodeKind::kCharDevice);
  EXPECT_EQ(node.node->rdev(), (DeviceNumber{384, 0}));
  EXPECT_EQ(node.node->mode(), 0600U);
  EXPECT_EQ(node.node->opener(), 11U);
  EXPECT_EQ(read(translated_ + "vfio-dev/vfio0/uevent"), "MAJOR=384\nMINOR=0\nDEVNAME=vfio/devices/vfio0\n");
}

TEST_F(SysfsTest, vfio_dev_has_exactly_one_entry) {
  const Lookup l = tree_.lookup(translated_ + "vfio-dev", Follow::kYes);
  ASSERT_EQ(l.outcome, Outcome::kFound);
  EXPECT_EQ(l.node->children().size(), 1U);
  EXPECT_EQ(l.node->children().begin()->second->kind(), NodeKind::kDirectory);
}

TEST_F(SysfsTest, a_noiommu_device_has_its_own_name_and_neither_group_nor_iommu) {
  EXPECT_EQ(read(noiommu_ + "vfio-dev/noiommu-vfio1/dev"), "384:1\n");
  EXPECT_EQ(tree_.lookup("/dev/vfio/devices/noiommu-vfio1", Follow::kYes).outcome, Outcome::kFound);
  EXPECT_TRUE(is_missing(noiommu_ + "iommu_group"));
  EXPECT_TRUE(is_missing(noiommu_ + "iommu"));
}

TEST_F(SysfsTest, a_device_whose_probe_failed_is_there_without_driver_and_node) {
  EXPECT_EQ(read(refused_ + "vendor"), "0x1234\n");
  EXPECT_TRUE(is_missing(refused_ + "driver"));
  EXPECT_TRUE(is_missing(refused_ + "vfio-dev"));
  EXPECT_EQ(tree_.lookup("/sys/bus/pci/drivers/vfio-pci/0001:03:00.0", Follow::kNo).outcome, Outcome::kError);
}

TEST_F(SysfsTest, groups_show_their_type_and_reserved_regions) {
  EXPECT_EQ(read("/sys/kernel/iommu_groups/5/type"), "DMA\n");
  EXPECT_EQ(read("/sys/kernel/iommu_groups/5/reserved_regions"), "0x00000000fee00000 0x00000000feefffff msi\n");
  EXPECT_TRUE(is_missing("/sys/kernel/iommu_groups/5/name")) << "only groups with a name have the file";
}

TEST_F(SysfsTest, iommu_attributes_are_shown) { EXPECT_EQ(read("/sys/class/iommu/ivhd0/amd-iommu/cap"), "0\n"); }

TEST_F(SysfsTest, the_noiommu_parameter_reads_and_takes_what_a_bool_parameter_takes) {
  const std::string path = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
  const Node* node = tree_.lookup(path, Follow::kYes).node;
  EXPECT_EQ(read(path), "Y\n");
  EXPECT_EQ(node->mode(), 0644U);
  EXPECT_EQ(node->write({.data = "0\n", .offset = 0}), Result<u64>(2));
  EXPECT_EQ(read(path), "N\n");
  EXPECT_EQ(node->write({.data = "on\n", .offset = 0}), Result<u64>(3));
  EXPECT_EQ(read(path), "Y\n");
  EXPECT_EQ(node->write({.data = "maybe", .offset = 0}), Err(Errno::kInval));
  EXPECT_EQ(read(path), "Y\n");
}

TEST_F(SysfsTest, what_programs_test_for_is_there) {
  for (const char* path :
       {"/dev/iommu", "/dev/vfio/devices", "/sys/module/vfio", "/sys/module/vfio_pci", "/sys/kernel/iommu_groups",
        "/sys/class/vfio-dev", "/sys/bus/pci/devices", "/sys/bus/pci/drivers/vfio-pci"}) {
    EXPECT_EQ(tree_.lookup(path, Follow::kYes).outcome, Outcome::kFound) << path;
  }
}

TEST(Sysfs, an_empty_machine_still_has_dev_iommu) {
  MachineInfo info;
  info.iommufd = {{kMiscMajor, kIommufdMinor}, 3};
  info.noiommu.get = [] { return false; };
  const PathTree tree = build_tree(info);
  EXPECT_EQ(tree.lookup("/dev/iommu", Follow::kYes).node->opener(), 3U);
  EXPECT_EQ(tree.lookup("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", Follow::kYes)
                .node->read(Reader::kPrivileged),
            "N\n");
  EXPECT_EQ(tree.lookup("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", Follow::kYes)
                .node->write({.data = "1", .offset = 0}),
            Err(Errno::kIo));
}

}  // namespace
}  // namespace iommufd::run
