// SPDX-License-Identifier: BSD-3-Clause
#include "run/inject.hpp"

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <bit>

#include "base/sys.hpp"
#include "run/remote_copy.hpp"

namespace iommufd::run {
namespace {

constexpr std::array kSyscallInstruction{std::byte{0x0f}, std::byte{0x05}};
constexpr u64 kRedZone = 128;  // below the stack pointer, still the client's (System V ABI)
constexpr u64 kScratch = 1024;
constexpr int kSyscallStop = SIGTRAP | 0x80;  // PTRACE_O_TRACESYSGOOD

Mutex g_child_events{LockRank::kLeaf};

// The kernel's signal sets are 64 bits. SIGTRAP stays open: to force a blocked one would change its action.
constexpr u64 kAllButTrap = ~(u64{1} << (SIGTRAP - 1));

Result<void> trace(int request, pid_t tid, u64 address, u64 data) {
  return sys::ok(
      ::ptrace(static_cast<__ptrace_request>(request), tid, std::bit_cast<void*>(address), std::bit_cast<void*>(data)));
}

u64 pointer(const void* p) { return std::bit_cast<u64>(p); }

}  // namespace

Mutex& child_events() { return g_child_events; }

Result<std::unique_ptr<StoppedCaller>> StoppedCaller::stop(const Listener& listener, const Notification& notification,
                                                           int descriptor) {
  const auto tid = static_cast<pid_t>(notification.pid);
  std::array<std::byte, 2> instruction{};
  const u64 at = notification.data.instruction_pointer - instruction.size();
  const Result<std::size_t> n = remote_read(tid, at, instruction);
  if (!n || *n != instruction.size() || instruction != kSyscallInstruction) return Err(Errno::kOpNotSupp);

  if (!trace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD)) return Err(Errno::kPerm);
  // From here on the thread is ours, and must come to a stop before it can be let go. The interruption takes effect when the
  // answer is there.
  std::unique_ptr<StoppedCaller> stopped(new StoppedCaller(tid));
  if (!trace(PTRACE_INTERRUPT, tid, 0, 0)) stopped->dead_ = true;
  stopped->descriptor_ = listener.install_descriptor(notification.id, descriptor, -1, CloseOnExec::kYes);
  {
    const MutexLock lock(child_events());
    listener.answer(notification.id, Answer::of(0));
    IOMMUFD_TRY(stopped->wait_stop());
  }
  IOMMUFD_TRY(stopped->take_over());
  return stopped;
}

Result<void> StoppedCaller::take_over() {
  Result<void> done = trace(PTRACE_GETREGS, tid_, 0, pointer(&regs_));
  if (done) done = trace(PTRACE_GETSIGMASK, tid_, sizeof(mask_), pointer(&mask_));
  const u64 none = kAllButTrap;
  if (done) done = trace(PTRACE_SETSIGMASK, tid_, sizeof(none), pointer(&none));
  if (!done) dead_ = true;
  return done;
}

StoppedCaller::~StoppedCaller() {
  if (!resumed_) resume(-static_cast<s64>(Errno::kIntr));
}

// Looks at the next event of the thread, and takes it unless it is the end: that belongs to the main thread.
Result<void> StoppedCaller::wait_stop() {
  siginfo_t info{};
  int rc = 0;
  do {
    info = {};
    rc = ::waitid(P_PID, static_cast<id_t>(tid_), &info, WSTOPPED | WEXITED | WNOWAIT | __WALL);
  } while (rc != 0 && errno == EINTR);
  if (rc != 0 || info.si_code == CLD_EXITED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED) {
    dead_ = true;
    return Err(Errno::kSrch);
  }
  last_status_ = info.si_status;
  (void)::waitid(P_PID, static_cast<id_t>(tid_), &info, WSTOPPED | WNOHANG | __WALL);
  return {};
}

Result<void> StoppedCaller::to_syscall_stop() {
  const MutexLock lock(child_events());
  u64 signal = 0;
  do {
    if (!trace(PTRACE_SYSCALL, tid_, 0, signal)) {
      dead_ = true;
      return Err(Errno::kSrch);
    }
    IOMMUFD_TRY(wait_stop());
    // SIGSTOP cannot be blocked: it takes its course, and the stop of the group that follows waits for our end.
    const bool is_event = last_status_ >> 8 != 0;
    signal = is_event || last_status_ == kSyscallStop ? 0 : static_cast<u64>(last_status_);
  } while (last_status_ != kSyscallStop);
  return {};
}

Result<u64> StoppedCaller::call(long number, std::array<u64, 6> arguments) {
  if (dead_) return Err(Errno::kSrch);
  user_regs_struct regs = regs_;
  regs.rip -= kSyscallInstruction.size();
  regs.orig_rax = ~u64{0};  // not on the way out of a call that could be restarted
  regs.rax = static_cast<u64>(number);
  regs.rdi = arguments[0];
  regs.rsi = arguments[1];
  regs.rdx = arguments[2];
  regs.r10 = arguments[3];
  regs.r8 = arguments[4];
  regs.r9 = arguments[5];
  IOMMUFD_TRY(trace(PTRACE_SETREGS, tid_, 0, pointer(&regs)));
  IOMMUFD_TRY(to_syscall_stop());  // into the call
  IOMMUFD_TRY(to_syscall_stop());  // and out of it
  IOMMUFD_TRY(trace(PTRACE_GETREGS, tid_, 0, pointer(&regs)));
  constexpr s64 kMaxErrno = 4095;
  const auto result = static_cast<s64>(regs.rax);
  if (result < 0 && result >= -kMaxErrno) return Err(static_cast<Errno>(-result));
  return regs.rax;
}

u64 StoppedCaller::scratch(u64 size) const { return align_down(regs_.rsp - kRedZone - std::min(size, kScratch), 64); }

void StoppedCaller::resume(s64 result) {
  resumed_ = true;
  if (descriptor_) (void)call(SYS_close, {static_cast<u64>(*descriptor_), 0, 0, 0, 0, 0});
  if (dead_) return;
  user_regs_struct regs = regs_;
  regs.rax = static_cast<u64>(result);
  regs.orig_rax = ~u64{0};
  (void)trace(PTRACE_SETREGS, tid_, 0, pointer(&regs));
  (void)trace(PTRACE_SETSIGMASK, tid_, sizeof(mask_), pointer(&mask_));
  (void)trace(PTRACE_DETACH, tid_, 0, 0);
}

}  // namespace iommufd::run
