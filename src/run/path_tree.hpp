// SPDX-License-Identifier: BSD-3-Clause
// One description of the /dev and /sys that a client sees: the nodes that are ours, and which directories they share
// with the real machine. Both path views (path_view.hpp) and every notified path call are answered from it.
//
// Invariants: a tree is built once (sysfs.hpp does it), then constant, so lookups take no lock and a `const Node*`
// lives as long as the tree. When the machine changes it gets another tree (live_tree.hpp); who still uses a node of the old one
// holds it by a NodeRef. File contents are functions, so what is read is live. A directory is either *own*
// (everything in it is ours; another name is ENOENT) or *merged* (the machine's own entries are visible beside ours).
//
// lookup() walks as the kernel's path walk does: symlinks are followed where they stand, `..` leaves the directory that
// the walk is in (so `link/..` is the parent of the link's target), a file in the middle is ENOTDIR, the 41st symlink
// is ELOOP. Repeated slashes and `.` mean nothing; a trailing slash asks for a directory.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "base/result.hpp"
#include "base/types.hpp"

namespace iommufd::run {

enum class NodeKind : u8 { kDirectory, kFile, kSymlink, kCharDevice };
// Who provides the entries of a directory: only this tree, or the real machine as well.
enum class Entries : u8 { kOwn, kMerged };
// Is a directory, with all below it, worth being mounted for the client? kCalls: what answered calls show is enough.
enum class Reach : u8 { kNative, kCalls };
// Does the walk follow a symlink in the last place? (stat and open do; lstat, readlink and O_NOFOLLOW do not.)
enum class Follow : u8 { kYes, kNo };
// Does the reader have CAP_SYS_ADMIN, by the policy of --caps? `config` shows others only its first 64 bytes.
enum class Reader : u8 { kUnprivileged, kPrivileged };

// When does what is read change? As kernfs has it: text at a read from the beginning, so that what is read in pieces fits
// together; bytes at every read. What is the memory of a BAR is neither read nor written, but mapped.
enum class Content : u8 { kText, kBytes, kBar };

struct DeviceNumber {
  u32 major = 0;
  u32 minor = 0;
  friend constexpr bool operator==(DeviceNumber, DeviceNumber) = default;
};

// The whole content of a file, now, or the errno of the attribute. Called without locks held; must be thread-safe.
using ReadContent = std::function<Result<std::string>(Reader)>;
// A write(2). The writer waits for its end, or (kGone) has gone on already: what would block goes on without him then.
struct Write {
  enum class Writer : u8 { kWaits, kGone };
  std::string_view data;
  u64 offset = 0;
  Writer writer = Writer::kWaits;
};
// The bytes taken, or the errno of the attribute. Called without locks held; thread-safe.
using WriteContent = std::function<Result<u64>(const Write&)>;

class Node {
 public:
  [[nodiscard]] NodeKind kind() const { return kind_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  // Permission bits (0755, 0444, 0660...), without the file type.
  [[nodiscard]] u32 mode() const { return mode_; }
  // The directory that holds it; the root is its own parent.
  [[nodiscard]] const Node& parent() const { return parent_ != nullptr ? *parent_ : *this; }
  // Absolute and free of symlinks: "/sys/devices/pci0000:01/0000:01:00.0".
  [[nodiscard]] std::string path() const;

  // Directories. Pre for all: kind() == kDirectory.
  [[nodiscard]] Entries entries() const { return entries_; }
  [[nodiscard]] Reach reach() const { return reach_; }
  [[nodiscard]] const std::map<std::string, std::unique_ptr<Node>, std::less<>>& children() const { return children_; }
  [[nodiscard]] const Node* child(std::string_view name) const;

  // Files. size() is what stat reports: 4096 for sysfs attributes, the length for `config`.
  [[nodiscard]] u64 size() const { return size_; }
  [[nodiscard]] Content content() const { return content_; }
  [[nodiscard]] Result<std::string> read(Reader reader) const { return read_ ? read_(reader) : std::string(); }
  [[nodiscard]] bool readable() const { return static_cast<bool>(read_); }
  [[nodiscard]] bool writable() const { return static_cast<bool>(write_); }
  // Errors: those of the attribute; kIo when the attribute has no write handler (as sysfs answers).
  Result<u64> write(const Write& write) const;

  // Symlinks.
  [[nodiscard]] const std::string& target() const { return target_; }

  // Character devices. The opener is an index that whoever built the tree gave (sysfs.hpp: OpenerId).
  [[nodiscard]] DeviceNumber rdev() const { return rdev_; }
  [[nodiscard]] u32 opener() const { return opener_; }

 private:
  friend class PathTree;
  NodeKind kind_ = NodeKind::kDirectory;
  Entries entries_ = Entries::kOwn;
  Reach reach_ = Reach::kNative;
  u32 mode_ = 0755;
  u32 opener_ = 0;
  DeviceNumber rdev_;
  u64 size_ = 0;
  Content content_ = Content::kText;
  Node* parent_ = nullptr;
  std::string name_;
  std::string target_;
  ReadContent read_;
  WriteContent write_;
  std::map<std::string, std::unique_ptr<Node>, std::less<>> children_;
};

// A node together with its tree.
using NodeRef = std::shared_ptr<const Node>;

struct Lookup {
  enum class Outcome : u8 {
    kNotOurs,    // the machine's business: let the call go on (but see PathView::covers)
    kFound,      // `node` at `path`
    kError,      // ours, and the answer is `error`: kNoEnt, kNotDir, kLoop, kNameTooLong
    kElsewhere,  // a symlink of ours, or a `..`, led to `path` of the real machine: do the call there
  };
  Outcome outcome = Outcome::kNotOurs;
  const Node* node = nullptr;   // kFound
  Errno error = Errno::kNoEnt;  // kError
  std::string path = {};        // kFound, kElsewhere: absolute, without symlinks of ours; empty for kNotOurs
};

struct FileSpec {
  Content content = Content::kText;
  u32 mode = 0444;
  u64 size = 4096;
  ReadContent read = nullptr;
  WriteContent write = nullptr;
};

class PathTree {
 public:
  // An empty tree: a merged root, to which the functions below add.
  PathTree();
  PathTree(PathTree&&) = default;
  PathTree& operator=(PathTree&&) = default;

