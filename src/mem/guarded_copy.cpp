// SPDX-License-Identifier: BSD-3-Clause
#include "mem/guarded_copy.hpp"

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <mutex>

#if defined(__x86_64__)
#include <ucontext.h>

// std::size_t copy(to, from, size): what is left. At most 255 bytes go by words, more by a string instruction, which is as quick as any loop
// there. A fault before `_exact` resumes at `_exact`, whose registers are right after every instruction before it (what was
// begun is moved again); a fault at `_exact` leaves the number of bytes that are left in rcx, and resumes at `_end`.
asm(R"(
  .pushsection .text
  .p2align 6
  .globl iommufd_guarded_copy, iommufd_guarded_copy_exact, iommufd_guarded_copy_end
  .hidden iommufd_guarded_copy, iommufd_guarded_copy_exact, iommufd_guarded_copy_end
  .type iommufd_guarded_copy, @function
iommufd_guarded_copy:
  .cfi_startproc
  mov %rdx, %rcx
  cmp $256, %rcx
  jae iommufd_guarded_copy_exact
1:
  cmp $16, %rcx
  jb 2f
  movdqu (%rsi), %xmm0
  movdqu %xmm0, (%rdi)
  add $16, %rsi
  add $16, %rdi
  sub $16, %rcx
  jmp 1b
2:
  cmp $8, %rcx
  jb 3f
  mov (%rsi), %rax
  mov %rax, (%rdi)
  add $8, %rsi
  add $8, %rdi
  sub $8, %rcx
3:
  cmp $4, %rcx
  jb 4f
  mov (%rsi), %eax
  mov %eax, (%rdi)
  add $4, %rsi
  add $4, %rdi
  sub $4, %rcx
4:
  cmp $2, %rcx
  jb 5f
  movzwl (%rsi), %eax
  mov %ax, (%rdi)
  add $2, %rsi
  add $2, %rdi
  sub $2, %rcx
5:
  test %rcx, %rcx
  jz iommufd_guarded_copy_end
  movzbl (%rsi), %eax
  mov %al, (%rdi)
  xor %eax, %eax
  ret
iommufd_guarded_copy_exact:
  rep movsb
iommufd_guarded_copy_end:
  mov %rcx, %rax
  ret
  .cfi_endproc
  .size iommufd_guarded_copy, . - iommufd_guarded_copy
  .popsection
)");

extern "C" {
std::size_t iommufd_guarded_copy(std::byte* to, const std::byte* from, std::size_t size);
// NOLINTBEGIN(readability-identifier-naming): labels of the code above
extern const char iommufd_guarded_copy_exact;
extern const char iommufd_guarded_copy_end;
// NOLINTEND(readability-identifier-naming)
}
#endif

namespace iommufd::mem {
namespace {

std::atomic<bool> g_enabled{false};

#if defined(__x86_64__)
struct sigaction g_former;  // written before the handler can run

std::uintptr_t address_of(const void* p) { return reinterpret_cast<std::uintptr_t>(p); }

// Where the thread goes on after a fault at `pc`; 0 when that is not in a guarded copy.
std::uintptr_t resume_after(std::uintptr_t pc) {
  const std::uintptr_t exact = address_of(&iommufd_guarded_copy_exact);
  if (pc == exact) return address_of(&iommufd_guarded_copy_end);
  const bool before = pc >= address_of(reinterpret_cast<const void*>(&iommufd_guarded_copy)) && pc < exact;
  return before ? exact : 0;
}

// What would have happened without us.
void pass_on(int signal, siginfo_t* info, void* context) {
  if ((g_former.sa_flags & SA_SIGINFO) != 0) return g_former.sa_sigaction(signal, info, context);
  const bool sent = info->si_code <= 0;
  if (g_former.sa_handler == SIG_IGN && sent) return;
  if (g_former.sa_handler != SIG_DFL && g_former.sa_handler != SIG_IGN) return g_former.sa_handler(signal);
  // A fault happens again as soon as we return; what was sent is sent again.
  (void)::sigaction(signal, &g_former, nullptr);
  if (sent) (void)::raise(signal);
}

// Async-signal-safe: looks at registers, and sets one.
void on_fault(int signal, siginfo_t* info, void* context) {
  greg_t& pc = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];
  const bool sent = info->si_code <= 0;
  const std::uintptr_t resume = sent ? 0 : resume_after(static_cast<std::uintptr_t>(pc));
  if (resume == 0) return pass_on(signal, info, context);
  pc = static_cast<greg_t>(resume);
}

bool install() {
  if (::sigaction(SIGBUS, nullptr, &g_former) != 0) return false;
  struct sigaction action = g_former;
  action.sa_sigaction = on_fault;
  action.sa_flags &= ~static_cast<int>(SA_RESETHAND);
  action.sa_flags |= SA_SIGINFO | SA_ONSTACK;
  return ::sigaction(SIGBUS, &action, nullptr) == 0;
}
#else
bool install() { return false; }
#endif

}  // namespace

bool enable_guarded_copies() {
  static std::once_flag once;
  std::call_once(once, [] { g_enabled.store(install(), std::memory_order_release); });
  return copies_are_guarded();
}

bool copies_are_guarded() { return g_enabled.load(std::memory_order_acquire); }

std::size_t guarded_copy(std::byte* to, const std::byte* from, std::size_t size) {
#if defined(__x86_64__)
  if (copies_are_guarded()) return size - iommufd_guarded_copy(to, from, size);
#endif
  std::memcpy(to, from, size);
  return size;
}

}  // namespace iommufd::mem
