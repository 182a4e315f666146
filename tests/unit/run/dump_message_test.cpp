// SPDX-License-Identifier: BSD-3-Clause
#include "run/dump_message.hpp"

#include <gtest/gtest.h>

namespace iommufd::run {
namespace {

TEST(DumpMessage, files_arrive_as_they_were_packed) {
  const std::vector<dump::OutputFile> files{{"a/b", std::string("\0x\0", 3)}, {"", ""}, {"c", "text"}};
  const auto back = unpack(pack(files));
  ASSERT_TRUE(back);
  ASSERT_EQ(back->size(), files.size());
  for (std::size_t i = 0; i < files.size(); ++i) {
    EXPECT_EQ((*back)[i].name, files[i].name);
    EXPECT_EQ((*back)[i].bytes, files[i].bytes);
  }
}

TEST(DumpMessage, every_cut_is_refused) {
  const std::string whole = pack({{"name", "bytes"}});
  for (std::size_t n = 1; n < whole.size(); ++n) EXPECT_FALSE(unpack(whole.substr(0, n))) << n;
  std::string huge = whole;
  for (std::size_t i = 8; i < 16; ++i) huge[i] = '\xff';
  EXPECT_FALSE(unpack(huge));
}

TEST(DumpMessage, each_process_has_a_name_of_its_own_in_the_abstract_namespace) {
  const auto a = dump_socket_name(1), b = dump_socket_name(2147483647);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->address.sun_path[0], '\0');
  EXPECT_NE(std::string(a->address.sun_path, a->size), std::string(b->address.sun_path, b->size));
}

}  // namespace
}  // namespace iommufd::run
