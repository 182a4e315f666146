// SPDX-License-Identifier: BSD-3-Clause
#include "cli/values.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/registry.hpp"

namespace iommufd::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

template <class T>
std::string error_of(const Parsed<T>& parsed) {
  return parsed ? "(no error)" : parsed.error();
}

TEST(ParseDevice, takes_a_model_alone) {
  const auto d = parse_device("edu");
  ASSERT_TRUE(d) << d.error();
  EXPECT_EQ(d->model, "edu");
  EXPECT_FALSE(d->address);
  EXPECT_EQ(d->iommu, "amd");
  EXPECT_FALSE(d->group);
  EXPECT_TRUE(d->keys.empty());
}

TEST(ParseDevice, takes_address_iommu_and_keys_of_the_model_in_any_order) {
  const auto d = parse_device("edu,dma_mask=32,iommu=vtd,addr=00ab:cd:1f.7,mmap=on");
  ASSERT_TRUE(d) << d.error();
  EXPECT_EQ(d->address, (pci::Bdf{0xab, 0xcd, 0x1f, 7}));
  EXPECT_EQ(d->iommu, "vtd");
  EXPECT_THAT(d->keys, ::testing::ElementsAre(std::pair("dma_mask", "32"), std::pair("mmap", "on")));
  EXPECT_EQ(parse_device("edu,iommu=none")->iommu, machine::kNoIommu);
}

TEST(ParseDevice, names_an_unknown_model_and_lists_those_there_are) {
  EXPECT_THAT(error_of(parse_device("edx")), AllOf(HasSubstr("unknown model 'edx'"), HasSubstr("did you mean 'edu'?"),
                                                   HasSubstr("the models are: edu")));
  EXPECT_THAT(error_of(parse_device("")), HasSubstr("no model is named"));
  EXPECT_THAT(error_of(parse_device(",addr=0000:01:00.0")), HasSubstr("no model is named"));
  EXPECT_THAT(error_of(parse_device("EDU")), HasSubstr("unknown model 'EDU'"));
}

TEST(ParseDevice, names_an_unknown_key_and_lists_those_there_are) {
  const std::string error = error_of(parse_device("edu,dma_maks=32"));
  EXPECT_THAT(error, AllOf(HasSubstr("unknown key 'dma_maks'"), HasSubstr("did you mean 'dma_mask'?"),
                           HasSubstr("addr, iommu, group, ")));
  for (const models::Key& key : models::find("edu")->keys) EXPECT_THAT(error, HasSubstr(key.name));
  EXPECT_THAT(error_of(parse_device("edu,")), HasSubstr("unknown key ''"));
  EXPECT_THAT(error_of(parse_device("edu,=1")), HasSubstr("unknown key ''"));
  EXPECT_THAT(error_of(parse_device("edu,,mmap=on")), HasSubstr("unknown key ''"));
}

TEST(ParseDevice, a_key_needs_a_value_and_stands_once) {
  EXPECT_THAT(error_of(parse_device("edu,mmap")), HasSubstr("key 'mmap' has no value; write mmap=VALUE"));
  EXPECT_THAT(error_of(parse_device("edu,mmap=on,mmap=off")), HasSubstr("key 'mmap' is given twice"));
  EXPECT_THAT(error_of(parse_device("edu,addr=0000:01:00.0,addr=0000:02:00.0")),
              HasSubstr("key 'addr' is given twice"));
}

TEST(ParseDevice, says_what_an_address_looks_like) {
  for (const char* bad :
       {"", "zz", "1", "0000:01:00", "0000:01:20.0", "0000:01:00.8", "0000:01:00.0 ", "10000:01:00.0"}) {
    EXPECT_THAT(error_of(parse_device(std::string("edu,addr=") + bad)),
                AllOf(HasSubstr("is not a PCI address"), HasSubstr("e.g. 0000:01:00.0")))
        << bad;
  }
}

TEST(ParseDevice, checks_values_with_the_model) {
  EXPECT_THAT(error_of(parse_device("edu,dma_mask=99")), AllOf(HasSubstr("dma_mask=99"), HasSubstr("12 to 64")));
  EXPECT_THAT(error_of(parse_device("edu,mmap=maybe")), HasSubstr("mmap=maybe"));
  EXPECT_THAT(error_of(parse_device("edu,iommu=arm")),
              HasSubstr("iommu=arm is none of amd, amd-v2, vtd, vtd-s1, riscv, smmuv3, none"));
}

