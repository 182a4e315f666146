/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DPDK's EAL and SPDK's env_dpdk (clients.md 1.5, 1.6): groups alone, also without an IOMMU; the bus scan, MAP_FIXED BARs,
 * the REQ interrupt, a second process that gets container and group by SCM_RIGHTS; SPDK's search for the container's descriptor.
 * CLIENT_BDF_NOIOMMU (default 0000:02:00.0) is the device without an IOMMU. Debian's own dpdk-testpmd is in tests/tools.
 */
#include "group_client.h"
#include "pagemap.h"

SECTION("clients 1.5");

static const char* bdf_noiommu(void) {
  const char* b = getenv("CLIENT_BDF_NOIOMMU");
  return b ? b : "0000:02:00.0";
}

/* The gate: VFIO's modules are there. */
static void check_modules(void) {
  static const char* const modules[] = {"/sys/module", "/sys/module/vfio", "/sys/module/vfio_pci"};
  struct stat st;
  for (size_t i = 0; i < 3; i++) {
    NEED(stat(modules[i], &st));
    CHECK(S_ISDIR(st.st_mode));
  }
}

static int open_container(void) {
  static const unsigned long types[] = {VFIO_TYPE1_IOMMU, VFIO_SPAPR_TCE_v2_IOMMU, VFIO_NOIOMMU_IOMMU};
  const int container = keep(open("/dev/vfio/vfio", O_RDWR));
  int supported = 0;
  NEED(container);
  CHECK_EQ(ioctl(container, VFIO_GET_API_VERSION), VFIO_API_VERSION);
  for (size_t i = 0; i < 3; i++) {
    const int r = ioctl(container, VFIO_CHECK_EXTENSION, types[i]);
    CHECK_GE((int64_t)r, 0);
    CHECK(r >= 0);
    supported += r == 1;
  }
  CHECK_GE(supported, 1);
  return container;
}

/* One entry of the bus scan. */
static void scan(const char* address) {
  static const char* const numbers[] = {"vendor", "device", "subsystem_vendor", "subsystem_device", "class"};
  char file[PATH_MAX], line[128];
  for (size_t i = 0; i < 5; i++) (void)number_of(path("/sys/bus/pci/devices/%s/%s", address, numbers[i]));
  snprintf(file, sizeof(file), "/sys/bus/pci/devices/%s/max_vfs", address);
  CHECK_ERR(access(file, F_OK), ENOENT); /* and so is sriov_numvfs */
  CHECK(text_of(path("/sys/bus/pci/devices/%s/numa_node", address)) != NULL);
  FILE* f = fopen(path("/sys/bus/pci/devices/%s/resource", address), "re");
  REQUIRE(CHECK(f != NULL));
  for (size_t i = 0; i < 6; i++) {
    uint64_t start, end, flags;
    REQUIRE(CHECK(fgets(line, sizeof(line), f) != NULL));
    REQUIRE(CHECK_EQ(sscanf(line, "%lx %lx %lx", &start, &end, &flags), 3));
    if (i == 0) CHECK(end > start);
  }
  fclose(f);
  const char* driver = link_name(path("/sys/bus/pci/devices/%s/driver", address));
  REQUIRE(CHECK(driver != NULL));
  CHECK(strcmp(driver, "vfio-pci") == 0);
}

static void scan_bus(void) {
  char names[256][64];
  bool found = false;
  const int num = entries_of("/sys/bus/pci/devices", names, 256);
  REQUIRE(CHECK(num > 0));
  for (int i = 0; i < num; i++) found = found || strcmp(names[i], bdf()) == 0;
  CHECK(found);
  scan(bdf());
}

/* REGION_INFO in a loop that gives what argsz asks for. */
static struct vfio_region_info* grown_region(int device, uint32_t index) {
  uint32_t size = sizeof(struct vfio_region_info);
  for (;;) {
    struct vfio_region_info* info = calloc(1, size);
    info->argsz = size;
    info->index = index;
    NEED(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, info));
    if (info->argsz <= size) return info;
    size = info->argsz;
    free(info);
  }
}

