/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VFIO device file: BIND, GET_INFO, regions, interrupts, reset and the life of a descriptor (spec vfio-device 3 to 19,
 * iommufd-core B). Config space and registers: vfio_regions.c. IOMMUFD_TEST_KIND=noiommu runs all of it with a device
 * without an IOMMU; IOMMUFD_TEST_WAY what is no matter of BIND with a device that is opened through its group (group.h).
 */
#define _GNU_SOURCE
#include <poll.h>
#include <sys/epoll.h>

#include "group.h"
#include "irqs.h"

/* ---- before and during BIND -------------------------------------------------------------------------- */

SECTION("vfio-device 3");

TEST(V01, "before BIND every other ioctl, read, write and mmap is EINVAL, lseek ESPIPE") {
  need_node();
  const struct vdev d = open_device(kind());
  static const unsigned long codes[] = {VFIO_DEVICE_GET_INFO,
                                        VFIO_DEVICE_GET_REGION_INFO,
                                        VFIO_DEVICE_GET_IRQ_INFO,
                                        VFIO_DEVICE_SET_IRQS,
                                        VFIO_DEVICE_RESET,
                                        VFIO_DEVICE_FEATURE,
                                        VFIO_DEVICE_ATTACH_IOMMUFD_PT,
                                        VFIO_DEVICE_DETACH_IOMMUFD_PT,
                                        VFIO_DEVICE_GET_PCI_HOT_RESET_INFO};
  uint64_t arg[16] = {64};
  for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
    if (!CHECK_ERR(ioctl(d.fd, codes[i], arg), EINVAL)) note("code %#lx", codes[i]);
  CHECK_ERR(ioctl(d.fd, _IO(';', 0x7f), arg), EINVAL);
  CHECK_ERR(pread(d.fd, arg, 4, 0), EINVAL);
  CHECK_ERR(pwrite(d.fd, arg, 4, 0), EINVAL);
  CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, d.fd, 0) == MAP_FAILED && errno == EINVAL);
  CHECK_ERR(lseek(d.fd, 0, SEEK_CUR), ESPIPE);
}

SECTION("vfio-device 5");

TEST(V02, "BIND: the checks in order, and after a failure the descriptor can try again") {
  need_node();
  const int iommufd = open_iommufd();
  struct vdev d = open_device(kind());
  uint8_t token[16] = {0};
  struct {
    struct vfio_device_bind_iommufd cmd;
    uint64_t tail;
  } arg = {.cmd = {.argsz = 15, .iommufd = -1}, .tail = 1};
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_BIND_IOMMUFD, NULL), EFAULT);
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_BIND_IOMMUFD, &arg), EINVAL);
  arg.cmd.argsz = sizeof(arg);
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_BIND_IOMMUFD, &arg), E2BIG);
  arg.tail = 0;
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_BIND_IOMMUFD, &arg), EINVAL); /* iommufd -1 */
  arg.cmd.iommufd = iommufd;
  arg.cmd.flags = 2;
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_BIND_IOMMUFD, &arg), EINVAL);
  arg.cmd.flags = VFIO_DEVICE_BIND_FLAG_TOKEN;
  arg.cmd.token_uuid_ptr = (uintptr_t)token;
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_BIND_IOMMUFD, &arg), EINVAL); /* no VF, no SR-IOV: no token */
  arg.cmd.token_uuid_ptr = (uintptr_t)no_page();
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_BIND_IOMMUFD, &arg), EFAULT);
  arg.cmd.flags = 0;
  arg.cmd.token_uuid_ptr = 0;
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_BIND_IOMMUFD, read_only(&arg, sizeof(arg))), EFAULT);
  CHECK_OK(ioctl(d.fd, VFIO_DEVICE_BIND_IOMMUFD, &arg));
  CHECK_EQ(arg.cmd.out_devid, 1); /* the failed one left no id */
}

TEST(V03, "BIND with the first version's 16 bytes") {
  need_node();
  struct vdev d = open_device(kind());
  struct vfio_device_bind_iommufd cmd = {.argsz = 16, .iommufd = open_iommufd(), .token_uuid_ptr = MAX};
  CHECK_OK(ioctl(d.fd, VFIO_DEVICE_BIND_IOMMUFD, &cmd));
  CHECK_NE(cmd.out_devid, 0);
  CHECK_EQ(cmd.token_uuid_ptr, MAX);
}

