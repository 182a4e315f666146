// SPDX-License-Identifier: BSD-3-Clause
// The two ends of an interrupt. A model raises through its InterruptPort; pci::Function applies what config space says
// (MSI enabled? bus mastering?) and hands what is left to the InterruptSink, which VFIO implements.
#pragma once

#include "base/types.hpp"

namespace iommufd::pci {

enum class Level : u8 { kLow, kHigh };                     // of the INTx line, kHigh: asserted
enum class InterruptUse : u8 { kNone, kIntx, kMessages };  // what the driver has set up
enum class MessageKind : u8 { kMsi, kMsix };
enum class Intx : u8 { kEnabled, kDisabled };  // by the INTx Disable bit of the command register

// What a model sees. Thread-safe; may be called with the model's lock held (rank kModel).
class InterruptPort {
 public:
  // Does the function signal by messages (MSI enabled in its config space) rather than by its line?
  [[nodiscard]] virtual bool message_signalled() const = 0;
  // Sends the message of `vector`. A message is a memory write: with bus mastering off it is lost, and so it is when
  // messages are disabled.
  virtual void send_message(u32 vector) = 0;
  // Drives the INTx line.
  virtual void set_line(Level level) = 0;

 protected:
  ~InterruptPort() = default;
};

// Where interrupts of a function arrive. Called with locks up to rank kModel held: takes kIrq, never blocks, never calls
// back into the function or the model.
class InterruptSink {
 public:
  virtual void line(Level level) = 0;
  virtual void message(u32 vector) = 0;
  // The bit that the client sees in its command register changed.
  virtual void intx(Intx state) = 0;

 protected:
  ~InterruptSink() = default;
};

}  // namespace iommufd::pci
