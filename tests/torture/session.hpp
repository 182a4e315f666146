// SPDX-License-Identifier: BSD-3-Clause
// The controller with its admin queue and its I/O queues, from an enable to whatever ends it. The admin queue is everybody's.
#pragma once

#include <mutex>

#include "tests/torture/wrong_admin.hpp"

namespace torture {

constexpr auto kPatience = std::chrono::seconds(30);  // for anything that has to happen
enum class Waiting : u8 { kPolled, kInterrupts };

// Says what the controller did, and ends the program with 1.
[[noreturn]] __attribute__((format(printf, 1, 2))) void wrong(const char* format, ...);

class Session {
 public:
  static constexpr u64 kIova = 0x1'0000'0000, kSize = 24 << 20;
  static constexpr u64 kHole = 0x3'0000'0000;
  static constexpr u16 kQueues = 8;

  Session(nvme::Device& device, nvme::Sharing sharing, Waiting waiting, Random& random);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Runs one command. Any thread.
  nvme::Cqe run(nvme::Sqe sqe);
  u16 status(const nvme::Sqe& sqe) { return static_cast<u16>(run(sqe).status >> 1); }
  void must(const nvme::Sqe& sqe, const char* what);
  // Asks for an asynchronous event; what has come since the last time.
  void arm_event();
  std::vector<nvme::Cqe> events();

  nvme::Device& device;
  nvme::Memory memory;
  std::vector<int> eventfds;  // by vector; empty: polled
  Limits limits;

 private:
  void take(const nvme::Cqe& c);
  std::mutex mu_;
  nvme::Queue admin_;
  u16 next_cid_ = 0, next_event_ = 0;
  std::vector<nvme::Cqe> done_, events_;
  u8* page_;

 public:
  AdminScene scene;
};

}  // namespace torture