  // Building. Paths are absolute and walk over directories only. Missing parents are made, merged; what is there already
  // is kept (a directory that is said to be own becomes own). Pre: a name is added once as something else than a
  // directory.
  void add_directory(std::string_view path, Entries entries, u32 mode = 0755);
  void add_file(std::string_view path, FileSpec spec);
  // Adds the directory, merged if it is new, and gives it Reach::kCalls.
  void leave_to_calls(std::string_view path);
  void add_symlink(std::string_view path, std::string target);
  void add_char_device(std::string_view path, DeviceNumber rdev, u32 mode, u32 opener);

  // Where an absolute path leads, seen from a process whose root is the machine's. No system call is made unless the path
  // crosses a directory of the machine *and* then has a `..`. Thread-safe; a path that has nothing to do with the
  // tree costs a few nanoseconds. Relative paths: the caller puts the directory in front (PathView::path_of).
  [[nodiscard]] Lookup lookup(std::string_view path, Follow follow) const;

  // Has some node this name? (of a directory, file, symlink or device; not a path)
  [[nodiscard]] bool has_name(std::string_view name) const { return names_.contains(name); }

  // The node at a path as Lookup::path has it: no symlink is followed, no `..` understood. Null: there is none.
  [[nodiscard]] const Node* find(std::string_view path) const;

  [[nodiscard]] const Node& root() const { return *root_; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };
  Node& make(std::string_view path, NodeKind kind);
  std::unique_ptr<Node> root_;
  std::unordered_set<std::string, Hash, std::equal_to<>> names_;  // of all nodes
};

// `relative` seen from `directory`; `relative` itself when it is absolute. No component is resolved.
std::string join(std::string_view directory, std::string_view relative);

// Repeated slashes and `.` removed, `..` kept (what it means depends on symlinks), a trailing slash kept.
std::string normalise(std::string_view path);

}  // namespace iommufd::run
