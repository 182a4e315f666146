// SPDX-License-Identifier: BSD-3-Clause
// A mount namespace made by a short-lived helper process: the tmpfs of the mirror in it, and parts of that mounted over
// the machine's directories. The helper shares our memory and our descriptors and has ended when make() returns; what
// it made is held by descriptors, so it vanishes with the last process that uses it, however that ends.
#pragma once

#include <expected>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "run/path_tree.hpp"
#include "run/path_view_mirror.hpp"

namespace iommufd::run {

struct MountView {
  Fd mount_namespace;
  Fd user_namespace;  // that owns it; invalid when it is the one we are in
  Fd root_directory;  // "/" there
  struct Part {
    Fd directory;                             // the part of the mirror, as it is mounted
    std::set<std::string, std::less<>> real;  // the machine's entries that are natively visible in it
  };
  std::map<std::string, Part> parts;  // by mount point
};

struct MountedMirror {
  Mirror mirror;
  Fd handed_out;   // the root of the mirror through a read-only mount
  MountView view;  // empty when there was nothing to mount over
};

// Where a view was refused: the step and its errno, for the user.
struct MountFailure {
  std::string step;
  Errno error = Errno::kPerm;
};

// A directory of the machine to mount over, and what is in it.
struct MountPoint {
  std::string path;
  DirectoryEntries real;
  std::vector<std::string> bound;  // of those: what must be bound into the mirror; the rest are symlinks, or hidden
};

// Directories to mount over, outermost first, so that the nodes of the tree are natively there: the nearest directories
// of the machine above them. /, /dev and /sys are never mounted over; nor, cheapest first, is what would take more than
// kMountBudget mounts together, two symlinks being counted as one (such parts of the tree work through intercepted
// calls only).
std::vector<MountPoint> choose_mount_points(const PathTree& tree);
inline constexpr std::size_t kMountBudget = 40;

// Makes the mirror of `tree` in namespaces of its own, and mounts its parts over `points`. The namespaces are kept only when there
// are points. May be called with threads (the helper is a copy of the calling thread only). Errors: the step that was refused.
std::expected<MountedMirror, MountFailure> make_mounted_mirror(const PathTree& tree,
                                                               std::span<const MountPoint> points);

}  // namespace iommufd::run
