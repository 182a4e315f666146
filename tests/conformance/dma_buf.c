/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A BAR as a dma-buf (VFIO_DEVICE_FEATURE_DMA_BUF, spec vfio-device 16; iommufd-core 3.6): another device's DMA reaches it as
 * long as the device answers. The exporter is the first edu device of its kind (IOMMUFD_TEST_KIND), the peers are others.
 */
#define _GNU_SOURCE

#include "edu.h"

#define BAR_SIZE 0x100000u
#define IOVA 0x100000u
#define BAR_IOVA 0x400000u

enum { WHOLE_PAGE = 0x1000 };

static enum kind exporter_kind(void) {
  const char* k = getenv("IOMMUFD_TEST_KIND");
  return k && strcmp(k, "noiommu") == 0 ? NOIOMMU : BEHIND_IOMMU;
}

/* struct vfio_device_feature and struct vfio_device_feature_dma_buf with room for two ranges. */
struct request {
  uint32_t argsz, flags;
  uint32_t region_index, open_flags, buffer_flags, nr_ranges;
  struct vfio_region_dma_range ranges[2];
};
enum { HEAD = sizeof(struct vfio_device_feature), BODY = sizeof(struct vfio_device_feature_dma_buf) };

static struct request one_page(void) {
  struct request r = {.argsz = sizeof(r),
                      .flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF,
                      .open_flags = O_RDWR | O_CLOEXEC,
                      .nr_ranges = 1,
                      .ranges = {{0, PAGE}}};
  return r;
}

static int ask(const struct edu* e, const struct request* r) {
  struct request copy = *r;
  return keep(ioctl(e->dev.fd, VFIO_DEVICE_FEATURE, &copy));
}

static int export(const struct edu* e, uint64_t offset, uint64_t length) {
  struct request r = one_page();
  int fd;
  r.ranges[0] = (struct vfio_region_dma_range){offset, length};
  fd = ask(e, &r);
  REQUIRE(CHECK_OK(fd));
  return fd;
}

static int map_buffer(int iommufd, uint32_t ioas, int fd, uint64_t start, uint64_t length, uint64_t iova) {
  struct iommu_ioas_map_file cmd = {.size = sizeof(cmd),
                                    .flags = RW | FIXED,
                                    .ioas_id = ioas,
                                    .fd = fd,
                                    .start = start,
                                    .length = length,
                                    .iova = iova};
  return ioctl(iommufd, IOMMU_IOAS_MAP_FILE, &cmd);
}

/* ---- the feature ------------------------------------------------------------------------------------- */

SECTION("vfio-device 16");

TEST(DB01, "DMA_BUF: can be got, not set; what the probe says; a short struct EINVAL") {
  const struct edu e = edu_open(exporter_kind(), 0, open_iommufd());
  struct request r = one_page();
  r.flags = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_DMA_BUF;
  CHECK_OK(ask(&e, &r));
  r.flags |= VFIO_DEVICE_FEATURE_GET;
  CHECK_EQ(ioctl(e.dev.fd, VFIO_DEVICE_FEATURE, &r), 0);
  r.flags |= VFIO_DEVICE_FEATURE_SET;
  CHECK_ERR(ask(&e, &r), EINVAL);
  r.flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_BUF;
  CHECK_ERR(ask(&e, &r), EINVAL);
  r.flags = VFIO_DEVICE_FEATURE_DMA_BUF;
  CHECK_ERR(ask(&e, &r), EINVAL);
  r = one_page();
  r.argsz = HEAD + BODY - 1;
  CHECK_ERR(ask(&e, &r), EINVAL);
}

