//go:build (!amd64 && !arm64) || purego

package tokenizer

import "unsafe"

func keys(base unsafe.Pointer, starts []uint32, t *tables, batch *probes) uint64 {
	return keysGo(base, starts, t, batch)
}

func classify(t *classTable, p unsafe.Pointer, m *masks) { classifyGo(&t.ascii, p, m) }

func hasValidBlocks() bool { return false }

func validBlocks(unsafe.Pointer, int) bool { return false }

func suspects(rows *[8][16]byte, p unsafe.Pointer, n int) (blocks int, mask uint64) {
	return suspectsGo(rows, p, n)
}
