// SPDX-License-Identifier: BSD-3-Clause
#include "host/vfio_group.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/vfio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "base/assert.hpp"
#include "base/sys.hpp"

namespace iommufd::host {
namespace {

static_assert(VFIO_PCI_INTX_IRQ_INDEX == 0);

constexpr u32 index_of(pci::MessageKind kind) {
  return kind == pci::MessageKind::kMsi ? VFIO_PCI_MSI_IRQ_INDEX : VFIO_PCI_MSIX_IRQ_INDEX;
}

}  // namespace

std::expected<std::unique_ptr<VfioGroup>, std::string> VfioGroup::open(pci::Bdf bdf, const std::string& number,
                                                                       const Roots& roots) {
  const std::string path = fmt::format("{}/vfio/noiommu-{}", roots.dev, number);
  const auto failed = [&](std::string_view what) {
    const Errno e = sys::last_errno();
    return std::unexpected(fmt::format(
        "{} is bound to vfio-pci, and {} ({}){}. To use it without vfio-pci: iommufd-user bind --driver=none {}",
        bdf.str(), what, errno_name(e), e == Errno::kBusy ? ": somebody else uses it" : "", bdf.str()));
  };
  Fd container(::open((roots.dev + "/vfio/vfio").c_str(), O_RDWR | O_CLOEXEC));
  if (!container.valid()) return failed("the kernel's VFIO container cannot be opened");
  Fd group(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!group.valid()) return failed(path + " cannot be opened");
  const int fd = container.get();
  if (::ioctl(group.get(), VFIO_GROUP_SET_CONTAINER, &fd) != 0) return failed(path + " enters no container");
  if (::ioctl(container.get(), VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU) != 0)
    return failed("its container takes no group without an IOMMU");
  Fd device(::ioctl(group.get(), VFIO_GROUP_GET_DEVICE_FD, bdf.str().c_str()));
  if (!device.valid()) return failed(path + " does not give it out");
  return std::unique_ptr<VfioGroup>(new VfioGroup(std::move(container), std::move(group), std::move(device)));
}

VfioGroup::~VfioGroup() {
  stop();
  const MutexLock lock(mu_);
  drop_locked();
}

u32 VfioGroup::count_of(u32 index) const {
  vfio_irq_info info{};
  info.argsz = sizeof(info);
  info.index = index;
  return ::ioctl(device_.get(), VFIO_DEVICE_GET_IRQ_INFO, &info) == 0 ? info.count : 0;
}

u32 VfioGroup::vectors(pci::MessageKind kind) const { return count_of(index_of(kind)); }

Result<void> VfioGroup::command(u32 index, u32 flags, u32 count) const {
  vfio_irq_set set{};
  set.argsz = sizeof(set);
  set.flags = flags;
  set.index = index;
  set.count = count;
  return sys::ok(::ioctl(device_.get(), VFIO_DEVICE_SET_IRQS, &set));
}

Result<u32> VfioGroup::set_eventfds(u32 index, const std::vector<Fd>& events) const {
  // The struct ends in an array of any length, in C; here a buffer has it.
  std::vector<std::byte> buffer(sizeof(vfio_irq_set) + events.size() * sizeof(s32));
  vfio_irq_set set{};
  set.argsz = static_cast<u32>(buffer.size());
  set.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
  set.index = index;
  set.count = static_cast<u32>(events.size());
  std::memcpy(buffer.data(), &set, sizeof(set));
  for (std::size_t i = 0; i < events.size(); ++i) {
    const s32 fd = events[i].get();
    std::memcpy(buffer.data() + sizeof(set) + i * sizeof(fd), &fd, sizeof(fd));
  }
  return static_cast<u32>(IOMMUFD_TRY(sys::check(::ioctl(device_.get(), VFIO_DEVICE_SET_IRQS, buffer.data()))));
}

Result<u32> VfioGroup::enable(pci::MessageKind kind, u32 needed, u32 wanted, const std::function<void(u32)>& sent) {
  IOMMUFD_ASSERT(needed != 0 && wanted >= needed);
  const MutexLock lock(mu_);
  drop_locked();
  std::vector<Fd> events;
  events.reserve(wanted);
  for (u32 i = 0; i < wanted; ++i)
    events.emplace_back(IOMMUFD_TRY(sys::check(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))));
  // A kernel with fewer vectors says how many, and enables nothing.
  while (const u32 left = IOMMUFD_TRY(set_eventfds(index_of(kind), events))) {
    if (left >= events.size()) return Err(Errno::kNoSpc);
    if (left < needed) return left;
    events.resize(left);
  }
  enabled_ = kind;
  for (u32 i = 0; i < events.size(); ++i) {
    const Result<EventWatcher::WatchId> watch = watcher_.add(std::move(events[i]), [sent, i] { sent(i); });
    if (!watch) {
      drop_locked();
      return Err(watch.error());
    }
    watches_.push_back(*watch);
  }
  return static_cast<u32>(watches_.size());
}

void VfioGroup::disable(pci::MessageKind kind) {
  const MutexLock lock(mu_);
  if (enabled_ == kind) drop_locked();
}

void VfioGroup::drop_locked() {
  if (!enabled_) return;
  (void)command(index_of(*enabled_), VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0);
  for (const EventWatcher::WatchId id : watches_) watcher_.remove(id);
  watches_.clear();
  enabled_.reset();
}

Result<void> VfioGroup::start(std::function<void()> fired) {
  std::vector<Fd> events;
  events.emplace_back(IOMMUFD_TRY(sys::check(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))));
  Fd again(IOMMUFD_TRY(sys::check(::fcntl(events[0].get(), F_DUPFD_CLOEXEC, 0))));
  const EventWatcher::WatchId watch = IOMMUFD_TRY(watcher_.add(std::move(again), std::move(fired)));
  if (const Result<u32> set = set_eventfds(kLineIndex, events); !set) {
    watcher_.remove(watch);
    return Err(set.error());
  }
  line_ = watch;
  return {};
}

void VfioGroup::arm() { (void)command(kLineIndex, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, 1); }

void VfioGroup::stop() {
  if (!line_) return;
  (void)command(kLineIndex, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0);
  watcher_.remove(*std::exchange(line_, std::nullopt));
}

}  // namespace iommufd::host
