/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What vfio-pci shows of a PCI Express function: MSI-X, ERR, power states, function reset, capabilities, expansion ROM, hot
 * reset (spec vfio-device 8 to 14). Needs an edu device that has them, which QEMU's has not (here: pcie=on,msix=16), or any other
 * function that the variables name, which shows less; rows that the device cannot show are skipped. IOMMUFD_TEST_KIND, IOMMUFD_TEST_WAY: group.h; IOMMUFD_TEST_HOT_RESET says that the device is
 * below a bridge.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "group.h"
#include "irqs.h"

/* Where a capability begins; 0: there is none. */
static unsigned capability(const struct edu* e, unsigned id) {
  unsigned at = (unsigned)config_read(e, PCI_CAPABILITY_LIST, 1);
  for (int i = 0; at != 0 && i < 48; i++, at = (unsigned)config_read(e, at + 1, 1))
    if (config_read(e, at, 1) == id) return at;
  return 0;
}

static unsigned extended(const struct edu* e, unsigned id) {
  for (unsigned at = 0x100; at != 0; at = (unsigned)config_read(e, at + 2, 2) >> 4)
    if (config_read(e, at, 2) == id) return at;
  return 0;
}

static struct edu express(void) {
  struct edu e = edu_from(device_in_use());
  struct vfio_region_info info;
  REQUIRE(CHECK_OK(region_info(&e.dev, VFIO_PCI_CONFIG_REGION_INDEX, &info)));
  if (info.size != 4096) {
    if (getenv("IOMMUFD_TEST_STRICT")) harness.failed = true;
    SKIP("needs a PCI Express device");
  }
  return e;
}

/* Only what the registers of an edu device show. */
static bool has_registers(const struct edu* e) { return is_edu(e->dev.bdf); }

static void need_registers(const struct edu* e) {
  if (!has_registers(e)) SKIP("needs an edu device");
}

static uint32_t vectors(const struct edu* e, uint32_t* flags) {
  struct vfio_irq_info info = {.argsz = sizeof(info), .index = MSIX};
  REQUIRE(CHECK_OK(ioctl(e->dev.fd, VFIO_DEVICE_GET_IRQ_INFO, &info)));
  if (info.count < 8) SKIP("needs MSI-X with 8 vectors");
  if (flags) *flags = info.flags;
  return info.count;
}

/* With two elements. */
static int irqs(const struct edu* e, uint32_t flags, uint32_t index, uint32_t start, uint32_t count, int32_t a,
                int32_t b) {
  const uint8_t flag[8] = {(uint8_t)a, (uint8_t)b};
  const int32_t fd[2] = {a, b};
  return set_irqs(&e->dev, sizeof(struct vfio_irq_set) + 8, flags, index, start, count,
                  flags & BOOL ? (const void*)flag : fd, 8);
}

/* ---- MSI-X ------------------------------------------------------------------------------------------- */

SECTION("vfio-device 12");

TEST(X01, "GET_IRQ_INFO: MSI-X as large as its table, ERR once") {
  const struct edu e = express();
  uint32_t flags = 0;
  const uint32_t n = vectors(&e, &flags);
  const unsigned cap = capability(&e, PCI_CAP_ID_MSIX);
  struct vfio_irq_info info = {.argsz = sizeof(info), .index = ERR};
  REQUIRE(CHECK_NE(cap, 0));
  CHECK_EQ((config_read(&e, cap + 2, 2) & PCI_MSIX_FLAGS_QSIZE) + 1, n);
  CHECK_EQ(flags & ~VFIO_IRQ_INFO_NORESIZE, VFIO_IRQ_INFO_EVENTFD); /* NORESIZE: where vectors are not dynamic */
  CHECK_OK(ioctl(e.dev.fd, VFIO_DEVICE_GET_IRQ_INFO, &info));
  CHECK_EQ(info.count, 1);
  CHECK_EQ(info.flags, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE);
}

SECTION("vfio-device 13");

