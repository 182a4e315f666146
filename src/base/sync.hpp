// SPDX-License-Identifier: BSD-3-Clause
// Locks with a rank. Clang checks the annotations statically (-Wthread-safety); the ranks are checked at run time
// when IOMMUFD_LOCK_CHECK is defined (tests and sanitizer builds): a thread takes locks only in rising rank, and
// locks of one rank never nest, unless the rank says so.
//
// The order, outermost first, is the order of LockRank. Each area's README says what its locks guard.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <shared_mutex>

#include "base/types.hpp"

#if defined(__clang__)
#define IOMMUFD_TSA(x) __attribute__((x))
#else
#define IOMMUFD_TSA(x)
#endif
#define IOMMUFD_CAPABILITY(x) IOMMUFD_TSA(capability(x))
#define IOMMUFD_SCOPED_CAPABILITY IOMMUFD_TSA(scoped_lockable)
#define IOMMUFD_GUARDED_BY(x) IOMMUFD_TSA(guarded_by(x))
#define IOMMUFD_PT_GUARDED_BY(x) IOMMUFD_TSA(pt_guarded_by(x))
#define IOMMUFD_REQUIRES(...) IOMMUFD_TSA(requires_capability(__VA_ARGS__))
#define IOMMUFD_REQUIRES_SHARED(...) IOMMUFD_TSA(requires_shared_capability(__VA_ARGS__))
#define IOMMUFD_EXCLUDES(...) IOMMUFD_TSA(locks_excluded(__VA_ARGS__))
#define IOMMUFD_ACQUIRE(...) IOMMUFD_TSA(acquire_capability(__VA_ARGS__))
#define IOMMUFD_ACQUIRE_SHARED(...) IOMMUFD_TSA(acquire_shared_capability(__VA_ARGS__))
#define IOMMUFD_RELEASE(...) IOMMUFD_TSA(release_capability(__VA_ARGS__))
#define IOMMUFD_RELEASE_SHARED(...) IOMMUFD_TSA(release_shared_capability(__VA_ARGS__))
#define IOMMUFD_RELEASE_GENERIC(...) IOMMUFD_TSA(release_generic_capability(__VA_ARGS__))
#define IOMMUFD_TRY_ACQUIRE(...) IOMMUFD_TSA(try_acquire_capability(__VA_ARGS__))
#define IOMMUFD_ASSERT_CAPABILITY(x) IOMMUFD_TSA(assert_capability(x))
#define IOMMUFD_NO_ANALYSIS IOMMUFD_TSA(no_thread_safety_analysis)

namespace iommufd {

// Outermost first. A thread that holds a rank may take only larger ones.
enum class LockRank : u8 {
  kRunTree = 8,         // run: one at a time makes the next tree of paths
  kDrivers = 10,        // machine: which driver has which function
  kRunProcess = 12,     // run: cache of client processes
  kRunPaths = 14,       // run: mirror of the tree of paths
  kVfioRegistry = 15,   // vfio: which devices and groups there are
  kVfioGroup = 16,      // vfio: one group: who has it, its container
  kVfioContainer = 18,  // vfio: one native container
  kVfioDevice = 20,     // vfio: one device, its binding, its irqs
  kSelftest = 24,       // selftest: what one access file has pinned; its devices
  kHwptList = 30,       // core: the list of HWPTs of one IOAS
  kGroup = 34,          // core: attachments of one group
  kAccess = 36,         // core: where one access is attached
  kObjectTable = 38,    // core: ids of one context (held briefly, by the ones above)
  kDomains = 42,        // core: the domains of one IOAS (shared by map, exclusive by attach)
  kIova = 46,           // core: intervals of one IOAS; two IOASes nest in COPY, by address
  kPages = 50,          // mem: one pages object
  kFrames = 54,         // mem: frames of the physical memory
  kAccount = 56,        // mem: locked-memory accounts
  kPtTop = 58,          // pt: growing the top of a table
  kPtAlloc = 60,        // pt: free list of table pages
  kPci = 64,            // pci: config space of a function
  kModel = 66,          // models: registers of one device
  kIrq = 70,            // vfio: eventfds of one device
  kDma = 72,            // iommu: a device's DMA port, slow path
  kRunFiles = 76,       // run: table of open files; asked from everywhere, also for a page that is being pinned
  kReport = 80,         // machine: reports on stderr
  kLeaf = 90,           // takes nothing else
};

namespace lock_check {
#if defined(IOMMUFD_LOCK_CHECK)
void acquired(LockRank rank, const void* lock);
void released(LockRank rank, const void* lock);
#else
inline void acquired(LockRank, const void*) {}
inline void released(LockRank, const void*) {}
#endif
// True when this thread holds no ranked lock (always true without IOMMUFD_LOCK_CHECK).
bool none_held();
}  // namespace lock_check

class IOMMUFD_CAPABILITY("mutex") Mutex {
 public:
  explicit Mutex(LockRank rank) : rank_(rank) {}
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  void lock() IOMMUFD_ACQUIRE() {
    lock_check::acquired(rank_, this);
    mu_.lock();
  }
  void unlock() IOMMUFD_RELEASE() {
    mu_.unlock();
    lock_check::released(rank_, this);
  }
  bool try_lock() IOMMUFD_TRY_ACQUIRE(true) {
    if (!mu_.try_lock()) return false;
    lock_check::acquired(rank_, this);
    return true;
  }
  // For observers, who rather do without than wait for long. Tries again and again: nobody waits for it meanwhile.
  bool try_lock_until(std::chrono::steady_clock::time_point deadline) IOMMUFD_TRY_ACQUIRE(true);