SECTION("vfio-device 6");

TEST(V04, "ATTACH and DETACH: argsz and flags") {
  need_node();
  const int iommufd = open_iommufd();
  struct vdev d = open_and_bind(kind(), 0, iommufd);
  struct vfio_device_attach_iommufd_pt cmd = {.argsz = 11, .pt_id = ioas_alloc(iommufd)};
  struct vfio_device_detach_iommufd_pt off = {.argsz = 7};
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, NULL), EFAULT);
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd), EINVAL);
  cmd.argsz = 12;
  cmd.flags = 2;
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd), EINVAL);
  cmd.flags = VFIO_DEVICE_ATTACH_PASID;
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd), EINVAL);
  cmd.flags = 0;
  CHECK_OK(ioctl(d.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd));
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &off), EINVAL);
  off.argsz = 8;
  off.flags = 2;
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &off), EINVAL);
  off.flags = VFIO_DEVICE_DETACH_PASID;
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &off), EINVAL);
  off.argsz = 12;
  off.pasid = 1;
  CHECK_OK(ioctl(d.fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &off)); /* not attached */
  off.argsz = 8;
  off.flags = 0;
  CHECK_OK(ioctl(d.fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &off));
}

SECTION("vfio-device 2");

TEST(V05, "an ioctl that devices do not have: ENOTTY") {
  const struct vdev d = device_in_use();
  uint64_t arg[16] = {64};
  CHECK_ERR(ioctl(d.fd, _IO(';', 0x7f), arg), ENOTTY);
  CHECK_ERR(ioctl(d.fd, IOMMU_IOAS_ALLOC, arg), ENOTTY);
  CHECK_ERR(ioctl(d.fd, VFIO_GET_API_VERSION, arg), ENOTTY);
  CHECK_ERR(ioctl(d.fd, _IO('x', 0x6b), arg), ENOTTY);
}

/* ---- information ------------------------------------------------------------------------------------- */

SECTION("vfio-device 7");

TEST(V10, "GET_INFO: PCI, 9 regions, 5 interrupts; argsz decides what is written") {
  const struct vdev d = device_in_use();
  struct {
    struct vfio_device_info info;
    uint64_t more[4];
  } arg = {.info = {.argsz = 15}};
  uint32_t words[8];
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_GET_INFO, NULL), EFAULT);
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_GET_INFO, &arg), EINVAL);
  arg.info.argsz = sizeof(arg);
  CHECK_OK(ioctl(d.fd, VFIO_DEVICE_GET_INFO, &arg));
  CHECK(arg.info.flags & VFIO_DEVICE_FLAGS_PCI);
  CHECK_EQ(arg.info.flags & ~(uint32_t)(VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_CAPS), 0);
  CHECK_EQ(arg.info.num_regions, 9);
  CHECK_EQ(arg.info.num_irqs, 5);
  memset(words, 0x5a, sizeof(words));
  words[0] = 16;
  CHECK_OK(ioctl(d.fd, VFIO_DEVICE_GET_INFO, words));
  CHECK_EQ(words[2], 9);
  CHECK_EQ(words[3], 5);
  CHECK_EQ(words[4], 0x5a5a5a5a);
}

SECTION("vfio-device 8");

TEST(V11, "GET_REGION_INFO of an edu device") {
  const struct vdev d = device_in_use();
  struct vfio_region_info info = {.argsz = 31};
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_GET_REGION_INFO, &info), EINVAL);
  for (uint32_t i = 0; i <= 6; i++) {
    CHECK_OK(region_info(&d, i, &info));
    CHECK_EQ(info.size, i == 0 ? 0x100000 : 0);
    CHECK_EQ(info.flags & 3, i == 0 ? 3 : 0);
    if (i != 0) CHECK_EQ(info.flags, 0);
  }
  CHECK_OK(region_info(&d, VFIO_PCI_CONFIG_REGION_INDEX, &info));
  CHECK_EQ(info.size, 256);
  CHECK_EQ(info.flags, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE);
  CHECK_ERR(region_info(&d, VFIO_PCI_VGA_REGION_INDEX, &info), EINVAL);
  CHECK_ERR(region_info(&d, 9, &info), EINVAL);
  CHECK_ERR(region_info(&d, NO_ID, &info), EINVAL);
}

SECTION("vfio-device 12");

