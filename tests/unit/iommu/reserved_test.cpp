// SPDX-License-Identifier: BSD-3-Clause
#include "iommu/reserved.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "iommu/instance.hpp"
#include "iommu/platform.hpp"

namespace iommufd::iommu {
namespace {

using enum ReservedType;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Reserved, is_kept_by_start_and_then_by_type) {
  EXPECT_THAT(merge_reserved({{{0x3000, 0x3fff}, kMsi}, {{0x1000, 0x1fff}, kReserved}, {{0x1000, 0x1fff}, kDirect}}),
              ElementsAre(ReservedRegion{{0x1000, 0x1fff}, kDirect}, ReservedRegion{{0x1000, 0x1fff}, kReserved},
                          ReservedRegion{{0x3000, 0x3fff}, kMsi}));
}

TEST(Reserved, of_one_type_is_one_where_it_overlaps_or_touches) {
  EXPECT_THAT(merge_reserved({{{0x1000, 0x4fff}, kMsi}, {{0x2000, 0x2fff}, kMsi}, {{0x5000, 0x5fff}, kMsi}}),
              ElementsAre(ReservedRegion{{0x1000, 0x5fff}, kMsi}));
  EXPECT_THAT(merge_reserved({{{0x1000, ~u64{0}}, kMsi}, {{0x2000, 0x2fff}, kMsi}}),
              ElementsAre(ReservedRegion{{0x1000, ~u64{0}}, kMsi}));
  EXPECT_THAT(merge_reserved({{{0x1000, 0x1fff}, kMsi}, {{0x2000, 0x2fff}, kDirect}, {{0x2000, 0x3fff}, kMsi}}),
              ElementsAre(ReservedRegion{{0x1000, 0x3fff}, kMsi}, ReservedRegion{{0x2000, 0x2fff}, kDirect}));
  EXPECT_THAT(merge_reserved({}), IsEmpty());
}

TEST(Reserved, types_have_the_names_of_sysfs) {
  for (const ReservedType type : {kDirect, kReserved, kMsi})
    EXPECT_EQ(parse_reserved_type(reserved_type_name(type)), type);
  EXPECT_EQ(reserved_type_name(kSoftwareMsi), "msi");
  EXPECT_FALSE(parse_reserved_type("directly"));
}

TEST(Reserved, an_iommu_has_those_of_its_kind_and_those_it_was_given) {
  const auto platform = *Platform::create({});
  const Instance amd(Kind::kAmd, "ivhd0", platform->tables(), {{{0x10'0000, 0x1f'ffff}, kDirect}});
  EXPECT_THAT(amd.reserved(), ElementsAre(ReservedRegion{{0x10'0000, 0x1f'ffff}, kDirect},
                                          ReservedRegion{{0xfee0'0000, 0xfeef'ffff}, kMsi},
                                          ReservedRegion{{0xfd'0000'0000, 0xff'ffff'ffff}, kReserved}));
  EXPECT_THAT(amd.reserved_regions(), ElementsAre(IovaRange{0x10'0000, 0x1f'ffff}, IovaRange{0xfee0'0000, 0xfeef'ffff},
                                                  IovaRange{0xfd'0000'0000, 0xff'ffff'ffff}));
  EXPECT_THAT(Instance(Kind::kRiscV, "r", platform->tables()).reserved(), IsEmpty());
}

TEST(Kinds, several_of_one_kind_have_names_of_their_own) {
  EXPECT_EQ(node_name(Kind::kAmd, 0), "ivhd0");
  EXPECT_EQ(node_name(Kind::kAmdV2, 3), "ivhd3");
  EXPECT_EQ(node_name(Kind::kVtdS1, 1), "dmar1");
  EXPECT_EQ(node_name(Kind::kRiscV, 0), "riscv-iommu@3010000.iommu");
  EXPECT_EQ(node_name(Kind::kRiscV, 1), "riscv-iommu@3011000.iommu");
  EXPECT_EQ(node_name(Kind::kSmmuV3, 0), "smmu3.0x0000000009050000");
  EXPECT_EQ(node_name(Kind::kSmmuV3, 1), "smmu3.0x0000000009070000");
  EXPECT_TRUE(share_node_names(Kind::kAmd, Kind::kAmdV2));
  EXPECT_FALSE(share_node_names(Kind::kAmd, Kind::kVtd));
}

}  // namespace
}  // namespace iommufd::iommu