TEST(DB02,
     "DMA_BUF: no ranges, flags EINVAL; no BAR ENODEV; ranges that are empty, not of pages, past the end EINVAL") {
  const struct edu e = edu_open(exporter_kind(), 0, open_iommufd());
  struct request r = one_page();
  r.nr_ranges = 0;
  CHECK_ERR(ask(&e, &r), EINVAL);
  r = one_page();
  r.buffer_flags = 1;
  CHECK_ERR(ask(&e, &r), EINVAL);
  r = one_page();
  for (r.region_index = VFIO_PCI_ROM_REGION_INDEX; r.region_index < 12; r.region_index++)
    CHECK_ERR(ask(&e, &r), ENODEV);
  r.region_index = 1; /* a BAR that is not there */
  CHECK_ERR(ask(&e, &r), EINVAL);
  static const struct vfio_region_dma_range bad[] = {{0, 0},
                                                     {0, 1},
                                                     {1, PAGE},
                                                     {0, PAGE + 1},
                                                     {BAR_SIZE, PAGE},
                                                     {0, BAR_SIZE + PAGE},
                                                     {BAR_SIZE - PAGE, 2 * PAGE},
                                                     {MAX - PAGE + 1, PAGE},
                                                     {PAGE, MAX - PAGE + 1}};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    r = one_page();
    r.ranges[0] = bad[i];
    if (!CHECK_ERR(ask(&e, &r), EINVAL)) note("range %zu", i);
    r.ranges[1] = bad[i];
    r.ranges[0] = (struct vfio_region_dma_range){0, PAGE};
    r.nr_ranges = 2;
    if (!CHECK_ERR(ask(&e, &r), EINVAL)) note("second range %zu", i);
  }
}

TEST(DB03, "DMA_BUF: data and ranges that cannot be read EFAULT") {
  const struct edu e = edu_open(exporter_kind(), 0, open_iommufd());
  struct request r = one_page();
  uint8_t* end = pages(PAGE) + PAGE;
  REQUIRE(CHECK(mmap(end, PAGE, PROT_NONE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == end));
  memcpy(end - HEAD, &r, HEAD);
  CHECK_ERR(ioctl(e.dev.fd, VFIO_DEVICE_FEATURE, end - HEAD), EFAULT);
  memcpy(end - HEAD - BODY, &r, HEAD + BODY);
  CHECK_ERR(ioctl(e.dev.fd, VFIO_DEVICE_FEATURE, end - HEAD - BODY), EFAULT);
}

TEST(DB04, "the descriptor: its size by lseek and fstat, close-on-exec as asked, no read, no write, no mmap") {
  const struct edu e = edu_open(exporter_kind(), 0, open_iommufd());
  struct request r = one_page();
  struct stat st;
  uint32_t v = 0;
  r.nr_ranges = 2;
  r.ranges[1] = (struct vfio_region_dma_range){4 * PAGE, 3 * PAGE};
  int fd = ask(&e, &r);
  REQUIRE(CHECK_OK(fd));
  CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  CHECK_EQ(lseek(fd, 0, SEEK_END), 4 * PAGE);
  CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
  CHECK_ERR(lseek(fd, 1, SEEK_SET), EINVAL);
  CHECK_ERR(lseek(fd, -1, SEEK_END), EINVAL);
  CHECK_ERR(lseek(fd, 0, SEEK_CUR), EINVAL);
  CHECK_OK(fstat(fd, &st));
  CHECK_EQ(st.st_size, 4 * PAGE);
  CHECK_ERR(read(fd, &v, 4), EINVAL);
  CHECK_ERR(write(fd, &v, 4), EINVAL);
  CHECK_ERR(pread(fd, &v, 4, 0), EINVAL);
  CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EINVAL);
  CHECK_ERR(ioctl(fd, VFIO_DEVICE_GET_INFO, &v), ENOTTY);
  r = one_page();
  r.open_flags = 0;
  fd = ask(&e, &r);
  CHECK_EQ(fcntl(fd, F_GETFD), 0);
}

/* ---- mapping it -------------------------------------------------------------------------------------- */

SECTION("iommufd-core 3.6");

