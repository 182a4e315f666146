// SPDX-License-Identifier: BSD-3-Clause
// nvme_kills IOMMUFD_USER CLIENT [--rounds=N (20, or KILL_ROUNDS of the environment)] [--seed=N (from the time)]: rounds of `run -d nvme,file=...` with a client that
// writes (kill_client.cpp), in which SIGKILL ends the client, the server or the front at a random moment. Afterwards all processes
// are gone, and the file holds of every block a version not older than the last one flushed, nor than the last one
// acknowledged, nor newer than the last one sent; whole. What nobody writes is as it was. Exit: 0; 1: something was lost.
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/kill/journal.hpp"
#include "tests/support/block_stamp.hpp"

namespace {

using kills::Journal;
using Clock = std::chrono::steady_clock;
using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using ull = unsigned long long;

enum class Victim : u8 { kClient, kServer, kFront, kClientWithHeir };
constexpr auto kVictims = std::to_array({"client", "server", "front", "client with an heir"});
constexpr auto kPatience = std::chrono::seconds(30);

struct Tally {
  u64 rounds = 0, early = 0, loaded = 0, acknowledged = 0, unflushed = 0, flushes = 0;
};

class Kills {
 public:
  Kills(std::string product, std::string client, u64 seed);
  ~Kills() { std::filesystem::remove_all(folder_); }
  Kills(const Kills&) = delete;
  Kills& operator=(const Kills&) = delete;
  void round(u64 number);
  void report() const;

 private:
  void new_image();
  pid_t start(Victim victim);
  // True: the client writes. Otherwise the moment came before.
  bool wait_until(Clock::time_point moment) const;
  void kill(Victim victim, pid_t front);
  void await_end(Victim victim, pid_t front);
  void check(Victim victim);
  [[noreturn]] void wrong(const std::string& what) const;
  u64 pick(u64 n) { return random_() % n; }

