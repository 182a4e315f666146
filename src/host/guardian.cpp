// SPDX-License-Identifier: BSD-3-Clause
#include "host/guardian.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <vector>

#include "base/assert.hpp"
#include "base/sys.hpp"
#include "host/sysfs.hpp"

namespace iommufd::host {
namespace {

// Resetting a function may take seconds (PCIe 6.6.1: 1 s until it answers).
constexpr timeval kPatience{.tv_sec = 30, .tv_usec = 0};
constexpr std::size_t kLongestLine = 4096;

// Anybody may listen in the abstract namespace: only root, or we ourselves, can be a guardian.
bool is_trusted(const Fd& socket) {
  ucred who{};
  socklen_t size = sizeof(who);
  return ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
         (who.uid == 0 || who.uid == ::geteuid());
}

std::string prefix_of(pci::Bdf bdf) { return "iommufd-user/guardian/" + bdf.str() + "/"; }

GuardianAddress abstract(const std::string& text) {
  GuardianAddress name;
  name.address.sun_family = AF_UNIX;
  IOMMUFD_ASSERT(text.size() < sizeof(name.address.sun_path));
  std::memcpy(name.address.sun_path + 1, text.data(), text.size());  // the zero in front makes it abstract
  name.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  return name;
}

// The names of those that listen (proc(5): NUMBER REFERENCES PROTOCOL FLAGS TYPE STATE INODE NAME).
std::vector<std::string> find_listeners(pci::Bdf bdf) {
  constexpr u64 kAccepts = 0x10000;
  const std::string prefix = "@" + prefix_of(bdf);
  std::vector<std::string> out;
  for (const auto& row : read_table("/proc/net/unix"))
    if (row.size() == 8 && row[7].starts_with(prefix) && row[7].size() < sizeof(sockaddr_un::sun_path) &&
        (std::strtoull(row[3].c_str(), nullptr, 16) & kAccepts) != 0)
      out.push_back(row[7].substr(1));
  std::ranges::sort(out);
  return out;
}

// Errors: kNoEnt when nobody listens any more, kPerm when it is somebody else.
Result<Fd> connect_to(const std::string& listener) {
  Fd socket(IOMMUFD_TRY(sys::check(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0))));
  const GuardianAddress name = abstract(listener);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&name.address), name.size) != 0)
    return Err(errno == ECONNREFUSED ? Errno::kNoEnt : sys::last_errno());
  if (!is_trusted(socket)) return Err(Errno::kPerm);
  IOMMUFD_TRY(sys::ok(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience))));
  return socket;
}

// Up to the newline, without it. Errors: those of recv; kIo when the peer ends before that.
Result<std::string> read_line(const Fd& socket) {
  std::string line;
  while (line.size() < kLongestLine) {
    char c = 0;
    const ssize_t n = IOMMUFD_TRY(sys::check(::recv(socket.get(), &c, 1, 0)));
    if (n == 0) break;
    if (c == '\n') return line;
    line += c;
  }
  return Err(Errno::kIo);
}

Result<std::string> ask(const Fd& socket, std::string_view request) {
  IOMMUFD_TRY(sys::ok(::send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL)));
  return read_line(socket);
}

// What one guardian answers; the error is a sentence.
std::expected<std::string, std::string> release_by(const Fd& socket, pci::Bdf bdf) {
  const Result<std::string> line = ask(socket, "release\n");
  if (!line)
    return std::unexpected(fmt::format("the guardian of {} does not answer: {}", bdf.str(), errno_name(line.error())));
  if (*line != "ok" && !line->starts_with("ok "))
    return std::unexpected(fmt::format("the guardian of {} refuses: {}", bdf.str(), *line));
  return line->size() > 3 ? line->substr(3) : "released";
}

}  // namespace

GuardianAddress guardian_address(pci::Bdf bdf, unsigned number) {
  return abstract(prefix_of(bdf) + std::to_string(number));
}

Result<Fd> listen_as_guardian(pci::Bdf bdf) {
  constexpr unsigned kMost = 4096;
  constexpr int kBacklog = 4;
  Fd socket(IOMMUFD_TRY(sys::check(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0))));
  for (unsigned number = 0;; ++number) {
    const GuardianAddress name = guardian_address(bdf, number);
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&name.address), name.size) == 0) break;
    if (errno != EADDRINUSE || number == kMost) return Err(sys::last_errno());
  }
  IOMMUFD_TRY(sys::ok(::listen(socket.get(), kBacklog)));
  return socket;
}

bool has_guardian(pci::Bdf bdf) {
  return std::ranges::any_of(find_listeners(bdf), [](const std::string& name) { return connect_to(name).has_value(); });
}

std::expected<std::string, std::string> request_release(pci::Bdf bdf) {
  std::vector<std::string> done, failed;
  for (const std::string& name : find_listeners(bdf)) {
    const Result<Fd> socket = connect_to(name);
    if (!socket && (socket.error() == Errno::kNoEnt || socket.error() == Errno::kPerm)) continue;  // it is no guardian
    if (!socket) {
      failed.push_back(fmt::format("the guardian of {} cannot be asked: {}", bdf.str(), errno_name(socket.error())));
      continue;
    }
    auto answer = release_by(*socket, bdf);
    (answer ? done : failed).push_back(answer ? *std::move(answer) : std::move(answer.error()));
  }
  if (!failed.empty()) {
    std::ranges::transform(done, std::back_inserter(failed), [](const auto& line) { return "another one: " + line; });
    return std::unexpected(fmt::format("{}", fmt::join(failed, "; ")));
  }
  if (done.empty())
    return std::unexpected(fmt::format("no memory is kept for {}: there is nothing to release", bdf.str()));
  return fmt::format("{}", fmt::join(done, "; "));
}

}  // namespace iommufd::host
