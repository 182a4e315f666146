// SPDX-License-Identifier: BSD-3-Clause
// Golden vectors of VT-d second stage, V25 to V33 of spec page-table-formats 9, word for word (see transcript.hpp).
#include "pt/fmt/vtd_second_stage.hpp"
#include "pt/formats.hpp"
#include "tests/unit/pt/transcript.hpp"

namespace iommufd::pt {
namespace {

using golden::replay;

golden::Subject table(const VtdConfig& config) {
  return {[config](TableArena& arena, TopListener&) { return make_vtd_second_stage(arena, config); },
          VtdSecondStage::hardware_depth};
}

TEST(VtdGolden, v25_second_stage) {
  const std::string_view text = R"(
 r=0
pgsize_bitmap=40201000 aperture=0..ffffffffffff
ssptptr=100000000 aw=2
map iova=1000 pa=12345000 len=1000 prot=R -> 0 mapped=1000
map iova=2000 pa=12346000 len=1000 prot=W -> 0 mapped=1000
map iova=3000 pa=12347000 len=1000 prot=RW -> 0 mapped=1000
map iova=200000 pa=80200000 len=200000 prot=RW -> 0 mapped=200000
map iova=40000000 pa=40000000 len=40000000 prot=RW -> 0 mapped=40000000
  T@100000000: [0]=0000000100001003
  T@100001000: [0]=0000000100002003 [1]=0000000040000083
  T@100002000: [0]=0000000100003003 [1]=0000000080200083
  T@100003000: [1]=0000000012345001 [2]=0000000012346002 [3]=0000000012347003
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(VtdGolden, v26_size_mixture) {
  const std::string_view text = R"(
map iova=3fe400000 pa=3fe400000 len=c2200000 prot=RW -> 0 mapped=c2200000
  T@100000000: [0]=0000000100001003
  T@100001000: [15]=0000000100002003 [16..18]=0000000400000083 +40000000 [19]=0000000100003003
  T@100002000: [498..511]=00000003fe400083 +200000
  T@100003000: [0..2]=00000004c0000083 +200000
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(VtdGolden, v27_3_level_with_forced_coherence) {
  const std::string_view text = R"(
pgsize_bitmap=40201000 aperture=0..7fffffffff
map iova=1000 pa=12345000 len=1000 prot=R -> 0 mapped=1000
  T@100000000: [0]=0000000100001003
  T@100001000: [0]=0000000100002003
  T@100002000: [1]=0000000012345801
aw=1
)";
  EXPECT_EQ(replay(table({.top_level = 2, .va_bits = 39, .features = {Feature::kForceCoherence}}), text),
            text.substr(1));
}

TEST(VtdGolden, v28_5_level_with_force_writeable) {
  const std::string_view text = R"(
pgsize_bitmap=40201000 aperture=0..1ffffffffffffff
map iova=1000 pa=12345000 len=1000 prot=R -> -22 mapped=0
map iova=1000 pa=12345000 len=1000 prot=RW -> 0 mapped=1000
aw=3
  T@100000000: [0]=0000000100001003
  T@100001000: [0]=0000000100002003
  T@100002000: [0]=0000000100003003
  T@100003000: [0]=0000000100004003
  T@100004000: [1]=0000000012345003
)";
  EXPECT_EQ(replay(table({.top_level = 4, .va_bits = 57, .features = {Feature::kForceWriteable}}), text),
            text.substr(1));
}

TEST(VtdGolden, v29_4_level_with_a_47_bit_limit) {
  const std::string_view text = R"(
pgsize_bitmap=40201000 aperture=0..7fffffffffff
map iova=800000000000 pa=0 len=1000 prot=RW -> -34 mapped=0
map iova=8000000000 pa=8000000000 len=8000000000 prot=RW -> 0 mapped=8000000000
  T@100000000: [1]=0000000100001003
  T@100001000: [0..511]=0000008000000083 +40000000
)";
  EXPECT_EQ(replay(table({.va_bits = 47}), text), text.substr(1));
}

TEST(VtdGolden, v30_non_coherent_walker_software_bit_10_on_tables) {
  const std::string_view text = R"(
 r=0
map iova=1000 pa=12345000 len=1000 prot=RW -> 0 mapped=1000
  T@100000000: [0]=0000000100001403
  T@100001000: [0]=0000000100002403
  T@100002000: [0]=0000000100003403
  T@100003000: [1]=0000000012345003
)";
  EXPECT_EQ(replay(table({.features = {Feature::kNonCoherentWalk}}), text), text.substr(1));
}

TEST(VtdGolden, v31_dirty) {
  const std::string_view text = R"(
map iova=1000 pa=12345000 len=1000 prot=RW -> 0 mapped=1000
map iova=200000 pa=80200000 len=200000 prot=RW -> 0 mapped=200000
set_dirty 1000 -> 0
set_dirty 2fffff -> 0
  T@100000000: [0]=0000000100001003
  T@100001000: [0]=0000000100002003
  T@100002000: [0]=0000000100003003 [1]=0000000080200283
  T@100003000: [1]=0000000012345203
  dirty iova=1000 len=1000
  dirty iova=200000 len=200000
read_and_clear iova=0 len=400000 flags=1 -> 0 gather ffffffffffffffff..0
  dirty iova=300000 len=1000
read_and_clear iova=300000 len=1000 flags=0 -> 0 gather 300000..300fff
  T@100000000: [0]=0000000100001003
  T@100001000: [0]=0000000100002003
  T@100002000: [0]=0000000100003003 [1]=0000000080200083
  T@100003000: [1]=0000000012345203
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(VtdGolden, v32_unmap_ending_inside_a_2_mib_entry) {
  const std::string_view text = R"(
map iova=1ff000 pa=7ff000 len=201000 prot=RW -> 0 mapped=201000
  T@100000000: [0]=0000000100001003
  T@100001000: [0]=0000000100002003
  T@100002000: [0]=0000000100003003 [1]=0000000000800083
  T@100003000: [511]=00000000007ff003
unmap iova=1ff000 len=2000 -> 201000 (gather 1ff000..3fffff, 0 tables freed)
  T@100000000: [0]=0000000100001003
  T@100001000: [0]=0000000100002003
  T@100002000: [0]=0000000100003003
  T@100003000: empty
)";
  EXPECT_EQ(replay(table({}), text), text.substr(1));
}

TEST(VtdGolden, v33_unmap_frees_fully_covered_tables) {
  const std::string_view text = R"(
map iova=200000 pa=1000 len=400000 prot=RW -> 0 mapped=400000
unmap iova=200000 len=400000 -> 400000 (gather 200000..5fffff, 2 tables freed)
  T@100000000: [0]=0000000100001003
  T@100001000: empty
)";
  EXPECT_EQ(replay(table({.top_level = 2, .va_bits = 39}), text), text.substr(1));
}

}  // namespace
}  // namespace iommufd::pt
