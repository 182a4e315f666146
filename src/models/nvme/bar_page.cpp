// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/bar_page.hpp"

namespace iommufd::models::nvme {

void BarPage::silence_doorbells() {
  for (u64 offset = kDoorbells; offset < kMsixTable; offset += 8)
    word<u64>(offset).store(~u64{0}, std::memory_order_release);
}

void BarPage::publish(const Registers& regs) {
  repair_constants();
  store32(reg::kIntms, regs.intms);
  store32(reg::kIntmc, 0);
  store32(reg::kCc, regs.cc);
  store32(reg::kNssr, 0);
  store32(reg::kAqa, regs.aqa);
  word<u64>(reg::kAsq).store(regs.asq, std::memory_order_release);
  word<u64>(reg::kAcq).store(regs.acq, std::memory_order_release);
  store32(reg::kCsts, regs.csts);
}

void BarPage::repair_constants() {
  if (load64(reg::kCap) != kCapValue) word<u64>(reg::kCap).store(kCapValue, std::memory_order_release);
  if (load32(reg::kVersion) != kVersionValue) store32(reg::kVersion, kVersionValue);
}

}  // namespace iommufd::models::nvme
