// SPDX-License-Identifier: BSD-3-Clause
// The notification that the current thread handles. The notified thread stands still until it is answered (or killed), so
// its number is a safe way to its memory for as long as the notification is valid.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>

#include "base/result.hpp"
#include "run/inject.hpp"
#include "run/listener.hpp"

namespace iommufd::run {

class ProcessMemory;

class CallScope {
 public:
  CallScope(const Listener& listener, const Notification& n);
  ~CallScope();
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

  // Null on a thread that handles none.
  static CallScope* current();

  [[nodiscard]] pid_t tid() const { return static_cast<pid_t>(notification_.pid); }
  [[nodiscard]] const Notification& notification() const { return notification_; }
  [[nodiscard]] const Listener& listener() const { return listener_; }
  [[nodiscard]] bool is_valid() const;

  // Copies between the notified thread's memory and `buf`, by its number. Returns the bytes moved before the first page that
  // cannot be accessed. Errors: kSrch when the notification died meanwhile (whatever was read is not to be trusted).
  Result<std::size_t> read(u64 at, std::span<std::byte> buf) const;
  Result<std::size_t> write(u64 at, std::span<const std::byte> buf) const;
  // All or kFault.
  template <class T>
  Result<void> put(u64 at, const T& object) const {
    const Result<std::size_t> n = write(at, std::as_bytes(std::span(&object, 1)));
    if (!n || *n != sizeof(T)) return Err(Errno::kFault);
    return {};
  }
  template <class T>
  Result<T> get(u64 at) const {
    T object{};
    const Result<std::size_t> n = read(at, std::as_writable_bytes(std::span(&object, 1)));
    if (!n || *n != sizeof(T)) return Err(Errno::kFault);
    return object;
  }

  // To be said by whoever has just proved it in another way.
  void caller_seen_alive() const;

  // The caller, held so that it can be made to do system calls (inject.hpp) with a descriptor of ours: from the first use on
  // until finish(). Errors: StoppedCaller::stop(); kBusy when it is held with another descriptor.
  Result<StoppedCaller*> hold(int descriptor);
  // The notification was answered by other means (store_traps.hpp).
  void set_answered() { answered_ = true; }
  // Ends the call with a value or -errno when the caller was held; false: answer the notification.
  bool finish(s64 result);

  // The memory that the notified thread runs in, once somebody has asked for it.
  [[nodiscard]] const ProcessMemory* memory() const { return memory_; }
  void set_memory(const ProcessMemory* memory) { memory_ = memory; }

 private:
  static constexpr std::chrono::microseconds kMoment{200};
  bool is_still_valid() const;
  const Listener& listener_;
  const Notification& notification_;
  const ProcessMemory* memory_ = nullptr;
  std::unique_ptr<StoppedCaller> stopped_;
  int held_with_ = -1;
  bool answered_ = false;
  mutable std::chrono::steady_clock::time_point seen_alive_{};
};

}  // namespace iommufd::run
