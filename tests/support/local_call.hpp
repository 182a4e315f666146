// SPDX-License-Identifier: BSD-3-Clause
// Calls of this very process on files of ours: what a program that links the library does, for tests and benchmarks.
#pragma once

#include <fcntl.h>

#include <functional>
#include <map>
#include <set>

#include "base/sys.hpp"
#include "ioctl/file.hpp"
#include "mem/local_memory.hpp"
#include "tests/support/file_memory.hpp"

namespace iommufd::test {

class LocalCall final : public ioctl::Call {
 public:
  Ref<mem::AddressSpace> memory() override { return memory_; }
  Ref<mem::Process> process() override { return process_; }
  bool capable(mem::Capability cap) override { return !dropped.contains(cap); }
  Result<Fd> descriptor(int fd) override { return Fd(IOMMUFD_TRY(sys::check(::fcntl(fd, F_DUPFD_CLOEXEC, 0)))); }
  Result<Ref<ioctl::File>> resolve(int fd) override {
    if (fd == iommu_fd) return iommu;
    if (const auto it = installed.find(fd); it != installed.end()) return it->second;
    if (::fcntl(fd, F_GETFD) < 0) return Err(Errno::kBadf);
    return Ref<ioctl::File>();
  }
  mem::LocalMemory& local_memory() { return *memory_; }
  // The calls come from another process from now on.
  void become(Ref<mem::Process> process) { process_ = std::move(process); }
  Result<int> install(Ref<ioctl::File> file, const char*, ioctl::CloseOnExec) override {
    installed.emplace(next_fd_, std::move(file));
    return next_fd_++;
  }
  Result<int> install_mapped(const MakeFile& make, const char* name, ioctl::CloseOnExec close_on_exec) override {
    return install(IOMMUFD_TRY(make(std::make_unique<FileMemory>())), name, close_on_exec);
  }
  Result<int> install_again(const ioctl::File& file, ioctl::CloseOnExec close_on_exec) override {
    for (const auto& [fd, open] : installed)
      if (open.get() == &file) return install(open, "", close_on_exec);
    return Err(Errno::kBusy);
  }
  // Closes a descriptor that one of these gave.
  void close(int fd) {
    const Ref<ioctl::File> file = installed.extract(fd).mapped();
    for (const auto& [other, open] : installed)
      if (open.get() == file.get()) return;
    file->release();
  }
  void await_killed() override { killed(); }
  std::string describe() override { return "test:1"; }

  std::set<mem::Capability> dropped{};   // capabilities that the caller lacks
  std::function<void()> killed = [] {};  // ends the calls of killed processes
  Ref<ioctl::File> iommu;                // what descriptor iommu_fd is
  int iommu_fd = 1'000'000;
  std::map<int, Ref<ioctl::File>> installed{};

 private:
  Ref<mem::LocalMemory> memory_ = make_ref<mem::LocalMemory>();
  Ref<mem::Process> process_ = make_ref<mem::LocalProcess>();
  int next_fd_ = 2'000'000;
};

}  // namespace iommufd::test
