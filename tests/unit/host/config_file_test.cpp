// SPDX-License-Identifier: BSD-3-Clause
// A real function's config space, with a file in its place: what is read, and what is never written.
#include "host/config_file.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

#include "pci/config_registers.hpp"
#include "pci/function_spec.hpp"
#include "pci/virtual_config.hpp"

namespace iommufd::host {
namespace {

namespace reg = pci::reg;
using testing::ElementsAre;

class ConfigFileTest : public testing::Test {
 protected:
  static constexpr u32 kMsi = 0x50, kMsix = 0x70, kPm = 0x90;

  void SetUp() override {
    put(reg::kVendor, {0x34, 0x12, 0xe8, 0x11});
    put(reg::kStatus, {0x10});
    put(reg::kCapPointer, {kMsi});
    put(kMsi, {reg::kCapMsi, kMsix, 0x80, 0x00});  // 64 bits, one vector
    put(kMsix, {reg::kCapMsix, kPm, 0x03, 0x00});
    put(kPm, {reg::kCapPm, 0x00, 0x03, 0x00});
    char path[] = "/tmp/iommufd_config_XXXXXX";
    file_ = Fd(::mkstemp(path));
    ASSERT_EQ(::write(file_.get(), bytes_.data(), bytes_.size()), static_cast<ssize_t>(bytes_.size()));
    config_ = std::move(*ConfigFile::open(path));
    ::unlink(path);
  }
  void put(u32 at, std::vector<u8> bytes) { std::ranges::copy(bytes, bytes_.begin() + at); }
  u16 on_disk(u32 at) const {
    u16 value = 0;
    EXPECT_EQ(::pread(file_.get(), &value, sizeof(value), at), 2);
    return value;
  }
  void poke(u32 at, u32 byte) const { ASSERT_EQ(::pwrite(file_.get(), &byte, 1, at), 1); }
  std::unique_ptr<ConfigFile> config_;

