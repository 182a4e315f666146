// SPDX-License-Identifier: BSD-3-Clause
#include "run/path_view_mount.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/sys.hpp"
#include "run/path_view_sys.hpp"

namespace iommufd::run {
namespace {

using sys::check;

constexpr std::size_t kHelperStack = std::size_t{256} * 1024;
// Where the tmpfs is attached while parts of it are copied: a directory that is there and is not looked at meanwhile.
constexpr const char* kWorkPlace = "/proc";

int copy_mount(int at, const char* path) {
  return open_tree(at, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
}
int attach_mount(int mount, const char* to) { return move_mount(mount, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH); }
int make_read_only(int mount) {
  struct mount_attr attr{};
  attr.attr_set = MOUNT_ATTR_RDONLY;
  return mount_setattr(mount, "", AT_EMPTY_PATH, &attr, sizeof attr);
}

bool is_directory(const std::string& path) {
  struct stat st{};
  return fstatat(AT_FDCWD, path.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

// A directory without entries, as a class without devices is: not worth a mount.
bool is_empty(const Node& node) { return node.kind() == NodeKind::kDirectory && node.children().empty(); }

// Adds the directories of the machine above nodes that it lacks, and own directories that it has.
void collect_points(const Node& directory, const std::string& path, std::set<std::string>& points) {
  for (const auto& [name, child] : directory.children()) {
    if (child->reach() == Reach::kCalls || is_empty(*child)) continue;
    const std::string place = path + "/" + name;
    if (child->kind() != NodeKind::kDirectory || !is_directory(place)) {
      points.insert(path);
    } else if (child->entries() == Entries::kOwn) {
      points.insert(place);
    } else {
      collect_points(*child, place, points);
    }
  }
}

bool is_merged(const Node& node) { return node.kind() == NodeKind::kDirectory && node.entries() == Entries::kMerged; }

bool may_be_mounted_over(const std::string& path) { return std::ranges::count(path, '/') >= 2; }

// What the helper process does, step by step, in the memory of the process that waits for it.
class Helper {
 public:
  Helper(const PathTree& tree, std::span<const MountPoint> points)
      : tree_(tree), points_(points), uid_(geteuid()), gid_(getegid()) {}

  MountedMirror made;
  MountFailure failure;

  // Runs in the namespaces that clone() gave it.
  Result<void> work(bool own_user_namespace) {
    if (own_user_namespace) IOMMUFD_TRY(map_ids());
    IOMMUFD_TRY(did("mount propagation", mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr)));
    Fd tmpfs = IOMMUFD_TRY(make_tmpfs());
    // A mount can be copied only while it is attached in this namespace.
    IOMMUFD_TRY(did("attaching the tmpfs", attach_mount(tmpfs.get(), kWorkPlace)));
    Fd writable(IOMMUFD_TRY(step("copying the tmpfs mount", copy_mount(tmpfs.get(), ""))));
    std::vector<std::string> parts;
    for (const MountPoint& point : points_) parts.push_back(point.path);
    umask(0);  // of this process only: CLONE_FS was not asked for
    Result<Mirror> mirror = Mirror::make(tree_, std::move(writable), parts, Umask::kNone);
    made.mirror = IOMMUFD_TRY(step("filling the tmpfs", std::move(mirror)));
    for (const MountPoint& point : points_) made.mirror.add_real(*tree_.find(point.path), point.real);
    IOMMUFD_TRY(did("making the mirror read-only", make_read_only(tmpfs.get())));
    for (const MountPoint& point : points_) {
      Fd part(IOMMUFD_TRY(step("copying a part of the mirror", copy_mount(tmpfs.get(), point.path.c_str() + 1))));
      made.view.parts[point.path].directory = std::move(part);
    }
    IOMMUFD_TRY(did("detaching the tmpfs", umount2(kWorkPlace, MNT_DETACH)));
    made.handed_out = std::move(tmpfs);
    if (points_.empty()) return {};
    for (const MountPoint& point : points_) IOMMUFD_TRY(mount_over(point));
    made.view.mount_namespace =
        Fd(IOMMUFD_TRY(step("opening the namespace", open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC))));
    if (own_user_namespace) {
      made.view.user_namespace =
          Fd(IOMMUFD_TRY(step("opening the namespace", open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC))));
    }
    made.view.root_directory = Fd(IOMMUFD_TRY(step("opening the root", open("/", O_PATH | O_DIRECTORY | O_CLOEXEC))));
    return {};
  }

 private:
  template <class T>
  Result<T> step(const char* what, Result<T> result) {
    if (!result) failure = {what, result.error()};
    return result;
  }
  Result<int> step(const char* what, int result) { return step(what, check(result)); }
  // The same for a call whose value says nothing.
  Result<void> did(const char* what, int result) {
    if (Result<int> r = step(what, result); !r) return Err(r.error());
    return {};
  }

  Result<void> write_file(const char* path, const std::string& text) {
    const Fd fd(IOMMUFD_TRY(step(path, open(path, O_WRONLY | O_CLOEXEC))));
    IOMMUFD_TRY(did(path, write(fd.get(), text.data(), text.size()) < 0 ? -1 : 0));
    return {};
  }

  // Only our own ids, each as itself: what an ordinary user may map.
  Result<void> map_ids() {
    IOMMUFD_TRY(write_file("/proc/self/setgroups", "deny"));
    IOMMUFD_TRY(write_file("/proc/self/uid_map", fmt::format("{0} {0} 1", uid_)));
    return write_file("/proc/self/gid_map", fmt::format("{0} {0} 1", gid_));
  }

  Result<Fd> make_tmpfs() {
    const Fd fs(IOMMUFD_TRY(step("fsopen of tmpfs", fsopen("tmpfs", FSOPEN_CLOEXEC))));
    IOMMUFD_TRY(did("the tmpfs option source", fsconfig(fs.get(), FSCONFIG_SET_STRING, "source", "iommufd-user", 0)));
    IOMMUFD_TRY(did("the tmpfs option mode", fsconfig(fs.get(), FSCONFIG_SET_STRING, "mode", "0755", 0)));
    IOMMUFD_TRY(did("creating the tmpfs", fsconfig(fs.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0)));
    return Fd(IOMMUFD_TRY(step("fsmount", fsmount(fs.get(), FSMOUNT_CLOEXEC, 0))));
  }

  // Mounts the part of the mirror, then the machine's entries into it. One that refuses (it vanished, or is masked) stays
  // a placeholder, and PathView::covers() says so.
  Result<void> mount_over(const MountPoint& point) {
    MountView::Part& part = made.view.parts[point.path];
    IOMMUFD_TRY(did("entering a mount point", chdir(point.path.c_str())));
    IOMMUFD_TRY(did("mounting over a directory", attach_mount(part.directory.get(), point.path.c_str())));
    const Node& node = *tree_.find(point.path);
    for (const auto& [name, type] : point.real) {
      if (type == DT_LNK && node.child(name) == nullptr) part.real.insert(name);  // copied
    }
    for (const std::string& name : point.bound) {
      // The working directory still is the machine's directory, so the relative source is its entry.
      if (mount(name.c_str(), (point.path + "/" + name).c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0)
        part.real.insert(name);
    }
    return {};
  }

  const PathTree& tree_;
  const std::span<const MountPoint> points_;
  const uid_t uid_;
  const gid_t gid_;
};

struct HelperCall {
  Helper* helper;
  bool own_user_namespace;
  bool done = false;
};

int helper_main(void* argument) {
  auto* call = static_cast<HelperCall*>(argument);
  call->done = call->helper->work(call->own_user_namespace).has_value();
  return 0;
}

// clone(2) of a child that runs `main(argument)` on a stack of its own and exits. Not the C library's clone(): thread
// sanitizer takes that for a fork, and the child, which shares our memory, then spoils its state for us too.
long clone_process(unsigned long flags, std::byte* stack_top, int (*main)(void*), void* argument) {
  auto* frame = reinterpret_cast<void**>(stack_top) - 2;
  frame[0] = reinterpret_cast<void*>(main);
  frame[1] = argument;
  long result = SYS_clone;  // NOLINT(misc-const-correctness): the assembly writes it
  register const long no_tls asm("r8") = 0;
  register const long no_child_tid asm("r10") = 0;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"  // the end of the stack, for who unwinds it
      "pop %%rax\n\t"
      "pop %%rdi\n\t"
      "call *%%rax\n\t"
      "mov %%eax, %%edi\n\t"
      "mov %[exit], %%eax\n\t"
      "syscall\n\t"
      "1:"
      : "+a"(result)
      : "D"(flags), "S"(frame), "d"(nullptr), "r"(no_child_tid), "r"(no_tls), [exit] "i"(SYS_exit_group)
      : "rcx", "r11", "memory");
  return result;
}

// Runs the helper to its end, as a process that shares our memory and descriptors and is alone in its thread group (what
// unshare of a user namespace asks for). False when the kernel refuses the namespaces, or when work() failed.
bool run_helper(Helper& helper, bool own_user_namespace) {
  void* stack = mmap(nullptr, kHelperStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) {
    helper.failure = {"the helper's stack", sys::last_errno()};
    return false;
  }
  // A handler of ours must not run in the helper.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  HelperCall call{&helper, own_user_namespace};
  unsigned long flags = CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_NEWNS;
  if (own_user_namespace) flags |= CLONE_NEWUSER;
  const long pid = clone_process(flags, static_cast<std::byte*>(stack) + kHelperStack, helper_main, &call);
  if (pid < 0) {
    helper.failure = {own_user_namespace ? "a user and mount namespace" : "a mount namespace",
                      static_cast<Errno>(-pid)};
  } else {
    waitpid(static_cast<pid_t>(pid), nullptr, __WALL);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  munmap(stack, kHelperStack);
  return call.done;
}

}  // namespace

std::vector<MountPoint> choose_mount_points(const PathTree& tree) {
  std::set<std::string> paths;
  collect_points(tree.root(), "", paths);
  std::vector<MountPoint> points;
  for (const std::string& path : paths) {
    if (!may_be_mounted_over(path)) continue;
    auto real = list_directory(AT_FDCWD, path.c_str(), 2 * kMountBudget);
    if (!real) continue;
    const Node& node = *tree.find(path);
    MountPoint point{path, {}, {}};
    if (is_merged(node)) point.real = *std::move(real);
    for (const auto& [name, type] : point.real) {
      // What is ours replaces what is there, except for a directory that we share; symlinks are copied as they are.
      const Node* ours = node.child(name);
      const bool shared = ours == nullptr || (is_merged(*ours) && type == DT_DIR);
      if (shared && type != DT_LNK) point.bound.push_back(name);
    }
    points.push_back(std::move(point));
  }
  const auto cost = [](const MountPoint& p) { return 1 + p.bound.size() + (p.real.size() - p.bound.size()) / 2; };
  std::ranges::sort(points, {}, [&](const MountPoint& p) { return std::pair(cost(p), p.path); });
  std::size_t left = kMountBudget;
  std::erase_if(points, [&](const MountPoint& p) {
    if (cost(p) > left) return true;
    left -= cost(p);
    return false;
  });
  std::ranges::sort(points, {}, &MountPoint::path);
  return points;
}

std::expected<MountedMirror, MountFailure> make_mounted_mirror(const PathTree& tree,
                                                               std::span<const MountPoint> points) {
  // With CAP_SYS_ADMIN a mount namespace will do, and ids stay as they are.
  if (geteuid() == 0) {
    Helper helper(tree, points);
    if (run_helper(helper, false)) return std::move(helper.made);
  }
  Helper helper(tree, points);
  if (!run_helper(helper, true)) return std::unexpected(helper.failure);
  return std::move(helper.made);
}

}  // namespace iommufd::run
