// SPDX-License-Identifier: BSD-3-Clause
#include "run/inject.hpp"

#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "run/remote_copy.hpp"

namespace iommufd::run {
namespace {

constexpr std::array kSyscallInstruction{std::byte{0x0f}, std::byte{0x05}};

}  // namespace

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
  const Result<void> interrupted = trace(PTRACE_INTERRUPT, tid, 0, 0);
  stopped->descriptor_ = listener.install_descriptor(notification.id, descriptor, -1, CloseOnExec::kYes);
  listener.answer(notification.id, Answer::of(0));
  const Result<Stop> stop = interrupted ? wait_stop(tid) : Err(Errno::kSrch);
  (void)IOMMUFD_TRY(stop);
  IOMMUFD_TRY(stopped->thread_.take_over());
  return stopped;
}

StoppedCaller::~StoppedCaller() {
  if (!resumed_) resume(-static_cast<s64>(Errno::kIntr));
}

Result<u64> StoppedCaller::call(long number, std::array<u64, 6> arguments) {
  return thread_.call(thread_.registers().rip - kSyscallInstruction.size(), number, arguments);
}

void StoppedCaller::resume(s64 result) {
  resumed_ = true;
  if (descriptor_) (void)call(SYS_close, {static_cast<u64>(*descriptor_), 0, 0, 0, 0, 0});
  thread_.registers().rax = static_cast<u64>(result);
  thread_.registers().orig_rax = ~u64{0};
  thread_.give_back();
  if (thread_.alive()) (void)trace(PTRACE_DETACH, thread_.tid(), 0, 0);
}

}  // namespace iommufd::run