TEST(X02, "MSI-X: eventfds by vector, loop-back, disable") {
  const struct edu e = express();
  const int a = new_eventfd(), b = new_eventfd();
  vectors(&e, NULL);
  CHECK_ERR(irqs(&e, NONE | TRIGGER, MSIX, 0, 1, 0, 0), EINVAL);
  REQUIRE(CHECK_OK(irqs(&e, EVENTFD | TRIGGER, MSIX, 0, 2, a, b)));
  CHECK_OK(irqs(&e, NONE | TRIGGER, MSIX, 0, 2, 0, 0));
  CHECK_EQ(interrupts(a), 1);
  CHECK_EQ(interrupts(b), 1);
  CHECK_OK(irqs(&e, BOOL | TRIGGER, MSIX, 0, 2, 0, 1));
  CHECK_EQ(interrupts(a), 0);
  CHECK_EQ(interrupts(b), 1);
  CHECK_OK(irqs(&e, EVENTFD | TRIGGER, MSIX, 1, 1, -1, 0));
  CHECK_OK(irqs(&e, NONE | TRIGGER, MSIX, 0, 2, 0, 0)); /* a vector without an eventfd is skipped */
  CHECK_EQ(interrupts(a), 1);
  CHECK_EQ(interrupts(b), 0);
  CHECK_ERR(irqs(&e, NONE | MASK, MSIX, 0, 1, 0, 0), ENOTTY);
  CHECK_OK(irqs(&e, NONE | TRIGGER, MSIX, 0, 0, 0, 0));
  CHECK_ERR(irqs(&e, NONE | TRIGGER, MSIX, 0, 1, 0, 0), EINVAL);
}

TEST(X03, "MSI-X of the device: vector 0") {
  const struct edu e = express();
  const int a = new_eventfd(), b = new_eventfd();
  need_registers(&e);
  vectors(&e, NULL);
  REQUIRE(CHECK_OK(irqs(&e, EVENTFD | TRIGGER, MSIX, 0, 2, a, b)));
  edu_write4(&e, EDU_IRQ_RAISE, 1);
  edu_write4(&e, EDU_IRQ_RAISE, 1);
  CHECK_EQ(interrupts(a), 2);
  CHECK_EQ(interrupts(b), 0);
  CHECK_OK(irqs(&e, NONE | TRIGGER, MSIX, 0, 0, 0, 0));
  edu_write4(&e, EDU_IRQ_ACK, 1);
}

TEST(X04, "MSI-X grows without a disable where NORESIZE is clear") {
  const struct edu e = express();
  const int a = new_eventfd(), b = new_eventfd();
  uint32_t flags = 0;
  const uint32_t n = vectors(&e, &flags);
  REQUIRE(CHECK_OK(irqs(&e, EVENTFD | TRIGGER, MSIX, 0, 1, a, 0)));
  CHECK_ERR(irqs(&e, EVENTFD | TRIGGER, MSIX, n - 1, 1, b, 0), flags & VFIO_IRQ_INFO_NORESIZE ? EINVAL : 0);
  CHECK_ERR(irqs(&e, EVENTFD | TRIGGER, MSIX, n, 1, b, 0), EINVAL);
  CHECK_ERR(irqs(&e, EVENTFD | TRIGGER, MSIX, n - 1, 2, b, b), EINVAL);
  CHECK_OK(irqs(&e, NONE | TRIGGER, MSIX, 0, 1, 0, 0));
  CHECK_EQ(interrupts(a), 1);
  if (!has_registers(&e)) return;
  edu_write4(&e, EDU_IRQ_RAISE, 1);
  CHECK_EQ(interrupts(a), 1);
}

TEST(X05, "only one of INTx, MSI and MSI-X is active") {
  const struct edu e = express();
  const int a = new_eventfd();
  vectors(&e, NULL);
  REQUIRE(CHECK_OK(irqs(&e, EVENTFD | TRIGGER, MSIX, 0, 1, a, 0)));
  CHECK_ERR(irqs(&e, EVENTFD | TRIGGER, MSI, 0, 1, a, 0), EINVAL);
  CHECK_ERR(irqs(&e, EVENTFD | TRIGGER, INTX, 0, 1, a, 0), EINVAL);
  CHECK_OK(irqs(&e, NONE | TRIGGER, MSIX, 0, 0, 0, 0));
  if (capability(&e, PCI_CAP_ID_MSI) == 0) return;
  CHECK_OK(irqs(&e, EVENTFD | TRIGGER, MSI, 0, 1, a, 0));
  CHECK_ERR(irqs(&e, EVENTFD | TRIGGER, MSIX, 0, 1, a, 0), EINVAL);
}

