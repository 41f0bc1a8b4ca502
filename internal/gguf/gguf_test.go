package gguf

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/quant"
	"github.com/krserve/krserve/internal/testenv"
)

// values has one entry per kind, alone and in arrays.
var values = []struct {
	key   string
	value any
	get   func(Value) (any, error)
}{
	{"u8", uint8(200), func(v Value) (any, error) { u, err := v.Uint(); return uint8(u), err }},
	{"i8", int8(-100), func(v Value) (any, error) { u, err := v.Int(); return int8(u), err }},
	{"u16", uint16(65535), func(v Value) (any, error) { u, err := v.Uint(); return uint16(u), err }},
	{"i16", int16(-32768), func(v Value) (any, error) { u, err := v.Int(); return int16(u), err }},
	{"u32", uint32(math.MaxUint32), func(v Value) (any, error) { u, err := v.Uint(); return uint32(u), err }},
	{"i32", int32(math.MinInt32), func(v Value) (any, error) { u, err := v.Int(); return int32(u), err }},
	{"u64", uint64(math.MaxUint64), func(v Value) (any, error) { return v.Uint() }},
	{"i64", int64(math.MinInt64), func(v Value) (any, error) { return v.Int() }},
	{"f32", float32(1.25e-20), func(v Value) (any, error) { u, err := v.Float(); return float32(u), err }},
	{"f64", -1.0e300, func(v Value) (any, error) { return v.Float() }},
	{"true", true, func(v Value) (any, error) { return v.Bool() }},
	{"false", false, func(v Value) (any, error) { return v.Bool() }},
	{"text", "grüße\x00\xff", func(v Value) (any, error) { return v.Text() }},
	{"empty", "", func(v Value) (any, error) { return v.Text() }},
	{"[]string", []string{"a", "", "ccc\n"}, func(v Value) (any, error) { return v.Strings() }},
	{"[]string0", []string{}, func(v Value) (any, error) { return v.Strings() }},
	{"[]u8", []uint8{1, 255}, func(v Value) (any, error) { u, err := v.Uint32s(); return []uint8{uint8(u[0]), uint8(u[1])}, err }},
	{"[]i8", []int8{-1, 127}, func(v Value) (any, error) { u, err := v.Int32s(); return []int8{int8(u[0]), int8(u[1])}, err }},
	{"[]i32", []int32{-7, 8, math.MaxInt32}, func(v Value) (any, error) { return v.Int32s() }},
	{"[]u32", []uint32{7, math.MaxUint32}, func(v Value) (any, error) { return v.Uint32s() }},
	{"[]f32", []float32{1, -0.5, float32(math.Inf(1))}, func(v Value) (any, error) { return v.Float32s() }},
	{"[]bool", []bool{true, false, true}, func(v Value) (any, error) { return v.Bools() }},
	{"[]f64", []float64{0.5, 3}, func(v Value) (any, error) {
		u, err := v.Float32s()
		return []float64{float64(u[0]), float64(u[1])}, err
	}},
	{"[]i64", []int64{-5, 6}, func(v Value) (any, error) { u, err := v.Int32s(); return []int64{int64(u[0]), int64(u[1])}, err }},
	{"[]u64", []uint64{5}, func(v Value) (any, error) { u, err := v.Uint32s(); return []uint64{uint64(u[0])}, err }},
	{"[]i16", []int16{-5}, func(v Value) (any, error) { u, err := v.Int32s(); return []int16{int16(u[0])}, err }},
	{"[]u16", []uint16{5}, func(v Value) (any, error) { u, err := v.Int32s(); return []uint16{uint16(u[0])}, err }},
	{"nested", [][]string{{"x", "y"}, {}, {"z"}}, func(v Value) (any, error) {
		out := [][]string{}
		for _, e := range v.Elems() {
			s, err := e.Strings()
			if err != nil {
				return nil, err
			}
			out = append(out, s)
		}
		return out, nil
	}},
}

