// SPDX-License-Identifier: BSD-3-Clause
// Many items of a table at once, 16 bytes at a time where the machine allows it.
//
// Walkers read the same items meanwhile, without a lock. They rely on two things: an item is read and written in one piece, and what
// was stored before an item is seen with it. C++ promises that for atomic accesses only. On x86-64 it holds for aligned accesses of
// 16 bytes as well: none splits one of its 8-byte halves, and stores become visible in program order. What is left is the compiler:
// an access through volatile is made as written (and never becomes part of a memset, which promises nothing), and a signal fence
// keeps earlier stores before it. Elsewhere, and for ThreadSanitizer, which cannot know this, a pack is one item and atomic.
//
// The compare-exchange of a device on an item that is cleared here comes before the store and is overwritten with the item,
// or comes after it and fails. So a plain store is right for an item that has to go, dirty or not.
#pragma once

#include "pt/engine/storage.hpp"

#if defined(__has_feature)
#define IOMMUFD_PT_TSAN __has_feature(thread_sanitizer)
#elif defined(__SANITIZE_THREAD__)
#define IOMMUFD_PT_TSAN 1
#else
#define IOMMUFD_PT_TSAN 0
#endif

namespace iommufd::pt {

#if defined(__x86_64__) && !IOMMUFD_PT_TSAN
using Pack [[gnu::vector_size(16), gnu::may_alias]] = u64;
inline Pack load_pack(const u64* at) { return *reinterpret_cast<const volatile Pack*>(at); }
inline void store_pack(u64* at, Pack pack) {
  std::atomic_signal_fence(std::memory_order_release);
  *reinterpret_cast<volatile Pack*>(at) = pack;
}
inline bool is_zero(Pack pack) { return (pack[0] | pack[1]) == 0; }
inline Pack all_equal(u64 item) { return Pack{item, item}; }
inline Pack rising(u64 first, u64 step) { return Pack{first, first + step}; }
#else
using Pack = u64;
inline Pack load_pack(const u64* at) { return load_item(*at); }
inline void store_pack(u64* at, Pack pack) { store_item(*at, pack); }
inline bool is_zero(Pack pack) { return pack == 0; }
inline Pack all_equal(u64 item) { return item; }
inline Pack rising(u64 first, u64 /*step*/) { return first; }
#endif

inline constexpr std::size_t kPackItems = sizeof(Pack) / sizeof(u64);
inline bool starts_pack(const u64* item) { return reinterpret_cast<std::uintptr_t>(item) % sizeof(Pack) == 0; }

// What a loop handles per round; four registers, not an array, because g++ keeps arrays in memory at -O2.
struct Block {
  static constexpr unsigned kItems = 4 * kPackItems;
  Pack a, b, c, d;

  // Items first, first + step, first + 2 * step and so on.
  static Block rising(u64 first, u64 step) {
    const u64 next = kPackItems * step;
    return {pt::rising(first, step), pt::rising(first + next, step), pt::rising(first + 2 * next, step),
            pt::rising(first + 3 * next, step)};
  }
  static Block load(const u64* at) {
    return {load_pack(at), load_pack(at + kPackItems), load_pack(at + 2 * kPackItems), load_pack(at + 3 * kPackItems)};
  }
  void store(u64* at) const {
    store_pack(at, a);
    store_pack(at + kPackItems, b);
    store_pack(at + 2 * kPackItems, c);
    store_pack(at + 3 * kPackItems, d);
  }
  // Bits that any item has.
  [[nodiscard]] Pack any() const { return (a | b) | (c | d); }
  friend Block operator|(const Block& x, const Block& y) { return {x.a | y.a, x.b | y.b, x.c | y.c, x.d | y.d}; }
  friend Block operator^(const Block& x, Pack y) { return {x.a ^ y, x.b ^ y, x.c ^ y, x.d ^ y}; }
  friend Block operator+(const Block& x, Pack y) { return {x.a + y, x.b + y, x.c + y, x.d + y}; }
};

// Whether all items are empty.
[[gnu::noinline]] inline bool all_empty(const u64* items, unsigned count) {
  const u64* const end = items + count;
  u64 used = 0;
  while (items != end && !starts_pack(items)) used |= load_item(*items++);
  Block blocks{};
  for (; end - items >= Block::kItems; items += Block::kItems) blocks = blocks | Block::load(items);
  while (items != end) used |= load_item(*items++);
  return used == 0 && is_zero(blocks.any());
}

// Stores first, first + step, first + 2 * step and so on.
[[gnu::noinline]] inline void store_run(u64* items, unsigned count, u64 first, u64 step) {
  u64* const end = items + count;
  for (; items != end && !starts_pack(items); first += step) store_item(*items++, first);
  Block block = Block::rising(first, step);
  for (; end - items >= Block::kItems; items += Block::kItems, first += Block::kItems * step) {
    block.store(items);
    block = block + all_equal(Block::kItems * step);
  }
  for (; items != end; first += step) store_item(*items++, first);
}

// Stores `count` items as entries: the first item of each is `step` more than that of the one before, and within an entry each item
// is `slot_step` more. Pre: the items of an entry fill blocks, and begin with a whole pack.
[[gnu::noinline]] inline void store_entries(u64* items, unsigned count, unsigned per_entry, u64 first, u64 step,
                                            u64 slot_step) {
  for (u64* const end = items + count; items != end; first += step) {
    Block block = Block::rising(first, slot_step);
    for (u64* const next = items + per_entry; items != next; items += Block::kItems) {
      block.store(items);
      block = block + all_equal(Block::kItems * slot_step);
    }
  }
}

// Makes the items empty.
[[gnu::noinline]] inline void clear_run(u64* items, unsigned count) {
  u64* const end = items + count;
  while (items != end && !starts_pack(items)) store_item(*items++, 0);
  for (; end - items >= Block::kItems; items += Block::kItems) Block{}.store(items);
  while (items != end) store_item(*items++, 0);
}

// Makes items empty, from the first on, block by block, for as long as all items of a block agree with `like` in the bits of `mask`.
// Returns how many. Pre: the first item agrees.
[[gnu::noinline]] inline unsigned clear_alike(u64* items, unsigned count, u64 like, u64 mask) {
  u64* const start = items;
  const u64* const end = items + count;
  if (!starts_pack(items)) store_item(*items++, 0);
  for (; end - items >= Block::kItems; items += Block::kItems) {
    const Block differences = Block::load(items) ^ all_equal(like);
    if (!is_zero(differences.any() & all_equal(mask))) break;
    Block{}.store(items);
  }
  return static_cast<unsigned>(items - start);
}

}  // namespace iommufd::pt
