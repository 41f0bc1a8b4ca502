package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/quant"
	"github.com/krserve/krserve/internal/testenv"
)

var all = []DType{Bool, U8, I8, U16, I16, U32, I32, U64, I64, F16, BF16, F32, F64}

// sample is a small file with a tensor of every type, a scalar and an empty tensor.
func sample(t testing.TB) []byte {
	var w Writer
	w.SetMetadata(map[string]string{"format": "mlx", "ü": "\n"})
	for i, d := range all {
		w.Add("t."+string(d), d, []int{3, 1, 2}, bytes.Repeat([]byte{byte(i + 1)}, 6*d.Bytes()))
	}
	w.Add("scalar", F32, nil, []byte{0, 0, 0x80, 0x3f})
	w.Add("empty", F16, []int{4, 0}, nil)
	return written(t, &w)
}

func written(t testing.TB, w *Writer) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	f, err := Parse(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"format": "mlx", "ü": "\n"}; !reflect.DeepEqual(f.Metadata(), want) {
		t.Errorf("metadata %q", f.Metadata())
	}
	if len(f.Tensors()) != len(all)+2 {
		t.Errorf("%d tensors", len(f.Tensors()))
	}
	types := map[DType]quant.Type{F32: quant.F32, F16: quant.F16, BF16: quant.BF16}
	for i, d := range all {
		ten := f.Tensor("t." + string(d))
		b, err := ten.Data()
		if err != nil || !bytes.Equal(b, bytes.Repeat([]byte{byte(i + 1)}, 6*d.Bytes())) {
			t.Errorf("%s: %x, %v", d, b, err)
		}
		if ten.DType != d || ten.Rows() != 3 || ten.Cols() != 2 || ten.Elems() != 6 || !slices.Equal(ten.Shape, []int{3, 1, 2}) || ten.Type() != types[d] {
			t.Errorf("%s: %+v", d, ten)
		}
	}
	if s := f.Tensor("scalar"); s.Rows() != 1 || s.Cols() != 1 || len(s.Shape) != 0 {
		t.Errorf("scalar: %+v", s)
	}
	if e := f.Tensor("empty"); e.Rows() != 0 || e.Cols() != 0 || e.Elems() != 0 {
		t.Errorf("empty: %+v", e)
	}
	if f.Tensor("none") != nil {
		t.Error("a tensor that does not exist")
	}
}

