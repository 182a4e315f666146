// SPDX-License-Identifier: BSD-3-Clause
#include "cli/host_commands.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace iommufd::cli {
namespace {

constexpr host::Resource kMemory{.start = 0xfeb0'0000, .size = 0x4000, .flags = host::Resource::kMemory};

host::HostFunction function(u8 device, u16 vendor, u16 id, u32 class_code) {
  host::HostFunction f;
  f.bdf = {.device = device};
  f.vendor = vendor;
  f.device = id;
  f.class_code = class_code;
  f.resources[0] = kMemory;
  return f;
}

TEST(DrawFunctions, says_what_each_is_and_whether_it_can_be_used) {
  std::vector<host::HostFunction> all{function(1, 0x1b36, 0x0010, 0x01'0802), function(2, 0x1b36, 0x0010, 0x01'0802),
                                      function(3, 0x1234, 0x11e8, 0xff00), function(4, 0x8086, 0x10d3, 0x02'0000),
                                      function(5, 0x1b36, 0x0005, 0xff00)};
  all[0].driver = "nvme";
  all[0].msix_vectors = 65;
  all[0].msi_vectors = 1;
  all[1].driver = "nvme";
  all[1].dependents = {"the file system on / (nvme1n1)"};
  all[2].msi_vectors = 1;
  all[3].group = {.number = "3", .is_noiommu = false};
  all[4].group = {.number = "0", .is_noiommu = true};
  all[4].driver = "vfio-pci";
  all[4].msix_vectors = 2;
  EXPECT_EQ(draw_functions(all),
            R"(FUNCTION      IDS        CLASS          DRIVER    IOMMU      INTERRUPTS      USABLE WITHOUT AN IOMMU
0000:00:01.0  1b36:0010  0108 nvme      nvme      -          msix 65         no: is bound to the driver nvme
0000:00:02.0  1b36:0010  0108 nvme      nvme      -          -               no: is bound to the driver nvme, and is in use by the file system on / (nvme1n1)
0000:00:03.0  1234:11e8  00ff           -         -          msi 1           yes
0000:00:04.0  8086:10d3  0200 ethernet  -         group 3    -               no: is managed by an IOMMU (group 3)
0000:00:05.0  1b36:0005  00ff           vfio-pci  noiommu 0  msix 2 by vfio  yes
)");
}

TEST(DrawFunctions, a_machine_without_functions_has_the_head_alone) {
  EXPECT_EQ(draw_functions({}), "FUNCTION  IDS  CLASS  DRIVER  IOMMU  INTERRUPTS  USABLE WITHOUT AN IOMMU\n");
}

}  // namespace
}  // namespace iommufd::cli
