#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Debian's dpdk-devbind.py, unmodified, and what scripts do with a shell's redirections: devbind.sh IOMMUFD-USER [OPTION OF RUN...].
# Exit 77: not installed.
set -u
user=$1
shift
for tool in dpdk-devbind.py lspci; do
  command -v $tool >/dev/null || { echo "SKIPPED: $tool is not installed (tools/install-deps test)"; exit 77; }
done
failed=0
# check TITLE HAVE PATTERN...: every pattern is a line of HAVE; with ! in front none is.
check() {
  title=$1 have=$2
  shift 2
  for pattern; do
    if printf '%s\n' "$have" | grep -Eq -- "${pattern#!}"; then found=yes; else found=no; fi
    case $pattern in !*) wanted=no ;; *) wanted=yes ;; esac
    if [ $found != $wanted ]; then
      echo "not ok - $title: /$pattern/ in:"
      printf '%s\n' "$have" | sed 's/^/#   /'
      failed=1
      return
    fi
  done
  echo "ok - $title"
}

# --- dpdk-devbind.py: an I/OAT, a network card and the edu device, which it does not list ---
ioat=0000:81:00.0 card=0000:82:00.0 edu=0000:83:00.0
devices="-d edu,addr=$ioat,vendor=0x8086,device=0x2021,class=0x088000
         -d edu,addr=$card,vendor=0x8086,device=0x10c9,class=0x020000,subsystem_vendor=0x8086,subsystem_device=0xa03c,revision=1
         -d edu,addr=$edu"
run() { "$user" run $devices "$@" 2>&1; }

check "--status lists our devices by class and id, with vfio-pci as their driver" \
  "$(run "$@" -- dpdk-devbind.py --status)" "^$ioat .*drv=vfio-pci" "^$card .*drv=vfio-pci" "!^$edu"
check "--status-dev knows the groups" "$(run "$@" -- dpdk-devbind.py --status-dev dma)" \
  '^DMA devices using DPDK-compatible driver' "^$ioat .* 2021' drv=vfio-pci" "!^$card"
check "-u unbinds, -b binds, and other devices stay" \
  "$(run "$@" -- sh -c "dpdk-devbind.py -u $ioat && dpdk-devbind.py --status-dev dma; ls /dev/vfio/devices
                        dpdk-devbind.py -b vfio-pci $ioat && dpdk-devbind.py --status-dev dma; ls /dev/vfio/devices;
                        cat /sys/bus/pci/devices/$ioat/driver_override")" \
  '^Other DMA devices' "^$ioat '[^']*' *unused=" '^DMA devices using DPDK-compatible driver' "^$ioat .*drv=vfio-pci" \
  '^vfio0$' '^vfio1$' '^vfio2$' '^[(]null[)]$' '!Error'
check "-u and then only the others are there" \
  "$(run "$@" -- sh -c "dpdk-devbind.py -u $ioat; ls /dev/vfio/devices; lspci -nks ${ioat#0000:}")" '!^vfio0$' '^vfio1$' \
  "!Kernel driver in use" '8086:2021'
check "binding twice is a notice, an unknown driver an error" \
  "$(run "$@" -- sh -c "dpdk-devbind.py -b vfio-pci $card; dpdk-devbind.py -b no-such-driver $card; dpdk-devbind.py -b pci-stub $card")" \
  'already bound to driver vfio-pci' "'no-such-driver' is not loaded"
check "lspci shows the identity that was asked for" "$(run "$@" -- lspci -nvs ${card#0000:})" \
  '82:00.0 0200: 8086:10c9 [(]rev 01[)]' 'Subsystem: 8086:a03c'

# --- driverctl's way: driver_override and drivers_probe by redirection, in two shells ---
for shell in dash bash; do
  command -v $shell >/dev/null || continue
  script="d=/sys/bus/pci/devices/$edu
    echo pci-stub >\$d/driver_override
    echo $edu >\$d/driver/unbind
    echo $edu >/sys/bus/pci/drivers_probe
    basename \$(readlink \$d/driver)
    echo >\$d/driver_override
    cat \$d/driver_override
    echo $edu >>\$d/driver/unbind; [ -e \$d/driver ] || echo unbound
    printf %s $edu >/sys/bus/pci/drivers/vfio-pci/bind; ls \$d/vfio-dev; ls /sys/bus/pci/drivers/vfio-pci
    echo $edu >/sys/bus/pci/drivers/pci-stub/unbind; echo status \$?
    echo 2 >\$d/reset; echo 1 >\$d/reset && echo done"
  check "$shell: driver_override, unbind, drivers_probe, bind, reset by redirection" "$(run "$@" -- $shell -c "$script")" \
    '^pci-stub$' '^[(]null[)]$' '^unbound$' '^vfio2$' "^$edu\$" \
    "^iommufd-user: writing '$edu' to /sys/bus/pci/drivers/pci-stub/unbind failed: No such device [(]ENODEV[)]\$" '^status 0$' \
    "^iommufd-user: writing '2' to .*/$edu/reset failed: Invalid argument [(]EINVAL[)]\$" '^done$'
done
# An unbind that has to wait cannot hold up a shell that has gone on; it ends when the device is closed.
check "a redirected unbind of a device in use goes on without the shell" \
  "$(run "$@" -- bash -c "exec 9<>/dev/vfio/devices/vfio2; echo $edu >/sys/bus/pci/drivers/vfio-pci/unbind
     cat /dev/vfio/devices/vfio2; exec 9>&-; sleep 0.3; ls /dev/vfio/devices; echo $edu >/sys/bus/pci/drivers/vfio-pci/bind; ls -l /sys/bus/pci/devices/$edu/driver")" \
  'blocked until released by user' 'vfio2: No such device' '!^vfio2$' 'drivers/vfio-pci$'

# --- a device without an IOMMU appears when the mode is switched on ---
check "enable_unsafe_noiommu_mode counts at the next bind" \
  "$("$user" run -d edu,iommu=none "$@" -- bash -c 'b=0000:01:00.0; cd /; v=/sys/bus/pci/drivers/vfio-pci
     echo $b >$v/bind; m=/sys/module/vfio/parameters/enable_unsafe_noiommu_mode; echo 1 >$m; cat $m; echo $b >$v/bind
     ls /dev/vfio /dev/vfio/devices; cat /sys/kernel/iommu_groups/*/name' 2>&1)" \
  '^iommufd-user: writing .* failed: Invalid argument [(]EINVAL[)]' '^Y$' '^noiommu-0$' '^noiommu-vfio0$' '^vfio-noiommu$'
exit $failed
