// SPDX-License-Identifier: BSD-3-Clause
// BARs as dma-bufs (VFIO_DEVICE_FEATURE_DMA_BUF, spec vfio-device 16): memory that other devices reach by DMA.
//
// A transaction ends in the function's own BAR access, as those of read and write on the device file: decoders and registers
// see it exactly, also where the client has the BAR mapped. There is no faster way around the model: what a store does is for the
// model to say.
//
// A device answers such transactions while its memory decoding is on, it is not in low power, and it is not being reset. When
// one of these ends, every mapping of every buffer is void for ever and removed; as long as it lasts nothing can be mapped.
// The close of the device takes the buffers away for good.
//
// Lock order: mu_ (kVfioDevice) is held while mappings are removed, for which the engine takes its own.
#pragma once

#include <span>
#include <vector>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "mem/revocable_space.hpp"
#include "pci/function.hpp"

namespace iommufd::vfio {

enum class Power : u8 { kOn, kLow };

// A part of a BAR.
struct BarRange {
  u64 offset = 0;
  u64 length = 0;
};

// The memory of a dma-buf; "addresses" are offsets in it. Pre of all but size(): it is of one range. Thread-safe.
class BarBuffer final : public mem::RevocableSpace {
 public:
  BarBuffer(pci::Function& function, u32 bar, std::span<const BarRange> ranges);

  [[nodiscard]] u64 size() const { return size_; }
  [[nodiscard]] bool has_one_range() const { return one_range_; }

  Result<std::size_t> read_some(UserVa from, std::span<std::byte> buf) override;
  Result<std::size_t> write_some(UserVa to, std::span<const std::byte> buf) override;
  // The pages have the addresses that the BAR has on the bus.
  Result<void> populate(UserVa page, u64 count, Access access, std::vector<mem::PageRun>& out) override;
  std::byte* direct(UserVa) override { return nullptr; }

 private:
  pci::Function& function_;
  const u32 bar_;
  const u64 start_;  // in the BAR, of the first range
  const u64 size_;   // of all
  const bool one_range_;
};

// The buffers of one device.
class DmaBufs {
 public:
  explicit DmaBufs(pci::Function& function) : function_(function) {}
  DmaBufs(const DmaBufs&) = delete;
  DmaBufs& operator=(const DmaBufs&) = delete;

  // Errors: kInval (a range that is empty, not of whole pages, or not inside a memory BAR). Pre: bar < pci::kBarCount, and there
  // are ranges.
  Result<Ref<BarBuffer>> create(u32 bar, std::span<const BarRange> ranges) IOMMUFD_EXCLUDES(mu_);

  // Config space was written: decoding may have changed, or the function was reset.
  void follow_config() IOMMUFD_EXCLUDES(mu_);
  void set_power(Power power) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] Power power() IOMMUFD_EXCLUDES(mu_);
  void begin_reset() IOMMUFD_EXCLUDES(mu_);
  void end_reset() IOMMUFD_EXCLUDES(mu_);
  // The device is closed.
  void close() IOMMUFD_EXCLUDES(mu_);

 private:
  // Compares what is the case with what the buffers were told.
  void tell_buffers_locked() IOMMUFD_REQUIRES(mu_);
  void tell_buffers_locked(mem::RevocableSpace::Revoked now) IOMMUFD_REQUIRES(mu_);

  pci::Function& function_;
  Mutex mu_{LockRank::kVfioDevice};
  Power power_ IOMMUFD_GUARDED_BY(mu_) = Power::kOn;
  u32 resetting_ IOMMUFD_GUARDED_BY(mu_) = 0;    // begin_reset() without end_reset()
  u64 resets_seen_ IOMMUFD_GUARDED_BY(mu_) = 0;  // of the function's
  mem::RevocableSpace::Revoked told_ IOMMUFD_GUARDED_BY(mu_) = mem::RevocableSpace::Revoked::kNo;
  std::vector<Ref<BarBuffer>> buffers_ IOMMUFD_GUARDED_BY(mu_);  // some may be nobody else's any more
};

}  // namespace iommufd::vfio
