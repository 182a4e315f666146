// SPDX-License-Identifier: BSD-3-Clause
#include "run/path_view_private_dir.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <string_view>

#include "base/sys.hpp"
#include "run/path_view_sys.hpp"

namespace iommufd::run {
namespace {

constexpr time_t kYoung = 60;  // seconds; one without a lock file may just be being made

std::string prefix() { return fmt::format("iommufd-user-{}-", geteuid()); }

void remove_tree(int at, const std::string& name) {
  if (unlinkat(at, name.c_str(), 0) == 0) return;
  if (const Fd inner(openat(at, name.c_str(), kOpenDirectory)); inner.valid()) {
    if (const auto entries = list_directory(inner.get(), ".")) {
      for (const auto& [entry, type] : *entries) remove_tree(inner.get(), entry);
    }
  }
  unlinkat(at, name.c_str(), AT_REMOVEDIR);
}

bool is_abandoned(int base, const std::string& name) {
  struct stat st{};
  if (fstatat(base, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
    return false;
  const Fd lock(openat(base, (name + "/lock").c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (!lock.valid()) return std::time(nullptr) - st.st_mtime > kYoung;
  return flock(lock.get(), LOCK_EX | LOCK_NB) == 0;
}

void remove_abandoned(const std::string& base) {
  const Fd fd(open(base.c_str(), kOpenDirectory));
  if (!fd.valid()) return;
  const auto entries = list_directory(fd.get(), ".");
  if (!entries) return;
  for (const auto& [name, type] : *entries) {
    if (name.starts_with(prefix()) && is_abandoned(fd.get(), name)) remove_tree(fd.get(), name);
  }
}

}  // namespace

std::string PrivateDirectory::choose_name() {
  u32 random = 0;
  (void)getrandom(&random, sizeof(random), 0);  // so few bytes never fail
  const char* base = access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
  return fmt::format("{}/{}{:08x}", base, prefix(), random);
}

Result<PrivateDirectory> PrivateDirectory::make(const std::string& name) {
  remove_abandoned(name.substr(0, name.rfind('/')));
  PrivateDirectory made;
  IOMMUFD_TRY(sys::ok(mkdir(name.c_str(), 0700)));
  made.name_ = name;
  made.lock_ = Fd(IOMMUFD_TRY(sys::check(open((name + "/lock").c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600))));
  IOMMUFD_TRY(sys::ok(flock(made.lock_.get(), LOCK_EX | LOCK_NB)));
  IOMMUFD_TRY(sys::ok(mkdir((name + "/root").c_str(), 0755)));
  return made;
}

Result<Fd> PrivateDirectory::open_root() const {
  return Fd(IOMMUFD_TRY(sys::check(open((name_ + "/root").c_str(), kOpenDirectory))));
}

void PrivateDirectory::remove(const std::string& name) {
  const std::size_t slash = name.rfind('/');
  if (slash == std::string::npos || !std::string_view(name).substr(slash + 1).starts_with(prefix())) return;
  const Fd base(open(name.substr(0, slash).c_str(), kOpenDirectory));
  struct stat st{};
  const std::string last = name.substr(slash + 1);
  if (!base.valid() || fstatat(base.get(), last.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_uid != geteuid())
    return;
  remove_tree(base.get(), last);
}

}  // namespace iommufd::run
