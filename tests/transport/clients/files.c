/* SPDX-License-Identifier: BSD-3-Clause */
/* What a descriptor of ours answers: the same as one of the kernel's character devices. */
#include "check.h"

#include <dirent.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

static void ioctls(int fd) {
  struct echo_sum s = {.size = sizeof(s), .a = 1, .b = 2};
  CHECK(ioctl(fd, ECHO_SUM, &s) == 0 && s.sum == 3);
  CHECK_ERRNO(ioctl(fd, _IO(';', 0xff), &s), ENOTTY);
  CHECK_ERRNO(ioctl(fd, _IO('!', 0x80), &s), ENOTTY); /* not of our type: the kernel's answer */
  CHECK_ERRNO(ioctl(-1, ECHO_SUM, &s), EBADF);
  CHECK_ERRNO(ioctl(1000000, ECHO_SUM, &s), EBADF);
  int other = open("/dev/null", O_RDWR);
  CHECK_ERRNO(ioctl(other, ECHO_SUM, &s), ENOTTY); /* our type, another's file */
  CHECK(ioctl(fd, ECHO_RESOLVE, fd) == 2);
  CHECK(ioctl(fd, ECHO_RESOLVE, other) == 0);
  CHECK_ERRNO(ioctl(fd, ECHO_RESOLVE, 999999), EBADF);
  CHECK_ERRNO(ioctl(fd, ECHO_RESOLVE, -1), EBADF);
  close(other);
  int second = open_iommu();
  CHECK(ioctl(fd, ECHO_RESOLVE, second) == 1);
  close(second);

  int event = eventfd(0, EFD_NONBLOCK);
  uint64_t count;
  CHECK(ioctl(fd, ECHO_SIGNAL, event) == 0);
  CHECK(read(event, &count, sizeof(count)) == sizeof(count) && count == 1);
  close(event);
}

static void device_answers(int fd) {
  char buf[16] = {0};
  struct iovec iov = {buf, sizeof(buf)};
  struct stat st;
  CHECK(fd >= 512);
  CHECK(fstat(fd, &st) == 0);
  CHECK(S_ISCHR(st.st_mode));
  CHECK(major(st.st_rdev) == 10);
  struct stat by_path;
  CHECK(stat("/dev/iommu", &by_path) == 0);
  CHECK(by_path.st_rdev == st.st_rdev && by_path.st_ino == st.st_ino && by_path.st_dev == st.st_dev);
  struct statx x;
  CHECK(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x) == 0);
  CHECK(S_ISCHR(x.stx_mode) && x.stx_rdev_major == 10 && x.stx_rdev_minor == 123);
  CHECK(fstatat(fd, "", &st, AT_EMPTY_PATH) == 0 && S_ISCHR(st.st_mode));
  CHECK(syscall(SYS_fstat, fd, &st) == 0 && S_ISCHR(st.st_mode));

  CHECK_ERRNO(read(fd, buf, sizeof(buf)), EINVAL);
  CHECK_ERRNO(write(fd, buf, sizeof(buf)), EINVAL);
  CHECK_ERRNO(pread(fd, buf, sizeof(buf), 0), EINVAL);
  CHECK_ERRNO(pread(fd, buf, sizeof(buf), -1), EINVAL);
  CHECK_ERRNO(readv(fd, &iov, 1), EINVAL);
  CHECK_ERRNO(writev(fd, &iov, 1), EINVAL);
  CHECK_ERRNO(preadv(fd, &iov, 1, 0), EINVAL);
  CHECK_ERRNO(lseek(fd, 0, SEEK_SET), ESPIPE);
  CHECK_ERRNO(ftruncate(fd, 0), EINVAL);
  CHECK_ERRNO(fallocate(fd, 0, 0, 4096), ENODEV);
  CHECK_ERRNO(syscall(SYS_getdents64, fd, buf, sizeof(buf)), ENOTDIR);
  CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == ENODEV);
  struct pollfd p = {fd, POLLIN | POLLOUT, 0};
  CHECK(poll(&p, 1, 0) == 1 && p.revents == (POLLIN | POLLOUT));
  CHECK((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR);
  CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
}

