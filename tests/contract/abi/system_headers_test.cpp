// SPDX-License-Identifier: BSD-3-Clause
// The system's <linux/iommufd.h> and <linux/vfio.h> (or those of -DIOMMUFD_UAPI_DIR) against the tables, for each symbol
// that they have. Which they have cannot be asked the preprocessor (enumerators, structs, fields), so: every name of the
// tables first gets a stand-in of type Missing in an outer namespace, and the headers are read in an inner one. A name
// that the system declares hides its stand-in.
#include <gtest/gtest.h>

#include <linux/ioctl.h>
#include <linux/types.h>

#include <cstddef>
#include <iostream>
#include <string_view>
#include <type_traits>

namespace abi_of {

struct Missing {};
template <class T>
concept IsMissing = std::is_base_of_v<Missing, T>;

#define C_STRUCT(c, size, min) \
  struct c : Missing {};
#define C_FIELD(...)
#define C_CONSTANT(c, value) [[maybe_unused]] constexpr Missing c{};
#define STRUCT(c, cpp, size, min) C_STRUCT(c, size, min)
#define FIELD(...)
#define CONSTANT(c, cpp, value) C_CONSTANT(c, value)
#include "tests/contract/abi/iommufd.inc"
#include "tests/contract/abi/vfio.inc"
#undef C_STRUCT
#undef C_FIELD
#undef C_CONSTANT
#undef FIELD

namespace system_headers {

#define __user  // in headers as they are in the kernel's source

#if __has_include(<linux/iommufd.h>)
#include <linux/iommufd.h>
#endif
#if __has_include(<linux/vfio.h>)
#include <linux/vfio.h>
#endif

int compared = 0, missing = 0;

template <class T>
void constant(const char* name, T have, unsigned long long want) {
  if constexpr (IsMissing<T>) {
    ++missing;
  } else {
    ++compared;
    EXPECT_EQ(static_cast<unsigned long long>(have), want) << name;
  }
}

// Older headers may have less of a struct, newer ones more; its first version never changes.
template <class T>
void structure(const char* name, std::size_t min) {
  if constexpr (IsMissing<T>) {
    ++missing;
  } else {
    ++compared;
    EXPECT_GE(sizeof(T), min) << name;
  }
}

// What is reserved becomes fields over the years.
void member(std::string_view name, std::size_t offset, std::size_t bytes, std::size_t want_offset,
            std::size_t want_bytes) {
  if (name.find(".__reserved") != name.npos) return;
  ++compared;
  EXPECT_EQ(offset, want_offset) << name;
  EXPECT_EQ(bytes, want_bytes) << name;
}

#define C_STRUCT(c, size, min) structure<c>(#c, min);
#define C_FIELD(c, field, offset, bytes)                                          \
  [&]<class T>(std::type_identity<T>) {                                           \
    if constexpr (requires(T t) { t.field; }) {                                   \
      member(#c "." #field, offsetof(T, field), sizeof(T::field), offset, bytes); \
    } else {                                                                      \
      ++missing;                                                                  \
    }                                                                             \
  }(std::type_identity<c>{});
#define C_CONSTANT(c, value) constant(#c, c, value);
#define FIELD(c, field, cpp, cpp_field, offset, size) C_FIELD(c, field, offset, size)

void compare_all() {
#include "tests/contract/abi/iommufd.inc"
#include "tests/contract/abi/vfio.inc"
}

}  // namespace system_headers

TEST(SystemHeaders, what_they_have_matches_the_tables) {
  system_headers::compare_all();
  std::cout << "compared " << system_headers::compared << " symbols with the system's headers, which lack "
            << system_headers::missing << "\n";
  EXPECT_GT(system_headers::compared, 0);
}

}  // namespace abi_of
