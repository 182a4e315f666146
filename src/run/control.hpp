// SPDX-License-Identifier: BSD-3-Clause
// What front, server and client tell each other over their socket pairs: one message of fixed size per packet.
#pragma once

#include <array>
#include <optional>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "base/types.hpp"

namespace iommufd::run {

struct ControlMessage {
  enum class Kind : u8 {
    // server → front
    kLeftover,  // `text` is the directory to remove should the server die
    kExited,    // PROGRAM ended; `value` is its exit code
    kSignaled,  // PROGRAM was killed; `value` is the signal
    kStopped,   // PROGRAM was stopped; `value` is the signal
    kFailed,    // run failed; `value` is the exit code, the reason has been printed
    // front → server
    kSignal,  // send the signal `value` to PROGRAM
    // client → server
    kListener,  // the listener comes along as a descriptor
    kNoFilter,  // no filter could be installed; `value` is the errno
    kNoView,    // the path view could not be entered; `value` is the errno
    kNoExec,    // PROGRAM could not be executed; `value` is the errno
  };
  Kind kind = Kind::kFailed;
  int value = 0;
  std::array<char, 120> text{};
};

// A descriptor for each end; both are closed by an exec.
struct ControlPair {
  Fd first, second;
  static Result<ControlPair> create();
};

// `fd` goes along when it is >= 0. Errors: those of send_packet.
Result<void> send_control(const Fd& socket, ControlMessage message, int fd = -1);

struct ReceivedControl {
  ControlMessage message;
  Fd fd;
};
// Nothing when the other end is gone.
std::optional<ReceivedControl> receive_control(const Fd& socket);

}  // namespace iommufd::run
