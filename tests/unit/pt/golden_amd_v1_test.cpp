// SPDX-License-Identifier: BSD-3-Clause
// Golden vectors of AMD v1, V1 to V21 of spec page-table-formats 9, word for word (see transcript.hpp).
#include "pt/fmt/amd_v1.hpp"
#include "pt/formats.hpp"
#include "tests/unit/pt/transcript.hpp"

namespace iommufd::pt {
namespace {

using golden::replay;

golden::Subject table(const AmdV1Config& config) {
  return {[config](TableArena& arena, TopListener& listener) {
            AmdV1Config c = config;
            c.listener = &listener;
            return make_amd_v1(arena, c);
          },
          AmdV1::hardware_depth};
}

TEST(AmdV1Golden, v1_top_level_2_va_64) {
  const std::string_view text = R"(
 r=0
pgsize_bitmap=fff7ffffff000 aperture=0..ffffffffffffffff
root=100000000 mode=3
  T@100000000: empty
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(AmdV1Golden, v2_one_page) {
  const std::string_view text = R"(
map iova=1000 pa=12345000 len=1000 prot=RW -> 0 mapped=1000
  T@100000000: [0]=6000000100001401
  T@100001000: [0]=6000000100002201
  T@100002000: [1]=7000000012345001
iova_to_phys 1abc -> 12345abc
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(AmdV1Golden, v3_contiguous_sizes_at_level_0) {
  const std::string_view text = R"(
map iova=2000 pa=40002000 len=2000 prot=R -> 0 mapped=2000
map iova=4000 pa=40004000 len=4000 prot=W -> 0 mapped=4000
map iova=10000 pa=50010000 len=10000 prot=RW -> 0 mapped=10000
map iova=100000 pa=60100000 len=100000 prot=RW -> 0 mapped=100000
  T@100000000: [0]=6000000100001401
  T@100001000: [0]=6000000100002201
  T@100002000: [2..3]=3000000040002e01 [4..7]=5000000040005e01 [16..31]=7000000050017e01 [256..511]=700000006017fe01
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(AmdV1Golden, v4_2_mib) {
  const std::string_view text = R"(
map iova=200000 pa=80200000 len=200000 prot=RW -> 0 mapped=200000
  T@100000000: [0]=6000000100001401
  T@100001000: [1]=7000000080200001
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(AmdV1Golden, v5_contiguous_at_level_1) {
  const std::string_view text = R"(
map iova=400000 pa=80400000 len=400000 prot=RW -> 0 mapped=400000
map iova=10000000 pa=90000000 len=10000000 prot=RW -> 0 mapped=10000000
  T@100000000: [0]=6000000100001401
  T@100001000: [2..3]=70000000805ffe01 [128..255]=7000000097fffe01
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(AmdV1Golden, v6_level_2) {
  const std::string_view text = R"(
map iova=40000000 pa=40000000 len=40000000 prot=RW -> 0 mapped=40000000
map iova=80000000 pa=80000000 len=80000000 prot=RW -> 0 mapped=80000000
map iova=4000000000 pa=4000000000 len=4000000000 prot=RW -> 0 mapped=4000000000
  T@100000000: [1]=7000000040000001 [2..3]=70000000bffffe01 [256..511]=7000005ffffffe01
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(AmdV1Golden, v7_512_gib_is_split_root_grows) {
  const std::string_view text = R"(
  change_top 100001000 level 3
map iova=8000000000 pa=8000000000 len=8000000000 prot=RW -> 0 mapped=8000000000
  T@100000000: empty
  T@100001000: [0]=6000000100000601 [1]=6000000100002601
  T@100002000: [0..255]=7000009ffffffe01 [256..511]=700000dffffffe01
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(AmdV1Golden, v8_leaf_at_level_3) {
  const std::string_view text = R"(
  change_top 100001000 level 3
map iova=10000000000 pa=10000000000 len=10000000000 prot=RW -> 0 mapped=10000000000
  T@100000000: empty
  T@100001000: [0]=6000000100000601 [2..3]=7000017ffffffe01
root=100001000 mode=4
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(AmdV1Golden, v9_last_page_of_the_va_space_root_grows_to_level_5) {
  const std::string_view text = R"(
  change_top 100003000 level 5
map iova=fffffffffffff000 pa=1000 len=1000 prot=RW -> 0 mapped=1000
  T@100000000: empty
  T@100001000: [0]=6000000100000601
  T@100002000: [0]=6000000100001801
  T@100003000: [0]=6000000100002a01 [127]=6000000100004a01
  T@100004000: [511]=6000000100005801
  T@100005000: [511]=6000000100006601
  T@100006000: [511]=6000000100007401
  T@100007000: [511]=6000000100008201
  T@100008000: [511]=7000000000001001
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(AmdV1Golden, v10_with_a_48_bit_va_limit) {
  const std::string_view text = R"(
 r=0
pgsize_bitmap=ff7ffffff000 aperture=0..ffffffffffff
map iova=1000000000000 pa=1000 len=1000 prot=RW -> -34 mapped=0
  change_top 100002000 level 3
map iova=fffffffff000 pa=1000 len=1000 prot=RW -> 0 mapped=1000
map iova=0 pa=10000000000000 len=1000 prot=RW -> -34 mapped=0
)";
  EXPECT_EQ(replay(table({.va_bits = 48}), text), text.substr(1));
}

TEST(AmdV1Golden, v11_errno_cases) {
  const std::string_view text = R"(
map iova=1000 pa=1000 len=1000 prot=RW -> 0 mapped=1000
map iova=1000 pa=2000 len=1000 prot=RW -> -98 mapped=0
map iova=0 pa=10000 len=2000 prot=RW -> -98 mapped=0
map iova=1800 pa=1000 len=1000 prot=RW -> -6 mapped=0
map iova=1000 pa=1000 len=800 prot=RW -> -6 mapped=0
map iova=0 pa=1000 len=0 prot=RW -> -22 mapped=0
map iova=fffffffffffff000 pa=0 len=2000 prot=RW -> -75 mapped=0
map iova=5000 pa=1000 len=1000 prot= -> -22 mapped=0
  T@100000000: [0]=6000000100001401
  T@100001000: [0]=6000000100002201
  T@100002000: [1]=7000000000001001
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(AmdV1Golden, v12_size_mixture) {
  const std::string_view text = R"(
map iova=3fe400000 pa=3fe400000 len=c2200000 prot=RW -> 0 mapped=c2200000
  T@100000000: [15]=6000000100001401 [16..17]=700000043ffffe01 [18]=7000000480000001 [19]=6000000100002401
  T@100001000: [498..499]=70000003fe5ffe01 [500..503]=70000003febffe01 [504..511]=70000003ff7ffe01
  T@100002000: [0..1]=70000004c01ffe01 [2]=70000004c0400001
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(AmdV1Golden, v13_va_and_oa_congruent_only_modulo_8_kib) {
  const std::string_view text = R"(
map iova=3000 pa=80005000 len=9000 prot=RW -> 0 mapped=9000
  T@100000000: [0]=6000000100001401
  T@100001000: [0]=6000000100002201
  T@100002000: [3]=7000000080005001 [4..5]=7000000080006e01 [6..7]=7000000080008e01 [8..9]=700000008000ae01 [10..11]=700000008000ce01
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(AmdV1Golden, v14_partial_unmaps_of_a_64_kib_entry) {
  const std::string_view text = R"(
map iova=10000 pa=50010000 len=10000 prot=RW -> 0 mapped=10000
unmap iova=10000 len=1000 -> 10000 (gather 10000..1ffff, 0 tables freed)
  T@100000000: [0]=6000000100001401
  T@100001000: [0]=6000000100002201
  T@100002000: empty
map iova=10000 pa=50010000 len=10000 prot=RW -> 0 mapped=10000
unmap iova=18000 len=8000 -> 0 (gather 18000..17fff, 0 tables freed)
  T@100000000: [0]=6000000100001401
  T@100001000: [0]=6000000100002201
  T@100002000: [16..31]=7000000050017e01
map iova=20000 pa=60020000 len=10000 prot=RW -> 0 mapped=10000
unmap iova=10000 len=18000 -> 20000 (gather 10000..2ffff, 0 tables freed)
  T@100000000: [0]=6000000100001401
  T@100001000: [0]=6000000100002201
  T@100002000: empty
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(AmdV1Golden, v15_unmap_stops_at_a_hole) {
  const std::string_view text = R"(
map iova=1000 pa=1000 len=1000 prot=RW -> 0 mapped=1000
map iova=3000 pa=3000 len=1000 prot=RW -> 0 mapped=1000
unmap iova=1000 len=3000 -> 1000 (gather 1000..1fff, 0 tables freed)
  T@100000000: [0]=6000000100001401
  T@100001000: [0]=6000000100002201
  T@100002000: [3]=7000000000003001
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(AmdV1Golden, v16_tables_freed_or_kept) {
  const std::string_view text = R"(
map iova=1000 pa=1000 len=1000 prot=RW -> 0 mapped=1000
unmap iova=1000 len=1000 -> 1000 (gather 1000..1fff, 0 tables freed)
  T@100000000: [0]=6000000100001401
  T@100001000: [0]=6000000100002201
  T@100002000: empty
  (sync 0..1fffff, frees 1 tables)
map iova=0 pa=200000 len=200000 prot=RW -> 0 mapped=200000
  T@100000000: [0]=6000000100001401
  T@100001000: [0]=7000000000200001
unmap iova=0 len=200000 -> 200000 (gather 0..1fffff, 0 tables freed)
map iova=0 pa=201000 len=200000 prot=RW -> 0 mapped=200000
  T@100000000: [0]=6000000100001401
  T@100001000: [0]=6000000100003201
  T@100003000: [0..511]=7000000000201001 +1000
unmap iova=0 len=200000 -> 200000 (gather 0..1fffff, 1 tables freed)
  T@100000000: [0]=6000000100001401
  T@100001000: empty
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(AmdV1Golden, v17_contiguous_entry_replaces_two_empty_tables) {
  const std::string_view text = R"(
map iova=400000 pa=1000 len=1000 prot=RW -> 0 mapped=1000
map iova=600000 pa=1000 len=1000 prot=RW -> 0 mapped=1000
unmap iova=400000 len=1000 -> 1000 (gather 400000..400fff, 0 tables freed)
unmap iova=600000 len=1000 -> 1000 (gather 600000..600fff, 0 tables freed)
  (sync 400000..7fffff, frees 2 tables)
map iova=400000 pa=800000 len=400000 prot=RW -> 0 mapped=400000
  T@100000000: [0]=6000000100001401
  T@100001000: [2..3]=70000000009ffe01
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(AmdV1Golden, v18_1_gib_entry_over_a_tree_of_empty_tables_and_over_a_used_one) {
  const std::string_view text = R"(
map iova=0 pa=1000 len=1000 prot=RW -> 0 mapped=1000
map iova=c800000 pa=c801000 len=1000 prot=RW -> 0 mapped=1000
map iova=19000000 pa=19001000 len=1000 prot=RW -> 0 mapped=1000
map iova=25800000 pa=25801000 len=1000 prot=RW -> 0 mapped=1000
map iova=32000000 pa=32001000 len=1000 prot=RW -> 0 mapped=1000
map iova=3e800000 pa=3e801000 len=1000 prot=RW -> 0 mapped=1000
unmap iova=0 len=1000 -> 1000 (gather 0..fff, 0 tables freed)
unmap iova=c800000 len=1000 -> 1000 (gather c800000..c800fff, 0 tables freed)
unmap iova=19000000 len=1000 -> 1000 (gather 19000000..19000fff, 0 tables freed)
unmap iova=25800000 len=1000 -> 1000 (gather 25800000..25800fff, 0 tables freed)
unmap iova=32000000 len=1000 -> 1000 (gather 32000000..32000fff, 0 tables freed)
unmap iova=3e800000 len=1000 -> 1000 (gather 3e800000..3e800fff, 0 tables freed)
  (sync 0..3fffffff, frees 7 tables)
map iova=0 pa=0 len=40000000 prot=RW -> 0 mapped=40000000
  T@100000000: [0]=7000000000000001
unmap iova=0 len=40000000 -> 40000000 (gather 0..3fffffff, 0 tables freed)
map iova=5000 pa=5000 len=1000 prot=RW -> 0 mapped=1000
map iova=0 pa=0 len=40000000 prot=RW -> -98 mapped=0
  T@100000000: [0]=6000000100008401
  T@100008000: [0]=6000000100009201
  T@100009000: [5]=7000000000005001
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(AmdV1Golden, v19_allocation_failure_at_the_second_table) {
  const std::string_view text = R"(
fail 2
map iova=1000 pa=1000 len=1000 prot=RW -> -12 mapped=0
  T@100000000: [0]=6000000100001401
  T@100001000: empty
map iova=1000 pa=1000 len=1000 prot=RW -> 0 mapped=1000
  T@100000000: [0]=6000000100001401
  T@100001000: [0]=6000000100002201
  T@100002000: [1]=7000000000001001
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(AmdV1Golden, v20_allocation_failure_in_the_middle_of_a_range) {
  const std::string_view text = R"(
map iova=0 pa=1000 len=1000 prot=RW -> 0 mapped=1000
fail 1
map iova=1000 pa=2000 len=400000 prot=RW -> -12 mapped=1ff000
  T@100000000: [0]=6000000100001401
  T@100001000: [0]=6000000100002201
  T@100002000: [0..511]=7000000000001001 +1000
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

// The kernel's walker says "2000 len=1000" and "10000 len=f000" for the entries of two and of sixteen items, and loses the
// page that was written; ours says which items are dirty (docs/abi-matrix.md).
TEST(AmdV1Golden, v21_dirty_tracking) {
  const std::string_view text = R"(
map iova=1000 pa=1000 len=1000 prot=RW -> 0 mapped=1000
map iova=2000 pa=40002000 len=2000 prot=RW -> 0 mapped=2000
map iova=10000 pa=50010000 len=10000 prot=RW -> 0 mapped=10000
map iova=200000 pa=80200000 len=200000 prot=RW -> 0 mapped=200000
set_dirty 1000 -> 0
set_dirty 3000 -> 0
set_dirty 14000 -> 0
set_dirty 234567 -> 0
set_dirty 900000 -> -2
  T@100000000: [0]=6000000100001401
  T@100001000: [0]=6000000100002201 [1]=7000000080200041
  T@100002000: [1]=7000000000001041 [2]=7000000040002e01 [3]=7000000040002e41 [16..19]=7000000050017e01 [20]=7000000050017e41 [21..31]=7000000050017e01
  dirty iova=1000 len=1000
  dirty iova=3000 len=1000
  dirty iova=14000 len=1000
  dirty iova=200000 len=200000
read_and_clear iova=1000 len=400000 flags=1 -> 0 gather ffffffffffffffff..0
  dirty iova=3000 len=1000
read_and_clear iova=3000 len=1000 flags=1 -> 0 gather ffffffffffffffff..0
  dirty iova=240000 len=1000
read_and_clear iova=240000 len=1000 flags=1 -> 0 gather ffffffffffffffff..0
  dirty iova=1000 len=1000
  dirty iova=3000 len=1000
  dirty iova=14000 len=1000
  dirty iova=200000 len=200000
read_and_clear iova=1000 len=400000 flags=0 -> 0 gather 1000..3fffff
  T@100000000: [0]=6000000100001401
  T@100001000: [0]=6000000100002201 [1]=7000000080200001
  T@100002000: [1]=7000000000001001 [2..3]=7000000040002e01 [16..31]=7000000050017e01
read_and_clear iova=1000 len=400000 flags=0 -> 0 gather ffffffffffffffff..0
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

}  // namespace
}  // namespace iommufd::pt
