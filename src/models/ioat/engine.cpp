// SPDX-License-Identifier: BSD-3-Clause
#include "models/ioat/engine.hpp"

#include <algorithm>
#include <cstring>

namespace iommufd::models::ioat {

u32 Engine::fetch(u64 address, Descriptor& descriptor) {
  if (address % kDescriptorAlign != 0) return kErrAlignment;
  return dma_.read(address, std::as_writable_bytes(std::span(&descriptor, 1))) ? 0 : kErrNext;
}

u32 Engine::follow(u64 address, u64& next) {
  return dma_.read(address + offsetof(Descriptor, next), std::as_writable_bytes(std::span(&next, 1))) ? 0 : kErrNext;
}

u32 Engine::run(const Descriptor& d) {
  if (d.size == 0 || d.size > most_) return kErrLength | kErrControl;
  const u32 opcode = d.control >> kDescOpcodeShift;
  if (opcode != kOpCopy && opcode != kOpFill) return kErrControl;
  if ((d.control & kDescNull) != 0) return 0;
  return opcode == kOpCopy ? copy(d) : fill(d);
}

u32 Engine::write_back(u64 address, u64 value) {
  if (address % sizeof(value) != 0) return kErrCompletion;
  return dma_.write(address, std::as_bytes(std::span(&value, 1))) ? 0 : kErrCompletion;
}

u32 Engine::copy(const Descriptor& d) {
  for (u64 done = 0; done < d.size; done += kChunk) {
    const std::span<std::byte> part = std::span(buffer_).first(std::min<u64>(d.size - done, kChunk));
    if (!dma_.read(d.source + done, part)) return faulted(kErrSource);
    if (!dma_.write(d.destination + done, part)) return faulted(kErrDestination);
  }
  return 0;
}

// The pattern begins at the destination, whatever its alignment; the last one is cut off.
u32 Engine::fill(const Descriptor& d) {
  const std::size_t most = std::min<std::size_t>(d.size, kChunk);
  for (std::size_t at = 0; at < most; at += sizeof(d.source))
    std::memcpy(buffer_.data() + at, &d.source, std::min(sizeof(d.source), most - at));
  for (u64 done = 0; done < d.size; done += kChunk) {
    const std::span<const std::byte> part = std::span(buffer_).first(std::min<u64>(d.size - done, kChunk));
    if (!dma_.write(d.destination + done, part)) return faulted(kErrDestination);
  }
  return 0;
}

}  // namespace iommufd::models::ioat
