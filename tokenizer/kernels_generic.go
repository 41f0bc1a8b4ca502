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

func mergeShort(*shortWork, *mergeTables) bool { return false }

func emitHits(q *probes, i, n int, tab, out unsafe.Pointer) (int, unsafe.Pointer) {
	return emitHitsGo(q, i, n, tab, out)
}

func emitPlaces(dst unsafe.Pointer, pos uint32, st uint64) { emitPlacesGo(dst, pos, st) }
