// SPDX-License-Identifier: BSD-3-Clause
// The private tree of real directories that mirrors a PathTree, and the mount view made of it.
//
// Directories are answered with descriptors of the mirror, so readdir, seekdir and fstat are native. Files and device
// nodes in it are placeholders (an ordinary user may make a character device of number 0:0, so readdir's types are
// right), and so are the machine's entries of merged directories, which are brought up to date at each open. Nothing in the
// mirror but directories and symlinks is meant to be used natively: a call relative to a mirror directory is resolved
// with path_of() + PathTree::lookup().
//
// The mirror is a tmpfs that no path of the machine leads to (it vanishes with the last process that uses it), handed
// out through a read-only mount; where neither CAP_SYS_ADMIN nor user namespaces are available it is a directory of mode
// 0700 under /dev/shm or /tmp, which the server removes at its end, the front when the server was killed, and the next
// run when both were (paths.md).
//
// In the *mount view* parts of the mirror are also mounted over the machine's directories, in a mount namespace that the
// client enters between fork and exec. The machine's entries are bound into them one by one, so calls that are let
// through find what they always found; covers() names the exceptions.
//
// Thread-safe after create(). Lock: mu_ (LockRank::kRunPaths) guards the making and the refreshing of the mirror.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "run/path_tree.hpp"

namespace iommufd::run {

// --paths
enum class PathsPolicy : u8 { kAuto, kIntercept, kMount };
enum class ViewKind : u8 { kIntercept, kMount };

class PathView {
 public:
  // Makes the mount view unless the policy is kIntercept, or there is nothing to mount (a machine without devices), or
  // (kAuto) it is refused; else the mirror is made when a directory is first asked for. To be called by the server before it has
  // threads.
  // Errors: kPerm when kMount was asked for and is refused (mount_refusal() has the reason).
  static Result<std::unique_ptr<PathView>> create(const std::shared_ptr<const PathTree>& tree, PathsPolicy policy);
  ~PathView();
  PathView(const PathView&) = delete;
  PathView& operator=(const PathView&) = delete;

  [[nodiscard]] ViewKind kind() const;
  // The tree is `next` from now on: brings the mirror up to date, by what differs, with what is mounted of it. (What the
  // machine's directories are mounted over stays what it was at the start.)
  void follow(std::shared_ptr<const PathTree> next);

  // Why kAuto fell back to kIntercept, or kMount failed: one line for the user; empty when it did not.
  static const std::string& mount_refusal();

  // In the client, between fork and exec, single-threaded: enters the mount view (kMount; nothing to do otherwise). Keeps
  // the working directory. Only system calls, no allocation. The process is dumpable afterwards. Under kAuto a client that
  // may not join the user namespace stays where it is. Errors: those of setns, chroot and fchdir.
  Result<void> enter() const;

  // True when `found` is a directory of the machine that shows our entries without our help (/sys, /sys/class...):
  // do open and stat on the machine's, at found.path.
  [[nodiscard]] bool passes_through(const Lookup& found) const;

  // A fresh description of a directory, for ADDFD. `path` is Lookup::path of a kFound directory. `flags`: the client's
  // open flags (O_CLOEXEC, O_PATH, ... are honoured). Errors: those of openat.
  Result<Fd> open_directory(const std::string& path, int flags) const;

  // What stat says about a node (kFound): number, type, mode, rdev, size and times of ours, inode as in readdir.
  Result<struct stat> stat(const Lookup& found) const;
  // True when `st` is of a file of the mirror's file system (a directory descriptor that we handed out, or a cwd in it).
  [[nodiscard]] bool is_mirror(const struct stat& st) const;
  // The virtual path of a mirror directory, from its fstat: what stands in front of a relative path when a dirfd or
  // /proc/PID/cwd has this stat. Empty when it is none of ours.
  [[nodiscard]] std::optional<std::string> path_of(const struct stat& st) const;

  // True when the client natively sees the mirror at `path` (absolute, normalised) and not what the machine has there: an
  // entry that appeared after create() in a directory that is mounted over. Such a kNotOurs call must be done by the
  // server on the machine's file and not be let through.
  [[nodiscard]] bool covers(std::string_view path) const;

  // For the front: the directory that may have to be removed after the server died (it need not exist).
  [[nodiscard]] const std::string& leftover() const;
  // Removes what leftover() named. Tolerates that it is gone.
  static void remove_leftover(const std::string& directory);

 private:
  struct Impl;
  explicit PathView(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace iommufd::run
