//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package mem

import (
	"os"

	"golang.org/x/sys/unix"
)

// discard zeroes the pages and lets the system take them when it wants: MADV_FREE keeps the zeros until then, and
// gives zero pages after.
func discard(b []byte) error {
	clear(b)
	return os.NewSyscallError("madvise", unix.Madvise(b, unix.MADV_FREE))
}
