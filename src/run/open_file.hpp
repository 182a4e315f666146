// SPDX-License-Identifier: BSD-3-Clause
// The open files of the clients. Each open is a memfd of its own: a sparse, sealed file whose inode is the identity of the
// open file description, and whose memory is what the client may map (BARs at their region offsets).
//
// Life: make() → the Service opens its File → publish() → the client gets a descriptor of description() → the server drops
// its description. When the last descriptor and the last mapping of the client are gone, the kernel queues an
// inotify event on the inode *before* the client's close() or munmap() returns. drain() takes the events and releases the
// files; it runs before every request is looked at, so that what a client closed is closed when it asks for the next thing.
//
// The server keeps a second description (the anchor) only of files whose memory it maps, and until the end: it never
// closes one while the inode is watched, so every event means the client's close.
//
// Lock: mu_ (kRunFiles), outermost of all. File::release() is called without it; who drains meanwhile waits until it is
// done.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/fd.hpp"
#include "base/ref.hpp"
#include "base/sync.hpp"
#include "base/sys.hpp"
#include "ioctl/file.hpp"
#include "run/client_process.hpp"
#include "run/path_tree.hpp"
#include "vfio/file_memory.hpp"

namespace iommufd::run {

// How a descriptor was opened, in the bits of open(2).
struct OpenMode {
  int flags = 0;
  [[nodiscard]] bool readable() const;
  [[nodiscard]] bool writable() const;
};

class OpenFile final : public RefCounted {
 public:
  // A fresh memfd, for a device. Errors: kMFile, kNFile, kNoMem.
  static Result<Ref<OpenFile>> make(const Node& node, std::string path, const struct stat& attributes, OpenMode mode);
  // The same with a content that cannot be changed, for a text file.
  static Result<Ref<OpenFile>> make_text(const Node* node, std::string path, const struct stat& attributes,
                                         OpenMode mode, std::string_view content);
  // A fresh memfd for a file that has no path: `name` is what a link to its descriptor says, `size` what fstat says. The memfd
  // itself is empty.
  static Result<Ref<OpenFile>> make_anonymous(std::string name, u64 size);
  // The same for a device.
  static Result<Ref<OpenFile>> make_anonymous_device(std::string name);

  // The memory behind this open, for the Service. Once.
  std::unique_ptr<vfio::FileMemory> memory();
  // What the Service opened. Once, before publish().
  void set_file(Ref<ioctl::File> file) { file_ = std::move(file); }

  [[nodiscard]] ioctl::File& file() const { return *file_; }
  // Null: no node of the tree stands for it.
  [[nodiscard]] const Node* node() const { return node_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const struct stat& attributes() const { return attributes_; }
  [[nodiscard]] OpenMode mode() const { return mode_; }
  [[nodiscard]] ino_t inode() const { return inode_; }
  [[nodiscard]] dev_t device() const { return device_; }
  // The description that the client is to share. Closed by drop_description().
  [[nodiscard]] int description() const { return description_.get(); }
  void drop_description() { description_.reset(); }

  // The file position of read and write.
  std::atomic<u64> position{0};

  // Who gets the first descriptor, to be said before publish(), and its number: a close probably frees that one.
  void set_opener(Ref<ClientProcess> process) { opener_ = std::move(process); }
  std::atomic<u32> first_fd{0};

 private:
  friend class FileTable;
  class Memory;
  static Result<Ref<OpenFile>> make_nameless(std::string name, u64 memory_size, u64 size);
  OpenFile(const Node* node, std::string path, const struct stat& attributes, OpenMode mode)
      : node_(node), path_(std::move(path)), attributes_(attributes), mode_(mode) {}
  Result<void> adopt(Fd memfd);

  const Node* const node_;
  const std::string path_;
  const struct stat attributes_;
  const OpenMode mode_;
  ino_t inode_ = 0;
  dev_t device_ = 0;
  std::shared_ptr<const Fd> anchor_;
  Fd description_;
  Ref<ioctl::File> file_;
  Ref<ClientProcess> opener_;
};

class FileTable {
 public:
  // Errors: those of epoll_create.
  static Result<std::unique_ptr<FileTable>> create();
  FileTable(const FileTable&) = delete;
  FileTable& operator=(const FileTable&) = delete;

  // Enters the file and watches it. Pre: set_file() was called. Errors: kMFile, kNoSpc (inotify limits), kNoMem.
  Result<void> publish(const Ref<OpenFile>& file) IOMMUFD_EXCLUDES(mu_);
  // The client did not get its descriptor: the file is closed, now.
  void withdraw(const Ref<OpenFile>& file) IOMMUFD_EXCLUDES(mu_);

  // Null when the inode is none of ours.
  Ref<OpenFile> find(dev_t device, ino_t inode) IOMMUFD_EXCLUDES(mu_);
  // The open of `file`. Looks at all.
  Ref<OpenFile> find(const ioctl::File& file) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] bool empty() const { return count_.load(std::memory_order_acquire) == 0; }

  // Releases what the clients closed since the last time. When it returns, every close that happened before is done.
  void drain() IOMMUFD_EXCLUDES(mu_);
  // Readable when drain() has something to do: for a thread that waits for closes when no request comes.
  [[nodiscard]] int wait_fd() const { return epoll_.get(); }

  // At the end: releases everything.
  void release_all() IOMMUFD_EXCLUDES(mu_);

 private:
  // One inotify instance. An instance drops events when its queue is full; so it watches no more files than fit.
  struct Group {
    Fd inotify;
    std::size_t watches = 0;
    std::unordered_map<int, Ref<OpenFile>> files;
  };
  explicit FileTable(Fd epoll) : epoll_(std::move(epoll)) {}
  Result<Group*> group_with_room_locked() IOMMUFD_REQUIRES(mu_);
  void take_events_locked(Group& group, std::vector<Ref<OpenFile>>& closed) IOMMUFD_REQUIRES(mu_);
  // Ends files that are in no map any more. Pre: the caller has counted itself in releasing_.
  void release(std::vector<Ref<OpenFile>>& closed) IOMMUFD_EXCLUDES(mu_);

  const Fd epoll_;
  std::atomic<std::size_t> count_{0};  // in files_, or being released
  std::atomic<dev_t> device_{0};       // the one that all our memfds are on
  Mutex mu_{LockRank::kRunFiles};
  CondVar released_;
  std::size_t releasing_ IOMMUFD_GUARDED_BY(mu_) = 0;
  std::unordered_map<ino_t, Ref<OpenFile>> files_ IOMMUFD_GUARDED_BY(mu_);
  std::vector<std::unique_ptr<Group>> groups_ IOMMUFD_GUARDED_BY(mu_);
};

}  // namespace iommufd::run
