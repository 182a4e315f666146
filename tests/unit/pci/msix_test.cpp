// SPDX-License-Identifier: BSD-3-Clause
// MSI-X of a function, and MSI with masks: config space, table window, pending bits, delivery (PCI 3.0, 6.8; vfio-device 9, 10).
#include "tests/unit/pci/function_fixture.hpp"

namespace iommufd::pci {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr u32 kVectors = 70, kTable = 0x800, kTableEnd = kTable + kVectors * 16, kPending = 0x2000;
constexpr u32 kMsi = 0x40, kMsix = 0x58;

FunctionSpec with_msix() {
  FunctionSpec spec{.vendor = 0x1234,
                    .device = 1,
                    .interrupt_pin = 1,
                    .msi = MsiSpec{.vectors_lg2 = 1, .mask = VectorMask::kYes},
                    .msix = MsixSpec{.vectors = kVectors,
                                     .table_bar = 0,
                                     .table_offset = kTable,
                                     .pending_bar = 0,
                                     .pending_offset = kPending},
                    .reset = ResetKind::kFunction};
  spec.bars[0] = {.kind = BarKind::kMemory32, .size = 0x4000};
  return spec;
}

class Msix : public testing::Test, public FunctionFixture {
 protected:
  Msix() : FunctionFixture(with_msix()) {
    function.enable();
    set<u16>(reg::kCommand, reg::kCommandMemory | reg::kCommandMaster);
  }
  void send(u32 vector) { model->ports.interrupts.send_message(vector); }
};

TEST_F(Msix, the_capability_is_shown_as_it_is_and_cannot_be_written) {
  EXPECT_EQ(get<u8>(kMsi + 1), kMsix);
  EXPECT_EQ(get(kMsix), (kVectors - 1) << 16 | reg::kCapMsix);
  EXPECT_EQ(get(kMsix + 4), kTable);
  EXPECT_EQ(get(kMsix + 8), kPending);
  set<u16>(kMsix + 2, u16{0xffff});
  EXPECT_EQ(get<u16>(kMsix + 2), kVectors - 1);
  function.enable_msix();
  EXPECT_EQ(get<u16>(kMsix + 2), 0x8000 | (kVectors - 1));
  set<u16>(kMsix + 2, u16{0});
  EXPECT_EQ(get<u16>(kMsix + 2), 0x8000 | (kVectors - 1));
}

TEST_F(Msix, the_table_reads_all_ones_and_drops_writes) {
  std::array<u8, 32> bytes{};
  ASSERT_TRUE(function.bar_read(0, kTable - 8, std::as_writable_bytes(std::span(bytes))));
  for (u32 i = 0; i < 32; ++i) EXPECT_EQ(bytes[i], i < 8 ? 0 : 0xff) << i;
  bytes.fill(0x5a);
  ASSERT_TRUE(function.bar_write(0, kTableEnd - 16, std::as_bytes(std::span(bytes))));
  using A = test::FakeModel::Access;
  EXPECT_THAT(model->writes, ElementsAre(A{0, kTableEnd, 8}, A{0, kTableEnd + 8, 8}));
  EXPECT_EQ(bar<u64>(0, kTableEnd - 8), ~u64{0});
  EXPECT_TRUE(function.touches_msix_table(0, kTable - 4, 8));
  EXPECT_FALSE(function.touches_msix_table(0, kTable - 4, 4));
  EXPECT_FALSE(function.touches_msix_table(0, kTableEnd, 4));
  EXPECT_FALSE(function.touches_msix_table(1, kTable, 4));
}

TEST_F(Msix, vectors_are_masked_until_they_are_wanted) {
  function.enable_msix();
  EXPECT_TRUE(model->ports.interrupts.message_signalled());
  send(3);
  send(69);
  EXPECT_THAT(sink.take(), IsEmpty());
  EXPECT_EQ(bar<u64>(0, kPending), 8u);
  EXPECT_EQ(bar<u8>(0, kPending + 8), 0x20);
  EXPECT_THAT(model->reads, IsEmpty());
  ASSERT_TRUE(function.bar_write(0, kPending, test::bytes_of(*std::make_unique<u64>(~u64{0}))));
  EXPECT_THAT(model->writes, IsEmpty());
  function.mask_msix(3, Masked::kNo);
  EXPECT_THAT(sink.take(), ElementsAre("message 3"));
  EXPECT_EQ(bar<u64>(0, kPending), 0u);
  send(3);
  send(kVectors);  // there is no such vector
  EXPECT_THAT(sink.take(), ElementsAre("message 3"));
  function.mask_msix(3, Masked::kYes);
  send(3);
  EXPECT_THAT(sink.take(), IsEmpty());
}

TEST_F(Msix, the_function_mask_holds_everything_back) {
  function.enable_msix();
  function.mask_msix(1, Masked::kNo);
  set_hardware<u16>(kMsix + 2, 0xc000);
  send(1);
  EXPECT_THAT(sink.take(), IsEmpty());
  EXPECT_EQ(bar<u8>(0, kPending), 2);
  set_hardware<u16>(kMsix + 2, 0x8000);
  EXPECT_THAT(sink.take(), ElementsAre("message 1"));
}

TEST_F(Msix, needs_bus_mastering_and_ends_with_disable) {
  function.enable_msix();
  function.mask_msix(0, Masked::kNo);
  set<u16>(reg::kCommand, reg::kCommandMemory);
  send(0);
  set<u16>(reg::kCommand, reg::kCommandMemory | reg::kCommandMaster);
  EXPECT_THAT(sink.take(), IsEmpty());
  send(0);
  EXPECT_THAT(sink.take(), ElementsAre("message 0"));
  send(5);
  function.disable_msix();
  EXPECT_FALSE(model->ports.interrupts.message_signalled());
  send(0);
  function.enable_msix();  // nothing is pending, all is masked
  function.mask_msix(5, Masked::kNo);
  send(0);
  EXPECT_THAT(sink.take(), IsEmpty());
}

TEST_F(Msix, a_reset_drops_what_is_pending) {
  function.enable_msix();
  send(0);
  function.reset();
  function.mask_msix(0, Masked::kNo);
  EXPECT_THAT(sink.take(), IsEmpty());
  EXPECT_TRUE(model->ports.interrupts.message_signalled());
}

TEST_F(Msix, msi_can_be_masked_by_vector) {
  function.enable_msi(1);
  set<u32>(kMsi + 0x10, 0xffffffffu);
  EXPECT_EQ(get(kMsi + 0x10), 3u);  // two vectors
  send(1);
  EXPECT_THAT(sink.take(), IsEmpty());
  EXPECT_EQ(get(kMsi + 0x14), 2u);
  EXPECT_EQ(hardware(kMsi + 0x14), 2u);
  set<u32>(kMsi + 0x10, 1u);
  EXPECT_THAT(sink.take(), ElementsAre("message 1"));
  EXPECT_EQ(get(kMsi + 0x14), 0u);
  send(0);
  EXPECT_THAT(sink.take(), IsEmpty());
}

TEST(MsixPlace, capabilities_stand_where_the_model_says) {
  FunctionSpec spec = with_msix();
  spec.msi.reset();
  spec.msix->at = 0x80;
  spec.pcie = PcieSpec{.at = 0x90};
  spec.pm = PmSpec{.at = 0xe0};
  FunctionFixture f(spec);
  f.function.enable();
  EXPECT_EQ(f.get<u8>(reg::kCapPointer), 0x80);
  EXPECT_EQ(f.get<u16>(0x80), 0xe011);
  EXPECT_EQ(f.get<u16>(0xe0), 0x9001);
  EXPECT_EQ(f.get<u16>(0x90), 0x0010);
}

}  // namespace
}  // namespace iommufd::pci
