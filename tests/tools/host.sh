#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The functions of this machine, looked at and not touched: host.sh IOMMUFD-USER. What `bind` and `unbind` do to functions is
# tested in a guest (tests/e2e); here they are only refused.
set -u
user=$1
failed=0
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
# expect TITLE EXIT PATTERN COMMAND...: the exit status, and a pattern in what is said.
expect() {
  title=$1 status=$2 pattern=$3
  shift 3
  "$@" >"$scratch/said" 2>&1
  got=$?
  if [ $got = "$status" ] && grep -Eq -- "$pattern" "$scratch/said"; then
    echo "ok - $title"
  else
    echo "not ok - $title: exit $got, not $status with /$pattern/:"
    sed 's/^/#   /' "$scratch/said"
    failed=1
  fi
}

"$user" devices --host >"$scratch/table" || { echo "not ok - devices --host"; exit 1; }
for function in /sys/bus/pci/devices/*; do
  [ -e "$function/vendor" ] || continue
  ids=$(sed 's/0x//' "$function/vendor"):$(sed 's/0x//' "$function/device")
  grep -Eq "^${function##*/} +$ids " "$scratch/table" || { echo "not ok - the table lacks ${function##*/} $ids"; failed=1; }
done
echo "ok - devices --host has $(grep -Ec '^[0-9a-f]{4,}:' "$scratch/table") functions"

none=feed:fe:1f.7
as_user() { setpriv --reuid=65534 --regid=65534 --clear-groups "$user" "$@"; }
expect "bind of what does not exist" 1 "$none is no PCI function of this machine.*devices --host" "$user" bind $none
expect "unbind of it" 1 "$none is no PCI function of this machine" "$user" unbind $none
expect "release of it" 1 "no memory is kept for $none" "$user" release $none
expect "a wrong address" 125 "FUNCTION: eth0 is not a PCI address" "$user" bind eth0
expect "a wrong driver" 125 "is not the name of a driver" "$user" bind $none --driver=../x
expect "no address" 125 "FUNCTION is required" "$user" unbind
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null && setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$user"; then
  expect "a user sees the functions" 0 "USABLE WITHOUT AN IOMMU" as_user devices --host
  for function in /sys/bus/pci/devices/*; do
    [ -e "$function" ] || continue
    expect "a user may not bind one" 1 "needs CAP_SYS_ADMIN and CAP_SYS_RAWIO|from within a user namespace" as_user bind "${function##*/}"
    break
  done
fi
exit $failed
