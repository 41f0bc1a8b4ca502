//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package mem

import (
	"os"

	"golang.org/x/sys/unix"
)

func mapFile(f *os.File, size int) ([]byte, func([]byte) error, error) {
	data, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, os.NewSyscallError("mmap", err)
	}
	return data, unix.Munmap, nil
}

func reserve(n int) ([]byte, func([]byte) error, error) {
	data, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, nil, os.NewSyscallError("mmap", err)
	}
	return data, unix.Munmap, nil
}

// forget drops pages of a file's mapping; what it fails to drop stays.
func forget(b []byte) { _ = unix.Madvise(b, unix.MADV_DONTNEED) }
