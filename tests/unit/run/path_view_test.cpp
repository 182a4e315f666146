// SPDX-License-Identifier: BSD-3-Clause
// The mirror against the description, in whichever way this machine lets it be made, and the mount view where it is allowed.
#include "run/path_view.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/sys.hpp"
#include "run/path_view_private_dir.hpp"
#include "run/sysfs.hpp"
#include "tests/unit/run/sample_machine.hpp"

namespace iommufd::run {
namespace {

using Outcome = Lookup::Outcome;
using Names = std::map<std::string, unsigned char>;

Names names_of(int fd) {
  Names names;
  DIR* d = fdopendir(dup(fd));
  if (d == nullptr) return names;
  while (const dirent* e = readdir(d)) {
    if (std::string_view(e->d_name) != "." && std::string_view(e->d_name) != "..") names[e->d_name] = e->d_type;
  }
  closedir(d);
  return names;
}

unsigned char type_of(NodeKind kind) {
  switch (kind) {
    case NodeKind::kDirectory: return DT_DIR;
    case NodeKind::kFile: return DT_REG;
    case NodeKind::kSymlink: return DT_LNK;
    case NodeKind::kCharDevice: return DT_CHR;
  }
  return DT_UNKNOWN;
}

class PathViewTest : public ::testing::TestWithParam<PathsPolicy> {
 protected:
  void SetUp() override {
    auto view = PathView::create(tree_, GetParam());
    if (!view) {
      ASSERT_EQ(GetParam(), PathsPolicy::kMount);
      ASSERT_EQ(view.error(), Errno::kPerm);
      GTEST_SKIP() << "the mount view is not permitted here: " << PathView::mount_refusal();
    }
    view_ = *std::move(view);
  }
  Lookup find(const std::string& path) { return tree_->lookup(path, Follow::kNo); }

