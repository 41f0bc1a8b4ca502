//go:build unix && (amd64 || arm64) && !purego

package tokenizer

import (
	"os"
	"syscall"
	"testing"
	"unsafe"
)

// guarded gives pages between two that nobody may read.
func guarded(t *testing.T, pages int) []byte {
	size := os.Getpagesize()
	m, err := syscall.Mmap(-1, 0, (pages+2)*size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(m) })
	for _, page := range [][]byte{m[:size], m[len(m)-size:]} {
		if err := syscall.Mprotect(page, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return m[size : len(m)-size]
}

// TestKernelReads runs the kernels at both ends of memory that may be read: a byte too far kills the process.
func TestKernelReads(t *testing.T) {
	b := guarded(t, 2)
	n := len(b)
	at := func(i int) unsafe.Pointer { return unsafe.Pointer(&b[i]) }
	tab, pieces := classTables[scanQwen2](), testTables()
	var m masks
	var batch probes
	eachKernel(t, func(*testing.T, []string) {
		for _, c := range []byte{'a', 0xc3} { // the short way and the long one
			for i := range b {
				b[i] = c
			}
			classify(tab, at(0), &m)
			classify(tab, at(n-64), &m)
			suspects(&tab.nfcRows, at(0), (n-1)/64)
			suspects(&tab.nfcRows, at(n-1-n/2), n/2/64)
			if hasValidBlocks() {
				validBlocks(at(3), n-64)
				validBlocks(at(n/2), n/2)
			}
			for size := range uint32(41) {
				from := uint32(n) - max(size, 16)
				keys(at(0), []uint32{0, size}, pieces, &batch)
				keys(at(0), []uint32{from, from + size}, pieces, &batch)
			}
		}
	})
}
