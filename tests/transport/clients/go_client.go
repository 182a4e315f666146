// SPDX-License-Identifier: BSD-3-Clause
// A Go program: no libc, its own threads and signals.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"unsafe"
)

type sum struct {
	size, flags    uint32
	a, b, sum, all uint64
}

func echo(fd uintptr, a, b uint64) error {
	s := sum{size: 40, a: a, b: b}
	_, _, e := syscall.Syscall(syscall.SYS_IOCTL, fd, ';'<<8|0x80, uintptr(unsafe.Pointer(&s)))
	if e != 0 {
		return e
	}
	if s.sum != a+b {
		return fmt.Errorf("%d + %d = %d", a, b, s.sum)
	}
	return nil
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	f, err := os.OpenFile("/dev/iommu", os.O_RDWR, 0)
	check(err)
	if len(os.Args) > 1 {
		check(echo(f.Fd(), 1, 1))
		return
	}
	info, err := f.Stat()
	check(err)
	if info.Mode()&os.ModeCharDevice == 0 {
		check(fmt.Errorf("not a character device: %v", info.Mode()))
	}
	var wait sync.WaitGroup
	for i := 0; i < 16; i++ {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			for n := 0; n < 300; n++ {
				check(echo(f.Fd(), uint64(i), uint64(n)))
			}
		}(i)
	}
	wait.Wait()
	check(exec.Command(os.Args[0], "again").Run())
	check(f.Close())
}
