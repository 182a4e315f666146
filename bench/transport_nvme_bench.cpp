// SPDX-License-Identifier: BSD-3-Clause
// The NVMe controller under `iommufd-user run`, driven by examples/nvme: random reads of 4 KiB, one and 32 in flight, and reads
// of 1 MiB (two commands of 512 KiB, the most that one moves), polled, with the blocks in memory. Rows nvme/DEVICE/MEMORY/...,
// DEVICE being `iommu` or `noiommu`, MEMORY `shared` (a memfd: the server maps it too) or `private` (it copies by system calls):
//   qd1        from the doorbell to the completion that is seen
//   qd1_irq    the same when the driver sleeps until the interrupt
//   qd32       per command
//   1m         per MiB
// Beside them what the same bytes and messages cost without a device, bare/...: a memcpy, process_vm_readv from another
// process, and a cache line's way to another processor and back. And as a yardstick a program that nobody wrote for this, `qemu-img bench`,
// which reads 4 KiB here and there, qemu_img/SOURCE/qd1 and qemu_img/SOURCE/qd32 (per command in both):
//   file_threads, file_io_uring   of a raw file in the page cache, without us: preadv by QEMU's threads, or its io_uring
//   nvme                          of the same controller under `run`, by QEMU's own driver
// Prints ROW lines (see tools/bench).
//
//   transport_nvme_bench [--quick]      IOMMUFD_BUILD_DIR: the build tree (default: the directory above this program's)
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <random>
#include <string_view>
#include <thread>

#include "bench/transport_runs.hpp"

namespace {

using namespace runs;

constexpr std::size_t k4K = 4096, k1M = 1 << 20, kDisk = 64 << 20;

struct Setup {
  std::string product, driver;
  std::string qemu_img = {};  // empty: it is not there
  int rounds = 5;
  int calls = 20000;
  std::string seconds = "0.5";
};

// ns per call of `step`, which gets a random offset of the disk.
template <typename Step>
double each_ns(int calls, std::size_t size, Step step) {
  std::minstd_rand random(1);
  const double start = bare::now_ns();
  for (int i = 0; i < calls; ++i) step(random() % (kDisk / size) * size);
  return (bare::now_ns() - start) / calls;
}

// A child with a copy of `disk`, which the parent reads by system calls.
class Other {
 public:
  Other() : pid_(::fork()) {
    if (pid_ < 0) bare::fail("fork");
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) ::pause();
  }
  ~Other() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Other(const Other&) = delete;
  Other& operator=(const Other&) = delete;
  void read(void* to, void* from, std::size_t size) const {
    const iovec local{to, size}, remote{from, size};
    if (::process_vm_readv(pid_, &local, 1, &remote, 1, 0) != static_cast<ssize_t>(size))
      bare::fail("process_vm_readv");
  }

 private:
  pid_t pid_;
};

void copies(const Setup& setup) {
  void* map = ::mmap(nullptr, kDisk, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) bare::fail("mmap");
  auto* disk = static_cast<std::byte*>(map);
  std::memset(disk, 1, kDisk);
  std::vector<std::byte> buffer(k1M);
  const auto copy = [&](std::size_t size) {
    return [&disk, &buffer, size](std::size_t at) {
      std::memcpy(buffer.data(), disk + at, size);
      asm volatile("" ::: "memory");
    };
  };
  row("bare/memcpy_4k", each_ns(setup.calls, k4K, copy(k4K)), "ns");
  row("bare/memcpy_1m", each_ns(setup.calls / 50, k1M, copy(k1M)) / 1000, "us");
  const Other other;
  row("bare/process_vm_readv_4k",
      each_ns(setup.calls, k4K, [&](std::size_t at) { other.read(buffer.data(), disk + at, k4K); }), "ns");
  ::munmap(map, kDisk);
}

void cache_line(const Setup& setup) {
  alignas(64) std::atomic<int> ball{0};
  const int calls = setup.calls;
  std::jthread partner([&] {
    for (int i = 1; i <= calls; ++i) {
      while (ball.load(std::memory_order_acquire) != 2 * i - 1) continue;
      ball.store(2 * i, std::memory_order_release);
    }
  });
  std::vector<double> each;
  for (int i = 1; i <= calls; ++i) {
    const double start = bare::now_ns();
    ball.store(2 * i - 1, std::memory_order_release);
    while (ball.load(std::memory_order_acquire) != 2 * i) continue;
    each.push_back(bare::now_ns() - start);
  }
  row("bare/cache_line_round_trip", bare::median(each), "ns");
}

Figures drive(const Setup& setup, const std::string& iommu, const std::vector<std::string>& options) {
  Command program{setup.driver, "0000:01:00.0", "bench", "--seconds=" + setup.seconds};
  program.insert(program.end(), options.begin(), options.end());
  return figures(run(under_run(setup.product, {"-d", "nvme,iommu=" + iommu, "--enable-unsafe-noiommu-mode"}, program),
                     Output::kRead));
}

