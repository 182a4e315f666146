// SPDX-License-Identifier: BSD-3-Clause
// A PCI function with a fake model for tests of VFIO, and eventfds whose counts can be read.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <thread>

#include "tests/support/fake_device.hpp"
#include "vfio/irq.hpp"

namespace iommufd::vfio {

// An eventfd of a client.
class ClientEvent {
 public:
  ClientEvent() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  [[nodiscard]] int fd() const { return fd_.get(); }
  // The count since the last take().
  [[nodiscard]] u64 take() const {
    u64 count = 0;
    return ::read(fd_.get(), &count, sizeof count) == sizeof count ? count : 0;
  }
  void add(u64 n) const { ASSERT_EQ(::write(fd_.get(), &n, sizeof n), static_cast<ssize_t>(sizeof n)); }
  // What SET_IRQS gets of it.
  [[nodiscard]] IrqEventfd element() const { return {fd_.get(), Eventfd::adopt(Fd(::dup(fd_.get())))}; }

 private:
  Fd fd_;
};

inline IrqEventfd no_eventfd(s32 number = -1) { return {number, Err(Errno::kBadf)}; }

inline pci::FunctionSpec sample_spec(unsigned msi_lg2 = 2) {
  pci::FunctionSpec spec{.vendor = 0x1234,
                         .device = 1,
                         .interrupt_pin = 1,
                         .msi = pci::MsiSpec{.vectors_lg2 = msi_lg2},
                         .reset = pci::ResetKind::kFunction};
  spec.bars[0] = {.kind = pci::BarKind::kMemory32, .size = 0x4000, .mappable = pci::Mappable::kYes};
  spec.bars[1] = {.kind = pci::BarKind::kMemory32, .size = 0x100};
  return spec;
}

// A function on its own, enabled.
struct SampleFunction {
  explicit SampleFunction(const pci::FunctionSpec& spec = sample_spec(), u32 irq = 11, pci::Bdf bdf = {0, 0, 5, 0})
      : SampleFunction(spec, pci::Placement{.bdf = bdf, .bar_base = {0xfe000000, 0xfe100000, 0, 0, 0, 0}, .irq = irq}) {
  }
  SampleFunction(const pci::FunctionSpec& spec, const pci::Placement& placement)
      : function(
            placement, spec, dma, [](std::string_view) {},
            [this](pci::ModelPorts ports) {
              auto made = std::make_unique<test::FakeModel>(std::move(ports));
              model = made.get();
              return made;
            }) {}
  void set_command(u16 value) { function.config_write(4, std::as_bytes(std::span(&value, 1))); }
  test::FakeDma dma;
  test::FakeModel* model = nullptr;
  pci::Function function;
};

bool soon(auto done) {
  const auto end = pci::Clock::now() + std::chrono::seconds(10);
  while (!done()) {
    if (pci::Clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return true;
}

}  // namespace iommufd::vfio
