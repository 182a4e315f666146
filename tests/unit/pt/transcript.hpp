// SPDX-License-Identifier: BSD-3-Clause
// Runs golden vectors. A vector is the text of spec page-table-formats 9: calls, what they answered, and dumps of the
// tables. replay() reads the calls from the text, makes them on a real table and writes the text anew, so that
// EXPECT_EQ(replay(...), text) compares every answer and every item bit for bit.
//
// Two lines are ours: "fail N" (the Nth table allocation from here fails) and nothing else.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "pt/table.hpp"

namespace iommufd::pt::golden {

struct Subject {
  std::function<Result<std::unique_ptr<Table>>(TableArena&, TopListener&)> make;
  unsigned (*hardware_depth)(unsigned top_level);  // of the format
};

std::string replay(const Subject& subject, std::string_view text);

}  // namespace iommufd::pt::golden
