// SPDX-License-Identifier: BSD-3-Clause
// Operations of the test ABI on the stand-in for a dma-buf (spec selftest-abi 3.19).
#include "base/explain.hpp"
#include "ioctl/dma_buf_file.hpp"
#include "ioctl/iommu_test.hpp"
#include "selftest/buffer.hpp"

namespace iommufd::ioctl {

Result<s64> test_dmabuf_get(const TestCall& t) {
  const auto args = t.cmd().get<abi::TestDmabufGet>();
  Ref<selftest::Buffer> buffer = IOMMUFD_TRY(selftest::Buffer::create(args.length));
  const u64 size = buffer->size();
  return IOMMUFD_TRY(install_dma_buf(
      t.a.call(), make_ref<DmaBufFile>(DmaBufFile::Exporter::kTest, std::move(buffer), size, DmaBufFile::Ranges::kOne),
      args.open_flags));
}

Result<void> test_dmabuf_revoke(const TestCall& t) {
  const auto args = t.cmd().get<abi::TestDmabufRevoke>();
  const Ref<File> file = IOMMUFD_TRY(t.a.call().resolve(args.dmabuf_fd));
  DmaBufFile* buffer = file ? file->as_dma_buf() : nullptr;
  if (buffer == nullptr)
    return reject(Errno::kInval, {"dmabuf_fd", static_cast<u64>(args.dmabuf_fd), "must be a buffer of DMABUF_GET",
                                  "selftest-abi 3.19"});
  if (buffer->exporter() != DmaBufFile::Exporter::kTest)
    return reject(Errno::kOpNotSupp,
                  {"dmabuf_fd", static_cast<u64>(args.dmabuf_fd), "is a buffer of a VFIO device", "selftest-abi 3.19"});
  using Revoked = mem::RevocableSpace::Revoked;
  buffer->space()->revoke(args.revoked != 0 ? Revoked::kYes : Revoked::kNo);
  return {};
}

}  // namespace iommufd::ioctl
