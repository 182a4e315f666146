// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/identify.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "models/nvme/async_events.hpp"
#include "models/nvme/features.hpp"

namespace iommufd::models::nvme {
namespace {

enum Cns : u8 {
  kNamespace = 0x00,
  kController = 0x01,
  kActiveList = 0x02,
  kDescriptors = 0x03,
  kCommandSetNamespace = 0x05,
  kCommandSetController = 0x06,
};

template <class T>
void put(IdentifyData& out, std::size_t offset, T value) {
  std::memcpy(out.data() + offset, &value, sizeof value);
}

// ASCII, padded with spaces.
void put_text(IdentifyData& out, std::size_t offset, std::size_t width, std::string_view text) {
  std::memset(out.data() + offset, ' ', width);
  std::memcpy(out.data() + offset, text.data(), std::min(width, text.size()));
}

// A UUID of version 8 that serial number and namespace decide. FNV-1a, twice.
std::array<u8, 16> uuid_of(std::string_view serial, u32 nsid) {
  const std::string text = fmt::format("iommufd-user nvme {} {}", serial, nsid);
  std::array<u8, 16> uuid{};
  u64 hash = 0xcbf2'9ce4'8422'2325;
  for (std::size_t half = 0; half < 2; ++half) {
    for (const char c : text) hash = (hash ^ static_cast<u8>(c)) * 0x100'0000'01b3;
    std::memcpy(uuid.data() + half * 8, &hash, 8);
  }
  uuid[6] = static_cast<u8>((uuid[6] & 0x0f) | 0x80);
  uuid[8] = static_cast<u8>((uuid[8] & 0x3f) | 0x80);
  return uuid;
}

std::string qualified_name(std::string_view serial) {
  const std::array<u8, 16> u = uuid_of(serial, 0);
  std::string name = "nqn.2014-08.org.nvmexpress:uuid:";
  for (std::size_t i = 0; i < u.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) name += '-';
    name += fmt::format("{:02x}", u[i]);
  }
  return name;
}

// Offsets, values and who reads them: spec nvme 5, "Controller data".
void controller(const NvmeConfig& config, IdentifyData& out) {
  put(out, 0, kPciVendor);
  put(out, 2, kPciSubsystemVendor);
  put_text(out, 4, 20, config.serial);
  put_text(out, 24, 40, "iommufd-user NVMe controller");
  put_text(out, 64, 8, kFirmware);
  put(out, 72, u8{6});                                          // RAB
  put(out, 77, static_cast<u8>(kMdtsLg2));                      // MDTS
  put(out, 78, u16{1});                                         // CNTLID
  put(out, 80, kVersionValue);                                  // VER
  put(out, 111, u8{1});                                         // CNTRLTYPE: I/O
  put(out, 256, config.doorbell_buffer ? u16{0x100} : u16{0});  // OACS
  put(out, 258, u8{3});                                         // ACL
  put(out, 259, static_cast<u8>(kMostAers - 1));                // AERL
  put(out, 260, u8{0x03});                                      // FRMW: one slot, read-only
  put(out, 261, u8{0x06});                                      // LPA: effects, extended data
  put(out, 266, u16{343});                                      // WCTEMP
  put(out, 268, u16{373});                                      // CCTEMP
  put(out, 512, u8{0x66});                                      // SQES
  put(out, 513, u8{0x44});                                      // CQES
  put(out, 516, config.namespaces);                             // NN
  put(out, 520, u16{0x0d});                                     // ONCS: compare, dataset management, write zeroes
  put(out, 525, u8{0x07});                                      // VWC: present, flush of all namespaces
  // SGLS: any alignment, bit buckets.
  put(out, 536, config.sgl ? u32{0x0001'0001} : u32{0});
  const std::string name = qualified_name(config.serial);
  std::memcpy(out.data() + 768, name.data(), name.size());
  put(out, 2048, u16{0x09c4});  // PSD0: maximum power, entry and exit latency
  put(out, 2052, u32{16});
  put(out, 2056, u32{4});
}

void name_space(const NvmeConfig& config, IdentifyData& out) {
  put(out, 0, config.blocks());                                              // NSZE
  put(out, 8, config.blocks());                                              // NCAP
  put(out, 16, config.blocks());                                             // NUSE
  put(out, 33, u8{0x09});                                                    // DLFEAT: zeros, also by Write Zeroes
  put(out, 99, config.protection == Protection::kReadOnly ? u8{1} : u8{0});  // NSATTR: write protected
  put(out, 128, static_cast<u32>(config.block_lg2) << 16);                   // LBAF 0: no metadata
}

void descriptors(const NvmeConfig& config, u32 nsid, IdentifyData& out) {
  constexpr u8 kUuid = 3, kCsi = 4;
  put(out, 0, kUuid);
  put(out, 1, u8{16});
  put(out, 4, uuid_of(config.serial, nsid));
  put(out, 20, kCsi);
  put(out, 21, u8{1});
  put(out, 24, u8{0});  // the NVM command set
}

bool active(const NvmeConfig& config, u32 nsid) { return nsid != 0 && nsid <= config.namespaces; }

}  // namespace

Step identify(const NvmeConfig& config, const Sqe& sqe, IdentifyData& out) {
  const u8 csi = static_cast<u8>(sqe.cdw11 >> 24);
  switch (sqe.cdw10 & 0xff) {
    case kNamespace:
      if (!active(config, sqe.nsid)) return Bad(Status::kInvalidNamespace);
      name_space(config, out);
      return {};
    case kController: controller(config, out); return {};
    case kActiveList: {
      if (sqe.nsid >= kAllNamespaces - 1) return Bad(Status::kInvalidNamespace);
      constexpr u32 kMost = 1024;
      for (u32 i = 0; i < kMost && sqe.nsid + 1 + i <= config.namespaces; ++i)
        put(out, std::size_t{i} * 4, sqe.nsid + 1 + i);
      return {};
    }
    case kDescriptors:
      if (!active(config, sqe.nsid)) return Bad(Status::kInvalidNamespace);
      descriptors(config, sqe.nsid, out);
      return {};
    // What there is beyond the structures above is all zeros for the NVM command set.
    case kCommandSetNamespace:
      if (csi != 0) return Bad(Status::kInvalidField);
      if (!active(config, sqe.nsid)) return Bad(Status::kInvalidNamespace);
      return {};
    case kCommandSetController:
      if (csi != 0) return Bad(Status::kInvalidField);
      return {};
    default: return Bad(Status::kInvalidField);
  }
}

}  // namespace iommufd::models::nvme
