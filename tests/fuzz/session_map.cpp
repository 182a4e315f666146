// SPDX-License-Identifier: BSD-3-Clause
// MAP, MAP_FILE, COPY and UNMAP (spec iommufd-core 3.4, 3.6 to 3.8).
#include "tests/fuzz/session.hpp"

namespace iommufd::fuzz {
namespace {

using abi::IommuCommand;
constexpr u64 kMax = Model::kMax;

Access access_of(u32 flags) {
  return ((flags & abi::IoasMap::kReadable) != 0 ? Access::kRead : Access::kNone) |
         ((flags & abi::IoasMap::kWriteable) != 0 ? Access::kWrite : Access::kNone);
}
std::optional<u64> fixed_at(u32 flags, u64 iova) {
  return (flags & abi::IoasMap::kFixedIova) != 0 ? std::optional(iova) : std::nullopt;
}

}  // namespace

std::shared_ptr<Pages> Session::make_pages(Access access, int file, u64 va, u64 length) {
  const ChargeTo charge = call_.locks_memory    ? ChargeTo::kNobody
                          : model_.process_mode ? ChargeTo::kProcess
                                                : ChargeTo::kUser;
  const u64 count = ((va & kPageMask) + length - 1) / kPageSize + 1;
  return std::make_shared<Pages>(
      Pages{next_serial_++, allows(access, Access::kWrite), file, va, count, process_, charge});
}

Answer Session::want_map(u32 ioas, std::optional<u64> fixed, u64 length, Area area, Areas& made) const {
  if (length == 0 || length > kMax - kPageSize) return Errno::kInval;
  const Result<u64> at = model_.place(ioas, fixed, length, area.va);
  if (!at) return at.error();
  if (!is_aligned(area.va & kPageMask, model_.alignment(ioas))) return Errno::kInval;
  area.last = *at + (length - 1);
  made.emplace(*at, std::move(area));
  return model_.ioases.at(ioas).domains.empty() ? Answer{} : model_.can_fill(made);
}

void Session::map(Input& input) {
  const u32 ioas = take_ioas(input);
  abi::IoasMap cmd{.size = sizeof(cmd),
                   .flags = take_flags(input, abi::IoasMap::kAllFlags),
                   .ioas_id = ioas,
                   .reserved = 0,
                   .user_va = 0,
                   .length = take_length(input),
                   .iova = take_iova(input)};
  cmd.user_va = take_va(input, cmd.length);
  // Just beside a mapping, or one byte into it.
  if (const u8 aim = input.take<u8>(); aim >= 0xc0)
    if (const auto* area = pick_area(ioas, aim >> 2))
      cmd.iova = (aim & 1) != 0 ? area->second.last + (aim >> 1 & 1) : area->first - cmd.length + (aim >> 1 & 1);
  Areas made;
  const auto want = [&]() -> Answer {
    if ((cmd.flags & ~abi::IoasMap::kAllFlags) != 0) return Errno::kOpNotSupp;
    if (cmd.iova == kMax || cmd.length == kMax) return Errno::kOverflow;
    const Access access = access_of(cmd.flags);
    if (access == Access::kNone) return Errno::kInval;
    if (find_ioas(ioas) == nullptr) return Errno::kNoEnt;
    if (cmd.user_va + cmd.length < cmd.user_va) return Errno::kOverflow;
    return want_map(ioas, fixed_at(cmd.flags, cmd.iova), cmd.length,
                    {0, cmd.user_va, access, make_pages(access, -1, cmd.user_va, cmd.length)}, made);
  }();
  expect("MAP", send(IommuCommand::kIoasMap, cmd), want);
  if (want) return;
  FUZZ_CHECK(cmd.iova == made.begin()->first);
  model_.add_areas(ioas, std::move(made));
}

void Session::map_file(Input& input) {
  const u32 ioas = take_ioas(input);
  const u8 which = input.take<u8>();
  const int fd = which < 0xe0 ? SandboxFile::kNumber : which < 0xf0 ? SandboxFile::kNullNumber : 66;
  abi::IoasMapFile cmd{.size = sizeof(cmd),
                       .flags = take_flags(input, abi::IoasMapFile::kAllFlags),
                       .ioas_id = ioas,
                       .fd = fd,
                       .start = u64{which} % 16 * kPageSize,
                       .length = take_length(input),
                       .iova = take_iova(input)};
  if (const u8 odd = input.take<u8>(); odd >= 0xf0) cmd.start = odd >= 0xfe ? kMax - which : u64{odd} * 512;
  Areas made;
  const auto want = [&]() -> Answer {
    if ((cmd.flags & ~abi::IoasMapFile::kAllFlags) != 0) return Errno::kOpNotSupp;
    if (cmd.iova == kMax || cmd.length == kMax) return Errno::kOverflow;
    const Access access = access_of(cmd.flags);
    if (access == Access::kNone) return Errno::kInval;
    if (find_ioas(ioas) == nullptr) return Errno::kNoEnt;
    if (cmd.length == 0) return Errno::kInval;
    if (cmd.start > kMax - (cmd.length - 1)) return Errno::kOverflow;
    if (fd == 66) return Errno::kBadf;
    return want_map(ioas, fixed_at(cmd.flags, cmd.iova), cmd.length,
                    {0, cmd.start, access, make_pages(access, fd, cmd.start, cmd.length)}, made);
  }();
  expect("MAP_FILE", send(IommuCommand::kIoasMapFile, cmd), want);
  if (want) return;
  FUZZ_CHECK(cmd.iova == made.begin()->first);
  model_.add_areas(ioas, std::move(made));
}

// Rows 5 to 14 of 3.7.
Answer Session::want_copy(const abi::IoasCopy& cmd, Areas& made) const {
  if (cmd.length == 0) return Errno::kInval;
  if (cmd.src_iova > kMax - (cmd.length - 1)) return Errno::kOverflow;
  const Ioas& from = *find_ioas(cmd.src_ioas_id);
  std::vector<std::pair<u64, Area>> slices;  // length, and an area whose va is that of its first byte
  for (u64 at = cmd.src_iova, left = cmd.length; left != 0;) {
    const auto it = Model::area_at(from, at);
    if (it == from.areas.end()) return Errno::kNoEnt;
    const u64 n = std::min(it->second.last - at, left - 1) + 1;
    Area slice = it->second;
    slice.va += at - it->first;
    slice.access = access_of(cmd.flags);
    slices.emplace_back(n, slice);
    at += n;
    left -= n;
  }
  if (find_ioas(cmd.dst_ioas_id) == nullptr) return Errno::kNoEnt;
  const u64 hint = slices.front().second.va;
  const Result<u64> placed = model_.place(cmd.dst_ioas_id, fixed_at(cmd.flags, cmd.dst_iova), cmd.length, hint);
  if (!placed) return placed.error();
  u64 at = *placed;
  for (auto& [length, slice] : slices) {
    if (allows(slice.access, Access::kWrite) && !slice.pages->writable) return Errno::kPerm;
    if (!is_aligned(slice.va & kPageMask, model_.alignment(cmd.dst_ioas_id))) return Errno::kInval;
    slice.last = at + (length - 1);
    made.emplace(at, slice);
    at += length;
  }
  return find_ioas(cmd.dst_ioas_id)->domains.empty() ? Answer{} : model_.can_fill(made);
}

void Session::copy(Input& input) {
  abi::IoasCopy cmd{.size = sizeof(cmd),
                    .flags = take_flags(input, abi::IoasCopy::kAllFlags),
                    .dst_ioas_id = take_ioas(input),
                    .src_ioas_id = take_ioas(input),
                    .length = take_length(input),
                    .dst_iova = take_iova(input),
                    .src_iova = take_iova(input)};
  const u8 aim = input.take<u8>();
  if (const auto* area = pick_area(cmd.src_ioas_id, aim); area != nullptr && aim >= 0x30) {
    cmd.src_iova = area->first;
    if ((aim & 1) != 0) cmd.length = length_of(*area);
    if ((aim & 6) == 6) cmd.src_iova += kPageSize;
  }
  Areas made;
  const auto want = [&]() -> Answer {
    if ((cmd.flags & ~abi::IoasCopy::kAllFlags) != 0) return Errno::kOpNotSupp;
    if (cmd.length == kMax || cmd.src_iova == kMax || cmd.dst_iova == kMax) return Errno::kOverflow;
    if (access_of(cmd.flags) == Access::kNone) return Errno::kInval;
    if (find_ioas(cmd.src_ioas_id) == nullptr) return Errno::kNoEnt;
    return want_copy(cmd, made);
  }();
  expect("COPY", send(IommuCommand::kIoasCopy, cmd), want);
  if (want) return;
  FUZZ_CHECK(cmd.dst_iova == made.begin()->first);
  model_.add_areas(cmd.dst_ioas_id, std::move(made));
}

void Session::unmap(Input& input) {
  const u32 ioas = take_ioas(input);
  abi::IoasUnmap cmd{.size = sizeof(cmd), .ioas_id = ioas, .iova = take_iova(input), .length = take_length(input)};
  const u8 how = input.take<u8>();
  if (how >= 0xf0) {
    cmd.iova = 0;
    cmd.length = how >= 0xf2 ? kMax : kMax - 1;
  } else if (const auto* area = pick_area(ioas, how); area != nullptr && how >= 0x30) {
    cmd.iova = area->first;
    cmd.length = length_of(*area);
  }
  u64 bytes = 0;
  const auto want = [&]() -> Answer {
    if (find_ioas(ioas) == nullptr) return Errno::kNoEnt;
    if (cmd.iova == 0 && cmd.length == kMax) return model_.unmap(ioas, 0, kMax, bytes);
    if (cmd.iova == kMax || cmd.length == kMax) return Errno::kOverflow;
    if (cmd.length == 0) return Errno::kInval;
    if (cmd.iova > kMax - (cmd.length - 1)) return Errno::kOverflow;
    if (const Answer no = model_.unmap(ioas, cmd.iova, cmd.iova + (cmd.length - 1), bytes)) return no;
    return bytes == 0 ? Errno::kNoEnt : Answer{};
  }();
  expect("UNMAP", send(IommuCommand::kIoasUnmap, cmd), want);
  if (!want) FUZZ_CHECK(cmd.length == bytes);
}

}  // namespace iommufd::fuzz
