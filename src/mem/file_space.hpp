// SPDX-License-Identifier: BSD-3-Clause
// The pages of a file as an AddressSpace: "addresses" are byte offsets (spec iommufd-core 3.6). Holds the file by a descriptor of
// its own, so it outlives the client's and the client.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>

#include "base/fd.hpp"
#include "mem/address_space.hpp"
#include "mem/client_file.hpp"

namespace iommufd::mem {

// PageKey::space of the pages of an inode, the same for everyone who maps the file. Thread-safe.
u64 file_space_id(dev_t dev, ino_t inode);

// The size of a dma-buf; nothing for any other file.
std::optional<u64> dma_buf_size(const Fd& file);

// Pages of a file, as they are now.
struct FilePages {
  PageKey first;
  u64 page_size = kPageSize;  // of the file
};
// Makes `count` pages from byte `start` of a file present; missing ones are allocated. Errors: kInval unless the file is on tmpfs (memfd)
// or hugetlbfs and reaches to the last page asked for; kNoMem.
Result<FilePages> allocate_pages(const Fd& file, u64 start, u64 count);

class FileSpace final : public AddressSpace {
 public:
  // `fd` is the client's file; any kind is accepted here and examined when pages are pinned. Its frames are contiguous by
  // `seen_page_size`, or by the page size of the file where that is larger.
  explicit FileSpace(Fd fd, u64 seen_page_size = kPageSize)
      : file_(ClientFile::of(std::move(fd))), seen_page_size_(seen_page_size) {}
  Result<std::size_t> read_some(UserVa from, std::span<std::byte> buf) override;
  Result<std::size_t> write_some(UserVa to, std::span<const std::byte> buf) override;
  // Errors: those of allocate_pages(). Open mode and seals do not matter.
  Result<void> populate(UserVa page, u64 count, Access access, std::vector<PageRun>& out) override;
  std::byte* direct(UserVa va) override { return file_->direct(va.raw()); }
  [[nodiscard]] Backing backing() const override { return Backing::kFile; }

 private:
  const std::shared_ptr<ClientFile> file_;
  const u64 seen_page_size_;
};

}  // namespace iommufd::mem
