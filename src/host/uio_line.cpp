// SPDX-License-Identifier: BSD-3-Clause
#include "host/uio_line.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "base/sys.hpp"
#include "pci/config_registers.hpp"

namespace iommufd::host {
namespace {

namespace reg = pci::reg;

bool take_count(int fd) {
  s32 count = 0;
  return ::read(fd, &count, sizeof(count)) == static_cast<ssize_t>(sizeof(count));
}

}  // namespace

Result<std::unique_ptr<UioLine>> UioLine::open(const std::string& folder, const Roots& roots) {
  const std::vector<std::string> names = list_directory(folder + "/uio");
  if (names.empty()) return Err(Errno::kNoEnt);
  Fd uio(IOMMUFD_TRY(sys::check(::open((roots.dev + "/" + names[0]).c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC))));
  Fd config(IOMMUFD_TRY(sys::check(::open((folder + "/config").c_str(), O_RDWR | O_CLOEXEC))));
  std::unique_ptr<UioLine> line(new UioLine(std::move(uio), std::move(config)));
  line->disable_intx(true);
  return line;
}

UioLine::~UioLine() { stop(); }

Result<void> UioLine::start(std::function<void()> fired) {
  Fd again(IOMMUFD_TRY(sys::check(::fcntl(uio_.get(), F_DUPFD_CLOEXEC, 0))));
  (void)take_count(uio_.get());  // of before
  watch_ = IOMMUFD_TRY(watcher_.add(std::move(again), std::move(fired), take_count));
  arm();
  return {};
}

void UioLine::stop() {
  if (!watch_) return;
  disable_intx(true);
  watcher_.remove(*std::exchange(watch_, std::nullopt));
  disable_intx(true);  // `fired` may have armed it
}

// The byte has one writer at a time: the driver while the line is armed, and we while it is not. ConfigFile leaves it alone.
void UioLine::disable_intx(bool on) const {
  constexpr off_t kByte = reg::kCommand + 1;
  constexpr u8 kBit = reg::kCommandIntxDisable >> 8;
  u8 value = 0;
  if (::pread(config_.get(), &value, sizeof(value), kByte) != sizeof(value)) return;
  value = static_cast<u8>(on ? value | kBit : value & ~kBit);
  // A function that is gone has no interrupts either.
  [[maybe_unused]] const ssize_t written = ::pwrite(config_.get(), &value, sizeof(value), kByte);
}

}  // namespace iommufd::host
