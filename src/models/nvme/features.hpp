// SPDX-License-Identifier: BSD-3-Clause
// Features and their values (NVMe 1.4, 5.21; spec nvme 6). Nothing is saveable.
#pragma once

#include <array>
#include <expected>
#include <span>

#include "models/nvme/config.hpp"
#include "models/nvme/status.hpp"
#include "models/nvme/wire.hpp"

namespace iommufd::models::nvme {

enum class FeatureId : u8 {
  kArbitration = 0x01,
  kPowerManagement = 0x02,
  kTemperatureThreshold = 0x04,
  kErrorRecovery = 0x05,
  kWriteCache = 0x06,
  kQueueCount = 0x07,
  kCoalescing = 0x08,
  kVectorConfig = 0x09,
  kWriteAtomicity = 0x0a,
  kAsyncEvents = 0x0b,
  kKeepAlive = 0x0f,
  kHostBehaviour = 0x16,
  kHostIdentifier = 0x81,
};

inline constexpr u16 kTemperature = 323;  // Kelvin; it never changes

class Features {
 public:
  explicit Features(const NvmeConfig& config) : config_(config) { reset(); }
  void reset();

  // DW0 of the completion. What a payload feature holds moves separately: payload().
  std::expected<u32, Status> set(const Sqe& sqe);
  std::expected<u32, Status> get(const Sqe& sqe) const;
  // The bytes that the host transfers with this feature; empty for most.
  std::span<std::byte> payload(const Sqe& sqe);

  // From now on the number of queues is fixed.
  void queue_created() { queues_fixed_ = true; }
  [[nodiscard]] u32 sq_limit() const { return sqs_; }
  [[nodiscard]] u32 cq_limit() const { return cqs_; }
  [[nodiscard]] bool write_cache() const { return values_[index(FeatureId::kWriteCache)] & 1; }
  // Is the temperature outside its thresholds? That is bit 1 of the critical warnings.
  [[nodiscard]] bool too_hot_or_cold() const { return kTemperature >= over_ || kTemperature <= under_; }
  // Is bit `warning` of the critical warnings to be reported as an event?
  [[nodiscard]] bool reports_warning(unsigned warning) const {
    return (values_[index(FeatureId::kAsyncEvents)] >> warning & 1) != 0;
  }

 private:
  static constexpr std::size_t index(FeatureId id) { return static_cast<std::size_t>(id); }
  std::expected<u32, Status> set_threshold(u32 cdw11);
  std::expected<u32, Status> set_queue_count(u32 cdw11);
  [[nodiscard]] std::expected<u32, Status> value(FeatureId id, u32 cdw11) const;

  const NvmeConfig& config_;
  std::array<u32, 16> values_{};  // of features that are one word
  u32 over_ = 0, under_ = 0;
  u32 sqs_ = 0, cqs_ = 0;
  bool queues_fixed_ = false;
  std::array<bool, kMaxIoQueues + 1> coalescing_disabled_{};
  std::array<std::byte, 512> host_behaviour_{};
  std::array<std::byte, 16> host_identifier_{};
};

}  // namespace iommufd::models::nvme
