// SPDX-License-Identifier: BSD-3-Clause
// The driver core against spec vfio-device 17 and noiommu 4.
#include "machine/drivers.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "machine/machine.hpp"

namespace iommufd::machine {
namespace {

using namespace std::chrono_literals;
using Wait = Drivers::Wait;

class DriversTest : public testing::Test {
 protected:
  void make(std::vector<std::string> iommus, NoiommuMode mode = NoiommuMode::kOn) {
    MachineSpec spec;
    spec.noiommu = mode;
    for (std::string& iommu : iommus) {
      DeviceSpec device;
      device.model = "edu";
      device.iommu = iommu;
      spec.devices.push_back(device);
    }
    ASSERT_FALSE(assign_addresses(spec.devices));
    add_implied_iommus(spec);
    auto made = Machine::create(spec, [this](std::string_view line) { log += std::string(line) + "\n"; });
    ASSERT_TRUE(made);
    machine = *std::move(made);
    drivers().set_changed([this] { ++changes; });
  }
  Drivers& drivers() { return machine->drivers(); }
  Drivers::State state(std::size_t i) { return drivers().state(*machine->devices()[i]->function); }
  std::string name(std::size_t i) { return machine->devices()[i]->function->bdf().str(); }
  Result<void> bind(std::size_t i, std::string_view driver = Drivers::kVfioPci) {
    return drivers().bind(driver, name(i), Wait::kYes);
  }
  Result<void> unbind(std::size_t i, Wait wait = Wait::kYes) {
    return drivers().unbind(Drivers::kVfioPci, name(i), wait);
  }
  Result<void> set_override(std::size_t i, std::string_view text) {
    return drivers().set_override(*machine->devices()[i]->function, text);
  }