TEST(X06, "ERR: arm, loop-back, disarm") {
  const struct edu e = express();
  const int a = new_eventfd();
  CHECK_ERR(irqs(&e, NONE | TRIGGER, ERR, 0, 0, 0, 0), EINVAL);
  CHECK_ERR(irqs(&e, NONE | TRIGGER, ERR, 0, 1, 0, 0), EINVAL);
  REQUIRE(CHECK_OK(irqs(&e, EVENTFD | TRIGGER, ERR, 0, 1, a, 0)));
  CHECK_OK(irqs(&e, NONE | TRIGGER, ERR, 0, 1, 0, 0));
  CHECK_EQ(interrupts(a), 1);
  CHECK_OK(irqs(&e, BOOL | TRIGGER, ERR, 0, 1, 1, 0));
  CHECK_EQ(interrupts(a), 1);
  CHECK_ERR(irqs(&e, EVENTFD | TRIGGER, ERR, 0, 1, -2, 0), EINVAL);
  CHECK_OK(irqs(&e, EVENTFD | TRIGGER, ERR, 0, 1, -1, 0));
  CHECK_ERR(irqs(&e, NONE | TRIGGER, ERR, 0, 1, 0, 0), EINVAL);
}

/* The MSI-X table of the device: its region and offset in the file. */
static struct vfio_region_info table_region(const struct edu* e, uint64_t* at, uint64_t* pending) {
  const unsigned cap = capability(e, PCI_CAP_ID_MSIX);
  struct vfio_region_info info;
  uint32_t table, pba;
  if (cap == 0) SKIP("needs MSI-X");
  table = (uint32_t)config_read(e, cap + PCI_MSIX_TABLE, 4);
  pba = (uint32_t)config_read(e, cap + PCI_MSIX_PBA, 4);
  REQUIRE(CHECK_EQ(table & PCI_MSIX_TABLE_BIR, pba & PCI_MSIX_PBA_BIR));
  REQUIRE(CHECK_OK(region_info(&e->dev, table & PCI_MSIX_TABLE_BIR, &info)));
  *at = info.offset + (table & PCI_MSIX_TABLE_OFFSET);
  *pending = info.offset + (pba & PCI_MSIX_PBA_OFFSET);
  return info;
}

SECTION("vfio-device 9");

TEST(X07, "the table of MSI-X reads as ones and drops writes; the capability drops writes; pending bits are 0") {
  const struct edu e = express();
  uint64_t at, pending, v = 0;
  const uint32_t n = vectors(&e, NULL);
  const unsigned cap = capability(&e, PCI_CAP_ID_MSIX);
  table_region(&e, &at, &pending);
  for (int round = 0; round < 2; round++) {
    for (uint32_t i = 0; i < n; i += n - 1) {
      CHECK_EQ(pread(e.dev.fd, &v, 8, (off_t)(at + i * 16)), 8);
      CHECK_EQ(v, MAX);
    }
    v = 0;
    CHECK_EQ(pwrite(e.dev.fd, &v, 8, (off_t)at), 8);
  }
  CHECK_EQ(pread(e.dev.fd, &v, 8, (off_t)pending), 8);
  CHECK_EQ(v, 0);
  config_write(&e, cap + 2, 2, 0xffff);
  CHECK_EQ(config_read(&e, cap + 2, 2), n - 1);
}

SECTION("vfio-device 8");

TEST(X08, "the BAR of the table says MSIX_MAPPABLE when it can be mapped") {
  const struct edu e = express();
  uint64_t at, pending;
  struct {
    struct vfio_region_info info;
    struct vfio_info_cap_header caps[4];
  } long_info = {0};
  const struct vfio_region_info info = table_region(&e, &at, &pending);
  if (!(info.flags & VFIO_REGION_INFO_FLAG_MMAP)) {
    CHECK_EQ(info.flags & VFIO_REGION_INFO_FLAG_CAPS, 0);
    return;
  }
  CHECK_EQ(info.flags & VFIO_REGION_INFO_FLAG_CAPS, VFIO_REGION_INFO_FLAG_CAPS);
  CHECK_EQ(info.argsz, sizeof(info) + 8); /* what it takes */
  CHECK_EQ(info.cap_offset, 0);
  long_info.info = (struct vfio_region_info){.argsz = sizeof(long_info), .index = info.index};
  CHECK_OK(ioctl(e.dev.fd, VFIO_DEVICE_GET_REGION_INFO, &long_info));
  CHECK_EQ(long_info.info.cap_offset, sizeof(info));
  CHECK_EQ(long_info.caps[0].id, VFIO_REGION_INFO_CAP_MSIX_MAPPABLE);
  CHECK_EQ(long_info.caps[0].next, 0);
  void* map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, e.dev.fd, (off_t)info.offset);
  REQUIRE(CHECK(map != MAP_FAILED));
  munmap(map, PAGE);
}

