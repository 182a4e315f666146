// SPDX-License-Identifier: BSD-3-Clause
#include "tests/torture/oracle.hpp"

#include <algorithm>

#include "tests/support/block_stamp.hpp"

namespace torture {

Oracle::Write Oracle::begin_write(Range range, Content content, bool may_tear) {
  const std::lock_guard lock(mu_);
  const u64 now = ++now_;
  for (u64 b = range.first; b < range.first + range.count; ++b) {
    Block& block = blocks_[b];
    const u64 version = content == Content::kZeros ? 0 : now;
    block.possible.push_back({.version = version, .began = now, .anything = may_tear});
    ++block.in_flight;
    block.last_begin = now;
    if (content == Content::kZeros) block.last_zeros = now;
    if (may_tear) block.last_anything = now;
  }
  return {range, content, now};
}

void Oracle::end(const Write& write, End how) {
  const std::lock_guard lock(mu_);
  const u64 now = ++now_;
  for (u64 b = write.range.first; b < write.range.first + write.range.count; ++b) {
    Block& block = blocks_[b];
    --block.in_flight;
    block.last_end = now;
    const auto it = std::ranges::find(block.possible, write.began, &Entry::began);
    if (it == block.possible.end()) continue;
    if (how == End::kNothing) {
      block.possible.erase(it);
      continue;
    }
    it->ended = now;
    it->anything = how == End::kAnything;
    if (how == End::kDone) std::erase_if(block.possible, [&](const Entry& e) { return superseded(e, write.began); });
  }
}

Oracle::Read Oracle::begin_read(Range range) {
  const std::lock_guard lock(mu_);
  Read read{range, ++now_, {}};
  for (u64 b = range.first; b < range.first + range.count; ++b) {
    Read::Seen seen;
    seen.moving = blocks_[b].in_flight != 0;
    for (const Entry& e : blocks_[b].possible) {
      seen.versions.push_back(e.version);
      seen.anything |= e.anything;
    }
    read.at_start.push_back(std::move(seen));
  }
  return read;
}

std::string Oracle::end_read(const Read& read, std::span<const u8> bytes, const std::vector<bool>& skip) {
  const std::lock_guard lock(mu_);
  ++now_;
  for (u32 i = 0; i < read.range.count; ++i) {
    if (skip[i]) continue;
    std::string wrong = check(read, i, bytes.subspan(std::size_t{i} * block_size_, block_size_));
    if (!wrong.empty()) return wrong;
  }
  return {};
}

std::string Oracle::check(const Read& read, u32 i, std::span<const u8> bytes) {
  const u64 number = read.range.first + i;
  Block& block = blocks_[number];
  const Read::Seen& seen = read.at_start[i];
  const auto version = stamp::version_of(bytes, number);
  const bool anything = seen.anything || block.last_anything > read.began;
  if (!version) return anything ? "" : "block " + std::to_string(number) + " is torn";
  const bool known = std::ranges::find(seen.versions, *version) != seen.versions.end();
  const bool later = *version == 0 ? block.last_zeros > read.began : *version > read.began && *version <= now_;
  if (!known && !later && !anything) {
    std::string text =
        "block " + std::to_string(number) + " holds version " + std::to_string(*version) + ", not one of";
    for (const u64 v : seen.versions) text += " " + std::to_string(v);
    return text + " or one after " + std::to_string(read.began);
  }
  const bool quiet = !seen.moving && block.in_flight == 0 && block.last_begin < read.began;
  if (quiet && (block.possible.size() > 1 || block.possible.front().anything))
    block.possible.assign(1, Entry{.version = *version, .began = block.last_begin, .ended = block.last_end});
  return "";
}

bool Oracle::was_stable(const Read& read) {
  const std::lock_guard lock(mu_);
  for (u32 i = 0; i < read.range.count; ++i) {
    const Read::Seen& seen = read.at_start[i];
    const bool known = seen.versions.size() == 1 && !seen.anything && !seen.moving;
    if (!known || blocks_[read.range.first + i].last_begin > read.began) return false;
  }
  return true;
}

void Oracle::guess(Range range, std::span<u8> bytes) {
  const std::lock_guard lock(mu_);
  for (u32 i = 0; i < range.count; ++i) {
    const u64 number = range.first + i;
    stamp::fill(bytes.subspan(std::size_t{i} * block_size_, block_size_), number,
                blocks_[number].possible.back().version);
  }
}

}  // namespace torture
