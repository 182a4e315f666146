#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Debian's DPDK, unmodified, on a simulated machine: dpdk.sh IOMMUFD-USER [OPTION OF RUN...]. Exit 77: not installed.
#
# What is judged is EAL's way to the device (bus scan, VFIO, BARs, interrupts, the driver's probe and its end). dmadev_autotest on the
# device is run, too, and its result shown: it gives a device some microseconds for an answer, which a busy machine may miss.
set -u
user=$1
shift
command -v dpdk-test >/dev/null || { echo "SKIPPED: dpdk-test is not installed (tools/install-deps test)"; exit 77; }
directory=$(mktemp -d)
prefix=iommufd-user-$$
trap 'rm -rf "$directory" /var/run/dpdk/$prefix' EXIT
output=$(DPDK_TEST=dmadev_autotest XDG_RUNTIME_DIR=$directory timeout 100 "$user" run -d ioat "$@" -- dpdk-test --no-huge -m 128 \
  --no-telemetry --file-prefix=$prefix --iova-mode=va -a 0000:01:00.0 --log-level='*:7' 2>&1 </dev/null | tr '\r' '\n' | grep -v '^Ops submitted')
failed=0
for pattern in 'EAL: VFIO support initialized' 'EAL: Using IOMMU type 1 ' \
  'EAL: Probe PCI driver: dmadev_ioat \(8086:2021\) device: 0000:01:00.0' 'ioat_dmadev_remove\(\): Closing 0000:01:00.0'; do
  if printf '%s\n' "$output" | grep -Eq -- "$pattern"; then
    echo "ok - $pattern"
  else
    echo "not ok - no line has /$pattern/"
    failed=1
  fi
done
[ $failed = 0 ] || printf '%s\n' "$output" | sed 's/^/#   /'
echo "# dmadev_autotest on the device: $(printf '%s\n' "$output" | grep -E '^(RTE>>)?Test (OK|Failed)' || echo no result)"
exit $failed
