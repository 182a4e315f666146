/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regions of a VFIO device: read, write and mmap of BAR 0, the virtualised config space, and the registers of the edu
 * device (spec vfio-device 9 to 11, edu). IOMMUFD_TEST_KIND, IOMMUFD_TEST_WAY: group.h.
 */
#define _GNU_SOURCE
#include "group.h"

static struct edu opened(void) { return edu_from(device_in_use()); }

/* ---- config space ------------------------------------------------------------------------------------ */

SECTION("vfio-device 10");

TEST(G01, "config space: who the device is") {
  const struct edu e = opened();
  CHECK_EQ(config_read(&e, PCI_VENDOR_ID, 2), 0x1234);
  CHECK_EQ(config_read(&e, PCI_DEVICE_ID, 2), 0x11e8);
  CHECK_EQ(config_read(&e, PCI_VENDOR_ID, 4), 0x11e81234);
  CHECK_EQ(config_read(&e, PCI_CLASS_REVISION, 4), 0x00ff0010);
  CHECK_EQ(config_read(&e, PCI_HEADER_TYPE, 1), 0);
  CHECK_EQ(config_read(&e, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x11001af4);
  CHECK_EQ(config_read(&e, PCI_INTERRUPT_PIN, 1), 1);
}

TEST(G02, "config space: read-only fields ignore writes") {
  const struct edu e = opened();
  config_write(&e, PCI_VENDOR_ID, 4, 0xffffffff);
  config_write(&e, PCI_CLASS_REVISION, 4, 0xffffffff);
  config_write(&e, PCI_HEADER_TYPE, 1, 0xff);
  config_write(&e, PCI_CAPABILITY_LIST, 1, 0xff);
  config_write(&e, PCI_INTERRUPT_PIN, 1, 0xff);
  CHECK_EQ(config_read(&e, PCI_VENDOR_ID, 4), 0x11e81234);
  CHECK_EQ(config_read(&e, PCI_CLASS_REVISION, 4), 0x00ff0010);
  CHECK_EQ(config_read(&e, PCI_HEADER_TYPE, 1), 0);
  CHECK_NE(config_read(&e, PCI_CAPABILITY_LIST, 1), 0xff);
  CHECK_EQ(config_read(&e, PCI_INTERRUPT_PIN, 1), 1);
}

TEST(G03, "config space: sizing of BAR 0, and its value comes back") {
  const struct edu e = opened();
  const uint64_t before = config_read(&e, PCI_BASE_ADDRESS_0, 4);
  config_write(&e, PCI_BASE_ADDRESS_0, 4, 0xffffffff);
  CHECK_EQ(config_read(&e, PCI_BASE_ADDRESS_0, 4), 0xfff00000);
  config_write(&e, PCI_BASE_ADDRESS_0, 4, before);
  CHECK_EQ(config_read(&e, PCI_BASE_ADDRESS_0, 4), before);
  CHECK_EQ(edu_read4(&e, EDU_ID), 0x010000ed); /* the shadow does not move the BAR */
  config_write(&e, PCI_BASE_ADDRESS_1, 4, 0xffffffff);
  CHECK_EQ(config_read(&e, PCI_BASE_ADDRESS_1, 4), 0);
}

TEST(G04, "config space: one capability, MSI with one vector and 64-bit addresses; its enable bit is not ours") {
  const struct edu e = opened();
  unsigned at;
  CHECK(config_read(&e, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST);
  at = (unsigned)config_read(&e, PCI_CAPABILITY_LIST, 1);
  REQUIRE(CHECK_EQ(config_read(&e, at, 1), PCI_CAP_ID_MSI));
  CHECK_EQ(config_read(&e, at + PCI_CAP_LIST_NEXT, 1), 0);
  CHECK_EQ(config_read(&e, at + PCI_MSI_FLAGS, 2), PCI_MSI_FLAGS_64BIT);
  config_write(&e, at + PCI_MSI_ADDRESS_LO, 4, 0xfee00000);
  CHECK_EQ(config_read(&e, at + PCI_MSI_ADDRESS_LO, 4), 0xfee00000);
  config_write(&e, at + PCI_MSI_DATA_64, 2, 0x4321);
  CHECK_EQ(config_read(&e, at + PCI_MSI_DATA_64, 2), 0x4321);
}

TEST(G05, "config space: command register") {
  const struct edu e = opened();
  CHECK_EQ(config_read(&e, PCI_COMMAND, 2) & 6, 6);
  config_write(&e, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
  CHECK_EQ(config_read(&e, PCI_COMMAND, 2) & (PCI_COMMAND_INTX_DISABLE | 6), PCI_COMMAND_INTX_DISABLE);
  config_write(&e, PCI_COMMAND + 1, 1, 0);
  CHECK_EQ(config_read(&e, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE, 0);
}

TEST(G06, "config space: any alignment and length inside, EFAULT across the end, EFAULT for a bad buffer") {
  const struct edu e = opened();
  uint8_t all[256], part[64], byte;
  CHECK_EQ(pread(e.dev.fd, all, 256, (off_t)e.config), 256);
  for (unsigned at = 0; at < 192; at += 7) {
    CHECK_EQ(pread(e.dev.fd, part, 63, (off_t)(e.config + at)), 63);
    CHECK(memcmp(part, all + at, 63) == 0);
  }
  CHECK_EQ(pread(e.dev.fd, &byte, 1, (off_t)(e.config + 255)), 1);
  CHECK_ERR(pread(e.dev.fd, part, 2, (off_t)(e.config + 255)), EFAULT);
  CHECK_ERR(pread(e.dev.fd, &byte, 1, (off_t)(e.config + 256)), EFAULT);
  CHECK_ERR(pread(e.dev.fd, no_page(), 4, (off_t)e.config), EFAULT);
  CHECK_ERR(pwrite(e.dev.fd, no_page(), 4, (off_t)e.config), EFAULT);
}

/* ---- BAR access -------------------------------------------------------------------------------------- */

SECTION("vfio-device 9");

TEST(G10, "BAR 0: count 0, clipping at the end, EINVAL behind it and for regions that do not exist") {
  const struct edu e = opened();
  uint8_t buffer[64];
  struct vfio_region_info info;
  CHECK_EQ(pread(e.dev.fd, buffer, 0, (off_t)e.bar), 0);
  CHECK_EQ(pread(e.dev.fd, buffer, 64, (off_t)(e.bar + 0x100000 - 16)), 16);
  CHECK_ERR(pread(e.dev.fd, buffer, 4, (off_t)(e.bar + 0x100000)), EINVAL);
  CHECK_ERR(pwrite(e.dev.fd, buffer, 4, (off_t)(e.bar + 0x100000)), EINVAL);
  REQUIRE(CHECK_OK(region_info(&e.dev, 1, &info)));
  CHECK_ERR(pread(e.dev.fd, buffer, 4, (off_t)info.offset), EINVAL);
  REQUIRE(CHECK_OK(region_info(&e.dev, VFIO_PCI_ROM_REGION_INDEX, &info)));
  CHECK_ERR(pwrite(e.dev.fd, buffer, 4, (off_t)info.offset), EINVAL);
  CHECK_ERR(pread(e.dev.fd, no_page(), 4, (off_t)e.bar), EFAULT);
  /* Programs that never ask where a region is (DPDK). */
  CHECK_EQ(pread(e.dev.fd, buffer, 4, (off_t)VFIO_PCI_CONFIG_REGION_INDEX << 40), 4);
  CHECK_EQ(buffer[0] | buffer[1] << 8, 0x1234);
  CHECK_ERR(pread(e.dev.fd, buffer, 4, (off_t)9 << 40), EINVAL);
}

TEST(G11, "BAR 0 with memory decoding off: EIO") {
  const struct edu e = opened();
  uint32_t v;
  set_command(&e, 0, PCI_COMMAND_MEMORY);
  CHECK_ERR(pread(e.dev.fd, &v, 4, (off_t)e.bar), EIO);
  CHECK_ERR(pwrite(e.dev.fd, &v, 4, (off_t)e.bar), EIO);
  set_command(&e, PCI_COMMAND_MEMORY, 0);
  CHECK_EQ(edu_read4(&e, EDU_ID), 0x010000ed);
}

SECTION("vfio-device 11");

TEST(G12, "mmap: private, config space and behind the BAR are EINVAL; BAR 0 as its flags say") {
  const struct edu e = opened();
  struct vfio_region_info info;
  volatile uint32_t* map;
  REQUIRE(CHECK_OK(region_info(&e.dev, 0, &info)));
  CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, e.dev.fd, (off_t)e.bar) == MAP_FAILED && errno == EINVAL);
  CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, e.dev.fd, (off_t)e.config) == MAP_FAILED && errno == EINVAL);
  CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, e.dev.fd, (off_t)(e.bar + 0x100000)) == MAP_FAILED && errno == EINVAL);
  CHECK(mmap(NULL, 0x101000, PROT_READ, MAP_SHARED, e.dev.fd, (off_t)e.bar) == MAP_FAILED && errno == EINVAL);
  map = mmap(NULL, 0x100000, PROT_READ | PROT_WRITE, MAP_SHARED, e.dev.fd, (off_t)e.bar);
  if (info.flags & VFIO_REGION_INFO_FLAG_CAPS) { /* parts of it only: vfio_sparse.c */
    CHECK(map == MAP_FAILED && errno == EINVAL);
    return;
  }
  if (!(info.flags & VFIO_REGION_INFO_FLAG_MMAP)) {
    CHECK(map == MAP_FAILED && errno == EINVAL);
    return;
  }
  REQUIRE(CHECK(map != MAP_FAILED));
  CHECK_EQ(map[0], 0x010000ed);
  munmap((void*)(uintptr_t)map, 0x100000);
}