TEST(DB10, "MAP_FILE: past its end EINVAL; two ranges EOPNOTSUPP; parts, with and without a domain; not charged") {
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  const struct edu e = edu_open(exporter_kind(), 0, iommufd);
  const int fd = export(&e, 0, 4 * PAGE);
  struct request r = one_page();
  CHECK_ERR(map_buffer(iommufd, ioas, fd, 0, 5 * PAGE, BAR_IOVA), EINVAL);
  CHECK_ERR(map_buffer(iommufd, ioas, fd, 4 * PAGE, PAGE, BAR_IOVA), EINVAL);
  CHECK_ERR(map_buffer(iommufd, ioas, fd, 0, 0, BAR_IOVA), EINVAL);
  CHECK_OK(map_buffer(iommufd, ioas, fd, PAGE, 2 * PAGE, BAR_IOVA));
  REQUIRE(CHECK_OK(attach_to(&e.dev, ioas)));
  CHECK_OK(map_buffer(iommufd, ioas, fd, 0, 4 * PAGE, BAR_IOVA + 16 * PAGE));
  CHECK_ERR(unmap(iommufd, ioas, BAR_IOVA, PAGE), ENOENT);
  CHECK_OK(unmap(iommufd, ioas, BAR_IOVA, 2 * PAGE));
  r.nr_ranges = 2;
  r.ranges[1] = (struct vfio_region_dma_range){4 * PAGE, 3 * PAGE};
  CHECK_ERR(map_buffer(iommufd, ioas, ask(&e, &r), 0, PAGE, BAR_IOVA), EOPNOTSUPP);
}

TEST(DB11, "MAP_FILE while the device does not answer ENODEV: decoding off, low power, closed; afterwards fine again") {
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  const struct edu e = edu_open(exporter_kind(), 0, iommufd);
  const int fd = export(&e, 0, PAGE);
  struct vfio_device_feature f = {.argsz = sizeof(f),
                                  .flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY};
  set_command(&e, 0, PCI_COMMAND_MEMORY);
  CHECK_ERR(map_buffer(iommufd, ioas, fd, 0, PAGE, BAR_IOVA), ENODEV);
  CHECK_ERR(map_buffer(iommufd, ioas, export(&e, 0, PAGE), 0, PAGE, BAR_IOVA), ENODEV); /* made meanwhile */
  set_command(&e, PCI_COMMAND_MEMORY, 0);
  CHECK_OK(map_buffer(iommufd, ioas, fd, 0, PAGE, BAR_IOVA));
  REQUIRE(CHECK_OK(ioctl(e.dev.fd, VFIO_DEVICE_FEATURE, &f)));
  CHECK_ERR(map_buffer(iommufd, ioas, fd, 0, PAGE, BAR_IOVA + PAGE), ENODEV);
  f.flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT;
  REQUIRE(CHECK_OK(ioctl(e.dev.fd, VFIO_DEVICE_FEATURE, &f)));
  CHECK_OK(map_buffer(iommufd, ioas, fd, 0, PAGE, BAR_IOVA + PAGE));
  CHECK_OK(ioctl(e.dev.fd, VFIO_DEVICE_RESET));
  CHECK_OK(map_buffer(iommufd, ioas, fd, 0, PAGE, BAR_IOVA + 2 * PAGE));
  close_kept(e.dev.fd);
  CHECK_ERR(map_buffer(iommufd, ioas, fd, 0, PAGE, BAR_IOVA + 3 * PAGE), ENODEV);
  (void)edu_open(exporter_kind(), 0, iommufd); /* open again: it stays gone */
  CHECK_ERR(map_buffer(iommufd, ioas, fd, 0, PAGE, BAR_IOVA + 3 * PAGE), ENODEV);
  CHECK_OK(unmap(iommufd, ioas, BAR_IOVA, 3 * PAGE));
}

/* ---- device to device -------------------------------------------------------------------------------- */

SECTION("vfio-device 16");

