// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/image_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

namespace iommufd::models::nvme {
namespace {

template <class... Args>
std::unexpected<ConfigError> wrong(const ImageRequest& request, fmt::format_string<Args...> text, Args&&... args) {
  return std::unexpected(
      ConfigError{fmt::format("nvme: file={}: {}", request.path, fmt::format(text, std::forward<Args>(args)...))});
}

Configured<Fd> open_file(const ImageRequest& request) {
  const bool read_only = request.protection == Protection::kReadOnly;
  Fd fd(::open(request.path.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK));
  if (fd.valid()) return fd;
  const int error = errno;
  if (error == ENOENT) return wrong(request, "no such file; create it with: truncate -s 64M {}", request.path);
  if (!read_only && (error == EACCES || error == EROFS || error == EPERM))
    return wrong(request, "it cannot be written ({}); give readonly=on, or permission", std::strerror(error));
  return wrong(request, "{}", std::strerror(error));
}

bool used_by_another(int error) { return error == EAGAIN || error == EACCES; }

std::unexpected<ConfigError> not_locked(const ImageRequest& request, int error) {
  if (used_by_another(error))
    return wrong(request, "another device or another run uses it; only readers (readonly=on) may share a file");
  return wrong(request, "it cannot be locked: {}", std::strerror(error));
}

// A lock of the open file: it goes with the last descriptor, however this process ends. That of a process which was killed
// with io_uring at work is given back by the kernel a moment after the process has gone.
Configured<void> lock(const ImageRequest& request, int fd) {
  constexpr std::chrono::milliseconds kPatience{1000}, kPause{5};
  struct flock whole{};
  whole.l_type = request.protection == Protection::kReadOnly ? F_RDLCK : F_WRLCK;
  whole.l_whence = SEEK_SET;
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (::fcntl(fd, F_OFD_SETLK, &whole) != 0) {
    const int error = errno;
    if (!used_by_another(error) || std::chrono::steady_clock::now() > end) return not_locked(request, error);
    std::this_thread::sleep_for(kPause);
  }
  return {};
}

Configured<u64> size_from(const ImageRequest& request, u64 bytes) {
  if (bytes == 0) return wrong(request, "it is empty; give a size, as in size=64M");
  const u64 unit = u64{request.block} * request.namespaces;
  if (bytes % unit != 0) {
    return wrong(request, "its size, {} bytes, is not a multiple of {} (bs={}, ns={}); give a size", bytes, unit,
                 request.block, request.namespaces);
  }
  return bytes / request.namespaces;
}

}  // namespace

Configured<Image> open_image(const ImageRequest& request) {
  auto fd = open_file(request);
  if (!fd) return std::unexpected(fd.error());
  struct stat info{};
  if (::fstat(fd->get(), &info) != 0) return wrong(request, "{}", std::strerror(errno));
  if (!S_ISREG(info.st_mode)) return wrong(request, "it is not a regular file");
  if (const auto locked = lock(request, fd->get()); !locked) return std::unexpected(locked.error());

  const u64 bytes = static_cast<u64>(info.st_size);
  if (!request.namespace_size) {
    const auto size = size_from(request, bytes);
    if (!size) return std::unexpected(size.error());
    return Image{std::move(*fd), *size};
  }
  const u64 wanted = *request.namespace_size * request.namespaces;
  if (bytes < wanted) {
    if (request.protection == Protection::kReadOnly)
      return wrong(request, "it has {} bytes, {} are asked for, and readonly=on forbids to extend it", bytes, wanted);
    if (::ftruncate(fd->get(), static_cast<off_t>(wanted)) != 0)
      return wrong(request, "it cannot be extended to {} bytes: {}", wanted, std::strerror(errno));
  }
  return Image{std::move(*fd), *request.namespace_size};
}

}  // namespace iommufd::models::nvme
