// SPDX-License-Identifier: BSD-3-Clause
// IOMMU_TEST_CMD (spec selftest-abi). The handlers of its operations, by what they are about; iommu_test.cpp chooses.
#pragma once

#include "abi/iommufd_test.hpp"
#include "core/context.hpp"
#include "ioctl/arguments.hpp"
#include "selftest/world.hpp"

namespace iommufd::ioctl {

struct TestCall {
  Ref<core::Context> ctx;
  selftest::World& world;
  Arguments<abi::TestCmd>& a;

  [[nodiscard]] abi::TestCmd& cmd() const { return a.cmd; }
  [[nodiscard]] ObjectId id() const { return ObjectId{a.cmd.id}; }
};

// The value of the ioctl. Errors: those of the operation; kOpNotSupp for an unknown one.
Result<s64> test_command(const TestCall& t);

// iommu_test_domain.cpp: mock devices and domains (3.1 to 3.5, 3.12 to 3.18).
Result<void> test_add_reserved(const TestCall& t);
Result<void> test_mock_domain(const TestCall& t, u32 dev_flags);
Result<void> test_mock_domain_replace(const TestCall& t);
Result<void> test_check_map(const TestCall& t);
Result<void> test_check_refs(const TestCall& t);
Result<void> test_dirty(const TestCall& t);
Result<void> test_check_cache(const TestCall& t);
Result<void> test_trigger_iopf(const TestCall& t);
Result<void> test_trigger_vevent(const TestCall& t);
Result<void> test_pasid_attach(const TestCall& t);
Result<void> test_pasid_replace(const TestCall& t);
Result<void> test_pasid_detach(const TestCall& t);
Result<void> test_pasid_check_hwpt(const TestCall& t);

// iommu_test_access.cpp: accesses (3.6 to 3.10).
Result<void> test_create_access(const TestCall& t);
Result<void> test_destroy_access_pages(const TestCall& t);
Result<void> test_access_pages(const TestCall& t);
Result<void> test_access_rw(const TestCall& t);
Result<void> test_access_replace_ioas(const TestCall& t);

// iommu_test_buffer.cpp: the stand-in for a dma-buf (3.19). Returns the descriptor.
Result<s64> test_dmabuf_get(const TestCall& t);
Result<void> test_dmabuf_revoke(const TestCall& t);

}  // namespace iommufd::ioctl