TEST(V12, "GET_IRQ_INFO of an edu device") {
  const struct vdev d = device_in_use();
  static const struct {
    uint32_t count, flags;
  } want[] = {{1, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED},
              {1, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE},
              {0, 0},
              {0, 0},
              {1, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE}};
  struct vfio_irq_info info = {.argsz = 15};
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_GET_IRQ_INFO, &info), EINVAL);
  for (uint32_t i = 0; i < 5; i++) {
    info = (struct vfio_irq_info){.argsz = sizeof(info), .index = i};
    if (i == VFIO_PCI_ERR_IRQ_INDEX) { /* only PCIe has it */
      CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_GET_IRQ_INFO, &info), EINVAL);
      continue;
    }
    CHECK_OK(ioctl(d.fd, VFIO_DEVICE_GET_IRQ_INFO, &info));
    CHECK_EQ(info.count, want[i].count);
    if (i != VFIO_PCI_MSIX_IRQ_INDEX) CHECK_EQ(info.flags, want[i].flags);
  }
  info.index = 5;
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_GET_IRQ_INFO, &info), EINVAL);
}

/* ---- SET_IRQS ---------------------------------------------------------------------------------------- */

static int irqs_raw(const struct vdev* d, uint32_t argsz, uint32_t flags, uint32_t index, uint32_t start,
                    uint32_t count, int32_t data) {
  return set_irqs(d, argsz, flags, index, start, count, &data, sizeof(data));
}

static int irqs(const struct vdev* d, uint32_t flags, uint32_t index, uint32_t count, int32_t data) {
  return irqs_raw(d, sizeof(struct vfio_irq_set) + (flags & NONE ? 0 : 4), flags, index, 0, count, data);
}

SECTION("vfio-device 13");

TEST(V20, "SET_IRQS: the generic checks") {
  const struct vdev d = device_in_use();
  const int fd = new_eventfd();
  const uint32_t head = sizeof(struct vfio_irq_set), all = head + 4;
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_SET_IRQS, NULL), EFAULT);
  CHECK_ERR(irqs_raw(&d, head - 1, NONE | TRIGGER, MSI, 0, 0, 0), EINVAL);
  CHECK_ERR(irqs_raw(&d, all, EVENTFD | TRIGGER, 5, 0, 1, fd), EINVAL);
  CHECK_ERR(irqs_raw(&d, all, EVENTFD | TRIGGER, MSI, 0, NO_ID, fd), EINVAL);
  CHECK_ERR(irqs_raw(&d, all, EVENTFD | TRIGGER | 0x40, MSI, 0, 1, fd), EINVAL);
  CHECK_ERR(irqs_raw(&d, all, EVENTFD | TRIGGER, MSI, 1, 1, fd), EINVAL);
  CHECK_ERR(irqs_raw(&d, all + 4, EVENTFD | TRIGGER, MSI, 0, 2, fd), EINVAL);
  CHECK_ERR(irqs_raw(&d, all, EVENTFD | TRIGGER, VFIO_PCI_MSIX_IRQ_INDEX, 0, 1, fd), EINVAL);
  CHECK_ERR(irqs_raw(&d, all, TRIGGER, MSI, 0, 1, fd), EINVAL);
  CHECK_ERR(irqs_raw(&d, all, EVENTFD | BOOL | TRIGGER, MSI, 0, 1, fd), EINVAL);
  CHECK_ERR(irqs_raw(&d, all - 1, EVENTFD | TRIGGER, MSI, 0, 1, fd), EINVAL);
  CHECK_ERR(irqs_raw(&d, head, BOOL | TRIGGER, MSI, 0, 1, 1), EINVAL);
  CHECK_ERR(irqs(&d, EVENTFD, MSI, 1, fd), ENOTTY);
  CHECK_ERR(irqs(&d, EVENTFD | TRIGGER | MASK, MSI, 1, fd), ENOTTY);
  CHECK_ERR(irqs(&d, NONE | MASK, MSI, 1, 0), ENOTTY);
  CHECK_ERR(irqs(&d, NONE | UNMASK, MSI, 1, 0), ENOTTY);
  CHECK_ERR(irqs(&d, EVENTFD | MASK, INTX, 1, fd), EINVAL); /* not enabled; enabled: ENOTTY, see V24 */
}

