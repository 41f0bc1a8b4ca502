//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package mem

import (
	"io"
	"os"
)

func mapFile(f *os.File, size int) ([]byte, func([]byte) error, error) {
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, nil, err
	}
	return data, nil, nil
}

func reserve(n int) ([]byte, func([]byte) error, error) { return make([]byte, n), nil, nil }

func discard(b []byte) error {
	clear(b)
	return nil
}

func forget([]byte) {}
