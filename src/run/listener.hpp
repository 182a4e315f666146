// SPDX-License-Identifier: BSD-3-Clause
// The kernel interface of seccomp user notification, as types: installing the filter, receiving a notification, and the
// ways to answer it. Thread-safe: several threads may receive from one listener.
#pragma once

#include <linux/seccomp.h>

#include <span>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "base/types.hpp"
#include "run/answer.hpp"

struct sock_filter;  // NOLINT(readability-identifier-naming): the kernel's name

namespace iommufd::run {

struct Notification : seccomp_notif {
  [[nodiscard]] u64 arg(unsigned n) const { return data.args[n]; }
  // Descriptor and other int arguments: the kernel looks at the low half only.
  [[nodiscard]] int int_arg(unsigned n) const { return static_cast<int>(static_cast<u32>(data.args[n])); }
};

// Whether the new descriptor is closed by an exec.
enum class CloseOnExec : u8 { kNo, kYes };

class Listener {
 public:
  Listener() = default;
  explicit Listener(Fd fd) : fd_(std::move(fd)) {}

  // In the client: sets no_new_privs and installs the program for the calling thread and all that it starts. Errors: kBusy
  // when a listener exists already (run inside run), kInval when the kernel is too old.
  static Result<Fd> install(std::span<const sock_filter> program);

  // Asks the kernel to switch to the woken side on the same CPU. False where it cannot (before 6.6).
  bool set_sync_wake_up();

  // Waits for the next notification. Errors: kIntr (a signal), kNoEnt (the caller died before it was received: try again).
  Result<void> receive(Notification& out) const;
  // The notified thread still waits for its answer. What was read from its memory before is truly its memory's.
  [[nodiscard]] bool is_valid(u64 id) const;

  // A failure means that the caller is gone, and there is nobody to tell.
  void answer(u64 id, const Answer& a) const;
  // Installs a duplicate of `fd` in the caller: as `number`, or as the lowest free one when `number` is negative. Returns
  // its number; the call still waits for its answer. (It cannot be interrupted in between, only killed.) Errors: kMFile
  // and others of dup2; kNoEnt when the caller is gone.
  Result<int> install_descriptor(u64 id, int fd, int number, CloseOnExec close_on_exec) const;

  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  Fd fd_;
};

}  // namespace iommufd::run
