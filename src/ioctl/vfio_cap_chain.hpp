// SPDX-License-Identifier: BSD-3-Clause
// Capabilities behind an info struct (spec vfio-device 7): a chain of headers whose offsets count from the start of the
// struct, each capability padded to 8 bytes.
#pragma once

#include <cstring>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "ioctl/file.hpp"

namespace iommufd::ioctl {

class CapChain {
 public:
  // `base` is the size of the info struct that the chain follows.
  explicit CapChain(u32 base) : base_(base) {}

  void add(u16 id, u16 version, std::span<const std::byte> body);
  [[nodiscard]] bool empty() const { return bytes_.empty(); }

  // Answers with `info` and, where `argsz` has room, the chain. Without room argsz says how much would do, and the call
  // succeeds. Sets info.argsz and info.cap_offset and adds `caps_flag` when there is a chain. Errors: kFault.
  template <class Info>
  Result<void> reply(Call& call, UserVa to, Info& info, u32 caps_flag) const;

 private:
  u32 base_;
  std::size_t last_ = 0;  // where the last header is
  std::vector<std::byte> bytes_;
};

template <class Info>
Result<void> CapChain::reply(Call& call, UserVa to, Info& info, u32 caps_flag) const {
  const u32 room = info.argsz;
  std::vector<std::byte> out;
  if (!empty()) {
    info.flags |= caps_flag;
    const u32 needed = static_cast<u32>(sizeof(Info) + bytes_.size());
    info.cap_offset = room < needed ? 0 : static_cast<u32>(sizeof(Info));
    if (room < needed) info.argsz = needed;
  }
  out.resize(sizeof(Info));
  std::memcpy(out.data(), &info, sizeof(Info));
  if (!empty() && info.cap_offset != 0) out.insert(out.end(), bytes_.begin(), bytes_.end());
  return call.memory()->write(to, out);
}

}  // namespace iommufd::ioctl
