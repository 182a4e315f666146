// SPDX-License-Identifier: BSD-3-Clause
// Operations of the test ABI on accesses (spec selftest-abi 3.6 to 3.10, 3.20). Check order is ABI.
#include <vector>

#include "base/explain.hpp"
#include "base/rollback.hpp"
#include "core/ioas.hpp"
#include "ioctl/iommu_test.hpp"
#include "ioctl/test_files.hpp"
#include "selftest/page_checks.hpp"

namespace iommufd::ioctl {
namespace {

constexpr u64 kMaxLength = u64{16} << 20;

// The access behind the descriptor number `id`. The file keeps it alive.
Result<Ref<File>> find_access(const TestCall& t) {
  Result<Ref<File>> file = t.a.call().resolve(static_cast<int>(t.cmd().id));
  if (!file || !*file || (*file)->as_access() == nullptr)
    return reject(Errno::kBadFd, {"id", t.cmd().id, "must be the descriptor of an access", "selftest-abi 3.7"});
  return file;
}

Result<void> check_length(u64 length) {
  if (length > kMaxLength)
    return reject(Errno::kNoMem, {"length", length, "must be at most 16 MiB", "selftest-abi 3.7 row 1"});
  return {};
}

Result<void> check_flags(u32 flags, u32 known) {
  if ((flags & ~known) != 0)
    return reject(Errno::kOpNotSupp, {"flags", flags, "unknown bits", "selftest-abi 3.7 row 2"});
  return {};
}

Access wanted(u32 flags) { return (flags & abi::kTestWrite) != 0 ? Access::kWrite : Access::kRead; }

u64 iova_of(core::IoasAccess& access, u32 flags, u64 iova) {
  if ((flags & abi::kTestSyz) == 0) return iova;
  return access.nth_iova(static_cast<u32>(iova), iova >> 32);
}

}  // namespace

Result<void> test_create_access(const TestCall& t) {
  abi::TestCreateAccess args = t.cmd().get<abi::TestCreateAccess>();
  IOMMUFD_TRY(check_flags(args.flags, abi::TestCreateAccess::kNeedsPinPages));
  const core::Pinning pinning =
      (args.flags & abi::TestCreateAccess::kNeedsPinPages) != 0 ? core::Pinning::kAllowed : core::Pinning::kNever;
  Ref<AccessFile> file = make_ref<AccessFile>(IOMMUFD_TRY(selftest::AccessItems::create(t.ctx, pinning)));
  Rollback close{[&] { file->release(); }};
  IOMMUFD_TRY(file->items().access().attach(t.id()));
  // A descriptor that was given cannot be taken back: so find out first whether its number can be told.
  IOMMUFD_TRY(t.a.reply());
  close.commit();
  const Result<int> fd = t.a.call().install(file, "anon_inode:[iommufd_test_staccess]", CloseOnExec::kYes);
  if (!fd) return reject(Errno::kNoMem, {"fd", 0, "no descriptor is left", "selftest-abi 3.6 row 3"});
  args.out_access_fd = static_cast<u32>(*fd);
  t.cmd().put(args);
  return t.a.reply();
}

Result<void> test_destroy_access_pages(const TestCall& t) {
  const Ref<File> file = IOMMUFD_TRY(find_access(t));
  return file->as_access()->items().unpin(t.cmd().get<abi::TestDestroyAccessPages>().access_pages_id);
}

Result<void> test_access_pages(const TestCall& t) {
  abi::TestAccessPages args = t.cmd().get<abi::TestAccessPages>();
  IOMMUFD_TRY(check_length(args.length));
  IOMMUFD_TRY(check_flags(args.flags, abi::kTestWrite | abi::kTestSyz));
  const Ref<File> file = IOMMUFD_TRY(find_access(t));
  selftest::AccessItems& items = file->as_access()->items();
  if (items.access().pinning() != core::Pinning::kAllowed)
    return reject(Errno::kOpNotSupp,
                  {"id", t.cmd().id, "the access was made without NEEDS_PIN_PAGES", "selftest-abi 3.7"});
  const u64 iova = iova_of(items.access(), args.flags, args.iova);
  const Ref<mem::AddressSpace> memory = t.a.call().memory();
  const auto check = [&](std::span<const PhysAddr> frames) -> Result<void> {
    if (args.uptr == 0) return {};
    return selftest::check_frames(t.world.platform().phys(), frames, *memory, args.uptr - (iova & kPageMask));
  };
  args.out_access_pages_id = IOMMUFD_TRY(items.pin(iova, args.length, wanted(args.flags), check));
  // Somebody may have unmapped the item meanwhile; then there is nothing to undo.
  Rollback unpin{[&] { static_cast<void>(items.unpin(args.out_access_pages_id)); }};
  t.cmd().put(args);
  IOMMUFD_TRY(t.a.reply());
  unpin.commit();
  return {};
}

Result<void> test_access_rw(const TestCall& t) {
  const auto args = t.cmd().get<abi::TestAccessRw>();
  IOMMUFD_TRY(check_length(args.length));
  IOMMUFD_TRY(check_flags(args.flags, abi::kTestWrite | abi::kTestSlowPath | abi::kTestSyz));
  const Ref<File> file = IOMMUFD_TRY(find_access(t));
  core::IoasAccess& access = file->as_access()->items().access();
  const Ref<mem::AddressSpace> memory = t.a.call().memory();
  // The slow path is that of a kernel thread: nobody's memory is its own.
  mem::AddressSpace* caller = (args.flags & abi::kTestSlowPath) != 0 ? nullptr : memory.get();
  std::vector<std::byte> bytes(args.length);
  if (wanted(args.flags) == Access::kWrite) {
    IOMMUFD_TRY(memory->read(UserVa{args.uptr}, bytes));
    return access.write(iova_of(access, args.flags, args.iova), bytes, caller);
  }
  IOMMUFD_TRY(access.read(iova_of(access, args.flags, args.iova), bytes, caller));
  return memory->write(UserVa{args.uptr}, bytes);
}

Result<void> test_access_replace_ioas(const TestCall& t) {
  const Ref<File> file = IOMMUFD_TRY(find_access(t));
  return file->as_access()->items().access().replace(ObjectId{t.cmd().get<abi::TestAccessReplaceIoas>().ioas_id});
}

}  // namespace iommufd::ioctl
