// SPDX-License-Identifier: BSD-3-Clause
// A device that is bound to a context (spec iommufd-core 5; noiommu.md 7-9): the DEVICE object and the operations that
// VFIO drives: bind, attach, replace, detach, unbind. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/types.hpp"
#include "core/object.hpp"

namespace iommufd::iommu {
class Instance;
class DevicePort;
}  // namespace iommufd::iommu

namespace iommufd::core {

class Context;
class Group;
class HwptPaging;

// PASID 0 stands for the RID (no PASID).
using Pasid = u32;
inline constexpr Pasid kRid = 0;

// The driver of the IOMMU, for a device that has a say in what it is attached to.
class AttachHook {
 public:
  // The device is to use `hwpt` at `pasid` from now on; null: nothing, which must not fail. An error leaves things as they
  // were. Called with locks held: asks nothing of the engine.
  virtual Result<void> set_hwpt(Pasid pasid, HwptPaging* hwpt) = 0;

 protected:
  ~AttachHook() = default;
};

// A device of the machine, as the engine sees it. Owned by the machine; outlives every binding.
struct PhysicalDevice {
  std::string name;                   // BDF, for messages
  iommu::Instance* iommu = nullptr;   // the IOMMU that manages it; null: none does
  iommu::DevicePort* port = nullptr;  // where its DMA enters; null: it does none
  u32 group_id = 0;                   // IOMMU group; meaningful only behind an IOMMU
  std::vector<IovaRange> reserved;    // reserved regions of the device, e.g. the MSI window
  AttachHook* hook = nullptr;         // may be null
  u8 pasid_bits = 0;                  // width of its PASIDs, as GET_HW_INFO says it
  u32 max_pasids = 0;                 // PASIDs must be below; 0: the device has none, and nobody checks (spec 5.5)
  bool dirty_tracking_off = false;    // although its IOMMU could

  // The one predicate (noiommu.md 2): no IOMMU manages the device, whatever groups may exist.
  [[nodiscard]] bool is_noiommu() const { return iommu == nullptr; }
  // Its IOMMU can record what it writes.
  [[nodiscard]] bool can_track_dirty() const;
};

// Who binds a device: a driver, whose binding keeps the context alive, or an object of the context itself, which unbinds
// when it is torn down.
enum class Binder : u8 { kDriver, kContext };

class Device final : public Object {
 public:
  static constexpr ObjectType kType = ObjectType::kDevice;

  // Binds `device` to `ctx` and publishes the DEVICE object; it stays until unbind(). Errors: kPerm (group owned by another context), kNoMem, kBusy (ids used up).
  static Result<Ref<Device>> bind(Ref<Context> ctx, PhysicalDevice& device, Binder binder = Binder::kDriver);

  // Attaches to the IOAS or HWPT `pt_id`, or replaces when already attached at `pasid`: what VFIO_DEVICE_ATTACH does.
  // Returns the id of the HWPT used. Errors: spec iommufd-core 5.4 to 5.7.
  Result<ObjectId> attach_or_replace(Pasid pasid, ObjectId pt_id);
  // Either of both, whatever is attached.
  Result<ObjectId> attach(Pasid pasid, ObjectId pt_id);
  Result<ObjectId> replace(Pasid pasid, ObjectId pt_id);
  // Nothing attached: nothing happens. Never fails.
  void detach(Pasid pasid);
  // Detaches everything, ends the DEVICE object and drops the context. The Device is dead afterwards.
  void unbind();

  [[nodiscard]] PhysicalDevice& physical() const { return physical_; }
  [[nodiscard]] Context& context() const { return ctx_; }
  [[nodiscard]] bool is_attached(Pasid pasid);

  [[nodiscard]] Group& group() const { return *group_; }

 private:
  enum class Change : u8 { kAttach, kReplace };
  Device(Context& ctx, PhysicalDevice& device);
  ~Device() override;
  void teardown() override;

  Result<ObjectId> change(Change how, Pasid pasid, ObjectId pt_id);

  Context& ctx_;
  Ref<Context> keep_;  // Binder::kDriver
  PhysicalDevice& physical_;
  Ref<Group> group_;
  Use<Device> binder_;  // keeps user space from destroying the object while it is bound
};

}  // namespace iommufd::core
