// SPDX-License-Identifier: BSD-3-Clause
// A thread with a pair of I/O queues. It sends commands, right and wrong, as many at once as it likes, and compares each answer
// with what the sheet and the oracle say.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "tests/torture/window.hpp"

namespace torture {

struct Plan {
  u32 depth = 32;       // commands of one queue in flight, at most
  bool deletes = true;  // queues are deleted under load
  bool mistakes = true;
};

struct Counts {
  u64 right = 0, mistaken = 0, faulted = 0, abandoned = 0, deletions = 0;
  double slowest_ms = 0;
  void add(const Counts& other);
};

class Worker {
 public:
  // Makes the pair `number`. `window`: none without an IOMMU.
  Worker(Session& session, Oracle& oracle, Window* window, u16 number, const Plan& plan, u64 seed);

  // Until `stop`. What is in flight then is waited for, or not.
  enum class Leave : u8 { kEmpty, kLoaded };
  void run(const std::atomic<bool>& stop, Leave leave);
  // What is in flight will never happen any more, or has. Pre: run() has returned.
  void abandon();
  // Nothing but data of commands was written. After abandon().
  void check_memory();

  Counts counts;

 private:
  struct Flying {
    bool used = false;
    IoOpcode opcode{};
    Slot* slot = nullptr;
    bool in_window = false;
    u64 turns = 0;  // of the window
    const Mistake* mistake = nullptr;
    Range range;
    std::vector<Oracle::Write> writes;
    Oracle::Read read;
    bool equal = false;  // Compare with what the blocks are thought to hold
    double began = 0;
  };
  struct Retired {  // rings of queues that are deleted
    u8 *sq, *cq;
    std::vector<u8> cq_bytes;
  };

  void create();
  void submit();
  bool choose(Flying& f, nvme::Sqe& sqe);
  void choose_range(Flying& f, nvme::Sqe& sqe);
  void choose_transfer(Flying& f, nvme::Sqe& sqe);
  void choose_ranges(Flying& f, nvme::Sqe& sqe);
  void point(Flying& f, nvme::Sqe& sqe);
  u32 drain();
  void complete(const nvme::Cqe& c);
  void judge(Flying& f, u16 status);
  void judge_read(Flying& f);
  void settle(Flying& f, Oracle::End how);
  void wait();
  void recreate();
  [[nodiscard]] double now_ms() const { return nvme::now_ns() / 1e6; }

  Session& session_;
  Oracle& oracle_;
  Window* const window_;
  const u16 number_;
  const Plan plan_;
  Random random_;
  std::unique_ptr<nvme::Queue> queue_;
  int event_ = -1;
  std::vector<std::unique_ptr<Slot>> slots_, window_slots_;
  std::vector<Flying> flying_;  // by slot; the window's behind the others
  std::vector<Retired> retired_;
  u32 in_flight_ = 0, unrung_ = 0;
  std::vector<u8> bytes_;
};

}  // namespace torture
