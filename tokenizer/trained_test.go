package tokenizer

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// trainedCase is an answer of HF tokenizers or sentencepiece about a small tokenizer; see testdata/train.py.
type trainedCase struct {
	File    string   `json:"file"`
	Text    string   `json:"text"`
	IDs     []uint32 `json:"ids"`
	Special []uint32 `json:"special"`
	Offsets []int    `json:"offsets"`
	Words   []int32  `json:"words"`
	Types   []uint32 `json:"types"`
	Decoded *string  `json:"decoded"`
	Skipped *string  `json:"skipped"`
	Pair    []uint32 `json:"pair"`
}

func gunzip(tb testing.TB, path string) []byte {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		tb.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func readTrained(tb testing.TB) (names []string, cases map[string][]trainedCase) {
	tb.Helper()
	cases = map[string][]trainedCase{}
	files, err := filepath.Glob(filepath.Join("testdata", "trained", "*.answers.gz"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".answers.gz")
		names = append(names, name)
		d := json.NewDecoder(strings.NewReader(string(gunzip(tb, f))))
		for d.More() {
			var c trainedCase
			if err := d.Decode(&c); err != nil {
				tb.Fatal(err)
			}
			cases[name] = append(cases[name], c)
		}
	}
	if len(names) < 25 {
		tb.Fatalf("%d trained tokenizers", len(names))
	}
	return names, cases
}

// TestTrained compares every kind of model, normalizer, pre-tokenizer, post-processor and decoder with the reference.
func TestTrained(t *testing.T) {
	names, cases := readTrained(t)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			tok, err := Parse(gunzip(t, filepath.Join("testdata", "trained", name+".gz")))
			if err != nil {
				t.Fatal(err)
			}
			bad := 0
			all := cases[name]
			for i, c := range all {
				fail := func(what string, got, want any) {
					if bad++; bad <= 4 {
						t.Errorf("case %d %q: %s\n got %v\nwant %v", i, c.Text, what, got, want)
					}
				}
				if got, err := tok.EncodeWith(c.Text, Options{Special: modeFor(name)}); err != nil || !slices.Equal(got, c.IDs) {
					fail("ids", got, c.IDs)
				}
				if c.Decoded != nil {
					if got := tok.Decode(c.IDs); got != *c.Decoded {
						fail("decoded", []byte(got), []byte(*c.Decoded))
					}
					d := tok.NewDecoder(false)
					s := ""
					for _, id := range c.IDs {
						s += d.Next(id)
					}
					if s += d.Flush(); s != *c.Decoded {
						fail("streamed", []byte(s), []byte(*c.Decoded))
					}
				}
				if c.Special == nil {
					continue
				}
				if c.Skipped != nil {
					if got := string(tok.AppendDecode(nil, c.IDs, true)); got != *c.Skipped {
						fail("skipped", got, *c.Skipped)
					}
				}
				e, err := tok.EncodeFull(c.Text, Options{AddSpecial: true, Offsets: CharOffsets})
				if err != nil {
					t.Fatal(err)
				}
				var offsets []int
				for _, o := range e.Offsets {
					offsets = append(offsets, o.Start, o.End)
				}
				if !slices.Equal(e.IDs, c.Special) {
					fail("special", e.IDs, c.Special)
				} else if !slices.Equal(offsets, c.Offsets) {
					fail("offsets", offsets, c.Offsets)
				} else if !slices.Equal(e.Words, c.Words) {
					fail("words", e.Words, c.Words)
				} else if !slices.Equal(e.TypeIDs, c.Types) {
					fail("types", e.TypeIDs, c.Types)
				}
				if e, err := tok.EncodePair(c.Text, all[(slices.IndexFunc(all, func(o trainedCase) bool { return o.Text == c.Text })+3)%len(all)].Text,
					Options{AddSpecial: true}); err != nil || !slices.Equal(e.IDs, c.Pair) {
					fail("pair", e.IDs, c.Pair)
				}
			}
			if bad > 0 {
				t.Errorf("%d failures of %d cases", bad, len(all))
			}
		})
	}
}

// modeFor is how the reference treats special tokens spelled in a text: sentencepiece takes them for text.
func modeFor(file string) SpecialMode {
	if strings.HasSuffix(file, ".model") {
		return AsText
	}
	return Recognise
}
