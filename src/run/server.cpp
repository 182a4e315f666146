// SPDX-License-Identifier: BSD-3-Clause
#include "run/server.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "base/sys.hpp"
#include "mem/guarded_copy.hpp"
#include "run/control.hpp"
#include "run/dispatcher.hpp"
#include "run/dump_socket.hpp"
#include "run/message.hpp"
#include "run/program.hpp"
#include "run/receivers.hpp"
#include "run/store_traps.hpp"

namespace iommufd::run {
namespace {

using Kind = ControlMessage::Kind;
constexpr std::chrono::milliseconds kStopTick{100};

// The terminal's business is the client's and the front's: the server leaves their session, and holds neither their
// standard input and output nor their working directory.
void detach() {
  (void)::setsid();
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null.valid()) {
    (void)::dup2(null.get(), STDIN_FILENO);
    (void)::dup2(null.get(), STDOUT_FILENO);
  }
  (void)!::chdir("/");
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &files);
  }
}

Result<Fd> take_signals() {
  for (const int ignored : {SIGPIPE, SIGHUP, SIGINT, SIGTSTP, SIGTTIN, SIGTTOU}) (void)::signal(ignored, SIG_IGN);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  IOMMUFD_TRY(sys::ok(::sigprocmask(SIG_SETMASK, &child, nullptr)));
  return Fd(IOMMUFD_TRY(sys::check(::signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK))));
}

// A refusal of the client's start, in words. Returns the exit code of run.
int explain_start_failure(const ControlMessage& m, const std::string& name) {
  switch (m.kind) {
    case Kind::kNoExec:
      message(fmt::format("{}: {}", name, std::strerror(m.value)));
      return m.value == ENOENT ? kExitNotFound : kExitCannotExecute;
    case Kind::kNoFilter:
      if (m.value == EBUSY) {
        message("a listener for system calls is installed already: `run` inside `run` does not work");
      } else {
        message(fmt::format("cannot install the system call filter: {} (Linux 6.1 or newer is needed)",
                            std::strerror(m.value)));
      }
      return kExitRunFailed;
    case Kind::kNoView:
      message(fmt::format("cannot enter the mount view: {} (try --paths=intercept)", std::strerror(m.value)));
      return kExitRunFailed;
    default: message("the client did not start"); return kExitRunFailed;
  }
}

class Server {
 public:
  Server(const Options& options, Fd front) : options_(options), front_(std::move(front)) {}

  int run(const MakeService& make_service, const sigset_t& client_mask);

 private:
  Result<void> start_client(const sigset_t& client_mask);
  Result<void> serve_client();
  void loop(Receivers& receivers, FileTable& files, StoreTraps& stores, DumpSocket& dumps);
  void reap(FileTable& files, StoreTraps& stores);
  void child_event(pid_t pid, int status, FileTable& files);
  void client_ended(int status, FileTable& files);
  void from_front();
  void from_client();
  void tell_front(Kind kind, int value) { (void)send_control(front_, {kind, value, {}}); }
  [[nodiscard]] bool client_running() const { return client_ > 0; }

  const Options& options_;
  const pid_t front_pid_ = ::getppid();
  Fd front_;
  Fd client_socket_;
  Fd signals_;
  std::unique_ptr<PathView> view_;
  std::unique_ptr<Service> service_;  // tells the view of changes
  pid_t client_ = -1;                 // until it is reaped
  int start_failure_ = 0;             // exit code of run when PROGRAM did not start
  // Nobody is left: every filtered process is below us, and who loses its parent becomes our child. (To wait for the end of
  // the listener instead would have the kernel look at this waiter for each call.)
  bool childless_ = false;
  bool reap_again_ = false;
};

int Server::run(const MakeService& make_service, const sigset_t& client_mask) {
  (void)::prctl(PR_SET_CHILD_SUBREAPER, 1);
  (void)
      mem::enable_guarded_copies();  // before there are threads; without it shared memory is read and written as a file
  Result<std::unique_ptr<Service>> service = make_service();
  if (!service) {
    tell_front(Kind::kFailed, kExitRunFailed);
    return 0;
  }
  service_ = std::move(*service);
  Result<void> done = start_client(client_mask);
  if (done) done = serve_client();
  if (!done) {
    message(fmt::format("cannot run: {}", errno_name(done.error())));
    if (client_running()) (void)::kill(client_, SIGKILL);
    tell_front(Kind::kFailed, kExitRunFailed);
  }
  return 0;
}

