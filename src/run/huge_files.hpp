// SPDX-License-Identifier: BSD-3-Clause
// The files that tell of huge pages, under --hugetlb=emulate: /proc/meminfo, /proc/sys/vm/nr_hugepages, and those of sysfs for
// pages of 2 MiB. The rest of their text is the machine's.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "run/huge_pool.hpp"

namespace iommufd::run {

// What it reads now; nothing when it is another path.
std::optional<std::string> read_huge_file(HugePool& pool, std::string_view path);
// The number of pages may be written there.
bool sets_huge_pages(std::string_view path);
// The last names of all these paths.
std::span<const std::string_view> huge_file_names();

}  // namespace iommufd::run
