// SPDX-License-Identifier: BSD-3-Clause
#include "host/host_kind.hpp"

#include <array>

#include "host/real_function.hpp"
#include "host/real_model.hpp"

namespace iommufd::host {
namespace {

using models::Blueprint;
using models::Configured;

constexpr std::array kKeys{
    models::Key{"dma_bits", "12..64", "64", "width of its DMA addresses: memory above is refused, not truncated"},
};

Configured<unsigned> parse(const models::KeyValues& given) {
  const auto parameters = models::Parameters::parse("host", kKeys, given);
  if (!parameters) return std::unexpected(parameters.error());
  const auto bits = parameters->number("dma_bits", kPageShift, 64);
  if (!bits) return std::unexpected(bits.error());
  return static_cast<unsigned>(*bits);
}

Configured<Blueprint> configure(const models::KeyValues& given, models::Poller&) {
  if (const auto good = parse(given); !good) return std::unexpected(good.error());
  return Blueprint{};
}

}  // namespace

models::Kind kind() {
  return {.name = "host",
          .summary = "a PCI function of this machine that no IOMMU manages (root; see docs/host.md)",
          .keys = kKeys,
          .configure = configure};
}

unsigned dma_bits(const models::KeyValues& keys) { return parse(keys).value_or(64); }

Configured<RealDevice> open(const pci::Bdf& bdf, models::Poller& poller, Guardian& guardian) {
  auto opened = RealFunction::open(bdf, guardian);
  if (!opened) return std::unexpected(models::ConfigError{opened.error()});
  const std::shared_ptr<RealFunction> function = std::move(*opened);
  RealDevice device;
  device.blueprint.spec = function->spec();
  device.blueprint.make = [function, &poller](pci::ModelPorts ports) {
    return std::make_unique<RealModel>(function, std::move(ports), poller);
  };
  device.placement = function->placement();
  device.config = function->take_config();
  device.account = function->account();
  return device;
}

}  // namespace iommufd::host
