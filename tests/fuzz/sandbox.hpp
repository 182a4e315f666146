// SPDX-License-Identifier: BSD-3-Clause
// What the fuzzers stand on: a small client whose memory is an array, so that no input can hit the fuzzer's own; a
// platform with devices behind each kind of IOMMU and behind none; and the reader of an input. The heap of the libFuzzer
// programs (heap.cpp) refuses what no honest request needs, so that ENOMEM is found as a path and not as a crash.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define IOMMUFD_FUZZ_LEAKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IOMMUFD_FUZZ_LEAKS 1
#endif
#endif
#ifdef IOMMUFD_FUZZ_LEAKS
#include <sanitizer/lsan_interface.h>
#endif

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <vector>

#include "core/context.hpp"
#include "core/device.hpp"
#include "ioctl/file.hpp"
#include "ioctl/iommu_file.hpp"
#include "iommu/device_port.hpp"
#include "iommu/platform.hpp"
#include "mem/file_space.hpp"
#include "selftest/world.hpp"

namespace iommufd::fuzz {

// What this thread is at, where inputs are made of seeds (seeds.hpp).
struct Where {
  u64 seed = 0;
  u64 thread = 0;
  u64 step = 0;
};
inline thread_local Where t_where;

// A finding: the input breaks what must hold.
[[noreturn]] inline void violated(const char* what, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
  if (t_where.seed != 0)
    std::fprintf(stderr, "seed %llu, thread %llu, step %llu\n", static_cast<unsigned long long>(t_where.seed),
                 static_cast<unsigned long long>(t_where.thread), static_cast<unsigned long long>(t_where.step));
  std::abort();
}
#define FUZZ_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::iommufd::fuzz::violated(#condition, __FILE__, __LINE__))

using Answer = std::optional<Errno>;  // of a call; nothing: success

inline const char* name_of(const Answer& answer) { return answer ? errno_name(*answer) : "success"; }
// A finding when `got` is not what the model wants.
inline void expect_answer(const char* what, const Answer& got, const Answer& want) {
  // Not by ==: g++ 12 sees an uninitialised errno in an optional that has none.
  const auto number = [](const Answer& answer) { return answer ? static_cast<int>(*answer) : 0; };
  if (number(got) == number(want)) return;
  std::fprintf(stderr, "%s: answers %s, the model says %s\n", what, name_of(got), name_of(want));
  violated("the answer of the model", __FILE__, __LINE__);
}

// Reads an input from the front; zeros when it has ended.
class Input {
 public:
  Input(const u8* data, std::size_t size) : rest_(data, size) {}
  [[nodiscard]] bool empty() const { return rest_.empty(); }
  template <class T>
  T take() {
    T value{};
    const std::size_t n = std::min(sizeof(T), rest_.size());
    std::memcpy(&value, rest_.data(), n);
    rest_ = rest_.subspan(n);
    return value;
  }
  void fill(std::span<std::byte> out) {
    const std::size_t n = std::min(out.size(), rest_.size());
    std::memcpy(out.data(), rest_.data(), n);
    rest_ = rest_.subspan(n);
  }

 private:
  std::span<const u8> rest_;
};

// The client's memory: 64 small pages at kBase, of which every eighth is absent and the one before it read-only, and
// two huge pages at kHugeBase. Odd small pages cannot be reached directly, as those of another process cannot.
class SandboxMemory final : public mem::AddressSpace {
 public:
  static constexpr u64 kBase = 0x10000, kPages = 64;
  static constexpr u64 kHugeBase = 0x4000'0000, kHugeSize = u64{1} << 21, kHugePages = 2;

  SandboxMemory() : small_(kPages * kPageSize), huge_(kHugePages * kHugeSize) {}
  // For the next input. What lies in huge pages is never read as an argument.
  void clear_small_pages() { std::fill(small_.begin(), small_.end(), std::byte{0}); }

  // What the client itself may do at `va`.
  [[nodiscard]] static Access access(u64 va) {
    if (va >= kHugeBase && va - kHugeBase < kHugePages * kHugeSize) return Access::kReadWrite;
    if (va < kBase || va - kBase >= kPages * kPageSize) return Access::kNone;
    const u64 in_eight = (va - kBase) / kPageSize % 8;
    return in_eight == 7 ? Access::kNone : in_eight == 6 ? Access::kRead : Access::kReadWrite;
  }
  // The bytes from `va` to the end of its page. Pre: access(va) is not kNone.
  [[nodiscard]] std::span<std::byte> bytes(u64 va) {
    const std::size_t n = kPageSize - (va & kPageMask);
    return va >= kHugeBase ? std::span(huge_).subspan(va - kHugeBase, n) : std::span(small_).subspan(va - kBase, n);
  }

