// SPDX-License-Identifier: BSD-3-Clause
// Operations on two I/O address spaces with devices behind every kind of IOMMU, compared with an oracle after each step:
// the answer of the call, what is pinned and charged, and what the devices reach by DMA at every mapped page and
// beside it.
#include "abi/iommufd.hpp"
#include "abi/iommufd_hwpt.hpp"
#include "abi/iommufd_ioas.hpp"
#include "base/sync.hpp"
#include "tests/fuzz/map_model.hpp"

namespace iommufd::fuzz {
namespace {

using abi::IommuCommand;

class Session {
 public:
  explicit Session(Machine& machine) : machine_(machine), file_(make_ref<ioctl::IommuFile>(machine.platform())) {
    for (u32& id : ioas_) {
      abi::IoasAlloc alloc{.size = sizeof(alloc), .flags = 0, .out_ioas_id = 0};
      FUZZ_CHECK(send(IommuCommand::kIoasAlloc, alloc) == std::nullopt);
      id = alloc.out_ioas_id;
    }
    for (std::size_t i = 0; i < Machine::kDevices; ++i) {
      Result<Ref<core::Device>> got = core::Device::bind(file_->context(), machine_.device(i));
      FUZZ_CHECK(got.has_value());
      devices_[i] = std::move(*got);
    }
  }
  ~Session() {
    for (auto& device : devices_) std::exchange(device, nullptr)->unbind();
    file_->release();
    file_ = nullptr;
    FUZZ_CHECK(machine_.platform().phys().pinned_frames() == 0);
    FUZZ_CHECK(process_->vm_pinned().pages() == 0 && process_->user_locked().pages() == 0);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void step(Input& input) {
    switch (input.take<u8>() % 16) {
      case 0:
      case 1:
      case 2:
      case 3: map(input); break;
      case 4:
      case 5:
      case 6: unmap(input); break;
      case 7:
      case 8: copy(input); break;
      case 9:
      case 10: attach_space(input); break;
      case 11: attach_hwpt(input); break;
      case 12: detach(input); break;
      case 13: allocate_hwpt(input); break;
      case 14: destroy(input); break;
      default: set_limit(input); break;
    }
    FUZZ_CHECK(lock_check::none_held());
    compare();
  }

 private:
  using Answer = std::optional<Errno>;  // nothing: success

  template <class T>
  Answer send(IommuCommand command, T& argument) {
    constexpr u64 kAt = SandboxMemory::kBase;
    std::memcpy(memory_->bytes(kAt).data(), &argument, sizeof(T));
    const Result<s64> answer = file_->ioctl(call_, static_cast<u32>(command), kAt);
    std::memcpy(&argument, memory_->bytes(kAt).data(), sizeof(T));
    return answer ? Answer{} : Answer{answer.error()};
  }

  // IOVAs around the border of two leaf tables; a few pages, or up to two huge ones.
  static u64 take_iova(Input& input) {
    return SandboxMemory::kHugeSize * 4 + kPageSize * (input.take<u8>() % 64) - 32 * kPageSize;
  }
  static u64 take_length(Input& input) {
    const u8 n = input.take<u8>();
    return n < 0xf8 ? kPageSize * (n % 12) : SandboxMemory::kHugeSize * (1 + (n & 1)) - kPageSize * (n >> 1 & 3);
  }
  static u64 take_va(Input& input, u64 length) {
    const u8 n = input.take<u8>();
    if (length > 12 * kPageSize) return SandboxMemory::kHugeBase + kPageSize * (n & 3);
    return (n & 0x80) == 0 ? SandboxMemory::kBase + kPageSize * (1 + (n & 63))
                           : SandboxMemory::kHugeBase + kPageSize * n;
  }
  static Access access_of(u32 flags) {
    return ((flags & abi::IoasMap::kReadable) != 0 ? Access::kRead : Access::kNone) |
           ((flags & abi::IoasMap::kWriteable) != 0 ? Access::kWrite : Access::kNone);
  }
  std::size_t take_space(Input& input) { return input.take<u8>() % Model::kSpaces; }

  void map(Input& input) {
    const std::size_t s = take_space(input);
    abi::IoasMap cmd{.size = sizeof(cmd),
                     .flags = input.take<u8>() & abi::IoasMap::kAllFlags,
                     .ioas_id = ioas_[s],
                     .reserved = 0,
                     .user_va = 0,
                     .length = take_length(input),
                     .iova = take_iova(input)};
    cmd.user_va = take_va(input, cmd.length);
    const bool fixed = (cmd.flags & abi::IoasMap::kFixedIova) != 0;
    const Access access = access_of(cmd.flags);
    const u64 length = cmd.length;
    Answer want;
    u64 iova = cmd.iova;
    if (access == Access::kNone || length == 0)
      want = Errno::kInval;
    else if (!fixed)
      iova = model_.first_fit(s, cmd.user_va, length);
    else if (model_.overlaps(s, iova, iova + length - 1))
      want = Errno::kExist;
    const Area area{iova + length - 1, cmd.user_va, access, {next_backing_++, allows(access, Access::kWrite)}};
    const bool pins = want || !model_.has_domain(s) || model_.can_pin({{iova, area}});
    const Answer got = send(IommuCommand::kIoasMap, cmd);
    if (!pins) {
      FUZZ_CHECK(got == Errno::kFault || got == Errno::kNoMem);
      return;
    }
    FUZZ_CHECK(got == want);
    if (got) return;
    FUZZ_CHECK(cmd.iova == iova);
    model_.spaces[s].emplace(iova, area);
  }

  void unmap(Input& input) {
    const std::size_t s = take_space(input);
    Areas& areas = model_.spaces[s];
    abi::IoasUnmap cmd{
        .size = sizeof(cmd), .ioas_id = ioas_[s], .iova = take_iova(input), .length = take_length(input)};
    const u8 how = input.take<u8>();
    if (how >= 0xf0) {
      cmd.iova = 0;
      cmd.length = ~u64{0};
    } else if (how >= 0x40 && !areas.empty()) {
      const auto it = std::next(areas.begin(), how % static_cast<int>(areas.size()));
      cmd.iova = it->first;
      cmd.length = it->second.last - it->first + 1;
    }
    const bool everything = cmd.iova == 0 && cmd.length == ~u64{0};
    u64 bytes = 0;
    Answer want;
    if (cmd.length == 0) {
      want = Errno::kInval;
    } else {
      const u64 last = everything ? ~u64{0} : cmd.iova + cmd.length - 1;
      if (const auto before = model_.area_at(s, cmd.iova); before != areas.end() && before->first < cmd.iova)
        want = Errno::kNoEnt;
      for (auto it = areas.lower_bound(cmd.iova); !want && it != areas.end() && it->first <= last;) {
        if (it->second.last > last) {
          want = Errno::kNoEnt;
          break;
        }
        bytes += it->second.last - it->first + 1;
        it = areas.erase(it);
      }
      if (!want && bytes == 0 && !everything) want = Errno::kNoEnt;
    }
    FUZZ_CHECK(send(IommuCommand::kIoasUnmap, cmd) == want);
    if (!want) FUZZ_CHECK(cmd.length == bytes);
  }

  void copy(Input& input) {
    const std::size_t from = take_space(input), to = take_space(input);
    abi::IoasCopy cmd{.size = sizeof(cmd),
                      .flags = input.take<u8>() & abi::IoasCopy::kAllFlags,
                      .dst_ioas_id = ioas_[to],
                      .src_ioas_id = ioas_[from],
                      .length = take_length(input),
                      .dst_iova = take_iova(input),
                      .src_iova = take_iova(input)};
    if (const u8 how = input.take<u8>(); how >= 0x40 && !model_.spaces[from].empty()) {
      const auto it = std::next(model_.spaces[from].begin(), how % static_cast<int>(model_.spaces[from].size()));
      cmd.src_iova = it->first;
      if ((how & 1) != 0) cmd.length = it->second.last - it->first + 1;
    }
    const Access access = access_of(cmd.flags);
    Answer want;
    Areas made;
    if (access == Access::kNone || cmd.length == 0) {
      want = Errno::kInval;
    } else {
      want = copied(from, to, cmd, access, made);
    }
    const bool pins = want || !model_.has_domain(to) || model_.can_pin(made);
    const Answer got = send(IommuCommand::kIoasCopy, cmd);
    if (!pins) {
      FUZZ_CHECK(got == Errno::kFault || got == Errno::kNoMem);
      return;
    }
    FUZZ_CHECK(got == want);
    if (got) return;
    FUZZ_CHECK(cmd.dst_iova == made.begin()->first);
    model_.spaces[to].merge(made);
  }

  // The areas that a COPY makes, or why it makes none (3.7 rows 7, 11, 12).
  Answer copied(std::size_t from, std::size_t to, const abi::IoasCopy& cmd, Access access, Areas& made) {
    std::vector<std::pair<u64, Area>> slices;  // length, area with va of its first byte
    for (u64 at = cmd.src_iova, end = cmd.src_iova + cmd.length; at < end;) {
      const auto it = model_.area_at(from, at);
      if (it == model_.spaces[from].end()) return Errno::kNoEnt;
      const u64 n = std::min(it->second.last + 1, end) - at;
      Area slice = it->second;
      slice.va += at - it->first;
      slice.access = access;
      slices.emplace_back(n, slice);
      at += n;
    }
    const bool fixed = (cmd.flags & abi::IoasCopy::kFixedIova) != 0;
    u64 at = fixed ? cmd.dst_iova : model_.first_fit(to, slices.front().second.va, cmd.length);
    if (fixed && model_.overlaps(to, at, at + cmd.length - 1)) return Errno::kExist;
    for (auto& [length, slice] : slices) {
      if (allows(access, Access::kWrite) && !slice.backing.writable) return Errno::kPerm;
      slice.last = at + length - 1;
      made.emplace(at, slice);
      at += length;
    }
    return {};
  }

  void attach_space(Input& input) {
    const std::size_t device = input.take<u8>() % Machine::kDevices, s = take_space(input);
    finish_attach(device, s, model_.choose_automatic(device, s), ioas_[s]);
  }
  void attach_hwpt(Input& input) {
    const std::size_t device = input.take<u8>() % Machine::kDevices;
    const u8 which = input.take<u8>();
    if (model_.hwpts.empty()) return;
    const Hwpt& target = model_.hwpts[which % model_.hwpts.size()];
    finish_attach(device, target.space, model_.choose(device, target), target.id);
  }
  void finish_attach(std::size_t device, std::size_t s, Model::Choice choice, u32 pt_id) {
    const bool fills = choice.id || choice.refused || model_.has_domain(s) || model_.can_pin(model_.spaces[s]);
    const Result<ObjectId> got = devices_[device]->attach_or_replace(core::kRid, ObjectId{pt_id});
    FUZZ_CHECK(got.has_value() == (!choice.refused && fills));
    if (!got) return;
    const u32 id = std::to_underlying(*got);
    if (choice.id)
      FUZZ_CHECK(id == *choice.id);
    else
      model_.hwpts.push_back({.id = id, .space = s, .manager = kManagers[device], .automatic = true, .users = 0});
    model_.attach(device, id);
  }
  void detach(Input& input) {
    const std::size_t device = input.take<u8>() % Machine::kDevices;
    devices_[device]->detach(core::kRid);
    model_.detach(device);
  }

  void allocate_hwpt(Input& input) {
    const std::size_t device = input.take<u8>() % Machine::kDevices, s = take_space(input);
    abi::HwptAlloc cmd{};
    cmd.size = sizeof(cmd);
    cmd.dev_id = std::to_underlying(devices_[device]->id());
    cmd.pt_id = ioas_[s];
    const bool fills = model_.has_domain(s) || model_.can_pin(model_.spaces[s]);
    const Answer got = send(IommuCommand::kHwptAlloc, cmd);
    FUZZ_CHECK(!got == fills);
    if (!got)
      model_.hwpts.push_back(
          {.id = cmd.out_hwpt_id, .space = s, .manager = kManagers[device], .automatic = false, .users = 0});
  }

  // HWPTs, and at times what can never be destroyed here: a device, an IOAS that is used.
  void destroy(Input& input) {
    const u8 which = input.take<u8>();
    abi::Destroy cmd{.size = sizeof(cmd), .id = 0};
    if (which < 0x20) {
      cmd.id = std::to_underlying(devices_[which % Machine::kDevices]->id());
      FUZZ_CHECK(send(IommuCommand::kDestroy, cmd) == Errno::kBusy);
    } else if (const std::size_t s = which % Model::kSpaces; which < 0x40 && model_.has_domain(s)) {
      cmd.id = ioas_[s];
      FUZZ_CHECK(send(IommuCommand::kDestroy, cmd) == Errno::kBusy);
    } else if (!model_.hwpts.empty()) {
      const std::size_t index = which % model_.hwpts.size();
      cmd.id = model_.hwpts[index].id;
      const Answer want = model_.hwpts[index].users != 0 ? Answer{Errno::kBusy} : Answer{};
      FUZZ_CHECK(send(IommuCommand::kDestroy, cmd) == want);
      if (!want) model_.hwpts.erase(model_.hwpts.begin() + static_cast<std::ptrdiff_t>(index));
    }
  }
  void set_limit(Input& input) {
    const u8 n = input.take<u8>();
    model_.limit = process_->limit_pages = n >= 0x80 ? mem::kUnlimitedPages : n;
  }

  // ---- what devices reach --------------------------------------------------------------------------------------

  void compare() {
    const u64 pinned = model_.pinned().size();
    FUZZ_CHECK(process_->vm_pinned().pages() == pinned);
    FUZZ_CHECK(process_->user_locked().pages() == pinned);
    for (std::size_t device = 0; device < Machine::kNoiommu; ++device) {
      const Hwpt* h = model_.attached[device] ? model_.hwpt(*model_.attached[device]) : nullptr;
      if (h == nullptr) {
        FUZZ_CHECK(!reads(device, SandboxMemory::kHugeSize * 4));
        continue;
      }
      for (const auto& [start, area] : model_.spaces[h->space]) check_area(device, h->space, start, area);
    }
    check_physical();
  }

  // All pages of a small area; of a large one those at both ends and some between.
  template <class F>
  static void each_page(u64 start, const Area& area, F&& f) {
    const u64 pages = (area.last - start + 1) / kPageSize;
    for (u64 i = 0; i < pages; i += pages <= 12 || i < 2 || i + 66 > pages ? 1 : 63) f(i * kPageSize);
  }

  void check_area(std::size_t device, std::size_t s, u64 start, const Area& area) {
    each_page(start, area, [&](u64 at) {
      FUZZ_CHECK(reads(device, start + at, area.va + at) == allows(area.access, Access::kRead));
      FUZZ_CHECK(writes(device, start + at, area.va + at) == allows(area.access, Access::kWrite));
    });
    if (model_.area_at(s, start - kPageSize) == model_.spaces[s].end()) FUZZ_CHECK(!reads(device, start - kPageSize));
    if (model_.area_at(s, area.last + 1) == model_.spaces[s].end()) FUZZ_CHECK(!reads(device, area.last + 1));
  }

  // GET_PA of every page: one frame per page of the client and one page per frame; the device without an IOMMU gets
  // exactly there; under the fragmented policy the next small page is elsewhere.
  void check_physical() {
    std::map<u64, u64> frame_of, page_of;
    for (std::size_t s = 0; s < Model::kSpaces; ++s) {
      const auto in_space = [&](const Hwpt& h) { return h.space == s; };
      const auto software = [&](const Hwpt& h) { return h.space == s && h.manager == Manager::kNone; };
      const auto all = std::count_if(model_.hwpts.begin(), model_.hwpts.end(), in_space);
      const auto none = std::count_if(model_.hwpts.begin(), model_.hwpts.end(), software);
      for (const auto& [start, area] : model_.spaces[s]) {
        each_page(start, area, [&](u64 at) {
          const Result<u64> pa = physical(s, start + at);
          if (all == 0 || none == 0) FUZZ_CHECK(!pa && pa.error() == Errno::kOpNotSupp);
          if (all != 0 && none == all) FUZZ_CHECK(pa.has_value());
          if (!pa) return;
          const u64 va = area.va + at;
          FUZZ_CHECK(frame_of.emplace(va, *pa).first->second == *pa);
          FUZZ_CHECK(page_of.emplace(*pa, va).first->second == va);
          FUZZ_CHECK(reads(Machine::kNoiommu, *pa, va));
          FUZZ_CHECK(!allows(area.access, Access::kWrite) || writes(Machine::kNoiommu, *pa, va));
        });
      }
    }
    for (const auto& [va, pa] : frame_of) {
      const auto next = frame_of.find(va + kPageSize);
      if (next == frame_of.end()) continue;
      const bool huge = va >= SandboxMemory::kHugeBase && !is_aligned(va + kPageSize, SandboxMemory::kHugeSize);
      FUZZ_CHECK((next->second == pa + kPageSize) == huge);
    }
  }

  Result<u64> physical(std::size_t s, u64 iova) {
    abi::IoasNoiommuGetPa cmd{.size = sizeof(cmd),
                              .flags = 0,
                              .ioas_id = ioas_[s],
                              .reserved = 0,
                              .iova = iova + 24,
                              .length = 8,
                              .out_phys = 0};
    if (const Answer error = send(IommuCommand::kIoasNoiommuGetPa, cmd); error) return Err(*error);
    FUZZ_CHECK(cmd.length == 8 && (cmd.out_phys & kPageMask) == 24);
    return cmd.out_phys - 24;
  }

  // Does the device read (write) at `address`? If so, it must be the page at `va`.
  bool reads(std::size_t device, u64 address, u64 va = 0) {
    u64 value = 0;
    if (va != 0) stamp(va, ++counter_);
    if (!machine_.port(device).read(address + 64, std::as_writable_bytes(std::span(&value, 1)))) return false;
    FUZZ_CHECK(va == 0 || value == counter_);
    return true;
  }
  bool writes(std::size_t device, u64 address, u64 va) {
    const u64 value = ++counter_;
    stamp(va, 0);
    const bool done = machine_.port(device).write(address + 64, std::as_bytes(std::span(&value, 1))).has_value();
    u64 seen = 0;
    std::memcpy(&seen, memory_->bytes(va + 64).data(), sizeof(seen));
    FUZZ_CHECK(seen == (done ? value : 0));
    return done;
  }
  void stamp(u64 va, u64 value) { std::memcpy(memory_->bytes(va + 64).data(), &value, sizeof(value)); }

  Machine& machine_;
  const Ref<SandboxMemory> memory_ = machine_.memory();
  Ref<SandboxProcess> process_ = make_ref<SandboxProcess>();
  SandboxCall call_{memory_, process_};
  Ref<ioctl::IommuFile> file_;
  std::array<u32, Model::kSpaces> ioas_{};
  std::array<Ref<core::Device>, Machine::kDevices> devices_;
  Model model_;
  u64 next_backing_ = 1;
  u64 counter_ = 0;
};

}  // namespace
}  // namespace iommufd::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace iommufd::fuzz;
  static Machine machine;
  Session session(machine);
  Input input(data, std::min<std::size_t>(size, 512));
  while (!input.empty()) session.step(input);
  return 0;
}