Result<void> Server::start_client(const sigset_t& client_mask) {
  Result<std::unique_ptr<PathView>> view = PathView::create(service_->tree().now(), options_.paths);
  if (!view) {
    if (!PathView::mount_refusal().empty()) message(fmt::format("--paths=mount: {}", PathView::mount_refusal()));
    return Err(view.error());
  }
  view_ = std::move(*view);
  service_->tree().set_follower([this](const LiveTree::Snapshot& next) { view_->follow(next); });
  ControlMessage leftover{Kind::kLeftover, 0, {}};
  if (const std::string& directory = view_->leftover(); directory.size() < leftover.text.size()) {
    std::ranges::copy(directory, leftover.text.begin());
    (void)send_control(front_, leftover);
  }
  ControlPair sockets = IOMMUFD_TRY(ControlPair::create());
  const Program program = Program::find(options_, client_mask);
  const pid_t self = ::getpid();
  client_ = IOMMUFD_TRY(sys::check(::fork()));
  if (client_ == 0) become(program, *view_, sockets.second, self);
  client_socket_ = std::move(sockets.first);
  detach();
  signals_ = IOMMUFD_TRY(take_signals());
  return {};
}

Result<void> Server::serve_client() {
  std::optional<ReceivedControl> hello = receive_control(client_socket_);
  if (!hello || hello->message.kind != Kind::kListener) {
    const int code = explain_start_failure(hello ? hello->message : ControlMessage{}, options_.argv.front());
    tell_front(Kind::kFailed, code);
    return {};
  }
  Listener listener(std::move(hello->fd));
  (void)listener.set_sync_wake_up();

  struct stat user_namespace{};
  (void)::stat(fmt::format("/proc/{}/ns/user", client_).c_str(), &user_namespace);
  std::unique_ptr<FileTable> files = IOMMUFD_TRY(FileTable::create());
  std::unique_ptr<HugePool> huge;
  if (options_.hugetlb.kind == HugetlbPolicy::Kind::kEmulate)
    huge = IOMMUFD_TRY(HugePool::create(options_.hugetlb.bytes));
  const KnownFiles known{[&files](dev_t device, ino_t inode) { return static_cast<bool>(files->find(device, inode)); },
                         huge.get()};
  ProcessTable processes(options_.memlock, options_.host, known);
  CallsInFlight calls(listener);
  StoreTraps stores(*files, options_.host);
  Ref<FilePins> file_pins;
  if (options_.pin == PinPolicy::kFrames) file_pins = make_ref<FilePins>(service_->pin_keeper(), options_.frames_end);
  const Runtime runtime{options_,
                        *service_,
                        *view_,
                        listener,
                        calls,
                        processes,
                        *files,
                        stores,
                        huge.get(),
                        file_pins,
                        user_namespace.st_ino};
  Dispatcher dispatcher(runtime);
  std::unique_ptr<Receivers> receivers =
      IOMMUFD_TRY(Receivers::create(listener, [&](const Notification& n) { return dispatcher.handle(n); }));
  service_->start();
  receivers->start();
  DumpSocket dumps(*service_, front_pid_);
  loop(*receivers, *files, stores, dumps);
  files->drain();  // a call of ours may wait for what the last process had open
  // A thread that is still in a call (of a process that is gone) uses all of this: leave it as it is then.
  if (!receivers->stop()) {
    view_.reset();
    ::_exit(0);
  }
  files->release_all();
  return {};
}

