// SPDX-License-Identifier: BSD-3-Clause
// Golden vectors of x86-64, V34 and V35 of spec page-table-formats 9, word for word (see transcript.hpp).
#include "pt/fmt/x86.hpp"
#include "pt/formats.hpp"
#include "tests/unit/pt/transcript.hpp"

namespace iommufd::pt {
namespace {

using golden::replay;

golden::Subject table(const X86Config& config) {
  return {[config](TableArena& arena, TopListener&) { return make_x86(arena, config); }, X86::hardware_depth};
}

TEST(X86Golden, v34_4_level_sign_extension) {
  const std::string_view text = R"(
 r=0
pgsize_bitmap=40201000 aperture=0..7fffffffffff
gcr3=100000000 levels=4
map iova=1000 pa=12345000 len=1000 prot=R -> 0 mapped=1000
map iova=2000 pa=12346000 len=1000 prot=W -> 0 mapped=1000
map iova=3000 pa=12347000 len=1000 prot=RW -> 0 mapped=1000
map iova=200000 pa=80200000 len=200000 prot=RW -> 0 mapped=200000
map iova=40000000 pa=40000000 len=40000000 prot=R -> 0 mapped=40000000
map iova=ffff800000000000 pa=5000 len=1000 prot=RW -> 0 mapped=1000
map iova=800000000000 pa=5000 len=1000 prot=RW -> -34 mapped=0
  T@100000000: [0]=0000000100001027 [256]=0000000100004027
  T@100001000: [0]=0000000100002027 [1]=00000000400000a5
  T@100002000: [0]=0000000100003027 [1]=00000000802000e7
  T@100003000: [1]=0000000012345025 [2]=0000000012346067 [3]=0000000012347067
  T@100004000: [0]=0000000100005027
  T@100005000: [0]=0000000100006027
  T@100006000: [0]=0000000000005067
iova_to_phys ffff800000000123 -> 5123
)";
  EXPECT_EQ(replay(table({.va_bits = 48, .features = {Feature::kSignExtend}}), text), text.substr(1));
}

TEST(X86Golden, v35_walker_does_not_snoop) {
  const std::string_view text = R"(
 r=0
map iova=1000 pa=12345000 len=1000 prot=RW -> 0 mapped=1000
  T@100000000: [0]=0000000100001227
  T@100001000: [0]=0000000100002227
  T@100002000: [0]=0000000100003227
  T@100003000: [1]=0000000012345067
)";
  EXPECT_EQ(replay(table({.features = {Feature::kNonCoherentWalk}}), text), text.substr(1));
}

}  // namespace
}  // namespace iommufd::pt
