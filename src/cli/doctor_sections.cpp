// SPDX-License-Identifier: BSD-3-Clause
#include "cli/doctor_sections.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <optional>
#include <string_view>

#include "base/sys.hpp"
#include "base/types.hpp"
#include "cli/doctor_probes.hpp"
#include "run/path_view.hpp"

namespace iommufd::cli {
namespace {

constexpr rlim_t kEnoughFiles = 1024;  // our descriptors are put at 512 and above
constexpr rlim_t kSmallMemlock = rlim_t{64} << 20;

std::string why(CallErrno e) { return e == kNotTried ? "not tried" : errno_name(static_cast<Errno>(e)); }

// A call that works or does not.
Finding call(std::string what, CallErrno e, Need need, std::string cost) {
  if (e == kOk) return {.what = std::move(what), .need = need};
  return {.what = std::move(what), .state = State::kNo, .detail = why(e), .cost = std::move(cost), .need = need};
}

// The first line of a small file, without its newline; nothing when it cannot be read.
std::optional<std::string> first_line(const std::string& path) {
  const Result<std::string> text = sys::read_file(path);
  if (!text) return std::nullopt;
  return text->substr(0, text->find('\n'));
}

// The value of a "Name:  value" line of a procfs file; empty when there is none.
std::string field(const std::string& path, std::string_view name) {
  const Result<std::string> text = sys::read_file(path);
  if (!text) return {};
  const std::string key = fmt::format("\n{}:", name);
  const std::size_t at = ("\n" + *text).find(key);
  if (at == std::string::npos) return {};
  std::string value = text->substr(at + key.size() - 1);
  value = value.substr(0, value.find('\n'));
  return value.substr(std::min(value.find_first_not_of(" \t"), value.size()));
}

std::string size_text(rlim_t bytes) {
  if (bytes == RLIM_INFINITY) return "unlimited";
  if (bytes >= (rlim_t{1} << 20)) return fmt::format("{} MiB", bytes >> 20);
  return fmt::format("{} KiB", bytes >> 10);
}

Finding kernel_version() {
  utsname u{};
  uname(&u);
  Finding f{.what = "kernel 6.1 or later, x86-64",
            .detail = fmt::format("{} {}", u.release, u.machine),
            .need = Need::kRequired};
  unsigned major = 0, minor = 0;
  const std::string_view release = u.release;
  const auto dot = std::from_chars(release.data(), release.data() + release.size(), major);
  std::from_chars(dot.ptr + (dot.ptr < release.data() + release.size() ? 1 : 0), release.data() + release.size(),
                  minor);
  if (std::string_view(u.machine) != "x86_64") {
    f.state = State::kNo;
    f.cost = "only x86-64 is supported";
  } else if (major < 6 || (major == 6 && minor < 1)) {
    f.state = State::kLimited;
    f.cost = "older than what is tested; the lines below tell what it lacks";
  }
  return f;
}

Finding file_limit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  Finding f{.what = "open files", .detail = fmt::format("{} now, {} at most", limit.rlim_cur, limit.rlim_max)};
  if (limit.rlim_cur < kEnoughFiles) {
    f.state = State::kLimited;
    f.cost = "our descriptors belong at 512 and above; below, read, write and lseek on them act on a bare memory file";
  }
  return f;
}

Finding identity() {
  return {.what = "privilege",
          .detail = geteuid() == 0 ? "root: the mount view needs no user namespace"
                                   : fmt::format("user {}: root is not needed", geteuid())};
}

Finding listener(const SeccompTrial& trial) {
  constexpr const char* kWhat = "seccomp notification";
  if (trial.listener == EBUSY) {
    return {.what = kWhat,
            .state = State::kNo,
            .detail = "EBUSY: this process is under another listener",
            .cost = "`run` does not work inside `run`, nor under another program that listens to system calls",
            .need = Need::kRequired};
  }
  return call(kWhat, trial.listener, Need::kRequired,
              "no system call can be answered; a container's profile may forbid it");
}

Finding present_filters() {
  const std::string filters = field("/proc/self/status", "Seccomp_filters");
  Finding f{.what = "free of other filters"};
  if (filters.empty() || filters == "0") return f;
  f.state = State::kLimited;
  f.detail = fmt::format("{} already", filters);
  f.cost = "what they refuse stays refused to the program, also what we would answer";
  return f;
}

Finding yama() {
  const std::optional<std::string> scope = first_line("/proc/sys/kernel/yama/ptrace_scope");
  Finding f{.what = "Yama ptrace_scope", .detail = scope.value_or("no Yama: good")};
  if (scope == "1") f.detail = "1: good, the server is an ancestor of the program";
  if (scope == "2" || scope == "3") {
    f.state = State::kLimited;
    f.cost = "the server may look into the program only with CAP_SYS_PTRACE (2) or not at all (3)";
  }
  return f;
}

Finding memlock() {
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  Finding f{.what = "RLIMIT_MEMLOCK",
            .detail = fmt::format("{} now, {} at most", size_text(limit.rlim_cur), size_text(limit.rlim_max))};
  if (limit.rlim_cur < kSmallMemlock) {
    f.state = State::kLimited;
    f.cost = "a program can map that much at a time, as with the kernel; --memlock=SIZE lifts it";
  }
  return f;
}

Finding io_uring() {
  const CallErrno e = try_io_uring();
  Finding f = call("io_uring", e, Need::kUseful, "--pin=real falls back to --pin=auto");
  const std::optional<std::string> disabled = first_line("/proc/sys/kernel/io_uring_disabled");
  if (e != kOk && disabled && *disabled != "0") f.detail += fmt::format(", kernel.io_uring_disabled={}", *disabled);
  return f;
}

Finding huge_pages() {
  const std::string total = field("/proc/meminfo", "HugePages_Total"), size = field("/proc/meminfo", "Hugepagesize");
  Finding f{.what = "huge pages",
            .detail = fmt::format("{} of {}", total.empty() ? "0" : total, size.empty() ? "?" : size)};
  if (total.empty() || total == "0") {
    f.state = State::kNo;
    f.cost =
        "programs that insist on hugetlb memory cannot get it (mmap: ENOMEM); vm.nr_hugepages reserves some, and run "
        "--hugetlb=emulate does without";
  }
  return f;
}

}  // namespace

