/* SPDX-License-Identifier: BSD-3-Clause */
/* Every way to say the name of a file. */
#include "check.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static void spellings(void) {
  static const char* const names[] = {
      "/dev/iommu",        "//dev//iommu",       "/dev/./iommu",      "/dev/../dev/iommu",
      "/usr/../dev/iommu", "/dev/vfio/../iommu", "/sys/../dev/iommu",
  };
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    int fd = open(names[i], O_RDWR);
    CHECK(fd >= 0 && echoes(fd));
    close(fd);
    struct stat st;
    CHECK(stat(names[i], &st) == 0 && S_ISCHR(st.st_mode));
  }
  CHECK(chdir("/dev") == 0);
  int fd = open("iommu", O_RDWR);
  CHECK(fd >= 0 && echoes(fd));
  close(fd);
  CHECK(chdir("/") == 0);
  fd = open("dev/iommu", O_RDWR);
  CHECK(fd >= 0 && echoes(fd));
  close(fd);
  CHECK(chdir("/usr/lib") == 0);
  fd = open("../../dev/iommu", O_RDWR);
  CHECK(fd >= 0 && echoes(fd));
  close(fd);
  int dev = open("/dev", O_RDONLY | O_DIRECTORY);
  CHECK(dev >= 0);
  fd = openat(dev, "iommu", O_RDWR);
  CHECK(fd >= 0 && echoes(fd));
  close(fd);
  fd = openat(dev, "./null", O_RDWR); /* the machine's */
  CHECK(fd >= 0 && write(fd, "x", 1) == 1);
  close(fd);
  close(dev);
  fd = syscall(SYS_open, "/dev/iommu", O_RDWR, 0);
  CHECK(fd >= 0 && echoes(fd));
  close(fd);
  struct {
    uint64_t flags, mode, resolve;
  } how = {O_RDWR | O_CLOEXEC, 0, 0};
  fd = syscall(SYS_openat2, AT_FDCWD, "/dev/iommu", &how, sizeof(how));
  CHECK(fd >= 0 && echoes(fd));
  close(fd);
  CHECK_ERRNO(open("/dev/iommu/x", O_RDWR), ENOTDIR);
  CHECK_ERRNO(open("/dev/iommu/", O_RDWR), ENOTDIR);
  CHECK_ERRNO(open("/dev/vfio/nothing", O_RDWR), ENOENT);
  CHECK_ERRNO(open("/dev/vfio/nothing", O_RDWR | O_CREAT, 0600), EACCES);
  CHECK_ERRNO(open("", O_RDWR), ENOENT);
}

static void access_and_links(void) {
  char buf[256];
  CHECK(access("/dev/iommu", R_OK | W_OK) == 0);
  CHECK_ERRNO(access("/dev/iommu", X_OK), EACCES);
  CHECK_ERRNO(access("/dev/vfio/nothing", F_OK), ENOENT);
  CHECK(faccessat(AT_FDCWD, "/dev/iommu", R_OK, 0) == 0);
  CHECK(faccessat(AT_FDCWD, "/dev/iommu", R_OK, AT_EACCESS) == 0);
  CHECK(readlink("/sys/class/echo/link", buf, sizeof(buf)) == 25);
  CHECK(memcmp(buf, "../../class/echo/greeting", 25) == 0);
  CHECK(readlink("/sys/class/echo/link", buf, 5) == 5);
  CHECK_ERRNO(readlink("/dev/iommu", buf, sizeof(buf)), EINVAL);
  CHECK_ERRNO(readlink("/dev/vfio/nothing", buf, sizeof(buf)), ENOENT);
  struct stat st;
  CHECK(lstat("/sys/class/echo/link", &st) == 0 && S_ISLNK(st.st_mode));
  CHECK(stat("/sys/class/echo/link", &st) == 0 && S_ISREG(st.st_mode));
  CHECK_ERRNO(open("/sys/class/echo/link", O_RDONLY | O_NOFOLLOW), ELOOP);
}

