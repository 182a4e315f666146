/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A mapping that another thread is making: what everybody else is told meanwhile (spec iommufd-core 3.12, rows U12 and K13).
 * MAP is kept waiting by a page that userfaultfd holds back, which needs a privileged user, and the test ABI.
 */
#define _GNU_SOURCE
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "test_abi.h"

#define AT APERTURE
#define LENGTH (2 * PAGE)

struct waiting_map {
  int fd, uffd;
  uint32_t ioas, hwpt;
  uint8_t* memory;
  pthread_t thread;
  _Atomic int result; /* errno of the MAP */
};

static void* map_memory(void* arg) {
  struct waiting_map* m = arg;
  m->result = map_fixed(m->fd, m->ioas, m->memory, LENGTH, AT) < 0 ? errno : 0;
  return NULL;
}

/* An IOAS with a page table, to which nothing is mapped yet. */
static struct waiting_map prepare(void) {
  struct waiting_map m = {.fd = open_test_iommufd(), .memory = pages(LENGTH), .result = -1};
  struct uffdio_api api = {.api = UFFD_API};
  struct uffdio_register region = {.range = {.start = (uintptr_t)m.memory, .len = LENGTH},
                                   .mode = UFFDIO_REGISTER_MODE_MISSING};
  m.uffd = keep((int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
  if (m.uffd < 0) SKIP("userfaultfd for faults of the kernel: %s", errno_text(errno));
  REQUIRE(CHECK_OK(ioctl(m.uffd, UFFDIO_API, &api)));
  REQUIRE(CHECK_OK(ioctl(m.uffd, UFFDIO_REGISTER, &region)));
  m.ioas = ioas_alloc(m.fd);
  m.hwpt = mock_domain(m.fd, m.ioas).hwpt;
  return m;
}

/* After it the MAP waits for memory. */
static void start(struct waiting_map* m) {
  struct pollfd p = {.fd = m->uffd, .events = POLLIN};
  REQUIRE(CHECK_EQ(pthread_create(&m->thread, NULL, map_memory, m), 0));
  CHECK_EQ(poll(&p, 1, 5000), 1);
}

static void finish(struct waiting_map* m) {
  struct uffdio_zeropage zero = {.range = {.start = (uintptr_t)m->memory, .len = LENGTH}};
  CHECK_EQ(m->result, -1);
  CHECK_OK(ioctl(m->uffd, UFFDIO_ZEROPAGE, &zero));
  pthread_join(m->thread, NULL);
  CHECK_EQ(m->result, 0);
  CHECK_OK(check_map(m->fd, m->hwpt, AT, LENGTH, m->memory));
}

SECTION("iommufd-core 3.12");

TEST(U12, "UNMAP of a mapping in progress, of more and of everything: EBUSY; when it is done: ok") {
  struct waiting_map m = prepare();
  uint64_t length = MAX;
  start(&m);
  CHECK_ERR(unmap(m.fd, m.ioas, AT, LENGTH), EBUSY);
  CHECK_ERR(unmap(m.fd, m.ioas, AT, PAGE), EBUSY); /* before "not as a whole" */
  CHECK_ERR(unmap(m.fd, m.ioas, AT, 16 * LENGTH), EBUSY);
  CHECK_ERR(unmap_full(m.fd, m.ioas, 0, &length), EBUSY);
  CHECK_EQ(length, MAX);
  finish(&m);
  CHECK_OK(unmap(m.fd, m.ioas, AT, LENGTH));
}

TEST(U12e,
     "other mappings and other IOASes do not wait for a mapping in progress, and UNMAP of everything leaves them") {
  struct waiting_map m = prepare();
  uint64_t length = MAX;
  uint32_t copies = ioas_alloc(m.fd);
  uint8_t* memory = pages(PAGE);
  REQUIRE(CHECK_OK(map_fixed(m.fd, copies, memory, PAGE, 0)));
  start(&m);
  REQUIRE(CHECK_OK(map_fixed(m.fd, m.ioas, memory, PAGE, AT + LENGTH))); /* elsewhere: does not wait */
  CHECK_ERR(unmap_full(m.fd, m.ioas, 0, &length), EBUSY);
  CHECK_EQ(length, MAX);
  CHECK_OK(check_refs(m.fd, memory, PAGE, 1)); /* comes behind it */
  CHECK_OK(unmap(m.fd, m.ioas, AT + LENGTH, PAGE));
  CHECK_OK(unmap(m.fd, copies, 0, PAGE)); /* another IOAS does not wait either */
  finish(&m);
}

TEST(K13, "access to a mapping in progress: rw and pin ENOENT; when it is done: ok") {
  struct waiting_map m = prepare();
  const int access = create_access(m.fd, m.ioas, NEEDS_PIN);
  uint8_t byte = 7;
  start(&m);
  CHECK_ERR(access_rw(m.fd, access, AT, &byte, 1, 0), ENOENT);
  CHECK_ERR(access_rw(m.fd, access, AT, &byte, 1, TEST_WRITE), ENOENT);
  CHECK_ERR(access_pin(m.fd, access, AT, PAGE, NULL, 0, NULL), ENOENT);
  finish(&m);
  CHECK_OK(access_rw(m.fd, access, AT, &byte, 1, 0));
  CHECK_EQ(byte, 0);
  CHECK_OK(access_pin(m.fd, access, AT, PAGE, m.memory, 0, NULL));
}

TEST(U12m, "MAP and COPY over a mapping in progress EEXIST, COPY from it ENOENT, reserving a byte of it EADDRINUSE") {
  struct waiting_map m = prepare();
  const uint32_t other = ioas_alloc(m.fd);
  uint8_t* memory = pages(PAGE);
  REQUIRE(CHECK_OK(map_fixed(m.fd, other, memory, PAGE, 0x10000)));
  start(&m);
  CHECK_ERR(map_fixed(m.fd, m.ioas, memory, PAGE, AT + PAGE), EEXIST);
  CHECK_ERR(copy_fixed(m.fd, RW, m.ioas, other, PAGE, 0x10000, AT), EEXIST);
  CHECK_ERR(copy_fixed(m.fd, RW, other, m.ioas, PAGE, AT, 0x20000), ENOENT);
  CHECK_ERR(add_reserved(m.fd, m.ioas, AT + LENGTH - 1, 1), EADDRINUSE);
  CHECK_ERR(destroy(m.fd, m.ioas), EBUSY);
  finish(&m);
  CHECK_OK(copy_fixed(m.fd, RW, other, m.ioas, PAGE, AT, 0x20000));
}

TEST(U12a, "automatic IOVAs are found around a mapping in progress") {
  struct waiting_map m = prepare();
  const struct iommu_iova_range allowed = {AT + PAGE, AT + LENGTH + PAGE - 1};
  uint8_t* memory = pages(PAGE);
  uint64_t iova;
  REQUIRE(CHECK_OK(allow_iovas(m.fd, m.ioas, &allowed, 1)));
  start(&m);
  CHECK_OK(map_va(m.fd, m.ioas, (uintptr_t)memory, PAGE, &iova));
  CHECK_EQ(iova, AT + LENGTH);
  CHECK_ERR(map_va(m.fd, m.ioas, (uintptr_t)memory, PAGE, &iova), ENOSPC);
  finish(&m);
}

TEST(U12t, "UNMAP_DMA, version 1, that would cut a mapping in progress: EBUSY, struct as it was") {
  struct waiting_map m = prepare();
  struct iommu_vfio_ioas compat = {.size = sizeof(compat), .ioas_id = m.ioas, .op = IOMMU_VFIO_IOAS_SET};
  struct vfio_iommu_type1_dma_unmap cmd = {.argsz = sizeof(cmd), .iova = AT, .size = PAGE};
  REQUIRE(CHECK_OK(ioctl(m.fd, IOMMU_VFIO_IOAS, &compat)));
  REQUIRE(CHECK_OK(ioctl(m.fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU)));
  start(&m);
  CHECK_ERR(ioctl(m.fd, VFIO_IOMMU_UNMAP_DMA, &cmd), EBUSY);
  CHECK_EQ(cmd.size, PAGE);
  finish(&m);
  CHECK_OK(ioctl(m.fd, VFIO_IOMMU_UNMAP_DMA, &cmd));
}

SECTION("iommufd-core 3.10");

TEST(P07, "CHANGE_PROCESS does not see a mapping in progress (the kernel crashes: defect Q6)") {
  struct waiting_map m;
  struct iommu_ioas_change_process cmd = {.size = sizeof(cmd)};
  if (!simulated()) SKIP("it crashes the kernel");
  m = prepare();
  start(&m);
  CHECK_OK(ioctl(m.fd, IOMMU_IOAS_CHANGE_PROCESS, &cmd));
  finish(&m);
  CHECK_ERR(ioctl(m.fd, IOMMU_IOAS_CHANGE_PROCESS, &cmd), EINVAL);
}
