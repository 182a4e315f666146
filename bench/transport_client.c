// SPDX-License-Identifier: BSD-3-Clause
/*
 * The client of transport_bench: an unmodified program that times its own system calls and prints one line
 * `NAME NANOSECONDS` per kind, the median of its batches.
 *
 *   transport_client native COUNT       calls that have nothing to do with iommufd
 *   transport_client filtered COUNT     the same under the smallest filter that looks at an argument of mmap: what
 *                                       no runner can avoid
 *   transport_client iommu COUNT BDF    calls that the server answers, on one device behind an IOMMU
 *   transport_client stores COUNT BDF   stores into the mapped BAR of an edu device that are trapped
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/iommufd.h>
#include <linux/seccomp.h>
#include <linux/vfio.h>

#include "bench/client.h"

#define BATCHES 15

/* Times `call(state)`, which returns 0 when it went well. */
static void time_calls(const char* name, long count, int (*call)(void*), void* state) {
  double batch[BATCHES];

  for (int b = -1; b < BATCHES; b++) { /* the first batch warms up */
    const double start = now_ns();

    for (long i = 0; i < count; i++)
      if (call(state)) fail(name);
    if (b >= 0) batch[b] = (now_ns() - start) / (double)count;
  }
  qsort(batch, BATCHES, sizeof(batch[0]), rising);
  printf("%s %.1f\n", name, batch[BATCHES / 2]);
  fflush(stdout);
}

/* ---- calls that concern nobody ----------------------------------------------------------------------- */

struct files {
  int zero;
  int regular;
  int pipe;
};

static int call_getppid(void* state) {
  (void)state;
  return syscall(SYS_getppid) < 0;
}

static int call_read(void* state) {
  char byte;

  return read(((struct files*)state)->zero, &byte, 1) != 1;
}

static int call_pread(void* state) {
  char byte;

  return pread(((struct files*)state)->regular, &byte, 1, 0) != 1;
}

static int call_mmap(void* state) {
  void* at = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, ((struct files*)state)->zero, 0);

  return at == MAP_FAILED || munmap(at, 4096);
}

static int call_foreign_ioctl(void* state) {
  int waiting;

  return ioctl(((struct files*)state)->pipe, FIONREAD, &waiting);
}

static int call_open(void* state) {
  const int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

  (void)state;
  return fd < 0 || close(fd);
}

static int call_stat(void* state) {
  struct stat st;

  (void)state;
  return stat("/etc/passwd", &st);
}

static void native_calls(long count) {
  int ends[2];
  struct files files = {open("/dev/zero", O_RDONLY | O_CLOEXEC), open("/proc/self/exe", O_RDONLY | O_CLOEXEC), -1};

  if (files.zero < 0 || files.regular < 0 || pipe(ends)) fail("files");
  files.pipe = ends[0];
  time_calls("getppid", count, call_getppid, &files);
  time_calls("read", count, call_read, &files);
  time_calls("pread", count, call_pread, &files);
  time_calls("mmap_munmap", count, call_mmap, &files);
  time_calls("foreign_ioctl", count, call_foreign_ioctl, &files);
  time_calls("open_close", count / 10 + 1, call_open, &files);
  time_calls("stat", count / 10 + 1, call_stat, &files);
}

static void install_smallest_filter(void) {
  struct sock_filter words[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ, SYS_mmap, 0, 1),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[4])),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog program = {sizeof(words) / sizeof(words[0]), words};

  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program))
    fail("seccomp");
}

/* ---- calls that the server answers ------------------------------------------------------------------- */

struct session {
  int iommu;
  int device;
  uint32_t device_id;
  uint32_t ioas_id;
  uint64_t config;
  void* page;
};

/* 40 bytes in, 40 bytes out, and next to no work between: what a request costs. */
static int call_hw_info(void* state) {
  const struct session* s = state;
  struct iommu_hw_info info = {.size = sizeof(info), .dev_id = s->device_id};

  return ioctl(s->iommu, IOMMU_GET_HW_INFO, &info);
}

