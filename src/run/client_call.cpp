// SPDX-License-Identifier: BSD-3-Clause
#include "run/client_call.hpp"

#include <fmt/format.h>

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/explain.hpp"
#include "base/sys.hpp"
#include "ioctl/vfio_device_file.hpp"
#include "run/client_memory.hpp"
#include "run/find_descriptor.hpp"
#include "run/open_call.hpp"
#include "run/pinned_file.hpp"

namespace iommufd::run {
namespace {

// The memory of a caller that is gone, or that we may not look at.
class NoMemory final : public mem::AddressSpace {
 public:
  Result<std::size_t> read_some(UserVa, std::span<std::byte>) override { return Err(Errno::kSrch); }
  Result<std::size_t> write_some(UserVa, std::span<const std::byte>) override { return Err(Errno::kSrch); }
  Result<void> populate(UserVa, u64, Access, std::vector<mem::PageRun>&) override { return Err(Errno::kFault); }
  std::byte* direct(UserVa) override { return nullptr; }
};

// The effective capabilities of a thread, now. None when they cannot be read: a caller that is gone has none.
u64 effective_capabilities(pid_t tid) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, tid};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return 0;
  return u64{data[1].effective} << 32 | data[0].effective;
}

ino_t user_namespace(const std::string& process) {
  struct stat st{};
  return ::stat(fmt::format("/proc/{}/ns/user", process).c_str(), &st) == 0 ? st.st_ino : 0;
}

// Capabilities count in our own user namespace. The one that a mount view of ours gave PROGRAM stands for it; in one that
// the client made for itself it has every capability, and none here.
bool in_our_user_namespace(pid_t tid, ino_t of_program) {
  static const ino_t kOwn = user_namespace("self");
  const ino_t theirs = user_namespace(std::to_string(tid));
  return theirs != 0 && (theirs == kOwn || theirs == of_program);
}

CloseOnExec run_flag(ioctl::CloseOnExec flag) {
  return flag == ioctl::CloseOnExec::kYes ? CloseOnExec::kYes : CloseOnExec::kNo;
}

}  // namespace

Result<ClientCall> ClientCall::make(const Runtime& runtime, CallScope& scope) {
  Ref<Task> task = IOMMUFD_TRY(runtime.processes.find(scope));
  return ClientCall(runtime, scope, std::move(task));
}

Result<ClientCall> ClientCall::make_confirmed(const Runtime& runtime, CallScope& scope) {
  Ref<Task> task = IOMMUFD_TRY(runtime.processes.find_alive(scope));
  return ClientCall(runtime, scope, std::move(task));
}

Ref<mem::AddressSpace> ClientCall::memory() {
  if (!memory_) {
    Result<Ref<ProcessMemory>> process = runtime_.processes.memory(scope_, *task_);
    if (process) {
      memory_ = make_ref<ClientMemory>(std::move(*process), runtime_.options, runtime_.service.pin_keeper());
    } else {
      memory_ = make_ref<NoMemory>();
    }
  }
  return memory_;
}

bool ClientCall::has_capability(mem::Capability cap) {
  return (effective_capabilities(scope_.tid()) & (u64{1} << std::to_underlying(cap))) != 0 &&
         in_our_user_namespace(scope_.tid(), runtime_.client_user_namespace);
}

bool ClientCall::capable(mem::Capability cap) {
  const Options& options = runtime_.options;
  if (cap == mem::Capability::kIpcLock) {
    // It grants no operation, it lifts the limit of locked memory: --memlock comes first, and "all", which is there so
    // that nothing is refused for want of root, does not switch the limit off.
    if (options.memlock.kind == MemlockPolicy::Kind::kSize) return false;
    if (options.caps.kind == CapsPolicy::Kind::kAll) return has_capability(cap);
  }
  switch (options.caps.kind) {
    case CapsPolicy::Kind::kAll: return true;
    case CapsPolicy::Kind::kNone: return false;
    case CapsPolicy::Kind::kList: return (options.caps.mask & (u64{1} << std::to_underlying(cap))) != 0;
    case CapsPolicy::Kind::kReal: break;
  }
  return has_capability(cap);
}

Result<Fd> ClientCall::descriptor(int fd) {
  Result<Fd> dup = task_->descriptor(fd);
  if (dup) scope_.caller_seen_alive();
  if (dup || dup.error() != Errno::kSrch) return dup;
  // The number belongs to another task by now than the one that we remembered.
  runtime_.processes.forget(scope_.tid());
  task_ = IOMMUFD_TRY(runtime_.processes.find(scope_));
  return task_->descriptor(fd);
}