TEST(V21, "MSI: eventfd, loop-back with NONE and BOOL, disable") {
  const struct vdev d = device_in_use();
  const int fd = new_eventfd();
  CHECK_ERR(irqs(&d, NONE | TRIGGER, MSI, 1, 0), EINVAL); /* not enabled */
  REQUIRE(CHECK_OK(irqs(&d, EVENTFD | TRIGGER, MSI, 1, fd)));
  CHECK_EQ(interrupts(fd), 0);
  CHECK_OK(irqs(&d, NONE | TRIGGER, MSI, 1, 0));
  CHECK_EQ(interrupts(fd), 1);
  CHECK_OK(irqs(&d, BOOL | TRIGGER, MSI, 1, 1));
  CHECK_EQ(interrupts(fd), 1);
  CHECK_OK(irqs(&d, BOOL | TRIGGER, MSI, 1, 0));
  CHECK_EQ(interrupts(fd), 0);
  CHECK_OK(irqs(&d, EVENTFD | TRIGGER, MSI, 1, -1)); /* this vector has no eventfd now */
  CHECK_OK(irqs(&d, NONE | TRIGGER, MSI, 1, 0));
  CHECK_EQ(interrupts(fd), 0);
  CHECK_OK(irqs(&d, NONE | TRIGGER, MSI, 0, 0));
  CHECK_ERR(irqs(&d, NONE | TRIGGER, MSI, 1, 0), EINVAL);
}

TEST(V22, "MSI: a descriptor that is closed: EBADF; that is no eventfd: EINVAL; and nothing is enabled") {
  const struct vdev d = device_in_use();
  const int closed = eventfd(0, EFD_CLOEXEC);
  close(closed);
  CHECK_ERR(irqs(&d, EVENTFD | TRIGGER, MSI, 1, closed), EBADF);
  CHECK_ERR(irqs(&d, EVENTFD | TRIGGER, MSI, 1, keep(open("/dev/null", O_RDWR | O_CLOEXEC))), EINVAL);
  CHECK_ERR(irqs(&d, NONE | TRIGGER, MSI, 1, 0), EINVAL);
  CHECK_OK(irqs(&d, EVENTFD | TRIGGER, MSI, 1, new_eventfd()));
}

TEST(V23, "only one of INTx and MSI is active") {
  const struct vdev d = device_in_use();
  const int fd = new_eventfd();
  REQUIRE(CHECK_OK(irqs(&d, EVENTFD | TRIGGER, MSI, 1, fd)));
  CHECK_ERR(irqs(&d, EVENTFD | TRIGGER, INTX, 1, fd), EINVAL);
  REQUIRE(CHECK_OK(irqs(&d, NONE | TRIGGER, MSI, 0, 0)));
  REQUIRE(CHECK_OK(irqs(&d, EVENTFD | TRIGGER, INTX, 1, fd)));
  CHECK_ERR(irqs(&d, EVENTFD | TRIGGER, MSI, 1, fd), EINVAL);
  CHECK_OK(irqs(&d, NONE | TRIGGER, INTX, 0, 0));
  CHECK_OK(irqs(&d, EVENTFD | TRIGGER, MSI, 1, fd));
}

TEST(V24, "INTx: start 0 and count 1 only, loop-back, MASK and UNMASK") {
  const struct vdev d = device_in_use();
  const int fd = new_eventfd();
  CHECK_ERR(irqs(&d, NONE | TRIGGER, INTX, 1, 0), EINVAL); /* not enabled */
  CHECK_ERR(irqs(&d, NONE | TRIGGER, INTX, 0, 0), EINVAL);
  REQUIRE(CHECK_OK(irqs(&d, EVENTFD | TRIGGER, INTX, 1, fd)));
  CHECK_OK(irqs(&d, NONE | TRIGGER, INTX, 1, 0));
  CHECK_EQ(interrupts(fd), 1);
  CHECK_ERR(irqs(&d, EVENTFD | MASK, INTX, 1, fd), ENOTTY);
  CHECK_ERR(irqs(&d, NONE | MASK, INTX, 0, 0), EINVAL);
  CHECK_OK(irqs(&d, NONE | MASK, INTX, 1, 0));
  CHECK_OK(irqs(&d, BOOL | UNMASK, INTX, 1, 1));
  CHECK_OK(irqs(&d, NONE | TRIGGER, INTX, 0, 0));
}

