// SPDX-License-Identifier: BSD-3-Clause
// Golden texts and JSON of small tables, and the bytes of a .pages file: what docs/dump.md promises.
#include "dump/files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "dump/json.hpp"
#include "pt/formats.hpp"

namespace iommufd::dump {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Dump : public testing::Test {
 protected:
  void use(Result<std::unique_ptr<pt::Table>> made) { table = std::move(made).value(); }
  void map(u64 iova, u64 pa, u64 length, Access access = Access::kReadWrite) {
    pt::Gather gather(*arena);
    u64 mapped = 0;
    ASSERT_TRUE(table->map(Iova{iova}, PhysAddr{pa}, length, access, mapped, gather));
    gather.free();
  }
  core::HwptSnapshot hwpt(iommu::Kind kind) const {
    core::HwptSnapshot h;
    h.id = 3;
    h.ioas = 1;
    h.kind = kind;
    h.automatic = true;
    h.iommu = kind == iommu::Kind::kAmd ? "ivhd0" : "dmar0";
    h.aperture = table->aperture();
    h.devices = {{2, "0000:01:00.0", 0, iommu::IotlbCounters{.hits = 9, .misses = 2, .walks = 3, .invalidated = 1}}};
    h.table = pt::copy_table(*table);
    return h;
  }

