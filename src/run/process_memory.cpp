// SPDX-License-Identifier: BSD-3-Clause
#include "run/process_memory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/explain.hpp"
#include "base/rollback.hpp"
#include "base/sys.hpp"
#include "mem/file_space.hpp"
#include "run/call_scope.hpp"
#include "run/pidfd.hpp"
#include "run/remote_copy.hpp"

namespace iommufd::run {
namespace {

constexpr std::size_t kIovMax = 1024;

iovec remote_iov(u64 at, std::size_t size) { return {std::bit_cast<void*>(at), size}; }

// `copy` moves one piece by a file; the sum of what was moved, or what the first one returned.
template <class Piece, class Copy>
ssize_t file_copy(std::span<const Piece> pieces, Copy&& copy) {
  ssize_t done = 0;
  for (const Piece& piece : pieces) {
    const ssize_t n = copy(piece);
    if (n <= 0) return done == 0 ? n : done;
    done += n;
    if (static_cast<std::size_t>(n) != piece.bytes.size()) break;
  }
  return done;
}

Err not_there(u64 at, const char* why) {
  return reject(Errno::kFault, {"user_va", at, why, "iommufd-core 3.4 row 11"});
}

}  // namespace

Result<Ref<ProcessMemory>> ProcessMemory::open(pid_t tid, HostFeatures host, KnownFiles known) {
  Fd mem(IOMMUFD_TRY(sys::check(::open(fmt::format("/proc/{}/mem", tid).c_str(), O_RDWR | O_CLOEXEC))));
  VmaReader vmas = IOMMUFD_TRY(VmaReader::open(tid, host));
  return Ref<ProcessMemory>::adopt(new ProcessMemory(std::move(mem), std::move(vmas), std::move(known)));
}

ProcessMemory::ProcessMemory(Fd mem, VmaReader vmas, KnownFiles known)
    : mem_(std::move(mem)), vmas_(std::move(vmas)), known_(std::move(known)) {}

bool ProcessMemory::alive() const {
  // Nothing is mapped at address 0 (or it is, and reads): an error speaks of a living memory, an end of file of a dead one.
  std::byte b;
  return ::pread(mem_.get(), &b, 1, 0) != 0;
}

void ProcessMemory::add_user(pid_t tgid, std::shared_ptr<const Fd> pidfd) {
  const WriteLock lock(users_mu_);
  std::erase_if(users_, [&](const User& u) { return u.tgid == tgid || !pidfd::running(u.pidfd->get()); });
  users_.push_back({tgid, std::move(pidfd)});
}

void ProcessMemory::remove_user(pid_t tgid) {
  const WriteLock lock(users_mu_);
  std::erase_if(users_, [&](const User& u) { return u.tgid == tgid; });
}

const CallScope* ProcessMemory::current_call() const {
  const CallScope* call = CallScope::current();
  return call != nullptr && call->memory() == this ? call : nullptr;
}

Result<std::size_t> ProcessMemory::read_some(UserVa from, std::span<std::byte> buf) {
  if (const CallScope* call = current_call()) return call->read(from.raw(), buf);
  const mem::ReadPiece piece{from, buf};
  return read_pieces({&piece, 1});
}

Result<std::size_t> ProcessMemory::write_some(UserVa to, std::span<const std::byte> buf) {
  if (const CallScope* call = current_call()) return call->write(to.raw(), buf);
  const mem::WritePiece piece{to, buf};
  return write_pieces({&piece, 1});
}

Result<std::size_t> ProcessMemory::read_pieces(std::span<const mem::ReadPiece> pieces) {
  if (current_call() != nullptr) return AddressSpace::read_pieces(pieces);
  return from_outside([&](pid_t pid) { return remote_read(pid, pieces); },
                      [&] {
                        return file_copy(pieces, [this](const mem::ReadPiece& p) {
                          return ::pread(mem_.get(), p.bytes.data(), p.bytes.size(), static_cast<off_t>(p.at.raw()));
                        });
                      });
}

Result<std::size_t> ProcessMemory::write_pieces(std::span<const mem::WritePiece> pieces) {
  if (current_call() != nullptr) return AddressSpace::write_pieces(pieces);
  return from_outside([&](pid_t pid) { return remote_write(pid, pieces); },
                      [&] {
                        return file_copy(pieces, [this](const mem::WritePiece& p) {
                          return ::pwrite(mem_.get(), p.bytes.data(), p.bytes.size(), static_cast<off_t>(p.at.raw()));
                        });
                      });
}

template <class ByNumber, class ByFile>
Result<std::size_t> ProcessMemory::from_outside(ByNumber&& by_number, ByFile&& by_file) {
  const ReadLock lock(users_mu_);
  for (const User& u : users_) {
    if (!pidfd::running(u.pidfd->get())) continue;
    const Result<std::size_t> n = by_number(u.tgid);
    if (n || n.error() != Errno::kSrch) return n;
  }
  const ssize_t n = by_file();
  if (n == 0) return Err(Errno::kSrch);
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

// Makes the pages of [start, end) present: one byte of each is read, many at a time. A private page that was never
// written shows the zero page then; DMA to it breaks that as a store of the client would.
Result<void> ProcessMemory::touch(u64 start, u64 end, u64 page_size) {
  std::array<iovec, kIovMax> remote;
  std::array<std::byte, kIovMax> bytes;
  const CallScope* call = CallScope::current();
  const bool in_call = call != nullptr && call->memory() == this;
  for (u64 at = start; at < end;) {
    std::size_t n = 0;
    for (; at < end && n < kIovMax; at = align_down(at, page_size) + page_size) remote[n++] = remote_iov(at, 1);
    if (in_call) {
      const iovec local{bytes.data(), n};
      ssize_t got = 0;
      do {
        got = ::process_vm_readv(call->tid(), &local, 1, remote.data(), n, 0);
      } while (got < 0 && errno == EINTR);
      if (got != static_cast<ssize_t>(n)) return Err(Errno::kFault);
    } else {
      for (std::size_t i = 0; i < n; ++i) {
        const UserVa va{std::bit_cast<u64>(remote[i].iov_base)};
        const Result<std::size_t> got = read_some(va, std::span(bytes).first(1));
        if (!got || *got != 1) return Err(Errno::kFault);
      }
    }
  }
  return {};
}

Result<void> ProcessMemory::populate_part(const Vma& vma, u64 start, u64 end, Access access) {
  // A pin asks for the right to write, or for the right to read.
  if (!allows(vma.access, allows(access, Access::kWrite) ? Access::kWrite : Access::kRead))
    return not_there(start, "the memory must be mapped with the permission asked for");
  if (vma.inode != 0 && known_.is_device_memory(vma.dev, vma.inode))
    return not_there(start, "it is memory of a device (a BAR)");
  // Memory that may be written but not read (PROT_WRITE alone) cannot be touched without changing it.
  if (allows(vma.access, Access::kRead) && !touch(start, end, vma.page_size))
    return not_there(start, "it cannot be read: memory of a device, or past the end of its file");
  return {};
}

Result<void> ProcessMemory::populate_each(UserVa page, u64 count, Access access, const Visit& visit) {
  u64 end = 0;
  if (__builtin_add_overflow(page.raw(), count * kPageSize, &end))
    return not_there(page.raw(), "the memory wraps around the end of the address space");
  for (u64 at = page.raw(); at < end;) {
    Result<Vma> vma = vmas_.find(at);
    if (!vma) return not_there(at, "nothing is mapped there");
    vma->seen_page_size = vma->page_size;
    if (known_.huge != nullptr && vma->inode != 0)
      vma->seen_page_size = std::max(vma->page_size, known_.huge->page_size(vma->dev, vma->inode));
    const u64 stop = std::min(vma->end, end);
    IOMMUFD_TRY(populate_part(*vma, at, stop, access));
    visit(*vma, at, stop);
    at = stop;
  }
  return {};
}

mem::PageRun ProcessMemory::run_of(const AddressSpace& space, const Vma& vma, u64 start, u64 end) {
  mem::PageRun run;
  run.page_size = vma.seen_page_size;
  run.pages = (end - start) / kPageSize;
  run.first = vma.shared && vma.inode != 0 ? mem::PageKey{mem::file_space_id(vma.dev, vma.inode),
                                                          (vma.file_offset + (start - vma.start)) / kPageSize}
                                           : mem::PageKey{space.id(), start / kPageSize};
  return run;
}

Result<void> ProcessMemory::populate(UserVa page, u64 count, Access access, std::vector<mem::PageRun>& out) {
  const std::size_t before = out.size();
  Rollback undo{[&] { out.resize(before); }};
  IOMMUFD_TRY(populate_each(page, count, access, [&](const Vma& vma, u64 start, u64 stop) {
    out.push_back(run_of(*this, vma, start, stop));
  }));
  undo.commit();
  return {};
}

Result<Ref<mem::PinRing>> ProcessMemory::pin_ring(mem::PinKeeper* keeper) {
  const MutexLock lock(ring_mu_);
  if (!ring_) ring_ = IOMMUFD_TRY(mem::PinRing::create(keeper));
  return ring_;
}

}  // namespace iommufd::run
