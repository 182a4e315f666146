// SPDX-License-Identifier: BSD-3-Clause
#include "tests/transport/echo_service.hpp"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <climits>
#include <cstring>
#include <thread>

#include "base/sync.hpp"
#include "tests/transport/echo_abi.h"

namespace iommufd::run {
namespace {

constexpr u32 kIommu = 1, kDevice = 2;

class EchoFile;

struct Shared {
  std::atomic<int> opens{0};
  std::atomic<u64> calls{0};
  Mutex mu{LockRank::kVfioDevice};
  EchoFile* claimed IOMMUFD_GUARDED_BY(mu) = nullptr;
};

class EchoFile final : public ioctl::File {
 public:
  EchoFile(Shared& shared, std::unique_ptr<vfio::FileMemory> memory) : shared_(shared), memory_(std::move(memory)) {
    shared_.opens.fetch_add(1);
  }

  Result<s64> ioctl(ioctl::Call& call, u32 cmd, u64 arg) override {
    calls_.fetch_add(1, std::memory_order_relaxed);
    shared_.calls.fetch_add(1, std::memory_order_relaxed);
    switch (cmd) {
      case ECHO_SUM: return sum(call, UserVa{arg});
      case ECHO_OPENS: return shared_.opens.load();
      case ECHO_CLAIM:
        if (!claimable()) call.await_killed();
        return claim();
      case ECHO_SLEEP: std::this_thread::sleep_for(std::chrono::milliseconds(arg)); return 0;
      case ECHO_RESOLVE: {
        const Ref<File> file = IOMMUFD_TRY(call.resolve(static_cast<int>(arg)));
        return !file ? 0 : file.get() == this ? 2 : 1;
      }
      case ECHO_SIGNAL: {
        const Fd fd = IOMMUFD_TRY(call.descriptor(static_cast<int>(arg)));
        const u64 one = 1;
        (void)IOMMUFD_TRY(sys::check(::write(fd.get(), &one, sizeof(one))));
        return 0;
      }
      case ECHO_POPULATE: return populate(call, UserVa{arg});
      case ECHO_DMA: return dma(call, UserVa{arg}, *call.memory());
      case ECHO_MEMLOCK: return static_cast<s64>(std::min<u64>(IOMMUFD_TRY(call.process()->memlock_limit()), INT_MAX));
      case ECHO_CAPABLE: return call.capable(static_cast<mem::Capability>(arg)) ? 1 : 0;
      case ECHO_PEEK: return peek(arg);
      case ECHO_SPACE: {
        std::vector<mem::PageRun> runs;
        IOMMUFD_TRY(call.memory()->populate(UserVa{arg}.page_floor(), 1, Access::kRead, runs));
        return static_cast<s64>(runs[0].first.space);
      }
      case ECHO_CALLS: return static_cast<s64>(shared_.calls.load());
      case ECHO_HOLD: return hold(call, UserVa{arg});
      case ECHO_HELD_DMA: {
        Ref<mem::AddressSpace> held;
        {
          const MutexLock lock(mu_);
          held = held_;
        }
        return held ? dma(call, UserVa{arg}, *held) : Err(Errno::kInval);
      }
      case ECHO_TRAP: trapped_.store(arg != 0); return 0;
      case ECHO_STORES: {
        echo_stores stores{};
        {
          const MutexLock lock(mu_);
          stores = stores_;
        }
        IOMMUFD_TRY(call.memory()->write(UserVa{arg}, std::as_bytes(std::span(&stores, 1))));
        return static_cast<s64>(stores.count);
      }
      default: return Err(Errno::kNoTty);
    }
  }

  Result<u64> read(ioctl::Call& call, u64 offset, UserVa buf, u64 count) override {
    if (!memory_) return Err(Errno::kInval);
    const std::span<std::byte> region = IOMMUFD_TRY(this->region());
    if (offset < vfio::kRegionBase || offset - vfio::kRegionBase >= region.size()) return Err(Errno::kInval);
    const auto part = region.subspan(offset - vfio::kRegionBase);
    std::vector<std::byte> copy(std::min<std::size_t>(count, part.size()));
    {
      const MutexLock lock(mu_);
      std::ranges::copy(part.first(copy.size()), copy.begin());
    }
    IOMMUFD_TRY(call.memory()->write(buf, copy));
    return copy.size();
  }

