// SPDX-License-Identifier: BSD-3-Clause
#include "machine/topology.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "machine/placement.hpp"

namespace iommufd::machine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using enum BridgeKind;

BridgeSpec bridge(const char* address, std::optional<u8> secondary, BridgeKind kind = kRootPort) {
  return {.address = *pci::Bdf::parse(address), .kind = kind, .secondary = secondary};
}
DeviceSpec device(const char* address) {
  return {.model = "edu", .address = pci::Bdf::parse(address), .group = {}, .keys = {}};
}

// "bridge 1 addr: ..."; empty: no mistake.
std::string mistake(const Bridges& bridges, const std::vector<DeviceSpec>& devices = {}) {
  const auto found = find_topology_mistake(bridges, devices);
  if (!found) return {};
  const char* in = found->in == TopologyMistake::In::kBridge ? "bridge" : "device";
  return std::string(in) + " " + std::to_string(found->index) + " " + found->key + ": " + found->text;
}

const Bridges kSwitch{bridge("00:01.0", 1), bridge("01:00.0", 2, kUpstream), bridge("02:00.0", 3, kDownstream),
                      bridge("02:01.0", 4, kDownstream), bridge("00:02.0", 5, kConventional)};

TEST(SecondaryBuses, go_on_from_those_before) {
  Bridges bridges{bridge("00:01.0", {}), bridge("01:00.0", {}, kUpstream), bridge("00:02.0", 9), bridge("00:03.0", {}),
                  bridge("0001:00:01.0", {})};
  EXPECT_FALSE(assign_secondary_buses(bridges));
  std::vector<u8> buses;
  for (const BridgeSpec& b : bridges) buses.push_back(*b.secondary);
  EXPECT_THAT(buses, ElementsAre(1, 2, 9, 10, 1));
  Bridges full{bridge("00:01.0", 0xff), bridge("00:02.0", {})};
  EXPECT_EQ(assign_secondary_buses(full), 1U);
}

TEST(Topology, knows_what_is_above_and_below) {
  const auto above = bridges_above(kSwitch, {0, 3, 0, 0});
  ASSERT_EQ(above.size(), 3U);
  EXPECT_EQ(above[0], &kSwitch[0]);
  EXPECT_EQ(above[2], &kSwitch[2]);
  EXPECT_TRUE(bridges_above(kSwitch, {0, 6, 0, 0}).empty());
  EXPECT_EQ(subordinate_bus(kSwitch, kSwitch[0]), 4);
  EXPECT_EQ(subordinate_bus(kSwitch, kSwitch[3]), 4);
  EXPECT_TRUE(is_bridged_bus(kSwitch, {0, 4, 0, 0}));
  EXPECT_FALSE(is_bridged_bus(kSwitch, {0, 6, 0, 0}));
  EXPECT_FALSE(is_bridged_bus(kSwitch, {1, 4, 0, 0}));
  EXPECT_EQ(
      mistake(kSwitch, {device("03:00.0"), device("03:00.7"), device("04:00.0"), device("05:1f.0"), device("06:00.0")}),
      "");
}

