// SPDX-License-Identifier: BSD-3-Clause
// Wire structs of IOMMU_TEST_CMD, the test ABI of the kernel's iommufd selftests (spec selftest-abi 1, 2). One struct of
// 72 bytes whose bytes 16 to 63 mean something else for each operation.
#pragma once

#include <array>
#include <cstring>

#include "abi/layout.hpp"
#include "base/types.hpp"

namespace iommufd::abi {

inline constexpr u32 kIommuTestCommand = 0x3BA0;

enum class TestOp : u32 {
  kAddReserved = 1,
  kMockDomain = 2,
  kMdCheckMap = 3,
  kMdCheckRefs = 4,
  kCreateAccess = 5,
  kDestroyAccessPages = 6,
  kAccessPages = 7,
  kAccessRw = 8,
  kSetTempMemoryLimit = 9,
  kMockDomainReplace = 10,
  kAccessReplaceIoas = 11,
  kMockDomainFlags = 12,
  kDirty = 13,
  kMdCheckIotlb = 14,
  kTriggerIopf = 15,
  kDevCheckCache = 16,
  kTriggerVevent = 17,
  kPasidAttach = 18,
  kPasidReplace = 19,
  kPasidDetach = 20,
  kPasidCheckHwpt = 21,
  kDmabufGet = 22,
  kDmabufRevoke = 23,
};

// Arguments of the operations: their offsets count from byte 16.
struct TestAddReserved {
  u64 start;
  u64 length;
};
struct TestMockDomain {  // also kMockDomainFlags
  u32 out_stdev_id;
  u32 out_hwpt_id;
  u32 out_idev_id;
  u32 dev_flags;  // kMockDomainFlags only
};
struct TestMdCheckMap {
  u64 iova;
  u64 length;
  u64 uptr;
};
struct TestMdCheckRefs {
  u64 length;
  u64 uptr;
  u32 refs;
  u32 pad;
};
struct TestCreateAccess {
  u32 out_access_fd;
  u32 flags;
  static constexpr u32 kNeedsPinPages = 1;
};
struct TestDestroyAccessPages {
  u32 access_pages_id;
};
struct TestAccessPages {
  u32 flags;
  u32 out_access_pages_id;
  u64 iova;
  u64 length;
  u64 uptr;
};
struct TestAccessRw {
  u64 iova;
  u64 length;
  u64 uptr;
  u32 flags;
  u32 pad;
};
// Flags of kAccessPages and kAccessRw. kSyz: the IOVA is {u32 nth area, u32 offset}.
inline constexpr u32 kTestWrite = 1, kTestSlowPath = 4, kTestSyz = 0x10000;
struct TestMemoryLimit {
  u32 limit;
};
struct TestMockDomainReplace {
  u32 pt_id;
};
struct TestAccessReplaceIoas {
  u32 ioas_id;
};
struct TestDirty {
  u32 flags;
  u32 pad;
  u64 iova;
  u64 length;
  u64 page_size;
  u64 uptr;
  u64 out_nr_dirty;
};
struct TestCheckCell {  // kMdCheckIotlb, kDevCheckCache
  u32 id;
  u32 value;
};
struct TestPasid {
  u32 pasid;
  u32 pt_id;  // kPasidCheckHwpt: hwpt_id; not of kPasidDetach
};
struct TestTriggerIopf {
  u32 dev_id;
  u32 pasid;
  u32 grpid;
  u32 perm;
  u64 addr;
};
struct TestTriggerVevent {
  u32 dev_id;
};
struct TestDmabufGet {
  u32 length;
  u32 open_flags;
};
struct TestDmabufRevoke {
  s32 dmabuf_fd;
  u32 revoked;
};

// struct iommu_test_cmd
struct TestCmd {
  u32 size;
  u32 op;
  u32 id;
  u32 reserved;  // never checked
  std::array<std::byte, 48> args;
  u32 last;
  u32 pad;
  static constexpr std::size_t kMinSize = 68;  // the end of `last`

  template <class T>
  [[nodiscard]] T get() const {
    static_assert(sizeof(T) <= sizeof(args));
    T t;
    std::memcpy(&t, args.data(), sizeof t);
    return t;
  }
  template <class T>
  void put(const T& t) {
    std::memcpy(args.data(), &t, sizeof t);
  }
};
IOMMUFD_OFFSET(TestCmd, op, 4);
IOMMUFD_OFFSET(TestCmd, id, 8);
IOMMUFD_OFFSET(TestCmd, args, 16);
IOMMUFD_OFFSET(TestCmd, last, 64);
IOMMUFD_WIRE_STRUCT(TestCmd, 72);
IOMMUFD_OFFSET(TestMockDomain, dev_flags, 12);
IOMMUFD_OFFSET(TestMdCheckRefs, refs, 16);
IOMMUFD_WIRE_STRUCT(TestMdCheckRefs, 24);
IOMMUFD_OFFSET(TestAccessPages, uptr, 24);
IOMMUFD_WIRE_STRUCT(TestAccessPages, 32);
IOMMUFD_OFFSET(TestAccessRw, flags, 24);
IOMMUFD_WIRE_STRUCT(TestAccessRw, 32);
IOMMUFD_OFFSET(TestDirty, iova, 8);
IOMMUFD_OFFSET(TestDirty, out_nr_dirty, 40);
IOMMUFD_WIRE_STRUCT(TestDirty, 48);
IOMMUFD_WIRE_STRUCT(TestTriggerIopf, 24);

}  // namespace iommufd::abi
