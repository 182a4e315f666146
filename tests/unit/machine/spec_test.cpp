// SPDX-License-Identifier: BSD-3-Clause
#include "machine/spec.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace iommufd::machine {
namespace {

using ::testing::ElementsAre;

DeviceSpec device(const char* address, const char* iommu, std::optional<GroupLabel> group = std::nullopt) {
  return {.model = "edu", .address = pci::Bdf::parse(address), .iommu = iommu, .group = std::move(group), .keys = {}};
}

TEST(AssignGroups, one_for_each_slot_and_then_those_of_devices_without_an_iommu) {
  EXPECT_THAT(assign_groups({device("01:00.0", "amd"), device("02:00.0", "none"), device("03:00.0", "vtd"),
                             device("01:00.1", "amd"), device("01:00.2", "vtd"), device("04:00.0", "none")}),
              ElementsAre(0, 3, 1, 0, 2, 4));
}

TEST(AssignGroups, numbers_that_are_asked_for_are_left_out) {
  EXPECT_THAT(assign_groups({device("01:00.0", "amd"), device("02:00.0", "amd", 1U), device("03:00.0", "amd"),
                             device("04:00.0", "none"), device("05:00.0", "amd", 3U), device("06:00.0", "amd", 1U)}),
              ElementsAre(0, 1, 2, 4, 3, 1));
}

TEST(AssignGroups, names_share_a_number) {
  EXPECT_THAT(assign_groups({device("01:00.0", "amd", "b"), device("02:00.0", "amd", "a"),
                             device("03:00.0", "amd", "b"), device("04:00.0", "amd")}),
              ElementsAre(0, 1, 0, 2));
}

TEST(AssignGroups, a_function_follows_its_slot) {
  EXPECT_THAT(assign_groups({device("01:00.0", "amd"), device("01:00.1", "amd", 5U), device("02:00.0", "amd", "g"),
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

TEST(ImpliedIommus, come_for_kinds_without_one_of_that_name) {
  MachineSpec spec;
  spec.iommus = {{"left", iommu::Kind::kAmd, {}}, {"vtd", iommu::Kind::kVtd, {}}};
  spec.devices = {device("01:00.0", "amd"), device("02:00.0", "vtd"), device("03:00.0", "none"),
                  device("04:00.0", "left")};
  add_implied_iommus(spec);
  ASSERT_EQ(spec.iommus.size(), 3U);
  EXPECT_EQ(spec.iommus[2].name, "amd");
  EXPECT_EQ(spec.iommus[2].kind, iommu::Kind::kAmd);
}

}  // namespace
}  // namespace iommufd::machine
