// SPDX-License-Identifier: BSD-3-Clause
#include "tests/torture/session.hpp"

#include <utility>

namespace torture {

void wrong(const char* format, ...) {
  std::va_list args;
  va_start(args, format);
  std::fputs("WRONG: ", stderr);
  std::vfprintf(stderr, format, args);
  std::fputc('\n', stderr);
  va_end(args);
  std::_Exit(1);
}

namespace {

constexpr u16 kEventCid = 0x8000;  // and above: of asynchronous events

std::vector<int> interrupts_of(const nvme::Device& device, Waiting waiting) {
  std::vector<int> fds;
  if (waiting == Waiting::kPolled) return fds;
  for (int i = 0; i <= Session::kQueues; ++i)
    fds.push_back(nvme::need(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd"));
  device.interrupts(fds);
  return fds;
}

u32 vectors_of(const nvme::Device& device) {
  vfio_irq_info info{};
  info.argsz = sizeof info;
  info.index = VFIO_PCI_MSIX_IRQ_INDEX;
  nvme::need(::ioctl(device.fd, VFIO_DEVICE_GET_IRQ_INFO, &info), "VFIO_DEVICE_GET_IRQ_INFO");
  return info.count;
}

}  // namespace

Session::Session(nvme::Device& d, nvme::Sharing sharing, Waiting waiting, Random& random)
    : device(d),
      memory(d, sharing, kIova, kSize),
      eventfds(interrupts_of(d, waiting)),
      admin_(memory, d.bar, 0, -1, static_cast<u16>(16 + pick(random, nvme::kEntries - 15))),
      page_(memory.take(2 * nvme::kPage)) {
  nvme::start(device.bar, memory, admin_);
  if (!device.noiommu) limits.hole = kHole;
  scene = {.page = memory.address(page_),
           .page_behind = memory.address(page_ + nvme::kPage),
           .hole = limits.hole,
           .queues = kQueues,
           .vectors = vectors_of(device),
           .live = 0,
           .absent = kQueues,
           .namespaces = 1};
  must({.opcode = nvme::kIdentify, .prp1 = scene.page, .cdw10 = {1}}, "Identify");
  limits.most_bytes = nvme::kPage << page_[77];  // MDTS
  std::memcpy(&limits.namespaces, page_ + 516, sizeof limits.namespaces);
  must({.opcode = nvme::kIdentify, .nsid = 1, .prp1 = scene.page, .cdw10 = {0}}, "Identify");
  std::memcpy(&limits.blocks, page_, sizeof limits.blocks);
  limits.block_size = 1u << page_[130];  // LBADS of LBAF 0
}

Session::~Session() {
  for (const int fd : eventfds) ::close(fd);
}

void Session::take(const nvme::Cqe& c) { ((c.cid & kEventCid) != 0 ? events_ : done_).push_back(c); }

nvme::Cqe Session::run(nvme::Sqe sqe) {
  const std::lock_guard lock(mu_);
  sqe.cid = next_cid_++ % kEventCid;
  admin_.put(sqe);
  admin_.ring();
  const auto end = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    admin_.drain([&](const nvme::Cqe& c) { take(c); });
    if (!done_.empty()) break;
    if (std::chrono::steady_clock::now() > end) wrong("admin command %#x does not complete", unsigned{sqe.opcode});
    ::usleep(20);
  }
  const nvme::Cqe c = done_.front();
  done_.erase(done_.begin());
  if (c.cid != sqe.cid || !done_.empty()) wrong("completion of command %#x, which was not sent", unsigned{c.cid});
  return c;
}

void Session::must(const nvme::Sqe& sqe, const char* what) {
  if (const u16 s = status(sqe); s != 0) wrong("%s: status %#x", what, unsigned{s});
}

void Session::arm_event() {
  constexpr u8 kAsyncEvent = 0x0c;
  const std::lock_guard lock(mu_);
  admin_.put({.opcode = kAsyncEvent, .cid = static_cast<u16>(kEventCid | next_event_++)});
  admin_.ring();
}

std::vector<nvme::Cqe> Session::events() {
  const std::lock_guard lock(mu_);
  admin_.drain([&](const nvme::Cqe& c) { take(c); });
  if (!done_.empty()) wrong("an admin command completes twice");
  return std::exchange(events_, {});
}

}  // namespace torture