  std::string log;
  std::atomic<int> changes = 0;
  std::unique_ptr<Machine> machine;
};

TEST_F(DriversTest, functions_start_with_vfio_pci_as_by_its_ids) {
  make({"amd", "none"});
  EXPECT_EQ(drivers().vfio_pci_ids(), "1234:11e8");
  EXPECT_EQ(state(0).driver, "vfio-pci");
  EXPECT_EQ(state(0).vfio->name(), "vfio0");
  EXPECT_EQ(state(1).vfio->name(), "noiommu-vfio1");
  EXPECT_EQ(state(0).driver_override, "");
  ASSERT_TRUE(unbind(0));
  EXPECT_EQ(state(0).driver, "");
  EXPECT_FALSE(state(0).vfio);
  ASSERT_TRUE(bind(0));
  EXPECT_EQ(changes, 2);
}

TEST_F(DriversTest, an_override_is_a_line_up_to_a_nul) {
  make({"amd"});
  EXPECT_TRUE(set_override(0, "pci-stub\nx"));
  EXPECT_EQ(state(0).driver_override, "pci-stub");
  EXPECT_TRUE(set_override(0, std::string_view("\0", 1)));
  EXPECT_EQ(state(0).driver_override, "");
  EXPECT_TRUE(set_override(0, "pci-stub"));
  EXPECT_TRUE(set_override(0, "\n"));
  EXPECT_EQ(state(0).driver_override, "");
  EXPECT_EQ(set_override(0, std::string(4095, 'x')).error(), Errno::kInval);
  EXPECT_TRUE(set_override(0, std::string(4094, 'x')));
}

TEST_F(DriversTest, a_bind_is_refused_before_it_is_tried) {
  make({"amd"});
  EXPECT_EQ(bind(0).error(), Errno::kBusy);
  EXPECT_EQ(bind(0, Drivers::kPciStub).error(), Errno::kNoDev);
  EXPECT_EQ(drivers().unbind(Drivers::kPciStub, name(0), Wait::kYes).error(), Errno::kNoDev);
  EXPECT_EQ(drivers().bind(Drivers::kVfioPci, "0000:01:00.00", Wait::kYes).error(), Errno::kNoDev);
  EXPECT_TRUE(drivers().unbind(Drivers::kVfioPci, name(0) + "\n", Wait::kYes)) << "one newline does not count";
  EXPECT_EQ(unbind(0).error(), Errno::kNoDev);
  EXPECT_EQ(drivers().bind(Drivers::kVfioPci, name(0) + "\n\n", Wait::kYes).error(), Errno::kNoDev);
}

TEST_F(DriversTest, the_noiommu_mode_counts_at_the_probe) {
  make({"none"}, NoiommuMode::kOff);
  EXPECT_EQ(state(0).driver, "");
  EXPECT_EQ(bind(0).error(), Errno::kInval);
  EXPECT_TRUE(drivers().probe(name(0), Wait::kYes)) << "drivers_probe does not tell";
  machine->set_unsafe_noiommu(true);
  EXPECT_TRUE(drivers().probe(name(0), Wait::kYes));
  EXPECT_EQ(state(0).vfio->name(), "noiommu-vfio0");
  machine->set_unsafe_noiommu(false);
  EXPECT_TRUE(state(0).vfio);
}

TEST_F(DriversTest, ids_match_by_all_their_fields) {
  make({"amd"});
  ASSERT_TRUE(drivers().remove_id(Drivers::kVfioPci, "1234 11e8"));
  ASSERT_TRUE(unbind(0));
  EXPECT_EQ(bind(0).error(), Errno::kNoDev);
  const auto add = [&](std::string_view text) { return drivers().new_id(Drivers::kPciStub, text); };
  EXPECT_EQ(add("").error(), Errno::kInval);
  EXPECT_EQ(add("1234 11e8 1 2 3 4 5").error(), Errno::kInval);
  EXPECT_TRUE(add("1234 11e8 dead beef"));
  EXPECT_TRUE(add("1234 11e8 ffffffff ffffffff 10000 ff0000"));
  EXPECT_EQ(state(0).driver, "") << "neither is its id";
  EXPECT_EQ(drivers().remove_id(Drivers::kPciStub, "1234 11e8 dead 1").error(), Errno::kNoDev);
  EXPECT_TRUE(drivers().remove_id(Drivers::kPciStub, "1234 11e8 dead"));
  EXPECT_TRUE(drivers().new_id(Drivers::kVfioPci, "1234 11e8 ffffffff ffffffff ff00 ff00 0"));
  EXPECT_EQ(state(0).driver, "vfio-pci");
  EXPECT_EQ(drivers().new_id(Drivers::kVfioPci, "1234 11e8 ffffffff ffffffff ff00").error(), Errno::kExist);
}

TEST_F(DriversTest, who_does_not_wait_leaves_the_end_to_others) {
  make({"amd", "amd"});
  auto use = std::make_unique<vfio::Device::Use>(*state(0).vfio->use());
  ASSERT_TRUE(unbind(0, Wait::kNo));
  EXPECT_EQ(state(0).driver, "vfio-pci");
  EXPECT_EQ(state(0).vfio->use().error(), Errno::kNoDev);
  EXPECT_EQ(unbind(0, Wait::kNo).error(), Errno::kBusy);
  EXPECT_EQ(drivers().bind(Drivers::kVfioPci, name(0), Wait::kNo).error(), Errno::kBusy);
  EXPECT_TRUE(unbind(1)) << "others go on";
  std::jthread closer([&] {
    std::this_thread::sleep_for(20ms);
    use.reset();
  });
  EXPECT_TRUE(bind(0)) << "waits until the function is settled, and takes it";
  EXPECT_NE(log.find("blocked until released by user"), std::string::npos);
}

TEST_F(DriversTest, a_machine_ends_while_a_function_is_leaving) {
  make({"amd"});
  auto use = *state(0).vfio->use();
  ASSERT_TRUE(unbind(0, Wait::kNo));
  drivers().stop();
  EXPECT_EQ(state(0).driver, "vfio-pci");
}

TEST_F(DriversTest, many_bind_and_unbind_at_once) {
  make({"amd", "amd", "none"});
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 200; ++i) {
        const std::size_t at = static_cast<std::size_t>(t + i) % 3;
        if (const Ref<vfio::Device> device = state(at).vfio) (void)device->use();
        (void)unbind(at, i % 2 == 0 ? Wait::kYes : Wait::kNo);
        (void)bind(at);
        (void)machine->vfio().groups();
      }
    });
  }
  threads.clear();
  for (std::size_t i = 0; i < 3; ++i) {
    (void)bind(i);
    EXPECT_EQ(state(i).driver, "vfio-pci");
  }
  std::vector<u32> numbers;
  for (const auto& device : machine->vfio().devices()) numbers.push_back(device->index());
  std::ranges::sort(numbers);
  EXPECT_EQ(numbers, (std::vector<u32>{0, 1, 2}));
}

}  // namespace
}  // namespace iommufd::machine
