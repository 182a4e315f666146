// SPDX-License-Identifier: BSD-3-Clause
#include "pci/bdf.hpp"

namespace iommufd::pci {
namespace {

TEST(Bdf, long_and_short_form_name_the_same_function) {
  EXPECT_EQ(Bdf::parse("0000:00:05.0"), (Bdf{0, 0, 5, 0}));
  EXPECT_EQ(Bdf::parse("00:05.0"), (Bdf{0, 0, 5, 0}));
  EXPECT_EQ(Bdf::parse("10aB:fE:1f.7"), (Bdf{0x10ab, 0xfe, 0x1f, 7}));
}

TEST(Bdf, prints_the_long_form_in_lower_case) {
  EXPECT_EQ((Bdf{0xabcd, 0xef, 0x1f, 7}.str()), "abcd:ef:1f.7");
  EXPECT_EQ(Bdf{}.str(), "0000:00:00.0");
  EXPECT_EQ((Bdf{0, 1, 2, 3}.devfn()), 0x13);
}

TEST(Bdf, refuses_what_is_no_address) {
  for (const char* text :
       {"",        "0",           "00:05",         "00:05.",        "00:05.8",       "00:20.0",     "0:05.0",
        "00:5.0",  "000:00:05.0", "00000:00:05.0", "0000:00:05.00", "0000:00:05.0 ", " 00:05.0",    "0000-00:05.0",
        "00.05.0", "0x:05.0",     "-1:05.0",       "+1:05.0",       "gg:05.0",       "0000:00:05:0"}) {
    EXPECT_EQ(Bdf::parse(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace iommufd::pci