static void own_descriptors(void) {
  char name[64], buf[256];
  int fd = open_iommu();
  static const char* const forms[] = {"/proc/self/fd/%d", "/dev/fd/%d", "/proc/thread-self/fd/%d"};
  for (size_t i = 0; i < 3; i++) {
    snprintf(name, sizeof(name), forms[i], fd);
    ssize_t n = readlink(name, buf, sizeof(buf));
    CHECK(n == 10 && memcmp(buf, "/dev/iommu", 10) == 0);
    /* A new open of the node, not a copy of the descriptor. */
    int again = open(name, O_RDWR);
    CHECK(again >= 0 && ioctl(fd, ECHO_RESOLVE, again) == 1 && ioctl(fd, ECHO_OPENS) == 2);
    close(again);
    CHECK(ioctl(fd, ECHO_OPENS) == 1);
    struct stat st;
    CHECK(stat(name, &st) == 0 && S_ISCHR(st.st_mode));
  }
  snprintf(name, sizeof(name), "/proc/%d/fd/%d", getpid(), fd);
  CHECK(readlink(name, buf, sizeof(buf)) == 10);
  CHECK(readlink("/proc/self/fd/0", buf, sizeof(buf)) > 0);
  CHECK(readlink("/proc/self/exe", buf, sizeof(buf)) > 0);
  close(fd);
}

static void text_files(void) {
  char buf[64];
  int fd = open("/sys/class/echo/greeting", O_RDONLY);
  CHECK(fd >= 0);
  CHECK(read(fd, buf, sizeof(buf)) == 6 && memcmp(buf, "hello\n", 6) == 0);
  CHECK(read(fd, buf, sizeof(buf)) == 0);
  CHECK(lseek(fd, 1, SEEK_SET) == 1 && read(fd, buf, 2) == 2 && memcmp(buf, "el", 2) == 0);
  CHECK(pread(fd, buf, 3, 2) == 3 && memcmp(buf, "llo", 3) == 0);
  struct stat st;
  CHECK(fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 4096);
  int low = fcntl(fd, F_DUPFD, 3);
  CHECK(low < 512 && pread(low, buf, sizeof(buf), 0) == 6);
  close(low);
  close(fd);
  CHECK_ERRNO(open("/sys/class/echo/greeting", O_RDWR), EACCES);
  FILE* f = fopen("/sys/class/echo/greeting", "r");
  CHECK(f && fgets(buf, sizeof(buf), f) && strcmp(buf, "hello\n") == 0);
  fclose(f);
  fd = open("/sys/class/echo/number", O_RDWR);
  CHECK(fd >= 0);
  CHECK(read(fd, buf, sizeof(buf)) == 2 && buf[0] == '7');
  CHECK(pwrite(fd, "41", 2, 0) == 2);
  CHECK(pread(fd, buf, sizeof(buf), 0) == 3 && memcmp(buf, "41\n", 3) == 0);
  close(fd);
  f = fopen("/sys/class/echo/number", "w");
  CHECK(f && fputs("7\n", f) >= 0 && fclose(f) == 0);
}

static int has(const char* directory, const char* name) {
  DIR* d = opendir(directory);
  CHECK(d);
  int found = 0;
  for (struct dirent* e; (e = readdir(d)) != NULL;) found |= strcmp(e->d_name, name) == 0;
  closedir(d);
  return found;
}

static void directories(void) {
  CHECK(has("/dev/vfio", "devices"));
  CHECK(has("/dev/vfio/devices", "vfio0"));
  CHECK(!has("/dev/vfio", "iommu"));
  CHECK(has("/sys/class/echo", "greeting") && has("/sys/class/echo", "link"));
  struct stat st;
  CHECK(stat("/dev/vfio/devices", &st) == 0 && S_ISDIR(st.st_mode));
  int dir = open("/dev/vfio", O_RDONLY | O_DIRECTORY);
  CHECK(dir >= 0);
  int fd = openat(dir, "devices/vfio0", O_RDWR);
  CHECK(fd >= 0 && echoes(fd));
  close(fd);
  CHECK(fstatat(dir, "devices/vfio0", &st, 0) == 0 && S_ISCHR(st.st_mode));
  fd = openat(dir, "../iommu", O_RDWR);
  CHECK(fd >= 0 && echoes(fd));
  close(fd);
  fd = openat(dir, "../null", O_RDWR);
  CHECK(fd >= 0 && write(fd, "x", 1) == 1);
  close(fd);
  int sub = openat(dir, "devices", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CHECK(sub >= 0);
  CHECK(fchdir(sub) == 0);
  fd = open("vfio0", O_RDWR);
  CHECK(fd >= 0 && echoes(fd));
  close(fd);
  CHECK_ERRNO(open("vfio1", O_RDWR), ENOENT);
  CHECK(chdir("/") == 0);
  close(sub);
  close(dir);
  CHECK_ERRNO(open("/dev/vfio", O_RDWR), EISDIR);
  fd = open("/dev/vfio", O_RDONLY | O_CREAT | O_EXCL, 0600);
  CHECK(fd < 0 && errno == EEXIST);
}

int main(void) {
  spellings();
  access_and_links();
  own_descriptors();
  text_files();
  directories();
  return 0;
}
