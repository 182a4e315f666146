// SPDX-License-Identifier: BSD-3-Clause
#include "run/path_view_mirror.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "base/sys.hpp"
#include "run/path_view_sys.hpp"

namespace iommufd::run {
namespace {

// The path below the root: what *at() calls take.
const char* below_root(const std::string& path) { return path.size() > 1 ? path.c_str() + 1 : "."; }

// What stands in front of the "/name" of its entries.
std::string prefix_of(const Node& directory) {
  const std::string path = directory.path();
  return path == "/" ? std::string() : path;
}

// A placeholder for an entry of the machine. What cannot be made (a block device, for an ordinary user) becomes a
// character device: its type is wrong in readdir, and right in stat, which is answered from the machine.
int make_placeholder(int at, const char* name, unsigned char type, const std::string& real_path) {
  switch (type) {
    case DT_DIR: return mkdirat(at, name, 0755);
    case DT_LNK: {
      const Result<std::string> target = sys::read_link(real_path);
      return target ? symlinkat(target->c_str(), at, name) : -1;
    }
    case DT_CHR: return mknodat(at, name, S_IFCHR | 0600, 0);
    case DT_BLK:
      if (mknodat(at, name, S_IFBLK | 0600, 0) == 0) return 0;
      return mknodat(at, name, S_IFCHR | 0600, 0);
    case DT_FIFO: return mknodat(at, name, S_IFIFO | 0600, 0);
    case DT_SOCK: return mknodat(at, name, S_IFSOCK | 0600, 0);
    default: return mknodat(at, name, S_IFREG | 0444, 0);
  }
}

// Would two nodes look alike in the mirror, not counting what is below them?
bool shows_the_same(const Node& a, const Node& b) {
  return a.kind() == b.kind() && a.mode() == b.mode() && a.target() == b.target();
}

bool same_target(int at, const std::string& name, const std::string& real_path) {
  const Result<std::string> target = sys::read_link(real_path);
  if (!target) return false;
  std::string shown(target->size() + 1, '\0');  // one more, to see a longer one
  const ssize_t n = readlinkat(at, name.c_str(), shown.data(), shown.size());
  return n >= 0 && std::string_view(shown.data(), static_cast<std::size_t>(n)) == *target;
}

}  // namespace

Result<Mirror> Mirror::make(const PathTree& tree, Fd root, std::span<const std::string> parts, Umask umask) {
  Mirror mirror;
  mirror.root_ = std::move(root);
  for (const std::string& part : parts) {
    std::string path;
    const Node* node = &tree.root();
    while (path.size() < part.size()) {
      const std::size_t end = std::min(part.find('/', path.size() + 1), part.size());
      node = node->child(std::string_view(part).substr(path.size() + 1, end - path.size() - 1));
      path = part.substr(0, end);
      IOMMUFD_TRY(mirror.make_node(*node, path, umask));
    }
    IOMMUFD_TRY(mirror.make_children(*node, path, umask));
  }
  return mirror;
}

Result<void> Mirror::complete(const PathTree& tree, Umask umask) {
  if (complete_) return {};
  std::string path;
  IOMMUFD_TRY(make_children(tree.root(), path, umask));
  complete_ = true;
  return {};
}

// What is there already was made earlier.
Result<void> Mirror::make_node(const Node& node, const std::string& path, Umask umask) {
  const char* below = path.c_str() + 1;
  const int root = root_.get();
  int made = 0;
  switch (node.kind()) {
    case NodeKind::kFile: made = mknodat(root, below, S_IFREG | node.mode(), 0); break;
    case NodeKind::kCharDevice: made = mknodat(root, below, S_IFCHR | node.mode(), 0); break;
    case NodeKind::kSymlink: made = symlinkat(node.target().c_str(), root, below); break;
    case NodeKind::kDirectory:
      made = mkdirat(root, below, node.mode());
      // The umask must not show in what fstat says of a descriptor.
      if (made == 0 && umask == Umask::kAny) made = fchmodat(root, below, node.mode(), 0);
      break;
  }
  if (made != 0 && errno != EEXIST) return Err(sys::last_errno());
  return {};
}

// `path` is that of the directory, "" for the root; it is the same again at the end.
Result<void> Mirror::make_children(const Node& directory, std::string& path, Umask umask) {
  const std::size_t length = path.size();
  for (const auto& [name, child] : directory.children()) {
    path.append("/").append(name);
    IOMMUFD_TRY(make_node(*child, path, umask));
    if (child->kind() == NodeKind::kDirectory) IOMMUFD_TRY(make_children(*child, path, umask));
    path.resize(length);
  }
  return {};
}

Result<void> Mirror::change(const PathTree& from, const PathTree& to, Umask umask) {
  std::string path;
  return change_children(from.root(), to.root(), path, umask);
}

// `path` as in make_children().
Result<void> Mirror::change_children(const Node& from, const Node& to, std::string& path, Umask umask) {
  const std::size_t length = path.size();
  for (const auto& [name, old] : from.children()) {
    const Node* fresh = to.child(name);
    if (fresh != nullptr && shows_the_same(*old, *fresh)) continue;
    remove_tree(path + "/" + name);
  }
  for (const auto& [name, fresh] : to.children()) {
    const Node* old = from.child(name);
    path.append("/").append(name);
    if (old == nullptr || !shows_the_same(*old, *fresh)) {
      IOMMUFD_TRY(add_tree(*fresh, path, umask));
    } else if (fresh->kind() == NodeKind::kDirectory) {
      IOMMUFD_TRY(change_children(*old, *fresh, path, umask));
    }
    path.resize(length);
  }
  return {};
}

// What is there is of the machine, and ours wins.
Result<void> Mirror::add_tree(const Node& node, std::string& path, Umask umask) {
  remove_tree(path);
  IOMMUFD_TRY(make_node(node, path, umask));
  if (node.kind() != NodeKind::kDirectory) return {};
  IOMMUFD_TRY(make_children(node, path, umask));
  if (device_) learn(node, path);
  return {};
}

void Mirror::remove_tree(const std::string& path) {
  const char* below = below_root(path);
  if (unlinkat(root_.get(), below, 0) == 0 || errno == ENOENT) return;
  struct stat st{};
  if (fstatat(root_.get(), below, &st, AT_SYMLINK_NOFOLLOW) == 0) paths_.erase(st.st_ino);
  for (const auto& [name, type] : list_directory(root_.get(), below).value_or(DirectoryEntries{}))
    remove_tree(path + "/" + name);
  unlinkat(root_.get(), below, AT_REMOVEDIR);
}

void Mirror::add_one(const std::string& directory, const std::string& name, unsigned char type) {
  const std::string place = directory + "/" + name;
  if (make_placeholder(root_.get(), place.c_str() + 1, type, place) == 0 && type == DT_DIR) {
    real_directories_.push_back(place);
  }
}

void Mirror::add_real(const Node& directory, const DirectoryEntries& real) {
  const std::string path = prefix_of(directory);
  for (const auto& [name, type] : real) {
    if (directory.child(name) == nullptr) add_one(path, name, type);
  }
}

void Mirror::refresh(const Node& directory) {
  const std::string path = prefix_of(directory);
  const Fd fd(openat(root_.get(), below_root(path), kOpenDirectory));
  const auto shown = list_directory(fd.get(), ".");
  if (!shown) return;
  // A directory that the machine does not have, or does not let us read, has no entries of the machine.
  const DirectoryEntries real = list_directory(AT_FDCWD, directory.path().c_str()).value_or(DirectoryEntries{});
  for (const auto& [name, type] : *shown) {
    if (directory.child(name) != nullptr) continue;
    const auto it = real.find(name);
    if (it != real.end() && it->second == type && (type != DT_LNK || same_target(fd.get(), name, path + "/" + name))) {
      continue;
    }
    unlinkat(fd.get(), name.c_str(), type == DT_DIR ? AT_REMOVEDIR : 0);
  }
  for (const auto& [name, type] : real) {
    if (directory.child(name) == nullptr) add_one(path, name, type);
  }
}

// Enters the inodes of the directories of the tree at and below `directory`.
void Mirror::learn(const Node& directory, const std::string& path) {
  struct stat st{};
  if (fstatat(root_.get(), below_root(path), &st, AT_SYMLINK_NOFOLLOW) != 0) return;
  device_ = st.st_dev;
  paths_.insert_or_assign(st.st_ino, path.empty() ? "/" : path);
  for (const auto& [name, child] : directory.children()) {
    if (child->kind() == NodeKind::kDirectory) learn(*child, path + "/" + name);
  }
}

std::optional<std::string> Mirror::path_of(const PathTree& tree, const struct stat& st) {
  if (!S_ISDIR(st.st_mode) || !root_.valid()) return std::nullopt;
  if (!device_) learn(tree.root(), "");
  if (st.st_dev != device_) return std::nullopt;
  for (const std::string& path : std::exchange(real_directories_, {})) {
    struct stat real{};
    if (fstatat(root_.get(), below_root(path), &real, AT_SYMLINK_NOFOLLOW) == 0)
      paths_.insert_or_assign(real.st_ino, path);
  }
  const auto it = paths_.find(st.st_ino);
  if (it == paths_.end()) return std::nullopt;
  return it->second;
}

}  // namespace iommufd::run