  Result<u64> write(ioctl::Call& call, u64 offset, UserVa buf, u64 count) override {
    if (!memory_) return Err(Errno::kInval);
    const std::span<std::byte> region = IOMMUFD_TRY(this->region());
    if (offset < vfio::kRegionBase || offset - vfio::kRegionBase >= region.size()) return Err(Errno::kInval);
    const auto part = region.subspan(offset - vfio::kRegionBase);
    std::vector<std::byte> copy(std::min<std::size_t>(count, part.size()));
    IOMMUFD_TRY(call.memory()->read(buf, copy));
    const MutexLock lock(mu_);
    std::ranges::copy(copy, part.begin());
    return copy.size();
  }

  Result<void> mmap(ioctl::Call&, const ioctl::MmapRequest& request) override {
    if (!memory_) return Err(Errno::kNoDev);
    if (request.offset < vfio::kRegionBase || request.offset - vfio::kRegionBase + request.length > ECHO_REGION0_SIZE)
      return Err(Errno::kInval);
    return {};
  }

  [[nodiscard]] bool traps_stores(u64) const override { return trapped_.load(); }

  void store(u64 offset, std::span<const std::byte> bytes) override {
    const Result<std::span<std::byte>> region = this->region();
    if (!region) return;
    const MutexLock lock(mu_);
    ++stores_.count;
    stores_.offset = offset - vfio::kRegionBase;
    stores_.size = bytes.size();
    stores_.value = 0;
    std::memcpy(&stores_.value, bytes.data(), bytes.size());
    std::ranges::copy(bytes, region->begin() + static_cast<std::ptrdiff_t>(stores_.offset));
  }

  void look_at_stores() override {
    const MutexLock lock(mu_);
    ++stores_.looks;
  }

  void release() override {
    shared_.opens.fetch_sub(1);
    const MutexLock lock(shared_.mu);
    if (shared_.claimed == this) shared_.claimed = nullptr;
  }

 private:
  Result<s64> sum(ioctl::Call& call, UserVa at) {
    echo_sum s{};
    const Ref<mem::AddressSpace> memory = call.memory();
    IOMMUFD_TRY(memory->read(at, std::as_writable_bytes(std::span(&s, 1))));
    if (s.size != sizeof(s)) return Err(Errno::kInval);
    s.sum = s.a + s.b;
    s.calls = calls_.load(std::memory_order_relaxed);
    IOMMUFD_TRY(memory->write(at, std::as_bytes(std::span(&s, 1))));
    return 0;
  }

  bool claimable() {
    const MutexLock lock(shared_.mu);
    return shared_.claimed == nullptr || shared_.claimed == this;
  }

  Result<s64> claim() {
    const MutexLock lock(shared_.mu);
    if (shared_.claimed != nullptr && shared_.claimed != this) return Err(Errno::kBusy);
    shared_.claimed = this;
    return 0;
  }

  Result<s64> populate(ioctl::Call& call, UserVa at) {
    echo_memory m{};
    const Ref<mem::AddressSpace> memory = call.memory();
    IOMMUFD_TRY(memory->read(at, std::as_writable_bytes(std::span(&m, 1))));
    std::vector<mem::PageRun> runs;
    IOMMUFD_TRY(memory->populate(UserVa{m.va}, m.length / kPageSize, static_cast<Access>(m.access), runs));
    m.pages = 0;
    m.runs = runs.size();
    for (const mem::PageRun& r : runs) m.pages += r.pages;
    if (!runs.empty()) {
      m.space = runs[0].first.space;
      m.index = runs[0].first.index;
      m.page_size = runs[0].page_size;
    }
    IOMMUFD_TRY(memory->write(at, std::as_bytes(std::span(&m, 1))));
    return 0;
  }

