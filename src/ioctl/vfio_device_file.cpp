// SPDX-License-Identifier: BSD-3-Clause
#include "ioctl/vfio_device_file.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <array>

#include "abi/vfio.hpp"
#include "base/explain.hpp"
#include "ioctl/vfio_argument.hpp"

namespace iommufd::ioctl {
namespace {

// Regions are read and written in pieces, so that a large count needs no large buffer.
constexpr u64 kPiece = 4096;

}  // namespace

Result<s64> VfioDeviceFile::ioctl(Call& call, u32 cmd, u64 arg) {
  const UserVa at{arg};
  const auto command = static_cast<abi::VfioCommand>(cmd);
  if (command == abi::VfioCommand::kBindIommufd) return zero(bind(call, at));

  Busy device = IOMMUFD_TRY(file_->enter());
  const bool attaches = command == abi::VfioCommand::kAttachIommufdPt || command == abi::VfioCommand::kDetachIommufdPt;
  if (attaches && file_->is_in_group())
    return reject(Errno::kNoTty, {"fd", 0, "the device was opened through its group", "vfio-device 6"});
  switch (command) {
    case abi::VfioCommand::kAttachIommufdPt: return zero(attach(call, device, at));
    case abi::VfioCommand::kDetachIommufdPt: return zero(detach(call, device, at));
    case abi::VfioCommand::kGetInfo: return zero(get_info(call, at));
    case abi::VfioCommand::kGetRegionInfo: return zero(get_region_info(call, at));
    case abi::VfioCommand::kGetIrqInfo: return zero(get_irq_info(call, at));
    case abi::VfioCommand::kSetIrqs: return s64 { IOMMUFD_TRY(set_irqs(call, device, at))
      };
    case abi::VfioCommand::kReset: return zero(device.reset());
    case abi::VfioCommand::kGetPciHotResetInfo: return zero(get_hot_reset_info(call, device, at));
    case abi::VfioCommand::kPciHotReset: return zero(hot_reset(call, device, at));
    case abi::VfioCommand::kIoeventfd: return zero(set_ioeventfd(call, device, at));
    case abi::VfioCommand::kFeature: return feature(call, device, at);
    case abi::VfioCommand::kBindIommufd: break;
  }
  return reject(Errno::kNoTty, {"cmd", cmd, "is no command of a VFIO device", "vfio-device 2"});
}

// A read that faults half-way has had its effects on the device, as on the real file.
Result<u64> VfioDeviceFile::read(Call& call, u64 offset, UserVa buf, u64 count) {
  Busy device = IOMMUFD_TRY(file_->enter());
  if (count == 0) return 0;
  const vfio::Window window = IOMMUFD_TRY(vfio::locate(file_->function(), offset, count, vfio::Direction::kRead));
  const Ref<mem::AddressSpace> memory = call.memory();
  std::array<std::byte, kPiece> bytes;
  for (u64 done = 0; done < window.count;) {
    const auto piece = std::span(bytes).first(std::min(kPiece, window.count - done));
    IOMMUFD_TRY(device.read({window.region, window.offset + done, piece.size()}, piece));
    IOMMUFD_TRY(memory->write(advance(buf, done), piece));
    done += piece.size();
  }
  return window.count;
}

// What could be read of the caller's buffer is written before a fault in it is answered.
Result<u64> VfioDeviceFile::write(Call& call, u64 offset, UserVa buf, u64 count) {
  Busy device = IOMMUFD_TRY(file_->enter());
  if (count == 0) return 0;
  const vfio::Window window = IOMMUFD_TRY(vfio::locate(file_->function(), offset, count, vfio::Direction::kWrite));
  const Ref<mem::AddressSpace> memory = call.memory();
  std::array<std::byte, kPiece> bytes;
  for (u64 done = 0; done < window.count;) {
    const auto want = std::span(bytes).first(std::min(kPiece, window.count - done));
    const auto piece = want.first(memory->read_some(advance(buf, done), want).value_or(0));
    IOMMUFD_TRY(device.write({window.region, window.offset + done, piece.size()}, piece));
    if (piece.size() < want.size()) return Err(Errno::kFault);
    done += piece.size();
  }
  return window.count;
}

Result<void> VfioDeviceFile::mmap(Call&, const MmapRequest& request) {
  const Busy device = IOMMUFD_TRY(file_->enter());
  const int type = request.flags & MAP_TYPE;
  const bool shared = type == MAP_SHARED || type == MAP_SHARED_VALIDATE;
  return vfio::check_mmap(file_->function(), request.offset, request.length,
                          shared ? vfio::Sharing::kShared : vfio::Sharing::kPrivate);
}

bool VfioDeviceFile::traps_stores(u64 offset) const { return vfio::traps_stores(file_->function(), offset); }

// What a device that does not decode, or sleeps, is given, is lost.
void VfioDeviceFile::store(u64 offset, std::span<const std::byte> bytes) {
  Result<Busy> device = file_->enter();
  if (!device) return;
  const auto window = vfio::locate(file_->function(), offset, bytes.size(), vfio::Direction::kWrite);
  if (window) (void)device->write(*window, bytes.first(window->count));
}

void VfioDeviceFile::look_at_stores() { (void)file_->enter(); }

// A BAR of real hardware.
File::OtherFile VfioDeviceFile::mapped_file(u64 offset) const {
  const u64 region = vfio::region_at(offset);
  if (region >= pci::kBarCount) return {};
  return {file_->function().model().bar_file(static_cast<u32>(region)), vfio::offset_in_region(offset)};
}

void await_close(Call& call, vfio::Device& device) {
  if (!device.is_claimed() && !device.group().is_used()) return;
  call.await_killed();
  device.await_close();
}

Result<Ref<VfioDeviceFile>> open_vfio_device(Call& call, vfio::Group& group, vfio::Device& device,
                                             std::unique_ptr<vfio::FileMemory> memory) {
  return make_ref<VfioDeviceFile>(IOMMUFD_TRY(group.open_device(device, call, std::move(memory))));
}

Result<Ref<File>> open_vfio_device(Call& call, vfio::Device& device, std::unique_ptr<vfio::FileMemory> memory) {
  return Ref<File>(make_ref<VfioDeviceFile>(IOMMUFD_TRY(vfio::DeviceFile::open(device, call, std::move(memory)))));
}

const char* VfioDeviceFile::command_name(u32 cmd) const {
  switch (static_cast<abi::VfioCommand>(cmd)) {
    case abi::VfioCommand::kGetInfo: return "VFIO_DEVICE_GET_INFO";
    case abi::VfioCommand::kGetRegionInfo: return "VFIO_DEVICE_GET_REGION_INFO";
    case abi::VfioCommand::kGetIrqInfo: return "VFIO_DEVICE_GET_IRQ_INFO";
    case abi::VfioCommand::kSetIrqs: return "VFIO_DEVICE_SET_IRQS";
    case abi::VfioCommand::kReset: return "VFIO_DEVICE_RESET";
    case abi::VfioCommand::kGetPciHotResetInfo: return "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO";
    case abi::VfioCommand::kPciHotReset: return "VFIO_DEVICE_PCI_HOT_RESET";
    case abi::VfioCommand::kIoeventfd: return "VFIO_DEVICE_IOEVENTFD";
    case abi::VfioCommand::kFeature: return "VFIO_DEVICE_FEATURE";
    case abi::VfioCommand::kBindIommufd: return "VFIO_DEVICE_BIND_IOMMUFD";
    case abi::VfioCommand::kAttachIommufdPt: return "VFIO_DEVICE_ATTACH_IOMMUFD_PT";
    case abi::VfioCommand::kDetachIommufdPt: return "VFIO_DEVICE_DETACH_IOMMUFD_PT";
  }
  return nullptr;
}

}  // namespace iommufd::ioctl
