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
