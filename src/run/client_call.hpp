// SPDX-License-Identifier: BSD-3-Clause
// One notified system call that concerns one of our files: what the engine may ask about its caller. Lives on the stack
// of the receiver thread that handles the call.
#pragma once

#include <sys/stat.h>

#include "ioctl/file.hpp"
#include "run/runtime.hpp"

namespace iommufd::run {

// What is behind a descriptor number of a client. `duplicate` keeps the description open while it is being used, so that
// a close by another thread is seen when the call is over, as in the kernel.
struct Identified {
  Fd duplicate;
  struct stat attributes{};
  Ref<OpenFile> ours;  // null: somebody else's file
};

class ClientCall final : public ioctl::Call {
 public:
  // Errors: kSrch when the caller is gone, kPerm when it cannot be looked at. What is remembered of the caller's number may
  // be of an earlier thread until a descriptor was asked for; make_confirmed() makes sure at once.
  static Result<ClientCall> make(const Runtime& runtime, CallScope& scope);
  static Result<ClientCall> make_confirmed(const Runtime& runtime, CallScope& scope);

  Ref<mem::AddressSpace> memory() override;
  Ref<mem::Process> process() override { return Ref<mem::Process>(Ref<ClientProcess>(task_->process())); }
  bool capable(mem::Capability cap) override;
  Result<Fd> descriptor(int fd) override;
  Result<Ref<ioctl::File>> resolve(int fd) override;
  Result<int> install(Ref<ioctl::File> file, const char* name, ioctl::CloseOnExec close_on_exec) override;
  Result<int> install_mapped(const MakeFile& make, const char* name, ioctl::CloseOnExec close_on_exec) override;
  Result<int> install_again(const ioctl::File& file, ioctl::CloseOnExec close_on_exec) override;
  Ref<mem::AddressSpace> file_memory(Fd file) override;
  Ref<mem::AddressSpace> mapped_bar(UserVa at, u64 length) override;
  void await_killed() override;
  std::string describe() override;

  // Errors: kBadf; kSrch, kPerm as for make().
  Result<Identified> identify(int fd);
  [[nodiscard]] ClientProcess& client() const { return task_->process(); }
  [[nodiscard]] CallScope& scope() const { return scope_; }

 private:
  // What the calling thread really has, in our user namespace.
  bool has_capability(mem::Capability cap);
  ClientCall(const Runtime& runtime, CallScope& scope, Ref<Task> task)
      : runtime_(runtime), scope_(scope), task_(std::move(task)) {}
  const Runtime& runtime_;
  CallScope& scope_;
  Ref<Task> task_;
  Ref<mem::AddressSpace> memory_;  // once asked for: what this call pins is held by it
};

}  // namespace iommufd::run
