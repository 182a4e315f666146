// SPDX-License-Identifier: BSD-3-Clause
// How the memory of one process is reached: by an ordinary load and store when the engine lives in the process
// (LocalMemory), by process_vm_readv/writev when it serves another one (run/process_memory.hpp). Implementations are
// thread-safe and take no ranked lock.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/types.hpp"

namespace iommufd::mem {

// Identity of a page of memory, whoever maps it and wherever: two mappings of one page have equal keys.
// `space` is the id of an AddressSpace (private memory; `index` is the virtual page number) or an interned id of an
// inode (shared file memory; `index` is the page of the file).
struct PageKey {
  u64 space = 0;
  u64 index = 0;
  friend bool operator==(const PageKey&, const PageKey&) = default;
};

// A run of pages with consecutive keys.
struct PageRun {
  PageKey first;
  u64 pages = 0;
  u64 page_size = kPageSize;         // of the mapping: 4 KiB, or 2 MiB / 1 GiB where huge pages back it
  std::optional<PhysAddr> on_bus{};  // memory of a device: the address of the first page; keys do not matter then
};

// What kind of memory it is (spec iommufd-core 3.6, 4.3): the rules differ.
enum class Backing : u8 {
  kProcess,  // memory of a process, by its addresses
  kFile,     // pages of a file, by offset
  kDmaBuf,   // memory of a device, by offset: mapped, but neither copied nor charged
};

// A part of a copy: bytes of ours, and where they are in the client's memory.
template <class Byte>
struct CopyPiece {
  UserVa at;
  std::span<Byte> bytes;
};
using ReadPiece = CopyPiece<std::byte>;
using WritePiece = CopyPiece<const std::byte>;

class RevocableSpace;

class AddressSpace : public RefCounted {
 public:
  // Copies between client memory and `buf`. Returns how many bytes were moved before the first page that cannot be
  // accessed (0 when it is the very first). Page protection is respected. Errors: kSrch when the process is gone.
  virtual Result<std::size_t> read_some(UserVa from, std::span<std::byte> buf) = 0;
  virtual Result<std::size_t> write_some(UserVa to, std::span<const std::byte> buf) = 0;
  // The same for pieces that follow each other, in as few system calls as there can be.
  virtual Result<std::size_t> read_pieces(std::span<const ReadPiece> pieces);
  virtual Result<std::size_t> write_pieces(std::span<const WritePiece> pieces);

  // All or kFault. (kFault also when the process is gone.)
  Result<void> read(UserVa from, std::span<std::byte> buf);
  Result<void> write(UserVa to, std::span<const std::byte> buf);

  // Makes the pages [page, page + count * 4 KiB) present as a long-term pin would and appends their identities to
  // `out`. kWrite asks for memory that the process itself may write. Errors: kFault (not mapped, PROT_NONE, not
  // writable, device memory, process gone), kNoMem. `page` is page aligned.
  virtual Result<void> populate(UserVa page, u64 count, Access access, std::vector<PageRun>& out) = 0;

  // Where the page at `va` can be touched by this process as long as it is pinned, or null. By guarded copies (mem/guarded_copy.hpp): its
  // owner may be able to take it away.
  virtual std::byte* direct(UserVa va) = 0;

  [[nodiscard]] virtual Backing backing() const { return Backing::kProcess; }
  // Equal for two objects that are ways to the same memory.
  [[nodiscard]] virtual u64 memory_id() const { return id(); }

  // Changes each time its owner takes the memory back: what was mapped before is void from then on (spec 3.6, dma-buf).
  // 0: nobody can.
  [[nodiscard]] virtual u64 generation() const { return 0; }
  // This memory as one that can be taken back; null when it cannot.
  virtual RevocableSpace* as_revocable() { return nullptr; }

  // Unique for the life of the program, never reused.
  [[nodiscard]] u64 id() const { return id_; }

 protected:
  AddressSpace();

 private:
  const u64 id_;
};

}  // namespace iommufd::mem
