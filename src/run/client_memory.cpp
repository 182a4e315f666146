// SPDX-License-Identifier: BSD-3-Clause
#include "run/client_memory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <atomic>

#include "base/rollback.hpp"
#include "mem/client_file.hpp"
#include "mem/real_frames.hpp"
#include "run/find_descriptor.hpp"
#include "run/message.hpp"

namespace iommufd::run {
namespace {

class HeldFile final : public ClientMemory::Held {
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

class HeldSlot final : public ClientMemory::Held {
 public:
  HeldSlot(Ref<PinRing> ring, u32 slot) : ring_(std::move(ring)), slot_(slot) {}
  ~HeldSlot() override { ring_->unpin(slot_); }
  Result<std::size_t> read(u64 va, std::span<std::byte> buf) override {
    IOMMUFD_TRY(ring_->read(slot_, va, buf));
    return buf.size();
  }
  Result<std::size_t> write(u64 va, std::span<const std::byte> buf) override {
    IOMMUFD_TRY(ring_->write(slot_, va, buf));
    return buf.size();
  }

 private:
  const Ref<PinRing> ring_;
  const u32 slot_;
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

void report_unreachable(PhysAddr frame, u64 end) {
  message(
      fmt::format("a page at physical address {:#x} is out of the device's reach (dma_bits, {:#x}): use memory from "
                  "a pool of huge "
                  "pages that was reserved at boot, or boot with mem=",
                  frame.raw(), end));
}

void report_no_frames(Errno e) {
  const char* why = "";
  switch (e) {
    case Errno::kPerm: why = ": frame numbers are hidden, or a debugger holds the thread"; break;
    case Errno::kFault:
    case Errno::kOpNotSupp: why = ": it must be anonymous, in a memfd or in huge pages, and writable"; break;
    case Errno::kNoMem:
      why = ": the limit of locked memory, or more pieces than can be pinned one by one (16384)";
      break;
    default: break;
  }
  if (e != Errno::kSrch) message(fmt::format("memory for a real device cannot be pinned ({}){}", errno_name(e), why));
}

}  // namespace

ClientMemory::Piece ClientMemory::piece_at(u64 va, u64 size) {
  const MutexLock lock(mu_);
  auto next = ranges_.upper_bound(va);
  if (next != ranges_.begin()) {
    const auto& range = std::prev(next)->second;
    if (va < range.end) return {range.held, std::min(size, range.end - va)};
  }
  return {nullptr, next != ranges_.end() ? std::min(size, next->first - va) : size};
}

template <class Copy>
Result<std::size_t> ClientMemory::by_pieces(u64 va, std::size_t size, Copy&& copy) {
  std::size_t done = 0;
  while (done < size) {
    const Piece piece = piece_at(va + done, size - done);
    const Result<std::size_t> n = copy(piece, done);
    if (!n && done == 0) return n;
    if (n) done += *n;
    if (!n || *n < piece.size) break;
  }
  return done;
}

Result<std::size_t> ClientMemory::read_some(UserVa from, std::span<std::byte> buf) {
  return by_pieces(from.raw(), buf.size(), [&](const Piece& p, std::size_t done) {
    const auto part = buf.subspan(done, p.size);
    return p.held ? p.held->read(from.raw() + done, part) : process_->read_some(advance(from, done), part);
  });
}

Result<std::size_t> ClientMemory::write_some(UserVa to, std::span<const std::byte> buf) {
  return by_pieces(to.raw(), buf.size(), [&](const Piece& p, std::size_t done) {
    const auto part = buf.subspan(done, p.size);
    return p.held ? p.held->write(to.raw() + done, part) : process_->write_some(advance(to, done), part);
  });
}

bool ClientMemory::holds_nothing() {
  const MutexLock lock(mu_);
  return ranges_.empty();
}

// What is held moves piece by piece, each in its own way.
Result<std::size_t> ClientMemory::read_pieces(std::span<const mem::ReadPiece> pieces) {
  return holds_nothing() ? process_->read_pieces(pieces) : AddressSpace::read_pieces(pieces);
}

Result<std::size_t> ClientMemory::write_pieces(std::span<const mem::WritePiece> pieces) {
  return holds_nothing() ? process_->write_pieces(pieces) : AddressSpace::write_pieces(pieces);
}

std::byte* ClientMemory::direct(UserVa va) {
  const Piece piece = piece_at(va.raw(), 1);
  return piece.held ? piece.held->direct(va.raw()) : nullptr;
}

// What was held there before goes: a page is populated anew only when none of its earlier pins is left.
void ClientMemory::hold(u64 start, u64 end, std::shared_ptr<Held> held) {
  std::vector<std::shared_ptr<Held>> dropped;
  const MutexLock lock(mu_);
  auto it = ranges_.upper_bound(start);
  if (it != ranges_.begin()) --it;
  while (it != ranges_.end() && it->first < end) {
    const u64 old_start = it->first;
    const Range old = it->second;
    if (old.end <= start) {
      ++it;
      continue;
    }
    dropped.push_back(old.held);
    it = ranges_.erase(it);
    if (old_start < start) ranges_[old_start] = {start, old.held};
    if (old.end > end) ranges_[end] = old;
  }
  if (held) ranges_[start] = {end, std::move(held)};
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
  hold(start, end, std::make_shared<HeldFile>(std::move(file), start, offset));
}

// Which frames they are is asked before and after they are pinned: only when both answers are the same were they these while nobody could
// move them, nor the client map others in their place.
Result<void> ClientMemory::hold_frames(CallScope& call, u64 start, u64 end, u64 page_size,
                                       std::vector<mem::PageRun>& out) {
  constexpr int kAttempts = 16;
  const Ref<PinRing> ring = IOMMUFD_TRY(process_->pin_ring(keeper_));
  const mem::RealFrames pagemap = IOMMUFD_TRY(mem::RealFrames::open(call.tid()));
  for (u64 at = start; at < end;) {
    const u64 length = std::min(end - at, PinRing::kMaxLength);
    std::vector<PhysAddr> before(length / kPageSize), frames(before.size());
    std::shared_ptr<Held> held;
    for (int i = 0; !held; ++i) {
      if (i == kAttempts) return Err(Errno::kAgain);
      const Result<void> guess = pagemap.read(UserVa{at}, before);
      if (!guess && guess.error() != Errno::kFault) return Err(guess.error());
      const auto slot = std::make_shared<HeldSlot>(ring, IOMMUFD_TRY(ring->pin(call, at, length)));
      IOMMUFD_TRY(pagemap.read(UserVa{at}, frames));
      if (guess && frames == before) held = slot;
    }
    for (const PhysAddr frame : frames)
      if (frame.raw() >= frames_end_) {
        report_unreachable(frame, frames_end_);
        return Err(Errno::kRange);
      }
    hold(at, at + length, std::move(held));
    for (std::size_t i = 0; i < frames.size();) {
      std::size_t n = 1;
      while (i + n < frames.size() && frames[i + n].raw() == frames[i].raw() + n * kPageSize) ++n;
      out.push_back({.first = {}, .pages = n, .page_size = page_size, .on_bus = frames[i]});
      i += n;
    }
    at += length;
  }
  return {};
}

std::optional<u64> ClientMemory::hold_private(CallScope& call, u64 start, u64 end) {
  const Result<Ref<PinRing>> ring = process_->pin_ring(keeper_);
  if (!ring) {
    report_not_held(ring.error());
    return {};
  }
  std::vector<std::pair<u64, std::shared_ptr<Held>>> made;
  for (u64 at = start; at < end; at += std::min(end - at, PinRing::kMaxLength)) {
    const Result<u32> slot = (*ring)->pin(call, at, std::min(end - at, PinRing::kMaxLength));
    if (!slot) {
      report_not_held(slot.error());
      return {};
    }
    made.emplace_back(at, std::make_shared<HeldSlot>(*ring, *slot));
  }
  for (auto& [at, held] : made) hold(at, std::min(end, at + PinRing::kMaxLength), std::move(held));
  constexpr unsigned kGenerationShift = 40;  // above every page number
  return ++generation_ << kGenerationShift;
}

Result<void> ClientMemory::populate(UserVa page, u64 count, Access access, std::vector<mem::PageRun>& out) {
  CallScope* call = CallScope::current();
  if (call != nullptr && call->memory() != process_.get()) call = nullptr;
  const std::size_t before = out.size();
  Rollback undo{[&] { out.resize(before); }};
  if (policy_ == PinPolicy::kFrames) {
    if (call == nullptr) return Err(Errno::kPerm);
    Result<void> held;
    IOMMUFD_TRY(process_->populate_each(page, count, access, [&](const Vma& vma, u64 start, u64 end) {
      if (held) held = hold_frames(*call, start, end, vma.page_size, out);
    }));
    if (!held) {
      report_no_frames(held.error());
      return held;
    }
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
