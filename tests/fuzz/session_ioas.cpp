// SPDX-License-Identifier: BSD-3-Clause
// Objects, ranges, options and owners (spec iommufd-core 1.6 to 1.9, 3.1 to 3.3, 3.9 to 3.11; selftest-abi 3.1).
#include "tests/fuzz/session.hpp"

namespace iommufd::fuzz {
namespace {

using abi::IommuCommand;
constexpr u64 kMax = Model::kMax;

}  // namespace

void Session::alloc_ioas(Input& input) {
  if (model_.ioases.size() >= 4) return;
  abi::IoasAlloc cmd{.size = sizeof(cmd), .flags = input.take<u8>() == 0xff ? 1u : 0u, .out_ioas_id = 0};
  const Answer want = cmd.flags != 0 ? Errno::kOpNotSupp : Answer{};
  const u32 id = model_.free_id();
  expect("IOAS_ALLOC", send(IommuCommand::kIoasAlloc, cmd), want);
  if (want) return;
  FUZZ_CHECK(cmd.out_ioas_id == id);
  model_.ioases.emplace(id, Ioas{});
}

// Every kind of object, and what is none.
void Session::destroy(Input& input) {
  const u8 n = input.take<u8>();
  abi::Destroy cmd{.size = sizeof(cmd), .id = n < 0x60 ? take_hwpt(input) : n < 0x80 ? take_ioas(input) : n % 24u};
  if (n == 0xff) cmd.id = 0x8000'0001;
  const Answer want = model_.destroy(cmd.id);
  expect("DESTROY", send(IommuCommand::kDestroy, cmd), want);
}

void Session::allow_iovas(Input& input) {
  const u32 ioas = take_ioas(input);
  const u32 count = input.take<u8>() % 4;
  std::vector<IovaRange> ranges(count);
  for (IovaRange& r : ranges) {
    r.start = take_iova(input);
    const u64 length = take_length(input);
    r.last = r.start + (input.take<u8>() < 0xf0 ? length * 4 : length) - 1;
  }
  for (u32 i = 0; i < count; ++i)
    std::memcpy(memory_->bytes(kBuffer + i * sizeof(IovaRange)).data(), &ranges[i], sizeof(IovaRange));
  abi::IoasAllowIovas cmd{
      .size = sizeof(cmd), .ioas_id = ioas, .num_iovas = count, .reserved = 0, .allowed_iovas = kBuffer};
  const auto want = [&]() -> Answer {
    if (find_ioas(ioas) == nullptr) return Errno::kNoEnt;
    for (u32 i = 0; i < count; ++i) {
      if (ranges[i].start >= ranges[i].last) return Errno::kInval;
      for (u32 j = 0; j < i; ++j)
        if (ranges[j].start <= ranges[i].last && ranges[i].start <= ranges[j].last) return Errno::kInval;
    }
    for (const IovaRange& r : ranges)
      if (Model::is_reserved(*find_ioas(ioas), r.start, r.last)) return Errno::kAddrInUse;
    model_.ioases.at(ioas).allowed = ranges;
    return {};
  }();
  expect("ALLOW_IOVAS", send(IommuCommand::kIoasAllowIovas, cmd), want);
}

void Session::iova_ranges(Input& input) {
  const u32 ioas = take_ioas(input);
  const u32 capacity = input.take<u8>() % 8;
  abi::IoasIovaRanges cmd{.size = sizeof(cmd),
                          .ioas_id = ioas,
                          .num_iovas = capacity,
                          .reserved = 0,
                          .allowed_iovas = capacity == 0 ? 0 : kBuffer,
                          .out_iova_alignment = 0};
  if (find_ioas(ioas) == nullptr) {
    expect("IOVA_RANGES", send(IommuCommand::kIoasIovaRanges, cmd), Errno::kNoEnt);
    return;
  }
  const std::vector<IovaRange> want = Model::usable(*find_ioas(ioas));
  const bool fits = want.size() <= capacity;
  expect("IOVA_RANGES", send(IommuCommand::kIoasIovaRanges, cmd, OnError::kMayWrite),
         fits ? Answer{} : Errno::kMsgSize);
  FUZZ_CHECK(cmd.num_iovas == want.size() && cmd.out_iova_alignment == model_.alignment(ioas));
  for (std::size_t i = 0; i < std::min<std::size_t>(want.size(), capacity); ++i) {
    IovaRange got{};
    std::memcpy(&got, memory_->bytes(kBuffer + i * sizeof got).data(), sizeof got);
    FUZZ_CHECK(got == want[i]);
  }
}

void Session::add_reserved(Input& input) {
  const u32 ioas = take_ioas(input);
  abi::TestAddReserved args{.start = take_iova(input), .length = take_length(input)};
  const auto want = [&]() -> Answer {
    if (args.length == 0) return Errno::kInval;
    if (args.start > kMax - (args.length - 1)) return Errno::kOverflow;
    if (find_ioas(ioas) == nullptr) return Errno::kNoEnt;
    const IovaRange range{args.start, args.start + (args.length - 1)};
    if (const Answer no = Model::can_reserve(*find_ioas(ioas), range)) return no;
    model_.ioases.at(ioas).reserved.emplace_back(range, 0);
    return {};
  }();
  expect("ADD_RESERVED", send_test(abi::TestOp::kAddReserved, ioas, args), want);
}

void Session::option(Input& input) {
  const u8 n = input.take<u8>();
  abi::Option cmd{.size = sizeof(cmd),
                  .option_id = n >= 0xfe ? 2u : n & 1u,
                  .op = static_cast<u16>(n == 0xfd ? 2 : n >> 1 & 1),
                  .reserved = 0,
                  .object_id = 0,
                  .val64 = n >> 2 & 1u};
  if (n >= 0xe0 && n < 0xf0) cmd.val64 = n;
  if (cmd.option_id == abi::Option::kHugePages || n == 0xf0) cmd.object_id = take_ioas(input);
  u64 value = cmd.val64;
  const auto rlimit_mode = [&]() -> Answer {
    if (cmd.object_id != 0) return Errno::kOpNotSupp;
    if (cmd.op == abi::Option::kOpGet) value = model_.process_mode ? 1 : 0;
    if (cmd.op == abi::Option::kOpGet) return {};
    if (cmd.op != abi::Option::kOpSet) return Errno::kOpNotSupp;
    if (!call_.privileged) return Errno::kPerm;
    if (!model_.is_empty()) return Errno::kBusy;
    if (cmd.val64 > 1) return Errno::kInval;
    model_.process_mode = cmd.val64 == 1;
    return {};
  };
  const auto huge_pages = [&]() -> Answer {
    if (find_ioas(cmd.object_id) == nullptr) return Errno::kNoEnt;
    if (cmd.op == abi::Option::kOpGet) value = find_ioas(cmd.object_id)->huge_pages ? 1 : 0;
    if (cmd.op == abi::Option::kOpGet) return {};
    if (cmd.op != abi::Option::kOpSet) return Errno::kOpNotSupp;
    if (cmd.val64 > 1) return Errno::kInval;
    return model_.set_huge_pages(cmd.object_id, cmd.val64 == 1);
  };
  const Answer want = cmd.option_id == abi::Option::kRlimitMode  ? rlimit_mode()
                      : cmd.option_id == abi::Option::kHugePages ? huge_pages()
                                                                 : Errno::kOpNotSupp;
  expect("OPTION", send(IommuCommand::kOption, cmd), want);
  if (!want) FUZZ_CHECK(cmd.val64 == value);
}

void Session::vfio_ioas(Input& input) {
  const u8 n = input.take<u8>();
  abi::VfioIoas cmd{.size = sizeof(cmd), .ioas_id = take_ioas(input), .op = static_cast<u16>(n & 3), .reserved = 0};
  const u32 chosen = cmd.ioas_id;
  const auto want = [&]() -> Answer {
    if (n == 0xff) return Errno::kOpNotSupp;
    switch (cmd.op) {
      case abi::VfioIoas::kGet: return model_.compat_ioas == 0 ? Errno::kNoDev : Answer{};
      case abi::VfioIoas::kSet:
        if (find_ioas(chosen) == nullptr) return Errno::kNoEnt;
        model_.compat_ioas = chosen;
        return {};
      case abi::VfioIoas::kClear: model_.compat_ioas = 0; return {};
      default: return Errno::kOpNotSupp;
    }
  }();
  if (n == 0xff) cmd.reserved = 1;
  expect("VFIO_IOAS", send(IommuCommand::kVfioIoas, cmd), want);
  if (!want && cmd.op == abi::VfioIoas::kGet) FUZZ_CHECK(cmd.ioas_id == model_.compat_ioas);
}

void Session::change_process(Input& input) {
  abi::IoasChangeProcess cmd{.size = sizeof(cmd), .reserved = input.take<u8>() == 0xff ? 1u : 0u};
  const Answer want = cmd.reserved != 0 ? Errno::kOpNotSupp : model_.change_process(process_);
  expect("CHANGE_PROCESS", send(IommuCommand::kIoasChangeProcess, cmd), want);
}

// Which process calls, what it may lock, and what it is allowed.
void Session::change_caller(Input& input) {
  const u8 n = input.take<u8>();
  if (n < 0x40) {
    process_ = n & 1;
    call_.become(processes_[process_]);
  } else if (n < 0x50) {
    call_.privileged = n < 0x4e;
  } else if (n < 0x60) {
    call_.locks_memory = n >= 0x5c;
  } else {
    const u64 limit = n < 0xa0 ? mem::kUnlimitedPages : (n - 0xa0u) / 2;
    processes_[process_]->limit_pages = model_.limits[process_] = limit;
  }
}

}  // namespace iommufd::fuzz