  Result<s64> hold(ioctl::Call& call, UserVa at) {
    echo_memory m{};
    Ref<mem::AddressSpace> memory = call.memory();
    IOMMUFD_TRY(memory->read(at, std::as_writable_bytes(std::span(&m, 1))));
    std::vector<mem::PageRun> runs;
    IOMMUFD_TRY(memory->populate(UserVa{m.va}, m.length / kPageSize, static_cast<Access>(m.access), runs));
    const s64 direct = memory->direct(UserVa{m.va}) != nullptr ? 1 : 0;
    const MutexLock lock(mu_);
    std::swap(held_, memory);
    return direct;
  }

  // As a device does it: by another thread, outside of any call.
  Result<s64> dma(ioctl::Call& call, UserVa at, mem::AddressSpace& to) {
    echo_memory m{};
    const Ref<mem::AddressSpace> memory = call.memory();
    IOMMUFD_TRY(memory->read(at, std::as_writable_bytes(std::span(&m, 1))));
    if (m.length > (u64{1} << 20)) return Err(Errno::kInval);
    std::vector<std::byte> buf(m.length, static_cast<std::byte>(m.value));
    Result<void> moved;
    std::thread([&] { moved = m.access == 2 ? to.write(UserVa{m.va}, buf) : to.read(UserVa{m.va}, buf); }).join();
    IOMMUFD_TRY(std::move(moved));
    m.value = 0;
    for (const std::byte b : buf) m.value += std::to_integer<u32>(b);
    IOMMUFD_TRY(memory->write(at, std::as_bytes(std::span(&m, 1))));
    return 0;
  }

  Result<std::span<std::byte>> region() {
    const MutexLock lock(mu_);
    if (!memory_) return Err(Errno::kInval);
    if (region_.bytes().empty()) region_ = IOMMUFD_TRY(memory_->map(vfio::kRegionBase, ECHO_REGION0_SIZE));
    return region_.bytes();
  }

  Result<s64> peek(u64 offset) {
    const std::span<std::byte> bytes = IOMMUFD_TRY(region());
    if (offset >= bytes.size()) return Err(Errno::kInval);
    return std::to_integer<s64>(std::atomic_ref<std::byte>(bytes[offset]).load());
  }

  Shared& shared_;
  std::atomic<u64> calls_{0};
  std::atomic<bool> trapped_{false};
  Mutex mu_{LockRank::kLeaf};
  const std::unique_ptr<vfio::FileMemory> memory_;
  sys::Mapping region_ IOMMUFD_GUARDED_BY(mu_);
  Ref<mem::AddressSpace> held_ IOMMUFD_GUARDED_BY(mu_);
  echo_stores stores_ IOMMUFD_GUARDED_BY(mu_){};
};

class EchoService final : public Service {
 public:
  LiveTree& tree() override { return tree_; }
  Result<Ref<ioctl::File>> open(u32 opener, ioctl::Call&, std::unique_ptr<vfio::FileMemory> memory) override {
    if (opener == kIommu) memory.reset();
    return Ref<ioctl::File>(make_ref<EchoFile>(shared_, std::move(memory)));
  }

 private:
  PathTree make_tree() {
    PathTree tree;
    tree.add_char_device("/dev/iommu", {10, 123}, 0660, kIommu);
    tree.add_directory("/dev/vfio", Entries::kOwn);
    tree.add_char_device("/dev/vfio/devices/vfio0", {511, 0}, 0600, kDevice);
    tree.add_directory("/sys/class/echo", Entries::kOwn);
    tree.add_file("/sys/class/echo/greeting", {.mode = 0444, .read = [](Reader) { return "hello\n"; }});
    tree.add_file("/sys/class/echo/number", {.mode = 0644,
                                             .read = [this](Reader) { return std::to_string(number_.load()) + "\n"; },
                                             .write = [this](const Write& w) -> Result<u64> {
                                               number_ = std::atoi(std::string(w.data).c_str());
                                               return w.data.size();
                                             }});
    tree.add_symlink("/sys/class/echo/link", "../../class/echo/greeting");
    return tree;
  }

  Shared shared_;
  std::atomic<int> number_{7};
  LiveTree tree_{make_tree()};
};

}  // namespace

Result<std::unique_ptr<Service>> make_echo_service() {
  return std::unique_ptr<Service>(std::make_unique<EchoService>());
}

}  // namespace iommufd::run