/* ---- edu registers ----------------------------------------------------------------------------------- */

SECTION("edu 2");

TEST(E01, "identification and liveness") {
  const struct edu e = opened();
  static const uint32_t values[] = {0, 1, 0xffffffff, 0xaaaaaaaa, 0xaaaaaaaa};
  CHECK_EQ(edu_read4(&e, EDU_ID), 0x010000ed);
  for (size_t i = 0; i < 5; i++) {
    edu_write4(&e, EDU_LIVENESS, values[i]);
    CHECK_EQ(edu_read4(&e, EDU_LIVENESS), (uint32_t)~values[i]);
  }
  edu_write4(&e, EDU_ID, 0);
  CHECK_EQ(edu_read4(&e, EDU_ID), 0x010000ed);
}

TEST(E02, "factorial, by polling") {
  const struct edu e = opened();
  uint32_t want = 1;
  for (uint32_t n = 0; n <= 34; n++) {
    if (n > 0) want *= n;
    edu_write4(&e, EDU_FACTORIAL, n);
    REQUIRE(edu_wait_clear(&e, EDU_STATUS, 1));
    CHECK_EQ(edu_read4(&e, EDU_FACTORIAL), want);
  }
}

TEST(E03, "factorial with its interrupt bit") {
  const struct edu e = opened();
  edu_write4(&e, EDU_STATUS, 0xffffffff);
  CHECK_EQ(edu_read4(&e, EDU_STATUS), 0x80);
  edu_write4(&e, EDU_FACTORIAL, 5);
  REQUIRE(edu_wait_clear(&e, EDU_STATUS, 1));
  CHECK_EQ(edu_read4(&e, EDU_FACTORIAL), 120);
  for (int i = 0; i < 1000 && edu_read4(&e, EDU_IRQ_STATUS) == 0; i++) continue;
  CHECK_EQ(edu_read4(&e, EDU_IRQ_STATUS), 1);
  edu_write4(&e, EDU_IRQ_ACK, 1);
  CHECK_EQ(edu_read4(&e, EDU_IRQ_STATUS), 0);
}

