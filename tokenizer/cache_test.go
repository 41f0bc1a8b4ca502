package tokenizer

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"unicode/utf8"
)

var fastSpecs = map[string]fastSpec{
	"qwen3":       {patterns: []string{patternQwen2}, nfc: true},
	"llama3_1":    {patterns: []string{patternCL100K}},
	"gpt4o":       {patterns: []string{patternO200K}},
	"gptoss":      {patterns: []string{patternO200K}},
	"deepseek_v3": {patterns: []string{patternNumbers3, patternCJK, patternDeepSeek}},
	"smollm2":     {patterns: []string{"digits1", "gpt2"}},
	"gemma3":      {},
	"llama2":      {},
}

type loaded struct {
	m  *bpeModel
	mg *merger
}

var loadMu sync.Mutex
var loadedModels = map[string]loaded{}

func loadReal(tb testing.TB, name string) loaded {
	loadMu.Lock()
	defer loadMu.Unlock()
	l, ok := loadedModels[name]
	if !ok {
		m := realModel(tb, name)
		l = loaded{m, newMerger(m)}
		loadedModels[name] = l
	}
	return l
}

// plainSection encodes without blocks, cache, cuts or threads: steps and merges alone.
func plainSection(f *fast, text []byte, prefix bool) (ids []uint32) {
	if f.nfc {
		text = appendNFC(nil, text)
	}
	if f.units != nil {
		b := bytes.ReplaceAll(text, spaceMarkUTF8, []byte(" "))
		if prefix {
			b = append([]byte(" "), b...)
		}
		var syms []uint32
		for len(b) > 0 {
			_, n := utf8.DecodeRune(b)
			c := b[:n]
			if c[0] == ' ' {
				c = spaceMarkUTF8
			}
			if id, ok := f.m.vocab.find(c); ok {
				syms = append(syms, id)
			} else {
				for _, x := range c {
					syms = append(syms, f.m.byteID[x])
				}
			}
			b = b[n:]
		}
		return f.mg.appendSymbols(nil, syms) // the whole text as one piece
	}
	for i := 0; i < len(text); {
		e := f.step(text, i)
		ids = f.mg.appendBytes(ids, text[i:e])
		i = e
	}
	return ids
}

func firstDifference(a, b []uint32) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return i
}

func TestFastAgainstPlain(t *testing.T) {
	cases := pieceCases(t, piecesFile())
	for name, spec := range fastSpecs {
		t.Run(name, func(t *testing.T) {
			l := loadReal(t, name)
			one := newFast(l.m, l.mg, spec, Config{Threads: 1})
			many := newFast(l.m, l.mg, spec, Config{Threads: 3, MinParallelBytes: 1, CacheBytes: 1 << 16})
			if one == nil || many == nil {
				t.Fatal("no fast path")
			}
			var all []byte
			check := func(text []byte, prefix bool) {
				want := plainSection(one, text, prefix)
				for i, f := range []*fast{one, many} {
					got := f.appendSection([]uint32{7}, text, prefix)[1:]
					if !slices.Equal(got, want) {
						k := firstDifference(got, want)
						t.Fatalf("variant %d, %d bytes, id %d of %d: got %v want %v\n%.300q", i, len(text), k, len(want), got[max(0, k-2):min(k+5, len(got))], want[max(0, k-2):min(k+5, len(want))], text)
					}
					if n := f.countSection(text, prefix); n != len(want) {
						t.Fatalf("variant %d: count %d, want %d", i, n, len(want))
					}
				}
			}
			check(nil, false)
			for i, c := range cases {
				all = append(all, c.Text...)
				if testing.Short() && i%8 > 1 {
					continue
				}
				check([]byte(c.Text), one.units != nil && i%2 == 0)
			}
			check(all, one.units != nil)
		})
	}
}

