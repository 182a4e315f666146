// SPDX-License-Identifier: BSD-3-Clause
#include "cli/machine_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace iommufd::cli {
namespace {

using iommu::ReservedRegion;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using enum iommu::ReservedType;

machine::MachineSpec machine_of(const std::string& text) {
  auto spec = parse_machine(text, "m.yaml");
  EXPECT_TRUE(spec) << spec.error();
  return spec ? *std::move(spec) : machine::MachineSpec{};
}

constexpr const char* kWhole = R"(
iommus:
  - name: left
    kind: amd
    reserved:
      - {type: direct, start: 0x1000000, last: 0x10fffff}
      - {type: reserved, start: 16M, size: 1MiB}
      - {type: msi, start: 8192, size: 4K}
  - {name: right, kind: vtd-s1}
devices:
  - model: edu
    addr: 0000:01:00.0
    iommu: left
    group: 7
    mmap: on
    dma_mask: 32
  - {model: edu, iommu: right, group: disks}
  - {model: edu, iommu: none}
  - {model: edu}
noiommu: {enable_unsafe_noiommu_mode: true}
phys: {layout: contiguous, base: 1M, size: 0x40000000}
container: iommufd
selftest: true
)";

TEST(MachineFile, bridges_have_defaults) {
  const auto m = machine_of(R"(
bridges:
  - {addr: "00:1c.0"}
  - {addr: "01:00.0", kind: upstream}
  - {addr: "02:00.0", kind: downstream, secondary: 0x10, acs: false}
  - {addr: "00:1d.0", kind: conventional}
devices: [{model: edu, addr: "10:00.0"}]
)");
  using enum machine::BridgeKind;
  ASSERT_EQ(m.bridges.size(), 4U);
  EXPECT_EQ(m.bridges[0].kind, kRootPort);
  EXPECT_EQ(m.bridges[0].secondary, 1);
  EXPECT_EQ(m.bridges[0].acs, machine::Acs::kOn);
  EXPECT_EQ(m.bridges[1].kind, kUpstream);
  EXPECT_EQ(m.bridges[1].secondary, 2);
  EXPECT_EQ(m.bridges[1].acs, machine::Acs::kOff);
  EXPECT_EQ(m.bridges[2].secondary, 0x10);
  EXPECT_EQ(m.bridges[2].acs, machine::Acs::kOff);
  EXPECT_EQ(m.bridges[3].kind, kConventional);
  EXPECT_EQ(m.bridges[3].secondary, 0x11);
}

TEST(MachineFile, mistakes_of_bridges_have_their_place) {
  const auto error = [](const std::string& text) {
    const auto spec = parse_machine(text, "m");
    return spec ? std::string("none") : spec.error();
  };
  EXPECT_THAT(error("bridges:\n  - {kind: upstream}"), HasSubstr("m:2:5: bridges[0]: has no 'addr'"));
  EXPECT_THAT(error("bridges:\n  - {addr: 0000:00:1c.0, kind: rootport}"),
              AllOf(HasSubstr("m:2:32: bridges[0].kind: rootport is none of root-port"),
                    HasSubstr("did you mean 'root-port'")));
  EXPECT_THAT(error("bridges:\n  - {addr: 0000:00:1c.0, sec: 1}"), HasSubstr("m:2:26: bridges[0].sec: unknown key"));
  EXPECT_THAT(error("bridges:\n  - {addr: 0000:00:1c.0, secondary: 256}"),
              HasSubstr("m:2:37: bridges[0].secondary: 256 is not the number of a bus"));
  EXPECT_THAT(error("bridges:\n  - {addr: 0000:00:1c.0, acs: maybe}"),
              HasSubstr("bridges[0].acs: must be true or false"));
  EXPECT_THAT(error("bridges:\n  - {addr: 0000:01:00.0, kind: upstream}"),
              HasSubstr("m:2:12: bridges[0].addr: 0000:01:00.0 is not below a root port"));
  EXPECT_THAT(error("bridges:\n  - {addr: 0000:00:1c.0}\ndevices:\n  - {model: edu, addr: 0000:01:02.0}"),
              HasSubstr("m:4:24: devices[0].addr: 0000:01:02.0 cannot be"));
  EXPECT_THAT(error("bridges:\n  - {addr: 0000:fe:00.0, secondary: 255}\n  - {addr: 0000:fe:01.0}"),
              HasSubstr("m:3:12: bridges[1].addr: no bus number is left"));
  EXPECT_THAT(error("devices: [{model: edu, rom: /nonexistent}]"),
              HasSubstr("devices[0].rom: /nonexistent: cannot be read"));
}

