// SPDX-License-Identifier: BSD-3-Clause
#include "mem/address_space.hpp"

#include <atomic>

namespace iommufd::mem {
namespace {
std::atomic<u64> g_next_id{1};
}  // namespace

AddressSpace::AddressSpace() : id_(g_next_id.fetch_add(1, std::memory_order_relaxed)) {}

Result<void> AddressSpace::read(UserVa from, std::span<std::byte> buf) {
  const Result<std::size_t> n = read_some(from, buf);
  if (!n || *n != buf.size()) return Err(Errno::kFault);
  return {};
}

Result<void> AddressSpace::write(UserVa to, std::span<const std::byte> buf) {
  const Result<std::size_t> n = write_some(to, buf);
  if (!n || *n != buf.size()) return Err(Errno::kFault);
  return {};
}

}  // namespace iommufd::mem
