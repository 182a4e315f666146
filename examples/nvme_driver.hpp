// SPDX-License-Identifier: BSD-3-Clause
// A driver for NVMe controllers in user space, over nothing but the kernel's own interface: /dev/iommu, the VFIO device file,
// config space, BAR 0 and MSI-X. One pair of I/O queues, namespace 1, pages of 4096 bytes; polled or by interrupts.
//
// Devices behind an IOMMU and devices without one differ in one place, Memory::Memory(): the address that the device uses is
// the IOVA behind an IOMMU, and the physical address of each page without one.
#pragma once

#include <fcntl.h>
#include <linux/iommufd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace nvme {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using ull = unsigned long long;  // for printf

constexpr u64 kPage = 4096;
constexpr u64 kIova = 0x4000'0000;
constexpr u64 kMemory = 6 << 20;
constexpr u16 kEntries = 64;  // of every queue: a submission queue is then one page
constexpr auto kTimeout = std::chrono::seconds(10);

enum class Sharing { kPrivate, kShared };  // memory of our own, or a memfd
enum class Completion { kPolled, kInterrupt };

[[noreturn]] __attribute__((format(printf, 1, 2))) inline void fail(const char* format, ...) {
  std::va_list args;
  va_start(args, format);
  std::fputs("nvme: ", stderr);
  std::vfprintf(stderr, format, args);
  std::fputc('\n', stderr);
  va_end(args);
  std::exit(2);
}

inline int need(int result, const char* what) {
  if (result < 0) fail("%s: %s", what, std::strerror(errno));
  return result;
}

inline double now_ns() {
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// ---- the device file ----------------------------------------------------------------------------------------------

// BAR 0: stores and loads, or pwrite and pread where it cannot be mapped.
class Bar {
 public:
  Bar() = default;
  Bar(int fd, const vfio_region_info& region);
  u32 read4(u64 offset) const { return access<u32>(offset); }
  void write4(u64 offset, u32 value) const { access(offset, &value); }
  void write8(u64 offset, u64 value) const { access(offset, &value); }
  u64 doorbell(unsigned queue) const { return 0x1000 + queue * (8u << (read4(4) & 0xf)); }  // CAP.DSTRD
  // Sets or clears CC.EN, with entries of 64 and 16 bytes and pages of 4096, and waits for CSTS.RDY.
  void enable(bool on) const;
  void unmap() {
    if (map_ != nullptr) ::munmap(map_, size_);
  }

 private:
  // Stores `*value`, or loads.
  template <typename Word>
  Word access(u64 offset, const Word* value = nullptr) const {
    if (map_ == nullptr) return call(offset, value);
    const std::atomic_ref word(*reinterpret_cast<Word*>(map_ + offset));
    if (value == nullptr) return word.load(std::memory_order_acquire);
    word.store(*value, std::memory_order_release);  // behind the entries that a doorbell tells of
    return *value;
  }
  template <typename Word>
  Word call(u64 offset, const Word* value) const {
    Word word = 0;
    const auto at = static_cast<off_t>(offset_ + offset);
    const auto moved = value != nullptr ? ::pwrite(fd_, value, sizeof word, at) : ::pread(fd_, &word, sizeof word, at);
    if (moved != sizeof word) fail("BAR 0 cannot be reached: %s", std::strerror(errno));
    return word;
  }
  int fd_ = -1;
  u64 offset_ = 0, size_ = 0;
  u8* map_ = nullptr;
};

inline Bar::Bar(int fd, const vfio_region_info& region) : fd_(fd), offset_(region.offset), size_(region.size) {
  if ((region.flags & VFIO_REGION_INFO_FLAG_MMAP) == 0) return;
  void* p = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(offset_));
  if (p == MAP_FAILED) fail("BAR 0 cannot be mapped: %s", std::strerror(errno));
  map_ = static_cast<u8*>(p);
}

inline void Bar::enable(bool on) const {
  write4(0x14, on ? 0x00460001 : 0);  // CC
  const auto end = std::chrono::steady_clock::now() + kTimeout;
  while ((read4(0x1c) & 1) != u32{on})  // CSTS.RDY
    if (std::chrono::steady_clock::now() > end) fail("the controller does not become %s", on ? "ready" : "idle");
}

struct Device {
  explicit Device(const std::string& bdf);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  vfio_region_info region(u32 index) const;
  void interrupts(std::span<const int> events) const;  // one eventfd per MSI-X vector, from 0

  int iommufd = -1, fd = -1;
  u32 ioas = 0;
  bool noiommu = false;
  Bar bar;
};

