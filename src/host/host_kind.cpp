// SPDX-License-Identifier: BSD-3-Clause
#include "host/host_kind.hpp"

#include <array>

#include "host/inventory.hpp"
#include "host/real_function.hpp"
#include "host/real_model.hpp"

namespace iommufd::host {
namespace {

using models::Blueprint;
using models::Configured;

constexpr std::array kKeys{
    models::Key{"dma_bits", "12..64", "64", "width of its DMA addresses: memory above is refused, not truncated"},
};

Configured<void> find(Blueprint& blueprint, const pci::Bdf& bdf, models::Poller& poller) {
  if (const auto function = usable(bdf); !function) return std::unexpected(models::ConfigError{function.error()});
  auto opened = RealFunction::open(bdf);
  if (!opened) return std::unexpected(models::ConfigError{opened.error()});
  std::shared_ptr<RealFunction> function = std::move(*opened);
  blueprint.spec = function->spec();
  blueprint.real->placement = function->placement();
  blueprint.real->config = function->take_config();
  blueprint.make = [function, &poller](pci::ModelPorts ports) {
    return std::make_unique<RealModel>(function, std::move(ports), poller);
  };
  return {};
}

Configured<Blueprint> configure(const models::KeyValues& given, models::Poller&) {
  const auto parameters = models::Parameters::parse("host", kKeys, given);
  if (!parameters) return std::unexpected(parameters.error());
  const auto bits = parameters->number("dma_bits", kPageShift, 64);
  if (!bits) return std::unexpected(bits.error());
  Blueprint blueprint;
  blueprint.real = std::make_shared<models::RealPart>();
  blueprint.real->dma_bits = static_cast<unsigned>(*bits);
  blueprint.real->find = find;
  return blueprint;
}

}  // namespace

models::Kind kind() {
  return {.name = "host",
          .summary = "a PCI function of this machine that no IOMMU manages (root; see docs/host.md)",
          .keys = kKeys,
          .configure = configure};
}

}  // namespace iommufd::host
