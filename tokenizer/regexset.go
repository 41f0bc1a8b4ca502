package tokenizer

import (
	"slices"
	"strings"
	"unicode"
)

// lastCased is beyond the last code point with case.
const lastCased = 0x1ffff

// runeSet is a set of code points: sorted disjoint ranges once clean, and a bitmap for ASCII.
type runeSet struct {
	ranges [][2]rune
	ascii  [2]uint64
	clean  bool
}

func newRuneSet() *runeSet { return &runeSet{} }

func (s *runeSet) add(r rune) { s.addRange(r, r) }
func (s *runeSet) addRange(lo, hi rune) {
	s.ranges = append(s.ranges, [2]rune{lo, hi})
	s.clean = false
}

func (s *runeSet) addSet(o *runeSet) {
	s.ranges = append(s.ranges, o.ranges...)
	s.clean = false
}

// addWhere adds every code point whose record satisfies f.
func (s *runeSet) addWhere(f func(*ucRecord) bool) {
	t := uni()
	yes := make([]bool, len(t.records))
	for i := range t.records {
		yes[i] = f(&t.records[i])
	}
	const none, all, mixed = 1, 2, 3
	kinds := make([]uint8, len(t.blocks)>>8) // of each block of 256 code points
	for i, rec := range t.blocks {
		if yes[rec] {
			kinds[i>>8] |= all
		} else {
			kinds[i>>8] |= none
		}
	}
	lo := rune(-1)
	flip := func(in bool, r rune) {
		if in && lo < 0 {
			lo = r
		} else if !in && lo >= 0 {
			s.addRange(lo, r-1)
			lo = -1
		}
	}
	for i, b := range t.index {
		r := rune(i << 8)
		if k := kinds[b]; k != mixed {
			flip(k == all, r)
			continue
		}
		for j, rec := range t.blocks[int(b)<<8 : int(b)<<8+256] {
			flip(yes[rec], r+rune(j))
		}
	}
	flip(false, 0x110000)
}

func (s *runeSet) normalize() {
	if s.clean {
		return
	}
	slices.SortFunc(s.ranges, func(a, b [2]rune) int { return int(a[0]) - int(b[0]) })
	out := s.ranges[:0]
	for _, r := range s.ranges {
		if n := len(out); n > 0 && r[0] <= out[n-1][1]+1 {
			out[n-1][1] = max(out[n-1][1], r[1])
		} else {
			out = append(out, r)
		}
	}
	s.ranges, s.clean = out, true
}

func (s *runeSet) invert() {
	s.normalize()
	var out [][2]rune
	next := rune(0)
	for _, r := range s.ranges {
		if r[0] > next {
			out = append(out, [2]rune{next, r[0] - 1})
		}
		next = r[1] + 1
	}
	if next <= 0x10ffff {
		out = append(out, [2]rune{next, 0x10ffff})
	}
	s.ranges = out
}

func (s *runeSet) intersect(o *runeSet) {
	// a ∩ b = ¬(¬a ∪ ¬b)
	c := newRuneSet()
	c.addSet(o)
	c.invert()
	s.invert()
	s.addSet(c)
	s.invert()
}

func (s *runeSet) remove(r rune) {
	o := newRuneSet()
	o.add(r)
	o.invert()
	s.intersect(o)
}

// foldCase closes the set under single-character case folding.
func (s *runeSet) foldCase() {
	s.normalize()
	var more []rune
	for _, r := range s.ranges {
		for c := r[0]; c <= min(r[1], lastCased); c++ {
			for f := unicode.SimpleFold(c); f != c; f = unicode.SimpleFold(f) {
				more = append(more, f)
			}
		}
	}
	for _, c := range more {
		s.add(c)
	}
	s.normalize()
}

// compile makes the set fast to ask.
func (s *runeSet) compile() {
	s.normalize()
	for c := range rune(128) {
		if s.slow(c) {
			s.ascii[c>>6] |= 1 << (c & 63)
		}
	}
}

