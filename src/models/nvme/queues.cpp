// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/queues.hpp"

#include <algorithm>
#include <array>

namespace iommufd::models::nvme {
namespace {

constexpr u16 kPhase = 1;
// From the word with the phase on.
constexpr std::size_t kLastDword = 12;

}  // namespace

CompletionQueue::CompletionQueue(const Shape& shape) : shape_(shape) { waiting_.reserve(shape.size); }

u32 CompletionQueue::room() const {
  const u32 taken = reserved_ + static_cast<u32>(waiting_.size());
  return free() > taken ? free() - taken : 0;
}

void CompletionQueue::push(const Cqe& entry, Reserved reserved) {
  if (reserved == Reserved::kYes) --reserved_;
  waiting_.push_back(entry);
}

bool CompletionQueue::set_head(u32 head) {
  if (head >= shape_.size) return false;
  head_ = head;
  return true;
}

Result<bool> CompletionQueue::post(iommu::DmaPort& port) {
  const u32 count = std::min(free(), static_cast<u32>(waiting_.size()));
  if (count == 0) return false;
  const std::span<Cqe> batch(waiting_.data(), count);
  const u32 before_end = std::min(count, shape_.size - tail_);
  for (u32 i = 0; i < count; ++i) {
    const u16 phase = i < before_end ? phase_ : phase_ ^ kPhase;
    batch[i].status = static_cast<u16>((batch[i].status & ~kPhase) | phase);
  }
  IOMMUFD_TRY(write(port, batch));
  tail_ += count;
  if (tail_ >= shape_.size) {
    tail_ -= shape_.size;
    phase_ ^= kPhase;
  }
  waiting_.erase(waiting_.begin(), waiting_.begin() + count);
  return true;
}

// A client may spin on the phase bit of any entry, and a copy promises no order among its bytes. So the batch is written twice:
// first with the phase that the client holds for old, then, from the first phase word to the last, as it shall be. The
// second copy changes phase bits only: whichever of them the client sees first, everything else of that entry is there
// since the first copy, which was over before the second began.
Result<void> CompletionQueue::write(iommu::DmaPort& port, std::span<Cqe> entries) {
  const std::size_t before_end = std::min<std::size_t>(entries.size(), shape_.size - tail_);
  const std::array<iommu::DmaWritePiece, 2> whole{
      iommu::DmaWritePiece{shape_.base + u64{tail_} * sizeof(Cqe), std::as_bytes(entries.first(before_end))},
      iommu::DmaWritePiece{shape_.base, std::as_bytes(entries.subspan(before_end))}};
  const std::size_t pieces = before_end == entries.size() ? 1 : 2;
  for (Cqe& entry : entries) entry.status ^= kPhase;
  IOMMUFD_TRY(port.write_pieces(std::span(whole).first(pieces)));
  for (Cqe& entry : entries) entry.status ^= kPhase;
  std::array<iommu::DmaWritePiece, 2> tails = whole;
  for (iommu::DmaWritePiece& piece : std::span(tails).first(pieces)) {
    piece.addr += kLastDword;
    piece.bytes = piece.bytes.subspan(kLastDword);
  }
  return port.write_pieces(std::span(tails).first(pieces));
}

bool SubmissionQueue::set_tail(u32 tail) {
  if (tail >= shape_.size) return false;
  tail_ = tail;
  return true;
}

Result<u32> SubmissionQueue::fetch(iommu::DmaPort& port, std::span<Sqe> out) {
  const u32 end = tail_ >= head_ ? tail_ : shape_.size;
  const u32 count = std::min(end - head_, static_cast<u32>(out.size()));
  if (count == 0) return u32{0};
  IOMMUFD_TRY(port.read(shape_.base + u64{head_} * sizeof(Sqe), std::as_writable_bytes(out.first(count))));
  head_ = (head_ + count) % shape_.size;
  return count;
}

}  // namespace iommufd::models::nvme
