// SPDX-License-Identifier: BSD-3-Clause
#include "dump/directory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/sys.hpp"

namespace iommufd::dump {

std::expected<Directory, std::string> Directory::open(const std::string& path) {
  const auto refuse = [&](std::string_view why) { return std::unexpected(fmt::format("{}: {}", path, why)); };
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() && errno == ENOENT) return refuse("there is no such directory; make it first");
  if (!fd.valid()) return refuse(std::strerror(errno));
  if (::faccessat(fd.get(), ".", W_OK | X_OK, AT_EACCESS) != 0)
    return refuse(fmt::format("cannot be written: {}", std::strerror(errno)));
  std::error_code error;
  const bool empty = std::filesystem::is_empty(path, error);
  if (error) return refuse(error.message());
  if (!empty) return refuse("is not empty; the files of two dumps would mix");
  return Directory(std::move(fd), path);
}

Result<void> Directory::write(const OutputFile& file) const {
  constexpr mode_t kDirectoryMode = 0777, kFileMode = 0666;  // and the umask
  if (const std::size_t slash = file.name.find('/'); slash != std::string::npos) {
    const std::string parent = file.name.substr(0, slash);
    if (::mkdirat(fd_.get(), parent.c_str(), kDirectoryMode) != 0 && errno != EEXIST) return Err(sys::last_errno());
  }
  const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC;
  const Fd out(IOMMUFD_TRY(sys::check(::openat(fd_.get(), file.name.c_str(), flags, kFileMode))));
  return sys::write_all(out.get(), file.bytes);
}

}  // namespace iommufd::dump
