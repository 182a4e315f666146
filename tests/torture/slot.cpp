// SPDX-License-Identifier: BSD-3-Clause
#include "tests/torture/slot.hpp"

namespace torture {

using nvme::kPage;

namespace {
constexpr u32 kLists = 3;
constexpr u64 kEntries = kPage / sizeof(u64);
}  // namespace

Descriptor descriptor(u8 id, u64 address, u64 length) {
  return {.address = address, .length = static_cast<u32>(length), .reserved = {}, .id = id};
}

void set_sgl(nvme::Sqe& sqe, const Descriptor& d) {
  sqe.flags = 0x40;
  std::memcpy(&sqe.prp1, &d, sizeof d);
}

Slot::Slot(nvme::Memory& data, u32 pages, nvme::Memory& lists) : memory_(data), list_memory_(lists) {
  for (u32 i = 0; i < pages; ++i) pages_.push_back(data.take(kPage));
  for (u32 i = 0; i < kLists; ++i) lists_.push_back(reinterpret_cast<u64*>(lists.take(kPage)));
}

void Slot::lay(u64 bytes, u64 offset, Random& random) {
  std::ranges::shuffle(pages_, random);
  offset_ = offset;
  bytes_ = bytes;
  swallowed_.clear();
  for (u8* page : pages_) std::memset(page, kCanary, kPage);
  each_run([](u64, std::span<u8> run) { std::ranges::fill(run, kUnread); });
}

template <typename Seen>
void Slot::each_run(Seen seen) const {
  for (u64 at = 0; at < bytes_;) {
    const u64 size = std::min(bytes_ - at, kPage - (offset_ + at) % kPage);
    seen(at, std::span(byte(at), size));
    at += size;
  }
}

void Slot::set(std::span<const u8> bytes) {
  each_run([&](u64 at, std::span<u8> run) { std::memcpy(run.data(), bytes.data() + at, run.size()); });
}

void Slot::get(std::span<u8> bytes) const {
  each_run([&](u64 at, std::span<u8> run) { std::memcpy(bytes.data() + at, run.data(), run.size()); });
}

bool Slot::canaries_live() const {
  const auto all = [](std::span<const u8> part, u8 value) {
    return std::ranges::all_of(part, [&](u8 b) { return b == value; });
  };
  const u64 end = offset_ + bytes_;
  for (u64 i = 0; i < pages_.size(); ++i) {
    const std::span page(pages_[i], kPage);
    const u64 from = std::clamp(offset_, i * kPage, (i + 1) * kPage) - i * kPage;
    const u64 to = std::clamp(end, i * kPage, (i + 1) * kPage) - i * kPage;
    if (!all(page.first(from), kCanary) || !all(page.subspan(to), kCanary)) return false;
  }
  return std::ranges::all_of(swallowed_, [&](const Part& part) {
    for (u64 at = part.at; at < part.at + part.size; ++at)
      if (*byte(at) != kUnread) return false;
    return true;
  });
}

u64 Slot::address(u64 at) const { return memory_.address(byte(at)); }

// A list may begin anywhere in its page; the last slot of the page is a link if more follows than fits.
void Slot::point_prp(nvme::Sqe& sqe, Random& random) {
  const u64 used = pages_used();
  sqe.flags = 0;
  sqe.prp1 = address(0);
  sqe.prp2 = random();  // ignored when PRP1 suffices
  const auto page_address = [&](u64 i) { return memory_.address(pages_[i]); };
  if (used == 2) sqe.prp2 = page_address(1);
  if (used <= 2) return;
  const u64 entries = used - 1;
  u64 slot = pick(random, 2) != 0 ? kEntries - std::min(kEntries, 1 + random() % entries) : random() % kEntries;
  u32 list = 0;
  sqe.prp2 = list_address(0) + slot * 8;
  for (u64 i = 0; i < entries; ++i) {
    if (slot == kEntries - 1 && i + 1 < entries) {
      lists_[list][slot] = list_address(list + 1);
      ++list;
      slot = 0;
    }
    lists_[list][slot++] = page_address(i + 1);
  }
}

void Slot::point_sgl(nvme::Sqe& sqe, Buckets buckets, Random& random) {
  std::vector<Descriptor> all;
  const u64 most = std::max<u64>(bytes_ / 100, 64);
  for (u64 at = 0; at < bytes_;) {
    u64 size = std::min(bytes_ - at, kPage - (offset_ + at) % kPage);
    if (pick(random, 4) == 0) size = std::min(size, 1 + random() % most);
    const bool bucket = buckets == Buckets::kYes && pick(random, 16) == 0;
    if (bucket) swallowed_.push_back({at, size});
    all.push_back(descriptor(bucket ? Descriptor::kBucket : Descriptor::kData, bucket ? 0 : address(at), size));
    at += size;
  }
  constexpr u64 kPerPage = kPage / sizeof(Descriptor);
  if (all.size() > kPerPage) {
    swallowed_.clear();
    return point_prp(sqe, random);
  }
  if (all.size() == 1 && all[0].id == Descriptor::kData && pick(random, 2) == 0) return set_sgl(sqe, all[0]);
  // One last segment, or a segment that leads to it.
  const u64 first = all.size() < kPerPage && pick(random, 2) == 0 ? 0 : random() % all.size() % (kPerPage - 1);
  const u64 rest = all.size() - first;
  const auto last = descriptor(Descriptor::kLastSegment, list_address(1), rest * sizeof(Descriptor));
  std::memcpy(lists_[1], all.data() + first, rest * sizeof(Descriptor));
  if (first == 0) return set_sgl(sqe, last);
  std::memcpy(lists_[0], all.data(), first * sizeof(Descriptor));
  std::memcpy(lists_[0] + first * 2, &last, sizeof last);
  set_sgl(sqe, descriptor(Descriptor::kSegment, list_address(0), (first + 1) * sizeof(Descriptor)));
}

}  // namespace torture
