// SPDX-License-Identifier: BSD-3-Clause
#include "host/inventory.hpp"

#include <gmock/gmock.h>

#include "tests/unit/host/fake_machine.hpp"

namespace iommufd::host {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string refusal_of(const FakeMachine& machine, pci::Bdf bdf = kDisk) {
  const auto function = usable(bdf, machine.roots());
  return function ? "(usable)" : function.error();
}

// Type 0 header with MSI of 8 vectors at 0x40 and MSI-X of 65 at 0x60.
std::string config_space() {
  std::string c(256, '\0');
  c[0x06] = 0x10;
  c[0x34] = 0x40;
  c[0x40] = 0x05, c[0x41] = 0x60, c[0x42] = 3 << 1;
  c[0x60] = 0x11, c[0x62] = 64;
  return c;
}

TEST(HostInventory, reads_what_sysfs_says) {
  const FakeMachine machine;
  const std::string folder = machine.add_function("0000:00:04.0");
  machine.write(folder + "/config", config_space());
  machine.write(folder + "/reset_method", "flr pm\n");
  machine.write(folder + "/driver_override", "vfio-pci\n");
  machine.bind(folder, "nvme");
  const auto f = describe(kDisk, machine.roots());
  ASSERT_TRUE(f);
  EXPECT_EQ(f->vendor, 0x1b36);
  EXPECT_EQ(f->device, 0x10);
  EXPECT_EQ(f->subsystem_vendor, 0x1af4);
  EXPECT_EQ(f->subsystem_device, 0x1100);
  EXPECT_EQ(f->revision, 2);
  EXPECT_EQ(f->class_code, 0x010802U);
  EXPECT_EQ(f->driver, "nvme");
  EXPECT_EQ(f->driver_override, "vfio-pci");
  EXPECT_TRUE(f->resources[0].is_memory());
  EXPECT_EQ(f->resources[0].size, 0x4000U);
  EXPECT_EQ(f->resources[1].size, 0U);
  EXPECT_EQ(f->msi_vectors, 8U);
  EXPECT_EQ(f->msix_vectors, 65U);
  EXPECT_THAT(f->reset_methods, ElementsAre("flr", "pm"));
  EXPECT_EQ(f->numa_node, -1);
  EXPECT_FALSE(f->is_managed_by_iommu());
  EXPECT_FALSE(f->is_bridge);
}

TEST(HostInventory, a_capability_list_that_runs_in_a_circle_or_out_of_config_space_ends) {
  const FakeMachine machine;
  const std::string folder = machine.add_function("0000:00:04.0");
  std::string circle = config_space();
  circle[0x60] = 0x01, circle[0x61] = 0x40;
  machine.write(folder + "/config", circle);
  EXPECT_EQ(describe(kDisk, machine.roots())->msi_vectors, 8U);
  EXPECT_FALSE(describe(kDisk, machine.roots())->msix_vectors);
  machine.write(folder + "/config", config_space().substr(0, 64));  // what an ordinary user reads
  EXPECT_FALSE(describe(kDisk, machine.roots())->msi_vectors);
}

TEST(HostInventory, has_all_functions_by_address) {
  const FakeMachine machine;
  machine.add_function("0000:00:1f.2");
  machine.add_function("0000:00:04.0");
  const auto all = inventory(machine.roots());
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].bdf.str(), "0000:00:04.0");
  EXPECT_EQ(all[1].bdf.str(), "0000:00:1f.2");
}

TEST(HostUsable, a_function_that_nobody_uses_is) {
  const FakeMachine machine;
  machine.add_function("0000:00:04.0");
  EXPECT_EQ(refusal_of(machine), "(usable)");
}

TEST(HostUsable, not_one_that_does_not_exist) {
  const FakeMachine machine;
  EXPECT_EQ(refusal_of(machine),
            "0000:00:04.0 is no PCI function of this machine. `iommufd-user devices --host` lists those that are");
  machine.add_function("0000:00:04.1");
  machine.add_function("0000:00:05.0");
  EXPECT_THAT(refusal_of(machine), AllOf(HasSubstr("Near it are 0000:00:04.1;"), Not(HasSubstr("05.0"))));
}

