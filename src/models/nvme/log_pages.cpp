// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/log_pages.hpp"

#include <cstring>

#include "models/nvme/identify.hpp"

namespace iommufd::models::nvme {
namespace {

using Page = std::vector<std::byte>;

template <class T>
void put(Page& page, std::size_t offset, T value) {
  std::memcpy(page.data() + offset, &value, sizeof value);
}

// Thousands of 512 bytes, rounded up (NVMe 1.4, 5.14.1.2).
u64 data_units(u64 bytes) { return (bytes + 511'999) / 512'000; }

Page smart(const Features& features, const Statistics& statistics) {
  Page page(512);
  put(page, 0, features.too_hot_or_cold() ? u8{0x02} : u8{0});
  put(page, 1, kTemperature);
  put(page, 3, u8{100});  // spare
  put(page, 4, u8{10});   // its threshold
  put(page, 32, data_units(statistics.bytes_read));
  put(page, 48, data_units(statistics.bytes_written));
  put(page, 64, statistics.reads);
  put(page, 80, statistics.writes);
  return page;
}

Page firmware() {
  Page page(512);
  put(page, 0, u8{1});
  std::memset(page.data() + 8, ' ', 8);
  std::memcpy(page.data() + 8, kFirmware.data(), kFirmware.size());
  return page;
}

Page effects(const NvmeConfig& config) {
  constexpr u32 kSupported = 1, kChangesData = 2;
  constexpr std::size_t kIo = 1024;
  Page page(4096);
  for (const AdminOpcode op :
       {AdminOpcode::kDeleteSq, AdminOpcode::kCreateSq, AdminOpcode::kGetLogPage, AdminOpcode::kDeleteCq,
        AdminOpcode::kCreateCq, AdminOpcode::kIdentify, AdminOpcode::kAbort, AdminOpcode::kSetFeatures,
        AdminOpcode::kGetFeatures, AdminOpcode::kAsyncEvent})
    put(page, std::size_t{static_cast<u8>(op)} * 4, kSupported);
  if (config.doorbell_buffer) put(page, std::size_t{static_cast<u8>(AdminOpcode::kDoorbellBuffer)} * 4, kSupported);
  for (const IoOpcode op : {IoOpcode::kRead, IoOpcode::kCompare})
    put(page, kIo + std::size_t{static_cast<u8>(op)} * 4, kSupported);
  for (const IoOpcode op : {IoOpcode::kFlush, IoOpcode::kWrite, IoOpcode::kWriteZeroes, IoOpcode::kDatasetManagement})
    put(page, kIo + std::size_t{static_cast<u8>(op)} * 4, kSupported | kChangesData);
  return page;
}

}  // namespace

std::expected<std::vector<std::byte>, Status> log_page(const NvmeConfig& config, const Features& features,
                                                       const Statistics& statistics, const Sqe& sqe) {
  switch (static_cast<LogPage>(sqe.cdw10 & 0xff)) {
    case LogPage::kErrors: return Page(64);  // ELPE is 0: one entry, and none was ever made
    case LogPage::kSmart:
      // LPA bit 0 is 0: there is no page per namespace.
      if (sqe.nsid != 0 && sqe.nsid != kAllNamespaces) return Bad(Status::kInvalidField);
      return smart(features, statistics);
    case LogPage::kFirmware: return firmware();
    case LogPage::kChangedNamespaces: return Page(4096);  // they never change
    case LogPage::kEffects: return effects(config);
  }
  return Bad(Status::kInvalidLogPage);
}

}  // namespace iommufd::models::nvme
