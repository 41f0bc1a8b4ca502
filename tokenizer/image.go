package tokenizer

import (
	"encoding/binary"
	"io"
	"math"
	"unsafe"
)

// An image is the memory of a compiled tokenizer as one stretch of bytes in the machine's own order. One walk over the tokenizer's parts
// both writes and reads it, so the two cannot drift apart. What is read is checked as far as the encoder's safety depends on it: any bytes
// give a tokenizer or nothing. Arrays refer to the stretch, which is never written to; strings are copies.
type image struct {
	out     io.Writer // keeps its errors for whoever made it
	in      []byte    // yet to be read
	at      int       // how much was written or read
	reading bool
	bad     bool // what is read is no image
}

// check notes that what was read breaks a rule.
func (m *image) check(ok bool) { m.bad = m.bad || !ok }

// align makes the next number begin at a multiple of 8.
func (m *image) align() {
	if m.reading {
		m.take(-m.at & 7)
		return
	}
	var zeros [8]byte
	m.put(zeros[:-m.at&7])
}

// put writes bytes.
func (m *image) put(b []byte) {
	_, _ = m.out.Write(b)
	m.at += len(b)
}

// newImage begins to read.
func newImage(b []byte) *image {
	return &image{reading: true, in: b, bad: len(b) == 0 || uintptr(unsafe.Pointer(unsafe.SliceData(b)))&7 != 0}
}

// take reads n bytes; nil when there are not as many.
func (m *image) take(n int) []byte {
	if m.bad || n < 0 || n > len(m.in) {
		m.bad = true
		return nil
	}
	b := m.in[:n:n]
	m.in, m.at = m.in[n:], m.at+n
	return b
}

func (m *image) u64(p *uint64) {
	m.align()
	if !m.reading {
		m.put(binary.NativeEndian.AppendUint64(nil, *p))
		return
	}
	if b := m.take(8); b != nil {
		*p = binary.NativeEndian.Uint64(b)
	}
}

func (m *image) u32(p *uint32) {
	n := uint64(*p)
	m.u64(&n)
	m.check(n <= 1<<32-1)
	*p = uint32(n)
}

// count reads or writes a number of things, of which each takes size bytes at least.
func (m *image) count(n, size int) int {
	v := uint64(n)
	m.u64(&v)
	if m.reading && v > uint64(len(m.in)/size) {
		m.bad = true
	}
	if m.bad {
		return 0
	}
	return int(v)
}

func (m *image) number(p *int) {
	n := uint64(*p)
	m.u64(&n)
	*p = int(n)
}

func (m *image) f64(p *float64) {
	n := math.Float64bits(*p)
	m.u64(&n)
	*p = math.Float64frombits(n)
}

func (m *image) flag(p *bool) {
	var n uint64
	if *p {
		n = 1
	}
	m.u64(&n)
	m.check(n <= 1)
	*p = n == 1
}

// has reads or writes whether a part is there.
func (m *image) has(there bool) bool {
	m.flag(&there)
	return there && !m.bad
}

func (m *image) text(p *string) {
	n := m.count(len(*p), 1)
	if !m.reading {
		m.put([]byte(*p))
	} else {
		*p = string(m.take(n))
	}
}

func (m *image) texts(p *[]string) {
	var ends []uint32
	var all []byte
	for _, s := range *p {
		all = append(all, s...)
		ends = append(ends, uint32(len(all)))
	}
	array(m, &ends)
	joined := string(all)
	m.text(&joined)
	if !m.reading || m.bad {
		return
	}
	*p = make([]string, len(ends))
	from := uint32(0)
	for i, end := range ends {
		if end < from || int(end) > len(joined) {
			m.bad = true
			return
		}
		(*p)[i] = joined[from:end]
		from = end
	}
}

// plain are the types that mean something whatever their bits are.
type plain interface {
	~uint8 | ~uint16 | ~uint32 | ~int32 | ~uint64 | ~float64 | trieNode | readyEntry
}

// array reads or writes a slice; an empty one reads as nil.
func array[T plain](m *image, p *[]T) {
	var one T
	size := int(unsafe.Sizeof(one))
	n := m.count(len(*p), size)
	if !m.reading {
		m.put(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(*p))), n*size))
		return
	}
	*p = nil
	if b := m.take(n * size); len(b) > 0 {
		*p = unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
	}
}

// fixed reads or writes an array of the tokenizer's own.
func fixed[T plain](m *image, p []T) {
	s := p
	array(m, &s)
	if m.reading {
		m.check(len(s) == len(p))
		copy(p, s)
	}
}

// below checks that all ids but noID are below n.
func (m *image) below(ids []uint32, n int) {
	if n == 0 {
		m.check(len(ids) == 0)
		return
	}
	ok := true
	for _, id := range ids {
		ok = ok && (int(id) < n || id == noID)
	}
	m.check(ok)
}

// pow2 checks that n is a power of two from lo on.
func (m *image) pow2(n, lo int) { m.check(n >= lo && n&(n-1) == 0) }
