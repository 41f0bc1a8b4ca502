package tokenizer

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/testenv"
)

// goldenNames are the eight real tokenizers with goldens by HF tokenizers 0.23.3.
var goldenNames = []string{"smollm2", "qwen3", "llama3_1", "llama2", "gemma3", "gpt4o", "gptoss", "deepseek_v3"}

type goldenCase struct {
	Text       string   `json:"text"`
	IDs        []uint32 `json:"ids"`
	Special    []uint32 `json:"ids_special"`
	Decoded    string   `json:"decoded"`
	DecodedSkp string   `json:"decoded_skip"`
}

func readGolden(tb testing.TB, name string) []goldenCase {
	tb.Helper()
	f, err := os.Open(testenv.Golden("tokenizer", name+".jsonl.gz"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	var out []goldenCase
	r := bufio.NewReader(z)
	d := json.NewDecoder(r)
	for d.More() {
		var c goldenCase
		if err := d.Decode(&c); err != nil {
			tb.Fatal(err)
		}
		out = append(out, c)
	}
	if len(out) != 732 {
		tb.Fatalf("%s: %d goldens, want 732", name, len(out))
	}
	return out
}

func checkGolden(t *testing.T, tok *Tokenizer, name string) {
	t.Helper()
	bad := 0
	for i, c := range readGolden(t, name) {
		fail := func(what string, got, want any) {
			if bad++; bad <= 5 {
				t.Errorf("case %d %.80q: %s\n got %v\nwant %v", i, c.Text, what, got, want)
			}
		}
		if got := tok.Encode(c.Text); !slices.Equal(got, c.IDs) {
			fail("ids", got, c.IDs)
		}
		if got, err := tok.EncodeWith(c.Text, Options{AddSpecial: true}); err != nil || !slices.Equal(got, c.Special) {
			fail("ids_special", got, c.Special)
		}
		if got := tok.Decode(c.IDs); got != c.Decoded {
			fail("decoded", []byte(got), []byte(c.Decoded))
		}
		if got := string(tok.AppendDecode(nil, c.IDs, true)); got != c.DecodedSkp {
			fail("decoded_skip", []byte(got), []byte(c.DecodedSkp))
		}
		d := tok.NewDecoder(false)
		var s []byte
		for _, id := range c.IDs {
			s = append(s, d.Next(id)...)
		}
		if s = append(s, d.Flush()...); string(s) != c.Decoded {
			fail("streamed", s, []byte(c.Decoded))
		}
	}
	if bad > 0 {
		t.Errorf("%d failures", bad)
	}
}

func TestGoldens(t *testing.T) {
	for _, name := range goldenNames {
		t.Run(name, func(t *testing.T) {
			tok, err := Open(testenv.Tokenizer(t, name))
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, tok, name)
		})
	}
}

// A GGUF vocabulary gives the same ids as the tokenizer.json that it comes from.
func TestGGUF(t *testing.T) {
	t.Run("smollm2", func(t *testing.T) {
		tok, err := Open(testenv.SmolLM2(t))
		if err != nil {
			t.Fatal(err)
		}
		checkGolden(t, tok, "smollm2")
	})
	t.Run("gemma3", func(t *testing.T) {
		tok, err := Open(testenv.Gemma3(t))
		if err != nil {
			t.Fatal(err)
		}
		ref, err := Open(testenv.Tokenizer(t, "gemma3"))
		if err != nil {
			t.Fatal(err)
		}
		// The file marks <mask> and <unusedN> as control tokens and the image marks as plain ones, unlike the tokenizer.json.
		control := 0
		for id := range uint32(tok.Size()) {
			if p := ref.Piece(id); tok.IsSpecial(id) != ref.IsSpecial(id) {
				control++
				if p != "<mask>" && !strings.HasPrefix(p, "<unused") && !strings.HasSuffix(p, "_of_image>") {
					t.Errorf("token %d %q: special %v, want %v", id, p, tok.IsSpecial(id), ref.IsSpecial(id))
				}
				tok.specials[p] = false
			}
		}
		if control == 0 {
			t.Error("the files agree on special tokens now: drop this adjustment")
		}
		checkGolden(t, tok, "gemma3")
	})
}

// Every golden tokenizer takes the fast path.
func TestFastPath(t *testing.T) {
	for _, name := range goldenNames {
		tok, err := Open(testenv.Tokenizer(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if tok.fast == nil {
			t.Errorf("%s is not recognised by the fast path", name)
		}
	}
}
