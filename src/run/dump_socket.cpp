// SPDX-License-Identifier: BSD-3-Clause
#include "run/dump_socket.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <new>

#include "base/packet.hpp"
#include "base/sys.hpp"
#include "run/dump_message.hpp"

namespace iommufd::run {
namespace {

constexpr int kBacklog = 8;

Result<Fd> listen_as(pid_t pid) {
  const SocketName name = IOMMUFD_TRY(dump_socket_name(pid));
  Fd socket(IOMMUFD_TRY(sys::check(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0))));
  IOMMUFD_TRY(sys::ok(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&name.address), name.size)));
  IOMMUFD_TRY(sys::ok(::listen(socket.get(), kBacklog)));
  return socket;
}

bool may_ask(const Fd& peer) {
  ucred who{};
  socklen_t size = sizeof(who);
  return ::getsockopt(peer.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
         (who.uid == ::geteuid() || who.uid == 0);
}

Result<Fd> fill_memfd(std::string_view bytes) {
  Fd memfd(IOMMUFD_TRY(sys::check(::memfd_create("iommufd-user-dump", MFD_CLOEXEC))));
  IOMMUFD_TRY(sys::write_all(memfd.get(), bytes));
  return memfd;
}

}  // namespace

DumpSocket::DumpSocket(Service& service, pid_t front) : service_(service) {
  const std::array<pid_t, kListeners> names{::getpid(), front};
  for (std::size_t i = 0; i < kListeners; ++i) {
    if (Result<Fd> listener = listen_as(names[i])) listeners_[i] = *std::move(listener);
  }
  stop_ = Fd(::eventfd(0, EFD_CLOEXEC));
}

DumpSocket::~DumpSocket() {
  if (!thread_.joinable()) return;
  const u64 one = 1;
  (void)!::write(stop_.get(), &one, sizeof(one));
  thread_.join();
}

void DumpSocket::start() {
  if (!thread_.joinable() && stop_.valid()) thread_ = std::thread([this] { serve(); });
}

void DumpSocket::serve() {
  for (;;) {
    std::array<pollfd, kListeners + 1> fds{
        {{listeners_[0].get(), POLLIN, 0}, {listeners_[1].get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
    if (::poll(fds.data(), fds.size(), -1) < 0) continue;
    if (fds.back().revents != 0) return;
    for (std::size_t i = 0; i < kListeners; ++i) {
      if (fds[i].revents == 0) continue;
      const Fd peer(::accept4(listeners_[i].get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (peer.valid()) answer(peer);
    }
  }
}

void DumpSocket::answer(const Fd& peer) {
  // Who connects and says nothing holds up nobody else for long.
  const timeval patience{1, 0};
  (void)::setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  DumpRequest request;
  const ssize_t n = ::recv(peer.get(), &request, sizeof(request), 0);
  if (n != static_cast<ssize_t>(sizeof(request)) || request.magic != DumpRequest::kMagic) return;
  const auto make = [&]() -> Result<std::string> {
    if (!may_ask(peer)) return Err(Errno::kPerm);
    if (request.protocol != DumpRequest::kProtocol || request.form > std::to_underlying(dump::Form::kFiles))
      return Err(Errno::kOpNotSupp);
    try {
      return pack(IOMMUFD_TRY(service_.dump(static_cast<dump::Form>(request.form))));
    } catch (const std::bad_alloc&) {
      return Err(Errno::kNoMem);
    }
  };
  DumpReply reply;
  const Result<std::string> bytes = make();
  Result<Fd> memfd = bytes ? fill_memfd(*bytes) : Err(bytes.error());
  if (memfd) {
    reply.bytes = bytes->size();
  } else {
    reply.error = static_cast<u32>(memfd.error());
  }
  (void)send_packet(peer, reply, memfd ? memfd->get() : -1, SendMode::kDontWait);
}

}  // namespace iommufd::run
