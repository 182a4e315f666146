/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Device plugins of Kubernetes (clients.md 1.10): is there a /dev/iommu, which number has it, is the limit that of the process;
 * the descriptor goes to another process by SCM_RIGHTS. (Their mknod needs a real device number: README, "not supported".)
 */
#include "client.h"

SECTION("clients 1.10");

static void send_fd(int socket, int fd) {
  char byte = 'x', control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec iov = {&byte, 1};
  struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  struct cmsghdr* c = CMSG_FIRSTHDR(&message);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), &fd, sizeof(int));
  REQUIRE(CHECK_EQ(sendmsg(socket, &message, 0), 1));
}

static int receive_fd(int socket) {
  char byte, control[CMSG_SPACE(sizeof(int))];
  struct iovec iov = {&byte, 1};
  struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  int fd = -1;
  REQUIRE(CHECK_EQ(recvmsg(socket, &message, MSG_CMSG_CLOEXEC), 1));
  REQUIRE(CHECK(CMSG_FIRSTHDR(&message) != NULL));
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
  return fd;
}

TEST(PLUGIN1, "/dev/iommu and vfio-dev/vfioN/dev are there, with device numbers that agree") {
  char names[4][64];
  struct stat st;
  unsigned ours_major, ours_minor;
  NEED(stat("/dev/iommu", &st));
  CHECK(S_ISCHR(st.st_mode));
  CHECK_NE(st.st_rdev, 0);
  REQUIRE(CHECK_EQ(entries_of(device_path("vfio-dev"), names, 4), 1));
  REQUIRE(CHECK_EQ(
      sscanf(text_of(path("%s/%s/dev", device_path("vfio-dev"), names[0])), "%u:%u", &ours_major, &ours_minor), 2));
  NEED(stat(path("/dev/vfio/devices/%s", names[0]), &st));
  CHECK_EQ(st.st_rdev, makedev(ours_major, ours_minor));
}

TEST(PLUGIN2, "RLIMIT_MODE is set in one process, and another uses the descriptor") {
  int ends[2];
  const int iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
  NEED(iommufd);
  struct iommu_option option = {
      .size = sizeof(option), .option_id = IOMMU_OPTION_RLIMIT_MODE, .op = IOMMU_OPTION_OP_SET, .val64 = 1};
  NEED(ioctl(iommufd, IOMMU_OPTION, &option));
  NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
  const pid_t child = fork();
  if (child == 0) {
    close(iommufd);
    close(ends[0]);
    if (setjmp(harness.leave) == 0) {
      const int fd = receive_fd(ends[1]);
      const uint32_t ioas = ioas_alloc(fd);
      struct vdev d;
      REQUIRE(CHECK(vfio_name(bdf(), d.name, sizeof(d.name))));
      d.fd = open(path("/dev/vfio/devices/%s", d.name), O_RDWR);
      NEED(d.fd);
      NEED(bind_to(&d, fd));
      NEED(attach_to(&d, ioas));
      option.op = IOMMU_OPTION_OP_GET;
      option.val64 = 0;
      NEED(ioctl(fd, IOMMU_OPTION, &option));
      CHECK_EQ(option.val64, 1);
      uint8_t* memory = pages(2 * PAGE);
      uint64_t iova;
      NEED(map_va(fd, ioas, (uintptr_t)memory, 2 * PAGE, &iova));
      enable_device(d.fd, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
      check_copy(d.fd, iova, iova + PAGE, memory, memory + PAGE, PAGE);
    }
    fflush(stdout);
    _exit(harness.failed);
  }
  send_fd(ends[0], iommufd);
  close(iommufd);
  int status = -1;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  close(ends[0]);
  close(ends[1]);
}
