// SPDX-License-Identifier: BSD-3-Clause
// host_kills IOMMUFD_USER CLIENT BDF [--rounds=N (200)] [--seed=N (from the time)] [--unguarded]: in a guest whose kernel poisons
// free pages (page_poison=1), N rounds each of `run -d host,addr=BDF` with a client (busy_reader) that has many slow reads in
// flight, in which SIGKILL ends the client or the server at a random moment. Afterwards
//   * no process of ours is there (a guardian that keeps pages is asked to release them, and counted),
//   * the function masters the bus no more,
//   * no page that was freed was written: the kernel finds the poison of every free page whole when the page is allocated again,
//     and what was allocated at once keeps what is in it while the reads would have come,
//   * the next start works.
// With --unguarded the guardian is killed before the server, and its client is left to the end of its server: what then goes wrong
// is counted; nothing of it is an error, but finding nothing is. Root; not for a machine that somebody needs.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using u8 = std::uint8_t;
using u64 = std::uint64_t;
using ull = unsigned long long;
using std::chrono::milliseconds;

constexpr auto kPatience = std::chrono::seconds(20);
constexpr u64 kPage = 4096;
// The reads in flight (63) need up to 420 ms at the 150 commands a second of the disk (tests/e2e/boot).
constexpr auto kFlight = milliseconds(500);

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "host_kills: %s\n", what.c_str());
  std::_Exit(2);
}

// ---- what the kernel knows --------------------------------------------------------------------------------------------

class Processes {
 public:
  explicit Processes(const std::string& product, const std::string& client)
      : product_(fs::canonical(product)), client_(fs::canonical(client)) {}
  [[nodiscard]] std::vector<pid_t> ours() const { return of(product_); }
  [[nodiscard]] std::vector<pid_t> clients() const { return of(client_); }

 private:
  static std::vector<pid_t> of(const fs::path& program) {
    std::vector<pid_t> found;
    std::error_code gone;
    for (const auto& entry : fs::directory_iterator("/proc")) {
      const pid_t pid = std::atoi(entry.path().filename().c_str());
      if (pid > 0 && fs::read_symlink(entry.path() / "exe", gone) == program) found.push_back(pid);
    }
    std::ranges::sort(found);
    return found;
  }
  const fs::path product_, client_;
};

// PCI 3.0, 6.2.2: Command, bit 2.
bool masters_bus(const std::string& bdf) {
  std::ifstream config("/sys/bus/pci/devices/" + bdf + "/config", std::ios::binary);
  std::array<char, 6> bytes{};
  if (!config.read(bytes.data(), bytes.size())) fail("the config space of " + bdf + " cannot be read");
  return (bytes[4] & 4) != 0;
}

// What a server that died without a guardian has left undone.
void stop_function(const std::string& bdf) {
  const std::string directory = "/sys/bus/pci/devices/" + bdf;
  std::ofstream(directory + "/reset") << 1;
  const int config = ::open((directory + "/config").c_str(), O_WRONLY | O_CLOEXEC);
  constexpr std::array<u8, 2> kCommand{};
  if (config < 0 || ::pwrite(config, kCommand.data(), kCommand.size(), 4) < 0 || masters_bus(bdf))
    fail(bdf + " cannot be stopped");
  ::close(config);
}

// The kernel's messages since the last look.
class KernelLog {
 public:
  KernelLog() : fd_(::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)) {
    if (fd_ < 0) fail("/dev/kmsg cannot be read");
    ::lseek(fd_, 0, SEEK_END);
  }
  // How many of them tell of damage: of a poisoned page, or of what followed from it.
  u64 damage() {
    u64 found = 0;
    std::array<char, 8192> record{};
    for (;;) {
      const ssize_t n = ::read(fd_, record.data(), record.size() - 1);
      if (n < 0 && errno == EPIPE) continue;  // some were overwritten before we came
      if (n <= 0) return found;
      record[static_cast<std::size_t>(n)] = 0;
      for (const char* sign :
           {"pagealloc: memory corruption", "pagealloc: single bit error", "BUG:", "Oops", "general protection"})
        if (std::strstr(record.data(), sign) != nullptr) {
          ++found;
          std::printf("  kernel: %s", std::strchr(record.data(), ';') + 1);
          break;
        }
    }
  }

 private:
  const int fd_;
};

