package tokenizer

import (
	"math/bits"
	"unicode/utf8"
	"unsafe"
)

// unitScanner cuts the text of a SentencePiece-style model, which has no pre-tokenizer: a cut between two characters
// is safe if no merge's result holds the two side by side, since every token is a character or such a result. A space
// stands for U+2581. Immutable.
type unitScanner struct {
	m      *bpeModel
	chars  runeTable      // ids of single characters
	ascii  [128]uint32    // the same, noID where there is none
	joined [1 << 15]uint8 // ASCII x, y: at y<<8|x 1 where a token holds x directly before y
	pairs  []uint64       // the same for all pairs, hashed: it may err towards "side by side"
}

// runeTable maps code points to ids in two steps.
type runeTable struct {
	page []uint16 // of 256 code points: where its ids are, 0 for none
	ids  []uint32
}

const runePages = 0x110000 >> 8

func newRuneTable() runeTable {
	t := runeTable{make([]uint16, runePages), make([]uint32, 256)}
	for i := range t.ids {
		t.ids[i] = noID
	}
	return t
}

// get gives noID where nothing was set.
func (t *runeTable) get(r rune) uint32 { return t.ids[int(t.page[r>>8])<<8|int(r&255)] }

func (t *runeTable) set(r rune, id uint32) {
	p := &t.page[r>>8]
	if *p == 0 {
		*p = uint16(len(t.ids) >> 8)
		t.ids = append(t.ids, t.ids[:256]...)
	}
	t.ids[int(*p)<<8|int(r&255)] = id
}

const unitLog = 22

func unitSlot(x, y rune) (uintptr, uint) {
	h := (uint64(x)<<21 | uint64(y)) * fibonacci >> (64 - unitLog)
	return uintptr(h >> 6), uint(h & 63)
}

// newUnitScanner gives nil for models whose unknown characters could be joined across a cut, or whose byte tokens merge.
func newUnitScanner(m *bpeModel) *unitScanner {
	if !m.byteFallback || !m.spaceMark {
		return nil
	}
	isByte := make([]bool, m.symbols)
	for _, id := range m.byteID {
		if int(id) >= len(isByte) { // or noID
			return nil
		}
		isByte[id] = true
	}
	u := &unitScanner{m: m, chars: newRuneTable(), pairs: make([]uint64, 1<<(unitLog-6))}
	for i := range u.ascii {
		u.ascii[i] = noID
	}
	for id := range uint32(m.vocab.size()) {
		b := m.vocab.bytes(id)
		r, n := utf8.DecodeRune(b)
		if n != len(b) || n == 0 || r == utf8.RuneError && n == 1 {
			continue
		}
		found, ok := m.vocab.find(b)
		if !ok || found != id {
			continue
		}
		switch {
		case r == '\u2581':
			u.ascii[' '] = id
		case r == ' ': // a space in the text is never itself
		case r < 128:
			u.ascii[r] = id
		default:
			u.chars.set(r, id)
		}
	}
	if u.ascii[' '] == noID {
		return nil
	}
	seen := make([]bool, m.vocab.size()) // a token may come of several merges
	for _, e := range m.merges {
		if isByte[e.a] || isByte[e.b] || int(max(e.a, e.b, e.out)) >= m.vocab.size() {
			return nil
		}
		if seen[e.out] {
			continue
		}
		seen[e.out] = true
		b := m.vocab.bytes(e.out)
		if len(b) == 0 || !utf8.Valid(b) {
			return nil
		}
		last := rune(-1)
		for len(b) > 0 {
			r, n := utf8.DecodeRune(b)
			if r == '\u2581' {
				r = ' '
			}
			if last >= 0 {
				i, s := unitSlot(last, r)
				u.pairs[i] |= 1 << s
				if last < 128 && r < 128 {
					u.joined[r<<8|last] = 1
				}
			}
			last = r
			b = b[n:]
		}
	}
	return u
}

// apart gives 1 where no token holds x directly before y.
func (u *unitScanner) apart(x, y rune) uint64 {
	i, s := unitSlot(x, y)
	return ^(*(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(u.pairs)), i*8)) >> s) & 1
}

// splits reports whether text may be cut from x before it.
func (u *unitScanner) splits(x rune, text []byte) bool {
	y, _ := utf8.DecodeRune(text)
	return u.cut(x, y)
}

// cut is the one rule that step and scan follow. Two letters of two bytes each are not worth asking about.
func (u *unitScanner) cut(x, y rune) bool {
	if x < 128 && y < 128 {
		return u.joined[y<<8|x] == 0
	}
	if x >= 128 && x < 0x800 && y >= 128 && y < 0x800 {
		return false
	}
	return u.apart(x, y) != 0
}