TEST(E04, "interrupt status: raise adds bits, acknowledge takes them away") {
  const struct edu e = opened();
  edu_write4(&e, EDU_IRQ_RAISE, 1);
  edu_write4(&e, EDU_IRQ_RAISE, 2);
  CHECK_EQ(edu_read4(&e, EDU_IRQ_STATUS), 3);
  edu_write4(&e, EDU_IRQ_STATUS, 0);
  CHECK_EQ(edu_read4(&e, EDU_IRQ_STATUS), 3);
  edu_write4(&e, EDU_IRQ_ACK, 1);
  CHECK_EQ(edu_read4(&e, EDU_IRQ_STATUS), 2);
  edu_write4(&e, EDU_IRQ_ACK, 2);
  CHECK_EQ(edu_read4(&e, EDU_IRQ_STATUS), 0);
}

TEST(E05, "accesses that the device refuses read as ones and write nothing") {
  const struct edu e = opened();
  uint8_t byte = 0;
  uint16_t half = 0;
  CHECK_EQ(pread(e.dev.fd, &byte, 1, (off_t)e.bar), 1);
  CHECK_EQ(byte, known(0, 0xff)); /* QEMU's memory answers for the device */
  CHECK_EQ(pread(e.dev.fd, &half, 2, (off_t)(e.bar + EDU_DMA_SOURCE)), 2);
  CHECK_EQ(half, known(0, 0xffff));
  CHECK_EQ(edu_read4(&e, 0x0c), 0xffffffff);
  CHECK_EQ(edu_read4(&e, EDU_IRQ_RAISE), 0xffffffff);
  CHECK_EQ(edu_read4(&e, EDU_IRQ_ACK), 0xffffffff);
  CHECK_EQ(edu_read4(&e, 0x84), 0xffffffff);
  CHECK_EQ(edu_read4(&e, EDU_BUFFER), 0xffffffff);
  edu_write4(&e, EDU_LIVENESS, 7);
  byte = 0;
  CHECK_EQ(pwrite(e.dev.fd, &byte, 1, (off_t)(e.bar + EDU_LIVENESS)), 1);
  CHECK_EQ(edu_read4(&e, EDU_LIVENESS), ~7u);
}

