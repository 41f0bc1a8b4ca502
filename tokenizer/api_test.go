package tokenizer

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/testenv"
)

func open(tb testing.TB, name string) *Tokenizer {
	tb.Helper()
	t, err := Open(testenv.Tokenizer(tb, name))
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func trained(tb testing.TB, name string) *Tokenizer {
	tb.Helper()
	t, err := Parse(gunzip(tb, filepath.Join("testdata", "trained", name+".gz")))
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// An Appender's ids are those of the whole text after every step, and again after going back.
func TestAppender(t *testing.T) {
	toks := []*Tokenizer{open(t, "smollm2"), open(t, "llama2"), trained(t, "wordlevel_added.json"), trained(t, "bytelevel_nospace.json"),
		trained(t, "bpe_fallback_part.json"), trained(t, "spm_bpe_bytes.model")}
	r := rand.New(rand.NewPCG(5, 6))
	for i, tok := range toks {
		for range 60 {
			a, err := tok.NewAppender(Recognise)
			if err != nil {
				t.Fatal(err)
			}
			var marks []Mark
			var states []string
			text := ""
			var plain []Span
			var plains [][]Span
			for range 12 {
				if r.IntN(4) == 0 && len(marks) > 0 {
					k := r.IntN(len(marks))
					if err := a.Undo(marks[k]); err != nil {
						t.Fatal(err)
					}
					text, plain = states[k], plains[k]
					marks, states, plains = marks[:k], states[:k], plains[:k]
				} else {
					marks, states, plains = append(marks, a.Mark()), append(states, text), append(plains, plain)
					s := randomUnicode(r, tok, r.IntN(60))
					if k := r.IntN(len(s) + 1); r.IntN(3) == 0 {
						s = s[:k] // perhaps within a character
					}
					if r.IntN(3) == 0 {
						if s != "" {
							plain = append(slices.Clone(plain), Span{len(text), len(text) + len(s)})
						}
						a.AppendPlain(s)
					} else {
						a.Append(s)
					}
					text += s
				}
				want, err := tok.EncodeWith(text, Options{Plain: plain})
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(a.IDs(), want) {
					t.Fatalf("tokenizer %d: %q plain %v\n got %v\nwant %v", i, text, plain, a.IDs(), want)
				}
			}
		}
	}
	if _, err := toks[0].NewAppender(Refuse); !errors.Is(err, ErrOptions) {
		t.Errorf("Refuse: %v", err)
	}
}

func TestSpecialModes(t *testing.T) {
	tok := open(t, "smollm2")
	text := "a<|im_start|>b<|im_end|>"
	start, _ := tok.TokenID("<|im_start|>")
	end, _ := tok.TokenID("<|im_end|>")
	ids := tok.Encode(text)
	if !slices.Contains(ids, start) || !slices.Contains(ids, end) {
		t.Errorf("Encode(%q) = %v", text, ids)
	}
	plain, err := tok.EncodeWith(text, Options{Special: AsText})
	if err != nil || slices.Contains(plain, start) || tok.Decode(plain) != text {
		t.Errorf("as text: %v %v %q", plain, err, tok.Decode(plain))
	}
	var special *SpecialTokenError
	if _, err := tok.EncodeWith("\xff"+text, Options{Special: Refuse}); !errors.As(err, &special) || special.Offset != 2 || special.Token != "<|im_start|>" {
		t.Errorf("refused: %v", err)
	}
	part, err := tok.EncodeWith(text, Options{Plain: []Span{{3, 4}}})
	if err != nil || slices.Contains(part, start) || !slices.Contains(part, end) || tok.Decode(part) != text {
		t.Errorf("plain part: %v %v", part, err)
	}
	for _, o := range []Options{{Plain: []Span{{4, 3}}}, {Plain: []Span{{0, 99}}}, {Special: 9}, {Truncate: &Truncation{Max: -1}},
		{Truncate: &Truncation{Max: 3, Stride: 3}}, {Pad: &Padding{To: -1}}} {
		if _, err := tok.EncodeWith(text+text, o); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if !tok.IsSpecial(start) || tok.IsSpecial(tok.Encode("a")[0]) || tok.Piece(start) != "<|im_start|>" || tok.Piece(1<<30) != "" {
		t.Error("vocabulary look-ups")
	}
	if eos, ok := tok.EOS(); !ok || !slices.Contains(tok.EndIDs(), eos) {
		t.Errorf("EOS %v %v, ends %v", eos, ok, tok.EndIDs())
	}
}

// Counting agrees with encoding, however early it may stop.
func TestCount(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, tok := range []*Tokenizer{open(t, "smollm2"), open(t, "llama2"), trained(t, "unigram.json")} {
		for range 200 {
			s := randomUnicode(r, tok, r.IntN(2000))
			n := len(tok.Encode(s))
			if got := tok.Count(s); got != n {
				t.Fatalf("Count(%q) = %d, want %d", s, got, n)
			}
			for _, limit := range []int{0, 1, n - 1, n, n + 1, n / 2, n / 50} {
				if limit < 0 {
					continue
				}
				if got, in := tok.CountUpTo(s, limit); got != min(n, limit) || in != (n <= limit) {
					t.Fatalf("CountUpTo(%d) = %d, %v; there are %d", limit, got, in, n)
				}
			}
		}
	}
}

func TestBatchAndFuture(t *testing.T) {
	tok := open(t, "smollm2")
	texts := []string{"one", "", "two words", strings.Repeat("many ", 300)}
	b, err := tok.EncodeBatch(context.Background(), texts, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range texts {
		if !slices.Equal(b.Text(i), tok.Encode(s)) {
			t.Errorf("text %d: %v", i, b.Text(i))
		}
		f := tok.EncodeAsync(context.Background(), s, Options{})
		if ids, err := f.Wait(context.Background()); err != nil || !slices.Equal(ids, tok.Encode(s)) {
			t.Errorf("future %d: %v %v", i, ids, err)
		}
	}
	p, err := tok.EncodeBatch(context.Background(), texts[:3], Options{Pad: &Padding{ID: 7, MultipleOf: 4, Left: true}})
	if err != nil || !slices.Equal(p.Text(1), []uint32{7, 7, 7, 7}) {
		t.Errorf("padded: %v %v", p, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := tok.EncodeBatch(ctx, texts, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := tok.EncodeAsync(ctx, "x", Options{}).Wait(context.Background()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled future: %v", err)
	}
	tok.ResetStats()
	tok.Encode("hello world")
	if s := tok.Stats(); s.Encodes != 1 || s.Bytes != 11 || s.Tokens != 2 || s.Time <= 0 {
		t.Errorf("stats %+v", s)
	}
}

// Truncated parts put together are the whole, and offsets point at the text of each token.
func TestTruncateAndOffsets(t *testing.T) {
	tok := open(t, "llama3_1")
	text := "one two three four fünf sechs 七八 nine ten"
	all, err := tok.EncodeFull(text, Options{Offsets: ByteOffsets})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range all.Offsets {
		if want := tok.Decode(all.IDs[i : i+1]); !strings.HasSuffix(want, text[s.Start:s.End]) && !strings.Contains(want, "\uFFFD") {
			t.Errorf("token %d %q is at %q", i, want, text[s.Start:s.End])
		}
	}
	for _, left := range []bool{false, true} {
		e, err := tok.EncodeFull(text, Options{Truncate: &Truncation{Max: 4, Stride: 1, Left: left}})
		if err != nil {
			t.Fatal(err)
		}
		parts := append([]*Encoding{e}, e.Overflow...)
		if left {
			slices.Reverse(parts)
		}
		ids := parts[0].IDs
		for _, p := range parts[1:] {
			ids = append(slices.Clone(ids), p.IDs[1:]...)
		}
		if !slices.Equal(ids, all.IDs) {
			t.Errorf("left %v: %v, want %v", left, ids, all.IDs)
		}
	}
}

// Maximal invalid subparts become one U+FFFD each (Unicode §3.9, table 3-8), with offsets of the bytes that they replace.
func TestInvalidUTF8(t *testing.T) {
	tok := open(t, "smollm2")
	for in, want := range map[string]string{
		"\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64": "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd",
		"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41":                 "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA",
		"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41":                 "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA",
		"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42":                 "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA\uFFFD\uFFFDB",
		"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41":                 "\uFFFD\uFFFD\uFFFD\uFFFDA",
	} {
		if got := tok.Encode(in); !slices.Equal(got, tok.Encode(want)) {
			t.Errorf("%q is encoded as %q, want %q", in, tok.Decode(got), want)
		}
		e, err := tok.EncodeFull(in, Options{Offsets: ByteOffsets})
		if err != nil || !slices.Equal(e.IDs, tok.Encode(want)) || e.Offsets[len(e.Offsets)-1].End != len(in) {
			t.Errorf("%q with offsets: %+v %v", in, e, err)
		}
	}
}
