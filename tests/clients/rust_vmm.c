/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rust-vmm's vfio-ioctls, cloud-hypervisor and crosvm (clients.md 1.8): group flags compared exactly, one directory in
 * vfio-dev/, all of the guest's memory mapped, regions by pread and pwrite; under cloud-hypervisor's seccomp lists.
 */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "group_client.h"

SECTION("clients 1.8");

enum { GUEST = 64 << 20 };

static void use_device(int device, uint8_t* guest) {
  const struct vfio_device_info info = device_info(device);
  CHECK(info.flags & VFIO_DEVICE_FLAGS_PCI);
  CHECK_GE(info.num_regions, VFIO_PCI_CONFIG_REGION_INDEX + 1);
  CHECK_GE(info.num_irqs, VFIO_PCI_MSIX_IRQ_INDEX + 1);
  if (info.flags & VFIO_DEVICE_FLAGS_RESET) NEED(ioctl(device, VFIO_DEVICE_RESET));
  for (uint32_t i = 0; i < info.num_regions; i++) {
    struct vfio_region_info* region = calloc(1, 256);
    region->argsz = 256;
    region->index = i;
    if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, region) != 0) CHECK(i == VFIO_PCI_VGA_REGION_INDEX);
    free(region);
  }
  for (uint32_t i = 0; i <= VFIO_PCI_MSIX_IRQ_INDEX; i++) (void)irq_of(device, i);
  enable_device(device, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
  check_copy(device, 0x1000, 0x3000000, guest + 0x1000, guest + 0x3000000, PAGE);
  const int fd = keep(eventfd(0, EFD_CLOEXEC));
  NEED(set_irqs(device, VFIO_PCI_MSI_IRQ_INDEX, 1, &fd));
  NEED(raise_irq(device, VFIO_PCI_MSI_IRQ_INDEX, 0));
  CHECK(signalled(fd));
  NEED(set_irqs(device, VFIO_PCI_MSI_IRQ_INDEX, 0, NULL));
}

static uint8_t* guest_memory(void) {
  const int file = keep(memfd_create("ram", MFD_CLOEXEC));
  NEED(ftruncate(file, GUEST));
  uint8_t* guest = mmap(NULL, GUEST, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  REQUIRE(CHECK(guest != MAP_FAILED));
  return guest;
}

static void use_group(void) {
  const int container = keep(open("/dev/vfio/vfio", O_RDWR));
  NEED(container);
  CHECK_EQ(ioctl(container, VFIO_GET_API_VERSION), VFIO_API_VERSION);
  CHECK_EQ(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU), 1);
  const int group = keep(open(path("/dev/vfio/%u", group_number()), O_RDWR));
  NEED(group);
  CHECK_EQ(status_of(group), VFIO_GROUP_FLAGS_VIABLE); /* and nothing else */
  NEED(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
  NEED(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
  uint8_t* guest = guest_memory();
  NEED(container_map(container, guest, 0, GUEST));
  const int device = keep(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf()));
  NEED(device);
  use_device(device, guest);
  close_kept(device);
  CHECK_EQ(container_unmap(container, 0, 0, GUEST), GUEST);
  NEED(ioctl(group, VFIO_GROUP_UNSET_CONTAINER, &container));
}

static void use_iommufd(void) {
  char names[4][64];
  struct stat st;
  REQUIRE(CHECK_EQ(entries_of(device_path("vfio-dev"), names, 4), 1)); /* exactly one */
  NEED(lstat(path("%s/%s", device_path("vfio-dev"), names[0]), &st));
  CHECK(S_ISDIR(st.st_mode));
  const int iommufd = keep(open("/dev/iommu", O_RDWR));
  NEED(iommufd);
  struct vdev d = {.fd = keep(open(path("/dev/vfio/devices/%s", names[0]), O_RDWR))};
  NEED(d.fd);
  NEED(bind_to(&d, iommufd));
  const uint32_t ioas = ioas_alloc(iommufd);
  NEED(attach_to(&d, ioas));
  uint8_t* guest = guest_memory();
  NEED(map_fixed(iommufd, ioas, guest, GUEST, 0));
  use_device(d.fd, guest);
  struct iommu_ioas_unmap cmd = {.size = sizeof(cmd), .ioas_id = ioas, .length = GUEST};
  NEED(ioctl(iommufd, IOMMU_IOAS_UNMAP, &cmd));
  CHECK_EQ(cmd.length, GUEST);
  NEED(detach(&d));
  NEED(destroy(iommufd, ioas));
}

TEST(RUSTVMM1, "vfio-ioctls by group: flags exactly VIABLE, type 1 version 2, guest memory, device") { use_group(); }
TEST(RUSTVMM2, "vfio-ioctls by cdev: one directory in vfio-dev/, map, detach, destroy") { use_iommufd(); }

/* Kills the process for an ioctl that is not on the list, as the filters of cloud-hypervisor's threads do. */
static void allow_ioctls(const uint32_t* allowed, uint8_t num) {
  struct sock_filter code[64];
  uint16_t n = 0;
  REQUIRE(CHECK_LE(num, 48));
  code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 1, 0);
  code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1]));
  for (uint8_t i = 0; i < num; i++)
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], (uint8_t)(num - i), 0);
  code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const struct sock_fprog program = {n, code};
  NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  NEED((int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program));
}

static void use_group_filtered(void) {
  static const uint32_t allowed[] = {VFIO_GET_API_VERSION,     VFIO_CHECK_EXTENSION,     VFIO_SET_IOMMU,
                                     VFIO_GROUP_GET_STATUS,    VFIO_GROUP_SET_CONTAINER, VFIO_GROUP_UNSET_CONTAINER,
                                     VFIO_GROUP_GET_DEVICE_FD, VFIO_DEVICE_GET_INFO,     VFIO_DEVICE_GET_REGION_INFO,
                                     VFIO_DEVICE_GET_IRQ_INFO, VFIO_DEVICE_SET_IRQS,     VFIO_DEVICE_RESET,
                                     VFIO_IOMMU_MAP_DMA,       VFIO_IOMMU_UNMAP_DMA};
  allow_ioctls(allowed, sizeof(allowed) / sizeof(allowed[0]));
  use_group();
}

static int in_child(void (*run)(void)) {
  const pid_t child = fork();
  int status = -1;
  if (child == 0) {
    if (setjmp(harness.leave) == 0) run();
    fflush(stdout);
    _exit(harness.failed);
  }
  REQUIRE(CHECK_EQ(waitpid(child, &status, 0), child));
  return status;
}

static void use_another_ioctl(void) {
  static const uint32_t allowed[] = {VFIO_GET_API_VERSION};
  allow_ioctls(allowed, 1);
  ioctl(0, VFIO_CHECK_EXTENSION, 1);
}

TEST(RUSTVMM3, "cloud-hypervisor's seccomp lists: nothing but its own ioctls happens in its process") {
  CHECK_EQ(in_child(use_group_filtered), 0);
  CHECK(WIFSIGNALED(in_child(use_another_ioctl))); /* the list does what it is there for */
}
