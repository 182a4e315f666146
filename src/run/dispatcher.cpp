// SPDX-License-Identifier: BSD-3-Clause
#include "run/dispatcher.hpp"

#include <sys/syscall.h>

#include <new>

#include "base/assert.hpp"
#include "base/sync.hpp"
#include "run/file_calls.hpp"
#include "run/huge_calls.hpp"

namespace iommufd::run {

std::optional<Answer> Dispatcher::handle(const Notification& notification) {
  const CallsInFlight::Entry in_flight(runtime_.calls, notification);
  CallScope scope(runtime_.listener, notification);
  Answer a;
  try {
    runtime_.files.drain();
    runtime_.service.activity();
    a = answer(scope);
  } catch (const std::bad_alloc&) {
    a = Answer::fail(Errno::kNoMem);
  }
  IOMMUFD_ASSERT(lock_check::none_held());
  if (scope.finish(a.kind == Answer::Kind::kError ? -static_cast<s64>(a.error) : a.value)) return std::nullopt;
  return a;
}

Answer Dispatcher::answer(CallScope& scope) {
  const Notification& n = scope.notification();
  switch (n.data.nr) {
    case SYS_open:
    case SYS_creat:
    case SYS_openat:
    case SYS_openat2:
    case SYS_stat:
    case SYS_lstat:
    case SYS_newfstatat:
    case SYS_statx:
    case SYS_access:
    case SYS_faccessat:
    case SYS_faccessat2:
    case SYS_readlink:
    case SYS_readlinkat:
    case SYS_getxattr:
    case SYS_lgetxattr:
    case SYS_listxattr:
    case SYS_llistxattr: return paths_.handle(scope);
    case SYS_fstat: return handle_fstat(runtime_, scope, n.int_arg(0), n.arg(1));
    case SYS_execve:
    case SYS_execveat: runtime_.processes.before_exec(scope); return Answer::go_on();
    default: break;
  }
  if (runtime_.huge != nullptr) {
    if (const std::optional<Answer> huge = handle_huge_call(runtime_, scope)) return *huge;
  }
  return handle_file_call(runtime_, scope);
}

}  // namespace iommufd::run
