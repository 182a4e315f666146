// SPDX-License-Identifier: BSD-3-Clause
#include "run/client_memory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <atomic>

#include "base/explain.hpp"
#include "base/rollback.hpp"
#include "mem/client_file.hpp"
#include "mem/real_frames.hpp"
#include "run/client_pins.hpp"
#include "run/find_descriptor.hpp"
#include "run/frame_pins.hpp"
#include "run/message.hpp"

namespace iommufd::run {
namespace {

class HeldFile final : public Held {
 public:
  // Address `start` is byte `offset` of the file.
  HeldFile(std::shared_ptr<mem::ClientFile> file, u64 start, u64 offset)
      : file_(std::move(file)), start_(start), offset_(offset) {}
  Result<std::size_t> read(u64 va, std::span<std::byte> buf) override { return file_->read_some(at(va), buf); }
  Result<std::size_t> write(u64 va, std::span<const std::byte> buf) override { return file_->write_some(at(va), buf); }
  std::byte* direct(u64 va) override { return file_->direct(at(va)); }

 private:
  [[nodiscard]] u64 at(u64 va) const { return offset_ + (va - start_); }
  const std::shared_ptr<mem::ClientFile> file_;
  const u64 start_, offset_;
};

// It is the file that we looked for. Errors: kNoEnt.
Result<void> check_file(const Fd& fd, dev_t device, ino_t inode) {
  struct stat st{};
  IOMMUFD_TRY(sys::ok(::fstat(fd.get(), &st)));
  if (!S_ISREG(st.st_mode) || st.st_ino != inode || st.st_dev != device) return Err(Errno::kNoEnt);
  return {};
}

// The file of an inode that a process has open, as a path. Errors: kNoEnt when it is not open there; those of open.
Result<Fd> open_file_of(pid_t tid, const Vma& vma) {
  const std::string path = fmt::format("/proc/{}/fd/{}", tid, IOMMUFD_TRY(find_descriptor(tid, vma.dev, vma.inode)));
  Fd fd(IOMMUFD_TRY(sys::check(::open(path.c_str(), O_PATH | O_CLOEXEC))));
  IOMMUFD_TRY(check_file(fd, vma.dev, vma.inode));
  return fd;
}

// The same by way of the mapping: memory that is shared without a descriptor (MAP_SHARED | MAP_ANONYMOUS) is a file too. Only
// a privileged user may. Errors: those of open; kNoEnt when something else is mapped there now.
Result<Fd> open_file_mapped_at(pid_t tid, const Vma& vma) {
  const std::string path = fmt::format("/proc/{}/map_files/{:x}-{:x}", tid, vma.start, vma.end);
  Fd fd(IOMMUFD_TRY(sys::check(::open(path.c_str(), O_PATH | O_CLOEXEC))));
  IOMMUFD_TRY(check_file(fd, vma.dev, vma.inode));
  return fd;
}

// Null when it is not ours to open.
std::shared_ptr<mem::ClientFile> file_mapped_at(pid_t tid, const Vma& vma) {
  if (std::shared_ptr<mem::ClientFile> known = mem::ClientFile::find(vma.dev, vma.inode)) return known;
  Result<Fd> fd = open_file_of(tid, vma);
  if (!fd) fd = open_file_mapped_at(tid, vma);
  return fd ? mem::ClientFile::of(*std::move(fd)) : nullptr;
}

void report_not_held(Errno e) {
  static std::atomic<bool> said{false};
  if (e == Errno::kSrch || said.exchange(true)) return;
  message(fmt::format("--pin=real: the client's pages cannot be held ({}); DMA follows its addresses instead",
                      errno_name(e)));
}

}  // namespace

Result<std::size_t> ClientMemory::read_some(UserVa from, std::span<std::byte> buf) {
  return held_.by_pieces(from.raw(), buf.size(), [&](const HeldRanges::Piece& p, std::size_t done) {
    const auto part = buf.subspan(done, p.size);
    return p.held ? p.held->read(from.raw() + done, part) : process_->read_some(advance(from, done), part);
  });
}

Result<std::size_t> ClientMemory::write_some(UserVa to, std::span<const std::byte> buf) {
  return held_.by_pieces(to.raw(), buf.size(), [&](const HeldRanges::Piece& p, std::size_t done) {
    const auto part = buf.subspan(done, p.size);
    return p.held ? p.held->write(to.raw() + done, part) : process_->write_some(advance(to, done), part);
  });
}

// What is held moves piece by piece, each in its own way.
Result<std::size_t> ClientMemory::read_pieces(std::span<const mem::ReadPiece> pieces) {
  return held_.empty() ? process_->read_pieces(pieces) : AddressSpace::read_pieces(pieces);
}

Result<std::size_t> ClientMemory::write_pieces(std::span<const mem::WritePiece> pieces) {
  return held_.empty() ? process_->write_pieces(pieces) : AddressSpace::write_pieces(pieces);
}

std::byte* ClientMemory::direct(UserVa va) {
  const HeldRanges::Piece piece = held_.piece_at(va.raw(), 1);
  return piece.held ? piece.held->direct(va.raw()) : nullptr;
}

// A page is held once, for all that map it: so for writing as well, wherever the file allows that. What a device may do is for its page
// table to say. Where the client may write and we may not (its mapping is older than a seal), its addresses are followed.
void ClientMemory::hold_file(CallScope& call, const Vma& vma, u64 start, u64 end) {
  std::shared_ptr<mem::ClientFile> file = file_mapped_at(call.tid(), vma);
  if (!file || !allows(file->access(), (vma.access & Access::kWrite) | Access::kRead)) return;
  const u64 offset = vma.file_offset + (start - vma.start);
  file->map(offset + (end - start));
  // What is on hugetlbfs can be read as a file, but not written.
  if (vma.page_size != kPageSize && file->direct(offset) == nullptr) return;
  held_.hold(start, end, std::make_shared<HeldFile>(std::move(file), start, offset));
}

Result<void> ClientMemory::hold_frames(CallScope& call, const Vma& vma, u64 start, u64 end,
                                       std::vector<mem::PageRun>& out) {
  const auto pinned = [&]() -> Result<void> {
    const Ref<mem::PinRing> ring = IOMMUFD_TRY(process_->pin_ring(keeper_));
    const PinSource source {
      .ring = ring, .frames = IOMMUFD_TRY(mem::RealFrames::open(call.tid()))
      , .pin = [&](u64 at, u64 length) { return pin_in_client(*ring, call, at, length); }, .page_size = vma.page_size
    };
    return pin_frames(source, start, end, frames_end_, held_, out);
  }();
  if (pinned) return {};
  return refuse_pin(pinned.error(), start,
                    {.read_only = !allows(vma.access, Access::kWrite), .has_file = vma.inode != 0});
}

std::optional<u64> ClientMemory::hold_private(CallScope& call, u64 start, u64 end) {
  constexpr u64 kMost = mem::PinRing::kMaxLength;
  const Result<Ref<mem::PinRing>> ring = process_->pin_ring(keeper_);
  if (!ring) {
    report_not_held(ring.error());
    return {};
  }
  std::vector<std::pair<u64, std::shared_ptr<Held>>> made;
  for (u64 at = start; at < end; at += std::min(end - at, kMost)) {
    const Result<u32> slot = pin_in_client(**ring, call, at, std::min(end - at, kMost));
    if (!slot) {
      report_not_held(slot.error());
      return {};
    }
    made.emplace_back(at, std::make_shared<HeldSlot>(*ring, *slot, 0));
  }
  for (auto& [at, held] : made) held_.hold(at, std::min(end, at + kMost), std::move(held));
  constexpr unsigned kGenerationShift = 40;  // above every page number
  return ++generation_ << kGenerationShift;
}

Result<void> ClientMemory::populate(UserVa page, u64 count, Access access, std::vector<mem::PageRun>& out) {
  CallScope* call = CallScope::current();
  if (call != nullptr && call->memory() != process_.get()) call = nullptr;
  const std::size_t before = out.size();
  Rollback undo{[&] { out.resize(before); }};
  if (policy_ == PinPolicy::kFrames) {
    if (call == nullptr)
      return reject(Errno::kPerm, {"user_va", page.raw(), "memory for a real device is pinned in the call of its owner",
                                   "docs/host.md, Memory"});
    Result<void> held;
    IOMMUFD_TRY(process_->populate_each(page, count, access, [&](const Vma& vma, u64 start, u64 end) {
      if (held) held = hold_frames(*call, vma, start, end, out);
    }));
    IOMMUFD_TRY(held);
    undo.commit();
    return {};
  }
  IOMMUFD_TRY(process_->populate_each(page, count, access, [&](const Vma& vma, u64 start, u64 end) {
    mem::PageRun run = ProcessMemory::run_of(*process_, vma, start, end);
    const bool file = vma.shared && vma.inode != 0;
    if (call != nullptr && file) hold_file(*call, vma, start, end);
    if (call != nullptr && !file && policy_ == PinPolicy::kReal) {
      if (const std::optional<u64> keys = hold_private(*call, start, end))
        run.first = {id(), *keys | start / kPageSize};
    }
    out.push_back(run);
  }));
  undo.commit();
  return {};
}

}  // namespace iommufd::run
