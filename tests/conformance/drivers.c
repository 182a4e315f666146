/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices that are bound to drivers and unbound while programs run (spec vfio-device 4, 13, 17, 18; noiommu 4, 5). Needs the
 * drivers vfio-pci and pci-stub. IOMMUFD_TEST_KIND=noiommu says which kind of device.
 */
#define _GNU_SOURCE
#include "group.h"
#include "irqs.h"

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define VFIO_PCI "/sys/bus/pci/drivers/vfio-pci/"
#define PCI_STUB "/sys/bus/pci/drivers/pci-stub/"
#define NOIOMMU_MODE "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"

/* 0 or the negated errno of open or write. */
static int put(const char* path, const char* text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  int r;
  if (fd < 0) return -errno;
  r = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -errno;
  close(fd);
  return r;
}

static int put_in(const struct vdev* d, const char* file, const char* text) {
  char path[PATH_MAX];
  snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", d->bdf, file);
  return put(path, text);
}

static bool exists(const char* format, const char* a) {
  char path[PATH_MAX];
  struct stat st;
  snprintf(path, sizeof(path), format, a);
  return lstat(path, &st) == 0;
}

/* The name of the driver that has the device; "" for none. */
static const char* driver_of(const struct vdev* d) {
  static char target[PATH_MAX];
  char link[PATH_MAX];
  ssize_t n;
  snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/driver", d->bdf);
  n = readlink(link, target, sizeof(target) - 1);
  if (n <= 0) return "";
  target[n] = 0;
  return strrchr(target, '/') + 1;
}

/* As it was found: bound to vfio-pci, by its override where the driver has no id of it. */
static void restore(const struct vdev* d) {
  put(NOIOMMU_MODE, "1");
  if (strcmp(driver_of(d), "pci-stub") == 0) put(PCI_STUB "unbind", d->bdf);
  if (strcmp(driver_of(d), "vfio-pci") != 0) {
    put_in(d, "driver_override", "vfio-pci");
    put(VFIO_PCI "bind", d->bdf);
  }
  put_in(d, "driver_override", "\n");
}

static struct vdev start(void) {
  const struct vdev d = nth_device(0);
  if (!exists("%s", VFIO_PCI "bind") || !exists("%s", PCI_STUB "bind")) SKIP("needs vfio-pci and pci-stub");
  CHECK_EQ(put_in(&d, "driver_override", "vfio-pci"), 0);
  return d;
}

SECTION("vfio-device 17");

TEST(Q01, "unbind takes the nodes, links and class devices away; bind brings them back") {
  struct vdev d = start();
  char link[PATH_MAX], name[64];
  snprintf(link, sizeof(link), "%s%s", VFIO_PCI, d.bdf);
  CHECK(exists("%s", link));
  CHECK_EQ(put(VFIO_PCI "unbind", d.bdf), 0);
  CHECK(!exists("%s", link));
  CHECK(strcmp(driver_of(&d), "") == 0);
  CHECK(!exists("/dev/vfio/devices/%s", d.name));
  CHECK(!exists("/sys/class/vfio-dev/%s", d.name));
  CHECK(!exists("/sys/bus/pci/devices/%s/vfio-dev", d.bdf));
  CHECK_ERR(open_node(d.name, O_RDWR), ENOENT);
  /* A group that an IOMMU makes stays; what VFIO makes of it goes. */
  CHECK_EQ(exists("/sys/bus/pci/devices/%s/iommu_group", d.bdf), kind() != NOIOMMU);
  CHECK_EQ(put(VFIO_PCI "bind", d.bdf), 0);
  CHECK(exists("%s", link));
  CHECK(strcmp(driver_of(&d), "vfio-pci") == 0);
  REQUIRE(CHECK(vfio_name(d.bdf, name, sizeof(name))));
  CHECK(exists("/dev/vfio/devices/%s", name));
  CHECK(exists("/sys/class/vfio-dev/%s", name));
  CHECK_OK(keep(open_node(name, O_RDWR)));
  restore(&d);
}

