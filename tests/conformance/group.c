/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VFIO groups and the devices opened through them (spec vfio-device 14, 18; noiommu 14). What a native container maps is in
 * type1.c. The same program runs for every way in (group.h).
 */
#define _GNU_SOURCE
#include "group.h"
#include "irqs.h"

#include <poll.h>
#include <sys/eventfd.h>

#define BASE 0x10000u
#define MOST (PAGE / 2) /* of one transfer: QEMU 7.2 ends at one of a page */

static bool native(void) { return way_is("type1") || way_is("type1v2"); }

SECTION("vfio-device 18");

TEST(J01, "a group is open once; its descriptor knows no other command") {
  const struct vdev d = nth_device(0);
  const int group = open_group(&d);
  uint64_t arg[8] = {64};
  CHECK_ERR(try_open_group(&d), EBUSY);
  CHECK_ERR(ioctl(group, VFIO_GET_API_VERSION), ENOTTY);
  CHECK_ERR(ioctl(group, VFIO_DEVICE_GET_INFO, arg), ENOTTY);
  CHECK_ERR(read(group, arg, 8), EINVAL);
  CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, group, 0) == MAP_FAILED && errno == ENODEV);
  close_kept(group);
  CHECK_OK(try_open_group(&d));
}

TEST(J02, "GET_STATUS: viable alone, with a container both bits; argsz") {
  const struct vdev d = nth_device(0);
  const int group = open_group(&d), container = open_container_file();
  struct vfio_group_status status = {.argsz = 7};
  CHECK_ERR(ioctl(group, VFIO_GROUP_GET_STATUS, &status), EINVAL);
  CHECK_ERR(ioctl(group, VFIO_GROUP_GET_STATUS, NULL), EFAULT);
  CHECK_EQ(group_flags(group), VFIO_GROUP_FLAGS_VIABLE);
  REQUIRE(CHECK_OK(set_container(group, container)));
  CHECK_EQ(group_flags(group), VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET);
  CHECK_OK(unset_container(group));
  CHECK_EQ(group_flags(group), VFIO_GROUP_FLAGS_VIABLE);
}

TEST(J03, "SET_CONTAINER: EFAULT, EBADF, EBADFD; once; UNSET_CONTAINER without one: EINVAL") {
  const struct vdev d = nth_device(0);
  const int group = open_group(&d), container = open_container_file();
  CHECK_ERR(unset_container(group), EINVAL);
  CHECK_ERR(ioctl(group, VFIO_GROUP_SET_CONTAINER, no_page()), EFAULT);
  CHECK_ERR(set_container(group, -1), EBADF);
  CHECK_ERR(set_container(group, 1000), EBADF);
  CHECK_ERR(set_container(group, keep(eventfd(0, 0))), EBADFD);
  CHECK_ERR(set_container(group, group), EBADFD);
  CHECK_OK(set_container(group, container));
  CHECK_ERR(set_container(group, container), EINVAL);
  CHECK_ERR(set_container(group, keep(eventfd(0, 0))), EINVAL);
  CHECK_OK(unset_container(group));
  CHECK_ERR(unset_container(group), EINVAL);
}

