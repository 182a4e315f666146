// SPDX-License-Identifier: BSD-3-Clause
// One open of a VFIO device (spec vfio-device 3 to 19), by its own node or through its group. Of the former, before BIND every
// operation but BIND is kInval; BIND makes the device this file's own until the file is closed; there is no unbind. The
// latter is its group's from the start, and neither binds nor attaches.
//
// Life: kOpen -> kBinding -> kBound -> kClosed. Operations run as a Busy; the close waits for none of them: the last
// one out shuts the device down. So after release() of an idle file no DMA of the device touches memory. Who wants the device
// meanwhile can wait for that (Device::await_close()).
//
// Lock order: mu_ (kVfioDevice) guards the state and is held for nothing else; attach_mu_ (kVfioDevice) lets one attach or
// detach into the engine at a time.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "core/context.hpp"
#include "core/device.hpp"
#include "mem/caller.hpp"
#include "vfio/device.hpp"
#include "vfio/file_memory.hpp"
#include "vfio/regions.hpp"
#include "vfio/registry.hpp"

namespace iommufd::vfio {

using Uuid = std::array<std::byte, 16>;

// What BIND asks for. What could not be fetched is an error that counts when its turn comes.
struct BindRequest {
  std::optional<Result<Uuid>> token;  // with the TOKEN flag
  Result<Ref<core::Context>> context = Err(Errno::kBadf);
};

class DeviceFile {
 public:
  // Errors: kNoDev (it is being unregistered), kPerm (a noiommu device without CAP_SYS_RAWIO, noiommu 6). `memory` is what the client may map.
  static Result<std::unique_ptr<DeviceFile>> open(Device& device, mem::Caller& caller,
                                                  std::unique_ptr<FileMemory> memory);
  // By Group::open_device(). Errors: kNoDev (it is being unregistered), kBusy (open elsewhere), those of a bind and of an attach to the compat IOAS.
  struct InGroup {
    Group* group = nullptr;
    bool native = false;         // the container; otherwise it is an iommufd
    Ref<core::Context> context;  // to bind to; null: the DMA is not this device's business
  };
  static Result<std::unique_ptr<DeviceFile>> open_in_group(Device& device, InGroup way,
                                                           std::unique_ptr<FileMemory> memory);
  ~DeviceFile();
  DeviceFile(const DeviceFile&) = delete;
  DeviceFile& operator=(const DeviceFile&) = delete;

  // BIND in two halves, since its answer is copied out before anybody may see it done: bind() returns the id of the
  // DEVICE object, then finish_bind() or, when the client cannot be told, abort_bind().
  // Errors: spec vfio-device 5, rows 7 to 19. After an error the file can try again.
  Result<ObjectId> bind(BindRequest request) IOMMUFD_EXCLUDES(mu_);
  void finish_bind() IOMMUFD_EXCLUDES(mu_);
  void abort_bind() IOMMUFD_EXCLUDES(mu_);

  // The part of a BAR that a client has mapped from this offset of the file on, as type1 containers take it: for DMA of other
  // devices, and never taken back (the kernel leaves such mappings alone, whatever becomes of the device). Null: it is no such part.
  [[nodiscard]] Ref<mem::AddressSpace> bar_at(u64 offset, u64 length) const;

  // An operation on the bound device. Movable, ends with its life.
  class Busy {
   public:
    Busy(Busy&& o) noexcept : file_(std::exchange(o.file_, nullptr)) {}
    Busy& operator=(Busy&&) = delete;
    ~Busy();

    // The context that the device is bound to; null: it was opened through a group with a native container.
    [[nodiscard]] const core::Context* context() const { return file_->core_ ? &file_->core_->context() : nullptr; }
    // Attach, or replace what this file has attached in the same way. `pasid` as the client gave it: the RID attached
    // without one and as PASID 0 are two ways, and each finds it taken by the other (kBusy; spec iommufd-core quirk Q9).
    Result<ObjectId> attach(std::optional<core::Pasid> pasid, ObjectId pt_id);
    void detach(std::optional<core::Pasid> pasid);

    // Reads and writes of what locate() found. Errors: kIo (decoding off, or low power).
    Result<void> read(const Window& window, std::span<std::byte> out);
    Result<void> write(const Window& window, std::span<const std::byte> in);

    Result<u32> set_irqs(IrqRequest request);
    Result<void> set_ioeventfd(IoeventfdRequest request);
    // A part of a BAR as memory that other devices reach. Errors: DmaBufs::create().
    Result<Ref<BarBuffer>> export_bar(u32 bar, std::span<const BarRange> ranges);
    // VFIO_DEVICE_RESET. Errors: kInval (no reset of the function alone exists).
    Result<void> reset();
    // Everything that a hot reset would hit. Errors: kNoDev (a root bus).
    Result<std::vector<Dependent>> hot_reset_info();
    void hot_reset(std::span<const Dependent> hit);

    // LOW_POWER_ENTRY, and with `wakeup` LOW_POWER_ENTRY_WITH_WAKEUP. Errors: kInval (is in already).
    Result<void> enter_low_power(std::optional<Eventfd> wakeup);
    void exit_low_power();

   private:
    friend class DeviceFile;
    explicit Busy(DeviceFile& file) : file_(&file) {}
    [[nodiscard]] core::Device& core() const { return *file_->core_; }
    DeviceFile* file_;
  };
  // Errors: kInval (not bound). Looks at what the client has stored into mapped registers first, and wakes the device.
  Result<Busy> enter() IOMMUFD_EXCLUDES(mu_);

  // The last descriptor and mapping are gone (spec 19). Never fails.
  void release() IOMMUFD_EXCLUDES(mu_);

  [[nodiscard]] Device& device() const { return *device_; }
  [[nodiscard]] bool is_in_group() const { return way_.group != nullptr; }
  // Closed, or about to be.
  [[nodiscard]] bool is_released() IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] pci::Function& function() const { return device_->function(); }

 private:
  enum class State : u8 { kOpen, kBinding, kBound, kClosed };
  enum class RidHolder : u8 { kNone, kPlain, kPasidZero };

  DeviceFile(Device& device, Device::Use use, std::unique_ptr<FileMemory> memory);
  void leave() IOMMUFD_EXCLUDES(mu_);
  Result<void> start(Ref<core::Context> ctx);
  Result<void> attach_bars();
  void detach_bars();
  // Device and binding back to how bind() found them.
  void shut_down();
  void wake();
  void set_power(Power power);

  const Ref<Device> device_;
  std::optional<Device::Use> use_;  // until the close is done; reset by whoever comes to kClosed
  const std::unique_ptr<FileMemory> memory_;
  InGroup way_;
  bool node_bind_ = false;  // counted in the group; written as core_ is

  // Written by bind() and shut_down() while no Busy exists.
  Ref<core::Device> core_;
  std::array<sys::Mapping, pci::kBarCount> bars_;

  std::atomic<Power> power_{Power::kOn};

  Mutex attach_mu_{LockRank::kVfioDevice};
  RidHolder rid_ IOMMUFD_GUARDED_BY(attach_mu_) = RidHolder::kNone;

  Mutex mu_{LockRank::kVfioDevice};
  State state_ IOMMUFD_GUARDED_BY(mu_) = State::kOpen;
  u32 busy_ IOMMUFD_GUARDED_BY(mu_) = 0;
  bool released_ IOMMUFD_GUARDED_BY(mu_) = false;
  std::optional<Eventfd> wakeup_ IOMMUFD_GUARDED_BY(mu_);
};

}  // namespace iommufd::vfio
