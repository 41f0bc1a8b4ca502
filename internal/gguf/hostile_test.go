package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/krserve/krserve/internal/quant"
)

// raw bytes of a file, little-endian.
type build []byte

func (b build) u32(v ...uint32) build {
	for _, v := range v {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func (b build) u64(v ...uint64) build {
	for _, v := range v {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

func (b build) str(s string) build { return appendString(b, s) }
func (b build) zeros(n int) build  { return append(b, make([]byte, n)...) }

// head starts a file of version 3 with counts of tensors and keys; it is 24 bytes long.
func head(tensors, keys uint64) build { return build("GGUF").u32(3).u64(tensors, keys) }

// tensor appends a tensor's header: 8 bytes and the name, 4, 8 per dimension, 4, 8.
func (b build) tensor(name string, typ uint32, off uint64, dims ...uint64) build {
	return b.str(name).u32(uint32(len(dims))).u64(dims...).u32(typ).u64(off)
}

func (b build) pad() build { return b.zeros((32 - len(b)%32) % 32) }

type hostile struct {
	name string
	data []byte
	at   int64  // offset of the error
	msg  string // part of it
}

func hostiles() []hostile {
	const huge = math.MaxUint64
	deep := head(0, 1).str("k").u32(9)
	for range 1000 {
		deep = deep.u32(9).u64(1)
	}
	manyKeys := head(0, 0x10001)
	for i := range 0x10001 {
		manyKeys = append(manyKeys.u64(3), byte(i), byte(i>>8), byte(i>>16)).u32(7).zeros(1)
	}
	return []hostile{
		{"empty", nil, 0, "magic needs 4 bytes"},
		{"magic", build("GGML").zeros(20), 0, "starts with"},
		{"version 1", build("GGUF").u32(1).zeros(20), 4, "version 1"},
		{"version 4", build("GGUF").u32(4).zeros(20), 4, "version 4"},
		{"big-endian", build("GGUF\x00\x00\x00\x03").zeros(20), 4, "big-endian"},
		{"no counts", build("GGUF").u32(3), 8, "tensor count needs 8"},
		{"tensor count", head(1000, 0).zeros(100), 8, "tensor count is 1000"},
		{"tensor count huge", head(huge, 0).zeros(100), 8, "tensor count is 18446744073709551615"},
		{"key count huge", head(0, huge).zeros(100), 16, "key count is"},
		{"key count 2^63", head(0, 1<<63).zeros(100), 16, "key count is"},
		{"too many keys", manyKeys, 8, "at most"},
		{"key length", head(0, 1).u64(huge).zeros(100), 24, "length of key is"},
		{"empty key", head(0, 1).str("").u32(7).zeros(8), 24, "key of 0 bytes"},
		{"long key", head(0, 1).str(strings.Repeat("k", 1<<16)).u32(7).zeros(8), 24, "key of 65536 bytes"},
		{"key twice", head(0, 2).str("k").u32(7).zeros(1).str("k").u32(7).zeros(1), 38, `"k" appears twice`},
		{"value kind", head(0, 1).str("k").u32(13).zeros(8), 37, "value kind 13"},
		{"value kind huge", head(0, 1).str("k").u32(math.MaxUint32).zeros(8), 37, "value kind 4294967295"},
		{"value cut", head(0, 1).str("k").u32(12).zeros(7), 37, "float64 needs 8"},
		{"string length", head(0, 1).str("k").u32(8).u64(huge), 37, "length of string is"},
		{"string cut", head(0, 1).str("k").u32(8).u64(5).zeros(4), 37, "length of string is 5"},
		{"array kind", head(0, 1).str("k").u32(9, 99).u64(1).zeros(8), 37, "element kind 99"},
		{"array length", head(0, 1).str("k").u32(9, 10).u64(huge), 41, "array length is"},
		{"array length x8", head(0, 1).str("k").u32(9, 10).u64(1 << 61).zeros(8), 41, "array length is"},
		{"array cut", head(0, 1).str("k").u32(9, 4).u64(3).zeros(11), 41, "array length is 3"},
		{"array of arrays, count", head(0, 1).str("k").u32(9, 9).u64(1 << 60).zeros(24), 41, "array length is"},
		{"array string length", head(0, 1).str("k").u32(9, 8).u64(2).str("ok").u64(huge), 59, "length of array string"},
		{"array string cut", head(0, 1).str("k").u32(9, 8).u64(2).str("twelve bytes"), 69, "array string length needs 8 bytes"},
		{"nested deep", deep, 37 + 8*12, "nested deeper than 8"},
		{"alignment 0", head(0, 1).str("general.alignment").u32(4, 0), 53, "power of two"},
		{"alignment 24", head(0, 1).str("general.alignment").u32(4, 24), 53, "power of two"},
		{"alignment 2^31", head(0, 1).str("general.alignment").u32(4, 1<<31), 53, "power of two"},
		{"alignment text", head(0, 1).str("general.alignment").u32(8).str("32"), 61, "power of two"},
		{"tensor name empty", head(1, 0).tensor("", 0, 0, 8).zeros(64), 24, "tensor name of 0"},
		{"tensor twice", head(2, 0).tensor("t", 0, 0, 8).tensor("t", 0, 32, 8).pad().zeros(64), 57, `"t": name appears twice`},
		{"five dimensions", head(1, 0).tensor("t", 0, 0, 1, 1, 1, 1, 1).zeros(64), 33, "5 dimensions"},
		{"dimension count huge", head(1, 0).str("t").u32(math.MaxUint32).zeros(64), 33, "4294967295 dimensions"},
		{"dimension 0", head(1, 0).tensor("t", 0, 0, 8, 0).zeros(64), 45, "dimension 1 is 0"},
		{"dimension product", head(1, 0).tensor("t", 0, 0, 1<<32, 1<<32).zeros(64), 45, "product"},
		{"dimension product 2^63", head(1, 0).tensor("t", 0, 0, 1<<32, 1<<31).zeros(64), 45, "product"},
		{"size", head(1, 0).tensor("t", 0, 0, 1<<62).zeros(64), 45, "size is out of range"},
		{"part of a block", head(1, 0).tensor("t", 2, 0, 33).zeros(64), 45, "blocks of 32 (Q4_0)"},
		{"rows of part of a block", head(1, 0).tensor("t", 12, 0, 128, 2).zeros(200), 53, "blocks of 256 (Q4_K)"},
		{"scalar of blocks", head(1, 0).tensor("t", 2, 0).zeros(64), 37, "blocks of 32"},
		{"offset unaligned", head(1, 0).tensor("t", 0, 31, 8).pad().zeros(96), 49, "multiple of the alignment"},
		{"offset behind", head(1, 0).tensor("t", 0, 1<<20, 8).pad().zeros(64), 49, "behind the end"},
		{"offset huge", head(1, 0).tensor("t", 0, huge-31, 8).pad().zeros(64), 49, "behind the end"},
		{"data cut", head(1, 0).tensor("t", 0, 0, 8).pad().zeros(31), 24, `"t" needs 32 bytes at offset 64`},
		{"data missing", head(1, 0).tensor("t", 0, 0, 8), 57, "before its tensor data"},
		{"data overlap", head(2, 0).tensor("a", 0, 32, 8).tensor("b", 0, 0, 9).pad().zeros(128), 24, `"a" at offset 128 overlaps that of "b"`},
		{"data same", head(2, 0).tensor("a", 0, 0, 8).tensor("b", 0, 0, 8).pad().zeros(128), 57, "overlaps"},
		{"data same, unknown type", head(2, 0).tensor("a", 99, 0, 8).tensor("b", 0, 0, 8).pad().zeros(128), 57, "overlaps"},
	}
}

func TestHostile(t *testing.T) {
	for _, c := range hostiles() {
		f, err := Parse(c.data)
		var fe *FormatError
		if !errors.As(err, &fe) || !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, %v", c.name, f, err)
			continue
		}
		if fe.Offset != c.at || !strings.Contains(err.Error(), c.msg) {
			t.Errorf("%s: %v, want %q at %d", c.name, err, c.msg, c.at)
		}
	}
}

// TestUnknownType: a tensor of a type that cannot be read is listed, and is an error only when its data is asked for.
func TestUnknownType(t *testing.T) {
	data := head(3, 0).tensor("a.new", 99, 0, 5).tensor("a.iq", 16, 64, 256, 2).tensor("ok", 0, 224, 2).pad().zeros(224).u64(0)
	f, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for name, typ := range map[string]string{"a.new": "type 99", "a.iq": "IQ2_XXS"} {
		ten := f.Tensor(name)
		if _, err := ten.Data(); !errors.Is(err, ErrType) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), typ) {
			t.Errorf("%s: %v", name, err)
		}
		if ten.Type != quant.Invalid || ten.TypeName() != typ {
			t.Errorf("%s: type %v, %s", name, ten.Type, ten.TypeName())
		}
	}
	if b, err := f.Tensor("ok").Data(); err != nil || len(b) != 8 {
		t.Errorf("ok: %d bytes, %v", len(b), err)
	}
	if f.Tensor("none") != nil {
		t.Error("a tensor that does not exist")
	}
}

// walk uses everything that a File offers, as a model loader does.
func walk(f *File, data []byte) error {
	for key, v := range f.Keys() {
		if !f.Has(key) || v.Offset() > int64(len(data)) {
			return errors.New("key out of place")
		}
		visit(v)
	}
	type span struct{ from, to int64 }
	var spans []span
	for i := range f.Tensors() {
		t := &f.Tensors()[i]
		if f.Tensor(t.Name) != t {
			return errors.New("tensor not found by name")
		}
		b, err := t.Data()
		if err != nil {
			if !errors.Is(err, ErrType) {
				return err
			}
			continue
		}
		if len(b) != t.Rows()*t.Type.RowBytes(t.Cols()) || len(b) == 0 || t.Offset()+int64(len(b)) > int64(len(data)) || &b[0] != &data[t.Offset()] {
			return errors.New("tensor data out of place")
		}
		spans = append(spans, span{t.Offset(), t.Offset() + int64(len(b))})
		y := make([]float32, t.Type.BlockSize())
		if err := quant.Dequantize(y, b[:t.Type.BlockBytes()], t.Type); err != nil {
			return err
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return int(a.from - b.from) })
	for i := 1; i < len(spans); i++ {
		if spans[i].from < spans[i-1].to {
			return errors.New("tensor data overlaps")
		}
	}
	return nil
}

// visit calls every accessor of a value and of the values within it.
func visit(v Value) {
	v.Uint()
	v.Int()
	v.Float()
	v.Bool()
	v.Text()
	v.Strings()
	v.Float32s()
	v.Int32s()
	v.Uint32s()
	v.Bools()
	if it, err := v.Bytes(); err == nil {
		for range it {
		}
	}
	if v.Elem() == Array {
		for _, e := range v.Elems() {
			visit(e)
		}
	}
}

// small is a valid file of a few hundred bytes with every kind of value and some tensors.
func small() []byte {
	var w Writer
	w.Set("general.architecture", "llama")
	w.Set("general.alignment", uint32(32))
	w.Set("tokens", []string{"<s>", "", "▁a"})
	w.Set("scores", []float32{0, -1, 2})
	w.Set("types", []int32{1, 2, 3})
	w.Set("flags", []bool{true, false})
	w.Set("nested", []any{[]any{[]uint8{1}, []uint8{}}, []any{}})
	for _, v := range []any{uint8(1), int8(-1), uint16(2), int16(-2), int32(-3), uint64(4), int64(-4), 0.5, true} {
		k, _ := kindOf(v)
		w.Set(k.String(), v)
	}
	w.Add("f32", quant.F32, []int{3, 2}, make([]byte, 24))
	w.Add("q4_0", quant.Q4_0, []int{32}, make([]byte, 18))
	w.Add("q8_0", quant.Q8_0, []int{32, 1, 1, 2}, make([]byte, 68))
	b, err := w.Bytes()
	if err != nil {
		return nil // and the tests that use it fail
	}
	return b
}

// allocated returns the bytes that fn allocates on the heap.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestMutations parses every truncation and every changed byte of a small file, and many random changes.
func TestMutations(t *testing.T) {
	good := small()
	if f, err := Parse(good); err != nil || walk(f, good) != nil {
		t.Fatalf("the unchanged file: %v", err)
	}
	parse := func(b []byte) bool {
		f, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("%x: %v is no ErrFormat", b, err)
			}
			return false
		}
		if err := walk(f, b); err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		return true
	}
	for n := range good {
		if parse(good[:n:n]) {
			t.Errorf("the first %d bytes of %d are accepted", n, len(good))
		}
	}
	for i := range good {
		for _, v := range []byte{0, 1, 0x7f, 0x80, 0xff, good[i] + 1, good[i] - 1, good[i] ^ 0x10} {
			b := bytes.Clone(good)
			b[i] = v
			parse(b)
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		b := bytes.Clone(good)
		for range 1 + rng.IntN(4) {
			i := rng.IntN(len(b) - 8)
			switch rng.IntN(3) {
			case 0:
				b[i] = byte(rng.Uint32())
			case 1:
				binary.LittleEndian.PutUint64(b[i:], uint64(1)<<rng.IntN(64)-uint64(rng.IntN(2)))
			case 2:
				copy(b[i:], b[rng.IntN(len(b)):])
			}
		}
		parse(b)
	}
}

