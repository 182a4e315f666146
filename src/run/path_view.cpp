// SPDX-License-Identifier: BSD-3-Clause
#include "run/path_view.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <limits.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/sync.hpp"
#include "base/sys.hpp"
#include "run/path_view_mirror.hpp"
#include "run/path_view_mount.hpp"
#include "run/path_view_private_dir.hpp"
#include "run/path_view_sys.hpp"

namespace iommufd::run {
namespace {

using sys::check;

std::string& refusal() {
  static std::string text;
  return text;
}

const char* below_root(const std::string& path) { return path.size() > 1 ? path.c_str() + 1 : "."; }

std::string_view first_component(std::string_view path) { return path.substr(0, path.find('/')); }

bool is_directory(const Lookup& found) { return found.node->kind() == NodeKind::kDirectory; }

}  // namespace

struct PathView::Impl {
  Impl(std::shared_ptr<const PathTree> t, PathsPolicy p) : policy(p), tree(std::move(t)) {}

  // Constant after create():
  const PathsPolicy policy;
  const std::string private_dir = PrivateDirectory::choose_name();  // of the fall-back; there only if it was needed
  MountView view;                                                   // invalid descriptors in the intercept view

  Mutex mu{LockRank::kRunPaths};
  std::shared_ptr<const PathTree> tree IOMMUFD_GUARDED_BY(mu);
  bool made IOMMUFD_GUARDED_BY(mu) = false;
  Result<void> outcome IOMMUFD_GUARDED_BY(mu);  // of the making
  Mirror mirror IOMMUFD_GUARDED_BY(mu);
  Fd handed_out IOMMUFD_GUARDED_BY(mu);  // its root, as clients get it
  PrivateDirectory fallback IOMMUFD_GUARDED_BY(mu);

  // The whole mirror, when it is first needed.
  Result<void> need_locked() IOMMUFD_REQUIRES(mu) {
    if (!made) {
      outcome = make_locked();
      made = true;
    }
    if (!outcome) return outcome;
    return mirror.complete(*tree, Umask::kAny);
  }

  Result<void> make_locked() IOMMUFD_REQUIRES(mu) {
    if (auto own = make_mounted_mirror(*tree, {})) {
      mirror = std::move(own->mirror);
      handed_out = std::move(own->handed_out);
      return {};
    }
    fallback = IOMMUFD_TRY(PrivateDirectory::make(private_dir));
    mirror = IOMMUFD_TRY(Mirror::make(*tree, IOMMUFD_TRY(fallback.open_root()), {}, Umask::kAny));
    handed_out = IOMMUFD_TRY(fallback.open_root());
    return {};
  }

