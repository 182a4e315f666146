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
#include "pci/hardware_config.hpp"

namespace iommufd::host {

class ConfigFile final : public pci::HardwareConfig {
 public:
  // `path` is the file. Errors: those of open and read; kInval when it does not show all of the space (we are not privileged).
  static Result<std::unique_ptr<ConfigFile>> open(const std::string& path);

  // Called before messages are enabled; false: they stay off.
  void set_message_setup(std::function<bool(pci::MessageKind)> setup) { set_up_messages_ = std::move(setup); }
  // Messages belong to a driver of the kernel: what it has in the bytes that enable them stays.
  void leave_message_control() { messages_are_served_ = true; }
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
  static u32 known_extended_length(const Capability& cap);
  void put(u32 offset, u32 width, u32 value);
  void write_command(u32 offset, u32 width, u32 value);
  [[nodiscard]] u32 guard_messages(pci::MessageKind kind, u32 offset, u32 width, u32 value);

  const Fd fd_;
  const u32 size_;
  std::function<bool(pci::MessageKind)> set_up_messages_ = [](pci::MessageKind) { return false; };
  bool messages_are_served_ = false;
  bool intx_is_served_ = false;
  std::function<bool(bool)> master_watch_ = [](bool) { return true; };
};

}  // namespace iommufd::host
