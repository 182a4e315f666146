/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small NVMe driver over iommufd: it maps BAR 0, builds its queues, identifies, reads and writes, polled and by MSI-X, with
 * its memory shared (a memfd) or private. NVME4 measures; NVME_SECONDS says for how long.
 */
#include "client.h"

#include <sys/mman.h>
#include <time.h>

SECTION("nvme 11");

enum { PAGE_SIZE = 4096, MEMORY = 4 << 20, ADMIN = 32, DEPTH = 256 };
#define IOVA 0x40000000ull

struct sqe {
  uint8_t opcode, flags;
  uint16_t cid;
  uint32_t nsid, cdw2, cdw3;
  uint64_t mptr, prp1, prp2;
  uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
struct cqe {
  uint32_t result, reserved;
  uint16_t sq_head, sq_id, cid, status;
};
_Static_assert(sizeof(struct sqe) == 64 && sizeof(struct cqe) == 16, "NVMe 1.4, 4.2 and 4.6");

struct queue {
  unsigned id, size, tail, head;
  uint16_t phase;
  struct sqe* sq;
  volatile struct cqe* cq;
};

struct nvme {
  struct vdev dev;
  int iommufd;
  volatile char* bar;
  uint8_t* memory; /* at IOVA */
  struct queue admin, io;
};

static uint64_t iova_of(const struct nvme* n, const volatile void* p) {
  return IOVA + (uint64_t)((const volatile uint8_t*)p - n->memory);
}
static volatile uint32_t* reg(const struct nvme* n, unsigned offset) { return (volatile uint32_t*)(n->bar + offset); }
static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
static bool ready_is(const struct nvme* n, uint32_t ready) {
  const uint64_t end = now_ns() + 7500000000u;
  while ((__atomic_load_n(reg(n, 0x1c), __ATOMIC_ACQUIRE) & 1) != ready)
    if (now_ns() > end) return false;
  return true;
}

static void put(struct queue* q, const struct sqe* s) {
  q->sq[q->tail] = *s;
  q->tail = (q->tail + 1) % q->size;
}
static void ring_tail(const struct nvme* n, const struct queue* q) {
  __atomic_store_n(reg(n, 0x1000 + 8 * q->id), q->tail, __ATOMIC_RELEASE);
}
static bool take(const struct nvme* n, struct queue* q, struct cqe* out) {
  volatile struct cqe* c = &q->cq[q->head];
  if ((__atomic_load_n(&c->status, __ATOMIC_ACQUIRE) & 1) != q->phase) return false;
  *out = *c;
  if (++q->head == q->size) {
    q->head = 0;
    q->phase ^= 1;
  }
  (void)n;
  return true;
}
static void ring_head(const struct nvme* n, const struct queue* q) {
  __atomic_store_n(reg(n, 0x1004 + 8 * q->id), q->head, __ATOMIC_RELEASE);
}
/* The status of one command, polled for. */
static unsigned run(const struct nvme* n, struct queue* q, struct sqe s) {
  struct cqe c;
  const uint64_t end = now_ns() + 10000000000u;
  s.cid = (uint16_t)(q->tail + 1);
  put(q, &s);
  ring_tail(n, q);
  while (!take(n, q, &c)) REQUIRE(CHECK(now_ns() < end));
  ring_head(n, q);
  CHECK_EQ(c.cid, s.cid);
  return c.status >> 1;
}

enum sharing { PRIVATE, SHARED };

static struct nvme opened(enum sharing sharing) {
  char names[4][64];
  struct nvme n = {0};
  REQUIRE(CHECK_GE(entries_of(device_path("vfio-dev"), names, 4), 1));
  n.iommufd = keep(open("/dev/iommu", O_RDWR));
  NEED(n.iommufd);
  n.dev.fd = keep(open(path("/dev/vfio/devices/%s", names[0]), O_RDWR));
  NEED(n.dev.fd);
  NEED(bind_to(&n.dev, n.iommufd));
  const uint32_t ioas = ioas_alloc(n.iommufd);
  NEED(attach_to(&n.dev, ioas));
  enable_device(n.dev.fd, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
  const struct vfio_region_info bar = region_of(n.dev.fd, VFIO_PCI_BAR0_REGION_INDEX);
  REQUIRE(CHECK(bar.flags & VFIO_REGION_INFO_FLAG_MMAP));
  n.bar = map_bar(n.dev.fd, &bar, PROT_READ | PROT_WRITE);
  const int memfd = sharing == SHARED ? keep(memfd_create("driver", MFD_CLOEXEC)) : -1;
  if (sharing == SHARED) NEED(ftruncate(memfd, MEMORY));
  n.memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, sharing == SHARED ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS,
                  memfd, 0);
  REQUIRE(CHECK(n.memory != MAP_FAILED));
  memset(n.memory, 0, MEMORY);
  NEED(map_fixed(n.iommufd, ioas, n.memory, MEMORY, IOVA));