TEST(Topology, mistakes_are_found_where_they_are) {
  EXPECT_THAT(mistake({bridge("05:00.0", 5)}), HasSubstr("bridge 0 secondary: 0x05 is not above"));
  EXPECT_THAT(mistake({bridge("00:01.0", 1), bridge("00:01.0", 2)}),
              HasSubstr("bridge 1 addr: 0000:00:01.0 is the address"));
  EXPECT_THAT(mistake({bridge("00:01.0", 1), bridge("00:02.0", 1)}),
              HasSubstr("bridge 1 secondary: 0x01 is the bus of bridges[0]"));
  EXPECT_THAT(mistake({bridge("00:01.0", 1), bridge("01:00.0", 2)}), HasSubstr("a root port is on a root bus"));
  EXPECT_THAT(mistake({bridge("00:01.0", 1, kUpstream)}), HasSubstr("an upstream port is"));
  EXPECT_THAT(mistake({bridge("00:01.0", 1), bridge("01:00.0", 2, kDownstream)}), HasSubstr("a downstream port is"));
  EXPECT_THAT(mistake({bridge("00:01.0", 1), bridge("01:00.0", 2, kUpstream), bridge("02:00.0", 3, kConventional)}),
              HasSubstr("bridge 2 addr: 0000:02:00.0 is inside a switch"));
  EXPECT_THAT(mistake({bridge("00:01.0", 1), bridge("01:00.0", 5, kUpstream), bridge("00:02.0", 3),
                       bridge("03:00.0", 4, kConventional)}),
              HasSubstr("between the buses 0x01 to 0x05"));
  Bridges acs{bridge("00:01.0", 1, kConventional)};
  acs[0].acs = Acs::kOn;
  EXPECT_THAT(mistake(acs), HasSubstr("bridge 0 acs: a bridge of kind conventional has no ACS"));
  EXPECT_THAT(mistake(kSwitch, {device("00:01.0")}),
              HasSubstr("device 0 addr: 0000:00:01.0 is the address of bridges[0]"));
  EXPECT_THAT(mistake(kSwitch, {device("06:00.0"), device("03:01.0")}),
              HasSubstr("device 1 addr: 0000:03:01.0 cannot be"));
  EXPECT_THAT(mistake(kSwitch, {device("02:03.0")}), HasSubstr("inside a switch"));
  EXPECT_THAT(mistake({bridge("00:01.0", 1), bridge("01:00.0", 4, kConventional)}, {device("03:00.0")}),
              HasSubstr("bus 0x03 is between the buses 0x01 to 0x04 of the bridge 0000:00:01.0"));
}

TEST(Addresses, that_nobody_gave_are_of_root_buses) {
  std::vector<DeviceSpec> devices(2);
  EXPECT_FALSE(assign_addresses(devices, kSwitch));
  EXPECT_EQ(devices[0].address, (pci::Bdf{0, 6, 0, 0}));
  EXPECT_EQ(devices[1].address, (pci::Bdf{0, 7, 0, 0}));
}

pci::FunctionSpec with_bar(u64 size) {
  pci::FunctionSpec spec;
  spec.bars[0] = {.kind = pci::BarKind::kMemory32, .size = size};
  return spec;
}

TEST(Placement, windows_enclose_what_is_below_and_nothing_else) {
  MachineSpec spec;
  spec.bridges = kSwitch;
  spec.devices = {device("06:00.0"), device("04:00.0"), device("03:00.1"), device("03:00.0")};
  const std::vector functions{with_bar(0x1000), with_bar(0x200000), with_bar(0x1000), with_bar(0x10000)};
  const auto placed = place(spec, functions);
  ASSERT_TRUE(placed);
  const auto inside = [&](std::size_t d, std::size_t b) {
    const u64 base = placed->devices[d].bar_base[0];
    const pci::Resource& w = placed->bridges[b].window;
    return base >= w.start && base + functions[d].bars[0].size - 1 <= w.end;
  };
  for (const std::size_t b : {0U, 1U, 3U}) EXPECT_TRUE(inside(1, b)) << b;
  for (const std::size_t b : {0U, 1U, 2U}) EXPECT_TRUE(inside(2, b) && inside(3, b)) << b;
  EXPECT_FALSE(inside(0, 0) || inside(1, 2) || inside(2, 3));
  EXPECT_EQ(placed->bridges[4].window.end, 0U);
  for (const std::size_t d : {0U, 1U, 2U, 3U})
    EXPECT_EQ(placed->devices[d].bar_base[0] % functions[d].bars[0].size, 0U);
  EXPECT_TRUE(placed->devices[2].multi_function && placed->devices[3].multi_function);
  EXPECT_FALSE(placed->devices[1].multi_function);
  EXPECT_THAT(placed->devices[2].buses, ElementsAre(1, 2, 3));
  EXPECT_TRUE(placed->devices[0].buses.empty());
}

TEST(Placement, says_what_has_no_room) {
  MachineSpec spec;
  spec.devices = {device("01:00.0"), device("02:00.0")};
  const auto placed = place(spec, std::vector{with_bar(u64{1} << 29), with_bar(u64{1} << 29)});
  ASSERT_FALSE(placed);
  EXPECT_THAT(placed.error(), HasSubstr("addr=0000:02:00.0: no room is left for its BAR 0 below 4 GiB"));
}

}  // namespace
}  // namespace iommufd::machine
