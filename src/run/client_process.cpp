// SPDX-License-Identifier: BSD-3-Clause
#include "run/client_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/kcmp.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

#include "base/sys.hpp"
#include "run/pidfd.hpp"
#include "run/proc_status.hpp"

namespace iommufd::run {
namespace {

bool same_memory(pid_t a, pid_t b) { return ::syscall(SYS_kcmp, a, b, KCMP_VM, 0, 0) == 0; }

// Differs (with address space randomisation) between the memory before and after an exec: where the stack and the
// arguments of the program are. Fields 28 and 48 of /proc/TID/stat.
u64 memory_mark(pid_t tid) {
  const Result<std::string> stat = sys::read_file(fmt::format("/proc/{}/stat", tid));
  if (!stat) return 0;
  std::size_t at = stat->rfind(')');
  u64 mark = 0;
  for (int field = 2; at != std::string::npos && field < 48; ++field) {
    at = stat->find(' ', at + 1);
    if (at == std::string::npos || (field + 1 != 28 && field + 1 != 48)) continue;
    u64 value = 0;
    std::from_chars(stat->data() + at + 1, stat->data() + stat->size(), value);
    mark = mark * 0x9e37'79b9'7f4a'7c15 + value;
  }
  return mark;
}

}  // namespace

u32 FdNumbers::first() {
  const MutexLock lock(mu_);
  return next_;
}

u32 FdNumbers::reserve(u32 n) {
  const MutexLock lock(mu_);
  while (std::ranges::find(reserved_, n) != reserved_.end()) ++n;
  reserved_.push_back(n);
  return n;
}

void FdNumbers::done(u32 n, Outcome outcome) {
  const MutexLock lock(mu_);
  std::erase(reserved_, n);
  if (outcome == Outcome::kInstalled) next_ = n + 1;
}

void FdNumbers::freed(u32 n) {
  const MutexLock lock(mu_);
  if (n >= kFirstFd && n < next_) next_ = n;
}

ClientProcess::ClientProcess(pid_t tgid, std::shared_ptr<const Fd> pidfd, Ref<mem::Account> user, MemlockPolicy policy)
    : Process(std::move(user)), tgid_(tgid), pidfd_(std::move(pidfd)), policy_(policy) {}

Result<u64> ClientProcess::memlock_limit() {
  switch (policy_.kind) {
    case MemlockPolicy::Kind::kUnlimited: return mem::kUnlimitedPages;
    case MemlockPolicy::Kind::kSize: return policy_.bytes / kPageSize;
    case MemlockPolicy::Kind::kReal: break;
  }
  rlimit limit{};
  const int rc = ::prlimit(tgid_, RLIMIT_MEMLOCK, nullptr, &limit);
  if (!pidfd::exists(pidfd_->get())) return Err(Errno::kInval);
  if (rc != 0) {
    // Another uid than ours: procfs tells what prlimit refuses.
    const std::string text = IOMMUFD_TRY(sys::read_file(fmt::format("/proc/{}/limits", tgid_)));
    constexpr std::string_view kKey = "Max locked memory";
    std::size_t at = text.find(kKey);
    if (at == std::string::npos) return Err(Errno::kInval);
    at = text.find_first_not_of(' ', at + kKey.size());
    u64 bytes = 0;
    const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), bytes);
    return error == std::errc{} ? bytes / kPageSize : mem::kUnlimitedPages;
  }
  return limit.rlim_cur == RLIM_INFINITY ? mem::kUnlimitedPages : limit.rlim_cur / kPageSize;
}

bool Task::alive() const {
  if (!pidfd::exists(pidfd_->get())) return false;
  if (kind_ != Kind::kGroupOnly) return true;
  return ::access(fmt::format("/proc/{}/task/{}", process_->tgid(), tid_).c_str(), F_OK) == 0;
}

Result<Fd> Task::descriptor(int fd) const {
  if (kind_ == Kind::kGroupOnly && !alive()) return Err(Errno::kSrch);
  return pidfd::get_descriptor(pidfd_->get(), fd);
}

Result<Ref<Task>> ProcessTable::find(const CallScope& call) {
  {
    const MutexLock lock(mu_);
    const auto it = tasks_.find(call.tid());
    if (it != tasks_.end()) return it->second;
  }
  return make(call);
}

Result<Ref<Task>> ProcessTable::find_alive(const CallScope& call) {
  Ref<Task> task = IOMMUFD_TRY(find(call));
  if (task->alive()) return task;
  return make(call);
}

void ProcessTable::forget(pid_t tid) {
  Ref<Task> dropped;
  const MutexLock lock(mu_);
  const auto it = tasks_.find(tid);
  if (it == tasks_.end()) return;
  dropped = std::move(it->second);
  tasks_.erase(it);
}

