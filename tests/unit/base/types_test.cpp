// SPDX-License-Identifier: BSD-3-Clause
#include "base/types.hpp"

#include "base/bits.hpp"
#include "base/result.hpp"
#include "base/rollback.hpp"

namespace iommufd {
namespace {

TEST(Types, checked_add_sees_the_wrap) {
  EXPECT_EQ(checked_add(Iova{~u64{0}}, 0), Iova{~u64{0}});
  EXPECT_EQ(checked_add(Iova{~u64{0}}, 1), std::nullopt);
}

TEST(Types, bits_are_named_as_in_the_manual) {
  using Field = Bits<11, 9>;
  EXPECT_EQ(Field::kMask, 0xe00u);
  EXPECT_EQ(Field::put(7), 0xe00u);
  EXPECT_EQ(Field::get(0x1234), 1u);
  EXPECT_EQ((Bits<63, 0>::kMask), ~u64{0});
}

Result<int> positive(int x) {
  if (x <= 0) return Err(Errno::kInval);
  return x;
}
Result<int> twice(int x) { return 2 * IOMMUFD_TRY(positive(x)); }

TEST(Result, try_returns_the_error_of_the_callee) {
  EXPECT_EQ(twice(2), 4);
  EXPECT_EQ(twice(0), Err(Errno::kInval));
  EXPECT_STREQ(errno_name(Errno::kBadFd), "EBADFD");
}

TEST(Rollback, undoes_unless_committed) {
  int undone = 0;
  {
    Rollback r{[&] { ++undone; }};
  }
  {
    Rollback r{[&] { ++undone; }};
    r.commit();
  }
  EXPECT_EQ(undone, 1);
}

}  // namespace
}  // namespace iommufd
