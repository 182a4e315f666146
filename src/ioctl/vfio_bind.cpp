// SPDX-License-Identifier: BSD-3-Clause
// BIND_IOMMUFD, ATTACH_IOMMUFD_PT, DETACH_IOMMUFD_PT (spec vfio-device 5 and 6).
#include <optional>
#include <utility>

#include "abi/vfio.hpp"
#include "base/explain.hpp"
#include "ioctl/iommu_file.hpp"
#include "ioctl/vfio_argument.hpp"
#include "ioctl/vfio_device_file.hpp"

namespace iommufd::ioctl {
namespace {

// Rows 11 and 12.
Result<Ref<core::Context>> find_iommufd(Call& call, s32 fd) {
  const Ref<File> file = IOMMUFD_TRY(call.resolve(fd));
  IommuFile* iommufd = file ? file->as_iommu() : nullptr;
  if (iommufd == nullptr) {
    return reject(Errno::kBadFd,
                  {"iommufd", static_cast<u64>(fd), "must be an open of /dev/iommu", "vfio-device 5 row 12"});
  }
  return iommufd->context();
}

Result<vfio::Uuid> read_token(Call& call, u64 at) {
  vfio::Uuid token{};
  IOMMUFD_TRY(call.memory()->read(UserVa{at}, token));
  return token;
}

Err unknown_flags(u32 flags) {
  return reject(Errno::kInval, {"flags", flags, "has an unknown bit", "vfio-device 5, 6"});
}

// Of an attach or a detach, copied in up to its minimum: the PASID, or nothing when the flags name none.
template <class T>
Result<std::optional<core::Pasid>> read_pasid(ArgumentBytes& bytes, const T& cmd) {
  if ((cmd.flags & ~T::kPasid) != 0) return unknown_flags(cmd.flags);
  if ((cmd.flags & T::kPasid) == 0) return std::nullopt;
  if (cmd.argsz < sizeof cmd) return reject(Errno::kInval, {"argsz", cmd.argsz, "must hold pasid", "vfio-device 6"});
  const T whole = IOMMUFD_TRY(copy_in<T>(bytes, sizeof cmd));
  return whole.pasid;
}

}  // namespace

Result<void> VfioDeviceFile::bind(Call& call, UserVa arg) {
  ArgumentBytes bytes(call, arg, sizeof(abi::VfioBindIommufd));
  const u32 argsz = IOMMUFD_TRY(bytes.size());
  if (argsz < abi::VfioBindIommufd::kMinSize) {
    return reject(Errno::kInval, {"argsz", argsz, "is below the minimum", "vfio-device 5 row 2"});
  }
  abi::VfioBindIommufd cmd = IOMMUFD_TRY(copy_in<abi::VfioBindIommufd>(bytes, argsz));
  if (cmd.iommufd < 0) {
    return reject(Errno::kInval,
                  {"iommufd", static_cast<u64>(cmd.iommufd), "must be a descriptor", "vfio-device 5 row 4"});
  }
  if ((cmd.flags & ~cmd.kToken) != 0) return unknown_flags(cmd.flags);

  vfio::BindRequest request;
  if ((cmd.flags & cmd.kToken) != 0) request.token = read_token(call, cmd.token_uuid_ptr);
  request.context = find_iommufd(call, cmd.iommufd);
  await_close(call, file_->device());
  cmd.out_devid = std::to_underlying(IOMMUFD_TRY(file_->bind(std::move(request))));

  const Result<void> told = call.memory()->write(advance(arg, offsetof(abi::VfioBindIommufd, out_devid)),
                                                 std::as_bytes(std::span(&cmd.out_devid, 1)));
  if (told) {
    file_->finish_bind();
  } else {
    file_->abort_bind();
  }
  return told;
}

Result<void> VfioDeviceFile::attach(Call& call, Busy& device, UserVa arg) {
  ArgumentBytes bytes(call, arg, sizeof(abi::VfioAttachIommufdPt));
  abi::VfioAttachIommufdPt cmd = IOMMUFD_TRY(copy_in_minimum<abi::VfioAttachIommufdPt>(bytes, "vfio-device 6"));
  const std::optional<core::Pasid> pasid = IOMMUFD_TRY(read_pasid(bytes, cmd));
  cmd.pt_id = std::to_underlying(IOMMUFD_TRY(device.attach(pasid, ObjectId{cmd.pt_id})));
  const Result<void> told = call.memory()->write(advance(arg, offsetof(abi::VfioAttachIommufdPt, pt_id)),
                                                 std::as_bytes(std::span(&cmd.pt_id, 1)));
  if (!told) device.detach(std::nullopt);  // the main attachment, whatever was attached
  return told;
}

Result<void> VfioDeviceFile::detach(Call& call, Busy& device, UserVa arg) {
  ArgumentBytes bytes(call, arg, sizeof(abi::VfioDetachIommufdPt));
  const auto cmd = IOMMUFD_TRY(copy_in_minimum<abi::VfioDetachIommufdPt>(bytes, "vfio-device 6"));
  const std::optional<core::Pasid> pasid = IOMMUFD_TRY(read_pasid(bytes, cmd));
  device.detach(pasid);
  return {};
}

}  // namespace iommufd::ioctl
