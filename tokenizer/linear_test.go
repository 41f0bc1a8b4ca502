package tokenizer

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/krserve/krserve/internal/testenv"
)

// badTexts are the kinds of text that quadratic work shows in, as what they repeat or, with letters, draw from.
var badTexts = []struct {
	name, unit string
	draw       bool
}{
	{"one letter", "a", false}, {"one ideograph", "中", false}, {"spaces", " ", false}, {"line breaks", "\n", false}, {"digits", "7", false},
	{"one mark of punctuation", "=", false}, {"emoji", "👍🏽", false}, {"no spaces", "abcdefghijklmnopqrstuvwxyz", true},
	{"ideographs without spaces", "的一是不了人我在有他这中大来上国", true}, {"combining marks in order", "\u0316\u0301", false},
	{"combining marks", "\u0301\u0316\u0323\u0345", true}, {"Hangul parts", "\u1100\u1161\u11a8", false},
	{"invalid bytes", "\xff", false}, {"characters cut off", "\xe4\xb8", false}, {"any invalid bytes", "\x80\xc3\xe4\xf0\xed\xa0", true}, {"special tokens", "", false},
}

func badText(r *rand.Rand, unit string, draw bool, n int) []byte {
	if !draw {
		return bytes.Repeat([]byte(unit), n/len(unit)+1)[:n]
	}
	var b []byte
	for u := bytes.Runes([]byte(unit)); len(b) < n; {
		if k := r.IntN(len(unit)); u[0] == '\uFFFD' {
			b = append(b, unit[k])
		} else {
			b = append(b, string(u[r.IntN(len(u))])...)
		}
	}
	return b
}

// checkLinear fails if a text takes far longer than as many bytes in parts. Quadratic work would take as many times longer as there
// are parts, 16; a busy machine gets several attempts.
func checkLinear(t *testing.T, what string, text []byte, do func(b []byte)) {
	t.Helper()
	const parts, bound, attempts = 16, 4, 6
	do(text[:len(text)/parts]) // what is made once
	var whole, inParts time.Duration
	for range attempts {
		start := time.Now()
		for i := range parts {
			do(text[i*len(text)/parts : (i+1)*len(text)/parts])
		}
		inParts = time.Since(start)
		start = time.Now()
		do(text)
		if whole = time.Since(start); whole < bound*inParts {
			return
		}
	}
	t.Errorf("%s: %d bytes take %v, in %d parts %v", what, len(text), whole, parts, inParts)
}

// TestBadTextLinear: no text makes encoding, with or without offsets, counting or decoding take more than time in proportion.
func TestBadTextLinear(t *testing.T) {
	toks := map[string]*Tokenizer{}
	add := func(name string, tok *Tokenizer, err error) {
		if err != nil {
			t.Fatal(err)
		}
		toks[name] = tok
	}
	for _, name := range goldenNames {
		if !testing.Short() || name == "smollm2" || name == "llama2" {
			tok, err := OpenConfig(testenv.Tokenizer(t, name), Config{Threads: 1})
			add(name, tok, err)
		}
	}
	trained := []string{"unigram.json", "unigram_precompiled.json", "wordpiece.json", "wordlevel_scripts.json", "spm_bpe_bytes.model", "spm_unigram.model", "bpe_suffix.json"}
	if testing.Short() { // one thread works here
		trained = trained[:1]
	}
	for _, name := range trained {
		tok, err := ParseConfig(gunzip(t, filepath.Join("testdata", "trained", name+".gz")), Config{Threads: 1})
		add(name, tok, err)
	}
	for name, tok := range toks {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(21, 22))
			for _, k := range badTexts {
				unit := k.unit
				if unit == "" {
					if unit = strings.Join(addedTokens(tok), ""); unit == "" {
						continue
					}
				}
				text := badText(r, unit, k.draw, 64<<10)
				var ids []uint32
				checkLinear(t, k.name, text, func(b []byte) { ids = tok.AppendEncode(ids[:0], b) })
				checkLinear(t, k.name+", decoded", text, func(b []byte) { tok.Decode(ids[:len(ids)*len(b)/len(text)]) })
				s := string(text)
				checkLinear(t, k.name+", with offsets", text[:len(text)/2], func(b []byte) {
					if _, err := tok.EncodeFull(s[:len(b)], Options{Offsets: CharOffsets}); err != nil {
						t.Fatal(err)
					}
				})
				checkLinear(t, k.name+", counted", text[:len(text)/2], func(b []byte) { tok.Count(s[:len(b)]) })
			}
		})
	}
}