/* ---- config space ------------------------------------------------------------------------------------ */

SECTION("vfio-device 10");

TEST(X10, "4096 bytes with capabilities; EFAULT behind them") {
  const struct edu e = express();
  uint32_t v = 0;
  CHECK_NE(capability(&e, PCI_CAP_ID_PM), 0);
  CHECK_NE(capability(&e, PCI_CAP_ID_EXP), 0);
  if (has_registers(&e)) {
    CHECK_NE(extended(&e, PCI_EXT_CAP_ID_ERR), 0);
    CHECK_NE(extended(&e, PCI_EXT_CAP_ID_DSN), 0);
  }
  CHECK_EQ(pread(e.dev.fd, &v, 4, (off_t)(e.config + 4092)), 4);
  CHECK_ERR(pread(e.dev.fd, &v, 4, (off_t)(e.config + 4094)), EFAULT);
}

TEST(X11, "D3hot: BARs answer EIO; registers are lost on the way back unless the device keeps them") {
  const struct edu e = express();
  const unsigned pm = capability(&e, PCI_CAP_ID_PM);
  uint32_t v = 0;
  REQUIRE(CHECK_NE(pm, 0));
  if (has_registers(&e)) edu_write4(&e, EDU_LIVENESS, 0x12345678);
  config_write(&e, pm + PCI_PM_CTRL, 2, 3);
  CHECK_EQ(config_read(&e, pm + PCI_PM_CTRL, 2) & PCI_PM_CTRL_STATE_MASK, 3);
  CHECK_ERR(pread(e.dev.fd, &v, 4, (off_t)e.bar), EIO);
  CHECK_ERR(pwrite(e.dev.fd, &v, 4, (off_t)e.bar), EIO);
  config_write(&e, pm + PCI_PM_CTRL, 2, 0);
  CHECK_EQ(config_read(&e, pm + PCI_PM_CTRL, 2) & PCI_PM_CTRL_STATE_MASK, 0);
  CHECK_EQ(config_read(&e, PCI_COMMAND, 2) & PCI_COMMAND_MASTER, PCI_COMMAND_MASTER); /* config space is restored */
  if (!has_registers(&e)) return;
  CHECK_EQ(edu_read4(&e, EDU_LIVENESS),
           config_read(&e, pm + PCI_PM_CTRL, 2) & PCI_PM_CTRL_NO_SOFT_RESET ? ~0x12345678u : 0);
}

TEST(X12, "PME reads 0; states that do not exist are not entered") {
  const struct edu e = express();
  const unsigned pm = capability(&e, PCI_CAP_ID_PM);
  const uint64_t pmc = config_read(&e, pm + PCI_PM_PMC, 2);
  CHECK_EQ(pmc & PCI_PM_CAP_PME_MASK, 0);
  config_write(&e, pm + PCI_PM_CTRL, 2, PCI_PM_CTRL_PME_ENABLE | PCI_PM_CTRL_PME_STATUS);
  CHECK_EQ(config_read(&e, pm + PCI_PM_CTRL, 2) & (PCI_PM_CTRL_PME_ENABLE | PCI_PM_CTRL_PME_STATUS), 0);
  if (pmc & PCI_PM_CAP_D1) return;
  config_write(&e, pm + PCI_PM_CTRL, 2, 1);
  CHECK_EQ(config_read(&e, pm + PCI_PM_CTRL, 2) & PCI_PM_CTRL_STATE_MASK, 0);
}