TEST(J04, "GET_DEVICE_FD: no container EINVAL, another device ENODEV, an option that it does not know EINVAL") {
  const struct vdev d = nth_device(0);
  const int group = open_group(&d), container = open_container_file();
  char name[64];
  CHECK_ERR(device_fd(group, d.bdf), EINVAL);
  CHECK_ERR(device_fd(group, "0000:1f:1f.7"), ENODEV);
  REQUIRE(CHECK_OK(set_container(group, container)));
  if (native()) CHECK_ERR(device_fd(group, d.bdf), EINVAL); /* no IOMMU yet */
  REQUIRE(CHECK_OK(set_iommu(container)));
  CHECK_ERR(device_fd(group, "0000:1f:1f.7"), ENODEV);
  CHECK_ERR(device_fd(group, (const char*)no_page()), EFAULT);
  snprintf(name, sizeof(name), "%s vf_token=2ab74924-c335-45f4-9b16-8569e5b08258", d.bdf);
  CHECK_ERR(device_fd(group, name), EINVAL);
  snprintf(name, sizeof(name), "%s fast=1", d.bdf);
  CHECK_ERR(device_fd(group, name), EINVAL);
  const int fd = device_fd(group, d.bdf);
  REQUIRE(CHECK_OK(fd));
  CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

SECTION("vfio-device 5");

TEST(J05, "a descriptor from a group is open for use, and does not bind or attach") {
  const struct setup s = set_up(0);
  struct vdev d = open_in_group(&s);
  struct vfio_device_info info = {.argsz = sizeof(info)};
  CHECK_OK(ioctl(d.fd, VFIO_DEVICE_GET_INFO, &info));
  CHECK(info.flags & VFIO_DEVICE_FLAGS_PCI);
  CHECK_GE(info.num_regions, 9);
  CHECK_GE(info.num_irqs, 5);
  CHECK_ERR(bind_to(&d, open_iommufd()), EINVAL);
  CHECK_ERR(attach_to(&d, 1), ENOTTY);
  CHECK_ERR(detach(&d), ENOTTY);
}

SECTION("noiommu 14");

TEST(J06,
     "group and node exclude each other: open group, then BIND; bound, then open group; unbound, then open group") {
  struct vdev d = nth_device(0), other = d;
  const int iommufd = open_iommufd();
  int group = open_group(&d);
  d.fd = keep(open_node(d.name, O_RDWR));
  REQUIRE(CHECK_OK(d.fd));
  CHECK_ERR(bind_to(&d, iommufd), EBUSY);
  close_kept(group);
  CHECK_OK(bind_to(&d, iommufd));
  other.fd = keep(open_node(d.name, O_RDWR));
  CHECK_ERR(bind_to(&other, iommufd), EINVAL);
  CHECK_ERR(try_open_group(&d), EBUSY);
  close_kept(d.fd);
  CHECK_OK(try_open_group(&d)); /* `other` is open, not bound */
}

SECTION("vfio-device 18");

TEST(J07, "a native container's devices keep the group open and in it; an iommufd's do not") {
  const struct setup s = set_up(0);
  const struct vdev d = open_in_group(&s);
  if (native()) {
    CHECK_ERR(unset_container(s.group), EBUSY);
    close_kept(s.group);
    CHECK_ERR(try_open_group(&d), EBUSY);
    close_kept(d.fd);
    CHECK_OK(try_open_group(&d));
  } else {
    CHECK_OK(unset_container(s.group));
    close_kept(s.group);
    CHECK_OK(try_open_group(&d));
  }
}

TEST(J08, "one device, two descriptors: the same registers; the last one closes it") {
  const struct setup s = set_up(0);
  const struct edu first = edu_from(open_in_group(&s));
  struct edu second = first;
  uint16_t command = 0;
  second.dev.fd = device_fd(s.group, s.device.bdf);
  REQUIRE(CHECK_OK(second.dev.fd));
  CHECK_NE(second.dev.fd, first.dev.fd);
  edu_write4(&first, EDU_LIVENESS, 0x12345678);
  CHECK_EQ(edu_read4(&second, EDU_LIVENESS), ~0x12345678u);
  close_kept(first.dev.fd);
  CHECK_EQ(edu_read4(&second, EDU_LIVENESS), ~0x12345678u);
  close_kept(second.dev.fd);
  const struct vdev again = open_in_group(&s);
  CHECK_EQ(pread(again.fd, &command, 2, (off_t)(first.config + PCI_COMMAND)), 2);
  CHECK_EQ(command & PCI_COMMAND_MASTER, 0);
}

TEST(J09, "the whole way: map, DMA there and back, an interrupt, reset, close") {
  const struct setup s = set_up(0);
  uint8_t* memory;
  if (kind() == NOIOMMU) SKIP("nothing is mapped there");
  memory = pages(4 * PAGE);
  REQUIRE(CHECK_OK(dma_map(s.container, DMA_RW, memory, BASE, 4 * PAGE)));
  const struct edu e = edu_from(open_in_group(&s));
  const int event = new_eventfd();
  struct pollfd waiting = {.fd = event, .events = POLLIN};
  uint64_t count = 0;
  CHECK_OK(set_event(&e.dev, MSI, event));
  fill(memory, PAGE, 1);
  edu_load(&e, BASE, MOST);
  edu_dma(&e, EDU_BUFFER, BASE + 2 * PAGE, MOST, EDU_TO_RAM | EDU_INTERRUPT);
  CHECK(filled(memory + 2 * PAGE, MOST, 1));
  CHECK_EQ(poll(&waiting, 1, 5000), 1);
  CHECK_EQ(read(event, &count, 8), 8);
  CHECK_EQ(count, 1);
  CHECK_OK(ioctl(e.dev.fd, VFIO_DEVICE_RESET));
  CHECK_EQ(edu_read4(&e, EDU_IRQ_STATUS), 0);
  close_kept(e.dev.fd);
  CHECK_OK(dma_unmap_range(s.container, BASE, 4 * PAGE));
  close_kept(s.group);
  CHECK_OK(try_open_group(&s.device));
}

TEST(J10, "what is unmapped is out of reach, and other mappings are not") {
  const struct setup s = set_up(0);
  uint8_t* memory;
  if (kind() == NOIOMMU) SKIP("nothing is mapped there");
  memory = pages(2 * PAGE);
  REQUIRE(CHECK_OK(dma_map(s.container, DMA_RW, memory, BASE, PAGE)));
  REQUIRE(CHECK_OK(dma_map(s.container, VFIO_DMA_MAP_FLAG_READ, memory + PAGE, BASE + PAGE, PAGE)));
  const struct edu e = edu_from(open_in_group(&s));
  fill(memory, 2 * PAGE, 3);
  edu_load(&e, BASE, 64);
  edu_store(&e, BASE + PAGE, 64); /* read only */
  CHECK(filled(memory, 2 * PAGE, 3));
  CHECK_OK(dma_unmap_range(s.container, BASE, PAGE));
  memset(memory, 0, 64);
  edu_store(&e, BASE, 64);
  CHECK_EQ(memory[0] | memory[63], 0);
  edu_load(&e, BASE + PAGE, 64);
}

SECTION("vfio-device 14");

TEST(J11, "hot reset: on a root bus ENODEV; the count must fit the way in") {
  const struct setup s = set_up(0);
  const struct vdev d = open_in_group(&s);
  uint32_t hit[20] = {sizeof(hit)};                             /* struct vfio_pci_hot_reset_info, and devices */
  uint32_t reset[4] = {sizeof(reset), 0, 0, (uint32_t)s.group}; /* struct vfio_pci_hot_reset, and one group */
  const int r = ioctl(d.fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, hit), saw = errno;
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_PCI_HOT_RESET, reset), EINVAL); /* count 0 */
  reset[2] = 1;
  if (r != 0) {
    CHECK_EQ(saw, ENODEV);
    CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_PCI_HOT_RESET, reset), ENODEV);
    return;
  }
  CHECK_EQ(hit[1], 0);
  CHECK_EQ(hit[2], 1);
  CHECK_OK(ioctl(d.fd, VFIO_DEVICE_PCI_HOT_RESET, reset));
  reset[3] = (uint32_t)s.container;
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_PCI_HOT_RESET, reset), EINVAL);
}

