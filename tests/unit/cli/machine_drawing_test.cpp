// SPDX-License-Identifier: BSD-3-Clause
#include "cli/machine_drawing.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/machine_file.hpp"

namespace iommufd::cli {
namespace {

std::string drawing_of(const char* text) {
  auto spec = parse_machine(text, "m.yaml");
  if (!spec) return spec.error();
  machine::assign_addresses(spec->devices);
  machine::add_implied_iommus(*spec);
  const auto machine = machine::Machine::create(*spec, [](std::string_view) {});
  return machine ? draw_machine(*spec, **machine) : machine.error();
}

TEST(DrawMachine, has_memory_iommus_ranges_groups_and_devices) {
  EXPECT_EQ(drawing_of(R"(
iommus:
  - {name: left, kind: amd, reserved: [{type: direct, start: 16M, size: 1M}]}
  - {name: right, kind: amd}
  - {name: spare, kind: riscv}
devices:
  - {model: edu, iommu: left, addr: 0000:01:00.0, group: shared, mmap: on, dma_mask: 32}
  - {model: edu, iommu: right}
  - {model: edu, iommu: left, group: shared}
  - {model: edu, iommu: left}
  - {model: edu, iommu: none}
noiommu: {enable_unsafe_noiommu_mode: true}
phys: {layout: contiguous, size: 1G}
)"),
            R"(memory     contiguous, from 0x100000, 1 GiB
container  native

left  amd, ivhd0
|-- reserved 0x1000000 to 0x10fffff  direct
|-- reserved 0xfee00000 to 0xfeefffff  msi
|-- reserved 0xfd00000000 to 0xffffffffff  reserved
|-- group 0  /dev/vfio/0
|   |-- 0000:01:00.0  edu mmap=on dma_mask=32  /dev/vfio/devices/vfio0
|   `-- 0000:03:00.0  edu  /dev/vfio/devices/vfio2
`-- group 2  /dev/vfio/2
    `-- 0000:04:00.0  edu  /dev/vfio/devices/vfio3

right  amd, ivhd1
|-- reserved 0xfee00000 to 0xfeefffff  msi
|-- reserved 0xfd00000000 to 0xffffffffff  reserved
`-- group 1  /dev/vfio/1
    `-- 0000:02:00.0  edu  /dev/vfio/devices/vfio1

spare  riscv, riscv-iommu@3010000.iommu

no IOMMU  enable_unsafe_noiommu_mode is on
`-- group 3  /dev/vfio/noiommu-3
    `-- 0000:05:00.0  edu  /dev/vfio/devices/noiommu-vfio4
)");
}

TEST(DrawMachine, a_device_that_vfio_does_not_take_has_no_node) {
  EXPECT_EQ(drawing_of("devices: [{model: edu, iommu: none}]\nselftest: true\ncontainer: iommufd"),
            R"(memory     fragmented, seed 1, from 0x100000, 64 GiB less the hole of 3 GiB to 4 GiB
container  iommufd
selftest   on

no IOMMU  enable_unsafe_noiommu_mode is off
`-- 0000:01:00.0  edu  no node: enable_unsafe_noiommu_mode is off
)");
}

}  // namespace
}  // namespace iommufd::cli