/* A peer with a page of RAM at IOVA and the exporter's first page at BAR_IOVA. */
struct pair {
  int iommufd, buffer;
  uint32_t ioas;
  struct edu exporter, peer;
  volatile uint32_t* ram;
  uint64_t ram_bus, bar_bus;
};

static uint64_t bus_of(const struct pair* p, uint64_t iova) {
  uint64_t length = 1, phys;
  if (strncmp(p->peer.dev.name, "noiommu-", 8) != 0) return iova;
  REQUIRE(CHECK_OK(get_pa(p->iommufd, p->ioas, iova, &length, &phys)));
  return phys;
}

static void map_bar(struct pair* p) {
  REQUIRE(CHECK_OK(map_buffer(p->iommufd, p->ioas, p->buffer, 0, WHOLE_PAGE, BAR_IOVA)));
  p->bar_bus = bus_of(p, BAR_IOVA);
}

static struct pair set_up(enum kind peer) {
  struct pair p = {.iommufd = open_iommufd()};
  p.ioas = ioas_alloc(p.iommufd);
  p.exporter = edu_open(exporter_kind(), 0, p.iommufd);
  p.peer = edu_open(peer, peer == exporter_kind() ? 1 : 0, p.iommufd);
  REQUIRE(CHECK_OK(attach_to(&p.peer.dev, p.ioas)));
  p.ram = (volatile uint32_t*)(void*)pages(PAGE);
  REQUIRE(CHECK_OK(map_fixed(p.iommufd, p.ioas, (void*)(uintptr_t)p.ram, PAGE, IOVA)));
  p.ram_bus = bus_of(&p, IOVA);
  p.buffer = export(&p.exporter, 0, WHOLE_PAGE);
  map_bar(&p);
  return p;
}

/* The peer writes into the exporter's liveness register, and reads it back through its own buffer. */
static bool peer_reaches(const struct pair* p, uint32_t value) {
  p->ram[0] = value;
  p->ram[1] = 0x5a5a5a5a;
  edu_load(&p->peer, p->ram_bus, 4);
  edu_store(&p->peer, p->bar_bus + EDU_LIVENESS, 4);
  edu_load(&p->peer, p->bar_bus + EDU_LIVENESS, 4);
  edu_store(&p->peer, p->ram_bus + 4, 4);
  return p->ram[1] == ~value;
}

static void peer_to_peer(enum kind kind) {
  const struct pair p = set_up(kind);
  CHECK(peer_reaches(&p, 0x12345678));
  CHECK_EQ(edu_read4(&p.exporter, EDU_LIVENESS), (uint32_t)~0x12345678u);
  edu_load(&p.peer, p.bar_bus + EDU_ID, 4);
  edu_store(&p.peer, p.ram_bus, 4);
  CHECK_EQ(p.ram[0], 0x010000ed);
  REQUIRE(CHECK_OK(unmap(p.iommufd, p.ioas, BAR_IOVA, WHOLE_PAGE)));
  if (kind == NOIOMMU && !simulated()) return;
  CHECK(!peer_reaches(&p, 0x11111111));
  CHECK_EQ(edu_read4(&p.exporter, EDU_LIVENESS), (uint32_t)~0x12345678u);
}

TEST(DB20, "IOMMU: DMA of another device reads and writes registers, and after UNMAP does not") {
  peer_to_peer(BEHIND_IOMMU);
}
TEST(DB20n, "noiommu: DMA of another device reads and writes registers at the BAR's physical address") {
  peer_to_peer(NOIOMMU);
}

