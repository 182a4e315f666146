/* SPDX-License-Identifier: BSD-3-Clause */
/* Linux's VFIO selftests (clients.md 1.1): five ways to an IOMMU, exact errors, BARs by loads and stores alone. */
#include "group_client.h"

SECTION("clients 1.1");

enum mode { TYPE1, TYPE1V2, COMPAT_TYPE1, COMPAT_TYPE1V2, IOMMUFD };

struct machine {
  enum mode mode;
  int iommu; /* container or iommufd */
  uint32_t ioas;
  int group, device;
  struct vfio_region_info bars[6];
  volatile char* mapped[6]; /* NULL: not mapped */
};

static bool is_container(enum mode mode) { return mode != IOMMUFD; }
static bool has_iommufd(enum mode mode) { return mode >= COMPAT_TYPE1; }

static void open_by_group(struct machine* m) {
  static const unsigned long types[] = {VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU, VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU};
  m->group = keep(open(path("/dev/vfio/%u", group_number()), O_RDWR));
  NEED(m->group);
  CHECK(status_of(m->group) & VFIO_GROUP_FLAGS_VIABLE);
  NEED(ioctl(m->group, VFIO_GROUP_SET_CONTAINER, &m->iommu));
  CHECK_GE(ioctl(m->iommu, VFIO_CHECK_EXTENSION, types[m->mode]), 1);
  NEED(ioctl(m->iommu, VFIO_SET_IOMMU, types[m->mode]));
  m->device = keep(ioctl(m->group, VFIO_GROUP_GET_DEVICE_FD, bdf()));
  NEED(m->device);
}

/* The first name in vfio-dev/ that begins with "vfio". */
static int open_cdev(void) {
  char name[64] = "";
  DIR* dir = opendir(device_path("vfio-dev/"));
  struct dirent* e;
  REQUIRE(CHECK(dir != NULL));
  while ((e = readdir(dir)) && !name[0])
    if (strncmp("vfio", e->d_name, 4) == 0) snprintf(name, sizeof(name), "%.63s", e->d_name);
  closedir(dir);
  return keep(open(path("/dev/vfio/devices/%s", name), O_RDWR));
}

static void open_by_cdev(struct machine* m) {
  struct vdev d = {.fd = open_cdev()};
  NEED(d.fd);
  NEED(bind_to(&d, m->iommu));
  m->ioas = ioas_alloc(m->iommu);
  NEED(attach_to(&d, m->ioas));
  m->device = d.fd;
}

