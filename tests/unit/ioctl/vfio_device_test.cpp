// SPDX-License-Identifier: BSD-3-Clause
// Info, regions, interrupts, reset and features over raw structs (spec vfio-device 7 to 16).
#include "ioctl/vfio_cap_chain.hpp"
#include "tests/unit/ioctl/vfio_fixture.hpp"

namespace iommufd {
namespace {

using abi::VfioFeature;
using abi::VfioIrqSet;

constexpr u64 kBar0 = vfio::region_offset(0), kBar1 = vfio::region_offset(1),
              kConfig = vfio::region_offset(vfio::kConfigRegion);

struct VfioDevice : Vfio {
  void SetUp() override {
    Vfio::SetUp();
    slot = &add(Kind::kNone, {0, 0, 5, 0});
    file = &open_and_bind(*slot);
  }
  // SET_IRQS with any data behind it.
  template <class... T>
  s64 set_irqs(u32 flags, u32 index, u32 start, u32 count, T... data) {
    std::vector<std::byte> bytes(sizeof(VfioIrqSet));
    const VfioIrqSet head{static_cast<u32>(sizeof head + (sizeof(T) + ... + 0)), flags, index, start, count};
    std::memcpy(bytes.data(), &head, sizeof head);
    [[maybe_unused]] const auto append = [&](auto value) {
      const auto* p = reinterpret_cast<const std::byte*>(&value);
      bytes.insert(bytes.end(), p, p + sizeof value);
    };
    (append(data), ...);
    return raw(*file, 0x3B6E, bytes.data());
  }
  s64 feature(u32 flags, u32 argsz = 8) {
    VfioFeature f{argsz, flags};
    return call(*file, VfioCommand::kFeature, f);
  }
  u32 command() {
    u16 value = 0;
    EXPECT_EQ(read(*file, kConfig + 4, &value, 2), 2);
    return value;
  }
  Slot* slot = nullptr;
  ioctl::File* file = nullptr;
};

TEST_F(VfioDevice, get_info_writes_what_fits) {
  abi::VfioDeviceInfo info{sizeof info, 0xdead, 0, 0, 0xdead, 0xdead};
  EXPECT_EQ(call(*file, VfioCommand::kGetInfo, info), 0);
  EXPECT_EQ(info.argsz, 24u);
  EXPECT_EQ(info.flags, info.kPci | info.kReset);
  EXPECT_EQ(info.num_regions, 9u);
  EXPECT_EQ(info.num_irqs, 5u);
  EXPECT_EQ(info.cap_offset, 0u);
  EdgeOfMemory edge;
  info = {16, 0, 0, 0, 0, 0};
  EXPECT_EQ(raw(*file, 0x3B6B, edge.cut(info, 16)), 0);
  info = {1000, 0, 0, 0, 0, 0};
  EXPECT_EQ(raw(*file, 0x3B6B, edge.cut(info, 24)), 0);
  EXPECT_EQ(raw(*file, 0x3B6B, edge.cut(info, 16)), -EFAULT);
  info.argsz = 15;
  EXPECT_EQ(raw(*file, 0x3B6B, &info), -EINVAL);
  EXPECT_EQ(raw(*file, 0x3B6B, edge.cut(info, 8)), -EFAULT);
}

TEST_F(VfioDevice, get_region_info) {
  abi::VfioRegionInfo info{sizeof info, 0, 0, 0, 0, 0};
  EXPECT_EQ(call(*file, VfioCommand::kGetRegionInfo, info), 0);
  EXPECT_EQ(info.flags, info.kRead | info.kWrite | info.kMmap);
  EXPECT_EQ(info.size, 0x4000u);
  EXPECT_EQ(info.offset, u64{1} << 44);
  info = {sizeof info, 0, 1, 0, 0, 0};
  EXPECT_EQ(call(*file, VfioCommand::kGetRegionInfo, info), 0);
  EXPECT_EQ(info.flags, info.kRead | info.kWrite);
  info = {sizeof info, 0, 7, 0, 0, 0};
  EXPECT_EQ(call(*file, VfioCommand::kGetRegionInfo, info), 0);
  EXPECT_EQ(info.flags, info.kRead | info.kWrite);  // config is never mappable
  EXPECT_EQ(info.size, 256u);
  info = {sizeof info, 0xff, 6, 0, 1, 0};
  EXPECT_EQ(call(*file, VfioCommand::kGetRegionInfo, info), 0);
  EXPECT_EQ(info.flags, 0u);
  EXPECT_EQ(info.size, 0u);
  for (const u32 index : {8u, 9u, 0xffffffffu}) {
    info = {sizeof info, 0, index, 0, 0, 0};
    EXPECT_EQ(call(*file, VfioCommand::kGetRegionInfo, info), -EINVAL) << index;
  }
  info = {31, 0, 0, 0, 0, 0};
  EXPECT_EQ(call(*file, VfioCommand::kGetRegionInfo, info), -EINVAL);
}

TEST_F(VfioDevice, get_irq_info) {
  struct Row {
    u32 index, flags, count;
  };
  for (const Row row : {Row{0, 7, 1}, Row{1, 9, 2}, Row{2, 9, 0}, Row{4, 9, 1}}) {
    abi::VfioIrqInfo info{sizeof info, 0, row.index, 99};
    EXPECT_EQ(call(*file, VfioCommand::kGetIrqInfo, info), 0);
    EXPECT_EQ(info.flags, row.flags) << row.index;
    EXPECT_EQ(info.count, row.count) << row.index;
  }
  for (const u32 index : {3u, 5u}) {
    abi::VfioIrqInfo info{sizeof info, 0, index, 0};
    EXPECT_EQ(call(*file, VfioCommand::kGetIrqInfo, info), -EINVAL) << index;
  }
  abi::VfioIrqInfo info{15, 0, 0, 0};
  EXPECT_EQ(call(*file, VfioCommand::kGetIrqInfo, info), -EINVAL);
}

TEST_F(VfioDevice, set_irqs_generic_checks) {
  constexpr u32 kNone = VfioIrqSet::kDataNone, kTrigger = VfioIrqSet::kActionTrigger;
  const u32 event_trigger = VfioIrqSet::kDataEventfd | kTrigger;
  EXPECT_EQ(set_irqs(kNone | kTrigger, 5, 0, 1), -EINVAL);            // index
  EXPECT_EQ(set_irqs(kNone | kTrigger, 1, 1, ~u32{0} - 1), -EINVAL);  // wraps
  EXPECT_EQ(set_irqs(kNone | kTrigger, 1, 0, ~u32{0}), -EINVAL);
  EXPECT_EQ(set_irqs(0x40 | kNone | kTrigger, 1, 0, 1), -EINVAL);  // unknown flag
  EXPECT_EQ(set_irqs(kNone | kTrigger, 2, 0, 0), -EINVAL);         // an index with no interrupt
  EXPECT_EQ(set_irqs(kNone | kTrigger, 3, 0, 0), -EINVAL);         // ERR on a conventional function
  EXPECT_EQ(set_irqs(kNone | kTrigger, 1, 2, 0), -EINVAL);         // start
  EXPECT_EQ(set_irqs(kNone | kTrigger, 1, 1, 2), -EINVAL);         // start + count
  EXPECT_EQ(set_irqs(kTrigger, 1, 0, 1), -EINVAL);                 // no data type
  EXPECT_EQ(set_irqs(3 | kTrigger, 1, 0, 1, u32{0}), -EINVAL);     // two of them
  EXPECT_EQ(set_irqs(event_trigger, 1, 0, 2, s32{-1}), -EINVAL);   // too little data
  EXPECT_EQ(set_irqs(VfioIrqSet::kDataBool | kTrigger, 1, 0, 1), -EINVAL);
  EXPECT_EQ(set_irqs(kNone, 1, 0, 1), -ENOTTY);         // no action
  EXPECT_EQ(set_irqs(kNone | 0x18, 0, 0, 1), -ENOTTY);  // two of them
  VfioIrqSet head{19, kNone | kTrigger, 0, 0, 1};
  EXPECT_EQ(call(*file, VfioCommand::kSetIrqs, head), -EINVAL);
  EdgeOfMemory edge;
  head = {24, event_trigger, 1, 0, 1};
  EXPECT_EQ(raw(*file, 0x3B6E, edge.cut(head, 20)), -EFAULT);  // the data
  EXPECT_EQ(raw(*file, 0x3B6E, edge.cut(head, 16)), -EFAULT);
}

TEST_F(VfioDevice, set_irqs_delivers_into_the_client_s_eventfd) {
  const Fd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const u32 flags = VfioIrqSet::kDataEventfd | VfioIrqSet::kActionTrigger;
  EXPECT_EQ(set_irqs(flags, 1, 0, 1, s32{event.get()}), 0);
  set_command(*file, 6);
  slot->model->ports.interrupts.send_message(0);
  EXPECT_EQ(set_irqs(VfioIrqSet::kDataNone | VfioIrqSet::kActionTrigger, 1, 0, 1), 0);  // loop-back
  u64 count = 0;
  EXPECT_EQ(::read(event.get(), &count, 8), 8);
  EXPECT_EQ(count, 2u);
  EXPECT_EQ(set_irqs(flags, 1, 0, 1, s32{99'999}), -EBADF);
  const Fd memfd = *sys::make_sealed_memfd("x", 0);
  EXPECT_EQ(set_irqs(flags, 1, 0, 1, s32{memfd.get()}), -EINVAL);
  EXPECT_EQ(set_irqs(VfioIrqSet::kDataNone | VfioIrqSet::kActionTrigger, 1, 0, 0), 0);
  const Fd second(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  EXPECT_EQ(set_irqs(flags, 1, 0, 2, s32{event.get()}, s32{second.get()}), 0);
  EXPECT_EQ(set_irqs(VfioIrqSet::kDataBool | VfioIrqSet::kActionTrigger, 1, 0, 2, u8{0}, u8{1}), 0);
  EXPECT_EQ(::read(event.get(), &count, 8), -1);
  EXPECT_EQ(::read(second.get(), &count, 8), 8);
}

TEST_F(VfioDevice, bar_reads_and_writes) {
  const u64 value = 0x1122334455667788;
  EXPECT_EQ(write(*file, kBar1 + 0x10, &value, 8), 8);
  u64 back = 0;
  EXPECT_EQ(read(*file, kBar1 + 0x10, &back, 8), 8);
  EXPECT_EQ(back, value);
  EXPECT_EQ(read(*file, kBar1 + 0xfc, &back, 8), 4);  // clipped
  EXPECT_EQ(read(*file, kBar1 + 0x100, &back, 8), -EINVAL);
  EXPECT_EQ(read(*file, kBar1 + 0x100, &back, 0), 0);  // count 0 is not checked
  EXPECT_EQ(read(*file, u64{9} << 40, &back, 8), -EINVAL);
  EXPECT_EQ(read(*file, 0, &back, 0), 0);
  std::vector<u8> big(0x4000, 0x5a);
  EXPECT_EQ(write(*file, kBar0, big.data(), 0x10000), 0x4000);
  std::vector<u8> got(0x4000);
  EXPECT_EQ(read(*file, kBar0, got.data(), 0x4000), 0x4000);
  EXPECT_EQ(got, big);
}

TEST_F(VfioDevice, buffers_that_fault) {
  EdgeOfMemory edge;
  const u64 value = 0x1122334455667788;
  EXPECT_EQ(read(*file, kBar1, edge.cut(value, 4), 8), -EFAULT);
  EXPECT_EQ(write(*file, kBar1, edge.cut(value, 4), 8), -EFAULT);
  EXPECT_EQ(slot->model->bytes[3], 0x55) << "what was readable has been written";
  EXPECT_EQ(slot->model->bytes[4], 0);
  EXPECT_EQ(read(*file, kConfig, nullptr, 4), -EFAULT);
}

TEST_F(VfioDevice, bar_access_with_decoding_off_is_eio) {
  set_command(*file, 0);
  u32 value = 0;
  EXPECT_EQ(read(*file, kBar1, &value, 4), -EIO);
  EXPECT_EQ(write(*file, kBar1, &value, 4), -EIO);
  EXPECT_EQ(read(*file, kConfig, &value, 4), 4);
}

TEST_F(VfioDevice, config_is_virtual) {
  const u32 ones = ~u32{0};
  EXPECT_EQ(write(*file, kConfig + 0x10, &ones, 4), 4);
  u32 mask = 0;
  EXPECT_EQ(read(*file, kConfig + 0x10, &mask, 4), 4);
  EXPECT_EQ(mask, 0xffffc000u);
  std::array<u8, 300> all{};
  EXPECT_EQ(read(*file, kConfig, all.data(), 256), 256);
  EXPECT_EQ(read(*file, kConfig, all.data(), 257), -EFAULT);
}

TEST_F(VfioDevice, mmap_of_a_mappable_bar_only) {
  EXPECT_EQ(mmap(*file, kBar0, 0x4000), 0);
  EXPECT_EQ(mmap(*file, kBar0, 0x4000, MAP_SHARED_VALIDATE), 0);
  EXPECT_EQ(mmap(*file, kBar0, 0x4000, MAP_PRIVATE), -EINVAL);
  EXPECT_EQ(mmap(*file, kBar0, 0x5000), -EINVAL);
  EXPECT_EQ(mmap(*file, kBar1, 0x1000), -EINVAL);
  EXPECT_EQ(mmap(*file, kConfig, 0x1000), -EINVAL);
}

TEST_F(VfioDevice, every_call_looks_at_mapped_registers_first) {
  const int before = slot->model->polls;
  u32 value = 0;
  EXPECT_EQ(read(*file, kConfig, &value, 4), 4);
  EXPECT_EQ(slot->model->polls, before + 1);
  set_irqs(VfioIrqSet::kDataNone | VfioIrqSet::kActionUnmask, 0, 0, 1);
  EXPECT_EQ(slot->model->polls, before + 2);
}

TEST_F(VfioDevice, reset_resets_the_function_and_keeps_config) {
  set_command(*file, 6);
  const int before = slot->model->resets;
  EXPECT_EQ(raw(*file, 0x3B6F, nullptr), 0);
  EXPECT_EQ(slot->model->resets, before + 1);
  EXPECT_EQ(command(), 6u);
}

TEST_F(Vfio, device_without_a_reset_says_so) {
  pci::FunctionSpec spec = sample_spec();
  spec.reset = pci::ResetKind::kNone;
  ioctl::File& file = open_and_bind(add(Kind::kNone, {0, 0, 5, 0}, spec));
  abi::VfioDeviceInfo info{sizeof info, 0, 0, 0, 0, 0};
  EXPECT_EQ(call(file, VfioCommand::kGetInfo, info), 0);
  EXPECT_EQ(info.flags, info.kPci);
  EXPECT_EQ(raw(file, 0x3B6F, nullptr), -EINVAL);
}

TEST_F(VfioDevice, function_without_interrupt_pin_has_no_intx) {
  pci::FunctionSpec spec = sample_spec();
  spec.interrupt_pin = 0;
  spec.msi.reset();
  file = &open_and_bind(add(Kind::kNone, {0, 0, 9, 0}, spec));
  for (const u32 index : {0u, 1u}) {
    abi::VfioIrqInfo info{sizeof info, 0, index, 9};
    EXPECT_EQ(call(*file, VfioCommand::kGetIrqInfo, info), 0);
    EXPECT_EQ(info.count, 0u);
    EXPECT_EQ(set_irqs(VfioIrqSet::kDataNone | VfioIrqSet::kActionTrigger, index, 0, 0), -EINVAL);
  }
}

TEST_F(VfioDevice, features) {
  constexpr u32 kGet = VfioFeature::kGet, kSet = VfioFeature::kSet, kProbe = VfioFeature::kProbe;
  EXPECT_EQ(feature(kSet | 3, 7), -EINVAL);
  EXPECT_EQ(feature(kSet | 3 | 1 << 19), -EINVAL);
  EXPECT_EQ(feature(kGet | kSet | 10), -EINVAL);  // before "unknown"
  for (const u32 index : {0u, 1u, 2u, 6u, 7u, 8u, 9u, 10u, 13u, 0xffffu}) {
    EXPECT_EQ(feature(kSet | index, 100), -ENOTTY) << index;  // 10 is BUS_MASTER: row 47
    EXPECT_EQ(feature(kProbe | index), -ENOTTY) << index;
  }
  EXPECT_EQ(feature(kSet | 12), -EINVAL);
  for (const u32 index : {3u, 4u, 5u}) {
    EXPECT_EQ(feature(kProbe | index), 0);
    EXPECT_EQ(feature(kProbe | kSet | index), 0);
    EXPECT_EQ(feature(kProbe | kGet | index), -EINVAL);
    EXPECT_EQ(feature(kProbe | kGet | kSet | index), -EINVAL);
    EXPECT_EQ(feature(kGet | index), -EINVAL);
    EXPECT_EQ(feature(index), -EINVAL);
  }
  EXPECT_EQ(feature(kProbe | 11), 0);
  EXPECT_EQ(feature(kProbe | kGet | 11), 0);
  EXPECT_EQ(feature(kProbe | kSet | 11), -EINVAL);
  EXPECT_EQ(feature(kSet | 11, 100), -EINVAL);
  EXPECT_EQ(feature(kGet | 11, 23), -EINVAL);
}

TEST_F(VfioDevice, low_power) {
  constexpr u32 kSet = VfioFeature::kSet;
  u32 value = 0;
  EXPECT_EQ(feature(kSet | 5), 0);  // exit: fine when not in
  EXPECT_EQ(feature(kSet | 3), 0);
  EXPECT_EQ(feature(kSet | 3), -EINVAL);
  EXPECT_EQ(read(*file, kBar1, &value, 4), -EIO);
  EXPECT_EQ(write(*file, kBar1, &value, 4), -EIO);
  EXPECT_EQ(read(*file, kConfig, &value, 4), 4);
  EXPECT_EQ(feature(kSet | 5), 0);
  EXPECT_EQ(read(*file, kBar1, &value, 4), 4);
  EXPECT_EQ(feature(kSet | 3), 0);
  close(*file);  // and the next user finds it awake
  file = &open_and_bind(*slot);
  EXPECT_EQ(read(*file, kBar1, &value, 4), 4);
}

TEST_F(VfioDevice, low_power_with_wakeup_ends_with_the_next_access) {
  const Fd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  struct {
    VfioFeature f;
    abi::VfioLowPowerWakeup w;
  } arg{{16, VfioFeature::kSet | 4}, {event.get(), 0}};
  arg.f.argsz = 12;
  EXPECT_EQ(call(*file, VfioCommand::kFeature, arg), -EINVAL);
  arg.f.argsz = 16;
  arg.w = {-1, 0};
  EXPECT_EQ(call(*file, VfioCommand::kFeature, arg), -EINVAL);
  arg.w = {event.get(), 1};
  EXPECT_EQ(call(*file, VfioCommand::kFeature, arg), -EINVAL);
  arg.w = {99'999, 0};
  EXPECT_EQ(call(*file, VfioCommand::kFeature, arg), -EBADF);
  arg.w = {event.get(), 0};
  EXPECT_EQ(call(*file, VfioCommand::kFeature, arg), 0);
  u64 count = 0;
  EXPECT_EQ(::read(event.get(), &count, 8), -1);
  EXPECT_EQ(read(*file, kBar1, &count, 4), 4);
  EXPECT_EQ(::read(event.get(), &count, 8), 8);
  EXPECT_EQ(count, 1u);
  EXPECT_EQ(feature(VfioFeature::kSet | 3), 0);
}

TEST_F(VfioDevice, ioeventfd_arguments) {
  const Fd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  abi::VfioIoeventfd e{27, 4, kBar1, 7, event.get(), 0};
  EXPECT_EQ(call(*file, VfioCommand::kIoeventfd, e), -EINVAL);
  for (const u32 flags : {0u, 3u, 16u, 20u, 8u}) {
    e = {sizeof e, flags, kBar1, 7, event.get(), 0};
    EXPECT_EQ(call(*file, VfioCommand::kIoeventfd, e), -EINVAL) << flags;
  }
  e = {sizeof e, 4, kBar1, 7, -2, 0};
  EXPECT_EQ(call(*file, VfioCommand::kIoeventfd, e), -EINVAL);
  for (const u64 offset : {u64{9} << 40, kConfig, ~u64{0}, kBar1 + 0xfe}) {
    e = {sizeof e, 4, offset, 7, event.get(), 0};
    EXPECT_EQ(call(*file, VfioCommand::kIoeventfd, e), -EINVAL) << offset;
  }
  e = {sizeof e, 4, kBar1 + 0x20, 7, event.get(), 0};
  EXPECT_EQ(call(*file, VfioCommand::kIoeventfd, e), 0);
  EXPECT_EQ(call(*file, VfioCommand::kIoeventfd, e), -EEXIST);
  e.fd = -1;
  EXPECT_EQ(call(*file, VfioCommand::kIoeventfd, e), 0);
  EXPECT_EQ(call(*file, VfioCommand::kIoeventfd, e), -ENODEV);
}

TEST_F(VfioDevice, hot_reset_on_a_root_bus_is_enodev) {
  abi::VfioPciHotResetInfo info{11, 0, 0};
  EXPECT_EQ(call(*file, VfioCommand::kGetPciHotResetInfo, info), -EINVAL);
  info.argsz = sizeof info;
  EXPECT_EQ(call(*file, VfioCommand::kGetPciHotResetInfo, info), -ENODEV);
  abi::VfioPciHotReset reset{sizeof reset, 0, 0};
  EXPECT_EQ(call(*file, VfioCommand::kPciHotReset, reset), -ENODEV);
  reset.count = 1;
  EXPECT_EQ(call(*file, VfioCommand::kPciHotReset, reset), -EINVAL);
  reset = {sizeof reset, 1, 0};
  EXPECT_EQ(call(*file, VfioCommand::kPciHotReset, reset), -EINVAL);
}

TEST_F(Vfio, hot_reset_behind_a_bridge_asks_who_owns_what) {
  Slot& a = add(Kind::kAmd, {0, 1, 0, 0}, sample_spec(), 7);
  Slot& same_group = add(Kind::kAmd, {0, 1, 0, 1}, sample_spec(), 7);
  Slot& noiommu = add(Kind::kNone, {0, 1, 2, 0});
  add(Kind::kAmd, {0, 2, 0, 0}, sample_spec(), 8);  // another bus
  ioctl::File& file = open(a);
  u32 id = 0;
  EXPECT_EQ(bind(file, &id), 0);
  struct {
    abi::VfioPciHotResetInfo head;
    std::array<abi::VfioPciDependentDevice, 3> devices;
  } info{};
  info.head = {12 + 16, 9, 9};
  EXPECT_EQ(call(file, VfioCommand::kGetPciHotResetInfo, info), -ENOSPC);
  EXPECT_EQ(info.head.count, 3u);
  EXPECT_EQ(info.head.flags, 0u);
  info.head.argsz = sizeof info;
  EXPECT_EQ(call(file, VfioCommand::kGetPciHotResetInfo, info), 0);
  EXPECT_EQ(info.head.flags, info.head.kDevId);
  EXPECT_EQ(info.devices[0].devid, id);
  EXPECT_EQ(info.devices[0].bus, 1);
  EXPECT_EQ(info.devices[1].devid, 0u);  // its group is the context's
  EXPECT_EQ(info.devices[1].devfn, 1);
  EXPECT_EQ(info.devices[2].devid, ~u32{0});  // a noiommu device has no group to own
  abi::VfioPciHotReset reset{sizeof reset, 0, 0};
  EXPECT_EQ(call(file, VfioCommand::kPciHotReset, reset), -EINVAL);

  ioctl::File& second = open(noiommu);
  EXPECT_EQ(bind(second, &id), 0);
  EXPECT_EQ(call(file, VfioCommand::kGetPciHotResetInfo, info), 0);
  EXPECT_EQ(info.head.flags, info.head.kDevId | info.head.kDevIdOwned);
  EXPECT_EQ(info.devices[2].devid, id);
  const int before = same_group.model->resets;
  EXPECT_EQ(call(file, VfioCommand::kPciHotReset, reset), 0);
  EXPECT_EQ(same_group.model->resets, before + 1);
  EXPECT_EQ(slots[3]->model->resets, 0);
}

TEST(CapChain, links_pad_and_report_the_room_they_need) {
  test::LocalCall caller;
  ioctl::CapChain chain(sizeof(abi::VfioRegionInfo));
  const std::array<std::byte, 12> body{std::byte{0xaa}};
  chain.add(1, 2, body);
  chain.add(3, 1, {});
  struct {
    abi::VfioRegionInfo info;
    std::array<std::byte, 40> room;
  } out{};
  const auto reply = [&](u32 argsz) {
    out = {};
    abi::VfioRegionInfo info{argsz, 1, 0, 77, 0, 0};
    return chain.reply(caller, UserVa{std::bit_cast<u64>(&out)}, info, abi::VfioRegionInfo::kCaps).has_value();
  };
  EXPECT_TRUE(reply(32 + 31));
  EXPECT_EQ(out.info.argsz, 32u + 24 + 8);
  EXPECT_EQ(out.info.cap_offset, 0u);
  EXPECT_EQ(out.info.flags, 9u);
  EXPECT_EQ(out.room[0], std::byte{0});
  EXPECT_TRUE(reply(64));
  EXPECT_EQ(out.info.argsz, 64u);
  EXPECT_EQ(out.info.cap_offset, 32u);
  abi::VfioInfoCap first{}, second{};
  std::memcpy(&first, out.room.data(), sizeof first);
  EXPECT_EQ(first.id, 1);
  EXPECT_EQ(first.version, 2);
  EXPECT_EQ(first.next, 32u + 24);
  EXPECT_EQ(out.room[8], std::byte{0xaa});
  std::memcpy(&second, out.room.data() + 24, sizeof second);
  EXPECT_EQ(second.id, 3);
  EXPECT_EQ(second.next, 0u);
}

}  // namespace
}  // namespace iommufd
