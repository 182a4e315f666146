// SPDX-License-Identifier: BSD-3-Clause
#include "tests/fuzz/churner.hpp"

#include "tests/fuzz/worker.hpp"

namespace iommufd::fuzz {

using abi::IommuCommand;

bool Churner::is_one_of(Answer answer, std::initializer_list<Errno> allowed) {
  return !answer || std::ranges::find(allowed, *answer) != allowed.end();
}

void Churner::run(u64 steps, const std::atomic<bool>& stop) {
  for (u64 n = 0; n < steps || !stop.load(std::memory_order_relaxed); ++n) {
    t_where.step = n;
    step();
  }
}

void Churner::step() {
  switch (random_.below(16)) {
    case 0: return bind_or_unbind();
    case 1:
    case 2:
    case 3:
    case 4: return attach();
    case 5: return attach_sibling();
    case 6:
    case 7:
    case 8: return alloc_hwpt();
    case 9:
    case 10:
    case 11: return destroy();
    case 12: return look();
    case 13: return toggle_option();
    default: return use_scratch();
  }
}

u32 Churner::take_ioas() {
  const std::array ioases{world_.tracked, world_.noiommu, world_.churned, world_.churned};
  return ioases[random_.below(ioases.size())];
}
u32 Churner::take_hwpt() {
  return random_.one_in(4) ? static_cast<u32>(random_.below(48)) : hwpts_[random_.below(hwpts_.size())];
}

void Churner::bind_or_unbind() {
  Ref<core::Device>& device = world_.bound[device_];
  if (device)
    std::exchange(device, nullptr)->unbind();
  else
    world_.bind(device_, *world_.first);
}

// What another thread attaches, replaces or destroys meanwhile decides.
void Churner::attach() {
  const Ref<core::Device> device = world_.bound[device_];
  if (!device) return;
  if (random_.one_in(4)) return device->detach(core::kRid);
  const u32 target = random_.one_in(2) ? take_ioas() : take_hwpt();
  if (target == world_.hwpt) return;  // its dirty bits are the workers'
  const Result<ObjectId> got = device->attach_or_replace(core::kRid, ObjectId{target});
  FUZZ_CHECK(got || is_one_of(got.error(), {Errno::kNoEnt, Errno::kInval, Errno::kNoDev, Errno::kBusy}));
}

// Device 1 is in the group of device 0, which stays where it is. Any churner attaches and detaches it.
void Churner::attach_sibling() {
  core::Device& device = *world_.bound[1];
  if (random_.one_in(2)) return device.detach(core::kRid);
  const u32 target = random_.one_in(2) ? world_.hwpt : take_ioas();
  // A replace would move the group: only while nobody has attached it. Another IOAS is refused then.
  const Result<ObjectId> got = device.attach(core::kRid, ObjectId{target});
  FUZZ_CHECK(got ? target == world_.hwpt : is_one_of(got.error(), {Errno::kInval, Errno::kBusy}));
}

void Churner::alloc_hwpt() {
  abi::HwptAlloc cmd{};
  cmd.size = sizeof cmd;
  const std::size_t maker = random_.one_in(3) ? 4 : 0;
  cmd.flags = maker == 0 && random_.one_in(2) ? abi::HwptAlloc::kDirtyTracking : 0;
  cmd.dev_id = std::to_underlying(world_.bound[maker]->id());
  cmd.pt_id = take_ioas();
  u32& slot = hwpts_[random_.below(hwpts_.size())];
  if (slot != 0) {
    abi::Destroy destroy{.size = sizeof destroy, .id = std::exchange(slot, 0)};
    FUZZ_CHECK(is_one_of(client_.send(*world_.first, IommuCommand::kDestroy, destroy), {Errno::kNoEnt, Errno::kBusy}));
  }
  // Every page that is mapped can be pinned, and no limit is set: nothing stands in the way.
  FUZZ_CHECK(!client_.send(*world_.first, IommuCommand::kHwptAlloc, cmd));
  slot = cmd.out_hwpt_id;
}

void Churner::destroy() {
  abi::Destroy cmd{.size = sizeof cmd, .id = take_hwpt()};
  const Answer got = client_.send(*world_.first, IommuCommand::kDestroy, cmd);
  FUZZ_CHECK(is_one_of(got, {Errno::kNoEnt, Errno::kBusy}));
  const bool kept =
      cmd.id == world_.tracked || cmd.id == world_.noiommu || cmd.id == world_.churned || cmd.id == world_.hwpt;
  FUZZ_CHECK(!kept || got == Errno::kBusy);
}

void Churner::look() {
  abi::IoasIovaRanges ranges{.size = sizeof ranges,
                             .ioas_id = take_ioas(),
                             .num_iovas = 8,
                             .reserved = 0,
                             .allowed_iovas = Client::kBuffer,
                             .out_iova_alignment = 0};
  FUZZ_CHECK(!client_.send(*world_.first, IommuCommand::kIoasIovaRanges, ranges));
  FUZZ_CHECK(ranges.ioas_id == world_.churned || ranges.out_iova_alignment == kPageSize);
  abi::HwptGetDirtyBitmap bitmap{.size = sizeof bitmap,
                                 .hwpt_id = take_hwpt(),
                                 .flags = 1,
                                 .reserved = 0,
                                 .iova = Worker::window(0),
                                 .length = Worker::kWindowSize,
                                 .page_size = kPageSize,
                                 .data = Client::kBuffer};
  FUZZ_CHECK(is_one_of(client_.send(*world_.first, IommuCommand::kHwptGetDirtyBitmap, bitmap),
                       {Errno::kNoEnt, Errno::kOpNotSupp}));
  abi::HwptSetDirtyTracking track{.size = sizeof track, .flags = 1, .hwpt_id = hwpts_[0], .reserved = 0};
  FUZZ_CHECK(is_one_of(client_.send(*world_.first, IommuCommand::kHwptSetDirtyTracking, track),
                       {Errno::kNoEnt, Errno::kOpNotSupp}));
}

void Churner::toggle_option() {
  abi::Option huge{.size = sizeof huge,
                   .option_id = abi::Option::kHugePages,
                   .op = abi::Option::kOpSet,
                   .reserved = 0,
                   .object_id = world_.churned,
                   .val64 = random_.below(2)};
  FUZZ_CHECK(is_one_of(client_.send(*world_.first, IommuCommand::kOption, huge), {Errno::kInval}));
  abi::VfioIoas compat{
      .size = sizeof compat, .ioas_id = world_.churned, .op = static_cast<u16>(random_.below(3)), .reserved = 0};
  FUZZ_CHECK(is_one_of(client_.send(*world_.first, IommuCommand::kVfioIoas, compat), {Errno::kNoDev}));
  abi::IoasChangeProcess change{.size = sizeof change, .reserved = 0};
  FUZZ_CHECK(is_one_of(client_.send(*world_.first, IommuCommand::kIoasChangeProcess, change), {Errno::kInval}));
}

// Calls on a file that is being closed: any answer will do.
void Churner::use_scratch() {
  if (random_.one_in(8)) return world_.renew_scratch();
  const Ref<ioctl::IommuFile> file = world_.scratch();
  abi::IoasAlloc alloc{.size = sizeof alloc, .flags = 0, .out_ioas_id = 0};
  FUZZ_CHECK(!client_.send(*file, IommuCommand::kIoasAlloc, alloc));
  for (int i = 0; i < 4; ++i) {
    abi::IoasMap map{.size = sizeof map,
                     .flags = static_cast<u32>(random_.below(8)),
                     .ioas_id = static_cast<u32>(1 + random_.below(8)),
                     .reserved = 0,
                     .user_va = SandboxMemory::kBase + kPageSize * (16 + random_.below(48)),
                     .length = kPageSize,
                     .iova = kPageSize * random_.below(64)};
    (void)client_.send(*file, IommuCommand::kIoasMap, map);
  }
  abi::IoasUnmap unmap{
      .size = sizeof unmap, .ioas_id = static_cast<u32>(1 + random_.below(8)), .iova = 0, .length = ~u64{0}};
  if (random_.one_in(2)) (void)client_.send(*file, IommuCommand::kIoasUnmap, unmap);
  if (world_.bound[device_]) return;
  world_.bind(device_, *file);
  (void)world_.bound[device_]->attach_or_replace(core::kRid, ObjectId{static_cast<u32>(1 + random_.below(8))});
  abi::Destroy destroy{.size = sizeof destroy, .id = static_cast<u32>(1 + random_.below(16))};
  (void)client_.send(*file, IommuCommand::kDestroy, destroy);
  std::exchange(world_.bound[device_], nullptr)->unbind();
}

// Bytes at +2048 of a page are this thread's.
void background_dma(World& world, u64 seed, u64 workers, const std::atomic<bool>& stop) {
  Random random(seed);
  while (!stop.load(std::memory_order_relaxed)) {
    const u64 at = Worker::window(random.below(workers)) + kPageSize * random.below(64) + 2048;
    u64 value = random.next();
    (void)world.port(2).read(at, std::as_writable_bytes(std::span(&value, 1)));
    (void)world.port(2).write(at, std::as_bytes(std::span(&value, 1)));
  }
}

}  // namespace iommufd::fuzz
