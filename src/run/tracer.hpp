// SPDX-License-Identifier: BSD-3-Clause
// The thread of the server that traces clients, from the first one that asks for it on, and sees their faults before they do.
//
// All else passes as if nobody traced: signals are delivered, stops of the group stop, new threads and children of fork and
// vfork are traced from their first instruction on, exit is exit. An exec ends it: a new program has nothing that would
// have to be seen. A process that is traced by somebody else (gdb, strace, valgrind), or may not be traced (not dumpable), is left alone.
//
// ptrace belongs to threads, so whatever is done to a traced process is done by this one thread. It waits in waitpid(), and is
// woken from there by a signal (kWake), repeated until it has noticed. What a StoppedCaller holds is traced by another thread of
// ours for a while: to trace its process waits for that.
//
// Ends and stops of the server's own children are the main thread's to know. Of a traced child only this thread sees the stops, and whoever
// waits first the end; so what this thread sees is kept for take_events(), and the main thread is told by SIGCHLD.
//
// Lock: mu_ (kLeaf) guards the queue and the events; not held while anything else is called.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/result.hpp"
#include "base/sync.hpp"
#include "run/held_thread.hpp"
#include "run/vma.hpp"

namespace iommufd::run {

class Tracer {
 public:
  static constexpr int kWake = SIGUSR2;
  // How long a process may be busy with calls that we make in it.
  static constexpr std::chrono::milliseconds kPatience{1000};

  // A traced thread, on the tracer's thread.
  struct Thread {
    const pid_t tid;
    // Of its memory; asked for each time. Null: it is gone.
    const std::function<const VmaReader*()> memory;
  };
  // A thread stands before the delivery of SIGSEGV. kSeen: it goes on without.
  enum class Fault : u8 { kSeen, kClients };
  using OnFault = std::function<Fault(const Thread&)>;

  Tracer(HostFeatures host, OnFault on_fault) : host_(host), on_fault_(std::move(on_fault)) {}
  // Pre: no client runs.
  ~Tracer();
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  // Traces all threads of process `tgid`, then brings `tid`, which waits for the answer of a call, to a stop behind that call:
  // `answer` lets the call go on, `use` is given the stopped thread. Both on the tracer's thread. Errors, and `answer` is
  // not called: kPerm (it cannot be traced), kAgain (the tracer could not be started).
  Result<void> hold_behind_call(pid_t tgid, pid_t tid, const std::function<void()>& answer,
                                const std::function<void(HeldThread&)>& use) IOMMUFD_EXCLUDES(mu_);

  // The thread runs: from here on the kernel tells nobody of stops (by SIGCHLD), of which tracing makes many.
  [[nodiscard]] bool started() const { return started_.load(std::memory_order_acquire); }

  // What waitpid() would have told of children that are traced: in the order of time.
  struct ChildEvent {
    pid_t pid;
    int status;
  };
  std::vector<ChildEvent> take_events() IOMMUFD_EXCLUDES(mu_);

 private:
  struct Job {
    const std::function<Result<void>()>* run;
    std::optional<Result<void>> result;
  };
  // Nothing: nobody can be waited for, and nothing was asked for.
  enum class Next : u8 { kAgain, kEnd };

  void run();
  Next rest();
  void run_jobs();
  Result<void> do_on_thread(const std::function<Result<void>()>& what) IOMMUFD_EXCLUDES(mu_);
  Result<void> trace_all(pid_t tgid);
  Result<bool> trace_new(pid_t tgid);
  bool take_one(int more_options);
  void handle(pid_t tid, int status);
  void handle_stop(pid_t tid, Stop stop, int status);
  void report(pid_t pid, int status);
  const VmaReader* memory_of(pid_t tid);

  const HostFeatures host_;
  const OnFault on_fault_;
  // Of the tracer's thread alone: what it traces, and the memory of each once it was asked for.
  std::unordered_map<pid_t, std::optional<VmaReader>> traced_;
  std::atomic<bool> started_{false};
  Mutex mu_{LockRank::kLeaf};
  CondVar changed_;  // a job is there or done, or the end
  std::deque<Job*> jobs_ IOMMUFD_GUARDED_BY(mu_);
  std::vector<ChildEvent> events_ IOMMUFD_GUARDED_BY(mu_);
  bool ending_ IOMMUFD_GUARDED_BY(mu_) = false;
  std::optional<std::thread> thread_ IOMMUFD_GUARDED_BY(mu_);
};

}  // namespace iommufd::run
