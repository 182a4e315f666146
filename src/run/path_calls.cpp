// SPDX-License-Identifier: BSD-3-Clause
#include "run/path_calls.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <climits>
#include <cstring>

#include "base/sys.hpp"
#include "run/attributes.hpp"
#include "run/file_calls.hpp"
#include "run/huge_files.hpp"
#include "run/open_call.hpp"
#include "run/pagemap.hpp"
#include "run/proc_status.hpp"
#include "run/remote_copy.hpp"

namespace iommufd::run {
namespace {

constexpr const char* kFailNth = "fail-nth";
constexpr const char* kPagemap = "pagemap";

std::string_view last_name(std::string_view path) {
  while (!path.empty() && path.back() == '/') path.remove_suffix(1);
  return path.substr(path.rfind('/') + 1);
}

// The number at the end of a path that names a descriptor of the caller, and the process it is said to be of (0: itself).
struct DescriptorPath {
  pid_t process = 0;
  int fd = 0;
};

template <class Int>
bool parse_all(std::string_view text, Int& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

std::optional<DescriptorPath> parse_descriptor_path(std::string_view path) {
  DescriptorPath d;
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {};
  const std::string_view directory = path.substr(0, slash);
  if (directory == "/dev") {
    constexpr std::array<std::string_view, 3> kNames{"stdin", "stdout", "stderr"};
    const auto it = std::ranges::find(kNames, path.substr(slash + 1));
    if (it == kNames.end()) return {};
    d.fd = static_cast<int>(it - kNames.begin());
    return d;
  }
  if (!parse_all(path.substr(slash + 1), d.fd) || d.fd < 0) return {};
  if (directory == "/dev/fd" || directory == "/proc/self/fd" || directory == "/proc/thread-self/fd") return d;
  constexpr std::string_view kProc = "/proc/", kFd = "/fd";
  if (!directory.starts_with(kProc) || !directory.ends_with(kFd) || directory.size() <= kProc.size() + kFd.size())
    return {};
  const std::string_view middle = directory.substr(kProc.size(), directory.size() - kProc.size() - kFd.size());
  if (!parse_all(middle, d.process)) return {};
  return d;
}

// What the bits of a node let its owner do; `wanted` as for access(2).
Result<void> check_access(const struct stat& st, u32 wanted) {
  if ((wanted & ~u32{R_OK | W_OK | X_OK}) != 0) return Err(Errno::kInval);
  const bool read = (st.st_mode & 0444) != 0, write = (st.st_mode & 0222) != 0, execute = (st.st_mode & 0111) != 0;
  if (((wanted & R_OK) != 0 && !read) || ((wanted & W_OK) != 0 && !write) || ((wanted & X_OK) != 0 && !execute))
    return Err(Errno::kAcces);
  return {};
}

std::string proc_link(const CallScope& scope, int dirfd) {
  return dirfd == AT_FDCWD ? fmt::format("/proc/{}/cwd", scope.tid())
                           : fmt::format("/proc/{}/fd/{}", scope.tid(), dirfd);
}

}  // namespace

PathCalls::PathCalls(const Runtime& runtime)
    : runtime_(runtime), mirror_in_use_(runtime.view.kind() == ViewKind::kMount) {
  names_.insert("status");  // own_status()
  names_.insert(kPagemap);
  if (runtime.service.faults() != nullptr) names_.insert(kFailNth);
  if (runtime.huge != nullptr)
    for (const std::string_view name : huge_file_names()) names_.emplace(name);
  collect_names(runtime.service.tree().root());
}

void PathCalls::collect_names(const Node& directory) {
  for (const auto& [name, node] : directory.children()) {
    names_.insert(name);
    if (node->kind() == NodeKind::kDirectory) collect_names(*node);
  }
}

Answer PathCalls::handle(CallScope& scope) {
  const Result<Request> request = decode(scope);
  if (!request) return Answer::go_on();
  std::array<char, PATH_MAX> buf;
  const Result<std::string_view> path = read_path(scope, request->path_at, buf);
  if (!path) return Answer::go_on();
  if (path->empty()) {
    if (!request->by_descriptor) return Answer::go_on();
    if (request->op == Op::kStat) return handle_fstat(runtime_, scope, request->dirfd, request->out_at);
    if (request->op == Op::kStatx) return handle_fstatx(runtime_, scope, request->dirfd, request->out_at);
    return Answer::go_on();
  }
  const std::optional<Place> where = place(scope, *request, *path);
  if (!where) return Answer::go_on();
  if (std::optional<Answer> a = own_descriptor(scope, *request, where->path)) return *a;
  if (std::optional<Answer> a = own_status(scope, *request, where->path)) return *a;
  if (std::optional<Answer> a = own_pagemap(scope, *request, where->path)) return *a;
  if (std::optional<Answer> a = own_fail_nth(scope, *request, where->path)) return *a;
  if (std::optional<Answer> a = own_huge_file(scope, *request, where->path)) return *a;

  const Lookup found = runtime_.service.tree().lookup(where->path, request->follow ? Follow::kYes : Follow::kNo);
  const bool native = where->native && found.outcome != Lookup::Outcome::kElsewhere;
  const std::string& path_here = found.path.empty() ? where->path : found.path;
  switch (found.outcome) {
    case Lookup::Outcome::kNotOurs:
    case Lookup::Outcome::kElsewhere:
      if (native && !runtime_.view.covers(path_here)) return Answer::go_on();
      return do_here(scope, *request, path_here);
    case Lookup::Outcome::kError: return error(scope, *request, found);
    case Lookup::Outcome::kFound: break;
  }
  if (runtime_.view.passes_through(found)) return native ? Answer::go_on() : do_here(scope, *request, path_here);
  if (!scope.is_valid()) return Answer::go_on();
  return answer(scope, *request, found);
}

Result<PathCalls::Request> PathCalls::decode(const CallScope& scope) {
  const Notification& n = scope.notification();
  Request r;
  r.dirfd = n.int_arg(0);
  r.path_at = n.arg(1);
  switch (n.data.nr) {
    case SYS_open:
      return Request{.op = Op::kOpen,
                     .dirfd = AT_FDCWD,
                     .path_at = n.arg(0),
                     .flags = n.int_arg(1),
                     .mode = static_cast<u32>(n.arg(2)),
                     .follow = (n.int_arg(1) & O_NOFOLLOW) == 0};
    case SYS_creat:
      return Request{.op = Op::kOpen,
                     .dirfd = AT_FDCWD,
                     .path_at = n.arg(0),
                     .flags = O_CREAT | O_WRONLY | O_TRUNC,
                     .mode = static_cast<u32>(n.arg(1))};
    case SYS_openat:
      r.flags = n.int_arg(2);
      r.mode = static_cast<u32>(n.arg(3));
      r.follow = (r.flags & O_NOFOLLOW) == 0;
      return r;
    case SYS_openat2: {
      const open_how how = IOMMUFD_TRY(scope.get<open_how>(n.arg(2)));
      // A walk that must stay below its directory cannot come to us, unless the directory is ours; the kernel knows.
      if (how.resolve != 0) return Err(Errno::kInval);
      r.flags = static_cast<int>(how.flags);
      r.mode = static_cast<u32>(how.mode);
      r.follow = (r.flags & O_NOFOLLOW) == 0;
      return r;
    }
    case SYS_stat:
    case SYS_lstat:
      return Request{
          .op = Op::kStat, .dirfd = AT_FDCWD, .path_at = n.arg(0), .out_at = n.arg(1), .follow = n.data.nr == SYS_stat};
    case SYS_newfstatat:
      r.op = Op::kStat;
      r.out_at = n.arg(2);
      r.flags = n.int_arg(3);
      break;
    case SYS_statx:
      r.op = Op::kStatx;
      r.flags = n.int_arg(2);
      r.out_at = n.arg(4);
      break;
    case SYS_access:
      return Request{.op = Op::kAccess, .dirfd = AT_FDCWD, .path_at = n.arg(0), .mode = static_cast<u32>(n.arg(1))};
    case SYS_faccessat:
    case SYS_faccessat2:
      r.op = Op::kAccess;
      r.mode = static_cast<u32>(n.arg(2));
      r.flags = n.data.nr == SYS_faccessat2 ? n.int_arg(3) : 0;
      break;
    case SYS_readlink:
      return Request{.op = Op::kReadlink,
                     .dirfd = AT_FDCWD,
                     .path_at = n.arg(0),
                     .out_at = n.arg(1),
                     .out_size = n.arg(2),
                     .follow = false};
    case SYS_getxattr:
    case SYS_lgetxattr:
      return Request{.op = Op::kGetXattr, .dirfd = AT_FDCWD, .path_at = n.arg(0), .follow = n.data.nr == SYS_getxattr};
    case SYS_listxattr:
    case SYS_llistxattr:
      return Request{
          .op = Op::kListXattr, .dirfd = AT_FDCWD, .path_at = n.arg(0), .follow = n.data.nr == SYS_listxattr};
    case SYS_readlinkat:
      r.op = Op::kReadlink;
      r.out_at = n.arg(2);
      r.out_size = n.arg(3);
      r.follow = false;
      return r;
    default: return Err(Errno::kInval);
  }
  r.follow = (r.flags & AT_SYMLINK_NOFOLLOW) == 0;
  r.by_descriptor = (r.flags & AT_EMPTY_PATH) != 0;
  return r;
}

// A path of up to PATH_MAX bytes, page by page: what comes behind its end need not be mapped. A null pointer is an empty
// path (newfstatat and statx with AT_EMPTY_PATH). Whoever acts on the path asks again whether the caller is still there.
Result<std::string_view> PathCalls::read_path(const CallScope& scope, u64 at, std::span<char> buf) {
  if (at == 0) return std::string_view();
  constexpr std::size_t kFirstTry = 256;  // nearly every path
  std::size_t have = 0;
  while (have < buf.size()) {
    const u64 from = at + have;
    const std::size_t to_page_end = kPageSize - (from & kPageMask);
    const std::size_t want = std::min({to_page_end, buf.size() - have, have == 0 ? kFirstTry : buf.size()});
    const std::size_t got =
        IOMMUFD_TRY(remote_read(scope.tid(), from, std::as_writable_bytes(buf.subspan(have, want))));
    if (got == 0) return Err(Errno::kFault);
    if (const void* end = std::memchr(buf.data() + have, 0, got); end != nullptr)
      return std::string_view(buf.data(), static_cast<const char*>(end));
    have += got;
  }
  return Err(Errno::kNameTooLong);
}

std::optional<PathCalls::Place> PathCalls::place(const CallScope& scope, const Request& request,
                                                 std::string_view path) const {
  if (path.front() == '/') return Place{std::string(path), true};
  const bool named_like_ours = names_.contains(last_name(path)) || path.find("..") != std::string_view::npos;
  const bool maybe_mirror = mirror_in_use_.load(std::memory_order_relaxed);
  if (!named_like_ours && !maybe_mirror) return {};
  const std::string link = proc_link(scope, request.dirfd);
  if (maybe_mirror) {
    struct stat st{};
    if (::stat(link.c_str(), &st) != 0) return {};
    if (const std::optional<std::string> directory = runtime_.view.path_of(st))
      return Place{join(*directory, path), false};
    if (!named_like_ours) return {};
  }
  const Result<std::string> directory = sys::read_link(link);
  if (!directory || !directory->starts_with('/')) return {};
  return Place{join(*directory, path), true};
}

Answer PathCalls::answer(CallScope& scope, const Request& request, const Lookup& found) {
  if (request.op == Op::kOpen) return open(scope, request, found);
  if (request.op == Op::kReadlink) {
    if (static_cast<int>(request.out_size) <= 0 || found.node->kind() != NodeKind::kSymlink)
      return Answer::fail(Errno::kInval);
    return put_link(scope, request, found.node->target());
  }
  if (request.op == Op::kGetXattr) return Answer::fail(Errno::kNoData);  // none of ours has any
  if (request.op == Op::kListXattr) return Answer::of(0);
  const Result<struct stat> st = runtime_.view.stat(found);
  if (!st) return Answer::fail(st.error());
  if (request.op == Op::kAccess) return Answer::from(check_access(*st, request.mode));
  return put_stat(scope, request, *st);
}

Answer PathCalls::open(CallScope& scope, const Request& request, const Lookup& found) {
  if (found.node->kind() == NodeKind::kSymlink) return Answer::fail(Errno::kLoop);  // O_NOFOLLOW
  if (found.node->kind() == NodeKind::kDirectory) return open_directory(scope, request, found);
  const Result<struct stat> st = runtime_.view.stat(found);
  if (!st) return Answer::fail(st.error());
  return open_node(runtime_, scope, *found.node, found.path, *st, request.flags);
}

Answer PathCalls::open_directory(CallScope& scope, const Request& request, const Lookup& found) {
  if ((request.flags & O_CREAT) != 0)
    return Answer::fail((request.flags & O_EXCL) != 0 ? Errno::kExist : Errno::kIsDir);
  if ((request.flags & O_PATH) == 0 && (request.flags & O_ACCMODE) != O_RDONLY) return Answer::fail(Errno::kIsDir);
  const Result<Fd> fd = runtime_.view.open_directory(found.path, request.flags);
  if (!fd) return Answer::fail(fd.error());
  mirror_in_use_.store(true, std::memory_order_relaxed);
  const Result<int> given = runtime_.listener.install_descriptor(
      scope.notification().id, fd->get(), -1, (request.flags & O_CLOEXEC) != 0 ? CloseOnExec::kYes : CloseOnExec::kNo);
  return given ? Answer::of(*given) : Answer::fail(given.error());
}

// What is not there cannot be made either: sysfs and devtmpfs refuse it to us.
Answer PathCalls::error(CallScope&, const Request& request, const Lookup& missing) const {
  const bool creates = request.op == Op::kOpen && (request.flags & O_CREAT) != 0 && missing.error == Errno::kNoEnt;
  return Answer::fail(creates ? Errno::kAcces : missing.error);
}

Answer PathCalls::do_here(CallScope& scope, const Request& request, const std::string& path) const {
  const int nofollow = request.follow ? 0 : AT_SYMLINK_NOFOLLOW;
  switch (request.op) {
    case Op::kOpen: {
      const Result<int> opened = sys::check(::open(path.c_str(), request.flags | O_CLOEXEC | O_NOCTTY, request.mode));
      if (!opened) return Answer::fail(opened.error());
      const Fd fd(*opened);
      const Result<int> given =
          runtime_.listener.install_descriptor(scope.notification().id, fd.get(), -1,
                                               (request.flags & O_CLOEXEC) != 0 ? CloseOnExec::kYes : CloseOnExec::kNo);
      return given ? Answer::of(*given) : Answer::fail(given.error());
    }
    case Op::kStat:
    case Op::kStatx: {
      struct stat st{};
      if (::fstatat(AT_FDCWD, path.c_str(), &st, nofollow) != 0) return Answer::fail(sys::last_errno());
      return put_stat(scope, request, st);
    }
    case Op::kAccess:
      if (::faccessat(AT_FDCWD, path.c_str(), static_cast<int>(request.mode), nofollow) != 0)
        return Answer::fail(sys::last_errno());
      return Answer::of(0);
    case Op::kReadlink: {
      if (static_cast<int>(request.out_size) <= 0) return Answer::fail(Errno::kInval);
      const Result<std::string> target = sys::read_link(path);
      return target ? put_link(scope, request, *target) : Answer::fail(target.error());
    }
    case Op::kGetXattr: return Answer::fail(Errno::kNoData);
    case Op::kListXattr: return Answer::of(0);
  }
  return Answer::go_on();
}

std::optional<Answer> PathCalls::own_descriptor(CallScope& scope, const Request& request, std::string_view path) {
  const std::optional<DescriptorPath> d = parse_descriptor_path(path);
  if (!d || (runtime_.files.empty() && !mirror_in_use_.load(std::memory_order_relaxed))) return {};
  Result<ClientCall> call = ClientCall::make(runtime_, scope);
  if (!call) return {};
  const Result<Identified> found = call->identify(d->fd);
  if (!found || (d->process != 0 && d->process != scope.tid() && d->process != call->client().tgid())) return {};
  if (!found->ours) {
    const std::optional<std::string> directory = runtime_.view.path_of(found->attributes);
    if (!directory || request.op != Op::kReadlink) return {};
    return put_link(scope, request, *directory);
  }
  const OpenFile& file = *found->ours;
  switch (request.op) {
    case Op::kOpen:
      if (!request.follow) return {};
      if (file.node() == nullptr) return Answer::fail(Errno::kNxio);
      return open_node(runtime_, scope, *file.node(), file.path(), file.attributes(), request.flags);
    case Op::kStat:
    case Op::kStatx:
      if (!request.follow) return {};
      return put_stat(scope, request, file.attributes());
    case Op::kAccess: return Answer::from(check_access(file.attributes(), request.mode));
    case Op::kReadlink: return put_link(scope, request, file.path());
    case Op::kGetXattr: return Answer::fail(Errno::kNoData);
    case Op::kListXattr: return Answer::of(0);
  }
  return {};
}

std::optional<Answer> PathCalls::own_status(CallScope& scope, const Request& request, std::string_view path) {
  if (request.op != Op::kOpen || runtime_.files.empty()) return {};
  const std::optional<ProcPath> status = parse_proc_path(path, "status");
  if (!status || (request.flags & (O_PATH | O_DIRECTORY | O_ACCMODE)) != 0) return {};
  Result<ClientCall> call = ClientCall::make_confirmed(runtime_, scope);
  if (!call) return {};
  const pid_t tgid = status->process != 0 ? status->process : call->client().tgid();
  const Ref<ClientProcess> process = runtime_.processes.find_process(tgid);
  if (!process) return {};
  const pid_t tid = status->thread != 0 ? status->thread : scope.tid();
  const std::string real =
      status->of_thread ? fmt::format("/proc/{}/task/{}/status", tgid, tid) : fmt::format("/proc/{}/status", tgid);
  TextFile text;
  text.path = path;
  if (::stat(real.c_str(), &text.attributes) != 0) return {};
  text.read = [process, real, pin = runtime_.options.pin](Reader) {
    return add_pins(sys::read_file(real).value_or(std::string()), *process, pin);
  };
  text.write = [](std::string_view, u64) -> Result<u64> { return Err(Errno::kBadf); };
  return open_text(runtime_, *call, text, request.flags);
}

// Of the caller's own process; others' are the machine's.
std::optional<Answer> PathCalls::own_pagemap(CallScope& scope, const Request& request, std::string_view path) {
  if (request.op != Op::kOpen) return {};
  const std::optional<ProcPath> pagemap = parse_proc_path(path, kPagemap);
  if (!pagemap || (request.flags & (O_PATH | O_DIRECTORY | O_ACCMODE)) != 0) return {};
  Result<ClientCall> call = ClientCall::make_confirmed(runtime_, scope);
  if (!call || (pagemap->process != 0 && pagemap->process != call->client().tgid())) return {};
  const std::string real = fmt::format("/proc/{}/pagemap", call->client().tgid());
  Fd fd(::open(real.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat attributes{};
  if (fd.get() < 0 || ::fstat(fd.get(), &attributes) != 0) return {};
  return open_own(runtime_, *call, std::string(path), attributes,
                  make_ref<PagemapFile>(runtime_.service, std::move(fd)), request.flags);
}

std::optional<Answer> PathCalls::own_fail_nth(CallScope& scope, const Request& request, std::string_view path) {
  FaultPlans* faults = runtime_.service.faults();
  if (faults == nullptr || request.op != Op::kOpen) return {};
  const std::optional<ProcPath> found = parse_proc_path(path, kFailNth);
  if (!found || (request.flags & (O_PATH | O_DIRECTORY)) != 0) return {};
  Result<ClientCall> call = ClientCall::make_confirmed(runtime_, scope);
  if (!call) return {};
  const pid_t tid = found->thread != 0 ? found->thread : found->process != 0 ? found->process : scope.tid();
  TextFile text;
  text.path = path;
  text.attributes.st_mode = S_IFREG | 0644;
  text.attributes.st_nlink = 1;
  text.attributes.st_blksize = static_cast<blksize_t>(kPageSize);
  text.read = [faults, tid](Reader) { return faults->show(tid); };
  text.write = [faults, tid](std::string_view data, u64) -> Result<u64> {
    IOMMUFD_TRY(faults->store(tid, data));
    return data.size();
  };
  text.closed = [faults, tid] { faults->finish(tid); };
  return open_text(runtime_, *call, text, request.flags);
}

std::optional<Answer> PathCalls::own_huge_file(CallScope& scope, const Request& request, const std::string& path) {
  HugePool* pool = runtime_.huge;
  if (pool == nullptr || request.op != Op::kOpen || (request.flags & (O_PATH | O_DIRECTORY)) != 0 ||
      !read_huge_file(*pool, path))
    return {};
  Result<ClientCall> call = ClientCall::make_confirmed(runtime_, scope);
  if (!call) return {};
  const bool writes = OpenMode{request.flags}.writable();
  if (writes && !(sets_huge_pages(path) && call->capable(mem::Capability::kSysAdmin)))
    return Answer::fail(Errno::kAcces);
  TextFile text;
  text.path = path;
  if (::stat(path.c_str(), &text.attributes) != 0) text.attributes.st_mode = S_IFREG | 0444;
  text.read = [pool, path](Reader) { return read_huge_file(*pool, path).value_or(std::string()); };
  text.write = [pool](std::string_view data, u64) -> Result<u64> {
    u64 pages = 0;
    const std::string_view digits = data.substr(0, data.find('\n'));
    if (!parse_all(digits, pages)) return Err(Errno::kInval);
    pool->resize(pages);
    return data.size();
  };
  return open_text(runtime_, *call, text, request.flags);
}

Answer PathCalls::put_stat(const CallScope& scope, const Request& request, const struct stat& st) {
  return Answer::from(request.op == Op::kStatx ? scope.put(request.out_at, statx_of(st))
                                               : scope.put(request.out_at, st));
}

Answer PathCalls::put_link(const CallScope& scope, const Request& request, std::string_view target) {
  const std::size_t n = std::min<std::size_t>(target.size(), static_cast<u32>(request.out_size));
  const Result<std::size_t> done = scope.write(request.out_at, std::as_bytes(std::span(target).first(n)));
  if (!done || *done != n) return Answer::fail(Errno::kFault);
  return Answer::of(static_cast<s64>(n));
}

}  // namespace iommufd::run
