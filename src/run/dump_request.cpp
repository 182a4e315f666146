// SPDX-License-Identifier: BSD-3-Clause
// The asking side of dump_socket.hpp.
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <csignal>

#include "base/packet.hpp"
#include "base/sys.hpp"
#include "run/dump_message.hpp"
#include "run/dump_socket.hpp"
#include "run/proc_status.hpp"

namespace iommufd::run {
namespace {

// Longer than the server tries.
constexpr timeval kPatience{10, 0};

// Errors: the end of the chain.
Result<pid_t> parent_of(pid_t pid) {
  const pid_t parent = IOMMUFD_TRY(status_id(pid, "PPid"));
  if (parent == 1) return Err(Errno::kSrch);
  return parent;
}

Result<Fd> connect_to(pid_t pid) {
  const SocketName name = IOMMUFD_TRY(dump_socket_name(pid));
  Fd socket(IOMMUFD_TRY(sys::check(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0))));
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience));
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof(kPatience));
  IOMMUFD_TRY(sys::ok(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&name.address), name.size)));
  return socket;
}

// Whoever listens there is ours, or root's: anybody could take the name.
bool is_trusted(const Fd& server) {
  ucred who{};
  socklen_t size = sizeof(who);
  if (::getsockopt(server.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return false;
  return who.uid == ::geteuid() || who.uid == 0 || ::geteuid() == 0;
}

bool is_of_another_user(pid_t pid) {
  struct stat st{};
  return ::geteuid() != 0 && ::stat(fmt::format("/proc/{}", pid).c_str(), &st) == 0 && st.st_uid != ::geteuid();
}

Result<std::vector<dump::OutputFile>> ask(const Fd& server, dump::Form form) {
  const DumpRequest request{.form = std::to_underlying(form)};
  IOMMUFD_TRY(send_packet(server, request));
  DumpReply reply;
  const Fd memfd = IOMMUFD_TRY(receive_packet(server, reply));
  if (reply.magic != DumpRequest::kMagic) return Err(Errno::kIo);
  if (reply.error != 0) return Err(static_cast<Errno>(reply.error));
  std::string bytes(reply.bytes, '\0');
  for (std::size_t at = 0; at < bytes.size();) {
    const ssize_t got = ::pread(memfd.get(), bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    if (got <= 0) return Err(Errno::kIo);
    at += static_cast<std::size_t>(got);
  }
  return unpack(bytes);
}

std::string explain(Errno error, pid_t pid) {
  switch (error) {
    case Errno::kPerm: return fmt::format("process {} belongs to another user", pid);
    case Errno::kBusy:
    case Errno::kAgain: return "the server is busy: a call of the program does not end; try again";
    case Errno::kNoMem: return "the server is out of memory";
    case Errno::kOpNotSupp: return fmt::format("process {} runs under another version of iommufd-user", pid);
    default: return fmt::format("the server did not answer: {}", errno_name(error));
  }
}

}  // namespace

std::expected<std::vector<dump::OutputFile>, std::string> request_dump(pid_t pid, dump::Form form) {
  if (::kill(pid, 0) != 0 && errno == ESRCH) return std::unexpected(fmt::format("there is no process {}", pid));
  // The server is a child of the front, and PROGRAM and all that it starts are below the server.
  Result<Fd> server = connect_to(pid);
  for (Result<pid_t> at = parent_of(pid); !server && at; at = parent_of(*at)) server = connect_to(*at);
  if (!server || !is_trusted(*server)) {
    return std::unexpected(is_of_another_user(pid)
                               ? fmt::format("process {} belongs to another user", pid)
                               : fmt::format("process {} is neither `iommufd-user run` nor a program under it", pid));
  }
  auto files = ask(*server, form);
  if (!files) return std::unexpected(explain(files.error(), pid));
  return *std::move(files);
}

}  // namespace iommufd::run
