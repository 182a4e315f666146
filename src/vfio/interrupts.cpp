// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/interrupts.hpp"

#include <bit>
#include <utility>

#include "base/explain.hpp"

namespace iommufd::vfio {
namespace {

Err bad(const char* field, u64 value, const char* rule) {
  return reject(Errno::kInval, {field, value, rule, "vfio-device 13"});
}

Result<u32> zero(Result<void> done) {
  if (!done) return Err(done.error());
  return 0;
}

u64 raw(IrqIndex index) { return std::to_underlying(index); }

}  // namespace

pci::MessageKind Interrupts::kind_of(Mode mode) {
  return mode == Mode::kMsix ? pci::MessageKind::kMsix : pci::MessageKind::kMsi;
}

Interrupts::Interrupts(pci::Function& function, EventWatcher& watcher, std::atomic<u64>* changes)
    : function_(function), watcher_(watcher), changes_(changes) {}

Interrupts::~Interrupts() = default;

IrqInfo Interrupts::info(IrqIndex index) const {
  const pci::FunctionSpec& spec = function_.spec();
  switch (index) {
    case IrqIndex::kIntx:
      return {.count = spec.interrupt_pin != 0 ? 1U : 0U, .maskable = true, .automasked = true, .resizable = true};
    case IrqIndex::kMsi: return {.count = spec.msi ? 1U << spec.msi->vectors_lg2 : 0U};
    case IrqIndex::kMsix: return {.count = spec.msix ? spec.msix->vectors : 0U, .resizable = spec.msix.has_value()};
    case IrqIndex::kErr: return {.count = spec.pcie ? 1U : 0U};
    case IrqIndex::kReq: return {.count = 1};
  }
  return {};
}

Result<u32> Interrupts::set(IrqRequest request) {
  u32 fewer = 0;
  {
    const MutexLock gate(gate_);
    fewer = IOMMUFD_TRY(change(request));
  }
  function_.interrupts_set(use());
  return fewer;
}

Result<u32> Interrupts::change(IrqRequest& request) {
  const bool trigger = request.action == IrqAction::kTrigger;
  switch (request.index) {
    case IrqIndex::kIntx:
      if (trigger) return zero(trigger_intx(request));
      if (request.action == IrqAction::kMask) return zero(mask_intx(request));
      if (request.action == IrqAction::kUnmask) return zero(unmask_intx(request));
      break;
    case IrqIndex::kMsi:
      if (trigger) return trigger_messages(Mode::kMsi, request);
      break;
    case IrqIndex::kMsix:
      if (trigger) return trigger_messages(Mode::kMsix, request);
      break;
    case IrqIndex::kErr:
    case IrqIndex::kReq:
      if (trigger) return zero(trigger_single(request));
      break;
  }
  return reject(Errno::kNoTty, {"index", raw(request.index), "has no handler for this action", "vfio-device 13"});
}

bool Interrupts::request_release() {
  const MutexLock lock(mu_);
  if (request_) request_->signal();
  return request_.has_value();
}

void Interrupts::teardown() {
  const MutexLock gate(gate_);
  switch (mode()) {
    case Mode::kIntx: disable_intx(); break;
    case Mode::kMsi:
    case Mode::kMsix: disable_messages(); break;
    case Mode::kNone: break;
  }
  function_.interrupts_set(pci::InterruptUse::kNone);
  Trigger dropped, dropped_error;
  const MutexLock lock(mu_);
  std::swap(dropped, request_);
  std::swap(dropped_error, error_);
  intx_state_ = pci::Intx::kEnabled;
}

void Interrupts::line(pci::Level level) {
  if (level == pci::Level::kLow) return;
  const MutexLock lock(mu_);
  if (mode_ == Mode::kIntx && !intx_masked_) deliver_intx_locked();
}

void Interrupts::message(u32 vector) {
  const MutexLock lock(mu_);
  if (vector < vectors_.size() && vectors_[vector]) vectors_[vector]->signal();
}

void Interrupts::intx(pci::Intx state) {
  const MutexLock lock(mu_);
  intx_state_ = state;
  if (mode_ != Mode::kIntx) return;
  if (state == pci::Intx::kDisabled) {
    intx_masked_ = true;
  } else {
    unmask_locked();
  }
}

Result<void> Interrupts::mask_intx(const IrqRequest& request) {
  if (mode() != Mode::kIntx || request.start != 0 || request.count != 1) {
    return bad("index", raw(request.index), "INTx must be enabled, start 0, count 1");
  }
  if (request.data == IrqData::kEventfd) {
    return reject(Errno::kNoTty, {"flags", 0, "INTx cannot be masked by an eventfd", "vfio-device 13"});
  }
  const MutexLock lock(mu_);
  if (request.data == IrqData::kNone || request.bools[0] != 0) intx_masked_ = true;
  return {};
}

Result<void> Interrupts::unmask_intx(IrqRequest& request) {
  if (mode() != Mode::kIntx || request.start != 0 || request.count != 1) {
    return bad("index", raw(request.index), "INTx must be enabled, start 0, count 1");
  }
  if (request.data == IrqData::kEventfd) return watch_unmask(request.eventfds[0]);
  if (request.data == IrqData::kNone || request.bools[0] != 0) unmask();
  return {};
}

Result<void> Interrupts::watch_unmask(IrqEventfd& element) {
  if (element.number < 0) {
    if (unmask_watch_) watcher_.remove(*std::exchange(unmask_watch_, std::nullopt));
    return {};
  }
  Eventfd event = IOMMUFD_TRY(std::move(element.event));
  if (unmask_watch_) {
    return reject(Errno::kBusy, {"fd", static_cast<u64>(element.number), "an unmask eventfd is set", "vfio-device 13"});
  }
  unmask_watch_ = IOMMUFD_TRY(watcher_.add(std::move(event).release(), [this] { unmask(); }));
  return {};
}

Result<void> Interrupts::trigger_intx(IrqRequest& request) {
  const Mode now = mode();
  if (now == Mode::kIntx && request.count == 0 && request.data == IrqData::kNone) {
    disable_intx();
    return {};
  }
  if (now != Mode::kNone && now != Mode::kIntx)
    return bad("index", raw(request.index), "another kind of interrupt is enabled");
  if (request.start != 0 || request.count != 1) return bad("count", request.count, "INTx takes start 0, count 1");

  if (request.data == IrqData::kEventfd) {
    Trigger trigger;
    if (request.eventfds[0].number >= 0) trigger = IOMMUFD_TRY(std::move(request.eventfds[0].event));
    if (now == Mode::kNone && function_.irq() == 0) {
      return reject(Errno::kNoDev, {"index", raw(request.index), "no interrupt line is connected", "vfio-device 13"});
    }
    const MutexLock lock(mu_);
    std::swap(intx_, trigger);
    if (now == Mode::kNone) {
      mode_ = Mode::kIntx;
      intx_masked_ = intx_state_ == pci::Intx::kDisabled;
      if (!intx_masked_ && function_.line() == pci::Level::kHigh) deliver_intx_locked();
    }
    return {};
  }
  if (now != Mode::kIntx) return bad("index", raw(request.index), "INTx is not enabled");
  const MutexLock lock(mu_);
  if (request.data == IrqData::kNone || request.bools[0] != 0) signal_intx_locked();
  return {};
}

Result<u32> Interrupts::trigger_messages(Mode kind, IrqRequest& request) {
  const Mode now = mode();
  if (now == kind && request.count == 0 && request.data == IrqData::kNone) {
    disable_messages();
    return 0;
  }
  if (now != kind && now != Mode::kNone)
    return bad("index", raw(request.index), "another kind of interrupt is enabled");

  if (request.data == IrqData::kEventfd) {
    if (now == kind) return zero(set_block(request));
    if (const u32 fewer = IOMMUFD_TRY(enable_messages(kind, request.start + request.count)); fewer != 0) return fewer;
    const Result<void> set = set_block(request);
    if (!set) disable_messages();
    return zero(set);
  }
  if (now != kind) return bad("index", raw(request.index), "is not enabled");
  const MutexLock lock(mu_);
  for (u32 i = 0; i < request.count; ++i) {
    const u32 vector = request.start + i;
    if (vector >= vectors_.size() || !vectors_[vector]) continue;
    if (request.data == IrqData::kNone || request.bools[i] != 0) vectors_[vector]->signal();
  }
  return 0;
}

// ERR and REQ have one eventfd that is armed or not, and no more state.
Result<void> Interrupts::trigger_single(IrqRequest& request) {
  if (request.data == IrqData::kBool && request.count == 0) return bad("count", 0, "must be 1");
  if (request.data == IrqData::kEventfd) {
    if (request.count == 0) return bad("count", 0, "must be 1");
    IrqEventfd& element = request.eventfds[0];
    if (element.number < -1) return bad("fd", static_cast<u64>(element.number), "must be -1 or an eventfd");
    Trigger fresh;
    if (element.number >= 0) fresh = IOMMUFD_TRY(std::move(element.event));
    const MutexLock lock(mu_);
    std::swap(single_locked(request.index), fresh);
    return {};
  }
  Trigger dropped;
  const MutexLock lock(mu_);
  Trigger& armed = single_locked(request.index);
  if (request.data == IrqData::kBool) {
    if (request.bools[0] != 0 && armed) armed->signal();
    return {};
  }
  if (!armed) return bad("index", raw(request.index), "no eventfd is armed");
  if (request.count == 0) {
    std::swap(dropped, armed);
  } else {
    armed->signal();
  }
  return {};
}

// The host's allocator is asked for `vectors`; it refuses an empty range with ERANGE.
Result<u32> Interrupts::enable_messages(Mode kind, u32 vectors) {
  if (vectors == 0) return reject(Errno::kRange, {"count", 0, "no vector to allocate", "vfio-device 13"});
  if (const u32 given = IOMMUFD_TRY(function_.messages_begin(kind_of(kind), vectors)); given < vectors) return given;
  {
    const MutexLock lock(mu_);
    vectors_.clear();
    vectors_.resize(vectors);
    mode_ = kind;
    had_messages_.store(true, std::memory_order_relaxed);
  }
  count_change();
  if (kind == Mode::kMsix) {
    function_.enable_msix();
  } else {
    function_.enable_msi(std::bit_width(vectors - 1));
  }
  return 0;
}

Result<void> Interrupts::set_block(IrqRequest& request) {
  for (u32 i = 0; i < request.count; ++i) {
    const Result<void> set = set_vector(request.start + i, request.eventfds[i]);
    if (set) continue;
    for (u32 j = 0; j <= i; ++j) drop_vector(request.start + j);
    return set;
  }
  return {};
}

// What was there is dropped first, also when the new one turns out to be bad. A vector of MSI-X that was not allocated is now.
Result<void> Interrupts::set_vector(u32 vector, IrqEventfd& element) {
  drop_vector(vector);
  if (element.number < 0) return {};
  const bool msix = mode() == Mode::kMsix;
  {
    const MutexLock lock(mu_);
    if (vector >= vectors_.size() && !msix) return bad("start", vector, "MSI cannot grow: disable it first");
    if (vector >= vectors_.size()) {
      vectors_.resize(vector + 1);
      count_change();
    }
    vectors_[vector] = IOMMUFD_TRY(std::move(element.event));
  }
  if (msix) function_.mask_msix(vector, pci::Masked::kNo);
  return {};
}

void Interrupts::drop_vector(u32 vector) {
  if (mode() == Mode::kMsix) function_.mask_msix(vector, pci::Masked::kYes);
  Trigger dropped;
  const MutexLock lock(mu_);
  if (vector < vectors_.size()) std::swap(dropped, vectors_[vector]);
}

void Interrupts::disable_messages() {
  const Mode kind = mode();
  function_.messages_end(kind_of(kind));
  if (kind == Mode::kMsix) {
    function_.disable_msix();
  } else {
    function_.disable_msi();
  }
  std::vector<Trigger> dropped;
  const MutexLock lock(mu_);
  std::swap(dropped, vectors_);
  mode_ = Mode::kNone;
  count_change();
}

Interrupts::Messages Interrupts::messages() {
  const MutexLock lock(mu_);
  const bool were_any = had_messages_.load(std::memory_order_relaxed);
  if (mode_ != Mode::kMsi && mode_ != Mode::kMsix) return {.were_any = were_any};
  return {static_cast<u32>(vectors_.size()), mode_ == Mode::kMsix, were_any};
}

void Interrupts::disable_intx() {
  if (unmask_watch_) watcher_.remove(*std::exchange(unmask_watch_, std::nullopt));
  Trigger dropped;
  const MutexLock lock(mu_);
  std::swap(dropped, intx_);
  mode_ = Mode::kNone;
}

void Interrupts::unmask() {
  const MutexLock lock(mu_);
  unmask_locked();
}

void Interrupts::unmask_locked() {
  if (mode_ != Mode::kIntx || !intx_masked_ || intx_state_ == pci::Intx::kDisabled) return;
  intx_masked_ = false;
  if (function_.line() == pci::Level::kHigh) deliver_intx_locked();
}

void Interrupts::deliver_intx_locked() {
  intx_masked_ = true;
  signal_intx_locked();
}

void Interrupts::signal_intx_locked() {
  if (intx_state_ == pci::Intx::kEnabled && intx_) intx_->signal();
}

Interrupts::Mode Interrupts::mode() {
  const MutexLock lock(mu_);
  return mode_;
}

pci::InterruptUse Interrupts::use() {
  switch (mode()) {
    case Mode::kNone: return pci::InterruptUse::kNone;
    case Mode::kIntx: return pci::InterruptUse::kIntx;
    case Mode::kMsi:
    case Mode::kMsix: break;
  }
  return pci::InterruptUse::kMessages;
}

}  // namespace iommufd::vfio
