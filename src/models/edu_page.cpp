// SPDX-License-Identifier: BSD-3-Clause
#include "models/edu_page.hpp"

#include <cstring>

#include "base/assert.hpp"

namespace iommufd::models {

void EduPage::attach(std::span<std::byte> memory) {
  IOMMUFD_ASSERT(memory.size() >= kPageSize);
  memory_ = memory;
  std::memset(memory_.data(), 0xff, kPageSize);
}

void EduPage::publish(const EduRegisters& regs) {
  store32(edu::kId, edu::kIdValue);
  store32(edu::kLiveness, regs.liveness);
  store32(edu::kFactorial, regs.factorial);
  store32(edu::kStatus, regs.status);
  store32(edu::kIrqStatus, regs.irq_status);
  store32(edu::kIrqRaise, 0);
  store32(edu::kIrqAck, 0);
  store64(edu::kDmaSource, regs.dma_source);
  store64(edu::kDmaDest, regs.dma_dest);
  store64(edu::kDmaCount, regs.dma_count);
  store64(edu::kDmaCommand, regs.dma_command);
}

}  // namespace iommufd::models
