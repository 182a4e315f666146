// SPDX-License-Identifier: BSD-3-Clause
// nvme: reads and writes an NVMe disk from user space, with the driver in nvme_driver.hpp.
//
//   nvme BDF identify                   what the controller says of itself
//   nvme BDF verify [OPTION...]         writes patterns over the first blocks, reads them back and compares
//   nvme BDF copy FILE [OPTION...]      writes a file over the first blocks, reads it back and compares
//   nvme BDF bench [OPTION...]          random reads: lines NAME VALUE (times in ns)
//   nvme BDF stray                      points a command to memory that nobody mapped: the IOMMU has to refuse it
//   options: --private (memory of our own instead of a memfd), --irq (sleep until an interrupt comes, instead of polling),
//            --depth=N (commands in flight, 1 to 63; default 1), --size=BYTES (of a command; default 4096), --seconds=S
// Exit: 0, 1 the data is not what was written, 2 anything else that fails.
#include "nvme_driver.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>
#include <string_view>
#include <utility>

namespace {

using namespace nvme;

struct Options {
  Sharing sharing = Sharing::kShared;
  Completion completion = Completion::kPolled;
  unsigned depth = 1;
  u64 size = kPage;
  double seconds = 0.5;
};

// ---- what can be asked for --------------------------------------------------------------------------------------------

int identify(Controller& c) {
  const auto text = [&](unsigned at, unsigned size) {
    std::string s(reinterpret_cast<const char*>(c.identify(1, 0)) + at, size);
    return s.substr(0, s.find_last_not_of(' ') + 1);
  };
  std::printf("model %s\nserial %s\nfirmware %s\n", text(24, 40).c_str(), text(4, 20).c_str(), text(64, 8).c_str());
  std::printf("namespace 1: %llu bytes in blocks of %llu, at most %llu bytes a command\n", ull{c.size}, ull{c.block},
              ull{c.max_transfer});
  return 0;
}

void need_success(const Cqe& c) {
  if (c.status >> 1 != 0) fail("a command failed with status %#x", unsigned{c.status} >> 1);
}

// Every slot does the same with its own pieces of the disk: `depth` commands are in flight.
int verify(Controller& c, const Options& options) {
  const u64 places = c.size / options.size;
  if (options.depth > places) fail("the disk has room for %llu commands of this size", ull{places});
  std::vector<Buffer> slots;
  for (unsigned i = 0; i < options.depth; ++i) slots.push_back(c.buffer(options.size));
  const auto all = [&](Opcode opcode, u64 round) {
    for (u16 i = 0; i < options.depth; ++i) {
      Sqe s = c.transfer(opcode, (round * options.depth + i) % places * options.size, slots[i], options.size);
      s.cid = i;
      c.io.put(s);
    }
    c.io.ring();
    for (unsigned done = 0; done < options.depth;) c.io.wait([&](const Cqe& e) { need_success(e), ++done; });
  };
  const u64 rounds = std::min<u64>(places / options.depth, 300);  // more than once around the rings
  for (u64 round = 0; round < rounds; ++round) {
    std::mt19937_64 random(round);
    std::vector<u64> words(options.size / 8);
    for (Buffer& slot : slots) {
      std::ranges::generate(words, random);
      std::memcpy(slot.data, words.data(), options.size);
    }
    all(kWrite, round);
    for (Buffer& slot : slots) std::memset(slot.data, 0, options.size);
    all(kRead, round);
    random.seed(round);
    for (const Buffer& slot : slots) {
      std::ranges::generate(words, random);
      if (std::memcmp(slot.data, words.data(), options.size) == 0) continue;
      std::printf("round %llu: what was read is not what was written\n", ull{round});
      return 1;
    }
  }
  if (c.io.run({.opcode = kFlush, .nsid = 1}) != 0) fail("Flush failed");
  std::printf("%llu bytes written, read and compared\n", ull{rounds * options.depth * options.size});
  return 0;
}

std::vector<char> read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || bytes.empty()) fail("%s cannot be read, or is empty", path);
  return bytes;
}

// The last block is filled with zeros.
int copy(Controller& c, const char* path, u64 chunk) {
  std::vector<char> file = read_file(path);
  const u64 bytes = file.size();
  file.resize((bytes + c.block - 1) / c.block * c.block);
  if (file.size() > c.size) fail("%s is larger than the disk of %llu bytes", path, ull{c.size});
  const Buffer buffer = c.buffer(chunk);
  const auto each_piece = [&](Opcode opcode, auto before, auto after) {
    for (u64 at = 0; at < file.size(); at += chunk) {
      const u64 size = std::min<u64>(chunk, file.size() - at);
      before(file.data() + at, size);
      if (c.io.run(c.transfer(opcode, at, buffer, size)) != 0) fail("a command failed at %llu", ull{at});
      after(file.data() + at, size);
    }
  };
  bool same = true;
  each_piece(kWrite, [&](const char* p, u64 size) { std::memcpy(buffer.data, p, size); }, [](auto...) {});
  if (c.io.run({.opcode = kFlush, .nsid = 1}) != 0) fail("Flush failed");
  each_piece(
      kRead, [&](const char*, u64 size) { std::memset(buffer.data, 0x55, size); },
      [&](const char* p, u64 size) { same = same && std::memcmp(buffer.data, p, size) == 0; });
  std::printf("%llu bytes written and read: %s\n", ull{bytes}, same ? "identical" : "DIFFERENT");
  return same ? 0 : 1;
}

