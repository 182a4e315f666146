// SPDX-License-Identifier: BSD-3-Clause
// The front process. It forwards what is sent to it alone; what the terminal sends to the foreground group reaches the
// client by itself. It stops when PROGRAM stops, so that a shell's job control works, and ends as PROGRAM ends.
#include "run/run.hpp"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <thread>

#include "base/sys.hpp"
#include "run/control.hpp"
#include "run/message.hpp"
#include "run/server.hpp"

namespace iommufd::run {
namespace {

using Kind = ControlMessage::Kind;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

int die_by(int signal) {
  const rlimit no_core{};
  (void)::setrlimit(RLIMIT_CORE, &no_core);  // the core is the program's, if there is one
  (void)::signal(signal, SIG_DFL);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal);
  (void)::kill(::getpid(), signal);
  (void)::sigprocmask(SIG_UNBLOCK, &one, nullptr);
  return 128 + signal;
}

enum class ServerEnd : u8 { kUnawaited, kAwaited };

class Front {
 public:
  Front(Fd server, Fd signals, pid_t server_pid, ServerEnd end)
      : server_(std::move(server)), signals_(std::move(signals)), server_pid_(server_pid), server_end_(end) {}

  int run() {
    for (;;) {
      std::array<pollfd, 2> fds{{{server_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}}};
      if (::poll(fds.data(), fds.size(), -1) < 0) continue;
      if (fds[1].revents != 0) relay();
      if (fds[0].revents == 0) continue;
      const std::optional<ReceivedControl> m = receive_control(server_);
      if (!m) return server_died();
      if (const std::optional<int> code = follow(m->message)) return *code;
    }
  }

 private:
  void relay() {
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof(info)) != static_cast<ssize_t>(sizeof(info))) return;
    const int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGCHLD || info.ssi_code == SI_KERNEL) return;
    (void)send_control(server_, {Kind::kSignal, signal, {}});
  }

  // The exit code when it was the last message.
  std::optional<int> follow(const ControlMessage& m) {
    switch (m.kind) {
      case Kind::kExited:
      case Kind::kFailed: return await_server(m.value);
      case Kind::kSignaled: {
        const int code = await_server(0);
        return code != 0 ? code : die_by(m.value);
      }
      case Kind::kStopped: (void)::kill(::getpid(), SIGSTOP); return {};
      case Kind::kLeftover: leftover_ = m.text.data(); return {};
      default: return {};
    }
  }

  // The server outlives us when PROGRAM left processes behind. Where its end matters to others we wait a while for it: it gives real
  // functions back, and a build with sanitizers makes what they found in it our failure.
  int await_server(int code) const {
    if (!kSanitized && server_end_ == ServerEnd::kUnawaited) return code;
    for (int i = 0; i < 2000; ++i) {
      int status = 0;
      if (::waitpid(server_pid_, &status, WNOHANG) == server_pid_)
        return kSanitized && status != 0 ? kExitRunFailed : code;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return code;
  }

  int server_died() const {
    int status = 0;
    (void)::waitpid(server_pid_, &status, 0);
    if (!leftover_.empty()) PathView::remove_leftover(leftover_);
    message("the server ended before the program, which was killed: please report this");
    return kExitRunFailed;
  }

  const Fd server_;
  const Fd signals_;
  const pid_t server_pid_;
  const ServerEnd server_end_;
  std::string leftover_;
};

}  // namespace

int run(const Options& options, const MakeService& make_service) {
  sigset_t all, before;
  sigfillset(&all);
  for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) sigdelset(&all, own);
  (void)::sigprocmask(SIG_SETMASK, &all, &before);
  Result<ControlPair> sockets = ControlPair::create();
  Result<int> signals = sys::check(::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
  const Result<pid_t> server = sockets && signals ? sys::check(::fork()) : Err(Errno::kMFile);
  if (!server) {
    message("cannot start the server process");
    return kExitRunFailed;
  }
  if (*server == 0) {
    sockets->first.reset();
    (void)::close(*signals);
    const int code = serve(options, make_service, std::move(sockets->second), before);
    if (kSanitized) std::exit(code);
    ::_exit(code);
  }
  sockets->second.reset();
  const ServerEnd end = options.pin == PinPolicy::kFrames ? ServerEnd::kAwaited : ServerEnd::kUnawaited;
  const int code = Front(std::move(sockets->first), Fd(*signals), *server, end).run();
  if (!kSanitized) ::_exit(code);  // there is nothing to destroy that the end of the process does not
  return code;
}

}  // namespace iommufd::run
