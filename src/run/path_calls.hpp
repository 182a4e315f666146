// SPDX-License-Identifier: BSD-3-Clause
// System calls on paths: open, stat, access, readlink, getxattr and their kin. Most concern files that are none of ours; the way to
// "go on" is therefore short: one read of the path, one look into the tree.
//
// A path is ours when the tree finds it from the root. Relative paths are put behind their directory only when that can
// matter: the last name is one that the tree has, or the path has a `..`, or the directory may be one of the mirror.
// (A symlink that the client made itself in a directory of the machine is not looked through.)
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <unordered_set>

#include "run/answer.hpp"
#include "run/client_call.hpp"

namespace iommufd::run {

class PathCalls {
 public:
  explicit PathCalls(const Runtime& runtime);

  // Pre: the call of `scope` is one of those that take a path.
  Answer handle(CallScope& scope);

 private:
  enum class Op : u8 { kOpen, kStat, kStatx, kAccess, kReadlink, kGetXattr, kListXattr };
  struct Request {
    Op op = Op::kOpen;
    int dirfd = 0;
    u64 path_at = 0;
    int flags = 0;               // open flags, or AT_*
    u32 mode = 0;                // of open, or what access asks for
    u64 out_at = 0;              // stat buffer, readlink buffer
    u64 out_size = 0;            // of the readlink buffer
    bool by_descriptor = false;  // AT_EMPTY_PATH: the descriptor itself when the path is empty
    bool follow = true;          // the last symlink
  };
  // A path, from the root, and whether the kernel would find the same under the client's spelling of it.
  struct Place {
    std::string path;
    bool native = true;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };

  void collect_names(const Node& directory);
  static Result<Request> decode(const CallScope& scope);
  static Result<std::string_view> read_path(const CallScope& scope, u64 at, std::span<char> buf);
  // Nothing when the path cannot be ours.
  std::optional<Place> place(const CallScope& scope, const Request& request, std::string_view path) const;

  Answer answer(CallScope& scope, const Request& request, const Lookup& found);
  Answer open(CallScope& scope, const Request& request, const Lookup& found);
  Answer open_directory(CallScope& scope, const Request& request, const Lookup& found);
  Answer error(CallScope& scope, const Request& request, const Lookup& missing) const;
  // The call on a file of the machine, done by the server.
  Answer do_here(CallScope& scope, const Request& request, const std::string& path) const;
  // The call on /proc/self/fd/N and the like. Nothing when the path is no such thing or the descriptor is not ours.
  std::optional<Answer> own_descriptor(CallScope& scope, const Request& request, std::string_view path);

  // open() of the status of a process that has opened files of ours. Nothing when the path is no such thing.
  std::optional<Answer> own_status(CallScope& scope, const Request& request, std::string_view path);
  std::optional<Answer> own_pagemap(CallScope& scope, const Request& request, std::string_view path);

  // open() of fail-nth of a thread (fault_plans.hpp), where the service injects faults.
  std::optional<Answer> own_fail_nth(CallScope& scope, const Request& request, std::string_view path);

  // open() of a file that tells of huge pages (huge_files.hpp), where they are emulated.
  std::optional<Answer> own_huge_file(CallScope& scope, const Request& request, const std::string& path);

  static Answer put_stat(const CallScope& scope, const Request& request, const struct stat& st);
  static Answer put_link(const CallScope& scope, const Request& request, std::string_view target);

  const Runtime& runtime_;
  std::unordered_set<std::string, Hash, std::equal_to<>> names_;  // of all nodes
  std::atomic<bool> mirror_in_use_;  // a directory of the mirror may be a client's cwd or descriptor
};

}  // namespace iommufd::run
