// SPDX-License-Identifier: BSD-3-Clause
// `-d host,addr=BDF`: a function of this machine that no IOMMU manages.
#pragma once

#include <memory>
#include <string>

#include "host/guardian_process.hpp"
#include "models/registry.hpp"
#include "pci/bdf.hpp"
#include "pci/hardware_config.hpp"

namespace iommufd::host {

// The entry of `host` in the table of kinds of devices. It looks at the keys alone: what there is, open() finds.
models::Kind kind();
// Width of its DMA addresses, by its keys.
unsigned dma_bits(const models::KeyValues& keys);

struct RealDevice {
  models::Blueprint blueprint;
  pci::Placement placement;
  std::unique_ptr<pci::HardwareConfig> config;
  std::string account;  // RealFunction::account()
};
// Takes the function. `poller` and `guardian` outlive it. Errors: sentences.
models::Configured<RealDevice> open(const pci::Bdf& bdf, models::Poller& poller, Guardian& guardian);

}  // namespace iommufd::host