  // Compares a directory of the mirror, and all below it, with the description.
  void compare(const Node& directory) {
    const std::string path = directory.path();
    const Result<Fd> fd = view_->open_directory(path, O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(fd) << path << ": " << errno_name(fd.error());
    struct stat st{};
    ASSERT_EQ(fstat(fd->get(), &st), 0);
    EXPECT_EQ(view_->path_of(st), path);
    EXPECT_EQ(st.st_mode & 07777, directory.mode()) << path;
    Names shown = names_of(fd->get());
    for (const auto& [name, child] : directory.children()) {
      ASSERT_TRUE(shown.contains(name)) << path << "/" << name;
      EXPECT_EQ(shown[name], type_of(child->kind())) << path << "/" << name;
      shown.erase(name);
      if (child->kind() == NodeKind::kDirectory) compare(*child);
    }
    if (directory.entries() == Entries::kOwn) {
      EXPECT_TRUE(shown.empty()) << path << " shows " << shown.begin()->first;
    }
    compare_with_machine(path, directory, shown);
  }

  // What is left must be what the machine has (processes come and go, so only existence is asked).
  void compare_with_machine(const std::string& path, const Node& directory, const Names& shown) {
    if (directory.entries() == Entries::kOwn) return;
    const Fd real(open(path.c_str(), O_RDONLY | O_DIRECTORY));
    const Names there = real.valid() ? names_of(real.get()) : Names{};
    for (const auto& [name, type] : shown) EXPECT_TRUE(there.contains(name)) << path << "/" << name;
    for (const auto& [name, type] : there) {
      EXPECT_TRUE(shown.contains(name) || directory.child(name) != nullptr) << path << "/" << name;
    }
  }

  SampleMachine machine_;
  std::shared_ptr<const PathTree> tree_ = std::make_shared<const PathTree>(build_tree(machine_.info));
  std::unique_ptr<PathView> view_;
};

// What only the mount view has.
class MountViewTest : public PathViewTest {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__)
    if (geteuid() != 0) GTEST_SKIP() << "thread sanitizer's own thread keeps a process from entering a user namespace";
#endif
    PathViewTest::SetUp();
  }
};

TEST_P(PathViewTest, a_full_walk_of_the_mirror_equals_the_description) { compare(tree_->root()); }

// Another state of the machine: a device without its driver, and one under another name.
TEST_P(PathViewTest, the_mirror_follows_the_tree) {
  const Fd kept = view_->open_directory("/dev/vfio/devices", O_RDONLY).value();
  const Fd gone = view_->open_directory("/sys/devices/pci0001:01/0001:01:00.0/vfio-dev/vfio0", O_RDONLY).value();
  machine_.info.devices[0].vfio.reset();
  machine_.info.devices[0].driver.clear();
  machine_.info.devices[1].vfio->name = "noiommu-vfio0";
  const auto before = std::exchange(tree_, std::make_shared<const PathTree>(build_tree(machine_.info)));
  view_->follow(tree_);
  compare(tree_->root());
  const Names devices = names_of(kept.get());
  EXPECT_TRUE(devices.contains("noiommu-vfio0"));
  EXPECT_FALSE(devices.contains("vfio0") || devices.contains("noiommu-vfio1"));
  EXPECT_EQ(view_->open_directory("/sys/class/vfio-dev/vfio0", O_RDONLY).error(), Errno::kNoEnt);
  struct stat st{};
  ASSERT_EQ(fstat(gone.get(), &st), 0);
  EXPECT_EQ(view_->path_of(st), std::nullopt) << "a directory that is gone leads nowhere";
  // And back.
  tree_ = before;
  view_->follow(tree_);
  compare(tree_->root());
  ASSERT_EQ(fstat(gone.get(), &st), 0);
  EXPECT_EQ(view_->path_of(st), std::nullopt) << "its name has another directory now";
}

TEST_P(PathViewTest, a_mirror_that_was_not_made_yet_is_made_of_the_last_tree) {
  auto view = PathView::create(tree_, GetParam());
  ASSERT_TRUE(view);
  view_ = *std::move(view);
  machine_.info.devices.pop_back();
  tree_ = std::make_shared<const PathTree>(build_tree(machine_.info));
  view_->follow(tree_);
  compare(tree_->root());
}

TEST_P(PathViewTest, the_umask_does_not_show) {
  const mode_t before = umask(0077);
  auto view = PathView::create(tree_, GetParam());
  ASSERT_TRUE(view);
  view_ = *std::move(view);
  compare(*find("/sys/devices/pci0001:01").node);
  umask(before);
}

TEST_P(PathViewTest, stat_tells_type_mode_size_and_number) {
  struct stat st = view_->stat(find("/dev/vfio/devices/vfio0")).value();
  EXPECT_TRUE(S_ISCHR(st.st_mode));
  EXPECT_EQ(st.st_mode & 07777, 0600U);
  EXPECT_EQ(major(st.st_rdev), kVfioDeviceMajor);
  EXPECT_EQ(minor(st.st_rdev), 0U);
  EXPECT_EQ(st.st_uid, geteuid());
  st = view_->stat(find("/sys/devices/pci0001:01/0001:01:00.0/config")).value();
  EXPECT_TRUE(S_ISREG(st.st_mode));
  EXPECT_EQ(st.st_size, 256);
  EXPECT_EQ(st.st_mode & 07777, 0644U);
  st = view_->stat(find("/sys/bus/pci/devices/0001:01:00.0")).value();
  EXPECT_TRUE(S_ISLNK(st.st_mode));
  st = view_->stat(find("/dev/vfio")).value();
  EXPECT_TRUE(S_ISDIR(st.st_mode));
}

TEST_P(PathViewTest, stat_by_path_and_by_descriptor_agree) {
  const Lookup found = find("/sys/devices/pci0001:01/0001:01:00.0");
  const Fd fd = view_->open_directory(found.path, O_RDONLY | O_DIRECTORY).value();
  struct stat by_fd{};
  ASSERT_EQ(fstat(fd.get(), &by_fd), 0);
  const struct stat by_path = view_->stat(found).value();
  EXPECT_EQ(by_fd.st_ino, by_path.st_ino);
  EXPECT_EQ(by_fd.st_dev, by_path.st_dev);
}

TEST_P(PathViewTest, a_descriptor_of_a_parent_leads_back_to_its_virtual_path) {
  const Fd fd = view_->open_directory("/sys/devices/pci0001:01/0001:01:00.0/vfio-dev/vfio0", O_RDONLY).value();
  const Fd up(openat(fd.get(), "../..", O_RDONLY | O_DIRECTORY));
  struct stat st{};
  ASSERT_EQ(fstat(up.get(), &st), 0);
  EXPECT_EQ(view_->path_of(st), "/sys/devices/pci0001:01/0001:01:00.0");
}

TEST_P(PathViewTest, may_be_used_from_many_threads_at_once) {
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        const Lookup found = find(i % 2 == 0 ? "/dev" : "/sys/devices/pci0001:01/0001:01:00.0");
        const Result<Fd> fd = view_->open_directory(found.path, O_RDONLY | O_DIRECTORY);
        ASSERT_TRUE(fd);
        struct stat st{};
        ASSERT_EQ(fstat(fd->get(), &st), 0);
        EXPECT_EQ(view_->path_of(st), found.path);
        EXPECT_TRUE(view_->stat(found));
        EXPECT_FALSE(view_->covers("/etc"));
      }
    });
  }
}

