// SPDX-License-Identifier: BSD-3-Clause
// The directories, symlinks and placeholders that mirror a PathTree, below one directory descriptor, and the way from
// their inodes back to virtual paths.
//
// Not thread-safe: PathView's lock guards it.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "run/path_tree.hpp"
#include "run/path_view_sys.hpp"

namespace iommufd::run {

// Does the process that makes the mirror have an umask? Only then must modes be set twice.
enum class Umask : u8 { kNone, kAny };

class Mirror {
 public:
  Mirror() = default;
  // `root` is an empty directory that we may write to. Makes the directories at `parts` in it, and every node of the tree
  // below them; all other nodes are made by complete(). Errors: those of mkdir.
  static Result<Mirror> make(const PathTree& tree, Fd root, std::span<const std::string> parts, Umask umask);
  // Every node of the tree. Does nothing the second time.
  Result<void> complete(const PathTree& tree, Umask umask);

  // From one tree to the next, by what differs. Pre: complete. Errors: those of mkdir; what differs is half done then.
  Result<void> change(const PathTree& from, const PathTree& to, Umask umask);

  // Brings the machine's entries of a merged directory up to date.
  void refresh(const Node& directory);
  // The same at the beginning, when there are none yet, with entries that were read already.
  void add_real(const Node& directory, const DirectoryEntries& real);
  // The virtual path of a directory of the mirror. Empty: none of ours. The inodes are looked up when it is first asked.
  [[nodiscard]] std::optional<std::string> path_of(const PathTree& tree, const struct stat& st);

 private:
  Result<void> make_node(const Node& node, const std::string& path, Umask umask);
  Result<void> make_children(const Node& directory, std::string& path, Umask umask);
  Result<void> change_children(const Node& from, const Node& to, std::string& path, Umask umask);
  Result<void> add_tree(const Node& node, std::string& path, Umask umask);
  void remove_tree(const std::string& path);
  void add_one(const std::string& directory, const std::string& name, unsigned char type);
  void learn(const Node& directory, const std::string& path);

  Fd root_;
  bool complete_ = false;
  std::optional<dev_t> device_;
  std::unordered_map<ino_t, std::string> paths_;  // known once device_ is
  std::vector<std::string> real_directories_;     // placeholders whose inodes are not in paths_ yet
};

}  // namespace iommufd::run
