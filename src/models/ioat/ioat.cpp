// SPDX-License-Identifier: BSD-3-Clause
#include "models/ioat/ioat.hpp"

#include <fmt/format.h>

#include <utility>

#include "base/assert.hpp"

namespace iommufd::models::ioat {
namespace {

constexpr u64 kNoChain = ~u64{0};  // what CHAINADDR holds when nobody has written it
constexpr u32 kHalfNoChain = ~u32{0};
// What clients that assert HALTED after a reset need at most (spec ioat 5, race A).
constexpr auto kHaltedAfterReset = std::chrono::milliseconds(100);
// Back to back with a reset, a client may still look for HALTED (5, poll order).
constexpr auto kHaltedBeforeArmed = std::chrono::microseconds(1);
// Clients look at most some microseconds for an answer (5, race B): the poller must not sleep while they are at it.
constexpr auto kTouched = std::chrono::seconds(1);
// What one poll() does at most, so that other devices have their turn.
constexpr unsigned kDescriptorsPerPoll = 256;
constexpr auto kTimePerPoll = std::chrono::milliseconds(1);

}  // namespace

Ioat::Ioat(const Config& config, pci::ModelPorts ports, Poller& poller)
    : config_(config),
      ports_(std::move(ports)),
      poller_(poller),
      engine_(ports_.dma, config.transfer_cap_lg2, config.on_fault) {
  {
    const TurnLock turn(turn_);
    page_.store<u64>(kChainAddr, kNoChain);
    show_constants();
    reset_channel();
  }
  poller_.add(*this);
}

Ioat::~Ioat() { poller_.remove(*this); }

void Ioat::show_constants() {
  page_.store<u8>(kChannelCount, 1);
  page_.store<u8>(kTransferCap, static_cast<u8>(config_.transfer_cap_lg2));
  page_.store<u8>(kVersion, config_.version);
  page_.store<u32>(kCapabilities, kCapPageBreak | kCapFill);
  page_.store<u16>(kDmaComp, 2);
}

u64 Ioat::bar_read(u32 bar, u64 offset, u32 size) {
  IOMMUFD_ASSERT(bar == 0);
  if (offset + size > kRegistersEnd) return 0;
  if (!turn_.take_for_access()) return ~u64{0};
  const TurnLock turn(turn_, AdoptLock{});
  touched_ = pci::Clock::now();
  absorb();
  run_due();
  // The sentinel is ours: a register that was not written reads 0.
  if (offset >= kChainAddr && offset < kChainAddr + sizeof(u64) && !chain_is_set()) return 0;
  switch (size) {
    case 1: return page_.load<u8>(offset);
    case 2: return page_.load<u16>(offset);
    case 4: return page_.load<u32>(offset);
    default: return page_.load<u64>(offset);
  }
}

void Ioat::bar_write(u32 bar, u64 offset, u32 size, u64 value) {
  IOMMUFD_ASSERT(bar == 0);
  if (offset + size > kRegistersEnd) return;
  if (!turn_.take_for_access()) return;
  const TurnLock turn(turn_, AdoptLock{});
  touched_ = pci::Clock::now();
  absorb();
  if (offset == kChanErr && size == 4) {  // exact here: a written 1 clears
    page_.clear<u32>(kChanErr, static_cast<u32>(value));
  } else {
    switch (size) {
      case 1: page_.store(offset, static_cast<u8>(value)); break;
      case 2: page_.store(offset, static_cast<u16>(value)); break;
      case 4: page_.store(offset, static_cast<u32>(value)); break;
      default: page_.store(offset, value); break;
    }
  }
  absorb();
  show_constants();
  run_due();
}

void Ioat::reset() {
  const TurnLock turn(turn_);
  touched_ = pci::Clock::now();
  for (u64 at = 0; at < kRegistersEnd; at += sizeof(u64)) page_.store<u64>(at, 0);
  page_.store<u64>(kChainAddr, kNoChain);
  show_constants();
  reset_channel();
  intr_ctrl_ = 0;
  armed_ = true;
  ports_.interrupts.set_line(pci::Level::kLow);
}

void Ioat::attach_memory(u32 bar, std::span<std::byte> memory) {
  IOMMUFD_ASSERT(bar == 0);
  const TurnLock turn(turn_);
  touched_ = pci::Clock::now();
  page_.attach(memory);
  poller_.wake();
}

void Ioat::detach_memory(u32 bar) {
  IOMMUFD_ASSERT(bar == 0);
  const TurnLock turn(turn_);
  touched_ = pci::Clock::now();
  page_.detach();
}

void Ioat::interrupts_set(pci::InterruptUse) {
  const TurnLock turn(turn_);
  touched_ = pci::Clock::now();
  absorb();
  leave_reset();
}

pci::PollOutcome Ioat::poll() {
  // Whoever has the turn looks, too, but may have looked already.
  if (!turn_.try_take()) return {.worked = false, .watching = true};
  const TurnLock turn(turn_, AdoptLock{});
  pci::PollOutcome outcome;
  outcome.watching = page_.attached();
  const Answer absorbed = absorb();
  if (run_due() == Answer::kWorked || absorbed == Answer::kWorked) {
    outcome.worked = true;
    touched_ = pci::Clock::now();
  }
  if (state_ == State::kHalted && halt_ == Halt::kByReset) outcome.wake_at = halted_at_ + kHaltedAfterReset;
  if (outcome.watching) outcome.spin_until = touched_ + kTouched;
  return outcome;
}

bool Ioat::chain_is_set() const {
  return page_.load<u32>(kChainAddr) != kHalfNoChain && page_.load<u32>(kChainAddr + 4) != kHalfNoChain;
}

// What clients store last is looked at first, so that whatever is seen was stored after all that is looked at later.
Ioat::Answer Ioat::absorb() {
  const u16 count = page_.load<u16>(kDmaCount);
  const u8 intr_ctrl = page_.load<u8>(kIntrCtrl);
  const bool rearmed = (page_.load<u16>(kChanCtrl) & kCtrlRearm) != 0;
  const bool chained = chain_is_set();
  const Answer command = absorb_command(chained);
  const Answer chain = chained ? absorb_chain() : Answer::kNothing;
  if (intr_ctrl != intr_ctrl_) absorb_interrupt_control(intr_ctrl);
  if (rearmed) rearm();
  // After a command the count may be the old one: the next look takes it.
  if (command == Answer::kNothing) due_ = count;
  if (state_ == State::kHalted && pci::Clock::now() >= halted_at_ + kHaltedAfterReset) leave_reset();
  return command == Answer::kWorked ? command : chain;
}

Ioat::Answer Ioat::absorb_command(bool chain_follows) {
  const u8 command = page_.load<u8>(kChanCmd);
  if (command == 0) return Answer::kNothing;
  if ((command & kCmdReset) != 0) {
    reset_channel();
    page_.clear<u8>(kChanCmd, command);
    if (chain_follows)
      for (const auto until = pci::Clock::now() + kHaltedBeforeArmed; pci::Clock::now() < until;) continue;
  } else {
    page_.clear<u8>(kChanCmd, command);
    if ((command & kCmdSuspend) != 0) suspend();
  }
  return Answer::kWorked;
}

Ioat::Answer Ioat::absorb_chain() {
  const u64 address = page_.exchange<u64>(kChainAddr, kNoChain);
  if (address == 0 || halt_ == Halt::kByError) return Answer::kNothing;  // an error stays until a reset
  forget_ring();
  if (address % kDescriptorAlign != 0) {
    fail(kErrChainAddr);
    return Answer::kWorked;
  }
  halt_ = Halt::kNone;
  first_ = address;
  publish(State::kArmed);
  return Answer::kWorked;
}

void Ioat::absorb_interrupt_control(u8 value) {
  intr_ctrl_ = value;
  leave_reset();
  if (armed_ && std::exchange(pending_, false)) interrupt();
}

// DMACOUNT stays: the client may have stored the new count already.
void Ioat::forget_ring() {
  first_ = last_ = 0;
  done_ = 0;
  write_back_ = false;
}

// Whatever the client may have stored after the command (CHAINADDR and the like) stays.
void Ioat::reset_channel() {
  forget_ring();
  due_ = 0;
  pending_ = false;
  halt_ = Halt::kByReset;
  halted_at_ = pci::Clock::now();
  page_.store<u16>(kDmaCount, 0);
  page_.store<u32>(kChanErr, 0);
  publish(State::kHalted);
}

void Ioat::suspend() {
  if (state_ == State::kSuspended || state_ == State::kHalted) return;
  forget_ring();
  due_ = 0;
  page_.store<u16>(kDmaCount, 0);
  publish(State::kSuspended);
}

void Ioat::leave_reset() {
  if (state_ != State::kHalted || halt_ != Halt::kByReset) return;
  halt_ = Halt::kNone;
  publish(State::kSuspended);
}

bool Ioat::runnable() const {
  const bool started = state_ == State::kArmed || state_ == State::kActive || state_ == State::kDone;
  return started && due_ != done_;
}

Ioat::Answer Ioat::run_due() {
  if (!runnable()) return Answer::kNothing;
  const auto until = pci::Clock::now() + kTimePerPoll;
  for (unsigned n = 0; n < kDescriptorsPerPoll && runnable() && !turn_.wanted(); ++n) {
    Descriptor descriptor;
    if (const u32 errors = run_next(descriptor)) {
      fail(errors);
      return Answer::kWorked;
    }
    ++done_;
    write_back_ = write_back_ || (descriptor.control & kDescCompletion) != 0;
    if ((descriptor.control & kDescInterrupt) != 0) {
      publish_completed();
      interrupt();
    }
    if (pci::Clock::now() >= until) break;
    absorb();
  }
  publish_completed();
  return Answer::kWorked;
}

// The address of the next descriptor is not looked at before it is due: clients fill later ones meanwhile.
u32 Ioat::run_next(Descriptor& descriptor) {
  u64 address = std::exchange(first_, 0);
  u32 errors = address == 0 ? engine_.follow(last_, address) : 0;
  if (errors == 0) errors = engine_.fetch(address, descriptor);
  if (errors == 0) errors = engine_.run(descriptor);
  if (errors == 0) last_ = address;
  return errors;
}

void Ioat::publish_completed() {
  if (last_ == 0) return;
  const State state = due_ == done_ ? State::kDone : State::kActive;
  const u64 completion = page_.load<u64>(kChanCompletion);
  if (std::exchange(write_back_, false) && completion != 0) {
    const u64 value = last_ | static_cast<u64>(state);
    if (const u32 errors = engine_.write_back(completion, value)) return fail(errors);
  }
  publish(state);
}

void Ioat::fail(u32 errors) {
  ports_.note(
      fmt::format("channel error {:#x} after the descriptor at {:#x}: halted until it is reset", errors, last_));
  page_.store<u32>(kChanErr, page_.load<u32>(kChanErr) | errors);
  halt_ = Halt::kByError;
  const u16 control = page_.load<u16>(kChanCtrl);
  const u64 completion = page_.load<u64>(kChanCompletion);
  const u64 value = last_ | static_cast<u64>(State::kHalted);
  if ((control & kCtrlErrorCompletion) != 0 && completion != 0) (void)engine_.write_back(completion, value);
  publish(State::kHalted);
  if ((control & kCtrlErrorInterrupt) != 0) interrupt();
}

void Ioat::publish(State state) {
  state_ = state;
  page_.store<u64>(kChanStatus, last_ | static_cast<u64>(state));
}

void Ioat::interrupt() {
  if (!armed_ || (intr_ctrl_ & (kIntrMsix | kIntrMaster)) == 0) {
    pending_ = true;
    return;
  }
  armed_ = false;
  if (ports_.interrupts.message_signalled()) return ports_.interrupts.send_message(0);
  page_.store<u32>(kAttnStatus, 1);
  intr_ctrl_ = static_cast<u8>(intr_ctrl_ | kIntrStatus | kIntrPending);
  page_.store<u8>(kIntrCtrl, intr_ctrl_);
  ports_.interrupts.set_line(pci::Level::kHigh);
}

void Ioat::rearm() {
  page_.clear<u16>(kChanCtrl, kCtrlRearm);
  armed_ = true;
  if ((intr_ctrl_ & kIntrPending) != 0) {
    intr_ctrl_ = static_cast<u8>(intr_ctrl_ & ~(kIntrStatus | kIntrPending));
    page_.store<u8>(kIntrCtrl, intr_ctrl_);
    page_.store<u32>(kAttnStatus, 0);
    ports_.interrupts.set_line(pci::Level::kLow);
  }
  if (std::exchange(pending_, false)) interrupt();
}

}  // namespace iommufd::models::ioat
