// SPDX-License-Identifier: BSD-3-Clause
// The heap of the fuzzers: refuses single allocations above 64 MiB with bad_alloc, as a machine that is short of memory
// would, instead of letting the sanitizer end the program.
#include <cstdlib>
#include <new>

namespace {
constexpr std::size_t kLargest = std::size_t{64} << 20;

void* allocate(std::size_t size) noexcept { return size > kLargest ? nullptr : std::malloc(size == 0 ? 1 : size); }
void* allocate(std::size_t size, std::align_val_t align) noexcept {
  const auto a = static_cast<std::size_t>(align);
  return size > kLargest ? nullptr : std::aligned_alloc(a, (size + a - 1) / a * a);
}
void* or_throw(void* p) {
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
}  // namespace

void* operator new(std::size_t size) { return or_throw(allocate(size)); }
void* operator new[](std::size_t size) { return or_throw(allocate(size)); }
void* operator new(std::size_t size, std::align_val_t align) { return or_throw(allocate(size, align)); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
