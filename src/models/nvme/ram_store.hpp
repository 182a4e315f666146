// SPDX-License-Identifier: BSD-3-Clause
// Blocks in memory that exists where it has been written to.
#pragma once

#include "base/sys.hpp"
#include "models/nvme/store.hpp"

namespace iommufd::models::nvme {

class RamStore final : public Store {
 public:
  explicit RamStore(sys::Mapping memory) : memory_(std::move(memory)) {}

  std::span<std::byte> memory() override { return memory_.bytes(); }
  std::optional<Result<void>> start(Job& job) override;
  void submit() override {}
  std::optional<Done> collect() override { return std::nullopt; }
  void drain() override {}

 private:
  void zero(std::span<std::byte> range);
  sys::Mapping memory_;
};

}  // namespace iommufd::models::nvme