void Server::loop(Receivers& receivers, FileTable& files, StoreTraps& stores, DumpSocket& dumps) {
  bool looking = false, lingering = false;
  while (!childless_) {
    std::array<pollfd, 7> fds{{{front_.get(), POLLIN, 0},
                               {client_socket_.get(), POLLIN, 0},
                               {signals_.get(), POLLIN, 0},
                               {files.wait_fd(), POLLIN, 0},
                               {receivers.wake_fd(), POLLIN, 0},
                               {dumps.wait_fd(0), POLLIN, 0},
                               {dumps.wait_fd(1), POLLIN, 0}}};
    // Nobody tells of a stop while clients are traced.
    const auto tick = looking || reap_again_ ? Receivers::kTick : kStopTick;
    const bool timed = looking || reap_again_ || stores.tracing();
    if (::poll(fds.data(), fds.size(), timed ? static_cast<int>(tick.count()) : -1) < 0) continue;
    if (fds[1].revents != 0) from_client();
    if (fds[2].revents != 0 || timed) reap(files, stores);
    if (fds[0].revents != 0) from_front();
    if (fds[3].revents != 0) files.drain();
    if (fds[5].revents != 0 || fds[6].revents != 0) dumps.start();
    if (looking || fds[4].revents != 0) looking = receivers.look();
    if (!client_running() && !childless_ && !lingering) {
      // Processes that PROGRAM left behind go on; who waits for the end of our stderr must not wait for them.
      lingering = true;
      const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
      if (null.valid()) (void)::dup2(null.get(), STDERR_FILENO);
    }
  }
}

void Server::from_front() {
  const std::optional<ReceivedControl> m = receive_control(front_);
  if (!m) {
    // The front is gone. It ends before PROGRAM only when it was killed, and takes PROGRAM along.
    front_.reset();
    if (client_running()) (void)::kill(client_, SIGKILL);
    return;
  }
  if (m->message.kind == Kind::kSignal && client_running()) (void)::kill(client_, m->message.value);
}

void Server::from_client() {
  const std::optional<ReceivedControl> m = receive_control(client_socket_);
  client_socket_.reset();
  // The end of the stream is good news: an exec closed it.
  if (m) start_failure_ = explain_start_failure(m->message, options_.argv.front());
}

// Takes what our children did, and the ends of those that a thread of ours traces. Their stops are that thread's, and hide what is
// behind them for a moment.
void Server::reap(FileTable& files, StoreTraps& stores) {
  signalfd_siginfo signal{};
  while (::read(signals_.get(), &signal, sizeof(signal)) == static_cast<ssize_t>(sizeof(signal))) {
  }
  reap_again_ = false;
  // What was taken by the tracer is of before.
  for (const Tracer::ChildEvent& event : stores.take_child_events()) child_event(event.pid, event.status, files);
  for (;;) {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WNOWAIT | WNOHANG) != 0) {
      childless_ = errno == ECHILD && !client_running();  // otherwise the tracer has its end, and tells in a moment
      break;
    }
    if (info.si_pid == 0) break;
    if (info.si_code == CLD_TRAPPED) {
      reap_again_ = true;
      break;
    }
    int status = 0;
    if (::waitpid(info.si_pid, &status, WUNTRACED | WNOHANG | __WALL) > 0) child_event(info.si_pid, status, files);
  }
}

void Server::child_event(pid_t pid, int status, FileTable& files) {
  if (pid != client_) return;
  if (WIFSTOPPED(status)) {
    tell_front(Kind::kStopped, WSTOPSIG(status));
  } else {
    client_ended(status, files);
  }
}

void Server::client_ended(int status, FileTable& files) {
  client_ = -1;
  if (client_socket_.valid()) from_client();
  files.drain();  // what PROGRAM left open is closed, and reported on, before its end is known
  service_->program_ended();
  if (start_failure_ != 0) {
    tell_front(Kind::kFailed, start_failure_);
  } else if (WIFSIGNALED(status)) {
    tell_front(Kind::kSignaled, WTERMSIG(status));
  } else {
    tell_front(Kind::kExited, WEXITSTATUS(status));
  }
}

}  // namespace

int serve(const Options& options, const MakeService& make_service, Fd front, const sigset_t& client_mask) {
  return Server(options, std::move(front)).run(make_service, client_mask);
}

}  // namespace iommufd::run
