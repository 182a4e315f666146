// SPDX-License-Identifier: BSD-3-Clause
#include "run/huge_calls.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>

#include "base/rollback.hpp"
#include "base/sys.hpp"
#include "run/client_call.hpp"
#include "run/message.hpp"

namespace iommufd::run {
namespace {

constexpr u64 kHuge = HugePool::kPageBytes;
constexpr u64 kHugeLg2 = 21;
constexpr unsigned kSizeShift = 26;  // of the page size in flags, as its log2 (MAP_HUGE_SHIFT, MFD_HUGE_SHIFT)
constexpr u64 kSizeMask = u64{63} << kSizeShift;

// 2 MiB, or the default size, which is that. Other sizes are the machine's business.
bool asks_for_our_size(u64 flags) {
  const u64 lg2 = (flags & kSizeMask) >> kSizeShift;
  return lg2 == 0 || lg2 == kHugeLg2;
}

// Saturated: nothing is as large.
u64 round_up(u64 bytes) {
  const u64 most = align_down(~u64{0}, kHuge);
  return bytes > most ? most : align_down(bytes + kHuge - 1, kHuge);
}

void report_no_injection(Errno e) {
  static std::atomic<bool> said{false};
  if (e == Errno::kSrch || said.exchange(true)) return;
  message(fmt::format("--hugetlb=emulate: huge pages cannot be mapped in the program ({}: is it being traced?)",
                      errno_name(e)));
}

std::optional<Answer> create(const Runtime& runtime, CallScope& scope) {
  const Notification& n = scope.notification();
  const auto flags = static_cast<u32>(n.arg(1));
  if ((flags & MFD_HUGETLB) == 0 || !asks_for_our_size(flags)) return {};
  std::array<char, 256> name{};  // longer ones are refused below
  const Result<std::size_t> got = scope.read(n.arg(0), std::as_writable_bytes(std::span(name)).first(name.size() - 1));
  if (!got || (std::memchr(name.data(), 0, *got) == nullptr && *got < name.size() - 1))
    return Answer::fail(Errno::kFault);
  const Result<Fd> file =
      runtime.huge->make_file(name.data(), static_cast<unsigned>(flags & ~kSizeMask & ~u64{MFD_HUGETLB}));
  if (!file) return Answer::fail(file.error());
  const CloseOnExec close_on_exec = (flags & MFD_CLOEXEC) != 0 ? CloseOnExec::kYes : CloseOnExec::kNo;
  const Result<int> given = runtime.listener.install_descriptor(n.id, file->get(), -1, close_on_exec);
  return given ? Answer::of(*given) : Answer::fail(given.error());
}

// A mapping of a file of the pool. check() has judged it.
struct MapRequest {
  u64 address = 0;
  u64 length = 0;  // whole pages
  u64 prot = 0;
  u64 flags = 0;  // without what says that it is huge, or anonymous
  u64 offset = 0;
};

Result<void> check(const MapRequest& r) {
  if ((r.flags & MAP_TYPE) != MAP_SHARED && (r.flags & MAP_TYPE) != MAP_SHARED_VALIDATE &&
      (r.flags & MAP_TYPE) != MAP_PRIVATE)
    return Err(Errno::kInval);
  const bool fixed = (r.flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0;
  constexpr u64 kMostBytes = u64{1} << 47;
  if (r.length > kMostBytes) return Err(Errno::kNoMem);
  if (r.offset > kMostBytes) return Err(Errno::kOverflow);
  if (r.length == 0 || !is_aligned(r.offset, kHuge) || (fixed && !is_aligned(r.address, kHuge)))
    return Err(Errno::kInval);
  return {};
}

// Where there is room, in the held client: more than needed is reserved, and what is too much given back.
Result<u64> map_in_room(StoppedCaller& client, const MapRequest& r, u64 fd) {
  constexpr u64 kNowhere = ~u64{0};
  const u64 reserved = r.length + kHuge;
  const u64 room = IOMMUFD_TRY(client.call(
      SYS_mmap,
      {0, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (r.flags & MAP_32BIT), kNowhere, 0}));
  Rollback release{[&] { (void)client.call(SYS_munmap, {room, reserved, 0, 0, 0, 0}); }};
  const u64 at = round_up(room);
  const u64 end = at + r.length;
  (void)IOMMUFD_TRY(client.call(SYS_mmap, {at, r.length, r.prot, r.flags | MAP_FIXED | kPassingMapFlag, fd, r.offset}));
  release.commit();
  if (at != room) (void)client.call(SYS_munmap, {room, at - room, 0, 0, 0, 0});
  if (end != room + reserved) (void)client.call(SYS_munmap, {end, room + reserved - end, 0, 0, 0, 0});
  return at;
}

Result<u64> map_in(StoppedCaller& client, const MapRequest& r) {
  const u64 fd = static_cast<u64>(IOMMUFD_TRY(client.descriptor()));
  if ((r.flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0)
    return client.call(SYS_mmap, {r.address, r.length, r.prot, r.flags | kPassingMapFlag, fd, r.offset});
  if (const u64 wish = round_up(r.address); wish != 0) {
    const Result<u64> there =
        client.call(SYS_mmap, {wish, r.length, r.prot, r.flags | MAP_FIXED_NOREPLACE | kPassingMapFlag, fd, r.offset});
    if (there) return there;
  }
  return map_in_room(client, r, fd);
}

Answer map_file(const Runtime& runtime, CallScope& scope, const MapRequest& r, const Fd& file, const struct stat& st) {
  if (!runtime.huge->take(st.st_dev, st.st_ino, r.offset + r.length)) return Answer::fail(Errno::kNoMem);
  // As on hugetlbfs a mapping that may be written makes the file as long; a seal may be against it.
  if ((r.prot & PROT_WRITE) != 0 && static_cast<u64>(st.st_size) < r.offset + r.length)
    (void)::ftruncate(file.get(), static_cast<off_t>(r.offset + r.length));
  const Result<StoppedCaller*> client = scope.hold(file.get());
  if (!client) {
    report_no_injection(client.error());
    return Answer::fail(Errno::kNoMem);
  }
  return Answer::from(map_in(**client, r));
}

MapRequest request_of(const Notification& n) {
  constexpr u64 kNotPassedOn = MAP_HUGETLB | MAP_ANONYMOUS | kSizeMask;
  return {n.arg(0), round_up(n.arg(1)), n.arg(2), n.arg(3) & ~kNotPassedOn & ~u32{0}, n.arg(5)};
}

Answer map_anonymous(const Runtime& runtime, CallScope& scope) {
  MapRequest r = request_of(scope.notification());
  r.offset = 0;
  if (const Result<void> good = check(r); !good) return Answer::fail(good.error());
  const Result<Fd> file = runtime.huge->make_file("anon_hugepage", MFD_ALLOW_SEALING);
  struct stat st{};
  if (!file || ::ftruncate(file->get(), static_cast<off_t>(r.length)) != 0 || ::fstat(file->get(), &st) != 0)
    return Answer::fail(Errno::kNoMem);
  // What nobody can cut short may be touched directly by DMA, where we get at it (ClientMemory).
  (void)::fcntl(file->get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  return map_file(runtime, scope, r, *file, st);
}

// What is behind a descriptor of the caller, if that is a file of the pool.
std::optional<Identified> find_file(const Runtime& runtime, CallScope& scope, int fd) {
  Result<ClientCall> call = ClientCall::make(runtime, scope);
  if (!call) return {};
  Result<Identified> found = call->identify(fd);
  if (!found || found->duplicate.get() < 0 || found->ours ||
      !runtime.huge->contains(found->attributes.st_dev, found->attributes.st_ino))
    return {};
  return *std::move(found);
}

std::optional<Answer> map(const Runtime& runtime, CallScope& scope) {
  const Notification& n = scope.notification();
  const u64 flags = n.arg(3);
  if ((flags & MAP_ANONYMOUS) != 0) {
    if ((flags & MAP_HUGETLB) == 0 || !asks_for_our_size(flags)) return {};
    return map_anonymous(runtime, scope);
  }
  if ((flags & kPassingMapFlag) != 0) return {};
  const std::optional<Identified> file = find_file(runtime, scope, n.int_arg(4));
  if (!file) return {};
  const MapRequest r = request_of(n);
  if (const Result<void> good = check(r); !good) return Answer::fail(good.error());
  return map_file(runtime, scope, r, file->duplicate, file->attributes);
}

std::optional<Answer> truncate(const Runtime& runtime, CallScope& scope) {
  const Notification& n = scope.notification();
  const std::optional<Identified> file = find_file(runtime, scope, n.int_arg(0));
  if (!file) return {};
  if (!is_aligned(n.arg(1), kHuge)) return Answer::fail(Errno::kInval);
  runtime.huge->cut(file->attributes.st_dev, file->attributes.st_ino, n.arg(1));
  return Answer::go_on();
}

std::optional<Answer> stat_file_system(const Runtime& runtime, CallScope& scope) {
  const Notification& n = scope.notification();
  const std::optional<Identified> file = find_file(runtime, scope, n.int_arg(0));
  if (!file) return {};
  struct statfs fs{};
  if (::fstatfs(file->duplicate.get(), &fs) != 0) return {};
  fs.f_type = HUGETLBFS_MAGIC;
  fs.f_bsize = static_cast<decltype(fs.f_bsize)>(kHuge);
  fs.f_frsize = fs.f_bsize;
  fs.f_blocks = fs.f_bfree = fs.f_bavail = 0;  // as of a mount without limits
  return Answer::from(scope.put(n.arg(1), fs));
}

}  // namespace

std::optional<struct stat> stat_huge_file(const Runtime& runtime, CallScope& scope, int fd) {
  const std::optional<Identified> file = find_file(runtime, scope, fd);
  if (!file) return {};
  struct stat st = file->attributes;
  st.st_blksize = static_cast<blksize_t>(kHuge);
  return st;
}

std::optional<Answer> handle_huge_call(const Runtime& runtime, CallScope& scope) {
  const Notification& n = scope.notification();
  switch (n.data.nr) {
    case SYS_memfd_create: return create(runtime, scope);
    case SYS_mmap: return map(runtime, scope);
    case SYS_ftruncate: return truncate(runtime, scope);
    case SYS_fstatfs: return stat_file_system(runtime, scope);
    default: return {};
  }
}

}  // namespace iommufd::run
