// SPDX-License-Identifier: BSD-3-Clause
// Registration, open, BIND, ATTACH, DETACH and close (spec vfio-device 3 to 6 and 19; noiommu checklist rows 1 to 20,
// 45 to 48; iommufd-core B.1 to B.5).
#include <sys/mman.h>

#include <thread>

#include "tests/unit/ioctl/vfio_fixture.hpp"

namespace iommufd {
namespace {

constexpr u64 kConfig = vfio::region_offset(vfio::kConfigRegion);

struct VfioBind : Vfio {
  void SetUp() override {
    Vfio::SetUp();
    none = &add(Kind::kNone, {0, 0, 5, 0});
    with = &add(Kind::kAmd, {0, 0, 6, 0}, sample_spec(), 1);
  }
  Slot* none = nullptr;
  Slot* with = nullptr;
};

TEST_F(Vfio, names_share_one_number_space) {
  EXPECT_EQ(add(Kind::kNone, {0, 0, 1, 0}).device->name(), "noiommu-vfio0");
  EXPECT_EQ(add(Kind::kAmd, {0, 0, 2, 0}).device->name(), "vfio1");
  EXPECT_EQ(add(Kind::kNone, {0, 0, 3, 0}).device->name(), "noiommu-vfio2");
  EXPECT_EQ(registry.find("vfio1"), slots[1]->device);
  EXPECT_EQ(registry.find("noiommu-vfio1"), nullptr);
}

TEST_F(Vfio, probe_of_a_noiommu_device_fails_without_the_mode) {
  EXPECT_EQ(add(Kind::kNone, {0, 0, 1, 0}, sample_spec(), 0, vfio::UnsafeNoiommu::kOff).device, nullptr);
  // A device with an IOMMU does not care; the failed probe took no number.
  EXPECT_EQ(add(Kind::kAmd, {0, 0, 2, 0}, sample_spec(), 1, vfio::UnsafeNoiommu::kOff).device->name(), "vfio0");
}

TEST_F(VfioBind, open_of_a_noiommu_device_needs_rawio) {
  caller.dropped = {mem::Capability::kSysRawio};
  EXPECT_EQ(ioctl::open_vfio_device(caller, *none->device, std::make_unique<TestMemory>()).error(), Errno::kPerm);
  EXPECT_TRUE(ioctl::open_vfio_device(caller, *with->device, std::make_unique<TestMemory>()));
  caller.dropped = {};
  EXPECT_TRUE(ioctl::open_vfio_device(caller, *none->device, std::make_unique<TestMemory>()));
}

TEST_F(VfioBind, before_bind_everything_is_einval) {
  ioctl::File& file = open(*none);
  u64 buffer = 0;
  for (u32 nr = 0x3B64; nr <= 0x3B95; ++nr) {
    if (nr == 0x3B76) continue;
    EXPECT_EQ(raw(file, nr, &buffer), -EINVAL) << nr;
  }
  EXPECT_EQ(raw(file, 0x1234, nullptr), -EINVAL);
  EXPECT_EQ(read(file, kConfig, &buffer, 4), -EINVAL);
  EXPECT_EQ(read(file, kConfig, &buffer, 0), -EINVAL);
  EXPECT_EQ(write(file, kConfig, &buffer, 4), -EINVAL);
  EXPECT_EQ(mmap(file, vfio::region_offset(0), 0x1000), -EINVAL);
}

TEST_F(VfioBind, unknown_ioctl_after_bind_is_enotty) {
  ioctl::File& file = open_and_bind(*none);
  for (const u32 cmd : {0x3B64u, 0x3B66u, 0x3B6Au, 0x3B72u, 0x3B73u, 0x3B79u, 0x3B81u, 0x3B95u, 0x123u, 0x40003B6Bu}) {
    EXPECT_EQ(raw(file, cmd, nullptr), -ENOTTY) << cmd;
  }
}

TEST_F(VfioBind, bind_arguments_in_order) {
  ioctl::File& file = open(*none);
  EdgeOfMemory edge;
  abi::VfioBindIommufd b{sizeof b, 0, caller.iommu_fd, 0, 0};
  const u32 cmd = 0x3B76;
  EXPECT_EQ(raw(file, cmd, nullptr), -EFAULT);
  b.argsz = 15;
  EXPECT_EQ(raw(file, cmd, edge.cut(b, 4)), -EINVAL);  // argsz is all that is looked at
  b.argsz = 16;
  EXPECT_EQ(raw(file, cmd, edge.cut(b, 12)), -EFAULT);
  struct {
    abi::VfioBindIommufd b;
    u64 tail;
  } longer{{32, 0, -2, 0, 0}, 1};
  EXPECT_EQ(raw(file, cmd, &longer), -E2BIG);  // before the descriptor
  longer.tail = 0;
  EXPECT_EQ(raw(file, cmd, &longer), -EINVAL);  // row 7 of the noiommu checklist
  b = {sizeof b, 2, caller.iommu_fd, 0, 0};
  EXPECT_EQ(raw(file, cmd, &b), -EINVAL);
  b = {sizeof b, 1, 99'999, 0, 1};
  EXPECT_EQ(raw(file, cmd, &b), -EFAULT);  // the token is read before the descriptor is looked at
  std::array<u64, 2> token{};
  b = {sizeof b, 1, 99'999, 0, std::bit_cast<u64>(token.data())};
  EXPECT_EQ(raw(file, cmd, &b), -EINVAL);  // the device takes no token
  b = {sizeof b, 0, 99'999, 0, 0};
  EXPECT_EQ(raw(file, cmd, &b), -EBADF);
  b.iommufd = 0;
  const Fd other(::eventfd(0, EFD_CLOEXEC));
  b.iommufd = other.get();
  EXPECT_EQ(raw(file, cmd, &b), -EBADFD);
  b = {16, 0, caller.iommu_fd, 0, 0xdead};
  EXPECT_EQ(raw(file, cmd, edge.cut(b, 16)), 0);  // after all that it can still be bound, with the shortest form
}

TEST_F(VfioBind, bind_gives_the_id_of_a_device_object) {
  ioctl::File& file = open(*none);
  u32 id = 0;
  EXPECT_EQ(bind(file, &id), 0);
  EXPECT_GT(id, 0u);
  EXPECT_EQ(destroy(id), -EBUSY);
  close(file);
  EXPECT_EQ(destroy(id), -ENOENT);
}

TEST_F(VfioBind, a_device_is_bound_once) {
  ioctl::File& a = open_and_bind(*none);
  EXPECT_EQ(bind(a), -EINVAL);
  ioctl::File& b = open(*none);
  EXPECT_EQ(bind(b), -EINVAL);
  abi::VfioBindIommufd closed{sizeof closed, 0, 99'999, 0, 0};
  EXPECT_EQ(call(a, VfioCommand::kBindIommufd, closed), -EINVAL);  // "bound already" comes first
  EXPECT_EQ(call(b, VfioCommand::kBindIommufd, closed), -EBADF);   // "bound elsewhere" comes later
  close(a);
  EXPECT_EQ(bind(b), 0);
}

TEST_F(VfioBind, a_group_belongs_to_one_context) {
  Slot& sibling = add(Kind::kAmd, {0, 0, 6, 1}, sample_spec(), 1);
  ioctl::File& a = open_and_bind(*with);
  ioctl::File& b = open(sibling);
  const Ref<ioctl::IommuFile> other = make_ref<ioctl::IommuFile>(*platform);
  caller.iommu = other;
  EXPECT_EQ(bind(b), -EPERM);
  caller.iommu = iommufd;
  EXPECT_EQ(bind(b), 0);
  close(a);
  other->release();
}

TEST_F(VfioBind, noiommu_devices_bind_to_any_contexts) {
  Slot& second = add(Kind::kNone, {0, 0, 5, 1});
  open_and_bind(*none);
  const Ref<ioctl::IommuFile> other = make_ref<ioctl::IommuFile>(*platform);
  caller.iommu = other;
  ioctl::File& b = open_and_bind(second);
  close(b);
  other->release();
}

TEST_F(VfioBind, failing_to_tell_the_id_undoes_the_bind) {
  ioctl::File& file = open(*none);
  EdgeOfMemory edge;
  const abi::VfioBindIommufd b{sizeof b, 0, caller.iommu_fd, 0, 0};
  EXPECT_EQ(raw(file, 0x3B76, edge.read_only(b)), -EFAULT);
  u64 buffer = 0;
  EXPECT_EQ(read(file, kConfig, &buffer, 4), -EINVAL);
  EXPECT_EQ(none->model->mapped.size(), 0u);
  ioctl::File& other = open(*none);
  EXPECT_EQ(bind(other), 0);
  close(other);
  EXPECT_EQ(bind(file), 0);
}

TEST_F(VfioBind, failing_to_get_memory_for_a_bar_undoes_the_bind) {
  ioctl::File& file = open(*none);
  last_memory->fail = true;
  EXPECT_EQ(bind(file), -ENOMEM);
  last_memory->fail = false;
  EXPECT_EQ(bind(file), 0);
}

TEST_F(VfioBind, capability_may_be_dropped_after_open) {
  ioctl::File& file = open(*none);
  caller.dropped = {mem::Capability::kSysRawio};
  EXPECT_EQ(bind(file), 0);
  EXPECT_EQ(attach(file, ioas()), 0);
}

TEST_F(VfioBind, bus_mastering_is_off_after_bind) {
  ioctl::File& file = open_and_bind(*none);
  u16 command = 0xffff;
  EXPECT_EQ(read(file, kConfig + 4, &command, 2), 2);
  EXPECT_EQ(command & 4, 0);
}

TEST_F(VfioBind, mappable_bars_live_in_the_memory_of_the_bound_open) {
  ioctl::File& file = open_and_bind(*none);
  ASSERT_EQ(none->model->mapped.size(), 0x4000u);
  none->model->mapped[0x123] = std::byte{0x5a};
  EXPECT_EQ(last_memory->map(vfio::region_offset(0), 0x4000)->bytes()[0x123], std::byte{0x5a});
  close(file);
  EXPECT_EQ(none->model->mapped.size(), 0u);
}

TEST_F(VfioBind, attach_replace_detach) {
  ioctl::File& file = open_and_bind(*none);
  const u32 first = ioas();
  const u32 second = ioas();
  u32 hwpt = 0;
  EXPECT_EQ(attach(file, 0xffffffff), -ENOENT);
  EXPECT_EQ(attach(file, 1), -EINVAL);  // the DEVICE object
  EXPECT_EQ(attach(file, first, &hwpt), 0);
  EXPECT_NE(hwpt, first);
  u32 replaced = 0;
  EXPECT_EQ(attach(file, second, &replaced), 0);
  EXPECT_NE(replaced, hwpt);
  EXPECT_EQ(destroy(hwpt), -ENOENT);  // the automatic one went with its last user
  EXPECT_EQ(attach(file, 0x7777), -ENOENT);
  EXPECT_EQ(destroy(replaced), -EBUSY);  // the old attachment stayed
  EXPECT_EQ(detach(file), 0);
  EXPECT_EQ(detach(file), 0);
  EXPECT_EQ(destroy(replaced), -ENOENT);
}

TEST_F(VfioBind, attach_arguments_in_order) {
  ioctl::File& file = open_and_bind(*none);
  const u32 pt = ioas();
  EdgeOfMemory edge;
  const u32 cmd = 0x3B77;
  abi::VfioAttachIommufdPt a{11, 0, pt, 0};
  EXPECT_EQ(raw(file, cmd, edge.cut(a, 11)), -EFAULT);
  EXPECT_EQ(raw(file, cmd, edge.cut(a, 12)), -EINVAL);
  a = {12, 2, pt, 0};
  EXPECT_EQ(raw(file, cmd, &a), -EINVAL);
  a = {15, 1, pt, 1};
  EXPECT_EQ(raw(file, cmd, &a), -EINVAL);
  a = {16, 1, pt, 1};
  EXPECT_EQ(raw(file, cmd, edge.cut(a, 12)), -EFAULT);
  EXPECT_EQ(raw(file, cmd, &a), -EINVAL);  // an IOAS at a PASID: row 23
  a = {12, 0, pt, 0};
  EXPECT_EQ(raw(file, cmd, edge.cut(a, 12)), 0);
}

TEST_F(VfioBind, failing_to_tell_the_hwpt_detaches) {
  ioctl::File& file = open_and_bind(*none);
  const u32 pt = ioas();
  u32 hwpt = 0;
  EXPECT_EQ(attach(file, pt, &hwpt), 0);
  EdgeOfMemory edge;
  const abi::VfioAttachIommufdPt a{sizeof a, 0, pt, 0};
  EXPECT_EQ(raw(file, 0x3B77, edge.read_only(a)), -EFAULT);
  EXPECT_EQ(destroy(hwpt), -ENOENT);
}

TEST_F(VfioBind, detach_arguments_in_order) {
  ioctl::File& file = open_and_bind(*none);
  EdgeOfMemory edge;
  const u32 cmd = 0x3B78;
  abi::VfioDetachIommufdPt d{7, 0, 0};
  EXPECT_EQ(raw(file, cmd, edge.cut(d, 4)), -EFAULT);
  EXPECT_EQ(raw(file, cmd, &d), -EINVAL);
  d = {8, 2, 0};
  EXPECT_EQ(raw(file, cmd, &d), -EINVAL);
  d = {8, 1, 0};
  EXPECT_EQ(raw(file, cmd, &d), -EINVAL);
  d = {12, 1, 5};
  EXPECT_EQ(raw(file, cmd, &d), 0);  // not attached
  d = {8, 0, 0};
  EXPECT_EQ(raw(file, cmd, edge.cut(d, 8)), 0);
}

TEST_F(VfioBind, close_releases_everything) {
  ioctl::File& file = open_and_bind(*none);
  const u32 pt = ioas();
  u32 hwpt = 0;
  EXPECT_EQ(attach(file, pt, &hwpt), 0);
  set_command(file, 6);
  const int resets = none->model->resets;
  close(file);
  EXPECT_GT(none->model->resets, resets);
  EXPECT_EQ(destroy(hwpt), -ENOENT);
  EXPECT_EQ(destroy(pt), 0);  // the iommufd is usable still
  EXPECT_EQ(none->port->write(0x1000, {}).has_value(), false) << "bus mastering is off";
}

TEST_F(VfioBind, closing_the_iommufd_first_is_safe) {
  ioctl::File& file = open_and_bind(*with);
  EXPECT_EQ(attach(file, ioas()), 0);
  caller.iommu = nullptr;
  iommufd->release();
  u16 vendor = 0;
  EXPECT_EQ(read(file, kConfig, &vendor, 2), 2);
  EXPECT_EQ(vendor, 0x1234);
  EXPECT_EQ(detach(file), 0);
  iommufd = make_ref<ioctl::IommuFile>(*platform);
}

TEST_F(VfioBind, release_while_a_call_is_inside_leaves_the_end_to_the_call) {
  ioctl::File& file = open_and_bind(*none);
  std::atomic<bool> stop{false};
  std::jthread client([&] {
    u32 value = 0;
    while (!stop) {
      if (read(file, kConfig, &value, 4) < 0) break;
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  file.release();
  stop = true;
  client.join();
  ioctl::File& next = open(*none);
  EXPECT_EQ(bind(next), 0);
  std::erase_if(files, [&](const auto& f) { return f.get() == &file; });
}

// Of a process that was killed, say: its last call, a trapped store, is inside while its files are closed already.
TEST_F(VfioBind, bind_waits_for_a_close_that_waits_for_a_call) {
  ioctl::File& file = open_and_bind(*none);
  set_command(file, 2);
  std::atomic<bool> inside{false};
  none->model->during_read = [&] {
    inside = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  };
  std::jthread client([&] {
    u32 value = 0;
    (void)read(file, vfio::region_offset(1), &value, 4);
  });
  while (!inside) std::this_thread::yield();
  file.release();
  EXPECT_EQ(bind(open(*none)), 0);
  client.join();
  std::erase_if(files, [&](const auto& f) { return f.get() == &file; });
}

// Or its last call keeps the file open.
TEST_F(VfioBind, bind_waits_for_the_calls_of_killed_processes) {
  ioctl::File& file = open_and_bind(*none);
  ioctl::File& next = open(*none);
  EXPECT_EQ(bind(next), -EINVAL) << "nobody was killed";
  caller.killed = [&] { file.release(); };
  EXPECT_EQ(bind(next), 0);
  std::erase_if(files, [&](const auto& f) { return f.get() == &file; });
}

TEST_F(VfioBind, close_then_bind_again_a_thousand_times) {
  for (int i = 0; i < 1000; ++i) {
    ioctl::File& file = open(*none);
    ASSERT_EQ(bind(file), 0) << i;
    close(file);
  }
}

TEST_F(VfioBind, binds_race_and_one_wins) {
  for (int round = 0; round < 50; ++round) {
    std::array<ioctl::File*, 3> opens{};
    for (auto& file : opens) file = &open(*none);
    std::atomic<int> won{0};
    {
      std::vector<std::jthread> threads;
      for (ioctl::File* file : opens) threads.emplace_back([&, file] { won += bind(*file) == 0 ? 1 : 0; });
    }
    EXPECT_EQ(won, 1);
    for (ioctl::File* file : opens) close(*file);
  }
}

}  // namespace
}  // namespace iommufd