inline Device::~Device() {
  bar.unmap();
  ::close(fd);
  ::close(iommufd);
}

inline Device::Device(const std::string& bdf) {
  std::error_code error;
  std::string name;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/bus/pci/devices/" + bdf + "/vfio-dev", error))
    name = entry.path().filename();
  if (name.empty()) fail("%s is no device of vfio-pci", bdf.c_str());
  noiommu = name.starts_with("noiommu-");
  iommufd = need(::open("/dev/iommu", O_RDWR | O_CLOEXEC), "/dev/iommu");
  fd = need(::open(("/dev/vfio/devices/" + name).c_str(), O_RDWR | O_CLOEXEC), name.c_str());
  vfio_device_bind_iommufd bind{};
  bind.argsz = sizeof bind;
  bind.iommufd = iommufd;
  need(::ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, &bind), "VFIO_DEVICE_BIND_IOMMUFD");
  iommu_ioas_alloc alloc{};
  alloc.size = sizeof alloc;
  need(::ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc), "IOMMU_IOAS_ALLOC");
  ioas = alloc.out_ioas_id;
  vfio_device_attach_iommufd_pt attach{};
  attach.argsz = sizeof attach;
  attach.pt_id = ioas;
  need(::ioctl(fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach), "VFIO_DEVICE_ATTACH_IOMMUFD_PT");

  const u16 command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
  const auto at = static_cast<off_t>(region(VFIO_PCI_CONFIG_REGION_INDEX).offset + PCI_COMMAND);
  if (::pwrite(fd, &command, 2, at) != 2) fail("the command register cannot be written");
  bar = Bar(fd, region(VFIO_PCI_BAR0_REGION_INDEX));
}

inline vfio_region_info Device::region(u32 index) const {
  vfio_region_info info{};
  info.argsz = sizeof info;
  info.index = index;
  need(::ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &info), "VFIO_DEVICE_GET_REGION_INFO");
  return info;
}

inline void Device::interrupts(std::span<const int> events) const {
  std::vector<u32> words((sizeof(vfio_irq_set) + events.size_bytes()) / sizeof(u32));
  auto* set = reinterpret_cast<vfio_irq_set*>(words.data());
  set->argsz = static_cast<u32>(words.size() * sizeof(u32));
  set->flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD;
  set->index = VFIO_PCI_MSIX_IRQ_INDEX;
  set->count = static_cast<u32>(events.size());
  std::memcpy(set->data, events.data(), events.size_bytes());
  need(::ioctl(fd, VFIO_DEVICE_SET_IRQS, set), "VFIO_DEVICE_SET_IRQS");
}

// ---- memory that the device reaches ---------------------------------------------------------------------------------