/* A BAR that can be mapped is mapped whole, at an address that the program has reserved. */
static volatile char* map_whole(int device, const struct vfio_region_info* bar) {
  REQUIRE(CHECK((bar->size & (bar->size - 1)) == 0));
  char* reserved = mmap(NULL, 2 * bar->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(CHECK(reserved != MAP_FAILED));
  char* at = (char*)(((uintptr_t)reserved + bar->size - 1) & ~(bar->size - 1));
  REQUIRE(CHECK(mmap(at, bar->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, device, (off_t)bar->offset) == at));
  (void)madvise(at, bar->size, MADV_HUGEPAGE); /* a hint; refused for some kinds of memory */
  return at;
}

static struct machine set_up(enum mode mode) {
  struct machine m = {.mode = mode, .group = -1};
  m.iommu = keep(open(has_iommufd(mode) ? "/dev/iommu" : "/dev/vfio/vfio", O_RDWR));
  NEED(m.iommu);
  if (is_container(mode)) {
    CHECK_EQ(ioctl(m.iommu, VFIO_GET_API_VERSION), VFIO_API_VERSION);
    if (has_iommufd(mode)) { /* the container's IOAS is there before the group asks for it */
      struct iommu_vfio_ioas cmd = {.size = sizeof(cmd), .op = IOMMU_VFIO_IOAS_SET, .ioas_id = ioas_alloc(m.iommu)};
      NEED(ioctl(m.iommu, IOMMU_VFIO_IOAS, &cmd));
    }
    open_by_group(&m);
  } else {
    open_by_cdev(&m);
  }
  (void)device_info(m.device);
  CHECK(!(region_of(m.device, VFIO_PCI_CONFIG_REGION_INDEX).flags & VFIO_REGION_INFO_FLAG_MMAP));
  for (uint32_t i = 0; i < 6; i++) {
    m.bars[i] = region_of(m.device, i);
    if (!(m.bars[i].flags & VFIO_REGION_INFO_FLAG_MMAP)) continue;
    m.mapped[i] = map_whole(m.device, &m.bars[i]);
  }
  REQUIRE(CHECK(m.mapped[0] != NULL));
  return m;
}

/* What the selftests do at the end of a test: a mapping would hold the device open. */
static void tear_down(const struct machine* m) {
  for (size_t i = 0; i < 6; i++)
    if (m->mapped[i]) munmap((void*)m->mapped[i], m->bars[i].size);
  close_kept(m->device);
  if (m->group >= 0) close_kept(m->group);
  close_kept(m->iommu);
}

static int dma_map(const struct machine* m, void* memory, uint64_t iova, uint64_t size) {
  return m->mode == IOMMUFD ? map_fixed(m->iommu, m->ioas, memory, size, iova)
                            : container_map(m->iommu, memory, iova, size);
}

static int dma_unmap(const struct machine* m, uint64_t iova, uint64_t size, uint64_t* unmapped) {
  if (m->mode == IOMMUFD) {
    struct iommu_ioas_unmap cmd = {.size = sizeof(cmd), .ioas_id = m->ioas, .iova = iova, .length = size};
    const int r = ioctl(m->iommu, IOMMU_IOAS_UNMAP, &cmd);
    *unmapped = cmd.length;
    return r;
  }
  *unmapped = (uint64_t)container_unmap(m->iommu, 0, iova, size);
  return *unmapped == UINT64_MAX ? -1 : 0;
}

static int dma_unmap_all(const struct machine* m, uint64_t* unmapped) {
  if (m->mode == IOMMUFD) return dma_unmap(m, 0, UINT64_MAX, unmapped);
  *unmapped = (uint64_t)container_unmap(m->iommu, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0);
  return *unmapped == UINT64_MAX ? -1 : 0;
}

/* The first usable address: IOVA ranges, asked for in two steps. */
static uint64_t first_iova(const struct machine* m) {
  if (is_container(m->mode)) {
    struct vfio_iova_range ranges[8];
    REQUIRE(CHECK_GE(container_ranges(m->iommu, ranges, 8), 1));
    return ranges[0].start;
  }
  struct iommu_ioas_iova_ranges cmd = {.size = sizeof(cmd), .ioas_id = m->ioas};
  CHECK_ERR(ioctl(m->iommu, IOMMU_IOAS_IOVA_RANGES, &cmd), EMSGSIZE);
  REQUIRE(CHECK_GE(cmd.num_iovas, 1));
  struct iommu_iova_range ranges[16];
  REQUIRE(CHECK_LE(cmd.num_iovas, 16));
  cmd.allowed_iovas = (uintptr_t)ranges;
  NEED(ioctl(m->iommu, IOMMU_IOAS_IOVA_RANGES, &cmd));
  return ranges[0].start;
}

static void check_dma_mapping(enum mode mode) {
  const struct machine m = set_up(mode);
  const uint64_t iova = first_iova(&m) + 0x200000;
  uint8_t* memory = pages(4 * PAGE);
  uint64_t unmapped = 0;
  NEED(dma_map(&m, memory, iova, 2 * PAGE));
  enable_device(m.device, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
  check_mapped_copy(m.mapped[0], iova, iova + PAGE, memory, memory + PAGE, PAGE);
  NEED(dma_unmap(&m, iova, 2 * PAGE, &unmapped));
  CHECK_EQ(unmapped, 2 * PAGE);
  NEED(dma_map(&m, memory, iova, 2 * PAGE));
  NEED(dma_map(&m, memory + 2 * PAGE, iova + 4 * PAGE, PAGE));
  NEED(dma_unmap_all(&m, &unmapped));
  CHECK_EQ(unmapped, 3 * PAGE);
  /* Beyond the last address: EOVERFLOW in every mode. */
  CHECK_ERR(dma_map(&m, memory, ~(uint64_t)PAGE + 1, 2 * PAGE), EOVERFLOW);
  CHECK_ERR(dma_unmap(&m, ~(uint64_t)PAGE + 1, 2 * PAGE, &unmapped), EOVERFLOW);
}

/* A BAR as the memory of a mapping: containers of VFIO take it, iommufd does not. */
static void check_mmio_mapping(enum mode mode) {
  const struct machine m = set_up(mode);
  const uint64_t iova = first_iova(&m) + 0x40000000;
  CHECK_EQ(dma_map(&m, (void*)m.mapped[0], iova, PAGE) == 0, !has_iommufd(mode));
}

static void check_device(enum mode mode) {
  const struct machine m = set_up(mode);
  static const uint32_t kinds[] = {VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX};
  const uint64_t config = region_of(m.device, VFIO_PCI_CONFIG_REGION_INDEX).offset;
  uint16_t vendor = 0, command = 0, written;
  REQUIRE(CHECK_EQ(pread(m.device, &vendor, 2, (off_t)config), 2));
  CHECK_EQ(vendor, number_of(device_path("vendor")));
  REQUIRE(CHECK_EQ(pread(m.device, &command, 2, (off_t)config + PCI_COMMAND), 2));
  written = command ^ PCI_COMMAND_MASTER;
  REQUIRE(CHECK_EQ(pwrite(m.device, &written, 2, (off_t)config + PCI_COMMAND), 2));
  REQUIRE(CHECK_EQ(pread(m.device, &command, 2, (off_t)config + PCI_COMMAND), 2));
  CHECK_EQ(command, written);
  for (size_t k = 0; k < 2; k++) {
    const struct vfio_irq_info info = irq_of(m.device, kinds[k]);
    if (info.count == 0) continue;
    int32_t fds[64];
    const uint32_t num = info.count < 64 ? info.count : 64;
    for (uint32_t i = 0; i < num; i++) fds[i] = keep(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    NEED(set_irqs(m.device, kinds[k], num, fds));
    for (uint32_t i = 0; i < num; i++) {
      NEED(raise_irq(m.device, kinds[k], i));
      CHECK(signalled(fds[i]));
    }
    NEED(set_irqs(m.device, kinds[k], 0, NULL));
    CHECK_ERR(raise_irq(m.device, kinds[k], 0), EINVAL);
    for (uint32_t i = 0; i < num; i++) close_kept(fds[i]);
  }
  if (device_info(m.device).flags & VFIO_DEVICE_FLAGS_RESET) NEED(ioctl(m.device, VFIO_DEVICE_RESET));
}

/* The harness of the selftests runs each test in a child, or a child's child. */
static void in_grandchild(void (*check)(enum mode), enum mode mode) {
  const pid_t child = fork();
  int status = 1;
  if (child == 0) {
    const pid_t grandchild = fork();
    if (grandchild == 0) {
      harness.failed = false;
      if (setjmp(harness.leave) == 0) check(mode);
      fflush(stdout);
      _exit(harness.failed);
    }
    _exit(waitpid(grandchild, &status, 0) != grandchild || status != 0);
  }
  REQUIRE(CHECK_EQ(waitpid(child, &status, 0), child));
  CHECK_EQ(status, 0);
}

#define FOR_ALL_MODES(check) \
  for (enum mode mode = TYPE1; mode <= IOMMUFD; mode++) in_grandchild(check, mode)

TEST(LINUX1, "DMA mapping in five modes: map, copy, unmap, unmap all, EOVERFLOW") { FOR_ALL_MODES(check_dma_mapping); }
TEST(LINUX2, "DMA mapping of a BAR: type1 takes it, iommufd refuses it") { FOR_ALL_MODES(check_mmio_mapping); }
TEST(LINUX3, "the PCI device in five modes: config space, BARs, MSI and MSI-X by loop-back, reset") {
  FOR_ALL_MODES(check_device);
}

TEST(LINUX4, "the set-up of iommufd and cdev: what comes too early, twice or with a wrong number fails") {
  struct vfio_device_info info = {.argsz = sizeof(info)};
  struct vdev d = {.fd = open_cdev()};
  const int iommufd = keep(open("/dev/iommu", O_RDWR));
  NEED(d.fd);
  NEED(iommufd);
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_GET_INFO, &info), EINVAL);
  CHECK(bind_to(&d, -2) != 0);
  CHECK(bind_to(&d, STDOUT_FILENO) != 0);
  NEED(bind_to(&d, iommufd));
  CHECK(bind_to(&d, iommufd) != 0);
  CHECK(attach_to(&d, 0xdeadbeef) != 0);
  NEED(attach_to(&d, ioas_alloc(iommufd)));
}

TEST(LINUX5, "a device that the parent opened first can be opened by its children after it") {
  const struct machine m = set_up(IOMMUFD);
  tear_down(&m);
  in_grandchild(check_device, TYPE1V2);
  in_grandchild(check_device, IOMMUFD);
}
