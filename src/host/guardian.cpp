// SPDX-License-Identifier: BSD-3-Clause
#include "host/guardian.hpp"

#include <fmt/format.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "base/fd.hpp"
#include "base/sys.hpp"

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

// Errors: kNoEnt when nobody listens, kPerm when it is somebody else.
Result<Fd> connect_to(pci::Bdf bdf) {
  Fd socket(IOMMUFD_TRY(sys::check(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0))));
  const GuardianAddress name = guardian_address(bdf);
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

}  // namespace

GuardianAddress guardian_address(pci::Bdf bdf) {
  const std::string text = "iommufd-user/guardian/" + bdf.str();
  GuardianAddress name;
  name.address.sun_family = AF_UNIX;
  static_assert(sizeof(name.address.sun_path) > 64);
  std::memcpy(name.address.sun_path + 1, text.data(), text.size());  // the zero in front makes it abstract
  name.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  return name;
}

bool has_guardian(pci::Bdf bdf) { return connect_to(bdf).has_value(); }

std::expected<std::string, std::string> request_release(pci::Bdf bdf) {
  const Result<Fd> socket = connect_to(bdf);
  if (!socket && socket.error() == Errno::kNoEnt)
    return std::unexpected(fmt::format("no memory is kept for {}: there is nothing to release", bdf.str()));
  if (!socket)
    return std::unexpected(
        fmt::format("the guardian of {} cannot be asked: {}", bdf.str(), errno_name(socket.error())));
  const Result<std::string> line = ask(*socket, "release\n");
  if (!line)
    return std::unexpected(fmt::format("the guardian of {} does not answer: {}", bdf.str(), errno_name(line.error())));
  if (*line != "ok" && !line->starts_with("ok "))
    return std::unexpected(fmt::format("the guardian of {} refuses: {}", bdf.str(), *line));
  return line->size() > 3 ? line->substr(3) : "released";
}

}  // namespace iommufd::host