class Memory {
 public:
  Memory(const Device& device, Sharing sharing, u64 iova = kIova, u64 size = kMemory);
  ~Memory() { ::munmap(base_, size_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  // Whole pages, handed out once.
  u8* take(u64 size) {
    u8* p = base_ + used_;
    used_ += (size + kPage - 1) / kPage * kPage;
    if (used_ > size_) fail("commands of this size and number need more than %llu bytes", ull{size_});
    return p;
  }
  u64 address(const volatile void* p) const {
    const auto offset = static_cast<u64>(static_cast<const volatile u8*>(p) - base_);
    return pages_[offset / kPage] + offset % kPage;
  }
  std::span<u8> bytes() const { return {base_, size_}; }
  // What the constructor does for the device, and the opposite. Pre: it is unmapped (mapped).
  void map(const Device& device);
  void unmap(const Device& device) const;

 private:
  const u64 iova_, size_;
  u8* base_ = nullptr;
  u64 used_ = 0;
  std::vector<u64> pages_;  // the device's address of each page
};

inline Memory::Memory(const Device& device, Sharing sharing, u64 iova, u64 size) : iova_(iova), size_(size) {
  const bool is_private = sharing == Sharing::kPrivate;
  const int file = is_private ? -1 : need(::memfd_create("nvme", MFD_CLOEXEC), "memfd_create");
  if (!is_private) need(::ftruncate(file, static_cast<off_t>(size_)), "ftruncate");
  void* p =
      ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, is_private ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, file, 0);
  if (p == MAP_FAILED) fail("mmap: %s", std::strerror(errno));
  if (file >= 0) ::close(file);
  base_ = static_cast<u8*>(p);
  std::memset(base_, 0, size_);
  map(device);
}

inline void Memory::map(const Device& device) {
  iommu_ioas_map map{};
  map.size = sizeof map;
  map.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE;
  map.ioas_id = device.ioas;
  map.user_va = reinterpret_cast<std::uintptr_t>(base_);
  map.length = size_;
  map.iova = iova_;
  need(::ioctl(device.iommufd, IOMMU_IOAS_MAP, &map), "IOMMU_IOAS_MAP (the limit is ulimit -l)");
  pages_.clear();
  while (pages_.size() * kPage < size_) {
    const u64 done = pages_.size() * kPage;
    iommu_ioas_noiommu_get_pa run{};  // behind an IOMMU: everything, at its IOVA
    run.size = sizeof run;
    run.ioas_id = device.ioas;
    run.iova = run.out_phys = iova_ + done;
    run.length = size_ - done;
    if (device.noiommu) need(::ioctl(device.iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &run), "IOMMU_IOAS_NOIOMMU_GET_PA");
    for (u64 i = 0; i < run.length / kPage; ++i) pages_.push_back(run.out_phys + i * kPage);
  }
}

inline void Memory::unmap(const Device& device) const {
  iommu_ioas_unmap unmap{};
  unmap.size = sizeof unmap;
  unmap.ioas_id = device.ioas;
  unmap.iova = iova_;
  unmap.length = size_;
  need(::ioctl(device.iommufd, IOMMU_IOAS_UNMAP, &unmap), "IOMMU_IOAS_UNMAP");
}

// ---- queues -----------------------------------------------------------------------------------------------------------

struct Sqe {  // NVMe 1.4, 4.2
  u8 opcode = 0, flags = 0;
  u16 cid = 0;
  u32 nsid = 0;
  u64 reserved = 0, metadata = 0, prp1 = 0, prp2 = 0;
  std::array<u32, 6> cdw10{};  // to cdw15
};
struct Cqe {  // NVMe 1.4, 4.6
  u32 result, reserved;
  u16 sq_head, sq_id, cid, status;
};
static_assert(sizeof(Sqe) == 64 && sizeof(Cqe) == 16);

class Queue {
 public:
  Queue(Memory& memory, const Bar& bar, unsigned number, int event, u16 size = kEntries)
      : sq(reinterpret_cast<Sqe*>(memory.take(kPage))),
        cq(reinterpret_cast<Cqe*>(memory.take(kPage))),
        entries(size),
        bar_(bar),
        doorbells_(bar.doorbell(number)),
        event_(event) {}

  void put(const Sqe& command) {
    sq[tail_] = command;
    tail_ = static_cast<u16>((tail_ + 1) % entries);
  }
  void ring() { bar_.write4(doorbells_, tail_); }
  // Hands every completion that is there to `seen` and returns their number.
  template <typename Seen>
  unsigned drain(Seen seen) {
    unsigned num = 0;
    for (;; ++num) {
      const u16 status = std::atomic_ref(cq[head_].status).load(std::memory_order_acquire);
      if ((status & 1) != phase_) break;
      seen(cq[head_]);
      head_ = static_cast<u16>((head_ + 1) % entries);
      if (head_ == 0) phase_ ^= 1;
    }
    if (num != 0) bar_.write4(doorbells_ + 4, head_);
    return num;
  }
  // The same, until there is at least one.
  template <typename Seen>
  void wait(Seen seen) {
    const auto end = std::chrono::steady_clock::now() + kTimeout;
    while (drain(seen) == 0) {
      if (event_ >= 0) sleep();
      if (std::chrono::steady_clock::now() > end) fail("a command does not complete");
    }
  }
  u16 run(Sqe command) {  // its status
    u16 status = 0;
    put(command);
    ring();
    wait([&](const Cqe& c) { status = static_cast<u16>(c.status >> 1); });
    return status;
  }

  Sqe* const sq;
  Cqe* const cq;
  const u16 entries;  // of each ring; at most kEntries

 private:
  void sleep() const {
    pollfd p{.fd = event_, .events = POLLIN, .revents = 0};
    u64 count = 0;
    if (::poll(&p, 1, 10000) != 1 || ::read(event_, &count, sizeof count) != sizeof count) fail("no interrupt comes");
  }