  const std::string product_, client_;
  const std::filesystem::path folder_;
  const std::string image_ = folder_ / "disk.img", journal_path_ = folder_ / "journal";
  Journal& journal_;
  const u64 seed_;
  std::mt19937_64 random_;
  u64 number_ = 0;
  std::size_t block_ = 512;
  std::string command_;
  std::array<Tally, kVictims.size()> tallies_{};
};

std::filesystem::path make_folder() {
  std::string name = (std::filesystem::temp_directory_path() / "nvme_kills_XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) std::perror("mkdtemp"), std::exit(2);
  return name;
}

Kills::Kills(std::string product, std::string client, u64 seed)
    : product_(std::move(product)),
      client_(std::move(client)),
      folder_(make_folder()),
      journal_(Journal::map(journal_path_.c_str())),
      seed_(seed),
      random_(seed) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // who is left over becomes our child
}

void Kills::wrong(const std::string& what) const {
  std::fprintf(stderr, "WRONG in round %llu (--seed=%llu): %s\n  %s\n  kept: %s\n", ull{number_}, ull{seed_},
               what.c_str(), command_.c_str(), folder_.c_str());
  std::_Exit(1);
}

void Kills::new_image() {
  block_ = pick(2) != 0 ? 512 : 4096;
  std::vector<u8> bytes(Journal::kBlocks * block_);
  for (u64 b = 0; b < Journal::kBlocks; ++b) {
    stamp::fill(std::span(bytes).subspan(b * block_, block_), b, 1);
    journal_.sent[b] = journal_.acknowledged[b] = journal_.flushed[b] = 1;
  }
  std::ofstream(image_, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

pid_t Kills::start(Victim victim) {
  static constexpr auto kIommus = std::to_array({"amd", "vtd", "none", "smmuv3"});
  const auto either = [&](const char* a, const char* b) { return pick(2) != 0 ? a : b; };
  const std::string device = std::string("nvme,file=") + image_ + ",bs=" + std::to_string(block_) +
                             ",queues=4,iommu=" + kIommus[pick(kIommus.size())] + either(",aio=uring", ",aio=sync") +
                             (pick(4) == 0 ? ",mmap=off" : "");
  std::vector<std::string> words{product_, "run",   "-d",           device,        "--enable-unsafe-noiommu-mode",
                                 "--",     client_, "0000:01:00.0", journal_path_, std::to_string(random_())};
  if (victim == Victim::kClientWithHeir) words.emplace_back("--heir");
  command_.clear();
  std::vector<char*> argv;
  for (std::string& word : words) {
    command_ += word + " ";
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  journal_.worker = journal_.heir = 0;
  journal_.flushes = 0;
  const pid_t front = ::fork();
  if (front != 0) return front;
  if (std::freopen((folder_ / "log").c_str(), "w", stderr) == nullptr) ::_exit(2);
  ::execv(argv[0], argv.data());
  ::_exit(2);
}

bool Kills::wait_until(Clock::time_point moment) const {
  while (Clock::now() < moment) std::this_thread::sleep_for(std::chrono::microseconds(500));
  return journal_.worker != 0;
}

pid_t child_of(pid_t process) {
  std::ifstream children("/proc/" + std::to_string(process) + "/task/" + std::to_string(process) + "/children");
  pid_t child = 0;
  children >> child;
  return child;
}

void Kills::kill(Victim victim, pid_t front) {
  pid_t target = front;
  if (victim == Victim::kServer) target = child_of(front);
  if (victim == Victim::kClient || victim == Victim::kClientWithHeir) target = journal_.worker;
  if (target <= 0) target = front;  // so early that there is no other
  ::kill(target, SIGKILL);
}

// The front ends with the client's end, and nobody outlives it for long.
void Kills::await_end(Victim victim, pid_t front) {
  const auto end = Clock::now() + kPatience;
  int status = 0;
  for (;;) {
    int one = 0;
    const pid_t ended = ::waitpid(-1, &one, WNOHANG);
    if (ended == front) status = one;
    if (ended < 0) break;
    if (ended == 0) std::this_thread::sleep_for(std::chrono::microseconds(500));
    if (Clock::now() > end) wrong("a process is still there");
  }
  const bool heir_lives = victim == Victim::kClientWithHeir && journal_.worker != 0;
  if (heir_lives && (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || journal_.heir == 0)) wrong("the heir failed");
}

void Kills::check(Victim victim) {
  std::vector<u8> bytes(Journal::kBlocks * block_);
  std::ifstream(image_, std::ios::binary)
      .read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (std::filesystem::file_size(image_) != bytes.size()) wrong("the size of the file has changed");
  Tally& tally = tallies_[static_cast<std::size_t>(victim)];
  bool loaded = false;
  for (u64 b = 0; b < Journal::kBlocks; ++b) {
    const auto version = stamp::version_of(std::span(bytes).subspan(b * block_, block_), b);
    const u64 flushed = journal_.flushed[b], acknowledged = journal_.acknowledged[b], sent = journal_.sent[b];
    const auto say = [&](const char* what) {
      wrong(std::string(what) + ": block " + std::to_string(b) + " has version " +
            (version ? std::to_string(*version) : "none, it is torn") + "; flushed " + std::to_string(flushed) +
            ", acknowledged " + std::to_string(acknowledged) + ", sent " + std::to_string(sent));
    };
    if (!version) say("torn");
    if (*version < flushed) say("LOST what was flushed");
    if (*version < acknowledged) say("LOST what was acknowledged");
    if (*version > sent) say("never written");
    loaded |= acknowledged != sent;
    tally.acknowledged += acknowledged > 1 ? 1 : 0;
    tally.unflushed += acknowledged > flushed ? 1 : 0;
    // The next round goes on from here.
    journal_.flushed[b] = journal_.acknowledged[b] = *version;
  }
  tally.loaded += loaded ? 1 : 0;
  tally.flushes += journal_.flushes;
}

void Kills::round(u64 number) {
  constexpr u64 kRoundsOfAnImage = 25;
  number_ = number;
  if (number % kRoundsOfAnImage == 0) new_image();
  const auto victim = static_cast<Victim>(number % kVictims.size());
  const pid_t front = start(victim);
  const bool early = pick(8) == 0;
  const auto begun = Clock::now();
  while (!early && journal_.worker == 0) {
    if (Clock::now() > begun + kPatience) wrong("the client does not begin");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const bool writes = wait_until(Clock::now() + std::chrono::microseconds(pick(early ? 60'000 : 120'000)));
  kill(victim, front);
  await_end(victim, front);
  check(victim);
  Tally& tally = tallies_[static_cast<std::size_t>(victim)];
  ++tally.rounds;
  tally.early += writes ? 0 : 1;
}

void Kills::report() const {
  std::printf("%-20s %6s %14s %12s %20s %20s %8s\n", "killed", "rounds", "before writes", "in flight",
              "blocks acknowledged", "of them not flushed", "flushes");
  for (std::size_t i = 0; i < kVictims.size(); ++i) {
    const Tally& t = tallies_[i];
    std::printf("%-20s %6llu %14llu %12llu %20llu %20llu %8llu\n", kVictims[i], ull{t.rounds}, ull{t.early},
                ull{t.loaded}, ull{t.acknowledged}, ull{t.unflushed}, ull{t.flushes});
  }
}

}  // namespace

int main(int argc, char** argv) {
  u64 rounds = 20, seed = static_cast<u64>(Clock::now().time_since_epoch().count());
  if (const char* text = std::getenv("KILL_ROUNDS")) rounds = std::strtoull(text, nullptr, 0);
  for (int i = 3; i < argc; ++i) {
    if (std::strncmp(argv[i], "--rounds=", 9) == 0) rounds = std::strtoull(argv[i] + 9, nullptr, 0);
    if (std::strncmp(argv[i], "--seed=", 7) == 0) seed = std::strtoull(argv[i] + 7, nullptr, 0);
  }
  if (argc < 3) return std::fputs("usage: nvme_kills IOMMUFD_USER CLIENT [--rounds=N] [--seed=N]\n", stderr), 2;
  std::printf("--seed=%llu\n", ull{seed});
  std::fflush(stdout);
  const auto begun = Clock::now();
  Kills kills(argv[1], argv[2], seed);
  for (u64 i = 0; i < rounds; ++i) kills.round(i);
  kills.report();
  std::printf("%llu kills in %.0f s: nothing lost\n", ull{rounds},
              std::chrono::duration<double>(Clock::now() - begun).count());
  return 0;
}
