// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/device_file.hpp"

#include <utility>

#include "base/assert.hpp"
#include "base/explain.hpp"
#include "base/rollback.hpp"

namespace iommufd::vfio {

Result<std::unique_ptr<DeviceFile>> DeviceFile::open(Device& device, mem::Caller& caller,
                                                     std::unique_ptr<FileMemory> memory) {
  Device::Use use = IOMMUFD_TRY(device.use());
  if (device.is_noiommu() && !caller.capable(mem::Capability::kSysRawio)) {
    return reject(Errno::kPerm, {"capability", 17, "CAP_SYS_RAWIO is needed to open a noiommu device", "noiommu 6"});
  }
  return std::unique_ptr<DeviceFile>(new DeviceFile(device, std::move(use), std::move(memory)));
}

DeviceFile::DeviceFile(Device& device, Device::Use use, std::unique_ptr<FileMemory> memory)
    : device_(Ref<Device>(device)), use_(std::move(use)), memory_(std::move(memory)) {}

DeviceFile::~DeviceFile() = default;

Result<std::unique_ptr<DeviceFile>> DeviceFile::open_in_group(Device& device, InGroup way,
                                                              std::unique_ptr<FileMemory> memory) {
  Device::Use use = IOMMUFD_TRY(device.use());
  std::unique_ptr<DeviceFile> file(new DeviceFile(device, std::move(use), std::move(memory)));
  if (!device.claim()) return reject(Errno::kBusy, {"device", 0, "is open elsewhere", "vfio-device 18"});
  Rollback claim([&] { device.unclaim(); });
  IOMMUFD_TRY(file->start(way.context));
  Rollback started([&] {
    claim.commit();  // shut_down() does that too
    file->shut_down();
  });
  if (way.context) (void)IOMMUFD_TRY(file->core_->attach(core::kRid, way.context->compat_ioas()));
  started.commit();
  claim.commit();
  way.context = nullptr;  // the binding keeps it
  file->way_ = std::move(way);
  const MutexLock lock(file->mu_);
  file->state_ = State::kBound;
  return file;
}

bool DeviceFile::is_released() {
  const MutexLock lock(mu_);
  return released_;
}

Result<ObjectId> DeviceFile::bind(BindRequest request) {
  if (is_in_group())
    return reject(Errno::kInval, {"fd", 0, "the device was opened through its group", "vfio-device 5 row 5"});
  IOMMUFD_TRY(device_->group().begin_node_bind());
  Rollback node_bind([this] { device_->group().end_node_bind(); });
  {
    const MutexLock lock(mu_);
    if (state_ != State::kOpen) {
      return reject(Errno::kInval, {"fd", 0, "this open of the device is bound already", "vfio-device 5 row 7"});
    }
    state_ = State::kBinding;
  }
  Rollback again([this] {
    MutexLock lock(mu_);
    state_ = released_ ? State::kClosed : State::kOpen;
    if (state_ != State::kClosed) return;
    lock.unlock();
    use_.reset();
  });
  if (request.token) {
    IOMMUFD_TRY(std::move(*request.token));
    return reject(Errno::kInval, {"flags", 1, "the device has no token", "vfio-device 5 row 10"});
  }
  Ref<core::Context> ctx = IOMMUFD_TRY(std::move(request.context));
  if (!device_->claim()) {
    return reject(Errno::kInval, {"fd", 0, "another open of the device is bound", "vfio-device 5 row 13"});
  }
  Rollback claim([this] { device_->unclaim(); });
  IOMMUFD_TRY(start(std::move(ctx)));
  claim.commit();
  again.commit();
  node_bind.commit();
  node_bind_ = true;
  return core_->id();
}

Result<void> DeviceFile::start(Ref<core::Context> ctx) {
  if (ctx) core_ = IOMMUFD_TRY(core::Device::bind(std::move(ctx), device_->physical()));
  Rollback binding([this] {
    if (core_) core_->unbind();
    core_ = nullptr;
  });
  function().enable();
  Rollback enabled([this] {
    detach_bars();
    function().begin_disable();
    function().finish_disable();
  });
  IOMMUFD_TRY(attach_bars());
  device_->dma_bufs().follow_config();
  device_->set_bound(core_);
  enabled.commit();
  binding.commit();
  return {};
}

void DeviceFile::finish_bind() {
  MutexLock lock(mu_);
  IOMMUFD_ASSERT(state_ == State::kBinding);
  state_ = State::kBound;
  if (!released_) return;
  state_ = State::kClosed;  // the client died meanwhile
  lock.unlock();
  shut_down();
  use_.reset();
}

void DeviceFile::abort_bind() {
  shut_down();
  MutexLock lock(mu_);
  IOMMUFD_ASSERT(state_ == State::kBinding);
  state_ = released_ ? State::kClosed : State::kOpen;
  if (!released_) return;
  lock.unlock();
  use_.reset();
}

Result<DeviceFile::Busy> DeviceFile::enter() {
  {
    const MutexLock lock(mu_);
    if (state_ != State::kBound || released_) {
      return reject(Errno::kInval, {"fd", 0, "the device is not bound to an iommufd", "vfio-device 3"});
    }
    ++busy_;
  }
  Busy busy(*this);
  wake();
  function().poll();
  return busy;
}

void DeviceFile::leave() {
  {
    const MutexLock lock(mu_);
    if (--busy_ != 0 || !released_) return;
    state_ = State::kClosed;
  }
  shut_down();
  use_.reset();
}

// The close of a bound file is one more that is inside: the last one out shuts down.
void DeviceFile::release() {
  bool bound = false;
  {
    const MutexLock lock(mu_);
    released_ = true;
    if (state_ == State::kBinding) return;  // whoever binds shuts down
    bound = state_ == State::kBound;
    if (bound) {
      ++busy_;
    } else {
      state_ = State::kClosed;
    }
  }
  if (!bound) return use_.reset();
  device_->begin_close();
  leave();
}

Result<void> DeviceFile::attach_bars() {
  for (u32 i = 0; i < pci::kBarCount; ++i) {
    const pci::BarSpec& bar = function().spec().bars[i];
    if (bar.mappable == pci::Mappable::kNo || function().model().bar_file(i) >= 0) continue;
    bars_[i] = IOMMUFD_TRY(memory_->map(region_offset(i), bar.size));
    function().model().attach_memory(i, bars_[i].bytes());
  }
  return {};
}

void DeviceFile::detach_bars() {
  for (u32 i = 0; i < pci::kBarCount; ++i) {
    if (bars_[i].bytes().empty()) continue;
    function().model().detach_memory(i);
    bars_[i] = sys::Mapping();
  }
}

// The order of spec vfio-device 19.
void DeviceFile::shut_down() {
  function().begin_disable();
  device_->dma_bufs().close();  // nobody reaches the registers once they are reset
  detach_bars();
  device_->interrupts().teardown();
  device_->ioeventfds().teardown();
  function().finish_disable();
  power_.store(Power::kOn, std::memory_order_relaxed);
  std::optional<Eventfd> dropped;
  {
    const MutexLock lock(mu_);
    std::swap(dropped, wakeup_);
  }
  device_->set_bound(nullptr);
  if (core_) std::exchange(core_, nullptr)->unbind();
  device_->unclaim();
  if (std::exchange(node_bind_, false)) device_->group().end_node_bind();
  if (is_in_group()) way_.group->device_closed(way_.native);
}

void DeviceFile::set_power(Power power) {
  power_.store(power, std::memory_order_release);
  device_->dma_bufs().set_power(power);
}

// Any operation resumes the device. After a low-power entry with a wake-up eventfd that ends the low power; after one
// without, the device goes back as soon as the operation is over (spec vfio-device 16).
void DeviceFile::wake() {
  if (power_.load(std::memory_order_acquire) == Power::kOn) return;
  std::optional<Eventfd> wakeup;
  {
    const MutexLock lock(mu_);
    std::swap(wakeup, wakeup_);
  }
  if (!wakeup) return;
  set_power(Power::kOn);
  wakeup->signal();
}

Ref<mem::AddressSpace> DeviceFile::bar_at(u64 offset, u64 length) const {
  pci::Function& function = device_->function();
  if (!function.seen_by_peers() || !check_mmap(function, offset, length, Sharing::kShared)) return nullptr;
  const BarRange range{offset_in_region(offset), length};
  return Ref<mem::AddressSpace>(
      make_ref<BarBuffer>(function, static_cast<u32>(region_at(offset)), std::span(&range, 1)));
}

DeviceFile::Busy::~Busy() {
  if (file_ != nullptr) file_->leave();
}

Result<ObjectId> DeviceFile::Busy::attach(std::optional<core::Pasid> pasid, ObjectId pt_id) {
  const MutexLock lock(file_->attach_mu_);
  if (pasid.value_or(core::kRid) != core::kRid) return core().attach_or_replace(*pasid, pt_id);
  const RidHolder asks = pasid ? RidHolder::kPasidZero : RidHolder::kPlain;
  if (file_->rid_ == asks) return core().replace(core::kRid, pt_id);
  const ObjectId hwpt = IOMMUFD_TRY(core().attach(core::kRid, pt_id));
  file_->rid_ = asks;
  return hwpt;
}

void DeviceFile::Busy::detach(std::optional<core::Pasid> pasid) {
  const MutexLock lock(file_->attach_mu_);
  if (pasid.value_or(core::kRid) != core::kRid) return core().detach(*pasid);
  if (file_->rid_ != (pasid ? RidHolder::kPasidZero : RidHolder::kPlain)) return;
  core().detach(core::kRid);
  file_->rid_ = RidHolder::kNone;
}

Result<void> DeviceFile::Busy::read(const Window& window, std::span<std::byte> out) {
  if (window.region == kConfigRegion) {
    file_->function().config_read(static_cast<u32>(window.offset), out);
    return {};
  }
  if (file_->power_.load(std::memory_order_acquire) == Power::kLow) {
    return reject(Errno::kIo, {"power", 0, "the device is in low power", "vfio-device 9"});
  }
  if (window.region == kRomRegion) return file_->function().rom_read(window.offset, out);
  return file_->function().bar_read(window.region, window.offset, out);
}

Result<void> DeviceFile::Busy::write(const Window& window, std::span<const std::byte> in) {
  if (window.region == kConfigRegion) {
    file_->function().config_write(static_cast<u32>(window.offset), in);
    file_->device_->dma_bufs().follow_config();
    return {};
  }
  if (file_->power_.load(std::memory_order_acquire) == Power::kLow) {
    return reject(Errno::kIo, {"power", 0, "the device is in low power", "vfio-device 9"});
  }
  return file_->function().bar_write(window.region, window.offset, in);
}

Result<u32> DeviceFile::Busy::set_irqs(IrqRequest request) {
  return file_->device_->interrupts().set(std::move(request));
}

Result<void> DeviceFile::Busy::set_ioeventfd(IoeventfdRequest request) {
  return file_->device_->ioeventfds().set(std::move(request));
}

Result<void> DeviceFile::Busy::reset() {
  if (!file_->function().resettable()) {
    return reject(Errno::kInval, {"fd", 0, "the function cannot be reset alone", "vfio-device 14"});
  }
  file_->device_->reset();
  return {};
}

Result<Ref<BarBuffer>> DeviceFile::Busy::export_bar(u32 bar, std::span<const BarRange> ranges) {
  return file_->device_->dma_bufs().create(bar, ranges);
}

Result<std::vector<Dependent>> DeviceFile::Busy::hot_reset_info() {
  return file_->device_->registry().dependents(*file_->device_, context());
}

void DeviceFile::Busy::hot_reset(std::span<const Dependent> hit) { file_->device_->registry().hot_reset(hit); }

Result<void> DeviceFile::Busy::enter_low_power(std::optional<Eventfd> wakeup) {
  Power expected = Power::kOn;
  if (!file_->power_.compare_exchange_strong(expected, Power::kLow, std::memory_order_acq_rel)) {
    return reject(Errno::kInval, {"flags", 0, "the device is in low power already", "vfio-device 16"});
  }
  file_->device_->dma_bufs().set_power(Power::kLow);
  const MutexLock lock(file_->mu_);
  std::swap(file_->wakeup_, wakeup);
  return {};
}

void DeviceFile::Busy::exit_low_power() {
  std::optional<Eventfd> dropped;
  file_->set_power(Power::kOn);
  const MutexLock lock(file_->mu_);
  std::swap(file_->wakeup_, dropped);
}

}  // namespace iommufd::vfio