TEST(E06, "DMA registers: 8 bytes, 4 bytes zero-extended, the upper half is not decoded") {
  const struct edu e = opened();
  edu_write8(&e, EDU_DMA_SOURCE, 0x1122334455667788);
  CHECK_EQ(edu_read8(&e, EDU_DMA_SOURCE), 0x1122334455667788);
  CHECK_EQ(edu_read4(&e, EDU_DMA_SOURCE), 0x55667788);
  edu_write4(&e, EDU_DMA_SOURCE + 4, 0);
  CHECK_EQ(edu_read8(&e, EDU_DMA_SOURCE), 0x1122334455667788);
  edu_write4(&e, EDU_DMA_SOURCE, 0x99);
  CHECK_EQ(edu_read8(&e, EDU_DMA_SOURCE), 0x99);
  const uint64_t command = edu_read8(&e, EDU_DMA_COMMAND);
  edu_write8(&e, EDU_DMA_COMMAND, command ^ EDU_TO_RAM); /* without bit 0: dropped */
  CHECK_EQ(edu_read8(&e, EDU_DMA_COMMAND), command);
}

TEST(E07, "one write of 32 bytes sets all four DMA registers, the command last") {
  const struct edu e = opened();
  const uint64_t registers[4] = {0x1000, EDU_BUFFER, 16, EDU_BUSY};
  CHECK_EQ(pwrite(e.dev.fd, registers, 32, (off_t)(e.bar + EDU_DMA_SOURCE)), 32);
  REQUIRE(edu_wait_clear(&e, EDU_DMA_COMMAND, EDU_BUSY));
  CHECK_EQ(edu_read8(&e, EDU_DMA_DESTINATION), EDU_BUFFER);
  CHECK_EQ(edu_read8(&e, EDU_DMA_COUNT), 16);
}

TEST(E08, "DMA ends with interrupt 0x100 when asked for, and with none otherwise") {
  const struct edu e = opened();
  edu_dma(&e, 0x1000, EDU_BUFFER, 1, 0);
  CHECK_EQ(edu_read4(&e, EDU_IRQ_STATUS), 0);
  edu_dma(&e, 0x1000, EDU_BUFFER, 1, EDU_INTERRUPT);
  for (int i = 0; i < 1000 && edu_read4(&e, EDU_IRQ_STATUS) == 0; i++) continue;
  CHECK_EQ(edu_read4(&e, EDU_IRQ_STATUS), 0x100);
  edu_write4(&e, EDU_IRQ_ACK, 0x100);
  CHECK_EQ(edu_read4(&e, EDU_DMA_COMMAND), EDU_INTERRUPT); /* only the busy bit is cleared */
}
