//go:build darwin || linux

package mem

import "golang.org/x/sys/unix"

// DiskFree returns how many bytes an ordinary user may still write where the folder dir is; -1 where that is not known.
func DiskFree(dir string) int64 {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize)
}
