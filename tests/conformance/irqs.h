/* SPDX-License-Identifier: BSD-3-Clause */
/* VFIO_DEVICE_SET_IRQS and eventfds for the conformance programs, and short names for its constants. */
#ifndef CONFORMANCE_IRQS_H
#define CONFORMANCE_IRQS_H

#include <poll.h>
#include <sys/eventfd.h>

#include "uapi.h"

#define NONE VFIO_IRQ_SET_DATA_NONE
#define BOOL VFIO_IRQ_SET_DATA_BOOL
#define EVENTFD VFIO_IRQ_SET_DATA_EVENTFD
#define MASK VFIO_IRQ_SET_ACTION_MASK
#define UNMASK VFIO_IRQ_SET_ACTION_UNMASK
#define TRIGGER VFIO_IRQ_SET_ACTION_TRIGGER
#define INTX VFIO_PCI_INTX_IRQ_INDEX
#define MSI VFIO_PCI_MSI_IRQ_INDEX
#define MSIX VFIO_PCI_MSIX_IRQ_INDEX
#define ERR VFIO_PCI_ERR_IRQ_INDEX
#define REQ VFIO_PCI_REQ_IRQ_INDEX

/* SET_IRQS with `argsz` as given and up to 16 bytes of data. */
static inline int set_irqs(const struct vdev* d, uint32_t argsz, uint32_t flags, uint32_t index, uint32_t start,
                           uint32_t count, const void* data, size_t bytes) {
  _Alignas(8) char buffer[sizeof(struct vfio_irq_set) + 16] = {0};
  struct vfio_irq_set* set = (struct vfio_irq_set*)buffer;
  set->argsz = argsz;
  set->flags = flags;
  set->index = index;
  set->start = start;
  set->count = count;
  memcpy(set->data, data, bytes);
  return ioctl(d->fd, VFIO_DEVICE_SET_IRQS, set);
}

/* One eventfd, for the first interrupt of an index. */
static inline int set_event(const struct vdev* d, uint32_t index, int event) {
  return set_irqs(d, sizeof(struct vfio_irq_set) + 4, EVENTFD | TRIGGER, index, 0, 1, &event, sizeof(event));
}

static inline int new_eventfd(void) { return keep(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

/* What the eventfd counted since the last call; waits a little for an interrupt that is on its way, or for so many milliseconds as
 * IOMMUFD_TEST_PATIENCE says. */
static inline uint64_t interrupts(int fd) {
  const char* patience = getenv("IOMMUFD_TEST_PATIENCE");
  struct pollfd p = {.fd = fd, .events = POLLIN};
  uint64_t n = 0;
  if (poll(&p, 1, patience ? atoi(patience) : 20) == 1) CHECK_EQ(read(fd, &n, sizeof(n)), sizeof(n));
  return n;
}

#endif
