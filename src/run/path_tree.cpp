// SPDX-License-Identifier: BSD-3-Clause
#include "run/path_tree.hpp"

#include <algorithm>
#include <utility>

#include "base/assert.hpp"
#include "base/sys.hpp"

namespace iommufd::run {
namespace {

constexpr unsigned kMaxSymlinks = 40;       // the kernel's MAXSYMLINKS
constexpr std::size_t kMaxName = 255;       // NAME_MAX
constexpr std::size_t kMaxPath = 4096 - 1;  // PATH_MAX without the final NUL

// Takes leading slashes away.
void skip_slashes(std::string_view& path) { path.remove_prefix(std::min(path.find_first_not_of('/'), path.size())); }

// Takes the first component of a path without leading slashes.
std::string_view take_component(std::string_view& path) {
  const std::string_view c = path.substr(0, path.find('/'));
  path.remove_prefix(c.size());
  return c;
}

bool has_dot_dot(std::string_view path) {
  for (std::size_t at = path.find(".."); at != std::string_view::npos; at = path.find("..", at + 1)) {
    const bool starts = at == 0 || path[at - 1] == '/';
    const bool ends = at + 2 == path.size() || path[at + 2] == '/';
    if (starts && ends) return true;
  }
  return false;
}

// A path that starts elsewhere and has a `..` can end in the tree when it names one of the root's directories later:
// "/proc/../dev/iommu". That a symlink of the machine leads there is not looked for.
bool may_come_back(const Node& root, std::string_view path) {
  return std::ranges::any_of(root.children(),
                             [&](const auto& child) { return path.find("/" + child.first) != path.npos; });
}

// One path walk. It stands either on a directory of the tree (`here_`) or, after a component that only the machine
// knows, on a path of the machine (`outside_`).
class Walk {
 public:
  Walk(const PathTree& tree, std::string_view path, Follow follow)
      : tree_(tree), root_(tree.root()), here_(&root_), rest_(path), follow_(follow) {}

  Lookup run() {
    for (skip_slashes(rest_); !rest_.empty(); skip_slashes(rest_)) {
      const std::string_view name = take_component(rest_);
      if (name == ".") continue;
      if (name == "..") {
        step_up();
        continue;
      }
      if (here_ == nullptr) {
        if (auto end = step_outside(name)) return *std::move(end);
        continue;
      }
      const Node* child = here_->child(name);
      if (child == nullptr) {
        if (auto end = step_out(name)) return *std::move(end);
        continue;
      }
      if (child->kind() == NodeKind::kSymlink) {
        if (rest_.empty() && follow_ == Follow::kNo) return found(*child);
        redirected_ = true;
        if (!splice(child->target())) return failed(Errno::kLoop);
        continue;
      }
      if (child->kind() != NodeKind::kDirectory) return rest_.empty() ? found(*child) : failed(Errno::kNotDir);
      here_ = child;
    }
    return here_ != nullptr ? found(*here_) : elsewhere(outside_);
  }

 private:
  static Lookup found(const Node& node) {
    return {.outcome = Lookup::Outcome::kFound, .node = &node, .path = node.path()};
  }
  static Lookup failed(Errno e) { return {.outcome = Lookup::Outcome::kError, .error = e}; }
  [[nodiscard]] Lookup elsewhere(std::string path) const {
    if (!redirected_) return {};
    return {.outcome = Lookup::Outcome::kElsewhere, .path = std::move(path)};
  }

  // `..`: the machine need not have the directory that we leave, so its own walk could differ.
  void step_up() {
    if (here_ != nullptr) {
      redirected_ = redirected_ || here_ != &root_;
      here_ = &here_->parent();
      return;
    }
    outside_.resize(std::max<std::size_t>(outside_.rfind('/'), 1));
    // Perhaps that is a directory of the tree again.
    const Node* node = tree_.find(outside_);
    if (node != nullptr && node->kind() == NodeKind::kDirectory) here_ = node;
  }

  // A name that this directory of ours does not have.
  std::optional<Lookup> step_out(std::string_view name) {
    if (here_->entries() == Entries::kOwn) return failed(name.size() > kMaxName ? Errno::kNameTooLong : Errno::kNoEnt);
    outside_ = here_ == &root_ ? "" : here_->path();
    return step_outside(name);
  }

  // A name that only the machine can know. Where it leads matters to us only when a `..` follows; the final link of a
  // chain is followed by whoever does the call.
  std::optional<Lookup> step_outside(std::string_view name) {
    if (!has_dot_dot(rest_)) {
      outside_.append("/").append(name).append(rest_);
      return elsewhere(outside_);
    }
    const Node* from = here_;
    const std::string directory = outside_;
    outside_.append("/").append(name);
    here_ = nullptr;
    // What /proc says about "self" is about the client, whose place we cannot take here.
    if (outside_ == "/proc") return Lookup{};
    if (const Result<std::string> target = sys::read_link(outside_)) {
      outside_ = directory;
      here_ = from;
      if (!splice(*target)) return failed(Errno::kLoop);
    }
    return std::nullopt;
  }