/* All BARs that can be mapped are, by MAP_FIXED at addresses that were reserved in one piece; returns BAR 0. */
static char* map_bars(int device) {
  char* base = mmap((void*)0x7e0000000000, 64 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char *at = base, *bar0 = NULL;
  REQUIRE(CHECK(base != MAP_FAILED));
  for (uint32_t i = 0; i <= VFIO_PCI_BAR5_REGION_INDEX; i++) {
    struct vfio_region_info* info = grown_region(device, i);
    if (info->size > 0 && info->flags & VFIO_REGION_INFO_FLAG_MMAP) {
      REQUIRE(CHECK(mmap(at, info->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, device, (off_t)info->offset) ==
                    at));
      if (i == 0) bar0 = at;
      at += (info->size + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    }
    free(info);
  }
  REQUIRE(CHECK(bar0 != NULL));
  return bar0;
}

/* What pci_vfio_map_resource_primary does with a device descriptor. */
static char* set_up_device(int device, int* interrupt) {
  const struct vfio_device_info info = device_info(device);
  CHECK_GE(info.num_regions, VFIO_PCI_CONFIG_REGION_INDEX + 1);
  char* bar0 = map_bars(device);
  enable_device(device, PCI_COMMAND_MEMORY);
  static const uint32_t order[] = {VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_INTX_IRQ_INDEX};
  *interrupt = -1;
  for (size_t i = 0; i < 3 && *interrupt < 0; i++) {
    const struct vfio_irq_info irq = irq_of(device, order[i]);
    if (!(irq.flags & VFIO_IRQ_INFO_EVENTFD) || irq.count == 0) continue;
    *interrupt = keep(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    NEED(set_irqs(device, order[i], 1, interrupt));
  }
  REQUIRE(CHECK(*interrupt >= 0));
  const int request = keep(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  NEED(set_irqs(device, VFIO_PCI_REQ_IRQ_INDEX, 1, &request));
  enable_device(device, PCI_COMMAND_MASTER);
  if (ioctl(device, VFIO_DEVICE_RESET) != 0) CHECK_EQ(errno, EINVAL); /* no function reset: tolerated */
  enable_device(device, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
  return bar0;
}

TEST(DPDK1, "VA mode: scan, container, group, type 1, segments mapped at their addresses, device, interrupts") {
  check_modules();
  const int container = open_container();
  scan_bus();
  const int group = keep(open(path("/dev/vfio/%u", group_number()), O_RDWR));
  NEED(group);
  CHECK(status_of(group) & VFIO_GROUP_FLAGS_VIABLE);
  NEED(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
  NEED(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
  uint8_t* memory = mmap((void*)0x100200000, 2 << 20, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE, -1, 0);
  REQUIRE(CHECK(memory != MAP_FAILED));
  const uint64_t iova = (uintptr_t)memory;
  NEED(container_map(container, memory, iova, 2 << 20));
  CHECK_ERR(container_map(container, memory, iova, 2 << 20), EEXIST); /* tolerated */
  const int device = keep(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf()));
  NEED(device);
  int interrupt;
  char* bar0 = set_up_device(device, &interrupt);
  check_mapped_copy(bar0, iova, iova + 0x100000, memory, memory + 0x100000, PAGE);
  store4(bar0, EDU_IRQ_RAISE, 1);
  CHECK(signalled(interrupt));
  CHECK_EQ(container_unmap(container, 0, iova, 2 << 20), 2 << 20);
  munmap(bar0, 64 << 20);
}

TEST(DPDK2, "PA mode without an IOMMU: noiommu-N after N is ENOENT, type 8, physical addresses from pagemap") {
  const char* name = link_name(path("/sys/bus/pci/devices/%s/iommu_group", bdf_noiommu()));
  unsigned number = 0;
  REQUIRE(CHECK(name != NULL && sscanf(name, "%u", &number) == 1));
  CHECK(strchr("Y1", text_of("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode")[0]) != NULL);
  const int container = open_container();
  CHECK_ERR(open(path("/dev/vfio/%u", number), O_RDWR), ENOENT);
  const int group = keep(open(path("/dev/vfio/noiommu-%u", number), O_RDWR));
  NEED(group);
  CHECK(status_of(group) & VFIO_GROUP_FLAGS_VIABLE);
  NEED(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
  CHECK(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU) != 0);
  CHECK(ioctl(container, VFIO_SET_IOMMU, VFIO_SPAPR_TCE_v2_IOMMU) != 0);
  NEED(ioctl(container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU));
  const int device = keep(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf_noiommu()));
  NEED(device);
  int interrupt;
  char* bar0 = set_up_device(device, &interrupt);
  uint8_t* memory = pages(2 * PAGE);
  NEED(mlock(memory, 2 * PAGE));
  memory[0] = memory[PAGE] = 1;
  check_mapped_copy(bar0, physical(memory), physical(memory + PAGE), memory, memory + PAGE, PAGE);
  munmap(bar0, 64 << 20);
}

static void pass_fds(int socket, const int* fds, size_t num) {
  char byte = 'x', control[CMSG_SPACE(2 * sizeof(int))] = {0};
  struct iovec iov = {&byte, 1};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};
  m.msg_controllen = CMSG_SPACE(num * sizeof(int));
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(num * sizeof(int));
  memcpy(CMSG_DATA(c), fds, num * sizeof(int));
  REQUIRE(CHECK_EQ(sendmsg(socket, &m, 0), 1));
}

TEST(DPDK3, "a second process: it gets container and group from the first, and opens the device again") {
  int ends[2], fds[2];
  fds[0] = open_container();
  fds[1] = keep(open(path("/dev/vfio/%u", group_number()), O_RDWR));
  NEED(fds[1]);
  NEED(ioctl(fds[1], VFIO_GROUP_SET_CONTAINER, &fds[0]));
  NEED(ioctl(fds[0], VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
  const int device = keep(ioctl(fds[1], VFIO_GROUP_GET_DEVICE_FD, bdf()));
  NEED(device);
  int interrupt;
  char* bar0 = set_up_device(device, &interrupt);
  NEED(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends));
  const pid_t child = fork();
  if (child == 0) {
    int got[2] = {-1, -1};
    char byte, control[CMSG_SPACE(2 * sizeof(int))];
    struct iovec iov = {&byte, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    close(fds[0]);
    close(fds[1]);
    close(device);
    munmap(bar0, 64 << 20);
    if (setjmp(harness.leave) == 0) {
      REQUIRE(CHECK_EQ(recvmsg(ends[1], &m, 0), 1));
      memcpy(got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(got));
      const int again = ioctl(got[1], VFIO_GROUP_GET_DEVICE_FD, bdf());
      NEED(again);
      char* registers = map_bars(again);
      store4(registers, EDU_LIVENESS, 0x12345678); /* the first process sees what the second one does */
      uint8_t* memory = pages(2 * PAGE);
      NEED(container_map(got[0], memory, 0x10000000, 2 * PAGE));
      check_mapped_copy(registers, 0x10000000, 0x10000000 + PAGE, memory, memory + PAGE, PAGE);
      CHECK_EQ(container_unmap(got[0], 0, 0x10000000, 2 * PAGE), 2 * PAGE);
    }
    fflush(stdout);
    _exit(harness.failed);
  }
  pass_fds(ends[0], fds, 2);
  int status = -1;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_EQ(load4(bar0, EDU_LIVENESS), ~0x12345678u);
  munmap(bar0, 64 << 20);
  close(ends[0]);
  close(ends[1]);
}

SECTION("clients 1.6");

/* The descriptor whose link in /proc/self/fd reads /dev/vfio/vfio. */
static int find_container(void) {
  struct dirent* e;
  int found = -1;
  DIR* dir = opendir("/proc/self/fd");
  REQUIRE(CHECK(dir != NULL));
  while ((e = readdir(dir)) != NULL) {
    char target[64];
    const ssize_t n = readlink(path("/proc/self/fd/%s", e->d_name), target, sizeof(target) - 1);
    if (n < 0) continue;
    target[n] = 0;
    if (strcmp(target, "/dev/vfio/vfio") == 0) found = atoi(e->d_name);
  }
  closedir(dir);
  return found;
}

TEST(SPDK1, "the container is found in /proc/self/fd and used for maps of SPDK's own") {
  const int container = open_container();
  const int group = keep(open(path("/dev/vfio/%u", group_number()), O_RDWR));
  NEED(group);
  NEED(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
  NEED(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
  const int device = keep(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf()));
  NEED(device);
  const int found = find_container();
  REQUIRE(CHECK_EQ(found, container));
  uint8_t* memory = pages(2 << 20);
  NEED(container_map(found, memory, (uintptr_t)memory, 2 << 20));
  int interrupt;
  char* bar0 = set_up_device(device, &interrupt);
  check_mapped_copy(bar0, (uintptr_t)memory, (uintptr_t)memory + PAGE, memory, memory + PAGE, PAGE);
  CHECK_EQ(container_unmap(found, 0, (uintptr_t)memory, 2 << 20), 2 << 20);
  munmap(bar0, 64 << 20);
}

TEST(SPDK2, "is there an IOMMU, and how wide are its addresses: iommu_groups, and cap of an Intel one") {
  char names[256][64];
  CHECK(entries_of("/sys/kernel/iommu_groups", names, 256) > 0);
  const char* instance = link_name(device_path("iommu"));
  REQUIRE(CHECK(instance != NULL));
  if (strncmp(instance, "dmar", 4) != 0) SKIP("the device is not behind an Intel IOMMU");
  const uint64_t cap = strtoull(text_of(path("/sys/devices/virtual/iommu/%s/intel-iommu/cap", instance)), NULL, 16);
  CHECK_EQ(strtoull(text_of(device_path("iommu/intel-iommu/cap")), NULL, 16), cap);
  CHECK_GE((cap >> 16 & 0x3f) + 1, 39); /* MGAW */
}
