// SPDX-License-Identifier: BSD-3-Clause
#include "run/pagemap.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/sys.hpp"

namespace iommufd::run {
namespace {

// An entry: the frame number in bits 0 to 54, and bit 63 when the page is there.
constexpr u64 kFrameMask = (u64{1} << 55) - 1;
constexpr u64 kPresent = u64{1} << 63;
constexpr std::size_t kEntriesAtOnce = 512;

}  // namespace

Result<s64> PagemapFile::ioctl(ioctl::Call&, u32, u64) { return Err(Errno::kNoTty); }
Result<u64> PagemapFile::write(ioctl::Call&, u64, UserVa, u64) { return Err(Errno::kBadf); }
Result<void> PagemapFile::mmap(ioctl::Call&, const ioctl::MmapRequest&) { return Err(Errno::kNoDev); }

Result<u64> PagemapFile::read(ioctl::Call& call, u64 offset, UserVa buf, u64 count) {
  if (!is_aligned(offset | count, sizeof(u64))) return Err(Errno::kInval);
  const bool sees_frames = call.capable(mem::Capability::kSysAdmin);
  const Ref<mem::AddressSpace> memory = call.memory();
  std::array<u64, kEntriesAtOnce> room;
  u64 done = 0;
  while (done < count) {
    const u64 bytes = std::min(count - done, sizeof room);
    const Result<ssize_t> got = sys::check(::pread(real_.get(), room.data(), bytes, static_cast<off_t>(offset + done)));
    if (!got && done == 0) return Err(got.error());
    if (!got || *got <= 0) break;
    const std::span<u64> entries = std::span(room).first(static_cast<std::size_t>(*got) / sizeof(u64));
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if ((entries[i] & kPresent) == 0) continue;
      entries[i] &= ~kFrameMask;
      if (!sees_frames) continue;
      PhysAddr frame;
      const UserVa page{((offset + done) / sizeof(u64) + i) << kPageShift};
      // A page that cannot be had, such as a device's, has no frame.
      if (service_.publish(*memory, page, std::span(&frame, 1))) entries[i] |= frame.raw() >> kPageShift;
    }
    IOMMUFD_TRY(memory->write(advance(buf, done), std::as_bytes(entries)));
    done += entries.size_bytes();
    if (entries.size_bytes() < bytes) break;
  }
  return done;
}

}  // namespace iommufd::run