// sample is a small file with every kind of value and tensors of every type.
func sample(t testing.TB) []byte {
	var w Writer
	for _, c := range values {
		w.Set(c.key, c.value)
	}
	for q := quant.F32; !q.Affine(); q++ {
		data := make([]byte, 6*q.RowBytes(256))
		for i := range data {
			data[i] = byte(i*7 + int(q))
		}
		w.Add("t."+q.String(), q, []int{256, 3, 2}, data)
	}
	b, err := w.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	for _, version := range []byte{2, 3} {
		data := sample(t)
		data[4] = version
		f, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if f.Version() != int(version) || f.Alignment() != 32 {
			t.Errorf("version %d, alignment %d", f.Version(), f.Alignment())
		}
		i := 0
		for key, v := range f.Keys() {
			c := values[i]
			got, err := c.get(v)
			if err != nil || key != c.key || !reflect.DeepEqual(got, c.value) {
				t.Errorf("key %d: %q = %#v (%v), want %q = %#v", i, key, got, err, c.key, c.value)
			}
			i++
		}
		if i != len(values) {
			t.Errorf("%d keys, want %d", i, len(values))
		}
		n := 0
		for q := quant.F32; !q.Affine(); q++ {
			ten := f.Tensor("t." + q.String())
			if ten == nil || ten.Type != q || ten.Cols() != 256 || ten.Rows() != 6 || ten.TypeName() != q.String() {
				t.Fatalf("%v: %+v", q, ten)
			}
			b, err := ten.Data()
			if err != nil || len(b) != 6*q.RowBytes(256) || !bytes.Equal(b, data[ten.Offset():][:len(b)]) {
				t.Errorf("%v: %d bytes, %v", q, len(b), err)
			}
			for i, v := range b {
				if v != byte(i*7+int(q)) {
					t.Fatalf("%v: byte %d is %d", q, i, v)
				}
			}
			n++
		}
		if len(f.Tensors()) != n {
			t.Errorf("%d tensors, want %d", len(f.Tensors()), n)
		}
	}
}

// TestAccessorsRefuse asks every value for every type that it is not.
func TestAccessorsRefuse(t *testing.T) {
	f, err := Parse(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	fits := map[string]string{
		"Uint":     "u8 u16 u32 u64",
		"Int":      "u8 u16 u32 i8 i16 i32 i64",
		"Float":    "f32 f64",
		"Bool":     "true false",
		"Text":     "text empty",
		"Strings":  "[]string []string0",
		"Float32s": "[]f32 []f64",
		"Int32s":   "[]u8 []i8 []i32 []i64 []u64 []i16 []u16",
		"Uint32s":  "[]u8 []u32 []u64 []u16",
		"Bools":    "[]bool",
	}
	for name, keys := range fits {
		for _, c := range values {
			out := reflect.ValueOf(f.Value(c.key)).MethodByName(name).Call(nil)
			err, _ := out[1].Interface().(error)
			if want := slices.Contains(strings.Fields(keys), c.key); (err == nil) != want || err != nil && !errors.Is(err, ErrKind) {
				t.Errorf("%s of %q: %v", name, c.key, err)
			}
		}
		out := reflect.ValueOf(f.Value("no.such")).MethodByName(name).Call(nil)
		if err, _ := out[1].Interface().(error); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "no.such") {
			t.Errorf("%s of a missing key: %v", name, err)
		}
	}
	if v, err := Or(int64(7))(f.Int("no.such")); v != 7 || err != nil {
		t.Errorf("Or: %d, %v", v, err)
	}
	if _, err := Or(int64(7))(f.Int("text")); !errors.Is(err, ErrKind) {
		t.Errorf("Or hides a wrong kind: %v", err)
	}
}

