// SPDX-License-Identifier: BSD-3-Clause
// kill_client BDF JOURNAL SEED [--heir]: writes blocks until it is killed, and notes in the journal what was acknowledged and what
// was flushed, by Flush, by FUA, or because the write cache is off. --heir: a child does so, and when it has been
// killed, this process: it finds the function reset, and all that was acknowledged.
#include <sys/prctl.h>
#include <sys/wait.h>

#include <csignal>
#include <random>
#include <string_view>

#include "examples/nvme_driver.hpp"
#include "tests/kill/journal.hpp"
#include "tests/support/block_stamp.hpp"

namespace {

using namespace nvme;
using kills::Journal;

constexpr u32 kMostBlocks = 16, kForceUnitAccess = 1 << 30;

class Writer {
 public:
  Writer(Controller& controller, Journal& journal, u64 seed);
  void write(std::chrono::steady_clock::time_point end);

 private:
  struct Slot {
    Buffer buffer;
    bool used = false, flush = false, durable = false;
    u64 first = 0;
    u32 count = 0;
    std::vector<u64> versions;  // of its blocks; of all acknowledged ones for a flush
  };
  void send(u16 cid);
  bool send_write(Slot& slot, Sqe& sqe);
  void done(const Cqe& c);

  Controller& controller_;
  Journal& journal_;
  std::mt19937_64 random_;
  bool cached_;
  std::vector<Slot> slots_;
  std::vector<bool> busy_ = std::vector<bool>(Journal::kBlocks);
};

Writer::Writer(Controller& controller, Journal& journal, u64 seed)
    : controller_(controller), journal_(journal), random_(seed), cached_(random_() % 4 != 0) {
  constexpr u8 kSetFeatures = 9, kWriteCache = 6;
  if (controller.admin({.opcode = kSetFeatures, .cdw10 = {kWriteCache, cached_ ? 1u : 0u}}) != 0) fail("Set Features");
  slots_.resize(1 + random_() % (kEntries - 2));
  for (Slot& slot : slots_) slot.buffer = controller.buffer(kMostBlocks * controller.block);
}

void Writer::write(std::chrono::steady_clock::time_point end) {
  while (std::chrono::steady_clock::now() < end) {
    for (u16 cid = 0; cid < slots_.size(); ++cid)
      if (!slots_[cid].used) send(cid);
    controller_.io.ring();
    controller_.io.wait([this](const Cqe& c) { done(c); });
  }
}

void Writer::send(u16 cid) {
  Slot& slot = slots_[cid];
  Sqe sqe{.opcode = kFlush, .nsid = 1};
  slot.flush = random_() % 16 == 0;
  slot.versions.clear();
  if (slot.flush) {
    for (const Journal::Version& v : journal_.acknowledged) slot.versions.push_back(v);
  } else if (!send_write(slot, sqe)) {
    return;
  }
  slot.used = true;
  sqe.cid = cid;
  controller_.io.put(sqe);
}

bool Writer::send_write(Slot& slot, Sqe& sqe) {
  const u64 block = controller_.block;
  slot.count = 1 + static_cast<u32>(random_() % kMostBlocks);
  slot.first = Journal::kFringe + random_() % (Journal::kBlocks - 2 * Journal::kFringe - slot.count + 1);
  for (u64 b = slot.first; b < slot.first + slot.count; ++b)
    if (busy_[b]) return false;
  for (u64 b = slot.first; b < slot.first + slot.count; ++b) {
    busy_[b] = true;
    slot.versions.push_back(++journal_.sent[b]);
    stamp::fill({slot.buffer.data + (b - slot.first) * block, block}, b, slot.versions.back());
  }
  sqe = controller_.transfer(kWrite, slot.first * block, slot.buffer, slot.count * block);
  const bool fua = random_() % 8 == 0;
  if (fua) sqe.cdw10[2] |= kForceUnitAccess;
  slot.durable = fua || !cached_;
  return true;
}

void Writer::done(const Cqe& c) {
  Slot& slot = slots_[c.cid];
  if (c.status >> 1 != 0) fail("status %#x", unsigned{c.status} >> 1);
  slot.used = false;
  if (slot.flush) {
    for (u64 b = 0; b < Journal::kBlocks; ++b)
      journal_.flushed[b] = std::max(journal_.flushed[b].load(), slot.versions[b]);
    ++journal_.flushes;
    return;
  }
  for (u32 i = 0; i < slot.count; ++i) {
    const u64 b = slot.first + i;
    busy_[b] = false;
    journal_.acknowledged[b] = slot.versions[i];
    if (slot.durable) journal_.flushed[b] = std::max(journal_.flushed[b].load(), slot.versions[i]);
  }
}

// Whoever held the device before is gone: the function is as after a reset, and what was acknowledged is there.
void inherit(const Device& device) {
  constexpr u64 kCc = 0x14, kCsts = 0x1c, kAqa = 0x24;
  for (const u64 at : {kCc, kCsts, kAqa})
    if (const u32 value = device.bar.read4(at); value != 0)
      fail("register %#llx of an inherited device: %#x", ull{at}, value);
}

void read_all(Controller& controller, const Journal& journal) {
  const Buffer buffer = controller.buffer(controller.block);
  for (u64 b = 0; b < Journal::kBlocks; ++b) {
    if (controller.io.run(controller.transfer(kRead, b * controller.block, buffer, controller.block)) != 0)
      fail("Read");
    const auto version = stamp::version_of({buffer.data, controller.block}, b);
    if (!version || *version < journal.acknowledged[b] || *version > journal.sent[b])
      fail("the heir finds block %llu wrong", ull{b});
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) fail("usage: kill_client BDF JOURNAL SEED [--heir]");
  Journal& journal = Journal::map(argv[2]);
  const u64 seed = std::strtoull(argv[3], nullptr, 0);
  const bool leaves_heir = argc > 4 && std::string_view(argv[4]) == "--heir";
  const pid_t program = ::getpid(), child = leaves_heir ? ::fork() : 0;
  const auto sharing = seed % 2 == 0 ? Sharing::kShared : Sharing::kPrivate;
  const auto completion = seed / 2 % 2 == 0 ? Completion::kPolled : Completion::kInterrupt;
  if (leaves_heir && child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);    // who ends PROGRAM does not end its children
    if (::getppid() != program) return 0;  // it ended before
  }
  if (child != 0) ::waitpid(child, nullptr, 0);
  const Device device(argv[1]);
  if (child != 0) inherit(device);
  Controller controller(device, sharing, completion);
  if (child != 0) read_all(controller, journal);
  Writer writer(controller, journal, seed);
  (child != 0 ? journal.heir : journal.worker) = child != 0 ? 1 : ::getpid();
  writer.write(std::chrono::steady_clock::now() + (child != 0 ? std::chrono::milliseconds(30) : std::chrono::hours(1)));
  return 0;
}
