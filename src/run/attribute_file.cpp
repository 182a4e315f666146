// SPDX-License-Identifier: BSD-3-Clause
#include "run/attribute_file.hpp"

#include <algorithm>
#include <vector>

#include "base/explain.hpp"

namespace iommufd::run {

Reader reader_of(ioctl::Call& call) {
  return call.capable(mem::Capability::kSysAdmin) ? Reader::kPrivileged : Reader::kUnprivileged;
}

Result<s64> AttributeFile::ioctl(ioctl::Call&, u32, u64) { return Err(Errno::kNoTty); }

Result<u64> AttributeFile::read(ioctl::Call& call, u64 offset, UserVa buf, u64 count) {
  std::string fresh;
  const bool anew = offset == 0 || kind_ == Content::kBytes;
  if (anew) fresh = IOMMUFD_TRY(read_(reader_of(call)));
  std::string part;
  {
    const MutexLock lock(mu_);
    if (anew) content_ = std::move(fresh);
    if (offset < content_.size()) part = content_.substr(offset, count);
  }
  if (part.empty()) return 0;
  const std::size_t n = IOMMUFD_TRY(call.memory()->write_some(buf, std::as_bytes(std::span(part))));
  if (n == 0) return Err(Errno::kFault);
  return n;
}

Result<u64> AttributeFile::write(ioctl::Call& call, u64 offset, UserVa buf, u64 count) {
  // sysfs takes a page at most; the rest is the next write's.
  std::vector<std::byte> data(std::min<u64>(count, kPageSize));
  const std::size_t n = IOMMUFD_TRY(call.memory()->read_some(buf, data));
  if (n == 0 && count != 0) return Err(Errno::kFault);
  return write_({.data = std::string_view(reinterpret_cast<const char*>(data.data()), n), .offset = offset});
}

// A kernel with strict access to I/O memory refuses a BAR that a driver has claimed in the same way.
Result<void> AttributeFile::mmap(ioctl::Call&, const ioctl::MmapRequest& request) {
  if (kind_ != Content::kBar) return Err(Errno::kNoDev);
  return reject(Errno::kBusy,
                {"offset", request.offset, "a BAR is mapped through its VFIO device file", "vfio-device 17"});
}

}  // namespace iommufd::run
