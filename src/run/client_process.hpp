// SPDX-License-Identifier: BSD-3-Clause
// The processes and threads that make calls: a cache by thread number that never mistakes one task for another.
//
// A thread number says who calls only while its notification waits. What is kept beyond that is a pidfd, which stays with
// the task; a task that is gone answers ESRCH and is looked up anew. Descriptor numbers are never cached: dup2 and close
// are not seen, so each call asks what is behind its descriptor (identify()).
//
// Before Linux 6.9 a pidfd names a thread group only. A thread that is not the leader is then confirmed to belong to its
// group (/proc/TGID/task/TID) on each use.
//
// Locks: ProcessTable::mu_ (kRunProcess) guards both maps. ClientProcess::memory_mu_ (kLeaf) guards its memory.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <memory>
#include <unordered_map>
#include <vector>

#include "base/fd.hpp"
#include "base/sync.hpp"
#include "mem/account.hpp"
#include "run/call_scope.hpp"
#include "run/filter.hpp"
#include "run/options.hpp"
#include "run/process_memory.hpp"

namespace iommufd::run {

// Which descriptor numbers of a process may be free for files of ours. A number that one thread of ours has chosen and not
// yet installed is not chosen by another. Thread-safe.
class FdNumbers {
 public:
  // Where to look first: from the last number given or freed on.
  u32 first() IOMMUFD_EXCLUDES(mu_);
  // The first number from `n` on that nobody is about to use, reserved for the caller until done().
  u32 reserve(u32 n) IOMMUFD_EXCLUDES(mu_);
  enum class Outcome : u8 { kTaken, kInstalled };
  void done(u32 n, Outcome outcome) IOMMUFD_EXCLUDES(mu_);
  void freed(u32 n) IOMMUFD_EXCLUDES(mu_);

 private:
  Mutex mu_{LockRank::kLeaf};
  u32 next_ IOMMUFD_GUARDED_BY(mu_) = kFirstFd;
  std::vector<u32> reserved_ IOMMUFD_GUARDED_BY(mu_);
};

// A thread group. Lives as long as anybody is charged through it.
class ClientProcess final : public mem::Process {
 public:
  ClientProcess(pid_t tgid, std::shared_ptr<const Fd> pidfd, Ref<mem::Account> user, MemlockPolicy policy);

  Result<u64> memlock_limit() override;

  [[nodiscard]] pid_t tgid() const { return tgid_; }
  [[nodiscard]] const std::shared_ptr<const Fd>& pidfd() const { return pidfd_; }

  FdNumbers fd_numbers;

 private:
  friend class ProcessTable;
  const pid_t tgid_;
  const std::shared_ptr<const Fd> pidfd_;
  const MemlockPolicy policy_;
  Mutex memory_mu_{LockRank::kLeaf};
  Ref<ProcessMemory> memory_ IOMMUFD_GUARDED_BY(memory_mu_);
  bool memory_is_current_ IOMMUFD_GUARDED_BY(memory_mu_) =
      false;                                            // false: not known yet, or an exec may have replaced it
  u64 memory_mark_ IOMMUFD_GUARDED_BY(memory_mu_) = 0;  // of memory_, see memory_mark()
};

// A thread of a client.
class Task : public RefCounted {
 public:
  enum class Kind : u8 { kLeader, kThread, kGroupOnly };
  Task(pid_t tid, Kind kind, std::shared_ptr<const Fd> pidfd, Ref<ClientProcess> process)
      : tid_(tid), kind_(kind), pidfd_(std::move(pidfd)), process_(std::move(process)) {}

  [[nodiscard]] pid_t tid() const { return tid_; }
  [[nodiscard]] ClientProcess& process() const { return *process_; }
  // This is still the task that has the number.
  [[nodiscard]] bool alive() const;
  // A duplicate of a descriptor of the task. Errors: kBadf; kSrch when the task is gone; kPerm.
  Result<Fd> descriptor(int fd) const;

 private:
  const pid_t tid_;
  const Kind kind_;
  const std::shared_ptr<const Fd> pidfd_;
  const Ref<ClientProcess> process_;
};

class ProcessTable {
 public:
  ProcessTable(MemlockPolicy memlock, HostFeatures host, KnownFiles known)
      : memlock_(memlock), host_(host), known_(std::move(known)) {}

  // The calling thread. What is cached may be stale: find out by a use of its pidfd, and then forget() and find again.
  // Errors: kSrch when the caller is gone, kPerm when it may not be looked at.
  Result<Ref<Task>> find(const CallScope& call) IOMMUFD_EXCLUDES(mu_);
  // The same, certainly not stale.
  Result<Ref<Task>> find_alive(const CallScope& call) IOMMUFD_EXCLUDES(mu_);
  void forget(pid_t tid) IOMMUFD_EXCLUDES(mu_);

  // The thread group `tgid`, if it is one that we know. Null otherwise.
  Ref<ClientProcess> find_process(pid_t tgid) IOMMUFD_EXCLUDES(mu_);
  // All that we know; some may have ended.
  std::vector<Ref<ClientProcess>> processes() IOMMUFD_EXCLUDES(mu_);

  // The memory that the caller runs in; tells `call`. Errors: kSrch, kAcces, kPerm.
  Result<Ref<ProcessMemory>> memory(CallScope& call, Task& task) IOMMUFD_EXCLUDES(mu_);
  // The calling thread is about to replace its memory by an exec. Nothing outside of a call may reach the old memory
  // through this process any more.
  void before_exec(const CallScope& call) IOMMUFD_EXCLUDES(mu_);

 private:
  // Now and then: forgets what is kept for tasks that are gone.
  void sweep() IOMMUFD_EXCLUDES(mu_);
  Result<Ref<Task>> make(const CallScope& call);
  Ref<ClientProcess> process_of(pid_t tgid, std::shared_ptr<const Fd> pidfd, uid_t uid) IOMMUFD_EXCLUDES(mu_);
  Result<Ref<ProcessMemory>> resolve_memory(const CallScope& call, ClientProcess& process);

  const MemlockPolicy memlock_;
  const HostFeatures host_;
  const KnownFiles known_;
  Mutex mu_{LockRank::kRunProcess};
  std::unordered_map<pid_t, Ref<Task>> tasks_ IOMMUFD_GUARDED_BY(mu_);
  std::unordered_map<pid_t, Ref<ClientProcess>> processes_ IOMMUFD_GUARDED_BY(mu_);
  std::unordered_map<uid_t, Ref<mem::Account>> users_ IOMMUFD_GUARDED_BY(mu_);
  std::size_t sweep_at_ IOMMUFD_GUARDED_BY(mu_) = 64;
};

}  // namespace iommufd::run