TEST(V25, "INTx of the device: masked when it fires, fires again on UNMASK until it is acknowledged") {
  const struct edu e = edu_from(device_in_use());
  const int fd = new_eventfd();
  REQUIRE(CHECK_OK(irqs(&e.dev, EVENTFD | TRIGGER, INTX, 1, fd)));
  edu_write4(&e, EDU_IRQ_RAISE, 1);
  CHECK_EQ(interrupts(fd), 1);
  edu_write4(&e, EDU_IRQ_RAISE, 2);
  CHECK_EQ(interrupts(fd), 0); /* masked */
  CHECK_OK(irqs(&e.dev, NONE | UNMASK, INTX, 1, 0));
  CHECK_EQ(interrupts(fd), 1); /* still asserted */
  edu_write4(&e, EDU_IRQ_ACK, 3);
  CHECK_OK(irqs(&e.dev, NONE | UNMASK, INTX, 1, 0));
  CHECK_EQ(interrupts(fd), 0);
  edu_write4(&e, EDU_IRQ_RAISE, 4);
  CHECK_EQ(interrupts(fd), 1);
}

TEST(V26, "INTx: an eventfd that unmasks") {
  const struct edu e = edu_from(device_in_use());
  const int fd = new_eventfd(), unmask = new_eventfd();
  const uint64_t one = 1;
  REQUIRE(CHECK_OK(irqs(&e.dev, EVENTFD | TRIGGER, INTX, 1, fd)));
  REQUIRE(CHECK_OK(irqs(&e.dev, EVENTFD | UNMASK, INTX, 1, unmask)));
  CHECK_ERR(irqs(&e.dev, EVENTFD | UNMASK, INTX, 1, unmask), EBUSY);
  edu_write4(&e, EDU_IRQ_RAISE, 1);
  CHECK_EQ(interrupts(fd), 1);
  CHECK_EQ(write(unmask, &one, sizeof(one)), sizeof(one));
  CHECK_EQ(interrupts(fd), 1);
  edu_write4(&e, EDU_IRQ_ACK, 1);
  CHECK_OK(irqs(&e.dev, EVENTFD | UNMASK, INTX, 1, -1));
}

TEST(V27, "MSI of the device: one message for each raise, also without an acknowledgement") {
  const struct edu e = edu_from(device_in_use());
  const int fd = new_eventfd();
  REQUIRE(CHECK_OK(irqs(&e.dev, EVENTFD | TRIGGER, MSI, 1, fd)));
  edu_write4(&e, EDU_IRQ_RAISE, 1);
  CHECK_EQ(interrupts(fd), 1);
  edu_write4(&e, EDU_IRQ_RAISE, 2);
  CHECK_EQ(interrupts(fd), 1);
  CHECK_EQ(edu_read4(&e, EDU_IRQ_STATUS), 3);
  edu_write4(&e, EDU_IRQ_ACK, 1);
  CHECK_EQ(edu_read4(&e, EDU_IRQ_STATUS), 2);
  edu_write4(&e, EDU_IRQ_ACK, 2);
  CHECK_EQ(edu_read4(&e, EDU_IRQ_STATUS), 0);
  CHECK_EQ(interrupts(fd), 0);
}

TEST(V28, "REQ: arm, loop-back, disarm") {
  const struct vdev d = device_in_use();
  const int fd = new_eventfd();
  CHECK_ERR(irqs(&d, NONE | TRIGGER, REQ, 0, 0), EINVAL);
  CHECK_ERR(irqs(&d, NONE | TRIGGER, REQ, 1, 0), EINVAL);
  REQUIRE(CHECK_OK(irqs(&d, EVENTFD | TRIGGER, REQ, 1, fd)));
  CHECK_OK(irqs(&d, NONE | TRIGGER, REQ, 1, 0));
  CHECK_EQ(interrupts(fd), 1);
  CHECK_OK(irqs(&d, BOOL | TRIGGER, REQ, 1, 1));
  CHECK_EQ(interrupts(fd), 1);
  CHECK_ERR(irqs(&d, EVENTFD | TRIGGER, REQ, 1, -2), EINVAL);
  CHECK_OK(irqs(&d, EVENTFD | TRIGGER, REQ, 1, -1));
  CHECK_ERR(irqs(&d, NONE | TRIGGER, REQ, 1, 0), EINVAL);
  REQUIRE(CHECK_OK(irqs(&d, EVENTFD | TRIGGER, REQ, 1, fd)));
  CHECK_OK(irqs(&d, NONE | TRIGGER, REQ, 0, 0));
}

