package tokenizer

import (
	"bytes"
	"math/bits"
	"math/rand/v2"
	"unicode/utf8"
)

// splitTable finds the two pieces that a piece may be cut into. Hashes are polynomials modulo 2^61-1 over a random base (Karp and
// Rabin 1987), so that those of all prefixes and suffixes of a piece follow from one pass over it; what hashes alike is compared.
type splitTable struct {
	text   func(id uint32) []byte
	base   uint64
	pow    []uint64 // of base
	slots  []uint64 // lower half of the hash, id+1
	shift  uint
	filter []uint64 // one bit in sixteen is set: most that is no piece ends here
	fshift uint
}

const prime61 = 1<<61 - 1

func mod61(x uint64) uint64 {
	if x = x&prime61 + x>>61; x >= prime61 {
		x -= prime61
	}
	return x
}

func mul61(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return mod61(lo&prime61 + (lo>>61 | hi<<3))
}

func newSplitTable(n int, text func(id uint32) []byte) *splitTable {
	log := max(6, bits.Len(uint(2*n)))
	return &splitTable{text: text, base: rand.Uint64N(prime61-256) + 256, pow: []uint64{1}, slots: make([]uint64, 1<<log), shift: uint(64 - log),
		filter: make([]uint64, 1<<(log-3)), fshift: uint(64 - log - 3)}
}

func (s *splitTable) hash(b []byte) (h uint64) {
	for _, c := range b {
		h = mod61(mul61(h, s.base) + uint64(c) + 1)
	}
	return h
}

// fill enters the texts of the ids below n; of equal texts the last one counts. It gives the ids of the others.
func (s *splitTable) fill(n int) (shadowed map[uint32]bool) {
	longest := 0
	for id := range n {
		longest = max(longest, len(s.text(uint32(id))))
	}
	for len(s.pow) <= longest {
		s.pow = append(s.pow, mul61(s.pow[len(s.pow)-1], s.base))
	}
	const stride = 1 << 13
	hashes := make([]uint64, n)
	_ = inParallel((n+stride-1)/stride, func(k int) error { // never fails
		for id := k * stride; id < min(n, (k+1)*stride); id++ {
			hashes[id] = s.hash(s.text(uint32(id)))
		}
		return nil
	})
	shadowed = map[uint32]bool{}
	for id, h := range hashes {
		if b := s.text(uint32(id)); len(b) > 0 {
			if before := s.add(uint32(id), b, h); before != noID {
				shadowed[before] = true
			}
		}
	}
	return shadowed
}

// add enters the text b of an id. It replaces an earlier id of the same text, which it gives.
func (s *splitTable) add(id uint32, b []byte, h uint64) (before uint32) {
	f := h * fibonacci >> s.fshift
	s.filter[f>>6] |= 1 << (f & 63)
	for i := h * fibonacci >> s.shift; ; i = (i + 1) & uint64(len(s.slots)-1) {
		e := s.slots[i]
		if e == 0 {
			s.slots[i] = h<<32 | uint64(id+1)
			return noID
		}
		if e>>32 == h&(1<<32-1) && bytes.Equal(s.text(uint32(e)-1), b) {
			s.slots[i] = h<<32 | uint64(id+1)
			return uint32(e) - 1
		}
	}
}

func (s *splitTable) find(b []byte, h uint64) (uint32, bool) {
	for i := h * fibonacci >> s.shift; ; i = (i + 1) & uint64(len(s.slots)-1) {
		e := s.slots[i]
		if e == 0 {
			return 0, false
		}
		if e>>32 == h&(1<<32-1) && bytes.Equal(s.text(uint32(e)-1), b) {
			return uint32(e) - 1, true
		}
	}
}

// each calls f for the halves of b, wherever both are entered. hashes is scratch.
func (s *splitTable) each(b []byte, hashes []uint64, f func(left, right uint32)) []uint64 {
	hashes = append(hashes[:0], 0)
	h := uint64(0)
	for _, c := range b {
		h = mod61(mul61(h, s.base) + uint64(c) + 1)
		hashes = append(hashes, h)
	}
	for k := 1; k < len(b); k++ {
		if !utf8.RuneStart(b[k]) {
			continue
		}
		left := hashes[k]
		right := mod61(h + prime61 - mul61(left, s.pow[len(b)-k]))
		x, y := left*fibonacci>>s.fshift, right*fibonacci>>s.fshift
		if s.filter[x>>6]>>(x&63)&(s.filter[y>>6]>>(y&63))&1 == 0 {
			continue
		}
		if l, ok := s.find(b[:k], left); ok {
			if r, ok := s.find(b[k:], right); ok {
				f(l, r)
			}
		}
	}
	return hashes
}
