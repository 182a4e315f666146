// SPDX-License-Identifier: BSD-3-Clause
#include "run/tracer.hpp"

#include <fmt/format.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <string>
#include <system_error>

#include "base/sys.hpp"
#include "run/proc_status.hpp"

namespace iommufd::run {
namespace {

constexpr u64 kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                         PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
constexpr std::chrono::milliseconds kWakeAgain{1};
constexpr std::chrono::microseconds kBusyPause{200};

bool stops_group(int signal) {
  return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

bool has_ended(pid_t tid) {
  const Result<std::string> status = sys::read_file(fmt::format("/proc/{}/status", tid));
  return !status || status->find("\nState:\tZ") != std::string::npos ||
         status->find("\nState:\tX") != std::string::npos;
}

// The thread that traces it; 0: none.
pid_t tracer_of(pid_t tid) { return status_id(tid, "TracerPid").value_or(0); }

bool is_our_thread(pid_t tid) {
  return tid != 0 && ::access(fmt::format("/proc/self/task/{}", tid).c_str(), F_OK) == 0;
}

std::vector<pid_t> threads_of(pid_t tgid) {
  std::vector<pid_t> tids;
  std::error_code error;
  for (std::filesystem::directory_iterator it(fmt::format("/proc/{}/task", tgid), error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    pid_t tid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), tid).ec == std::errc{}) tids.push_back(tid);
  }
  return tids;
}

// kWake ends a wait and does nothing else; SIGCHLD tells of ends alone.
void prepare_signals() {
  struct sigaction action{};
  action.sa_handler = [](int) {};
  (void)::sigaction(Tracer::kWake, &action, nullptr);
  struct sigaction ends{};
  ends.sa_handler = SIG_DFL;
  ends.sa_flags = SA_NOCLDSTOP;
  (void)::sigaction(SIGCHLD, &ends, nullptr);
  sigset_t wake;
  sigemptyset(&wake);
  sigaddset(&wake, Tracer::kWake);
  (void)::pthread_sigmask(SIG_UNBLOCK, &wake, nullptr);
}

}  // namespace

Tracer::~Tracer() {
  MutexLock lock(mu_);
  ending_ = true;
  if (!thread_) return;
  std::thread& thread = *thread_;
  lock.unlock();
  changed_.notify_all();
  thread.join();
}

Result<void> Tracer::hold_behind_call(pid_t tgid, pid_t tid, const std::function<void()>& answer,
                                      const std::function<void(HeldThread&)>& use) {
  return do_on_thread([&]() -> Result<void> {
    IOMMUFD_TRY(trace_all(tgid));
    // The interruption takes effect when the answer is there.
    if (!trace(PTRACE_INTERRUPT, tid, 0, 0)) return Err(Errno::kPerm);
    answer();
    HeldThread held(tid);
    if (!wait_stop(tid) || !held.take_over()) return {};  // it died, which the next wait sees
    use(held);
    held.give_back();
    // What was met meanwhile may have been a stop of the group: another stop tells.
    (void)trace(PTRACE_INTERRUPT, tid, 0, 0);
    (void)trace(PTRACE_CONT, tid, 0, 0);
    return {};
  });
}

std::vector<Tracer::ChildEvent> Tracer::take_events() {
  const MutexLock lock(mu_);
  return std::exchange(events_, {});
}

Result<void> Tracer::do_on_thread(const std::function<Result<void>()>& what) {
  Job job{&what, {}};
  const MutexLock lock(mu_);
  if (!thread_) {
    prepare_signals();
    try {
      thread_.emplace([this] { run(); });
      started_.store(true, std::memory_order_release);
    } catch (const std::system_error&) {
      return Err(Errno::kAgain);
    }
  }
  const pthread_t thread = thread_->native_handle();
  jobs_.push_back(&job);
  while (!job.result) {
    (void)::pthread_kill(thread, kWake);
    changed_.notify_all();
    (void)changed_.wait_for(mu_, kWakeAgain);
  }
  return *job.result;
}