  const Bar& bar_;
  const u64 doorbells_;
  int event_;
  u16 tail_ = 0, head_ = 0, phase_ = 1;
};

// ---- the controller ---------------------------------------------------------------------------------------------------

// Disables the controller, and enables it with these admin queues.
inline void start(const Bar& bar, const Memory& memory, const Queue& admin) {
  bar.enable(false);
  const u32 last = admin.entries - 1u;
  bar.write4(0x24, last | last << 16);         // AQA
  bar.write8(0x28, memory.address(admin.sq));  // ASQ
  bar.write8(0x30, memory.address(admin.cq));  // ACQ
  bar.enable(true);
}

enum Opcode : u8 { kCreateSq = 1, kCreateCq = 5, kIdentify = 6, kFlush = 0, kWrite = 1, kRead = 2 };

// The commands that make the pair `number` of I/O queues, with an interrupt or without.
inline std::array<Sqe, 2> creation(const Memory& memory, const Queue& pair, u16 number, std::optional<u16> vector) {
  const u32 id_and_size = number | (pair.entries - 1u) << 16, contiguous = 1;
  const u32 interrupt = vector ? 2 | u32{*vector} << 16 : 0;
  return {Sqe{.opcode = kCreateCq, .prp1 = memory.address(pair.cq), .cdw10 = {id_and_size, contiguous | interrupt}},
          Sqe{.opcode = kCreateSq,
              .prp1 = memory.address(pair.sq),
              .cdw10 = {id_and_size, contiguous | u32{number} << 16}}};
}

// One command's worth of data: the pages and, for more than two, the list of them.
struct Buffer {
  u8* data;
  u64* list;
};

class Controller {
 public:
  Controller(const Device& device, Sharing sharing, Completion completion);
  Buffer buffer(u64 size);
  // `size` bytes from `offset` of namespace 1 on.
  Sqe transfer(Opcode opcode, u64 offset, const Buffer& buffer, u64 size) const;
  const u8* identify(u32 what, u32 nsid);
  u16 admin(const Sqe& command) { return admin_.run(command); }  // its status

  Memory memory;

 private:
  int event_;  // of the I/O queue: vector 1
  Queue admin_;
  u8* page_;

 public:
  Queue io;
  u64 block = 512, size = 0, max_transfer = 1 << 20;
};

inline int interrupt_of_vector_1(const Device& device, Completion completion) {
  if (completion == Completion::kPolled) return -1;
  const std::array events{::eventfd(0, EFD_CLOEXEC), ::eventfd(0, EFD_CLOEXEC)};
  device.interrupts(events);
  return events[1];
}

inline Controller::Controller(const Device& device, Sharing sharing, Completion completion)
    : memory(device, sharing),
      event_(interrupt_of_vector_1(device, completion)),
      admin_(memory, device.bar, 0, -1),
      page_(memory.take(kPage)),
      io(memory, device.bar, 1, event_) {
  start(device.bar, memory, admin_);

  const u8* controller = identify(1, 0);
  if (controller[77] != 0) max_transfer = std::min(max_transfer, kPage << controller[77]);  // MDTS
  const u8* space = identify(0, 1);
  u32 format = 0;
  std::memcpy(&size, space, sizeof size);                                    // NSZE
  std::memcpy(&format, space + 128 + 4 * (space[26] & 0xf), sizeof format);  // the LBAF that FLBAS names
  block = u64{1} << (format >> 16 & 0xff);
  size *= block;
  if (size == 0) fail("there is no namespace 1");

  for (const Sqe& create : creation(memory, io, 1, event_ >= 0 ? std::optional<u16>(1) : std::nullopt))
    if (admin_.run(create) != 0) fail("the I/O queues cannot be made");
}

inline const u8* Controller::identify(u32 what, u32 nsid) {
  const u16 status = admin_.run({.opcode = kIdentify, .nsid = nsid, .prp1 = memory.address(page_), .cdw10 = {what}});
  if (status != 0) fail("Identify: status %#x", unsigned{status});
  return page_;
}

inline Buffer Controller::buffer(u64 bytes) {
  const Buffer b{.data = memory.take(bytes), .list = reinterpret_cast<u64*>(memory.take(kPage))};
  for (u64 i = 1; i * kPage < bytes; ++i) b.list[i - 1] = memory.address(b.data + i * kPage);
  return b;
}

inline Sqe Controller::transfer(Opcode opcode, u64 offset, const Buffer& b, u64 bytes) const {
  const u64 first = offset / block;
  const auto second = bytes <= kPage ? 0 : bytes <= 2 * kPage ? b.list[0] : memory.address(b.list);
  return {.opcode = opcode,
          .nsid = 1,
          .prp1 = memory.address(b.data),
          .prp2 = second,
          .cdw10 = {static_cast<u32>(first), static_cast<u32>(first >> 32), static_cast<u32>(bytes / block - 1)}};
}

}  // namespace nvme
