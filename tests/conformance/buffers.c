/* SPDX-License-Identifier: BSD-3-Clause */
/* The stand-in for a dma-buf, its revocation, and all of the mock world in parallel (spec selftest-abi 8, rows Z). */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>

#include "test_abi.h"

SECTION("selftest-abi 8");

TEST(Z01, "DMABUF_GET: 0 and over 512 pages EINVAL; a descriptor, close-on-exec as asked") {
  const int fd = open_test_iommufd();
  int buffer;
  CHECK_ERR(word_op(fd, OP_DMABUF_GET, 0, 0, 0), EINVAL);
  CHECK_ERR(word_op(fd, OP_DMABUF_GET, 0, 512 * PAGE + 1, 0), EINVAL);
  buffer = keep(word_op(fd, OP_DMABUF_GET, 0, 512 * PAGE, O_CLOEXEC));
  REQUIRE(CHECK_OK(buffer));
  CHECK_EQ(fcntl(buffer, F_GETFD), FD_CLOEXEC);
  buffer = keep(word_op(fd, OP_DMABUF_GET, 0, 1, 0));
  REQUIRE(CHECK_OK(buffer));
  CHECK_EQ(fcntl(buffer, F_GETFD), 0);
  CHECK_ERR(dmabuf_revoke(fd, 999999, 1), EBADF);
  CHECK_ERR(dmabuf_revoke(fd, fd, 1), EINVAL);
}

SECTION("iommufd-core 3.6");

TEST(F17,
     "MAP_FILE of it: length 0, start at its end, past its end EINVAL; whole and in part fine, without a domain too") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  const int buffer = keep(word_op(fd, OP_DMABUF_GET, 0, 4 * PAGE, O_CLOEXEC));
  REQUIRE(CHECK_OK(buffer));
  CHECK_ERR(map_file_fixed(fd, ioas, buffer, 0, 0, APERTURE), EINVAL);
  CHECK_ERR(map_file_fixed(fd, ioas, buffer, 4 * PAGE, PAGE, APERTURE), EINVAL);
  CHECK_ERR(map_file_fixed(fd, ioas, buffer, 0, 4 * PAGE + 1, APERTURE), EINVAL);
  CHECK_OK(map_file_fixed(fd, ioas, buffer, 0, 4 * PAGE, APERTURE));
  mock_domain(fd, ioas);
  CHECK_OK(map_file_fixed(fd, ioas, buffer, MOCK_PAGE, PAGE, APERTURE + 8 * PAGE));
  CHECK_OK(unmap(fd, ioas, APERTURE, 4 * PAGE));
}

TEST(F19, "revoked: mapping ENODEV; what was mapped stays empty, also in copies and new domains, and can be unmapped") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd), other = ioas_alloc(fd);
  const int buffer = keep(word_op(fd, OP_DMABUF_GET, 0, 4 * PAGE, O_CLOEXEC));
  struct mock m;
  uint32_t hwpt;
  REQUIRE(CHECK_OK(buffer));
  m = mock_domain(fd, ioas);
  REQUIRE(CHECK_OK(map_file_fixed(fd, ioas, buffer, 0, 4 * PAGE, APERTURE)));
  REQUIRE(CHECK_OK(copy_fixed(fd, RW, other, ioas, PAGE, APERTURE, APERTURE)));
  REQUIRE(CHECK_OK(dmabuf_revoke(fd, buffer, 1)));
  CHECK_OK(hwpt_alloc(fd, m.idev, ioas, 0, &hwpt));
  CHECK_ERR(map_file_fixed(fd, ioas, buffer, 0, 4 * PAGE, APERTURE + 8 * PAGE), ENODEV);
  REQUIRE(CHECK_OK(dmabuf_revoke(fd, buffer, 0)));
  CHECK_OK(map_file_fixed(fd, ioas, buffer, 0, 4 * PAGE, APERTURE + 8 * PAGE));
  CHECK_OK(copy_fixed(fd, RW, ioas, ioas, PAGE, APERTURE, APERTURE + 16 * PAGE));
  CHECK_OK(unmap(fd, ioas, APERTURE, 4 * PAGE));
  CHECK_OK(map_file_fixed(fd, ioas, buffer, 0, 4 * PAGE, APERTURE));
  CHECK_OK(destroy(fd, hwpt));
  mock_domain(fd, other);
  REQUIRE(CHECK_OK(dmabuf_revoke(fd, buffer, 0))); /* whatever the value: what is mapped is void */
  CHECK_OK(unmap(fd, ioas, APERTURE, 32 * PAGE));
  CHECK_OK(unmap(fd, other, APERTURE, PAGE));
}

