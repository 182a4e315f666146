// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/group.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/assert.hpp"
#include "base/explain.hpp"
#include "vfio/device_file.hpp"

namespace iommufd::vfio {
namespace {

constexpr const char* kSection = "vfio-device 18";

Result<void> check_rawio(bool has) {
  if (has) return {};
  return reject(Errno::kPerm, {"capability", static_cast<u64>(mem::Capability::kSysRawio),
                               "a group without an IOMMU needs CAP_SYS_RAWIO (see --caps)", "noiommu 14"});
}

}  // namespace

// Asked for before locks are taken: the answer may need some of the carrier's.
bool Group::may_use(mem::Caller& caller) const { return !is_noiommu() || caller.capable(mem::Capability::kSysRawio); }

Group::Group(u32 id, u32 minor, std::vector<core::PhysicalDevice*> functions)
    : id_(id),
      minor_(minor),
      functions_(std::move(functions)),
      noiommu_(functions_.front()->is_noiommu()),
      iommu_(functions_.front()->iommu),
      name_(fmt::format("{}{}", noiommu_ ? "noiommu-" : "", id)) {}

Group::~Group() = default;

void Group::add(Device& device) {
  const MutexLock lock(mu_);
  devices_.push_back(&device);
}

bool Group::remove(const Device& device) {
  AnyContainer left;
  const MutexLock lock(mu_);
  const auto at = std::ranges::find(devices_, &device);
  IOMMUFD_ASSERT(at != devices_.end());
  devices_.erase(at);
  if (!devices_.empty()) return false;
  left = leave_locked();
  return true;
}

Result<void> Group::check_present_locked() const {
  if (devices_.empty()) return reject(Errno::kNoDev, {"group", id_, "its last device is gone", kSection});
  return {};
}

Result<void> Group::begin_node_bind() {
  const MutexLock lock(mu_);
  if (open_) return reject(Errno::kBusy, {"group", id_, "the group's node is open", "vfio-device 5 row 6"});
  ++node_binds_;
  return {};
}

void Group::end_node_bind() {
  const MutexLock lock(mu_);
  --node_binds_;
}

bool Group::is_used() {
  const MutexLock lock(mu_);
  return open_ || node_binds_ != 0;
}

Result<void> Group::open(mem::Caller& caller) {
  const bool rawio = may_use(caller);
  const MutexLock lock(mu_);
  IOMMUFD_TRY(check_present_locked());
  IOMMUFD_TRY(check_rawio(rawio));
  if (node_binds_ != 0)
    return reject(Errno::kBusy, {"group", id_, "a device of the group is bound by its own node", "noiommu 14"});
  if (open_) return reject(Errno::kBusy, {"group", id_, "is open already", kSection});
  open_ = true;
  has_descriptor_ = true;
  return {};
}

Group::AnyContainer Group::leave_locked() {
  if (const auto* native = std::get_if<Ref<Container>>(&container_)) (*native)->remove(*this);
  return std::exchange(container_, std::monostate{});
}

void Group::close() {
  AnyContainer left;
  const MutexLock lock(mu_);
  has_descriptor_ = false;
  if (native_devices_ != 0) return;  // the last of them closes the group
  left = leave_locked();
  open_ = false;
}

void Group::device_closed(bool native) {
  if (!native) return;
  AnyContainer left;
  const MutexLock lock(mu_);
  if (--native_devices_ != 0 || has_descriptor_) return;
  left = leave_locked();
  open_ = false;
}

// Viable: nobody else has the DMA of the group, so that a container could.
Result<Group::Status> Group::status() {
  const MutexLock lock(mu_);
  IOMMUFD_TRY(check_present_locked());
  if (has_container_locked()) return Status{true, true};
  return Status{is_noiommu() || !iommu_->is_group_owned(id_), false};
}

Result<void> Group::set_container(Ref<Container> container, mem::Caller& caller) {
  const bool rawio = may_use(caller);
  const MutexLock lock(mu_);
  if (has_container_locked()) return reject(Errno::kInval, {"container", 0, "the group has one already", kSection});
  IOMMUFD_TRY(check_present_locked());
  IOMMUFD_TRY(check_rawio(rawio));
  IOMMUFD_TRY(container->add(*this));
  container_ = std::move(container);
  return {};
}

Result<void> Group::set_container(Ref<core::Context> iommufd) {
  const MutexLock lock(mu_);
  if (has_container_locked()) return reject(Errno::kInval, {"container", 0, "the group has one already", kSection});
  IOMMUFD_TRY(check_present_locked());
  IOMMUFD_TRY(iommufd->enter_container(is_noiommu() ? core::ContainerKind::kNoiommu : core::ContainerKind::kType1));
  container_ = std::move(iommufd);
  return {};
}

Result<void> Group::unset_container() {
  AnyContainer left;
  const MutexLock lock(mu_);
  if (!has_container_locked()) return reject(Errno::kInval, {"container", 0, "the group has none", kSection});
  if (native_devices_ != 0) return reject(Errno::kBusy, {"devices", native_devices_, "are open", kSection});
  left = leave_locked();
  return {};
}

Result<Ref<Device>> Group::find(std::string_view bdf) {
  const MutexLock lock(mu_);
  const auto at = std::ranges::find(devices_, bdf, [](const Device* d) { return d->function().bdf().str(); });
  if (at == devices_.end()) return reject(Errno::kNoDev, {"name", 0, "is no device of this group", kSection});
  return Ref<Device>(**at);
}

Result<void> Group::check_open_locked(bool rawio) {
  if (!has_container_locked()) return reject(Errno::kInval, {"container", 0, "the group has none", kSection});
  IOMMUFD_TRY(check_rawio(rawio));
  if (const auto* native = std::get_if<Ref<Container>>(&container_)) {
    if ((*native)->iommu() == ContainerIommu::kNone)
      return reject(Errno::kInval, {"container", 0, "has no IOMMU yet (VFIO_SET_IOMMU)", kSection});
    return {};
  }
  if (is_noiommu() && std::get<Ref<core::Context>>(container_)->compat_ioas() != ObjectId{})
    return reject(Errno::kPerm, {"compat_ioas", 0, "a group without an IOMMU goes with none", "noiommu 14"});
  return {};
}

Result<void> Group::check_open(mem::Caller& caller) {
  const bool rawio = may_use(caller);
  const MutexLock lock(mu_);
  return check_open_locked(rawio);
}

Result<std::unique_ptr<DeviceFile>> Group::open_device(Device& device, mem::Caller& caller,
                                                       std::unique_ptr<FileMemory> memory) {
  const bool rawio = may_use(caller);
  const MutexLock lock(mu_);
  IOMMUFD_TRY(check_open_locked(rawio));
  const auto* iommufd = std::get_if<Ref<core::Context>>(&container_);
  DeviceFile::InGroup way{this, iommufd == nullptr, nullptr};
  if (iommufd != nullptr && !is_noiommu()) way.context = *iommufd;
  std::unique_ptr<DeviceFile> file = IOMMUFD_TRY(DeviceFile::open_in_group(device, std::move(way), std::move(memory)));
  if (iommufd == nullptr) ++native_devices_;
  return file;
}

}  // namespace iommufd::vfio