TEST(X13, "Device Control: the function reset bit resets, and reads 0") {
  const struct edu e = express();
  const unsigned cap = capability(&e, PCI_CAP_ID_EXP);
  uint64_t control;
  REQUIRE(CHECK_NE(cap, 0));
  if (!(config_read(&e, cap + PCI_EXP_DEVCAP, 4) & PCI_EXP_DEVCAP_FLR)) SKIP("needs a function reset");
  control = config_read(&e, cap + PCI_EXP_DEVCTL, 2);
  if (has_registers(&e)) edu_write4(&e, EDU_LIVENESS, 0x12345678);
  config_write(&e, cap + PCI_EXP_DEVCTL, 2, control | PCI_EXP_DEVCTL_BCR_FLR);
  CHECK_EQ(config_read(&e, cap + PCI_EXP_DEVCTL, 2), control);
  if (has_registers(&e)) CHECK_EQ(edu_read4(&e, EDU_LIVENESS), 0);
  CHECK_EQ(config_read(&e, PCI_COMMAND, 2) & PCI_COMMAND_MASTER, PCI_COMMAND_MASTER);
}

TEST(X14, "Device Control: payload and read request are as written; the rest of the capability ignores writes") {
  const struct edu e = express();
  const unsigned cap = capability(&e, PCI_CAP_ID_EXP);
  const uint64_t link = config_read(&e, cap + PCI_EXP_LNKCTL, 2);
  config_write(&e, cap + PCI_EXP_DEVCTL, 2, PCI_EXP_DEVCTL_PAYLOAD_512B | PCI_EXP_DEVCTL_READRQ_1024B);
  CHECK_EQ(config_read(&e, cap + PCI_EXP_DEVCTL, 2), PCI_EXP_DEVCTL_PAYLOAD_512B | PCI_EXP_DEVCTL_READRQ_1024B);
  config_write(&e, cap + PCI_EXP_LNKCTL, 2, ~link);
  CHECK_EQ(config_read(&e, cap + PCI_EXP_LNKCTL, 2), link);
}

TEST(X15, "AER: masks are writable, serial numbers are not") {
  const struct edu e = express();
  const unsigned aer = extended(&e, PCI_EXT_CAP_ID_ERR), dsn = extended(&e, PCI_EXT_CAP_ID_DSN);
  need_registers(&e); /* other functions have bits of their own */
  REQUIRE(CHECK(aer != 0 && dsn != 0));
  const uint64_t mask = config_read(&e, aer + PCI_ERR_UNCOR_MASK, 4), number = config_read(&e, dsn + 4, 4);
  config_write(&e, aer + PCI_ERR_UNCOR_MASK, 4, mask | PCI_ERR_UNC_MALF_TLP);
  CHECK_EQ(config_read(&e, aer + PCI_ERR_UNCOR_MASK, 4), mask | PCI_ERR_UNC_MALF_TLP);
  config_write(&e, aer + PCI_ERR_UNCOR_MASK, 4, mask);
  config_write(&e, dsn + 4, 4, ~number);
  CHECK_EQ(config_read(&e, dsn + 4, 4), number);
}

/* ---- expansion ROM ----------------------------------------------------------------------------------- */

SECTION("vfio-device 9");

TEST(X20, "expansion ROM: its BAR sizes, its images are read, all ones behind them, no writes") {
  const struct edu e = express();
  struct vfio_region_info info;
  uint8_t bytes[4] = {0};
  REQUIRE(CHECK_OK(region_info(&e.dev, VFIO_PCI_ROM_REGION_INDEX, &info)));
  if (info.size == 0) {
    CHECK_EQ(info.flags, 0);
    SKIP("needs an expansion ROM");
  }
  CHECK_EQ(info.flags, VFIO_REGION_INFO_FLAG_READ);
  config_write(&e, PCI_ROM_ADDRESS, 4, 0xfffff800);
  CHECK_EQ(config_read(&e, PCI_ROM_ADDRESS, 4), (uint32_t)-info.size);
  CHECK_EQ(pread(e.dev.fd, bytes, 4, (off_t)info.offset), 4);
  CHECK(bytes[0] == 0x55 && bytes[1] == 0xaa);
  CHECK_EQ(pread(e.dev.fd, bytes, 4, (off_t)(info.offset + info.size - 2)), 2);
  CHECK_ERR(pread(e.dev.fd, bytes, 4, (off_t)(info.offset + info.size)), EINVAL);
  CHECK_ERR(pwrite(e.dev.fd, bytes, 4, (off_t)info.offset), EINVAL);
}

/* ---- hot reset --------------------------------------------------------------------------------------- */

SECTION("vfio-device 14");

