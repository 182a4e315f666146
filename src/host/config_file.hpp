// SPDX-License-Identifier: BSD-3-Clause
// The configuration space of a function of this machine, through its sysfs file `config`. Two things are never done, whoever writes:
// INTx Disable is not cleared (who serves the line does that, if anybody), and messages are not enabled before somebody has said where they
// go.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "host/message_kind.hpp"
#include "pci/hardware_config.hpp"

namespace iommufd::host {

class ConfigFile final : public pci::HardwareConfig {
 public:
  // `path` is the file. Errors: those of open and read; kInval when it does not show all of the space (we are not privileged).
  static Result<std::unique_ptr<ConfigFile>> open(const std::string& path);

  // Called before messages are enabled, with how many vectors (of MSI-X: 0, which is all), and before they are disabled. False: they stay
  // off.
  using MessageSwitch = std::function<bool(MessageKind kind, bool on, u32 vectors)>;
  // kOurs: we write the bit that enables them. kKernels: whoever is called has it written by a driver, and what that driver has in the
  // register stays.
  enum class MessageRegisters : u8 { kOurs, kKernels };
  void set_message_switch(MessageSwitch change, MessageRegisters registers) {
    change_messages_ = std::move(change);
    message_registers_ = registers;
  }
  // INTx Disable belongs to a driver of the kernel and to who arms it again: the byte of the command register with it (and SERR
  // Enable) is not written from here any more.
  void leave_intx_disable() { intx_is_served_ = true; }

  // Told before bus mastering goes on (false: it stays off) and after it went off.
  void set_master_watch(std::function<bool(bool)> watch) { master_watch_ = std::move(watch); }

  [[nodiscard]] u32 size() const override { return size_; }
  // All ones when the function does not answer.
  [[nodiscard]] u32 read(u32 offset, u32 width) const override;
  void write(u32 offset, u32 width, u32 value) override;
  [[nodiscard]] std::vector<u8> bytes() const override;
  // What a reset or a client changes in the header and in the power state; the rest keeps what it has.
  void restore(std::span<const u8> saved) override;
  void set_power(pci::PowerState state) override;

  // The file, for who needs to reach it without us.
  [[nodiscard]] int descriptor() const { return fd_.get(); }

 private:
  ConfigFile(Fd fd, u32 size) : fd_(std::move(fd)), size_(size) {}
  void find_capabilities();
  [[nodiscard]] u32 known_length(const Capability& cap) const;
  void put(u32 offset, u32 width, u32 value);
  void write_command(u32 offset, u32 width, u32 value);
  [[nodiscard]] u32 switch_messages(MessageKind kind, u32 offset, u32 width, u32 value);

  const Fd fd_;
  const u32 size_;
  MessageSwitch change_messages_ = [](MessageKind, bool, u32) { return false; };
  MessageRegisters message_registers_ = MessageRegisters::kOurs;
  bool intx_is_served_ = false;
  std::function<bool(bool)> master_watch_ = [](bool) { return true; };
};

}  // namespace iommufd::host