TEST(ParseDevice, takes_an_iommu_by_name) {
  const std::vector<machine::IommuSpec> iommus{{"left", iommu::Kind::kAmd, {}}, {"vtd", iommu::Kind::kVtd, {}}};
  EXPECT_EQ(parse_device("edu,iommu=left", iommus)->iommu, "left");
  EXPECT_THAT(error_of(parse_device("edu,iommu=lefd", iommus)),
              AllOf(HasSubstr("iommu=lefd is none of left, vtd, amd, amd-v2, vtd-s1, riscv, smmuv3, none"),
                    HasSubstr("did you mean 'left'?")));
}

TEST(ParseDevice, takes_a_group_by_number_or_name) {
  EXPECT_EQ(parse_device("edu,group=7")->group, machine::GroupLabel(7U));
  EXPECT_EQ(parse_device("edu,group=0x10")->group, machine::GroupLabel(16U));
  EXPECT_EQ(parse_device("edu,group=disks")->group, machine::GroupLabel("disks"));
  for (const char* bad : {"7a", "2147483648", "0x"})
    EXPECT_THAT(error_of(parse_device(std::string("edu,group=") + bad)), HasSubstr("is not the number of a group"));
  EXPECT_THAT(error_of(parse_device("edu,group=")), HasSubstr("no group is named"));
  EXPECT_THAT(error_of(parse_device("edu,group=a,iommu=none")), HasSubstr("leave 'group' out"));
}

TEST(ParseSize, takes_bytes_and_powers_of_1024) {
  EXPECT_EQ(parse_size("0"), 0U);
  EXPECT_EQ(parse_size("4096"), 4096U);
  EXPECT_EQ(parse_size("0x1000"), 4096U);
  EXPECT_EQ(parse_size("64K"), 65536U);
  EXPECT_EQ(parse_size("2MiB"), u64{2} << 20);
  EXPECT_EQ(parse_size("3G"), u64{3} << 30);
  EXPECT_EQ(parse_size("1T"), u64{1} << 40);
}

TEST(ParseSize, refuses_the_rest) {
  for (const char* bad :
       {"", "K", "-1", "1.5M", "64Q", "1 K", "4096iB", "0x", "99999999999999999999", "16777216T", "K1"}) {
    EXPECT_THAT(error_of(parse_size(bad)), HasSubstr("is not a size")) << bad;
  }
}

TEST(ParseCaps, takes_policies_and_names) {
  using Kind = run::CapsPolicy::Kind;
  EXPECT_EQ(parse_caps("all")->kind, Kind::kAll);
  EXPECT_EQ(parse_caps("none")->kind, Kind::kNone);
  EXPECT_EQ(parse_caps("real")->kind, Kind::kReal);
  const auto list = parse_caps("CAP_SYS_RAWIO,ipc_lock,checkpoint_restore");
  ASSERT_TRUE(list) << list.error();
  EXPECT_EQ(list->kind, Kind::kList);
  EXPECT_EQ(list->mask, u64{1} << 17 | u64{1} << 14 | u64{1} << 40);
}

TEST(ParseCaps, names_what_is_no_capability) {
  EXPECT_THAT(error_of(parse_caps("sysrawio")),
              AllOf(HasSubstr("'sysrawio' is no capability"), HasSubstr("sys_rawio")));
  EXPECT_THAT(error_of(parse_caps("")), HasSubstr("is no capability"));
  EXPECT_THAT(error_of(parse_caps("ipc_lock,")), HasSubstr("'' is no capability"));
  EXPECT_THAT(error_of(parse_caps("all,none")), HasSubstr("'all' is no capability"));
}

TEST(ParseMemlock, takes_real_unlimited_and_sizes) {
  using Kind = run::MemlockPolicy::Kind;
  EXPECT_EQ(parse_memlock("real")->kind, Kind::kReal);
  EXPECT_EQ(parse_memlock("unlimited")->kind, Kind::kUnlimited);
  EXPECT_EQ(parse_memlock("64K")->kind, Kind::kSize);
  EXPECT_EQ(parse_memlock("64K")->bytes, 65536U);
  EXPECT_THAT(error_of(parse_memlock("much")),
              AllOf(HasSubstr("'much' is not a size"), HasSubstr("or real, unlimited")));
}

