// SPDX-License-Identifier: BSD-3-Clause
// The directories, symlinks and placeholders that mirror a PathTree, below one directory descriptor, and the way from
// their inodes back to virtual paths.
//
// Not thread-safe: PathView's lock guards it.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <unordered_map>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "run/path_tree.hpp"

namespace iommufd::run {

class Mirror {
 public:
  Mirror() = default;
  // `root` is an empty directory that we may write to. Makes every node of the tree in it. Errors: those of mkdir.
  static Result<Mirror> make(const PathTree& tree, Fd root);

  // The directory below which everything is; writable.
  [[nodiscard]] int root() const { return root_.get(); }
  // Brings the machine's entries of a merged directory up to date.
  void refresh(const Node& directory);
  // The virtual path of a directory of the mirror. Empty: none of ours.
  [[nodiscard]] std::optional<std::string> path_of(const struct stat& st) const;

 private:
  Result<void> make_children(const Node& directory, int fd);
  Result<void> remember(int fd, const Node& directory);

  Fd root_;
  dev_t device_ = 0;
  std::unordered_map<ino_t, std::string> paths_;
};

}  // namespace iommufd::run