TEST(HostUsable, not_without_privilege) {
  const FakeMachine machine;
  machine.add_function("0000:00:04.0");
  machine.write("proc/self/status", "CapEff:\t0000000000200000\n");
  EXPECT_THAT(refusal_of(machine), AllOf(HasSubstr("CAP_SYS_RAWIO"), Not(HasSubstr("CAP_SYS_ADMIN"))));
  machine.write("proc/self/status", "CapEff:\t0000000000000000\n");
  EXPECT_THAT(refusal_of(machine), HasSubstr("needs CAP_SYS_ADMIN and CAP_SYS_RAWIO, which this process lacks"));
  machine.write("proc/self/status", "CapEff:\t000001ffffffffff\n");
  machine.write("proc/self/uid_map", "         0       1000          1\n");
  EXPECT_THAT(refusal_of(machine), HasSubstr("user namespace"));
}

TEST(HostUsable, not_behind_an_iommu) {
  const FakeMachine machine;
  const std::string folder = machine.add_function("0000:00:04.0");
  machine.write("sys/kernel/iommu_groups/3/type", "DMA\n");
  machine.link(folder + "/iommu_group", "sys/kernel/iommu_groups/3");
  EXPECT_THAT(refusal_of(machine),
              AllOf(HasSubstr("0000:00:04.0 is managed by an IOMMU (group 3)"), HasSubstr("vfio-pci")));
}

TEST(HostUsable, vfios_own_group_is_no_iommu) {
  const FakeMachine machine;
  const std::string folder = machine.add_function("0000:00:04.0");
  machine.write("sys/kernel/iommu_groups/0/name", "vfio-noiommu\n");
  machine.link(folder + "/iommu_group", "sys/kernel/iommu_groups/0");
  machine.bind(folder, "vfio-pci");
  EXPECT_EQ(refusal_of(machine), "(usable)");
  machine.link(folder + "/iommu", "sys/devices/virtual/iommu/dmar0");  // even if it leads nowhere
  EXPECT_THAT(refusal_of(machine), HasSubstr("is managed by an IOMMU"));
}

TEST(HostUsable, not_with_a_driver_that_would_fight_for_it) {
  const FakeMachine machine;
  const std::string folder = machine.add_function("0000:00:04.0");
  machine.bind(folder, "nvme");
  EXPECT_EQ(refusal_of(machine), "0000:00:04.0 is bound to the driver nvme. Unbind it: iommufd-user bind 0000:00:04.0");
  std::filesystem::remove(machine.at(folder + "/driver"));
  machine.bind(folder, "uio_pci_generic");
  EXPECT_EQ(refusal_of(machine), "(usable)");
}

TEST(HostUsable, not_a_bridge) {
  const FakeMachine machine;
  const std::string folder = machine.add_function("0000:00:04.0", "0x060400");
  EXPECT_THAT(refusal_of(machine), HasSubstr("is a bridge"));
  machine.write(folder + "/class", "0x088000\n");
  std::string config = config_space();
  EXPECT_EQ(refusal_of(machine), "(usable)");
  config[0x0e] = static_cast<char>(0x81);
  machine.write(folder + "/config", config);
  EXPECT_THAT(refusal_of(machine), HasSubstr("is a bridge"));
}

TEST(HostUsable, not_without_a_memory_bar) {
  const FakeMachine machine;
  const std::string folder = machine.add_function("0000:00:04.0");
  std::string holes;
  for (int i = 0; i < 5; ++i) holes += "0x0000000000000000 0x0000000000000000 0x0000000000000000\n";
  // Ports, and a ROM.
  machine.write(folder + "/resource", "0x000000000000c000 0x000000000000c01f 0x0000000000040101\n" + holes +
                                          "0x00000000feb00000 0x00000000feb7ffff 0x0000000000046200\n");
  EXPECT_THAT(refusal_of(machine), HasSubstr("has no memory BAR"));
}

TEST(HostDependents, an_interface_that_is_up) {
  const FakeMachine machine;
  const std::string folder = machine.add_function("0000:00:04.0", "0x020000");
  machine.write(folder + "/virtio0/net/eth0/flags", "0x1002\n");
  machine.write(folder + "/virtio0/net/eth0/operstate", "down\n");
  machine.link("sys/class/net/eth0", folder + "/virtio0/net/eth0");
  EXPECT_EQ(refusal_of(machine), "(usable)");
  machine.write(folder + "/virtio0/net/eth0/flags", "0x1003\n");  // up, without a carrier
  EXPECT_THAT(refusal_of(machine), HasSubstr("is in use by the network interface eth0, which is up"));
  EXPECT_THAT(describe({.device = 5}, machine.roots()), testing::Eq(std::nullopt));
}

