// SPDX-License-Identifier: BSD-3-Clause
#include "machine/groups.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace iommufd::machine {
namespace {

using ::testing::ElementsAre;

DeviceSpec device(const char* address, const char* iommu, std::optional<GroupLabel> group = std::nullopt) {
  return {.model = "edu", .address = pci::Bdf::parse(address), .iommu = iommu, .group = std::move(group), .keys = {}};
}

BridgeSpec bridge(const char* address, u8 secondary, Acs acs, BridgeKind kind = BridgeKind::kRootPort) {
  return {.address = *pci::Bdf::parse(address), .kind = kind, .secondary = secondary, .acs = acs};
}

constexpr std::nullopt_t kNone = std::nullopt;

std::vector<std::optional<u32>> groups_of(const std::vector<DeviceSpec>& devices) {
  return assign_groups({}, devices).devices;
}

TEST(AssignGroups, one_for_each_slot_and_none_without_an_iommu) {
  EXPECT_THAT(groups_of({device("01:00.0", "amd"), device("02:00.0", "none"), device("03:00.0", "vtd"),
                         device("01:00.1", "amd"), device("01:00.2", "vtd"), device("04:00.0", "none")}),
              ElementsAre(0, kNone, 1, 0, 2, kNone));
}

TEST(AssignGroups, numbers_that_are_asked_for_are_left_out) {
  EXPECT_THAT(groups_of({device("01:00.0", "amd"), device("02:00.0", "amd", 1U), device("03:00.0", "amd"),
                         device("04:00.0", "none"), device("05:00.0", "amd", 3U), device("06:00.0", "amd", 1U)}),
              ElementsAre(0, 1, 2, kNone, 3, 1));
}

TEST(AssignGroups, names_share_a_number) {
  EXPECT_THAT(groups_of({device("01:00.0", "amd", "b"), device("02:00.0", "amd", "a"), device("03:00.0", "amd", "b"),
                         device("04:00.0", "amd")}),
              ElementsAre(0, 1, 0, 2));
}

TEST(AssignGroups, a_function_follows_its_slot) {
  EXPECT_THAT(groups_of({device("01:00.0", "amd"), device("01:00.1", "amd", 5U), device("02:00.0", "amd", "g"),
                         device("01:00.2", "amd", "g")}),
              ElementsAre(5, 5, 0, 0));
}

TEST(GroupConflict, is_a_label_behind_two_iommus) {
  EXPECT_FALSE(
      find_group_conflict({device("01:00.0", "amd", 1U), device("02:00.0", "amd", 1U), device("03:00.0", "vtd")}));
  const auto conflict =
      find_group_conflict({device("01:00.0", "amd", "g"), device("02:00.0", "vtd"), device("03:00.0", "vtd", "g")});
  ASSERT_TRUE(conflict);
  EXPECT_EQ(conflict->first, 0U);
  EXPECT_EQ(conflict->second, 2U);
}

TEST(BridgeGroups, access_control_keeps_devices_apart) {
  const auto made = assign_groups({bridge("00:01.0", 1, Acs::kOn), bridge("00:02.0", 2, Acs::kOff)},
                                  {device("01:00.0", "amd"), device("02:00.0", "amd"), device("03:00.0", "amd")});
  EXPECT_THAT(made.bridges, ElementsAre(0, 1));
  EXPECT_THAT(made.devices, ElementsAre(2, 1, 3));
}

TEST(BridgeGroups, every_bridge_up_to_the_root_must_have_it) {
  const std::vector<DeviceSpec> devices{device("03:00.0", "amd"), device("04:00.0", "amd")};
  const auto with = [&](Acs root, Acs left) {
    return assign_groups(
        {bridge("00:01.0", 1, root), bridge("01:00.0", 2, Acs::kOff, BridgeKind::kUpstream),
         bridge("02:00.0", 3, left, BridgeKind::kDownstream), bridge("02:01.0", 4, Acs::kOn, BridgeKind::kDownstream)},
        devices);
  };
  const auto open = with(Acs::kOn, Acs::kOn);
  EXPECT_THAT(open.bridges, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(open.devices, ElementsAre(4, 5));
  const auto left = with(Acs::kOn, Acs::kOff);
  EXPECT_THAT(left.bridges, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(left.devices, ElementsAre(2, 4));
  const auto root = with(Acs::kOff, Acs::kOn);  // all of the switch is one group
  EXPECT_THAT(root.bridges, ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(root.devices, ElementsAre(0, 0));
}

TEST(BridgeGroups, functions_of_a_slot_share_one_when_a_port_among_them_has_no_access_control) {
  const auto made =
      assign_groups({bridge("00:01.0", 1, Acs::kOff), bridge("00:01.1", 2, Acs::kOff), bridge("00:01.2", 3, Acs::kOn)},
                    {device("01:00.0", "amd"), device("02:00.0", "amd"), device("03:00.0", "amd")});
  EXPECT_THAT(made.bridges, ElementsAre(0, 0, 1));
  EXPECT_THAT(made.devices, ElementsAre(0, 0, 2));
}

TEST(BridgeGroups, what_a_device_says_goes_first_and_others_follow) {
  const auto made =
      assign_groups({bridge("00:01.0", 1, Acs::kOff, BridgeKind::kConventional)},
                    {device("01:00.0", "amd"), device("01:01.0", "amd", 7U), device("01:02.0", "amd", "x")});
  EXPECT_THAT(made.bridges, ElementsAre(7));
  EXPECT_THAT(made.devices, ElementsAre(7, 7, 0));
}

TEST(BridgeGroups, a_bridge_with_no_iommu_below_has_none) {
  const auto made = assign_groups({bridge("00:01.0", 1, Acs::kOff), bridge("00:02.0", 2, Acs::kOff)},
                                  {device("01:00.0", "none"), device("03:00.0", "amd")});
  EXPECT_THAT(made.bridges, ElementsAre(std::nullopt, std::nullopt));
  EXPECT_THAT(made.devices, ElementsAre(kNone, 0));
}

TEST(BridgeConflict, is_two_iommus_below_a_bridge_without_access_control) {
  const std::vector<DeviceSpec> devices{device("01:00.0", "amd"), device("01:00.1", "none"), device("01:00.2", "vtd")};
  EXPECT_FALSE(find_bridge_conflict({bridge("00:01.0", 1, Acs::kOn)}, devices));
  const auto conflict = find_bridge_conflict({bridge("00:01.0", 1, Acs::kOff)}, devices);
  ASSERT_TRUE(conflict);
  EXPECT_EQ(conflict->first, 0U);
  EXPECT_EQ(conflict->second, 2U);
}

}  // namespace
}  // namespace iommufd::machine
