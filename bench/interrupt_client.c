// SPDX-License-Identifier: BSD-3-Clause
/*
 * The client of transport_interrupt_bench: an unmodified program that maps registers of edu devices.
 *
 *   interrupt_client latency COUNT BDF     stores to the register that raises an interrupt and spins on the eventfd; prints
 *                                          `intx NS`, `msi NS`, `msix NS` (kinds that the device has), each the median of
 *                                          COUNT, and `KIND_p99 NS`; the poller of the server is awake
 *   interrupt_client after_idle BDF        the same, once, after a second in which nobody did anything: `first NS`
 *   interrupt_client idle SECONDS BDF...   maps the registers of all devices and sleeps: `server NS`, the processor time that
 *                                          the process which serves it used meanwhile
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/iommufd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bench/client.h"

#define IRQ_RAISE 0x60
#define IRQ_ACK 0x64
#define MAX_COUNT 100000

struct device {
  int fd;
  char* bar;
};

static struct vfio_region_info region(int fd, uint32_t index) {
  struct vfio_region_info info = {.argsz = sizeof(info), .index = index};

  if (ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &info)) fail("VFIO_DEVICE_GET_REGION_INFO");
  return info;
}

static struct device open_device(int iommufd, const char* bdf) {
  struct device d;
  struct vfio_device_bind_iommufd bind = {.argsz = sizeof(bind), .iommufd = iommufd};
  struct vfio_region_info bar, config;
  const uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

  d.fd = open_node_of(bdf);
  if (ioctl(d.fd, VFIO_DEVICE_BIND_IOMMUFD, &bind)) fail("VFIO_DEVICE_BIND_IOMMUFD");
  config = region(d.fd, VFIO_PCI_CONFIG_REGION_INDEX);
  if (pwrite(d.fd, &command, 2, (off_t)(config.offset + PCI_COMMAND)) != 2) fail("command register");
  bar = region(d.fd, VFIO_PCI_BAR0_REGION_INDEX);
  d.bar = mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, d.fd, (off_t)bar.offset);
  if (d.bar == MAP_FAILED) fail("mmap of BAR 0");
  return d;
}

/* flags: data type and action; `data` only with an eventfd. */
static void set_irqs(const struct device* d, uint32_t index, uint32_t flags, uint32_t count, int32_t data) {
  char buffer[sizeof(struct vfio_irq_set) + sizeof(data)];
  struct vfio_irq_set* set = (struct vfio_irq_set*)buffer;

  *set = (struct vfio_irq_set){.argsz = sizeof(buffer), .flags = flags, .index = index, .count = count};
  memcpy(set->data, &data, sizeof(data));
  if (ioctl(d->fd, VFIO_DEVICE_SET_IRQS, set)) fail("VFIO_DEVICE_SET_IRQS");
}

static uint32_t vectors(const struct device* d, uint32_t index) {
  struct vfio_irq_info info = {.argsz = sizeof(info), .index = index};

  if (ioctl(d->fd, VFIO_DEVICE_GET_IRQ_INFO, &info)) fail("VFIO_DEVICE_GET_IRQ_INFO");
  return info.count;
}

static void store(const struct device* d, uint32_t offset, uint32_t value) {
  *(volatile uint32_t*)(d->bar + offset) = value;
}

static uint32_t load(const struct device* d, uint32_t offset) { return *(volatile uint32_t*)(d->bar + offset); }

/* From the store to the count in the eventfd. */
static double one_interrupt(const struct device* d, int event) {
  const double start = now_ns();
  uint64_t count;

  store(d, IRQ_RAISE, 1);
  while (read(event, &count, sizeof(count)) != sizeof(count)) {
    if (errno != EAGAIN) fail("eventfd");
    if (now_ns() - start > 5e9) fail("no interrupt");
  }
  return now_ns() - start;
}

/* The device takes the acknowledgement by leaving 0 behind; a masked line is opened again. */
static void acknowledge(const struct device* d, uint32_t index) {
  store(d, IRQ_ACK, 1);
  while (load(d, IRQ_ACK)) continue;
  if (index == VFIO_PCI_INTX_IRQ_INDEX) set_irqs(d, index, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, 1, 0);
}

static int arm(const struct device* d, uint32_t index) {
  const int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

  if (event < 0) fail("eventfd");
  set_irqs(d, index, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, 1, event);
  return event;
}

static void disarm(const struct device* d, uint32_t index, int event) {
  set_irqs(d, index, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0);
  close(event);
}

static void latency(long count, const char* bdf) {
  static const char* const names[] = {"intx", "msi", "msix"};
  static double each[MAX_COUNT];
  const struct device d = open_device(open("/dev/iommu", O_RDWR | O_CLOEXEC), bdf);

  for (uint32_t index = VFIO_PCI_INTX_IRQ_INDEX; index <= VFIO_PCI_MSIX_IRQ_INDEX; index++) {
    int event;

    if (vectors(&d, index) == 0) continue;
    event = arm(&d, index);
    for (long i = -100; i < count; i++) { /* the first hundred warm up */
      const double ns = one_interrupt(&d, event);

      if (i >= 0) each[i] = ns;
      acknowledge(&d, index);
    }
    disarm(&d, index, event);
    qsort(each, (size_t)count, sizeof(each[0]), rising);
    printf("%s %.0f\n%s_p99 %.0f\n", names[index], each[count / 2], names[index], each[count - 1 - count / 100]);
  }
}

static void after_idle(const char* bdf) {
  const struct device d = open_device(open("/dev/iommu", O_RDWR | O_CLOEXEC), bdf);
  const int event = arm(&d, VFIO_PCI_MSI_IRQ_INDEX);

  (void)one_interrupt(&d, event);
  acknowledge(&d, VFIO_PCI_MSI_IRQ_INDEX);
  sleep(1);
  printf("first %.0f\n", one_interrupt(&d, event));
}

/* Processor time of all threads of our parent, which serves our calls. */
static double server_ns(void) {
  char pattern[64];
  double sum = 0;
  glob_t found;

  snprintf(pattern, sizeof(pattern), "/proc/%d/task/*/schedstat", getppid());
  if (glob(pattern, 0, NULL, &found)) fail(pattern);
  for (size_t i = 0; i < found.gl_pathc; i++) {
    FILE* f = fopen(found.gl_pathv[i], "re");
    unsigned long long ns = 0;

    if (f && fscanf(f, "%llu", &ns) != 1) fail(found.gl_pathv[i]);
    if (f) fclose(f);
    sum += (double)ns;
  }
  globfree(&found);
  return sum;
}

static void idle(unsigned seconds, int num, char** bdfs) {
  const int iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
  double used;

  for (int i = 0; i < num; i++) (void)open_device(iommufd, bdfs[i]);
  sleep(1);
  used = server_ns();
  sleep(seconds);
  printf("server %.0f\n", server_ns() - used);
}

int main(int argc, char** argv) {
  const long number = argc > 3 ? strtol(argv[2], NULL, 10) : -1;

  if (argc == 4 && !strcmp(argv[1], "latency") && number > 0 && number <= MAX_COUNT) {
    latency(number, argv[3]);
  } else if (argc == 3 && !strcmp(argv[1], "after_idle")) {
    after_idle(argv[2]);
  } else if (argc > 3 && !strcmp(argv[1], "idle") && number > 0) {
    idle((unsigned)number, argc - 3, argv + 3);
  } else {
    fprintf(stderr, "usage: interrupt_client latency COUNT BDF | after_idle BDF | idle SECONDS BDF...\n");
    return 2;
  }
  return 0;
}