void reads(const Setup& setup, const std::string& device, bool is_private) {
  const std::string iommu = device == "iommu" ? "amd" : "none";
  const std::string name = "nvme/" + device + (is_private ? "/private/" : "/shared/");
  const auto with = [&](std::vector<std::string> options) {
    if (is_private) options.emplace_back("--private");
    return drive(setup, iommu, options);
  };
  const Figures one = with({"--depth=1"});
  row(name + "qd1", one.at("median") / 1000, "us", "vs=bare/cache_line_round_trip max=15");
  row(name + "qd1_p99", one.at("p99") / 1000, "us");
  row(name + "qd1_irq", with({"--depth=1", "--irq"}).at("median") / 1000, "us");
  row(name + "qd32", with({"--depth=32"}).at("per_command"), "ns",
      is_private ? "vs=bare/process_vm_readv_4k max=6667" : "vs=bare/memcpy_4k max=2500");
  row(name + "1m", 2 * with({"--depth=2", "--size=524288"}).at("per_command") / 1000, "us",
      is_private ? "vs=bare/memcpy_1m" : "vs=bare/memcpy_1m max_ratio=2");
}

// ns per command that `qemu-img bench` says; it counts from its first request to its last.
double qemu_bench(const Setup& setup, int depth, const std::vector<std::string>& options, const std::string& disk,
                  const std::vector<std::string>& under) {
  const int calls = depth == 1 ? setup.calls : 4 * setup.calls;
  constexpr const char* kStep = "1052672";  // 1 MiB and a page: neither neighbours nor the same again
  Command command{
      setup.qemu_img,       "bench", "-f", "raw", "-U", "-s", "4096", "-S", kStep, "-c", std::to_string(calls), "-d",
      std::to_string(depth)};
  command.insert(command.end(), options.begin(), options.end());
  command.push_back(disk);
  const std::string said = run(under.empty() ? command : under_run(setup.product, under, command), Output::kRead);
  constexpr std::string_view kBefore = "completed in ";
  const std::size_t at = said.find(kBefore);
  if (at == std::string::npos) bare::fail("qemu-img bench");
  return std::stod(said.substr(at + kBefore.size())) * 1e9 / calls;
}

void yardstick(const Setup& setup, const std::string& file) {
  if (setup.qemu_img.empty()) return;
  const auto rows = [&](const std::string& source, const auto&... how) {
    const bool ours = source == "nvme";
    row("qemu_img/" + source + "/qd1", qemu_bench(setup, 1, how...) / 1000, "us",
        ours ? "vs=qemu_img/file_io_uring/qd1" : "");
    row("qemu_img/" + source + "/qd32", qemu_bench(setup, 32, how...), "ns",
        ours ? "vs=qemu_img/file_io_uring/qd32" : "vs=bare/memcpy_4k");
  };
  const std::vector<std::string> nothing;
  rows("file_threads", std::vector<std::string>{"-i", "threads"}, file, nothing);
  rows("file_io_uring", std::vector<std::string>{"-i", "io_uring"}, file, nothing);
  rows("nvme", nothing, std::string("nvme://0000:01:00.0/1"),
       std::vector<std::string>{"-d", "nvme,iommu=amd,size=64M"});
}

std::string find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream directories(path != nullptr ? path : "");
  for (std::string directory; std::getline(directories, directory, ':');)
    if (::access((directory + "/" + name).c_str(), X_OK) == 0) return directory + "/" + name;
  return {};
}

// A disk of its own in a file, whose pages have been written and so are in the cache.
class DiskFile {
 public:
  DiskFile() {
    const int fd = ::mkstemp(path_.data());
    if (fd < 0) bare::fail("mkstemp");
    const std::vector<char> block(k1M, 1);
    for (std::size_t done = 0; done < kDisk; done += block.size())
      if (::write(fd, block.data(), block.size()) != static_cast<ssize_t>(block.size())) bare::fail("write");
    ::close(fd);
  }
  ~DiskFile() { ::unlink(path_.c_str()); }
  DiskFile(const DiskFile&) = delete;
  DiskFile& operator=(const DiskFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_ = std::filesystem::temp_directory_path() / "nvme_bench_XXXXXX";
};

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path build = build_tree();
  Setup setup{.product = build / "iommufd-user", .driver = build / "examples" / "nvme"};
  if (argc > 1 && std::string(argv[1]) == "--quick") {
    setup.rounds = 1;
    setup.calls = 5000;
    setup.seconds = "0.1";
  }
  setup.qemu_img = find_program("qemu-img");
  if (setup.qemu_img.empty())
    std::fprintf(stderr, "bench: no rows qemu_img/...: qemu-img is not installed (tools/install-deps bench)\n");
  const DiskFile disk;
  for (int round = 0; round < setup.rounds; ++round) {
    copies(setup);
    cache_line(setup);
    for (const char* device : {"iommu", "noiommu"})
      for (const bool is_private : {false, true}) reads(setup, device, is_private);
    yardstick(setup, disk.path());
  }
  return 0;
}
