// SPDX-License-Identifier: BSD-3-Clause
// A PCI Express function: power states, function reset, extended capabilities, expansion ROM, as hardware and as vfio-pci shows
// them (spec vfio-device 10).
#include "pci/rom.hpp"
#include "tests/unit/pci/function_fixture.hpp"

namespace iommufd::pci {
namespace {

using testing::ElementsAre;

constexpr u32 kPm = 0x40, kPcie = 0x48, kAf = 0x84;
constexpr u32 kHidden = 0x100, kAer = 0x108, kSerial = 0x150, kVendor = 0x15c;

std::vector<u8> image(u8 blocks, bool last) {
  std::vector<u8> out(std::size_t{blocks} * 512, 0x11);
  out[0] = 0x55;
  out[1] = 0xaa;
  out[0x18] = 0x1c;
  out[0x19] = 0;
  const std::string_view name = "PCIR";
  std::ranges::copy(name, out.begin() + 0x1c);
  out[0x1c + 0x10] = blocks;
  out[0x1c + 0x11] = 0;
  out[0x1c + 0x15] = last ? 0x80 : 0;
  return out;
}

FunctionSpec express() {
  FunctionSpec spec{.vendor = 0x1234,
                    .device = 1,
                    .interrupt_pin = 1,
                    .pm = PmSpec{},
                    .pcie = PcieSpec{},
                    .reset = ResetKind::kFunction};
  spec.bars[0] = {.kind = BarKind::kMemory32, .size = 0x1000};
  spec.capabilities = {advanced_features()};
  spec.extended = {{.id = 0x1b, .bytes = {1, 2, 3, 4}},  // PASID: hidden
                   error_reporting(),
                   serial_number(0x1122334455667788),
                   {.id = reg::kExtVendorSpecific, .bytes = {0, 0, 0, 0}, .writable = {0, 0, 0xff}}};
  spec.registers = {{.offset = 0x180, .width = 4, .value = 0xff, .writable = 0, .clearing = 0xf}};
  std::vector<u8> rom = image(2, true);
  rom.resize(3000, 0x22);
  spec.rom = std::make_shared<const std::vector<u8>>(rom);
  return spec;
}

class Express : public testing::Test, public FunctionFixture {
 protected:
  explicit Express(const FunctionSpec& spec = express()) : FunctionFixture(spec) {
    function.enable();
    set<u16>(reg::kCommand, reg::kCommandMemory | reg::kCommandMaster);
    model->resets = 0;
  }
  Errno bar_error() {
    u32 value = 0;
    const Result<void> r = function.bar_read(0, 0, test::bytes_of(value));
    return r ? Errno{} : r.error();
  }
};

TEST_F(Express, has_4096_bytes_and_a_list_without_what_is_hidden) {
  EXPECT_EQ(function.config_size(), 4096u);
  EXPECT_EQ(hardware(kHidden), 0x1081001bu);
  EXPECT_EQ(get(kHidden), 0x10800000u);  // no name, but a way on
  EXPECT_EQ(get(kHidden + 4), 0x04030201u);
  EXPECT_EQ(get(kAer), 0x15020001u);
  EXPECT_EQ(get(kSerial), 0x15c10003u);
  EXPECT_EQ(get(kSerial + 4), 0x55667788u);
  EXPECT_EQ(get(kSerial + 8), 0x11223344u);
  EXPECT_EQ(get(kVendor), 0x0001000bu);
  EXPECT_EQ(get<u8>(reg::kCapPointer), kPm);
  EXPECT_EQ(get<u8>(kPm + 1), kPcie);
  EXPECT_EQ(get<u8>(kPcie + 1), kAf);
}

TEST_F(Express, extended_capabilities_take_what_the_table_says) {
  set(kAer + reg::kAerUncorrectableMask, ~u32{0});
  EXPECT_EQ(get(kAer + reg::kAerUncorrectableMask), 0x001ff010u);
  set(kAer + reg::kAerUncorrectable, ~u32{0});
  EXPECT_EQ(get(kAer + reg::kAerUncorrectable), 0u);
  set(kAer, ~u32{0});
  EXPECT_EQ(get(kAer), 0x15020001u);
  set(kSerial + 4, 0u);
  EXPECT_EQ(get(kSerial + 4), 0x55667788u);
  set(kVendor + 4, ~u32{0});
  EXPECT_EQ(get(kVendor + 4), 0x00ff0000u);
}

TEST_F(Express, a_register_of_its_own_is_raw_and_cleared_by_ones) {
  set(0x180, 0x3u);
  EXPECT_EQ(get(0x180), 0xfcu);
  set(0x180, ~u32{0});
  EXPECT_EQ(get(0x180), 0xf0u);
}

TEST_F(Express, pm_shows_no_wake_up_events) {
  EXPECT_EQ(get<u16>(kPm + 2), reg::kPmVersion);
  set<u16>(kPm + 4, u16{0x8100});
  EXPECT_EQ(get<u16>(kPm + 4), 0);
}

TEST_F(Express, d3hot_switches_bars_dma_and_messages_off) {
  set<u8>(kPm + 4, u8{3});
  EXPECT_EQ(get<u16>(kPm + 4), 3);
  EXPECT_EQ(bar_error(), Errno::kIo);
  EXPECT_FALSE(dma.bus_master);
  EXPECT_EQ(model->resets, 0);
  EXPECT_EQ(get<u16>(reg::kCommand), reg::kCommandMemory | reg::kCommandMaster);
  set<u8>(kPm + 4, u8{0});
  EXPECT_TRUE(dma.bus_master);
  EXPECT_EQ(bar_error(), Errno{});
  EXPECT_EQ(model->resets, 1);  // the state is lost, config space restored
  EXPECT_EQ(get<u16>(reg::kCommand), reg::kCommandMemory | reg::kCommandMaster);
}

TEST_F(Express, states_that_do_not_exist_are_not_entered) {
  for (const u8 state : {u8{1}, u8{2}}) {
    set<u8>(kPm + 4, state);
    EXPECT_EQ(get<u16>(kPm + 4), 0);
    set_hardware<u8>(kPm + 4, state);
    EXPECT_EQ(hardware<u16>(kPm + 4), 0);
  }
}

TEST_F(Express, a_reset_and_an_open_lead_to_d0) {
  set<u8>(kPm + 4, u8{3});
  function.reset();
  EXPECT_EQ(bar_error(), Errno{});
  set<u8>(kPm + 4, u8{3});
  function.begin_disable();
  function.finish_disable();
  set_hardware<u8>(kPm + 4, u8{3});
  function.enable();
  EXPECT_EQ(bar_error(), Errno{});
}

struct KeepsState : Express {
  static FunctionSpec keeping() {
    FunctionSpec spec = express();
    spec.pm = PmSpec{.state = StateInD3::kKept};
    return spec;
  }
  KeepsState() : Express(keeping()) {}
};

TEST_F(KeepsState, coming_back_from_d3hot_resets_nothing) {
  EXPECT_EQ(get<u16>(kPm + 4), reg::kPmNoSoftReset);
  set<u8>(kPm + 4, u8{3});
  set<u8>(kPm + 4, u8{0});
  EXPECT_EQ(model->resets, 0);
}

TEST_F(Express, device_control_resets_the_function) {
  const u16 before = get<u16>(kPcie + reg::kPcieDeviceControl);
  set<u16>(kPcie + reg::kPcieDeviceControl, static_cast<u16>(before | reg::kPcieControlFlr));
  EXPECT_EQ(model->resets, 1);
  EXPECT_EQ(get<u16>(kPcie + reg::kPcieDeviceControl), before);
  EXPECT_TRUE(dma.bus_master);  // config space is what it was
}

TEST_F(Express, payload_is_virtual_and_read_requests_are_no_smaller_than_it) {
  const u32 at = kPcie + reg::kPcieDeviceControl;
  EXPECT_EQ(hardware<u16>(at), 0x2810);
  set<u16>(at, u16{0x1 | 5 << 5 | 1 << 9 | 1 << 12});
  EXPECT_EQ(get<u16>(at), 0x1 | 5 << 5 | 1 << 12);
  EXPECT_EQ(hardware<u16>(at), 0x1 | 1 << 12);
  set_hardware<u16>(at, u16{2 << 5});
  set<u16>(at, u16{0});
  EXPECT_EQ(get<u16>(at), 0);
  EXPECT_EQ(hardware<u16>(at), 2 << 5 | 2 << 12);
}

TEST_F(Express, the_rest_of_the_express_capability_is_read_only) {
  const u32 link = get(kPcie + reg::kPcieLinkControl);
  set(kPcie + reg::kPcieLinkControl, ~u32{0});
  EXPECT_EQ(get(kPcie + reg::kPcieLinkControl), link);
  set<u16>(kPcie + reg::kPcieDeviceControl2, u16{0xffff});
  EXPECT_EQ(get<u16>(kPcie + reg::kPcieDeviceControl2), 0x1f);
}

TEST_F(Express, advanced_features_reset_the_function) {
  set<u8>(kAf + 4, u8{1});
  EXPECT_EQ(model->resets, 1);
  EXPECT_EQ(get<u8>(kAf + 4), 0);
}

TEST_F(Express, a_reset_by_sysfs_loses_the_config_space) {
  set_hardware<u16>(kPcie + reg::kPcieDeviceControl, reg::kPcieControlFlr);
  EXPECT_EQ(model->resets, 1);
  EXPECT_EQ(hardware<u16>(reg::kCommand), 0);
  EXPECT_EQ(hardware(reg::kBar0), 0u);
  EXPECT_EQ(hardware(0), 0x00011234u);
  EXPECT_FALSE(dma.bus_master);
}

TEST_F(Express, rom_bar_sizes_and_its_images_are_read) {
  EXPECT_EQ(hardware(reg::kRom), 0xfd000000u);
  set(reg::kRom, ~u32{0});
  EXPECT_EQ(get(reg::kRom), 0xfffff001u);
  EXPECT_EQ(function.rom_image_size(), 1024u);
  const auto line = function.sysfs_resources()[6];
  EXPECT_EQ(line.start, 0xfd000000u);
  EXPECT_EQ(line.end, 0xfd000fffu);
  EXPECT_EQ(line.flags, 0x44200u);
  std::array<u8, 4> bytes{};
  ASSERT_TRUE(function.rom_read(1022, std::as_writable_bytes(std::span(bytes))));
  EXPECT_THAT(bytes, ElementsAre(0x11, 0x11, 0xff, 0xff));
  ASSERT_TRUE(function.rom_read(0, std::as_writable_bytes(std::span(bytes))));
  EXPECT_THAT(bytes, ElementsAre(0x55, 0xaa, 0x11, 0x11));
  set<u16>(reg::kCommand, u16{0});
  EXPECT_EQ(function.rom_read(0, std::as_writable_bytes(std::span(bytes))).error(), Errno::kIo);
}

TEST(Rom, images_follow_each_other_until_the_last) {
  EXPECT_EQ(rom_image_size({}), 0u);
  std::vector<u8> rom = image(1, false);
  const std::vector<u8> second = image(3, true), third = image(1, true);
  rom.insert(rom.end(), second.begin(), second.end());
  rom.insert(rom.end(), third.begin(), third.end());
  EXPECT_EQ(rom_image_size(rom), 4u * 512);
  EXPECT_EQ(rom_image_size(std::span(rom).first(520)), 512u);  // a header that is cut off
  EXPECT_EQ(rom_image_size(std::span(rom).first(600)), 600u);  // no longer than the ROM
  for (const std::size_t at : {0u, 1u, 0x1cu}) {
    std::vector<u8> bad = image(1, true);
    bad[at] ^= 1;
    EXPECT_EQ(rom_image_size(bad), 0u) << at;
  }
  std::vector<u8> far = image(1, true);
  far[0x18] = 0xf0;
  far[0x19] = 0xff;
  EXPECT_EQ(rom_image_size(far), 0u);
  std::vector<u8> endless = image(1, false);
  endless[0x1c + 0x10] = 0;
  EXPECT_EQ(rom_image_size(endless), 0u);
}

}  // namespace
}  // namespace iommufd::pci
