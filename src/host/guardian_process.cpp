// SPDX-License-Identifier: BSD-3-Clause
#include "host/guardian_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "base/packet.hpp"
#include "base/sys.hpp"
#include "host/guardian.hpp"
#include "host/sysfs.hpp"
#include "pci/config_registers.hpp"

namespace iommufd::host {
namespace {

namespace reg = pci::reg;

struct Word {
  enum class Kind : u8 { kFunction, kLive, kQuiet, kKeepPages, kPins };
  Kind kind = Kind::kPins;
  bool can_reset = false;
  pci::Bdf bdf;
  int number =
      -1;  // kPins: the server's descriptor; what comes along is a pipe for the answer, since io_uring's cannot be sent
};

std::string directory_of(const pci::Bdf& bdf) { return "/sys/bus/pci/devices/" + bdf.str(); }

// The other side: everything below runs in the guardian.
class Process {
 public:
  Process(Fd socket, Fd pidfd) : server_(std::move(socket)), pidfd_(std::move(pidfd)) {}

  [[noreturn]] void run() {
    listen_to_server();
    make_harmless();
    await_releases();
    ::_exit(0);  // and with us the pins
  }

 private:
  struct Function {
    pci::Bdf bdf;
    bool can_reset = false;
    bool live = false;  // bus mastering is on
    bool keeps_pages = false;
    Fd claim;
    Fd socket;  // for releases
  };

  void listen_to_server() {
    for (;;) {
      Word word;
      Result<Fd> fd = receive_packet(server_, word);
      if (!fd) return;  // its end
      follow(word, std::move(*fd));
    }
  }

  void follow(const Word& word, Fd fd) {
    if (word.kind == Word::Kind::kPins) return take_pins(word.number, fd);
    auto it = std::ranges::find(functions_, word.bdf, &Function::bdf);
    if (it == functions_.end()) it = functions_.insert(it, Function{.bdf = word.bdf, .claim = {}, .socket = {}});
    switch (word.kind) {
      case Word::Kind::kFunction:
        it->can_reset = word.can_reset;
        it->claim = std::move(fd);
        break;
      case Word::Kind::kLive: it->live = true; break;
      case Word::Kind::kQuiet: it->live = false; break;
      case Word::Kind::kKeepPages: it->keeps_pages = true; break;
      case Word::Kind::kPins: break;
    }
  }

  void take_pins(int number, const Fd& answer) {
    Fd pins(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd_.get(), number, 0)));
    if (!pins.valid()) return;  // the pipe's end says it
    pins_.push_back(std::move(pins));
    (void)sys::write_all(answer.get(), "+");
  }

  void make_harmless() {
    for (Function& f : functions_) {
      if (!f.live) continue;
      end_users(f);
      clear_bus_mastering(f);
      if (!f.can_reset || !reset(f)) f.keeps_pages = true;
      say(f, f.keeps_pages ? "its server was killed; bus mastering is off"
                           : "its server was killed; the function was reset");
    }
    for (Function& f : functions_) f.claim.reset();  // the next one may come
  }

