/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Detach, attachments of PASIDs, and what an attachment outlives: calls in parallel, closes of either file, results that cannot
 * be written (spec iommufd-core 5, rows B24 to B34 of 7.8).
 */
#define _GNU_SOURCE
#include <pthread.h>

#include "uapi.h"

/* ---- detach and PASIDs ------------------------------------------------------------------------------- */

SECTION("iommufd-core 5.8");

TEST(B24, "detach when not attached: no error") {
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, open_iommufd());
  CHECK_OK(detach(&d));
}

SECTION("iommufd-core 5.5");

TEST_ROWS(B25, "B26", "PASID attach to an IOAS, with and without the RID attached: EINVAL") {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  const uint32_t ioas = ioas_alloc(iommufd);
  uint32_t pt = ioas;
  CHECK_ERR(attach_full(&d, VFIO_DEVICE_ATTACH_PASID, 1, &pt), EINVAL); /* B26 */
  REQUIRE(CHECK_OK(attach_to(&d, ioas)));
  pt = ioas;
  CHECK_ERR(attach_full(&d, VFIO_DEVICE_ATTACH_PASID, 1, &pt), EINVAL);
}

static int detach_pasid(const struct vdev* d, uint32_t pasid) {
  struct vfio_device_detach_iommufd_pt cmd = {.argsz = sizeof(cmd), .flags = VFIO_DEVICE_DETACH_PASID, .pasid = pasid};
  return ioctl(d->fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &cmd);
}

TEST(B30, "the device is attached already, as PASID 0 (quirk Q9): a plain attach is EBUSY, and the other way round") {
  const struct window w = interrupt_window();
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  const uint32_t ioas = ioas_alloc(iommufd);
  uint32_t hwpt = ioas, again = ioas;
  REQUIRE(CHECK_OK(attach_full(&d, VFIO_DEVICE_ATTACH_PASID, 0, &hwpt)));
  CHECK_ERR(attach_to(&d, ioas), EBUSY);
  CHECK_ERR(map_fixed(iommufd, ioas, pages(PAGE), PAGE, w.start), EINVAL); /* with its reserved regions */
  CHECK_OK(attach_full(&d, VFIO_DEVICE_ATTACH_PASID, 0, &again));          /* replaces */
  CHECK_EQ(again, hwpt);
  CHECK_OK(detach_pasid(&d, 0));
  CHECK_ERR(destroy(iommufd, hwpt), ENOENT);
  REQUIRE(CHECK_OK(attach_to(&d, ioas)));
  CHECK_ERR(attach_full(&d, VFIO_DEVICE_ATTACH_PASID, 0, &again), EBUSY);
}

/* ---- lifetime ---------------------------------------------------------------------------------------- */

struct attacher {
  const struct vdev* d;
  const uint32_t* ioas;
  int failures;
};

static void* attach_to_both(void* arg) {
  struct attacher* a = arg;
  for (int i = 0; i < 200; i++) {
    if (attach_to(a->d, a->ioas[i % 2]) != 0) a->failures++;
    if (i % 3 == 0 && detach(a->d) != 0) a->failures++;
  }
  return NULL;
}

TEST(B34, "attaches and detaches of one device in parallel wait for each other, and all succeed") {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  const uint32_t ioas[2] = {ioas_alloc(iommufd), ioas_alloc(iommufd)};
  struct attacher a[3];
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) {
    a[i] = (struct attacher){&d, ioas, 0};
    REQUIRE(CHECK_EQ(pthread_create(&threads[i], NULL, attach_to_both, &a[i]), 0));
  }
  for (int i = 0; i < 3; i++) {
    pthread_join(threads[i], NULL);
    CHECK_EQ(a[i].failures, 0);
  }
  CHECK_OK(detach(&d));
  CHECK_OK(destroy(iommufd, ioas[0]));
  CHECK_OK(destroy(iommufd, ioas[1]));
}

SECTION("iommufd-core 1.11");

TEST(D33, "close of the iommufd while a device is bound: it attaches to ids that exist") {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  const uint32_t ioas = ioas_alloc(iommufd);
  REQUIRE(CHECK_OK(map_fixed(iommufd, ioas, pages(PAGE), PAGE, 0x10000)));
  close_kept(iommufd);
  CHECK_OK(attach_to(&d, ioas));
  CHECK_ERR(attach_to(&d, NO_ID), ENOENT);
}

SECTION("iommufd-core B.5");

TEST(B31, "close of an attached device: HWPT and device are gone, the IOAS stays") {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  uint32_t ioas = ioas_alloc(iommufd), pt = ioas;
  REQUIRE(CHECK_OK(attach(&d, &pt)));
  close_kept(d.fd);
  CHECK_ERR(destroy(iommufd, pt), ENOENT);
  CHECK_ERR(destroy(iommufd, d.id), ENOENT);
  check_ranges(iommufd, ioas, 1, 1);
  CHECK_OK(destroy(iommufd, ioas));
}

SECTION("iommufd-core B.2");

TEST(B32, "attach whose result cannot be written: EFAULT, and the device is detached") {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  const uint32_t ioas = ioas_alloc(iommufd);
  const struct vfio_device_attach_iommufd_pt cmd = {.argsz = sizeof(cmd), .pt_id = ioas};
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, read_only(&cmd, sizeof(cmd))), EFAULT);
  CHECK_OK(destroy(iommufd, ioas));
}

SECTION("iommufd-core B.1");

TEST(B33, "two contexts: a device is bound to one") {
  const int a = open_iommufd(), b = open_iommufd();
  struct vdev first = open_and_bind(BEHIND_IOMMU, 0, a), second = open_device(BEHIND_IOMMU);
  CHECK_ERR(bind_to(&second, b), EINVAL);
  close_kept(first.fd);
  CHECK_OK(bind_to(&second, b));
  CHECK_EQ(second.id, 1);
}
