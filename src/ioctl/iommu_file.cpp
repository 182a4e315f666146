// SPDX-License-Identifier: BSD-3-Clause
#include "ioctl/iommu_file.hpp"

#include <sys/mman.h>

#include <array>
#include <new>

#include "abi/iommufd.hpp"
#include "base/explain.hpp"
#include "ioctl/arguments.hpp"
#include "ioctl/iommu_commands.hpp"
#include "ioctl/iommu_test.hpp"
#include "ioctl/iommu_vfio_compat.hpp"

namespace iommufd::ioctl {
namespace {

using Context = core::Context;

// What a command runs on.
struct Host {
  const Ref<Context>& ctx;
  selftest::World* world;
};

struct Command {
  const char* name = nullptr;
  u32 code = 0;
  std::size_t size = 0;
  std::size_t min_size = 0;
  // The value of the ioctl.
  Result<s64> (*run)(const Host& host, Call& call, UserVa at, std::size_t user_size, ArgumentBytes& bytes) = nullptr;
};

template <class T, auto kHandler>
Result<s64> run_command(const Host& host, Call& call, UserVa at, std::size_t user_size, ArgumentBytes& bytes) {
  Arguments<T> arguments(call, at, user_size);
  IOMMUFD_TRY(bytes.copy(user_size, std::as_writable_bytes(std::span(&arguments.cmd, 1))));
  IOMMUFD_TRY(kHandler(*host.ctx, arguments));
  return 0;
}

Result<s64> run_test(const Host& host, Call& call, UserVa at, std::size_t user_size, ArgumentBytes& bytes) {
  Arguments<abi::TestCmd> arguments(call, at, user_size);
  IOMMUFD_TRY(bytes.copy(user_size, std::as_writable_bytes(std::span(&arguments.cmd, 1))));
  return test_command({host.ctx, *host.world, arguments});
}

template <class T, auto kHandler>
constexpr Command command(abi::IommuCommand code, const char* name) {
  static_assert(sizeof(T) <= ArgumentBytes::kLargest);
  return {name, static_cast<u32>(code), sizeof(T), T::kMinSize, run_command<T, kHandler>};
}

constexpr u32 nr_of(abi::IommuCommand c) { return static_cast<u32>(c) & 0xff; }
constexpr u32 kFirst = nr_of(abi::kFirstIommuCommand);
constexpr u32 kCount = nr_of(abi::kLastIommuCommand) - kFirst + 1;

constexpr std::array<Command, kCount> make_table() {
  using enum abi::IommuCommand;
  std::array<Command, kCount> t{};
  const auto add = [&](const Command& c) { t[(c.code & 0xff) - kFirst] = c; };
  add(command<abi::Destroy, destroy>(kDestroy, "IOMMU_DESTROY"));
  add(command<abi::IoasAlloc, ioas_alloc>(kIoasAlloc, "IOMMU_IOAS_ALLOC"));
  add(command<abi::IoasAllowIovas, ioas_allow_iovas>(kIoasAllowIovas, "IOMMU_IOAS_ALLOW_IOVAS"));
  add(command<abi::IoasCopy, ioas_copy>(kIoasCopy, "IOMMU_IOAS_COPY"));
  add(command<abi::IoasIovaRanges, ioas_iova_ranges>(kIoasIovaRanges, "IOMMU_IOAS_IOVA_RANGES"));
  add(command<abi::IoasMap, ioas_map>(kIoasMap, "IOMMU_IOAS_MAP"));
  add(command<abi::IoasUnmap, ioas_unmap>(kIoasUnmap, "IOMMU_IOAS_UNMAP"));
  add(command<abi::Option, option>(kOption, "IOMMU_OPTION"));
  add(command<abi::VfioIoas, vfio_ioas>(kVfioIoas, "IOMMU_VFIO_IOAS"));
  add(command<abi::HwptAlloc, hwpt_alloc>(kHwptAlloc, "IOMMU_HWPT_ALLOC"));
  add(command<abi::HwInfo, get_hw_info>(kGetHwInfo, "IOMMU_GET_HW_INFO"));
  add(command<abi::HwptSetDirtyTracking, hwpt_set_dirty_tracking>(kHwptSetDirtyTracking,
                                                                  "IOMMU_HWPT_SET_DIRTY_TRACKING"));
  add(command<abi::HwptGetDirtyBitmap, hwpt_get_dirty_bitmap>(kHwptGetDirtyBitmap, "IOMMU_HWPT_GET_DIRTY_BITMAP"));
  add(command<abi::HwptInvalidate, hwpt_invalidate>(kHwptInvalidate, "IOMMU_HWPT_INVALIDATE"));
  add(command<abi::IoasMapFile, ioas_map_file>(kIoasMapFile, "IOMMU_IOAS_MAP_FILE"));
  add(command<abi::ViommuAlloc, viommu_alloc>(kViommuAlloc, "IOMMU_VIOMMU_ALLOC"));
  add(command<abi::VdeviceAlloc, vdevice_alloc>(kVdeviceAlloc, "IOMMU_VDEVICE_ALLOC"));
  add(command<abi::IoasChangeProcess, ioas_change_process>(kIoasChangeProcess, "IOMMU_IOAS_CHANGE_PROCESS"));
  add(command<abi::VeventqAlloc, veventq_alloc>(kVeventqAlloc, "IOMMU_VEVENTQ_ALLOC"));
  add(command<abi::HwQueueAlloc, hw_queue_alloc>(kHwQueueAlloc, "IOMMU_HW_QUEUE_ALLOC"));
  add(command<abi::IoasNoiommuGetPa, ioas_noiommu_get_pa>(kIoasNoiommuGetPa, "IOMMU_IOAS_NOIOMMU_GET_PA"));
  return t;
}
constexpr std::array<Command, kCount> kTable = make_table();

enum class TestAbi : u8 { kOff, kOn };

// The table of a kernel with the test ABI is longer.
constexpr u32 kTestNumber = abi::kIommuTestCommand & 0xff;
constexpr Command kTestCommand{"IOMMU_TEST_CMD", abi::kIommuTestCommand, sizeof(abi::TestCmd), abi::TestCmd::kMinSize,
                               run_test};
constexpr Command kHole{};
static_assert(sizeof(abi::TestCmd) <= ArgumentBytes::kLargest);

const Command* slot_of(u32 cmd, TestAbi test) {
  const u32 nr = cmd & 0xff;
  if (nr < kFirst) return nullptr;
  if (nr < kFirst + kCount) return &kTable[nr - kFirst];
  if (test == TestAbi::kOff || nr > kTestNumber) return nullptr;
  return nr == kTestNumber ? &kTestCommand : &kHole;
}

// The order of 1.3. An unknown number below the table's end still needs a readable `size`.
Result<s64> run_slot(const Host& host, Call& call, const Command& slot, u32 cmd, u64 arg) {
  const UserVa at{arg};
  ArgumentBytes bytes(call, at, std::max(slot.size, sizeof(u32)));
  const Result<u32> user_size = bytes.size();
  if (!user_size)
    return reject(Errno::kFault, {"argument", arg, "the struct cannot be read", "iommufd-core 1.3 row 3"});
  if (slot.run == nullptr || slot.code != cmd)
    return reject(Errno::kNoTty, {"command", cmd, "is not a command of /dev/iommu", "iommufd-core 1.3 row 4"});
  if (*user_size < slot.min_size)
    return reject(Errno::kInval,
                  {"size", *user_size, "is smaller than the smallest form of the struct", "iommufd-core 1.4"});
  return slot.run(host, call, at, *user_size, bytes);
}

}  // namespace

const char* IommuFile::command_name(u32 cmd) const {
  const Command* slot = slot_of(cmd, world_ == nullptr ? TestAbi::kOff : TestAbi::kOn);
  if (slot == nullptr) return vfio_container_command_name(cmd);
  return slot->code != cmd ? nullptr : slot->name;
}

Result<s64> IommuFile::ioctl(Call& call, u32 cmd, u64 arg) {
  // Allocation failures anywhere below are caught once, here: state changes go through guards.
  try {
    const Command* slot = slot_of(cmd, world_ == nullptr ? TestAbi::kOff : TestAbi::kOn);
    return slot == nullptr ? vfio_container_ioctl(*ctx_, call, cmd, arg)
                           : run_slot({ctx_, world_}, call, *slot, cmd, arg);
  } catch (const std::bad_alloc&) {
    return reject(Errno::kNoMem, {"memory", 0, "the host is out of memory", "iommufd-core 3.4 row 7"});
  } catch (const std::length_error&) {
    return reject(Errno::kNoMem, {"memory", 0, "the host is out of memory", "iommufd-core 3.4 row 7"});
  }
}

Result<u64> IommuFile::read(Call&, u64, UserVa, u64) { return Err(Errno::kInval); }
Result<u64> IommuFile::write(Call&, u64, UserVa, u64) { return Err(Errno::kInval); }

// Spec 1.12. No region is ever registered: none of our IOMMUs has a vIOMMU with one.
Result<void> IommuFile::mmap(Call&, const MmapRequest& request) {
  const int sharing = request.flags & MAP_TYPE;
  if (sharing != MAP_SHARED && sharing != MAP_SHARED_VALIDATE)
    return reject(Errno::kInval, {"flags", static_cast<u64>(request.flags), "must be MAP_SHARED", "iommufd-core 1.12"});
  if ((request.prot & PROT_EXEC) != 0)
    return reject(Errno::kPerm,
                  {"prot", static_cast<u64>(request.prot), "must not have PROT_EXEC", "iommufd-core 1.12"});
  return reject(Errno::kNxio, {"offset", request.offset, "no region starts there", "iommufd-core 1.12"});
}

}  // namespace iommufd::ioctl
