// SPDX-License-Identifier: BSD-3-Clause
#include "mem/local_memory.hpp"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <span>

#include "base/explain.hpp"
#include "base/sys.hpp"

namespace iommufd::mem {
namespace {

iovec remote_iov(UserVa va, std::size_t n) { return {std::bit_cast<void*>(va.raw()), n}; }

}  // namespace

Result<std::size_t> LocalMemory::read_some(UserVa from, std::span<std::byte> buf) {
  if (buf.empty()) return 0;
  const iovec local{buf.data(), buf.size()};
  const iovec remote = remote_iov(from, buf.size());
  const ssize_t n = ::process_vm_readv(::getpid(), &local, 1, &remote, 1, 0);
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

Result<std::size_t> LocalMemory::write_some(UserVa to, std::span<const std::byte> buf) {
  if (buf.empty()) return 0;
  const iovec local{const_cast<std::byte*>(buf.data()), buf.size()};
  const iovec remote = remote_iov(to, buf.size());
  const ssize_t n = ::process_vm_writev(::getpid(), &local, 1, &remote, 1, 0);
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

Result<void> LocalMemory::promise(UserVa start, u64 length) {
  const MutexLock lock(mu_);
  const std::size_t n = promise_count_.load(std::memory_order_relaxed);
  if (n == kPromises) return Err(Errno::kNoSpc);
  promises_[n] = {start.raw(), length};
  promise_count_.store(n + 1, std::memory_order_release);
  return {};
}

Result<void> LocalMemory::populate(UserVa page, u64 count, Access access, std::vector<PageRun>& out) {
  const auto promised = [&](const Promise& p) {
    return page.raw() >= p.start && page.raw() - p.start < p.length &&
           count <= (p.length - (page.raw() - p.start)) >> kPageShift;
  };
  const std::span<const Promise> promises(promises_.data(), promise_count_.load(std::memory_order_acquire));
  if (std::ranges::any_of(promises, promised)) {
    out.push_back({PageKey{id(), page.raw() >> kPageShift}, count, kPageSize});
    return {};
  }
  const int advice = allows(access, Access::kWrite) ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
  while (::madvise(std::bit_cast<void*>(page.raw()), count * kPageSize, advice) != 0) {
    if (errno == EINTR || errno == EAGAIN) continue;
    return reject(Errno::kFault, {"user_va", page.raw(), "the memory must be mapped with the permission asked for",
                                  "iommufd-core 3.4 row 11"});
  }
  out.push_back({PageKey{id(), page.raw() >> kPageShift}, count, kPageSize});
  return {};
}

std::byte* LocalMemory::direct(UserVa va) { return std::bit_cast<std::byte*>(va.raw()); }

LocalProcess::LocalProcess() : Process(make_ref<Account>()) { refresh_limit(); }

void LocalProcess::refresh_limit() {
  rlimit limit{};
  // It fails for bad arguments only.
  const bool known = ::getrlimit(RLIMIT_MEMLOCK, &limit) == 0;
  limit_.store(!known                            ? 0
               : limit.rlim_cur == RLIM_INFINITY ? kUnlimitedPages
                                                 : limit.rlim_cur / kPageSize,
               std::memory_order_relaxed);
}

}  // namespace iommufd::mem
