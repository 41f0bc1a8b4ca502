//go:build !amd64 || purego

package tokenizer

import "unsafe"

// What only amd64 has kernels for.

func mergeShort(*shortWork, *mergeTables) bool { return false }

func emitHits(q *probes, i, n int, tab, out unsafe.Pointer) (int, unsafe.Pointer) {
	return emitHitsGo(q, i, n, tab, out)
}

func emitPlaces(dst unsafe.Pointer, pos uint32, st uint64) { emitPlacesGo(dst, pos, st) }
