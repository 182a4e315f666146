// SPDX-License-Identifier: BSD-3-Clause
// The group interface where a conformance program does not get: devices that share a group, resets behind a bridge, capabilities
// that come and go, failures half-way.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "abi/vfio_type1.hpp"
#include "ioctl/vfio_container_file.hpp"
#include "ioctl/vfio_group_file.hpp"
#include "tests/unit/ioctl/vfio_fixture.hpp"

namespace iommufd {
namespace {

using abi::VfioContainerCommand;
using abi::VfioGroupCommand;

class VfioGroup : public Vfio {
 protected:
  void TearDown() override {
    while (!caller.installed.empty()) caller.close(caller.installed.begin()->first);
    Vfio::TearDown();
    EXPECT_EQ(platform->phys().pinned_frames(), 0u);
    EXPECT_EQ(platform->tables().pages_in_use(), 0u);
  }
  int open_container() {
    return *caller.install(make_ref<ioctl::VfioContainerFile>(*platform, [this] { return noiommu_allowed; }), "",
                           ioctl::CloseOnExec::kYes);
  }
  // A descriptor, or the negated errno.
  int open_group(Slot& slot) {
    const auto opened = [this](const vfio::Device&, const std::string&) { ++noiommu_opens; };
    Result<Ref<ioctl::File>> file = ioctl::VfioGroupFile::open(caller, Ref<vfio::Group>(slot.device->group()), opened);
    if (!file) return -static_cast<int>(file.error());
    return *caller.install(std::move(*file), "", ioctl::CloseOnExec::kYes);
  }
  ioctl::File& at(int fd) { return *caller.installed.at(fd); }
  s64 set_container(int group, int container) {
    return raw(at(group), static_cast<u32>(VfioGroupCommand::kSetContainer), &container);
  }
  s64 unset_container(int group) {
    return raw(at(group), static_cast<u32>(VfioGroupCommand::kUnsetContainer), nullptr);
  }
  s64 set_iommu(int container, u64 type) {
    return raw(at(container), static_cast<u32>(VfioContainerCommand::kSetIommu), std::bit_cast<void*>(type));
  }
  s64 extension(int container, u64 which) {
    return raw(at(container), static_cast<u32>(VfioContainerCommand::kCheckExtension), std::bit_cast<void*>(which));
  }
  s64 device_fd(int group, const char* name) {
    return raw(at(group), static_cast<u32>(VfioGroupCommand::kGetDeviceFd), name);
  }
  s64 map(int container, u64 vaddr, u64 iova, u64 size) {
    abi::VfioType1DmaMap cmd{sizeof cmd, 3, vaddr, iova, size};
    return raw(at(container), static_cast<u32>(VfioContainerCommand::kIommuMapDma), &cmd);
  }
  u32 status(int group) {
    abi::VfioGroupStatus cmd{sizeof cmd, 0};
    EXPECT_EQ(raw(at(group), static_cast<u32>(VfioGroupCommand::kGetStatus), &cmd), 0);
    return cmd.flags;
  }

