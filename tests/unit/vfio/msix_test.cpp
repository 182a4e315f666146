// SPDX-License-Identifier: BSD-3-Clause
// MSI-X and ERR through SET_IRQS (spec vfio-device 12, 13), and regions of a function that has them (8, 9, 15).
#include "tests/unit/vfio/vfio_fixture.hpp"
#include "vfio/interrupts.hpp"
#include "vfio/ioeventfds.hpp"
#include "vfio/regions.hpp"

namespace iommufd::vfio {
namespace {

constexpr u32 kVectors = 2048;

pci::FunctionSpec express() {
  pci::FunctionSpec spec = sample_spec();
  spec.msix = pci::MsixSpec{.vectors = kVectors, .table_bar = 2, .pending_bar = 2, .pending_offset = 0x8000};
  spec.bars[2] = {.kind = pci::BarKind::kMemory32, .size = 0x10000, .mappable = pci::Mappable::kYes};
  spec.pcie = pci::PcieSpec{};
  return spec;
}

class MsixTest : public testing::Test {
 protected:
  void SetUp() override {
    sample.function.connect(interrupts);
    sample.function.enable();
    sample.set_command(2 | 4);
  }
  void TearDown() override { interrupts.teardown(); }
  int set(IrqRequest request) {
    const Result<u32> r = interrupts.set(std::move(request));
    return r ? 0 : static_cast<int>(r.error());
  }
  int none(IrqIndex index, u32 start, u32 count) {
    return set({.index = index, .action = IrqAction::kTrigger, .data = IrqData::kNone, .start = start, .count = count});
  }
  int bools(IrqIndex index, u32 start, std::vector<u8> values) {
    const u32 count = static_cast<u32>(values.size());
    return set({.index = index,
                .action = IrqAction::kTrigger,
                .data = IrqData::kBool,
                .start = start,
                .count = count,
                .bools = std::move(values)});
  }
  template <class... E>
  int events(IrqIndex index, u32 start, E... elements) {
    IrqRequest r{.index = index,
                 .action = IrqAction::kTrigger,
                 .data = IrqData::kEventfd,
                 .start = start,
                 .count = static_cast<u32>(sizeof...(E))};
    (r.eventfds.push_back(std::move(elements)), ...);
    return set(std::move(r));
  }
  void send(u32 vector) { sample.model->ports.interrupts.send_message(vector); }

