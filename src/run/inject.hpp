// SPDX-License-Identifier: BSD-3-Clause
// Injection: system calls made in the notified thread of a client, for what only the client itself can do.
//
// A thread that waits for the answer of its call cannot do anything else. So the call is answered, and ptrace holds the
// thread on its way back, before it sees the answer; there it makes other calls at our command, and at the end gets the
// answer that we have by then. To the client all of it is its one call.
//
// Rules: x86-64 code only; not a thread that is traced already (gdb, strace, valgrind), nor one that may not be traced (not
// dumpable; ptrace refused). stop() then fails and the notification is as it was: every user has a way without.
//
// One thread of ours does all of it: ptrace belongs to threads.
#pragma once

#include <sys/types.h>

#include <array>
#include <memory>

#include "base/result.hpp"
#include "base/types.hpp"
#include "run/held_thread.hpp"
#include "run/listener.hpp"

namespace iommufd::run {

class StoppedCaller {
 public:
  // Gives the thread a descriptor of ours, answers the notification (with nothing that the client will see) and holds it.
  // Errors, with the notification as it was: kPerm (traced already, or not allowed), kOpNotSupp (no system call instruction
  // where the call came from). kSrch: it died.
  static Result<std::unique_ptr<StoppedCaller>> stop(const Listener& listener, const Notification& notification,
                                                     int descriptor);
  // Lets it go with EINTR when resume() was not called.
  ~StoppedCaller();
  StoppedCaller(const StoppedCaller&) = delete;
  StoppedCaller& operator=(const StoppedCaller&) = delete;

  // The number that the descriptor has in the client until resume(). Errors: kMFile and others of dup2.
  [[nodiscard]] Result<int> descriptor() const { return descriptor_; }

  // One system call. Errors: that of the call; kSrch when the thread died in it.
  Result<u64> call(long number, std::array<u64, 6> arguments);
  // An address in the thread's memory where `size` (at most 1 KiB) bytes may be put for a call: below its stack.
  [[nodiscard]] u64 scratch(u64 size) const { return thread_.scratch(size); }
  [[nodiscard]] bool alive() const { return thread_.alive(); }

  // Ends the hold: the client's call returns `result`.
  void resume(s64 result);

 private:
  explicit StoppedCaller(pid_t tid) : thread_(tid) {}

  HeldThread thread_;
  Result<int> descriptor_ = Err(Errno::kBadf);
  bool resumed_ = false;
};

}  // namespace iommufd::run
