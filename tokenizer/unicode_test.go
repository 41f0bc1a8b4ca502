package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestUnicodeData compares normalizers, pre-tokenizers and patterns with the reference over all code points, alone and side by side.
func TestUnicodeData(t *testing.T) {
	var want struct {
		Patterns      map[string]string
		Normalizers   map[string][2]string
		PreTokenizers map[string][2]string
	}
	b, err := os.ReadFile("testdata/unicode.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if len(want.Patterns) < 10 || len(want.Normalizers) != 8 || len(want.PreTokenizers) != 6 {
		t.Fatal("unicode.json is not complete")
	}
	var alone, dense strings.Builder
	for c := rune(0); c < 0x110000; c++ {
		if c >= 0xd800 && c < 0xe000 {
			continue
		}
		if c > 0 {
			alone.WriteByte('x')
		}
		alone.WriteRune(c)
		dense.WriteRune(c)
	}
	sha := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	inputs := [2]string{alone.String(), dense.String()}
	for name, sums := range want.Normalizers {
		n, err := buildNormalizer(json.RawMessage(`{"type":"` + name + `"}`))
		if err != nil {
			t.Fatal(err)
		}
		for i, in := range inputs {
			for _, track := range []bool{false, true} {
				s := nstring{text: []byte(in), hi: len(in), track: track}
				if n.normalize(&s); sha(s.text) != sums[i] {
					t.Errorf("%s differs on input %d, offsets %v", name, i, track)
				}
			}
		}
	}
	cuts := func(p preTokenizer, in string) string {
		var out []byte
		chars, at := 0, 0
		p.split(nstring{text: []byte(in), hi: len(in), track: true}, func(n nstring) bool {
			lo, hi := n.original(0, len(n.text))
			if lo == hi {
				return true
			}
			chars += utf8.RuneCountInString(in[at:lo])
			from := chars
			chars += utf8.RuneCountInString(in[lo:hi])
			at = hi
			if len(out) > 0 {
				out = append(out, ',')
			}
			out = fmt.Appendf(out, "%d:%d", from, chars)
			return true
		})
		return sha(out)
	}
	for name, sums := range want.PreTokenizers {
		p, err := buildPreTokenizer(json.RawMessage(`{"type":"` + name + `","individual_digits":true}`))
		if err != nil {
			t.Fatal(err)
		}
		for i, in := range inputs {
			if cuts(p, in) != sums[i] {
				t.Errorf("%s differs on input %d", name, i)
			}
		}
	}
	for pattern, sum := range want.Patterns {
		re, err := compileRegex(pattern)
		if err != nil {
			t.Error(err)
			continue
		}
		if cuts(&preSplit{find: re.findAll, behavior: behIsolated}, inputs[1]) != sum {
			t.Errorf("pattern %q differs", pattern)
		}
	}
}
