package tokenizer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// maxVocab bounds ids; the largest vocabularies in use are near 2^18.
const maxVocab = 1 << 24

// placeUsed marks an id in use, of an empty or a literal piece as well.
const placeUsed = 1 << 63

// vocab maps ids to bytes and back. In a byte-level model the pieces are raw bytes, the alphabet undone; a piece that the alphabet does
// not spell cannot be reached by text, and is kept beside in literal.
type vocab struct {
	arena   []byte
	places  []uint64 // id -> placeUsed | start in arena << 16 | length; 0 is a hole
	slots   []uint64 // hash's upper 32 bits, id+1
	shift   uint
	count   int
	raw     bool              // pieces are raw bytes of a byte-level model
	literal map[uint32]string // pieces outside of the alphabet
	litID   map[string]uint32
}

func newVocab(sizeHint int, raw bool) *vocab {
	sizeHint = min(max(sizeHint, 16), maxVocab)
	n := bits.Len(uint(sizeHint*2 - 1))
	return &vocab{raw: raw, slots: touched[uint64](1 << n), shift: uint(64 - n),
		places: make([]uint64, 0, sizeHint)}
}

// size is one more than the largest id.
func (v *vocab) size() int { return len(v.places) }

// used is the number of pieces.
func (v *vocab) used() (n int) {
	for _, p := range v.places {
		if p != 0 {
			n++
		}
	}
	return n
}

// bytes is the piece of an id, shared; nil for a hole or a literal piece.
func (v *vocab) bytes(id uint32) []byte {
	if int(id) >= len(v.places) {
		return nil
	}
	p := v.places[id]
	n := p & 0xffff
	return v.arena[p&^placeUsed>>16:][:n:n]
}

func fold64(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

func hashPiece(b []byte) uint64 {
	h := uint64(len(b)) * 0x9e3779b97f4a7c15
	for len(b) >= 8 {
		h = fold64(h^binary.LittleEndian.Uint64(b), 0xa0761d6478bd642f)
		b = b[8:]
	}
	var t uint64
	for i, c := range b {
		t |= uint64(c) << (8 * i)
	}
	return fold64(h^t, 0xe7037ed1a0b428db)
}

// find gives the id of a piece.
func (v *vocab) find(b []byte) (uint32, bool) {
	h := hashPiece(b)
	mask := uint64(len(v.slots) - 1)
	for i := h >> v.shift; ; i = (i + 1) & mask {
		s := v.slots[i]
		if s == 0 {
			return 0, false
		}
		if uint32(s>>32) == uint32(h) {
			if id := uint32(s) - 1; bytes.Equal(v.bytes(id), b) {
				return id, true
			}
		}
	}
}

// grow makes room for ids below n.
func (v *vocab) grow(n int) {
	if k := n - len(v.places); k > 0 {
		v.places = append(v.places, make([]uint64, k)...)
	}
}

// add enters a piece that stands at arena[start:]. A later entry of the same piece or id replaces an earlier one, as in the reference.
func (v *vocab) add(start int, id uint32) error {
	b := v.arena[start:]
	return v.enter(start, len(b), id, hashPiece(b))
}

// enter is add for n bytes that have a hash.
func (v *vocab) enter(start, n int, id uint32, hash uint64) error {
	if n > 0xffff {
		return fmt.Errorf("piece %d is %d bytes long; 65535 is the limit", id, n)
	}
	if uint64(start) > 0xffffffff-0xffff {
		return fmt.Errorf("vocabulary is larger than 4 GB")
	}
	v.grow(int(id) + 1)
	v.places[id] = placeUsed | uint64(start)<<16 | uint64(n)
	if v.count*2 >= len(v.slots) {
		v.rehash()
	}
	mask := uint64(len(v.slots) - 1)
	for i := hash >> v.shift; ; i = (i + 1) & mask {
		s := v.slots[i]
		if s == 0 {
			v.slots[i] = hash<<32 | uint64(id+1)
			v.count++
			return nil
		}
		if uint32(s>>32) == uint32(hash) && bytes.Equal(v.bytes(uint32(s)-1), v.bytes(id)) {
			v.slots[i] = hash<<32 | uint64(id+1)
			return nil
		}
	}
}

func (v *vocab) rehash() {
	old := v.slots
	v.slots = touched[uint64](2 * len(old))
	v.shift--
	mask := uint64(len(v.slots) - 1)
	for _, s := range old {
		if s == 0 {
			continue
		}
		i := hashPiece(v.bytes(uint32(s)-1)) >> v.shift
		for v.slots[i] != 0 {
			i = (i + 1) & mask
		}
		v.slots[i] = s
	}
}

// addString enters a piece given as text.
func (v *vocab) addString(s string, id uint32) error { return addText(v, s, id) }

func addText[T string | []byte](v *vocab, s T, id uint32) error {
	if id >= maxVocab {
		return fmt.Errorf("id %d of piece %q is beyond the limit of %d", id, s, maxVocab)
	}
	start := len(v.arena)
	if v.raw {
		var ok bool
		if v.arena, ok = appendUnalphabet(v.arena, s); !ok {
			v.arena = v.arena[:start]
			v.addLiteral(string(s), id)
			return nil
		}
	} else {
		v.arena = append(v.arena, s...)
	}
	return v.add(start, id)
}

func (v *vocab) addLiteral(s string, id uint32) {
	if v.literal == nil {
		v.literal, v.litID = map[uint32]string{}, map[string]uint32{}
	}
	v.grow(int(id) + 1)
	v.places[id] |= placeUsed
	v.literal[id] = s
	v.litID[s] = id
}

// tokenID looks a piece up as the file spells it.
func (v *vocab) tokenID(s string) (uint32, bool) {
	if !v.raw {
		return v.find([]byte(s))
	}
	if b, ok := appendUnalphabet(nil, s); ok {
		return v.find(b)
	}
	id, ok := v.litID[s]
	return id, ok
}

// piece spells an id as the file does.
func (v *vocab) piece(id uint32) (string, bool) {
	if int(id) >= len(v.places) || v.places[id] == 0 {
		return "", false
	}
	if s, ok := v.literal[id]; ok {
		return s, true
	}
	if v.raw {
		return string(appendAlphabet(nil, v.bytes(id))), true
	}
	return string(v.bytes(id)), true
}

// plain is the piece of an id, in a byte-level model its bytes; nil where v does not say it so.
func (v *vocab) plain(id uint32) []byte {
	if v == nil {
		return nil
	}
	if _, ok := v.literal[id]; ok {
		return nil
	}
	return v.bytes(id)
}
