// SPDX-License-Identifier: BSD-3-Clause
#include "pci/bridge.hpp"

#include <cstring>

#include "pci/config_registers.hpp"

namespace iommufd::pci {
namespace {

template <class T>
T at(Bridge& bridge, u32 offset) {
  T value{};
  std::memcpy(&value, bridge.sysfs_config().data() + offset, sizeof value);
  return value;
}

TEST(Bridge, shows_buses_and_window) {
  Bridge port({.bdf = {0, 2, 3, 0},
               .port = PcieType::kDownstream,
               .acs = kAcsIsolation,
               .secondary = 4,
               .subordinate = 9,
               .window = {0xc0100000, 0xc02fffff, 0},
               .multi_function = true});
  EXPECT_EQ(port.config_size(), 4096u);
  EXPECT_EQ(at<u8>(port, reg::kHeaderType), 0x81);
  EXPECT_EQ(at<u32>(port, reg::kPrimaryBus), 0x00090402u);
  EXPECT_EQ(at<u32>(port, reg::kMemoryBase), 0xc020c010u);
  EXPECT_EQ(at<u16>(port, reg::kIoBase), 0x00f0);
  EXPECT_EQ(at<u32>(port, reg::kPrefetchBase), 0x0000fff0u);
  EXPECT_EQ(at<u16>(port, 0x40 + reg::kPcieFlags), 0x62);
  EXPECT_EQ(at<u16>(port, 0x148), reg::kExtAcs);
  EXPECT_EQ(at<u16>(port, 0x14e), kAcsIsolation);
  EXPECT_EQ(port.sysfs_windows()[1].start, 0xc0100000u);
  const u16 control = 0x40;  // secondary bus reset: not there
  port.sysfs_write_config(reg::kBridgeControl, std::as_bytes(std::span(&control, 1)));
  EXPECT_EQ(at<u16>(port, reg::kBridgeControl), 0);
}

TEST(Bridge, a_conventional_one_has_256_bytes_and_its_window_is_closed_when_nothing_is_below) {
  Bridge bridge({.bdf = {0, 0, 3, 0}, .secondary = 1, .subordinate = 1});
  EXPECT_EQ(bridge.config_size(), 256u);
  EXPECT_EQ(at<u8>(bridge, reg::kHeaderType), 1);
  EXPECT_EQ(at<u32>(bridge, reg::kMemoryBase), 0x0000fff0u);
  EXPECT_EQ(at<u8>(bridge, reg::kCapPointer), 0);
  EXPECT_EQ(bridge.sysfs_windows()[1].end, 0u);
}

}  // namespace
}  // namespace iommufd::pci
