package tokenizer

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
	"unicode/utf8"
	"unsafe"
)

// decodeTable has every token's text as the decoder writes it, for the chains that work token by token.
type decodeTable struct {
	once  sync.Once
	slots []decodeSlot
	arena []byte // texts that fit no slot
}

// decodeSlot holds a text of up to slotText bytes, its length and flags; of a long one the start and the length in the
// arena, as little-endian words.
type decodeSlot [16]byte

const (
	slotText  = 14
	slotFlags = 14
	slotLen   = 15
)

const (
	decSpecial = 1 << iota // left out on demand
	decByte                // one byte of a character, <0xNN>
	decHole                // no token has this id
	decLong                // the text is in the arena
)

// decodes gives the table, made on first use; nil when the chain needs its steps.
func (t *Tokenizer) decodes() *decodeTable {
	if t.dec == nil || t.dec.kind == decodeChain {
		return nil
	}
	d := &t.decoded
	d.once.Do(func() {
		d.slots = make([]decodeSlot, t.size)
		var begins [256]bool // of special tokens
		for s := range t.specials {
			if s != "" {
				begins[s[0]] = true
			}
		}
		added := make([]bool, t.size)
		for id := range t.addedByID {
			added[id] = true
		}
		v, _ := t.pieces.(*vocab)
		byteLevel := t.dec.kind == decodeByteLevel
		var buf []byte
		for id := range uint32(t.size) {
			// Most pieces are what the vocabulary says, with nothing to be known of them but their text.
			if b := v.plain(id); len(b) > 0 && v.raw == byteLevel && !added[id] {
				lead := b[0]
				if byteLevel {
					lead = string(byteRune[lead])[0] // bytes are what spelling them and back gives
				}
				if !begins[lead] && lead != '<' {
					if !byteLevel {
						buf = appendSpaces(buf[:0], b)
						b = buf
					}
					d.set(id, b, 0)
					continue
				}
			}
			s, flags := t.Piece(id), byte(0)
			if t.specials[s] {
				flags |= decSpecial
			}
			if s == "" && !t.known(id) {
				flags |= decHole
			}
			if byteLevel {
				var ok bool
				if buf, ok = appendUnalphabet(buf[:0], s); !ok {
					buf = append(buf[:0], s...)
				}
			} else if c, ok := bytePiece(s); ok {
				flags |= decByte
				buf = append(buf[:0], c)
			} else {
				buf = appendSpaces(buf[:0], []byte(s))
			}
			d.set(id, buf, flags)
		}
	})
	return d
}

// appendSpaces appends a piece with spaces for "▁".
func appendSpaces(dst, s []byte) []byte {
	for {
		i := bytes.Index(s, spaceMarkUTF8)
		if i < 0 {
			return append(dst, s...)
		}
		dst, s = append(append(dst, s[:i]...), ' '), s[i+len(spaceMarkUTF8):]
	}
}

func (d *decodeTable) set(id uint32, text []byte, flags byte) {
	s := &d.slots[id]
	if len(text) <= slotText {
		copy(s[:], text)
		s[slotLen] = byte(len(text))
	} else {
		flags |= decLong
		binary.LittleEndian.PutUint32(s[:], uint32(len(d.arena)))
		binary.LittleEndian.PutUint32(s[4:], uint32(len(text)))
		d.arena = append(d.arena, text...)
	}
	s[slotFlags] = flags
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
	dst = slices.Grow(dst, d.room(ids))
	out, n := dst[:cap(dst)], len(dst)
	stop := stops(skip)
	for _, id := range ids {
		if int(id) >= len(d.slots) {
			continue
		}
		s := &d.slots[id]
		if s[slotFlags]&stop == 0 {
			*(*decodeSlot)(out[n:]) = *s // short texts are copied with what follows them
			n += int(s[slotLen])
		} else if s[slotFlags]&decSpecial == 0 || !skip {
			n += copy(out[n:], d.text(s))
		}
	}
	dst = out[:n]
	if !validText(dst[start:]) {
		dst, _ = appendLossy(dst[:start], slices.Clone(dst[start:]), true)
	}
	return dst
}

// stops are the flags of tokens that are more than a short text to copy.
func stops(skip bool) byte {
	if skip {
		return decSpecial | decByte | decHole | decLong
	}
	return decByte | decHole | decLong
}

// text is a slot's text.
func (d *decodeTable) text(s *decodeSlot) []byte {
	if s[slotFlags]&decLong != 0 {
		return d.arena[binary.LittleEndian.Uint32(s[:]):][:binary.LittleEndian.Uint32(s[4:])]
	}
	return s[:s[slotLen]]
}

// room is how many bytes the text of ids takes at most, and a slot more.
func (d *decodeTable) room(ids []uint32) int {
	n := len(decodeSlot{})
	for _, id := range ids {
		if int(id) >= len(d.slots) {
			continue
		}
		s := &d.slots[id]
		n += len(d.text(s))
		if s[slotFlags]&decByte != 0 {
			n += len("\uFFFD") - 1
		}
	}
	return n
}

// marks writes tokens with spaces for "▁"; a run of bytes is text if it is valid, else one U+FFFD for each.
func (d *decodeTable) marks(dst []byte, ids []uint32, skip, strip bool) []byte {
	start := len(dst)
	dst = slices.Grow(dst, d.room(ids))
	out, n := dst[:cap(dst)], len(dst)
	stop := stops(skip)
	for i := 0; i < len(ids); i++ {
		if int(ids[i]) >= len(d.slots) {
			continue
		}
		s := &d.slots[ids[i]]
		switch flags := s[slotFlags]; {
		case flags&stop == 0:
			*(*decodeSlot)(out[n:]) = *s
			n += int(s[slotLen])
		case flags&decHole != 0 || skip && flags&decSpecial != 0:
		case flags&decByte == 0:
			n += copy(out[n:], d.text(s))
		default:
			var k int
			if k, i = d.run(out[n:], ids, i, skip); utf8.Valid(out[n : n+k]) {
				n += k
				break
			}
			for range k {
				n += copy(out[n:], "\uFFFD")
			}
		}
	}
	dst = out[:n]
	if strip && len(dst) > start && dst[start] == ' ' {
		dst = append(dst[:start], dst[start+1:]...)
	}
	return dst
}

// run writes the bytes of a run of byte tokens from ids[i] on, and gives their number and its last place. What is left out
// ends no run.
func (d *decodeTable) run(out []byte, ids []uint32, i int, skip bool) (n, last int) {
	for last = i; i < len(ids); i++ {
		if int(ids[i]) >= len(d.slots) {
			continue
		}
		s := &d.slots[ids[i]]
		if f := s[slotFlags]; f&decHole != 0 || skip && f&decSpecial != 0 {
			continue
		} else if f&decByte == 0 {
			break
		}
		out[n] = s[0]
		n, last = n+1, i
	}
	return n, last
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
