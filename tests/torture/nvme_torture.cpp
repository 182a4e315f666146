// SPDX-License-Identifier: BSD-3-Clause
// nvme_torture BDF [OPTION...]: a client of an NVMe controller that does everything, right and wrong, on several queues from
// several threads, and knows what must come of it (README.md). In epochs: the controller is enabled, worked on, and ended in one
// of many ways with commands in flight; what the disk holds goes on from one epoch to the next.
//   --seconds=S (1.5, or TORTURE_SECONDS of the environment)  --seed=N (from the time)  --threads=N (3)  --depth=N (30; commands of a queue in flight)
//   --private (memory of its own instead of a memfd)  --irq, --polled (otherwise by turns)  --calm (no mistakes, no deletions, no
//   resets: only data and time)
// Exit: 0, 1 the controller is wrong, 2 the program could not do its work.
#include <string_view>
#include <thread>

#include "tests/torture/worker.hpp"

namespace torture {
namespace {

struct Options {
  std::string bdf;
  double seconds = 1.5;
  u64 seed = 0;
  u32 threads = 3, depth = 30;
  nvme::Sharing sharing = nvme::Sharing::kShared;
  std::optional<Waiting> waiting;
  bool calm = false;
};

enum class Ending : u8 { kDrained, kDisabled, kReset, kClosed, kSqFault, kCqFault, kMasterOff, kShutdown };
constexpr auto kEndings =
    std::to_array({"drained", "disabled", "reset", "closed", "SQ fault", "CQ fault", "bus master off", "shutdown"});

constexpr u64 kCc = 0x14, kCsts = 0x1c;

class Torture {
 public:
  explicit Torture(const Options& options) : options_(options), random_(options.seed) {
    device_ = std::make_unique<nvme::Device>(options.bdf);
  }
  void run();

 private:
  void epoch();
  void begin();
  void clear_disk();
  void read_disk();
  void disturb();
  void admin_command();
  void odd_doorbell();
  void finish(Ending ending);
  void fault_queue(Ending ending);
  void set_bus_master(bool on);
  void await_csts(u32 mask, u32 value, const char* what);
  void report(double seconds) const;
  double elapsed() const { return (nvme::now_ns() - began_) / 1e9; }