TEST(DB21, "noiommu: GET_PA of it: where sysfs says that the BAR is, and contiguous; EINVAL once it is taken back") {
  struct pair p = set_up(NOIOMMU);
  char path[PATH_MAX], text[4096];
  unsigned long long start = 0;
  uint64_t length = MAX, phys;
  snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource", p.exporter.dev.bdf);
  REQUIRE(CHECK(read_text(path, text, sizeof(text))));
  REQUIRE(CHECK_EQ(sscanf(text, "%llx", &start), 1));
  CHECK_EQ(p.bar_bus, start);
  REQUIRE(CHECK_OK(
      map_buffer(p.iommufd, p.ioas, export(&p.exporter, 16 * PAGE, 64 * PAGE), PAGE, 63 * PAGE, BAR_IOVA + 16 * PAGE)));
  REQUIRE(CHECK_OK(get_pa(p.iommufd, p.ioas, BAR_IOVA + 16 * PAGE + 5, &length, &phys)));
  CHECK_EQ(phys, start + 17 * PAGE + 5);
  CHECK_EQ(length, 63 * PAGE - 5);
  set_command(&p.exporter, 0, PCI_COMMAND_MEMORY);
  length = MAX;
  CHECK_ERR(get_pa(p.iommufd, p.ioas, BAR_IOVA, &length, &phys), EINVAL);
}

/* After `end` the mapping is void; `again` makes the device answer, and a new mapping works. */
static void revoked(enum kind kind, void (*end)(const struct edu* e), void (*again)(const struct edu* e)) {
  struct pair p = set_up(kind);
  REQUIRE(CHECK(peer_reaches(&p, 1)));
  end(&p.exporter);
  if (kind == BEHIND_IOMMU || simulated()) CHECK(!peer_reaches(&p, 2));
  again(&p.exporter);
  if (kind == BEHIND_IOMMU || simulated()) CHECK(!peer_reaches(&p, 3)); /* the old mapping stays empty */
  CHECK_OK(unmap(p.iommufd, p.ioas, BAR_IOVA, WHOLE_PAGE));
  map_bar(&p);
  CHECK(peer_reaches(&p, 4));
}

static void low_power(const struct edu* e, uint32_t feature) {
  struct vfio_device_feature f = {.argsz = sizeof(f), .flags = VFIO_DEVICE_FEATURE_SET | feature};
  CHECK_OK(ioctl(e->dev.fd, VFIO_DEVICE_FEATURE, &f));
}
static void decode_off(const struct edu* e) { set_command(e, 0, PCI_COMMAND_MEMORY); }
static void decode_on(const struct edu* e) { set_command(e, PCI_COMMAND_MEMORY, 0); }
static void sleep_now(const struct edu* e) { low_power(e, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY); }
static void wake_up(const struct edu* e) { low_power(e, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT); }
static void reset_now(const struct edu* e) { CHECK_OK(ioctl(e->dev.fd, VFIO_DEVICE_RESET)); }
static void nothing(const struct edu* e) { (void)e; }

TEST(DB22, "IOMMU: taken back when decoding goes off") { revoked(BEHIND_IOMMU, decode_off, decode_on); }
TEST(DB22n, "noiommu: taken back when decoding goes off") { revoked(NOIOMMU, decode_off, decode_on); }
TEST(DB23, "IOMMU: taken back in low power") { revoked(BEHIND_IOMMU, sleep_now, wake_up); }
TEST(DB23n, "noiommu: taken back in low power") { revoked(NOIOMMU, sleep_now, wake_up); }
TEST(DB24, "IOMMU: taken back by a reset") { revoked(BEHIND_IOMMU, reset_now, nothing); }
TEST(DB24n, "noiommu: taken back by a reset") { revoked(NOIOMMU, reset_now, nothing); }

/* Where a capability starts; leaves the test when the device has none. */
static unsigned capability_of(const struct edu* e, unsigned id) {
  uint8_t config[256];
  REQUIRE(CHECK_EQ(pread(e->dev.fd, config, sizeof(config), (off_t)e->config), sizeof(config)));
  for (unsigned at = config[PCI_CAPABILITY_LIST]; at != 0; at = config[at + 1])
    if (config[at] == id) return at;
  SKIP("the device lacks the capability");
}

