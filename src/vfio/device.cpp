// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/device.hpp"

#include <fmt/format.h>

#include <utility>

#include "base/assert.hpp"
#include "base/explain.hpp"
#include "vfio/registry.hpp"

namespace iommufd::vfio {

Device::Device(u32 index, const Parts& parts, Ref<Group> group, Registry& registry)
    : index_(index),
      is_noiommu_(parts.physical.is_noiommu()),
      name_(fmt::format("{}vfio{}", is_noiommu_ ? "noiommu-" : "", index)),
      parts_(parts),
      group_(std::move(group)),
      registry_(registry) {}

Device::~Device() = default;

Result<Device::Use> Device::use() {
  const MutexLock lock(mu_);
  if (leaving_) return reject(Errno::kNoDev, {"device", index_, "is being unregistered", "vfio-device 4"});
  ++uses_;
  return Use(Ref<Device>(*this));
}

Device::Use::~Use() {
  if (!device_) return;
  const MutexLock lock(device_->mu_);
  if (--device_->uses_ == 0) device_->unused_.notify_all();
}

void Device::begin_leaving() {
  const MutexLock lock(mu_);
  leaving_ = true;
}

bool Device::wait_unused(std::chrono::milliseconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  const MutexLock lock(mu_);
  while (uses_ != 0) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left.count() <= 0) return false;
    (void)unused_.wait_for(mu_, left);
  }
  return true;
}

bool Device::claim() {
  const MutexLock lock(mu_);
  if (claim_ != Claim::kNone) return false;
  claim_ = Claim::kHeld;
  return true;
}

bool Device::is_claimed() {
  const MutexLock lock(mu_);
  return claim_ != Claim::kNone;
}

void Device::unclaim() {
  const MutexLock lock(mu_);
  claim_ = Claim::kNone;
  closed_.notify_all();
}

void Device::begin_close() {
  const MutexLock lock(mu_);
  IOMMUFD_ASSERT(claim_ != Claim::kNone);
  claim_ = Claim::kClosing;
}

void Device::await_close() {
  const MutexLock lock(mu_);
  while (claim_ == Claim::kClosing) closed_.wait(mu_);
}

void Device::reset() {
  parts_.dma_bufs.begin_reset();
  parts_.function.reset();
  parts_.dma_bufs.end_reset();
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