Section system_section() { return {"This machine", {kernel_version(), identity(), file_limit()}}; }

Section calls_section() {
  const SeccompTrial seccomp = try_seccomp();
  const ProcessTrial process = try_process();
  Section section{"System calls of the program", {listener(seccomp), present_filters()}};
  const auto add = [&](Finding f) { section.findings.push_back(std::move(f)); };
  if (seccomp.listener == kOk) {
    add(call("  descriptors in answers (ADDFD, SEND)", seccomp.addfd_send, Need::kRequired, "open cannot be answered"));
    add(call("  uninterrupted calls (WAIT_KILLABLE_RECV)", seccomp.wait_killable, Need::kUseful,
             "a signal may interrupt a call after it took effect"));
    add(call("  wake-up on the same CPU (SYNC_WAKE_UP)", seccomp.sync_wake_up, Need::kUseful,
             "each answered call takes some microseconds longer"));
  }
  add(call("pidfd_getfd", process.pidfd_getfd, Need::kRequired, "the file behind a descriptor cannot be identified"));
  add(call("pidfd of a thread (PIDFD_THREAD)", try_pidfd_thread(), Need::kUseful,
           "threads that share no descriptors with their process (CLONE_FILES off) are not told apart"));
  add(yama());
  return section;
}

Section memory_section() {
  const ProcessTrial process = try_process();
  return {
      "Memory of the program",
      {call("process_vm_readv", process.read_memory, Need::kRequired, "arguments of ioctls cannot be read"),
       call("sealed memory files", try_sealed_memfd(), Need::kRequired, "there is nothing to put behind a descriptor"),
       call("ptrace (injected system calls)", process.ptrace, Need::kUseful, "--pin=real falls back to --pin=auto"),
       io_uring(),
       call("mappings by ioctl (PROCMAP_QUERY)", try_procmap_query(), Need::kUseful,
            "mappings are looked up by reading /proc/PID/maps, which is slower"),
       call("pages by ioctl (PAGEMAP_SCAN)", try_pagemap_scan(), Need::kUseful,
            "pages are looked up by reading pagemap"),
       memlock(), huge_pages()}};
}

Section paths_section() {
  const run::PathTree nothing;
  Finding mount{.what = "mount view of /dev and /sys"};
  if (const auto view = run::PathView::create(nothing, run::PathsPolicy::kMount); view) {
    mount.detail = geteuid() == 0 ? "in a mount namespace" : "in a user and mount namespace";
  } else {
    mount.state = State::kNo;
    mount.detail = run::PathView::mount_refusal();
    mount.cost = "chdir, getcwd and xattr calls do not reach our directories; open, stat, readdir and the like do";
  }
  return {"Paths", {std::move(mount)}};
}

}  // namespace iommufd::cli
