package tokenizer

import (
	"unicode/utf8"
	"unsafe"
)

// adjacency knows which neighbouring three-byte characters some token holds side by side. Where none does, no merge
// ever crosses, so a piece may be cut there without changing its ids. It may err towards "adjacent".
type adjacency struct {
	pair        []uint64 // bit set over hashed pairs
	left, right []uint64 // characters that any other may follow, or precede, in a token that has half a character
}

const adjacencyLog = 21

func adjacencySlot(x, y uint32) (uintptr, uint) {
	h := (uint64(x)<<16 | uint64(y)) * fibonacci >> (64 - adjacencyLog)
	return uintptr(h >> 6), uint(h & 63)
}

// apart gives 1 where no token holds x directly before y, left and right aside; both are below 0x10000.
func (a *adjacency) apart(x, y uint32) uint64 {
	i, s := adjacencySlot(x, y)
	return ^(*(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(a.pair)), i*8)) >> s) & 1
}

func newAdjacency() *adjacency {
	return &adjacency{make([]uint64, 1<<(adjacencyLog-6)), make([]uint64, 1<<10), make([]uint64, 1<<10)}
}

// add notes the neighbours within a token.
func (a *adjacency) add(b []byte) {
	for j := 1; j < len(b); j++ {
		if b[j]&0xf0 != 0xe0 || b[j-1]&0xc0 != 0x80 {
			continue // not between two three-byte characters
		}
		i := j - 1
		for i > 0 && b[i]&0xc0 == 0x80 && j-i < 3 {
			i--
		}
		full := b[i]&0xf0 == 0xe0 && j-i == 3
		if !full && b[i]&0xc0 != 0x80 {
			continue // the left character is whole, of two or four bytes
		}
		whole := j+3 <= len(b)
		switch {
		case full && whole:
			w, s := adjacencySlot(threeBytes(b[i:]), threeBytes(b[j:]))
			a.pair[w] |= 1 << s
		case full:
			x := threeBytes(b[i:])
			a.left[x>>6] |= 1 << (x & 63)
		case whole:
			y := threeBytes(b[j:])
			a.right[y>>6] |= 1 << (y & 63)
		default: // both cut off: every right character that begins so
			for y := uint32(0x800); y < 0x10000; y++ {
				if byte(0xe0|y>>12) == b[j] && (j+1 == len(b) || byte(0x80|y>>6&0x3f) == b[j+1]) {
					a.right[y>>6] |= 1 << (y & 63)
				}
			}
		}
	}
}

func threeBytes(b []byte) uint32 {
	return uint32(b[0]&0xf)<<12 | uint32(b[1]&0x3f)<<6 | uint32(b[2]&0x3f)
}

// wideChars gives the tokens of three-byte characters. Where no token holds a part of a character together with a part
// or the whole of its neighbour, the bytes of each character merge with one another before anything else can happen to
// them: merging may begin with the characters.
type wideChars struct {
	adj *adjacency
	id  []uint32 // by code point; noID where a character's bytes do not merge to one token
}

// newWideChars gives nil where characters cannot be told apart.
func newWideChars(m *bpeModel, mg *merger, adj *adjacency) *wideChars {
	if adj == nil || mg.drops {
		return nil
	}
	w := &wideChars{adj, make([]uint32, 1<<16)}
	for i := range w.id {
		w.id[i] = noID
	}
	plain := mg.mergesOnly()
	var buf [4]uint32
	for id := range uint32(m.vocab.size()) {
		b := m.vocab.bytes(id)
		if len(b) != 3 || b[0]&0xf0 != 0xe0 || !utf8.Valid(b) {
			continue
		}
		if ids := plain.appendBytes(buf[:0], b); len(ids) == 1 {
			w.id[threeBytes(b)] = ids[0]
		}
	}
	return w
}

// spell writes the tokens of the characters of a piece of three-byte characters, at most shortMax, to syms, and gives their number;
// 0 where merging has to begin with bytes.
func (w *wideChars) spell(syms []uint32, b []byte) (n int) {
	last := uint32(0)
	for ; len(b) >= 3 && b[0]&0xf0 == 0xe0 && n < shortMax; b = b[3:] {
		c := threeBytes(b)
		if syms[n] = w.id[c]; syms[n] == noID || n > 0 && (w.adj.left[last>>6]>>(last&63)|w.adj.right[c>>6]>>(c&63))&1 != 0 {
			return 0
		}
		last = c
		n++
	}
	if len(b) > 0 {
		return 0
	}
	return n
}
