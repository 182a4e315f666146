// SPDX-License-Identifier: BSD-3-Clause
// Registrations that come and go while the machine runs (spec vfio-device 4, 13, 17, 18; noiommu 5).
#include <thread>

#include "ioctl/vfio_group_file.hpp"
#include "tests/unit/ioctl/vfio_fixture.hpp"

namespace iommufd {
namespace {

using namespace std::chrono_literals;

class VfioRegistration : public Vfio {
 protected:
  // What a driver's remove does once nobody uses the device.
  void unregister(Slot& slot) {
    slot.device->begin_leaving();
    ASSERT_TRUE(slot.device->wait_unused(0ms));
    registry.remove(*slot.device);
    slot.device = nullptr;
  }
  void reregister(Slot& slot) {
    auto probed = registry.probe(*slot.function, vfio::UnsafeNoiommu::kOn);
    ASSERT_TRUE(probed);
    slot.device = *std::move(probed);
  }
  Errno open_error(Slot& slot) {
    return ioctl::open_vfio_device(caller, *slot.device, std::make_unique<TestMemory>()).error();
  }
};

TEST_F(VfioRegistration, numbers_are_the_lowest_free_ones) {
  Slot &a = add(Kind::kAmd, {0, 1, 0, 0}), &b = add(Kind::kAmd, {0, 2, 0, 0}, sample_spec(), 2);
  Slot& c = add(Kind::kNone, {0, 3, 0, 0});
  EXPECT_EQ(c.device->group().id(), 0u);
  EXPECT_EQ(c.device->group().minor_number(), 2u);
  unregister(a);
  unregister(c);
  reregister(c);
  EXPECT_EQ(c.device->name(), "noiommu-vfio0");
  EXPECT_EQ(c.device->group().minor_number(), 0u);
  reregister(a);
  EXPECT_EQ(a.device->name(), "vfio2");
  EXPECT_EQ(b.device->name(), "vfio1");
}

TEST_F(VfioRegistration, the_probe_asks_for_the_noiommu_mode_each_time) {
  Slot& a = add(Kind::kNone, {0, 1, 0, 0});
  unregister(a);
  EXPECT_EQ(registry.probe(*a.function, vfio::UnsafeNoiommu::kOff).error(), Errno::kInval);
  EXPECT_TRUE(registry.groups().empty());
  reregister(a);
  EXPECT_EQ(registry.groups().size(), 1u);
}

TEST_F(VfioRegistration, who_has_it_open_delays_the_end_and_nobody_else_gets_in) {
  Slot& a = add(Kind::kAmd, {0, 1, 0, 0});
  ioctl::File &idle = open(a), &bound = open_and_bind(a);
  a.device->begin_leaving();
  EXPECT_EQ(open_error(a), Errno::kNoDev);
  EXPECT_FALSE(a.device->wait_unused(0ms));
  close(bound);
  EXPECT_FALSE(a.device->wait_unused(1ms));  // an open that is not bound counts, too
  std::jthread closer([&] {
    std::this_thread::sleep_for(5ms);
    close(idle);
  });
  EXPECT_TRUE(a.device->wait_unused(10s));
  registry.remove(*a.device);
  EXPECT_EQ(registry.find("vfio0").get(), nullptr);
}

TEST_F(VfioRegistration, an_open_that_failed_leaves_no_use) {
  Slot& a = add(Kind::kNone, {0, 1, 0, 0});
  caller.dropped.insert(mem::Capability::kSysRawio);
  EXPECT_EQ(open_error(a), Errno::kPerm);
  unregister(a);
}

TEST_F(VfioRegistration, without_a_request_eventfd_nobody_can_be_asked) {
  Slot& a = add(Kind::kAmd, {0, 1, 0, 0});
  open_and_bind(a);
  EXPECT_FALSE(a.device->interrupts().request_release());
}

TEST_F(VfioRegistration, a_group_is_gone_with_its_last_device) {
  Slot &a = add(Kind::kAmd, {0, 1, 0, 0}, sample_spec(), 7), &b = add(Kind::kAmd, {0, 1, 0, 1}, sample_spec(), 7);
  const Ref<vfio::Group> group(a.device->group());
  EXPECT_EQ(group->functions().size(), 2u);
  unregister(a);
  EXPECT_TRUE(group->status());
  EXPECT_EQ(group->find("0000:01:00.0").error(), Errno::kNoDev);
  EXPECT_TRUE(group->open(caller));
  unregister(b);
  EXPECT_EQ(group->status().error(), Errno::kNoDev);
  EXPECT_EQ(group->set_container(Ref<core::Context>(iommufd->context())).error(), Errno::kNoDev);
  // A new registration makes a new group; the old descriptor stays dead.
  reregister(a);
  EXPECT_NE(&a.device->group(), group.get());
  EXPECT_EQ(a.device->group().name(), "7");
  EXPECT_TRUE(a.device->group().open(caller));
  EXPECT_EQ(group->open(caller).error(), Errno::kNoDev);
  group->close();
  a.device->group().close();
}

TEST_F(VfioRegistration, a_hot_reset_needs_every_function_to_be_bound) {
  Slot &a = add(Kind::kAmd, {0, 1, 0, 0}, sample_spec(), 7), &b = add(Kind::kAmd, {0, 1, 0, 1}, sample_spec(), 7);
  ioctl::File& file = open_and_bind(a);
  abi::VfioPciHotReset reset{sizeof reset, 0, 0};
  EXPECT_EQ(call(file, VfioCommand::kPciHotReset, reset), 0);
  unregister(b);
  EXPECT_EQ(call(file, VfioCommand::kPciHotReset, reset), -EINVAL);
}

}  // namespace
}  // namespace iommufd