Result<Ref<Task>> ProcessTable::make(const CallScope& call) {
  const pid_t tid = call.tid();
  struct stat st{};
  IOMMUFD_TRY(sys::ok(::stat(fmt::format("/proc/{}", tid).c_str(), &st)));

  Task::Kind kind = Task::Kind::kLeader;
  pid_t tgid = tid;
  Result<Fd> own = pidfd::open_process(tid);
  std::shared_ptr<const Fd> group, task_fd;
  if (own) {
    group = task_fd = std::make_shared<const Fd>(std::move(*own));
  } else {
    tgid = IOMMUFD_TRY(status_id(tid, "Tgid"));
    group = std::make_shared<const Fd>(IOMMUFD_TRY(pidfd::open_process(tgid)));
    own = host_ == HostFeatures::kAll ? pidfd::open_thread(tid) : Err(Errno::kInval);
    kind = own ? Task::Kind::kThread : Task::Kind::kGroupOnly;
    task_fd = own ? std::make_shared<const Fd>(std::move(*own)) : group;
  }
  // Only now is it certain that all of this speaks of the caller.
  if (!call.is_valid()) return Err(Errno::kSrch);

  Ref<ClientProcess> process = process_of(tgid, std::move(group), st.st_uid);
  Ref<Task> task = make_ref<Task>(tid, kind, std::move(task_fd), std::move(process));
  sweep();
  Ref<Task> dropped = task;
  const MutexLock lock(mu_);
  std::swap(tasks_[tid], dropped);
  return task;
}

Ref<ClientProcess> ProcessTable::process_of(pid_t tgid, std::shared_ptr<const Fd> pidfd, uid_t uid) {
  Ref<ClientProcess> dropped;
  const MutexLock lock(mu_);
  Ref<ClientProcess>& slot = processes_[tgid];
  if (slot && pidfd::exists(slot->pidfd()->get())) return slot;
  Ref<mem::Account>& user = users_[uid];
  if (!user) user = make_ref<mem::Account>();
  dropped = std::move(slot);
  slot = make_ref<ClientProcess>(tgid, std::move(pidfd), user, memlock_);
  return slot;
}

Ref<ClientProcess> ProcessTable::find_process(pid_t tgid) {
  const MutexLock lock(mu_);
  const auto it = processes_.find(tgid);
  return it != processes_.end() && pidfd::exists(it->second->pidfd()->get()) ? it->second : nullptr;
}

std::vector<Ref<ClientProcess>> ProcessTable::processes() {
  std::vector<Ref<ClientProcess>> all;
  const MutexLock lock(mu_);
  all.reserve(processes_.size());
  for (const auto& [tgid, process] : processes_) all.push_back(process);
  return all;
}

void ProcessTable::sweep() {
  std::vector<Ref<Task>> tasks;
  std::vector<Ref<ClientProcess>> processes;
  const MutexLock lock(mu_);
  if (tasks_.size() + processes_.size() < sweep_at_) return;
  std::erase_if(tasks_, [&](auto& entry) {
    if (entry.second->alive()) return false;
    tasks.push_back(std::move(entry.second));
    return true;
  });
  std::erase_if(processes_, [&](auto& entry) {
    if (pidfd::running(entry.second->pidfd()->get())) return false;
    processes.push_back(std::move(entry.second));
    return true;
  });
  sweep_at_ = 64 + 2 * (tasks_.size() + processes_.size());
}

Result<Ref<ProcessMemory>> ProcessTable::memory(CallScope& call, Task& task) {
  ClientProcess& process = task.process();
  {
    const MutexLock lock(process.memory_mu_);
    if (process.memory_is_current_) {
      call.set_memory(process.memory_.get());
      return process.memory_;
    }
  }
  Ref<ProcessMemory> memory = IOMMUFD_TRY(resolve_memory(call, process));
  if (!call.is_valid()) return Err(Errno::kSrch);
  memory->add_user(process.tgid(), process.pidfd());
  const u64 mark = memory_mark(call.tid());
  Ref<ProcessMemory> dropped = memory;
  const MutexLock lock(process.memory_mu_);
  std::swap(process.memory_, dropped);
  process.memory_is_current_ = true;
  process.memory_mark_ = mark;
  call.set_memory(memory.get());
  return memory;
}

Result<Ref<ProcessMemory>> ProcessTable::resolve_memory(const CallScope& call, ClientProcess& process) {
  Ref<ProcessMemory> old;
  u64 old_mark = 0;
  {
    const MutexLock lock(process.memory_mu_);
    old = process.memory_;
    old_mark = process.memory_mark_;
  }
  for (const Ref<ClientProcess>& other : processes()) {
    if (other.get() == &process || !same_memory(call.tid(), other->tgid())) continue;
    const MutexLock lock(other->memory_mu_);
    if (other->memory_is_current_) return other->memory_;
  }
  // An exec that failed leaves the memory as it was.
  if (old && old->alive() && memory_mark(call.tid()) == old_mark) return old;
  return ProcessMemory::open(call.tid(), host_, known_);
}

void ProcessTable::before_exec(const CallScope& call) {
  {
    const MutexLock lock(mu_);
    if (processes_.empty()) return;
  }
  const Result<Ref<Task>> task = find_alive(call);
  if (!task) return;
  ClientProcess& process = (*task)->process();
  Ref<ProcessMemory> memory;
  {
    const MutexLock lock(process.memory_mu_);
    process.memory_is_current_ = false;
    memory = process.memory_;
  }
  if (memory) memory->remove_user(process.tgid());
}

}  // namespace iommufd::run
