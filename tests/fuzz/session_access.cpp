// SPDX-License-Identifier: BSD-3-Clause
// Accesses, through the test ABI (spec iommufd-core 4.6; selftest-abi 3.6 to 3.10, 7).
#include "tests/fuzz/session.hpp"

namespace iommufd::fuzz {
namespace {

using abi::TestOp;
constexpr u64 kMax = Model::kMax;
constexpr u64 kMaxLength = u64{16} << 20;

}  // namespace

SoftwareAccess* Session::access_behind(u32 fd) {
  const auto it = std::ranges::find_if(model_.accesses, [&](const auto& a) { return a.second.fd == fd; });
  return it == model_.accesses.end() ? nullptr : &it->second;
}

u32 Session::take_access(Input& input) const {
  const u8 n = input.take<u8>();
  if (n >= 0xf4 || model_.accesses.empty()) return n % 16;
  return std::next(model_.accesses.begin(), n % static_cast<int>(model_.accesses.size()))->second.fd;
}

// An area, a part of one, two in a row, or anything.
std::pair<u64, u64> Session::take_access_range(Input& input, u32 ioas) const {
  u64 iova = take_iova(input), length = take_length(input);
  const u8 aim = input.take<u8>();
  if (const auto* area = pick_area(ioas, aim); area != nullptr && aim >= 0x20) {
    iova = area->first;
    if ((aim & 3) != 0) length = length_of(*area);
    if ((aim & 3) == 2 && length > kPageSize) iova += kPageSize, length -= kPageSize;
    if ((aim & 3) == 3) length += (aim >> 2 & 3) * 1024u;
  }
  return {iova, length};
}

void Session::create_access(Input& input) {
  if (model_.accesses.size() >= 4) return;
  const u32 ioas = take_ioas(input);
  const u8 n = input.take<u8>();
  abi::TestCreateAccess args{.out_access_fd = 0, .flags = n < 0xc0 ? 1u : n < 0xfc ? 0u : 2u};
  const u32 id = model_.free_id();
  const bool pins = args.flags == 1;
  const auto want = [&]() -> Answer {
    if (args.flags > 1) return Errno::kOpNotSupp;
    if (find_ioas(ioas) == nullptr) return Errno::kNoEnt;
    return pins ? model_.can_align(*find_ioas(ioas), kPageSize, model_.alignment(ioas)) : Answer{};
  }();
  expect("CREATE_ACCESS", send_test(TestOp::kCreateAccess, ioas, args), want);
  if (!want) model_.accesses.emplace(id, SoftwareAccess{args.out_access_fd, ioas, pins, {}, 0});
}

void Session::close_access(Input& input) {
  const u32 fd = take_access(input);
  if (access_behind(fd) == nullptr) return;
  call_.close(fd);
  std::erase_if(model_.accesses, [&](const auto& a) { return a.second.fd == fd; });
}

void Session::pin_pages(Input& input) {
  const u32 fd = take_access(input);
  SoftwareAccess* access = access_behind(fd);
  const u8 n = input.take<u8>();
  const auto [iova, length] = take_access_range(input, access == nullptr ? 0 : access->ioas);
  abi::TestAccessPages args{.flags = n < 0x80   ? 0u
                                     : n < 0xfc ? abi::kTestWrite
                                                : 2u,
                            .out_access_pages_id = 0,
                            .iova = iova,
                            .length = length,
                            .uptr = (n & 7) == 7 ? kArgument : 0};  // which nothing maps
  const Access access_wanted = args.flags == abi::kTestWrite ? Access::kWrite : Access::kRead;
  const auto want = [&]() -> Answer {
    if (length > kMaxLength) return Errno::kNoMem;
    if (args.flags > 1) return Errno::kOpNotSupp;
    if (access == nullptr) return Errno::kBadFd;
    if (!access->pins) return Errno::kOpNotSupp;
    if (length == 0) return Errno::kInval;
    if (iova > kMax - (length - 1)) return Errno::kOverflow;
    const Ioas& s = *find_ioas(access->ioas);
    const u64 last = iova + (length - 1);
    PinnedPages held = model_.pinned();
    for (u64 at = iova;;) {
      const auto it = Model::area_at(s, at);
      if (it == s.areas.end()) return Errno::kNoEnt;
      const Area& area = it->second;
      const u64 end = std::min(area.last, last);
      const u64 va = area.va + (at - it->first), va_end = area.va + (area.last - it->first) + 1;
      if (!is_aligned(va, kPageSize) || (end != last && !is_aligned(va_end, kPageSize))) return Errno::kInval;
      if (!allows(area.access, access_wanted)) return Errno::kPerm;
      if (access_wanted == Access::kWrite && !area.pages->writable) return Errno::kPerm;
      if (const Answer no = model_.pin(held, it->first, area, at, end, false)) return no;
      if (end == last) break;
      at = end + 1;
    }
    return args.uptr != 0 ? Errno::kBadE : Answer{};
  }();
  expect("ACCESS_PAGES", send_test(TestOp::kAccessPages, fd, args), want);
  // An item that is pinned and then found wrong has used a number too, or not: nobody says.
  if (want) return;
  FUZZ_CHECK(args.out_access_pages_id >= access->next_item);
  access->items.emplace(args.out_access_pages_id, IovaRange{iova, iova + (length - 1)});
  access->next_item = args.out_access_pages_id + 1;
}

void Session::unpin_pages(Input& input) {
  const u32 fd = take_access(input);
  SoftwareAccess* access = access_behind(fd);
  const u8 n = input.take<u8>();
  abi::TestDestroyAccessPages args{.access_pages_id = n % 8u};
  if (access != nullptr && !access->items.empty() && n < 0xe0)
    args.access_pages_id = std::next(access->items.begin(), n % static_cast<int>(access->items.size()))->first;
  const Answer want = access == nullptr                                ? Errno::kBadFd
                      : access->items.erase(args.access_pages_id) == 0 ? Errno::kNoEnt
                                                                       : Answer{};
  expect("DESTROY_ACCESS_PAGES", send_test(TestOp::kDestroyAccessPages, fd, args), want);
}

// Bytes move area by area; what came before an error stays moved. A write writes one value everywhere, so that it does not
// matter which of two mappings of a page came last.
void Session::access_rw(Input& input) {
  const u32 fd = take_access(input);
  SoftwareAccess* access = access_behind(fd);
  const u8 n = input.take<u8>();
  auto [iova, length] = take_access_range(input, access == nullptr ? 0 : access->ioas);
  if (length <= kMaxLength) length %= kBufferSize;
  abi::TestAccessRw args{.iova = iova, .length = length, .uptr = kBuffer, .flags = n < 0xf8 ? n & 5u : 2u, .pad = 0};
  const bool write = (args.flags & abi::kTestWrite) != 0;
  const auto value = static_cast<std::byte>(++counter_);
  for (u64 page = 0; page < kBufferSize / kPageSize; ++page)
    std::ranges::fill(memory_->bytes(kBuffer + page * kPageSize), value);
  std::vector<std::span<std::byte>> pieces;  // what must have moved
  const auto want = [&]() -> Answer {
    if (length > kMaxLength) return Errno::kNoMem;
    if (args.flags == 2) return Errno::kOpNotSupp;
    if (access == nullptr) return Errno::kBadFd;
    if (length == 0) return Errno::kInval;
    if (iova > kMax - (length - 1)) return Errno::kOverflow;
    const Ioas& s = *find_ioas(access->ioas);
    const u64 last = iova + (length - 1);
    for (u64 at = iova;;) {
      const auto it = Model::area_at(s, at);
      if (it == s.areas.end()) return Errno::kNoEnt;
      const Area& area = it->second;
      if (!allows(area.access, write ? Access::kWrite : Access::kRead)) return Errno::kPerm;
      if (write && !area.pages->writable) return Errno::kPerm;
      for (const u64 end = std::min(area.last, last); at - 1 != end;) {
        const u64 va = area.va + (at - it->first);
        const bool file = area.pages->file >= 0;
        const bool there = file ? area.pages->file == SandboxFile::kNumber && va / kPageSize < SandboxFile::kWholePages
                                : allows(SandboxMemory::access(va), write ? Access::kWrite : Access::kRead);
        if (!there) return file ? Errno::kInval : Errno::kFault;
        const std::span<std::byte> in_page = bytes_of(*area.pages, va);
        pieces.push_back(in_page.first(std::min<u64>(in_page.size(), end - at + 1)));
        at += pieces.back().size();
      }
      if (at - 1 == last) return {};
    }
  }();
  // The page of the structs changes with every call.
  const std::byte* structs = memory_->bytes(kArgument).data();
  if (std::ranges::any_of(pieces, [&](auto p) { return p.data() >= structs && p.data() < structs + kPageSize; }))
    return;
  std::vector<std::byte> expected;
  for (const auto& piece : pieces) expected.insert(expected.end(), piece.begin(), piece.end());
  expect("ACCESS_RW", send_test(TestOp::kAccessRw, fd, args), want);
  if (write) {
    for (const auto& piece : pieces) FUZZ_CHECK(std::ranges::all_of(piece, [&](std::byte b) { return b == value; }));
  } else if (!want) {
    std::vector<std::byte> got(length);
    FUZZ_CHECK(memory_->read(UserVa{kBuffer}, got).has_value());
    FUZZ_CHECK(got == expected);
  }
}

void Session::replace_ioas(Input& input) {
  const u32 fd = take_access(input);
  SoftwareAccess* access = access_behind(fd);
  abi::TestAccessReplaceIoas args{.ioas_id = take_ioas(input)};
  const auto want = [&]() -> Answer {
    if (access == nullptr) return Errno::kBadFd;
    if (find_ioas(args.ioas_id) == nullptr) return Errno::kNoEnt;
    if (args.ioas_id == access->ioas) return {};
    if (access->pins)
      if (const Answer no = model_.can_align(*find_ioas(args.ioas_id), kPageSize, model_.alignment(args.ioas_id)))
        return no;
    access->items.clear();
    access->ioas = args.ioas_id;
    return {};
  }();
  expect("ACCESS_REPLACE_IOAS", send_test(TestOp::kAccessReplaceIoas, fd, args), want);
}

}  // namespace iommufd::fuzz