/* ---- reset, features, life of a descriptor ----------------------------------------------------------- */

SECTION("vfio-device 14");

TEST(V30, "RESET: as GET_INFO says; registers are at their reset values") {
  const struct edu e = edu_from(device_in_use());
  struct vfio_device_info info = {.argsz = sizeof(info)};
  REQUIRE(CHECK_OK(ioctl(e.dev.fd, VFIO_DEVICE_GET_INFO, &info)));
  edu_write4(&e, EDU_LIVENESS, 0x12345678);
  if (!(info.flags & VFIO_DEVICE_FLAGS_RESET)) {
    CHECK_ERR(ioctl(e.dev.fd, VFIO_DEVICE_RESET), EINVAL);
    return;
  }
  CHECK_OK(ioctl(e.dev.fd, VFIO_DEVICE_RESET));
  set_command(&e, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
  CHECK_EQ(edu_read4(&e, EDU_LIVENESS), 0);
}

SECTION("vfio-device 16");

TEST(V31, "FEATURE: argsz, flags, and features that vfio-pci does not have") {
  const struct vdev d = device_in_use();
  _Alignas(8) char buffer[64] = {0};
  struct vfio_device_feature* f = (struct vfio_device_feature*)buffer;
  f->argsz = 7;
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_FEATURE, f), EINVAL);
  f->argsz = sizeof(buffer);
  f->flags = 1u << 19;
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_FEATURE, f), EINVAL);
  f->flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET | 1;
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_FEATURE, f), EINVAL);
  f->flags = VFIO_DEVICE_FEATURE_GET | 0xff0;
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_FEATURE, f), ENOTTY);
  f->flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION;
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_FEATURE, f), ENOTTY);
  f->flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_BUS_MASTER;
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_FEATURE, f), ENOTTY);
}

SECTION("vfio-device 3");

TEST(V32, "a device descriptor is always ready, and cannot be added to an epoll") {
  const struct vdev d = device_in_use();
  struct pollfd p = {.fd = d.fd, .events = POLLIN | POLLOUT};
  struct epoll_event event = {.events = EPOLLIN};
  const int epoll = keep(epoll_create1(EPOLL_CLOEXEC));
  CHECK_EQ(poll(&p, 1, 0), 1);
  CHECK_EQ(p.revents, POLLIN | POLLOUT);
  CHECK_ERR(epoll_ctl(epoll, EPOLL_CTL_ADD, d.fd, &event), EPERM);
}

SECTION("vfio-device 19");

TEST(V33, "open, bind, attach, close, 200 times: the device is free again at once") {
  need_node();
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  for (int i = 0; i < 200; i++) {
    struct vdev d = open_device(kind());
    REQUIRE(CHECK_OK(bind_to(&d, iommufd)));
    REQUIRE(CHECK_EQ(d.id, 2));
    REQUIRE(CHECK_OK(attach_to(&d, ioas)));
    close_kept(d.fd);
  }
}

TEST(V34, "several opens; the last close of a dup unbinds") {
  need_node();
  const int iommufd = open_iommufd();
  struct vdev d = open_and_bind(kind(), 0, iommufd), second = open_device(kind());
  const int same = keep(dup(d.fd));
  close_kept(d.fd);
  CHECK_ERR(bind_to(&second, iommufd), EINVAL);
  d.fd = same;
  CHECK_OK(attach_to(&d, ioas_alloc(iommufd)));
  close_kept(same);
  CHECK_OK(bind_to(&second, iommufd));
}

TEST(V35, "after close and bind: bus mastering is off, registers are reset, interrupts are off") {
  need_node();
  const int iommufd = open_iommufd();
  struct edu e = edu_open(kind(), 0, iommufd);
  uint16_t command = 0xffff;
  REQUIRE(CHECK_OK(irqs(&e.dev, EVENTFD | TRIGGER, MSI, 1, new_eventfd())));
  edu_write8(&e, EDU_DMA_SOURCE, 0x1234);
  close_kept(e.dev.fd);
  e.dev = open_and_bind(kind(), 0, iommufd);
  CHECK_EQ(pread(e.dev.fd, &command, 2, (off_t)(e.config + PCI_COMMAND)), 2);
  CHECK_EQ(command & PCI_COMMAND_MASTER, 0);
  CHECK_ERR(irqs(&e.dev, NONE | TRIGGER, MSI, 1, 0), EINVAL);
}
