// SPDX-License-Identifier: BSD-3-Clause
// A controller with memory and interrupts around it, and a driver for it that is as simple as can be: rings from a bump
// allocator, one command after the other unless a test says otherwise.
#pragma once

#include <map>
#include <optional>

#include "base/sys.hpp"
#include "models/nvme/controller.hpp"
#include "models/nvme/ram_store.hpp"
#include "tests/support/fake_device.hpp"

namespace iommufd::models::nvme {

// Which vectors were sent. Thread-safe.
class Vectors final : public pci::InterruptPort {
 public:
  std::atomic<bool> messages{true};
  std::atomic<pci::Level> level{pci::Level::kLow};
  bool message_signalled() const override { return messages; }
  void send_message(u32 vector) override {
    const std::lock_guard lock(mu_);
    ++sent_[vector];
  }
  void set_line(pci::Level l) override { level = l; }
  std::map<u32, int> take() {
    const std::lock_guard lock(mu_);
    return std::exchange(sent_, {});
  }

 private:
  std::mutex mu_;
  std::map<u32, int> sent_;
};

class NvmeTest : public testing::Test {
 protected:
  static constexpr u64 kMemory = 8 << 20;
  static constexpr u32 kCcEnable = 0x0046'0001;

  // A pair of rings, as its driver sees it.
  struct Pair {
    u32 id = 0;
    u32 size = 0;
    u64 sq = 0, cq = 0;
    u32 tail = 0, head = 0;
    u16 phase = 1;
    u16 sq_head = 0;  // from the last completion
  };
  struct Outcome {
    u16 cid;
    u16 status;  // SCT and SC with DNR, as in Status
    u32 result;
    u16 sq_id;
  };

  NvmeTest() { dma.memory.resize(kMemory); }
  void SetUp() override { make(); }
  void TearDown() override {
    if (controller != nullptr && mapped()) controller->detach_memory(0);
    controller.reset();
  }

  void make(std::unique_ptr<Store> store = nullptr) {
    TearDown();
    bar = {};
    if (store == nullptr)
      store = std::make_unique<RamStore>(*sys::Mapping::anonymous(config.namespace_size * config.namespaces));
    controller = std::make_unique<Controller>(
        config, std::move(store), pci::ModelPorts{dma, irq, [this](std::string_view line) { note(line); }}, poller);
  }
  void map_bar() {
    bar = std::move(*sys::Mapping::anonymous(kBarSize));
    controller->attach_memory(0, bar.bytes());
  }
  [[nodiscard]] bool mapped() const { return !bar.bytes().empty(); }
  // The client's own view of a mapped register.
  std::atomic_ref<u32> cell(u64 offset) {
    return std::atomic_ref(*reinterpret_cast<u32*>(bar.bytes().data() + offset));
  }

  u32 get(u64 offset) { return static_cast<u32>(controller->bar_read(0, offset, 4)); }
  u64 get64(u64 offset) { return controller->bar_read(0, offset, 8); }
  void set(u64 offset, u32 value) {
    if (mapped()) {
      cell(offset).store(value, std::memory_order_release);
    } else {
      controller->bar_write(0, offset, 4, value);
    }
  }
  void set64(u64 offset, u64 value) {
    set(offset, static_cast<u32>(value));
    set(offset + 4, static_cast<u32>(value >> 32));
  }
  template <class Done>
  bool soon(Done done) {
    const auto end = pci::Clock::now() + std::chrono::seconds(20);
    while (!done()) {
      if (pci::Clock::now() > end) return false;
      controller->poll();
    }
    return true;
  }

  // --- memory of the host ---
  u64 allocate(u64 size, u64 align = kPageSize) {
    next_ = (next_ + align - 1) / align * align;
    const u64 at = next_;
    next_ += size;
    EXPECT_LE(next_, test::FakeDma::kBase + kMemory);
    std::memset(memory(at, size).data(), 0, size);
    return at;
  }
  std::span<u8> memory(u64 at, std::size_t size) {
    return {reinterpret_cast<u8*>(dma.memory.data()) + (at - test::FakeDma::kBase), size};
  }
  template <class T>
  T load(u64 at) {
    T value;
    std::memcpy(&value, memory(at, sizeof value).data(), sizeof value);
    return value;
  }
  template <class T>
  void store(u64 at, T value) {
    std::memcpy(memory(at, sizeof value).data(), &value, sizeof value);
  }
  void fill(u64 at, u64 size, u8 seed) {
    for (u64 i = 0; i < size; ++i) memory(at + i, 1)[0] = static_cast<u8>(seed + i * 7 + i / 251);
  }
  bool same(u64 a, u64 b, u64 size) { return std::ranges::equal(memory(a, size), memory(b, size)); }