// ---- memory pressure --------------------------------------------------------------------------------------------------

u64 free_memory() {
  std::ifstream info("/proc/meminfo");
  std::string name;
  u64 kilobytes = 0;
  while (info >> name)
    if (name == "MemFree:" && info >> kilobytes) break;
  return kilobytes * 1024;
}

// Takes nearly all free pages for a while; the kernel checks the poison of each. Returns how many of them were written meanwhile by
// others. In a process of its own, which the kernel may take if we asked for too much.
u64 take_free_pages(milliseconds time) {
  constexpr u64 kLeft = u64{12} << 20;
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) fail("pipe2");
  const pid_t child = ::fork();
  if (child == 0) {
    std::ofstream("/proc/self/oom_score_adj") << 1000;
    const u64 size = (free_memory() - std::min(free_memory(), kLeft)) / kPage * kPage;
    void* p = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) ::_exit(1);
    ::madvise(p, size, MADV_NOHUGEPAGE);
    if (::madvise(p, size, MADV_POPULATE_WRITE) != 0) ::_exit(1);
    std::this_thread::sleep_for(time);
    constexpr std::array<char, kPage> kZeros{};
    u64 written = 0;
    for (u64 at = 0; at < size; at += kPage)
      written += u64{std::memcmp(static_cast<char*>(p) + at, kZeros.data(), kPage) != 0};
    (void)!::write(pipe[1], &written, sizeof(written));
    ::_exit(0);
  }
  ::close(pipe[1]);
  u64 written = 0;
  const bool said = ::read(pipe[0], &written, sizeof(written)) == sizeof(written);
  ::close(pipe[0]);
  ::waitpid(child, nullptr, 0);
  if (!said) std::puts("  (the memory could not be taken this time)");
  return written;
}

// ---- rounds -----------------------------------------------------------------------------------------------------------

enum class Victim : u8 { kClient, kServer };
enum class Guardian : u8 { kLives, kDiesFirst };
constexpr auto kVictims = std::to_array({"client", "server"});

struct Tally {
  // What is no error: reads were in flight at the kill; a guardian of the function was there then.
  u64 rounds = 0, reading = 0, guarded = 0;
  // Rounds with what is one.
  u64 not_quiet = 0, left = 0, kept = 0, poison = 0, overwritten = 0, damaged = 0, no_start = 0;
  double slowest = 0;  // from the kill until all have ended, in seconds
  [[nodiscard]] u64 wrong() const { return not_quiet + left + kept + damaged + no_start; }
};

constexpr const char* kProgress = "/tmp/host_kills.progress";

u64& map_progress() {
  const int file = ::open(kProgress, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || ::ftruncate(file, sizeof(u64)) != 0) fail(kProgress);
  void* p = ::mmap(nullptr, sizeof(u64), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (p == MAP_FAILED) fail(kProgress);
  ::close(file);
  return *static_cast<u64*>(p);
}

class Kills {
 public:
  Kills(std::string product, std::string client, std::string bdf, u64 seed, Guardian guardian)
      : product_(std::move(product)),
        client_(std::move(client)),
        bdf_(std::move(bdf)),
        guardian_(guardian),
        processes_(product_, client_),
        random_(seed) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // who is left over becomes our child
    stop_function(bdf_);                 // the firmware may have looked for a system on the disk
  }
  void round(Victim victim);
  // What the last round may have left is of this victim, too.
  void settle(Victim victim) { look(tallies_[static_cast<std::size_t>(victim)]); }
  [[nodiscard]] const Tally& tally(Victim victim) const { return tallies_[static_cast<std::size_t>(victim)]; }
  void report() const;

 private:
  [[nodiscard]] std::vector<std::string> run(std::vector<std::string> words) const;
  static pid_t start(std::vector<std::string> words);
  [[nodiscard]] bool await_reads(pid_t front) const;
  bool kill(Victim victim, pid_t front, Tally& t) const;
  void await_end(Tally& t) const;
  bool is_empty(Clock::time_point until) const;
  void look(Tally& t);
  u64 pick(u64 n) { return random_() % n; }

  const std::string product_, client_, bdf_;
  const std::atomic_ref<u64> progress_{map_progress()};  // reads that the client has seen completed
  const Guardian guardian_;
  const Processes processes_;
  std::mt19937_64 random_;
  std::string round_;  // what it was, for who reads of it
  KernelLog log_;
  std::array<Tally, kVictims.size()> tallies_{};
};

