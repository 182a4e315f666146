// SPDX-License-Identifier: BSD-3-Clause
// The product's own wire structs against the tables of this folder.
#include <gtest/gtest.h>

#include "abi/iommufd.hpp"
#include "abi/vfio.hpp"
#include "abi/vfio_type1.hpp"

namespace {

using namespace iommufd::abi;
using iommufd::u64;

template <class T>
constexpr std::size_t min_size() {
  if constexpr (requires { T::kMinSize; }) return T::kMinSize;
  return sizeof(T);  // records and array elements have one version
}

#define STRUCT(c, type, size, min)            \
  EXPECT_EQ(sizeof(type), std::size_t{size}); \
  EXPECT_EQ(min_size<type>(), std::size_t{min}) << #type;
#define FIELD(c, cf, type, field, offset, size)                              \
  EXPECT_EQ(offsetof(type, field), std::size_t{offset}) << #type "." #field; \
  EXPECT_EQ(sizeof(type::field), std::size_t{size}) << #type "." #field;
#define CONSTANT(c, name, value) EXPECT_EQ(static_cast<u64>(name), u64{value}) << #name;
#define C_STRUCT(...)
#define C_FIELD(...)
#define C_CONSTANT(...)

TEST(CppStructs, iommufd_matches_the_table) {
#include "tests/contract/abi/iommufd.inc"
}

TEST(CppStructs, vfio_matches_the_table) {
#include "tests/contract/abi/vfio.inc"
}

}  // namespace
