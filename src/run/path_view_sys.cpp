// SPDX-License-Identifier: BSD-3-Clause
#include "run/path_view_sys.hpp"

#include <dirent.h>

#include <memory>
#include <string_view>

#include "base/fd.hpp"
#include "base/sys.hpp"

namespace iommufd::run {
namespace {

struct CloseDir {
  void operator()(DIR* d) const { closedir(d); }
};

}  // namespace

std::optional<DirectoryEntries> list_directory(int at, const char* path, std::size_t most) {
  Fd fd(openat(at, path, kOpenDirectory));
  if (!fd.valid()) return std::nullopt;
  const std::unique_ptr<DIR, CloseDir> directory(fdopendir(fd.get()));
  if (directory == nullptr) return std::nullopt;
  static_cast<void>(fd.release());  // closedir() closes it
  DirectoryEntries entries;
  while (const dirent* e = readdir(directory.get())) {
    const std::string_view name = e->d_name;
    if (name == "." || name == "..") continue;
    if (entries.size() == most) return std::nullopt;
    entries.emplace(name, e->d_type);
  }
  return entries;
}

}  // namespace iommufd::run