// TestMLX compares each tiny MLX model with a plain reading of its header.
func TestMLX(t *testing.T) {
	dirs, err := filepath.Glob(testenv.Golden("mlx", "*"))
	if err != nil || len(dirs) != 8 {
		t.Fatalf("%d golden models, %v", len(dirs), err)
	}
	for _, dir := range dirs {
		f, err := Open(dir)
		if err != nil {
			t.Error(err)
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		n := binary.LittleEndian.Uint64(raw)
		var header map[string]entry
		if err := json.Unmarshal(raw[8:8+n], &header); err != nil {
			t.Fatal(err)
		}
		delete(header, "__metadata__")
		if len(header) != len(f.Tensors()) || f.Metadata()["format"] != "mlx" {
			t.Errorf("%s: %d tensors, want %d", dir, len(f.Tensors()), len(header))
		}
		for name, want := range header {
			ten := f.Tensor(name)
			if ten == nil {
				t.Errorf("%s: no %s", dir, name)
				continue
			}
			b, err := ten.Data()
			if err != nil || ten.DType != want.DType || !slices.Equal(ten.Shape, want.Shape) || !bytes.Equal(b, raw[8+n:][want.Offsets[0]:want.Offsets[1]]) {
				t.Errorf("%s: %s differs: %v", dir, name, err)
			}
			if want.DType == U32 && len(b) != ten.Rows()*ten.Cols()*4 {
				t.Errorf("%s: %s has %d bytes", dir, name, len(b))
			}
		}
		for range 2 {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

type hostile struct {
	name string
	data []byte
	at   int64
	msg  string
}

func file(header, body string) []byte {
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), body...)
}

func hostiles() []hostile {
	const one = `"dtype":"U8","shape":[4],"data_offsets":`
	const two = `{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":`
	deep := `{"a":{"x":` + strings.Repeat("[", 1<<20)
	return []hostile{
		{"empty", nil, 0, "needs 8 bytes"},
		{"seven bytes", make([]byte, 7), 0, "needs 8 bytes"},
		{"header length", append([]byte{100}, make([]byte, 50)...), 0, "header length is 100"},
		{"header length huge", bytes.Repeat([]byte{255}, 50), 0, "header length is 18446744073709551615"},
		{"no header", file("", "abcd"), 8, "begin with {"},
		{"array", file("[]", ""), 8, "begin with {"},
		{"space first", file(" {}", ""), 8, "begin with {"},
		{"cut", file(`{"a":{`, ""), 14, "ends early"},
		{"not JSON", file(`{a`, ""), 9, "invalid character"},
		{"not UTF-8", file("{\"ü\xc3\"}", ""), 12, "not UTF-8"},
		{"trailing", file(`{} {}`, ""), 12, "behind the JSON"},
		{"name twice", file(`{"a":{`+one+`[0,4]},"a":{`+one+`[4,8]}}`, "abcdefgh"), 64, `"a" twice`},
		{"field twice", file(`{"a":{"dtype":"U8","dtype":"U8"}}`, ""), 34, `"dtype" twice`},
		{"metadata twice", file(`{"__metadata__":{"k":"1","k":"2"}}`, ""), 36, `"k" twice`},
		{"metadata not text", file(`{"__metadata__":{"k":1}}`, ""), 30, "must be a string"},
		{"metadata array", file(`{"__metadata__":[]}`, ""), 25, "begin with {"},
		{"entry is a number", file(`{"a":1}`, ""), 14, "begin with {"},
		{"no shape", file(`{"a":{"dtype":"U8","data_offsets":[0,4]}}`, "abcd"), 48, "needs dtype"},
		{"no dtype", file(`{"a":{"shape":[4],"data_offsets":[0,4]}}`, "abcd"), 47, "needs dtype"},
		{"no offsets", file(`{"a":{"dtype":"U8","shape":[4]}}`, "abcd"), 39, "needs dtype"},
		{"one offset", file(`{"a":{`+one+`[0]}}`, "abcd"), 58, "needs dtype"},
		{"three offsets", file(`{"a":{`+one+`[0,4,8]}}`, "abcd"), 60, "more than 2"},
		{"offsets descend", file(`{"a":{`+one+`[4,0]}}`, "abcd"), 60, "ascending"},
		{"offset negative", file(`{"a":{`+one+`[-1,4]}}`, "abcd"), 57, "integers from 0"},
		{"offset fraction", file(`{"a":{`+one+`[0,4.0]}}`, "abcd"), 60, "integers from 0"},
		{"offset huge", file(`{"a":{`+one+`[0,9223372036854775808]}}`, "abcd"), 76, "integers from 0"},
		{"offset text", file(`{"a":{`+one+`["0",4]}}`, "abcd"), 58, "integers from 0"},
		{"dtype number", file(`{"a":{"dtype":1}}`, ""), 23, "must be a string"},
		{"shape text", file(`{"a":{"shape":"4"}}`, ""), 25, "begin with ["},
		{"shape deep", file(`{"a":{"shape":[[4]]}}`, ""), 24, "integers from 0"},
		{"shape product", file(`{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, ""), 80, "out of range"},
		{"shape of 33 sizes", file(`{"a":{"dtype":"U8","shape":[1`+strings.Repeat(",1", 32)+`],"data_offsets":[0,1]}}`, "a"), 101, "more than 32"},
		{"size", file(`{"a":{"dtype":"U16","shape":[4],"data_offsets":[0,4]}}`, "abcd"), 61, "does not take the 4 bytes"},
		{"size of F8", file(`{"a":{"dtype":"F8_E4M3","shape":[5],"data_offsets":[0,4]}}`, "abcd"), 65, "does not take the 4 bytes"},
		{"size of F4", file(`{"a":{"dtype":"F4","shape":[7],"data_offsets":[0,4]}}`, "abcd"), 60, "does not take the 4 bytes"},
		{"overlap", file(two+`[3,7]}}`, "abcdefg"), 64, "overlaps"},
		{"same", file(two+`[0,4]}}`, "abcd"), 64, "overlaps"},
		{"hole", file(two+`[5,9]}}`, "abcdefghi"), 64, "leaves a hole"},
		{"hole first", file(`{"a":{`+one+`[1,5]}}`, "abcde"), 12, "leaves a hole"},
		{"cut data", file(two+`[4,8]}}`, "abcdefg"), 64, "has 7 bytes of data"},
		{"more data", file(two+`[4,8]}}`, "abcdefghi"), 121, "1 bytes behind"},
		{"deep", file(deep, ""), 18, "exceeded max depth"},
		{"deep dtype", file(`{"a":{"dtype":`+strings.Repeat("[", 1<<20), ""), 23, "must be a string"},
		{"no data", file(`{}`, "a"), 10, "1 bytes behind"},
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

// TestUnread: types that are not read, known or not, are an error only when their tensor is used.
func TestUnread(t *testing.T) {
	f, err := Parse(file(`{"f8":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]},"new":{"dtype":"Z7","shape":[9],"data_offsets":[4,6]},
		"ok":{"dtype":"U8","shape":[2],"data_offsets":[6,8],"later":{"x":[1,{"y":null}]}}}`, "abcdefgh"))
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]string{"f8": "F8_E4M3", "new": "Z7"} {
		if _, err := f.Tensor(name).Data(); !errors.Is(err, ErrType) || !strings.Contains(err.Error(), d) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, err := f.Tensor("ok").Data(); err != nil || string(b) != "gh" {
		t.Errorf("ok: %q, %v", b, err)
	}
}

func TestShards(t *testing.T) {
	write := func(dir, name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shard := func(names ...string) []byte {
		var w Writer
		for _, n := range names {
			w.Add(n, U8, []int{len(n)}, []byte(n))
		}
		return written(t, &w)
	}
	const first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
	index := `{"metadata":{"total_size":4},"weight_map":{"a":"` + first + `","bb":"` + first + `","c":"` + second + `"}}`

	good := t.TempDir()
	write(good, first, shard("a", "bb"))
	write(good, second, shard("c"))
	check := func(path string) {
		t.Helper()
		f, err := Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		for _, n := range []string{"a", "bb", "c"} {
			if b, err := f.Tensor(n).Data(); err != nil || string(b) != n {
				t.Errorf("%s: %q, %v", n, b, err)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	check(good) // without an index, all model*.safetensors
	write(good, indexName, []byte(index))
	check(good)
	check(filepath.Join(good, indexName))
	if f, err := Open(filepath.Join(good, second)); err != nil || len(f.Tensors()) != 1 {
		t.Errorf("one shard alone: %v", err)
	} else if err := f.Close(); err != nil {
		t.Error(err)
	}

	outside := filepath.Join(t.TempDir(), "x.safetensors")
	if err := os.WriteFile(outside, shard("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		index string
		want  error
	}{
		"up":             {`{"weight_map":{"a":"../x.safetensors"}}`, ErrFormat},
		"absolute":       {`{"weight_map":{"a":` + quoted(outside) + `}}`, ErrFormat},
		"folder":         {`{"weight_map":{"a":"sub/x.safetensors"}}`, ErrFormat},
		"backslash":      {`{"weight_map":{"a":"..\\x.safetensors"}}`, ErrFormat},
		"drive":          {`{"weight_map":{"a":"C:x.safetensors"}}`, ErrFormat},
		"NUL":            {`{"weight_map":{"a":"x\u0000.safetensors"}}`, ErrFormat},
		"other ending":   {`{"weight_map":{"a":"config.json"}}`, ErrFormat},
		"number":         {`{"weight_map":{"a":1}}`, ErrFormat},
		"twice":          {`{"weight_map":{"a":"` + first + `","a":"` + second + `"}}`, ErrFormat},
		"map twice":      {`{"weight_map":{"a":"` + first + `"},"weight_map":{}}`, ErrFormat},
		"none":           {`{}`, ErrFormat},
		"no JSON":        {`hello`, ErrFormat},
		"cut":            {index[:60], ErrFormat},
		"trailing":       {index + "x", ErrFormat},
		"deep":           {`{"x":` + strings.Repeat("[", 20000), ErrFormat},
		"missing file":   {`{"weight_map":{"a":"model-3.safetensors"}}`, fs.ErrNotExist},
		"missing tensor": {`{"weight_map":{"zz":"` + first + `"}}`, ErrFormat},
	} {
		write(good, indexName, []byte(c.index))
		if f, err := Open(good); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}

	twice := t.TempDir()
	write(twice, first, shard("a"))
	write(twice, second, shard("a"))
	if _, err := Open(twice); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), `"a" is in another shard`) {
		t.Errorf("duplicate tensor: %v", err)
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty directory: %v", err)
	}
	if _, err := Open(filepath.Join(good, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func TestWriterRefuses(t *testing.T) {
	for name, add := range map[string]func(*Writer){
		"length":   func(w *Writer) { w.Add("a", F32, []int{2}, make([]byte, 7)) },
		"type":     func(w *Writer) { w.Add("a", "F8_E4M3", []int{2}, make([]byte, 2)) },
		"negative": func(w *Writer) { w.Add("a", U8, []int{-1}, nil) },
		"twice":    func(w *Writer) { w.Add("a", U8, []int{1}, []byte{1}); w.Add("a", U8, []int{1}, []byte{1}) },
		"overflow": func(w *Writer) { w.Add("a", U8, []int{math.MaxInt32, math.MaxInt32, 4}, nil) },
	} {
		var w Writer
		add(&w)
		if _, err := w.WriteTo(&bytes.Buffer{}); err == nil {
			t.Errorf("%s: written", name)
		}
	}
}

// walk uses everything that a File offers.
func walk(f *File, data []byte) error {
	end := -1
	for i := range f.Tensors() {
		t := &f.Tensors()[i]
		if f.Tensor(t.Name) != t {
			return errors.New("tensor not found by name")
		}
		_ = t.Rows()
		b, err := t.Data()
		if err != nil {
			if !errors.Is(err, ErrType) {
				return err
			}
			b = t.data
		} else if len(b) != t.Elems()*t.DType.Bytes() || len(b) > 0 && t.Rows()*t.Cols() != t.Elems() {
			return errors.New("data of another size than its shape")
		}
		if len(b) > 0 && &b[0] != &data[t.Offset()] || int(t.Offset())+len(b) > len(data) || end >= 0 && int(t.Offset()) != end {
			return errors.New("data out of place")
		}
		end = int(t.Offset()) + len(b)
	}
	if end >= 0 && end != len(data) {
		return errors.New("unused data")
	}
	return nil
}

func TestMutations(t *testing.T) {
	good := sample(t)
	parse := func(b []byte) bool {
		f, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("%q: %v is no ErrFormat", b, err)
			}
			return false
		}
		if err := walk(f, b); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		return true
	}
	if !parse(good) {
		t.Fatal("the unchanged file is refused")
	}
	for n := range good {
		if parse(good[:n:n]) {
			t.Errorf("the first %d bytes of %d are accepted", n, len(good))
		}
	}
	rng := rand.New(rand.NewPCG(5, 6))
	const json = `{}[]",:0123456789-.eE\ntrue`
	for range 6000 {
		b := bytes.Clone(good)
		for range 1 + rng.IntN(4) {
			i := rng.IntN(len(b))
			switch rng.IntN(3) {
			case 0:
				b[i] = byte(rng.Uint32())
			case 1:
				b[i] = json[rng.IntN(len(json))]
			case 2:
				copy(b[i:], b[rng.IntN(len(b)):])
			}
		}
		parse(b)
	}
}