 private:
  friend class CondVar;
  std::mutex mu_;
  const LockRank rank_;
};

class IOMMUFD_CAPABILITY("mutex") SharedMutex {
 public:
  explicit SharedMutex(LockRank rank) : rank_(rank) {}
  SharedMutex(const SharedMutex&) = delete;
  SharedMutex& operator=(const SharedMutex&) = delete;
  void lock() IOMMUFD_ACQUIRE() {
    lock_check::acquired(rank_, this);
    mu_.lock();
  }
  void unlock() IOMMUFD_RELEASE() {
    mu_.unlock();
    lock_check::released(rank_, this);
  }
  // As Mutex::try_lock_until.
  bool try_lock_until(std::chrono::steady_clock::time_point deadline) IOMMUFD_TRY_ACQUIRE(true);
  void lock_shared() IOMMUFD_ACQUIRE_SHARED() {
    lock_check::acquired(rank_, this);
    mu_.lock_shared();
  }
  void unlock_shared() IOMMUFD_RELEASE_SHARED() {
    mu_.unlock_shared();
    lock_check::released(rank_, this);
  }

 private:
  std::shared_mutex mu_;
  const LockRank rank_;
};

// Says that a guard takes over a lock that is held.
struct AdoptLock {};

class IOMMUFD_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mu) IOMMUFD_ACQUIRE(mu) : mu_(mu) { mu_.lock(); }
  MutexLock(Mutex& mu, AdoptLock) IOMMUFD_REQUIRES(mu) : mu_(mu) {}
  ~MutexLock() IOMMUFD_RELEASE() {
    if (held_) mu_.unlock();
  }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;
  // Early release, and taking it again: for calling out with no lock held.
  void unlock() IOMMUFD_RELEASE() {
    mu_.unlock();
    held_ = false;
  }
  void lock() IOMMUFD_ACQUIRE() {
    mu_.lock();
    held_ = true;
  }

 private:
  Mutex& mu_;
  bool held_ = true;
};

class IOMMUFD_SCOPED_CAPABILITY WriteLock {
 public:
  explicit WriteLock(SharedMutex& mu) IOMMUFD_ACQUIRE(mu) : mu_(mu) { mu_.lock(); }
  WriteLock(SharedMutex& mu, AdoptLock) IOMMUFD_REQUIRES(mu) : mu_(mu) {}
  ~WriteLock() IOMMUFD_RELEASE() { mu_.unlock(); }
  WriteLock(const WriteLock&) = delete;
  WriteLock& operator=(const WriteLock&) = delete;

 private:
  SharedMutex& mu_;
};

class IOMMUFD_SCOPED_CAPABILITY ReadLock {
 public:
  explicit ReadLock(SharedMutex& mu) IOMMUFD_ACQUIRE_SHARED(mu) : mu_(mu) { mu_.lock_shared(); }
  ~ReadLock() IOMMUFD_RELEASE_GENERIC() { mu_.unlock_shared(); }
  ReadLock(const ReadLock&) = delete;
  ReadLock& operator=(const ReadLock&) = delete;

 private:
  SharedMutex& mu_;
};

// Waits with a Mutex held. wait() and wait_for() may return early: test the condition in a loop.
class CondVar {
 public:
  void wait(Mutex& mu) IOMMUFD_REQUIRES(mu);
  // False on time-out.
  bool wait_for(Mutex& mu, std::chrono::nanoseconds timeout) IOMMUFD_REQUIRES(mu);
  void notify_one() { cv_.notify_one(); }
  void notify_all() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace iommufd
