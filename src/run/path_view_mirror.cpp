// SPDX-License-Identifier: BSD-3-Clause
#include "run/path_view_mirror.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <string_view>

#include "base/sys.hpp"
#include "run/path_view_sys.hpp"

namespace iommufd::run {
namespace {

// The path below the root: what *at() calls take.
const char* below_root(const std::string& path) { return path.size() > 1 ? path.c_str() + 1 : "."; }

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

bool same_target(int at, const std::string& name, const std::string& real_path) {
  const Result<std::string> target = sys::read_link(real_path);
  if (!target) return false;
  std::string shown(target->size() + 1, '\0');  // one more, to see a longer one
  const ssize_t n = readlinkat(at, name.c_str(), shown.data(), shown.size());
  return n >= 0 && std::string_view(shown.data(), static_cast<std::size_t>(n)) == *target;
}

}  // namespace

Result<Mirror> Mirror::make(const PathTree& tree, Fd root) {
  Mirror mirror;
  mirror.root_ = std::move(root);
  struct stat st {};
  IOMMUFD_TRY(sys::ok(fstat(mirror.root(), &st)));
  mirror.device_ = st.st_dev;
  mirror.paths_.emplace(st.st_ino, "/");
  IOMMUFD_TRY(mirror.make_children(tree.root(), mirror.root()));
  return mirror;
}

Result<void> Mirror::make_children(const Node& directory, int fd) {
  for (const auto& [name, child] : directory.children()) {
    switch (child->kind()) {
      case NodeKind::kFile: IOMMUFD_TRY(sys::ok(mknodat(fd, name.c_str(), S_IFREG | child->mode(), 0))); break;
      case NodeKind::kCharDevice: IOMMUFD_TRY(sys::ok(mknodat(fd, name.c_str(), S_IFCHR | child->mode(), 0))); break;
      case NodeKind::kSymlink: IOMMUFD_TRY(sys::ok(symlinkat(child->target().c_str(), fd, name.c_str()))); break;
      case NodeKind::kDirectory: {
        IOMMUFD_TRY(sys::ok(mkdirat(fd, name.c_str(), child->mode())));
        const Fd inner(IOMMUFD_TRY(sys::check(openat(fd, name.c_str(), kOpenDirectory))));
        IOMMUFD_TRY(remember(inner.get(), *child));
        IOMMUFD_TRY(make_children(*child, inner.get()));
        break;
      }
    }
  }
  return {};
}

Result<void> Mirror::remember(int fd, const Node& directory) {
  struct stat st {};
  IOMMUFD_TRY(sys::ok(fstat(fd, &st)));
  // The umask must not show in what fstat says of a descriptor.
  if ((st.st_mode & 07777) != directory.mode()) IOMMUFD_TRY(sys::ok(fchmod(fd, directory.mode())));
  paths_.insert_or_assign(st.st_ino, directory.path());
  return {};
}

void Mirror::refresh(const Node& directory) {
  const std::string path = directory.path();
  const Fd fd(openat(root(), below_root(path), kOpenDirectory));
  if (!fd.valid()) return;
  const auto shown = list_directory(fd.get(), ".");
  if (!shown) return;
  // A directory that the machine does not have, or does not let us read, has no entries of the machine.
  const auto real = list_directory(AT_FDCWD, path.c_str()).value_or(decltype(shown)::value_type{});
  for (const auto& [name, type] : *shown) {
    if (directory.child(name) != nullptr) continue;
    const auto it = real.find(name);
    if (it != real.end() && it->second == type && (type != DT_LNK || same_target(fd.get(), name, path + "/" + name))) {
      continue;
    }
    unlinkat(fd.get(), name.c_str(), type == DT_DIR ? AT_REMOVEDIR : 0);
  }
  for (const auto& [name, type] : real) {
    if (directory.child(name) != nullptr) continue;
    const std::string place = (path == "/" ? "" : path) + "/" + name;
    if (make_placeholder(fd.get(), name.c_str(), type, place) != 0 || type != DT_DIR) continue;
    struct stat st {};
    if (fstatat(fd.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) paths_.insert_or_assign(st.st_ino, place);
  }
}

std::optional<std::string> Mirror::path_of(const struct stat& st) const {
  if (st.st_dev != device_ || !S_ISDIR(st.st_mode)) return std::nullopt;
  const auto it = paths_.find(st.st_ino);
  if (it == paths_.end()) return std::nullopt;
  return it->second;
}

}  // namespace iommufd::run