TEST(X30, "hot reset: ENODEV on a root bus; below a bridge it resets the device") {
  const struct edu e = express();
  uint32_t hit[64] = {sizeof(hit)}, reset[3] = {sizeof(reset)};
  if (has_registers(&e)) edu_write4(&e, EDU_LIVENESS, 0x12345678);
  if (!getenv("IOMMUFD_TEST_HOT_RESET")) {
    CHECK_ERR(ioctl(e.dev.fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, hit), ENODEV);
    CHECK_ERR(ioctl(e.dev.fd, VFIO_DEVICE_PCI_HOT_RESET, reset), by_group() ? EINVAL : ENODEV); /* no group is named */
    if (has_registers(&e)) CHECK_EQ(edu_read4(&e, EDU_LIVENESS), ~0x12345678u);
    return;
  }
  REQUIRE(CHECK_OK(ioctl(e.dev.fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, hit)));
  CHECK_EQ(hit[2], 1);
  CHECK_EQ(hit[3], e.dev.id);
  CHECK_OK(ioctl(e.dev.fd, VFIO_DEVICE_PCI_HOT_RESET, reset));
  CHECK_EQ(edu_read4(&e, EDU_LIVENESS), 0);
}

TEST(X31, "hot reset of two functions: both must be the caller's") {
  need_node();
  const int iommufd = open_iommufd();
  struct vdev d = {0}, other = {0};
  uint32_t hit[64] = {sizeof(hit)}, reset[3] = {sizeof(reset)};
  if (!getenv("IOMMUFD_TEST_HOT_RESET")) SKIP("needs two devices below a bridge");
  d = open_and_bind(kind(), 3, iommufd); /* 06:00.0 of tests/machine/bridges.yaml, and 06:00.1 */
  CHECK_OK(ioctl(d.fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, hit));
  CHECK_EQ(hit[2], 2);
  CHECK_EQ(hit[5], VFIO_PCI_DEVID_OWNED); /* its group is ours */
  CHECK_EQ(hit[1], VFIO_PCI_HOT_RESET_FLAG_DEV_ID | VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED);
  CHECK_OK(ioctl(d.fd, VFIO_DEVICE_PCI_HOT_RESET, reset));
  other = open_and_bind(kind(), 4, iommufd);
  CHECK_OK(ioctl(d.fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, hit));
  CHECK_EQ(hit[5], other.id);
}

SECTION("vfio-device 17");

/* How many files msi_irqs has, all with this content; -1: there is no such directory. */
static int message_irqs(const char* bdf, const char* content) {
  char path[PATH_MAX], file[PATH_MAX + 300], text[16];
  struct dirent* e;
  int num = 0;
  snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/msi_irqs", bdf);
  DIR* dir = opendir(path);
  if (!dir) return -1;
  while ((e = readdir(dir)) != NULL) {
    if (e->d_name[0] == '.') continue;
    snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
    CHECK(strspn(e->d_name, "0123456789") == strlen(e->d_name));
    CHECK(read_text(file, text, sizeof(text)) && strcmp(text, content) == 0);
    num++;
  }
  closedir(dir);
  return num;
}

TEST(X40, "msi_irqs lists the vectors of messages; it comes with the first of them, and stays, empty") {
  const struct edu e = express();
  const char* bdf = e.dev.bdf;
  int32_t fds[3];
  for (int i = 0; i < 3; i++) fds[i] = keep(eventfd(0, EFD_CLOEXEC));
  CHECK_LE(message_irqs(bdf, "msi") + 1, 1); /* an earlier test may have had some */
  if (capability(&e, PCI_CAP_ID_MSI) != 0) {
    CHECK_OK(irqs(&e, EVENTFD | TRIGGER, MSI, 0, 1, fds[0], -1));
    CHECK_EQ(message_irqs(bdf, "msi"), 1);
    CHECK_OK(irqs(&e, NONE | TRIGGER, MSI, 0, 0, 0, 0));
  }
  CHECK_OK(irqs(&e, EVENTFD | TRIGGER, MSIX, 0, 2, fds[0], fds[1]));
  CHECK_EQ(message_irqs(bdf, "msix"), 2);
  CHECK_OK(irqs(&e, EVENTFD | TRIGGER, MSIX, 2, 1, fds[2], -1)); /* grows */
  CHECK_EQ(message_irqs(bdf, "msix"), 3);
  CHECK_OK(irqs(&e, NONE | TRIGGER, MSIX, 0, 0, 0, 0));
  CHECK_EQ(message_irqs(bdf, "msix"), 0);
}