TEST(MachineFile, every_key_reaches_its_field) {
  const auto m = machine_of(kWhole);
  ASSERT_EQ(m.iommus.size(), 2U);
  EXPECT_EQ(m.iommus[0].name, "left");
  EXPECT_EQ(m.iommus[0].kind, iommu::Kind::kAmd);
  EXPECT_THAT(m.iommus[0].reserved,
              ElementsAre(ReservedRegion{{0x100'0000, 0x10f'ffff}, kDirect},
                          ReservedRegion{{0x100'0000, 0x10f'ffff}, kReserved}, ReservedRegion{{0x2000, 0x2fff}, kMsi}));
  EXPECT_EQ(m.iommus[1].kind, iommu::Kind::kVtdS1);
  EXPECT_THAT(m.iommus[1].reserved, IsEmpty());
  ASSERT_EQ(m.devices.size(), 4U);
  EXPECT_EQ(m.devices[0].model, "edu");
  EXPECT_EQ(m.devices[0].address, (pci::Bdf{0, 1, 0, 0}));
  EXPECT_EQ(m.devices[0].iommu, "left");
  EXPECT_EQ(m.devices[0].group, machine::GroupLabel(7U));
  EXPECT_THAT(m.devices[0].keys, ElementsAre(std::pair("mmap", "on"), std::pair("dma_mask", "32")));
  EXPECT_EQ(m.devices[1].group, machine::GroupLabel("disks"));
  EXPECT_FALSE(m.devices[1].address);
  EXPECT_EQ(m.devices[2].iommu, machine::kNoIommu);
  EXPECT_EQ(m.devices[3].iommu, "amd");
  EXPECT_EQ(m.noiommu, machine::NoiommuMode::kOn);
  EXPECT_EQ(m.phys.kind, machine::PhysSpec::Kind::kContiguous);
  EXPECT_EQ(m.phys.base, u64{1} << 20);
  EXPECT_EQ(m.phys.size, u64{1} << 30);
  EXPECT_EQ(m.container, machine::ContainerKind::kIommufd);
  EXPECT_EQ(m.selftest, machine::Selftest::kOn);
}

TEST(MachineFile, json_is_taken) {
  const auto m = machine_of(R"({
	"iommus": [{"name": "left", "kind": "amd", "reserved": [{"type": "msi", "start": "0x1000", "size": 4096}]}],
	"devices": [{"model": "edu", "iommu": "left", "addr": "0000:05:00.0", "mmap": "on", "dma_mask": 32}],
	"noiommu": {"enable_unsafe_noiommu_mode": false},
	"phys": {"layout": "fragmented", "seed": 9}
})");
  ASSERT_EQ(m.devices.size(), 1U);
  EXPECT_EQ(m.devices[0].address, (pci::Bdf{0, 5, 0, 0}));
  EXPECT_EQ(m.noiommu, machine::NoiommuMode::kOff);
  EXPECT_EQ(m.phys.seed, 9U);
  EXPECT_EQ(m.iommus.at(0).reserved.at(0), (ReservedRegion{{0x1000, 0x1fff}, kMsi}));
}

TEST(MachineFile, an_empty_list_is_a_machine_with_what_run_has_by_default) {
  const auto m = machine_of("devices: []\n");
  EXPECT_THAT(m.devices, IsEmpty());
  EXPECT_EQ(m.noiommu, machine::NoiommuMode::kOff);
  EXPECT_EQ(m.container, machine::ContainerKind::kNative);
  EXPECT_EQ(m.phys.kind, machine::PhysSpec::Kind::kFragmented);
}