static int call_map_unmap(void* state) {
  const struct session* s = state;
  struct iommu_ioas_map map = {.size = sizeof(map),
                               .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
                               .ioas_id = s->ioas_id,
                               .user_va = (uintptr_t)s->page,
                               .length = 4096,
                               .iova = 0x100000};
  struct iommu_ioas_unmap unmap = {.size = sizeof(unmap), .ioas_id = s->ioas_id, .iova = 0x100000, .length = 4096};

  return ioctl(s->iommu, IOMMU_IOAS_MAP, &map) || ioctl(s->iommu, IOMMU_IOAS_UNMAP, &unmap);
}

static int call_config_read(void* state) {
  const struct session* s = state;
  uint32_t value;

  return pread(s->device, &value, sizeof(value), (off_t)s->config) != sizeof(value);
}

static void iommu_calls(long count, const char* bdf) {
  struct session s = {.iommu = open("/dev/iommu", O_RDWR | O_CLOEXEC), .device = open_node_of(bdf)};
  struct vfio_device_bind_iommufd bind = {.argsz = sizeof(bind), .iommufd = s.iommu};
  struct iommu_ioas_alloc alloc = {.size = sizeof(alloc)};
  struct vfio_device_attach_iommufd_pt attach = {.argsz = sizeof(attach)};
  struct vfio_region_info config = {.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX};

  if (s.iommu < 0) fail("/dev/iommu");
  if (ioctl(s.device, VFIO_DEVICE_BIND_IOMMUFD, &bind)) fail("VFIO_DEVICE_BIND_IOMMUFD");
  if (ioctl(s.iommu, IOMMU_IOAS_ALLOC, &alloc)) fail("IOMMU_IOAS_ALLOC");
  attach.pt_id = alloc.out_ioas_id;
  if (ioctl(s.device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach)) fail("VFIO_DEVICE_ATTACH_IOMMUFD_PT");
  if (ioctl(s.device, VFIO_DEVICE_GET_REGION_INFO, &config)) fail("VFIO_DEVICE_GET_REGION_INFO");
  s.device_id = bind.out_devid;
  s.ioas_id = alloc.out_ioas_id;
  s.config = config.offset;
  s.page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (s.page == MAP_FAILED) fail("mmap");
  time_calls("ioctl_40b", count, call_hw_info, &s);
  time_calls("map_unmap_4k", count, call_map_unmap, &s);
  time_calls("config_read_4b", count, call_config_read, &s);
}

/* ---- stores into a mapped BAR ------------------------------------------------------------------------ */

static int store_register(void* state) {
  volatile uint32_t* const liveness = (volatile uint32_t*)((char*)state + 4);

  *liveness = 0x5a;
  return *liveness != ~0x5au; /* done: a poller would not have been as quick */
}

static void stores(long count, const char* bdf) {
  const int iommu = open("/dev/iommu", O_RDWR | O_CLOEXEC), device = open_node_of(bdf);
  struct vfio_device_bind_iommufd bind = {.argsz = sizeof(bind), .iommufd = iommu};
  struct vfio_region_info config = {.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX};
  struct vfio_region_info bar = {.argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX};
  const uint16_t decode = 2;
  void* registers;

  if (iommu < 0) fail("/dev/iommu");
  if (ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind)) fail("VFIO_DEVICE_BIND_IOMMUFD");
  if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config)) fail("VFIO_DEVICE_GET_REGION_INFO");
  if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &bar)) fail("VFIO_DEVICE_GET_REGION_INFO");
  if (pwrite(device, &decode, sizeof(decode), (off_t)config.offset + 4) != sizeof(decode)) fail("PCI_COMMAND");
  registers = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, device, (off_t)bar.offset);
  if (registers == MAP_FAILED) fail("mmap");
  time_calls("exact_store", count, store_register, registers);
}

int main(int argc, char** argv) {
  const long count = argc > 2 ? strtol(argv[2], NULL, 10) : 0;

  if (argc == 3 && !strcmp(argv[1], "native") && count > 0) {
    native_calls(count);
  } else if (argc == 3 && !strcmp(argv[1], "filtered") && count > 0) {
    install_smallest_filter();
    native_calls(count);
  } else if (argc == 4 && !strcmp(argv[1], "iommu") && count > 0) {
    iommu_calls(count, argv[3]);
  } else if (argc == 4 && !strcmp(argv[1], "stores") && count > 0) {
    stores(count, argv[3]);
  } else {
    fprintf(stderr, "usage: transport_client native COUNT | iommu COUNT BDF | stores COUNT BDF\n");
    return 2;
  }
  return 0;
}
