// SPDX-License-Identifier: BSD-3-Clause
// What a context looks like at one moment, for observers: its IOASes, devices and HWPTs with copies of their tables. Each
// table is consistent in itself; the context as a whole goes on while it is looked at.
//
// A snapshot uses no object: IOMMU_DESTROY never answers EBUSY because of it. Map and unmap of an IOAS wait while its
// tables are copied; DMA does not.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/types.hpp"
#include "iommu/instance.hpp"
#include "iommu/iotlb.hpp"
#include "pt/snapshot.hpp"

namespace iommufd::core {

class Context;

struct AttachedDevice {
  u32 id = 0;
  std::string name;                             // BDF
  u32 pasid = 0;                                // 0: the RID
  std::optional<iommu::IotlbCounters> iotlb{};  // of the device; nothing when it has no IOTLB, or none for the PASID
};

struct DeviceSnapshot {
  u32 id = 0;
  std::string name;   // BDF
  std::string iommu;  // name of the IOMMU behind it; empty: noiommu
  iommu::Kind kind = iommu::Kind::kNone;
};

struct HwptSnapshot {
  u32 id = 0;
  u32 ioas = 0;
  bool automatic = false;
  std::string iommu;
  iommu::Kind kind = iommu::Kind::kNone;
  iommu::DirtyTracking tracking = iommu::DirtyTracking::kUnsupported;
  IovaRange aperture;
  std::vector<AttachedDevice> devices;
  pt::Snapshot table;
};

struct ContextSnapshot {
  std::vector<u32> ioases;
  std::vector<DeviceSnapshot> devices;
  std::vector<HwptSnapshot> hwpts;
};

using Deadline = std::chrono::steady_clock::time_point;

// Told of the ends in a context, before they happen, with no lock held. Must not fail and outlives the context.
class ContextWatcher {
 public:
  // A device is about to leave its HWPTs.
  virtual void before_detach(Context& context) = 0;
  // A HWPT is about to be destroyed (when nobody uses it).
  virtual void before_destroy(Context& context, ObjectId hwpt) = 0;
  // The context is about to end, with all that is in it.
  virtual void before_end(Context& context) = 0;

 protected:
  ~ContextWatcher() = default;
};

}  // namespace iommufd::core
