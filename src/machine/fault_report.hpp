// SPDX-License-Identifier: BSD-3-Clause
// Aborted DMA on stderr, in the shape of the lines that people grep kernel logs for (clients.md, "Logs"):
//   DMAR: [DMA Write NO_PASID] Request device [01:00.0] fault addr 0x1000 [fault reason 0x05] PTE Write access is not set
// The kernel's rate limit: at most ten lines in five seconds; what was left out is counted and said. Thread-safe.
#pragma once

#include <chrono>
#include <string>

#include "base/sync.hpp"
#include "iommu/dma_fault.hpp"

namespace iommufd::machine {

class FaultReport final : public iommu::FaultObserver {
 public:
  void dma_fault(const iommu::DmaFault& fault) override IOMMUFD_EXCLUDES(mu_);

  // The line for a fault, without a newline.
  static std::string line(const iommu::DmaFault& fault);

 private:
  static constexpr unsigned kBurst = 10;
  static constexpr std::chrono::seconds kInterval{5};

  Mutex mu_{LockRank::kReport};
  std::chrono::steady_clock::time_point since_ IOMMUFD_GUARDED_BY(mu_){};
  unsigned printed_ IOMMUFD_GUARDED_BY(mu_) = 0;
  u64 left_out_ IOMMUFD_GUARDED_BY(mu_) = 0;
};

}  // namespace iommufd::machine
