package tokenizer

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// setParts makes a Tokenizer cut its texts into parts of size bytes for a number of goroutines.
func setParts(tok *Tokenizer, threads, size int) {
	tok.fast.threads, tok.fast.minParallel, tok.fast.partMin = threads, 1, size
}

// setWhole makes a Tokenizer leave its texts whole.
func setWhole(tok *Tokenizer) { tok.fast.threads, tok.fast.minParallel = 1, math.MaxInt }

// mixedText makes a text of pieces of golden texts, special tokens, runs and single characters.
func mixedText(r *rand.Rand, cases []goldenCase, tok *Tokenizer, n int) []byte {
	var b []byte
	specials := []string{"<s>", "\n\n", "\u2581\u2581", "<table>", " "}
	for id := range uint32(tok.Size()) {
		if tok.IsSpecial(id) && len(specials) < 40 {
			specials = append(specials, tok.Piece(id))
		}
	}
	units := []string{" ", "\n", "\r\n", "a", "\u0301", "中", "か\u3099", "123", "'s", "\u2581", "й", "é", "\t", "。", "-", "가\u11a8", "\u00a0"}
	for len(b) < n {
		switch r.IntN(8) {
		case 0:
			b = append(b, specials[r.IntN(len(specials))]...)
		case 1:
			b = append(b, bytes.Repeat([]byte(units[r.IntN(len(units))]), r.IntN(40))...)
		case 2, 3:
			b = append(b, units[r.IntN(len(units))]...)
		default:
			t := cases[r.IntN(len(cases))].Text
			i := r.IntN(len(t) + 1)
			b = append(b, t[i:min(len(t), i+r.IntN(200))]...)
		}
	}
	return b
}

// TestAnyCut encodes texts with any number of goroutines and parts of any size.
func TestAnyCut(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 12
	}
	for name := range fastSpecs {
		t.Run(name, func(t *testing.T) {
			tok, cases := open(t, name), readGolden(t, name)
			defer setParts(tok, tok.fast.threads, tok.fast.partMin)
			r := rand.New(rand.NewPCG(11, 12))
			for range rounds {
				text := mixedText(r, cases, tok, 200+r.IntN(20_000))
				setWhole(tok)
				want := tok.AppendEncode(nil, text)
				for i := range 4 {
					threads, size := 1+r.IntN(5), 1+r.IntN(3000)
					if i == 0 {
						threads = 1
					}
					setParts(tok, threads, size)
					if got := tok.AppendEncode(nil, text); !slices.Equal(got, want) {
						k := firstDifference(got, want)
						t.Fatalf("%d goroutines, parts of %d: differs at id %d of %d\n%q", threads, size, k, len(want), text)
					}
					if n := tok.Count(string(text)); n != len(want) {
						t.Fatalf("%d goroutines, parts of %d: count %d, want %d\n%q", threads, size, n, len(want), text)
					}
				}
			}
		})
	}
}

// FuzzCuts is TestAnyCut for texts that the fuzzer finds.
func FuzzCuts(f *testing.F) {
	names := []string{"qwen3", "llama2", "gemma3", "gpt4o", "deepseek_v3", "smollm2"}
	for i, s := range []string{"don't  stop\n\n 12345 <|im_start|>user\nhi", "<s>Hello</s> world \u2581\u2581x", "<table>\n\n\t<b>中文かな</b>",
		"HTTPServer's\u0301 isn'T 1234567", "中文。a1b2\r\n\r\n  x", "e\u0301\u0316 й и\u0306 \u1100\u1161\u11a8"} {
		f.Add([]byte(s), uint8(i), uint8(3), uint16(i*3+1))
	}
	opened := map[string]*Tokenizer{}
	f.Fuzz(func(t *testing.T, text []byte, which, threads uint8, size uint16) {
		name := names[int(which)%len(names)]
		if opened[name] == nil {
			opened[name] = open(t, name)
		}
		tok := opened[name]
		defer setParts(tok, tok.fast.threads, tok.fast.partMin)
		text = bytes.Repeat(text, 5)
		setWhole(tok)
		want := tok.AppendEncode(nil, text)
		setParts(tok, 1+int(threads%5), 1+int(size))
		if got := tok.AppendEncode(nil, text); !slices.Equal(got, want) {
			t.Fatalf("%q: differs at id %d of %d", text, firstDifference(got, want), len(want))
		}
	})
}