  // --- the driver ---
  bool enable(u32 entries = 32, u32 cc = kCcEnable) {
    next_ = test::FakeDma::kBase;
    admin = {.id = 0, .size = entries, .sq = allocate(entries * 64), .cq = allocate(entries * 16)};
    set(reg::kAqa, (entries - 1) | (entries - 1) << 16);
    set64(reg::kAsq, admin.sq);
    set64(reg::kAcq, admin.cq);
    set(reg::kCc, cc);
    return soon([&] { return (get(reg::kCsts) & (csts::kReady | csts::kFatal)) != 0; }) &&
           get(reg::kCsts) == csts::kReady;
  }
  bool disable() {
    set(reg::kCc, get(reg::kCc) & ~u32{1});
    return soon([&] { return (get(reg::kCsts) & csts::kReady) == 0; });
  }
  void put(Pair& pair, const Sqe& sqe) {
    store(pair.sq + u64{pair.tail} * 64, sqe);
    pair.tail = (pair.tail + 1) % pair.size;
  }
  void ring_tail(const Pair& pair) { set(doorbell_offset(pair.id * 2), pair.tail); }
  std::optional<Outcome> take(Pair& pair) {
    const Cqe cqe = load<Cqe>(pair.cq + u64{pair.head} * 16);
    if ((cqe.status & 1) != pair.phase) return std::nullopt;
    if (++pair.head == pair.size) {
      pair.head = 0;
      pair.phase ^= 1;
    }
    pair.sq_head = cqe.sq_head;
    set(doorbell_offset(pair.id * 2 + 1), pair.head);
    return Outcome{cqe.cid, static_cast<u16>(cqe.status >> 1), cqe.result, cqe.sq_id};
  }
  Outcome wait(Pair& pair) {
    std::optional<Outcome> outcome;
    EXPECT_TRUE(soon([&] { return (outcome = take(pair)).has_value(); }));
    return outcome.value_or(Outcome{0xffff, 0xffff, 0, 0});
  }
  Outcome run(Pair& pair, Sqe sqe) {
    sqe.cid = ++cid_;
    put(pair, sqe);
    ring_tail(pair);
    const Outcome outcome = wait(pair);
    EXPECT_EQ(outcome.cid, sqe.cid);
    EXPECT_EQ(outcome.sq_id, pair.id);
    return outcome;
  }
  u16 status_of(Pair& pair, const Sqe& sqe) { return run(pair, sqe).status; }
  u16 admin_status(const Sqe& sqe) { return status_of(admin, sqe); }

  static Sqe command(auto opcode, u32 nsid = 0) {
    Sqe sqe;
    sqe.opcode = static_cast<u8>(opcode);
    sqe.nsid = nsid;
    return sqe;
  }
  static Sqe create_cq(u32 id, u32 size, u64 base, u32 vector = 0, bool interrupts = true) {
    Sqe sqe = command(AdminOpcode::kCreateCq);
    sqe.data.prp1 = base;
    sqe.cdw10 = id | (size - 1) << 16;
    sqe.cdw11 = 1 | (interrupts ? 2 : 0) | vector << 16;
    return sqe;
  }
  static Sqe create_sq(u32 id, u32 size, u64 base, u32 cq) {
    Sqe sqe = command(AdminOpcode::kCreateSq);
    sqe.data.prp1 = base;
    sqe.cdw10 = id | (size - 1) << 16;
    sqe.cdw11 = 1 | cq << 16;
    return sqe;
  }
  static Sqe delete_queue(AdminOpcode opcode, u32 id) {
    Sqe sqe = command(opcode);
    sqe.cdw10 = id;
    return sqe;
  }
  Pair create_pair(u32 id, u32 size = 64, u32 vector = 0) {
    Pair pair{.id = id, .size = size, .sq = allocate(size * 64), .cq = allocate(size * 16)};
    EXPECT_EQ(admin_status(create_cq(id, size, pair.cq, vector)), 0);
    EXPECT_EQ(admin_status(create_sq(id, size, pair.sq, id)), 0);
    return pair;
  }
  static Sqe io(IoOpcode opcode, u64 block, u32 blocks, u64 prp1, u64 prp2 = 0, u32 nsid = 1) {
    Sqe sqe = command(opcode, nsid);
    sqe.cdw10 = static_cast<u32>(block);
    sqe.cdw11 = static_cast<u32>(block >> 32);
    sqe.cdw12 = blocks - 1;
    sqe.data = {prp1, prp2};
    return sqe;
  }

  void note(std::string_view line) {
    const std::lock_guard lock(notes_mu_);
    notes_.emplace_back(line);
  }
  std::vector<std::string> notes() {
    const std::lock_guard lock(notes_mu_);
    return notes_;
  }

  NvmeConfig config{.namespace_size = 4 << 20, .serial = "TEST"};
  test::FakeDma dma;
  Vectors irq;
  Poller poller;
  sys::Mapping bar;
  std::unique_ptr<Controller> controller;
  Pair admin;

 private:
  u64 next_ = test::FakeDma::kBase;
  u16 cid_ = 0;
  std::mutex notes_mu_;
  std::vector<std::string> notes_;
};

// A status as a number, for comparisons.
constexpr u16 raw(Status status) { return static_cast<u16>(status); }

}  // namespace iommufd::models::nvme
