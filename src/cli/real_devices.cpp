// SPDX-License-Identifier: BSD-3-Clause
#include "cli/real_devices.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "host/host_kind.hpp"
#include "machine/kinds.hpp"

namespace iommufd::cli {

std::expected<void, std::string> settle_real_devices(machine::MachineSpec& machine, run::Options& options,
                                                     bool phys_given) {
  const auto first = std::ranges::find_if(machine.devices, machine::is_real);
  if (first == machine.devices.end()) return {};
  const std::string name = "host,addr=" + first->address->str();
  const auto refuse = [&](std::string_view why) { return std::unexpected(fmt::format("-d {}: {}", name, why)); };
  if (machine.noiommu != machine::NoiommuMode::kOn)
    return refuse("its DMA reaches all memory of this machine; say so with --enable-unsafe-noiommu-mode");
  if (phys_given)
    return refuse("physical addresses are the real ones; leave --phys, or `phys` of the machine file, out");
  if (machine.selftest == machine::Selftest::kOn) return refuse("it does not go with --selftest");
  if (options.hugetlb.kind == run::HugetlbPolicy::Kind::kEmulate)
    return refuse("emulated huge pages are not contiguous in real memory; leave --hugetlb=emulate out");
  machine.phys = {.kind = machine::PhysSpec::Kind::kReal, .seed = {}, .base = 0, .size = {}};
  options.pin = run::PinPolicy::kFrames;
  for (const machine::DeviceSpec& device : machine.devices) {
    if (!machine::is_real(device)) continue;
    if (const unsigned bits = host::dma_bits(device.keys); bits < 64)
      options.frames_end = std::min(options.frames_end, u64{1} << bits);
  }
  return {};
}

}  // namespace iommufd::cli
