package tokenizer

import (
	"math/bits"
	"unsafe"
)

const (
	blockBytes = 64
	blockRead  = blockBytes + 16 // bytes from a block's begin that must be readable
)

// blockScanner finds the begins of pieces in blocks of 64 bytes. Each block begins where a piece does, so nothing is
// carried over: no pattern looks behind. Classes become bit masks, and bit algebra gives the begins; whatever the
// algebra does not cover is marked as bad and left to the stepper. Immutable.
type blockScanner struct {
	kind scanKind
	tab  *classTable
	step stepper
	adj  *adjacency // nil: pieces are not cut
	cyr  bool       // Cyrillic letters, U+0400 to U+047F, have no class but that
	// three holds, for characters of three bytes, what wide asks of them: six bits of classes, then as below.
	three [1 << 16]uint16
}

const (
	threeClasses = 1<<6 - 1
	threeCut     = 3 << 6 // characters of one number above zero may be cut apart
	threeLeft    = 1 << 8 // any character may follow in a token
	threeRight   = 1 << 9 // any character may stand before
)

func newBlockScanner(kind scanKind, adj *adjacency) *blockScanner {
	s := &blockScanner{kind: kind, tab: classTables[kind](), step: steppers[kind], adj: adj}
	s.cyr = true
	for r := uint32(0x400); r < 0x480; r++ {
		s.cyr = s.cyr && s.tab.of(r)&(clsL|clsN|clsS|cls8|cls16) == clsL
	}
	// A piece may be cut only where its right part is scanned as the rest of the whole would be: between letters
	// that the pattern treats alike.
	var is [256]uint16 // by classes
	for c := range is {
		is[c] = uint16(c & threeClasses)
		switch {
		case adj == nil || c&clsL == 0:
		case kind < scanO200K:
			is[c] |= 1 << 6
		case c&clsMark != 0 || kind == scanO200K && c&(clsUpper|clsLower) != 0:
		case kind == scanDeepSeek && c&clsCJK != 0:
			is[c] |= 2 << 6
		default:
			is[c] |= 1 << 6
		}
	}
	for cp := range uint32(len(s.three)) {
		s.three[cp] = is[s.tab.of(cp)&255]
	}
	for i := 0; adj != nil && i < len(adj.left); i++ {
		for m := adj.left[i]; m != 0; m &= m - 1 {
			s.three[i<<6|bits.TrailingZeros64(m)] |= threeLeft
		}
		for m := adj.right[i]; m != 0; m &= m - 1 {
			s.three[i<<6|bits.TrailingZeros64(m)] |= threeRight
		}
	}
	return s
}

// block is one block's masks. All bytes of a character have its classes; lead marks first bytes.
type block struct {
	masks
	p     unsafe.Pointer
	n     uint   // bytes in use, whole characters
	full  uint64 // bytes in use
	lead  uint64 // first bytes of characters
	cut   uint64 // begins where no token crosses
	bad   uint64 // bytes that the algebra gives up at
	aux   uint64 // o200k: upper case. DeepSeek: its CJK class
	lower uint64 // o200k: lower case
	mark  uint64 // o200k: marks
	ctl   uint64 // DeepSeek: what no alternative matches
}

// scan writes to out, from out[k] on, the begins of pieces behind pos, where one begins. It goes on while pos <= limit
// and out has room, and gives the last begin found. Places are relative to text; limit+blockRead <= len(text).
func (s *blockScanner) scan(text []byte, pos, limit int, out []uint32, k int) (next, count int) {
	base := unsafe.Pointer(unsafe.SliceData(text))
	top := len(out) - blockBytes
	var b block
	for pos <= limit && k <= top {
		b.p = unsafe.Add(base, pos)
		classify(s.tab, b.p, &b.masks)
		b.n, b.full, b.lead, b.cut, b.bad = blockBytes, ^uint64(0), ^uint64(0), 0, 0
		if b.masks[laneH] != 0 {
			s.wide(&b)
		} else if s.kind >= scanO200K {
			b.aux, b.lower, b.mark, b.ctl = 0, 0, 0, 0
			if s.kind == scanO200K {
				b.aux = b.masks[laneX]
				b.lower = b.masks[laneL] &^ b.aux
			} else {
				b.ctl = b.masks[laneX]
			}
		}
		var st uint64
		switch s.kind {
		case scanO200K:
			st = b.o200k()
		case scanDeepSeek:
			st = b.deepSeek()
		default:
			st = b.tiktoken(s.kind)
		}
		// What lies in white space at the block's end depends on what follows.
		w := b.masks[laneV] | b.masks[laneR]
		if last := b.n - 1; w>>last&1 != 0 {
			run := uint(bits.LeadingZeros64(^(w << (63 - last))))
			st &= 2<<(b.n-run) - 1
		}
		st &^= 1
		if b.bad != 0 {
			f := bits.TrailingZeros64(b.bad)
			end := pos + f
			pos, k = emitStarts(out, pos, k, st&(1<<f-1))
			for pos <= end && pos < len(text) && k < len(out) {
				pos = s.step(s.tab, text, pos)
				out[k] = uint32(pos)
				k++
			}
			continue
		}
		if st == 0 {
			pos = s.step(s.tab, text, pos)
			out[k] = uint32(pos)
			k++
			continue
		}
		pos, k = emitStarts(out, pos, k, st)
	}
	return pos, k
}

