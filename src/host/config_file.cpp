// SPDX-License-Identifier: BSD-3-Clause
#include "host/config_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>

#include "base/assert.hpp"
#include "base/sys.hpp"
#include "pci/config_registers.hpp"

namespace iommufd::host {
namespace {

namespace reg = pci::reg;

// Does a write of [offset, offset + width) reach the byte?
constexpr bool reaches(u32 offset, u32 width, u32 byte) { return byte >= offset && byte < offset + width; }

}  // namespace

Result<std::unique_ptr<ConfigFile>> ConfigFile::open(const std::string& path) {
  Fd fd(IOMMUFD_TRY(sys::check(::open(path.c_str(), O_RDWR | O_CLOEXEC))));
  struct stat st{};
  IOMMUFD_TRY(sys::ok(::fstat(fd.get(), &st)));
  const u32 size = st.st_size >= reg::kExtendedConfigSize ? reg::kExtendedConfigSize : reg::kConfigSize;
  std::unique_ptr<ConfigFile> config(new ConfigFile(std::move(fd), size));
  u8 last = 0;
  if (::pread(config->fd_.get(), &last, 1, reg::kConfigSize - 1) != 1) return Err(Errno::kInval);
  config->find_capabilities();
  return config;
}

void ConfigFile::find_capabilities() {
  constexpr int kMost = 48;  // more do not fit
  if ((read(reg::kStatus, 2) & reg::kStatusCapList) != 0) {
    u32 at = read(reg::kCapPointer, 1) & ~u32{3};
    for (int i = 0; at >= reg::kCapStart && i < kMost; ++i, at = read(at + 1, 1) & ~u32{3})
      capabilities_.push_back({static_cast<u16>(read(at, 1)), at, 0});
  }
  constexpr int kMostExtended = (4096 - 256) / 8;
  if (size_ > reg::kConfigSize) {
    u32 at = reg::kExtendedStart;
    for (int i = 0; at >= reg::kExtendedStart && i < kMostExtended; ++i) {
      const u32 header = read(at, 4);
      if (header == 0 || header == ~u32{0}) break;
      extended_.push_back({static_cast<u16>(header), at, 0});
      at = header >> 20 & ~u32{3};
    }
  }
  // A capability of unknown length reaches to the next one above it, wherever that is in the list.
  const auto measure = [](std::vector<Capability>& list, u32 end) {
    for (Capability& cap : list) {
      cap.length = end - cap.start;
      for (const Capability& other : list)
        if (other.start > cap.start) cap.length = std::min(cap.length, other.start - cap.start);
    }
  };
  measure(capabilities_, reg::kConfigSize);
  measure(extended_, reg::kExtendedConfigSize);
  for (Capability& cap : capabilities_) cap.length = std::min(cap.length, known_length(cap));
  for (Capability& cap : extended_) cap.length = std::min(cap.length, known_extended_length(cap));
}

u32 ConfigFile::known_length(const Capability& cap) const {
  switch (cap.id) {
    case reg::kCapPm: return reg::kPmSize;
    case reg::kCapMsi: {
      const u32 flags = read(cap.start + reg::kMsiFlags, 2);
      return (flags & reg::kMsiMaskable) != 0 ? reg::msi_mask(flags) + 8 : reg::msi_data(flags) + 2;
    }
    case reg::kCapMsix: return reg::kMsixSize;
    case reg::kCapPcie:
      return (read(cap.start + reg::kPcieFlags, 2) & reg::kPcieVersion) < 2 ? reg::kPcieSize1 : reg::kPcieSize;
    case reg::kCapAf: return reg::kAfSize;
    case reg::kCapVendorSpecific: return std::max(read(cap.start + 2, 1), u32{3});
    default: return cap.length;
  }
}

// What is behind a capability belongs to none: there a client reads and writes the hardware (spec vfio-device 10).
u32 ConfigFile::known_extended_length(const Capability& cap) {
  switch (cap.id) {
    case reg::kExtAer: return reg::kAerSize;
    case reg::kExtSerialNumber: return reg::kSerialNumberSize;
    case reg::kExtPowerBudget: return reg::kPowerBudgetSize;
    case reg::kExtAri: return reg::kAriSize;
    case reg::kExtAts: return reg::kAtsSize;
    case reg::kExtPri: return reg::kPriSize;
    case reg::kExtSriov: return reg::kSriovSize;
    case reg::kExtLtr: return reg::kLtrSize;
    default: return cap.length;
  }
}

u32 ConfigFile::read(u32 offset, u32 width) const {
  IOMMUFD_ASSERT(offset % width == 0 && offset + width <= size_);
  u32 value = ~u32{0};
  if (::pread(fd_.get(), &value, width, offset) != static_cast<ssize_t>(width)) return ~u32{0} >> (32 - 8 * width);
  return value & ~u32{0} >> (32 - 8 * width);
}

void ConfigFile::put(u32 offset, u32 width, u32 value) {
  // A function that does not take it shows that at the next read.
  [[maybe_unused]] const ssize_t n = ::pwrite(fd_.get(), &value, width, offset);
}

// The value with what becomes of the bit that enables messages, if the write reaches it.
u32 ConfigFile::guard_messages(pci::MessageKind kind, u32 offset, u32 width, u32 value) {
  const bool msi = kind == pci::MessageKind::kMsi;
  const auto capability = find(msi ? reg::kCapMsi : reg::kCapMsix);
  if (!capability) return value;
  const u32 byte = *capability + (msi ? reg::kMsiFlags : reg::kMsixControl + 1);
  const u32 bit = msi ? reg::kMsiEnable : reg::kMsixEnable >> 8;
  if (!reaches(offset, width, byte)) return value;
  const u32 shift = 8 * (byte - offset), now = read(byte, 1);
  if (messages_are_served_) return (value & ~(0xffU << shift)) | now << shift;
  const bool goes_on = (value >> shift & bit) != 0 && (now & bit) == 0;
  return goes_on && !set_up_messages_(kind) ? value & ~(bit << shift) : value;
}

void ConfigFile::write(u32 offset, u32 width, u32 value) {
  IOMMUFD_ASSERT(offset % width == 0 && offset + width <= size_);
  value = guard_messages(pci::MessageKind::kMsi, offset, width, value);
  value = guard_messages(pci::MessageKind::kMsix, offset, width, value);
  if (!reaches(offset, width, reg::kCommand)) return write_command(offset, width, value);
  const u32 bit = u32{reg::kCommandMaster} << (8 * (reg::kCommand - offset));
  const bool was_on = (command() & reg::kCommandMaster) != 0, on = (value & bit) != 0;
  if (on && !was_on && !master_watch_(true)) value &= ~bit;
  write_command(offset, width, value);
  if (!on && was_on) master_watch_(false);
}

// Of the command register, the byte that has INTx Disable is special; the rest of a write is none of this one's business.
void ConfigFile::write_command(u32 offset, u32 width, u32 value) {
  constexpr u32 kByte = reg::kCommand + 1, kBit = reg::kCommandIntxDisable >> 8;
  if (!reaches(offset, width, kByte)) return put(offset, width, value);
  if (!intx_is_served_) return put(offset, width, value | kBit << (8 * (kByte - offset)));
  if (offset < kByte) put(offset, 1, value & 0xff);
  if (width == 4) put(reg::kStatus, 2, value >> 16);
}

std::vector<u8> ConfigFile::bytes() const {
  std::vector<u8> out(size_, 0xff);
  for (u32 done = 0; done < size_;) {
    const ssize_t n = ::pread(fd_.get(), out.data() + done, size_ - done, done);
    if (n <= 0) break;
    done += static_cast<u32>(n);
  }
  return out;
}

void ConfigFile::restore(std::span<const u8> saved) {
  IOMMUFD_ASSERT(saved.size() == size_);
  const auto put_back = [&](u32 offset, u32 width) {
    u32 value = 0;
    for (u32 i = 0; i < width; ++i) value |= u32{saved[offset + i]} << (8 * i);
    if (read(offset, width) != value) write(offset, width, value);
  };
  if (const auto msi = find(reg::kCapMsi)) put_back(*msi + reg::kMsiFlags, 2);
  if (const auto msix = find(reg::kCapMsix)) put_back(*msix + reg::kMsixControl, 2);
  for (u32 bar = reg::kBar0; bar < reg::kCis; bar += 4) put_back(bar, 4);
  for (const u32 byte : {reg::kCacheLine, reg::kLatency, reg::kInterruptLine}) put_back(byte, 1);
  put_back(reg::kCommand, 2);
}

// D3hot to D0 takes 10 ms (PM 1.2, 5.4), which the next access must not meet.
void ConfigFile::set_power(pci::PowerState state) {
  constexpr std::chrono::milliseconds kRecovery{10};
  const auto pm = find(reg::kCapPm);
  if (!pm || power() == state) return;
  const u32 rest = read(*pm + reg::kPmControl, 2) & ~u32{reg::kPmState};
  put(*pm + reg::kPmControl, 2, rest | (state == pci::PowerState::kD3hot ? reg::kPmD3hot : reg::kPmD0));
  std::this_thread::sleep_for(kRecovery);
}

}  // namespace iommufd::host
