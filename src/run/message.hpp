// SPDX-License-Identifier: BSD-3-Clause
// One line on stderr, "iommufd-user: TEXT", in one write so that lines of several processes do not mix.
#pragma once

#include <string_view>

namespace iommufd::run {

void message(std::string_view text);

}  // namespace iommufd::run
