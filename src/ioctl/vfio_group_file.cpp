// SPDX-License-Identifier: BSD-3-Clause
#include "ioctl/vfio_group_file.hpp"

#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include "abi/vfio_type1.hpp"
#include "ioctl/iommu_file.hpp"
#include "ioctl/vfio_argument.hpp"
#include "ioctl/vfio_container_file.hpp"

namespace iommufd::ioctl {
namespace {

using abi::VfioGroupCommand;

constexpr const char* kSection = "vfio-device 18";

// What GET_DEVICE_FD takes: a BDF and options, "KEY=VALUE" words. Only VFs and their PFs have tokens.
Result<std::string> read_name(Call& call, UserVa arg) {
  std::array<char, kPageSize> text;
  const std::size_t n = IOMMUFD_TRY(call.memory()->read_some(arg, std::as_writable_bytes(std::span(text))));
  const void* end = std::memchr(text.data(), 0, n);
  if (end == nullptr) {
    if (n < text.size()) return Err(Errno::kFault);
    return reject(Errno::kInval, {"name", 0, "is longer than a page", kSection});
  }
  return std::string(text.data());
}

Result<std::string_view> bdf_of(std::string_view text) {
  const std::string_view bdf = text.substr(0, text.find(' '));
  std::string_view rest = text.substr(bdf.size());
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const std::string_view word = rest.substr(0, rest.find(' '));
    rest.remove_prefix(word.size());
    if (word.empty()) continue;
    return reject(
        Errno::kInval,
        {"name", 0, word.starts_with("vf_token=") ? "the device has no token" : "has an unknown option behind the BDF",
         kSection});
  }
  return bdf;
}

}  // namespace

Result<Ref<File>> VfioGroupFile::open(Call& call, Ref<vfio::Group> group, NoiommuOpened noiommu_opened) {
  if (group->is_used()) call.await_killed();
  IOMMUFD_TRY(group->open(call));
  return Ref<File>(Ref<VfioGroupFile>::adopt(new VfioGroupFile(std::move(group), std::move(noiommu_opened))));
}

void VfioGroupFile::release() {
  std::map<const vfio::Device*, Ref<VfioDeviceFile>> devices;  // dropped without the lock
  {
    const MutexLock lock(mu_);
    devices.swap(devices_);
  }
  group_->close();
}

Result<s64> VfioGroupFile::ioctl(Call& call, u32 cmd, u64 arg) {
  switch (static_cast<VfioGroupCommand>(cmd)) {
    case VfioGroupCommand::kGetStatus: return zero(get_status(call, UserVa{arg}));
    case VfioGroupCommand::kSetContainer: return zero(set_container(call, UserVa{arg}));
    case VfioGroupCommand::kUnsetContainer: return zero(group_->unset_container());
    case VfioGroupCommand::kGetDeviceFd: return get_device_fd(call, UserVa{arg});
  }
  return reject(Errno::kNoTty, {"cmd", cmd, "is no command of a group", kSection});
}

Result<void> VfioGroupFile::get_status(Call& call, UserVa arg) {
  using Status = abi::VfioGroupStatus;
  ArgumentBytes bytes(call, arg, sizeof(Status));
  Status cmd = IOMMUFD_TRY(copy_in_minimum<Status>(bytes, kSection));
  const vfio::Group::Status now = IOMMUFD_TRY(group_->status());
  cmd.flags = (now.viable ? Status::kViable : 0) | (now.container_set ? Status::kContainerSet : 0);
  return copy_out(call, arg, cmd);
}

Result<void> VfioGroupFile::set_container(Call& call, UserVa arg) {
  s32 fd = 0;
  IOMMUFD_TRY(call.memory()->read(arg, std::as_writable_bytes(std::span(&fd, 1))));
  const Ref<File> file = IOMMUFD_TRY(call.resolve(fd));
  if (VfioContainerFile* native = file ? file->as_vfio_container() : nullptr)
    return group_->set_container(native->container(), call);
  if (IommuFile* iommufd = file ? file->as_iommu() : nullptr) return group_->set_container(iommufd->context());
  if (IOMMUFD_TRY(group_->status()).container_set)
    return reject(Errno::kInval, {"container", 0, "the group has one already", kSection});
  return reject(Errno::kBadFd, {"fd", static_cast<u64>(fd), "must be a container or an open of /dev/iommu", kSection});
}

// One device has one open file: asked again, it gives another descriptor of that, so that both show the same BARs.
Result<s64> VfioGroupFile::get_device_fd(Call& call, UserVa arg) {
  const std::string name = IOMMUFD_TRY(read_name(call, arg));
  const Ref<vfio::Device> found = IOMMUFD_TRY(group_->find(IOMMUFD_TRY(bdf_of(name))));
  vfio::Device& device = *found;
  IOMMUFD_TRY(group_->check_open(call));
  await_close(call, device);
  Ref<VfioDeviceFile> open;
  {
    const MutexLock lock(mu_);
    if (const auto at = devices_.find(&device); at != devices_.end()) open = at->second;
  }
  if (open && !open->is_released()) return IOMMUFD_TRY(call.install_again(*open, CloseOnExec::kYes));
  const auto make = [&](std::unique_ptr<vfio::FileMemory> memory) -> Result<Ref<File>> {
    Ref<VfioDeviceFile> file = IOMMUFD_TRY(open_vfio_device(call, *group_, device, std::move(memory)));
    const MutexLock lock(mu_);
    devices_.insert_or_assign(&device, file);
    return Ref<File>(std::move(file));
  };
  const int fd = IOMMUFD_TRY(call.install_mapped(make, "anon_inode:[vfio-device]", CloseOnExec::kYes));
  if (device.is_noiommu()) noiommu_opened_(device, call.describe());
  return fd;
}

Result<u64> VfioGroupFile::read(Call&, u64, UserVa, u64) { return Err(Errno::kInval); }
Result<u64> VfioGroupFile::write(Call&, u64, UserVa, u64) { return Err(Errno::kInval); }
Result<void> VfioGroupFile::mmap(Call&, const MmapRequest&) { return Err(Errno::kNoDev); }

const char* VfioGroupFile::command_name(u32 cmd) const {
  switch (static_cast<VfioGroupCommand>(cmd)) {
    case VfioGroupCommand::kGetStatus: return "VFIO_GROUP_GET_STATUS";
    case VfioGroupCommand::kSetContainer: return "VFIO_GROUP_SET_CONTAINER";
    case VfioGroupCommand::kUnsetContainer: return "VFIO_GROUP_UNSET_CONTAINER";
    case VfioGroupCommand::kGetDeviceFd: return "VFIO_GROUP_GET_DEVICE_FD";
  }
  return nullptr;
}

}  // namespace iommufd::ioctl