TEST(MachineFile, the_last_address_can_be_reserved) {
  const auto m = machine_of(
      "iommus: [{name: a, kind: amd, reserved: [{type: msi, start: 0xfffffffffffff000, last: 0xffffffffffffffff}, "
      "{type: msi, start: 0xfffffffffffff000, size: 4K}]}]");
  for (const auto& r : m.iommus.at(0).reserved) EXPECT_EQ(r.range.last, ~u64{0});
}

struct Mistake {
  const char *text, *says;  // the whole message
};

constexpr Mistake kMistakes[] = {
    // The file.
    {"", "m:1:1: the file is empty; write at least 'devices: []'"},
    {"# nothing\n", "m:1:1: the file is empty; write at least 'devices: []'"},
    {"~", "m:1:1: the file is empty; write at least 'devices: []'"},
    {"- edu", "m:1:1: must be a map of iommus, bridges, devices, noiommu, phys, container, selftest, and is a list"},
    {"edu", "m:1:1: must be a map of iommus, bridges, devices, noiommu, phys, container, selftest, and is 'edu'"},
    {"devices: []\n---\ndevices: []\n", "m:3:1: a second document begins; a machine is one: remove the line '---'"},
    {"devices: [\n",
     "m:2:1: not YAML or JSON: end of sequence flow not found; check the indentation, brackets and "
     "quotes before it"},
    {"devices:\n\t- model: edu\n",
     "m:2:2: not YAML or JSON: illegal block entry; check the indentation, brackets and quotes before it"},
    {"{\"devices\": []\n",
     "m:2:1: not YAML or JSON: end of map flow not found; check the indentation, brackets and "
     "quotes before it"},
    {"devices: *there\n",
     "m:1:10: not YAML or JSON: the referenced anchor is not defined; check the indentation, "
     "brackets and quotes before it"},
    // Keys.
    {"device: []",
     "m:1:1: device: unknown key 'device' (did you mean 'devices'?); the keys of a machine are: iommus, "
     "bridges, devices, noiommu, phys, container, selftest"},
    {"hosts: []",
     "m:1:1: hosts: unknown key 'hosts'; the keys of a machine are: iommus, bridges, devices, noiommu, phys, "
     "container, selftest"},
    {"devices: []\ndevices: []", "m:2:1: devices: is given twice, first in line 1; remove one of them"},
    {"[a]: 1", "m:1:1: a key must be a word, and is a list"},
    {"selftest: true\ndevices:\n", "m:2:1: devices: must be a list of devices, and is empty"},
    {"devices: edu", "m:1:10: devices: must be a list of devices, and is 'edu'"},
    {"devices: {model: edu}", "m:1:10: devices: must be a list of devices, and is a map"},
    // IOMMUs.
    {"iommus: amd", "m:1:9: iommus: must be a list of IOMMUs, and is 'amd'"},
    {"iommus: [amd]", "m:1:10: iommus[0]: must be a map of name, kind, reserved, and is 'amd'"},
    {"iommus: [{nam: a}]",
     "m:1:11: iommus[0].nam: unknown key 'nam' (did you mean 'name'?); the keys of an IOMMU are: "
     "name, kind, reserved"},
    {"iommus: [{name: a}]", "m:1:10: iommus[0]: has no 'kind'; write which IOMMU it is: kind: amd"},
    {"iommus: [{kind: amd}]", "m:1:10: iommus[0]: has no 'name'; devices need it to say that they are behind it"},
    {"iommus: [{name: a, kind: amb}]",
     "m:1:26: iommus[0].kind: amb is none of amd, amd-v2, vtd, vtd-s1, riscv, smmuv3 "
     "(did you mean 'amd'?)"},
    {"iommus: [{name: a, kind: none}]",
     "m:1:26: iommus[0].kind: none is none of amd, amd-v2, vtd, vtd-s1, riscv, "
     "smmuv3; a device without an IOMMU says so itself: iommu: none"},
    {"iommus: [{name: a, kind: []}]", "m:1:26: iommus[0].kind: must be a kind of IOMMU, such as amd, and is a list"},
    {"iommus: [{name: [], kind: amd}]", "m:1:17: iommus[0].name: must be a name, and is a list"},
    {"iommus: [{name: a b, kind: amd}]",
     "m:1:17: iommus[0].name: 'a b' is not a name; use letters, digits, '-', '_' and '.'"},
    {"iommus: [{name: none, kind: amd}]",
     "m:1:17: iommus[0].name: 'none' means that there is no IOMMU; choose another name"},
    {"iommus: [{name: vtd, kind: amd}]",
     "m:1:17: iommus[0].name: 'vtd' is a kind, and this one is of kind amd; choose another name"},
    {"iommus:\n- {name: a, kind: amd}\n- {name: a, kind: vtd}",
     "m:3:10: iommus[1].name: 'a' is the name of another IOMMU; choose another one"},
    // Reserved ranges: R stands in front of them (below).
    {"R{}", "m:1:41: iommus[0].reserved: must be a list of reserved ranges, and is a map"},
    {"R[1]", "m:1:42: iommus[0].reserved[0]: must be a map of type, start, and last or size, and is '1'"},
    {"R[{type: msi, sise: 1}]",
     "m:1:54: iommus[0].reserved[0].sise: unknown key 'sise' (did you mean 'size'?); the keys "
     "of a reserved range are: type, start, last, size"},
    {"R[{start: 0, size: 4K}]", "m:1:42: iommus[0].reserved[0]: has no 'type'; write msi, direct or reserved"},
    {"R[{type: dirct}]",
     "m:1:49: iommus[0].reserved[0].type: dirct is none of msi, direct, reserved (did you mean 'direct'?)"},
    {"R[{type: msi}]", "m:1:42: iommus[0].reserved[0]: has no 'start'; write where the range begins"},
    {"R[{type: msi, start: here}]",
     "m:1:61: iommus[0].reserved[0].start: 'here' is not a size; write bytes, or K, M, "
     "G, T: 4096, 0x100000, 64M"},
    {"R[{type: msi, start: -1}]",
     "m:1:61: iommus[0].reserved[0].start: '-1' is not a size; write bytes, or K, M, "
     "G, T: 4096, 0x100000, 64M"},
    {"R[{type: msi, start: []}]",
     "m:1:61: iommus[0].reserved[0].start: must be an address: 4096, 0x100000, 64M, and is a list"},
    {"R[{type: msi, start: 1}]", "m:1:61: iommus[0].reserved[0].start: is not a multiple of the page size (4096)"},
    {"R[{type: msi, start: 4K}]",
     "m:1:42: iommus[0].reserved[0]: has no end; write 'last' (the last address) or 'size'"},
    {"R[{type: msi, start: 4K, size: 4K, last: 0x1fff}]",
     "m:1:42: iommus[0].reserved[0]: has both 'last' and 'size'; write one of them"},
    {"R[{type: msi, start: 4K, size: 0}]",
     "m:1:71: iommus[0].reserved[0].size: is 0; a range has at least one page (4096)"},
    {"R[{type: msi, start: 4K, size: 100}]",
     "m:1:71: iommus[0].reserved[0].size: is not a multiple of the page size (4096)"},
    {"R[{type: msi, start: 0xfffffffffffff000, size: 8K}]",
     "m:1:87: iommus[0].reserved[0].size: leads from 0xfffffffffffff000 past the last address, 2^64 - 1"},
    {"R[{type: msi, start: 8K, last: 0x1fff}]",
     "m:1:71: iommus[0].reserved[0].last: 0x1fff is before the start, 0x2000"},
    {"R[{type: msi, start: 4K, last: 0x2000}]",
     "m:1:71: iommus[0].reserved[0].last: is not the last address of a page; it is the last one that belongs to the "
     "range: 0x...fff"},
    // Devices.
    {"devices: [edu]", "m:1:11: devices[0]: must be a map of model, iommu, addr and so on, and is 'edu'"},
    {"devices: [{iommu: amd}]", "m:1:11: devices[0]: has no 'model'; write which device it is: model: edu"},
    {"devices: [{model: []}]", "m:1:19: devices[0].model: must be the name of a model, and is a list"},
    {"devices: [{model: edx}]",
     "m:1:19: devices[0].model: unknown model 'edx' (did you mean 'edu'?); the models are: "},
    {"devices:\n- model: edu\n- model: edu\n  iomu: amd\n",
     "m:4:3: devices[1].iomu: unknown key 'iomu' (did you mean 'iommu'?); the keys of an edu device are: model, addr, "
     "iommu, group, "},
    {"devices: [{model: edu, behind: bridge}]",
     "m:1:24: devices[0].behind: unknown key 'behind'; the keys of an edu device are: model, "},
    {"devices: [{model: edu, mmap: [on]}]", "m:1:30: devices[0].mmap: must be one value, and is a list"},
    {"devices: [{model: edu, mmap: maybe}]", "m:1:30: devices[0].mmap: edu: mmap=maybe is none of: off, on"},
    {"devices: [{model: edu, dma_mask: 99}]",
     "m:1:34: devices[0].dma_mask: edu: dma_mask=99 is not a number from 12 to 64"},
    {"devices: [{model: edu, addr: here}]",
     "m:1:30: devices[0].addr: here is not a PCI address; write domain:bus:device.function in hexadecimal, e.g. "
     "0000:01:00.0"},
    {"devices:\n- {model: edu, addr: 0000:01:00.0}\n- {model: edu, addr: 01:00.0}",
     "m:3:22: devices[1].addr: 0000:01:00.0 is the address of devices[0] too (line 2); change one of them, or leave it "
     "out"},
    {"iommus: [{name: left, kind: amd}]\ndevices:\n- {model: edu, iommu: lefd}",
     "m:3:23: devices[0].iommu: lefd is none of left, amd, amd-v2, vtd, vtd-s1, riscv, smmuv3, none (did you mean "
     "'left'?)"},
    {"devices: [{model: edu, group: 4294967296}]",
     "m:1:31: devices[0].group: 4294967296 is not the number of a group (0 to 2147483647); a name begins with a "
     "letter"},
    {"devices: [{model: edu, group: ''}]",
     "m:1:31: devices[0].group: no group is named; write a number, or a name of your own"},
    {"devices: [{model: edu, iommu: none, group: 3}]",
     "m:1:44: devices[0].group: a device without an IOMMU has a group of its own; leave 'group' out"},
    {"devices:\n- {model: edu, iommu: amd, group: 3}\n- {model: edu, iommu: vtd, group: 3}",
     "m:3:35: devices[1].group: 3 is the group of devices[0] too (line 2), behind amd, and this device is behind vtd; "
     "a "
     "group has one IOMMU: choose another group"},
    {"iommus: [{name: l, kind: amd}, {name: r, kind: amd}]\ndevices:\n- {model: edu, iommu: l, group: disks}\n"
     "- {model: edu, iommu: r, group: disks}",
     "m:4:33: devices[1].group: disks is the group of devices[0] too (line 3), behind l, and this device is behind r; "
     "a "
     "group has one IOMMU: choose another group"},
    // Policies.
    {"noiommu: true", "m:1:10: noiommu: must be a map of enable_unsafe_noiommu_mode, and is 'true'"},
    {"noiommu: {enable_unsafe_noiommu: true}",
     "m:1:11: noiommu.enable_unsafe_noiommu: unknown key 'enable_unsafe_noiommu' (did you mean "
     "'enable_unsafe_noiommu_mode'?); the keys of noiommu are: enable_unsafe_noiommu_mode"},
    {"noiommu: {enable_unsafe_noiommu_mode: maybe}",
     "m:1:39: noiommu.enable_unsafe_noiommu_mode: must be true or false, and is 'maybe'"},
    {"phys: contiguous", "m:1:7: phys: must be a map of layout, seed, base, size, and is 'contiguous'"},
    {"phys: {lay: contiguous}",
     "m:1:8: phys.lay: unknown key 'lay' (did you mean 'layout'?); the keys of phys are: "
     "layout, seed, base, size"},
    {"phys: {layout: contigous}",
     "m:1:16: phys.layout: contigous is none of fragmented, contiguous (did you mean 'contiguous'?)"},
    {"phys: {layout: contiguous, seed: 1}", "m:1:34: phys.seed: only 'layout: fragmented' has a seed; leave it out"},
    {"phys: {seed: x}", "m:1:14: phys.seed: 'x' is not a number; write decimal or 0x..."},
    {"phys: {base: 1M}", "m:1:14: phys.base: only 'layout: contiguous' has a base; leave it out"},
    {"phys: {size: 1M}", "m:1:14: phys.size: only 'layout: contiguous' has a size; leave it out"},
    {"phys: {layout: contiguous, base: 1}", "m:1:34: phys.base: is not a multiple of the page size (4096)"},
    {"phys: {layout: contiguous, size: 0}", "m:1:34: phys.size: a machine without memory cannot do DMA"},
    {"phys: {layout: contiguous, size: 99999999T}",
     "m:1:34: phys.size: '99999999T' is not a size; write bytes, or K, M, G, T: 4096, 0x100000, 64M"},
    {"phys: {layout: contiguous, base: 3G, size: 1G}",
     "m:1:7: phys: no usable memory lies between base and base + size: it needs whole 2 MiB blocks outside 3 GiB to 4 "
     "GiB and below 64 TiB"},
    {"container: vfio", "m:1:12: container: 'vfio' is none of native, iommufd"},
    {"container: []", "m:1:12: container: must be native or iommufd, and is a list"},
    {"selftest: 1", "m:1:11: selftest: must be true or false, and is '1'"},
};

