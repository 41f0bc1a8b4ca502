package tokenizer

import (
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"
)

// decodeTable has every token's text as the decoder writes it, for the chains that work token by token.
type decodeTable struct {
	once  sync.Once
	arena []byte
	at    []uint32 // id -> start in arena; one more than ids
	flags []uint8
}

const (
	decSpecial = 1 << iota // left out on demand
	decByte                // one byte of a character, <0xNN>
	decHole                // no token has this id
)

// decodes gives the table, made on first use; nil when the chain needs its steps.
func (t *Tokenizer) decodes() *decodeTable {
	if t.dec == nil || t.dec.kind == decodeChain {
		return nil
	}
	d := &t.decoded
	d.once.Do(func() {
		d.at = make([]uint32, 1, t.size+1)
		d.flags = make([]uint8, t.size)
		for id := range uint32(t.size) {
			s := t.Piece(id)
			if t.specials[s] {
				d.flags[id] |= decSpecial
			}
			if s == "" && !t.known(id) {
				d.flags[id] |= decHole
			}
			if t.dec.kind == decodeByteLevel {
				start := len(d.arena)
				var ok bool
				if d.arena, ok = appendUnalphabet(d.arena, s); !ok {
					d.arena = append(d.arena[:start], s...)
				}
			} else if c, ok := bytePiece(s); ok {
				d.flags[id] |= decByte
				d.arena = append(d.arena, c)
			} else {
				d.arena = append(d.arena, strings.ReplaceAll(s, "▁", " ")...)
			}
			d.at = append(d.at, uint32(len(d.arena)))
		}
		d.arena = append(d.arena, make([]byte, wideCopy)...)
	})
	return d
}

// Decode gives the text of ids, special tokens included. Unknown ids are left out.
func (t *Tokenizer) Decode(ids []uint32) string {
	b := t.AppendDecode(nil, ids, false)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// AppendDecode appends the text of ids; skipSpecial leaves special tokens out.
func (t *Tokenizer) AppendDecode(dst []byte, ids []uint32, skipSpecial bool) []byte {
	if d := t.decodes(); d != nil {
		if t.dec.kind == decodeByteLevel {
			return d.byteLevel(dst, ids, skipSpecial)
		}
		return d.marks(dst, ids, skipSpecial, len(t.dec.steps) == 3)
	}
	d := t.NewDecoder(skipSpecial)
	d.out = dst
	for _, id := range ids {
		d.push(id)
	}
	d.flush()
	return d.out
}

func (d *decodeTable) byteLevel(dst []byte, ids []uint32, skip bool) []byte {
	start := len(dst)
	dst = slices.Grow(dst, d.length(ids)+wideCopy)
	out, n := dst[:cap(dst)], len(dst)
	for _, id := range ids {
		if int(id) >= len(d.flags) || skip && d.flags[id]&decSpecial != 0 {
			continue
		}
		n += d.copyTo(out, n, id)
	}
	dst = out[:n]
	if !validText(dst[start:]) {
		dst, _ = appendLossy(dst[:start], slices.Clone(dst[start:]), true)
	}
	return dst
}

const wideCopy = 16 // bytes that copyTo writes at least; the arena ends in as many to spare

// length is the number of bytes of the tokens of ids.
func (d *decodeTable) length(ids []uint32) (n int) {
	for _, id := range ids {
		if int(id) < len(d.flags) {
			n += int(d.at[id+1] - d.at[id])
		}
	}
	return n
}

// copyTo writes the bytes of a token to out[n:], and gives their number; short ones are copied with what follows them.
func (d *decodeTable) copyTo(out []byte, n int, id uint32) int {
	from, to := d.at[id], d.at[id+1]
	if to-from <= wideCopy {
		*(*[wideCopy]byte)(out[n:]) = *(*[wideCopy]byte)(d.arena[from:])
	} else {
		copy(out[n:], d.arena[from:to])
	}
	return int(to - from)
}

// marks writes tokens with spaces for "▁"; a run of bytes is text if it is valid, else one U+FFFD for each.
func (d *decodeTable) marks(dst []byte, ids []uint32, skip, strip bool) []byte {
	start, run := len(dst), -1 // run: where a run of bytes began
	dst = slices.Grow(dst, d.length(ids)+wideCopy)
	end := func() {
		if run >= 0 && !utf8.Valid(dst[run:]) {
			n := len(dst) - run
			dst = dst[:run]
			for range n {
				dst = append(dst, "\uFFFD"...)
			}
		}
		run = -1
	}
	for _, id := range ids {
		if int(id) >= len(d.flags) || d.flags[id]&decHole != 0 || skip && d.flags[id]&decSpecial != 0 {
			continue
		}
		s := d.arena[d.at[id]:d.at[id+1]]
		if d.flags[id]&decByte != 0 {
			if run < 0 {
				run = len(dst)
			}
		} else if run >= 0 {
			end()
		}
		dst = append(dst, s...)
	}
	end()
	if strip && len(dst) > start && dst[start] == ' ' {
		dst = append(dst[:start], dst[start+1:]...)
	}
	return dst
}

// Decoder turns ids into text one by one. It is not safe for concurrent use.
type Decoder struct {
	t     *Tokenizer
	skip  bool
	steps []decodeStep
	first func(string)
	out   []byte
	count int
}

// NewDecoder begins a text. The strings that Next and Flush return, one after another, are what Decode gives for all ids; none ends
// within a character.
func (t *Tokenizer) NewDecoder(skipSpecial bool) *Decoder {
	d := &Decoder{t: t, skip: skipSpecial}
	d.Reset()
	return d
}

// Reset begins a new text.
func (d *Decoder) Reset() {
	d.out, d.count = nil, 0
	emit := func(s string) { d.out = append(d.out, s...) }
	d.first = emit
	if d.t.dec == nil {
		return
	}
	d.steps = d.steps[:0]
	for _, f := range d.t.dec.steps {
		d.steps = append(d.steps, f())
	}
	for i := len(d.steps) - 1; i >= 0; i-- {
		step, next := d.steps[i], d.first
		d.first = func(s string) { step.push(s, next) }
	}
}

func (d *Decoder) push(id uint32) {
	s := d.t.Piece(id)
	if s == "" && !d.t.known(id) || d.skip && d.t.specials[s] {
		return
	}
	if d.t.dec == nil && d.count > 0 {
		d.out = append(d.out, ' ')
	}
	d.count++
	d.first(s)
}

func (t *Tokenizer) known(id uint32) bool {
	if _, ok := t.addedByID[id]; ok {
		return true
	}
	_, ok := t.pieces.piece(id)
	return ok
}

// Next takes an id and returns the text that became complete by it, which may be empty.
func (d *Decoder) Next(id uint32) string {
	d.out = d.out[:0]
	d.push(id)
	return string(d.out)
}

// Flush ends the text and returns what was held back.
func (d *Decoder) Flush() string {
	d.out = d.out[:0]
	d.flush()
	return string(d.out)
}

func (d *Decoder) flush() {
	for i, s := range d.steps {
		next := func(s string) { d.out = append(d.out, s...) }
		for k := len(d.steps) - 1; k > i; k-- {
			step, after := d.steps[k], next
			next = func(s string) { step.push(s, after) }
		}
		s.flush(next)
	}
}
