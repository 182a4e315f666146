// SPDX-License-Identifier: BSD-3-Clause
// A file whose pages a client shares with us, as we reach it: by a descriptor of our own and, where copies are guarded
// (mem/guarded_copy.hpp), by loads and stores to a mapping. There is one object for a file, whoever uses it and however many
// mappings of the client lie in it; descriptor and mapping go with the last user.
//
// The mapping is for writing. A file that we may only read, or that is sealed against writing, is not mapped: a device that
// writes to it meets a refusal of the kernel there, and not a protection fault. The mapping covers the file from its beginning, in
// parts that stay where they are; later ones are made when the file has grown.
//
// The owner may cut the file at any time. Bytes that are not there then are not moved; if the file grows again they are those of
// the file.
//
// Lock: mu_ (kLeaf) guards the parts; not held during a copy. The register of files has one too (kLeaf); they do not nest.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "base/sys.hpp"
#include "base/types.hpp"

namespace iommufd::mem {

class ClientFile {
 public:
  // The file behind `fd`. It is opened again, for writing where that is allowed: position, flags and locks of the client's open
  // file stay the client's. Where it cannot be opened `fd` itself is kept. A file that is not a regular one is nobody else's object.
  static std::shared_ptr<ClientFile> of(Fd fd);
  // The object of a file that somebody uses already and that can be written; null when there is none.
  static std::shared_ptr<ClientFile> find(dev_t device, ino_t inode);
  ~ClientFile();
  ClientFile(const ClientFile&) = delete;
  ClientFile& operator=(const ClientFile&) = delete;

  // What may be done with it: kNone for a mere path.
  [[nodiscard]] Access access() const { return access_; }
  [[nodiscard]] const Fd& fd() const { return fd_; }

  // Makes [0, end) reachable by loads and stores, if it can be. Nothing is allocated in the file.
  void map(u64 end) IOMMUFD_EXCLUDES(mu_);
  // Where the byte at `offset` can be touched by guarded copies as long as this object lives; null where it cannot.
  [[nodiscard]] std::byte* direct(u64 offset) IOMMUFD_EXCLUDES(mu_) { return mapped_from(offset).data(); }

  // Bytes moved before the first that is not there, or may not be touched. The file never grows by it.
  std::size_t read_some(u64 offset, std::span<std::byte> buf) IOMMUFD_EXCLUDES(mu_);
  std::size_t write_some(u64 offset, std::span<const std::byte> buf) IOMMUFD_EXCLUDES(mu_);

 private:
  struct Key {
    dev_t device = 0;
    ino_t inode = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Part {
    u64 start;  // byte of the file
    sys::Mapping mapping;
  };
  class Register;

  ClientFile(Fd fd, Key key);
  // The bytes of the mapping from `offset` on; none where there is none.
  [[nodiscard]] std::span<std::byte> mapped_from(u64 offset) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] u64 mapped_end_locked() const IOMMUFD_REQUIRES(mu_);

  const Fd fd_;
  const Key key_;
  const Access access_;
  const u64 page_size_;  // of the file: kPageSize, or that of huge pages
  mutable Mutex mu_{LockRank::kLeaf};
  std::vector<Part> parts_ IOMMUFD_GUARDED_BY(mu_);  // one follows the other
};

}  // namespace iommufd::mem
