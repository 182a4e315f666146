// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/controller.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.hpp"

namespace iommufd::models::nvme {
namespace {

// How soon to look at a store that works on something.
constexpr std::chrono::microseconds kStoreLook{20};

}  // namespace

Controller::Controller(const NvmeConfig& config, std::unique_ptr<Store> store, pci::ModelPorts ports, Poller& poller)
    : config_(config),
      ports_(std::move(ports)),
      poller_(poller),
      queues_(config.io_queues),
      walker_(ports_.dma),
      features_(config_),
      doorbell_buffer_((config.io_queues + 1) * 2),
      io_({config_, ports_.dma, walker_, queues_, features_, statistics_}, std::move(store)),
      admin_({config_, ports_.dma, walker_, queues_, features_, events_, doorbell_buffer_, io_, statistics_, regs_}) {
  poller_.add(*this);
}

Controller::~Controller() { poller_.remove(*this); }

// --- trapped accesses: 4 or 8 bytes; others read the bytes and write nothing (NVMe 1.4, 3.1) ---

u64 Controller::bar_read(u32 bar, u64 offset, u32 size) {
  IOMMUFD_ASSERT(bar == 0);
  if (!turn_.take_for_access()) return ~u64{0};
  const TurnLock turn(turn_, AdoptLock{});
  serve();
  const u64 word = offset & ~u64{3};
  const u64 value = read_register(word) | (size == 8 ? u64{read_register(word + 4)} << 32 : 0);
  return size >= 4 ? value : (value >> (offset % 4 * 8)) & ((u64{1} << size * 8) - 1);
}

void Controller::bar_write(u32 bar, u64 offset, u32 size, u64 value) {
  IOMMUFD_ASSERT(bar == 0);
  if (size < 4) return;
  bool left = false;
  {
    if (!turn_.take_for_access()) return;
    const TurnLock turn(turn_, AdoptLock{});
    serve();
    write_register(offset, static_cast<u32>(value));
    if (size == 8) write_register(offset + 4, static_cast<u32>(value >> 32));
    serve();
    left = busy() || serve();
  }
  if (left) poller_.wake();
}

void Controller::reset() {
  const TurnLock turn(turn_);
  io_.drain();
  forget();
  regs_ = {};
  state_ = State::kDisabled;
  line_ = false;
  ports_.interrupts.set_line(pci::Level::kLow);
  if (!page_.attached()) return;
  page_.publish(regs_);
  page_.silence_doorbells();
}

void Controller::attach_memory(u32 bar, std::span<std::byte> memory) {
  IOMMUFD_ASSERT(bar == 0 && memory.size() >= kBarSize);
  {
    const TurnLock turn(turn_);
    page_.attach(memory);
    page_.silence_doorbells();
    page_.publish(regs_);
  }
  poller_.wake();
}

void Controller::detach_memory(u32 bar) {
  IOMMUFD_ASSERT(bar == 0);
  const TurnLock turn(turn_);
  page_.detach();
}

// Another thread that serves the controller does what is to be done; it may have passed the doorbells already, so the next
// look is soon.
pci::PollOutcome Controller::poll() {
  if (!turn_.try_take()) return {.worked = false, .watching = false, .wake_at = pci::Clock::now() + kStoreLook};
  const TurnLock turn(turn_, AdoptLock{});
  pci::PollOutcome outcome;
  outcome.worked = serve();
  outcome.watching = page_.attached();
  if (busy()) {
    outcome.wake_at = pci::Clock::now() + kStoreLook;
  } else if (outcome.worked) {
    outcome.wake_at = pci::Clock::now();
  }
  return outcome;
}

// --- registers ---

u32 Controller::read_register(u64 offset) const {
  switch (offset) {
    case reg::kCap: return static_cast<u32>(kCapValue);
    case reg::kCap + 4: return static_cast<u32>(kCapValue >> 32);
    case reg::kVersion: return kVersionValue;
    case reg::kIntms:
    case reg::kIntmc: return regs_.intms;
    case reg::kCc: return regs_.cc;
    case reg::kCsts: return regs_.csts;
    case reg::kAqa: return regs_.aqa;
    case reg::kAsq: return static_cast<u32>(regs_.asq);
    case reg::kAsq + 4: return static_cast<u32>(regs_.asq >> 32);
    case reg::kAcq: return static_cast<u32>(regs_.acq);
    case reg::kAcq + 4: return static_cast<u32>(regs_.acq >> 32);
    default: return 0;
  }
}

void Controller::write_register(u64 offset, u32 value) {
  const auto low = [value](u64 old) { return (old & ~u64{0xffff'ffff}) | value; };
  const auto high = [value](u64 old) { return (old & 0xffff'ffff) | u64{value} << 32; };
  switch (offset) {
    case reg::kIntms: regs_.intms |= value; break;
    case reg::kIntmc: regs_.intms &= ~value; break;
    case reg::kCc: write_cc(value); break;
    case reg::kAqa: regs_.aqa = value; break;
    case reg::kAsq: regs_.asq = low(regs_.asq); break;
    case reg::kAsq + 4: regs_.asq = high(regs_.asq); break;
    case reg::kAcq: regs_.acq = low(regs_.acq); break;
    case reg::kAcq + 4: regs_.acq = high(regs_.acq); break;
    default:
      if (offset >= kDoorbells && offset < kMsixTable) ring(static_cast<u32>((offset - kDoorbells) / 4), value);
      return;
  }
  if (page_.attached()) page_.publish(regs_);
}

void Controller::write_cc(u32 value) {
  const u32 old = std::exchange(regs_.cc, value);
  if (cc::Shn::get(old) == cc::Shn::get(value)) return;
  // A shutdown that is asked for, or taken back. Without queues there is nothing to wait for.
  const bool wanted = cc::Shn::get(value) != 0 && (regs_.enabled() || cc::En::get(old) == 0);
  shutdown_ = wanted ? Shutdown::kDraining : Shutdown::kNone;
  set_csts((regs_.csts & ~csts::kShutdownMask) | (wanted ? csts::kShutdownOccurring : 0));
}

void Controller::set_csts(u32 value) {
  regs_.csts = value;
  if (page_.attached()) page_.store32(reg::kCsts, value);
}

// A change of CC comes before doorbells (spec nvme 8).
bool Controller::absorb() {
  if (!page_.attached()) return false;
  const bool changed = absorb_registers();
  if (changed) follow_state();
  return absorb_doorbells() || changed;
}

bool Controller::absorb_registers() {
  bool worked = absorb_queue_addresses();
  if (const u32 bits = page_.take32(reg::kIntmc); bits != 0) {
    regs_.intms &= ~bits;
    page_.store32(reg::kIntms, regs_.intms);
    worked = true;
  }
  if (const u32 seen = page_.load32(reg::kIntms); seen != regs_.intms) {
    regs_.intms |= seen;
    page_.replace32(reg::kIntms, seen, regs_.intms);
    worked = true;
  }
  if (const u32 seen = page_.load32(reg::kCc); seen != regs_.cc) {
    // What was stored before CC is there by now.
    absorb_queue_addresses();
    write_cc(seen);
    worked = true;
  }
  if (page_.load32(reg::kCsts) != regs_.csts) page_.store32(reg::kCsts, regs_.csts);
  page_.take32(reg::kNssr);
  page_.repair_constants();
  return worked;
}

bool Controller::absorb_queue_addresses() {
  const u32 aqa = page_.load32(reg::kAqa);
  const u64 asq = page_.load64(reg::kAsq), acq = page_.load64(reg::kAcq);
  if (aqa == regs_.aqa && asq == regs_.asq && acq == regs_.acq) return false;
  regs_.aqa = aqa;
  regs_.asq = asq;
  regs_.acq = acq;
  return true;
}

// One pair more than there can be: a client may try what happens (spec nvme 11.2).
bool Controller::absorb_doorbells() {
  bool worked = false;
  for (u32 pair = 0; pair < queues_.count() + 1; ++pair) {
    if (!page_.pair_rung(pair)) continue;
    worked = true;
    // The head first: it makes room for what the tail brings.
    for (const u32 number : {pair * 2 + 1, pair * 2})
      if (const auto value = page_.take_doorbell(number)) ring(number, *value);
  }
  return worked;
}

void Controller::ring(u32 doorbell, u32 value) {
  if (state_ != State::kReady) return;
  const u32 id = doorbell / 2;
  const bool is_tail = doorbell % 2 == 0;
  SubmissionQueue* sq = is_tail ? queues_.sq(id) : nullptr;
  CompletionQueue* cq = is_tail ? nullptr : queues_.cq(id);
  if ((sq == nullptr && cq == nullptr) || (sq != nullptr && admin_.deleting(id))) {
    events_.raise_if_awaited(Event::kUnusedDoorbell);
    return;
  }
  value &= 0xffff;
  if (doorbell_buffer_.active()) {
    const Result<u32> settled = doorbell_buffer_.settle(ports_.dma, doorbell, value);
    if (!settled) return fail("a shadow doorbell cannot be reached");
    value = *settled;
  }
  const bool good = sq != nullptr ? sq->set_tail(value) : cq->set_head(value);
  if (!good) events_.raise_if_awaited(Event::kBadDoorbellValue);
}

// --- state ---

void Controller::follow_state() {
  if ((state_ == State::kReady || state_ == State::kFailed) && !regs_.enabled()) state_ = State::kDisabling;
  if (state_ == State::kDisabling && !busy()) {
    forget();
    set_csts(0);
    state_ = State::kDisabled;
  }
  if (state_ == State::kDisabled && regs_.enabled()) enable();
  follow_shutdown();
}

bool Controller::can_enable() const {
  const u64 page = u64{1} << regs_.page_lg2();
  return cc::Css::get(regs_.cc) == 0 && regs_.page_lg2() <= kMaxPageLg2 && regs_.asq % page == 0 &&
         regs_.acq % page == 0 && aqa::SqSize::get(regs_.aqa) >= 1 && aqa::CqSize::get(regs_.aqa) >= 1;
}

void Controller::enable() {
  if (!can_enable()) {
    return fail(fmt::format("cannot be enabled with CC {:#x}, AQA {:#x}, ASQ {:#x}, ACQ {:#x}", regs_.cc, regs_.aqa,
                            regs_.asq, regs_.acq));
  }
  walker_.set_page_lg2(regs_.page_lg2());
  build_admin_queues();
  if (page_.attached()) page_.silence_doorbells();
  state_ = State::kReady;
  set_csts(csts::kReady);
  // A client that found EN set by a predecessor may have written the addresses after it (spec nvme 3).
  if (page_.attached() && absorb_queue_addresses()) build_admin_queues();
}

void Controller::build_admin_queues() {
  queues_.clear();
  queues_.create(CompletionQueue::Shape{.id = 0,
                                        .size = static_cast<u32>(aqa::CqSize::get(regs_.aqa)) + 1,
                                        .base = regs_.acq,
                                        .vector = 0,
                                        .interrupts = true});
  queues_.create(SubmissionQueue::Shape{
      .id = 0, .size = static_cast<u32>(aqa::SqSize::get(regs_.aqa)) + 1, .base = regs_.asq, .cq = 0});
}

void Controller::follow_shutdown() {
  if (shutdown_ == Shutdown::kDraining && !busy()) {
    shutdown_ = Shutdown::kFlushing;
    io_.flush();
  }
  if (shutdown_ == Shutdown::kFlushing && io_.flushed()) {
    shutdown_ = Shutdown::kDone;
    set_csts((regs_.csts & ~csts::kShutdownMask) | csts::kShutdownComplete);
  }
}

void Controller::fail(std::string_view why) {
  ports_.note(fmt::format("fatal status: {}", why));
  state_ = State::kFailed;
  set_csts(regs_.csts | csts::kFatal);
}

void Controller::forget() {
  queues_.clear();
  features_.reset();
  events_.clear();
  doorbell_buffer_.clear();
  admin_.clear();
  shutdown_ = Shutdown::kNone;
}

void Controller::drive_line() {
  const bool wanted = !ports_.interrupts.message_signalled() && queues_.line_asserted(regs_.intms);
  if (wanted == line_) return;
  line_ = wanted;
  ports_.interrupts.set_line(wanted ? pci::Level::kHigh : pci::Level::kLow);
}

// --- commands ---

bool Controller::serve() {
  bool worked = absorb();
  worked |= io_.collect();
  follow_state();
  if (state_ == State::kReady) {
    if (shutdown_ == Shutdown::kNone) worked |= serve_queues();
    if (state_ == State::kReady) admin_.follow_up();
  }
  io_.submit();
  if (state_ == State::kReady) {
    const Result<bool> posted = queues_.post(ports_.dma, ports_.interrupts);
    if (!posted) fail("a completion queue cannot be written");
    worked |= posted && *posted;
  }
  drive_line();
  return worked;
}

// The admin queue, then the others in turn, from where the last round stopped.
bool Controller::serve_queues() {
  bool worked = serve_queue(*queues_.sq(0)) != 0;
  u32 budget = kRound;
  const u32 others = queues_.count() - 1;
  for (u32 i = 0; i < others && budget != 0 && state_ == State::kReady; ++i) {
    SubmissionQueue* queue = queues_.sq(next_queue_);
    next_queue_ = next_queue_ % others + 1;
    if (queue == nullptr || queue->empty()) continue;
    const u32 served = serve_queue(*queue);
    budget -= std::min(budget, served);
    worked |= served != 0;
  }
  return worked;
}

u32 Controller::serve_queue(SubmissionQueue& queue) {
  if (queue.empty()) return 0;
  CompletionQueue& cq = queues_.cq_of(queue);
  const u32 most = std::min({kFetch, cq.room(), io_.room()});
  const Result<u32> count = queue.fetch(ports_.dma, std::span(fetched_).first(most));
  if (!count) {
    fail(fmt::format("submission queue {} cannot be read", queue.shape().id));
    return 0;
  }
  cq.reserve(*count);
  const bool is_admin = queue.shape().id == 0;
  for (const Sqe& sqe : std::span(fetched_).first(*count)) {
    if (is_admin) {
      admin_.execute(queue, sqe);
    } else {
      io_.execute(queue, sqe);
    }
  }
  return *count;
}

}  // namespace iommufd::models::nvme