TEST(Q02, "errors of bind and unbind: ENODEV, EBUSY") {
  const struct vdev d = start();
  CHECK_EQ(put(VFIO_PCI "bind", "0000:ff:1f.7"), -ENODEV);
  CHECK_EQ(put(VFIO_PCI "unbind", "0000:ff:1f.7"), -ENODEV);
  CHECK_EQ(put(VFIO_PCI "bind", "nonsense"), -ENODEV);
  CHECK_EQ(put(VFIO_PCI "bind", d.bdf), -EBUSY);
  CHECK_EQ(put(PCI_STUB "bind", d.bdf), -ENODEV); /* its driver_override is another */
  CHECK_EQ(put(PCI_STUB "unbind", d.bdf), -ENODEV);
  CHECK_EQ(put(VFIO_PCI "unbind", d.bdf), 0);
  CHECK_EQ(put(VFIO_PCI "unbind", d.bdf), -ENODEV);
  CHECK_EQ(open(VFIO_PCI "bind", O_RDONLY), -1);
  CHECK_EQ(errno, EACCES);
  restore(&d);
}

TEST(Q03, "driver_override decides alone; drivers_probe asks; a newline or a NUL clears it") {
  const struct vdev d = start();
  char text[64] = "", path[PATH_MAX];
  snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", d.bdf);
  CHECK_EQ(put(VFIO_PCI "unbind", d.bdf), 0);
  CHECK_EQ(put_in(&d, "driver_override", "pci-stub\n"), 0);
  REQUIRE(CHECK(read_text(path, text, sizeof(text))));
  CHECK(strncmp(text, "pci-stub", 8) == 0);
  CHECK_EQ(put(VFIO_PCI "bind", d.bdf), -ENODEV);
  CHECK_EQ(put("/sys/bus/pci/drivers_probe", "0000:ff:1f.7"), -ENODEV);
  CHECK_EQ(put("/sys/bus/pci/drivers_probe", d.bdf), 0);
  CHECK(strcmp(driver_of(&d), "pci-stub") == 0);
  CHECK_EQ(put(PCI_STUB "unbind", d.bdf), 0);
  CHECK_EQ(put_in(&d, "driver_override", "no-such-driver"), 0);
  CHECK_EQ(put("/sys/bus/pci/drivers_probe", d.bdf), 0); /* nobody takes it, which is no error */
  CHECK(strcmp(driver_of(&d), "") == 0);
  {
    const int fd = keep(open(path, O_WRONLY | O_CLOEXEC));
    CHECK_EQ(write(fd, "", 1), 1);
  }
  REQUIRE(CHECK(read_text(path, text, sizeof(text))));
  CHECK(strncmp(text, "(null)", 6) == 0);
  restore(&d);
}

TEST(Q04, "new_id: binds what it matches, EEXIST, EINVAL; remove_id: ENODEV") {
  const struct vdev d = start();
  CHECK_EQ(put_in(&d, "driver_override", "\n"), 0);
  CHECK_EQ(put(PCI_STUB "new_id", "1234"), -EINVAL);
  CHECK_EQ(put(PCI_STUB "new_id", "nonsense"), -EINVAL);
  CHECK_EQ(put(PCI_STUB "new_id", "1234 11e8 ffffffff ffffffff 0 0 7"), -EINVAL);
  CHECK_EQ(put(PCI_STUB "remove_id", "1234 11e8"), -ENODEV);
  CHECK_EQ(put(VFIO_PCI "unbind", d.bdf), 0);
  CHECK_EQ(put(PCI_STUB "new_id", "1234 11e8"), 0);
  CHECK(strcmp(driver_of(&d), "pci-stub") == 0);
  CHECK_EQ(put(PCI_STUB "new_id", "0x1234 0x11E8"), -EEXIST);
  CHECK_EQ(put(PCI_STUB "remove_id", "1234 11e8"), 0);
  CHECK(strcmp(driver_of(&d), "pci-stub") == 0); /* who is bound stays */
  restore(&d);
}

