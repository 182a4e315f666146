// SPDX-License-Identifier: BSD-3-Clause
// An open of /dev/vfio/N or /dev/vfio/noiommu-N (spec vfio-device 18, noiommu 14).
#pragma once

#include <functional>
#include <map>

#include "ioctl/file.hpp"
#include "ioctl/vfio_device_file.hpp"
#include "vfio/group.hpp"

namespace iommufd::ioctl {

class VfioGroupFile final : public File {
 public:
  // Told of every device without an IOMMU that is opened, and by whom.
  using NoiommuOpened = std::function<void(const vfio::Device& device, const std::string& caller)>;
  // Errors: those of vfio::Group::open().
  static Result<Ref<File>> open(Call& call, Ref<vfio::Group> group, NoiommuOpened noiommu_opened);

  Result<s64> ioctl(Call& call, u32 cmd, u64 arg) override;
  Result<u64> read(Call& call, u64 offset, UserVa buf, u64 count) override;
  Result<u64> write(Call& call, u64 offset, UserVa buf, u64 count) override;
  Result<void> mmap(Call& call, const MmapRequest& request) override;
  [[nodiscard]] const char* command_name(u32 cmd) const override;
  VfioGroupFile* as_vfio_group() override { return this; }
  void release() override;

  [[nodiscard]] vfio::Group& group() const { return *group_; }

 private:
  VfioGroupFile(Ref<vfio::Group> group, NoiommuOpened noiommu_opened)
      : group_(std::move(group)), noiommu_opened_(std::move(noiommu_opened)) {}
  Result<void> get_status(Call& call, UserVa arg);
  Result<void> set_container(Call& call, UserVa arg);
  Result<s64> get_device_fd(Call& call, UserVa arg) IOMMUFD_EXCLUDES(mu_);

  const Ref<vfio::Group> group_;
  const NoiommuOpened noiommu_opened_;
  Mutex mu_{LockRank::kLeaf};
  // Those that were opened through this file; some are closed by now.
  std::map<const vfio::Device*, Ref<VfioDeviceFile>> devices_ IOMMUFD_GUARDED_BY(mu_);
};

}  // namespace iommufd::ioctl
