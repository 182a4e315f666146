#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Debian's QEMU tools with their own NVMe driver, unmodified, on a simulated controller: qemu_nvme.sh IOMMUFD-USER [OPTION OF
# RUN...]. What they write is looked for in the file behind the controller. Exit 77: not installed.
set -u
user=$1
shift
for tool in qemu-img qemu-io; do
  command -v $tool >/dev/null || { echo "SKIPPED: $tool is not installed (tools/install-deps test)"; exit 77; }
done
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
disk=nvme://0000:01:00.0/1
failed=0
# check TITLE COMMAND...: it succeeds.
check() {
  title=$1
  shift
  if said=$("$@" 2>&1); then
    echo "ok - $title"
  else
    echo "not ok - $title: $*"
    printf '%s\n' "$said" | sed 's/^/#   /'
    failed=1
  fi
}
# says TITLE TEXT COMMAND...: its output has the text.
says() {
  title=$1 text=$2
  shift 2
  said=$("$@" 2>&1)
  case $said in
    *"$text"*) echo "ok - $title" ;;
    *) printf 'not ok - %s: no "%s" in:\n%s\n' "$title" "$text" "$said"; failed=1 ;;
  esac
}

says "qemu-img info: the size of memory" "64 MiB (67108864 bytes)" "$user" run -d nvme,size=64M "$@" -- qemu-img info $disk
check "qemu-io: write, read, zero, discard, compare" "$user" run -d nvme,size=64M "$@" -- \
  qemu-io -f raw -c 'write -P 0x5a 0 1M' -c 'read -P 0x5a 0 1M' -c 'read -P 0 1M 64k' -c 'write -z 256k 64k' \
  -c 'discard 512k 64k' -c 'read -P 0 256k 64k' -c 'read -P 0 512k 64k' -c 'read -P 0x5a 576k 448k' -c flush $disk
check "the same with 4096-byte blocks, and the write cache off" "$user" run -d nvme,size=64M,bs=4096 "$@" -- \
  qemu-io -t none -f raw -c 'write -P 0x5a 4k 1M' -c 'read -P 0x5a 4k 1M' -c flush $disk

for depth in 1 32; do
  check "qemu-img bench: reads of 4 KiB, $depth in flight" "$user" run -d nvme,size=64M "$@" -- \
    qemu-img bench -f raw -c 2000 -d $depth -s 4096 -S 1052672 $disk
done
check "qemu-img bench: writes of 64 KiB, and flushes" "$user" run -d nvme,size=64M "$@" -- \
  qemu-img bench -f raw -w --pattern=90 -t writeback --flush-interval=100 -c 500 -d 16 -s 65536 $disk

head -c 16M /dev/urandom >source.img
truncate -s 16M disk.img
for aio in uring sync; do
  truncate -s 0 disk.img
  check "qemu-img convert to a controller with a file ($aio)" "$user" run -d nvme,file=disk.img,size=16M,aio=$aio "$@" -- \
    qemu-img convert -n -f raw -O raw source.img $disk
  check "the file has it" cmp source.img disk.img
  check "qemu-img convert from it" "$user" run -d nvme,file=disk.img,readonly=on,aio=$aio "$@" -- \
    qemu-img convert -f raw -O raw $disk back.img
  check "it is the same" cmp source.img back.img
done
check "the second namespace is the second half of the file" "$user" run -d nvme,file=disk.img,ns=2 "$@" -- \
  qemu-io -f raw -c 'write -P 0x77 0 64k' nvme://0000:01:00.0/2
check "and was written there" qemu-io -f raw -r -c 'read -P 0x77 8M 64k' disk.img
says "write protection" "write failed" "$user" run -d nvme,file=disk.img,readonly=on "$@" -- \
  qemu-io -f raw -c 'write 0 4k' $disk

# What was flushed is in the file when everything is killed.
"$user" run -d nvme,file=disk.img "$@" -- \
  qemu-io -f raw -c 'write -P 0x33 1M 1M' -c flush -c 'write -P 0x44 3M 1M' -c 'sleep 60000' $disk >written 2>&1 &
run=$!
for i in $(seq 200); do
  grep -q 'offset 3145728' written && break
  sleep 0.05
done
children() { cat /proc/"$1"/task/*/children; }
server=$(children $run | tr -d ' ')
kill -KILL $run $server $(children $server)
wait $run 2>/dev/null
# The lock goes with the last of them.
for i in $(seq 100); do
  qemu-io -f raw -r -c quit disk.img >/dev/null 2>&1 && break
  sleep 0.05
done
check "a flushed write outlives kill -9 of client and server" qemu-io -f raw -r -c 'read -P 0x33 1M 1M' disk.img

says "a file that is not there" "no such file; create it with" "$user" run -d nvme,file=none.img "$@" -- true
says "a file that another run uses" "another device or another run uses it" \
  "$user" run -d nvme,file=disk.img "$@" -- "$user" run -d nvme,file=disk.img -- true
says "a file of an odd size" "is not a multiple of 512" sh -c "head -c 1000 /dev/zero >odd.img; $user run -d nvme,file=odd.img -- true"
exit $failed
