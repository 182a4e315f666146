// SPDX-License-Identifier: BSD-3-Clause
// Our C headers (include/uapi), on top of whatever headers this machine has: every symbol of the tables is there.
#include <gtest/gtest.h>

#include "include/uapi/linux/iommufd.h"
#include "include/uapi/linux/vfio.h"

namespace {

using u64 = std::uint64_t;

// A system's struct may be older (vfio_device_info was 20 bytes before Linux 6.2) or newer than the table.
#define C_STRUCT(c, size, min) EXPECT_GE(sizeof(struct c), std::size_t{min}) << #c;
#define C_FIELD(c, field, offset, bytes)                                      \
  EXPECT_EQ(offsetof(struct c, field), std::size_t{offset}) << #c "." #field; \
  EXPECT_EQ(sizeof(c::field), std::size_t{bytes}) << #c "." #field;
#define C_CONSTANT(c, value) EXPECT_EQ(static_cast<u64>(c), u64{value}) << #c;
#define STRUCT(c, cpp, size, min) C_STRUCT(c, size, min)
#define FIELD(c, field, cpp, cpp_field, offset, size) C_FIELD(c, field, offset, size)
#define CONSTANT(c, cpp, value) C_CONSTANT(c, value)

TEST(CHeaders, iommufd_matches_the_table) {
#include "tests/contract/abi/iommufd.inc"
}

TEST(CHeaders, vfio_matches_the_table) {
#include "tests/contract/abi/vfio.inc"
}

#undef C_STRUCT
#undef C_FIELD
#undef C_CONSTANT
#define C_STRUCT(c, size, min) EXPECT_EQ(sizeof(struct c), std::size_t{size}) << #c;
#define C_FIELD(...)
#define C_CONSTANT(...)

TEST(CHeaders, iommufd_structs_have_the_size_of_linux_7_3) {
#include "tests/contract/abi/iommufd.inc"
}

}  // namespace
