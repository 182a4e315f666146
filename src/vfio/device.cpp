// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/device.hpp"

#include <fmt/format.h>

#include <utility>

#include "vfio/registry.hpp"

namespace iommufd::vfio {

Device::Device(u32 index, pci::Function& function, core::PhysicalDevice& physical, Group& group, Registry& registry)
    : index_(index),
      is_noiommu_(physical.is_noiommu()),
      name_(fmt::format("{}vfio{}", is_noiommu_ ? "noiommu-" : "", index)),
      function_(function),
      physical_(physical),
      group_(group),
      registry_(registry),
      interrupts_(function, registry.watcher()),
      ioeventfds_(function, registry.watcher()),
      dma_bufs_(function) {
  function_.connect(interrupts_);
}

void Device::reset() {
  dma_bufs_.begin_reset();
  function_.reset();
  dma_bufs_.end_reset();
}

void Device::set_bound(Ref<core::Device> bound) {
  const MutexLock lock(mu_);
  std::swap(bound_, bound);
}

Ref<core::Device> Device::bound() {
  const MutexLock lock(mu_);
  return bound_;
}

}  // namespace iommufd::vfio