  SampleFunction sample{express()};
  EventWatcher watcher;
  Interrupts interrupts{sample.function, watcher};
  ClientEvent first, second, third;
};

TEST_F(MsixTest, info) {
  const IrqInfo msix = interrupts.info(IrqIndex::kMsix);
  EXPECT_EQ(msix.count, kVectors);
  EXPECT_TRUE(msix.resizable);
  EXPECT_FALSE(msix.maskable || msix.automasked);
  EXPECT_EQ(interrupts.info(IrqIndex::kErr).count, 1u);
  EXPECT_FALSE(interrupts.info(IrqIndex::kErr).resizable);
}

TEST_F(MsixTest, vectors_reach_their_eventfds) {
  ASSERT_EQ(events(IrqIndex::kMsix, 0, first.element(), no_eventfd(), second.element()), 0);
  EXPECT_TRUE(sample.model->ports.interrupts.message_signalled());
  send(0);
  send(1);
  send(2);
  send(2);
  EXPECT_EQ(first.take(), 1u);
  EXPECT_EQ(second.take(), 2u);
  ASSERT_EQ(events(IrqIndex::kMsix, 2, no_eventfd()), 0);
  send(2);
  EXPECT_EQ(second.take(), 0u);
  EXPECT_EQ(none(IrqIndex::kMsix, 0, 0), 0);
  send(0);
  EXPECT_EQ(first.take(), 0u);
  EXPECT_FALSE(sample.model->ports.interrupts.message_signalled());
}

TEST_F(MsixTest, grows_while_it_is_enabled) {
  ASSERT_EQ(events(IrqIndex::kMsix, 0, first.element()), 0);
  ASSERT_EQ(events(IrqIndex::kMsix, kVectors - 1, second.element()), 0);
  send(kVectors - 1);
  EXPECT_EQ(second.take(), 1u);
  send(0);
  EXPECT_EQ(first.take(), 1u);
}

TEST_F(MsixTest, a_message_without_an_eventfd_waits_for_one) {
  ASSERT_EQ(events(IrqIndex::kMsix, 0, first.element()), 0);
  send(7);
  send(7);
  ASSERT_EQ(events(IrqIndex::kMsix, 7, second.element()), 0);
  EXPECT_EQ(second.take(), 1u);
}

TEST_F(MsixTest, loop_back_skips_vectors_without_an_eventfd) {
  EXPECT_EQ(none(IrqIndex::kMsix, 0, 1), EINVAL);  // not enabled
  EXPECT_EQ(bools(IrqIndex::kMsix, 0, {1}), EINVAL);
  ASSERT_EQ(events(IrqIndex::kMsix, 0, first.element(), no_eventfd(), second.element()), 0);
  EXPECT_EQ(none(IrqIndex::kMsix, 0, 20), 0);
  EXPECT_EQ(first.take() + second.take(), 2u);
  EXPECT_EQ(bools(IrqIndex::kMsix, 0, {0, 1, 1}), 0);
  EXPECT_EQ(first.take(), 0u);
  EXPECT_EQ(second.take(), 1u);
}

TEST_F(MsixTest, excludes_the_other_kinds) {
  ASSERT_EQ(events(IrqIndex::kMsix, 0, first.element()), 0);
  EXPECT_EQ(events(IrqIndex::kMsi, 0, second.element()), EINVAL);
  EXPECT_EQ(events(IrqIndex::kIntx, 0, second.element()), EINVAL);
  EXPECT_EQ(none(IrqIndex::kMsi, 0, 0), EINVAL);
  ASSERT_EQ(none(IrqIndex::kMsix, 0, 0), 0);
  ASSERT_EQ(events(IrqIndex::kMsi, 0, second.element()), 0);
  EXPECT_EQ(events(IrqIndex::kMsix, 0, first.element()), EINVAL);
  ASSERT_EQ(none(IrqIndex::kMsi, 0, 0), 0);
  ASSERT_EQ(events(IrqIndex::kIntx, 0, second.element()), 0);
  EXPECT_EQ(events(IrqIndex::kMsix, 0, first.element()), EINVAL);
}

TEST_F(MsixTest, errors_leave_nothing_enabled) {
  EXPECT_EQ(events(IrqIndex::kMsix, 0), ERANGE);
  EXPECT_EQ(events(IrqIndex::kMsix, 0, first.element(), no_eventfd(500)), EBADF);
  EXPECT_FALSE(sample.model->ports.interrupts.message_signalled());
  ASSERT_EQ(events(IrqIndex::kMsix, 0, first.element()), 0);
  EXPECT_EQ(events(IrqIndex::kMsix, 0, second.element(), no_eventfd(500)), EBADF);
  send(0);  // what was touched is cleared, what is enabled stays enabled
  EXPECT_EQ(first.take() + second.take(), 0u);
  EXPECT_TRUE(sample.model->ports.interrupts.message_signalled());
  for (const IrqAction action : {IrqAction::kMask, IrqAction::kUnmask, IrqAction::kOther})
    EXPECT_EQ(set({.index = IrqIndex::kMsix, .action = action, .data = IrqData::kNone, .count = 1}), ENOTTY);
}

TEST_F(MsixTest, a_teardown_switches_it_off) {
  ASSERT_EQ(events(IrqIndex::kMsix, 0, first.element()), 0);
  ASSERT_EQ(events(IrqIndex::kErr, 0, second.element()), 0);
  interrupts.teardown();
  send(0);
  EXPECT_EQ(first.take(), 0u);
  EXPECT_EQ(none(IrqIndex::kErr, 0, 1), EINVAL);
  EXPECT_FALSE(sample.model->ports.interrupts.message_signalled());
}

TEST_F(MsixTest, err_is_armed_and_disarmed_beside_req) {
  EXPECT_EQ(none(IrqIndex::kErr, 0, 0), EINVAL);
  EXPECT_EQ(none(IrqIndex::kErr, 0, 1), EINVAL);
  ASSERT_EQ(events(IrqIndex::kErr, 0, first.element()), 0);
  ASSERT_EQ(events(IrqIndex::kReq, 0, second.element()), 0);
  EXPECT_EQ(none(IrqIndex::kErr, 0, 1), 0);
  EXPECT_EQ(first.take(), 1u);
  EXPECT_EQ(second.take(), 0u);
  EXPECT_EQ(bools(IrqIndex::kReq, 0, {1}), 0);
  EXPECT_EQ(second.take(), 1u);
  EXPECT_EQ(events(IrqIndex::kErr, 0, no_eventfd(-2)), EINVAL);
  EXPECT_EQ(events(IrqIndex::kErr, 0, third.element()), 0);  // another one
  EXPECT_EQ(bools(IrqIndex::kErr, 0, {1}), 0);
  EXPECT_EQ(third.take(), 1u);
  EXPECT_EQ(events(IrqIndex::kErr, 0, no_eventfd()), 0);
  EXPECT_EQ(none(IrqIndex::kErr, 0, 1), EINVAL);
  ASSERT_EQ(events(IrqIndex::kErr, 0, first.element()), 0);
  EXPECT_EQ(none(IrqIndex::kErr, 0, 0), 0);
  EXPECT_EQ(none(IrqIndex::kErr, 0, 1), EINVAL);
}

TEST_F(MsixTest, many_threads_raise_while_vectors_come_and_go) {
  ASSERT_EQ(events(IrqIndex::kMsix, 0, first.element()), 0);
  std::atomic<bool> stop = false;
  std::array<std::atomic<u64>, 2> raised{};
  std::vector<std::jthread> raisers;
  for (u32 t = 0; t < 2; ++t)
    raisers.emplace_back([&, t] {
      while (!stop) {
        send(t);
        ++raised[t];
      }
    });
  // Each vector is there while somebody raises it, however busy the machine is.
  const auto raise_once_more = [&](u32 t) {
    const u64 before = raised[t];
    while (raised[t] < before + 2) std::this_thread::yield();
  };
  for (int i = 0; i < 500; ++i) {
    EXPECT_EQ(events(IrqIndex::kMsix, 1, second.element()), 0);
    if (i == 250) raise_once_more(1);
    EXPECT_EQ(events(IrqIndex::kMsix, 1, no_eventfd()), 0);
  }
  raise_once_more(0);
  stop = true;
  raisers.clear();
  EXPECT_GT(first.take(), 0u);
  EXPECT_GT(second.take(), 0u);
}

TEST(MsixRegions, the_bar_of_the_table_can_be_mapped) {
  const SampleFunction sample(express());
  EXPECT_TRUE(region_info(sample.function, 2)->msix_mappable);
  EXPECT_FALSE(region_info(sample.function, 0)->msix_mappable);
  EXPECT_TRUE(check_mmap(sample.function, region_offset(2), 0x1000, Sharing::kShared));
  EXPECT_EQ(region_info(sample.function, kConfigRegion)->size, 4096u);
}

TEST(MsixRegions, no_ioeventfd_writes_into_the_table) {
  SampleFunction sample(express());
  EventWatcher watcher;
  Ioeventfds ioeventfds(sample.function, watcher);
  const ClientEvent event;
  EXPECT_EQ(ioeventfds.set({.bar = 2, .offset = 0x10, .width = 4, .event = event.element()}).error(), Errno::kInval);
  EXPECT_TRUE(ioeventfds.set({.bar = 2, .offset = 0x9000, .width = 4, .event = event.element()}));
  ioeventfds.teardown();
}

TEST(RomRegion, is_there_when_the_rom_has_an_image) {
  pci::FunctionSpec spec = sample_spec();
  std::vector<u8> bytes(5000, 0);
  spec.rom = std::make_shared<const std::vector<u8>>(bytes);
  const SampleFunction nothing(spec);
  EXPECT_EQ(region_info(nothing.function, kRomRegion)->size, 0u);
  EXPECT_FALSE(region_info(nothing.function, kRomRegion)->readable);
  EXPECT_EQ(locate(nothing.function, region_offset(kRomRegion), 4, Direction::kRead).error(), Errno::kNoMem);
  const std::string_view name = "PCIR";
  bytes[0] = 0x55;
  bytes[1] = 0xaa;
  bytes[0x18] = 0x40;
  std::ranges::copy(name, bytes.begin() + 0x40);
  bytes[0x50] = 9;
  bytes[0x55] = 0x80;
  spec.rom = std::make_shared<const std::vector<u8>>(bytes);
  const SampleFunction sample(spec);
  const RegionInfo info = *region_info(sample.function, kRomRegion);
  EXPECT_EQ(info.size, 8192u);
  EXPECT_TRUE(info.readable);
  EXPECT_FALSE(info.writable || info.mappable);
  EXPECT_EQ(locate(sample.function, region_offset(kRomRegion) + 8190, 4, Direction::kRead)->count, 2u);
  EXPECT_EQ(locate(sample.function, region_offset(kRomRegion) + 8192, 4, Direction::kRead).error(), Errno::kInval);
  EXPECT_EQ(locate(sample.function, region_offset(kRomRegion), 4, Direction::kWrite).error(), Errno::kInval);
}

}  // namespace
}  // namespace iommufd::vfio