static void open_flags(void) {
  char buf[4];
  int fd = open("/dev/iommu", O_RDONLY);
  CHECK(fd >= 0);
  CHECK((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY);
  CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0);
  CHECK_ERRNO(write(fd, "x", 1), EBADF);
  CHECK(echoes(fd));
  close(fd);
  fd = open("/dev/iommu", O_WRONLY | O_NONBLOCK);
  CHECK_ERRNO(read(fd, buf, 1), EBADF);
  CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
  close(fd);
  CHECK_ERRNO(open("/dev/iommu", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
  CHECK_ERRNO(open("/dev/iommu", O_RDWR | O_DIRECTORY), ENOTDIR);
  fd = open("/dev/iommu", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(fd >= 0 && echoes(fd));
  close(fd);
  fd = open("/dev/iommu", O_PATH);
  CHECK(fd >= 0);
  CHECK(!echoes(fd) && errno == EBADF);
  close(fd);
}

static void region(void) {
  int fd = open_device();
  unsigned char out[4] = {1, 2, 3, 4}, in[4] = {0};
  CHECK(pwrite(fd, out, 4, ECHO_REGION0 + 100) == 4);
  CHECK(pread(fd, in, 4, ECHO_REGION0 + 100) == 4 && memcmp(in, out, 4) == 0);
  struct iovec iov[2] = {{in, 2}, {in + 2, 2}};
  memset(in, 0, 4);
  CHECK(preadv(fd, iov, 2, ECHO_REGION0 + 100) == 4 && memcmp(in, out, 4) == 0);
  CHECK(pwritev(fd, iov, 2, ECHO_REGION0 + 200) == 4);
  CHECK(ioctl(fd, ECHO_PEEK, 203) == 4);
  CHECK_ERRNO(read(fd, in, 4), EINVAL); /* the position is 0, where there is no region */
  CHECK_ERRNO(preadv2(fd, iov, 2, ECHO_REGION0, RWF_APPEND), EOPNOTSUPP);
  CHECK_ERRNO(syscall(SYS_preadv, fd, iov, 2000L, ECHO_REGION0, 0L), EINVAL);

  /* Loads and stores, seen by the engine without a call, and by a second mapping. */
  unsigned char* map = mmap(NULL, ECHO_REGION0_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, ECHO_REGION0);
  CHECK(map != MAP_FAILED);
  CHECK(map[100] == 1);
  map[5000] = 77;
  CHECK(ioctl(fd, ECHO_PEEK, 5000) == 77);
  unsigned char* again = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, ECHO_REGION0 + 4096);
  CHECK(again != MAP_FAILED && again[904] == 77);
  CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EINVAL);
  CHECK(mmap(NULL, ECHO_REGION0_SIZE + 4096, PROT_READ, MAP_SHARED, fd, ECHO_REGION0) == MAP_FAILED && errno == EINVAL);
  /* Sealed: nobody pulls the memory away under the engine. */
  CHECK_ERRNO(ftruncate(fd, 0), EINVAL);
  int low = fcntl(fd, F_DUPFD, 3);
  CHECK(low >= 0 && low < 512);
  CHECK(ftruncate(low, 0) == -1);
  CHECK(ioctl(fd, ECHO_PEEK, 5000) == 77);
  close(low);
  munmap(map, ECHO_REGION0_SIZE);
  munmap(again, 4096);
  close(fd);

  int ro = open("/dev/vfio/devices/vfio0", O_RDONLY);
  CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ro, ECHO_REGION0) == MAP_FAILED && errno == EACCES);
  close(ro);
}

int main(void) {
  int fd = open_iommu();
  ioctls(fd);
  device_answers(fd);
  close(fd);
  CHECK(!echoes(fd) && errno == EBADF);
  open_flags();
  region();
  return 0;
}