  const Options options_;
  Random random_;
  const double began_ = nvme::now_ns();
  std::unique_ptr<nvme::Device> device_;
  std::unique_ptr<Oracle> oracle_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<Window> window_;
  std::unique_ptr<nvme::Queue> probe_;  // a pair of our own, for what nobody else may see
  std::vector<std::unique_ptr<Worker>> workers_;
  Counts total_;
  u64 epochs_ = 0, admin_ = 0, events_ = 0, blinks_ = 0, armed_ = 0;
  std::array<u64, kEndings.size()> endings_{};
};

void Torture::begin() {
  const Waiting waiting = options_.waiting.value_or(pick(random_, 2) != 0 ? Waiting::kInterrupts : Waiting::kPolled);
  session_ = std::make_unique<Session>(*device_, options_.sharing, waiting, random_);
  if (oracle_ == nullptr) oracle_ = std::make_unique<Oracle>(session_->limits.blocks, session_->limits.block_size);
  const u32 most = Session::kQueues - 1;
  session_->must({.opcode = 9, .cdw10 = {7, (most - 1) | (most - 1) << 16}}, "Set Features, Number of Queues");
  session_->scene.queues = most;
  session_->scene.absent = most;
  if (!device_->noiommu && !options_.calm) window_ = std::make_unique<Window>(*session_, options_.sharing);
  const auto probe = static_cast<u16>(options_.threads + 1);
  probe_ = std::make_unique<nvme::Queue>(session_->memory, device_->bar, probe, -1, 16);
  for (const nvme::Sqe& sqe : nvme::creation(session_->memory, *probe_, probe, std::nullopt))
    session_->must(sqe, "Create I/O queue");
  session_->scene.live = probe;
  epochs_ == 0 ? clear_disk() : read_disk();
  const Plan plan{
      .depth = options_.depth, .deletes = !options_.calm && pick(random_, 2) != 0, .mistakes = !options_.calm};
  for (u16 i = 1; i <= options_.threads; ++i)
    workers_.push_back(std::make_unique<Worker>(*session_, *oracle_, window_.get(), i, plan, random_()));
  armed_ = 0;
}

// The oracle begins with zeros.
void Torture::clear_disk() {
  constexpr u64 kMost = 0x10000;
  for (u64 at = 0; at < oracle_->blocks(); at += kMost) {
    const u64 count = std::min(kMost, oracle_->blocks() - at);
    const u16 status = probe_->run(
        {.opcode = kWriteZeroes, .nsid = 1, .cdw10 = {static_cast<u32>(at), 0, static_cast<u32>(count - 1)}});
    if (status != 0) wrong("Write Zeroes: status %#x", unsigned{status});
  }
}

// What the last epoch has left, all of it: nothing works on the disk now.
void Torture::read_disk() {
  const u32 block = session_->limits.block_size;
  const u64 most = session_->limits.most_bytes / block;
  Slot slot(session_->memory, static_cast<u32>(session_->limits.most_bytes / nvme::kPage + 1), session_->memory);
  std::vector<u8> bytes;
  for (u64 at = 0; at < oracle_->blocks(); at += most) {
    const Range range{at, static_cast<u32>(std::min(most, oracle_->blocks() - at))};
    bytes.resize(u64{range.count} * block);
    slot.lay(bytes.size(), 0, random_);
    nvme::Sqe sqe{.opcode = kRead, .nsid = 1, .cdw10 = {static_cast<u32>(at), 0, range.count - 1}};
    slot.point_prp(sqe, random_);
    const Oracle::Read read = oracle_->begin_read(range);
    if (const u16 status = probe_->run(sqe); status != 0) wrong("Read: status %#x", unsigned{status});
    slot.get(bytes);
    const std::string what = oracle_->end_read(read, bytes, std::vector<bool>(range.count));
    if (!what.empty()) wrong("after the epoch: %s", what.c_str());
  }
}

void Torture::epoch() {
  begin();
  const auto ending = options_.calm ? Ending::kDrained : static_cast<Ending>(pick(random_, kEndings.size()));
  const auto leave = ending == Ending::kDrained ? Worker::Leave::kEmpty : Worker::Leave::kLoaded;
  const double end = std::min(elapsed() + 0.02 * (1 + pick(random_, 20)), options_.seconds);
  {
    std::atomic<bool> stop{false};
    std::vector<std::jthread> threads;
    for (auto& worker : workers_) threads.emplace_back([&] { worker->run(stop, leave); });
    while (elapsed() < end) options_.calm ? void(::usleep(10'000)) : disturb();
    stop = true;
  }
  finish(ending);
  // Nothing works on our memory any more.
  const std::span<u8> bytes = session_->memory.bytes();
  const std::vector<u8> before(bytes.begin(), bytes.end());
  ::usleep(1000);
  if (!std::ranges::equal(before, bytes))
    wrong("memory is written after the controller has stopped (%s)", kEndings[std::size_t(ending)]);
  for (auto& worker : workers_) {
    worker->abandon();
    worker->check_memory();
    total_.add(worker->counts);
  }
  ++epochs_;
  ++endings_[static_cast<std::size_t>(ending)];
  workers_.clear();
  probe_.reset();
  if (device_ != nullptr && window_ != nullptr) window_->memory.unmap(*device_);
  if (device_ != nullptr) session_->memory.unmap(*device_);
  window_.reset();
  session_.reset();
  if (device_ == nullptr) device_ = std::make_unique<nvme::Device>(options_.bdf);
}

// --- beside the workers ---

void Torture::disturb() {
  switch (pick(random_, 4)) {
    case 0:
    case 1: return admin_command();
    case 2: return odd_doorbell();
    default:
      ::usleep(pick(random_, 1000));
      if (window_ == nullptr || pick(random_, 2) != 0) return;
      window_->blink();
      ++blinks_;
  }
}

void Torture::admin_command() {
  const auto all = admin_cases();
  const AdminCase& c = all[pick(random_, static_cast<u32>(all.size()))];
  if (c.needs_hole && !session_->scene.hole) return;
  const u16 status = session_->status(c.make(session_->scene, random_));
  if (status != c.status) wrong("\"%s\": status %#x, not %#x", c.what, unsigned{status}, unsigned{c.status});
  ++admin_;
}

// Values beyond a queue, and queues that are not there: ignored, and reported when somebody asks (spec nvme 5 and 8).
void Torture::odd_doorbell() {
  constexpr u32 kMostEvents = 4, kErrorLog = 1;
  const bool armed = armed_ != 0;
  if (pick(random_, 2) != 0 && armed_ < kMostEvents) {
    session_->arm_event();
    session_->must({.opcode = 0x0a, .cdw10 = {7}}, "Get Features");  // behind it: the request has been fetched
    ++armed_;
  }
  const bool absent = pick(random_, 2) != 0;
  const unsigned queue = absent ? options_.threads + 2 + pick(random_, 4) : session_->scene.live;
  const u32 value = absent ? pick(random_, 0x10000) : probe_->entries + pick(random_, 0x10000 - probe_->entries);
  device_->bar.write4(device_->bar.doorbell(queue) + 4 * pick(random_, 2), value);
  if (!armed) return;
  const double end = nvme::now_ns() + 30e9;
  std::vector<nvme::Cqe> events;
  while (events = session_->events(), events.empty()) {
    if (nvme::now_ns() > end) wrong("no event for the doorbell of queue %u and value %#x", queue, value);
    ::usleep(50);
  }
  // Deletions of queues under load ring doorbells of absent queues, too.
  for (const nvme::Cqe& e : events)
    if (e.status >> 1 != 0 || (e.result != 0x01'00'00 && e.result != 0x01'01'00)) wrong("event %#x", e.result);
  armed_ -= events.size();
  events_ += events.size();
  session_->must({.opcode = 2, .prp1 = session_->scene.page, .cdw10 = {kErrorLog | 15 << 16}}, "Get Log Page");
}

// --- how it ends ---

void Torture::await_csts(u32 mask, u32 value, const char* what) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while ((device_->bar.read4(kCsts) & mask) != value) {
    if (std::chrono::steady_clock::now() > end) wrong("%s: CSTS %#x", what, device_->bar.read4(kCsts));
    ::usleep(20);
  }
}

void Torture::set_bus_master(bool on) {
  const u16 command = PCI_COMMAND_MEMORY | (on ? PCI_COMMAND_MASTER : 0);
  const auto at = static_cast<off_t>(device_->region(VFIO_PCI_CONFIG_REGION_INDEX).offset + PCI_COMMAND);
  if (::pwrite(device_->fd, &command, sizeof command, at) != sizeof command) wrong("the command register");
}

// A ring that is not there: CSTS.CFS (spec nvme 10).
void Torture::fault_queue(Ending ending) {
  const u32 id = session_->scene.absent;
  const u64 ring = session_->scene.page, hole = *session_->limits.hole;
  const bool sq = ending == Ending::kSqFault;
  session_->must({.opcode = 5, .prp1 = sq ? ring : hole, .cdw10 = {id | 15 << 16, 1}}, "Create CQ");
  session_->must({.opcode = 1, .prp1 = sq ? hole : ring, .cdw10 = {id | 15 << 16, 1 | id << 16}}, "Create SQ");
  device_->bar.write4(device_->bar.doorbell(id), 1);
  await_csts(2, 2, "a ring at an unmapped address");
}

void Torture::finish(Ending ending) {
  const bool no_fault = !session_->limits.hole;
  switch (ending) {
    case Ending::kDrained: break;
    case Ending::kDisabled: break;
    case Ending::kReset:
      nvme::need(::ioctl(device_->fd, VFIO_DEVICE_RESET), "VFIO_DEVICE_RESET");
      if (device_->bar.read4(kCsts) != 0 || device_->bar.read4(kCc) != 0)
        wrong("after VFIO_DEVICE_RESET: CC %#x, CSTS %#x", device_->bar.read4(kCc), device_->bar.read4(kCsts));
      set_bus_master(true);
      return;
    case Ending::kClosed:
      device_.reset();
      // Under `run` the close has happened when the next call on a file of the machine has (docs/abi-matrix.md, row 105).
      if (::access("/dev/iommu", F_OK) != 0) wrong("/dev/iommu has gone");
      return;
    case Ending::kSqFault:
    case Ending::kCqFault:
      if (!no_fault) fault_queue(ending);
      break;
    case Ending::kMasterOff:
      set_bus_master(false);
      ::usleep(pick(random_, 1000));
      break;
    case Ending::kShutdown:
      device_->bar.write4(kCc, device_->bar.read4(kCc) | (1 + pick(random_, 2)) << 14);
      await_csts(0xc, 0x8, "shutdown");
      break;
  }
  device_->bar.enable(false);
  if (device_->bar.read4(kCsts) != 0) wrong("disabled: CSTS %#x", device_->bar.read4(kCsts));
  if (ending == Ending::kMasterOff) set_bus_master(true);
}

void Torture::run() {
  while (elapsed() < options_.seconds) epoch();
  report(elapsed());
}

void Torture::report(double seconds) const {
  const auto n = [](u64 v) { return nvme::ull{v}; };
  std::printf(
      "%.1f s, %llu epochs: %llu commands right, %llu mistaken, %llu on memory that went, %llu abandoned (slowest %.1f "
      "ms); "
      "%llu queues deleted under load, %llu admin commands, %llu events, %llu unmaps\n",
      seconds, n(epochs_), n(total_.right), n(total_.mistaken), n(total_.faulted), n(total_.abandoned),
      total_.slowest_ms, n(total_.deletions), n(admin_), n(events_), n(blinks_));
  for (std::size_t i = 0; i < kEndings.size(); ++i)
    std::printf("%s%s %llu", i == 0 ? "" : ", ", kEndings[i], n(endings_[i]));
  std::printf("\n");
}

Options parse(std::span<char*> words) {
  Options o;
  o.bdf = words[0];
  o.seed = static_cast<u64>(std::chrono::system_clock::now().time_since_epoch().count());
  if (const char* seconds = std::getenv("TORTURE_SECONDS")) o.seconds = std::strtod(seconds, nullptr);
  for (const std::string_view word : words.subspan(1)) {
    const std::string value(word.substr(std::min(word.find('=') + 1, word.size())));
    const std::string_view name = word.substr(0, word.find('='));
    if (word == "--private")
      o.sharing = nvme::Sharing::kPrivate;
    else if (word == "--irq")
      o.waiting = Waiting::kInterrupts;
    else if (word == "--polled")
      o.waiting = Waiting::kPolled;
    else if (word == "--calm")
      o.calm = true;
    else if (name == "--seconds")
      o.seconds = std::strtod(value.c_str(), nullptr);
    else if (name == "--seed")
      o.seed = std::strtoull(value.c_str(), nullptr, 0);
    else if (name == "--threads")
      o.threads = static_cast<u32>(std::strtoul(value.c_str(), nullptr, 10));
    else if (name == "--depth")
      o.depth = static_cast<u32>(std::strtoul(value.c_str(), nullptr, 10));
    else
      nvme::fail("unknown option %s", word.data());
  }
  if (o.threads < 1 || o.threads > 4 || o.depth < 1) nvme::fail("--threads: 1 to 4; --depth: 1 or more");
  return o;
}

}  // namespace
}  // namespace torture

int main(int argc, char** argv) {
  if (argc < 2) nvme::fail("usage: nvme_torture BDF [OPTION...]");
  const auto options = torture::parse(std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
  std::printf("--seed=%llu\n", nvme::ull{options.seed});
  std::fflush(stdout);
  torture::Torture(options).run();
  return 0;
}
