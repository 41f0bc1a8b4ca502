package tokenizer

import (
	"sync"
	"unsafe"
)

// scanKind names a pre-tokenizer that has a scanner of its own.
type scanKind uint8

const (
	scanGPT2 scanKind = iota
	scanSmol          // single digits, then GPT-2
	scanQwen2
	scanCL100K // Llama 3 as well
	scanO200K
	scanDeepSeek
	scanKinds
)

// Character classes, bits of a classTable. Letters include marks in o200k and DeepSeek.
const (
	clsL = 1 << iota // letter
	clsN             // number
	clsS             // white space
	cls8             // by family, below
	cls16
	clsMark // combining mark; GPT-2 family: of canonical combining class above zero, and otherwise left alone by NFC
	clsNFC  // GPT-2 family: NFC may change it or join it to what precedes

	clsUpper = cls8  // o200k: Lu, Lt
	clsLower = cls16 // o200k: Ll. Letters that are neither match both halves of the pattern
	clsCJK   = cls8  // DeepSeek: the characters that its second split takes out
	clsPunct = cls16 // DeepSeek: P, S
)

// classTable maps a code point to its classes in two steps. ascii spreads an ASCII byte's classes over the bytes of a
// word, a lane each, so that eight words, shifted by position, sum to eight bits of each lane.
type classTable struct {
	index   [0x1100]uint16
	blocks  []uint8
	ascii   [256]uint64
	rows    [8][16]byte // the lanes of ASCII bytes, a bit each
	nfcRows [8][16]byte // GPT-2 family: see suspects
}

const (
	laneL  = iota // letter
	laneN         // number
	laneV         // white space but no line break
	laneR         // \r \n; GPT-2: none
	laneSP        // ' '
	laneQ         // apostrophe
	laneH         // not ASCII
	laneX         // o200k: upper case. DeepSeek: control
)

var classTables [scanKinds]func() *classTable

func init() {
	for k := range classTables {
		classTables[k] = sync.OnceValue(func() *classTable { return newClassTable(scanKind(k)) })
	}
}

func newClassTable(k scanKind) *classTable {
	u := uni()
	cls := make([]uint8, len(u.records))
	for i := range u.records {
		cls[i] = classOfRecord(k, &u.records[i])
	}
	flat := make([]uint8, 0x110000)
	for b, n := range u.index {
		src := u.blocks[int(n)<<8:][:256]
		dst := flat[b<<8:][:256]
		for i, r := range src {
			dst[i] = cls[r]
		}
	}
	switch k {
	case scanQwen2:
		active := func(r rune) {
			if !isNFCInert(r) {
				flat[r] = flat[r]&^clsMark | clsNFC
			}
		}
		for r := range u.canon {
			active(r)
		}
		for r := range u.second {
			active(r)
		}
		for r := rune(0x1161); r < 0x11c3; r++ {
			active(r)
		}
	case scanDeepSeek:
		for r := range flat {
			if r >= 0x4e00 && r <= 0x9fa5 || r >= 0x3040 && r <= 0x30ff {
				flat[r] |= clsCJK
			}
		}
	}
	t := &classTable{}
	if k == scanQwen2 {
		t.nfcRows = newNFCRows(flat)
	}
	seen := map[string]uint16{}
	for i := range t.index {
		b := string(flat[i<<8 : (i+1)<<8])
		n, ok := seen[b]
		if !ok {
			n = uint16(len(t.blocks) >> 8)
			seen[b] = n
			t.blocks = append(t.blocks, b...)
		}
		t.index[i] = n
	}
	for c := range 256 {
		t.ascii[c] = asciiLanes(k, c, flat[c])
		for lane := range 8 {
			if c < 128 {
				t.rows[c>>4][c&15] |= uint8(t.ascii[c]>>(8*lane)&1) << lane
			}
		}
	}
	return t
}

func classOfRecord(k scanKind, r *ucRecord) (c uint8) {
	mark := r.cat >= gcMn && r.cat <= gcMe
	if r.cat >= gcLu && r.cat <= gcLo || mark && k >= scanO200K {
		c |= clsL
	}
	if k == scanSmol && r.flags&ufNumeric != 0 || k != scanSmol && r.cat >= gcNd && r.cat <= gcNo {
		c |= clsN
	}
	if r.flags&ufSpace != 0 {
		c |= clsS
	}
	switch {
	case k == scanQwen2 && r.ccc != 0, k >= scanO200K && mark:
		c |= clsMark
	}
	switch {
	case k == scanO200K && (r.cat == gcLu || r.cat == gcLt):
		c |= clsUpper
	case k == scanO200K && r.cat == gcLl:
		c |= clsLower
	case k == scanDeepSeek && r.cat >= gcPc && r.cat <= gcSo:
		c |= clsPunct
	}
	return c
}

func asciiLanes(k scanKind, c int, cls uint8) (w uint64) {
	set := func(lane int) { w |= 1 << (8 * lane) }
	switch {
	case c >= 128:
		set(laneH)
		return w
	case k > scanSmol && (c == '\r' || c == '\n'):
		set(laneR)
	case cls&clsS != 0:
		set(laneV)
	}
	if cls&clsL != 0 {
		set(laneL)
	}
	if cls&clsN != 0 {
		set(laneN)
	}
	if c == ' ' {
		set(laneSP)
	}
	if c == '\'' {
		set(laneQ)
	}
	if k == scanO200K && cls&clsUpper != 0 || k == scanDeepSeek && cls == 0 {
		set(laneX)
	}
	return w
}

// of gives the classes of a code point up to 0x10FFFF.
func (t *classTable) of(cp uint32) uint32 {
	b := *(*uint16)(unsafe.Add(unsafe.Pointer(&t.index), uintptr(cp>>8)*2))
	return uint32(*(*uint8)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(t.blocks)), uintptr(b)<<8|uintptr(cp&255))))
}

// at gives the classes and the length of the character at text[i]; text is valid UTF-8.
func (t *classTable) at(text []byte, i int) (cls uint32, n int) {
	b := text[i]
	switch {
	case b < 0x80:
		return uint32(t.blocks[int(t.index[0])<<8|int(b)]), 1
	case b < 0xe0 && i+1 < len(text):
		return t.of(uint32(b)&0x1f<<6 | uint32(text[i+1])&0x3f), 2
	case b < 0xf0 && i+2 < len(text):
		return t.of(uint32(b)&0xf<<12 | uint32(text[i+1])&0x3f<<6 | uint32(text[i+2])&0x3f), 3
	case i+3 < len(text):
		return t.of(min(uint32(b)&7<<18|uint32(text[i+1])&0x3f<<12|uint32(text[i+2])&0x3f<<6|uint32(text[i+3])&0x3f, 0x10ffff)), 4
	}
	return 0, len(text) - i
}

// decodeThree is the code point of a character of three bytes, the lower ones of w.
func decodeThree(w uint32) uint32 { return w&0xf<<12 | w>>8&0x3f<<6 | w>>16&0x3f }

// decodeAt reads one code point of valid UTF-8; four bytes must be readable.
func decodeAt(p unsafe.Pointer) (cp uint32, n uint) {
	w := load32(p)
	switch {
	case w&0x80 == 0:
		return w & 0x7f, 1
	case w&0xe0 == 0xc0:
		return w&0x1f<<6 | w>>8&0x3f, 2
	case w&0xf0 == 0xe0:
		return decodeThree(w), 3
	}
	return min(w&7<<18|w>>8&0x3f<<12|w>>16&0x3f<<6|w>>24&0x3f, 0x10ffff), 4
}
