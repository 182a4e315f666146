// SPDX-License-Identifier: BSD-3-Clause
#include "cli/doctor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cerrno>

#include "cli/doctor_probes.hpp"

namespace iommufd::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<Section> sample() {
  return {{"One",
           {{.what = "short", .need = Need::kRequired},
            {.what = "a longer name", .state = State::kLimited, .detail = "8 MiB", .cost = "slow"}}},
          {"Two", {{.what = "absent", .state = State::kNo, .detail = "EPERM"}}}};
}

TEST(Doctor, lines_are_aligned_and_costs_stand_below) {
  EXPECT_EQ(render(sample(), Colour::kOff),
            "One\n"
            "  short          yes\n"
            "  a longer name  limited  8 MiB\n"
            "                 -> slow\n"
            "\n"
            "Two\n"
            "  absent         no       EPERM\n"
            "\n"
            "`iommufd-user run` can work here.\n");
}

TEST(Doctor, colours_only_when_asked_for) {
  EXPECT_THAT(render(sample(), Colour::kOff), Not(HasSubstr("\033[")));
  EXPECT_THAT(render(sample(), Colour::kOn), HasSubstr("\033[32myes\033[0m"));
}

TEST(Doctor, only_what_is_required_decides) {
  EXPECT_EQ(verdict(sample()), 0);
  auto sections = sample();
  sections[0].findings[0].state = State::kNo;
  EXPECT_EQ(verdict(sections), 1);
  EXPECT_THAT(render(sections, Colour::kOff), HasSubstr("cannot work here"));
  sections[0].findings[0].state = State::kLimited;
  EXPECT_EQ(verdict(sections), 0);
}

TEST(Doctor, examines_this_machine) {
  const auto report = examine_machine();
  ASSERT_EQ(report.size(), 6U);
  for (const Section& s : report) {
    EXPECT_FALSE(s.findings.empty()) << s.title;
    for (const Finding& f : s.findings) {
      EXPECT_FALSE(f.what.empty());
      EXPECT_FALSE(f.need == Need::kRequired && f.state == State::kNo && f.cost.empty()) << f.what;
    }
  }
}

// In a child, as seccomp filters stay.
int in_child(int (*body)()) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

TEST(Doctor, sees_that_it_runs_under_another_listener) {
  const int result = in_child([] {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog program{1, allow};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program) < 0) return 2;
    return try_seccomp().listener == EBUSY ? 0 : 1;
  });
  if (result == 2) GTEST_SKIP() << "this process cannot install a listener itself";
  EXPECT_EQ(result, 0);
}

TEST(Doctor, probes_leave_no_descriptor_behind) {
  const int before = dup(0);
  close(before);
  static_cast<void>(try_seccomp());
  static_cast<void>(try_process());
  static_cast<void>(try_pidfd_thread());
  static_cast<void>(try_io_uring());
  static_cast<void>(try_procmap_query());
  static_cast<void>(try_pagemap_scan());
  static_cast<void>(try_sealed_memfd());
  const int after = dup(0);
  close(after);
  EXPECT_EQ(before, after);
}

}  // namespace
}  // namespace iommufd::cli