TEST(Q05, "a name that is free is given again: the lowest") {
  const struct vdev d = start();
  char name[64];
  for (int i = 0; i < 20; i++) {
    CHECK_EQ(put(VFIO_PCI "unbind", d.bdf), 0);
    CHECK_EQ(put(VFIO_PCI "bind", d.bdf), 0);
  }
  REQUIRE(CHECK(vfio_name(d.bdf, name, sizeof(name))));
  CHECK(strcmp(name, d.name) == 0);
  restore(&d);
}

/* A child that writes `bdf` to unbind: exits with 0 or the errno. */
static pid_t unbind_in_child(const char* bdf) {
  const pid_t child = fork();
  if (child == 0) _exit(-put(VFIO_PCI "unbind", bdf));
  return child;
}

static bool has_ended(pid_t child, int* status) { return waitpid(child, status, WNOHANG) == child; }
static void pause_ms(long ms) { nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL); }

/* Waits until the device cannot be opened: the unbind has begun. */
static bool is_leaving(const struct vdev* d) {
  for (int i = 0; i < 1000; i++) {
    const int fd = open_node(d->name, O_RDWR);
    if (fd < 0) return errno == ENODEV || errno == ENOENT;
    close(fd);
    pause_ms(5);
  }
  return false;
}

TEST(Q06, "unbind waits until the device is closed, and REQ asks for it") {
  struct vdev d = start();
  const int iommufd = open_iommufd(), event = keep(eventfd(0, EFD_NONBLOCK)), idle = open_node(d.name, O_RDWR);
  struct pollfd p = {.fd = event, .events = POLLIN};
  int status = 0;
  pid_t child;
  d.fd = open_node(d.name, O_RDWR);
  REQUIRE(CHECK_OK(d.fd));
  REQUIRE(CHECK_OK(bind_to(&d, iommufd)));
  REQUIRE(CHECK_OK(set_event(&d, REQ, event)));
  child = unbind_in_child(d.bdf);
  /* The child's copies of our descriptors keep nothing open once it is stuck in the write: close them here and there. */
  CHECK_EQ(poll(&p, 1, 5000), 1);
  CHECK(is_leaving(&d));
  CHECK(!has_ended(child, &status));
  CHECK_OK(ioctl(d.fd, VFIO_DEVICE_GET_INFO, &(struct vfio_device_info){.argsz = sizeof(struct vfio_device_info)}));
  kill(child, SIGKILL); /* the writer can be killed; the unbind goes on */
  waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status));
  close(d.fd);
  pause_ms(50);
  CHECK(strcmp(driver_of(&d), "vfio-pci") == 0); /* an open that is not bound counts, too */
  close(idle);
  for (int i = 0; i < 200 && *driver_of(&d); i++) pause_ms(10);
  CHECK(strcmp(driver_of(&d), "") == 0);
  restore(&d);
}

TEST(Q07, "the writer hears of the end of the wait; other devices and files go on meanwhile") {
  struct vdev d = start();
  int status = 0, go[2];
  pid_t holder, child;
  char byte;
  REQUIRE(CHECK_OK(pipe(go)));
  holder = fork();
  if (holder == 0) {
    close(go[1]);
    const int fd = open_node(d.name, O_RDWR);
    (void)!read(go[0], &byte, 1); /* until the parent closes it */
    _exit(fd < 0);
  }
  close(go[0]);
  fcntl(go[1], F_SETFD, FD_CLOEXEC);
  pause_ms(100);
  child = fork();
  if (child == 0) {
    close(go[1]);
    _exit(-put(VFIO_PCI "unbind", d.bdf));
  }
  CHECK(is_leaving(&d));
  pause_ms(50);
  CHECK(!has_ended(child, &status));
  CHECK_OK(keep(open("/dev/iommu", O_RDWR)));
  CHECK_EQ(put(VFIO_PCI "unbind", "0000:ff:1f.7"), -ENODEV);
  close(go[1]);
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  waitpid(holder, &status, 0);
  CHECK_EQ(status, 0);
  CHECK(strcmp(driver_of(&d), "") == 0);
  restore(&d);
}