TEST_P(PathViewTest, open_flags_are_honoured) {
  const std::string path = "/dev/vfio";
  EXPECT_EQ(view_->open_directory(path, O_RDWR).error(), Errno::kIsDir);
  EXPECT_EQ(view_->open_directory("/dev/iommu", O_RDONLY).error(), Errno::kNotDir);
  const Fd fd = view_->open_directory(path, O_PATH).value();
  EXPECT_EQ(fcntl(fd.get(), F_GETFL) & O_PATH, O_PATH);
}

TEST_P(PathViewTest, directories_of_the_machine_that_show_everything_pass_through) {
  EXPECT_TRUE(view_->passes_through(find("/sys/.")));
  EXPECT_FALSE(view_->passes_through(find("/dev"))) << "/dev/iommu is ours alone";
  EXPECT_FALSE(view_->passes_through(find("/dev/vfio")));
  EXPECT_FALSE(view_->passes_through(find("/dev/iommu")));
}

TEST_P(PathViewTest, other_files_are_not_of_the_mirror) {
  struct stat st{};
  ASSERT_EQ(stat("/sys", &st), 0);
  EXPECT_FALSE(view_->is_mirror(st));
  EXPECT_EQ(view_->path_of(st), std::nullopt);
}

// The client's side: what a process sees after enter(). The child reports by its exit code.
TEST_P(MountViewTest, a_client_that_enters_sees_the_tree_natively) {
  const std::string cwd = std::filesystem::current_path();
  fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    char now[4096];
    const auto fail = [](int code) { _exit(code); };
    if (!view_->enter()) fail(1);
    if (getcwd(now, sizeof now) == nullptr || cwd != now) fail(2);
    if (chdir("/sys/bus/pci/devices/0001:01:00.0") != 0) fail(3);
    if (getcwd(now, sizeof now) == nullptr || std::string_view(now) != "/sys/devices/pci0001:01/0001:01:00.0") fail(4);
    struct stat st{};
    if (stat(".", &st) != 0 || view_->path_of(st) != "/sys/devices/pci0001:01/0001:01:00.0") fail(5);
    if (listxattr("/sys/bus/pci/devices/0001:01:00.0/vendor", nullptr, 0) < 0) fail(6);
    if (mkdir("/sys/bus/pci/devices/x", 0755) == 0 || errno != EROFS) fail(7);
    // The machine's own are where they were.
    if (access("/sys/devices/virtual/mem/null/dev", R_OK) != 0) fail(8);
    if (access("/sys/kernel/uevent_seqnum", R_OK) != 0) fail(9);
    const Fd fd = view_->open_directory("/sys/kernel/iommu_groups", O_RDONLY).value();
    if (fchdir(fd.get()) != 0 || getcwd(now, sizeof now) == nullptr) fail(10);
    if (access("/sys/kernel/iommu_groups", F_OK) == 0 && std::string_view(now) != "/sys/kernel/iommu_groups") fail(11);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "see the numbers in the child";
}

