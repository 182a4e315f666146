// SPDX-License-Identifier: BSD-3-Clause
// A private directory for the mirror where no tmpfs of our own is to be had: BASE/iommufd-user-UID-XXXXXXXX of mode 0700,
// with `lock` (held while its server lives) and `root` (the mirror) in it. What killed servers left behind is found by
// its free lock and removed by the next one that is made.
#pragma once

#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace iommufd::run {

class PrivateDirectory {
 public:
  // A name that is not in use, under /dev/shm, or /tmp where that cannot be written.
  static std::string choose_name();

  PrivateDirectory() = default;
  // Removes abandoned ones beside it, then makes `name` and locks it. Errors: those of mkdir and open.
  static Result<PrivateDirectory> make(const std::string& name);
  // A descriptor of its `root`.
  [[nodiscard]] Result<Fd> open_root() const;

  // Removes the directory and all that is in it, if it is one of ours by name and owner. Follows no symlink.
  static void remove(const std::string& name);

 private:
  std::string name_;
  Fd lock_;
};

}  // namespace iommufd::run
