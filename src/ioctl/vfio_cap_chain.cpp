// SPDX-License-Identifier: BSD-3-Clause
#include "ioctl/vfio_cap_chain.hpp"

#include "abi/vfio.hpp"

namespace iommufd::ioctl {

void CapChain::add(u16 id, u16 version, std::span<const std::byte> body) {
  const std::size_t at = bytes_.size();
  if (!empty()) {
    const u32 next = base_ + static_cast<u32>(at);
    std::memcpy(bytes_.data() + last_ + offsetof(abi::VfioInfoCap, next), &next, sizeof next);
  }
  last_ = at;
  const abi::VfioInfoCap header{id, version, 0};
  const std::size_t length = (sizeof header + body.size() + 7) & ~std::size_t{7};
  bytes_.resize(at + length);
  std::memcpy(bytes_.data() + at, &header, sizeof header);
  if (!body.empty()) std::memcpy(bytes_.data() + at + sizeof header, body.data(), body.size());
}

}  // namespace iommufd::ioctl