// step gives the end of the unit that begins at text[i].
func (u *unitScanner) step(text []byte, i int) int {
	x, n := utf8.DecodeRune(text[i:])
	for i += n; i < len(text); i += n {
		var y rune
		if y, n = utf8.DecodeRune(text[i:]); u.cut(x, y) {
			return i
		}
		x = y
	}
	return i
}

// scan is blockScanner.scan for units. The text ends at end; limit+blockRead bytes are readable.
func (u *unitScanner) scan(text []byte, pos, limit, end int, out []uint32, k int) (next, count int) {
	base := unsafe.Pointer(unsafe.SliceData(text))
	top := len(out) - blockBytes
	t := &u.joined
	for pos <= limit && k <= top {
		p := unsafe.Add(base, pos)
		var joined, high uint64
		for j := uint(0); j < blockBytes; j += 8 {
			// Eight pairs of neighbours: four each from words that are one byte apart.
			a, b := load64(unsafe.Add(p, j)), load64(unsafe.Add(p, j+1))
			high |= a
			joined |= (uint64(t[a&0x7f7f]) | uint64(t[b&0x7f7f])<<1 | uint64(t[a>>16&0x7f7f])<<2 | uint64(t[b>>16&0x7f7f])<<3 |
				uint64(t[a>>32&0x7f7f])<<4 | uint64(t[b>>32&0x7f7f])<<5 | uint64(t[a>>48&0x7f7f])<<6 | uint64(t[b>>48&0x7f7f])<<7) << (j + 1)
		}
		inside := ^uint64(0) // bytes of the text
		if n := end - pos; n < blockBytes {
			inside = 1<<uint(n) - 1
		}
		st := ^joined & inside &^ 1
		if high&0x8080808080808080 != 0 {
			st = u.wide(p, st, inside)
		}
		st |= inside + 1 // the text's end, if it is in this block
		if st == 0 {
			pos = u.step(text[:end], pos)
			out[k] = uint32(pos)
			k++
			continue
		}
		pos, k = emitStarts(out, pos, k, st)
	}
	return pos, k
}

// topBits gathers the top bits of eight bytes (Hacker's Delight 7-4).
func topBits(w uint64) uint64 { return w & 0x8080808080808080 >> 7 * 0x0102040810204080 >> 56 }

// wide corrects the begins st of a block at its characters that are not ASCII.
func (u *unitScanner) wide(p unsafe.Pointer, st, inside uint64) uint64 {
	var high, six, five uint64 // the upper three bits of each byte
	for j := uint(0); j < blockBytes; j += 8 {
		w := load64(unsafe.Add(p, j))
		high |= topBits(w) << j
		six |= topBits(w<<1) << j
		five |= topBits(w<<2) << j
	}
	lead := ^high | six
	two := high & six &^ five // lead bytes of two
	st &^= high | high<<1
	last, after := rune(0), uint(0) // the character before the byte at after
	for ask := (high | high<<1) & lead &^ (two & (two << 2)) & inside &^ 1; ask != 0; {
		i := uint(bits.TrailingZeros64(ask)) & 63
		if i != after {
			b := i - 1
			for lead>>b&1 == 0 {
				b--
			}
			c, _ := decodeAt(unsafe.Add(p, b))
			last = rune(c)
		}
		w := load32(unsafe.Add(p, i))
		if w&0xf0 != 0xe0 {
			c, n := decodeAt(unsafe.Add(p, i))
			st |= u.apart(last, rune(c)) << i
			last, after = rune(c), i+n
			ask &= ask - 1
			continue
		}
		for w&0xf0 == 0xe0 && ask>>i&1 != 0 { // a run of characters of three bytes
			c := rune(decodeThree(w))
			st |= u.apart(last, c) << (i & 63)
			last = c
			i += 3
			w = load32(unsafe.Add(p, i))
		}
		after = i
		ask &= ^uint64(0) << i
	}
	return st
}

// symbols gives the ids of all single characters.
func (u *unitScanner) symbols() []uint32 {
	return append(u.ascii[:len(u.ascii):len(u.ascii)], u.chars.ids...)
}

// spell appends the ids of a unit's characters to syms.
func (u *unitScanner) spell(syms []uint32, b []byte) []uint32 {
	for i := 0; i < len(b); {
		if c := b[i]; c < 128 {
			id := u.ascii[c]
			if id == noID {
				id = u.m.byteID[c]
			}
			syms = append(syms, id)
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if id := u.chars.get(r); id != noID && !(r == utf8.RuneError && n == 1) {
			syms = append(syms, id)
		} else {
			for _, c := range b[i : i+n] {
				syms = append(syms, u.m.byteID[c])
			}
		}
		i += n
	}
	return syms
}
