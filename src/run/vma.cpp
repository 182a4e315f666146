// SPDX-License-Identifier: BSD-3-Clause
#include "run/vma.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string>

#include "base/sys.hpp"

namespace iommufd::run {
namespace {

// struct procmap_query and its numbers, include/uapi/linux/fs.h (6.11): newer than Debian 12's headers.
struct ProcmapQuery {
  u64 size;
  u64 query_flags;
  u64 query_addr;
  u64 vma_start;
  u64 vma_end;
  u64 vma_flags;
  u64 vma_page_size;
  u64 vma_offset;
  u64 inode;
  u32 dev_major;
  u32 dev_minor;
  u32 vma_name_size;
  u32 build_id_size;
  u64 vma_name_addr;
  u64 build_id_addr;
};
static_assert(sizeof(ProcmapQuery) == 104);
constexpr unsigned long kQuery = _IOWR('f', 17, ProcmapQuery);
constexpr u64 kReadable = 1, kWritable = 2, kShared = 8;

// The text form does not tell the page size; hugetlb files do, through smaps only. MAP_HUGETLB memory is a file on an
// internal hugetlbfs whose name starts with "/anon_hugepage", memfds with "/memfd:"; the alignment of both ends is
// necessary for huge pages, and smaps decides.
u64 page_size_from_smaps(const std::string& smaps, u64 start) {
  const std::string head = fmt::format("{:x}-", start);
  std::size_t at = 0;
  while (at < smaps.size()) {
    if (smaps.compare(at, head.size(), head) == 0) {
      const std::size_t key = smaps.find("KernelPageSize:", at);
      if (key == std::string::npos) return kPageSize;
      return std::stoull(smaps.substr(key + 15, 24)) * 1024;
    }
    at = smaps.find('\n', at);
    if (at == std::string::npos) break;
    ++at;
  }
  return kPageSize;
}

}  // namespace

Result<VmaReader> VmaReader::open(pid_t tid, HostFeatures host) {
  return VmaReader(Fd(IOMMUFD_TRY(sys::check(::open(fmt::format("/proc/{}/maps", tid).c_str(), O_RDONLY | O_CLOEXEC)))),
                   host);
}

Result<Vma> VmaReader::find(u64 address) const {
  if (host_ == HostFeatures::kAll) {
    const Result<Vma> v = query(address);
    if (v || v.error() != Errno::kNoTty) return v;
  }
  return scan(address);
}

Result<Vma> VmaReader::query(u64 address) const {
  ProcmapQuery q{};
  q.size = sizeof(q);
  q.query_addr = address;
  if (::ioctl(fd_.get(), kQuery, &q) != 0) {
    const Errno e = sys::last_errno();
    return Err(e == Errno::kNoEnt ? Errno::kFault : e);
  }
  Vma v;
  v.start = q.vma_start;
  v.end = q.vma_end;
  v.file_offset = q.vma_offset;
  v.page_size = q.vma_page_size;
  v.dev = makedev(q.dev_major, q.dev_minor);
  v.inode = q.inode;
  if ((q.vma_flags & kReadable) != 0) v.access = v.access | Access::kRead;
  if ((q.vma_flags & kWritable) != 0) v.access = v.access | Access::kWrite;
  v.shared = (q.vma_flags & kShared) != 0;
  return v;
}

Result<Vma> VmaReader::scan(u64 address) const {
  // By pread: the file position is shared by all threads, and a fresh open would be of the memory after an exec.
  std::string text;
  std::array<char, 8192> buf;
  for (;;) {
    const ssize_t n =
        IOMMUFD_TRY(sys::check(::pread(fd_.get(), buf.data(), buf.size(), static_cast<off_t>(text.size()))));
    if (n == 0) break;
    text.append(buf.data(), static_cast<std::size_t>(n));
  }
  if (text.empty()) return Err(Errno::kSrch);
  std::size_t at = 0;
  while (at < text.size()) {
    std::size_t eol = text.find('\n', at);
    if (eol == std::string::npos) eol = text.size();
    unsigned long start = 0, end = 0, offset = 0, inode = 0;
    unsigned major = 0, minor = 0;
    char perms[5] = {};
    const std::string line = text.substr(at, eol - at);
    // NOLINTNEXTLINE(cert-err34-c): the kernel wrote it
    if (std::sscanf(line.c_str(), "%lx-%lx %4s %lx %x:%x %lu", &start, &end, perms, &offset, &major, &minor, &inode) ==
            7 &&
        address >= start && address < end) {
      Vma v;
      v.start = start;
      v.end = end;
      v.file_offset = offset;
      v.dev = makedev(major, minor);
      v.inode = inode;
      if (perms[0] == 'r') v.access = v.access | Access::kRead;
      if (perms[1] == 'w') v.access = v.access | Access::kWrite;
      v.shared = perms[3] == 's';
      constexpr u64 kHuge = u64{2} << 20;
      if (inode != 0 && is_aligned(start, kHuge) && is_aligned(end, kHuge)) {
        const Result<std::string> target = sys::read_link(fmt::format("/proc/self/fd/{}", fd_.get()));
        if (target && target->ends_with("/maps")) {
          const Result<std::string> smaps = sys::read_file(target->substr(0, target->size() - 4) + "smaps");
          if (smaps) v.page_size = page_size_from_smaps(*smaps, start);
        }
      }
      return v;
    }
    at = eol + 1;
  }
  return Err(Errno::kFault);
}

}  // namespace iommufd::run
