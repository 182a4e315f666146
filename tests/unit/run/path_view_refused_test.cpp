// SPDX-License-Identifier: BSD-3-Clause
// Where namespaces are refused, as in most containers: a seccomp filter in a child plays the container.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cerrno>
#include <cstddef>

#include "run/path_view.hpp"
#include "run/sysfs.hpp"
#include "tests/unit/run/sample_machine.hpp"

namespace iommufd::run {
namespace {

// clone() with a new user or mount namespace: EPERM.
bool refuse_namespaces() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args)),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEWUSER | CLONE_NEWNS, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(filter), filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// Runs `body` in a child without namespaces; it reports by its exit code.
template <class Body>
int without_namespaces(Body body) {
  fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) _exit(refuse_namespaces() ? body() : 100);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 101;
}

TEST(PathViewRefused, auto_falls_back_to_a_private_directory_that_goes_with_the_view) {
  EXPECT_EQ(without_namespaces([] {
              SampleMachine machine;
              const auto tree = std::make_shared<const PathTree>(build_tree(machine.info));
              umask(0077);
              auto view = PathView::create(tree, PathsPolicy::kAuto);
              if (!view) return 1;
              if ((*view)->kind() != ViewKind::kIntercept) return 2;
              if (PathView::mount_refusal() != "a user and mount namespace refused: EPERM") return 3;
              const std::string place = (*view)->leftover();
              if (access(place.c_str(), F_OK) == 0) return 4;  // not before a directory is asked for
              const Result<Fd> fd =
                  (*view)->open_directory("/sys/devices/pci0001:01/0001:01:00.0", O_RDONLY | O_DIRECTORY);
              struct stat st{};
              if (!fd || fstat(fd->get(), &st) != 0 || (st.st_mode & 07777) != 0755) return 5;
              if ((*view)->path_of(st) != "/sys/devices/pci0001:01/0001:01:00.0") return 6;
              if (faccessat(fd->get(), "vfio-dev/vfio0/dev", F_OK, 0) != 0) return 7;
              if (stat(place.c_str(), &st) != 0 || (st.st_mode & 07777) != 0700) return 8;
              if (!(*view)->enter()) return 9;  // nothing to enter
              view->reset();
              return access(place.c_str(), F_OK) == 0 ? 10 : 0;
            }),
            0);
}

TEST(PathViewRefused, mount_is_an_error_with_a_reason) {
  EXPECT_EQ(without_namespaces([] {
              const auto tree = std::make_shared<PathTree>();
              tree->add_directory("/sys/class/empty", Entries::kOwn);
              if (!PathView::create(tree, PathsPolicy::kMount)) return 3;  // there is nothing to mount
              tree->add_symlink("/sys/class/full/link", "../empty");
              const auto view = PathView::create(tree, PathsPolicy::kMount);
              if (view || view.error() != Errno::kPerm) return 1;
              return PathView::mount_refusal().empty() ? 2 : 0;
            }),
            0);
}

TEST(PathViewRefused, the_front_removes_what_a_killed_server_left) {
  std::string left;
  int names[2];
  ASSERT_EQ(pipe2(names, O_CLOEXEC), 0);
  EXPECT_EQ(without_namespaces([&] {
              SampleMachine machine;
              const auto tree = std::make_shared<const PathTree>(build_tree(machine.info));
              auto view = PathView::create(tree, PathsPolicy::kIntercept);
              if (!view || !(*view)->open_directory("/dev/vfio", O_RDONLY)) return 1;
              const std::string& name = (*view)->leftover();
              if (write(names[1], name.data(), name.size()) != static_cast<ssize_t>(name.size())) return 2;
              kill(getpid(), SIGKILL);
              return 3;
            }),
            101);
  char name[256] = {};
  ASSERT_GT(read(names[0], name, sizeof name - 1), 0);
  EXPECT_EQ(access(name, F_OK), 0);
  PathView::remove_leftover(name);
  EXPECT_EQ(access(name, F_OK), -1);
  PathView::remove_leftover(name);  // gone already: nothing happens
  close(names[0]);
  close(names[1]);
}

}  // namespace
}  // namespace iommufd::run
