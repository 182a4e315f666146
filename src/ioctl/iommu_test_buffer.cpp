// SPDX-License-Identifier: BSD-3-Clause
// Operations of the test ABI on the stand-in for a dma-buf (spec selftest-abi 3.19).
#include <fcntl.h>

#include "base/explain.hpp"
#include "ioctl/iommu_test.hpp"
#include "ioctl/test_files.hpp"

namespace iommufd::ioctl {

Result<s64> test_dmabuf_get(const TestCall& t) {
  const auto args = t.cmd().get<abi::TestDmabufGet>();
  Ref<BufferFile> file = make_ref<BufferFile>(IOMMUFD_TRY(selftest::Buffer::create(args.length)));
  const CloseOnExec close_on_exec = (args.open_flags & O_CLOEXEC) != 0 ? CloseOnExec::kYes : CloseOnExec::kNo;
  return IOMMUFD_TRY(t.a.call().install(std::move(file), "/dmabuf:", close_on_exec));
}

Result<void> test_dmabuf_revoke(const TestCall& t) {
  const auto args = t.cmd().get<abi::TestDmabufRevoke>();
  const Ref<File> file = IOMMUFD_TRY(t.a.call().resolve(args.dmabuf_fd));
  BufferFile* buffer = file ? file->as_buffer() : nullptr;
  if (buffer == nullptr)
    return reject(Errno::kInval, {"dmabuf_fd", static_cast<u64>(args.dmabuf_fd), "must be a buffer of DMABUF_GET",
                                  "selftest-abi 3.19"});
  using Revoked = mem::RevocableSpace::Revoked;
  buffer->buffer()->revoke(args.revoked != 0 ? Revoked::kYes : Revoked::kNo);
  return {};
}

}  // namespace iommufd::ioctl
