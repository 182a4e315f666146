// SPDX-License-Identifier: BSD-3-Clause
// Accesses as a driver in the engine uses them (spec iommufd-core 4.6): what the test ABI cannot show from outside, that is
// drivers that do not unpin, moves that race, and what happens with threads.
#include <sys/mman.h>

#include <atomic>
#include <bit>
#include <functional>
#include <thread>

#include "core/access.hpp"
#include "core/hwpt.hpp"
#include "core/ioas.hpp"
#include "iommu/platform.hpp"
#include "mem/local_memory.hpp"

namespace iommufd::core {
namespace {

constexpr u64 kIova = 0x10000;

struct Driver : AccessDriver {
  void unmap(u64 iova, u64 length) override {
    ++calls;
    on_unmap(iova, length);
  }
  std::atomic<int> calls{0};
  std::function<void(u64, u64)> on_unmap = [](u64, u64) {};
};

class AccessTest : public testing::Test {
 protected:
  void SetUp() override {
    platform = std::move(*iommu::Platform::create({}));
    amd = std::make_unique<iommu::Instance>(iommu::Kind::kAmd, "ivhd0", platform->tables());
    ctx = make_ref<Context>(*platform, LimitMode::kUser);
    memory = static_cast<std::byte*>(
        ::mmap(nullptr, kPages * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_NE(memory, MAP_FAILED);
  }
  void TearDown() override {
    ctx = nullptr;
    EXPECT_EQ(platform->phys().pinned_frames(), 0u);
    EXPECT_EQ(platform->tables().pages_in_use(), 0u);
    EXPECT_EQ(process->vm_pinned().pages(), 0u);
    ::munmap(memory, kPages * kPageSize);
  }

  Use<Ioas> ioas() {
    Ref<Ioas> made = make_object<Ioas>(*ctx, *platform)->publish();
    return *ctx->get<Ioas>(made->id());
  }
  Result<u64> map(Ioas& to, u64 page = 0, u64 pages = kPages, u64 iova = kIova, Access access = Access::kReadWrite) {
    const MapRequest request{iova, pages * kPageSize, Placement::kFixed, access};
    return to.map(request, space, std::bit_cast<u64>(memory) + page * kPageSize, process, mem::ChargeMode::kNone);
  }
  Ref<IoasAccess> access(Ioas& to, AccessDriver& driver, Pinning pinning = Pinning::kAllowed) {
    Ref<IoasAccess> made = *IoasAccess::create(ctx, pinning, driver);
    EXPECT_TRUE(made->attach(to.id()));
    return made;
  }
  u64 pinned() { return platform->phys().pinned_frames(); }

  // An IOAS with kPages mapped at kIova, and the access of a driver to it.
  struct Mapped {
    explicit Mapped(AccessTest& t) : to(t.ioas()), user(t.access(*to, driver)) { EXPECT_TRUE(t.map(*to)); }
    Driver driver;
    const Use<Ioas> to;
    const Ref<IoasAccess> user;
  };

  static constexpr u64 kPages = 8;
  std::unique_ptr<iommu::Platform> platform;
  std::unique_ptr<iommu::Instance> amd;
  Ref<Context> ctx;
  Ref<mem::LocalMemory> space = make_ref<mem::LocalMemory>();
  Ref<mem::LocalProcess> process = make_ref<mem::LocalProcess>();
  std::byte* memory = nullptr;
};

template <class T>
Errno error_of(const Result<T>& r) {
  return r ? Errno{0} : r.error();
}

TEST_F(AccessTest, a_driver_that_does_not_unpin_is_a_deadlock_and_the_mapping_refuses_accesses_from_then_on) {
  Mapped mapped(*this);
  auto& [driver, to, user] = mapped;
  std::vector<PhysAddr> frames;
  ASSERT_TRUE(user->pin(kIova, kPageSize, Access::kRead, frames));
  EXPECT_EQ(error_of(to->unmap(kIova, kPages * kPageSize)), Errno::kDeadlock);
  EXPECT_EQ(driver.calls, 100);
  std::byte byte{};
  EXPECT_EQ(error_of(user->pin(kIova + kPageSize, kPageSize, Access::kRead, frames)), Errno::kInval);
  EXPECT_EQ(error_of(user->read(kIova, std::span(&byte, 1), nullptr)), Errno::kInval);
  EXPECT_EQ(error_of(to->split_after(kIova + kPageSize - 1)), Errno::kBusy);
  EXPECT_EQ(frames.size(), 1u);
  user->unpin(kIova, kPageSize);
  EXPECT_EQ(*to->unmap(kIova, kPages * kPageSize), kPages * kPageSize);
  user->destroy();
}

TEST_F(AccessTest, every_access_hears_of_an_unmap_once_per_pinned_mapping) {
  Driver pinning, idle;
  const Use<Ioas> to = ioas();
  const Ref<IoasAccess> user = access(*to, pinning), other = access(*to, idle, Pinning::kNever);
  ASSERT_TRUE(map(*to, 0, 2, kIova));
  ASSERT_TRUE(map(*to, 2, 2, kIova + 2 * kPageSize));
  ASSERT_TRUE(map(*to, 4, 2, kIova + 4 * kPageSize));
  std::vector<PhysAddr> frames;
  ASSERT_TRUE(user->pin(kIova, 4 * kPageSize, Access::kRead, frames));
  std::vector<std::pair<u64, u64>> ranges;
  pinning.on_unmap = [&](u64 iova, u64 length) {
    ranges.emplace_back(iova, length);
    if (ranges.size() == 1) user->unpin(kIova, 4 * kPageSize);
  };
  EXPECT_EQ(*to->unmap(kIova, kPages * kPageSize), 6 * kPageSize);
  // The second mapping has no pin any more, the third never had one.
  EXPECT_EQ(ranges, (std::vector<std::pair<u64, u64>>{{kIova, 2 * kPageSize}}));
  EXPECT_EQ(idle.calls, 1);
  user->destroy();
  EXPECT_EQ(pinning.calls, 2);  // (0, 2^64 - 1) as it leaves
  other->destroy();
}

TEST_F(AccessTest, pages_are_shared_with_a_domain_that_comes_and_goes) {
  Mapped mapped(*this);
  auto& [driver, to, user] = mapped;
  std::vector<PhysAddr> frames;
  ASSERT_TRUE(user->pin(kIova + kPageSize, 2 * kPageSize, Access::kWrite, frames));
  EXPECT_EQ(pinned(), 2u);
  auto hwpt = make_object<HwptPaging>(*ctx, Use<Ioas>::try_acquire(*to), *amd->alloc_domain({}, {}),
                                      HwptOrigin::kManual, iommu::DomainFlags{});
  ASSERT_TRUE(to->add_hwpt(**hwpt));
  EXPECT_EQ(pinned(), kPages);
  EXPECT_EQ(process->vm_pinned().pages(), kPages);
  EXPECT_EQ((*hwpt)->domain().lookup(Iova{kIova + kPageSize})->pa, frames[0]);
  to->remove_hwpt(**hwpt);
  EXPECT_EQ(pinned(), 2u);
  EXPECT_EQ(process->vm_pinned().pages(), 2u);
  user->unpin(kIova + kPageSize, 2 * kPageSize);
  user->destroy();
}

TEST_F(AccessTest, overlapping_pins_count_users_of_each_page) {
  Mapped mapped(*this);
  auto& [driver, to, user] = mapped;
  std::vector<PhysAddr> frames;
  ASSERT_TRUE(user->pin(kIova, 4 * kPageSize, Access::kRead, frames));
  ASSERT_TRUE(user->pin(kIova + 2 * kPageSize, 4 * kPageSize, Access::kRead, frames));
  EXPECT_EQ(pinned(), 6u);
  EXPECT_EQ(frames[2], frames[4]);
  user->unpin(kIova, 4 * kPageSize);
  EXPECT_EQ(pinned(), 4u);
  user->unpin(kIova + 2 * kPageSize, 4 * kPageSize);
  EXPECT_EQ(pinned(), 0u);
  user->destroy();
}

TEST_F(AccessTest, attach_replace_and_detach_answer_as_the_sheet_says) {
  Driver driver;
  const Use<Ioas> a = ioas(), b = ioas();
  const Ref<IoasAccess> user = *IoasAccess::create(ctx, Pinning::kAllowed, driver);
  std::vector<PhysAddr> frames;
  EXPECT_EQ(error_of(user->replace(a->id())), Errno::kNoEnt);
  EXPECT_EQ(error_of(user->pin(kIova, kPageSize, Access::kRead, frames)), Errno::kNoEnt);
  EXPECT_EQ(error_of(user->attach(user->id())), Errno::kNoEnt);
  ASSERT_TRUE(user->attach(a->id()));
  EXPECT_EQ(error_of(user->attach(b->id())), Errno::kInval);
  EXPECT_EQ(error_of(user->replace(user->id())), Errno::kNoEnt);
  EXPECT_TRUE(user->replace(a->id()));
  EXPECT_EQ(driver.calls, 0);
  // While the driver is asked to unpin, nobody else may move the access, and nothing can be pinned.
  driver.on_unmap = [&](u64 iova, u64 length) {
    EXPECT_EQ(iova, 0u);
    EXPECT_EQ(length, ~u64{0});
    EXPECT_EQ(error_of(user->replace(a->id())), Errno::kBusy);
    EXPECT_EQ(error_of(user->pin(kIova, kPageSize, Access::kRead, frames)), Errno::kNoEnt);
  };
  EXPECT_TRUE(user->replace(b->id()));
  EXPECT_EQ(driver.calls, 1);
  EXPECT_EQ(a->iova_ranges().alignment, 1u);
  EXPECT_EQ(b->iova_ranges().alignment, kPageSize);
  driver.on_unmap = [](u64, u64) {};
  user->detach();
  user->detach();
  EXPECT_EQ(driver.calls, 2);
  user->destroy();
}

TEST_F(AccessTest, memory_of_the_caller_is_reached_by_its_addresses_and_pinned_pages_by_their_frames) {
  Mapped mapped(*this);
  auto& [driver, to, user] = mapped;
  std::byte out[8]{std::byte{7}}, in[8]{};
  for (mem::AddressSpace* caller :
       {static_cast<mem::AddressSpace*>(space.get()), static_cast<mem::AddressSpace*>(nullptr)}) {
    std::vector<PhysAddr> frames;
    ASSERT_TRUE(user->write(kIova + kPageSize - 4, out, caller));  // across a page, nothing pinned
    EXPECT_EQ(pinned(), 0u);
    ASSERT_TRUE(user->pin(kIova, 2 * kPageSize, Access::kRead, frames));
    ASSERT_TRUE(user->read(kIova + kPageSize - 4, in, caller));
    EXPECT_EQ(in[0], std::byte{7});
    EXPECT_EQ(pinned(), 2u);
    user->unpin(kIova, 2 * kPageSize);
  }
  user->destroy();
}

// The driver of a whole device: keeps what it pinned in a list, as it must.
struct Pinner : AccessDriver {
  void unmap(u64 iova, u64 length) override {
    const u64 last = iova + (length - 1);
    const MutexLock lock(mu);
    std::erase_if(items, [&](u64 item) {
      if (item > last || item + (kPageSize - 1) < iova) return false;
      access->unpin(item, kPageSize);
      return true;
    });
  }
  void pin(u64 iova) {
    std::vector<PhysAddr> frames;
    const MutexLock lock(mu);
    const Result<void> done = access->pin(iova, kPageSize, Access::kWrite, frames);
    if (done) items.push_back(iova);
    if (!done && done.error() != Errno::kNoEnt && done.error() != Errno::kInval) ++wrong;
  }
  void unpin_one() {
    const MutexLock lock(mu);
    if (items.empty()) return;
    access->unpin(items.back(), kPageSize);
    items.pop_back();
  }
  Mutex mu{LockRank::kSelftest};
  std::vector<u64> items;
  Ref<IoasAccess> access;
  std::atomic<int> wrong{0};
};

TEST_F(AccessTest, pin_unpin_copy_map_unmap_and_move_in_parallel) {
  Pinner first, second;
  const Use<Ioas> a = ioas(), b = ioas();
  first.access = access(*a, first);
  second.access = access(*a, second);
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  const auto check = [&](const auto& result, std::initializer_list<Errno> fine) {
    if (!result && std::ranges::find(fine, result.error()) == fine.end()) ++wrong;
  };
  const auto until_stop = [&](auto&& work) {
    return std::jthread([&stop, work] {
      for (u64 i = 0; !stop; ++i) work(i);
    });
  };
  {
    std::vector<std::jthread> threads;
    for (Pinner* pinner : {&first, &second})
      threads.push_back(until_stop([&, pinner](u64 i) {
        pinner->pin(kIova + i % kPages * kPageSize);
        if (i % 3 == 0) pinner->unpin_one();
      }));
    threads.push_back(until_stop([&](u64) {
      std::byte buf[64];
      check(first.access->read(kIova + kPageSize - 32, buf, nullptr), {Errno::kNoEnt, Errno::kInval});
    }));
    for (Ioas* to : {a.get(), b.get()})
      threads.push_back(until_stop([&, to](u64) {
        check(map(*to, 0, 4, kIova), {Errno::kExist});
        check(map(*to, 4, 4, kIova + 4 * kPageSize), {Errno::kExist});
        check(to->unmap(kIova, kPages * kPageSize), {Errno::kNoEnt, Errno::kBusy});
      }));
    threads.push_back(until_stop([&](u64 i) {
      check(second.access->replace(i % 2 == 0 ? b->id() : a->id()), {});
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }));
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
    stop = true;
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(first.wrong + second.wrong, 0);
  first.access->destroy();
  second.access->destroy();
  EXPECT_EQ(pinned(), 0u);
}

}  // namespace
}  // namespace iommufd::core
