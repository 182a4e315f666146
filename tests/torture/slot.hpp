// SPDX-License-Identifier: BSD-3-Clause
// The memory of one command: pages in an order of their own, of which the data covers a part. Everything else in the pages is
// a canary. PRP entries or an SGL point to the data, in one of the many ways that are right (spec nvme 7).
#pragma once

#include <random>
#include <span>
#include <vector>

#include "examples/nvme_driver.hpp"
#include "tests/torture/oracle.hpp"

namespace torture {

using Random = std::mt19937_64;
inline u32 pick(Random& random, u32 n) { return static_cast<u32>(random() % n); }

class Slot {
 public:
  // `lists` may be other memory than `data`.
  Slot(nvme::Memory& data, u32 pages, nvme::Memory& lists);

  [[nodiscard]] u64 capacity() const { return (pages_.size() - 1) * nvme::kPage; }
  // Chooses where the data lies, and fills the rest with canaries. `offset`: in its first page, a multiple of 4.
  void lay(u64 bytes, u64 offset, Random& random);
  void set(std::span<const u8> bytes);
  void get(std::span<u8> bytes) const;
  // All that is not data, and the parts of the data that a bit bucket has swallowed, is as lay() left it.
  [[nodiscard]] bool canaries_live() const;

  void point_prp(nvme::Sqe& sqe, Random& random);
  enum class Buckets : u8 { kNo, kYes };
  void point_sgl(nvme::Sqe& sqe, Buckets buckets, Random& random);
  struct Part {
    u64 at, size;
  };
  // Parts of the data that are read into bit buckets.
  [[nodiscard]] std::span<const Part> swallowed() const { return swallowed_; }

  // For who wants it wrong.
  [[nodiscard]] u64 pages_used() const { return (offset_ + bytes_ + nvme::kPage - 1) / nvme::kPage; }
  [[nodiscard]] u64 bytes() const { return bytes_; }
  [[nodiscard]] u64 address(u64 at) const;
  // A list page, and its address.
  u64* list(u32 i) { return lists_[i]; }
  [[nodiscard]] u64 list_address(u32 i) const { return list_memory_.address(lists_[i]); }

 private:
  static constexpr u8 kCanary = 0xc5, kUnread = 0x3a;
  u8* byte(u64 at) const { return pages_[(offset_ + at) / nvme::kPage] + (offset_ + at) % nvme::kPage; }
  template <typename Seen>
  void each_run(Seen seen) const;  // seen(at, span of bytes), page by page

  nvme::Memory& memory_;
  nvme::Memory& list_memory_;
  std::vector<u8*> pages_;
  std::vector<u64*> lists_;
  u64 offset_ = 0, bytes_ = 0;
  std::vector<Part> swallowed_;
};

// SGL descriptors (spec nvme 7).
struct Descriptor {
  enum Type : u8 { kData = 0x00, kBucket = 0x10, kSegment = 0x20, kLastSegment = 0x30 };
  u64 address;
  u32 length;
  u8 reserved[3];
  u8 id;
};
static_assert(sizeof(Descriptor) == 16);
Descriptor descriptor(u8 id, u64 address, u64 length);
void set_sgl(nvme::Sqe& sqe, const Descriptor& d);

}  // namespace torture
