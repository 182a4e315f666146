// SPDX-License-Identifier: BSD-3-Clause
#include "host/pinned_memory.hpp"

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

#include "mem/real_frames.hpp"

namespace iommufd::host {
namespace {

// Among so many pages one below 4 GiB is looked for.
constexpr u64 kCandidates = 4096;

Result<Fd> pin_pages(std::span<const iovec> pages) {
  io_uring_params params{};
  Fd ring(static_cast<int>(IOMMUFD_TRY(sys::check(::syscall(SYS_io_uring_setup, 1, &params)))));
  IOMMUFD_TRY(sys::ok(
      ::syscall(SYS_io_uring_register, ring.get(), IORING_REGISTER_BUFFERS, pages.data(), unsigned(pages.size()))));
  return ring;
}

}  // namespace

Result<std::unique_ptr<PinnedMemory>> PinnedMemory::create(u32 pages, u64 end) {
  const mem::RealFrames frames = IOMMUFD_TRY(mem::RealFrames::open(::getpid()));
  const u64 candidates = end == ~u64{0} ? pages : std::max<u64>(pages, kCandidates);
  sys::Mapping memory = IOMMUFD_TRY(sys::Mapping::anonymous(candidates * kPageSize));
  // Never in huge pages, which would be split; there at once.
  (void)::madvise(memory.bytes().data(), memory.bytes().size(), MADV_NOHUGEPAGE);
  std::vector<Page> chosen;
  std::vector<iovec> vectors;
  for (u64 i = 0; i < candidates && chosen.size() < pages; ++i) {
    const std::span<std::byte> bytes = memory.bytes().subspan(i * kPageSize, kPageSize);
    bytes[0] = std::byte{0};
    PhysAddr at;
    IOMMUFD_TRY(frames.read(UserVa{std::bit_cast<u64>(bytes.data())}, std::span(&at, 1)));
    if (at.raw() >= end) continue;
    chosen.push_back({bytes, at});
    vectors.push_back({bytes.data(), kPageSize});
  }
  if (chosen.size() < pages) return Err(Errno::kNoMem);
  Fd ring = IOMMUFD_TRY(pin_pages(vectors));
  // Where they were before they were pinned is not where they are.
  for (Page& page : chosen) {
    IOMMUFD_TRY(frames.read(UserVa{std::bit_cast<u64>(page.bytes.data())}, std::span(&page.address, 1)));
    if (page.address.raw() >= end) return Err(Errno::kNoMem);
  }
  return std::unique_ptr<PinnedMemory>(new PinnedMemory(std::move(memory), std::move(chosen), std::move(ring)));
}

PinnedMemory::~PinnedMemory() = default;

}  // namespace iommufd::host
