// SPDX-License-Identifier: BSD-3-Clause
#include "run/store_traps.hpp"

#include <elf.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/sys.hpp"
#include "run/message.hpp"
#include "run/remote_copy.hpp"

namespace iommufd::run {
namespace {

using Fault = Tracer::Fault;

constexpr std::array kSyscallInstruction{std::byte{0x0f}, std::byte{0x05}};
constexpr s64 kMaxErrno = 4095;

// The kernel maps its vDSO into every program, and there is a system call in it.
Result<u64> syscall_in(pid_t tid, const VmaReader& memory) {
  const std::string auxv = IOMMUFD_TRY(sys::read_file(fmt::format("/proc/{}/auxv", tid)));
  u64 vdso = 0;
  for (std::size_t at = 0; at + sizeof(Elf64_auxv_t) <= auxv.size(); at += sizeof(Elf64_auxv_t)) {
    Elf64_auxv_t entry{};
    std::memcpy(&entry, auxv.data() + at, sizeof(entry));
    if (entry.a_type == AT_SYSINFO_EHDR) vdso = entry.a_un.a_val;
  }
  const Vma vma = IOMMUFD_TRY(memory.find(vdso));
  std::vector<std::byte> code(vma.end - vma.start);
  (void)IOMMUFD_TRY(remote_read(tid, vma.start, code));
  const auto found = std::ranges::search(code, kSyscallInstruction);
  if (found.empty()) return Err(Errno::kOpNotSupp);
  return vma.start + static_cast<u64>(found.begin() - code.begin());
}

Result<void> protect(HeldThread& thread, u64 syscall_at, const Vma& vma, u64 protection) {
  (void)IOMMUFD_TRY(thread.call(syscall_at, SYS_mprotect, {vma.start, vma.end - vma.start, protection, 0, 0, 0}));
  return {};
}

}  // namespace

void StoreTraps::map(CallScope& scope, pid_t tgid) {
  const Notification& n = scope.notification();
  const auto answer = [&] { scope.listener().answer(n.id, Answer::go_on()); };
  const auto take_permission = [&](HeldThread& thread) {
    const u64 at = thread.registers().rax;
    if (static_cast<s64>(at) < 0 && static_cast<s64>(at) >= -kMaxErrno) return;  // nothing was mapped
    const u64 instruction = thread.registers().rip - kSyscallInstruction.size();
    (void)thread.call(instruction, SYS_mprotect, {at, n.arg(1), n.arg(2) & ~u64{PROT_WRITE}, 0, 0, 0});
  };
  if (const Result<void> held = tracer_.hold_behind_call(tgid, scope.tid(), answer, take_permission); !held) {
    if (!said_polled_.exchange(true))
      message(
          fmt::format("process {} cannot be traced ({}; is it traced already?): its stores into mapped registers are "
                      "polled, not trapped",
                      tgid, errno_name(held.error())));
    answer();
  }
  scope.set_answered();
}

Fault StoreTraps::on_fault(const Tracer::Thread& thread) {
  siginfo_t info{};
  if (!trace(PTRACE_GETSIGINFO, thread.tid, 0, trace_data(&info)) || info.si_code != SEGV_ACCERR)
    return Fault::kClients;
  const VmaReader* memory = thread.memory();
  if (memory == nullptr) return Fault::kClients;
  const Result<Vma> vma = memory->find(reinterpret_cast<u64>(info.si_addr));
  if (!vma || !vma->shared || allows(vma->access, Access::kWrite)) return Fault::kClients;
  const Ref<OpenFile> file = files_.find(vma->dev, vma->inode);
  if (!file || !file->file().traps_stores(vma->file_offset)) return Fault::kClients;

  user_regs_struct registers{};
  if (!trace(PTRACE_GETREGS, thread.tid, 0, trace_data(&registers))) return Fault::kSeen;  // it died
  std::array<std::byte, kLongestInstruction> code;
  const std::size_t got = remote_read(thread.tid, registers.rip, code).value_or(0);
  const std::optional<StoreInstruction> store = decode_store(std::span(code).first(got), registers);
  const bool inside = store && store->address >= vma->start && store->address <= vma->end - store->size;
  return inside ? emulate(thread.tid, registers, *store, *vma, file->file())
                : step_over(thread.tid, *memory, *vma, file->file());
}

Fault StoreTraps::emulate(pid_t tid, user_regs_struct& registers, const StoreInstruction& store, const Vma& vma,
                          ioctl::File& file) {
  const std::array<std::byte, 8> bytes = store.bytes();
  if (store.exchanged) {
    u64 held = 0;
    (void)remote_read(tid, store.address, std::as_writable_bytes(std::span(&held, 1)).first(store.size));
    store.exchanged->set(registers, held);
  }
  file.store(store.address - vma.start + vma.file_offset, std::span(bytes).first(store.size));
  registers.rip = store.next;
  (void)trace(PTRACE_SETREGS, tid, 0, trace_data(&registers));
  return Fault::kSeen;
}

// A string instruction is stepped over once for each of its elements. One that faults elsewhere, or leaves the mapping, does
// so with what it has done, in its handler.
Fault StoreTraps::step_over(pid_t tid, const VmaReader& memory, const Vma& vma, ioctl::File& file) {
  const Result<u64> syscall_at = syscall_in(tid, memory);
  if (!syscall_at) return Fault::kClients;
  HeldThread thread(tid);
  if (!thread.take_over()) return Fault::kSeen;
  const u64 before = allows(vma.access, Access::kRead) ? u64{PROT_READ} : u64{PROT_NONE};
  if (!protect(thread, *syscall_at, vma, PROT_READ | PROT_WRITE)) {
    thread.give_back();
    return Fault::kClients;
  }
  const u64 instruction = thread.registers().rip;
  Result<Stop> stop = thread.step();
  while (stop && stop->signal == SIGTRAP && thread.registers().rip == instruction) stop = thread.step();
  file.look_at_stores();
  if (stop && stop->signal != SIGTRAP) (void)thread.deliver(stop->signal);
  (void)protect(thread, *syscall_at, vma, before);
  thread.give_back();
  // A stop of the group that came meanwhile is met again.
  (void)trace(PTRACE_INTERRUPT, tid, 0, 0);
  return Fault::kSeen;
}

}  // namespace iommufd::run
