// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/data_pointer.hpp"

#include <algorithm>
#include <array>
#include <bit>

namespace iommufd::models::nvme {

// Offsets: the first entry's is free in steps of 4, a list may begin anywhere in steps of 8, and all that follow are pages.
// PRP2 is not looked at when PRP1 suffices. The last slot of a list page is a link only if more entries are needed than
// fit (spec nvme 7, PRP 1 to 7).
Step DataPointerWalker::walk_prp(const DataPointer& data, std::span<std::byte> bytes, PieceList& out) {
  const u64 page = u64{1} << page_lg2_;
  if (data.prp1 % 4 != 0) return Bad(Status::kPrpOffset);
  const u64 first = std::min<u64>(bytes.size(), page - data.prp1 % page);
  out.add(data.prp1, bytes.first(first));
  bytes = bytes.subspan(first);
  if (bytes.empty()) return {};
  if (data.prp2 == 0) return Bad(Status::kInvalidField);
  if (bytes.size() <= page) {
    if (data.prp2 % page != 0) return Bad(Status::kPrpOffset);
    out.add(data.prp2, bytes);
    return {};
  }
  u64 list = data.prp2;
  if (list % 8 != 0) return Bad(Status::kPrpOffset);
  while (!bytes.empty()) {
    const u64 needed = (bytes.size() + page - 1) / page;
    const u64 slots = (page - list % page) / 8;
    list_.resize(std::min(needed, slots));
    if (!port_.read(list, std::as_writable_bytes(std::span(list_)))) return Bad(Status::kDataTransferError);
    const std::size_t entries = needed > slots ? slots - 1 : needed;
    for (std::size_t i = 0; i < entries; ++i) {
      if (list_[i] % page != 0) return Bad(Status::kPrpOffset);
      const u64 length = std::min<u64>(page, bytes.size());
      out.add(list_[i], bytes.first(length));
      bytes = bytes.subspan(length);
    }
    if (bytes.empty()) break;
    list = list_.back();
    if (list % page != 0) return Bad(Status::kPrpOffset);
  }
  return {};
}

struct DataPointerWalker::Descriptor {
  u64 address;
  u32 length;
  std::array<u8, 3> reserved;
  u8 id;  // 7:4 type, 3:0 subtype

  enum Type : u8 { kData = 0, kBitBucket = 1, kSegment = 2, kLastSegment = 3 };
  [[nodiscard]] u8 type() const { return id >> 4; }
  [[nodiscard]] bool is_segment() const { return type() == kSegment || type() == kLastSegment; }
};

Step DataPointerWalker::add_descriptor(const Descriptor& d, std::span<std::byte>& left, Direction direction,
                                       PieceList& out) const {
  if ((d.id & 0xf) != 0) return Bad(Status::kSglType);
  if (d.type() == Descriptor::kBitBucket) {
    if (direction == Direction::kToDevice) return {};
  } else if (d.type() != Descriptor::kData) {
    return Bad(Status::kSglType);
  }
  if (d.length > left.size()) return Bad(Status::kSglLength);
  if (d.type() == Descriptor::kData) out.add(d.address, left.first(d.length));
  left = left.subspan(d.length);
  return {};
}

Step DataPointerWalker::walk_sgl(const DataPointer& data, std::span<std::byte> bytes, Direction direction,
                                 PieceList& out) {
  constexpr u32 kMostDescriptors = 4096;  // of a chain that may be endless otherwise
  static_assert(sizeof(Descriptor) == 16);
  auto next = std::bit_cast<Descriptor>(data);
  u32 budget = kMostDescriptors;
  while (next.is_segment()) {
    const bool last_segment = next.type() == Descriptor::kLastSegment;
    if ((next.id & 0xf) != 0) return Bad(Status::kSglType);
    if (next.length == 0 || next.length % sizeof(Descriptor) != 0) return Bad(Status::kSglSegment);
    if (next.address % 8 != 0) return Bad(Status::kSglSegment);
    const auto count = static_cast<u32>(next.length / sizeof(Descriptor));
    if (count > budget) return Bad(Status::kSglCount);
    budget -= count;
    list_.resize(std::size_t{count} * 2);
    if (!port_.read(next.address, std::as_writable_bytes(std::span(list_)))) return Bad(Status::kDataTransferError);
    for (std::size_t i = 0; i < count; ++i) {
      const auto d = std::bit_cast<Descriptor>(std::array{list_[2 * i], list_[2 * i + 1]});
      if (i + 1 == count && !last_segment && d.is_segment()) {
        next = d;
        break;
      }
      if (const Step added = add_descriptor(d, bytes, direction, out); !added) return added;
      if (i + 1 == count) return bytes.empty() ? Step{} : Bad(Status::kSglLength);
    }
  }
  if (const Step added = add_descriptor(next, bytes, direction, out); !added) return added;
  return bytes.empty() ? Step{} : Bad(Status::kSglLength);
}

}  // namespace iommufd::models::nvme