TEST(HostDependents, another_functions_are_not) {
  const FakeMachine machine;
  machine.add_function("0000:00:04.0");
  const std::string other = machine.add_function("0000:00:04.00");  // a longer name, no PCI address
  machine.add_disk(other, "sda", "8:0");
  machine.mount("8:0", "/", "/dev/sda");
  EXPECT_EQ(refusal_of(machine), "(usable)");
}

TEST(HostDependents, a_file_system_on_a_partition) {
  const FakeMachine machine;
  const std::string folder = machine.add_function("0000:00:04.0");
  machine.add_disk(folder + "/nvme/nvme0", "nvme0n1", "259:0");
  machine.add_disk(folder + "/nvme/nvme0/nvme0n1", "nvme0n1p1", "259:1");
  EXPECT_EQ(refusal_of(machine), "(usable)");
  machine.mount("259:1", "/data", "/dev/root");
  EXPECT_THAT(refusal_of(machine), HasSubstr("is in use by the file system on /data (nvme0n1p1). Give that up first"));
}

TEST(HostDependents, a_file_system_whose_numbers_are_its_own_is_found_by_its_source) {
  const FakeMachine machine;
  const std::string folder = machine.add_function("0000:00:04.0");
  machine.add_disk(folder + "/nvme/nvme0", "nvme0n1", "259:0");
  machine.mount("0:44", "/", "/dev/nvme0n1");
  EXPECT_THAT(refusal_of(machine), HasSubstr("the file system on / (nvme0n1)"));
}

TEST(HostDependents, a_mount_that_only_the_first_process_sees) {
  const FakeMachine machine;
  const std::string folder = machine.add_function("0000:00:04.0");
  machine.add_disk(folder + "/nvme/nvme0", "nvme0n1", "259:0");
  machine.write("proc/1/mountinfo", "26 1 259:0 / / rw - ext4 /dev/nvme0n1 rw\n");
  EXPECT_THAT(refusal_of(machine), HasSubstr("the file system on / (nvme0n1)"));
}

TEST(HostDependents, swap_and_what_is_built_on_a_disk) {
  const FakeMachine machine;
  const std::string folder = machine.add_function("0000:00:04.0");
  machine.add_disk(folder + "/ata1/host0/target0:0:0/0:0:0:0/block", "sda", "8:0");
  machine.add_disk("sys/devices/virtual/block", "dm-0", "253:0");
  machine.link("sys/class/block/sda/holders/dm-0", "sys/devices/virtual/block/dm-0");
  machine.write("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/dm-0 partition 1000 0 -2\n");
  const auto f = describe(kDisk, machine.roots());
  EXPECT_THAT(f->dependents, ElementsAre("swap on dm-0 of sda", "dm-0, which is built on sda"));
}

TEST(HostDependents, the_head_of_an_nvme_subsystem_is_reached_through_its_controllers) {
  const FakeMachine machine;
  const std::string folder = machine.add_function("0000:00:04.0");
  machine.write(folder + "/nvme/nvme0/state", "live\n");
  const std::string subsystem = "sys/devices/virtual/nvme-subsystem/nvme-subsys0";
  machine.add_disk(subsystem, "nvme0n1", "259:0");
  machine.add_disk(subsystem + "/nvme0n1", "nvme0n1p1", "259:1");
  machine.mount("259:1", "/", "/dev/nvme0n1p1");
  EXPECT_THAT(describe(kDisk, machine.roots())->dependents, IsEmpty());
  machine.link(subsystem + "/nvme0", folder + "/nvme/nvme0");
  EXPECT_THAT(describe(kDisk, machine.roots())->dependents, ElementsAre("the file system on / (nvme0n1p1)"));
}

TEST(HostDependents, virtual_functions) {
  const FakeMachine machine;
  const std::string folder = machine.add_function("0000:00:04.0", "0x020000");
  machine.write(folder + "/sriov_numvfs", "2\n");
  EXPECT_THAT(refusal_of(machine), HasSubstr("its 2 virtual functions"));
}

}  // namespace
}  // namespace iommufd::host