  // The directory descriptor to open `path` under, and what is left of the path: under its mount point where there is
  // one, so that getcwd is right after fchdir, unless something of the machine is mounted there in its turn.
  std::pair<int, const char*> place_locked(const std::string& path) IOMMUFD_REQUIRES(mu) {
    for (auto it = view.parts.rbegin(); it != view.parts.rend(); ++it) {
      const auto& [point, part] = *it;
      if (path == point) return {part.directory.get(), "."};
      if (!path.starts_with(point) || path[point.size()] != '/') continue;
      const char* rest = path.c_str() + point.size() + 1;
      if (part.real.contains(first_component(rest))) break;
      return {part.directory.get(), rest};
    }
    return {handed_out.get(), below_root(path)};
  }
};

PathView::PathView(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<PathView>> PathView::create(const std::shared_ptr<const PathTree>& tree, PathsPolicy policy) {
  auto impl = std::make_unique<Impl>(tree, policy);
  refusal().clear();
  const std::vector<MountPoint> points =
      policy != PathsPolicy::kIntercept ? choose_mount_points(*tree) : std::vector<MountPoint>{};
  if (!points.empty()) {
    auto mounted = make_mounted_mirror(*tree, points);
    if (mounted) {
      const MutexLock lock(impl->mu);
      impl->mirror = std::move(mounted->mirror);
      impl->handed_out = std::move(mounted->handed_out);
      impl->view = std::move(mounted->view);
      impl->made = true;
    } else {
      refusal() = fmt::format("{} refused: {}", mounted.error().step, errno_name(mounted.error().error));
      if (policy == PathsPolicy::kMount) return Err(Errno::kPerm);
    }
  }
  return std::unique_ptr<PathView>(new PathView(std::move(impl)));
}

PathView::~PathView() { remove_leftover(impl_->private_dir); }

ViewKind PathView::kind() const {
  return impl_->view.mount_namespace.valid() ? ViewKind::kMount : ViewKind::kIntercept;
}
const std::string& PathView::mount_refusal() { return refusal(); }
const std::string& PathView::leftover() const { return impl_->private_dir; }
void PathView::remove_leftover(const std::string& directory) { PrivateDirectory::remove(directory); }

void PathView::follow(std::shared_ptr<const PathTree> next) {
  const MutexLock lock(impl_->mu);
  if (impl_->made) {
    if (const Result<void> done = impl_->need_locked(); done) {
      impl_->outcome = impl_->mirror.change(*impl_->tree, *next, Umask::kAny);
    }
  }
  impl_->tree.swap(next);
}

Result<void> PathView::enter() const {
  const MountView& view = impl_->view;
  if (!view.mount_namespace.valid()) return {};
  char cwd[PATH_MAX];
  const bool named = getcwd(cwd, sizeof cwd) != nullptr && cwd[0] == '/';
  const int old = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  const int dumpable = prctl(PR_GET_DUMPABLE);
  // The first step may be refused where making the namespace was not: then nothing has happened yet.
  if (view.user_namespace.valid()) {
    const Result<void> entered = sys::ok(setns(view.user_namespace.get(), CLONE_NEWUSER));
    if (!entered) return impl_->policy == PathsPolicy::kAuto ? Result<void>() : entered;
  }
  // A mount namespace is not entered with a root and working directory that others share (a sanitizer's own thread).
  IOMMUFD_TRY(sys::ok(unshare(CLONE_FS)));
  IOMMUFD_TRY(sys::ok(setns(view.mount_namespace.get(), CLONE_NEWNS)));
  // setns went to the root of the namespace; ours may be deeper (a chroot).
  IOMMUFD_TRY(sys::ok(fchdir(view.root_directory.get())));
  IOMMUFD_TRY(sys::ok(chroot(".")));
  // A working directory without a name, or out of reach by name, stays the machine's.
  if (!named || chdir(cwd) != 0) {
    if (old >= 0) IOMMUFD_TRY(sys::ok(fchdir(old)));
  }
  if (old >= 0) close(old);
  if (dumpable == 1) prctl(PR_SET_DUMPABLE, 1);
  return {};
}

bool PathView::passes_through(const Lookup& found) const {
  if (!is_directory(found) || found.node->entries() == Entries::kOwn) return false;
  if (impl_->view.parts.contains(found.path)) return false;
  const std::string base = found.path == "/" ? "" : found.path;
  return std::ranges::all_of(found.node->children(), [&](const auto& child) {
    return faccessat(AT_FDCWD, (base + "/" + child.first).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
  });
}

Result<Fd> PathView::open_directory(const std::string& path, int flags) const {
  const MutexLock lock(impl_->mu);
  IOMMUFD_TRY(impl_->need_locked());
  const Node* node = impl_->tree->find(path);
  if (node == nullptr) return Err(Errno::kNoEnt);  // gone since it was looked up
  if (node->kind() != NodeKind::kDirectory) return Err(Errno::kNotDir);
  if (node->entries() == Entries::kMerged) impl_->mirror.refresh(*node);
  const auto [at, rest] = impl_->place_locked(path);
  return Fd(IOMMUFD_TRY(check(openat(at, rest, flags | O_CLOEXEC, 0))));
}

Result<struct stat> PathView::stat(const Lookup& found) const {
  struct stat st{};
  if (passes_through(found)) {
    IOMMUFD_TRY(sys::ok(::stat(found.path.c_str(), &st)));
    return st;
  }
  const Node& node = *found.node;
  {
    const MutexLock lock(impl_->mu);
    IOMMUFD_TRY(impl_->need_locked());
    const auto [at, rest] = impl_->place_locked(found.path);
    IOMMUFD_TRY(sys::ok(fstatat(at, rest, &st, AT_SYMLINK_NOFOLLOW)));
  }
  if (node.kind() == NodeKind::kFile) {
    st.st_mode = S_IFREG | node.mode();
    st.st_size = static_cast<off_t>(node.size());
  } else if (node.kind() == NodeKind::kCharDevice) {
    st.st_mode = S_IFCHR | node.mode();
    st.st_rdev = makedev(node.rdev().major, node.rdev().minor);
  }
  return st;
}

bool PathView::is_mirror(const struct stat& st) const { return path_of(st).has_value(); }

std::optional<std::string> PathView::path_of(const struct stat& st) const {
  const MutexLock lock(impl_->mu);
  return impl_->mirror.path_of(*impl_->tree, st);
}

bool PathView::covers(std::string_view path) const {
  // The innermost mount point above the path decides.
  for (auto it = impl_->view.parts.rbegin(); it != impl_->view.parts.rend(); ++it) {
    const auto& [point, part] = *it;
    if (!path.starts_with(point) || path.size() <= point.size() + 1 || path[point.size()] != '/') continue;
    return !part.real.contains(first_component(path.substr(point.size() + 1)));
  }
  return false;
}

}  // namespace iommufd::run