  n.admin = (struct queue){.id = 0,
                           .size = ADMIN,
                           .phase = 1,
                           .sq = (struct sqe*)n.memory,
                           .cq = (volatile struct cqe*)(n.memory + PAGE_SIZE)};
  *reg(&n, 0x14) = 0;
  REQUIRE(CHECK(ready_is(&n, 0)));
  *reg(&n, 0x24) = (ADMIN - 1) | (ADMIN - 1) << 16;
  *(volatile uint64_t*)reg(&n, 0x28) = iova_of(&n, n.admin.sq);
  *(volatile uint64_t*)reg(&n, 0x30) = iova_of(&n, n.admin.cq);
  __atomic_store_n(reg(&n, 0x14), 0x00460001, __ATOMIC_RELEASE);
  REQUIRE(CHECK(ready_is(&n, 1)));

  n.io = (struct queue){.id = 1,
                        .size = DEPTH,
                        .phase = 1,
                        .sq = (struct sqe*)(n.memory + 2 * PAGE_SIZE),
                        .cq = (volatile struct cqe*)(n.memory + 6 * PAGE_SIZE)};
  REQUIRE(CHECK_EQ(
      run(&n, &n.admin,
          (struct sqe){
              .opcode = 5, .prp1 = iova_of(&n, n.io.cq), .cdw10 = 1 | (DEPTH - 1) << 16, .cdw11 = 3 | 1 << 16}),
      0));
  REQUIRE(CHECK_EQ(
      run(&n, &n.admin,
          (struct sqe){
              .opcode = 1, .prp1 = iova_of(&n, n.io.sq), .cdw10 = 1 | (DEPTH - 1) << 16, .cdw11 = 1 | 1 << 16}),
      0));
  return n;
}

static struct sqe block_io(const struct nvme* n, uint8_t opcode, uint32_t block, uint32_t blocks, const void* data) {
  return (struct sqe){.opcode = opcode, .nsid = 1, .prp1 = iova_of(n, data), .cdw10 = block, .cdw12 = blocks - 1};
}

static void check_transfers(enum sharing sharing) {
  struct nvme n = opened(sharing);
  uint8_t *a = n.memory + (1 << 20), *b = a + PAGE_SIZE;
  CHECK_EQ(run(&n, &n.admin, (struct sqe){.opcode = 6, .prp1 = iova_of(&n, a), .cdw10 = 1}), 0);
  CHECK_EQ(a[0] | a[1] << 8, 0x1b36);
  for (unsigned i = 0; i < 600; i++) { /* more than once around the rings */
    for (unsigned k = 0; k < PAGE_SIZE; k++) a[k] = (uint8_t)(i * 31 + k);
    memset(b, 0, PAGE_SIZE);
    REQUIRE(CHECK_EQ(run(&n, &n.io, block_io(&n, 1, i * 8, 8, a)), 0));
    REQUIRE(CHECK_EQ(run(&n, &n.io, block_io(&n, 2, i * 8, 8, b)), 0));
    REQUIRE(CHECK(memcmp(a, b, PAGE_SIZE) == 0));
  }
  CHECK_EQ(run(&n, &n.io, (struct sqe){.opcode = 0, .nsid = 1}), 0);
  CHECK_EQ(run(&n, &n.io, (struct sqe){.opcode = 2, .nsid = 1, .prp1 = 0x1000, .cdw12 = 7}), 0x0004);
  munmap((void*)n.bar, 0x4000);
}

TEST(NVME1, "identify, write, read and compare, polled, in private memory") { check_transfers(PRIVATE); }
TEST(NVME2, "the same in a memfd") { check_transfers(SHARED); }

TEST(NVME3, "completions by MSI-X, a vector for each queue") {
  struct nvme n = opened(SHARED);
  int32_t fds[2];
  for (int i = 0; i < 2; i++) fds[i] = keep(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  NEED(set_irqs(n.dev.fd, VFIO_PCI_MSIX_IRQ_INDEX, 2, fds));
  struct cqe c;
  for (unsigned i = 0; i < 100; i++) {
    const struct sqe s = block_io(&n, 2, i, 1, n.memory + (1 << 20));
    put(&n.io, &s);
    ring_tail(&n, &n.io);
    REQUIRE(CHECK(signalled(fds[1])));
    REQUIRE(CHECK(take(&n, &n.io, &c)));
    ring_head(&n, &n.io);
    CHECK_EQ(c.status >> 1, 0);
  }
  const struct sqe s = {.opcode = 6, .prp1 = iova_of(&n, n.memory + (1 << 20)), .cdw10 = 1};
  put(&n.admin, &s);
  ring_tail(&n, &n.admin);
  CHECK(signalled(fds[0]));
  munmap((void*)n.bar, 0x4000);
}

/* Commands per second with `depth` of them in flight, and how long one takes. */
static void measure(struct nvme* device, uint8_t opcode, unsigned depth, double seconds, const char* what) {
  struct nvme n = *device;
  const uint64_t start = now_ns(), end = start + (uint64_t)(seconds * 1e9);
  uint64_t done = 0, sent = 0;
  struct cqe c;
  while (now_ns() < end) {
    bool any = false;
    for (; sent - done < depth; sent++, any = true) {
      struct sqe s = block_io(&n, opcode, (uint32_t)(sent * 2654435761u % 8192) * 8, 8,
                              n.memory + (1 << 20) + sent % depth * PAGE_SIZE);
      put(&n.io, &s);
    }
    if (any) ring_tail(&n, &n.io);
    any = false;
    while (take(&n, &n.io, &c)) {
      REQUIRE(CHECK_EQ(c.status >> 1, 0));
      done++;
      any = true;
    }
    if (any) ring_head(&n, &n.io);
  }
  const double took = (double)(now_ns() - start);
  while (done < sent) {
    if (!take(&n, &n.io, &c)) continue;
    done++;
    ring_head(&n, &n.io);
  }
  note("%s of 4 KiB, %u in flight: %.0f a second, %.2f us each", what, depth, (double)done / took * 1e9,
       took / (double)done / 1e3 * depth);
  device->io = n.io;
}

TEST(NVME4, "commands per second") {
  const double seconds = getenv("NVME_SECONDS") ? atof(getenv("NVME_SECONDS")) : 0.1;
  for (int shared = 0; shared < 2; shared++) {
    struct nvme n = opened(shared ? SHARED : PRIVATE);
    note("%s memory", shared ? "shared" : "private");
    for (unsigned depth = 1; depth <= 32; depth *= 32) {
      measure(&n, 1, depth, seconds, "writes");
      measure(&n, 2, depth, seconds, "reads");
    }
    munmap((void*)n.bar, 0x4000);
    close(n.dev.fd);
    close(n.iommufd);
  }
}
