// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/dma_bufs.hpp"

#include <utility>

#include "base/explain.hpp"
#include "pci/peer_access.hpp"

namespace iommufd::vfio {
namespace {

using Revoked = mem::RevocableSpace::Revoked;

constexpr const char* kSection = "vfio-device 16, DMA_BUF";

u64 total(std::span<const BarRange> ranges) {
  u64 sum = 0;
  for (const BarRange& range : ranges) sum += range.length;
  return sum;
}

bool is_memory(const pci::BarSpec& bar) {
  return bar.kind == pci::BarKind::kMemory32 || bar.kind == pci::BarKind::kMemory64;
}

Result<void> check_range(const pci::BarSpec& bar, const BarRange& range) {
  if (range.length == 0 || !is_aligned(range.offset | range.length, kPageSize))
    return reject(Errno::kInval, {"length", range.length, "ranges are whole pages, and not empty", kSection});
  if (range.offset > bar.size || range.length > bar.size - range.offset)
    return reject(Errno::kInval, {"offset", range.offset, "must end inside the BAR", kSection});
  return {};
}

}  // namespace

BarBuffer::BarBuffer(pci::Function& function, u32 bar, std::span<const BarRange> ranges)
    : function_(function),
      bar_(bar),
      start_(ranges.front().offset),
      size_(total(ranges)),
      one_range_(ranges.size() == 1) {}

// A device whose decoding is off does not answer.
Result<std::size_t> BarBuffer::read_some(UserVa from, std::span<std::byte> buf) {
  const pci::PeerAccess peer;
  return function_.bar_read(bar_, start_ + from.raw(), buf) ? buf.size() : 0;
}

Result<std::size_t> BarBuffer::write_some(UserVa to, std::span<const std::byte> buf) {
  const pci::PeerAccess peer;
  return function_.bar_write(bar_, start_ + to.raw(), buf) ? buf.size() : 0;
}

Result<void> BarBuffer::populate(UserVa page, u64 count, Access, std::vector<mem::PageRun>& out) {
  mem::PageRun run{{id(), page.raw() >> kPageShift}, count};
  run.on_bus = PhysAddr{function_.bar_base(bar_) + start_ + page.raw()};
  out.push_back(run);
  return {};
}

Result<Ref<BarBuffer>> DmaBufs::create(u32 bar, std::span<const BarRange> ranges) {
  const pci::BarSpec& spec = function_.spec().bars[bar];
  u64 sum = 0;
  for (const BarRange& range : ranges) {
    IOMMUFD_TRY(check_range(spec, range));
    if (__builtin_add_overflow(sum, range.length, &sum))
      return reject(Errno::kInval, {"length", range.length, "the lengths of all ranges wrap", kSection});
  }
  if (!is_memory(spec)) return reject(Errno::kInval, {"region_index", bar, "must be a memory BAR", kSection});
  if (!function_.seen_by_peers())
    return reject(Errno::kInval, {"region_index", bar, "a simulated BAR is out of real devices' reach", kSection});

  Ref<BarBuffer> buffer = make_ref<BarBuffer>(function_, bar, ranges);
  std::vector<Ref<BarBuffer>> unused;  // dropped without the lock
  const MutexLock lock(mu_);
  std::erase_if(buffers_, [&](Ref<BarBuffer>& b) {
    if (b->is_shared()) return false;
    unused.push_back(std::move(b));
    return true;
  });
  buffers_.push_back(buffer);
  if (told_ == Revoked::kYes) buffer->revoke(Revoked::kYes);
  return buffer;
}

void DmaBufs::tell_buffers_locked() {
  const u64 resets = function_.resets();
  if (std::exchange(resets_seen_, resets) != resets) tell_buffers_locked(Revoked::kYes);
  const bool answers = power_ == Power::kOn && resetting_ == 0 && function_.decodes_memory();
  tell_buffers_locked(answers ? Revoked::kNo : Revoked::kYes);
}

void DmaBufs::tell_buffers_locked(Revoked now) {
  if (std::exchange(told_, now) == now) return;
  for (const Ref<BarBuffer>& buffer : buffers_) buffer->revoke(now);
}

void DmaBufs::follow_config() {
  const MutexLock lock(mu_);
  tell_buffers_locked();
}

void DmaBufs::set_power(Power power) {
  const MutexLock lock(mu_);
  power_ = power;
  tell_buffers_locked();
}

Power DmaBufs::power() {
  const MutexLock lock(mu_);
  return power_;
}

void DmaBufs::begin_reset() {
  const MutexLock lock(mu_);
  ++resetting_;
  tell_buffers_locked();
}

void DmaBufs::end_reset() {
  const MutexLock lock(mu_);
  --resetting_;
  tell_buffers_locked();
}

void DmaBufs::close() {
  std::vector<Ref<BarBuffer>> gone;  // dropped without the lock
  const MutexLock lock(mu_);
  power_ = Power::kOn;
  for (const Ref<BarBuffer>& buffer : buffers_) buffer->revoke(Revoked::kYes);
  buffers_.swap(gone);
}

}  // namespace iommufd::vfio
