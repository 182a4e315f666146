// SPDX-License-Identifier: BSD-3-Clause
#include "models/edu_kind.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "models/edu.hpp"

namespace iommufd::models {
namespace {

constexpr std::array kKeys{
    Key{"mmap", "on|off|sparse|exact", "off",
        "let clients map its BARs; off: every access is trapped and exact; on: registers are polled; sparse: as on, "
        "the first page only; exact: as on, each store is trapped"},
    Key{"dma_mask", "BITS", "28", "address bits of its DMA, 12 to 64; a higher address is cut off, not refused"},
    Key{"dma_delay_us", "N", "0", "microseconds from a DMA command to the transfer; 0: done before the write returns"},
    Key{"quirks", "none|qemu72", "none",
        "qemu72: 100 ms per DMA unless dma_delay_us says otherwise, and 4096 bytes are one too many"},
    Key{"pcie", "on|off", "off", "a PCI Express endpoint with power management, error reporting and a serial number"},
    Key{"msix", "N", "0", "MSI-X with N vectors (up to 2048), its table in BAR 1; edu raises vector 0"},
};
constexpr std::array<std::string_view, 4> kMmap{"off", "on", "sparse", "exact"};
constexpr std::array<std::string_view, 2> kQuirks{"none", "qemu72"};
constexpr u64 kLongestDelayUs = 60'000'000;

// Table and pending bits of MSI-X in a BAR of their own, in halves of it.
void add_msix(pci::FunctionSpec& spec, u32 vectors) {
  pci::MsixSpec msix{.vectors = vectors, .table_bar = edu::kMsixBar, .pending_bar = edu::kMsixBar};
  const u64 size = std::bit_ceil(std::max(u64{kPageSize}, 2 * msix.table_size()));
  msix.pending_offset = size / 2;
  spec.bars[edu::kMsixBar] = {.kind = pci::BarKind::kMemory32, .size = size};
  spec.msix = msix;
}

// What QEMU's edu has not.
void make_express(pci::FunctionSpec& spec) {
  constexpr u64 kSerialNumber = 0x1234'11e8'0000'0001;
  spec.pm = pci::PmSpec{.state = pci::StateInD3::kLost};
  spec.pcie = pci::PcieSpec{};
  spec.extended = {pci::error_reporting(), pci::serial_number(kSerialNumber)};
}

// spec edu 1
pci::FunctionSpec function_spec() {
  pci::FunctionSpec spec{.vendor = 0x1234,
                         .device = 0x11e8,
                         .revision = 0x10,
                         .class_code = 0x00ff00,
                         .subsystem_vendor = 0x1af4,
                         .subsystem_device = 0x1100,
                         .interrupt_pin = 1,
                         .msi = pci::MsiSpec{.vectors_lg2 = 0},
                         .reset = pci::ResetKind::kFunction};
  spec.bars[0] = {.kind = pci::BarKind::kMemory32, .size = edu::kBarSize};
  return spec;
}

// What clients may map of each BAR. Sparse: the page with the registers, or where the table of MSI-X begins.
enum class Mapping : u8 { kOff, kOn, kSparse, kExact };
void make_mappable(pci::FunctionSpec& spec, Mapping mapping) {
  if (mapping == Mapping::kOff) return;
  for (pci::BarSpec& bar : spec.bars) {
    if (bar.kind == pci::BarKind::kNone) continue;
    bar.mappable = pci::Mappable::kYes;
    if (mapping == Mapping::kExact) bar.stores = pci::MappedStores::kTrapped;
    if (mapping == Mapping::kSparse) bar.areas = {{.offset = 0, .size = kPageSize}};
  }
}

Configured<Blueprint> configure(const KeyValues& given, Poller& poller) {
  const auto parameters = Parameters::parse("edu", kKeys, given);
  if (!parameters) return std::unexpected(parameters.error());
  const auto mmap = parameters->choice("mmap", kMmap);
  if (!mmap) return std::unexpected(mmap.error());
  const auto mask = parameters->number("dma_mask", 12, 64);
  if (!mask) return std::unexpected(mask.error());
  const auto delay = parameters->number("dma_delay_us", 0, kLongestDelayUs);
  if (!delay) return std::unexpected(delay.error());
  const auto quirks = parameters->choice("quirks", kQuirks);
  if (!quirks) return std::unexpected(quirks.error());

  const auto pcie = parameters->flag("pcie");
  if (!pcie) return std::unexpected(pcie.error());
  const auto vectors = parameters->number("msix", 0, pci::kMaxMsixVectors);
  if (!vectors) return std::unexpected(vectors.error());

  EduConfig config{.dma_mask_bits = static_cast<unsigned>(*mask), .dma_delay = std::chrono::microseconds(*delay)};
  if (*quirks == 1) {
    config.last_buffer_byte_usable = false;
    if (!parameters->given("dma_delay_us")) config.dma_delay = std::chrono::milliseconds(100);
  }
  pci::FunctionSpec spec = function_spec();
  if (*vectors != 0) add_msix(spec, static_cast<u32>(*vectors));
  make_mappable(spec, static_cast<Mapping>(*mmap));
  if (*pcie) make_express(spec);
  return Blueprint{std::move(spec), [config, &poller](pci::ModelPorts ports) {
                     return std::make_unique<Edu>(config, std::move(ports), poller);
                   }};
}

}  // namespace

Kind edu_kind() {
  return {.name = "edu",
          .summary = "QEMU's educational device 1234:11e8: factorial, interrupts and DMA through a 4 KiB buffer",
          .keys = kKeys,
          .configure = configure};
}

}  // namespace iommufd::models
