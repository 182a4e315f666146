// SPDX-License-Identifier: BSD-3-Clause
// The commands of a VFIO type1 container (spec iommufd-core 6).
#include "abi/vfio_type1.hpp"
#include "tests/fuzz/session.hpp"

namespace iommufd::fuzz {
namespace {

using abi::VfioContainerCommand;
constexpr u64 kMax = Model::kMax;

}  // namespace

void Session::check_extension(Input& input) {
  const u64 arg = input.take<u8>() % 12;
  const Result<s64> got = file_->ioctl(call_, static_cast<u32>(VfioContainerCommand::kCheckExtension), arg);
  if (arg == static_cast<u64>(abi::VfioExtension::kDmaCcIommu)) {
    const Ioas* s = find_ioas(model_.compat_ioas);
    FUZZ_CHECK(got.has_value() == (s != nullptr));
    if (s == nullptr) return;
    const bool coherent =
        std::ranges::none_of(s->hwpts, [&](u32 hwpt) { return model_.hwpts.at(hwpt).manager == Manager::kNone; });
    FUZZ_CHECK(*got == (coherent ? 1 : 0));
    return;
  }
  FUZZ_CHECK(got == (arg == 1 || arg == 3 || arg == 8 || arg == 9 ? 1 : 0));
}

void Session::set_iommu(Input& input) {
  const u64 type = input.take<u8>() % 4;
  const auto want = [&]() -> Answer {
    if (type != 1 && type != 3) return Errno::kInval;
    if (model_.compat_ioas == 0) return Errno::kNoDev;
    return type == 1 ? model_.set_huge_pages(model_.compat_ioas, false) : Answer{};
  }();
  const Result<s64> got = file_->ioctl(call_, static_cast<u32>(VfioContainerCommand::kSetIommu), type);
  expect("SET_IOMMU", got ? Answer{} : got.error(), want);
}

void Session::map_dma(Input& input) {
  const u8 n = input.take<u8>();
  abi::VfioType1DmaMap cmd{.argsz = n == 0xff ? 31u : u32{sizeof(cmd)},
                           .flags = n >= 0xf8 && n < 0xfc ? n & 7u : n & 3u,
                           .vaddr = 0,
                           .iova = take_iova(input),
                           .size = take_length(input)};
  cmd.vaddr = take_va(input, cmd.size);
  Areas made;
  const auto want = [&]() -> Answer {
    if (cmd.argsz < 32 || cmd.flags > 3) return Errno::kInval;
    if (model_.compat_ioas == 0) return Errno::kNoDev;
    if (cmd.vaddr + cmd.size < cmd.vaddr) return Errno::kOverflow;
    const Access access = ((cmd.flags & 1) != 0 ? Access::kRead : Access::kNone) |
                          ((cmd.flags & 2) != 0 ? Access::kWrite : Access::kNone);
    return want_map(model_.compat_ioas, cmd.iova, cmd.size,
                    {0, cmd.vaddr, access, make_pages(access, -1, cmd.vaddr, cmd.size)}, made);
  }();
  expect("MAP_DMA", send(static_cast<u32>(VfioContainerCommand::kIommuMapDma), cmd), want);
  if (!want) model_.add_areas(model_.compat_ioas, std::move(made));
}

void Session::unmap_dma(Input& input) {
  const u8 n = input.take<u8>();
  abi::VfioType1DmaUnmap cmd{.argsz = n == 0xff ? 23u : u32{sizeof(cmd)},
                             .flags = n >= 0xf0 && n < 0xff ? n & 7u : 0u,
                             .iova = take_iova(input),
                             .size = take_length(input)};
  if (n >= 0xf8) cmd.iova = cmd.size = 0;
  if (const auto* area = pick_area(model_.compat_ioas, n); area != nullptr && n >= 0x20 && n < 0xf0) {
    const u64 half = align_down(length_of(*area) / 2, kPageSize);
    cmd.iova = area->first + ((n & 1) != 0 ? half : 0);
    cmd.size = (n & 2) != 0 && half != 0 ? half : length_of(*area);
  }
  u64 bytes = cmd.size;  // of the struct, when it is not written back
  const auto want = [&]() -> Answer {
    if (cmd.argsz < 24 || (cmd.flags & ~2u) != 0) return Errno::kInval;
    const u32 ioas = model_.compat_ioas;
    if (ioas == 0) return Errno::kNoDev;
    if (cmd.flags != 0) {
      if (cmd.iova != 0 || cmd.size != 0) return Errno::kInval;
      return model_.unmap(ioas, 0, kMax, bytes);
    }
    if (!find_ioas(ioas)->huge_pages) {
      if (const Answer no = model_.cut_after(ioas, cmd.iova + cmd.size - 1)) return no;
      if (cmd.iova != 0)
        if (const Answer no = model_.cut_after(ioas, cmd.iova - 1)) return no;
    }
    bytes = 0;
    if (cmd.size == 0) return Errno::kInval;
    if (cmd.iova > kMax - (cmd.size - 1)) return Errno::kOverflow;
    return model_.unmap(ioas, cmd.iova, cmd.iova + (cmd.size - 1), bytes);
  }();
  expect("UNMAP_DMA", send(static_cast<u32>(VfioContainerCommand::kIommuUnmapDma), cmd, OnError::kMayWrite), want);
  FUZZ_CHECK(cmd.size == bytes);
}

// The header, and the ranges when there is room for everything; no byte past argsz.
void Session::get_info(Input& input) {
  constexpr std::byte kOld{0x5a};
  const u32 argsz = input.take<u8>();
  const std::span<std::byte> bytes = memory_->bytes(kArgument).first(300);
  std::ranges::fill(bytes, kOld);
  std::memcpy(bytes.data(), &argsz, sizeof argsz);
  const Ioas* s = find_ioas(model_.compat_ioas);
  const Answer want = argsz < 16 ? Errno::kInval : s == nullptr ? Errno::kNoDev : Answer{};
  const Result<s64> got = file_->ioctl(call_, static_cast<u32>(VfioContainerCommand::kIommuGetInfo), kArgument);
  expect("GET_INFO", got ? Answer{} : got.error(), want);
  for (const std::byte b : bytes.subspan(std::max<u32>(argsz, sizeof argsz))) FUZZ_CHECK(b == kOld);
  if (want) return;
  const std::vector<IovaRange> ranges = Model::usable(*s);
  const u32 total = 24 + 16 + 16 + 16 * static_cast<u32>(ranges.size());
  abi::VfioType1Info info{};
  std::memcpy(&info, bytes.data(), sizeof info);
  FUZZ_CHECK(info.argsz == total && info.flags == 3);
  if (s->domains.empty()) FUZZ_CHECK(info.iova_pgsizes == 0xffff'ffff'ffff'f000);
  if (argsz >= 24) FUZZ_CHECK(info.cap_offset == (argsz >= total ? 24 : 0));
  if (argsz < total) return;
  for (std::size_t i = 0; i < ranges.size(); ++i)
    FUZZ_CHECK(std::memcmp(bytes.data() + 56 + 16 * i, &ranges[i], sizeof ranges[i]) == 0);
}

}  // namespace iommufd::fuzz
