// SPDX-License-Identifier: BSD-3-Clause
// The surroundings of a PCI function or a device model, for tests: memory behind a DmaPort, interrupts that are counted,
// a model that records what it is asked.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "pci/device_model.hpp"
#include "pci/function.hpp"

namespace iommufd::test {

// Memory at [kBase, kBase + size); everything else faults. Counts transactions. Thread-safe.
class FakeDma final : public iommu::DmaPort {
 public:
  static constexpr u64 kBase = 0x10000;
  std::vector<std::byte> memory = std::vector<std::byte>(64 * kPageSize);
  std::atomic<bool> bus_master{true};
  std::atomic<int> transactions{0};
  std::function<void()> during = [] {};  // runs inside each transaction

  Result<void> read_pieces(std::span<const iommu::DmaReadPiece> pieces) override {
    begin();
    for (const iommu::DmaReadPiece& piece : pieces) {
      const std::byte* at = IOMMUFD_TRY(locate(piece.addr, piece.bytes.size()));
      copy(piece.bytes.data(), at, piece.bytes.size());
    }
    return {};
  }
  Result<void> write_pieces(std::span<const iommu::DmaWritePiece> pieces) override {
    begin();
    for (const iommu::DmaWritePiece& piece : pieces) {
      std::byte* at = IOMMUFD_TRY(locate(piece.addr, piece.bytes.size()));
      copy(at, piece.bytes.data(), piece.bytes.size());
    }
    return {};
  }
  void set_bus_master(bool on) override { bus_master = on; }

 private:
  // A device reads and writes what its driver does not guard by any lock of the language: the thread sanitizer does not look here.
#ifdef __SANITIZE_THREAD__
  [[gnu::no_sanitize("thread"), gnu::noinline]] static void copy(std::byte* to, const std::byte* from,
                                                                 std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) to[i] = from[i];
  }
#else
  static void copy(std::byte* to, const std::byte* from, std::size_t size) { std::memcpy(to, from, size); }
#endif
  void begin() {
    ++transactions;
    const auto hook = during;  // a hook may replace itself
    hook();
  }
  Result<std::byte*> locate(u64 addr, std::size_t size) {
    if (!bus_master || addr < kBase || size > memory.size() || addr - kBase > memory.size() - size) {
      return Err(Errno::kFault);
    }
    return memory.data() + (addr - kBase);
  }
};

// What a model raises. Thread-safe.
class FakeInterrupts final : public pci::InterruptPort {
 public:
  std::atomic<bool> messages{true};  // MSI enabled?
  std::atomic<int> sent{0};
  std::atomic<pci::Level> level{pci::Level::kLow};

  bool message_signalled() const override { return messages; }
  void send_message(u32) override { ++sent; }
  void set_line(pci::Level l) override { level = l; }
};

// Where a function's interrupts arrive. Thread-safe.
class FakeSink final : public pci::InterruptSink {
 public:
  void line(pci::Level level) override { record(level == pci::Level::kHigh ? "high" : "low"); }
  void message(u32 vector) override { record("message " + std::to_string(vector)); }
  void intx(pci::Intx state) override { record(state == pci::Intx::kDisabled ? "intx off" : "intx on"); }
  std::vector<std::string> take() {
    const std::lock_guard lock(mu_);
    return std::exchange(events_, {});
  }

 private:
  void record(std::string event) {
    const std::lock_guard lock(mu_);
    events_.push_back(std::move(event));
  }
  std::mutex mu_;
  std::vector<std::string> events_;
};

// A BAR of plain bytes, with a log of the accesses.
class FakeModel final : public pci::DeviceModel {
 public:
  explicit FakeModel(pci::ModelPorts p) : ports(std::move(p)) {}
  struct Access {
    u32 bar;
    u64 offset;
    u32 size;
    friend bool operator==(const Access&, const Access&) = default;
  };
  pci::ModelPorts ports;
  std::vector<u8> bytes = std::vector<u8>(0x10000);
  std::vector<Access> reads, writes;
  std::atomic<int> accesses{0};  // writes that are complete
  std::atomic<int> resets{0}, polls{0}, interrupt_changes{0};
  pci::InterruptUse interrupt_use = pci::InterruptUse::kNone;
  u32 vectors = ~u32{0};                       // that there are for messages
  std::optional<pci::MessageKind> messages{};  // given out
  std::span<std::byte> mapped;
  std::function<void()> during_read = [] {};

  u64 bar_read(u32 bar, u64 offset, u32 size) override {
    during_read();
    reads.push_back({bar, offset, size});
    u64 value = 0;
    std::memcpy(&value, bytes.data() + offset, size);
    return value;
  }
  void bar_write(u32 bar, u64 offset, u32 size, u64 value) override {
    writes.push_back({bar, offset, size});
    std::memcpy(bytes.data() + offset, &value, size);
    ++accesses;
  }
  void reset() override { ++resets; }
  Result<u32> messages_begin(pci::MessageKind kind, u32 needed) override {
    if (needed <= vectors) messages = kind;
    return std::min(needed, vectors);
  }
  void messages_end(pci::MessageKind kind) override {
    if (messages == kind) messages.reset();
  }
  void interrupts_set(pci::InterruptUse use) override {
    interrupt_use = use;
    ++interrupt_changes;
  }
  void attach_memory(u32, std::span<std::byte> memory) override { mapped = memory; }
  void detach_memory(u32) override { mapped = {}; }
  pci::PollOutcome poll() override {
    ++polls;
    return {};
  }
};

inline std::span<std::byte> bytes_of(auto& value) { return std::as_writable_bytes(std::span(&value, 1)); }

}  // namespace iommufd::test
