// SPDX-License-Identifier: BSD-3-Clause
// A traced thread of a client that stands in a stop of ptrace, and what it is made to do there: system calls of our choice, and
// single instructions of its own. Used by the thread of ours that traces it, and by no other.
#pragma once

#include <sys/types.h>
#include <sys/user.h>

#include <array>

#include "base/result.hpp"
#include "base/types.hpp"

namespace iommufd::run {

// One request of ptrace. Errors: kSrch (it died, or is in no stop), kPerm and others.
Result<void> trace(int request, pid_t tid, u64 address, u64 data);
inline u64 trace_data(const void* p) { return reinterpret_cast<u64>(p); }

inline constexpr int kSyscallStop = 0x85;  // SIGTRAP with PTRACE_O_TRACESYSGOOD

struct Stop {
  int signal = 0;  // or kSyscallStop
  int event = 0;   // PTRACE_EVENT_*; 0: none
  // Of a signal that waits to be delivered; 0: of something else.
  [[nodiscard]] int delivers() const { return event != 0 || signal == kSyscallStop ? 0 : signal; }
};

// Waits for the next stop of one thread. Errors: kSrch: it has ended, which is left for the wait of its parent to see.
Result<Stop> wait_stop(pid_t tid);

class HeldThread {
 public:
  explicit HeldThread(pid_t tid) : tid_(tid) {}
  HeldThread(const HeldThread&) = delete;
  HeldThread& operator=(const HeldThread&) = delete;

  // Pre: it is in a stop. Takes note of its registers and signal mask; from here on its signals wait. Errors: kSrch.
  Result<void> take_over();
  // The registers to go on with.
  [[nodiscard]] user_regs_struct& registers() { return registers_; }

  // One system call, by the instruction at `at`. Errors: that of the call; kSrch: the thread died in it.
  Result<u64> call(u64 at, long number, std::array<u64, 6> arguments);
  // One instruction with registers() and the client's own memory, after which registers() is new. The stop is SIGTRAP's, or that
  // of a fault of the instruction. Errors: kSrch.
  Result<Stop> step();
  // Begins to deliver the fault that step() met: it is in its handler, taken over again, or has died (kSrch).
  Result<void> deliver(int signal);
  // Registers and mask as they are to be. It is still in the stop.
  void give_back();

  [[nodiscard]] pid_t tid() const { return tid_; }
  [[nodiscard]] bool alive() const { return !dead_; }
  // An address in its memory where `size` (at most 1 KiB) bytes may be put for a call: below its stack.
  [[nodiscard]] u64 scratch(u64 size) const;

 private:
  Result<void> run_to_syscall_stop();
  Result<void> died();

  const pid_t tid_;
  user_regs_struct registers_{};
  u64 mask_ = 0;
  bool dead_ = false;
};

}  // namespace iommufd::run
