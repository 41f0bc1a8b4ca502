//go:build !purego

package tokenizer

import (
	"unsafe"

	"github.com/klauspost/cpuid/v2"
)

//go:generate go -C gen/asm run . -out ../../kernels_amd64.s

// Which kernels are in use; tests switch them.
var (
	useBMI2   = cpuid.CPU.Supports(cpuid.BMI2)
	useAVX2   = cpuid.CPU.Supports(cpuid.AVX2)
	useAVX512 = cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL, cpuid.AVX512VBMI, cpuid.BMI2)
)

//go:noescape
func keysBMI2(base unsafe.Pointer, starts *uint32, n int, t *tables, batch *probes)

//go:noescape
func keysAVX512(base unsafe.Pointer, starts *uint32, n int, t *tables, batch *probes)

//go:noescape
func emitHitsAMD64(q *probes, i, n int, tab, out unsafe.Pointer) (next int, end unsafe.Pointer)

//go:noescape
func classifyAVX2(rows *[8][16]byte, p unsafe.Pointer, m *masks)

//go:noescape
func classifyAVX512(rows *[8][16]byte, p unsafe.Pointer, m *masks)

// keys fills batch with the keys and home entries of the pieces between starts, and asks for the entries' memory.
func keys(base unsafe.Pointer, starts []uint32, t *tables, batch *probes) uint64 {
	switch {
	case useAVX512:
		keysAVX512(base, &starts[0], len(starts)-1, t, batch)
	case useBMI2:
		keysBMI2(base, &starts[0], len(starts)-1, t, batch)
	default:
		return keysGo(base, starts, t, batch)
	}
	return 0
}

// emitHits is emitHitsGo.
func emitHits(q *probes, i, n int, tab, out unsafe.Pointer) (int, unsafe.Pointer) {
	if useBMI2 {
		return emitHitsAMD64(q, i, n, tab, out)
	}
	return emitHitsGo(q, i, n, tab, out)
}

// classify fills m with the classes of the 64 bytes at p.
func classify(t *classTable, p unsafe.Pointer, m *masks) {
	switch {
	case useAVX512:
		classifyAVX512(&t.rows, p, m)
	case useAVX2:
		classifyAVX2(&t.rows, p, m)
	default:
		classifyGo(&t.ascii, p, m)
	}
}

//go:noescape
func validAVX2(p unsafe.Pointer, n int) uint64

//go:noescape
func validAVX512(p unsafe.Pointer, n int) uint64

// validBlocks reports whether n bytes at p, a multiple of 64, are UTF-8, given the three before them; a character that
// their end cuts off passes.
func validBlocks(p unsafe.Pointer, n int) bool {
	if useAVX512 {
		return validAVX512(p, n) == 0
	}
	return validAVX2(p, n) == 0
}

// hasValidBlocks reports that validBlocks may be called.
func hasValidBlocks() bool { return useAVX512 || useAVX2 }

//go:noescape
func suspectsAVX2(rows *[8][16]byte, p unsafe.Pointer, n int) (blocks int, mask uint64)

//go:noescape
func suspectsAVX512(rows *[8][16]byte, p unsafe.Pointer, n int) (blocks int, mask uint64)

// suspects gives the number of blocks at p, up to n, without a character that NFC may change, and where the next block
// has characters that it might; one byte behind the blocks is read.
func suspects(rows *[8][16]byte, p unsafe.Pointer, n int) (blocks int, mask uint64) {
	switch {
	case useAVX512:
		return suspectsAVX512(rows, p, n)
	case useAVX2:
		return suspectsAVX2(rows, p, n)
	}
	return suspectsGo(rows, p, n)
}

//go:noescape
func mergeAVX512(w *shortWork, t *mergeTables)

// mergeShort does all merges of w; false where no kernel can.
func mergeShort(w *shortWork, t *mergeTables) bool {
	if !useAVX512 || t.slots == nil || w.n > mergeMost {
		return false
	}
	mergeAVX512(w, t)
	return true
}

//go:noescape
func emitPlacesAVX512(dst unsafe.Pointer, pos uint32, st uint64)

// emitPlaces writes pos plus the place of each bit of st to dst, where there is room for 64.
func emitPlaces(dst unsafe.Pointer, pos uint32, st uint64) {
	if useAVX512 {
		emitPlacesAVX512(dst, pos, st)
		return
	}
	emitPlacesGo(dst, pos, st)
}
