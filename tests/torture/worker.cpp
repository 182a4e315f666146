// SPDX-License-Identifier: BSD-3-Clause
#include "tests/torture/worker.hpp"

#include "tests/support/block_stamp.hpp"

namespace torture {
namespace {

using nvme::kPage;
constexpr u32 kSmallSlots = 30, kSmallPages = 9, kLargePages = 129, kWindowSlots = 6;
constexpr std::size_t kMostRetired = 60;
constexpr u32 kForceUnitAccess = 1 << 30, kLimitedRetry = 1u << 31;
constexpr u8 kRetiredByte = 0x9d;

}  // namespace

void Counts::add(const Counts& other) {
  right += other.right;
  mistaken += other.mistaken;
  faulted += other.faulted;
  abandoned += other.abandoned;
  deletions += other.deletions;
  slowest_ms = std::max(slowest_ms, other.slowest_ms);
}

Worker::Worker(Session& session, Oracle& oracle, Window* window, u16 number, const Plan& plan, u64 seed)
    : session_(session), oracle_(oracle), window_(window), number_(number), plan_(plan), random_(seed) {
  if (!session.eventfds.empty()) event_ = session.eventfds[number];
  for (u32 i = 0; i < kSmallSlots; ++i)
    slots_.push_back(std::make_unique<Slot>(session.memory, kSmallPages, session.memory));
  slots_.push_back(std::make_unique<Slot>(session.memory, kLargePages, session.memory));
  for (u32 i = 0; window != nullptr && i < kWindowSlots; ++i)
    window_slots_.push_back(std::make_unique<Slot>(window->memory, kSmallPages, session.memory));
  flying_.resize(slots_.size() + window_slots_.size());
  for (std::size_t i = 0; i < flying_.size(); ++i) {
    flying_[i].in_window = i >= slots_.size();
    flying_[i].slot = flying_[i].in_window ? window_slots_[i - slots_.size()].get() : slots_[i].get();
  }
  create();
}

void Worker::create() {
  const auto size = static_cast<u16>(2 + pick(random_, nvme::kEntries - 1));
  queue_ = std::make_unique<nvme::Queue>(session_.memory, session_.device.bar, number_, event_, size);
  const auto vector = event_ >= 0 ? std::optional<u16>(number_) : std::nullopt;
  for (const nvme::Sqe& sqe : nvme::creation(session_.memory, *queue_, number_, vector))
    session_.must(sqe, "Create I/O queue");
  unrung_ = 0;
}

void Worker::run(const std::atomic<bool>& stop, Leave leave) {
  while (!stop) {
    for (u32 burst = pick(random_, 5); burst > 0; --burst) submit();
    if (unrung_ != 0 && pick(random_, 8) != 0) {
      queue_->ring();
      unrung_ = 0;
    }
    if (drain() == 0 && in_flight_ > unrung_ && (in_flight_ >= plan_.depth || pick(random_, 4) == 0)) wait();
    if (plan_.deletes && pick(random_, 400) == 0 && retired_.size() < kMostRetired) recreate();
  }
  // Not once more what was rung already: it would hide a doorbell that was lost.
  if (unrung_ != 0) queue_->ring();
  unrung_ = 0;
  while (leave == Leave::kEmpty && in_flight_ != 0)
    if (drain() == 0) wait();
}

// --- sending ---

void Worker::submit() {
  const u32 most = std::min<u32>(plan_.depth, queue_->entries - 1u);
  if (in_flight_ >= most) return;
  const std::size_t index = random_() % flying_.size();
  Flying& f = flying_[index];
  if (f.used) return;
  std::shared_lock<std::shared_mutex> held;
  if (f.in_window) {
    held = window_->hold();
    f.turns = window_->turns();
  }
  nvme::Sqe sqe{.nsid = 1};
  if (!choose(f, sqe)) return;
  sqe.cid = static_cast<u16>(index | u32{number_} << 8);
  f.used = true;
  f.began = now_ms();
  ++in_flight_;
  ++unrung_;
  queue_->put(sqe);
}

bool Worker::choose(Flying& f, nvme::Sqe& sqe) {
  static constexpr auto kOpcodes =
      std::to_array<IoOpcode>({kRead, kRead, kRead, kRead, kRead, kRead, kWrite, kWrite, kWrite, kWrite, kWrite, kWrite,
                               kCompare, kWriteZeroes, kDeallocate, kFlush});
  f.opcode = kOpcodes[pick(random_, kOpcodes.size())];
  f.mistake = nullptr;
  f.writes.clear();
  sqe.opcode = f.opcode;
  if (f.opcode == kFlush) {
    if (pick(random_, 2) != 0) sqe.nsid = 0xffff'ffff;
    return true;
  }
  if (plan_.mistakes && !f.in_window && pick(random_, 8) == 0) {
    const auto all = io_mistakes();
    f.mistake = &all[pick(random_, static_cast<u32>(all.size()))];
    if (f.mistake->status == kTransferError && !session_.limits.hole) return false;
    if (f.mistake->shape == Mistake::kRanges)
      f.opcode = kDeallocate;
    else if (f.mistake->shape == Mistake::kRange ? f.opcode == kDeallocate : f.opcode > kCompare)
      f.opcode = kWrite;
    sqe.opcode = f.opcode;
  }
  if (f.opcode == kDeallocate) {
    choose_ranges(f, sqe);
  } else if (f.opcode == kWriteZeroes) {
    choose_range(f, sqe);
  } else {
    choose_transfer(f, sqe);
  }
  if (f.mistake != nullptr) f.mistake->make(sqe, *f.slot, session_.limits, random_);
  return true;
}

void Worker::choose_range(Flying& f, nvme::Sqe& sqe) {
  const u64 blocks = session_.limits.blocks;
  f.range.count = 1 + pick(random_, pick(random_, 8) == 0 ? 300 : 16);
  f.range.first = random_() % (blocks - f.range.count + 1);
  const u32 deallocate = pick(random_, 2) << 25;
  const u32 durable = pick(random_, 4) == 0 ? kForceUnitAccess : 0;
  sqe.cdw10 = {static_cast<u32>(f.range.first), 0, (f.range.count - 1) | deallocate | durable};
  f.writes.push_back(oracle_.begin_write(f.range, Oracle::Content::kZeros, false));
}

void Worker::choose_transfer(Flying& f, nvme::Sqe& sqe) {
  const Limits& limits = session_.limits;
  const u32 block = limits.block_size;
  const auto shape = f.mistake == nullptr ? Mistake::kTransfer : f.mistake->shape;
  u64 offset = pick(random_, 2) != 0 ? 4 * pick(random_, kPage / 4) : 0;
  auto most = static_cast<u32>(std::min<u64>(f.slot->capacity(), limits.most_bytes) / block);
  if (pick(random_, 3) != 0) most = std::min(most, 4u);
  u32 count = 1 + pick(random_, most);
  if (shape == Mistake::kTwoPages) {
    count = 1 + pick(random_, kPage / block);
    const u64 bytes = u64{count} * block;
    offset = (kPage - bytes + 4) + 4 * pick(random_, static_cast<u32>((bytes - 4) / 4));
  } else if (shape == Mistake::kPrpList) {
    count = static_cast<u32>(3 * kPage / block);
  }
  f.range = {random_() % (limits.blocks - count + 1), count};
  const u32 flags = (pick(random_, 4) == 0 ? kForceUnitAccess : 0) | (pick(random_, 4) == 0 ? kLimitedRetry : 0);
  sqe.cdw10 = {static_cast<u32>(f.range.first), 0, (count - 1) | flags};
  bytes_.resize(u64{count} * block);
  f.slot->lay(bytes_.size(), offset, random_);
  if (f.opcode == kWrite) {
    const bool on_bus = f.in_window || (f.mistake != nullptr && f.mistake->on_bus);
    f.writes.push_back(oracle_.begin_write(f.range, Oracle::Content::kStamps, on_bus && count > 1));
    for (u32 i = 0; i < count; ++i)
      stamp::fill(std::span(bytes_).subspan(u64{i} * block, block), f.range.first + i, f.writes.back().began);
    f.slot->set(bytes_);
  } else {
    f.read = oracle_.begin_read(f.range);
    if (f.opcode == kCompare) {
      oracle_.guess(f.range, bytes_);
      f.equal = pick(random_, 2) != 0;
      if (!f.equal) bytes_[pick(random_, static_cast<u32>(bytes_.size()))] ^= 1;
      f.slot->set(bytes_);
    }
  }
  point(f, sqe);
}

void Worker::choose_ranges(Flying& f, nvme::Sqe& sqe) {
  struct Wire {
    u32 attributes, blocks;
    u64 start;
  };
  std::vector<Wire> wire(1 + pick(random_, 6));
  const bool acts = pick(random_, 8) != 0;  // AD; the other attributes are hints
  for (Wire& w : wire) {
    w = {0, pick(random_, 12), 0};
    w.start = random_() % (session_.limits.blocks - w.blocks);
    if (acts && w.blocks != 0)
      f.writes.push_back(oracle_.begin_write({w.start, w.blocks}, Oracle::Content::kZeros, false));
  }
  sqe.cdw10 = {static_cast<u32>(wire.size() - 1), acts ? 4u : 0u};
  const auto bytes = std::as_bytes(std::span(wire));
  f.slot->lay(bytes.size(), 0, random_);
  f.slot->set({reinterpret_cast<const u8*>(bytes.data()), bytes.size()});
  f.slot->point_prp(sqe, random_);
}

void Worker::point(Flying& f, nvme::Sqe& sqe) {
  const bool prp =
      f.mistake != nullptr && f.mistake->shape != Mistake::kScattered && f.mistake->shape != Mistake::kRange;
  if (prp || pick(random_, 2) != 0) return f.slot->point_prp(sqe, random_);
  const bool buckets = f.opcode == kRead && f.mistake == nullptr;
  f.slot->point_sgl(sqe, buckets ? Slot::Buckets::kYes : Slot::Buckets::kNo, random_);
}

// --- answers ---

u32 Worker::drain() {
  return queue_->drain([this](const nvme::Cqe& c) { complete(c); });
}

void Worker::complete(const nvme::Cqe& c) {
  const std::size_t index = c.cid & 0xffu;
  if (c.cid >> 8 != number_ || c.sq_id != number_ || index >= flying_.size() || !flying_[index].used)
    wrong("queue %u completes command %#x of queue %u, which is not in flight", unsigned{number_}, unsigned{c.cid},
          unsigned{c.sq_id});
  if (c.sq_head >= queue_->entries) wrong("SQHD %u in a queue of %u", unsigned{c.sq_head}, unsigned{queue_->entries});
  Flying& f = flying_[index];
  counts.slowest_ms = std::max(counts.slowest_ms, now_ms() - f.began);
  judge(f, static_cast<u16>(c.status >> 1));
  f.used = false;
  --in_flight_;
}

void Worker::settle(Flying& f, Oracle::End how) {
  for (const Oracle::Write& w : f.writes) oracle_.end(w, how);
  f.writes.clear();
}

void Worker::judge(Flying& f, u16 status) {
  std::shared_lock<std::shared_mutex> held;
  if (f.in_window) held = window_->hold();
  if (f.opcode != kFlush && f.opcode != kWriteZeroes && !f.slot->canaries_live())
    wrong("opcode %#x wrote beside its data", unsigned{f.opcode});
  if (f.mistake != nullptr) {
    if (status != f.mistake->status)
      wrong("\"%s\", opcode %#x: status %#x, not %#x", f.mistake->what, unsigned{f.opcode}, unsigned{status},
            unsigned{f.mistake->status});
    settle(f, !f.mistake->on_bus  ? Oracle::End::kNothing
              : f.range.count > 1 ? Oracle::End::kAnything
                                  : Oracle::End::kEither);
    ++counts.mistaken;
    return;
  }
  if (f.in_window && status == kTransferError && window_->turns() != f.turns) {
    settle(f, f.opcode != kWrite  ? Oracle::End::kNothing
              : f.range.count > 1 ? Oracle::End::kAnything
                                  : Oracle::End::kEither);
    ++counts.faulted;
    return;
  }
  if (f.opcode == kCompare) {
    if (status != 0 && status != kCompareFailure) wrong("Compare: status %#x", unsigned{status});
    if (oracle_.was_stable(f.read) && (status == 0) != f.equal)
      wrong("Compare of blocks %llu + %u with %s: status %#x", nvme::ull{f.range.first}, f.range.count,
            f.equal ? "what they hold" : "something else", unsigned{status});
  } else if (status != 0) {
    wrong("opcode %#x: status %#x", unsigned{f.opcode}, unsigned{status});
  }
  settle(f, Oracle::End::kDone);
  if (f.opcode == kRead) judge_read(f);
  ++counts.right;
}

void Worker::judge_read(Flying& f) {
  const u32 block = session_.limits.block_size;
  bytes_.resize(u64{f.range.count} * block);
  f.slot->get(bytes_);
  std::vector<bool> skip(f.range.count);
  for (const Slot::Part& part : f.slot->swallowed())
    for (u64 b = part.at / block; b <= (part.at + part.size - 1) / block; ++b) skip[b] = true;
  const std::string what = oracle_.end_read(f.read, bytes_, skip);
  if (!what.empty()) wrong("read of %llu + %u: %s", nvme::ull{f.range.first}, f.range.count, what.c_str());
}

// An interrupt or, polled, a moment.
void Worker::wait() {
  if (event_ < 0) {
    ::usleep(20);
    for (const Flying& f : flying_)
      if (f.used && now_ms() - f.began > 1000.0 * kPatience.count())
        wrong("opcode %#x does not complete", unsigned{f.opcode});
    return;
  }
  pollfd p{.fd = event_, .events = POLLIN, .revents = 0};
  u64 count = 0;
  const int ready = ::poll(&p, 1, static_cast<int>(1000 * kPatience.count()));
  if (ready == 1 && ::read(event_, &count, sizeof count) == sizeof count) return;
  wrong("no interrupt comes; %u completions are there without", drain());
}

// --- queues that go under load ---

// More is sent, and the doorbell rung, while the queue is being deleted. What completes has completed by the time when the
// deletion has; the rest never does.
void Worker::recreate() {
  const auto remove = [&](u8 opcode) { session_.must({.opcode = opcode, .cdw10 = {number_}}, "Delete I/O queue"); };
  for (u32 i = 0; i < plan_.depth; ++i) submit();
  queue_->ring();
  constexpr u8 kDeleteSq = 0, kDeleteCq = 4;
  remove(kDeleteSq);
  drain();
  ::usleep(pick(random_, 300));
  if (const u32 late = drain(); late != 0) wrong("%u commands complete after their queue is deleted", late);
  remove(kDeleteCq);
  abandon();
  auto* cq = reinterpret_cast<u8*>(queue_->cq);
  auto* sq = reinterpret_cast<u8*>(queue_->sq);
  std::memset(sq, kRetiredByte, kPage);
  retired_.push_back({sq, cq, {cq, cq + kPage}});
  ++counts.deletions;
  create();
}

void Worker::abandon() {
  for (Flying& f : flying_) {
    if (!f.used) continue;
    const bool on_bus = f.in_window || (f.mistake != nullptr && f.mistake->on_bus);
    const bool torn = on_bus && f.opcode == kWrite && f.range.count > 1;
    const bool nothing = f.mistake != nullptr && !f.mistake->on_bus;
    settle(f, torn ? Oracle::End::kAnything : nothing ? Oracle::End::kNothing : Oracle::End::kEither);
    f.used = false;
    ++counts.abandoned;
  }
  in_flight_ = unrung_ = 0;
}

void Worker::check_memory() {
  for (const Retired& r : retired_)
    if (!std::ranges::equal(r.cq_bytes, std::span(r.cq, kPage)))
      wrong("a completion queue is written after its deletion");
}

}  // namespace torture