static void set_field(const struct edu* e, unsigned at, uint16_t value) {
  CHECK_EQ(pwrite(e->dev.fd, &value, 2, (off_t)(e->config + at)), 2);
}
static void to_d3hot(const struct edu* e) {
  set_field(e, capability_of(e, PCI_CAP_ID_PM) + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
}
static void to_d0(const struct edu* e) {
  set_field(e, capability_of(e, PCI_CAP_ID_PM) + PCI_PM_CTRL, 0);
  set_command(e, PCI_COMMAND_MEMORY, 0);
}
static void level_reset(const struct edu* e) {
  set_field(e, capability_of(e, PCI_CAP_ID_EXP) + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR);
  set_command(e, PCI_COMMAND_MEMORY, 0);
}

TEST(DB30, "taken back in D3hot") { revoked(BEHIND_IOMMU, to_d3hot, to_d0); }
TEST(DB31, "taken back by a function level reset, asked for in config space") {
  revoked(BEHIND_IOMMU, level_reset, nothing);
}

TEST(DB25, "a write that turns nothing off leaves mappings alone") {
  struct pair p = set_up(BEHIND_IOMMU);
  set_command(&p.exporter, PCI_COMMAND_INTX_DISABLE, PCI_COMMAND_MASTER);
  CHECK(peer_reaches(&p, 5));
}

TEST(DB26, "the close of the device takes it back for good, the close of the buffer does not") {
  struct pair p = set_up(BEHIND_IOMMU);
  close_kept(p.buffer);
  CHECK(peer_reaches(&p, 6));
  close_kept(p.exporter.dev.fd);
  CHECK(!peer_reaches(&p, 7));
  p.exporter = edu_open(exporter_kind(), 0, p.iommufd);
  CHECK(!peer_reaches(&p, 8));
  CHECK_NE(edu_read4(&p.exporter, EDU_LIVENESS), (uint32_t)~8u);
  CHECK_OK(unmap(p.iommufd, p.ioas, BAR_IOVA, WHOLE_PAGE));
}

TEST(DB27, "two buffers of one page: each keeps its own mapping") {
  struct pair p = set_up(BEHIND_IOMMU);
  const int second = export(&p.exporter, 0, WHOLE_PAGE);
  REQUIRE(CHECK_OK(map_buffer(p.iommufd, p.ioas, second, 0, WHOLE_PAGE, BAR_IOVA + 16 * PAGE)));
  CHECK_OK(unmap(p.iommufd, p.ioas, BAR_IOVA, WHOLE_PAGE));
  close_kept(p.buffer);
  p.bar_bus = BAR_IOVA + 16 * PAGE;
  CHECK(peer_reaches(&p, 9));
}

TEST(DB28, "read-only: the peer reads registers and cannot write them") {
  struct pair p = set_up(BEHIND_IOMMU);
  struct iommu_ioas_map_file cmd = {.size = sizeof(cmd),
                                    .flags = IOMMU_IOAS_MAP_READABLE | FIXED,
                                    .ioas_id = p.ioas,
                                    .fd = p.buffer,
                                    .length = WHOLE_PAGE,
                                    .iova = BAR_IOVA + 16 * PAGE};
  REQUIRE(CHECK_OK(ioctl(p.iommufd, IOMMU_IOAS_MAP_FILE, &cmd)));
  p.bar_bus = cmd.iova;
  CHECK(!peer_reaches(&p, 10));
  edu_load(&p.peer, p.bar_bus + EDU_ID, 4);
  edu_store(&p.peer, p.ram_bus, 4);
  CHECK_EQ(p.ram[0], 0x010000ed);
}

TEST(DB29, "a thousand buffers, closed at once, and the mapping of the last one") {
  struct pair p = set_up(BEHIND_IOMMU);
  CHECK_OK(unmap(p.iommufd, p.ioas, BAR_IOVA, WHOLE_PAGE));
  for (int i = 0; i < 1000; i++) {
    close_kept(p.buffer);
    p.buffer = export(&p.exporter, 0, WHOLE_PAGE);
  }
  map_bar(&p);
  CHECK(peer_reaches(&p, 11));
}
