// SPDX-License-Identifier: BSD-3-Clause
#include "models/edu.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace iommufd::models {
namespace {

constexpr u64 kAllOnes = ~u64{0};

// n! modulo 2^32; from 34 on the product holds 2^32 as a factor.
constexpr u32 factorial(u32 n) {
  if (n >= 34) return 0;
  u32 product = 1;
  for (; n > 1; --n) product *= n;
  return product;
}
static_assert(factorial(0) == 1 && factorial(12) == 479001600 && factorial(13) == 1932053504);
static_assert(factorial(33) != 0);

constexpr bool size_served(u64 offset, u32 size) { return size == 4 || (size == 8 && offset >= edu::kWide); }

}  // namespace

Edu::Edu(const EduConfig& config, pci::ModelPorts ports, Poller& poller)
    : config_(config),
      dma_mask_(config.dma_mask_bits == 64 ? kAllOnes : (u64{1} << config.dma_mask_bits) - 1),
      ports_(std::move(ports)),
      poller_(poller) {
  poller_.add(*this);
}

Edu::~Edu() { poller_.remove(*this); }

u64 Edu::bar_read(u32 bar, u64 offset, u32 size) {
  if (bar == edu::kMsixBar) return 0;
  if (!size_served(offset, size)) return kAllOnes;
  const MutexLock lock(mu_);
  absorb();
  run_due_dma();
  return read_register(offset);
}

void Edu::bar_write(u32 bar, u64 offset, u32 size, u64 value) {
  if (bar == edu::kMsixBar || !size_served(offset, size)) return;
  const MutexLock lock(mu_);
  absorb();
  run_due_dma();
  write_register(offset, value);
  run_due_dma();
}

void Edu::reset() {
  const MutexLock lock(mu_);
  ++resets_waiting_;
  while (dma_ == Dma::kRunning) dma_done_.wait(mu_);
  --resets_waiting_;
  dma_ = Dma::kIdle;
  regs_ = {};
  std::ranges::fill(buffer_, std::byte{0});
  ports_.interrupts.set_line(pci::Level::kLow);
  if (page_.attached()) page_.publish(regs_);
}

void Edu::attach_memory(u32 bar, std::span<std::byte> memory) {
  if (bar == edu::kMsixBar) return;  // memory like any other to the client
  const MutexLock lock(mu_);
  page_.attach(memory);
  page_.publish(regs_);
  poller_.wake();
}

void Edu::detach_memory(u32 bar) {
  if (bar == edu::kMsixBar) return;  // memory like any other to the client
  const MutexLock lock(mu_);
  page_.detach();
}

pci::PollOutcome Edu::poll() {
  const MutexLock lock(mu_);
  pci::PollOutcome outcome;
  outcome.worked = absorb();
  run_due_dma();
  outcome.watching = page_.attached();
  if (dma_ == Dma::kDue) outcome.wake_at = dma_due_;
  return outcome;
}

u64 Edu::read_register(u64 offset) const {
  switch (offset) {
    case edu::kId: return edu::kIdValue;
    case edu::kLiveness: return regs_.liveness;
    case edu::kFactorial: return regs_.factorial;
    case edu::kStatus: return regs_.status;
    case edu::kIrqStatus: return regs_.irq_status;
    case edu::kDmaSource: return regs_.dma_source;
    case edu::kDmaDest: return regs_.dma_dest;
    case edu::kDmaCount: return regs_.dma_count;
    case edu::kDmaCommand: return regs_.dma_command;
    default: return kAllOnes;
  }
}

void Edu::write_register(u64 offset, u64 value) {
  const u32 low = static_cast<u32>(value);
  const bool busy = (regs_.dma_command & edu::kDmaRun) != 0;
  switch (offset) {
    case edu::kLiveness:
      regs_.liveness = ~low;
      show32(offset, regs_.liveness);
      break;
    case edu::kFactorial: compute_factorial(low, regs_.factorial); break;
    case edu::kStatus:
      regs_.status = (regs_.status & ~edu::kStatusIrqFactorial) | (low & edu::kStatusIrqFactorial);
      show32(offset, regs_.status);
      break;
    case edu::kIrqRaise: raise(low); break;
    case edu::kIrqAck: acknowledge(low); break;
    case edu::kDmaSource:
      if (busy) break;
      regs_.dma_source = value;
      show64(offset, value);
      break;
    case edu::kDmaDest:
      if (busy) break;
      regs_.dma_dest = value;
      show64(offset, value);
      break;
    case edu::kDmaCount:
      if (busy) break;
      regs_.dma_count = value;
      show64(offset, value);
      break;
    case edu::kDmaCommand:
      if (busy || (value & edu::kDmaRun) == 0) break;
      start_dma(value);
      show64(offset, regs_.dma_command);
      break;
    default: break;
  }
}

// The order is the sheet's (edu 3, sequence rule): acknowledge before anything raises; the number before the status;
// the DMA command before its operands.
bool Edu::absorb() {
  if (!page_.attached()) return false;
  bool worked = false;
  if (const u32 bits = page_.take32(edu::kIrqAck); bits != 0) {
    acknowledge(bits);
    worked = true;
  }
  if (const u32 seen = page_.load32(edu::kLiveness); seen != regs_.liveness) {
    regs_.liveness = ~seen;
    page_.replace32(edu::kLiveness, seen, regs_.liveness);
    worked = true;
  }
  const u32 number = page_.load32(edu::kFactorial);
  if (const u32 seen = page_.load32(edu::kStatus); seen != regs_.status) {
    regs_.status = seen & edu::kStatusIrqFactorial;
    page_.replace32(edu::kStatus, seen, regs_.status);
    worked = true;
  }
  if (number != regs_.factorial) {
    compute_factorial(number, number);
    worked = true;
  }
  if (const u32 bits = page_.take32(edu::kIrqRaise); bits != 0) {
    raise(bits);
    worked = true;
  }
  // What is read-only is put right.
  if (page_.load32(edu::kId) != edu::kIdValue) page_.store32(edu::kId, edu::kIdValue);
  if (page_.load32(edu::kIrqStatus) != regs_.irq_status) show32(edu::kIrqStatus, regs_.irq_status);
  return absorb_dma_command() || worked;
}

