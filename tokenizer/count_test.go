package tokenizer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// addedTokens spells some added tokens of a tokenizer, of both kinds: found in the raw text and in the normalised one.
func addedTokens(tok *Tokenizer) (out []string) {
	for _, m := range []*addedMatcher{tok.before, tok.after} {
		if m != nil {
			out = append(out, m.tokens[0].content, m.tokens[len(m.tokens)/2].content, m.tokens[len(m.tokens)-1].content)
		}
	}
	return out
}

// unbroken has texts in which places to cut are rare or missing, and some that only look like one.
func unbroken(tok *Tokenizer, n int) (out []string) {
	for _, s := range []string{"a", " ", "\n", "=", "7", "中", "é", "й", "😀", "\u0301", "\u2581", "カ・", "かな゠カ\u3099", "a's", "A\u0301b", "1,", "\xff", "\xe4\xb8",
		"x\xf0\x9f\x98", "\ufffd", "가\u11a8", "e\u0301 ", addedTokens(tok)[0], " " + addedTokens(tok)[0] + "a"} {
		out = append(out, strings.Repeat(s, n/len(s)+1))
	}
	return out
}

// damaged puts any bytes in places of a text.
func damaged(r *rand.Rand, b []byte) []byte {
	for range r.IntN(8) {
		b[r.IntN(len(b))] = byte(r.IntN(256))
	}
	return b
}

// The three tests share a tokenizer, because to open one takes longer than they do.
func TestCountUpTo(t *testing.T) {
	names := goldenNames
	if testing.Short() {
		names = []string{"qwen3", "gemma3", "deepseek_v3"} // NFC; metaspace and byte fallback; several patterns
	}
	for _, name := range names {
		tok := open(t, name)
		t.Run(name+"/exact", func(t *testing.T) { countsExactly(t, tok, readGolden(t, name)) })
		t.Run(name+"/prefix", func(t *testing.T) { countsPrefix(t, tok) })
		t.Run(name+"/allocations", func(t *testing.T) { allocatesNothing(t, tok) })
	}
}

// CountUpTo is the number of ids, or the limit, wherever the chunks are cut.
func countsExactly(t *testing.T, tok *Tokenizer, cases []goldenCase) {
	rounds, long := 40, 3000
	if testing.Short() {
		rounds, long = 4, 1500
	}
	if !tok.fast.cuttable(tok) {
		t.Fatal("cannot be cut")
	}
	r := rand.New(rand.NewPCG(21, 22))
	check := func(text string) {
		t.Helper()
		n := len(tok.Encode(text))
		if got := tok.Count(text); got != n {
			t.Fatalf("Count is %d, want %d: %.300q", got, n, text)
		}
		for _, limit := range []int{0, 1, n / 50, n / 9, n - 1, n, n + 1, r.IntN(n + 1)} {
			if got, within := tok.CountUpTo(text, max(limit, 0)); got != min(n, max(limit, 0)) || within != (n <= max(limit, 0)) {
				t.Fatalf("CountUpTo(%d) is %d, %v; there are %d: %.300q", limit, got, within, n, text)
			}
		}
		b := []byte(text)
		sum, cuts := 0, 0
		for from := 0; from < len(b); cuts++ {
			to := tok.fast.cutBehind(tok, b, from, 1+r.IntN(60))
			chunk := validUTF8(b[from:to])
			sum += tok.fast.count(tok, nstring{text: chunk, hi: len(chunk)}, from > 0)
			from = to
		}
		if sum != n {
			t.Fatalf("%d chunks have %d ids, want %d: %q", cuts, sum, n, text)
		}
	}
	for _, s := range unbroken(tok, long) {
		check(s)
		check("Hello, " + s + " world.")
	}
	for range rounds {
		check(string(mixedText(r, cases, tok, 1+r.IntN(6000))))
		check(string(damaged(r, mixedText(r, cases, tok, 1+r.IntN(3000)))))
		check(randomUnicode(r, tok, r.IntN(3000)))
	}
	for range 20 * rounds { // short texts show what is wrong
		check(randomUnicode(r, tok, r.IntN(40)))
	}
}

// Counting up to a limit goes through a prefix of a long text, and no more.
func countsPrefix(t *testing.T, tok *Tokenizer) {
	words := "The quick brown fox jumps over the lazy dog, 1234 times.\n"
	added := addedTokens(tok)
	for what, unit := range map[string]string{"words": words, "Chinese": "今天天气很好，我们去公园散步吧。一共3个人！", "added": words + strings.Join(added, "x"),
		"invalid": words + "\xff\xe4\xb8", "marks": words + "e\u0301 Ame\u0301lie ", "Cyrillic": "Съешь же ещё этих мягких булок, да выпей чаю. "} {
		text := bytes.Repeat([]byte(unit), 1<<19/len(unit))
		for _, limit := range []int{0, 1, 100, 1000, 5000} {
			ids, read := tok.fast.countUpTo(tok, text, limit)
			if ids <= limit || read > 4096+32*limit {
				t.Errorf("%s: up to %d, %d ids were counted in %d bytes", what, limit, ids, read)
			}
		}
	}
}

// Once caches are warm, and the destination is large enough, nothing is allocated.
func allocatesNothing(t *testing.T, tok *Tokenizer) {
	en, zh := "The quick brown fox doesn't jump over 1234 lazy dogs.\n", "今天天气很好，我们去公园散步吧。一共3个人！"
	texts := []string{"", en, zh, strings.Repeat(en+zh, 50)}
	for _, s := range addedTokens(tok) {
		texts = append(texts, s, en+s+en, s+zh+s, strings.Repeat(en+s+zh+s+s, 30))
	}
	dst, out := make([]uint32, 0, 1<<16), make([]byte, 0, 1<<18)
	for _, s := range texts {
		text := []byte(s)
		none := func(what string, f func()) {
			t.Helper()
			f()
			if n := testing.AllocsPerRun(20, f); n != 0 {
				t.Errorf("%s allocates %v times: %.200q", what, n, s)
			}
		}
		none("AppendEncode", func() { dst = tok.AppendEncode(dst[:0], text) })
		ids := slices.Clone(dst)
		for _, skip := range []bool{false, true} {
			none(fmt.Sprintf("AppendDecode, skipSpecial %v,", skip), func() { out = tok.AppendDecode(out[:0], ids, skip) })
		}
		for _, o := range []Options{{}, {AddSpecial: true}, {Special: AsText}} {
			none(fmt.Sprintf("AppendEncodeWith %+v", o), func() { dst, _ = tok.AppendEncodeWith(dst[:0], text, o) })
		}
		none("Count", func() { _ = tok.Count(s) })
		none("CountUpTo", func() { tok.CountUpTo(s, 1) })
	}
}
