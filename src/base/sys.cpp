// SPDX-License-Identifier: BSD-3-Clause
#include "base/sys.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <utility>

namespace iommufd::sys {

Result<Fd> make_sealed_memfd(const char* name, u64 size) {
  Fd fd(IOMMUFD_TRY(check(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING))));
  IOMMUFD_TRY(ok(::ftruncate(fd.get(), static_cast<off_t>(size))));
  IOMMUFD_TRY(ok(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)));
  return fd;
}

Result<Mapping> Mapping::map(int fd, u64 offset, u64 size, Access access) {
  const int prot = (allows(access, Access::kRead) ? PROT_READ : 0) | (allows(access, Access::kWrite) ? PROT_WRITE : 0);
  void* p = ::mmap(nullptr, size, prot, MAP_SHARED | MAP_NORESERVE, fd, static_cast<off_t>(offset));
  if (p == MAP_FAILED) return Err(last_errno());
  Mapping m;
  m.bytes_ = {static_cast<std::byte*>(p), size};
  return m;
}

Result<Mapping> Mapping::anonymous(u64 size) {
  void* p = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return Err(last_errno());
  Mapping m;
  m.bytes_ = {static_cast<std::byte*>(p), size};
  return m;
}

Mapping::Mapping(Mapping&& o) noexcept : bytes_(std::exchange(o.bytes_, {})) {}

Mapping& Mapping::operator=(Mapping&& o) noexcept {
  std::swap(bytes_, o.bytes_);
  return *this;
}

Mapping::~Mapping() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

Result<void> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    bytes.remove_prefix(static_cast<std::size_t>(IOMMUFD_TRY(check(n))));
  }
  return {};
}

Result<std::string> read_file(const std::string& path) {
  const Fd fd(IOMMUFD_TRY(check(::open(path.c_str(), O_RDONLY | O_CLOEXEC))));
  std::string out;
  std::array<char, 4096> buf;
  for (;;) {
    const ssize_t n = IOMMUFD_TRY(check(::read(fd.get(), buf.data(), buf.size())));
    if (n == 0) return out;
    out.append(buf.data(), static_cast<std::size_t>(n));
  }
}

Result<std::string> read_link(const std::string& path) {
  std::array<char, 4096> buf;
  const ssize_t n = IOMMUFD_TRY(check(::readlink(path.c_str(), buf.data(), buf.size())));
  return std::string(buf.data(), static_cast<std::size_t>(n));
}

}  // namespace iommufd::sys
