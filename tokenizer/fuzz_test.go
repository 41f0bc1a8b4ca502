package tokenizer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// hostile files, each with what its error must name.
var hostile = []struct{ file, want string }{
	{``, "neither"},
	{`{`, "offset 1"},
	{`{}`, `"model"`},
	{`{"model":{}}`, `"vocab"`},
	{`{"model":{"type":"Nonsense","vocab":{}}}`, "Nonsense"},
	{`{"model":{"type":"BPE","vocab":{"a":4000000000},"merges":[]}}`, "offset"},
	{`{"model":{"type":"BPE","vocab":{"a":16000000},"merges":[]}}`, "16000000"},
	{`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}}`, `"b"`},
	{`{"model":{"type":"BPE","vocab":{"a":0},"merges":["ab"]}}`, "two parts"},
	{`{"model":{"type":"BPE","vocab":{"a":0,},"merges":[]}}`, "offset"},
	{`{"model":{"type":"BPE","dropout":0.1,"vocab":{"a":0},"merges":[]}}`, "dropout"},
	{`{"model":{"type":"BPE","unk_token":"x","vocab":{"a":0},"merges":[]}}`, "unk_token"},
	{`{"model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"x"}}`, "unk_token"},
	{`{"model":{"type":"Unigram","vocab":[["a",-1]],"unk_id":7}}`, "unk_id"},
	{`{"model":{"type":"Unigram","vocab":[["a","b"]],"unk_id":0}}`, "score"},
	{`{"normalizer":{"type":"Rot13"},"model":{"type":"WordLevel","vocab":{"<unk>":0},"unk_token":"<unk>"}}`, "Rot13"},
	{`{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(?<=a)b"},"behavior":"Isolated","invert":false},"model":{}}`, "look-behind"},
	{`{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a)\\1"},"behavior":"Isolated","invert":false},"model":{}}`, `\1`},
	{`{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"a{1001}"},"behavior":"Isolated","invert":false},"model":{}}`, "repetition count"},
	{`{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"((((a{99}){99}){99}){99}){99}"},"behavior":"Isolated","invert":false},"model":{}}`, "this large"},
	{`{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"\\p{Klingon}"},"behavior":"Isolated","invert":false},"model":{}}`, "Klingon"},
	{`{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a*)*"},"behavior":"Isolated","invert":false},"model":{}}`, "can be empty"},
	{`{"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"X","type_id":0}}],"pair":[],"special_tokens":{}},"model":{}}`, "X"},
	{`{"decoder":{"type":"Enigma"},"model":{}}`, "Enigma"},
	{"GGUF\x03\x00\x00\x00", "offset"},
	{"YQ== 0\nYg== x\n", "offset 7"},
	{"YQ== 0\n", "ranks"},
	{"\x0a\x7fa", "offset 0"},
}

func TestHostileFiles(t *testing.T) {
	for _, h := range hostile {
		_, err := Parse([]byte(h.file))
		if err == nil || !strings.Contains(err.Error(), h.want) {
			t.Errorf("%.200q: %v; want it to name %q", h.file, err, h.want)
		}
	}
	deep := `{"model":` + strings.Repeat("[", 1<<20)
	if _, err := Parse([]byte(deep)); err == nil {
		t.Error("a million brackets are no file")
	}
}

// FuzzParse: any bytes give an error or a Tokenizer that works, in memory in proportion to the file.
func FuzzParse(f *testing.F) {
	for _, h := range hostile {
		f.Add([]byte(h.file))
	}
	files, err := filepath.Glob(filepath.Join("testdata", "trained", "*.gz"))
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range files {
		if b := gunzip(f, p); len(b) < 30<<10 && !strings.Contains(p, "answers") {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := Parse(data)
		if err != nil {
			return
		}
		text := "Hello <unk> wörld \xff 12\n\n中文" + string(data[:min(len(data), 64)])
		ids := tok.Encode(text)
		if s := tok.Decode(ids); !utf8.ValidString(s) {
			t.Errorf("Decode gives invalid UTF-8: %q", s)
		}
		for _, id := range ids {
			if int(id) >= tok.Size() {
				t.Errorf("id %d of %d", id, tok.Size())
			}
		}
		if e, err := tok.EncodeFull(text, Options{Offsets: ByteOffsets}); err != nil || len(e.IDs) != len(ids) {
			t.Errorf("with offsets: %v %v", e, err)
		}
	})
}

// FuzzEncode compares the fast path with the plain one, and decoding with streaming.
func FuzzEncode(f *testing.F) {
	for _, s := range []string{"", "Hello, World!", "a\u0301b'S 12345", "  \n\n x", "\xff\xf0\x9f", "<|im_start|>user\n"} {
		f.Add(s)
	}
	var toks []*Tokenizer
	for _, name := range []string{"smollm2", "llama2"} {
		p := filepath.Join("..", ".testdata", "tok", name, "tokenizer.json")
		if _, err := os.Stat(p); err != nil {
			f.Fatal(err)
		}
		t, err := Open(p)
		if err != nil {
			f.Fatal(err)
		}
		toks = append(toks, t)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, tok := range toks {
			ids := tok.Encode(s)
			e, err := tok.EncodeFull(s, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(ids) != len(e.IDs) {
				t.Fatalf("%q: %v, %v with offsets", s, ids, e.IDs)
			}
			for i := range ids {
				if ids[i] != e.IDs[i] {
					t.Fatalf("%q: %v, %v with offsets", s, ids, e.IDs)
				}
			}
			d, text := tok.NewDecoder(false), ""
			for _, id := range ids {
				part := d.Next(id)
				if !utf8.ValidString(part) {
					t.Fatalf("%q is not whole characters", part)
				}
				text += part
			}
			if text += d.Flush(); text != tok.Decode(ids) {
				t.Fatalf("%q streamed, %q decoded", text, tok.Decode(ids))
			}
		}
	})
}
