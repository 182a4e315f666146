// SPDX-License-Identifier: BSD-3-Clause
#include "run/proc_status.hpp"

#include <unistd.h>

#include "mem/local_memory.hpp"

namespace iommufd::run {
namespace {

TEST(ProcStatus, paths_of_a_process_and_of_its_threads) {
  const auto is = [](std::string_view path, pid_t process, pid_t thread, bool of_thread) {
    const std::optional<ProcPath> found = parse_proc_path(path, "status");
    return found && found->process == process && found->thread == thread && found->of_thread == of_thread;
  };
  EXPECT_TRUE(is("/proc/self/status", 0, 0, false));
  EXPECT_TRUE(is("/proc/17/status", 17, 0, false));
  EXPECT_TRUE(is("/proc/thread-self/status", 0, 0, true));
  EXPECT_TRUE(is("/proc/17/task/18/status", 17, 18, true));
  EXPECT_TRUE(is("/proc/self/task/18/status", 0, 18, true));
  for (const std::string_view path :
       {"/proc/17/stat", "/proc/17/status/x", "/proc/status", "/proc/x17/status", "/proc/0/status", "/proc/17x/status",
        "/proc/self/task/self/status", "/proc/17/task/status", "/proc//status", "/sys/17/status", "", "/"})
    EXPECT_FALSE(parse_proc_path(path, "status")) << path;
}

TEST(ProcStatus, names_other_processes) {
  EXPECT_EQ(status_id(::getpid(), "Tgid"), ::getpid());
  EXPECT_EQ(status_id(::getpid(), "PPid"), ::getppid());
  EXPECT_EQ(status_id(::getpid(), "TracerPid").error(), Errno::kSrch);  // 0
  EXPECT_EQ(status_id(::getpid(), "Tracer").error(), Errno::kSrch);
  EXPECT_EQ(status_id(-1, "Tgid").error(), Errno::kNoEnt);
}

TEST(ProcStatus, numbers_are_added_in_the_width_of_the_kernel) {
  mem::LocalProcess process;
  const std::string text = "Name:\tx\nVmPeak:\t    5000 kB\nVmLck:\t      12 kB\nVmPin:\t       4 kB\nThreads:\t1\n";
  process.vm_pinned().charge_unlimited(3);
  process.vm_locked().charge_unlimited(250'000'000);
  EXPECT_EQ(add_pins(text, process, PinPolicy::kAuto),
            "Name:\tx\nVmPeak:\t    5000 kB\nVmLck:\t1000000012 kB\nVmPin:\t      16 kB\nThreads:\t1\n");
  EXPECT_EQ(add_pins(text, process, PinPolicy::kReal),
            "Name:\tx\nVmPeak:\t    5000 kB\nVmLck:\t1000000012 kB\nVmPin:\t      12 kB\nThreads:\t1\n");
  process.vm_pinned().uncharge(3);
  process.vm_locked().uncharge(250'000'000);
  EXPECT_EQ(add_pins(text, process, PinPolicy::kAuto), text);
  EXPECT_EQ(add_pins("Name:\tkthreadd\n", process, PinPolicy::kAuto), "Name:\tkthreadd\n");
  EXPECT_EQ(add_pins("VmPin:\t", process, PinPolicy::kAuto), "VmPin:\t");
}

}  // namespace
}  // namespace iommufd::run