TEST(Q08, "a shell's redirection works, and its effect is there for the next command") {
  const struct vdev d = start();
  char command[1024];
  for (int i = 0; i < 2; i++) {
    const char* shell = i == 0 ? "/bin/sh" : "/bin/bash";
    if (access(shell, X_OK) != 0) continue;
    snprintf(command, sizeof(command),
             "cd /; echo %s >" VFIO_PCI
             "unbind; [ ! -e /sys/bus/pci/devices/%s/driver ] || exit 1;"
             "{ echo %s; } >>" VFIO_PCI
             "bind; [ -e /sys/bus/pci/devices/%s/vfio-dev ] || exit 2; "
             "ls /dev/vfio/devices | grep -qx %s || exit 3",
             d.bdf, d.bdf, d.bdf, d.bdf, d.name);
    const pid_t child = fork();
    int status = 0;
    if (child == 0) {
      execl(shell, shell, "-c", command, (char*)NULL);
      _exit(100);
    }
    waitpid(child, &status, 0);
    CHECK_EQ(WEXITSTATUS(status), 0);
  }
  restore(&d);
}

SECTION("noiommu 4");

TEST(Q09, "enable_unsafe_noiommu_mode counts when a device is bound") {
  const struct vdev d = start();
  if (kind() != NOIOMMU) SKIP("is about devices without an IOMMU");
  CHECK_EQ(put(NOIOMMU_MODE, "0"), 0);
  {
    const int fd = open_node(d.name, O_RDWR); /* who is registered stays */
    CHECK_OK(fd);
    close(fd);
  }
  CHECK_EQ(put(VFIO_PCI "unbind", d.bdf), 0);
  CHECK_EQ(put(VFIO_PCI "bind", d.bdf), -EINVAL);
  CHECK_EQ(put("/sys/bus/pci/drivers_probe", d.bdf), 0);
  CHECK(strcmp(driver_of(&d), "") == 0);
  CHECK_EQ(put(NOIOMMU_MODE, "Y"), 0);
  CHECK_EQ(put(VFIO_PCI "bind", d.bdf), 0);
  CHECK(exists("/dev/vfio/devices/%s", d.name));
  restore(&d);
}

SECTION("vfio-device 18");

TEST(Q10, "a group is there while a device of it is bound; an open one is dead afterwards") {
  const struct vdev d = start();
  const int group = open_group(&d);
  struct vfio_group_status status = {.argsz = sizeof(status)};
  char link[PATH_MAX], target[PATH_MAX] = "", node[64];
  snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", d.bdf);
  REQUIRE(CHECK(readlink(link, target, sizeof(target) - 1) > 0));
  snprintf(node, sizeof(node), "%s%s", kind() == NOIOMMU ? "noiommu-" : "", strrchr(target, '/') + 1);
  CHECK(exists("/dev/vfio/%s", node));
  CHECK_EQ(put(VFIO_PCI "unbind", d.bdf), 0);
  CHECK(!exists("/dev/vfio/%s", node));
  CHECK(!exists("/sys/class/vfio/%s", node));
  CHECK_ERR(ioctl(group, VFIO_GROUP_GET_STATUS, &status), ENODEV);
  CHECK_ERR(device_fd(group, d.bdf), ENODEV);
  CHECK_EQ(put(VFIO_PCI "bind", d.bdf), 0);
  CHECK(exists("/dev/vfio/%s", node));
  CHECK_ERR(ioctl(group, VFIO_GROUP_GET_STATUS, &status), ENODEV);
  CHECK_OK(try_open_group(&d));
  restore(&d);
}
