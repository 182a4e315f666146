// SPDX-License-Identifier: BSD-3-Clause
// The memory of a client process, as an AddressSpace.
//
// One object stands for one memory (the kernel's mm), whoever uses it: threads, a vfork child before its exec, CLONE_VM
// processes. An exec gives a process another memory, and this object then has a user less. What the client does with
// its addresses afterwards is followed: access goes by virtual address, with the client's page protection.
//
// Ways to the memory, in order:
// * the notified thread itself, while its call is handled on this thread (process_vm_readv by its number);
// * any process known to use this memory (by number too, guarded by its pidfd and by users_mu_: an exec waits);
// * /proc/PID/mem, which was opened when the memory was first seen and stays with it; only when a thread group lost
//   its leader, because it ignores page protection.
//
// Locks: users_mu_ (kLeaf) guards who uses the memory; it is held shared during an access from outside a call, so that a
// process cannot slip to another memory under it. ring_mu_ (kLeaf) guards the lazily made ring.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/fd.hpp"
#include "base/sync.hpp"
#include "mem/address_space.hpp"
#include "mem/pin_ring.hpp"
#include "run/call_scope.hpp"
#include "run/huge_pool.hpp"
#include "run/options.hpp"
#include "run/vma.hpp"

namespace iommufd::run {

// Files that are more than they seem to be.
struct KnownFiles {
  // Memory of one of our device files: it cannot be pinned (kFault, as for device memory).
  std::function<bool(dev_t, ino_t)> is_device_memory;
  const HugePool* huge = nullptr;  // memory that is huge pages to its owner; null: there is none
};

class ProcessMemory final : public mem::AddressSpace {
 public:
  // Pre: `tid` is alive and stands still. Errors: kAcces (not ours to look at), kNoEnt, kMFile.
  static Result<Ref<ProcessMemory>> open(pid_t tid, HostFeatures host, KnownFiles known);

  Result<std::size_t> read_some(UserVa from, std::span<std::byte> buf) override IOMMUFD_EXCLUDES(users_mu_);
  Result<std::size_t> write_some(UserVa to, std::span<const std::byte> buf) override IOMMUFD_EXCLUDES(users_mu_);
  Result<std::size_t> read_pieces(std::span<const mem::ReadPiece> pieces) override IOMMUFD_EXCLUDES(users_mu_);
  Result<std::size_t> write_pieces(std::span<const mem::WritePiece> pieces) override IOMMUFD_EXCLUDES(users_mu_);
  Result<void> populate(UserVa page, u64 count, Access access, std::vector<mem::PageRun>& out) override;
  std::byte* direct(UserVa) override { return nullptr; }

  // What populate() does, one mapping of the client after the other: `visit` gets each with the part of it that is asked
  // for, when its pages are present.
  using Visit = std::function<void(const Vma& vma, u64 start, u64 end)>;
  Result<void> populate_each(UserVa page, u64 count, Access access, const Visit& visit);
  // The keys of a part of a mapping: those of the file, or of the address space.
  static mem::PageRun run_of(const AddressSpace& space, const Vma& vma, u64 start, u64 end);

  // The client's mapping at an address. Errors: VmaReader::find().
  Result<Vma> vma_at(UserVa at) const { return vmas_.find(at.raw()); }

  // The io_uring that holds pages of this memory; made when it is first needed. Errors: mem::PinRing::create().
  Result<Ref<mem::PinRing>> pin_ring(mem::PinKeeper* keeper) IOMMUFD_EXCLUDES(ring_mu_);

  // Some process still runs in it.
  [[nodiscard]] bool alive() const;

  // A process (by its thread-group number and pidfd) uses this memory from now on, or does no longer.
  void add_user(pid_t tgid, std::shared_ptr<const Fd> pidfd) IOMMUFD_EXCLUDES(users_mu_);
  void remove_user(pid_t tgid) IOMMUFD_EXCLUDES(users_mu_);

 private:
  struct User {
    pid_t tgid;
    std::shared_ptr<const Fd> pidfd;
  };
  ProcessMemory(Fd mem, VmaReader vmas, KnownFiles known);
  // `by_number` copies by the number of a process that uses this memory, `by_file` when there is none.
  template <class ByNumber, class ByFile>
  Result<std::size_t> from_outside(ByNumber&& by_number, ByFile&& by_file) IOMMUFD_EXCLUDES(users_mu_);
  // The call that this thread handles, when it is one of this memory.
  [[nodiscard]] const CallScope* current_call() const;
  Result<void> touch(u64 start, u64 end, u64 page_size);
  Result<void> populate_part(const Vma& vma, u64 start, u64 end, Access access);

  const Fd mem_;  // /proc/PID/mem
  const VmaReader vmas_;
  const KnownFiles known_;
  SharedMutex users_mu_{LockRank::kLeaf};
  std::vector<User> users_ IOMMUFD_GUARDED_BY(users_mu_);
  Mutex ring_mu_{LockRank::kLeaf};
  Ref<mem::PinRing> ring_ IOMMUFD_GUARDED_BY(ring_mu_);
};

}  // namespace iommufd::run