func (s *runeSet) slow(c rune) bool {
	i, found := slices.BinarySearchFunc(s.ranges, c, func(r [2]rune, c rune) int { return int(r[0]) - int(c) })
	return found || i > 0 && c <= s.ranges[i-1][1]
}

func (s *runeSet) has(c rune) bool {
	if c < 128 {
		return s.ascii[c>>6]>>(c&63)&1 != 0
	}
	return s.slow(c)
}

// foldsToSeveral lists the characters that full case folding turns into several (Unicode CaseFolding.txt, status F). Oniguruma lets them
// match those sequences without case, and the other way round, which a set of characters cannot express.
var foldsToSeveral = func() *runeSet {
	s := newRuneSet()
	for _, r := range [][2]rune{{0xdf, 0xdf}, {0x130, 0x130}, {0x149, 0x149}, {0x1f0, 0x1f0}, {0x390, 0x390}, {0x3b0, 0x3b0}, {0x587, 0x587},
		{0x1e96, 0x1e9a}, {0x1e9e, 0x1e9e}, {0x1f50, 0x1f57}, {0x1f80, 0x1faf}, {0x1fb2, 0x1fb4}, {0x1fb6, 0x1fb7}, {0x1fbc, 0x1fbc},
		{0x1fc2, 0x1fc4}, {0x1fc6, 0x1fc7}, {0x1fcc, 0x1fcc}, {0x1fd2, 0x1fd7}, {0x1fe2, 0x1fe7}, {0x1ff2, 0x1ff4}, {0x1ff6, 0x1ff7},
		{0x1ffc, 0x1ffc}, {0xfb00, 0xfb06}, {0xfb13, 0xfb17}} {
		s.addRange(r[0], r[1])
	}
	s.normalize()
	return s
}()

// foldPairs are the two-letter beginnings of such sequences that ASCII patterns spell.
var foldPairs = []string{"ss", "st", "ff", "fi", "fl"}

// several reports that the set holds a character of foldsToSeveral.
func (s *runeSet) several() bool {
	c := newRuneSet()
	c.addSet(s)
	c.intersect(foldsToSeveral)
	return len(c.ranges) > 0
}

// property adds \p{name}; it reports whether the name is known.
func (s *runeSet) property(name string) bool {
	key := strings.ToLower(strings.NewReplacer(" ", "", "_", "", "-", "").Replace(name))
	long := map[string]string{"letter": "l", "mark": "m", "number": "n", "punctuation": "p", "symbol": "s", "separator": "z",
		"other": "c", "uppercaseletter": "lu", "lowercaseletter": "ll", "titlecaseletter": "lt", "modifierletter": "lm",
		"otherletter": "lo", "nonspacingmark": "mn", "spacingmark": "mc", "enclosingmark": "me", "decimalnumber": "nd",
		"letternumber": "nl", "othernumber": "no", "control": "cc", "format": "cf", "privateuse": "co", "unassigned": "cn",
		"mathsymbol": "sm", "currencysymbol": "sc", "modifiersymbol": "sk", "othersymbol": "so", "spaceseparator": "zs"}
	if v, ok := long[key]; ok {
		key = v
	}
	if key == "any" {
		s.addRange(0, 0x10ffff)
		return true
	}
	var cats [len(categoryNames)]bool
	known := false
	for i, c := range categoryNames {
		c = strings.ToLower(c)
		if key == c || len(key) == 1 && key[0] == c[0] {
			cats[i], known = true, true
		}
	}
	if known {
		s.addWhere(func(r *ucRecord) bool { return cats[r.cat] })
		return true
	}
	for i, n := range uni().scripts {
		if key == strings.ToLower(strings.ReplaceAll(n, "_", "")) {
			s.addWhere(func(r *ucRecord) bool { return int(r.script) == i+1 })
			return true
		}
	}
	flags := map[string]uint16{"space": ufSpace, "word": ufWord, "digit": ufDigit, "xdigit": ufHex}
	if f, ok := flags[key]; ok {
		s.addWhere(func(r *ucRecord) bool { return r.flags&f != 0 })
		return true
	}
	return false
}