  Result<std::size_t> read_some(UserVa from, std::span<std::byte> buf) override {
    return copy(from.raw(), buf.size(), Access::kRead, [&](std::span<std::byte> memory, std::size_t done) {
      std::memcpy(buf.data() + done, memory.data(), memory.size());
    });
  }
  Result<std::size_t> write_some(UserVa to, std::span<const std::byte> buf) override {
    return copy(to.raw(), buf.size(), Access::kWrite, [&](std::span<std::byte> memory, std::size_t done) {
      std::memcpy(memory.data(), buf.data() + done, memory.size());
    });
  }
  Result<void> populate(UserVa page, u64 count, Access want, std::vector<mem::PageRun>& out) override {
    for (u64 i = 0; i < count; ++i) {
      const u64 va = page.raw() + i * kPageSize;
      if (!allows(access(va), want & Access::kWrite) || access(va) == Access::kNone) return Err(Errno::kFault);
      const u64 page_size = va >= kHugeBase ? kHugeSize : kPageSize;
      const bool continues = !out.empty() && i != 0 && out.back().page_size == page_size;
      if (continues)
        ++out.back().pages;
      else
        out.push_back({{id(), va >> kPageShift}, 1, page_size});
    }
    return {};
  }
  std::byte* direct(UserVa va) override {
    if (access(va.raw()) == Access::kNone) return nullptr;
    if (va.raw() < kHugeBase && (va.raw() >> kPageShift & 1) != 0) return nullptr;
    return bytes(va.raw()).data();
  }

 private:
  template <class F>
  Result<std::size_t> copy(u64 va, std::size_t size, Access want, F&& move) {
    std::size_t done = 0;
    while (done < size && allows(access(va + done), want)) {
      const std::span<std::byte> memory = bytes(va + done);
      const std::size_t n = std::min(memory.size(), size - done);
      move(memory.first(n), done);
      done += n;
    }
    return done;
  }

  std::vector<std::byte> small_, huge_;
};

// A file that the client has open: kWholePages pages of a memfd and half of one more, which cannot be pinned.
class SandboxFile {
 public:
  static constexpr int kNumber = 64;      // of its descriptor, in calls
  static constexpr int kNullNumber = 65;  // and of one of /dev/null, which has no pages
  static constexpr u64 kWholePages = 16;

  SandboxFile() : fd_(::memfd_create("fuzz", MFD_CLOEXEC)), null_(::open("/dev/null", O_RDWR | O_CLOEXEC)) {
    constexpr u64 kSize = kWholePages * kPageSize + kPageSize / 2;
    FUZZ_CHECK(fd_.get() >= 0 && null_.get() >= 0 && ::ftruncate(fd_.get(), static_cast<off_t>(kSize)) == 0);
    void* at = ::mmap(nullptr, kWholePages * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    FUZZ_CHECK(at != MAP_FAILED);
    bytes_ = {static_cast<std::byte*>(at), kWholePages * kPageSize};
  }
  ~SandboxFile() { ::munmap(bytes_.data(), bytes_.size()); }
  SandboxFile(const SandboxFile&) = delete;
  SandboxFile& operator=(const SandboxFile&) = delete;

  // Errors: kBadf, as of a call.
  [[nodiscard]] Result<Fd> descriptor(int number) const {
    if (number != kNumber && number != kNullNumber) return Err(Errno::kBadf);
    Fd copy(::fcntl(number == kNumber ? fd_.get() : null_.get(), F_DUPFD_CLOEXEC, 0));
    FUZZ_CHECK(copy.get() >= 0);
    return copy;
  }
  // The bytes from `offset` to the end of its page.
  [[nodiscard]] std::span<std::byte> bytes(u64 offset) const {
    return bytes_.subspan(offset, kPageSize - (offset & kPageMask));
  }

 private:
  const Fd fd_, null_;
  std::span<std::byte> bytes_;
};

class SandboxProcess final : public mem::Process {
 public:
  explicit SandboxProcess(Ref<mem::Account> user = make_ref<mem::Account>()) : Process(std::move(user)) {}
  Result<u64> memlock_limit() override { return limit_pages.load(); }
  std::atomic<u64> limit_pages{mem::kUnlimitedPages};
};

class SandboxCall final : public ioctl::Call {
 public:
  SandboxCall(Ref<SandboxMemory> memory, Ref<SandboxProcess> process, const SandboxFile& file)
      : memory_(std::move(memory)), process_(std::move(process)), file_(file) {}
  Ref<mem::AddressSpace> memory() override { return memory_; }
  Ref<mem::Process> process() override { return process_; }
  bool capable(mem::Capability cap) override { return cap == mem::Capability::kIpcLock ? locks_memory : privileged; }
  Result<Fd> descriptor(int fd) override { return file_.descriptor(fd); }
  Result<Ref<ioctl::File>> resolve(int fd) override {
    if (fd < 0 || static_cast<std::size_t>(fd) >= files_.size() || !files_[static_cast<std::size_t>(fd)])
      return Err(Errno::kBadf);
    return files_[static_cast<std::size_t>(fd)];
  }
  // Small numbers, so that inputs find them.
  Result<int> install(Ref<ioctl::File> file, const char*, ioctl::CloseOnExec) override {
    const auto slot = std::ranges::find_if(files_, [](const auto& f) { return !f; });
    if (slot == files_.end()) {
      file->release();
      return Err(Errno::kMFile);
    }
    *slot = std::move(file);
    return static_cast<int>(slot - files_.begin());
  }
  // No device files here.
  Result<int> install_mapped(const MakeFile&, const char*, ioctl::CloseOnExec) override { return Err(Errno::kMFile); }
  Result<int> install_again(const ioctl::File&, ioctl::CloseOnExec) override { return Err(Errno::kBusy); }
  void close(std::size_t slot) {
    if (files_[slot]) std::exchange(files_[slot], nullptr)->release();
  }
  static constexpr std::size_t kFiles = 8;
  std::string describe() override { return "fuzz:1"; }
  // The calls come from another process from now on.
  void become(Ref<SandboxProcess> process) { process_ = std::move(process); }
  bool privileged = true;     // every capability but CAP_IPC_LOCK
  bool locks_memory = false;  // CAP_IPC_LOCK