TEST(ParseHugetlb, takes_real_and_emulate_with_a_size) {
  using Kind = run::HugetlbPolicy::Kind;
  EXPECT_EQ(parse_hugetlb("real")->kind, Kind::kReal);
  EXPECT_EQ(parse_hugetlb("emulate")->kind, Kind::kEmulate);
  EXPECT_EQ(parse_hugetlb("emulate")->bytes, u64{1} << 30);
  EXPECT_EQ(parse_hugetlb("emulate,size=64M")->bytes, u64{64} << 20);
  EXPECT_THAT(error_of(parse_hugetlb("none")), HasSubstr("'none' is neither real nor emulate"));
  EXPECT_THAT(error_of(parse_hugetlb("emulate,size=")), HasSubstr("is not a size"));
  EXPECT_THAT(error_of(parse_hugetlb("emulate,size=0")), HasSubstr("a multiple of 2M, and not 0"));
  EXPECT_THAT(error_of(parse_hugetlb("emulate,size=3M")), HasSubstr("a multiple of 2M, and not 0"));
}

TEST(ParsePhys, takes_both_layouts_with_their_parameters) {
  using Kind = machine::PhysSpec::Kind;
  EXPECT_EQ(parse_phys("fragmented")->kind, Kind::kFragmented);
  EXPECT_FALSE(parse_phys("fragmented")->seed);
  EXPECT_EQ(parse_phys("fragmented:7")->seed, 7U);
  EXPECT_EQ(parse_phys("contiguous")->kind, Kind::kContiguous);
  const auto spec = parse_phys("contiguous,base=0x100000,size=1G");
  ASSERT_TRUE(spec) << spec.error();
  EXPECT_EQ(spec->base, 0x100000U);
  EXPECT_EQ(spec->size, u64{1} << 30);
}

TEST(ParsePhys, refuses_the_rest) {
  EXPECT_THAT(error_of(parse_phys("contig")), HasSubstr("neither fragmented[:SEED] nor contiguous"));
  EXPECT_THAT(error_of(parse_phys("fragmented:x")), HasSubstr("is not a seed"));
  EXPECT_THAT(error_of(parse_phys("fragmented,size=1G")), HasSubstr("neither fragmented[:SEED] nor contiguous"));
  EXPECT_THAT(error_of(parse_phys("contiguous,bas=1")), HasSubstr("'bas=1' is neither base=ADDRESS nor size=SIZE"));
  EXPECT_THAT(error_of(parse_phys("contiguous,")), HasSubstr("'' is neither"));
  EXPECT_THAT(error_of(parse_phys("contiguous,base=1,")), HasSubstr("base=1 is not a multiple of the page size"));
  EXPECT_THAT(error_of(parse_phys("contiguous,size=1G,size=2G")), HasSubstr("size= is given twice"));
  EXPECT_THAT(error_of(parse_phys("contiguous,size=0")), HasSubstr("without memory"));
  EXPECT_THAT(error_of(parse_phys("contiguous,size=big")), HasSubstr("size=big"));
}

TEST(ParseWords, take_their_words_only) {
  EXPECT_EQ(parse_container("native"), machine::ContainerKind::kNative);
  EXPECT_EQ(parse_container("iommufd"), machine::ContainerKind::kIommufd);
  EXPECT_THAT(error_of(parse_container("vfio")), ::testing::HasSubstr("native, iommufd"));
  EXPECT_EQ(parse_pin("auto"), run::PinPolicy::kAuto);
  EXPECT_EQ(parse_pin("real"), run::PinPolicy::kReal);
  EXPECT_THAT(error_of(parse_pin("reel")),
              AllOf(HasSubstr("'reel' is none of auto, real"), HasSubstr("did you mean 'real'?")));
  EXPECT_EQ(parse_paths("intercept"), run::PathsPolicy::kIntercept);
  EXPECT_EQ(parse_paths("mount"), run::PathsPolicy::kMount);
  EXPECT_EQ(parse_paths("auto"), run::PathsPolicy::kAuto);
  EXPECT_THAT(error_of(parse_paths("fuse")), HasSubstr("'fuse' is none of auto, intercept, mount"));
  EXPECT_EQ(parse_host("floor"), run::HostFeatures::kFloor);
}

}  // namespace
}  // namespace iommufd::cli