std::vector<std::string> Kills::run(std::vector<std::string> words) const {
  std::vector<std::string> all{product_, "run",   "-d", "host,addr=" + bdf_, "--enable-unsafe-noiommu-mode",
                               "--",     client_, bdf_};
  std::ranges::move(words, std::back_inserter(all));
  return all;
}

pid_t Kills::start(std::vector<std::string> words) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  const int nowhere = ::open("/tmp/host_kills.log", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ::dup2(nowhere, 1);
  ::dup2(nowhere, 2);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

void show_log() {
  std::ifstream log("/tmp/host_kills.log");
  for (std::string line; std::getline(log, line);) std::printf("  > %s\n", line.c_str());
}

// False: the run ended before a read of its client had completed, or none does.
bool Kills::await_reads(pid_t front) const {
  const auto end = Clock::now() + kPatience;
  while (progress_.load() == 0) {
    if (::waitpid(front, nullptr, WNOHANG) == front || Clock::now() > end) return false;
    std::this_thread::sleep_for(milliseconds(2));
  }
  return true;
}

bool is_guardian(pid_t pid) {
  std::string name;
  return std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/comm"), name) && name == "iommufd-guard";
}

// The server is the front's child.
pid_t server_of(pid_t front) {
  std::ifstream children("/proc/" + std::to_string(front) + "/task/" + std::to_string(front) + "/children");
  for (pid_t child = 0; children >> child;)
    if (!is_guardian(child)) return child;
  return 0;
}

// True: there was a guardian.
bool Kills::kill(Victim victim, pid_t front, Tally& t) const {
  std::vector<pid_t> victims;
  for (const auto end = Clock::now() + kPatience; victims.empty() && Clock::now() < end;) {
    const pid_t server = server_of(front);
    victims = victim == Victim::kClient ? processes_.clients() : std::vector<pid_t>(server > 0 ? 1 : 0, server);
  }
  std::vector<pid_t> guardians = processes_.ours();
  std::erase_if(guardians, [](pid_t pid) { return !is_guardian(pid); });
  if (guardian_ == Guardian::kDiesFirst)
    for (const pid_t pid : guardians) ::kill(pid, SIGKILL);
  t.reading += u64{progress_.load() != 0};
  for (const pid_t pid : victims) ::kill(pid, SIGKILL);
  return !guardians.empty();
}

bool Kills::is_empty(Clock::time_point until) const {
  for (;;) {
    while (::waitpid(-1, nullptr, WNOHANG) > 0) continue;
    if (processes_.ours().empty() && processes_.clients().empty()) return true;
    if (Clock::now() > until) return false;
    std::this_thread::sleep_for(milliseconds(2));
  }
}

void Kills::await_end(Tally& t) const {
  const auto began = Clock::now();
  if (!is_empty(began + kPatience)) {
    ++t.kept;
    std::puts("  somebody is still there; release:");
    const pid_t asks = start({product_, "release", bdf_});
    ::waitpid(asks, nullptr, 0);
    show_log();
    if (!is_empty(Clock::now() + kPatience)) {
      ++t.left;
      for (const auto& list : {processes_.ours(), processes_.clients()})
        for (const pid_t pid : list) ::kill(pid, SIGKILL);
      (void)is_empty(Clock::now() + kPatience);
    }
  }
  t.slowest = std::max(t.slowest, std::chrono::duration<double>(Clock::now() - began).count());
}

void Kills::look(Tally& t) {
  const bool quiet = !masters_bus(bdf_);
  // While what is in flight would come. What is written now into pages that are free is found in the next round.
  const u64 overwritten = take_free_pages(kFlight);
  const u64 damage = log_.damage();
  if (overwritten != 0) std::printf("  %llu pages of another process were overwritten\n", ull{overwritten});
  t.not_quiet += u64{!quiet || masters_bus(bdf_)};
  t.overwritten += u64{overwritten != 0};
  t.poison += u64{damage != 0};
  t.damaged += u64{overwritten != 0 || damage != 0};
  if (!quiet || overwritten != 0 || damage != 0) std::printf("  in %s\n", round_.c_str());
  if (masters_bus(bdf_)) stop_function(bdf_);
}

void Kills::round(Victim victim) {
  Tally& t = tallies_[static_cast<std::size_t>(victim)];
  ++t.rounds;
  // Anonymous memory or a file's; reads of 16 or 64 KiB, so that many pages are waiting to be written.
  const std::string size = pick(2) != 0 ? "16384" : "65536";
  progress_.store(0);
  const pid_t front = start(run({kProgress, size, pick(2) != 0 ? "private" : "shared"}));
  const bool early = pick(10) == 0;
  if (early) {
    std::this_thread::sleep_for(milliseconds(pick(300)));
  } else if (!await_reads(front)) {
    ++t.no_start;
    std::puts("  the client did not start");
    show_log();
  }
  if (!early) std::this_thread::sleep_for(milliseconds(pick(100)));
  const bool reading = progress_.load() != 0, guarded = kill(victim, front, t);
  t.guarded += u64{guarded};
  round_ = "round " + std::to_string(t.rounds) + " of the " + kVictims[static_cast<std::size_t>(victim)] + ", " + size +
           (early ? ", early" : "") + (reading ? ", reading" : "") + (guarded ? ", guarded" : "");
  await_end(t);
  look(t);
}

void Kills::report() const {
  std::printf("%-7s %7s %10s %8s | %10s %6s %6s %9s %12s %8s %9s | %s\n", "killed", "rounds", "reading", "guarded",
              "not quiet", "left", "kept", "poison", "overwritten", "either", "no start", "slowest end (s)");
  for (std::size_t i = 0; i < kVictims.size(); ++i) {
    const Tally& t = tallies_[i];
    std::printf("%-7s %7llu %10llu %8llu | %10llu %6llu %6llu %9llu %12llu %8llu %9llu | %.2f\n", kVictims[i],
                ull{t.rounds}, ull{t.reading}, ull{t.guarded}, ull{t.not_quiet}, ull{t.left}, ull{t.kept},
                ull{t.poison}, ull{t.overwritten}, ull{t.damaged}, ull{t.no_start}, t.slowest);
  }
}

}  // namespace