// emitStarts writes the begins st of the block at pos, and gives the last. The caller has room for 64 of them.
func emitStarts(out []uint32, pos, k int, st uint64) (next, count int) {
	emitPlaces(unsafe.Pointer(&out[k]), uint32(pos), st)
	return pos + 63 - bits.LeadingZeros64(st|1), k + bits.OnesCount64(st)
}

func emitPlacesGo(dst unsafe.Pointer, pos uint32, st uint64) {
	for ; st != 0; st &= st - 1 {
		*(*uint32)(dst) = pos + uint32(bits.TrailingZeros64(st))
		dst = unsafe.Add(dst, 4)
	}
}

// wide adds the characters that are not ASCII to the masks.
func (s *blockScanner) wide(b *block) {
	n := b.n
	var C, cut uint64
	var low, high [8]uint64 // bytes by their three lower classes, and by the three above
	tab, three := s.tab, &s.three
	note := func(classes uint32, m uint64) {
		low[classes&7] |= m
		high[classes>>3&7] |= m
	}
	for H := b.masks[laneH]; H != 0; {
		i := uint(bits.TrailingZeros64(H))
		w := load32(unsafe.Add(b.p, i))
		if w&0xfe == 0xd0 && s.cyr {
			// Up to four letters at once: lead bytes 0xD0 and 0xD1.
			k := uint(bits.TrailingZeros64(load64(unsafe.Add(b.p, i))&0xc0fec0fec0fec0fe^0x80d080d080d080d0)) / 16
			if k = min(k, (n-i)/2); k == 0 {
				n = i
				break
			}
			m := uint64(1<<(2*k)-1) << (i & 63)
			H &^= m
			C |= m & (0xaaaaaaaaaaaaaaaa << (i & 63))
			low[clsL] |= m
			high[0] |= m
			continue
		}
		if w&0xf0 == 0xe0 {
			// A run of characters of three bytes, noted where classes change.
			begin, from, last, before := i, i, uint32(0), uint16(0)
			for w&0xf0 == 0xe0 && i+3 <= n {
				cp := decodeThree(w)
				is := three[cp]
				if (is^before)&threeCut == 0 && is&threeCut != 0 && (before&threeLeft|is&threeRight) == 0 {
					cut |= s.adj.apart(last, cp) << (i & 63)
				}
				if (is^before)&threeClasses != 0 {
					note(uint32(before), ones(from, i))
					from = i
				}
				last, before = cp, is
				i += 3
				w = load32(unsafe.Add(b.p, i))
			}
			note(uint32(before), ones(from, i))
			m := ones(begin, i)
			H &^= m
			C |= m &^ (0x9249249249249249 << (begin & 63))
			if i < n && w&0xf0 == 0xe0 {
				n = i
				break
			}
			continue
		}
		cp, ln := decodeAt(unsafe.Pointer(&w))
		if i+ln > n {
			n = i
			break
		}
		m := ones(i, i+ln)
		H &^= m
		C |= m & (m << 1)
		note(tab.of(cp), m)
	}
	full := ^uint64(0) >> (64 - n)
	ascii := full &^ b.masks[laneH]
	for i := range b.masks {
		b.masks[i] &= ascii
	}
	switch {
	case s.kind == scanO200K:
		b.aux, b.lower, b.mark = b.masks[laneX]|firsts(&high), b.masks[laneL]&^b.masks[laneX]|seconds(&high), thirds(&high)
	case s.kind > scanO200K:
		b.aux, b.ctl = firsts(&high), b.masks[laneX]|low[0]&^seconds(&high) // what has no class is in no alternative
	}
	b.masks[laneL] |= firsts(&low)
	b.masks[laneN] |= seconds(&low)
	b.masks[laneV] |= thirds(&low)
	b.masks[laneH] = full &^ ascii
	b.n, b.full, b.lead, b.cut = n, full, full&^C, cut
}

// ones has the bits from one place up to another, at most 64.
func ones(from, to uint) uint64 { return (1<<(to-from) - 1) << (from & 63) }

// firsts, seconds and thirds gather what stands under numbers with that bit set.
func firsts(m *[8]uint64) uint64  { return m[1] | m[3] | m[5] | m[7] }
func seconds(m *[8]uint64) uint64 { return m[2] | m[3] | m[6] | m[7] }
func thirds(m *[8]uint64) uint64  { return m[4] | m[5] | m[6] | m[7] }