// TestUnbrokenText has texts with few or no forced boundaries, or pieces of megabytes.
func TestUnbrokenText(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	random := func(set string, n int) []byte {
		var b []byte
		rs := []rune(set)
		for len(b) < n {
			b = utf8.AppendRune(b, rs[r.IntN(len(rs))])
		}
		return b
	}
	n := 120_000
	if testing.Short() {
		n = 30_000
	}
	texts := map[string][]byte{
		"a": bytes.Repeat([]byte("a"), n), "spaces": bytes.Repeat([]byte(" "), n), "newlines": bytes.Repeat([]byte("\n"), n),
		"letters": random("abcdefghijklmnopqrstuvwxyz", n), "punct": random("+-*/=().,;'", n), "punct and spaces": random("+- (\n", n),
		"zh": random("的一是不了人我在有他这中大来上国", n), "emoji": random("🙂👍🏽❤️\u200d", n), "marks": bytes.Repeat([]byte("\u0301\u0323"), n/4),
		"digits": random("0123456789", n), "upper": random("ABCé的", n), "quotes": random("'stSdl ", n), "controls": random("\x00\x01\u200b", n), "katakana": random("カ・ー゛", n),
	}
	for name, spec := range fastSpecs {
		l := loadReal(t, name)
		one := newFast(l.m, l.mg, spec, Config{Threads: 1})
		many := newFast(l.m, l.mg, spec, Config{Threads: 4, MinParallelBytes: 1})
		for kind, text := range texts {
			want := plainSection(one, text, false)
			for i, f := range []*fast{one, many} {
				if got := f.appendSection(nil, text, false); !slices.Equal(got, want) {
					k := firstDifference(got, want)
					t.Fatalf("%s, %s, variant %d: differ at id %d: got %v want %v", name, kind, i, k, got[k:min(k+5, len(got))], want[k:min(k+5, len(want))])
				}
			}
		}
	}
}

func TestNFCPrefix(t *testing.T) {
	tab := classTables[scanQwen2]()
	for r := rune(1); r <= utf8.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		text := utf8.AppendRune([]byte("xx"), r)
		if n := nfcPrefix(tab, text); n == len(text) && !bytes.Equal(appendNFC(nil, text), text) {
			t.Fatalf("%U is not in NFC", r)
		} else if n < len(text) && n > 1 {
			t.Fatalf("%U: the prefix of %d bytes has the character before", r, n)
		}
	}
	for _, s := range []string{"a\u0301", "e\u0323\u0301", "xyz a\u0316\u0301b", "a\u0301\u0316", "\u1100\u1161", "가\u11a8", "aaaaaaaaaaaaaaaaaaaaa\u0308"} {
		if n := nfcPrefix(tab, []byte(s)); (n == len(s)) && string(appendNFC(nil, []byte(s))) != s {
			t.Errorf("%q passes", s)
		}
	}
}

func TestAppendNFCFrom(t *testing.T) {
	tab := classTables[scanQwen2]()
	parts := []string{"a", "e", "\u0301", "\u0316", "й", "и\u0306", " ", "\u1100", "\u1161", "가", "\u11a8", "中", "\u0344", "\u2126", "\u0f73", "plain text ", "\u3099", "か"}
	r := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		var b []byte
		for range r.IntN(24) {
			b = append(b, parts[r.IntN(len(parts))]...)
		}
		if n := nfcPrefix(tab, b); !bytes.Equal(appendNFCFrom(nil, b, n), appendNFC(nil, b)) {
			t.Fatalf("%q (%x): %q, want %q", b, b, appendNFCFrom(nil, b, n), appendNFC(nil, b))
		}
	}
}

// TestConcurrentSections has goroutines share one fast path and its workers.
func TestConcurrentSections(t *testing.T) {
	l := loadReal(t, "smollm2")
	f := newFast(l.m, l.mg, fastSpecs["smollm2"], Config{Threads: 2, MinParallelBytes: 4096, CacheBytes: 1 << 14})
	var texts [][]byte
	var want [][]uint32
	for _, c := range pieceCases(t, piecesFile())[:200] {
		texts = append(texts, bytes.Repeat([]byte(c.Text), 3))
		want = append(want, plainSection(f, texts[len(texts)-1], false))
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range texts {
				k := (i*7 + g*50) % len(texts)
				if got := f.appendSection(nil, texts[k], false); !slices.Equal(got, want[k]) {
					t.Errorf("text %d differs", k)
				}
				if n := f.countSection(texts[k], false); n != len(want[k]) {
					t.Errorf("text %d: count %d, want %d", k, n, len(want[k]))
				}
			}
		})
	}
	wg.Wait()
	if hits, misses := f.stats(); hits == 0 || misses == 0 {
		t.Errorf("stats: %d hits, %d misses", hits, misses)
	}
}