  // An entry of 64 KiB in many items, and one of a page that may only be read.
  std::string text_with_64k_entry(Result<std::unique_ptr<pt::Table>> made) {
    use(std::move(made));
    map(0x1'0000, 0x1234'0000, 0x1'0000);
    map(0x2'0000, 0x1235'0000, 0x1000, Access::kRead);
    return text_of(hwpt(iommu::Kind::kAmd));
  }

  std::unique_ptr<pt::TableArena> arena = std::move(pt::TableArena::create({})).value();
  std::unique_ptr<pt::Table> table;
};

TEST_F(Dump, amd_v1_as_text) {
  use(make_amd_v1(*arena));
  map(0x1000, 0x1234'5000, 0x3000);
  map(0x4000, 0x8000'0000, 0x4000, Access::kRead);
  map(0x20'0000, 0x4000'0000, 0x20'0000, Access::kWrite);
  ASSERT_TRUE(table->record_write(Iova{0x2000}));
  EXPECT_EQ(text_of(hwpt(iommu::Kind::kAmd)),
            R"(hwpt 3: ioas 1, automatic, iommu amd (ivhd0)
device 2: 0000:01:00.0, IOTLB 9 hits, 2 misses, 3 walks, 1 invalidated
format: amd_v1, hardware depth 3, 3 tables
iova: 0x0..0xffffffffffffffff, entries of 4K 8K 16K 32K 64K 128K 256K 512K 1M 2M 4M 8M 16M 32M 64M 128M 256M 512M 1G 2G 4G 8G 16G 32G 64G 128G 256G 1T 2T 4T 8T 16T 32T 64T 128T 256T 512T 1P 2P
dirty tracking: unsupported
root: table 0x100000000, level 2
  [0] 0x0: table 0x100001000, level 1
    [0] 0x0: table 0x100002000, level 0
      [1] 0x1000..0x1fff -> 0x12345000..0x12345fff rw 4K
      [2] 0x2000..0x2fff -> 0x12346000..0x12346fff rw 8K accessed dirty
      [3] 0x3000..0x3fff -> 0x12347000..0x12347fff rw 8K
      [4..7] 0x4000..0x7fff -> 0x80000000..0x80003fff r- 16K
    [1] 0x200000..0x3fffff -> 0x40000000..0x401fffff -w 2M
)");
}

TEST_F(Dump, vtd_second_stage_as_text) {
  use(make_vtd_second_stage(*arena));
  map(0x1000, 0x1234'5000, 0x2000);
  map(0x4000'0000, 0x4000'0000, 0x4000'0000);
  EXPECT_EQ(text_of(hwpt(iommu::Kind::kVtd)),
            R"(hwpt 3: ioas 1, automatic, iommu vtd (dmar0)
device 2: 0000:01:00.0, IOTLB 9 hits, 2 misses, 3 walks, 1 invalidated
format: vtd_second_stage, hardware depth 2, 4 tables
iova: 0x0..0xffffffffffff, entries of 4K 2M 1G
dirty tracking: unsupported
root: table 0x100000000, level 3
  [0] 0x0: table 0x100001000, level 2
    [0] 0x0: table 0x100002000, level 1
      [0] 0x0: table 0x100003000, level 0
        [1..2] 0x1000..0x2fff -> 0x12345000..0x12346fff rw 4K
    [1] 0x40000000..0x7fffffff -> 0x40000000..0x7fffffff rw 1G
)");
}

TEST_F(Dump, mock_as_text) {
  use(make_mock(*arena, pt::MockSizes::kDefault));
  map(0x800, 0x1800, 0x800);
  const std::string text = text_of(hwpt(iommu::Kind::kMock));
  EXPECT_THAT(text, HasSubstr("format: mock, hardware depth 3, 3 tables\n"));
  EXPECT_THAT(text, HasSubstr("      [1] 0x800..0xfff -> 0x1800..0x1fff rw 2K\n"));
}

TEST_F(Dump, x86_as_text) {
  use(make_x86(*arena, {.top_level = 3, .va_bits = 48, .features = {pt::Feature::kSignExtend}}));
  map(0x1000, 0x1234'5000, 0x2000, Access::kRead);
  map(0xffff'ffff'ffe0'0000, 0x4000'0000, 0x20'0000);
  const std::string text = text_of(hwpt(iommu::Kind::kVtd));
  EXPECT_THAT(text, HasSubstr("format: x86_64, hardware depth 4, 6 tables\n"));
  EXPECT_THAT(text, HasSubstr("        [1..2] 0x1000..0x2fff -> 0x12345000..0x12346fff r- 4K\n"));
  EXPECT_THAT(text, HasSubstr("  [511] 0xffffff8000000000: table 0x100004000, level 2\n"));
  EXPECT_THAT(text, HasSubstr("      [511] 0xffffffffffe00000..0xffffffffffffffff -> 0x40000000..0x401fffff rw 2M\n"));
}

TEST_F(Dump, riscv_as_text) {
  const std::string text = text_with_64k_entry(make_riscv(*arena, {.va_bits = 39}));
  EXPECT_THAT(text, HasSubstr("format: riscv, "));
  EXPECT_THAT(text, HasSubstr("      [16..31] 0x10000..0x1ffff -> 0x12340000..0x1234ffff rw 64K\n"
                              "      [32] 0x20000..0x20fff -> 0x12350000..0x12350fff r- 4K\n"));
}

TEST_F(Dump, arm_lpae_as_text) {
  const std::string text = text_with_64k_entry(make_arm_lpae(*arena));
  EXPECT_THAT(text, HasSubstr("format: arm_lpae_s2, "));
  EXPECT_THAT(text, HasSubstr("        [16..31] 0x10000..0x1ffff -> 0x12340000..0x1234ffff rw 64K\n"
                              "        [32] 0x20000..0x20fff -> 0x12350000..0x12350fff r- 4K\n"));
}

TEST_F(Dump, vtd_second_stage_as_json) {
  use(make_vtd_second_stage(*arena, {.top_level = 2, .va_bits = 39}));
  map(0x1000, 0x1234'5000, 0x2000, Access::kRead);
  EXPECT_EQ(json_of(hwpt(iommu::Kind::kVtd)), R"({
  "version": 1,
  "hwpt": 3,
  "ioas": 1,
  "origin": "automatic",
  "iommu": "vtd",
  "iommu_name": "dmar0",
  "format": "vtd_second_stage",
  "root": "0x100000000",
  "top_level": 2,
  "hardware_depth": 1,
  "va_bits": 39,
  "page_sizes": ["0x1000", "0x200000", "0x40000000"],
  "aperture": {"first": "0x0", "last": "0x7fffffffff"},
  "dirty_tracking": "unsupported",
  "devices": [
    {"id": 2, "bdf": "0000:01:00.0", "pasid": 0, "iotlb": {"hits": 9, "misses": 2, "walks": 3, "invalidated": 1}}
  ],
  "tables": [
    {"address": "0x100000000", "level": 2, "iova": "0x0"},
    {"address": "0x100001000", "level": 1, "iova": "0x0"},
    {"address": "0x100002000", "level": 0, "iova": "0x0"}
  ],
  "runs": [
    {"iova": "0x1000", "last": "0x2fff", "pa": "0x12345000", "access": "r-", "entry_size": "0x1000", "accessed": false, "dirty": false}
  ]
}
)");
}

TEST_F(Dump, amd_v1_as_json_merges_across_tables) {
  use(make_amd_v1(*arena));
  map(0x1f'f000, 0x1234'5000, 0x2000);
  EXPECT_THAT(json_of(hwpt(iommu::Kind::kAmd)), HasSubstr(R"(
  "runs": [
    {"iova": "0x1ff000", "last": "0x200fff", "pa": "0x12345000", "access": "rw", "entry_size": "0x1000", "accessed": false, "dirty": false}
  ])"));
}

TEST_F(Dump, pages_are_the_bytes_of_the_tables) {
  use(make_amd_v1(*arena));
  map(0x1000, 0x1234'5000, 0x1000);
  const std::string bytes = pages_of(pt::copy_table(*table));
  ASSERT_EQ(bytes.size(), 64u + 3 * (16 + 4096));
  const auto u64_at = [&](std::size_t at) {
    u64 v = 0;
    std::memcpy(&v, bytes.data() + at, sizeof v);
    return v;
  };
  EXPECT_EQ(bytes.substr(0, 8), std::string("IOMMUPT\0", 8));
  EXPECT_EQ(u64_at(8), 1u | u64{4096} << 32);  // version, page size
  EXPECT_EQ(u64_at(16), 0x1'0000'0000u);       // root
  EXPECT_EQ(u64_at(24), 2u | u64{64} << 32);   // its level, va_bits
  EXPECT_EQ(u64_at(32), 3u);                   // pages
  EXPECT_STREQ(bytes.substr(40, 24).c_str(), "amd_v1");
  EXPECT_EQ(u64_at(64), 0x1'0000'0000u);
  EXPECT_EQ(u64_at(72), 2u);
  EXPECT_EQ(u64_at(80) & 0xf'ffff'ffff'f000, 0x1'0000'1000u);
  const std::size_t leaf = 64 + 2 * (16 + 4096);
  EXPECT_EQ(u64_at(leaf), 0x1'0000'2000u);
  EXPECT_EQ(u64_at(leaf + 16 + 8) & 0xf'ffff'ffff'f000, 0x1234'5000u);
}

TEST_F(Dump, a_damaged_table_says_where) {
  use(make_vtd_second_stage(*arena));
  map(0x1000, 0x1234'5000, 0x1000);
  core::HwptSnapshot h = hwpt(iommu::Kind::kVtd);
  h.table.pages.pop_back();
  EXPECT_THAT(text_of(h), HasSubstr("      [0] 0x0: damaged: 0x0000000100003003 points to no table\n"));
}

TEST_F(Dump, the_index_names_files_and_devices) {
  use(make_amd_v1(*arena));
  core::ContextSnapshot snapshot;
  snapshot.ioases = {1};
  snapshot.devices = {{2, "0000:01:00.0", "ivhd0", iommu::Kind::kAmd}};
  snapshot.hwpts.push_back(hwpt(iommu::Kind::kAmd));
  ContextRecord context;
  context.number = 4;
  context.merge(std::move(snapshot));
  const auto files = render(Form::kFiles, std::span(&context, 1));
  std::vector<std::string> names;
  for (const OutputFile& file : files) names.push_back(file.name);
  EXPECT_THAT(names, ElementsAre("context4/hwpt3.txt", "context4/hwpt3.json", "context4/hwpt3.pages", "index.json"));
  EXPECT_THAT(files.back().bytes, HasSubstr(R"(
      "devices": [
        {"id": 2, "bdf": "0000:01:00.0", "iommu": "amd", "iommu_name": "ivhd0"}
      ],)"));
  EXPECT_THAT(files.back().bytes, HasSubstr(R"("pages": "context4/hwpt3.pages")"));
}

TEST_F(Dump, a_hwpt_keeps_the_devices_that_left_it_until_it_ends) {
  use(make_amd_v1(*arena));
  const auto see = [&](std::vector<core::AttachedDevice> devices) {
    core::ContextSnapshot snapshot;
    snapshot.hwpts.push_back(hwpt(iommu::Kind::kAmd));
    snapshot.hwpts.back().devices = std::move(devices);
    return snapshot;
  };
  ContextRecord context;
  context.merge(see({{2, "0000:01:00.0", 0}}));
  context.merge(see({}));
  EXPECT_EQ(context.hwpts.at(3).hwpt.devices.size(), 1u);
  context.hwpts.at(3).ended = true;
  context.merge(see({}));  // another one with its id
  EXPECT_TRUE(context.hwpts.at(3).hwpt.devices.empty());
  EXPECT_FALSE(context.hwpts.at(3).ended);
}

TEST(Json, quotes_what_must_not_stand_in_a_string) {
  Json json;
  json.begin_object().text("a", "x\"y\\z\n").end_object();
  EXPECT_EQ(std::move(json).take(), "{\n  \"a\": \"x\\\"y\\\\z\\u000a\"\n}\n");
}

TEST(Json, empty_lists_are_short) {
  Json json;
  json.begin_object().begin_list("a").end_list().end_object();
  EXPECT_EQ(std::move(json).take(), "{\n  \"a\": []\n}\n");
}

}  // namespace
}  // namespace iommufd::dump