// TestMemory: no bytes make Parse allocate more than a small multiple of their number.
func TestMemory(t *testing.T) {
	var names strings.Builder
	names.WriteString(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`)
	for range 1 << 13 {
		names.WriteString(`,"` + string(rune('A'+names.Len()%26)) + strings.Repeat("x", names.Len()%7) + quoted(string(rune(names.Len())))[1:] + `:{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`)
	}
	cases := append(hostiles(),
		hostile{name: "many names", data: file(names.String()+"}", "")},
		hostile{name: "many numbers", data: file(`{"a":{"x":[0`+strings.Repeat(",0", 1<<17)+`]}}`, "")},
		hostile{name: "long name", data: file(`{"`+strings.Repeat("n", 1<<20)+`":{}}`, "")},
	)
	for _, c := range cases {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		Parse(c.data)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > uint64(64*len(c.data)+64<<10) {
			t.Errorf("%s: %d bytes allocated for a file of %d", c.name, n, len(c.data))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample(f))
	for _, c := range hostiles() {
		if len(c.data) < 1<<12 {
			f.Add(c.data)
		}
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

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":4},"weight_map":{"a":"model-1.safetensors","b":"../x.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"model-1.safetensors"},"x":[[{"y":1e5}]]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		where, err := parseIndex(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("%v is no ErrFormat", err)
			}
			return
		}
		for tensor, file := range where {
			if filepath.Base(file) != file || file == "." || !filepath.IsLocal(file) {
				t.Fatalf("%q is in %q", tensor, file)
			}
		}
	})
}
