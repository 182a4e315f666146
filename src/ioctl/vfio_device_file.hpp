// SPDX-License-Identifier: BSD-3-Clause
// An open of /dev/vfio/devices/NAME: decodes system calls into typed calls of vfio::DeviceFile. Which errno, and in
// which order checks run, is ABI: each handler's order is that of its section in spec vfio-device. The handlers are in
// vfio_bind.cpp (5, 6), vfio_info.cpp (7, 8, 12), vfio_irqs.cpp (13, 15), vfio_reset.cpp (14), vfio_feature.cpp and
// vfio_dma_buf.cpp (16).
#pragma once

#include <memory>

#include "ioctl/arguments.hpp"
#include "ioctl/file.hpp"
#include "vfio/device_file.hpp"

namespace iommufd::ioctl {

class VfioDeviceFile final : public File {
 public:
  explicit VfioDeviceFile(std::unique_ptr<vfio::DeviceFile> file) : file_(std::move(file)) {}

  Result<s64> ioctl(Call& call, u32 cmd, u64 arg) override;
  Result<u64> read(Call& call, u64 offset, UserVa buf, u64 count) override;
  Result<u64> write(Call& call, u64 offset, UserVa buf, u64 count) override;
  Result<void> mmap(Call& call, const MmapRequest& request) override;
  [[nodiscard]] bool traps_stores(u64 offset) const override;
  void store(u64 offset, std::span<const std::byte> bytes) override;
  void look_at_stores() override;
  [[nodiscard]] OtherFile mapped_file(u64 offset) const override;
  void release() override { file_->release(); }
  [[nodiscard]] const char* command_name(u32 cmd) const override;
  [[nodiscard]] const pci::Function& function() const { return file_->function(); }
  [[nodiscard]] bool is_released() const { return file_->is_released(); }
  VfioDeviceFile* as_vfio_device() override { return this; }
  // The part of a BAR that is at this offset of the file; null: there is none.
  [[nodiscard]] Ref<mem::AddressSpace> bar_at(u64 offset, u64 length) const { return file_->bar_at(offset, length); }

 private:
  using Busy = vfio::DeviceFile::Busy;

  Result<void> bind(Call& call, UserVa arg);
  Result<void> attach(Call& call, Busy& device, UserVa arg);
  Result<void> detach(Call& call, Busy& device, UserVa arg);
  Result<void> get_info(Call& call, UserVa arg);
  Result<void> get_region_info(Call& call, UserVa arg);
  Result<void> get_irq_info(Call& call, UserVa arg);
  // As Interrupts::set().
  Result<u32> set_irqs(Call& call, Busy& device, UserVa arg);
  Result<void> set_ioeventfd(Call& call, Busy& device, UserVa arg);
  Result<void> get_hot_reset_info(Call& call, Busy& device, UserVa arg);
  Result<void> hot_reset(Call& call, Busy& device, UserVa arg);
  Result<s64> feature(Call& call, Busy& device, UserVa arg);
  // The value is the descriptor. `at`: the feature's data.
  Result<s64> export_dma_buf(Call& call, Busy& device, UserVa at);

  const std::unique_ptr<vfio::DeviceFile> file_;
};

// Before a device is claimed: waits until whoever has it and was killed, or has closed it, is out.
void await_close(Call& call, vfio::Device& device);

// GET_DEVICE_FD of a group: errors of vfio::Group::open_device().
Result<Ref<VfioDeviceFile>> open_vfio_device(Call& call, vfio::Group& group, vfio::Device& device,
                                             std::unique_ptr<vfio::FileMemory> memory);

// The open() of a node: errors of vfio::DeviceFile::open().
Result<Ref<File>> open_vfio_device(Call& call, vfio::Device& device, std::unique_ptr<vfio::FileMemory> memory);

}  // namespace iommufd::ioctl
