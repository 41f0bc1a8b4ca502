package tokenizer

import (
	"encoding/binary"
	"unsafe"
)

// The scanners and the cache read through pointers: every read lies within blockRead bytes of a position that the
// caller has checked. The compiler makes each of these one load.

func load32(p unsafe.Pointer) uint32 { return binary.LittleEndian.Uint32((*[4]byte)(p)[:]) }

func load64(p unsafe.Pointer) uint64 { return binary.LittleEndian.Uint64((*[8]byte)(p)[:]) }

// lanes8 sums the classes of eight bytes, each shifted by its place.
func lanes8(t *[256]uint64, p unsafe.Pointer) uint64 {
	b := (*[8]byte)(p)
	return t[b[0]] | t[b[1]]<<1 | t[b[2]]<<2 | t[b[3]]<<3 | t[b[4]]<<4 | t[b[5]]<<5 | t[b[6]]<<6 | t[b[7]]<<7
}

// masks holds one bit per byte of a block for each lane.
type masks [8]uint64

// classifyGo fills m with the classes of 64 bytes: eight words of eight lanes are transposed (Hacker's Delight 7-3).
func classifyGo(t *[256]uint64, p unsafe.Pointer, m *masks) {
	a, b := lanes8(t, p), lanes8(t, unsafe.Add(p, 8))
	c, d := lanes8(t, unsafe.Add(p, 16)), lanes8(t, unsafe.Add(p, 24))
	e, f := lanes8(t, unsafe.Add(p, 32)), lanes8(t, unsafe.Add(p, 40))
	g, h := lanes8(t, unsafe.Add(p, 48)), lanes8(t, unsafe.Add(p, 56))
	const m1, m2, m3 = 0x00ff00ff00ff00ff, 0x0000ffff0000ffff, 0x00000000ffffffff
	a, b = a&m1|b<<8&^m1, a>>8&m1|b&^m1
	c, d = c&m1|d<<8&^m1, c>>8&m1|d&^m1
	e, f = e&m1|f<<8&^m1, e>>8&m1|f&^m1
	g, h = g&m1|h<<8&^m1, g>>8&m1|h&^m1
	a, c = a&m2|c<<16&^m2, a>>16&m2|c&^m2
	b, d = b&m2|d<<16&^m2, b>>16&m2|d&^m2
	e, g = e&m2|g<<16&^m2, e>>16&m2|g&^m2
	f, h = f&m2|h<<16&^m2, f>>16&m2|h&^m2
	m[0], m[4] = a&m3|e<<32, a>>32|e&^m3
	m[1], m[5] = b&m3|f<<32, b>>32|f&^m3
	m[2], m[6] = c&m3|g<<32, c>>32|g&^m3
	m[3], m[7] = d&m3|h<<32, d>>32|h&^m3
}

const pageBytes = 4096

// touched makes a slice that is looked at before it is filled. Its memory is written first: a page of new memory that is read first is given
// twice, the second time with word to all CPUs that the process runs on.
func touched[T any](n int) []T {
	s := make([]T, n)
	for i := 0; i < n; i += max(1, pageBytes/int(unsafe.Sizeof(s[0]))) {
		*(*byte)(unsafe.Pointer(&s[i])) = 0
	}
	return s
}
