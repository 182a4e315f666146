// SPDX-License-Identifier: BSD-3-Clause
#include "run/find_descriptor.hpp"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdlib>
#include <memory>

#include "base/sys.hpp"
#include "run/pidfd.hpp"

namespace iommufd::run {
namespace {

struct CloseDirectory {
  void operator()(DIR* d) const { ::closedir(d); }
};

bool leads_to(const struct stat& st, dev_t device, ino_t inode) {
  return S_ISREG(st.st_mode) && st.st_ino == inode && st.st_dev == device;
}

}  // namespace

Result<int> find_descriptor(pid_t tid, dev_t device, ino_t inode) {
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(fmt::format("/proc/{}/fd", tid).c_str()));
  if (!directory) return Err(sys::last_errno());
  while (const dirent* entry = ::readdir(directory.get())) {
    struct stat st{};
    if (entry->d_name[0] == '.' || ::fstatat(::dirfd(directory.get()), entry->d_name, &st, 0) != 0) continue;
    if (leads_to(st, device, inode)) return static_cast<int>(std::strtol(entry->d_name, nullptr, 10));
  }
  return Err(Errno::kNoEnt);
}

Result<Fd> find_description(const ClientProcess& process, dev_t device, ino_t inode) {
  const int number = IOMMUFD_TRY(find_descriptor(process.tgid(), device, inode));
  Fd found = IOMMUFD_TRY(pidfd::get_descriptor(process.pidfd()->get(), number));
  struct stat st{};
  IOMMUFD_TRY(sys::ok(::fstat(found.get(), &st)));
  if (!leads_to(st, device, inode)) return Err(Errno::kNoEnt);
  return found;
}

}  // namespace iommufd::run
