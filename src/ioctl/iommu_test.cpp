// SPDX-License-Identifier: BSD-3-Clause
#include "ioctl/iommu_test.hpp"

#include "base/explain.hpp"

namespace iommufd::ioctl {
namespace {

Result<void> run(const TestCall& t) {
  using enum abi::TestOp;
  switch (static_cast<abi::TestOp>(t.cmd().op)) {
    case kAddReserved: return test_add_reserved(t);
    case kMockDomain: return test_mock_domain(t, 0);
    case kMockDomainFlags: return test_mock_domain(t, t.cmd().get<abi::TestMockDomain>().dev_flags);
    case kMdCheckMap: return test_check_map(t);
    case kMdCheckRefs: return test_check_refs(t);
    case kCreateAccess: return test_create_access(t);
    case kDestroyAccessPages: return test_destroy_access_pages(t);
    case kAccessPages: return test_access_pages(t);
    case kAccessRw: return test_access_rw(t);
    case kSetTempMemoryLimit: return t.world.set_memory_limit(t.cmd().get<abi::TestMemoryLimit>().limit);
    case kMockDomainReplace: return test_mock_domain_replace(t);
    case kAccessReplaceIoas: return test_access_replace_ioas(t);
    case kDirty: return test_dirty(t);
    // No HWPT is nested.
    case kMdCheckIotlb: return reject(Errno::kNoEnt, {"id", t.cmd().id, "must be a nested HWPT", "selftest-abi 3.13"});
    case kTriggerIopf: return test_trigger_iopf(t);
    case kDevCheckCache: return test_check_cache(t);
    case kTriggerVevent: return test_trigger_vevent(t);
    case kPasidAttach: return test_pasid_attach(t);
    case kPasidReplace: return test_pasid_replace(t);
    case kPasidDetach: return test_pasid_detach(t);
    case kPasidCheckHwpt: return test_pasid_check_hwpt(t);
    case kDmabufRevoke: return test_dmabuf_revoke(t);
    case kDmabufGet: break;  // has a value
  }
  return reject(Errno::kOpNotSupp, {"op", t.cmd().op, "unknown operation", "selftest-abi 1"});
}

}  // namespace

Result<s64> test_command(const TestCall& t) {
  if (t.cmd().op == static_cast<u32>(abi::TestOp::kDmabufGet)) return test_dmabuf_get(t);
  IOMMUFD_TRY(run(t));
  return 0;
}

}  // namespace iommufd::ioctl
