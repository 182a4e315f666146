// SPDX-License-Identifier: BSD-3-Clause
// What devices see of a domain while it changes, and what their IOTLBs count.
#include "iommu/device_port.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <thread>
#include <vector>

#include "iommu/platform.hpp"
#include "mem/local_memory.hpp"

namespace iommufd::iommu {
namespace {

constexpr u64 k2M = u64{1} << 21;
constexpr Iova kIova{k2M};

// Pages of this process, pinned; page i begins with the number i.
class Pages {
 public:
  Pages(mem::PhysicalMemory& phys, u64 count) : phys_(phys), bytes_(count * kPageSize), frames_(count) {
    start_ = static_cast<std::byte*>(
        ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
    const UserVa va{std::bit_cast<u64>(start_)};
    for (u64 i = 0; i < count; ++i) word(i) = i;
    memory_->promise(va, bytes_).value();
    std::vector<mem::PageRun> runs;
    memory_->populate(va, count, Access::kReadWrite, runs).value();
    u64 done = 0;
    for (const mem::PageRun& run : runs) {
      phys_.pin(*memory_, advance(va, done * kPageSize), run, std::span(frames_).subspan(done, run.pages)).value();
      done += run.pages;
    }
  }
  ~Pages() {
    phys_.unpin_and_release(frames_);
    ::munmap(start_, bytes_);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  u64& word(u64 page) { return *reinterpret_cast<u64*>(start_ + page * kPageSize); }
  [[nodiscard]] PhysAddr frame(u64 page) const { return frames_[page]; }

 private:
  mem::PhysicalMemory& phys_;
  const u64 bytes_;
  Ref<mem::LocalMemory> memory_ = make_ref<mem::LocalMemory>();
  std::byte* start_ = nullptr;
  std::vector<PhysAddr> frames_;
};

class DevicePortTest : public ::testing::TestWithParam<Kind> {
 protected:
  DevicePortTest() {
    for (DevicePort* port : {&port_, &other_port_}) port->set_bus_master(true);
  }
  ~DevicePortTest() override {
    for (DevicePort* port : {&port_, &other_port_}) port->attach(nullptr);
  }
  std::unique_ptr<Domain> domain(bool dirty = false) {
    return std::move(iommu_.alloc_domain({.dirty_tracking = dirty}, {})).value();
  }
  void map(Domain& domain, Iova iova, PhysAddr pa, u64 length = kPageSize, Access access = Access::kReadWrite) {
    pt::Gather gather(platform_->tables());
    ASSERT_TRUE(domain.map(iova, pa, length, access, gather));
    gather.free();
  }
  void unmap(Domain& domain, Iova iova, u64 length = kPageSize) {
    pt::Gather gather(platform_->tables());
    domain.unmap(iova, length, gather);
    gather.free();
  }
  std::optional<u64> read(Iova iova, DevicePort& port) {
    u64 value = 0;
    if (!port.read(iova.raw(), std::as_writable_bytes(std::span(&value, 1)))) return std::nullopt;
    return value;
  }
  std::optional<u64> read(Iova iova = kIova) { return read(iova, port_); }
  bool write(u64 value, Iova iova = kIova) {
    return port_.write(iova.raw(), std::as_bytes(std::span(&value, 1))).has_value();
  }
  IotlbCounters counters() { return port_.iotlb_counters(); }

  std::unique_ptr<Platform> platform_ = std::move(*Platform::create({}));
  Instance iommu_{GetParam(), "iommu0", platform_->tables()};
  DevicePort port_{"0000:01:00.0", &iommu_, platform_->phys(), nullptr};
  DevicePort other_port_{"0000:02:00.0", &iommu_, platform_->phys(), nullptr};
};

TEST_P(DevicePortTest, the_second_access_walks_no_table) {
  Pages pages(platform_->phys(), 2);
  const auto d = domain();
  port_.attach(d.get());
  map(*d, kIova, pages.frame(1));
  EXPECT_EQ(read(), 1u);
  EXPECT_EQ(counters(), (IotlbCounters{0, 1, 1, 0}));
  EXPECT_EQ(read(), 1u);
  EXPECT_TRUE(write(77));
  EXPECT_EQ(pages.word(1), 77u);
  EXPECT_EQ(counters(), (IotlbCounters{2, 1, 1, 0}));
  // Another device has an IOTLB of its own, and is attached to nothing.
  EXPECT_EQ(read(kIova, other_port_), std::nullopt);
  EXPECT_EQ(other_port_.iotlb_counters(), (IotlbCounters{0, 0, 0, 0}));
  unmap(*d, kIova);
  EXPECT_EQ(read(), std::nullopt);
  EXPECT_EQ(counters(), (IotlbCounters{2, 2, 2, 1}));
  port_.attach(nullptr);
}

TEST_P(DevicePortTest, unmap_reaches_every_device_and_only_its_range) {
  Pages pages(platform_->phys(), 4);
  const auto d = domain();
  port_.attach(d.get());
  other_port_.attach(d.get());
  const Iova next = advance(kIova, kPageSize);
  map(*d, kIova, pages.frame(0));
  map(*d, next, pages.frame(2));
  for (DevicePort* port : {&port_, &other_port_}) {
    EXPECT_EQ(read(kIova, *port), 0u);
    EXPECT_EQ(read(next, *port), 2u);
  }
  unmap(*d, kIova);
  map(*d, kIova, pages.frame(3));
  for (DevicePort* port : {&port_, &other_port_}) {
    EXPECT_EQ(read(next, *port), 2u);
    EXPECT_EQ(read(kIova, *port), 3u);
    EXPECT_EQ(port->iotlb_counters(), (IotlbCounters{1, 3, 3, 1}));
  }
  unmap(*d, kIova, 2 * kPageSize);
  port_.attach(nullptr);
  other_port_.attach(nullptr);
}

TEST_P(DevicePortTest, another_domain_is_another_world) {
  Pages pages(platform_->phys(), 4);
  const auto first = domain(), second = domain();
  map(*first, kIova, pages.frame(1));
  map(*second, kIova, pages.frame(2));
  port_.attach(first.get());
  EXPECT_EQ(read(), 1u);
  port_.attach(second.get());
  EXPECT_EQ(read(), 2u);
  // What happens to the old domain is nothing to the device.
  const u64 invalidated = counters().invalidated;
  unmap(*first, kIova);
  EXPECT_EQ(counters().invalidated, invalidated);
  EXPECT_EQ(read(), 2u);
  port_.attach(nullptr);
  EXPECT_EQ(read(), std::nullopt);
  unmap(*second, kIova);
}

TEST_P(DevicePortTest, rights_are_checked_on_hits_too) {
  Pages pages(platform_->phys(), 1);
  const auto d = domain();
  port_.attach(d.get());
  map(*d, kIova, pages.frame(0), kPageSize, Access::kRead);
  EXPECT_EQ(read(), 0u);
  EXPECT_FALSE(write(5));
  EXPECT_EQ(pages.word(0), 0u);
  EXPECT_EQ(counters(), (IotlbCounters{1, 1, 1, 0}));
  unmap(*d, kIova);
  port_.attach(nullptr);
}

struct Pagewise final : pt::DirtySink {
  void dirty(Iova iova, u64) override { found.push_back(iova.raw()); }
  std::vector<u64> found{};
};

// Behind IOMMUs that track dirty pages.
class DirtyPortTest : public DevicePortTest {};

// A write that finds the bit set in its IOTLB sets none; so whoever clears bits drops the entries.
TEST_P(DirtyPortTest, dirty_bits_are_set_once_until_they_are_cleared) {
  ASSERT_TRUE(iommu_.can_track_dirty());
  Pages pages(platform_->phys(), 2);
  const auto d = domain(true);
  port_.attach(d.get());
  for (u64 i = 0; i < 2; ++i) map(*d, advance(kIova, i * kPageSize), pages.frame(i));
  const auto dirty = [&](pt::DirtyMode mode) {
    Pagewise sink;
    pt::Gather gather(platform_->tables());
    d->read_dirty(kIova, 2 * kPageSize, mode, sink, gather);
    if (gather.has_range()) d->flush(gather.range());
    return sink.found;
  };
  EXPECT_TRUE(write(1));  // nobody records yet
  EXPECT_TRUE(dirty(pt::DirtyMode::kReadAndClear).empty());
  d->set_dirty_tracking(DirtyTracking::kOn);
  EXPECT_EQ(counters().walks, 1u);
  EXPECT_TRUE(write(2));
  EXPECT_EQ(counters().walks, 3u);  // one for the address, one for the bit
  EXPECT_TRUE(write(3));
  EXPECT_EQ(counters().walks, 3u);
  const std::vector<u64> both{kIova.raw()};
  EXPECT_EQ(dirty(pt::DirtyMode::kReadOnly), both);
  EXPECT_TRUE(write(4));
  EXPECT_EQ(counters().walks, 3u);  // reading drops nothing
  EXPECT_EQ(dirty(pt::DirtyMode::kReadAndClear), both);
  EXPECT_TRUE(dirty(pt::DirtyMode::kReadAndClear).empty());
  EXPECT_TRUE(write(5));
  EXPECT_EQ(counters().walks, 5u);
  EXPECT_EQ(dirty(pt::DirtyMode::kReadAndClear), both);
  unmap(*d, kIova, 2 * kPageSize);
  port_.attach(nullptr);
}

// Two devices read one IOVA whose page changes all the time. In the order of the maps: what a DMA reads was mapped while it
// ran, never before it began.
TEST_P(DevicePortTest, race_no_dma_sees_a_page_of_the_past) {
  constexpr u64 kPages = 16, kRounds = 400;
  Pages pages(platform_->phys(), kPages);
  const auto d = domain();
  for (DevicePort* port : {&port_, &other_port_}) port->attach(d.get());
  std::atomic<u64> mapped{0};    // rounds whose page can be read
  std::atomic<u64> unmapped{0};  // rounds whose page cannot be read any more
  std::atomic<bool> stop{false};
  std::atomic<u64> seen{0};
  const auto reader = [&](DevicePort& port) {
    while (!stop.load(std::memory_order_relaxed)) {
      const u64 oldest = unmapped.load();
      const std::optional<u64> page = read(kIova, port);
      const u64 newest = mapped.load();
      if (!page) continue;
      seen.fetch_add(1, std::memory_order_relaxed);
      bool possible = false;
      for (u64 round = oldest; round <= newest; ++round) possible |= round % kPages == *page;
      EXPECT_TRUE(possible || newest - oldest >= kPages) << *page << " not in " << oldest << ".." << newest;
    }
  };
  {
    std::vector<std::jthread> readers;
    for (DevicePort* port : {&port_, &other_port_}) readers.emplace_back(reader, std::ref(*port));
    for (u64 round = 0; round < kRounds || seen.load() == 0; ++round) {
      mapped.store(round);
      map(*d, kIova, pages.frame(round % kPages));
      if (round % 8 == 0) std::this_thread::yield();
      unmap(*d, kIova);
      unmapped.store(round + 1);
    }
    stop = true;
  }
  const IotlbCounters c = counters();
  EXPECT_EQ(c.misses, c.walks);
  for (DevicePort* port : {&port_, &other_port_}) port->attach(nullptr);
}

// Long writes are under way when their pages are unmapped, also while the device is moved to another domain and back: once unmap
// has returned, nothing writes there.
TEST_P(DevicePortTest, race_no_write_lands_after_unmap) {
  constexpr u64 kPages = 64, kRounds = 200, kMine = 0xc0ffee;
  Pages pages(platform_->phys(), kPages);
  const auto d = domain(), nothing = domain();
  port_.attach(d.get());
  std::atomic<bool> stop{false};
  std::atomic<u64> writes{0};
  std::jthread device([&] {
    const std::vector<std::byte> data(kPages * kPageSize, std::byte{0xdd});
    while (!stop.load(std::memory_order_relaxed))
      if (port_.write(kIova.raw(), data)) writes.fetch_add(1, std::memory_order_relaxed);
  });
  std::jthread mover([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      port_.attach(nothing.get());
      port_.attach(d.get());
      std::this_thread::yield();
    }
  });
  u64 lost = 0;
  for (u64 round = 0; round < kRounds || writes.load() == 0; ++round) {
    for (u64 i = 0; i < kPages; ++i) map(*d, advance(kIova, i * kPageSize), pages.frame(i));
    for (const u64 had = writes.load(); had == writes.load() && round % 4 != 0;) std::this_thread::yield();
    unmap(*d, kIova, kPages * kPageSize);
    for (u64 i = 0; i < kPages; ++i) pages.word(i) = kMine;
    for (u64 i = 0; i < 200; ++i) lost += std::atomic_ref(pages.word(kPages - 1 - i % kPages)).load() != kMine;
  }
  stop = true;
  device.join();
  mover.join();
  for (u64 i = 0; i < kPages; ++i) lost += pages.word(i) != kMine;
  EXPECT_EQ(lost, 0u);
  port_.attach(nullptr);
}

// The same for the device: domains come and go under it.
TEST_P(DevicePortTest, race_a_domain_can_be_freed_after_a_replacement) {
  constexpr u64 kRounds = 200;
  Pages pages(platform_->phys(), 2);
  std::atomic<bool> stop{false};
  std::jthread reader([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      const std::optional<u64> page = read();
      EXPECT_LT(page.value_or(0), 2u);
    }
  });
  std::unique_ptr<Domain> current;
  for (u64 round = 0; round < kRounds; ++round) {
    std::unique_ptr<Domain> next = domain();
    map(*next, kIova, pages.frame(round % 2));
    port_.attach(next.get());
    if (current) unmap(*current, kIova);
    current = std::move(next);
    EXPECT_EQ(read(kIova, port_), round % 2);
  }
  stop = true;
  reader.join();
  port_.attach(nullptr);
  unmap(*current, kIova);
}

std::string name_of(const ::testing::TestParamInfo<Kind>& info) {
  std::string name(kind_name(info.param));
  std::erase(name, '-');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Kinds, DevicePortTest,
                         ::testing::Values(Kind::kAmd, Kind::kAmdV2, Kind::kVtd, Kind::kVtdS1, Kind::kRiscV,
                                           Kind::kSmmuV3),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Kinds, DirtyPortTest, ::testing::Values(Kind::kAmd, Kind::kAmdV2, Kind::kVtd, Kind::kVtdS1),
                         name_of);

}  // namespace
}  // namespace iommufd::iommu
