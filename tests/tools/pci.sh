#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Debian's pciutils, unmodified, on a simulated machine: pci.sh IOMMUFD-USER [OPTION OF RUN...]. Exit 77: not installed.
set -u
user=$1
shift
for tool in lspci setpci; do
  command -v $tool >/dev/null || { echo "SKIPPED: $tool is not installed (tools/install-deps test)"; exit 77; }
done
run() { "$user" run -d edu,iommu=amd -d edu,iommu=none --enable-unsafe-noiommu-mode "$@" 2>/dev/null; }
failed=0
# check TITLE HAVE PATTERN...: every pattern is a line of HAVE.
check() {
  title=$1 have=$2
  shift 2
  for pattern; do
    if ! printf '%s\n' "$have" | grep -Eq -- "$pattern"; then
      echo "not ok - $title: no line has /$pattern/ in:"
      printf '%s\n' "$have" | sed 's/^/#   /'
      failed=1
      return
    fi
  done
  echo "ok - $title"
}

check "lspci -nnvvv decodes header, BAR, MSI, group and driver" "$(run "$@" -- lspci -nnvvv -s 01:00.0)" \
  '^(0000:)?01:00.0 .*\[1234:11e8\] \(rev 10\)' 'Control: I/O- Mem\+ BusMaster-' 'Interrupt: pin A routed to IRQ 16' \
  'IOMMU group: 0' 'Region 0: Memory at c0000000 \(32-bit, non-prefetchable\) \[size=1M\]' \
  'Capabilities: \[40\] MSI: Enable- Count=1/1 Maskable- 64bit\+' 'Kernel driver in use: vfio-pci'
check "the device without an IOMMU has VFIO's group" "$(run "$@" -- lspci -nnvvv -s 02:00.0)" 'IOMMU group: 1'
check "lspci -t" "$(run "$@" -- lspci -t)" '01\]-*-+00.0' '02\]-*-+00.0'
check "lspci -xxx shows config space" "$(run "$@" -- lspci -xxx -s 01:00.0)" '^00: 34 12 e8 11 02 00 10 00'
check "setpci reads" "$(run "$@" -- setpci -s 01:00.0 VENDOR_ID DEVICE_ID COMMAND BASE_ADDRESS_0)" '^1234$' '^11e8$' \
  '^0002$' '^c0000000$'
check "setpci sizes a BAR and puts it back" \
  "$(run "$@" -- sh -c 'setpci -s 01:00.0 BASE_ADDRESS_0=ffffffff; setpci -s 01:00.0 BASE_ADDRESS_0
                        setpci -s 01:00.0 BASE_ADDRESS_0=c0000000; setpci -s 01:00.0 BASE_ADDRESS_0')" \
  '^fff00000$' '^c0000000$'
check "setpci switches bus mastering on; identifiers stay" \
  "$(run "$@" -- sh -c 'setpci -s 01:00.0 COMMAND=6 VENDOR_ID=0; lspci -vv -n -s 01:00.0')" 'BusMaster\+' '1234:11e8'
check "setpci by names of capabilities" "$(run "$@" -- setpci -s 01:00.0 CAP_MSI+2.w)" '^0080$'
# tee hears of the errno; a shell's redirection does not (docs/abi-matrix.md, row 46, and devbind.sh).
reset=/sys/bus/pci/devices/0000:01:00.0/reset
check "reset takes 1 and nothing else" \
  "$(run "$@" -- sh -c "echo 1 | tee $reset && echo good; echo 2 | tee $reset || echo refused; cat $reset || echo unreadable")" \
  '^good$' '^refused$' '^unreadable$'

# PCI Express and bridges.
machine=$(dirname "$0")/../machine/bridges.yaml
bridged() { "$user" run --machine="$machine" "$@" 2>/dev/null; }
check "lspci -nnvvv decodes MSI-X, PM, Express, AER and the serial number" "$(bridged "$@" -- lspci -nnvvv -s 01:00.0)" \
  'MSI-X: Enable- Count=16 Masked-' 'Vector table: BAR=1 offset=00000000' 'PBA: BAR=1 offset=00000800' \
  'Power Management version 3' 'Status: D0 NoSoftRst-' 'Express \(v2\) Endpoint' 'FLReset\+' 'LnkSta:.*Speed 8GT/s.*Width x4' \
  'Advanced Error Reporting' 'Device Serial Number 12-34-11-e8-00-00-00-01' 'Region 1: Memory at .*\[size=4K\]'
check "lspci -nnvvv decodes a root port" "$(bridged "$@" -- lspci -nnvvv -s 00:1c.1)" 'Bus: primary=00, secondary=02, subordinate=05' \
  'Memory behind bridge: [0-9a-f]+-[0-9a-f]+ \[size=' 'Root Port' 'Access Control Services' 'Kernel driver in use: pcieport'
check "lspci -t draws the bridges" "$(bridged "$@" -- lspci -t)" '1c.0-\[01\]----00.0' '1c.1-\[02-05\]----00.0-\[03-05\]--\+-00.0-\[04\]----00.0'
check "setpci sizes the BAR of MSI-X and the windows of a bridge" \
  "$(bridged "$@" -- sh -c 'setpci -s 01:00.0 BASE_ADDRESS_1=ffffffff; setpci -s 01:00.0 BASE_ADDRESS_1
                            setpci -s 00:1c.0 MEMORY_BASE=ffff; setpci -s 00:1c.0 MEMORY_BASE')" '^fffff000$' '^fff0$'
check "setpci changes the power state, and a function reset loses config space" \
  "$(bridged "$@" -- sh -c 'setpci -s 01:00.0 CAP_PM+4.w=3; setpci -s 01:00.0 CAP_PM+4.w
                            setpci -s 01:00.0 CAP_EXP+8.w=8000; setpci -s 01:00.0 CAP_PM+4.w COMMAND')" '^0003$' '^0000$'
exit $failed
