// SPDX-License-Identifier: BSD-3-Clause
// The test ABI and accesses, with every fault point of an operation failing in turn: a failed one leaves pins, charges,
// objects and ranges as they were, and works when nothing fails.
#include <fmt/format.h>
#include <sys/mman.h>

#include <bit>
#include <cstring>
#include <functional>
#include <string>

#include "abi/iommufd.hpp"
#include "abi/iommufd_test.hpp"
#include "base/fault_point.hpp"
#include "core/ioas.hpp"
#include "ioctl/iommu_file.hpp"
#include "iommu/platform.hpp"
#include "selftest/world.hpp"
#include "tests/support/local_call.hpp"

namespace iommufd {
namespace {

using abi::TestOp;
constexpr u64 kIova = 0x100'0000, kBytes = 32 * kPageSize;

struct Client {
  Client()
      : memory(static_cast<std::byte*>(
            ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {}
  ~Client() {
    while (!caller.installed.empty()) caller.close(caller.installed.begin()->first);
    file = nullptr;
    EXPECT_EQ(platform->phys().pinned_frames(), 0u);
    EXPECT_EQ(platform->tables().pages_in_use(), 0u);
    EXPECT_EQ(caller.process()->vm_pinned().pages(), 0u);
    ::munmap(memory, kBytes);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  template <class T>
  Result<s64> test(TestOp op, u32 id, T& args) {
    abi::TestCmd cmd{};
    cmd.size = sizeof cmd;
    cmd.op = static_cast<u32>(op);
    cmd.id = id;
    cmd.put(args);
    const Result<s64> r = file->ioctl(caller, abi::kIommuTestCommand, std::bit_cast<u64>(&cmd));
    args = cmd.get<T>();
    return r;
  }
  template <class T>
  Result<s64> call(abi::IommuCommand command, T& cmd) {
    cmd.size = sizeof cmd;
    return file->ioctl(caller, static_cast<u32>(command), std::bit_cast<u64>(&cmd));
  }
  Result<s64> ioas() {
    abi::IoasAlloc a{};
    return call(abi::IommuCommand::kIoasAlloc, a);
  }
  Result<s64> map(u32 to = 1) {
    abi::IoasMap m{};
    m.flags = abi::IoasMap::kFixedIova | abi::IoasMap::kReadable | abi::IoasMap::kWriteable;
    m.ioas_id = to;
    m.user_va = std::bit_cast<u64>(memory);
    m.length = kBytes;
    m.iova = kIova;
    return call(abi::IommuCommand::kIoasMap, m);
  }
  Result<s64> unmap(u32 from = 1) {
    abi::IoasUnmap u{0, from, kIova, kBytes};
    return call(abi::IommuCommand::kIoasUnmap, u);
  }
  Result<s64> access(u32 to = 1) {
    abi::TestCreateAccess a{0, abi::TestCreateAccess::kNeedsPinPages};
    return test(TestOp::kCreateAccess, to, a);
  }
  Result<s64> pin() {
    abi::TestAccessPages a{abi::kTestWrite, 0, kIova, kBytes, std::bit_cast<u64>(memory)};
    return test(TestOp::kAccessPages, access_fd(), a);
  }
  Result<s64> rw(u32 flags) {
    std::array<std::byte, 3 * kPageSize> buf{};
    abi::TestAccessRw a{kIova + kPageSize / 2, buf.size(), std::bit_cast<u64>(buf.data()), flags, 0};
    return test(TestOp::kAccessRw, access_fd(), a);
  }
  Result<s64> mock(u32 to = 1, u32 flags = 0) {
    abi::TestMockDomain m{0, 0, 0, flags};
    const Result<s64> r = test(TestOp::kMockDomainFlags, to, m);
    if (r) stdev = m.out_stdev_id;
    return r;
  }
  [[nodiscard]] u32 access_fd() const { return static_cast<u32>(caller.installed.begin()->first); }

  std::string state() {
    std::string s = fmt::format("frames {} pinned {} descriptors {}", platform->phys().pinned_frames(),
                                caller.process()->vm_pinned().pages(), caller.installed.size());
    for (u32 id = 1; id < 10; ++id) {
      const Result<core::Use<core::Object>> object = file->context()->get_any(ObjectId{id});
      s += fmt::format("\nobject {}: {}", id, object ? static_cast<int>((*object)->type()) : -1);
      if (!object || (*object)->type() != core::ObjectType::kIoas) continue;
      auto& ioas = static_cast<core::Ioas&>(**object);
      const core::Ioas::Ranges ranges = ioas.iova_ranges();
      s += fmt::format(" alignment {} {}", ranges.alignment, ioas.slices(kIova, kBytes) ? "mapped" : "not mapped");
      for (const IovaRange& r : ranges.gaps) s += fmt::format(" {:x}-{:x}", r.start, r.last);
    }
    return s;
  }

  test::LocalCall caller;
  std::unique_ptr<iommu::Platform> platform = std::move(*iommu::Platform::create({}));
  selftest::World world{*platform};
  Ref<ioctl::IommuFile> file = make_ref<ioctl::IommuFile>(*platform, &world);
  std::byte* memory;
  u32 stdev = 0;
};

using Step = std::function<Result<s64>(Client&)>;
enum class Undo : u8 { kWhole, kPartly };

u64 sweep(const char* name, std::initializer_list<Step> before, const Step& step, Undo undo = Undo::kWhole) {
  SCOPED_TRACE(name);
  u64 n = 1;
  for (;; ++n) {
    SCOPED_TRACE(fmt::format("fault point {}", n));
    Client client;
    for (const Step& b : before) EXPECT_TRUE(b(client));
    const std::string was = client.state();
    fault::arm(n);
    const Result<s64> r = step(client);
    const bool struck = fault::disarm() == 0;
    if (!struck) {
      EXPECT_TRUE(r) << errno_name(r.error());
      break;
    }
    if (!r) {
      EXPECT_TRUE(undo == Undo::kPartly || client.state() == was)
          << errno_name(r.error()) << "\nbefore: " << was << "\nafter:  " << client.state();
      EXPECT_TRUE(step(client)) << "not even when nothing fails";
    }
    if (::testing::Test::HasFailure() || n > 5000) break;
  }
  std::printf("# %-46s %llu fault points\n", name, static_cast<unsigned long long>(n - 1));
  return n - 1;
}

const Step kIoas = [](Client& c) { return c.ioas(); };
const Step kMap = [](Client& c) { return c.map(); };
const Step kUnmap = [](Client& c) { return c.unmap(); };
const Step kAccess = [](Client& c) { return c.access(); };
const Step kPin = [](Client& c) { return c.pin(); };
const Step kMock = [](Client& c) { return c.mock(); };

TEST(TestAbiSweep, accesses) {
  EXPECT_GT(sweep("CREATE_ACCESS", {kIoas}, kAccess), 0u);
  EXPECT_GT(sweep("ACCESS_PAGES", {kIoas, kMap, kAccess}, kPin), 0u);
  EXPECT_GT(sweep("ACCESS_PAGES with a domain", {kIoas, kMock, kMap, kAccess}, kPin), 0u);
  EXPECT_GT(sweep("ACCESS_RW, own memory", {kIoas, kMap, kAccess}, [](Client& c) { return c.rw(0); }), 0u);
  EXPECT_GT(sweep("ACCESS_RW, slow", {kIoas, kMap, kAccess}, [](Client& c) { return c.rw(abi::kTestSlowPath); }), 0u);
  EXPECT_GT(sweep("ACCESS_RW, slow write of pinned pages", {kIoas, kMap, kAccess, kPin},
                  [](Client& c) { return c.rw(abi::kTestSlowPath | abi::kTestWrite); }),
            0u);
  sweep("DESTROY_ACCESS_PAGES", {kIoas, kMap, kAccess, kPin}, [](Client& c) {
    abi::TestDestroyAccessPages d{0};
    return c.test(TestOp::kDestroyAccessPages, c.access_fd(), d);
  });
  EXPECT_GT(sweep("UNMAP of pinned pages", {kIoas, kMap, kAccess, kPin}, kUnmap), 0u);
  EXPECT_GT(sweep("UNMAP of pinned pages with a domain", {kIoas, kMock, kMap, kAccess, kPin}, kUnmap), 0u);
  EXPECT_GT(sweep("ACCESS_REPLACE_IOAS", {kIoas, kIoas, kMap, kAccess, kPin},
                  [](Client& c) {
                    abi::TestAccessReplaceIoas r{2};
                    return c.test(TestOp::kAccessReplaceIoas, c.access_fd(), r);
                  }),
            0u);
}

TEST(TestAbiSweep, mock_devices) {
  EXPECT_GT(sweep("MOCK_DOMAIN", {kIoas, kMap}, kMock), 0u);
  EXPECT_GT(sweep("MOCK_DOMAIN, the second", {kIoas, kMock, kMap}, kMock), 0u);
  EXPECT_GT(sweep("MOCK_DOMAIN_REPLACE", {kIoas, kMap, kMock, kIoas},
                  [](Client& c) {
                    abi::TestMockDomainReplace r{5};  // 1 IOAS, 2 to 4 of the device, 5 IOAS
                    return c.test(TestOp::kMockDomainReplace, c.stdev, r);
                  }),
            0u);
  EXPECT_GT(sweep("ADD_RESERVED", {kIoas},
                  [](Client& c) {
                    abi::TestAddReserved r{0x1000, 0x1000};
                    return c.test(TestOp::kAddReserved, 1, r);
                  }),
            0u);
  EXPECT_GT(sweep(
                "DESTROY of a mock device", {kIoas, kMap, kMock},
                [](Client& c) -> Result<s64> {
                  abi::Destroy d{0, c.stdev};
                  const Result<s64> r = c.call(abi::IommuCommand::kDestroy, d);
                  return !r && r.error() == Errno::kNoEnt ? Result<s64>(0) : r;
                },
                Undo::kPartly) +
                1,
            0u);
}

TEST(TestAbiSweep, buffers) {
  const Step get = [](Client& c) {
    abi::TestDmabufGet g{static_cast<u32>(4 * kPageSize), 0};
    return c.test(TestOp::kDmabufGet, 0, g);
  };
  const Step map = [](Client& c) {
    abi::IoasMapFile m{};
    m.flags = abi::IoasMap::kFixedIova | abi::IoasMap::kReadable;
    m.ioas_id = 1;
    m.fd = c.caller.installed.begin()->first;
    m.length = 4 * kPageSize;
    m.iova = kIova;
    return c.call(abi::IommuCommand::kIoasMapFile, m);
  };
  EXPECT_GT(sweep("DMABUF_GET", {}, get), 0u);
  EXPECT_GT(sweep("MAP_FILE of a buffer", {kIoas, get}, map), 0u);
  EXPECT_GT(sweep("MAP_FILE of a buffer with a domain", {kIoas, kMock, get}, map), 0u);
  EXPECT_GT(sweep("MOCK_DOMAIN over a buffer", {kIoas, get, map}, kMock), 0u);
  EXPECT_GT(sweep("DMABUF_REVOKE", {kIoas, kMock, get, map},
                  [](Client& c) {
                    abi::TestDmabufRevoke r{c.caller.installed.begin()->first, 0};
                    return c.test(TestOp::kDmabufRevoke, 0, r);
                  }),
            0u);
}

}  // namespace
}  // namespace iommufd
