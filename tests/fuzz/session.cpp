// SPDX-License-Identifier: BSD-3-Clause
#include "tests/fuzz/session.hpp"

namespace iommufd::fuzz {
namespace {

constexpr u64 kMax = Model::kMax;
constexpr u64 kHuge = SandboxMemory::kHugeSize;

}  // namespace

// Inputs begin with how the session does: who is charged, and whether there is something to work with.
Session::Session(Machine& machine, Input& input)
    : machine_(machine), file_(make_ref<ioctl::IommuFile>(machine.platform(), &machine.test_abi())) {
  const u8 how = input.take<u8>();
  if ((how & 3) == 3) {
    abi::Option cmd{.size = sizeof cmd,
                    .option_id = abi::Option::kRlimitMode,
                    .op = abi::Option::kOpSet,
                    .reserved = 0,
                    .object_id = 0,
                    .val64 = 1};
    expect("RLIMIT_MODE", send(abi::IommuCommand::kOption, cmd), {});
    model_.process_mode = true;
  }
  if ((how & 4) != 0) return;
  for (std::size_t i = 0; i < 2; ++i) alloc_ioas(input);
  for (std::size_t i = 0; i < Machine::kDevices; ++i) bind(i);
  if ((how & 8) != 0) return;
  // Device 0 on a HWPT of the first IOAS that tracks what it writes: device, flags, IOAS; flags; device, to which.
  constexpr std::array<u8, 9> kTracked{0, 0x60, 0, 0, 0, 0, 0, 0, 0};
  Input tracked(kTracked.data(), kTracked.size());
  alloc_hwpt(tracked);
  set_dirty_tracking(tracked);
  attach(tracked);
}

Session::~Session() {
  for (std::size_t slot = 0; slot < SandboxCall::kFiles; ++slot) call_.close(slot);
  for (auto& device : devices_)
    if (device) std::exchange(device, nullptr)->unbind();
  file_->release();
  file_ = nullptr;
  FUZZ_CHECK(machine_.platform().phys().pinned_frames() == 0 && machine_.platform().tables().pages_in_use() == 0);
  FUZZ_CHECK(user_->pages() == 0);
  for (const auto& process : processes_)
    FUZZ_CHECK(process->vm_pinned().pages() == 0 && process->vm_locked().pages() == 0);
}

void Session::step(Input& input) {
  using Command = void (Session::*)(Input&);
  // Several times what makes a state interesting.
  static constexpr std::array<Command, 64> kCommands{&Session::map,
                                                     &Session::map,
                                                     &Session::map,
                                                     &Session::map,
                                                     &Session::map,
                                                     &Session::map,
                                                     &Session::map_file,
                                                     &Session::map_file,
                                                     &Session::copy,
                                                     &Session::copy,
                                                     &Session::copy,
                                                     &Session::copy,
                                                     &Session::unmap,
                                                     &Session::unmap,
                                                     &Session::unmap,
                                                     &Session::unmap,
                                                     &Session::unmap,
                                                     &Session::alloc_ioas,
                                                     &Session::destroy,
                                                     &Session::destroy,
                                                     &Session::allow_iovas,
                                                     &Session::iova_ranges,
                                                     &Session::add_reserved,
                                                     &Session::option,
                                                     &Session::option,
                                                     &Session::vfio_ioas,
                                                     &Session::vfio_ioas,
                                                     &Session::change_process,
                                                     &Session::change_caller,
                                                     &Session::change_caller,
                                                     &Session::bind_or_unbind,
                                                     &Session::attach,
                                                     &Session::attach,
                                                     &Session::attach,
                                                     &Session::attach,
                                                     &Session::attach,
                                                     &Session::attach,
                                                     &Session::detach,
                                                     &Session::detach,
                                                     &Session::alloc_hwpt,
                                                     &Session::alloc_hwpt,
                                                     &Session::alloc_hwpt,
                                                     &Session::hw_info,
                                                     &Session::set_dirty_tracking,
                                                     &Session::set_dirty_tracking,
                                                     &Session::get_dirty_bitmap,
                                                     &Session::get_dirty_bitmap,
                                                     &Session::device_writes,
                                                     &Session::device_writes,
                                                     &Session::get_pa,
                                                     &Session::get_pa,
                                                     &Session::create_access,
                                                     &Session::create_access,
                                                     &Session::close_access,
                                                     &Session::pin_pages,
                                                     &Session::pin_pages,
                                                     &Session::unpin_pages,
                                                     &Session::access_rw,
                                                     &Session::replace_ioas,
                                                     &Session::set_iommu,
                                                     &Session::map_dma,
                                                     &Session::unmap_dma,
                                                     &Session::unmap_dma,
                                                     &Session::get_info};
  const u8 n = input.take<u8>();
  if (n == 0xff)
    check_extension(input);
  else
    (this->*kCommands[n % kCommands.size()])(input);
  FUZZ_CHECK(lock_check::none_held());
  compare();
}

void Session::trace(u32 command, std::span<const std::byte> argument) {
  static const bool on = std::getenv("FUZZ_TRACE") != nullptr;
  if (!on) return;
  std::fprintf(stderr, "%#x:", command);
  for (; argument.size() >= sizeof(u32); argument = argument.subspan(sizeof(u32))) {
    u32 word = 0;
    std::memcpy(&word, argument.data(), sizeof word);
    std::fprintf(stderr, " %x", word);
  }
  std::fputc('\n', stderr);
}

void Session::expect(const char* what, Answer got, Answer want) const {
  static const bool traced = std::getenv("FUZZ_TRACE") != nullptr;
  if (traced) std::fprintf(stderr, "%s: %s\n", what, name_of(got));
  expect_answer(what, got, want);
}

// Mostly pages around the border of two leaf tables; at times where something ends: at 0, at the MSI window, at the end of
// what VT-d translates, at the end of everything; and off the page.
u64 Session::take_iova(Input& input) {
  const u8 shape = input.take<u8>();
  const u64 n = input.take<u8>();
  constexpr u64 kMiddle = kHuge * 4;
  switch (shape >> 3) {
    case 31: return kMax - n;
    case 30: return 0 - n * kPageSize;
    case 29: return Model::kVtdLast + 1 + n * kPageSize - 128 * kPageSize;
    case 28: return Model::kMsiWindow.start + n * kPageSize - 128 * kPageSize;
    case 27: return n * kPageSize;
    case 26: return kMiddle + n * 512;
    case 25: return kHuge * (n & 15);
    default: return kMiddle + n % 64 * kPageSize - 32 * kPageSize;
  }
}

// Some pages, one or two huge ones with or without the last pages, some bytes, or nearly everything.
u64 Session::take_length(Input& input) {
  const u8 n = input.take<u8>();
  if (n < 0xcc) return n % 12 * kPageSize;
  if (n < 0xe0) return kHuge * (1 + (n & 1)) - (n >> 1 & 3) * kPageSize;
  const u64 m = input.take<u8>();
  if (n < 0xf4) return m * 512;
  if (n < 0xfa) return m;
  if (n < 0xfc) return kMax - m;
  if (n < 0xfe) return kMax - kPageSize + m - 128;
  return u64{1} << (m & 63);
}

u64 Session::take_va(Input& input, u64 length) {
  const u8 n = input.take<u8>();
  if (n >= 0xf0) {
    const u64 m = input.take<u8>();
    if (n >= 0xfe) return kMax - m * 512;
    return (n & 1) != 0 ? m * 512 : SandboxMemory::kBase + kPageSize + m * 512;
  }
  if (length > 12 * kPageSize) return SandboxMemory::kHugeBase + (n & 3) * kPageSize;
  return (n & 0x80) == 0 ? SandboxMemory::kBase + kPageSize * (1 + (n & 63)) : SandboxMemory::kHugeBase + kPageSize * n;
}

u32 Session::take_ioas(Input& input) const {
  const u8 n = input.take<u8>();
  if (n >= 0xf4 || model_.ioases.empty()) return n % 16;
  return std::next(model_.ioases.begin(), n % static_cast<int>(model_.ioases.size()))->first;
}

u32 Session::take_hwpt(Input& input) const {
  const u8 n = input.take<u8>();
  if (n >= 0xf4 || model_.hwpts.empty()) return n % 16;
  return std::next(model_.hwpts.begin(), n % static_cast<int>(model_.hwpts.size()))->first;
}

const Areas::value_type* Session::pick_area(u32 ioas, u8 n) const {
  const Ioas* s = find_ioas(ioas);
  if (s == nullptr || s->areas.empty()) return nullptr;
  return &*std::next(s->areas.begin(), n % static_cast<int>(s->areas.size()));
}

}  // namespace iommufd::fuzz
