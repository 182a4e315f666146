// SPDX-License-Identifier: BSD-3-Clause
// Golden vectors of RISC-V, V36 to V38 of spec page-table-formats 9, word for word (see transcript.hpp); V38 is three tables.
#include "pt/fmt/riscv.hpp"
#include "pt/formats.hpp"
#include "tests/unit/pt/transcript.hpp"

namespace iommufd::pt {
namespace {

using golden::replay;

golden::Subject table(const RiscVConfig& config) {
  return {[config](TableArena& arena, TopListener&) { return make_riscv(arena, config); }, RiscV::hardware_depth};
}

TEST(RiscVGolden, v36_sv39_with_64_kib) {
  const std::string_view text = R"(
 r=0
pgsize_bitmap=40211000 aperture=0..3fffffffff
ppn=100000 mode=8
map iova=1000 pa=12345000 len=1000 prot=R -> 0 mapped=1000
map iova=2000 pa=12346000 len=1000 prot=RW -> 0 mapped=1000
map iova=3000 pa=12347000 len=1000 prot=WNX -> 0 mapped=1000
map iova=4000 pa=12348000 len=1000 prot=RNX -> 0 mapped=1000
map iova=10000 pa=50010000 len=10000 prot=RW -> 0 mapped=10000
map iova=200000 pa=80200000 len=200000 prot=RW -> 0 mapped=200000
map iova=40000000 pa=40000000 len=40000000 prot=RW -> 0 mapped=40000000
  T@100000000: [0]=0000000040000401 [1]=00000000100000df
  T@100001000: [0]=0000000040000801 [1]=00000000200800df
  T@100002000: [1]=00000000048d145b [2]=00000000048d18df [3]=00000000048d1cd7 [4]=00000000048d2053 [16..31]=80000000140060df
iova_to_phys 1abcd -> 5001abcd
)";
  EXPECT_EQ(replay(table({.va_bits = 39}), text), text.substr(1));
}

TEST(RiscVGolden, v37_sv39_without_64_kib) {
  const std::string_view text = R"(
pgsize_bitmap=40201000 aperture=0..3fffffffff
map iova=10000 pa=50010000 len=10000 prot=RW -> 0 mapped=10000
  T@100000000: [0]=0000000040000401
  T@100001000: [0]=0000000040000801
  T@100002000: [16..31]=00000000140040df +400
)";
  EXPECT_EQ(replay(table({.va_bits = 39, .svnapot = false}), text), text.substr(1));
}

TEST(RiscVGolden, v38_sv48) {
  const std::string_view text = R"(
 r=0
pgsize_bitmap=8040201000 aperture=0..7fffffffffff
ppn=100000 mode=9
map iova=ffffffffc0000000 pa=40000000 len=40000000 prot=RW -> 0 mapped=40000000
map iova=8000000000 pa=8000000000 len=8000000000 prot=RW -> 0 mapped=8000000000
  T@100000000: [1]=00000020000000df [511]=0000000040000401
  T@100001000: [511]=00000000100000df
)";
  EXPECT_EQ(replay(table({.va_bits = 48, .svnapot = false}), text), text.substr(1));
}

TEST(RiscVGolden, v38_sv57) {
  const std::string_view text = R"(
pgsize_bitmap=1008040201000 aperture=0..ffffffffffffff
mode=10
)";
  EXPECT_EQ(replay(table({.va_bits = 57, .svnapot = false}), text), text.substr(1));
}

TEST(RiscVGolden, v38_no_such_width) {
  const auto arena = std::move(TableArena::create({})).value();
  const auto made = make_riscv(*arena, {.va_bits = 40});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error(), Errno::kInval);
}

TEST(RiscVGolden, no_permission_at_all_is_no_leaf) {
  EXPECT_EQ(RiscV::permission(Access::kNoExecute, {}), Result<u64>(Err(Errno::kOpNotSupp)));
}

}  // namespace
}  // namespace iommufd::pt