 private:
  std::array<u8, reg::kConfigSize> bytes_{};
  Fd file_;
};

TEST_F(ConfigFileTest, finds_capabilities_and_their_lengths) {
  EXPECT_EQ(config_->size(), 256u);
  EXPECT_EQ(config_->read(reg::kVendor, 4), 0x11e81234u);
  ASSERT_EQ(config_->capabilities().size(), 3u);
  EXPECT_EQ(config_->find(reg::kCapMsix), kMsix);
  EXPECT_EQ(config_->capabilities()[0].length, reg::kMsiSize64);
  EXPECT_EQ(config_->capabilities()[1].length, reg::kMsixSize);
  EXPECT_EQ(config_->capabilities()[2].length, reg::kPmSize);
}

TEST_F(ConfigFileTest, intx_stays_disabled_whoever_writes) {
  config_->write(reg::kCommand, 2, reg::kCommandMemory);
  EXPECT_EQ(on_disk(reg::kCommand), reg::kCommandMemory | reg::kCommandIntxDisable);
  config_->write(reg::kCommand, 4, 0);
  EXPECT_EQ(on_disk(reg::kCommand), reg::kCommandIntxDisable);
  config_->write(reg::kCommand + 1, 1, 0);
  EXPECT_EQ(on_disk(reg::kCommand), reg::kCommandIntxDisable);
}

TEST_F(ConfigFileTest, messages_are_enabled_only_when_they_have_a_place) {
  config_->write(kMsi + reg::kMsiFlags, 2, reg::kMsiEnable);
  EXPECT_EQ(on_disk(kMsi + reg::kMsiFlags) & reg::kMsiEnable, 0);
  config_->write(kMsix + reg::kMsixControl, 2, reg::kMsixEnable);
  EXPECT_EQ(on_disk(kMsix + reg::kMsixControl) & reg::kMsixEnable, 0);
  std::vector<pci::MessageKind> seen;
  config_->set_message_setup([&](pci::MessageKind kind) {
    seen.push_back(kind);
    return true;
  });
  config_->write(kMsi, 4, reg::kCapMsi | u32{reg::kMsiEnable} << 16);
  EXPECT_EQ(on_disk(kMsi + reg::kMsiFlags) & reg::kMsiEnable, reg::kMsiEnable);
  config_->write(kMsix + reg::kMsixControl + 1, 1, reg::kMsixEnable >> 8);
  EXPECT_EQ(on_disk(kMsix + reg::kMsixControl) & reg::kMsixEnable, reg::kMsixEnable);
  config_->write(kMsi + reg::kMsiFlags, 2, reg::kMsiEnable);  // on already: not again
  config_->write(kMsi + reg::kMsiFlags, 2, 0);
  EXPECT_THAT(seen, ElementsAre(pci::MessageKind::kMsi, pci::MessageKind::kMsix));
  EXPECT_EQ(on_disk(kMsi + reg::kMsiFlags) & reg::kMsiEnable, 0);
}

TEST_F(ConfigFileTest, what_a_driver_of_the_kernel_has_in_the_message_registers_stays) {
  config_->leave_message_control();
  config_->write(kMsi + reg::kMsiFlags, 2, reg::kMsiEnable | 0x40);
  EXPECT_EQ(on_disk(kMsi + reg::kMsiFlags) & 0xff, 0x80);
  poke(kMsi + reg::kMsiFlags, reg::kMsiEnable | 0x20);
  config_->write(kMsi + reg::kMsiFlags, 2, 0);
  EXPECT_EQ(on_disk(kMsi + reg::kMsiFlags) & 0xff, reg::kMsiEnable | 0x20);
}

TEST_F(ConfigFileTest, intx_disable_is_left_to_who_serves_the_line) {
  config_->leave_intx_disable();
  config_->write(reg::kCommand, 2, reg::kCommandMemory | reg::kCommandIntxDisable);
  EXPECT_EQ(on_disk(reg::kCommand), reg::kCommandMemory);
  poke(reg::kCommand + 1, reg::kCommandIntxDisable >> 8);
  config_->write(reg::kCommand, 4, reg::kCommandMaster | 0x20'0000);
  EXPECT_EQ(on_disk(reg::kCommand), reg::kCommandMaster | reg::kCommandIntxDisable);
  EXPECT_EQ(on_disk(reg::kStatus), 0x20);
  config_->write(reg::kCommand + 1, 1, 0);
  EXPECT_EQ(on_disk(reg::kCommand), reg::kCommandMaster | reg::kCommandIntxDisable);
}

TEST_F(ConfigFileTest, bus_mastering_is_announced_before_and_after) {
  std::vector<std::pair<bool, bool>> seen;  // what was said, and what the register had then
  bool allowed = true;
  config_->set_master_watch([&](bool on) {
    seen.emplace_back(on, (on_disk(reg::kCommand) & reg::kCommandMaster) != 0);
    return allowed;
  });
  config_->write(reg::kCommand, 2, reg::kCommandMaster);
  config_->write(reg::kCommand, 2, reg::kCommandMaster | reg::kCommandMemory);
  config_->write(reg::kCommand, 1, 0);
  EXPECT_THAT(seen, ElementsAre(std::pair(true, false), std::pair(false, false)));
  allowed = false;
  config_->write(reg::kCommand, 2, reg::kCommandMaster | reg::kCommandMemory);
  EXPECT_EQ(on_disk(reg::kCommand) & (reg::kCommandMaster | reg::kCommandMemory), reg::kCommandMemory);
}

TEST_F(ConfigFileTest, restore_puts_the_header_back_and_leaves_the_rest) {
  const std::vector<u8> before = config_->bytes();
  config_->write(reg::kBar0, 4, 0xfe000000);
  config_->write(reg::kCommand, 2, reg::kCommandMemory | reg::kCommandIntxDisable);
  config_->write(0xc0, 4, 0x12345678);  // the device's own
  config_->restore(before);
  EXPECT_EQ(config_->read(reg::kBar0, 4), 0u);
  EXPECT_EQ(config_->command(), reg::kCommandIntxDisable);
  EXPECT_EQ(config_->read(0xc0, 4), 0x12345678u);
}

TEST_F(ConfigFileTest, power_states) {
  EXPECT_EQ(config_->power(), pci::PowerState::kD0);
  config_->set_power(pci::PowerState::kD3hot);
  EXPECT_EQ(config_->power(), pci::PowerState::kD3hot);
  config_->set_power(pci::PowerState::kD0);
  EXPECT_EQ(on_disk(kPm + reg::kPmControl), 0);
}

// vfio-pci's rules on a real space: what the client enables and points elsewhere is virtual.
TEST_F(ConfigFileTest, a_client_does_not_reach_the_address_of_messages) {
  pci::FunctionSpec spec;
  spec.msi = pci::MsiSpec{.at = kMsi};
  pci::VirtualConfig client(*config_, spec);
  const u32 address = 0xfee00000;
  (void)client.write(*config_, kMsi + reg::kMsiAddressLow, std::as_bytes(std::span(&address, 1)));
  u32 seen = 0;
  client.read(*config_, kMsi + reg::kMsiAddressLow, std::as_writable_bytes(std::span(&seen, 1)));
  EXPECT_EQ(seen, address);
  EXPECT_EQ(config_->read(kMsi + reg::kMsiAddressLow, 4), 0u);
}

// INTx is polled, so it stays disabled in the hardware; to the client it begins as vfio-pci leaves it.
TEST_F(ConfigFileTest, a_client_begins_with_intx_enabled) {
  config_->write(reg::kCommand, 2, reg::kCommandMemory);
  pci::VirtualConfig client(*config_, pci::FunctionSpec{});
  u16 command = 0;
  client.read(*config_, reg::kCommand, std::as_writable_bytes(std::span(&command, 1)));
  EXPECT_EQ(command, reg::kCommandMemory);
  EXPECT_EQ(client.intx(), pci::Intx::kEnabled);
}

// An endpoint of PCI Express 1.1 near the end of 256 bytes, and one with extended capabilities.
class ExpressFileTest : public testing::Test {
 protected:
  static std::unique_ptr<ConfigFile> open(std::vector<u8> bytes) {
    char path[] = "/tmp/iommufd_config_XXXXXX";
    const Fd file(::mkstemp(path));
    EXPECT_EQ(::write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    auto config = std::move(*ConfigFile::open(path));
    ::unlink(path);
    return config;
  }
  static void put(std::vector<u8>& bytes, u32 at, std::vector<u8> what) { std::ranges::copy(what, bytes.begin() + at); }
  static std::vector<u8> endpoint(u32 size, u8 at, u8 version) {
    std::vector<u8> bytes(size);
    put(bytes, reg::kVendor, {0x34, 0x12, 0xe8, 0x11});
    put(bytes, reg::kStatus, {0x10});
    put(bytes, reg::kCapPointer, {at});
    put(bytes, at, {reg::kCapPcie, 0, version, 0});
    return bytes;
  }
};

TEST_F(ExpressFileTest, what_is_behind_a_capability_of_version_1_is_the_devices_own) {
  const auto config = open(endpoint(reg::kConfigSize, 0xe0, 1));
  EXPECT_EQ(config->capabilities()[0].length, reg::kPcieSize1);
  pci::VirtualConfig client(*config, pci::FunctionSpec{});
  const u32 value = 0x12345678;
  (void)client.write(*config, 0xf0, std::as_bytes(std::span(&value, 1)));
  EXPECT_EQ(config->read(0xf0, 4), 0u);
  (void)client.write(*config, 0xf4, std::as_bytes(std::span(&value, 1)));
  EXPECT_EQ(config->read(0xf4, 4), value);
}

TEST_F(ExpressFileTest, extended_capabilities_end_where_they_are_known_to) {
  std::vector<u8> bytes = endpoint(reg::kExtendedConfigSize, 0x40, 2);
  put(bytes, 0x100, {0x01, 0x00, 0x01, 0x20});  // AER, the next one at 0x200
  put(bytes, 0x200, {0x03, 0x00, 0x01, 0x00});  // the serial number
  const auto config = open(bytes);
  EXPECT_EQ(config->capabilities()[0].length, reg::kPcieSize);
  ASSERT_EQ(config->extended().size(), 2u);
  EXPECT_EQ(config->extended()[0].length, reg::kAerSize);
  EXPECT_EQ(config->extended()[1].length, reg::kSerialNumberSize);
  pci::VirtualConfig client(*config, pci::FunctionSpec{});
  const u32 value = 0x12345678;
  (void)client.write(*config, 0x208, std::as_bytes(std::span(&value, 1)));
  EXPECT_EQ(config->read(0x208, 4), 0u);
  (void)client.write(*config, 0x20c, std::as_bytes(std::span(&value, 1)));
  EXPECT_EQ(config->read(0x20c, 4), value);
}

}  // namespace
}  // namespace iommufd::host