TEST_P(MountViewTest, a_client_natively_sees_the_tree_change) {
  fflush(nullptr);
  int go[2], seen[2];
  ASSERT_EQ(pipe2(go, O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(seen, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    char byte = 0;
    if (!view_->enter() || chdir("/sys/bus/pci/devices/0001:01:00.0") != 0) _exit(1);
    if (chdir("vfio-dev") != 0 || chdir("..") != 0) _exit(2);
    if (write(seen[1], "x", 1) != 1 || read(go[0], &byte, 1) != 1) _exit(3);
    if (chdir("vfio-dev") == 0 || errno != ENOENT) _exit(4);
    _exit(chdir("/sys/bus/pci/devices/0001:02:00.0/vfio-dev/noiommu-vfio0") == 0 ? 0 : 5);
  }
  char byte = 0;
  ASSERT_EQ(read(seen[0], &byte, 1), 1);
  machine_.info.devices[0].vfio.reset();
  machine_.info.devices[1].vfio->name = "noiommu-vfio0";
  tree_ = std::make_shared<const PathTree>(build_tree(machine_.info));
  view_->follow(tree_);
  ASSERT_EQ(write(go[1], "x", 1), 1);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "see the numbers in the child";
}

TEST_P(PathViewTest, nothing_is_mounted_for_anybody_else) {
  EXPECT_EQ(access("/sys/bus/pci/devices/0001:01:00.0", F_OK), -1);
  EXPECT_EQ(sys::read_file("/proc/self/mountinfo").value().find("iommufd-user"), std::string::npos);
}

TEST_P(PathViewTest, other_paths_are_not_covered) {
  EXPECT_FALSE(view_->covers("/etc/passwd"));
  EXPECT_FALSE(view_->covers("/sys/kernel/mm"));
}

TEST_P(MountViewTest, entries_of_the_machine_are_natively_theirs_and_new_ones_are_covered) {
  EXPECT_TRUE(view_->covers("/sys/devices/new-on-this-machine"));
  EXPECT_FALSE(view_->covers("/sys/devices/virtual/mem/null"));
  EXPECT_FALSE(view_->covers("/sys/devices"));
  const Fd fd(open("/sys/bus/pci/devices", O_RDONLY | O_DIRECTORY));
  for (const auto& [name, type] : fd.valid() ? names_of(fd.get()) : Names{}) {
    EXPECT_FALSE(view_->covers("/sys/bus/pci/devices/" + name)) << "a copied symlink leads where the machine's does";
  }
}

TEST_P(MountViewTest, a_client_without_a_working_directory_name_keeps_it) {
  const Fd tmp(open("/tmp", O_RDONLY | O_DIRECTORY));
  char gone[] = "/tmp/gone-XXXXXX";
  ASSERT_NE(mkdtemp(gone), nullptr);
  fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    if (chdir(gone) != 0 || rmdir(gone) != 0) _exit(1);
    struct stat before{}, after{};
    if (stat(".", &before) != 0 || !view_->enter() || stat(".", &after) != 0) _exit(2);
    _exit(before.st_ino == after.st_ino ? 0 : 3);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_P(MountViewTest, the_namespace_goes_with_the_view) {
  // The client of a view that is gone keeps its own; the next view starts afresh.
  view_.reset();
  EXPECT_EQ(access("/sys/bus/pci/devices/0001:01:00.0", F_OK), -1);
  ASSERT_TRUE(PathView::create(tree_, GetParam()));
}

std::string policy_name(const ::testing::TestParamInfo<PathsPolicy>& info) {
  switch (info.param) {
    case PathsPolicy::kAuto: return "auto";
    case PathsPolicy::kIntercept: return "intercept";
    case PathsPolicy::kMount: return "mount";
  }
  return "?";
}
INSTANTIATE_TEST_SUITE_P(Policies, MountViewTest, ::testing::Values(PathsPolicy::kMount), policy_name);
INSTANTIATE_TEST_SUITE_P(Policies, PathViewTest,
                         ::testing::Values(PathsPolicy::kAuto, PathsPolicy::kIntercept, PathsPolicy::kMount),
                         policy_name);

TEST(PrivateDirectory, is_made_locked_and_removed) {
  const std::string name = PrivateDirectory::choose_name();
  {
    auto made = PrivateDirectory::make(name);
    ASSERT_TRUE(made);
    struct stat st{};
    ASSERT_EQ(stat(name.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0700U);
    const Fd root = made->open_root().value();
    ASSERT_EQ(mkdirat(root.get(), "a", 0755), 0);
    ASSERT_EQ(symlinkat("/etc", root.get(), "a/link"), 0);
    // Another server that cleans up leaves the one that is locked.
    const std::string other = PrivateDirectory::choose_name();
    ASSERT_TRUE(PrivateDirectory::make(other));
    EXPECT_EQ(access(name.c_str(), F_OK), 0);
    PrivateDirectory::remove(other);
  }
  PrivateDirectory::remove(name);
  EXPECT_EQ(access(name.c_str(), F_OK), -1);
  EXPECT_EQ(access("/etc/passwd", F_OK), 0);
}

TEST(PrivateDirectory, the_next_one_removes_what_a_killed_server_left) {
  const std::string left = PrivateDirectory::choose_name();
  {
    ASSERT_TRUE(PrivateDirectory::make(left));
  }  // the lock goes with the process
  const std::string next = PrivateDirectory::choose_name();
  ASSERT_TRUE(PrivateDirectory::make(next));
  EXPECT_EQ(access(left.c_str(), F_OK), -1);
  PrivateDirectory::remove(next);
}

TEST(PrivateDirectory, remove_touches_nothing_else) {
  char name[] = "/tmp/not-ours-XXXXXX";
  ASSERT_NE(mkdtemp(name), nullptr);
  PrivateDirectory::remove(name);
  EXPECT_EQ(access(name, F_OK), 0);
  PrivateDirectory::remove("");
  PrivateDirectory::remove("/");
  rmdir(name);
}

}  // namespace
}  // namespace iommufd::run
