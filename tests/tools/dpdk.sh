#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Debian's DPDK, unmodified, on a simulated machine: dpdk.sh IOMMUFD-USER [OPTION OF RUN...]. Exit 77: not installed.
#   EXACT=1    stores into the device's registers are trapped, and dmadev_autotest on the device has to pass
#   ROUNDS=N   (default 1) times; the number of passes is reported
#
# What is judged is EAL's way to the device (bus scan, VFIO, BARs, interrupts, the driver's probe and its end). dmadev_autotest on the
# device is run, too. Where registers are polled its result is only shown: it gives a device some microseconds for an answer, which a busy
# machine may miss.
set -u
user=$1
shift
exact=${EXACT:-0} rounds=${ROUNDS:-1}
command -v dpdk-test >/dev/null || { echo "SKIPPED: dpdk-test is not installed (tools/install-deps test)"; exit 77; }
directory=$(mktemp -d)
prefix=iommufd-user-$$
trap 'rm -rf "$directory" /var/run/dpdk/$prefix' EXIT
run() {
  DPDK_TEST=dmadev_autotest XDG_RUNTIME_DIR=$directory timeout 100 "$user" run -d "ioat,exact=$exact" "$@" -- dpdk-test --no-huge -m 128 \
    --no-telemetry --file-prefix=$prefix --iova-mode=va -a 0000:01:00.0 --log-level='*:7' 2>&1 </dev/null | tr '\r' '\n' | grep -v '^Ops submitted'
}
failed=0 passed=0 round=0
while [ $round -lt "$rounds" ]; do
  round=$((round + 1))
  output=$(run "$@")
  missing=0
  for pattern in 'EAL: VFIO support initialized' 'EAL: Using IOMMU type 1 ' \
    'EAL: Probe PCI driver: dmadev_ioat \(8086:2021\) device: 0000:01:00.0' 'ioat_dmadev_remove\(\): Closing 0000:01:00.0'; do
    if printf '%s\n' "$output" | grep -Eq -- "$pattern"; then
      echo "ok - $pattern"
    else
      echo "not ok - no line has /$pattern/"
      missing=1
    fi
  done
  result=$(printf '%s\n' "$output" | grep -E '^(RTE>>)?Test (OK|Failed)' || echo no result)
  case $result in *"Test OK") passed=$((passed + 1)) ;; *) [ "$exact" = 0 ] || missing=1 ;; esac
  [ $missing = 0 ] || { failed=1; printf '%s\n' "$output" | sed 's/^/#   /'; }
done
echo "# dmadev_autotest on the device: $passed of $rounds passed ($([ "$exact" = 0 ] && echo polled || echo exact))"
exit $failed
