// SPDX-License-Identifier: BSD-3-Clause
// Every command of the engine, with every fault point in it failing in turn: heap, page tables, pins, limits, lookups. A
// failed command reports an error of the sheets and leaves everything as it was: objects, pins, charges, ranges, translations.
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <functional>
#include <memory>
#include <string>

#include "abi/iommufd.hpp"
#include "abi/vfio_type1.hpp"
#include "base/fault_point.hpp"
#include "core/device.hpp"
#include "core/ioas.hpp"
#include "ioctl/iommu_file.hpp"
#include "iommu/device_port.hpp"
#include "iommu/platform.hpp"
#include "tests/support/local_call.hpp"

namespace iommufd {
namespace {

using abi::IommuCommand;
constexpr u64 kIova = 0x10'0000, kBig = u64{64} * kPageSize;
constexpr u32 kReadWrite = abi::IoasMap::kReadable | abi::IoasMap::kWriteable;

// A machine with a device of each kind, and one context.
struct World {
  World() {
    add(amd_device, &amd, 1);
    add(amd_sibling, &amd, 1);
    add(vtd_device, &vtd, 2);
    add(lone_device, nullptr, 0);
    memory = static_cast<std::byte*>(::mmap(nullptr, kBig, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  }
  ~World() {
    for (const Ref<core::Device>& d : bound) d->unbind();
    bound.clear();
    file->release();
    file = nullptr;
    EXPECT_EQ(platform->phys().pinned_frames(), 0u);
    EXPECT_EQ(platform->tables().pages_in_use(), 0u);
    EXPECT_EQ(caller.process()->vm_pinned().pages(), 0u);
    ::munmap(memory, kBig);
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  void add(core::PhysicalDevice& device, iommu::Instance* instance, u32 group) {
    ports.push_back(std::make_unique<iommu::DevicePort>("0000:01:00.0", instance, platform->phys(), nullptr));
    ports.back()->set_bus_master(true);
    device = {"0000:01:00.0", instance, ports.back().get(), group,
              instance == nullptr ? std::vector<IovaRange>{} : instance->reserved_regions()};
  }
  template <class T>
  Result<void> call(IommuCommand command, T& cmd) {
    cmd.size = sizeof cmd;
    (void)IOMMUFD_TRY(file->ioctl(caller, static_cast<u32>(command), std::bit_cast<u64>(&cmd)));
    return {};
  }
  u32 ioas() {
    abi::IoasAlloc a{};
    EXPECT_TRUE(call(IommuCommand::kIoasAlloc, a));
    return a.out_ioas_id;
  }
  Result<void> map(u32 ioas_id, u64 iova, u64 length, u32 more_flags = abi::IoasMap::kFixedIova) {
    abi::IoasMap m{.size = 0,
                   .flags = kReadWrite | more_flags,
                   .ioas_id = ioas_id,
                   .reserved = 0,
                   .user_va = std::bit_cast<u64>(memory),
                   .length = length,
                   .iova = iova};
    return call(IommuCommand::kIoasMap, m);
  }
  Result<void> bind(core::PhysicalDevice& device) {
    bound.push_back(IOMMUFD_TRY(core::Device::bind(file->context(), device)));
    return {};
  }
  Result<void> attach(std::size_t which, u32 pt) {
    (void)IOMMUFD_TRY(bound.at(which)->attach_or_replace(0, ObjectId{pt}));
    return {};
  }

  // What a failed command must not change. Written out, so that a difference can be read. (A table that was linked before the
  // next one failed stays, empty; the end of its domain frees it.)
  std::string state(std::span<const u32> ioases) {
    std::string s = fmt::format("frames {} pinned {} locked {} by user {}", platform->phys().pinned_frames(),
                                caller.process()->vm_pinned().pages(), caller.process()->vm_locked().pages(),
                                caller.process()->user_locked().pages());
    for (const u32 id : ioases) {
      Result<core::Use<core::Ioas>> ioas = file->context()->get<core::Ioas>(ObjectId{id});
      if (!ioas) {
        s += fmt::format("\nioas {} gone", id);
        continue;
      }
      const core::Ioas::Ranges ranges = (*ioas)->iova_ranges();
      s += fmt::format("\nioas {} alignment {} huge pages {}:", id, ranges.alignment, (*ioas)->huge_pages());
      s += (*ioas)->slices(kIova, kBig) ? " mapped" : " not mapped";
      for (const IovaRange& r : ranges.gaps) s += fmt::format(" {:x}-{:x}", r.start, r.last);
    }
    // Which ids are taken, and what each device reaches by DMA.
    for (u32 id = 1; id < 12; ++id) {
      const Result<core::Use<core::Object>> object = file->context()->get_any(ObjectId{id});
      s += fmt::format("\nobject {}: {}", id, object ? static_cast<int>((*object)->type()) : -1);
    }
    for (const auto& port : ports) {
      for (const u64 iova : {kIova, kIova + kBig / 2, kIova + kBig - kPageSize, u64{0}}) {
        std::byte b{};
        s += port->read(iova, std::span(&b, 1)) ? " +" : " -";
      }
    }
    return s;
  }

  test::LocalCall caller;
  std::unique_ptr<iommu::Platform> platform = std::move(*iommu::Platform::create({}));
  iommu::Instance amd{iommu::Kind::kAmd, "ivhd0", platform->tables()};
  iommu::Instance vtd{iommu::Kind::kVtd, "dmar0", platform->tables()};
  std::vector<std::unique_ptr<iommu::DevicePort>> ports;
  core::PhysicalDevice amd_device, amd_sibling, vtd_device, lone_device;
  Ref<ioctl::IommuFile> file = make_ref<ioctl::IommuFile>(*platform);
  std::vector<Ref<core::Device>> bound;
  std::byte* memory = nullptr;
};

using Step = std::function<Result<void>(World&)>;
enum class Undo : u8 { kWhole, kPartly };  // kPartly: the sheets let a failed command keep what it has done

// Runs `step` in a fresh world after `before`, with its n-th fault point failing. Returns how many there are.
u64 sweep(const char* name, const Step& before, const Step& step, Undo undo = Undo::kWhole) {
  SCOPED_TRACE(name);
  constexpr std::array<u32, 3> kIoases{1, 2, 3};
  u64 n = 1;
  for (;; ++n) {
    SCOPED_TRACE(fmt::format("fault point {}", n));
    World world;
    EXPECT_TRUE(before(world));
    world.bound.reserve(8);  // of the test, not of the engine
    const std::string was = world.state(kIoases);
    fault::arm(n);
    Result<void> r;
    try {
      r = step(world);
    } catch (const std::bad_alloc&) {
      r = Err(Errno::kNoMem);  // what the caller of a bare engine function makes of it
    }
    const bool struck = fault::disarm() == 0;
    if (!struck) {
      EXPECT_TRUE(r) << errno_name(r.error());
      break;
    }
    // A point may be passed over: another automatic HWPT, say, or a list that does without.
    if (!r) {
      const std::string now = world.state(kIoases);
      EXPECT_TRUE(undo == Undo::kPartly || now == was)
          << errno_name(r.error()) << "\nbefore: " << was << "\nafter:  " << now;
      EXPECT_TRUE(step(world)) << "not even when nothing fails";
    }
    if (::testing::Test::HasFailure() || n > 5000) break;
  }
  std::printf("# %-46s %llu fault points\n", name, static_cast<unsigned long long>(n - 1));
  return n - 1;
}

Result<void> nothing(World&) { return {}; }
Result<void> one_ioas(World& w) {
  w.ioas();
  return {};
}
// IOAS 1 with a mapping, IOAS 2 empty; both IOMMU devices bound, none attached. Ids 1, 2; 3, 4, 5.
Result<void> two_ioases(World& w) {
  w.ioas();
  w.ioas();
  IOMMUFD_TRY(w.map(1, kIova, kBig));
  IOMMUFD_TRY(w.bind(w.amd_device));
  IOMMUFD_TRY(w.bind(w.amd_sibling));
  return w.bind(w.vtd_device);
}
Result<void> attached(World& w) {
  IOMMUFD_TRY(two_ioases(w));
  return w.attach(0, 1);
}

TEST(FaultSweep, objects) {
  EXPECT_GT(sweep("IOAS_ALLOC", nothing,
                  [](World& w) -> Result<void> {
                    abi::IoasAlloc a{};
                    return w.call(IommuCommand::kIoasAlloc, a);
                  }),
            0u);
  EXPECT_GT(sweep("BIND behind an IOMMU", one_ioas, [](World& w) { return w.bind(w.amd_device); }), 0u);
  EXPECT_GT(sweep("BIND without", one_ioas, [](World& w) { return w.bind(w.lone_device); }), 0u);
  sweep("DESTROY", one_ioas, [](World& w) -> Result<void> {
    abi::Destroy d{0, 1};
    if (const Result<void> r = w.call(IommuCommand::kDestroy, d); !r && r.error() != Errno::kNoEnt) return r;
    return {};
  });
}

TEST(FaultSweep, ranges) {
  EXPECT_GT(sweep("ALLOW_IOVAS", one_ioas,
                  [](World& w) {
                    const std::array<abi::IovaRange, 2> allowed{{{0x1000, 0x1fff}, {kIova, kIova + kBig - 1}}};
                    abi::IoasAllowIovas a{};
                    a.ioas_id = 1;
                    a.num_iovas = 2;
                    a.allowed_iovas = std::bit_cast<u64>(allowed.data());
                    return w.call(IommuCommand::kIoasAllowIovas, a);
                  }),
            0u);
}

TEST(FaultSweep, map_and_unmap) {
  EXPECT_GT(sweep("MAP without a domain", one_ioas, [](World& w) { return w.map(1, kIova, kBig); }), 0u);
  const Step empty_attached = [](World& w) -> Result<void> {
    IOMMUFD_TRY(two_ioases(w));
    return w.attach(0, 2);
  };
  EXPECT_GT(sweep("MAP with a domain", empty_attached, [](World& w) { return w.map(2, kIova, kBig); }), 10u);
  EXPECT_GT(sweep(
                "MAP, two domains",
                [&](World& w) -> Result<void> {
                  IOMMUFD_TRY(empty_attached(w));
                  return w.attach(2, 2);
                },
                [](World& w) { return w.map(2, kIova, kBig); }),
            10u);
  // The nodes of the IOVA tree are full, up to the root: one more mapping in the middle splits them all.
  constexpr u64 kFirst = 0x4000'0000, kAreas = 256;
  EXPECT_GT(sweep(
                "MAP among 256",
                [](World& w) -> Result<void> {
                  w.ioas();
                  for (u64 i = 0; i < kAreas; ++i) IOMMUFD_TRY(w.map(1, kFirst + 2 * i * kPageSize, kPageSize));
                  return {};
                },
                [](World& w) { return w.map(1, kFirst + (kAreas + 1) * kPageSize, kPageSize); }),
            3u);
  EXPECT_GT(sweep("MAP, chosen IOVA", empty_attached, [](World& w) { return w.map(2, 0, kBig, 0); }), 10u);
  EXPECT_GT(sweep("COPY", empty_attached,
                  [](World& w) {
                    abi::IoasCopy c{};
                    c.flags = kReadWrite | abi::IoasMap::kFixedIova;
                    c.dst_ioas_id = 2;
                    c.src_ioas_id = 1;
                    c.length = kBig / 2;
                    c.dst_iova = kIova;
                    c.src_iova = kIova + kPageSize;
                    return w.call(IommuCommand::kIoasCopy, c);
                  }),
            10u);
  sweep(
      "UNMAP", attached,
      [](World& w) -> Result<void> {
        abi::IoasUnmap u{0, 1, kIova, kBig};
        if (const Result<void> r = w.call(IommuCommand::kIoasUnmap, u); !r && r.error() != Errno::kNoEnt) return r;
        return {};
      },
      Undo::kPartly);
}

TEST(FaultSweep, domains) {
  EXPECT_GT(sweep("ATTACH, new domain", two_ioases, [](World& w) { return w.attach(0, 1); }), 10u);
  EXPECT_GT(sweep("ATTACH, second of the group", attached, [](World& w) { return w.attach(1, 1); }), 0u);
  EXPECT_GT(sweep("ATTACH, another IOMMU", attached, [](World& w) { return w.attach(2, 1); }), 10u);
  EXPECT_GT(sweep("REPLACE by another IOAS", attached, [](World& w) { return w.attach(0, 2); }), 5u);
  EXPECT_GT(sweep("HWPT_ALLOC", two_ioases,
                  [](World& w) {
                    abi::HwptAlloc a{};
                    a.dev_id = 3;
                    a.pt_id = 1;
                    return w.call(IommuCommand::kHwptAlloc, a);
                  }),
            10u);
  EXPECT_GT(sweep(
                "ATTACH without an IOMMU",
                [](World& w) -> Result<void> {
                  IOMMUFD_TRY(two_ioases(w));
                  return w.bind(w.lone_device);
                },
                [](World& w) { return w.attach(3, 1); }),
            10u);
}

TEST(FaultSweep, dirty_pages) {
  const Step tracking = [](World& w) -> Result<void> {
    IOMMUFD_TRY(two_ioases(w));
    abi::HwptAlloc a{};
    a.flags = abi::HwptAlloc::kDirtyTracking;
    a.dev_id = 3;
    a.pt_id = 1;
    IOMMUFD_TRY(w.call(IommuCommand::kHwptAlloc, a));
    return w.attach(0, a.out_hwpt_id);  // id 6
  };
  EXPECT_GT(sweep("SET_DIRTY_TRACKING", tracking,
                  [](World& w) {
                    abi::HwptSetDirtyTracking c{0, abi::HwptSetDirtyTracking::kEnable, 6, 0};
                    return w.call(IommuCommand::kHwptSetDirtyTracking, c);
                  }),
            0u);
  EXPECT_GT(sweep("GET_DIRTY_BITMAP", tracking,
                  [](World& w) {
                    u64 bits = 0;
                    abi::HwptGetDirtyBitmap c{};
                    c.hwpt_id = 6;
                    c.iova = kIova;
                    c.length = kBig;
                    c.page_size = kPageSize;
                    c.data = std::bit_cast<u64>(&bits);
                    return w.call(IommuCommand::kHwptGetDirtyBitmap, c);
                  }),
            0u);
}

TEST(FaultSweep, container) {
  using enum abi::VfioContainerCommand;
  const auto vfio = [](World& w, abi::VfioContainerCommand command, u64 argument) -> Result<void> {
    (void)IOMMUFD_TRY(w.file->ioctl(w.caller, static_cast<u32>(command), argument));
    return {};
  };
  const auto map = [vfio](World& w) {
    const abi::VfioType1DmaMap m{sizeof m, 3, std::bit_cast<u64>(w.memory), kIova, kBig};
    return vfio(w, kIommuMapDma, std::bit_cast<u64>(&m));
  };
  const Step version1 = [=](World& w) -> Result<void> {
    abi::VfioIoas compat{0, w.ioas(), abi::VfioIoas::kSet, 0};
    IOMMUFD_TRY(w.call(IommuCommand::kVfioIoas, compat));
    IOMMUFD_TRY(vfio(w, kSetIommu, 1));
    IOMMUFD_TRY(w.bind(w.amd_device));
    return w.attach(0, 1);
  };
  EXPECT_GT(sweep("VFIO_IOMMU_MAP_DMA", version1, map), 10u);
  EXPECT_GT(sweep(
                "VFIO_IOMMU_UNMAP_DMA of the middle",
                [=](World& w) -> Result<void> {
                  IOMMUFD_TRY(version1(w));
                  return map(w);
                },
                [=](World& w) {
                  const abi::VfioType1DmaUnmap u{sizeof u, 0, kIova + kBig / 4, kBig / 2};
                  return vfio(w, kIommuUnmapDma, std::bit_cast<u64>(&u));
                }),
            0u);
  EXPECT_GT(sweep("VFIO_IOMMU_GET_INFO", version1,
                  [=](World& w) {
                    std::array<std::byte, 256> room{};
                    const u32 size = room.size();
                    std::memcpy(room.data(), &size, sizeof size);
                    return vfio(w, kIommuGetInfo, std::bit_cast<u64>(room.data()));
                  }),
            0u);
  EXPECT_GT(sweep("a group enters the container", nothing,
                  [](World& w) { return w.file->context()->enter_container(core::ContainerKind::kType1); }),
            0u);
}

TEST(FaultSweep, change_process) {
  static const Fd memfd(::memfd_create("sweep", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(memfd.get(), kBig), 0);
  EXPECT_GT(sweep(
                "CHANGE_PROCESS",
                [](World& w) -> Result<void> {
                  w.ioas();
                  IOMMUFD_TRY(w.bind(w.amd_device));
                  IOMMUFD_TRY(w.attach(0, 1));
                  abi::IoasMapFile m{};
                  m.flags = kReadWrite | abi::IoasMapFile::kFixedIova;
                  m.ioas_id = 1;
                  m.fd = memfd.get();
                  m.length = kBig;
                  m.iova = kIova;
                  return w.call(IommuCommand::kIoasMapFile, m);
                },
                [](World& w) {
                  const Ref<mem::Process> old = w.caller.process();
                  w.caller.become(make_ref<mem::LocalProcess>());
                  abi::IoasChangeProcess c{};
                  const Result<void> r = w.call(IommuCommand::kIoasChangeProcess, c);
                  EXPECT_EQ(old->vm_pinned().pages(), r ? 0u : kBig / kPageSize);
                  EXPECT_EQ(w.caller.process()->vm_pinned().pages(), r ? kBig / kPageSize : 0u);
                  if (!r) w.caller.become(old);
                  return r;
                }),
            2u);
}

// What must not fail does not: no fault point stops it.
TEST(FaultSweep, ends) {
  for (u64 n = 1; n < 40; ++n) {
    SCOPED_TRACE(n);
    auto world = std::make_unique<World>();
    ASSERT_TRUE(attached(*world));
    ASSERT_TRUE(world->attach(2, 1));
    fault::arm(n);
    world->bound[0]->detach(0);
    world->bound[2]->unbind();
    world->bound.erase(world->bound.begin() + 2);
    fault::disarm();
    EXPECT_NE(world->platform->phys().pinned_frames(), 1u);
    fault::arm(n);
    world.reset();  // checks what is left
    fault::disarm();
  }
}

}  // namespace
}  // namespace iommufd
