// SPDX-License-Identifier: BSD-3-Clause
// The line of a function that uio_pci_generic has, with a FIFO in the place of /dev/uio0.
#include "host/uio_line.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "pci/config_registers.hpp"
#include "tests/unit/host/fake_machine.hpp"

namespace iommufd::host {
namespace {

class HostUioLine : public testing::Test {
 protected:
  HostUioLine() : folder_(machine_.add_function("0000:00:04.0")) {
    machine_.write(folder_ + "/config", std::string(pci::reg::kConfigSize, '\x01'));
    std::filesystem::create_directories(machine_.at("dev"));
  }
  Result<std::unique_ptr<UioLine>> open() { return UioLine::open(machine_.at(folder_), machine_.roots()); }
  void bind() {
    std::filesystem::create_directories(machine_.at(folder_ + "/uio/uio0"));
    ASSERT_EQ(::mkfifo(machine_.at("dev/uio0").c_str(), 0600), 0);
    kernel_ = Fd(::open(machine_.at("dev/uio0").c_str(), O_RDWR | O_CLOEXEC));
  }
  void interrupt(s32 count) const {
    ASSERT_EQ(::write(kernel_.get(), &count, sizeof(count)), static_cast<ssize_t>(sizeof(count)));
  }
  // The command register; what else is in it stays.
  u16 command() const {
    u16 value = 0;
    const Fd config(::open(machine_.at(folder_ + "/config").c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(::pread(config.get(), &value, sizeof(value), pci::reg::kCommand), 2);
    return value;
  }
  static constexpr u16 kOn = 0x0101, kOff = kOn | pci::reg::kCommandIntxDisable;

  const FakeMachine machine_;
  const std::string folder_;
  Fd kernel_;
};

bool soon(const auto& what) {
  for (int i = 0; i < 5000 && !what(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return what();
}

TEST_F(HostUioLine, a_function_without_a_file_has_none) { EXPECT_EQ(open().error(), Errno::kNoEnt); }

TEST_F(HostUioLine, is_armed_while_somebody_waits_for_it) {
  bind();
  std::atomic<int> fired{0};
  {
    const auto line = open();
    ASSERT_TRUE(line);
    EXPECT_EQ(command(), kOff);
    interrupt(7);  // of before
    ASSERT_TRUE((*line)->start([&] { ++fired; }));
    EXPECT_EQ(command(), kOn);
    interrupt(8);
    EXPECT_TRUE(soon([&] { return fired == 1; }));
    interrupt(9);
    EXPECT_TRUE(soon([&] { return fired == 2; }));
    (*line)->stop();
    EXPECT_EQ(command(), kOff);
    interrupt(10);
    ASSERT_TRUE((*line)->start([&] { ++fired; }));
    EXPECT_EQ(command(), kOn);
  }
  EXPECT_EQ(command(), kOff);
  EXPECT_EQ(fired, 2);
}

}  // namespace
}  // namespace iommufd::host
