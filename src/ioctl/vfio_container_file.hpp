// SPDX-License-Identifier: BSD-3-Clause
// An open of /dev/vfio/vfio on a machine with native containers (spec vfio-device 18, noiommu 14). Once it has an IOMMU the
// commands that are not the container's own go to that: type1 answers them, noiommu knows none.
#pragma once

#include <functional>

#include "ioctl/file.hpp"
#include "vfio/container.hpp"

namespace iommufd::ioctl {

class VfioContainerFile final : public File {
 public:
  // The module parameter enable_unsafe_noiommu_mode, now.
  using NoiommuAllowed = std::function<bool()>;
  VfioContainerFile(iommu::Platform& platform, NoiommuAllowed noiommu_allowed)
      : container_(make_ref<vfio::Container>(platform)), noiommu_allowed_(std::move(noiommu_allowed)) {}

  Result<s64> ioctl(Call& call, u32 cmd, u64 arg) override;
  Result<u64> read(Call& call, u64 offset, UserVa buf, u64 count) override;
  Result<u64> write(Call& call, u64 offset, UserVa buf, u64 count) override;
  Result<void> mmap(Call& call, const MmapRequest& request) override;
  [[nodiscard]] const char* command_name(u32 cmd) const override;
  VfioContainerFile* as_vfio_container() override { return this; }
  // Groups that are inside keep the container.
  void release() override {}

  [[nodiscard]] const Ref<vfio::Container>& container() const { return container_; }

 private:
  Result<s64> type1_ioctl(Call& call, u32 cmd, UserVa arg);
  Result<void> get_info(Call& call, UserVa arg);
  Result<void> map_dma(Call& call, UserVa arg);
  Result<void> unmap_dma(Call& call, UserVa arg);
  Result<void> dirty_pages(Call& call, UserVa arg);

  const Ref<vfio::Container> container_;
  const NoiommuAllowed noiommu_allowed_;
};

}  // namespace iommufd::ioctl
