// SPDX-License-Identifier: BSD-3-Clause
// A function with every kind of BAR, as hardware and as vfio-pci shows it (spec vfio-device 10).
#include "pci/function.hpp"

#include "tests/unit/pci/function_fixture.hpp"

namespace iommufd::pci {
namespace {

using test::bytes_of;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr u32 kMsi = 0x40;

FunctionSpec sample() {
  FunctionSpec spec{.vendor = 0x1234,
                    .device = 0x11e8,
                    .revision = 0x10,
                    .class_code = 0x00ff00,
                    .subsystem_vendor = 0x1af4,
                    .subsystem_device = 0x1100,
                    .interrupt_pin = 1,
                    .msi = MsiSpec{.vectors_lg2 = 2},
                    .reset = ResetKind::kFunction};
  spec.bars[0] = {.kind = BarKind::kMemory32, .size = 0x1000, .mappable = Mappable::kYes};
  spec.bars[1] = {.kind = BarKind::kIo, .size = 0x20};
  spec.bars[2] = {.kind = BarKind::kMemory64, .size = u64{1} << 33, .prefetch = Prefetch::kYes};
  // Hot swap (hidden from clients), then a vendor-specific one.
  spec.capabilities = {{.id = 0x06, .bytes = {0xaa, 0xbb}, .writable = {0xff}},
                       {.id = reg::kCapVendorSpecific, .bytes = {6, 0x11, 0x22, 0x33}, .writable = {0, 0xff}}};
  return spec;
}
constexpr u32 kHotSwap = 0x50, kVendorCap = 0x54;

class FunctionTest : public testing::Test, public FunctionFixture {
 protected:
  FunctionTest() : FunctionFixture(sample()) {}
};

struct EnabledFunction : FunctionTest {
  EnabledFunction() { function.enable(); }
};

TEST_F(FunctionTest, starts_with_bus_mastering_off_and_decoding_on) {
  EXPECT_FALSE(dma.bus_master);
  EXPECT_EQ(hardware<u16>(reg::kCommand), reg::kCommandIo | reg::kCommandMemory);
}

TEST_F(FunctionTest, notes_of_the_model_carry_the_address) {
  model->ports.note("hello");
  EXPECT_THAT(notes, ElementsAre("0000:00:05.0: hello"));
}

TEST_F(FunctionTest, sysfs_sees_the_hardware) {
  EXPECT_EQ(hardware(0), 0x11e81234u);
  EXPECT_EQ(hardware(8), 0x00ff0010u);
  EXPECT_EQ(hardware(0x10), 0xfe000000u);
  EXPECT_EQ(hardware(0x14), 0xc001u);
  EXPECT_EQ(hardware(0x18), 0x0000000cu);
  EXPECT_EQ(hardware(0x1c), 0x8u);
  EXPECT_EQ(hardware(0x2c), 0x11001af4u);
  EXPECT_EQ(hardware<u8>(0x34), kMsi);
  EXPECT_EQ(hardware<u16>(0x3c), 0x010bu);
  EXPECT_EQ(hardware(kMsi), 0x00845005u);
  EXPECT_EQ(function.sysfs_config().size(), 256u);
  const auto lines = function.sysfs_resources();
  EXPECT_EQ(lines.size(), 13u);
  EXPECT_EQ(lines[0].start, 0xfe000000u);
  EXPECT_EQ(lines[0].end, 0xfe000fffu);
  EXPECT_EQ(lines[0].flags, 0x40200u);
  EXPECT_EQ(lines[1].flags, 0x40101u);
  EXPECT_EQ(lines[2].end, 0x9ffffffffu);
  EXPECT_EQ(lines[2].flags, 0x14220cu);
  EXPECT_EQ(lines[3].flags, 0u);
}

TEST_F(EnabledFunction, first_open_clears_bus_master_and_resets) {
  EXPECT_EQ(get<u16>(reg::kCommand) & reg::kCommandMaster, 0);  // noiommu checklist row 48
  EXPECT_EQ(model->resets, 1);
}

TEST_F(EnabledFunction, bus_master_bit_gates_dma) {
  set<u16>(reg::kCommand, reg::kCommandMemory | reg::kCommandMaster);
  EXPECT_TRUE(dma.bus_master);
  set<u8>(reg::kCommand, reg::kCommandMemory);
  EXPECT_FALSE(dma.bus_master);
}

TEST_F(EnabledFunction, close_clears_bus_master_restores_config_and_resets) {
  set<u16>(reg::kCommand, reg::kCommandMaster);
  set<u8>(reg::kCacheLine, u8{0x10});
  function.begin_disable();
  EXPECT_FALSE(dma.bus_master);
  function.finish_disable();
  EXPECT_EQ(hardware<u16>(reg::kCommand), reg::kCommandIo | reg::kCommandMemory);
  EXPECT_EQ(hardware<u8>(reg::kCacheLine), 0);
  EXPECT_EQ(model->resets, 2);
  function.enable();  // and again
  EXPECT_EQ(get<u16>(reg::kCommand), reg::kCommandIo | reg::kCommandMemory);
}

TEST_F(EnabledFunction, ids_class_and_pin_cannot_be_written) {
  for (const u32 offset : {0x00u, 0x08u, 0x2cu, 0x34u}) {
    const u32 before = get(offset);
    set(offset, ~u32{0});
    EXPECT_EQ(get(offset), before) << offset;
  }
  set<u8>(reg::kInterruptPin, u8{4});
  EXPECT_EQ(get<u8>(reg::kInterruptPin), 1);
  set<u16>(reg::kStatus, u16{0xffff});
  EXPECT_EQ(get<u16>(reg::kStatus), reg::kStatusCapList);
}

TEST_F(EnabledFunction, cache_line_reaches_the_hardware) {
  set<u8>(reg::kCacheLine, u8{0x10});
  EXPECT_EQ(get<u8>(reg::kCacheLine), 0x10);
  EXPECT_EQ(hardware<u8>(reg::kCacheLine), 0x10);
}

TEST_F(EnabledFunction, interrupt_line_is_a_shadow) {
  EXPECT_EQ(get<u8>(reg::kInterruptLine), 11);
  set<u8>(reg::kInterruptLine, u8{0x55});
  EXPECT_EQ(get<u8>(reg::kInterruptLine), 0x55);
  EXPECT_EQ(hardware<u8>(reg::kInterruptLine), 11);
}

TEST_F(EnabledFunction, bar_sizing_works_on_the_shadow_only) {
  for (u32 i = 0; i < 6; ++i) set(0x10 + 4 * i, ~u32{0});
  EXPECT_EQ(get(0x10), 0xfffff000u);
  EXPECT_EQ(get(0x14), 0xffffffe1u);
  EXPECT_EQ(get(0x18), 0x0000000cu);  // 8 GiB: no address bit in the lower half
  EXPECT_EQ(get(0x1c), 0xfffffffeu);
  EXPECT_EQ(get(0x20), 0u);
  EXPECT_EQ(get(0x24), 0u);
  EXPECT_EQ(hardware(0x10), 0xfe000000u);
  set(0x10, 0x12345678u);
  EXPECT_EQ(get(0x10), 0x12345000u);
  set<u8>(0x10, u8{0xff});
  EXPECT_EQ(get(0x10), 0x12345000u);
}

TEST_F(EnabledFunction, rom_bar_that_does_not_exist_reads_zero) {
  set(reg::kRom, ~u32{0});
  EXPECT_EQ(get(reg::kRom), 0u);
}

TEST_F(EnabledFunction, intx_disable_is_virtual_and_told) {
  set<u16>(reg::kCommand, reg::kCommandMemory | reg::kCommandIntxDisable);
  EXPECT_EQ(get<u16>(reg::kCommand), reg::kCommandMemory | reg::kCommandIntxDisable);
  EXPECT_EQ(hardware<u16>(reg::kCommand) & reg::kCommandIntxDisable, 0);
  set<u16>(reg::kCommand, reg::kCommandMemory);
  EXPECT_THAT(sink.take(), ElementsAre("intx off", "intx on"));
}

TEST_F(EnabledFunction, reserved_command_bits_do_not_stick) {
  set<u16>(reg::kCommand, u16{0xffff});
  EXPECT_EQ(get<u16>(reg::kCommand),
            reg::kCommandIo | reg::kCommandMemory | reg::kCommandMaster | reg::kCommandIntxDisable);
}

TEST_F(EnabledFunction, status_shows_the_line) {
  model->ports.interrupts.set_line(Level::kHigh);
  EXPECT_EQ(get<u16>(reg::kStatus), reg::kStatusCapList | reg::kStatusInterrupt);
  model->ports.interrupts.set_line(Level::kHigh);  // no change, no event
  model->ports.interrupts.set_line(Level::kLow);
  EXPECT_EQ(get<u16>(reg::kStatus), reg::kStatusCapList);
  EXPECT_THAT(sink.take(), ElementsAre("high", "low"));
}

TEST_F(EnabledFunction, capabilities_without_a_rule_leave_the_list) {
  EXPECT_EQ(get<u8>(0x34), kMsi);
  EXPECT_EQ(get<u8>(kMsi + 1), kVendorCap);
  EXPECT_EQ(get<u8>(kVendorCap), reg::kCapVendorSpecific);
  EXPECT_EQ(get<u8>(kVendorCap + 1), 0);
  EXPECT_EQ(hardware<u8>(kMsi + 1), kHotSwap);  // the hardware has it
  set<u8>(kMsi + 1, u8{0});
  EXPECT_EQ(get<u8>(kMsi + 1), kVendorCap);
}

TEST_F(EnabledFunction, space_of_no_capability_is_raw_hardware) {
  EXPECT_EQ(get(kHotSwap), 0xbbaa5406u);
  set<u8>(kHotSwap + 2, u8{0x77});
  EXPECT_EQ(hardware<u8>(kHotSwap + 2), 0x77);
  set<u8>(kVendorCap + 3, u8{0x99});  // vendor-specific: raw, too
  EXPECT_EQ(get<u8>(kVendorCap + 3), 0x99);
}

TEST_F(EnabledFunction, msi_enable_does_not_stick_before_set_irqs) {
  set<u16>(kMsi + 2, u16{0x84 | 1 | 2 << 4});
  EXPECT_EQ(get<u16>(kMsi + 2), 0x84);
  EXPECT_EQ(hardware<u16>(kMsi + 2), 0x84);
}

TEST_F(EnabledFunction, msi_flags_are_limited_to_what_was_set_up) {
  function.enable_msi(1);
  EXPECT_EQ(hardware<u16>(kMsi + 2), 0x84 | 1 | 1 << 4);
  EXPECT_EQ(get<u16>(kMsi + 2), 0x84);  // the shadow does not follow
  set<u16>(kMsi + 2, u16{0x84 | 1 | 2 << 4});
  EXPECT_EQ(get<u16>(kMsi + 2), 0x84 | 1 | 1 << 4);
  EXPECT_EQ(hardware<u16>(kMsi + 2), 0x84 | 1 | 1 << 4);
  set<u16>(kMsi + 2, u16{0x84});  // a client may switch it off
  EXPECT_EQ(hardware<u16>(kMsi + 2), 0x84);
  function.disable_msi();
  EXPECT_EQ(hardware<u16>(kMsi + 2), 0x84);
}

TEST_F(EnabledFunction, msi_address_and_data_never_reach_the_hardware) {
  set(kMsi + 4, 0xfee01234u);
  set(kMsi + 8, 0x1u);
  set<u16>(kMsi + 12, u16{0xabcd});
  EXPECT_EQ(get(kMsi + 4), 0xfee01234u);
  EXPECT_EQ(get<u16>(kMsi + 12), 0xabcd);
  EXPECT_EQ(hardware(kMsi + 4), 0u);
  EXPECT_EQ(hardware<u16>(kMsi + 12), 0);
}

TEST_F(EnabledFunction, messages_need_msi_and_bus_mastering) {
  model->ports.interrupts.send_message(0);
  function.enable_msi(1);
  EXPECT_TRUE(model->ports.interrupts.message_signalled());
  model->ports.interrupts.send_message(0);  // a message is a write: bus mastering is off
  EXPECT_THAT(sink.take(), IsEmpty());
  set<u16>(reg::kCommand, reg::kCommandMaster);
  model->ports.interrupts.send_message(0);
  model->ports.interrupts.send_message(1);
  model->ports.interrupts.send_message(2);  // two vectors were granted
  EXPECT_THAT(sink.take(), ElementsAre("message 0", "message 1", "message 0"));
  function.disable_msi();
  model->ports.interrupts.send_message(0);
  EXPECT_FALSE(model->ports.interrupts.message_signalled());
  EXPECT_THAT(sink.take(), IsEmpty());
}

TEST_F(EnabledFunction, config_accesses_of_any_size_and_place_agree_with_bytes) {
  std::vector<u8> bytes(256);
  for (u32 i = 0; i < 256; ++i) bytes[i] = get<u8>(i);
  for (u32 offset = 0; offset < 256; ++offset) {
    for (const u32 size : {2u, 3u, 4u, 7u, 64u, 256u}) {
      if (offset + size > 256) continue;
      std::vector<u8> out(size);
      function.config_read(offset, std::as_writable_bytes(std::span(out)));
      EXPECT_TRUE(std::equal(out.begin(), out.end(), bytes.begin() + offset)) << offset << "+" << size;
    }
  }
}

TEST_F(EnabledFunction, bar_accesses_are_split_into_aligned_operations) {
  using A = test::FakeModel::Access;
  std::array<std::byte, 32> buffer{};
  EXPECT_TRUE(function.bar_read(0, 0x3, std::span(buffer).first(16)));
  EXPECT_THAT(model->reads, ElementsAre(A{0, 3, 1}, A{0, 4, 4}, A{0, 8, 8}, A{0, 16, 2}, A{0, 18, 1}));
  EXPECT_TRUE(function.bar_write(1, 0, std::span(buffer).first(12)));  // port operations have 4 bytes at most
  EXPECT_THAT(model->writes, ElementsAre(A{1, 0, 4}, A{1, 4, 4}, A{1, 8, 4}));
}

TEST_F(EnabledFunction, bar_accesses_need_decoding) {
  std::array<std::byte, 4> buffer{};
  set<u16>(reg::kCommand, reg::kCommandIo);
  EXPECT_EQ(function.bar_read(0, 0, buffer).error(), Errno::kIo);
  EXPECT_EQ(function.bar_write(0, 0, buffer).error(), Errno::kIo);
  EXPECT_TRUE(function.bar_read(1, 0, buffer));
  set<u16>(reg::kCommand, reg::kCommandMemory);
  EXPECT_TRUE(function.bar_read(0, 0, buffer));
  EXPECT_EQ(function.bar_read(1, 0, buffer).error(), Errno::kIo);
}

}  // namespace
}  // namespace iommufd::pci
