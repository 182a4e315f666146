// SPDX-License-Identifier: BSD-3-Clause
// The system calls that one request under `run` cannot do without, measured bare: a notification that is received and
// answered, the identification of the descriptor, one read and one write of 40 bytes in the client. Their sum is the
// floor that transport_bench compares a whole request with.
//
// A child runs under a seccomp filter and makes ioctls of type ';'; this process answers them. Nothing of the project is
// linked: the floor must not move when the product does.
#pragma once

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS _IOW('!', 4, std::uint64_t)
#endif

namespace bare {

[[noreturn]] inline void fail(const char* what) {
  std::perror(what);
  std::exit(2);
}

inline double now_ns() {
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// What the parent does with each notification besides receiving and answering it.
enum class Work { kNothing, kWholeRequest };

struct Floor {
  double echo = 0, identify = 0, read = 0, write = 0;  // nanoseconds of one call
  double whole = 0;                                    // one request that does all of it, in the real order
  [[nodiscard]] double sum() const { return echo + identify + read + write; }
};

class Client {
 public:
  static constexpr unsigned kCommand = 0x3b8a;
  using Struct = std::array<std::uint64_t, 5>;  // 40 bytes

  explicit Client(long count) : count_(count) {
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) fail("pipe");
    result_ = ends[0];
    pid_ = ::fork();
    if (pid_ == 0) run_child(ends[1]);
    ::close(ends[1]);
    pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
    int number = -1;
    if (::read(result_, &number, sizeof(number)) != ssize_t{sizeof(number)} || number < 0) fail("seccomp listener");
    listener_ = static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd_, number, 0));
    if (listener_ < 0) fail("pidfd_getfd");
    std::uint64_t sync_wake_up = 1;  // Linux 6.6; without it the figure is what an older kernel gives
    (void)::ioctl(listener_, SECCOMP_IOCTL_NOTIF_SET_FLAGS, sync_wake_up);
  }
  ~Client() {
    ::close(listener_);
    ::close(pidfd_);
    ::close(result_);
    ::waitpid(pid_, nullptr, 0);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Answers one batch of requests; returns the client's nanoseconds for each.
  double batch(Work work) {
    for (long i = 0; i < count_; ++i) {
      receive();
      if (work == Work::kWholeRequest) {
        identify();
        read_struct();
        if (::ioctl(listener_, SECCOMP_IOCTL_NOTIF_ID_VALID, &request_.id) != 0) fail("NOTIF_ID_VALID");
        write_struct();
      }
      answer();
    }
    double each = 0;
    if (::read(result_, &each, sizeof(each)) != ssize_t{sizeof(each)}) fail("result");
    return each;
  }

  // While the client waits in a notification: what each call costs by itself.
  void separate_calls(Floor& floor) {
    receive();
    floor.identify = timed([this] { identify(); });
    floor.read = timed([this] { read_struct(); });
    floor.write = timed([this] { write_struct(); });
    answer();
    for (long i = 1; i < count_; ++i) {
      receive();
      answer();
    }
    double each = 0;
    if (::read(result_, &each, sizeof(each)) != ssize_t{sizeof(each)}) fail("result");
  }

 private:
  [[noreturn]] void run_child(int out) const {
    static Struct argument{};
    std::array code{
        sock_filter(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))),
        sock_filter(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3)),
        sock_filter(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1]))),
        sock_filter(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kCommand, 0, 1)),
        sock_filter(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)),
        sock_filter(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)),
    };
    const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    const int listener = static_cast<int>(
        ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                  SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program));
    if (::write(out, &listener, sizeof(listener)) < 0 || listener < 0) ::_exit(1);
    // The parent's listener is the only one from here on once it has ours; when it goes, ioctl answers ENOSYS.
    for (;;) {
      const double start = now_ns();
      for (long i = 0; i < count_; ++i) {
        if (::ioctl(out, kCommand, &argument) != 0) ::_exit(0);
        if (i == 0) ::close(listener);
      }
      const double each = (now_ns() - start) / static_cast<double>(count_);
      if (::write(out, &each, sizeof(each)) < 0) ::_exit(1);
    }
  }

  void receive() {
    request_ = {};
    if (::ioctl(listener_, SECCOMP_IOCTL_NOTIF_RECV, &request_) != 0) fail("NOTIF_RECV");
  }
  void answer() {
    seccomp_notif_resp response{};
    response.id = request_.id;
    if (::ioctl(listener_, SECCOMP_IOCTL_NOTIF_SEND, &response) != 0) fail("NOTIF_SEND");
  }
  void identify() {
    struct stat st{};
    const int fd = static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd_, request_.data.args[0], 0));
    if (fd < 0 || ::fstat(fd, &st) != 0) fail("identify");
    ::close(fd);
  }
  void read_struct() {
    iovec here{copy_.data(), sizeof(copy_)};
    iovec there{reinterpret_cast<void*>(request_.data.args[2]), sizeof(copy_)};
    if (::process_vm_readv(pid_, &here, 1, &there, 1, 0) != ssize_t{sizeof(copy_)}) fail("process_vm_readv");
  }
  void write_struct() {
    iovec here{copy_.data(), sizeof(copy_)};
    iovec there{reinterpret_cast<void*>(request_.data.args[2]), sizeof(copy_)};
    if (::process_vm_writev(pid_, &here, 1, &there, 1, 0) != ssize_t{sizeof(copy_)}) fail("process_vm_writev");
  }
  template <class F>
  static double timed(F call) {
    constexpr int kCalls = 2000;
    for (int i = 0; i < kCalls / 10; ++i) call();
    const double start = now_ns();
    for (int i = 0; i < kCalls; ++i) call();
    return (now_ns() - start) / kCalls;
  }

  const long count_;
  pid_t pid_ = -1;
  int result_ = -1, pidfd_ = -1, listener_ = -1;
  seccomp_notif request_{};
  Struct copy_{};
};

// One measurement of everything, by a fresh client.
inline Floor measure(long count) {
  constexpr int kBatches = 9;
  Floor floor;
  Client client(count);
  (void)client.batch(Work::kNothing);  // warms up
  std::vector<double> echo, whole;
  for (int i = 0; i < kBatches; ++i) {
    echo.push_back(client.batch(Work::kNothing));
    whole.push_back(client.batch(Work::kWholeRequest));
  }
  client.separate_calls(floor);
  floor.echo = median(echo);
  floor.whole = median(whole);
  return floor;
}

}  // namespace bare
