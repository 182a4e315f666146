// SPDX-License-Identifier: BSD-3-Clause
// The expansion ROM of a real function, with files in place of sysfs: the file `rom` shows images while it is enabled.
#include "host/rom_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "pci/config_registers.hpp"

namespace iommufd::host {
namespace {

namespace reg = pci::reg;
using testing::Each;
using testing::ElementsAre;

class RomFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/rom.XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    std::string bytes(reg::kConfigSize, '\0');
    bytes[reg::kStatus] = 0x10;
    bytes[reg::kCapPointer] = 0x40;
    bytes[0x40] = reg::kCapPm;
    bytes[0x40 + reg::kPmControl] = reg::kPmD3hot;
    std::ofstream(folder_ + "/config", std::ios::binary) << bytes;
    config_ = *ConfigFile::open(folder_ + "/config");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void put_rom(const std::string& content) const { std::ofstream(folder_ + "/rom", std::ios::binary) << content; }
  std::shared_ptr<const std::vector<u8>> read(u64 size) {
    return read_rom(folder_, size, *config_, [this](const std::string& path, std::string_view text) -> Result<void> {
      EXPECT_EQ(path, folder_ + "/rom");
      EXPECT_NE(config_->command() & reg::kCommandMemory, 0);
      EXPECT_EQ(config_->power(), pci::PowerState::kD0);
      written_.emplace_back(text);
      if (fails_) return Err(Errno::kInval);
      return {};
    });
  }
  std::string folder_;
  std::unique_ptr<ConfigFile> config_;
  std::vector<std::string> written_;
  bool fails_ = false;
};

TEST_F(RomFileTest, is_enabled_read_and_disabled) {
  put_rom("images");
  const auto rom = read(8);
  ASSERT_TRUE(rom);
  EXPECT_THAT(*rom, ElementsAre('i', 'm', 'a', 'g', 'e', 's', 0xff, 0xff));
  EXPECT_THAT(written_, ElementsAre("1", "0"));
  EXPECT_EQ(config_->command() & reg::kCommandMemory, 0);
  EXPECT_EQ(config_->power(), pci::PowerState::kD3hot);
}

TEST_F(RomFileTest, is_cut_at_the_size_of_its_bar) {
  put_rom("images");
  EXPECT_THAT(*read(2), ElementsAre('i', 'm'));
}

TEST_F(RomFileTest, has_ones_where_it_cannot_be_had) {
  put_rom("images");
  fails_ = true;
  const auto rom = read(4096);
  ASSERT_TRUE(rom);
  EXPECT_EQ(rom->size(), 4096u);
  EXPECT_THAT(*rom, Each(0xff));
}

TEST_F(RomFileTest, may_be_absent) {
  EXPECT_FALSE(read(4096));
  put_rom("images");
  EXPECT_FALSE(read(0));
  EXPECT_TRUE(written_.empty());
}

}  // namespace
}  // namespace iommufd::host