bool Edu::absorb_dma_command() {
  if (dma_ != Dma::kIdle) return false;  // stores to the four registers are dropped: the end puts them back
  const u64 command = page_.load64(edu::kDmaCommand);
  absorb_operand(edu::kDmaSource, regs_.dma_source);
  absorb_operand(edu::kDmaDest, regs_.dma_dest);
  absorb_operand(edu::kDmaCount, regs_.dma_count);
  if ((command & edu::kDmaRun) != 0) {
    start_dma(command);
    return true;
  }
  if (command == regs_.dma_command) return false;
  page_.replace64(edu::kDmaCommand, command, regs_.dma_command);
  return true;
}

// A store of 4 bytes sets the whole register, but leaves the upper word of the memory as it was. A device with a mask of
// 32 bits or less takes each store for such a one; what was written through the file is there already, as it was written.
void Edu::absorb_operand(u64 offset, u64& reg) {
  const u64 seen = page_.load64(offset);
  if (seen == reg) return;
  const u64 used = config_.dma_mask_bits > 32 ? kAllOnes : u64{~u32{0}};
  reg = seen & used;
  page_.replace64(offset, seen, reg);
}

void Edu::show32(u64 offset, u32 value) {
  if (page_.attached()) page_.store32(offset, value);
}

void Edu::show64(u64 offset, u64 value) {
  if (page_.attached()) page_.store64(offset, value);
}

// The result is in place before the interrupt. The computation takes no time that anybody could see: status bit 0 is
// never read as 1.
void Edu::compute_factorial(u32 n, u32 shown) {
  regs_.factorial = factorial(n);
  if (page_.attached()) page_.replace32(edu::kFactorial, shown, regs_.factorial);
  if ((regs_.status & edu::kStatusIrqFactorial) != 0) raise(edu::kIrqFactorial);
}

void Edu::raise(u32 bits) {
  regs_.irq_status |= bits;
  if (regs_.irq_status == 0) return;
  show32(edu::kIrqStatus, regs_.irq_status);
  if (ports_.interrupts.message_signalled()) {
    ports_.interrupts.send_message(0);
  } else {
    ports_.interrupts.set_line(pci::Level::kHigh);
  }
}

void Edu::acknowledge(u32 bits) {
  regs_.irq_status &= ~bits;
  show32(edu::kIrqStatus, regs_.irq_status);
  if (regs_.irq_status == 0 && !ports_.interrupts.message_signalled()) {
    ports_.interrupts.set_line(pci::Level::kLow);
  }
}

void Edu::start_dma(u64 command) {
  if (resets_waiting_ != 0) return;
  regs_.dma_command = command;
  dma_ = Dma::kDue;
  dma_due_ = pci::Clock::now() + config_.dma_delay;
  if (config_.dma_delay.count() != 0) poller_.wake();
}

void Edu::run_due_dma() {
  if (dma_ != Dma::kDue || pci::Clock::now() < dma_due_) return;
  dma_ = Dma::kRunning;
  const EduRegisters snapshot = regs_;
  mu_.unlock();
  transfer(snapshot);
  mu_.lock();
  dma_ = Dma::kIdle;
  regs_.dma_command &= ~edu::kDmaRun;
  show64(edu::kDmaSource, regs_.dma_source);
  show64(edu::kDmaDest, regs_.dma_dest);
  show64(edu::kDmaCount, regs_.dma_count);
  show64(edu::kDmaCommand, regs_.dma_command);
  if (resets_waiting_ == 0 && (snapshot.dma_command & edu::kDmaIrq) != 0) raise(edu::kIrqDma);
  dma_done_.notify_all();
}

// Failures move no data and are noted, by us or by the port; the command completes all the same (spec edu 5).
void Edu::transfer(const EduRegisters& regs) noexcept {
  const bool to_memory = (regs.dma_command & edu::kDmaToMemory) != 0;
  const u64 start = to_memory ? regs.dma_source : regs.dma_dest;
  const u64 bus = to_memory ? regs.dma_dest : regs.dma_source;
  const u64 end = start + regs.dma_count;
  const u64 limit = edu::kBuffer + edu::kBufferSize - (config_.last_buffer_byte_usable ? 0 : 1);
  if (start < edu::kBuffer || start >= edu::kBuffer + edu::kBufferSize || end <= start || end > limit) {
    ports_.note(
        fmt::format("DMA of {} bytes at device address {:#x} is outside its buffer [{:#x}, {:#x}): nothing moved",
                    regs.dma_count, start, edu::kBuffer, limit));
    return;
  }
  const u64 address = bus & dma_mask_;
  if (address != bus) {
    ports_.note(fmt::format("DMA address {:#x} is above the mask of {} bits: {:#x} is used", bus, config_.dma_mask_bits,
                            address));
  }
  const std::span<std::byte> window(buffer_.data() + (start - edu::kBuffer), regs.dma_count);
  if (to_memory) {
    [[maybe_unused]] const Result<void> moved = ports_.dma.write(address, window);
  } else {
    std::array<std::byte, edu::kBufferSize> arrived;
    const std::span<std::byte> in(arrived.data(), regs.dma_count);
    if (ports_.dma.read(address, in)) std::ranges::copy(in, window.begin());
  }
}

}  // namespace iommufd::models
