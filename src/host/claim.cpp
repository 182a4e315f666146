// SPDX-License-Identifier: BSD-3-Clause
#include "host/claim.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "base/sys.hpp"

namespace iommufd::host {
namespace {

// A program's end is seen before its server has given everything back.
using Clock = std::chrono::steady_clock;
constexpr auto kPatience = std::chrono::seconds(2);
constexpr auto kStep = std::chrono::milliseconds(20);

}  // namespace

std::expected<Fd, std::string> claim(pci::Bdf bdf, const Roots& roots) {
  static_cast<void>(::mkdir(roots.state.c_str(), 0755));  // open() says what is wrong with it
  const std::string path = fmt::format("{}/{}.lock", roots.state, bdf.str());
  Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.valid())
    return std::unexpected(fmt::format("{} cannot be opened: {}", path, errno_name(sys::last_errno())));
  for (const auto end = Clock::now() + kPatience;; std::this_thread::sleep_for(kStep)) {
    if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) return file;
    if (Clock::now() > end) break;
  }
  return std::unexpected(fmt::format("{} is in use by another iommufd-user", bdf.str()));
}

}  // namespace iommufd::host