void Tracer::run() {
  for (;;) {
    run_jobs();
    if (!take_one(0) && errno == ECHILD && rest() == Next::kEnd) return;
  }
}

Tracer::Next Tracer::rest() {
  const MutexLock lock(mu_);
  while (jobs_.empty() && !ending_) changed_.wait(mu_);
  return jobs_.empty() ? Next::kEnd : Next::kAgain;
}

void Tracer::run_jobs() {
  for (;;) {
    Job* job = nullptr;
    {
      const MutexLock lock(mu_);
      if (jobs_.empty()) return;
      job = jobs_.front();
      jobs_.pop_front();
    }
    Result<void> result = (*job->run)();
    const MutexLock lock(mu_);
    job->result = std::move(result);
    changed_.notify_all();
  }
}

// A thread that is not traced yet may start another at any time; a traced one has it traced. So all are when a look finds none
// that is new.
Result<void> Tracer::trace_all(pid_t tgid) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (IOMMUFD_TRY(trace_new(tgid))) {
    while (take_one(WNOHANG)) continue;
    if (std::chrono::steady_clock::now() >= until) return Err(Errno::kPerm);
  }
  return {};
}

// One look; false: nothing was left to do.
Result<bool> Tracer::trace_new(pid_t tgid) {
  bool again = false;
  for (const pid_t tid : threads_of(tgid)) {
    if (traced_.contains(tid) && tracer_of(tid) == ::gettid())
      continue;  // otherwise that was an earlier thread, whose end the main thread took
    const Result<void> seized = trace(PTRACE_SEIZE, tid, 0, kOptions);
    if (!seized && has_ended(tid)) continue;
    again = true;
    if (seized) {
      traced_.insert_or_assign(tid, std::nullopt);
    } else if (is_our_thread(tracer_of(tid))) {
      std::this_thread::sleep_for(kBusyPause);  // new, and we hear of it in a moment; or a StoppedCaller has it
    } else {
      return Err(Errno::kPerm);
    }
  }
  return again;
}

// False: there was none, and errno says why.
bool Tracer::take_one(int more_options) {
  int status = 0;
  const pid_t tid = ::waitpid(-1, &status, __WALL | __WNOTHREAD | more_options);
  if (tid <= 0) return false;
  handle(tid, status);
  return true;
}

void Tracer::handle(pid_t tid, int status) {
  if (WIFSTOPPED(status)) return handle_stop(tid, {WSTOPSIG(status), status >> 16}, status & 0xffff);
  traced_.erase(tid);
  report(tid, status);
}

void Tracer::handle_stop(pid_t tid, Stop stop, int status) {
  traced_.try_emplace(tid);
  if (stop.event == PTRACE_EVENT_EXEC) {
    unsigned long former = 0;  // the thread that did it; it goes on with its process's number
    (void)trace(PTRACE_GETEVENTMSG, tid, 0, trace_data(&former));
    traced_.erase(static_cast<pid_t>(former));
    traced_.erase(tid);
    (void)trace(PTRACE_DETACH, tid, 0, 0);
    return;
  }
  if (stop.event == PTRACE_EVENT_STOP && stops_group(stop.signal)) {
    report(tid, status);
    (void)trace(PTRACE_LISTEN, tid, 0, 0);
    return;
  }
  int signal = stop.delivers();
  if (signal == SIGSEGV && on_fault_({tid, [this, tid] { return memory_of(tid); }}) == Fault::kSeen) signal = 0;
  (void)trace(PTRACE_CONT, tid, 0, static_cast<u64>(signal));
}

void Tracer::report(pid_t pid, int status) {
  {
    const MutexLock lock(mu_);
    events_.push_back({pid, status});
  }
  (void)::kill(::getpid(), SIGCHLD);
}

const VmaReader* Tracer::memory_of(pid_t tid) {
  std::optional<VmaReader>& reader = traced_[tid];
  if (!reader) {
    Result<VmaReader> opened = VmaReader::open(tid, host_);
    if (!opened) return nullptr;
    reader.emplace(std::move(*opened));
  }
  return &*reader;
}

}  // namespace iommufd::run
