// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/features.hpp"

#include <algorithm>

namespace iommufd::models::nvme {
namespace {

using Fid = Bits<7, 0>;              // CDW10 of both commands
using Select = Bits<10, 8>;          // CDW10 of Get: current, default, saved, capabilities
using Save = Bits<31, 31>;           // CDW10 of Set
using ThresholdValue = Bits<15, 0>;  // CDW11
using ThresholdSensor = Bits<19, 16>;
using ThresholdKind = Bits<21, 20>;  // 0 over, 1 under
using Vector = Bits<15, 0>;
using CoalescingDisabled = Bits<16, 16>;
using ExtendedHostId = Bits<0, 0>;

constexpr u32 kDefaultOver = 343, kDefaultUnder = 0;
constexpr u32 kChangeable = 1 << 2, kPerNamespace = 1 << 1;  // answer to SEL 3

constexpr bool known(u32 id) {
  switch (static_cast<FeatureId>(id)) {
    case FeatureId::kArbitration:
    case FeatureId::kPowerManagement:
    case FeatureId::kTemperatureThreshold:
    case FeatureId::kErrorRecovery:
    case FeatureId::kWriteCache:
    case FeatureId::kQueueCount:
    case FeatureId::kCoalescing:
    case FeatureId::kVectorConfig:
    case FeatureId::kWriteAtomicity:
    case FeatureId::kAsyncEvents:
    case FeatureId::kKeepAlive:
    case FeatureId::kHostBehaviour:
    case FeatureId::kHostIdentifier: return true;
  }
  return false;
}

constexpr u32 default_word(FeatureId id) {
  if (id == FeatureId::kArbitration) return 7;  // burst without limit
  if (id == FeatureId::kWriteCache) return 1;
  return 0;
}

}  // namespace

void Features::reset() {
  for (std::size_t i = 0; i < values_.size(); ++i) values_[i] = default_word(static_cast<FeatureId>(i));
  over_ = kDefaultOver;
  under_ = kDefaultUnder;
  sqs_ = cqs_ = config_.io_queues;
  queues_fixed_ = false;
  coalescing_disabled_.fill(false);
  host_behaviour_.fill(std::byte{0});
  host_identifier_.fill(std::byte{0});
}

std::span<std::byte> Features::payload(const Sqe& sqe) {
  switch (static_cast<FeatureId>(Fid::get(sqe.cdw10))) {
    case FeatureId::kHostBehaviour: return host_behaviour_;
    case FeatureId::kHostIdentifier:
      return std::span(host_identifier_).first(ExtendedHostId::get(sqe.cdw11) != 0 ? 16 : 8);
    default: return {};
  }
}

std::expected<u32, Status> Features::set(const Sqe& sqe) {
  const u32 number = static_cast<u32>(Fid::get(sqe.cdw10));
  if (!known(number)) return Bad(Status::kInvalidField);
  const auto id = static_cast<FeatureId>(number);
  if (Save::get(sqe.cdw10) != 0) return Bad(Status::kNotSaveable);
  const bool specific = sqe.nsid != 0 && sqe.nsid != kAllNamespaces;
  if (specific && sqe.nsid > config_.namespaces) return Bad(Status::kInvalidNamespace);
  // QEMU's block driver sets the write cache of its namespace (spec nvme 6).
  const bool lenient = id == FeatureId::kErrorRecovery || id == FeatureId::kWriteCache;
  if (specific && !lenient) return Bad(Status::kNotNamespaceSpecific);
  switch (id) {
    case FeatureId::kPowerManagement:
      if ((sqe.cdw11 & 0x1f) != 0) return Bad(Status::kInvalidField);
      return u32{0};
    case FeatureId::kTemperatureThreshold: return set_threshold(sqe.cdw11);
    case FeatureId::kQueueCount: return set_queue_count(sqe.cdw11);
    case FeatureId::kVectorConfig: {
      const auto vector = Vector::get(sqe.cdw11);
      if (vector >= config_.vectors()) return Bad(Status::kInvalidField);
      coalescing_disabled_[vector] = CoalescingDisabled::get(sqe.cdw11) != 0;
      return u32{0};
    }
    case FeatureId::kWriteCache: values_[index(id)] = sqe.cdw11 & 1; return u32{0};
    case FeatureId::kHostBehaviour:
    case FeatureId::kHostIdentifier: return u32{0};
    default: values_[index(id)] = sqe.cdw11; return u32{0};
  }
}

std::expected<u32, Status> Features::set_threshold(u32 cdw11) {
  const auto kind = ThresholdKind::get(cdw11);
  const auto sensor = ThresholdSensor::get(cdw11);
  if (kind > 1) return Bad(Status::kInvalidField);
  if (sensor != 0 && sensor != 0xf) return u32{0};  // there is only the composite temperature
  (kind == 0 ? over_ : under_) = static_cast<u32>(ThresholdValue::get(cdw11));
  return u32{0};
}

std::expected<u32, Status> Features::set_queue_count(u32 cdw11) {
  const u32 sqs = cdw11 & 0xffff, cqs = cdw11 >> 16;
  if (sqs == 0xffff || cqs == 0xffff) return Bad(Status::kInvalidField);
  if (queues_fixed_) return Bad(Status::kCommandSequence);
  sqs_ = std::min(sqs + 1, config_.io_queues);
  cqs_ = std::min(cqs + 1, config_.io_queues);
  return (sqs_ - 1) | (cqs_ - 1) << 16;
}

std::expected<u32, Status> Features::value(FeatureId id, u32 cdw11) const {
  switch (id) {
    case FeatureId::kTemperatureThreshold:
      if (ThresholdKind::get(cdw11) > 1) return Bad(Status::kInvalidField);
      if (ThresholdSensor::get(cdw11) != 0) return u32{0};
      return ThresholdKind::get(cdw11) == 0 ? over_ : under_;
    case FeatureId::kQueueCount: return (sqs_ - 1) | (cqs_ - 1) << 16;
    case FeatureId::kVectorConfig: {
      const auto vector = Vector::get(cdw11);
      if (vector >= config_.vectors()) return Bad(Status::kInvalidField);
      return static_cast<u32>(vector | CoalescingDisabled::put(coalescing_disabled_[vector] ? 1 : 0));
    }
    case FeatureId::kHostBehaviour:
    case FeatureId::kHostIdentifier: return u32{0};
    default: return values_[index(id)];
  }
}

std::expected<u32, Status> Features::get(const Sqe& sqe) const {
  enum Selected : u32 { kCurrent, kDefault, kSaved, kCapabilities };
  const u32 number = static_cast<u32>(Fid::get(sqe.cdw10));
  if (!known(number)) return Bad(Status::kInvalidField);
  const auto id = static_cast<FeatureId>(number);
  switch (Select::get(sqe.cdw10)) {
    case kCurrent: return value(id, sqe.cdw11);
    case kDefault:
    case kSaved: return Features(config_).value(id, sqe.cdw11);
    case kCapabilities: return kChangeable | (id == FeatureId::kErrorRecovery ? kPerNamespace : 0);
    default: return Bad(Status::kInvalidField);
  }
}

}  // namespace iommufd::models::nvme