// TestMemory: no bytes make Parse allocate more than a small multiple of their number.
func TestMemory(t *testing.T) {
	cases := hostiles()
	cases = append(cases, hostile{name: "small", data: small()})
	for _, e := range []struct {
		name string
		kind uint32
		item build
	}{{"empty strings", 8, build{}.u64(0)}, {"empty arrays", 9, build{}.u32(0).u64(0)}, {"bytes", 0, build{0}}} {
		b := head(0, 1).str("k").u32(9, e.kind).u64(1 << 18)
		cases = append(cases, hostile{name: e.name, data: append(b, bytes.Repeat(e.item, 1<<18)...)})
	}
	keys := head(0, 1<<16)
	for i := range 1 << 16 {
		keys = append(keys.u64(2), byte(i), byte(i>>8)).u32(7).zeros(1)
	}
	cases = append(cases, hostile{name: "short keys", data: keys})
	tensors := head(1<<16, 0)
	for i := range 1 << 16 {
		tensors = append(tensors.u64(2), byte(i), byte(i>>8)).u32(0, 99).u64(0)
	}
	cases = append(cases, hostile{name: "short tensors", data: tensors})
	for _, c := range cases {
		start := time.Now()
		n := allocated(func() { Parse(c.data) })
		if limit := uint64(40*len(c.data) + 64<<10); n > limit {
			t.Errorf("%s: %d bytes allocated for a file of %d", c.name, n, len(c.data))
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%s: %v", c.name, d)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(small())
	f.Add(small()[:200])
	for _, c := range hostiles() {
		if len(c.data) < 1<<12 {
			f.Add([]byte(c.data))
		}
	}
	f.Add([]byte(head(3, 0).tensor("a.new", 99, 0, 5).tensor("a.iq", 16, 64, 256, 2).tensor("ok", 0, 224, 2).pad().zeros(232)))
	for id := range uint32(42) {
		typ := ggmlTypes[id]
		f.Add([]byte(head(1, 0).tensor(typ.name, id, 0, uint64(max(typ.block, 1)), 2).pad().zeros(2 * typ.bytes)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("%v is no ErrFormat", err)
			}
			return
		}
		if err := walk(file, data); err != nil {
			t.Fatal(err)
		}
	})
}
