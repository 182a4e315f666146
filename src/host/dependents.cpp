// SPDX-License-Identifier: BSD-3-Clause
#include "host/dependents.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <string_view>

#include "base/fd.hpp"

namespace iommufd::host {
namespace {

// A disk, or a partition of it: its name, and through which disk of the function it is reached when it is not itself one.
struct Block {
  std::string name;
  std::string base;  // empty: it belongs to the function

  [[nodiscard]] std::string text() const { return base.empty() ? name : fmt::format("{} of {}", name, base); }
};

bool is_up(const std::string& interface) {
  constexpr u64 kUp = 1;  // IFF_UP, netdevice(7)
  const std::optional<u64> flags = read_number(interface + "/flags");
  return (flags && (*flags & kUp) != 0) || read_attribute(interface + "/operstate") == "up";
}

void add_interfaces(const std::string& folder, const Roots& roots, std::vector<std::string>& out) {
  const std::string all = roots.sys + "/class/net";
  for (const std::string& name : list_directory(all)) {
    const auto real = real_path(all + "/" + name);
    if (real && is_below(*real, folder) && is_up(*real))
      out.push_back(fmt::format("the network interface {}, which is up", name));
  }
}

// The head of an NVMe subsystem is a virtual device; beside it are links to the controllers that lead to it.
bool is_reached_through(const std::string& disk, const std::string& folder) {
  const std::string subsystem = disk.substr(0, disk.rfind('/'));
  if (subsystem.find("/nvme-subsystem/") == std::string::npos) return false;
  return std::ranges::any_of(list_directory(subsystem), [&](const std::string& name) {
    const auto controller = name.starts_with("nvme") ? real_path(subsystem + "/" + name) : std::nullopt;
    return controller && is_below(*controller, folder);
  });
}

// A partition lies in its disk's folder.
bool belongs(const std::string& block, const std::string& folder) {
  return is_below(block, folder) || is_reached_through(block, folder) ||
         is_reached_through(block.substr(0, block.rfind('/')), folder);
}

// The function's disks and partitions, and everything that holds one of them.
std::vector<Block> find_blocks(const std::string& folder, const Roots& roots) {
  const std::string all = roots.sys + "/class/block";
  std::vector<Block> blocks;
  const auto add = [&](const std::string& name, const std::string& base) {
    if (std::ranges::find(blocks, name, &Block::name) == blocks.end()) blocks.push_back({name, base});
  };
  for (const std::string& name : list_directory(all))
    if (const auto real = real_path(all + "/" + name); real && belongs(*real, folder)) add(name, "");
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const std::vector<std::string> holders = list_directory(fmt::format("{}/{}/holders", all, blocks[i].name));
    const std::string base = blocks[i].base.empty() ? blocks[i].name : blocks[i].base;
    for (const std::string& holder : holders) add(holder, base);
  }
  return blocks;
}

void add_uses_of_blocks(const std::vector<Block>& blocks, const Roots& roots, std::vector<std::string>& out) {
  std::map<std::string, const Block*, std::less<>> by_number;  // "259:0"
  for (const Block& block : blocks)
    if (const auto number = read_attribute(fmt::format("{}/class/block/{}/dev", roots.sys, block.name)))
      by_number.emplace(*number, &block);
  const auto named = [&](const std::string& path) -> const Block* {
    const std::string real = real_path(path).value_or(path);  // /dev/mapper/NAME, /dev/disk/by-uuid/...
    const auto found = std::ranges::find(blocks, real.substr(real.rfind('/') + 1), &Block::name);
    return found == blocks.end() ? nullptr : &*found;
  };
  // proc(5): ID PARENT MAJOR:MINOR ROOT MOUNT-POINT OPTIONS [TAG...] - TYPE SOURCE ...; btrfs has numbers of its own.
  for (const char* process : {"self", "1"}) {  // a container's mounts are not the machine's
    for (const auto& row : read_table(fmt::format("{}/{}/mountinfo", roots.proc, process))) {
      if (row.size() < 5) continue;
      const auto number = by_number.find(row[2]);
      const auto dash = std::ranges::find(row, "-");
      const Block* block = number != by_number.end() ? number->second : nullptr;
      if (block == nullptr && row.end() - dash > 2 && dash[2].starts_with('/')) block = named(dash[2]);
      if (block == nullptr) continue;
      std::string text = fmt::format("the file system on {} ({})", row[4], block->text());
      if (std::ranges::find(out, text) == out.end()) out.push_back(std::move(text));
    }
  }
  for (const auto& row : read_table(roots.proc + "/swaps")) {
    if (row.empty() || !row[0].starts_with('/')) continue;  // its head
    if (const Block* block = named(row[0])) out.push_back(fmt::format("swap on {}", block->text()));
  }
  for (const Block& block : blocks)
    if (!block.base.empty()) out.push_back(fmt::format("{}, which is built on {}", block.name, block.base));
}

// The kernel knows of users that name no disk in any file that we can read: a mount in another namespace, ZFS, the second disk of
// a btrfs. open(2): O_EXCL without O_CREAT fails on a block device that is in use.
bool is_claimed(const std::string& node) {
  const Fd probe(::open(node.c_str(), O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC));
  return !probe.valid() && errno == EBUSY;
}

void add_claims(const std::vector<Block>& blocks, const Roots& roots, std::vector<std::string>& out) {
  for (const Block& block : blocks)
    if (block.base.empty() && is_claimed(fmt::format("{}/{}", roots.dev, block.name)))
      out.push_back(fmt::format("whoever has claimed {} (a mount elsewhere, a volume)", block.name));
}

}  // namespace

std::vector<std::string> find_dependents(const std::string& folder, const Roots& roots) {
  std::vector<std::string> out;
  add_interfaces(folder, roots, out);
  const std::vector<Block> blocks = find_blocks(folder, roots);
  const std::size_t before = out.size();
  add_uses_of_blocks(blocks, roots, out);
  if (out.size() == before) add_claims(blocks, roots, out);
  if (const auto virtual_functions = read_number(folder + "/sriov_numvfs").value_or(0); virtual_functions != 0)
    out.push_back(fmt::format("its {} virtual functions", virtual_functions));
  return out;
}

}  // namespace iommufd::host