  // Whoever has its registers mapped can make it do DMA without asking anybody.
  static void end_users(const Function& f) {
    constexpr auto kPatience = std::chrono::seconds(5);
    const std::string mapped = "/" + f.bdf.str() + "/resource";
    const auto end = std::chrono::steady_clock::now() + kPatience;
    for (bool found = true; found && std::chrono::steady_clock::now() < end;) {
      found = false;
      for (const std::string& name : list_directory("/proc")) {
        pid_t pid = 0;
        if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc{} || pid <= 1) continue;
        if (sys::read_file("/proc/" + name + "/maps").value_or("").find(mapped) == std::string::npos) continue;
        found = true;
        (void)::kill(pid, SIGKILL);
      }
      if (found) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  static void clear_bus_mastering(const Function& f) {
    const Fd config(::open((directory_of(f.bdf) + "/config").c_str(), O_RDWR | O_CLOEXEC));
    u16 command = 0;
    if (::pread(config.get(), &command, sizeof(command), reg::kCommand) != sizeof(command)) return;
    command = static_cast<u16>((command & ~reg::kCommandMaster) | reg::kCommandIntxDisable);
    if (::pwrite(config.get(), &command, sizeof(command), reg::kCommand) != sizeof(command))
      return say(f, "bus mastering cannot be switched off");
    // The answer to a read comes behind what the function has sent before (PCIe 2.4.1): its writes have arrived.
    [[maybe_unused]] const ssize_t n = ::pread(config.get(), &command, sizeof(command), reg::kCommand);
  }

  static bool reset(const Function& f) {
    const Fd file(::open((directory_of(f.bdf) + "/reset").c_str(), O_WRONLY | O_CLOEXEC));
    const bool done = file.valid() && sys::write_all(file.get(), "1\n").has_value();
    if (!done) say(f, "its reset failed");
    return done;
  }

  // Until nothing is kept any more.
  void await_releases() {
    std::erase_if(functions_, [](const Function& f) { return !f.keeps_pages; });
    for (Function& f : functions_) {
      f.socket = listen_as_guardian(f.bdf).value_or(Fd());
      say(f,
          fmt::format("it cannot be reset: the pages that it may write to stay pinned until `iommufd-user release {}`",
                      f.bdf.str()));
    }
    while (!functions_.empty()) {
      std::vector<pollfd> waiting;
      for (Function& f : functions_) {
        if (!f.socket.valid()) f.socket = listen_as_guardian(f.bdf).value_or(Fd());
        waiting.push_back({f.socket.get(), POLLIN, 0});
      }
      constexpr int kAgain = 1000;  // there may have been no memory for a socket
      if (::poll(waiting.data(), waiting.size(), kAgain) <= 0) continue;
      for (std::size_t i = waiting.size(); i-- > 0;)
        if ((waiting[i].revents & POLLIN) != 0) answer(i);
    }
  }

  void answer(std::size_t i) {
    const Fd peer(::accept4(functions_[i].socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ucred who{};
    socklen_t size = sizeof(who);
    if (::getsockopt(peer.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return;
    std::array<char, 64> line{};
    const timeval patience{.tv_sec = 1, .tv_usec = 0};
    (void)::setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    const ssize_t n = ::recv(peer.get(), line.data(), line.size() - 1, 0);
    const auto reply = [&](std::string_view text) {
      [[maybe_unused]] const ssize_t sent = ::send(peer.get(), text.data(), text.size(), MSG_NOSIGNAL);
    };
    if (who.uid != 0) return reply("only root may do that\n");
    if (n <= 0 || std::string_view(line.data()) != "release\n") return reply("what I understand is: release\n");
    functions_.erase(functions_.begin() + static_cast<std::ptrdiff_t>(i));
    if (!functions_.empty())
      return reply(fmt::format("ok its pages go when {} is released, too\n", functions_.front().bdf.str()));
    pins_.clear();
    reply("ok its pages were given back\n");
  }

  static void say(const Function& f, std::string_view text) {
    const std::string line = fmt::format("<4>iommufd-user: {}: {}\n", f.bdf.str(), text);
    const Fd log(::open("/dev/kmsg", O_WRONLY | O_CLOEXEC));
    [[maybe_unused]] const ssize_t n = ::write(log.get(), line.data(), line.size());
  }

  const Fd server_, pidfd_;
  std::vector<Function> functions_;
  std::vector<Fd> pins_;
};

// What was inherited goes: the guardian must keep neither files nor pipes of others alive.
void leave_everything(const Fd& socket, const Fd& pidfd) {
  (void)::setsid();
  (void)::prctl(PR_SET_NAME, "iommufd-guard");
  (void)::prctl(PR_SET_PDEATHSIG, 0);
  [[maybe_unused]] const int changed = ::chdir("/");
  for (int s = 1; s < NSIG; ++s)
    if (s != SIGKILL && s != SIGSTOP && s != SIGSEGV && s != SIGBUS && s != SIGABRT) (void)::signal(s, SIG_IGN);
  const int null = ::open("/dev/null", O_RDWR);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) (void)::dup2(null, fd);
  const auto [low, high] = std::minmax({static_cast<unsigned>(socket.get()), static_cast<unsigned>(pidfd.get())});
  (void)::close_range(STDERR_FILENO + 1, low - 1, 0);
  if (high > low + 1) (void)::close_range(low + 1, high - 1, 0);
  (void)::close_range(high + 1, ~0U, 0);
}

}  // namespace

// Who loses its parent becomes the child of the next process above that takes such children. The server is one, and would then wait for
// the guardian before it ends: for this moment it is none.
Result<std::unique_ptr<Guardian>> Guardian::start() {
  std::array<int, 2> ends{};
  IOMMUFD_TRY(sys::ok(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data())));
  Fd ours(ends[0]), theirs(ends[1]);
  Fd pidfd(static_cast<int>(IOMMUFD_TRY(sys::check(::syscall(SYS_pidfd_open, ::getpid(), 0)))));
  int takes_children = 0;
  (void)::prctl(PR_GET_CHILD_SUBREAPER, &takes_children);
  (void)::prctl(PR_SET_CHILD_SUBREAPER, 0);
  const pid_t between = ::fork();
  if (between == 0) {
    if (const pid_t guardian = ::fork(); guardian != 0) ::_exit(guardian < 0 ? 1 : 0);
    ours.reset();
    leave_everything(theirs, pidfd);
    Process(std::move(theirs), std::move(pidfd)).run();
  }
  int status = 1;
  if (between > 0) (void)::waitpid(between, &status, 0);
  (void)::prctl(PR_SET_CHILD_SUBREAPER, takes_children);
  if (status != 0) return Err(Errno::kAgain);
  return std::unique_ptr<Guardian>(new Guardian(std::move(ours)));
}

Result<void> Guardian::add(pci::Bdf bdf, Reset reset, int claim) {
  return send_packet(socket_, Word{.kind = Word::Kind::kFunction, .can_reset = reset == Reset::kPossible, .bdf = bdf},
                     claim);
}

Result<void> Guardian::set_live(pci::Bdf bdf, bool live) {
  return send_packet(socket_, Word{.kind = live ? Word::Kind::kLive : Word::Kind::kQuiet, .bdf = bdf});
}

void Guardian::keep_pages(pci::Bdf bdf) {
  keep();
  (void)send_packet(socket_, Word{.kind = Word::Kind::kKeepPages, .bdf = bdf});
}

Result<void> Guardian::hold(int descriptor) {
  std::array<int, 2> ends{};
  IOMMUFD_TRY(sys::ok(::pipe2(ends.data(), O_CLOEXEC)));
  const Fd answer(ends[0]);
  Fd theirs(ends[1]);
  IOMMUFD_TRY(send_packet(socket_, Word{.kind = Word::Kind::kPins, .bdf = {}, .number = descriptor}, theirs.get()));
  theirs.reset();
  char taken = 0;
  if (IOMMUFD_TRY(sys::check(::read(answer.get(), &taken, 1))) != 1) return Err(Errno::kIo);
  return {};
}

}  // namespace iommufd::host
