// SPDX-License-Identifier: BSD-3-Clause
// The directory that the files of a dump go to.
#pragma once

#include <expected>
#include <span>
#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "dump/files.hpp"

namespace iommufd::dump {

class Directory {
 public:
  // An existing, empty directory that may be written. The error is a sentence that begins with the path.
  static std::expected<Directory, std::string> open(const std::string& path);

  // Writes `file` anew, with the directory that its name has. Errors: those of mkdir, open, write.
  Result<void> write(const OutputFile& file) const;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  Directory(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Fd fd_;
  std::string path_;
};

}  // namespace iommufd::dump