// Blocks that were never written may cost less to read.
void write_whole_disk(Controller& c) {
  const Buffer buffer = c.buffer(c.max_transfer);
  std::memset(buffer.data, 0x5a, c.max_transfer);
  for (u64 at = 0; at + c.max_transfer <= c.size; at += c.max_transfer)
    if (c.io.run(c.transfer(kWrite, at, buffer, c.max_transfer)) != 0) fail("a write failed");
}

double quantile(std::vector<double>& values, double q) {
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
}

// Random reads. `per_command` is the median of windows of that many completions: what neighbours of this machine's processors
// took away shows in few of them. There is one window at least, however little of the processors is left for us.
int bench(Controller& c, const Options& options) {
  constexpr unsigned kWindow = 128;
  struct Slot {
    Buffer buffer;
    double began = 0;
  };
  write_whole_disk(c);
  std::vector<Slot> slots(options.depth);
  for (Slot& slot : slots) slot.buffer = c.buffer(options.size);
  std::minstd_rand random(1);
  const auto send = [&](u16 cid) {
    Sqe s = c.transfer(kRead, random() % (c.size / options.size) * options.size, slots[cid].buffer, options.size);
    s.cid = cid;
    slots[cid].began = now_ns();
    c.io.put(s);
  };
  std::vector<double> latencies, windows;
  double window = now_ns();
  const double end = window + options.seconds * 1e9;
  for (u16 i = 0; i < options.depth; ++i) send(i);
  for (unsigned flying = options.depth; flying != 0;) {
    c.io.ring();
    c.io.wait([&](const Cqe& e) {
      const double now = now_ns();
      need_success(e);
      latencies.push_back(now - slots[e.cid].began);
      if (latencies.size() % kWindow == 0) windows.push_back((now - std::exchange(window, now)) / kWindow);
      if (now < end || windows.empty())
        send(e.cid);
      else
        --flying;
    });
  }
  std::printf("median %.0f\np99 %.0f\nper_command %.1f\n", quantile(latencies, 0.5), quantile(latencies, 0.99),
              quantile(windows, 0.5));
  return 0;
}

int stray(Controller& c) {
  const u16 status = c.io.run({.opcode = kRead, .nsid = 1, .prp1 = kPage, .cdw10 = {0, 0, 0}});
  std::printf("status %#x\n", unsigned{status});
  return status != 0 ? 0 : 1;
}

Options parse(std::span<char*> words) {
  Options o;
  for (const std::string_view word : words) {
    const std::string value(word.substr(std::min(word.find('=') + 1, word.size())));
    const std::string_view name = word.substr(0, word.find('='));
    if (word == "--private") {
      o.sharing = Sharing::kPrivate;
    } else if (word == "--irq") {
      o.completion = Completion::kInterrupt;
    } else if (name == "--depth") {
      o.depth = static_cast<unsigned>(std::strtoul(value.c_str(), nullptr, 10));
    } else if (name == "--size") {
      o.size = std::strtoull(value.c_str(), nullptr, 0);
    } else if (name == "--seconds") {
      o.seconds = std::strtod(value.c_str(), nullptr);
    } else {
      fail("unknown option %s", word.data());
    }
  }
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 2 ? argv[2] : "";
  const bool has_file = what == "copy" && argc > 3;
  if (what != "identify" && what != "verify" && what != "bench" && what != "stray" && !has_file) {
    std::fputs("usage: nvme BDF identify | verify [OPTION...] | copy FILE [OPTION...] | bench [OPTION...] | stray\n",
               stderr);
    return 2;
  }
  const Options options = parse(std::span(argv, static_cast<std::size_t>(argc)).subspan(has_file ? 4 : 3));
  const Device device(argv[1]);
  if (what == "stray" && device.noiommu) fail("without an IOMMU nothing would stop it");
  Controller controller(device, options.sharing, options.completion);
  const u64 most = std::min(controller.max_transfer, controller.size / 2);
  if (options.size == 0 || options.size > most || options.size % controller.block != 0)
    fail("--size: a multiple of %llu, up to %llu", ull{controller.block}, ull{most});
  if (options.depth < 1 || options.depth >= kEntries) fail("--depth: 1 to %d", kEntries - 1);
  if (what == "identify") return identify(controller);
  if (has_file) return copy(controller, argv[3], options.size);
  if (what == "verify") return verify(controller, options);
  return what == "bench" ? bench(controller, options) : stray(controller);
}