  bool noiommu_allowed = true;
  int noiommu_opens = 0;
};

TEST_F(VfioGroup, devices_of_one_group_come_together) {
  Slot& a = add(Kind::kAmd, {0, 1, 0, 0}, sample_spec(), 7);
  Slot& b = add(Kind::kAmd, {0, 1, 0, 1}, sample_spec(), 7);
  add(Kind::kAmd, {0, 2, 0, 0}, sample_spec(), 8);
  EXPECT_EQ(&a.device->group(), &b.device->group());
  EXPECT_EQ(a.device->group().name(), "7");
  const int container = open_container(), group = open_group(a);
  EXPECT_EQ(open_group(b), -EBUSY);
  ASSERT_EQ(set_container(group, container), 0);
  ASSERT_EQ(set_iommu(container, 3), 0);
  const s64 first = device_fd(group, "0000:01:00.0"), second = device_fd(group, "0000:01:00.1");
  ASSERT_GE(first, 0);
  ASSERT_GE(second, 0);
  EXPECT_EQ(device_fd(group, "0000:02:00.0"), -ENODEV);
  ioctl::File& node = open(b);
  EXPECT_EQ(bind(node), -EBUSY);
  caller.close(static_cast<int>(first));
  EXPECT_EQ(unset_container(group), -EBUSY);
  caller.close(static_cast<int>(second));
  EXPECT_EQ(unset_container(group), 0);
  caller.close(group);
  EXPECT_EQ(bind(node), 0);
  EXPECT_EQ(open_group(a), -EBUSY);  // the other device is bound by its node
}

TEST_F(VfioGroup, what_is_mapped_lives_as_long_as_the_group_is_in) {
  Slot& a = add(Kind::kAmd, {0, 1, 0, 0});
  alignas(kPageSize) static std::array<std::byte, kPageSize> page;
  const int container = open_container(), group = open_group(a);
  ASSERT_EQ(set_container(group, container), 0);
  ASSERT_EQ(set_iommu(container, 3), 0);
  ASSERT_EQ(map(container, std::bit_cast<u64>(page.data()), 0x10000, kPageSize), 0);
  EXPECT_EQ(platform->phys().pinned_frames(), 1u);
  const s64 device = device_fd(group, "0000:01:00.0");
  ASSERT_GE(device, 0);
  caller.close(container);
  caller.close(group);
  EXPECT_EQ(platform->phys().pinned_frames(), 1u);
  EXPECT_EQ(open_group(a), -EBUSY);
  caller.close(static_cast<int>(device));
  EXPECT_EQ(platform->phys().pinned_frames(), 0u);
  EXPECT_GE(open_group(a), 0);
}

TEST_F(VfioGroup, a_group_that_an_iommufd_owns_is_not_viable) {
  Slot& a = add(Kind::kAmd, {0, 1, 0, 0}, sample_spec(), 7);
  Slot& b = add(Kind::kAmd, {0, 1, 0, 1}, sample_spec(), 7);
  const int container = open_container(), group = open_group(a);
  // The engine's own users need no node: a VMM that links the library.
  Ref<core::Device> device = *core::Device::bind(iommufd->context(), b.physical);
  EXPECT_EQ(status(group), 0u);
  EXPECT_EQ(set_container(group, container), -EPERM);
  device->unbind();
  EXPECT_EQ(status(group), abi::VfioGroupStatus::kViable);
  EXPECT_EQ(set_container(group, container), 0);
  EXPECT_EQ(status(group), abi::VfioGroupStatus::kViable | abi::VfioGroupStatus::kContainerSet);
}

// Each step asks anew (noiommu 14).
TEST_F(VfioGroup, without_an_iommu_every_step_needs_rawio) {
  Slot& a = add(Kind::kNone, {0, 1, 0, 0});
  const auto without = [&](auto step) {
    caller.dropped.insert(mem::Capability::kSysRawio);
    const s64 r = step();
    caller.dropped.clear();
    return r;
  };
  EXPECT_EQ(without([&] { return s64{open_group(a)}; }), -EPERM);
  const int container = open_container(), group = open_group(a);
  ASSERT_GE(group, 0);
  EXPECT_EQ(a.device->group().name(), "noiommu-0");
  EXPECT_EQ(without([&] { return set_container(group, container); }), -EPERM);
  ASSERT_EQ(set_container(group, container), 0);
  EXPECT_EQ(without([&] { return set_iommu(container, 8); }), -EPERM);
  ASSERT_EQ(set_iommu(container, 8), 0);
  EXPECT_EQ(without([&] { return device_fd(group, "0000:01:00.0"); }), -EPERM);
  EXPECT_EQ(noiommu_opens, 0);
  EXPECT_GE(device_fd(group, "0000:01:00.0"), 0);
  EXPECT_EQ(noiommu_opens, 1);
}

TEST_F(VfioGroup, the_module_parameter_is_asked_each_time) {
  Slot& a = add(Kind::kNone, {0, 1, 0, 0});
  const int container = open_container(), group = open_group(a);
  ASSERT_EQ(set_container(group, container), 0);
  EXPECT_EQ(extension(container, 8), 1);
  noiommu_allowed = false;
  EXPECT_EQ(extension(container, 8), 0);
  EXPECT_EQ(set_iommu(container, 8), -ENODEV);
  noiommu_allowed = true;
  EXPECT_EQ(set_iommu(container, 8), 0);
  noiommu_allowed = false;
  EXPECT_EQ(extension(container, 8), 1);  // it is chosen
}

TEST_F(VfioGroup, an_iommufd_as_container_binds_and_attaches) {
  Slot& a = add(Kind::kAmd, {0, 1, 0, 0});
  const int group = open_group(a);
  ASSERT_EQ(set_container(group, caller.iommu_fd), 0);
  const ObjectId compat = iommufd->context()->compat_ioas();
  EXPECT_NE(compat, ObjectId{});
  const s64 device = device_fd(group, "0000:01:00.0");
  ASSERT_GE(device, 0);
  EXPECT_EQ(destroy(std::to_underlying(compat)), -EBUSY);
  ASSERT_TRUE(a.device->bound());
  EXPECT_EQ(&a.device->bound()->context(), iommufd->context().get());
  EXPECT_EQ(device_fd(group, "0000:01:00.0"), device + 1);  // the same open file
  caller.close(static_cast<int>(device));
  EXPECT_TRUE(a.device->bound());
  caller.close(static_cast<int>(device) + 1);
  EXPECT_FALSE(a.device->bound());
}

// The attachment fails: the compat IOAS maps where the device's interrupts go.
TEST_F(VfioGroup, a_device_that_cannot_be_attached_is_closed_again) {
  Slot& a = add(Kind::kAmd, {0, 1, 0, 0});
  a.physical.reserved = {{0x10000, 0x1ffff}};
  alignas(kPageSize) static std::array<std::byte, kPageSize> page;
  const int group = open_group(a);
  ASSERT_EQ(set_container(group, caller.iommu_fd), 0);
  abi::VfioType1DmaMap cmd{sizeof cmd, 3, std::bit_cast<u64>(page.data()), 0x10000, kPageSize};
  const auto command = [&](VfioContainerCommand c, void* arg) { return raw(*iommufd, static_cast<u32>(c), arg); };
  ASSERT_EQ(command(VfioContainerCommand::kIommuMapDma, &cmd), 0);
  EXPECT_EQ(device_fd(group, "0000:01:00.0"), -EADDRINUSE);
  EXPECT_FALSE(a.device->bound());
  abi::VfioType1DmaUnmap unmap{sizeof unmap, abi::VfioType1DmaUnmap::kAll, 0, 0};
  ASSERT_EQ(command(VfioContainerCommand::kIommuUnmapDma, &unmap), 0);
  EXPECT_GE(device_fd(group, "0000:01:00.0"), 0);
}

TEST_F(VfioGroup, a_second_group_that_does_not_fit_stays_outside) {
  Slot& a = add(Kind::kAmd, {0, 1, 0, 0}, sample_spec(), 7);
  Slot& b = add(Kind::kAmd, {0, 2, 0, 0}, sample_spec(), 8);
  b.physical.reserved = {{0x10000, 0x1ffff}};
  alignas(kPageSize) static std::array<std::byte, kPageSize> page;
  const int container = open_container(), first = open_group(a), second = open_group(b);
  ASSERT_EQ(set_container(first, container), 0);
  ASSERT_EQ(set_iommu(container, 3), 0);
  ASSERT_EQ(map(container, std::bit_cast<u64>(page.data()), 0x10000, kPageSize), 0);
  EXPECT_EQ(set_container(second, container), -EINVAL);
  EXPECT_EQ(status(second), abi::VfioGroupStatus::kViable);
  EXPECT_EQ(unset_container(second), -EINVAL);
}

TEST_F(VfioGroup, hot_reset_asks_for_every_group_on_the_bus) {
  Slot& a = add(Kind::kAmd, {0, 1, 0, 0}, sample_spec(), 7);
  Slot& b = add(Kind::kAmd, {0, 1, 1, 0}, sample_spec(), 8);
  const int container = open_container(), first = open_group(a), second = open_group(b);
  ASSERT_EQ(set_container(first, container), 0);
  ASSERT_EQ(set_iommu(container, 1), 0);
  const s64 fd = device_fd(first, "0000:01:00.0");
  ASSERT_GE(fd, 0);
  ioctl::File& device = at(static_cast<int>(fd));
  struct {
    abi::VfioPciHotResetInfo head;
    std::array<abi::VfioPciDependentDevice, 2> devices;
  } info{};
  info.head.argsz = sizeof info;
  EXPECT_EQ(call(device, VfioCommand::kGetPciHotResetInfo, info), 0);
  EXPECT_EQ(info.head.flags, 0u);
  EXPECT_EQ(info.devices[0].devid, 7u);
  EXPECT_EQ(info.devices[1].devid, 8u);
  struct {
    abi::VfioPciHotReset head;
    std::array<s32, 3> groups;
  } reset{{sizeof reset, 0, 0}, {first, second, first}};
  const auto with = [&](u32 count) {
    reset.head.count = count;
    return call(device, VfioCommand::kPciHotReset, reset);
  };
  EXPECT_EQ(with(0), -EINVAL);
  EXPECT_EQ(with(1), -EINVAL);  // not the other one's
  EXPECT_EQ(with(3), -EINVAL);
  const int before = b.model->resets;
  EXPECT_EQ(with(2), 0);
  EXPECT_EQ(b.model->resets, before + 1);
  reset.groups[1] = container;
  EXPECT_EQ(with(2), -EINVAL);
  reset.groups[1] = 12345;
  EXPECT_EQ(with(2), -EBADF);
}

// Two programs, one by the group and one by the node: never both, and nothing stays behind.
TEST_F(VfioGroup, race_group_and_node_exclude_each_other) {
  constexpr int kRounds = 300;
  Slot& a = add(Kind::kAmd, {0, 1, 0, 0});
  vfio::Group& group = a.device->group();
  std::atomic<int> users{0};
  std::array<int, 2> got{};
  const auto use = [&](int who) {
    EXPECT_EQ(users.fetch_add(1), 0);
    ++got[static_cast<std::size_t>(who)];
    users.fetch_sub(1);
  };
  std::jthread by_group([&] {
    test::LocalCall mine;
    const Ref<vfio::Container> container = make_ref<vfio::Container>(*platform);
    for (int round = 0; round < kRounds || got[0] == 0; ++round) {
      if (!group.open(mine)) continue;
      ASSERT_TRUE(group.set_container(container, mine));
      ASSERT_TRUE(container->set_iommu(vfio::ContainerIommu::kType1v2, mine, true));
      Result<std::unique_ptr<vfio::DeviceFile>> file =
          group.open_device(*a.device, mine, std::make_unique<TestMemory>());
      ASSERT_TRUE(file);
      use(0);
      group.close();
      (*file)->release();
    }
  });
  std::jthread by_node([&] {
    test::LocalCall mine;
    for (int round = 0; round < kRounds || got[1] == 0; ++round) {
      const auto file = *vfio::DeviceFile::open(*a.device, mine, std::make_unique<TestMemory>());
      if (file->bind({.token = {}, .context = iommufd->context()})) {
        file->finish_bind();
        use(1);
      }
      file->release();
    }
  });
  by_group.join();
  by_node.join();
  EXPECT_GE(open_group(a), 0);
}

TEST_F(VfioGroup, hot_reset_with_a_function_that_nobody_made_a_group_for_is_eperm) {
  Slot& a = add(Kind::kAmd, {0, 1, 0, 0}, sample_spec(), 7);
  add(Kind::kNone, {0, 1, 1, 0}, sample_spec(), 8, vfio::UnsafeNoiommu::kOff);
  const int container = open_container(), group = open_group(a);
  ASSERT_EQ(set_container(group, container), 0);
  ASSERT_EQ(set_iommu(container, 1), 0);
  const s64 fd = device_fd(group, "0000:01:00.0");
  ASSERT_GE(fd, 0);
  abi::VfioPciHotResetInfo info{sizeof info, 0, 0};
  EXPECT_EQ(call(at(static_cast<int>(fd)), VfioCommand::kGetPciHotResetInfo, info), -EPERM);
}

}  // namespace
}  // namespace iommufd
