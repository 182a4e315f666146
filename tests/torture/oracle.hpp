// SPDX-License-Identifier: BSD-3-Clause
// What each block of the disk may hold, whoever writes it, in any order and at once. Time is a counter that every begin and
// every end moves; the version of a write is the time when it began. A block may hold what any write left that has begun,
// except those that had ended before a successful one began. What a read has seen of a block that nothing writes is what
// it holds from then on. Thread-safe.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace torture {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

struct Range {
  u64 first = 0;
  u32 count = 0;
};

class Oracle {
 public:
  enum class Content : u8 { kStamps, kZeros };
  enum class End : u8 {
    kDone,      // the command succeeded
    kNothing,   // it failed, and has changed nothing
    kEither,    // each block holds the old content or the new one
    kAnything,  // or anything else: a write of several blocks that failed half-way (spec nvme 5, AWUPF 0: one block)
  };
  struct Write {
    Range range;
    Content content{};
    u64 began = 0;  // and the version of its stamps
  };
  struct Read {
    Range range;
    u64 began = 0;
    struct Seen {
      std::vector<u64> versions;
      bool anything = false, moving = false;
    };
    std::vector<Seen> at_start;
  };

  Oracle(u64 blocks, u32 block_size) : block_size_(block_size), blocks_(blocks) {
    for (Block& b : blocks_) b.possible.push_back({});
  }
  [[nodiscard]] u64 blocks() const { return blocks_.size(); }
  [[nodiscard]] u32 block_size() const { return block_size_; }

  // Before the command is put into its queue. `may_tear`: it may end with kAnything, and look like that before.
  Write begin_write(Range range, Content content, bool may_tear);
  void end(const Write& write, End how);
  Read begin_read(Range range);
  // Empty, or what is wrong with the bytes that the command has read. Blocks of `skip` were not.
  std::string end_read(const Read& read, std::span<const u8> bytes, const std::vector<bool>& skip);
  // Nothing wrote these blocks since the read began, and what they held was known.
  bool was_stable(const Read& read);
  // What the blocks may hold, one choice of it.
  void guess(Range range, std::span<u8> bytes);

 private:
  struct Entry {
    u64 version = 0;  // 0: zeros
    u64 began = 0;
    u64 ended = 0;  // 0: not yet, unless it never began
    bool anything = false;
  };
  struct Block {
    std::vector<Entry> possible;
    u32 in_flight = 0;
    u64 last_begin = 0, last_end = 0, last_zeros = 0, last_anything = 0;
  };
  static constexpr bool superseded(const Entry& e, u64 began) {
    return (e.ended != 0 || e.began == 0) && e.ended < began;
  }
  std::string check(const Read& read, u32 i, std::span<const u8> bytes);

  const u32 block_size_;
  std::mutex mu_;
  u64 now_ = 0;
  std::vector<Block> blocks_;
};

}  // namespace torture
