package krserve

import (
	"context"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/testmodel"
)

// TestChoices: n answers compute their prompt once and are the answers that n requests give one by one.
func TestChoices(t *testing.T) {
	e, m := openFake(t, Config{MaxQueue: 8}, 1000, 400)
	r := Request{Prompt: make([]uint32, 500), MaxTokens: 30, IgnoreEOS: true, Temperature: 1, Seed: 9, Choice: 2, Tenant: "t"}
	streams, err := e.StartChoices(context.Background(), r, 6)
	if err != nil {
		t.Fatal(err)
	}
	var got []Result
	for _, s := range streams {
		got = append(got, drain(t, s))
	}
	if rows := m.Stats().Rows; rows > 500+6*31 {
		t.Errorf("%d rows", rows)
	}
	other, _ := openFake(t, Config{}, 1000, 400)
	for i := range got {
		want, err := other.Generate(context.Background(), r)
		if err != nil || !reflect.DeepEqual(want.Tokens, got[i].Tokens) {
			t.Errorf("choice %d: %q, alone %q, %v", i, got[i].Text, want.Text, err)
		}
		r.Choice++
	}
	if _, err := e.StartChoices(context.Background(), r, 0); !errors.Is(err, ErrInvalid) {
		t.Errorf("no choices: %v", err)
	}
	if _, err := e.StartChoices(context.Background(), r, 9); !errors.Is(err, ErrBusy) {
		t.Errorf("more than the queue: %v", err)
	}
	if st := e.Stats(); st.Waiting+st.Running != 0 {
		t.Errorf("a refused call left %+v", st)
	}
}

// TestEmbedPooling: pooling against its definition, over the hash model's states.
func TestEmbedPooling(t *testing.T) {
	e, m := openHash(t, Config{}, 0, 1500, 100)
	e.info.Width = testmodel.Width
	inputs := []string{"the sea", strings.Repeat("one two three ", 15), "a"}
	for _, p := range []string{"", "mean", "last", "cls"} {
		for _, raw := range []bool{false, true} {
			out, _, err := e.Embed(context.Background(), inputs, EmbedOptions{Pooling: p, Unnormalised: raw})
			if err != nil {
				t.Fatal(err)
			}
			for i, text := range inputs {
				ids := e.Tokenizer().Encode(text)
				want := make([]float64, testmodel.Width)
				for n := range ids {
					if p == "last" && n < len(ids)-1 || p == "cls" && n > 0 {
						continue
					}
					for k, x := range m.Hidden(ids[:n+1]) {
						want[k] += float64(x)
					}
				}
				scale, square := 1.0, 0.0
				for _, x := range want {
					square += x * x
				}
				if !raw {
					scale = 1 / math.Sqrt(square)
				} else if p == "" || p == "mean" {
					scale = 1 / float64(len(ids))
				}
				for k := range want {
					if d := want[k]*scale - float64(out[i][k]); math.Abs(d) > 1e-6 {
						t.Errorf("%q, raw %v, input %d, element %d: off by %v", p, raw, i, k, d)
					}
				}
			}
		}
	}
	if _, _, err := e.Embed(context.Background(), inputs, EmbedOptions{Pooling: "max"}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "Pooling") {
		t.Errorf("unknown pooling: %v", err)
	}
	if _, _, err := e.Embed(context.Background(), []string{"a", strings.Repeat("word ", 2000)}, EmbedOptions{}); !errors.Is(err, ErrContextLength) || !strings.Contains(err.Error(), "inputs[1]") {
		t.Errorf("too long: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.OnStep = func(*backend.Batch) error { cancel(); return nil }
	if _, _, err := e.Embed(ctx, []string{strings.Repeat("one two three ", 300)}, EmbedOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if out, _, err := e.Embed(context.Background(), nil, EmbedOptions{}); err != nil || len(out) != 0 {
		t.Errorf("nothing: %+v, %v", out, err)
	}
}

// TestEmbed: the fast backends' vectors are close to the reference's, bit-equal in any company, and similar texts are
// nearer than others.
func TestEmbed(t *testing.T) {
	inputs := []string{"A cat sleeps on the sofa.", "The kitten is napping on a couch.", "Quarterly revenue grew by seven percent."}
	dot := func(a, b []float32) float64 {
		s := 0.0
		for i := range a {
			s += float64(a[i]) * float64(b[i])
		}
		return s
	}
	want := map[string][][]float32{}
	for _, name := range []string{"reference", ""} {
		e := openModel(t, Config{Model: modelPath(t, "smollm2"), Backend: name, ContextTokens: 256})
		for _, p := range []string{"mean", "last", "cls"} {
			out, _, err := e.Embed(context.Background(), inputs, EmbedOptions{Pooling: p})
			if err != nil {
				t.Fatal(err)
			}
			if want[p] == nil {
				want[p] = out
			}
			for i, v := range out {
				if c := dot(v, want[p][i]); len(v) != e.Info().Width || c < 0.99 {
					t.Errorf("%s: %d elements, cosine to the reference %v", p, len(v), c)
				}
				one, _, err := e.Embed(context.Background(), inputs[i:i+1], EmbedOptions{Pooling: p})
				if err != nil || !reflect.DeepEqual(one[0], v) {
					t.Errorf("%s: input %d differs alone (%v)", p, i, err)
				}
			}
		}
	}
	v := want["mean"]
	if dot(v[0], v[1]) <= dot(v[0], v[2]) {
		t.Errorf("cats %v, revenue %v", dot(v[0], v[1]), dot(v[0], v[2]))
	}
}

// TestSpeculation: on every backend, a text that repeats itself is drawn through drafts, and has the tokens and bit-equal
// log-probabilities that it has without.
func TestSpeculation(t *testing.T) {
	list := "1. red apple\n2. red apple\n3. red apple\n4. red apple\n"
	reqs := []Request{
		{Raw: list, MaxTokens: 40, IgnoreEOS: true, TopLogProbs: 2},
		{Raw: list, MaxTokens: 40, IgnoreEOS: true, Temperature: 0.4, Seed: 3, LogProbs: true},
		{Raw: list, MaxTokens: 40, FrequencyPenalty: 0.1, RepetitionPenalty: 1.05, LogProbs: true},
		{Raw: list, MaxTokens: 60, Stop: []string{"8. red"}},
	}
	for _, b := range backend.Names() {
		if b == "reference" {
			for i := range reqs {
				reqs[i].MaxTokens = 10
			}
		}
		var plain []Result
		for _, off := range []bool{true, false} {
			e := openModel(t, Config{Model: modelPath(t, "smollm2"), Backend: b, ContextTokens: 256, NoSpeculation: off, alwaysDraft: true})
			for i, r := range reqs {
				got, err := e.Generate(context.Background(), r)
				if err != nil {
					t.Fatal(err)
				}
				if off {
					plain = append(plain, got)
				} else if got.Text != plain[i].Text || got.FinishReason != plain[i].FinishReason || !reflect.DeepEqual(got.Tokens, plain[i].Tokens) {
					t.Errorf("%s, request %d: %q, without drafts %q", b, i, got.Text, plain[i].Text)
				}
			}
			st := e.Stats()
			t.Logf("%s off=%v: %d of %d drafts accepted, %d steps for %d tokens", b, off, st.AcceptedTokens, st.DraftTokens, st.Steps, st.CompletionTokens)
			if off != (st.DraftTokens == 0) || off != (st.AcceptedTokens == 0) {
				t.Errorf("%s, off %v: %d drafts, %d accepted", b, off, st.DraftTokens, st.AcceptedTokens)
			}
		}
	}
}
