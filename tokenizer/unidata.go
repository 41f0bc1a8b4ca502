package tokenizer

import (
	_ "embed"
	"sync"
)

// unicode.bin holds what gen/unicode.py probed from HF tokenizers 0.23.3. Layout, all numbers unsigned varints:
// records (category, flags, combining class, script, script group), runs (length, record) over all code points,
// then canonical and compatible decompositions and lower-case mappings (delta of code point, length, code points),
// primary composites (first, second, composite) and script names.
//
//go:embed unicode.bin
var unicodeBin []byte

// General categories, numbered as in gen/unicode.py.
const (
	gcCn = iota
	gcLu
	gcLl
	gcLt
	gcLm
	gcLo
	gcMn
	gcMc
	gcMe
	gcNd
	gcNl
	gcNo
	gcPc
	gcPd
	gcPs
	gcPe
	gcPi
	gcPf
	gcPo
	gcSm
	gcSc
	gcSk
	gcSo
	gcZs
	gcZl
	gcZp
	gcCc
	gcCf
	gcCo
	gcCs
)

// categoryNames are the names that \p{…} knows, in the order of the constants.
var categoryNames = [...]string{"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe",
	"Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cs"}

// Flags of a code point. Each component of the reference has its own idea of a space or a word character.
const (
	ufSpace      = 1 << iota // Oniguruma \s
	ufWord                   // Oniguruma \w
	ufDigit                  // Oniguruma \d
	ufHex                    // Oniguruma \h
	ufWhite                  // Rust char::is_whitespace
	ufNumeric                // Rust char::is_numeric
	ufRegexSpace             // regex crate \s
	ufRegexWord              // regex crate \w
	ufPunct                  // ASCII punctuation or unicode_categories is_punctuation
	ufClean                  // deleted by BertNormalizer's clean_text
	ufNonspacing             // unicode_categories is_mark_nonspacing
	ufCombining              // is_combining_mark of the normalisation crate
	ufToSpace                // becomes a space in clean_text
)

// ucRecord is what is known about a code point.
type ucRecord struct {
	cat    uint8
	ccc    uint8
	script uint8 // index+1 into uni.scripts, 0 = other
	group  uint8 // group of the UnicodeScripts pre-tokenizer, 0 = any
	flags  uint16
}

type uniTables struct {
	index   [0x110000 >> 8]uint16 // block number of each 256 code points
	blocks  []uint16              // record numbers
	records []ucRecord
	canon   map[rune][]rune // full canonical decomposition where it differs
	compat  map[rune][]rune // full compatibility decomposition where it differs from the canonical one
	lower   map[rune][]rune
	compose map[[2]rune]rune
	second  map[rune]bool // second characters of primary composites
	scripts []string
}

// uni returns the tables, expanded on first use.
var uni = sync.OnceValue(loadUnicode)

type varintReader struct {
	b []byte
	p int
}

func (r *varintReader) next() int {
	n, s := 0, 0
	for {
		c := r.b[r.p]
		r.p++
		n |= int(c&0x7f) << s
		if c < 0x80 {
			return n
		}
		s += 7
	}
}

func loadUnicode() *uniTables {
	r := &varintReader{b: unicodeBin, p: len("KRUNI1\n")}
	t := &uniTables{records: make([]ucRecord, r.next())}
	for i := range t.records {
		cat, flags, ccc, script, group := r.next(), r.next(), r.next(), r.next(), r.next()
		t.records[i] = ucRecord{uint8(cat), uint8(ccc), uint8(script), uint8(group), uint16(flags)}
	}
	var block [256]uint16
	seen := map[[256]uint16]uint16{}
	at := 0
	for range r.next() {
		n, rec := r.next(), uint16(r.next())
		for n > 0 {
			k := min(n, 256-at&255)
			for j := range k {
				block[at&255+j] = rec
			}
			at += k
			n -= k
			if at&255 == 0 {
				b, ok := seen[block]
				if !ok {
					b = uint16(len(t.blocks) >> 8)
					t.blocks = append(t.blocks, block[:]...)
					seen[block] = b
				}
				t.index[at>>8-1] = b
			}
		}
	}
	table := func() map[rune][]rune {
		n := r.next()
		m := make(map[rune][]rune, n)
		c := 0
		for range n {
			c += r.next()
			s := make([]rune, r.next())
			for i := range s {
				s[i] = rune(r.next())
			}
			m[rune(c)] = s
		}
		return m
	}
	t.canon, t.compat, t.lower = table(), table(), table()
	n := r.next()
	t.compose = make(map[[2]rune]rune, n)
	t.second = make(map[rune]bool)
	for range n {
		a, b, c := r.next(), r.next(), r.next()
		t.compose[[2]rune{rune(a), rune(b)}] = rune(c)
		t.second[rune(b)] = true
	}
	for range r.next() {
		n := r.next()
		t.scripts = append(t.scripts, string(r.b[r.p:r.p+n]))
		r.p += n
	}
	return t
}

// rec returns the record of a code point; r must be in 0..0x10FFFF.
func (t *uniTables) rec(r rune) *ucRecord {
	return &t.records[t.blocks[int(t.index[uint32(r)>>8])<<8|int(r&255)]]
}

// has reports whether a code point has any of the flags.
func (t *uniTables) has(r rune, flags uint16) bool { return t.rec(r).flags&flags != 0 }

// isNFCInert reports that NFC neither changes r nor joins or reorders it with a neighbour before it.
func isNFCInert(r rune) bool {
	if r < 0x300 {
		return true
	}
	t := uni()
	if t.rec(r).ccc != 0 || t.second[r] || r >= 0x1161 && r < 0x1176 || r > 0x11a7 && r < 0x11c3 {
		return false
	}
	if d, ok := t.canon[r]; ok {
		return len(d) > 1 && t.compose[composePrefix(t, d)] == r
	}
	return true
}

// composePrefix gives the pair that a full decomposition recomposes from: its composed prefix and its last character.
func composePrefix(t *uniTables, d []rune) [2]rune {
	c := d[0]
	for _, r := range d[1 : len(d)-1] {
		n, ok := t.compose[[2]rune{c, r}]
		if !ok {
			return [2]rune{-1, -1}
		}
		c = n
	}
	return [2]rune{c, d[len(d)-1]}
}
