// SPDX-License-Identifier: BSD-3-Clause
// What a device model is to the rest of the machine. A model sees a DmaPort, its registers and its interrupts, nothing
// else: no iommufd, no VFIO, no client.
//
// All methods are thread-safe and run in parallel. A model keeps its registers under one lock of rank kModel, which it
// never holds while it calls its DmaPort.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/types.hpp"
#include "iommu/dma_port.hpp"
#include "pci/interrupts.hpp"

namespace iommufd::pci {

using Clock = std::chrono::steady_clock;

// What one look of poll() found.
struct PollOutcome {
  bool worked = false;                         // the client was active: look again soon
  bool watching = false;                       // registers lie in shared memory: keep looking
  std::optional<Clock::time_point> wake_at{};  // something of the model's own is due then
  // The client may look for an answer within microseconds: look without pause until then.
  std::optional<Clock::time_point> spin_until{};
};

class DeviceModel {
 public:
  virtual ~DeviceModel() = default;

  // One access of 1, 2, 4 or 8 bytes, naturally aligned, inside the BAR. Little-endian value in the low bytes.
  virtual u64 bar_read(u32 bar, u64 offset, u32 size) = 0;
  virtual void bar_write(u32 bar, u64 offset, u32 size, u64 value) = 0;

  // Function reset: registers to their reset values, line low. When it returns, no DMA that was started before can
  // touch memory any more.
  virtual void reset() = 0;

  // The client may map the BAR from now on: `memory` is our view of what it sees. Until detach_memory() returns, the
  // model serves what the client stores there. Called only for BARs that the model's FunctionSpec calls mappable.
  virtual void attach_memory(u32 bar, std::span<std::byte> memory) = 0;
  virtual void detach_memory(u32 bar) = 0;

  // The descriptor of the file that clients are to map for this BAR; -1: attach_memory() says what they see.
  [[nodiscard]] virtual int bar_file(u32 /*bar*/) const { return -1; }

  // The driver has set up interrupts, or taken them down (SET_IRQS); not an access of the device, but a model that is polled may need
  // to know that the client has come so far.
  virtual void interrupts_set(InterruptUse /*use*/) {}
  // Messages are about to be enabled, for vectors [0, needed): how many there are. With fewer than `needed` they stay disabled. Errors:
  // those of whoever gives vectors out.
  virtual Result<u32> messages_begin(MessageKind /*kind*/, u32 needed) { return needed; }
  // They are about to be disabled.
  virtual void messages_end(MessageKind /*kind*/) {}

  // Looks at mapped registers and at what is due. Called by the shared poller, and before each request on the device.
  virtual PollOutcome poll() = 0;
};

// What a model is given for its life.
struct ModelPorts {
  iommu::DmaPort& dma;
  InterruptPort& interrupts;
  // One line for the operator ("DMA of 5000 bytes exceeds the buffer"); the caller adds the name of the device.
  // May be called from any thread, with the model's lock held.
  std::function<void(std::string_view)> note;
};

using ModelFactory = std::function<std::unique_ptr<DeviceModel>(ModelPorts)>;

}  // namespace iommufd::pci
