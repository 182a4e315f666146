// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/eventfd.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <string_view>

#include "base/explain.hpp"
#include "base/types.hpp"

namespace iommufd::vfio {

Result<Eventfd> Eventfd::adopt(Fd fd) {
  std::array<char, 64> path{};
  fmt::format_to_n(path.data(), path.size() - 1, "/proc/self/fd/{}", fd.get());
  std::array<char, 64> target{};
  const ssize_t length = ::readlink(path.data(), target.data(), target.size());
  if (length < 0 || std::string_view(target.data(), static_cast<std::size_t>(length)) != "anon_inode:[eventfd]") {
    return reject(Errno::kInval, {"fd", static_cast<u64>(fd.get()), "must be an eventfd", "vfio-device 13"});
  }
  return Eventfd(std::move(fd));
}

void Eventfd::signal() const {
  pollfd ready{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
  if (::poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) return;
  const u64 one = 1;
  // Fails only with EAGAIN, when the client has filled the counter since: full stays full.
  [[maybe_unused]] const ssize_t written = ::write(fd_.get(), &one, sizeof one);
}

}  // namespace iommufd::vfio
