// SPDX-License-Identifier: BSD-3-Clause
// An open file of ours, whatever carries the calls: the runner (run/), or a program that links the library and calls
// with its own memory. One File is one open file description. Methods are thread-safe and may run in parallel.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/types.hpp"
#include "mem/caller.hpp"
#include "mem/file_space.hpp"
#include "vfio/file_memory.hpp"

namespace iommufd::ioctl {

class AccessFile;
class DmaBufFile;
class File;
class IommuFile;
class VfioContainerFile;
class VfioDeviceFile;
class VfioGroupFile;

enum class CloseOnExec : u8 { kNo, kYes };

// A system call on one of our files.
class Call : public mem::Caller {
 public:
  // The File behind a descriptor number of the caller; null when it is somebody else's file. Errors: kBadf.
  virtual Result<Ref<File>> resolve(int fd) = 0;
  // Gives the caller a descriptor of `file`, a new file that has no path; `name` is what links in /proc/PID/fd say. When
  // it cannot be had, the file is released. Errors: kMFile, kNFile, kNoMem, kNoSpc.
  virtual Result<int> install(Ref<File> file, const char* name, CloseOnExec close_on_exec) = 0;
  // The same for a file with memory that the caller may map: `make` gets the memory and makes the file, or fails.
  using MakeFile = std::function<Result<Ref<File>>(std::unique_ptr<vfio::FileMemory>)>;
  virtual Result<int> install_mapped(const MakeFile& make, const char* name, CloseOnExec close_on_exec) = 0;
  // One more descriptor of `file`, which the caller got by install_mapped() and has open. Errors: kBusy (it is not found).
  virtual Result<int> install_again(const File& file, CloseOnExec close_on_exec) = 0;
  // The part of a BAR that the caller has mapped at [at, at + length), as other devices reach it; null when something else is
  // mapped there.
  virtual Ref<mem::AddressSpace> mapped_bar(UserVa /*at*/, u64 /*length*/) { return nullptr; }
  // The pages of a file of the caller's, by offset, as its mappings shall hold them. Any kind of file is taken here, and examined when
  // pages are pinned.
  virtual Ref<mem::AddressSpace> file_memory(Fd file) { return make_ref<mem::FileSpace>(std::move(file)); }
  // Returns when the calls of processes that have been killed are over, and what they had open is released: nobody sees the end of a
  // process in the kernel before that. To be asked before something is refused because another has it. (A carrier whose calls end
  // with their callers has nothing to wait for.)
  virtual void await_killed() {}
  // "COMM:PID" of the caller, for messages.
  virtual std::string describe() = 0;
};

struct MmapRequest {
  u64 offset = 0;
  u64 length = 0;
  int prot = 0;
  int flags = 0;
};

struct SeekRequest {
  s64 offset = 0;
  int whence = 0;
  u64 position = 0;  // now
  u64 size = 0;      // of the file
};
// Where a file lets one go that can be read from anywhere. Errors: kInval, kOverflow.
Result<u64> seek_anywhere(const SeekRequest& request);

class File : public RefCounted {
 public:
  // Returns the value of the ioctl (>= 0) or its errno. `arg` is the third argument, a pointer or a value.
  virtual Result<s64> ioctl(Call& call, u32 cmd, u64 arg) = 0;
  // pread/pwrite at `offset`; read/write pass the file position. Return the bytes done.
  virtual Result<u64> read(Call& call, u64 offset, UserVa buf, u64 count) = 0;
  virtual Result<u64> write(Call& call, u64 offset, UserVa buf, u64 count) = 0;
  // May the caller map this? Success: map the file's own memory at that offset (vfio/file_memory.hpp).
  virtual Result<void> mmap(Call& call, const MmapRequest& request) = 0;
  // Are stores into what mmap() maps at `offset` accesses of their own? Then the carrier has to catch each and tell, where it can; where
  // not, they are found in the memory.
  [[nodiscard]] virtual bool traps_stores(u64 /*offset*/) const { return false; }
  // One store, done when it returns. There is nobody to tell an error.
  virtual void store(u64 /*offset*/, std::span<const std::byte> /*bytes*/) {}
  // Stores that could not be caught one by one have been done.
  virtual void look_at_stores() {}
  // What is mapped at `offset` is another file's memory, from `offset` on in that one; -1: our own. The descriptor stays ours.
  struct OtherFile {
    int descriptor = -1;
    u64 offset = 0;
  };
  [[nodiscard]] virtual OtherFile mapped_file(u64 /*offset*/) const { return {}; }
  // lseek: the new position. Errors: kSPipe when it has none; kInval, kOverflow.
  virtual Result<u64> seek(const SeekRequest& /*request*/) { return Err(Errno::kSPipe); }
  // What fstat says of a file without a path.
  [[nodiscard]] virtual u64 size() const { return 0; }
  // "IOMMU_IOAS_MAP" for 0x3B85, for messages; null for what is no command of this file.
  [[nodiscard]] virtual const char* command_name(u32 /*cmd*/) const { return nullptr; }
  // This file as an open of /dev/iommu; null when it is something else.
  virtual IommuFile* as_iommu() { return nullptr; }
  // The same for a dma-buf, and for an access of the test ABI (test_files.hpp).
  virtual DmaBufFile* as_dma_buf() { return nullptr; }
  virtual AccessFile* as_access() { return nullptr; }
  // And for those of VFIO's group interface.
  virtual VfioContainerFile* as_vfio_container() { return nullptr; }
  virtual VfioGroupFile* as_vfio_group() { return nullptr; }
  virtual VfioDeviceFile* as_vfio_device() { return nullptr; }
  // The last descriptor and the last mapping are gone. Called once, by the carrier; never fails.
  virtual void release() = 0;
};

}  // namespace iommufd::ioctl
