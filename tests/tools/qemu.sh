#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Debian's QEMU, unmodified: a guest machine with a simulated device passed through by its group. qemu.sh IOMMUFD-USER [OPTION OF
# RUN...]. The guest has no operating system; QEMU maps its memory and reads the device's config space. Exit 77: not installed.
set -u
user=$1
shift
command -v qemu-system-x86_64 >/dev/null || { echo "SKIPPED: no qemu-system-x86_64 (tools/install-deps qemu)"; exit 77; }
said=$( (echo "info pci"; echo "info qtree"; echo quit) |
  "$user" run -d edu "$@" -- qemu-system-x86_64 -machine q35,accel=tcg -m 64 -nodefaults -display none -monitor stdio \
    -device vfio-pci,host=0000:01:00.0 2>&1)
for pattern in 'PCI device 1234:11e8' 'dev: vfio-pci' 'host = "0000:01:00.0"'; do
  case $said in
    *"$pattern"*) echo "ok - $pattern" ;;
    *) printf 'not ok - no "%s" in:\n%s\n' "$pattern" "$said"; exit 1 ;;
  esac
done
