// SPDX-License-Identifier: BSD-3-Clause
#include "run/held_thread.hpp"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <algorithm>
#include <bit>
#include <initializer_list>

#include "base/sys.hpp"

namespace iommufd::run {
namespace {

constexpr u64 kRedZone = 128;  // below the stack pointer, still the client's (System V ABI)
constexpr u64 kScratch = 1024;
constexpr s64 kMaxErrno = 4095;

// The kernel's signal sets are 64 bits.
constexpr u64 all_but(std::initializer_list<int> signals) {
  u64 set = ~u64{0};
  for (const int signal : signals) set &= ~(u64{1} << (signal - 1));
  return set;
}
// What a system call or an instruction may raise itself stays open: to force a blocked signal would change its action.
constexpr u64 kInCall = all_but({SIGTRAP});
constexpr u64 kInStep = all_but({SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGILL});

}  // namespace

Result<void> trace(int request, pid_t tid, u64 address, u64 data) {
  return sys::ok(
      ::ptrace(static_cast<__ptrace_request>(request), tid, std::bit_cast<void*>(address), std::bit_cast<void*>(data)));
}

Result<Stop> wait_stop(pid_t tid) {
  siginfo_t info{};
  int rc = 0;
  do {
    info = {};
    rc = ::waitid(P_PID, static_cast<id_t>(tid), &info, WSTOPPED | WEXITED | WNOWAIT | __WALL);
  } while (rc != 0 && errno == EINTR);
  if (rc != 0 || info.si_code == CLD_EXITED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED)
    return Err(Errno::kSrch);
  const Stop stop{info.si_status & 0xff, info.si_status >> 8};
  (void)::waitid(P_PID, static_cast<id_t>(tid), &info, WSTOPPED | WNOHANG | __WALL);
  return stop;
}

Result<void> HeldThread::died() {
  dead_ = true;
  return Err(Errno::kSrch);
}

Result<void> HeldThread::take_over() {
  Result<void> done = trace(PTRACE_GETREGS, tid_, 0, trace_data(&registers_));
  if (done) done = trace(PTRACE_GETSIGMASK, tid_, sizeof(mask_), trace_data(&mask_));
  if (done) done = trace(PTRACE_SETSIGMASK, tid_, sizeof(kInCall), trace_data(&kInCall));
  return done ? done : died();
}

// SIGSTOP cannot be blocked: it takes its course, and whoever lets the thread go looks after the stop of the group that follows.
Result<void> HeldThread::run_to_syscall_stop() {
  for (int signal = 0;;) {
    if (!trace(PTRACE_SYSCALL, tid_, 0, static_cast<u64>(signal))) return died();
    const Result<Stop> stop = wait_stop(tid_);
    if (!stop) return died();
    if (stop->signal == kSyscallStop) return {};
    signal = stop->delivers();
  }
}

Result<u64> HeldThread::call(u64 at, long number, std::array<u64, 6> arguments) {
  if (dead_) return Err(Errno::kSrch);
  user_regs_struct registers = registers_;
  registers.rip = at;
  registers.orig_rax = ~u64{0};  // not on the way out of a call that could be restarted
  registers.rax = static_cast<u64>(number);
  registers.rdi = arguments[0];
  registers.rsi = arguments[1];
  registers.rdx = arguments[2];
  registers.r10 = arguments[3];
  registers.r8 = arguments[4];
  registers.r9 = arguments[5];
  IOMMUFD_TRY(trace(PTRACE_SETREGS, tid_, 0, trace_data(&registers)));
  IOMMUFD_TRY(run_to_syscall_stop());  // into the call
  IOMMUFD_TRY(run_to_syscall_stop());  // and out of it
  IOMMUFD_TRY(trace(PTRACE_GETREGS, tid_, 0, trace_data(&registers)));
  const auto result = static_cast<s64>(registers.rax);
  if (result < 0 && result >= -kMaxErrno) return Err(static_cast<Errno>(-result));
  return registers.rax;
}

Result<Stop> HeldThread::step() {
  (void)trace(PTRACE_SETREGS, tid_, 0, trace_data(&registers_));
  (void)trace(PTRACE_SETSIGMASK, tid_, sizeof(kInStep), trace_data(&kInStep));
  for (int signal = 0;;) {
    Result<Stop> stop = Err(Errno::kSrch);
    if (trace(PTRACE_SINGLESTEP, tid_, 0, static_cast<u64>(signal))) stop = wait_stop(tid_);
    if (!stop) {
      (void)died();
      return stop;
    }
    signal = stop->delivers();
    if (signal == 0 || signal == SIGSTOP) continue;
    if (!trace(PTRACE_GETREGS, tid_, 0, trace_data(&registers_))) (void)died();
    return stop;
  }
}

Result<void> HeldThread::deliver(int signal) {
  give_back();
  for (;;) {
    if (!trace(PTRACE_SINGLESTEP, tid_, 0, static_cast<u64>(signal))) return died();
    const Result<Stop> stop = wait_stop(tid_);
    if (!stop) return died();
    if (stop->signal == SIGTRAP && stop->event == 0) return take_over();
    signal = stop->delivers();
  }
}

void HeldThread::give_back() {
  if (dead_) return;
  (void)trace(PTRACE_SETREGS, tid_, 0, trace_data(&registers_));
  (void)trace(PTRACE_SETSIGMASK, tid_, sizeof(mask_), trace_data(&mask_));
}

u64 HeldThread::scratch(u64 size) const { return align_down(registers_.rsp - kRedZone - std::min(size, kScratch), 64); }

}  // namespace iommufd::run
