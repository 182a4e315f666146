// SPDX-License-Identifier: BSD-3-Clause
#include <array>

#include "models/registry.hpp"
#include "tests/support/fake_device.hpp"

namespace iommufd::models {
namespace {

using testing::HasSubstr;

std::string error_of(const KeyValues& given) {
  Poller poller;
  const auto made = find("edu")->configure(given, poller);
  return made ? "" : made.error().text;
}

TEST(Parameters, unknown_key_names_the_known_ones) {
  const std::string text = error_of({{"dmamask", "3"}});
  for (const char* word : {"edu", "dmamask", "mmap", "dma_mask", "dma_delay_us", "quirks"})
    EXPECT_THAT(text, HasSubstr(word));
}

TEST(Parameters, bad_values_say_what_would_be_right) {
  EXPECT_THAT(error_of({{"mmap", "yes"}}), HasSubstr("mmap=yes is none of: off, on"));
  EXPECT_THAT(error_of({{"dma_mask", "65"}}), HasSubstr("dma_mask=65 is not a number from 12 to 64"));
  EXPECT_THAT(error_of({{"dma_mask", "11"}}), HasSubstr("from 12 to 64"));
  for (const char* number : {"", "-1", "3x", "0x20", " 32", "99999999999999999999"}) {
    EXPECT_THAT(error_of({{"dma_mask", number}}), HasSubstr("is not a number")) << number;
  }
  EXPECT_THAT(error_of({{"quirks", "qemu"}}), HasSubstr("none, qemu72"));
  EXPECT_THAT(error_of({{"mmap", "on"}, {"mmap", "off"}}), HasSubstr("given twice"));
}

TEST(Parameters, all_models_have_unique_names_and_described_keys) {
  for (const Kind& kind : all()) {
    EXPECT_EQ(find(kind.name), &kind);
    EXPECT_STRNE(kind.summary, "");
    Poller poller;
    for (const Key& key : kind.keys) {
      EXPECT_STRNE(key.help, "");
      // Every fall-back is a value that the key takes.
      EXPECT_TRUE(kind.configure({{key.name, key.fallback}}, poller)) << key.name;
    }
  }
  EXPECT_EQ(find("edu2"), nullptr);
  EXPECT_EQ(find(""), nullptr);
}

TEST(EduKind, is_the_function_that_drivers_look_for) {
  Poller poller;
  const auto made = find("edu")->configure({}, poller);
  ASSERT_TRUE(made);
  const pci::FunctionSpec& spec = made->spec;
  EXPECT_EQ(spec.vendor, 0x1234);
  EXPECT_EQ(spec.device, 0x11e8);
  EXPECT_EQ(spec.revision, 0x10);
  EXPECT_EQ(spec.class_code, 0x00ff00u);
  EXPECT_EQ(spec.subsystem_vendor, 0x1af4);
  EXPECT_EQ(spec.subsystem_device, 0x1100);
  EXPECT_EQ(spec.interrupt_pin, 1);
  EXPECT_EQ(spec.bars[0].size, 1u << 20);
  EXPECT_EQ(spec.bars[0].kind, pci::BarKind::kMemory32);
  EXPECT_EQ(spec.bars[0].mappable, pci::Mappable::kNo);
  ASSERT_TRUE(spec.msi);
  EXPECT_EQ(spec.msi->vectors_lg2, 0u);
  const auto mapped = find("edu")->configure({{"mmap", "on"}}, poller);
  EXPECT_EQ(mapped->spec.bars[0].mappable, pci::Mappable::kYes);
  EXPECT_TRUE(mapped->spec.bars[0].areas.empty());
  const auto sparse = find("edu")->configure({{"mmap", "sparse"}, {"msix", "2048"}}, poller);
  for (const u32 bar : {0u, 1u}) {
    EXPECT_EQ(sparse->spec.bars[bar].mappable, pci::Mappable::kYes);
    EXPECT_EQ(sparse->spec.bars[bar].areas, (std::vector<pci::BarArea>{{0, kPageSize}}));
  }
}

TEST(IoatKind, exact_traps_the_stores_into_its_mapped_bar) {
  Poller poller;
  const Kind& ioat = *find("ioat");
  EXPECT_EQ(ioat.configure({}, poller)->spec.bars[0].stores, pci::MappedStores::kPolled);
  for (const char* yes : {"1", "on"}) {
    const auto exact = ioat.configure({{"exact", yes}}, poller);
    ASSERT_TRUE(exact);
    EXPECT_EQ(exact->spec.bars[0].mappable, pci::Mappable::kYes);
    EXPECT_EQ(exact->spec.bars[0].stores, pci::MappedStores::kTrapped);
  }
  EXPECT_EQ(ioat.configure({{"exact", "0"}}, poller)->spec.bars[0].stores, pci::MappedStores::kPolled);
  EXPECT_FALSE(ioat.configure({{"exact", "2"}}, poller));
  EXPECT_FALSE(ioat.configure({{"exact", "1"}, {"mmap", "off"}}, poller));  // nothing is mapped then
  EXPECT_EQ(find("edu")->configure({{"mmap", "exact"}}, poller)->spec.bars[0].stores, pci::MappedStores::kTrapped);
}

}  // namespace
}  // namespace iommufd::models
