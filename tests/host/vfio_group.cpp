// SPDX-License-Identifier: BSD-3-Clause
// host::VfioGroup with an edu that vfio-pci has without an IOMMU: that of a machine whose kernel does so, or one under
// `iommufd-user run -d edu,iommu=none`. The registers are those of spec edu; nobody sets up DMA.
#include "host/vfio_group.hpp"

#include <gtest/gtest.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include "host/inventory.hpp"
#include "pci/config_registers.hpp"

namespace iommufd::host {
namespace {

using namespace std::chrono_literals;

bool soon(const auto& what) {
  for (int i = 0; i < 5000 && !what(); ++i) std::this_thread::sleep_for(1ms);
  return what();
}

class HostVfioGroup : public testing::Test {
 protected:
  static constexpr u32 kRaise = 0x60, kAcknowledge = 0x64;

  void SetUp() override {
    for (const HostFunction& f : inventory()) {
      if (f.vendor != 0x1234 || f.device != 0x11e8) continue;
      function_ = f;
    }
    ASSERT_EQ(function_.interrupt_way(), InterruptWay::kVfio) << "there is no edu that vfio-pci has";
    ASSERT_TRUE(function_.group && function_.group->is_noiommu);
    EXPECT_FALSE(find_refusal(function_));
    auto group = VfioGroup::open(function_.bdf, function_.group->number);
    ASSERT_TRUE(group) << group.error();
    group_ = *std::move(group);
    bar_ = offset_of(VFIO_PCI_BAR0_REGION_INDEX);
    config_ = offset_of(VFIO_PCI_CONFIG_REGION_INDEX);
    put<u16>(config_ + pci::reg::kCommand, pci::reg::kCommandMemory | pci::reg::kCommandMaster);
  }
  off_t offset_of(u32 region) const {
    vfio_region_info info{};
    info.argsz = sizeof(info);
    info.index = region;
    EXPECT_EQ(::ioctl(group_->device(), VFIO_DEVICE_GET_REGION_INFO, &info), 0);
    return static_cast<off_t>(info.offset);
  }
  template <class T>
  void put(off_t at, std::type_identity_t<T> value) const {
    ASSERT_EQ(::pwrite(group_->device(), &value, sizeof(value), at), static_cast<ssize_t>(sizeof(value)));
  }
  void raise() const { put<u32>(bar_ + kRaise, 1); }
  void acknowledge() const { put<u32>(bar_ + kAcknowledge, 1); }

  HostFunction function_;
  std::unique_ptr<VfioGroup> group_;
  off_t bar_ = 0, config_ = 0;
};

TEST_F(HostVfioGroup, is_one_users) {
  const auto second = VfioGroup::open(function_.bdf, function_.group->number);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().find("somebody else uses it"), std::string::npos) << second.error();
  EXPECT_NE(second.error().find("bind --driver=none"), std::string::npos);
}

TEST_F(HostVfioGroup, knows_what_the_function_has) {
  EXPECT_EQ(group_->vectors(pci::MessageKind::kMsi), 1U);
  EXPECT_EQ(group_->vectors(pci::MessageKind::kMsix), 0U);
  EXPECT_TRUE(group_->has_line());
}

TEST_F(HostVfioGroup, a_line_that_was_served_waits_until_it_is_armed) {
  std::atomic<int> fired{0};
  ASSERT_TRUE(group_->start([&] { ++fired; }));
  raise();
  EXPECT_TRUE(soon([&] { return fired == 1; }));
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(fired, 1);
  group_->arm();  // it is high still
  EXPECT_TRUE(soon([&] { return fired == 2; }));
  acknowledge();
  group_->arm();
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(fired, 2);
  raise();
  EXPECT_TRUE(soon([&] { return fired == 3; }));
  acknowledge();
  group_->stop();
  raise();
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(fired, 3);
  acknowledge();
  ASSERT_TRUE(group_->start([&] { ++fired; }));
  raise();
  EXPECT_TRUE(soon([&] { return fired == 4; }));
  acknowledge();
}

TEST_F(HostVfioGroup, messages_come_with_their_vector_until_they_are_disabled) {
  std::atomic<int> sent{0};
  std::atomic<u32> last{~0U};
  const auto count = [&](u32 vector) {
    last = vector;
    ++sent;
  };
  ASSERT_EQ(group_->enable(pci::MessageKind::kMsi, 1, 1, count).value_or(0), 1U);
  for (int i = 1; i <= 3; ++i) {
    raise();
    EXPECT_TRUE(soon([&] { return sent == i; }));
    acknowledge();
  }
  EXPECT_EQ(last, 0U);
  EXPECT_FALSE(group_->start([] {})) << "the kernel has one kind of interrupt at a time";
  group_->disable(pci::MessageKind::kMsix);  // another: nothing
  raise();
  EXPECT_TRUE(soon([&] { return sent == 4; }));
  acknowledge();
  group_->disable(pci::MessageKind::kMsi);
  raise();
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(sent, 4);
  acknowledge();
  EXPECT_EQ(group_->enable(pci::MessageKind::kMsi, 1, 1, count).value_or(0), 1U);
  raise();
  EXPECT_TRUE(soon([&] { return sent == 5; }));
  acknowledge();
}

TEST_F(HostVfioGroup, what_the_kernel_refuses_is_its_errno) {
  EXPECT_EQ(group_->enable(pci::MessageKind::kMsix, 1, 1, [](u32) {}).error(), Errno::kInval);
  EXPECT_EQ(group_->enable(pci::MessageKind::kMsi, 1, 1, [](u32) {}).value_or(0), 1U);
}

}  // namespace
}  // namespace iommufd::host
