// SPDX-License-Identifier: BSD-3-Clause
// A function with a fake model, its config space as a client and as sysfs see it.
#pragma once

#include "pci/config_registers.hpp"
#include "pci/function.hpp"
#include "tests/support/fake_device.hpp"

namespace iommufd::pci {

struct FunctionFixture {
  explicit FunctionFixture(const FunctionSpec& spec)
      : function(
            Placement{.bdf = {0, 0, 5, 0},
                      .bar_base = {0xfe000000, 0xc000, 0x800000000, 0, 0, 0},
                      .rom_base = 0xfd000000,
                      .irq = 11},
            spec, dma, [this](std::string_view line) { notes.emplace_back(line); },
            [this](ModelPorts ports) {
              auto made = std::make_unique<test::FakeModel>(std::move(ports));
              model = made.get();
              return made;
            }) {
    function.connect(sink);
  }
  template <class T = u32>
  T get(u32 offset) {
    T value{};
    function.config_read(offset, test::bytes_of(value));
    return value;
  }
  template <class T>
  void set(u32 offset, T value) {
    function.config_write(offset, test::bytes_of(value));
  }
  template <class T = u32>
  T hardware(u32 offset) {
    T value{};
    std::memcpy(&value, function.sysfs_config().data() + offset, sizeof value);
    return value;
  }
  template <class T>
  void set_hardware(u32 offset, T value) {
    function.sysfs_write_config(offset, test::bytes_of(value));
  }
  template <class T>
  T bar(u32 index, u64 offset) {
    T value{};
    EXPECT_TRUE(function.bar_read(index, offset, test::bytes_of(value)));
    return value;
  }

  test::FakeDma dma;
  test::FakeSink sink;
  std::vector<std::string> notes;
  test::FakeModel* model = nullptr;
  Function function;
};

}  // namespace iommufd::pci
