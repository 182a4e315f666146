# SPDX-License-Identifier: BSD-3-Clause
# What the checks of both guests share. Sourced; MODULES and FILES are directories, the build tree is the current one.
user=$PWD/iommufd-user
edu=0000:00:04.0 nvme=0000:00:05.0 network=0000:00:06.0 testdev=0000:00:07.0 ports=0000:00:1f.3
scratch=/tmp/e2e
mkdir -p $scratch
failed=0

ok() { echo "ok - $1"; }
not_ok() { # NAME WHY-FILE
  echo "not ok - $1: $(tail -c 2000 "$2" | tr '\n' '|')"
  failed=$((failed + 1))
}
# check NAME COMMAND...: it succeeds.
check() {
  title=$1
  shift
  if "$@" >$scratch/said 2>&1; then ok "$title"; else not_ok "$title" $scratch/said; fi
}
# expect NAME EXIT PATTERN COMMAND...: the exit status, and a pattern in what is said.
expect() {
  title=$1 status=$2 pattern=$3
  shift 3
  "$@" >$scratch/said 2>&1
  got=$?
  if [ $got = "$status" ] && grep -Eq -- "$pattern" $scratch/said; then
    ok "$title"
  else
    echo "exit $got, not $status with /$pattern/" >>$scratch/said
    not_ok "$title" $scratch/said
  fi
}
absent() { [ ! -e "$1" ]; }
load() { while read -r module; do insmod "$MODULES/$1/$module" || return 1; done <"$MODULES/$1/order"; }
driver_of() { basename "$(readlink "/sys/bus/pci/devices/$1/driver" || echo /none)"; }
served() { # NAME: interrupts of that name, of all processors
  sed -n "s/^ *[0-9]*: *\\([0-9 ]*\\) .*$1.*/\\1/p" /proc/interrupts | tr -s ' ' '\n' | awk '{n += $1} END {print n + 0}'
}
appears() { # PATH: within 10 seconds; drivers probe beside us
  for _ in $(seq 100); do
    [ -e "$1" ] && return 0
    sleep 0.1
  done
  echo "$1 does not appear"
  return 1
}
# on BDF COMMAND...: under `run` with that function.
on() {
  function=$1
  shift
  "$user" run -d "host,addr=$function" --enable-unsafe-noiommu-mode -- "$@"
}
as_user() { su -s /bin/sh user -c "$*"; }
finish() {
  echo "# all checks were made"
  exit $failed
}

echo "# Linux $(uname -r)"
check "no module of VFIO or iommufd is loaded" sh -c '! grep -E "^(vfio|iommufd)" /proc/modules'
for node in /dev/vfio /dev/iommu; do check "outside \`run\` there is no $node" absent $node; done