TEST(MachineFile, every_mistake_is_said_with_its_place_its_key_and_what_to_do) {
  for (const Mistake& m : kMistakes) {
    std::string text = m.text;
    if (text.starts_with('R')) text = "iommus: [{name: a, kind: amd, reserved: " + text.substr(1) + "}]";
    const auto spec = parse_machine(text, "m");
    ASSERT_FALSE(spec) << text;
    EXPECT_THAT(spec.error(), ::testing::StartsWith(m.says)) << text;
  }
}

TEST(MachineFile, what_is_cut_off_or_mangled_is_refused_or_taken_and_nothing_else) {
  const std::string whole = kWhole;
  for (std::size_t n = 0; n < whole.size(); ++n) static_cast<void>(parse_machine(whole.substr(0, n), "m"));
  for (std::size_t n = 0; n < whole.size(); ++n) {
    for (const char c : {'[', '}', ':', '\t', '\0', '\xff', '&', '*', '-'}) {
      std::string mangled = whole;
      mangled[n] = c;
      static_cast<void>(parse_machine(mangled, "m"));
    }
  }
  EXPECT_FALSE(parse_machine(std::string(100'000, '['), "m"));
  EXPECT_FALSE(parse_machine("devices: &a [*a]", "m"));
}

TEST(MachineFile, a_file_that_cannot_be_read_says_why) {
  EXPECT_EQ(load_machine("/nonexistent/m.yaml").error(),
            "/nonexistent/m.yaml: cannot be read: No such file or directory");
  EXPECT_EQ(load_machine("/").error(), "/: cannot be read: Is a directory");
  EXPECT_THAT(load_machine("/dev/zero").error(), HasSubstr("is longer than 1 MiB"));
  EXPECT_THAT(load_machine("/dev/null").error(), AllOf(HasSubstr("/dev/null:1:1"), HasSubstr("is empty")));
}

}  // namespace
}  // namespace iommufd::cli
