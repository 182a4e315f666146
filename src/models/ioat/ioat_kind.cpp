// SPDX-License-Identifier: BSD-3-Clause
#include "models/ioat/ioat_kind.hpp"

#include <array>
#include <memory>

#include "models/ioat/ioat.hpp"

namespace iommufd::models::ioat {
namespace {

constexpr std::array kKeys{
    Key{"mmap", "on|off", "on",
        "let clients map BAR 0, and poll its registers; off: every access is trapped and exact"},
    Key{"exact", "on|off", "off",
        "with mmap=on: each store into the mapped BAR is trapped, not polled; for drivers that do not wait for the "
        "device"},
    Key{"xfercap", "LG2", "20", "most bytes of one descriptor, as a power of two: 12 to 30"},
    Key{"version", "3.2|3.3", "3.3", "what CBVER says"},
    Key{"on_fault", "ignore|halt", "ignore",
        "when memory of a transfer cannot be reached: ignore: the descriptor is done without its data; halt: as "
        "hardware does"},
};
constexpr std::array<std::string_view, 2> kVersions{"3.2", "3.3"};
constexpr std::array<std::string_view, 2> kOnFault{"ignore", "halt"};

// spec ioat 1. What hardware has for errors in config space reads 0 here, and clears nothing.
pci::FunctionSpec function_spec(pci::Mappable mappable, pci::MappedStores stores) {
  pci::FunctionSpec spec{.vendor = 0x8086,
                         .device = 0x2021,
                         .revision = 0x04,
                         .class_code = 0x088000,
                         .subsystem_vendor = 0x8086,
                         .subsystem_device = 0x0000,
                         .interrupt_pin = 1,
                         .reset = pci::ResetKind::kFunction};
  spec.bars[0] = {.kind = pci::BarKind::kMemory64, .size = kBarSize, .mappable = mappable, .stores = stores};
  spec.msix = pci::MsixSpec{.vectors = 1, .table_offset = kMsixTable, .pending_offset = kMsixPending, .at = 0x80};
  spec.pm = pci::PmSpec{.state = pci::StateInD3::kLost, .at = 0xe0};
  spec.pcie = pci::PcieSpec{.at = 0x90};
  constexpr u16 kUncorrectable = 0x148, kChannelError = 0x180, kChannelErrorMask = 0x184;
  spec.registers = {{.offset = kUncorrectable, .clearing = ~u32{0}},
                    {.offset = kChannelError, .clearing = ~u32{0}},
                    {.offset = kChannelErrorMask, .writable = ~u32{0}}};
  return spec;
}

Configured<Blueprint> configure(const KeyValues& given, Poller& poller) {
  const auto parameters = Parameters::parse("ioat", kKeys, given);
  if (!parameters) return std::unexpected(parameters.error());
  const auto mmap = parameters->flag("mmap");
  if (!mmap) return std::unexpected(mmap.error());
  const auto exact = parameters->flag("exact");
  if (!exact) return std::unexpected(exact.error());
  if (*exact && !*mmap)
    return std::unexpected(ConfigError{"ioat: exact=on is for a BAR that is mapped; with mmap=off it is exact"});
  const auto cap = parameters->number("xfercap", 12, 30);
  if (!cap) return std::unexpected(cap.error());
  const auto version = parameters->choice("version", kVersions);
  if (!version) return std::unexpected(version.error());
  const auto on_fault = parameters->choice("on_fault", kOnFault);
  if (!on_fault) return std::unexpected(on_fault.error());
  const Config config{.transfer_cap_lg2 = static_cast<unsigned>(*cap),
                      .version = static_cast<u8>(*version == 0 ? 0x32 : 0x33),
                      .on_fault = *on_fault == 0 ? OnFault::kIgnore : OnFault::kHalt,
                      .stores = *exact ? pci::MappedStores::kTrapped : pci::MappedStores::kPolled};
  return Blueprint{
      function_spec(*mmap ? pci::Mappable::kYes : pci::Mappable::kNo, config.stores),
      [config, &poller](pci::ModelPorts ports) { return std::make_unique<Ioat>(config, std::move(ports), poller); }};
}

}  // namespace

Kind kind() {
  return {.name = "ioat",
          .summary = "Intel I/OAT (CBDMA) 8086:2021: a DMA engine that copies and fills",
          .keys = kKeys,
          .configure = configure};
}

}  // namespace iommufd::models::ioat