int main(int argc, char** argv) {
  u64 rounds = 200, seed = static_cast<u64>(Clock::now().time_since_epoch().count());
  Guardian guardian = Guardian::kLives;
  for (int i = 4; i < argc; ++i) {
    if (std::strncmp(argv[i], "--rounds=", 9) == 0) rounds = std::strtoull(argv[i] + 9, nullptr, 0);
    if (std::strncmp(argv[i], "--seed=", 7) == 0) seed = std::strtoull(argv[i] + 7, nullptr, 0);
    if (std::strcmp(argv[i], "--unguarded") == 0) guardian = Guardian::kDiesFirst;
  }
  if (argc < 4) {
    std::fputs("usage: host_kills IOMMUFD_USER CLIENT BDF [--rounds=N] [--seed=N] [--unguarded]\n", stderr);
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::printf("--seed=%llu\n", ull{seed});
  const auto begun = Clock::now();
  Kills kills(argv[1], argv[2], argv[3], seed, guardian);
  for (const Victim victim : {Victim::kClient, Victim::kServer}) {
    for (u64 i = 1; i <= rounds; ++i) {
      kills.round(victim);
      if (i % 50 == 0 && i != rounds) kills.report();
    }
    kills.settle(victim);
  }
  kills.report();
  std::printf("%llu kills in %.0f s\n", ull{2 * rounds}, std::chrono::duration<double>(Clock::now() - begun).count());
  const Tally &client = kills.tally(Victim::kClient), &server = kills.tally(Victim::kServer);
  if (guardian == Guardian::kDiesFirst) return server.damaged != 0 && client.damaged == 0 ? 0 : 1;
  return client.wrong() + server.wrong() == 0 ? 0 : 1;
}
