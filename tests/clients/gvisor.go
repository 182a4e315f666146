// SPDX-License-Identifier: BSD-3-Clause
// gVisor's tpuproxy (clients.md 1.9): a static Go program that makes raw system calls; groups, and the devices of a group by
// their directory in /sys/kernel/iommu_groups.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"
)

const (
	getAPIVersion  = ';'<<8 | 100
	checkExtension = ';'<<8 | 101
	setIommu       = ';'<<8 | 102
	groupStatus    = ';'<<8 | 103
	setContainer   = ';'<<8 | 104
	getDeviceFd    = ';'<<8 | 106
	getInfo        = ';'<<8 | 107
	getRegionInfo  = ';'<<8 | 108
	getIrqInfo     = ';'<<8 | 109
	setIrqs        = ';'<<8 | 110
	mapDma         = ';'<<8 | 113
	unmapDma       = ';'<<8 | 114
	type1v2        = 3
)

func check(ok bool, format string, args ...any) {
	if !ok {
		fmt.Printf("not ok 1 - GVISOR1 "+format+" [clients 1.9]\n1..1\n", args...)
		os.Exit(1)
	}
}

func ioctl(fd int, command, argument uintptr) int {
	r, _, e := syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(fd), command, argument)
	check(e == 0, "ioctl %#x: %v", command, e)
	return int(r)
}

func open(name string) int {
	fd, err := syscall.Open(name, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	check(err == nil, "%s: %v", name, err)
	return fd
}

type regionInfo struct {
	argsz, flags, index, capOffset uint32
	size, offset                   uint64
}

func main() {
	bdf := os.Getenv("CLIENT_BDF")
	if bdf == "" {
		bdf = "0000:01:00.0"
	}
	link, err := os.Readlink("/sys/bus/pci/devices/" + bdf + "/iommu_group")
	check(err == nil, "%v", err)
	number := filepath.Base(link)
	devices, err := os.ReadDir("/sys/kernel/iommu_groups/" + number + "/devices")
	check(err == nil && len(devices) == 1 && devices[0].Name() == bdf, "devices of the group: %v %v", devices, err)
	vendor, err := os.ReadFile("/sys/bus/pci/devices/" + bdf + "/vendor")
	check(err == nil && len(vendor) == 7, "vendor: %v", err)

	container := open("/dev/vfio/vfio")
	check(ioctl(container, getAPIVersion, 0) == 0, "version")
	check(ioctl(container, checkExtension, type1v2) == 1, "type 1 version 2")
	group := open("/dev/vfio/" + number)
	status := [2]uint32{8, 0}
	ioctl(group, groupStatus, uintptr(unsafe.Pointer(&status)))
	check(status[1]&1 != 0, "the group is not viable")
	fd := int32(container)
	ioctl(group, setContainer, uintptr(unsafe.Pointer(&fd)))
	ioctl(container, setIommu, type1v2)
	name := append([]byte(bdf), 0)
	device := ioctl(group, getDeviceFd, uintptr(unsafe.Pointer(&name[0])))
	info := [6]uint32{24}
	ioctl(device, getInfo, uintptr(unsafe.Pointer(&info)))
	check(info[1]&2 != 0, "not a PCI device")

	// The application's memory at an IOVA of its choice.
	memory, err := syscall.Mmap(-1, 0, 8192, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	check(err == nil, "mmap: %v", err)
	for i := range memory[:4096] {
		memory[i] = byte(i*7 + i/251)
	}
	dma := struct {
		argsz, flags     uint32
		vaddr, iova, len uint64
	}{32, 3, uint64(uintptr(unsafe.Pointer(&memory[0]))), 0x200000, 8192}
	ioctl(container, mapDma, uintptr(unsafe.Pointer(&dma)))

	config := regionInfo{argsz: 32, index: 7}
	ioctl(device, getRegionInfo, uintptr(unsafe.Pointer(&config)))
	command := []byte{6, 0}
	_, err = syscall.Pwrite(device, command, int64(config.offset)+4)
	check(err == nil, "command: %v", err)
	bar := regionInfo{argsz: 32, index: 0}
	ioctl(device, getRegionInfo, uintptr(unsafe.Pointer(&bar)))
	check(bar.flags&4 != 0, "BAR 0 cannot be mapped")
	registers, err := syscall.Mmap(device, int64(bar.offset), int(bar.size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	check(err == nil, "BAR 0: %v", err)
	copyPage(registers, 0x200000, 0x40000, 0)
	copyPage(registers, 0x40000, 0x201000, 2)

	unmap := struct {
		argsz, flags uint32
		iova, len    uint64
	}{24, 0, 0x200000, 8192}
	for i := range memory[:4096] {
		check(memory[i] == memory[4096+i], "byte %d: %d and %d", i, memory[i], memory[4096+i])
	}
	ioctl(container, unmapDma, uintptr(unsafe.Pointer(&unmap)))
	check(unmap.len == 8192, "unmapped %d", unmap.len)
	fmt.Println("ok 1 - GVISOR1 a static Go program: group, container, memory, BAR 0, DMA [clients 1.9]\n1..1")
}

// copyPage has the device copy 4096 bytes; stores of 8 bytes, as the device's registers are.
func copyPage(registers []byte, from, to uint64, direction uint32) {
	at := func(offset int) unsafe.Pointer { return unsafe.Pointer(&registers[offset]) }
	*(*uint64)(at(0x80)) = from
	*(*uint64)(at(0x88)) = to
	*(*uint64)(at(0x90)) = 4096
	*(*uint32)(at(0x98)) = 1 | direction
	for *(*uint32)(at(0x98))&1 != 0 {
		runtime.Gosched()
	}
}
