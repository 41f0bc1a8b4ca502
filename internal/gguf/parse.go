package gguf

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// reader walks the bytes of a file. Everything it returns lies within data.
type reader struct {
	data []byte
	off  int
}

func (r *reader) left() int { return len(r.data) - r.off }

func (r *reader) take(n int, what string) ([]byte, error) {
	if n > r.left() {
		return nil, malformed(r.off, "%s needs %d bytes, the file has %d left", what, n, r.left())
	}
	b := r.data[r.off : r.off+n : r.off+n]
	r.off += n
	return b, nil
}

func (r *reader) u32(what string) (uint32, error) {
	b, err := r.take(4, what)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (r *reader) u64(what string) (uint64, error) {
	b, err := r.take(8, what)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// count reads a number of things of at least size bytes each, which the rest of the file must be able to hold.
func (r *reader) count(what string, size int) (int, error) {
	at := r.off
	n, err := r.u64(what)
	if err != nil {
		return 0, err
	}
	if n > uint64(r.left()/size) {
		return 0, malformed(at, "%s is %d, but only %d bytes are left", what, n, r.left())
	}
	return int(n), nil
}

func (r *reader) str(what string) ([]byte, error) {
	n, err := r.count("length of "+what, 1)
	if err != nil {
		return nil, err
	}
	return r.take(n, what)
}

func (r *reader) name(what string) (string, error) {
	at := r.off
	b, err := r.str(what)
	if err != nil {
		return "", err
	}
	if len(b) == 0 || len(b) > maxName {
		return "", malformed(at, "%s of %d bytes, want 1 to %d", what, len(b), maxName)
	}
	return string(b), nil
}

// value reads the payload of a value and checks all lengths in it.
func (r *reader) value(k Kind, depth int) (Value, error) {
	v := Value{kind: k, n: 1, ok: true}
	switch {
	case k >= numKinds:
		return v, malformed(r.off, "unknown value kind %d", uint32(k))
	case k == String:
		b, err := r.str("string")
		v.data, v.off = b, int64(r.off-len(b))
		return v, err
	case k != Array:
		v.off = int64(r.off)
		b, err := r.take(kindBytes[k], k.String())
		v.data = b
		return v, err
	}
	at := r.off
	if depth >= maxDepth {
		return v, malformed(at, "arrays nested deeper than %d", maxDepth)
	}
	e, err := r.u32("array element kind")
	if err != nil {
		return v, err
	}
	v.elem = Kind(e)
	if v.elem >= numKinds {
		return v, malformed(at, "unknown array element kind %d", e)
	}
	size := kindBytes[v.elem]
	least := size
	switch v.elem {
	case String:
		least = 8
	case Array:
		least = 12
	}
	if v.n, err = r.count("array length", least); err != nil {
		return v, err
	}
	start := r.off
	v.off = int64(start)
	switch v.elem {
	case String:
		err = r.skipStrings(v.n)
	case Array:
		for range v.n {
			if _, err = r.value(Array, depth+1); err != nil {
				break
			}
		}
	default:
		r.off += v.n * size
	}
	v.data = r.data[start:r.off:r.off]
	return v, err
}

// skipStrings walks n strings. Vocabularies have hundreds of thousands, so the loop has no calls.
func (r *reader) skipStrings(n int) error {
	data, off := r.data, r.off
	for range n {
		if len(data)-off < 8 {
			return malformed(off, "array string length needs 8 bytes, the file has %d left", len(data)-off)
		}
		size := binary.LittleEndian.Uint64(data[off:])
		if size > uint64(len(data)-off-8) {
			return malformed(off, "length of array string is %d, but only %d bytes are left", size, len(data)-off-8)
		}
		off += 8 + int(size)
	}
	r.off = off
	return nil
}

func (r *reader) file() (*File, error) {
	f := &File{byKey: map[string]int{}, byName: map[string]int{}}
	magic, err := r.take(4, "magic")
	if err != nil {
		return nil, err
	}
	if string(magic) != "GGUF" {
		return nil, malformed(0, "starts with %q, not with \"GGUF\"", magic)
	}
	if f.version, err = r.u32("version"); err != nil {
		return nil, err
	}
	switch {
	case f.version == 2 || f.version == 3:
	case f.version&0xffff == 0 && f.version != 0:
		return nil, malformed(4, "big-endian GGUF files are not supported")
	default:
		return nil, malformed(4, "GGUF version %d is not supported (2 and 3 are)", f.version)
	}
	at := r.off
	nTensors, err := r.count("tensor count", 8+1+4+4+8)
	if err != nil {
		return nil, err
	}
	nKeys, err := r.count("key count", 8+1+4+1)
	if err != nil {
		return nil, err
	}
	if nTensors > maxTensors || nKeys > maxKeys {
		return nil, malformed(at, "%d tensors and %d keys; at most %d and %d are read", nTensors, nKeys, maxTensors, maxKeys)
	}
	for range nKeys {
		if err := f.readKey(r); err != nil {
			return nil, err
		}
	}
	if f.alignment, err = f.readAlignment(); err != nil {
		return nil, err
	}
	for range nTensors {
		if err := f.readTensor(r); err != nil {
			return nil, err
		}
	}
	f.header = r.data[:r.off:r.off]
	return f, f.place(r)
}

func (f *File) readKey(r *reader) error {
	at := r.off
	key, err := r.name("key")
	if err != nil {
		return err
	}
	if _, dup := f.byKey[key]; dup {
		return malformed(at, "key %q appears twice", key)
	}
	k, err := r.u32("kind of " + key)
	if err != nil {
		return err
	}
	v, err := r.value(Kind(k), 0)
	if err != nil {
		return fmt.Errorf("value of key %q: %w", key, err)
	}
	v.key = key
	f.byKey[key] = len(f.keys)
	f.keys = append(f.keys, v)
	return nil
}

func (f *File) readAlignment() (int, error) {
	v := f.Value("general.alignment")
	if !v.ok {
		return 32, nil
	}
	a, err := v.Uint()
	if err != nil || a == 0 || a&(a-1) != 0 || a > maxAlignment {
		return 0, malformed(int(v.off), "general.alignment must be a power of two, at most %d", maxAlignment)
	}
	return int(a), nil
}

func (f *File) readTensor(r *reader) error {
	t := Tensor{pos: r.off}
	var err error
	if t.Name, err = r.name("tensor name"); err != nil {
		return err
	}
	fail := func(at int, format string, args ...any) error {
		return malformed(at, "tensor %q: %s", t.Name, fmt.Sprintf(format, args...))
	}
	if _, dup := f.byName[t.Name]; dup {
		return fail(t.pos, "name appears twice")
	}
	at := r.off
	dims, err := r.u32("dimension count")
	if err != nil {
		return err
	}
	if dims > maxDims {
		return fail(at, "%d dimensions, at most %d are possible", dims, maxDims)
	}
	n := uint64(1)
	t.Shape = make([]int, dims)
	for i := range t.Shape {
		at := r.off
		d, err := r.u64("dimension")
		if err != nil {
			return err
		}
		var ok bool
		if n, ok = mulFits(n, d); d == 0 || !ok {
			return fail(at, "dimension %d is %d; sizes must be positive and their product representable", i, d)
		}
		t.Shape[i] = int(d)
	}
	t.elems = int(n)
	at = r.off
	if t.id, err = r.u32("tensor type"); err != nil {
		return err
	}
	t.Type = storage(t.id)
	if f := ggmlTypes[t.id]; f.bytes != 0 {
		if t.Cols()%f.block != 0 {
			return fail(at, "rows of %d elements are not whole blocks of %d (%s)", t.Cols(), f.block, f.name)
		}
		size, ok := mulFits(n/uint64(f.block), uint64(f.bytes))
		if !ok {
			return fail(at, "size is out of range")
		}
		t.size = int(size)
	}
	at = r.off
	off, err := r.u64("tensor offset")
	if err != nil {
		return err
	}
	if off%uint64(f.alignment) != 0 {
		return fail(at, "data offset %d is no multiple of the alignment %d", off, f.alignment)
	}
	if off > uint64(len(r.data)) {
		return fail(at, "data offset %d lies behind the end of the file", off)
	}
	t.off = int(off)
	f.byName[t.Name] = len(f.tensors)
	f.tensors = append(f.tensors, t)
	return nil
}

// place finds every tensor's data behind the headers and checks that it is there and that no two overlap.
func (f *File) place(r *reader) error {
	if len(f.tensors) == 0 {
		return nil
	}
	start := (r.off + f.alignment - 1) / f.alignment * f.alignment
	if start > len(r.data) {
		return malformed(r.off, "the file ends before its tensor data")
	}
	data := r.data[start:]
	order := make([]*Tensor, len(f.tensors))
	for i := range f.tensors {
		t := &f.tensors[i]
		order[i] = t
		if t.off > len(data) || t.size > len(data)-t.off {
			return malformed(t.pos, "tensor %q needs %d bytes at offset %d, but the file has %d bytes (truncated?)", t.Name, t.size, start+t.off, len(r.data))
		}
		t.data = data[t.off : t.off+t.size : t.off+t.size]
		t.off += start
	}
	slices.SortFunc(order, func(a, b *Tensor) int {
		if a.off != b.off {
			return a.off - b.off
		}
		return strings.Compare(a.Name, b.Name)
	})
	for i, t := range order[1:] {
		if prev := order[i]; t.off < prev.off+max(prev.size, 1) {
			return malformed(t.pos, "data of tensor %q at offset %d overlaps that of %q", t.Name, t.off, prev.Name)
		}
	}
	return nil
}
