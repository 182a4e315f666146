// SPDX-License-Identifier: BSD-3-Clause
// An open of /dev/iommu (spec iommufd-core 1): dispatches commands to the handlers in iommu_*.cpp, and those of a VFIO
// container to iommu_vfio_compat*.cpp.
#pragma once

#include <string>

#include "core/context.hpp"
#include "ioctl/file.hpp"

namespace iommufd::selftest {
class World;
}  // namespace iommufd::selftest

namespace iommufd::ioctl {

class IommuFile final : public File {
 public:
  // With a `world` the test ABI is there too (IOMMU_TEST_CMD); it outlives the file.
  // `mode` is kProcess for an open of /dev/vfio/vfio (spec iommufd-core 4.4).
  explicit IommuFile(iommu::Platform& platform, selftest::World* world = nullptr,
                     core::LimitMode mode = core::LimitMode::kUser)
      : ctx_(make_ref<core::Context>(platform, mode)), world_(world) {}

  Result<s64> ioctl(Call& call, u32 cmd, u64 arg) override;
  // read() and write() have no implementation here: kInval.
  Result<u64> read(Call& call, u64 offset, UserVa buf, u64 count) override;
  Result<u64> write(Call& call, u64 offset, UserVa buf, u64 count) override;
  Result<void> mmap(Call& call, const MmapRequest& request) override;
  // The context ends with its last reference: bound devices keep it, with every object in it (spec 1.11).
  void release() override {}
  IommuFile* as_iommu() override { return this; }
  [[nodiscard]] const char* command_name(u32 cmd) const override;

  [[nodiscard]] const Ref<core::Context>& context() const { return ctx_; }

 private:
  const Ref<core::Context> ctx_;
  selftest::World* const world_;  // null: no test ABI
};

}  // namespace iommufd::ioctl
