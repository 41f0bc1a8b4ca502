package modelgen_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/gguf"
	"github.com/krserve/krserve/internal/model/modelgen"
	"github.com/krserve/krserve/internal/quant"
	"github.com/krserve/krserve/tokenizer"
)

const qwenSplit = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

type object = map[string]any

// qwenLike is a tokenizer of Qwen's form: the 256 bytes, a few merges, an end of turn and a tag.
func qwenLike() object {
	vocab := object{}
	for b := range 256 { // the alphabet of GPT-2's byte-level BPE
		r := rune(b)
		if printable := b > 0x20 && b < 0x7f || b > 0xa0 && b != 0xad; !printable {
			switch {
			case b <= 0x20:
				r = rune(0x100 + b)
			case b <= 0xa0:
				r = rune(0x121 + b - 0x7f)
			default:
				r = 0x143
			}
		}
		vocab[string(r)] = b
	}
	var merges []any
	for i, m := range []string{"t h", "th e", "Ġ the", "i n", "Ġ 1", "Ã ©"} {
		merges = append(merges, m)
		if i%2 == 1 { // the newer form
			merges[i] = strings.Split(m, " ")
		}
		vocab[strings.ReplaceAll(m, " ", "")] = 256 + i
	}
	token := func(id int, content string, special bool) object {
		return object{"id": id, "content": content, "special": special, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}
	}
	return object{
		"version":      "1.0",
		"added_tokens": []any{token(262, "<|endoftext|>", true), token(263, "<|im_end|>", true), token(264, "<think>", false)},
		"normalizer":   object{"type": "NFC"},
		"pre_tokenizer": object{"type": "Sequence", "pretokenizers": []any{
			object{"type": "Split", "pattern": object{"Regex": qwenSplit}, "behavior": "Isolated", "invert": false},
			object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}}},
		"decoder": object{"type": "ByteLevel"},
		"model":   object{"type": "BPE", "vocab": vocab, "merges": merges},
	}
}

// write makes a model of a tiny shape with this tokenizer.
func write(t *testing.T, tok object, vocab int) (path string, data []byte, err error) {
	t.Helper()
	data, err = json.Marshal(tok)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := modelgen.Spec{Arch: "qwen2", Vocab: vocab, Width: 64, Layers: 1, FFN: 64, Heads: 2, KVHeads: 1, Context: 64, RopeBase: 1e4,
		Type: quant.Q4_0, Tokenizer: filepath.Join(dir, "tokenizer.json")}
	if err := os.WriteFile(s.Tokenizer, data, 0o666); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "tiny.gguf")
	return path, data, s.WriteGGUF(path)
}

func TestVocabulary(t *testing.T) {
	const vocab = 288
	path, data, err := write(t, qwenLike(), vocab)
	if err != nil {
		t.Fatal(err)
	}
	want, err := tokenizer.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	got, err := tokenizer.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "the then in the inn 1 12", "Éte\u0301 é\n\n  the", "<think>the</think><|im_end|>\n<|endoftext|>", "[PAD270] 数 \x00\xff"} {
		if g, w := got.Encode(text), want.Encode(text); !slices.Equal(g, w) {
			t.Errorf("%q: the GGUF file gives %v, tokenizer.json %v", text, g, w)
		} else if back := got.Decode(g); back != want.Decode(w) {
			t.Errorf("%q comes back as %q", text, back)
		}
	}
	if ids := got.EndIDs(); !slices.Contains(ids, 263) {
		t.Errorf("ends are %v, without <|im_end|>", ids)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	types, err := f.Int32s("tokenizer.ggml.token_type")
	if err != nil {
		t.Fatal(err)
	}
	if len(types) != vocab || types[0] != 1 || types[263] != 3 || types[264] != 4 || types[265] != 5 || types[vocab-1] != 5 {
		t.Errorf("%d token types: %v", len(types), types[256:])
	}
}

func TestVocabularyRefused(t *testing.T) {
	for _, c := range []struct {
		want  string
		vocab int
		edit  func(tok, model object)
	}{
		{"not a byte-level BPE", 288, func(_, model object) { model["type"] = "Unigram" }},
		{"not a byte-level BPE", 288, func(_, model object) { model["byte_fallback"] = true }},
		{"not a byte-level BPE", 288, func(tok, _ object) { tok["pre_tokenizer"] = object{"type": "Metaspace"} }},
		{"no tokenizer.ggml.pre is known", 288, func(tok, _ object) { tok["normalizer"] = nil }},
		{"of a vocabulary of 264", 264, func(_, _ object) {}},
		{"merge 0", 288, func(_, model object) { model["merges"] = []any{3} }},
	} {
		tok := qwenLike()
		c.edit(tok, tok["model"].(object))
		if _, _, err := write(t, tok, c.vocab); err == nil || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}