/* ---- in parallel --------------------------------------------------------------------------------------- */

SECTION("selftest-abi 8");

struct storm {
  int fd, buffer;
  uint32_t ioas, other, hwpt;
  uint8_t* memory;
  atomic_bool stop;
  atomic_uint wrong;
};

/* r succeeded, or failed with one of the errnos. */
static void expect(struct storm* s, const char* what, int r, int a, int b, int c) {
  if (r >= 0 || errno == a || errno == b || errno == c) return;
  note("%s: %s", what, errno_text(errno));
  atomic_fetch_add(&s->wrong, 1);
}

static void* devices(void* arg) {
  struct storm* s = arg;
  while (!atomic_load(&s->stop)) {
    struct mock m;
    const int r = mock_domain_flags(s->fd, s->ioas, 0, &m);
    expect(s, "mock", r, 0, 0, 0);
    if (r == 0) expect(s, "destroy", destroy(s->fd, m.stdev), EBUSY, ENOENT, 0);
  }
  return NULL;
}

static void* buffers(void* arg) {
  struct storm* s = arg;
  const uint64_t at = APERTURE + 64 * PAGE;
  while (!atomic_load(&s->stop)) {
    expect(s, "map buffer", map_file_fixed(s->fd, s->ioas, s->buffer, 0, 8 * PAGE, at), EEXIST, ENODEV, 0);
    expect(s, "copy", copy_fixed(s->fd, RW, s->other, s->ioas, 2 * PAGE, at + PAGE, APERTURE), ENOENT, EEXIST, 0);
    expect(s, "unmap copy", unmap(s->fd, s->other, APERTURE, 2 * PAGE), ENOENT, EBUSY, 0);
    expect(s, "unmap buffer", unmap(s->fd, s->ioas, at, 8 * PAGE), ENOENT, EBUSY, 0);
  }
  return NULL;
}

static void* revoker(void* arg) {
  struct storm* s = arg;
  for (uint32_t on = 1; !atomic_load(&s->stop); on ^= 1)
    expect(s, "revoke", dmabuf_revoke(s->fd, s->buffer, on), 0, 0, 0);
  return NULL;
}

static void* memory_mapper(void* arg) {
  struct storm* s = arg;
  while (!atomic_load(&s->stop)) {
    expect(s, "map", map_fixed(s->fd, s->ioas, s->memory, 4 * PAGE, APERTURE), EEXIST, 0, 0);
    expect(s, "check", check_map(s->fd, s->hwpt, APERTURE, 4 * PAGE, s->memory), EINVAL, 0, 0);
    expect(s, "unmap", unmap(s->fd, s->ioas, APERTURE, 4 * PAGE), ENOENT, EBUSY, 0);
  }
  return NULL;
}

TEST(Z04,
     "devices that come and go, maps, copies and revocations in parallel: every answer is one of the rules', nothing "
     "stays") {
  struct storm s = {.fd = open_test_iommufd()};
  void* (*const what[])(void*) = {devices, devices, buffers, buffers, revoker, memory_mapper};
  pthread_t threads[6];
  struct mock m;
  s.ioas = ioas_alloc(s.fd);
  s.other = ioas_alloc(s.fd);
  m = mock_domain(s.fd, s.ioas);
  mock_domain(s.fd, s.other);
  REQUIRE(CHECK_OK(hwpt_alloc(s.fd, m.idev, s.ioas, 0, &s.hwpt)));
  s.memory = pages(4 * PAGE);
  REQUIRE(CHECK_OK(s.buffer = keep(word_op(s.fd, OP_DMABUF_GET, 0, 8 * PAGE, O_CLOEXEC))));
  for (int i = 0; i < 6; i++) REQUIRE(CHECK_EQ(pthread_create(&threads[i], NULL, what[i], &s), 0));
  usleep(500 * 1000);
  atomic_store(&s.stop, true);
  for (int i = 0; i < 6; i++) pthread_join(threads[i], NULL);
  CHECK_EQ(atomic_load(&s.wrong), 0);
  (void)unmap(s.fd, s.ioas, APERTURE, 128 * PAGE);
  CHECK_OK(check_refs(s.fd, s.memory, 4 * PAGE, 0));
}
