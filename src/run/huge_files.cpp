// SPDX-License-Identifier: BSD-3-Clause
#include "run/huge_files.hpp"

#include <fmt/format.h>

#include <array>

#include "base/sys.hpp"

namespace iommufd::run {
namespace {

constexpr u64 kPageKib = HugePool::kPageBytes / 1024;

// Replaces the value of "NAME:   VALUE" of /proc/meminfo, or adds the line.
void set_line(std::string& text, std::string_view name, u64 value, std::string_view unit) {
  const std::string line = fmt::format("{:<16}{:8}{}\n", fmt::format("{}:", name), value, unit);
  const std::size_t at = text.find(fmt::format("\n{}:", name));
  if (at == std::string::npos) {
    text += line;
    return;
  }
  const std::size_t end = text.find('\n', at + 1);
  text.replace(at + 1, end == std::string::npos ? std::string::npos : end - at, line);
}

std::string read_meminfo(const HugePool::Counts& c) {
  std::string text = sys::read_file("/proc/meminfo").value_or(std::string());
  set_line(text, "HugePages_Total", c.total, "");
  set_line(text, "HugePages_Free", c.free, "");
  set_line(text, "HugePages_Rsvd", 0, "");
  set_line(text, "HugePages_Surp", 0, "");
  set_line(text, "Hugepagesize", kPageKib, " kB");
  set_line(text, "Hugetlb", c.total * kPageKib, " kB");
  return text;
}

constexpr std::string_view kMeminfo = "/proc/meminfo";
constexpr std::array<std::string_view, 6> kNames{"meminfo",        "nr_hugepages",   "nr_hugepages_mempolicy",
                                                 "free_hugepages", "resv_hugepages", "surplus_hugepages"};
// Of the machine by size and for the default size, and of its first node, which has all.
constexpr std::string_view kBySize = "/sys/kernel/mm/hugepages/hugepages-2048kB/", kDefault = "/proc/sys/vm/",
                           kOfNode = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/";

}  // namespace

bool sets_huge_pages(std::string_view path) { return path.ends_with("/nr_hugepages"); }

std::span<const std::string_view> huge_file_names() { return kNames; }

std::optional<std::string> read_huge_file(HugePool& pool, std::string_view path) {
  if (path == kMeminfo) return read_meminfo(pool.counts());
  for (const std::string_view directory : {kBySize, kDefault, kOfNode}) {
    if (!path.starts_with(directory)) continue;
    const std::string_view name = path.substr(directory.size());
    if (name == "nr_hugepages" || name == "nr_hugepages_mempolicy") return fmt::format("{}\n", pool.counts().total);
    if (directory == kDefault) return {};
    if (name == "free_hugepages") return fmt::format("{}\n", pool.counts().free);
    if (name == "resv_hugepages" || name == "surplus_hugepages") return "0\n";
  }
  return {};
}

}  // namespace iommufd::run
