package tokenizer

import (
	"math/bits"
	"unsafe"
)

// The algebra of the patterns over a block that begins with a piece. L letters, N numbers, V white space but line
// breaks, R line breaks, W both, P everything else; x<<1 moves a class to the byte behind.

// contractionAt is contraction over raw memory; three bytes must be readable.
func contractionAt(p unsafe.Pointer, lowerOnly bool) uint {
	w := load32(p) >> 8
	a, b := w&0xff, w>>8&0xff
	if !lowerOnly {
		if w&0xffff == 0xbfc5 {
			return 3
		}
		a, b = a|0x20, b|0x20
	}
	switch a {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v':
		if b == 'e' {
			return 3
		}
	case 'l':
		if b == 'l' {
			return 3
		}
	}
	return 0
}

// groups marks the begins of numbers in threes. Numbers of several bytes are left to the stepper.
func (b *block) groups(N uint64) (st uint64) {
	if wide := N & b.masks[laneH]; wide != 0 {
		b.bad |= wide
	}
	s := N &^ (N << 1)
	for c := N & (N << 1) & (N << 2) & (N << 3); s != 0; s = s << 3 & c {
		st |= s
	}
	return st
}

// tails gives the last character of each run of V that something other than white space follows.
func (b *block) tails(V, follows uint64) uint64 {
	last := b.n - 1
	t := V & (follows >> 1) &^ (1 << last)
	C := b.full &^ b.lead
	if s := t & C; s != 0 { // from a character's last byte to its first; white space has at most three
		t &^= C
		s >>= 1
		t |= s &^ C
		t |= (s & C) >> 1
	}
	return t
}

// afterBreaks gives those V behind a line break that no later line break of the same white space swallows.
func afterBreaks(V, R, cand uint64) uint64 {
	over := (V + cand) &^ V & R // the byte behind each candidate's run is a line break
	if over == 0 {
		return cand
	}
	for c := cand; c != 0; c &= c - 1 {
		i := uint(bits.TrailingZeros64(c))
		if e := i + uint(bits.TrailingZeros64(^(V >> i))); e < 64 && R>>e&1 != 0 {
			cand &^= 1 << i
		}
	}
	return cand
}

// prefixes widens single, first bytes of one-character runs, to their last bytes, and keeps those that X follows.
func (b *block) prefixes(single, P, X uint64) uint64 {
	if C := b.full &^ b.lead; C&P != 0 {
		for range 3 {
			single |= single << 1 & C
		}
		single &^= C >> 1
	}
	return single & (X >> 1)
}

// space marks the begins in white space, where follows is what makes \s+(?!\S) leave its last character, and absorbed
// are line breaks that belong to the punctuation before them.
func (b *block) space(V, R, absorbed, follows uint64) uint64 {
	free := (V | R) &^ absorbed
	st := free&b.lead&^(free<<1) | b.tails(V, follows)
	if cand := V & b.lead & (R << 1); cand != 0 {
		st |= afterBreaks(V, R, cand)
	}
	return st
}

// absorbed gives the line breaks straight behind P.
func absorbed(P, R uint64) uint64 { return R &^ (R + R&(P<<1)) }

// tiktoken covers GPT-2, Qwen 2 and cl100k, which differ in what joins a word and how numbers and breaks are taken.
func (b *block) tiktoken(kind scanKind) uint64 {
	L, N, V, R, SP := b.masks[laneL], b.masks[laneN], b.masks[laneV], b.masks[laneR], b.masks[laneSP]
	W := V | R
	P := b.full &^ (L | N | W)
	pst := P & b.lead &^ (P<<1 | SP<<1)
	st := pst | b.cut
	var quoted, behind uint64 // contractions: apostrophes, and what follows
	for q := b.masks[laneQ] & pst & (L >> 1); q != 0; q &= q - 1 {
		i := uint(bits.TrailingZeros64(q))
		if n := contractionAt(unsafe.Add(b.p, i), kind <= scanSmol); n > 0 {
			quoted |= 1 << i
			behind |= 1 << (i + n)
		}
	}
	var joins, taken uint64
	follows := b.full &^ W
	if kind <= scanSmol {
		joins = SP | quoted
	} else {
		joins = V | b.prefixes(pst, P, L)
		taken = absorbed(P, R)
	}
	st |= L&b.lead&^(L<<1|joins<<1) | behind&L
	switch kind {
	case scanGPT2:
		st |= N & b.lead &^ (N<<1 | SP<<1)
	case scanSmol:
		st |= N & b.lead
		follows &^= N
	case scanQwen2:
		st |= N & b.lead
	default:
		st |= b.groups(N)
	}
	return st | b.space(V, R, taken, follows)
}

// o200k splits words at a change from lower to upper case; letters that are neither and stand before upper case
// depend on the rest of the word, and marks on what stands before them: both are left to the stepper.
func (b *block) o200k() uint64 {
	X, N, V, R, SP := b.masks[laneL], b.masks[laneN], b.masks[laneV], b.masks[laneR], b.masks[laneSP]
	W := V | R
	P := b.full &^ (X | N | W)
	var quoted, behind, inside uint64
	for q, e := b.masks[laneQ]&(X<<1), uint(0); q != 0; q &= q - 1 {
		i := uint(bits.TrailingZeros64(q))
		if i == e {
			continue // stands behind a contraction, not behind a word
		}
		if n := contractionAt(unsafe.Add(b.p, i), false); n > 0 {
			e = i + n
			quoted |= 1 << i
			behind |= 1 << e
			inside |= (1<<e - 1) &^ (1<<i - 1)
		}
	}
	P &^= quoted
	pst := P & b.lead &^ (P<<1 | SP<<1)
	joins := V | b.prefixes(pst, P, X) | quoted
	up := b.aux & b.lead
	st := pst | b.cut | X&b.lead&^(X<<1|joins<<1) | up&(b.lower<<1)
	st = st&^inside | behind&X | b.groups(N)
	taken := absorbed(P, R)
	b.bad |= up&((X&^b.aux&^b.lower)<<1) | b.mark&b.lead&^(X<<1)
	for c := P & (taken << 1); c != 0; c &= c - 1 {
		if i := bits.TrailingZeros64(c); *(*byte)(unsafe.Add(b.p, i)) == '/' {
			b.bad |= 1 << i
		}
	}
	return st | b.space(V, R, taken, b.full&^W)
}

// deepSeek splits off numbers and CJK characters first, so that each section's end is a text's end to the last pattern.
func (b *block) deepSeek() uint64 {
	X, N, V, R, SP, K := b.masks[laneL], b.masks[laneN], b.masks[laneV], b.masks[laneR], b.masks[laneSP], b.aux
	W := V | R
	P := b.full &^ (X | N | W | b.ctl)
	b.bad |= b.ctl
	section := (K ^ K<<1) & b.lead
	pst := P & b.lead & (^(P<<1 | SP<<1) | section)
	A := X &^ b.masks[laneH]
	quoted := pst &^ b.masks[laneH] & (A >> 1) // punctuation that takes the ASCII letters behind it
	st := pst | b.cut | X&b.lead&(^(X<<1|V<<1|quoted<<1)|section) | b.groups(N)
	st |= (A + quoted<<1) &^ A & X
	return st | b.space(V, R, absorbed(P&^K, R), b.full&^(W|N|K))
}
