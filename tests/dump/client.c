// SPDX-License-Identifier: BSD-3-Clause
// client wait|churn NODE...: attaches each device to an IOAS of its own and maps the same memory at the same IOVAs in all of
// them. The last device has no IOMMU: it says where the pages are, "page IOVA PA ACCESS" for each. After "ready PID" it waits for
// the end of its input, and maps, unmaps, makes and destroys meanwhile (churn). It ends without undoing anything.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u
enum { MAX_DEVICES = 8, FIXED = IOMMU_IOAS_MAP_FIXED_IOVA, R = IOMMU_IOAS_MAP_READABLE, W = IOMMU_IOAS_MAP_WRITEABLE };

static const struct area {
  uint64_t iova, length;
  uint32_t access;
} areas[] = {
    {0x100000, 8 * PAGE, R | W},
    {0x108000, PAGE, R},
    {0x40000000, 4 << 20, R},
    {0x8000001000, PAGE, W},
};
enum { AREAS = sizeof(areas) / sizeof(areas[0]) };

static int iommufd, num_devices;
static uint32_t ioas[MAX_DEVICES], devices[MAX_DEVICES];

static void check(int result, const char* what) {
  if (result >= 0) return;
  printf("failed: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int map(uint32_t id, const void* va, const struct area* a) {
  struct iommu_ioas_map cmd = {.size = sizeof(cmd),
                               .flags = FIXED | a->access,
                               .ioas_id = id,
                               .user_va = (uintptr_t)va,
                               .length = a->length,
                               .iova = a->iova};
  return ioctl(iommufd, IOMMU_IOAS_MAP, &cmd);
}

static void set_up(const char* node) {
  struct iommu_ioas_alloc alloc = {.size = sizeof(alloc)};
  struct vfio_device_bind_iommufd bind = {.argsz = sizeof(bind), .iommufd = iommufd};
  struct vfio_device_attach_iommufd_pt attach = {.argsz = sizeof(attach)};
  char path[256];
  int device;
  snprintf(path, sizeof(path), "/dev/vfio/devices/%s", node);
  device = open(path, O_RDWR);
  check(device, path);
  check(ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind), "bind");
  check(ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc), "alloc");
  attach.pt_id = alloc.out_ioas_id;
  check(ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach), "attach");
  devices[num_devices] = bind.out_devid;
  ioas[num_devices++] = alloc.out_ioas_id;
}

static void say_where(uint32_t id, const struct area* a) {
  for (uint64_t at = a->iova; at < a->iova + a->length; at += PAGE) {
    struct iommu_ioas_noiommu_get_pa cmd = {.size = sizeof(cmd), .ioas_id = id, .iova = at, .length = PAGE};
    check(ioctl(iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &cmd), "get_pa");
    printf("page %#" PRIx64 " %#" PRIx64 " %c%c\n", at, (uint64_t)cmd.out_phys, a->access & R ? 'r' : '-',
           a->access & W ? 'w' : '-');
  }
}

// Tables come and go: each round uses a part of the address space of its own.
static void* churn(void* memory) {
  for (unsigned n = 0;; n++) {
    const struct area a = {0x10000000000 + (uint64_t)(n % 64) * 0x8000000, 64 * PAGE, R | W};
    const uint32_t id = ioas[n % (unsigned)num_devices];
    struct iommu_ioas_unmap cmd = {.size = sizeof(cmd), .ioas_id = id, .iova = a.iova, .length = a.length};
    if (map(id, memory, &a) == 0) check(ioctl(iommufd, IOMMU_IOAS_UNMAP, &cmd), "unmap");
  }
  return NULL;
}

static void destroy(uint32_t id) {
  struct iommu_destroy cmd = {.size = sizeof(cmd), .id = id};
  check(ioctl(iommufd, IOMMU_DESTROY, &cmd), "destroy");
}

// Nobody who looks makes IOMMU_DESTROY fail.
static void* come_and_go(void* unused) {
  for (unsigned n = 0;; n++) {
    struct iommu_ioas_alloc alloc = {.size = sizeof(alloc)};
    struct iommu_hwpt_alloc hwpt = {.size = sizeof(hwpt), .dev_id = devices[n % (unsigned)num_devices]};
    check(ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc), "alloc");
    hwpt.pt_id = alloc.out_ioas_id;
    check(ioctl(iommufd, IOMMU_HWPT_ALLOC, &hwpt), "hwpt_alloc");
    destroy(hwpt.out_hwpt_id);
    destroy(alloc.out_ioas_id);
  }
  return unused;
}

int main(int argc, char** argv) {
  uint8_t* memory = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char byte;
  if (argc < 3 || memory == MAP_FAILED) return 1;
  memory += (2u << 20) - (uintptr_t)memory % (2u << 20);
  madvise(memory, 4 << 20, MADV_HUGEPAGE);
  iommufd = open("/dev/iommu", O_RDWR);
  check(iommufd, "/dev/iommu");
  for (int i = 2; i < argc && num_devices < MAX_DEVICES; i++) set_up(argv[i]);
  for (int i = 0; i < num_devices; i++)
    for (int a = 0; a < AREAS; a++) check(map(ioas[i], memory, &areas[a]), "map");
  for (int a = 0; a < AREAS; a++) say_where(ioas[num_devices - 1], &areas[a]);
  if (strcmp(argv[1], "churn") == 0) {
    pthread_t thread;
    for (int i = 0; i < 2; i++) pthread_create(&thread, NULL, churn, memory + i * 64 * PAGE);
    pthread_create(&thread, NULL, come_and_go, NULL);
  }
  printf("ready %d\n", (int)getpid());
  fflush(stdout);
  while (read(STDIN_FILENO, &byte, 1) > 0) continue;
  return 0;
}