  // Puts the target of a symlink in front of the rest. False when the walk has followed too many.
  bool splice(std::string_view target) {
    if (++links_ > kMaxSymlinks) return false;
    std::string next{target};
    next.append(rest_);
    owned_ = std::move(next);
    rest_ = owned_;
    if (target.starts_with('/')) {
      here_ = &root_;
      outside_.clear();
    }
    return true;
  }

  const PathTree& tree_;
  const Node& root_;
  const Node* here_;
  std::string outside_;    // meaningful while here_ is null; absolute, no trailing slash
  std::string_view rest_;  // begins with a slash, or is empty, between two steps
  std::string owned_;      // storage of rest_ once a symlink was followed
  Follow follow_;
  unsigned links_ = 0;
  bool redirected_ = false;  // the machine's walk of the original path would go elsewhere
};

}  // namespace

std::string Node::path() const {
  if (parent_ == nullptr) return "/";
  std::string path = parent_->parent_ == nullptr ? std::string() : parent_->path();
  return path.append("/").append(name_);
}

const Node* Node::child(std::string_view name) const {
  const auto it = children_.find(name);
  return it == children_.end() ? nullptr : it->second.get();
}

Result<u64> Node::write(const Write& write) const {
  if (!write_) return Err(Errno::kIo);
  return write_(write);
}

PathTree::PathTree() : root_(std::make_unique<Node>()) { root_->entries_ = Entries::kMerged; }

Node& PathTree::make(std::string_view path, NodeKind kind) {
  IOMMUFD_ASSERT(path.starts_with('/'));
  Node* node = root_.get();
  for (skip_slashes(path); !path.empty();) {
    const std::string_view name = take_component(path);
    skip_slashes(path);
    IOMMUFD_ASSERT(node->kind_ == NodeKind::kDirectory && name != "." && name != "..");
    auto it = node->children_.find(name);
    const bool fresh = it == node->children_.end();
    if (fresh) {
      it = node->children_.emplace(name, std::make_unique<Node>()).first;
      it->second->name_ = name;
      names_.emplace(name);
      it->second->parent_ = node;
      it->second->kind_ = path.empty() ? kind : NodeKind::kDirectory;
      // What is made on the way inside an own directory is own, too.
      it->second->entries_ = node->entries_;
    }
    IOMMUFD_ASSERT(!path.empty() || fresh || kind == NodeKind::kDirectory);
    node = it->second.get();
  }
  return *node;
}

void PathTree::add_directory(std::string_view path, Entries entries, u32 mode) {
  Node& node = make(path, NodeKind::kDirectory);
  if (entries == Entries::kOwn || node.children_.empty()) node.entries_ = entries;
  node.mode_ = mode;
}

void PathTree::leave_to_calls(std::string_view path) { make(path, NodeKind::kDirectory).reach_ = Reach::kCalls; }

void PathTree::add_file(std::string_view path, FileSpec spec) {
  Node& node = make(path, NodeKind::kFile);
  node.mode_ = spec.mode;
  node.size_ = spec.size;
  node.content_ = spec.content;
  node.read_ = std::move(spec.read);
  node.write_ = std::move(spec.write);
}

void PathTree::add_symlink(std::string_view path, std::string target) {
  Node& node = make(path, NodeKind::kSymlink);
  node.mode_ = 0777;
  node.target_ = std::move(target);
}

void PathTree::add_char_device(std::string_view path, DeviceNumber rdev, u32 mode, u32 opener) {
  Node& node = make(path, NodeKind::kCharDevice);
  node.mode_ = mode;
  node.rdev_ = rdev;
  node.opener_ = opener;
}

const Node* PathTree::find(std::string_view path) const {
  const Node* node = root_.get();
  for (skip_slashes(path); !path.empty() && node != nullptr; skip_slashes(path))
    node = node->child(take_component(path));
  return node;
}

Lookup PathTree::lookup(std::string_view path, Follow follow) const {
  if (!path.starts_with('/')) return {};
  // Nearly every path of a client ends here: its first component is none of ours, and nothing can lead back.
  std::string_view rest = path;
  for (skip_slashes(rest); rest.starts_with("./"); skip_slashes(rest)) rest.remove_prefix(1);
  const std::string_view first = rest.substr(0, rest.find('/'));
  if (root_->child(first) == nullptr && !(has_dot_dot(rest) && may_come_back(*root_, rest))) return {};
  if (path.size() > kMaxPath) return {.outcome = Lookup::Outcome::kError, .error = Errno::kNameTooLong};
  return Walk(*this, path, follow).run();
}

std::string join(std::string_view directory, std::string_view relative) {
  if (relative.starts_with('/')) return std::string(relative);
  std::string path{directory};
  if (!path.ends_with('/') && !relative.empty()) path += '/';
  return path.append(relative);
}

std::string normalise(std::string_view path) {
  std::string out;
  const bool absolute = path.starts_with('/');
  const bool wants_directory = path.ends_with('/') || path.ends_with("/.");
  for (skip_slashes(path); !path.empty(); skip_slashes(path)) {
    const std::string_view name = take_component(path);
    if (name == ".") continue;
    if (absolute || !out.empty()) out += '/';
    out += name;
  }
  if (absolute && out.empty()) return "/";
  if (wants_directory && !out.empty()) out += '/';
  return out.empty() ? "." : out;
}

}  // namespace iommufd::run
