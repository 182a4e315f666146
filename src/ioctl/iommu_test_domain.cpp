// SPDX-License-Identifier: BSD-3-Clause
// Operations of the test ABI on mock devices and their domains (spec selftest-abi 3.1 to 3.5, 3.12 to 3.18). Check order
// is ABI.
#include <vector>

#include "base/explain.hpp"
#include "base/rollback.hpp"
#include "core/hwpt.hpp"
#include "core/ioas.hpp"
#include "ioctl/iommu_test.hpp"
#include "selftest/mock_device.hpp"
#include "selftest/page_checks.hpp"

namespace iommufd::ioctl {
namespace {

using selftest::MockDevice;

Result<core::Use<MockDevice>> find_stdev(const TestCall& t) {
  Result<core::Use<MockDevice>> stdev = t.ctx->get<MockDevice>(t.id());
  if (!stdev) return reject(Errno::kNoEnt, {"id", t.cmd().id, "must be a mock device", "selftest-abi 3.3"});
  return stdev;
}

Result<core::Use<core::HwptPaging>> find_mock_hwpt(const TestCall& t) {
  Result<core::Use<core::HwptPaging>> hwpt = t.ctx->get<core::HwptPaging>(t.id());
  if (!hwpt) return reject(Errno::kNoEnt, {"id", t.cmd().id, "must be a paging HWPT", "selftest-abi 3.4"});
  return hwpt;
}

Result<core::Use<core::Device>> find_device(const TestCall& t, u32 id) {
  Result<core::Use<core::Device>> device = t.ctx->get<core::Device>(ObjectId{id});
  if (!device) return reject(Errno::kNoEnt, {"dev_id", id, "must be a bound device", "selftest-abi 3.14"});
  return device;
}

}  // namespace

Result<void> test_add_reserved(const TestCall& t) {
  const auto args = t.cmd().get<abi::TestAddReserved>();
  u64 last = 0;
  if (args.length == 0) return reject(Errno::kInval, {"length", 0, "must not be 0", "selftest-abi 3.1"});
  if (__builtin_add_overflow(args.start, args.length - 1, &last))
    return reject(Errno::kOverflow, {"start", args.start, "start + length wraps", "selftest-abi 3.1"});
  const Result<core::Use<core::Ioas>> ioas = t.ctx->get<core::Ioas>(t.id());
  if (!ioas) return reject(Errno::kNoEnt, {"id", t.cmd().id, "must be an IOAS", "selftest-abi 3.1"});
  return (*ioas)->reserve({{args.start, last}}, ioas->get());  // its own: for ever
}

Result<void> test_mock_domain(const TestCall& t, u32 dev_flags) {
  core::NewObject<MockDevice> stdev = IOMMUFD_TRY(core::make_object<MockDevice>(*t.ctx));
  const ObjectId hwpt = IOMMUFD_TRY(stdev->start(t.ctx, t.world.iommu(), dev_flags, t.id()));
  auto args = t.cmd().get<abi::TestMockDomain>();
  args.out_stdev_id = std::to_underlying(stdev.id());
  args.out_hwpt_id = std::to_underlying(hwpt);
  args.out_idev_id = std::to_underlying(stdev->device().id());
  t.cmd().put(args);
  IOMMUFD_TRY(t.a.reply());
  stdev.publish();
  return {};
}

Result<void> test_mock_domain_replace(const TestCall& t) {
  const core::Use<MockDevice> stdev = IOMMUFD_TRY(find_stdev(t));
  auto args = t.cmd().get<abi::TestMockDomainReplace>();
  args.pt_id = std::to_underlying(IOMMUFD_TRY(stdev->device().replace(core::kRid, ObjectId{args.pt_id})));
  t.cmd().put(args);
  return t.a.reply();
}

Result<void> test_check_map(const TestCall& t) {
  const auto args = t.cmd().get<abi::TestMdCheckMap>();
  const core::Use<core::HwptPaging> hwpt = IOMMUFD_TRY(find_mock_hwpt(t));
  return selftest::check_map(t.world.platform().phys(), t.world.walker(), *hwpt, args.iova, args.length,
                             *t.a.call().memory(), args.uptr);
}

Result<void> test_check_refs(const TestCall& t) {
  const auto args = t.cmd().get<abi::TestMdCheckRefs>();
  return selftest::check_refs(t.world.platform().phys(), args.length, *t.a.call().memory(), args.uptr, args.refs);
}

Result<void> test_dirty(const TestCall& t) {
  constexpr const char* kSection = "selftest-abi 3.12";
  constexpr u64 kMaxBytes = u64{1} << 32;  // of bitmap: more than an IOAS of mock pages needs
  auto args = t.cmd().get<abi::TestDirty>();
  if (args.page_size == 0 || args.length == 0 || args.iova % args.page_size != 0 || args.length % args.page_size != 0 ||
      args.uptr == 0)
    return reject(Errno::kInval, {"page_size", args.page_size,
                                  "iova and length must be multiples of page_size, and nothing may be 0", kSection});
  const core::Use<core::HwptPaging> hwpt = IOMMUFD_TRY(find_mock_hwpt(t));
  const iommu::Domain& domain = hwpt->domain();
  if (domain.owner().kind() != iommu::Kind::kMock || !domain.tracks_dirty())
    return reject(Errno::kInval, {"id", t.cmd().id, "must be a mock domain that tracks dirty pages", kSection});
  const u64 bits = args.length / args.page_size;
  if (div_round_up(bits, 8) > kMaxBytes) return Err(Errno::kNoMem);
  std::vector<std::byte> bitmap(div_round_up(bits, 8));
  IOMMUFD_TRY(t.a.call().memory()->read(UserVa{args.uptr}, bitmap));
  args.out_nr_dirty = 0;
  for (u64 i = 0; i < bits; ++i) {
    if ((bitmap[i / 8] & static_cast<std::byte>(1u << (i % 8))) == std::byte{0}) continue;
    const mem::DmaEpoch::Transaction walking(t.world.walker());
    // What is not mapped stays clean, and counts.
    static_cast<void>(domain.table().set_dirty(Iova{args.iova + i * args.page_size}));
    ++args.out_nr_dirty;
  }
  t.cmd().put(args);
  return t.a.reply();
}

Result<void> test_check_cache(const TestCall& t) {
  const auto args = t.cmd().get<abi::TestCheckCell>();
  const core::Use<core::Device> device = IOMMUFD_TRY(find_device(t, t.cmd().id));
  const MockDevice* mock = MockDevice::of(device->physical());
  if (mock == nullptr || args.id >= MockDevice::kCacheCells || mock->cache(args.id) != args.value)
    return reject(Errno::kInval, {"cache", args.value, "is not what the cell holds", "selftest-abi 3.14"});
  return {};
}

// No HWPT has a fault queue: nobody takes the fault, and that is success.
Result<void> test_trigger_iopf(const TestCall& t) {
  IOMMUFD_TRY(find_device(t, t.cmd().get<abi::TestTriggerIopf>().dev_id));
  return {};
}

// No device is attached to a nested HWPT of a vIOMMU.
Result<void> test_trigger_vevent(const TestCall& t) {
  const u32 id = t.cmd().get<abi::TestTriggerVevent>().dev_id;
  IOMMUFD_TRY(find_device(t, id));
  return reject(Errno::kNoEnt, {"dev_id", id, "must be attached to a HWPT of a vIOMMU", "selftest-abi 3.16"});
}

Result<void> test_pasid_attach(const TestCall& t) {
  const core::Use<MockDevice> stdev = IOMMUFD_TRY(find_stdev(t));
  auto args = t.cmd().get<abi::TestPasid>();
  args.pt_id = std::to_underlying(IOMMUFD_TRY(stdev->device().attach(args.pasid, ObjectId{args.pt_id})));
  Rollback detach{[&] { stdev->device().detach(args.pasid); }};
  t.cmd().put(args);
  IOMMUFD_TRY(t.a.reply());
  detach.commit();
  return {};
}

Result<void> test_pasid_replace(const TestCall& t) {
  const core::Use<MockDevice> stdev = IOMMUFD_TRY(find_stdev(t));
  auto args = t.cmd().get<abi::TestPasid>();
  args.pt_id = std::to_underlying(IOMMUFD_TRY(stdev->device().replace(args.pasid, ObjectId{args.pt_id})));
  t.cmd().put(args);
  return t.a.reply();
}

Result<void> test_pasid_detach(const TestCall& t) {
  const core::Use<MockDevice> stdev = IOMMUFD_TRY(find_stdev(t));
  stdev->device().detach(t.cmd().get<abi::TestPasid>().pasid);
  return {};
}

Result<void> test_pasid_check_hwpt(const TestCall& t) {
  constexpr const char* kSection = "selftest-abi 3.18";
  const auto args = t.cmd().get<abi::TestPasid>();
  const core::Use<MockDevice> stdev = IOMMUFD_TRY(find_stdev(t));
  core::Use<core::Object> hwpt;
  if (args.pt_id != 0) {
    Result<core::Use<core::Object>> found = t.ctx->get_any(ObjectId{args.pt_id});
    if (!found) return reject(Errno::kNoEnt, {"hwpt_id", args.pt_id, "no such object", kSection});
    if ((*found)->type() != core::ObjectType::kHwptPaging)
      return reject(Errno::kInval, {"hwpt_id", args.pt_id, "must be a HWPT", kSection});
    hwpt = std::move(*found);
  }
  if (!stdev->uses(args.pasid, static_cast<const core::HwptPaging*>(hwpt.get())))
    return reject(Errno::kInval, {"hwpt_id", args.pt_id, "is not what the PASID uses", kSection});
  return {};
}

}  // namespace iommufd::ioctl