 private:
  Ref<SandboxMemory> memory_;
  Ref<SandboxProcess> process_;
  const SandboxFile& file_;
  std::array<Ref<ioctl::File>, kFiles> files_;
};

enum class Manager : u8 { kAmd, kVtd, kNone };

// Six devices: two in one group behind an AMD IOMMU, one in another group there, one behind VT-d, two behind none.
class Machine {
 public:
  static constexpr std::size_t kDevices = 6;
  static constexpr std::array<Manager, kDevices> kManagers{Manager::kAmd, Manager::kAmd,  Manager::kAmd,
                                                           Manager::kVtd, Manager::kNone, Manager::kNone};
  static constexpr std::array<u32, kDevices> kGroups{0, 0, 1, 0, 0, 0};  // behind one IOMMU

  Machine() : platform_(std::move(*iommu::Platform::create({.size = u64{256} << 20}))) {
    for (std::size_t i = 0; i < kDevices; ++i) {
      iommu::Instance* manager = manager_of(kManagers[i]);
      ports_[i] = std::make_unique<iommu::DevicePort>("0000:01:00.0", manager, platform_->phys(), nullptr);
      ports_[i]->set_bus_master(true);
      devices_[i].name = "0000:01:00.0";
      devices_[i].iommu = manager;
      devices_[i].port = ports_[i].get();
      devices_[i].group_id = kGroups[i];
      if (manager != nullptr) devices_[i].reserved = manager->reserved_regions();
    }
    touch_all_frames();
  }

  iommu::Platform& platform() { return *platform_; }
  selftest::World& test_abi() { return test_abi_; }
  core::PhysicalDevice& device(std::size_t i) { return devices_[i]; }
  iommu::DevicePort& port(std::size_t i) { return *ports_[i]; }
  // One client for all inputs: 4 MiB of memory take longer to make than an input to run.
  const Ref<SandboxMemory>& memory() { return memory_; }
  const SandboxFile& file() { return file_; }

 private:
  iommu::Instance* manager_of(Manager manager) {
    switch (manager) {
      case Manager::kAmd: return &amd_;
      case Manager::kVtd: return &vtd_;
      case Manager::kNone: break;
    }
    return nullptr;
  }
  // Gives every page of the client its frame, which it keeps. What the physical memory knows of its frames lies where the
  // leak detector does not look; it is made here, unseen, and not while an input runs. Inputs become repeatable too.
  void touch_all_frames() {
#ifdef IOMMUFD_FUZZ_LEAKS
    const __lsan::ScopedDisabler unseen;
#endif
    const auto touch = [this](mem::AddressSpace& space, u64 va, const mem::PageRun& run) {
      std::vector<PhysAddr> frames(run.pages);
      FUZZ_CHECK(platform_->phys().pin(space, UserVa{va}, run, frames).has_value());
      platform_->phys().unpin_and_release(frames);
    };
    const auto touch_memory = [&](u64 va, u64 pages, u64 page_size) {
      touch(*memory_, va, {{memory_->id(), va / kPageSize}, pages, page_size});
    };
    touch_memory(SandboxMemory::kBase, SandboxMemory::kPages, kPageSize);
    touch_memory(SandboxMemory::kHugeBase, SandboxMemory::kHugePages * SandboxMemory::kHugeSize / kPageSize,
                 SandboxMemory::kHugeSize);
    const Ref<mem::FileSpace> space = make_ref<mem::FileSpace>(std::move(*file_.descriptor(SandboxFile::kNumber)));
    std::vector<mem::PageRun> runs;
    FUZZ_CHECK(space->populate(UserVa{0}, SandboxFile::kWholePages, Access::kReadWrite, runs).has_value());
    for (const mem::PageRun& run : runs) touch(*space, 0, run);
  }

  const Ref<SandboxMemory> memory_ = make_ref<SandboxMemory>();
  const SandboxFile file_;
  std::unique_ptr<iommu::Platform> platform_;
  selftest::World test_abi_{*platform_};
  iommu::Instance amd_{iommu::Kind::kAmd, "ivhd0", platform_->tables()};
  iommu::Instance vtd_{iommu::Kind::kVtd, "dmar0", platform_->tables()};
  std::array<std::unique_ptr<iommu::DevicePort>, kDevices> ports_;
  std::array<core::PhysicalDevice, kDevices> devices_;
};

}  // namespace iommufd::fuzz
