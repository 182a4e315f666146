// SPDX-License-Identifier: BSD-3-Clause
#include "host/bars.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace iommufd::host {
namespace {

template <class T>
u64 load(const std::byte* at) {
  return *reinterpret_cast<const volatile T*>(at);
}
template <class T>
void store(std::byte* at, u64 value) {
  *reinterpret_cast<volatile T*>(at) = static_cast<T>(value);
}

}  // namespace

Result<Bars> Bars::open(const std::string& directory, const std::array<pci::BarSpec, pci::kBarCount>& specs) {
  Bars out;
  for (u32 i = 0; i < pci::kBarCount; ++i) {
    if (specs[i].kind == pci::BarKind::kNone) continue;
    const std::string path = fmt::format("{}/resource{}", directory, i);
    Bar& bar = out.bars_[i];
    bar.file = Fd(IOMMUFD_TRY(sys::check(::open(path.c_str(), O_RDWR | O_SYNC | O_CLOEXEC))));
    if (specs[i].kind == pci::BarKind::kIo) continue;
    const u64 pages = (specs[i].size + kPageMask) & ~kPageMask;
    bar.memory = IOMMUFD_TRY(sys::Mapping::map(bar.file.get(), 0, pages, Access::kReadWrite));
  }
  return out;
}

u64 Bars::read(u32 bar, u64 offset, u32 size) const {
  const Bar& b = bars_[bar];
  if (b.memory.bytes().empty()) {
    u64 value = ~u64{0};
    if (size == 8) return read(bar, offset, 4) | read(bar, offset + 4, 4) << 32;
    if (::pread(b.file.get(), &value, size, static_cast<off_t>(offset)) != static_cast<ssize_t>(size)) value = ~u64{0};
    return value & ~u64{0} >> (64 - 8 * size);
  }
  const std::byte* at = b.memory.bytes().data() + offset;
  switch (size) {
    case 1: return load<u8>(at);
    case 2: return load<u16>(at);
    case 4: return load<u32>(at);
    default: return load<u64>(at);
  }
}

void Bars::write(u32 bar, u64 offset, u32 size, u64 value) const {
  const Bar& b = bars_[bar];
  if (b.memory.bytes().empty()) {
    if (size == 8) {
      write(bar, offset, 4, value & ~u32{0});
      return write(bar, offset + 4, 4, value >> 32);
    }
    [[maybe_unused]] const ssize_t n = ::pwrite(b.file.get(), &value, size, static_cast<off_t>(offset));
    return;
  }
  std::byte* at = b.memory.bytes().data() + offset;
  switch (size) {
    case 1: return store<u8>(at, value);
    case 2: return store<u16>(at, value);
    case 4: return store<u32>(at, value);
    default: return store<u64>(at, value);
  }
}

}  // namespace iommufd::host