// TestModels compares everything in both models with what PyPI gguf reads, as testdata/listing.py lists it.
func TestModels(t *testing.T) {
	for name, path := range map[string]string{"smollm2": testenv.SmolLM2(t), "gemma3-270m": testenv.Gemma3(t)} {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(want)), "\n")
		for i, got := range listing(t, f) {
			if i >= len(lines) || got != lines[i] {
				t.Errorf("%s: line %d is %q, want %q", name, i, got, lines[min(i, len(lines)-1)])
			}
		}
		if n := len(f.keys) + len(f.Tensors()); n != len(lines) {
			t.Errorf("%s: %d keys and tensors, want %d", name, n, len(lines))
		}
		tokens, err := f.Strings("tokenizer.ggml.tokens")
		if err != nil {
			t.Fatal(err)
		}
		it, err := f.Value("tokenizer.ggml.tokens").Bytes()
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range it {
			if string(b) != tokens[i] {
				t.Fatalf("%s: token %d is %q and %q", name, i, b, tokens[i])
			}
		}
		for range 2 {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func listing(t *testing.T, f *File) []string {
	var out []string
	for key, v := range f.Keys() {
		if v.Kind() != Array {
			out = append(out, fmt.Sprintf("%s %v %s", key, v.Kind(), scalar(t, v)))
			continue
		}
		crc := crc32.NewIEEE()
		for _, e := range v.Elems() {
			fmt.Fprintln(crc, scalar(t, e))
		}
		out = append(out, fmt.Sprintf("%s array %d %v %08x", key, v.Len(), v.Elem(), crc.Sum32()))
	}
	for i := range f.Tensors() {
		ten := &f.Tensors()[i]
		data, err := ten.Data()
		if err != nil {
			t.Error(err)
		}
		shape := strings.ReplaceAll(fmt.Sprint(ten.Shape), " ", ", ")
		out = append(out, fmt.Sprintf("%s %v %s %d %08x", ten.Name, ten.Type, shape, ten.Offset(), crc32.ChecksumIEEE(data)))
	}
	return out
}

func scalar(t *testing.T, v Value) string {
	var out any
	var err error
	switch v.Kind() {
	case Float32, Float64:
		var x float64
		x, err = v.Float()
		out = fmt.Sprintf("%016x", math.Float64bits(x))
	case Bool:
		out, err = v.Bool()
	case String:
		var s string
		s, err = v.Text()
		out = fmt.Sprintf("%d:%08x", len(s), crc32.ChecksumIEEE([]byte(s)))
	case Uint64:
		out, err = v.Uint()
	default:
		out, err = v.Int()
	}
	if err != nil {
		t.Error(err)
	}
	return fmt.Sprint(out)
}

func TestShards(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, no, count, total int, tensors ...string) string {
		var w Writer
		w.Set("general.architecture", "llama")
		w.Set("split.no", uint16(no))
		w.Set("split.count", uint16(count))
		w.Set("split.tensors.count", int32(total))
		for i, n := range tensors {
			w.Add(n, quant.F16, []int{4}, []byte{byte(no), byte(i), 0, 0, 0, 0, 0, 0})
		}
		b, err := w.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	var paths []string
	for i, names := range [][]string{{"a", "b"}, {"c"}, {"d", "e", "f"}} {
		paths = append(paths, write(fmt.Sprintf("m-%05d-of-00003.gguf", i+1), i, 3, 6, names...))
	}
	for _, p := range paths {
		f, err := Open(p)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string][2]byte{"a": {0, 0}, "b": {0, 1}, "c": {1, 0}, "f": {2, 2}} {
			if b, err := f.Tensor(name).Data(); err != nil || [2]byte(b) != want {
				t.Errorf("%s of %s: %v, %v", name, p, b, err)
			}
		}
		if len(f.Tensors()) != 6 {
			t.Errorf("%d tensors", len(f.Tensors()))
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	for why, p := range map[string]string{
		"missing shard":    write("n-00001-of-00002.gguf", 0, 2, 2, "a"),
		"unexpected name":  write("plain.gguf", 0, 2, 2, "a"),
		"other count":      write("o-00001-of-00003.gguf", 0, 2, 2, "a"),
		"too many":         write("p-00001-of-09999.gguf", 0, 9999, 2, "a"),
		"duplicate tensor": write("q-00001-of-00002.gguf", 0, 2, 2, "a"),
		"wrong number":     write("r-00001-of-00002.gguf", 0, 2, 2, "a"),
		"wrong total":      write("s-00001-of-00002.gguf", 0, 2, 5, "a"),
	} {
		switch why {
		case "duplicate tensor":
			write("q-00002-of-00002.gguf", 1, 2, 2, "a")
		case "wrong number":
			write("r-00002-of-00002.gguf", 0, 2, 2, "b")
		case "wrong total":
			write("s-00002-of-00002.gguf", 1, 2, 5, "b")
		}
		if f, err := Open(p); err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("%s: %v, %v", why, f, err)
		} else if why != "missing shard" && !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v is no ErrFormat", why, err)
		} else if why == "missing shard" && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v is no ErrNotExist", why, err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	for name, path := range map[string]string{"smollm2": testenv.SmolLM2(b), "gemma3": testenv.Gemma3(b)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f, err := Open(path)
				if err != nil {
					b.Fatal(err)
				}
				f.Close()
			}
		})
		b.Run(name+"/tokens", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f, err := Open(path)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := f.Strings("tokenizer.ggml.tokens"); err != nil {
					b.Fatal(err)
				}
				f.Close()
			}
		})
	}
}
