// SPDX-License-Identifier: BSD-3-Clause
// Files of /proc that say something of ours: descriptors and what is behind them, pins, frames, injected faults.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/sys.hpp"
#include "ioctl/vfio_device_file.hpp"
#include "run/attributes.hpp"
#include "run/open_call.hpp"
#include "run/pagemap.hpp"
#include "run/path_calls.hpp"
#include "run/proc_status.hpp"

namespace iommufd::run {
namespace {

constexpr const char* kFd = "fd";
constexpr const char* kFdinfo = "fdinfo";
constexpr const char* kFailNth = "fail-nth";
constexpr const char* kPagemap = "pagemap";
constexpr const char* kStatus = "status";

// What a path like /proc/PID/fd/N or /proc/PID/fdinfo/N names.
struct DescriptorPath {
  ProcPath process;
  int fd = 0;
};

// `directory` is "fd" or "fdinfo". Nothing when it is another path.
std::optional<DescriptorPath> parse_descriptor_path(std::string_view path, std::string_view directory) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {};
  const std::string_view name = path.substr(slash + 1);
  DescriptorPath found;
  if (path.starts_with("/dev/") && directory == kFd) {
    constexpr std::array<std::string_view, 3> kNames{"stdin", "stdout", "stderr"};
    const auto it = std::ranges::find(kNames, path.substr(std::string_view("/dev/").size()));
    if (it == kNames.end() && path.substr(0, slash) != "/dev/fd") return {};
    if (it != kNames.end()) return DescriptorPath{.process = {}, .fd = static_cast<int>(it - kNames.begin())};
  } else if (const auto process = parse_proc_path(path.substr(0, slash), directory)) {
    found.process = *process;
  } else {
    return {};
  }
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), found.fd);
  if (error != std::errc{} || end != name.data() + name.size() || found.fd < 0) return {};
  return found;
}

}  // namespace

std::optional<Answer> PathCalls::in_proc(CallScope& scope, const Request& request, std::string_view path) {
  // The one question that nearly every path comes to.
  if (!path.starts_with("/proc/") && !path.starts_with("/dev/")) return {};
  if (std::optional<Answer> a = own_descriptor(scope, request, path)) return a;
  if (std::optional<Answer> a = own_fdinfo(scope, request, path)) return a;
  if (std::optional<Answer> a = own_status(scope, request, path)) return a;
  if (std::optional<Answer> a = own_pagemap(scope, request, path)) return a;
  return own_fail_nth(scope, request, path);
}

std::optional<PathCalls::Named> PathCalls::find_descriptor(ClientCall& call, const ProcPath& process, int fd) const {
  const pid_t caller = call.client().tgid();
  if (process.process == 0 || process.process == caller || process.process == call.scope().tid()) {
    Result<Identified> found = call.identify(fd);
    if (!found) return {};
    return Named{caller, std::move(found->ours), found->attributes};
  }
  Named named{.process = process.process};
  if (::stat(fmt::format("/proc/{}/fd/{}", process.process, fd).c_str(), &named.attributes) != 0) return {};
  named.ours = runtime_.files.find(named.attributes.st_dev, named.attributes.st_ino);
  return named;
}

std::optional<Answer> PathCalls::own_descriptor(CallScope& scope, const Request& request, std::string_view path) {
  const std::optional<DescriptorPath> d = parse_descriptor_path(path, kFd);
  if (!d || (runtime_.files.empty() && !mirror_in_use_.load(std::memory_order_relaxed))) return {};
  Result<ClientCall> call = ClientCall::make(runtime_, scope);
  if (!call) return {};
  const std::optional<Named> found = find_descriptor(*call, d->process, d->fd);
  if (!found) return {};
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
      return open_node(runtime_, scope, file.node(), file.path(), file.attributes(), request.flags);
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

// What VFIO adds for a descriptor of a device (spec vfio-device 3): which function it is.
std::optional<Answer> PathCalls::own_fdinfo(CallScope& scope, const Request& request, std::string_view path) {
  if (request.op != Op::kOpen || runtime_.files.empty()) return {};
  const std::optional<DescriptorPath> d = parse_descriptor_path(path, kFdinfo);
  if (!d || (request.flags & (O_PATH | O_DIRECTORY | O_ACCMODE)) != 0) return {};
  Result<ClientCall> call = ClientCall::make_confirmed(runtime_, scope);
  if (!call) return {};
  const std::optional<Named> found = find_descriptor(*call, d->process, d->fd);
  const ioctl::VfioDeviceFile* device = found && found->ours ? found->ours->file().as_vfio_device() : nullptr;
  if (device == nullptr) return {};
  const std::string link = "/sys/bus/pci/devices/" + device->function().bdf().str();
  const std::string line =
      fmt::format("vfio-device-syspath: {}\n", runtime_.service.tree().now()->lookup(link, Follow::kYes).path);
  const std::string real = fmt::format("/proc/{}/fdinfo/{}", found->process, d->fd);
  TextFile text;
  text.path = path;
  if (::stat(real.c_str(), &text.attributes) != 0) return {};
  text.read = [real, line](Reader) { return sys::read_file(real).value_or(std::string()) + line; };
  text.write = [](const Write&) -> Result<u64> { return Err(Errno::kBadf); };
  return open_text(runtime_, *call, text, request.flags);
}

std::optional<Answer> PathCalls::own_status(CallScope& scope, const Request& request, std::string_view path) {
  if (request.op != Op::kOpen || runtime_.files.empty()) return {};
  const std::optional<ProcPath> status = parse_proc_path(path, kStatus);
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
  text.write = [](const Write&) -> Result<u64> { return Err(Errno::kBadf); };
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
  text.write = [faults, tid](const Write& w) -> Result<u64> {
    IOMMUFD_TRY(faults->store(tid, w.data));
    return w.data.size();
  };
  text.closed = [faults, tid] { faults->finish(tid); };
  return open_text(runtime_, *call, text, request.flags);
}

}  // namespace iommufd::run
