// SPDX-License-Identifier: BSD-3-Clause
// What the selftests ask about pages: is the page behind this IOVA that of the caller's address, how often is it pinned.
// Thread-safe.
#pragma once

#include <span>

#include "core/hwpt.hpp"
#include "mem/address_space.hpp"
#include "mem/dma_barrier.hpp"
#include "mem/physical_memory.hpp"

namespace iommufd::selftest {

// MD_CHECK_MAP (spec selftest-abi 3.4) for a mock domain. `walker` counts the walks of the domain's table.
// Errors: kInval (another kind of domain, alignment, a page that is not the caller's or not mapped), kFault (the caller's
// memory).
Result<void> check_map(mem::PhysicalMemory& phys, mem::DmaEpoch& walker, const core::HwptPaging& hwpt, u64 iova,
                       u64 length, mem::AddressSpace& memory, u64 uptr);

// MD_CHECK_REFS (3.5). Errors: kInval (alignment), kIo (another number of pins), kFault.
Result<void> check_refs(mem::PhysicalMemory& phys, u64 length, mem::AddressSpace& memory, u64 uptr, u32 refs);

// ACCESS_PAGES (3.7 row 8): the frames are those of the caller's pages from the one that holds `uptr` on.
// Errors: kBadE (they are not), kFault.
Result<void> check_frames(mem::PhysicalMemory& phys, std::span<const PhysAddr> frames, mem::AddressSpace& memory,
                          u64 uptr);

}  // namespace iommufd::selftest