SECTION("noiommu 14");

TEST(J12, "without an IOMMU: extensions, types, and nothing to map") {
  if (kind() != NOIOMMU) SKIP("the group has an IOMMU");
  const struct vdev d = nth_device(0);
  const int group = open_group(&d), container = open_container_file();
  uint64_t size = PAGE;
  CHECK_EQ(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_NOIOMMU_IOMMU), 1);
  CHECK_EQ(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU), 1);
  REQUIRE(CHECK_OK(set_container(group, container)));
  CHECK_EQ(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_NOIOMMU_IOMMU), 1);
  CHECK_EQ(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU), 0);
  CHECK_EQ(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU), 0);
  CHECK_ERR(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), native() ? ENODEV : EINVAL);
  CHECK_OK(ioctl(container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU));
  CHECK_ERR(dma_map(container, DMA_RW, pages(PAGE), BASE, PAGE), native() ? ENOTTY : ENODEV);
  CHECK_ERR(dma_unmap(container, 0, BASE, &size), native() ? ENOTTY : ENODEV);
  CHECK_OK(device_fd(group, d.bdf));
}

/* Reads the entries of pages in /proc/self/pagemap. */
static void read_pagemap(const void* start, uint64_t* entries, unsigned count) {
  const int fd = keep(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  REQUIRE(CHECK_OK(fd));
  CHECK_ERR(pread(fd, entries, 4, (off_t)((uintptr_t)start / PAGE * 8)), EINVAL);
  CHECK_EQ(pread(fd, entries, count * 8, (off_t)((uintptr_t)start / PAGE * 8)), count * 8);
}

#define PRESENT (1ull << 63)
#define FRAME(entry) ((entry) & ((1ull << 55) - 1))

TEST(J14, "without an IOMMU: DMA to physical addresses from /proc/self/pagemap, which stay") {
  if (kind() != NOIOMMU) SKIP("the group has an IOMMU");
  const struct setup s = set_up(0);
  const struct edu e = edu_from(open_in_group(&s));
  uint8_t* memory = pages(4 * PAGE);
  uint64_t before[4], after[4];
  read_pagemap(memory, before, 4);
  for (int i = 0; i < 4; i++) CHECK_EQ(before[i] & PRESENT, 0);
  REQUIRE(CHECK_OK(mlock(memory, 3 * PAGE)));
  for (int i = 0; i < 3; i++) memory[i * PAGE] = 1; /* a sanitizer makes nothing of mlock */
  read_pagemap(memory, before, 4);
  for (int i = 0; i < 3; i++) CHECK((before[i] & PRESENT) && FRAME(before[i]) != 0);
  CHECK_EQ(before[3] & PRESENT, 0);
  fill(memory, PAGE, 5);
  edu_load(&e, FRAME(before[0]) * PAGE, MOST);
  edu_store(&e, FRAME(before[2]) * PAGE, MOST);
  CHECK(filled(memory + 2 * PAGE, MOST, 5));
  edu_store(&e, FRAME(before[1]) * PAGE + 16, 64);
  CHECK(filled(memory + PAGE + 16, 64, 5));
  read_pagemap(memory, after, 4);
  CHECK(memcmp(before, after, sizeof(before)) == 0);
}

TEST(J13, "a container holds groups of one sort: the other is EPERM, or EINVAL of an iommufd") {
  struct vdev with, without;
  const int container = open_container_file();
  if (!find_device(BEHIND_IOMMU, 0, &with) || !find_device(NOIOMMU, 0, &without)) SKIP("needs a device of each kind");
  if (kind() == NOIOMMU) SKIP("runs for the other kind");
  REQUIRE(CHECK_OK(set_container(open_group(&with), container)));
  const int other = keep(open_group_of(&without, NOIOMMU));
  REQUIRE(CHECK_OK(other));
  CHECK_ERR(set_container(other, container), native() ? EPERM : EINVAL);
}

SECTION("iommufd-core 6.1");

/* A group without an IOMMU, and an iommufd to be its container. */
static int noiommu_group(void) {
  const struct vdev d = nth_device(0);
  if (kind() != NOIOMMU || !way_is("iommufd")) SKIP("is about an iommufd and a group without an IOMMU");
  return open_group(&d);
}

TEST(T28, "a group without an IOMMU does not enter an iommufd that has a compat IOAS: EINVAL") {
  const int group = noiommu_group(), iommufd = open_iommufd();
  struct iommu_vfio_ioas cmd = {.size = sizeof(cmd), .ioas_id = ioas_alloc(iommufd), .op = IOMMU_VFIO_IOAS_SET};
  REQUIRE(CHECK_OK(ioctl(iommufd, IOMMU_VFIO_IOAS, &cmd)));
  CHECK_ERR(set_container(group, iommufd), EINVAL);
}

TEST_ROWS(T29, "T30", "with such a group in it: extensions 1, 3, 9 are 0 and 8 is 1; SET_IOMMU 3: EINVAL, 8: ok") {
  const int group = noiommu_group(), iommufd = open_iommufd();
  REQUIRE(CHECK_OK(set_container(group, iommufd)));
  CHECK_EQ(ioctl(iommufd, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU), 0);
  CHECK_EQ(ioctl(iommufd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU), 0);
  CHECK_EQ(ioctl(iommufd, VFIO_CHECK_EXTENSION, VFIO_UNMAP_ALL), 0);
  CHECK_EQ(ioctl(iommufd, VFIO_CHECK_EXTENSION, VFIO_NOIOMMU_IOMMU), 1);
  CHECK_ERR(ioctl(iommufd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), EINVAL);
  CHECK_OK(ioctl(iommufd, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU));
}
