/* SPDX-License-Identifier: BSD-3-Clause */
/* Stands for the headers of Linux 6.6. */
#define LINUX_VERSION_CODE 0x060600
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
