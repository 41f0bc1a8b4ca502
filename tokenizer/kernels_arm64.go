//go:build !purego

package tokenizer

import "unsafe"

// useNEON says whether the kernels are in use; tests switch it. Every CPU that Go's arm64 port runs on has NEON.
var useNEON = true

//go:noescape
func keysARM64(base unsafe.Pointer, starts *uint32, n int, t *tables, batch *probes)

// keys fills batch with the keys and home entries of the pieces between starts, and asks for the entries' memory.
func keys(base unsafe.Pointer, starts []uint32, t *tables, batch *probes) uint64 {
	if useNEON {
		keysARM64(base, &starts[0], len(starts)-1, t, batch)
		return 0
	}
	return keysGo(base, starts, t, batch)
}

//go:noescape
func classifyNEON(rows *[8][16]byte, p unsafe.Pointer, m *masks)

// classify fills m with the classes of the 64 bytes at p.
func classify(t *classTable, p unsafe.Pointer, m *masks) {
	if useNEON {
		classifyNEON(&t.rows, p, m)
		return
	}
	classifyGo(&t.ascii, p, m)
}

//go:noescape
func validNEON(p unsafe.Pointer, n int) uint64

// validBlocks reports whether n bytes at p, a multiple of 64, are UTF-8, given the three before them; a character that
// their end cuts off passes.
func validBlocks(p unsafe.Pointer, n int) bool { return validNEON(p, n) == 0 }

// hasValidBlocks reports that validBlocks may be called.
func hasValidBlocks() bool { return useNEON }

//go:noescape
func suspectsNEON(rows *[8][16]byte, p unsafe.Pointer, n int) (blocks int, mask uint64)

// suspects gives the number of blocks at p, up to n, without a character that NFC may change, and where the next block
// has characters that it might; one byte behind the blocks is read.
func suspects(rows *[8][16]byte, p unsafe.Pointer, n int) (blocks int, mask uint64) {
	if useNEON {
		return suspectsNEON(rows, p, n)
	}
	return suspectsGo(rows, p, n)
}