Result<Identified> ClientCall::identify(int fd) {
  Identified found;
  Result<Fd> dup = descriptor(fd);
  if (dup) {
    found.duplicate = std::move(*dup);
    // Not the C library's fstat, which spells it as newfstatat with an empty path: that is slower.
    IOMMUFD_TRY(sys::ok(::syscall(SYS_fstat, found.duplicate.get(), &found.attributes)));
  } else if (dup.error() == Errno::kBadf) {
    return Err(Errno::kBadf);
  } else {
    // pidfd_getfd is refused (a container's filter), or the thread group has lost its leader and the kernel knows threads by
    // no other pidfd. procfs leads to the same inode.
    if (::stat(fmt::format("/proc/{}/fd/{}", scope_.tid(), fd).c_str(), &found.attributes) != 0)
      return Err(Errno::kBadf);
    if (!scope_.is_valid()) return Err(Errno::kSrch);
  }
  found.ours = runtime_.files.find(found.attributes.st_dev, found.attributes.st_ino);
  return found;
}

Result<Ref<ioctl::File>> ClientCall::resolve(int fd) {
  const Identified found = IOMMUFD_TRY(identify(fd));
  if (!found.ours) return Ref<ioctl::File>();
  return Ref<ioctl::File>(found.ours->file());
}

Result<int> ClientCall::install(Ref<ioctl::File> file, const char* name, ioctl::CloseOnExec close_on_exec) {
  Result<Ref<OpenFile>> open = OpenFile::make_anonymous(name, file->size());
  if (!open) {
    file->release();
    return Err(open.error());
  }
  (*open)->set_file(std::move(file));
  return give_file(runtime_, *this, *open, run_flag(close_on_exec));
}

Result<int> ClientCall::install_mapped(const MakeFile& make, const char* name, ioctl::CloseOnExec close_on_exec) {
  const Ref<OpenFile> open = IOMMUFD_TRY(OpenFile::make_anonymous_device(name));
  open->set_file(IOMMUFD_TRY(make(open->memory())));
  return give_file(runtime_, *this, open, run_flag(close_on_exec));
}

// We keep no description of what clients have: one of theirs is looked for and shared, first among the caller's own.
Result<int> ClientCall::install_again(const ioctl::File& file, ioctl::CloseOnExec close_on_exec) {
  const Ref<OpenFile> open = runtime_.files.find(file);
  if (!open) return Err(Errno::kBusy);
  std::vector<Ref<ClientProcess>> processes = runtime_.processes.processes();
  std::ranges::partition(processes, [this](const auto& process) { return process.get() == &task_->process(); });
  for (const Ref<ClientProcess>& process : processes) {
    if (const Result<Fd> found = find_description(*process, open->device(), open->inode()))
      return give_descriptor(runtime_, *this, found->get(), run_flag(close_on_exec));
  }
  return reject(Errno::kBusy, {"name", 0, "the device is open, and no program has its descriptor", "vfio-device 18"});
}

Ref<mem::AddressSpace> ClientCall::file_memory(Fd file) {
  if (runtime_.file_pins) return make_ref<PinnedFile>(std::move(file), runtime_.file_pins);
  struct stat st{};
  const bool pooled = runtime_.huge != nullptr && ::fstat(file.get(), &st) == 0;
  return make_ref<mem::FileSpace>(std::move(file), pooled ? runtime_.huge->page_size(st.st_dev, st.st_ino) : kPageSize);
}

Ref<mem::AddressSpace> ClientCall::mapped_bar(UserVa at, u64 length) {
  const Result<Ref<ProcessMemory>> process = runtime_.processes.memory(scope_, *task_);
  const Result<Vma> vma = process ? (*process)->vma_at(at) : Err(process.error());
  if (!vma || !vma->shared || vma->end - at.raw() < length) return nullptr;
  const Ref<OpenFile> file = runtime_.files.find(vma->dev, vma->inode);
  ioctl::VfioDeviceFile* device = file ? file->file().as_vfio_device() : nullptr;
  if (device == nullptr) return nullptr;
  return device->bar_at(vma->file_offset + (at.raw() - vma->start), length);
}

void ClientCall::await_killed() {
  if (runtime_.calls.await_killed(scope_)) runtime_.files.drain();
}

std::string ClientCall::describe() {
  Result<std::string> comm = sys::read_file(fmt::format("/proc/{}/comm", scope_.tid()));
  if (comm && comm->ends_with('\n')) comm->pop_back();
  return fmt::format("{}:{}", comm ? *comm : "?", task_->process().tgid());
}

}  // namespace iommufd::run
