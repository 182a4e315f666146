// SPDX-License-Identifier: BSD-3-Clause
#include "host/claim.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/sys.hpp"

namespace iommufd::host {

std::expected<Fd, std::string> claim(pci::Bdf bdf, const Roots& roots) {
  static_cast<void>(::mkdir(roots.state.c_str(), 0755));  // open() says what is wrong with it
  const std::string path = fmt::format("{}/{}.lock", roots.state, bdf.str());
  Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.valid())
    return std::unexpected(fmt::format("{} cannot be opened: {}", path, errno_name(sys::last_errno())));
  if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) return file;
  return std::unexpected(fmt::format("{} is in use by another iommufd-user", bdf.str()));
}

}  // namespace iommufd::host
