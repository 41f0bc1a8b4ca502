package krserve

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/testenv"
)

type goldenCase struct {
	Text     string      `json:"text"`
	IDs      []uint32    `json:"ids"`
	LogProbs []float32   `json:"logprobs"`
	Greedy   []uint32    `json:"greedy"`
	Margin   []float32   `json:"margin"`
	Top      [][]float64 `json:"top"`
}

func goldens(t testing.TB, name string) []goldenCase {
	t.Helper()
	data, err := os.ReadFile(testenv.Golden("engine", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var g struct{ Cases []goldenCase }
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Cases) == 0 {
		t.Fatal("no cases")
	}
	return g.Cases
}

func modelPath(t testing.TB, name string) string {
	if name == "smollm2" {
		return testenv.SmolLM2(t)
	}
	return testenv.Gemma3(t)
}

func openModel(t testing.TB, c Config) *Engine {
	t.Helper()
	e, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// TestGoldenGreedy runs the golden prompts through the whole engine, all at once, on every backend: the answers agree
// with the float32 reference up to the first step whose margin is too small to tell.
func TestGoldenGreedy(t *testing.T) {
	for _, name := range []string{"smollm2", "gemma3-270m"} {
		for _, b := range backend.Names() {
			t.Run(name+"/"+b, func(t *testing.T) {
				e := openModel(t, Config{Model: modelPath(t, name), Backend: b, ContextTokens: 2048})
				n, margin := 24, float32(0.5)
				if b == "reference" {
					n, margin = 4, 0.01
				}
				cases := goldens(t, name)
				if b == "reference" { // slow, and the ground truth of its own tests
					cases = cases[:3]
				}
				var streams []*Stream
				for _, c := range cases {
					s, err := e.Start(context.Background(), Request{Prompt: c.IDs, MaxTokens: n, IgnoreEOS: true})
					if err != nil {
						t.Fatal(err)
					}
					streams = append(streams, s)
				}
				agreed, total := 0, 0
				for i, s := range streams {
					c := cases[i]
					var ids []uint32
					text := ""
					for tok, err := range s.All() {
						if err != nil {
							t.Fatal(err)
						}
						ids = append(ids, tok.ID)
						text += tok.Text
					}
					if len(ids) != n || s.FinishReason() != FinishLength {
						t.Errorf("case %d: %d tokens, %s", i, len(ids), s.FinishReason())
					}
					if want := string(e.Tokenizer().AppendDecode(nil, ids, true)); text != want {
						t.Errorf("case %d: streamed %q, decoded %q", i, text, want)
					}
					if u := s.Usage(); u.PromptTokens != len(c.IDs) || u.CompletionTokens != n {
						t.Errorf("case %d: usage %+v", i, u)
					}
					for k := range ids {
						if c.Margin[k] < margin {
							break
						}
						total++
						if ids[k] != c.Greedy[k] {
							t.Errorf("case %d step %d: %d, want %d with margin %v", i, k, ids[k], c.Greedy[k], c.Margin[k])
							break
						}
						agreed++
					}
				}
				t.Logf("%d of %d tokens with a margin ≥ %v equal the golden's", agreed, total, margin)
			})
		}
	}
}

func TestScore(t *testing.T) {
	e := openModel(t, Config{Model: modelPath(t, "smollm2"), Backend: "reference", ContextTokens: 512})
	c := goldens(t, "smollm2")[1]
	s, err := e.Score(context.Background(), c.IDs)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.LogProbs) != len(c.LogProbs) || len(s.Top) != 20 || len(s.Logits) != e.Info().Vocab {
		t.Fatalf("%d log-probabilities, %d best, %d logits", len(s.LogProbs), len(s.Top), len(s.Logits))
	}
	sum := 0.0
	for i := range s.LogProbs {
		d := float64(s.LogProbs[i] - c.LogProbs[i])
		sum += max(d, -d)
	}
	if mean := sum / float64(len(s.LogProbs)); mean > 0.002 {
		t.Errorf("mean distance %v", mean)
	}
	for i := range s.Top {
		if d := float64(s.Top[i].LogProb) - c.Top[i][1]; d > 0.01 || d < -0.01 {
			t.Errorf("place %d: %+v, want %v", i, s.Top[i], c.Top[i])
		}
	}
	if _, err := e.Score(context.Background(), nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("Score of nothing: %v", err)
	}
	if _, err := e.Score(context.Background(), make([]uint32, 513)); !errors.Is(err, ErrContextLength) {
		t.Errorf("Score of too much: %v", err)
	}
}

// TestOpenErrors: every mistake has its sentinel and names the field or file.
func TestOpenErrors(t *testing.T) {
	model := testenv.SmolLM2(t)
	junk := t.TempDir() + "/junk.gguf"
	if err := os.WriteFile(junk, []byte("GGUF and then nothing sensible"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		c     Config
		want  error
		names string
	}{
		{Config{}, ErrInvalid, "Config.Model"},
		{Config{Model: "no/such/file.gguf"}, ErrNotFound, "no/such/file.gguf"},
		{Config{Model: junk}, ErrFormat, "junk.gguf"},
		{Config{Model: model, Threads: -1}, ErrInvalid, "Config.Threads"},
		{Config{Model: model, ContextTokens: -1}, ErrInvalid, "Config.ContextTokens"},
		{Config{Model: model, ContextTokens: 1 << 30}, ErrInvalid, "Config.ContextTokens"},
		{Config{Model: model, KVBytes: -1}, ErrInvalid, "Config.KVBytes"},
		{Config{Model: model, KVBytes: 1000}, ErrMemory, "Config.KVBytes"},
		{Config{Model: model, MaxQueue: -1}, ErrInvalid, "Config.MaxQueue"},
		{Config{Model: model, Backend: "abacus"}, ErrUnsupported, "Config.Backend"},
	} {
		e, err := Open(context.Background(), c.c)
		if e != nil || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.names) {
			t.Errorf("Open(%+v): %v; want %v that names %s", c.c, err, c.want, c.names)
		}
		var ke *Error
		if !errors.As(err, &ke) || ke.Op != "open" {
			t.Errorf("Open(%+v): %v is no *Error of open", c.c, err)
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("changed my mind")
	cancel(cause)
	if _, err := Open(ctx, Config{Model: model}); !errors.Is(err, cause) {
		t.Errorf("Open with a cancelled context: %v", err)
	}
}

// TestContext: the longest prompt leaves room for one token; an answer ends where the context does.
func TestContext(t *testing.T) {
	e := openModel(t, Config{Model: testenv.SmolLM2(t), ContextTokens: 40})
	prompt := make([]uint32, 40)
	for i := range prompt {
		prompt[i] = uint32(1000 + i)
	}
	_, err := e.Start(context.Background(), Request{Prompt: prompt})
	if !errors.Is(err, ErrContextLength) || strings.Count(err.Error(), "40") != 2 {
		t.Errorf("prompt of 40 in 40: %v", err)
	}
	for _, n := range []int{39, 30} {
		r, err := e.Generate(context.Background(), Request{Prompt: prompt[:n], IgnoreEOS: true, MaxTokens: 1 << 20})
		if err != nil || r.FinishReason != FinishLength || len(r.Tokens) != 40-n || r.Usage.CompletionTokens != 40-n {
			t.Errorf("prompt of %d in 40: %d tokens, %s, %v", n, len(r.Tokens), r.FinishReason, err)
		}
	}
}

func TestStops(t *testing.T) {
	e := openModel(t, Config{Model: testenv.SmolLM2(t), ContextTokens: 512})
	c := goldens(t, "smollm2")[0]
	whole, err := e.Generate(context.Background(), Request{Prompt: c.IDs, MaxTokens: 40, IgnoreEOS: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(whole.Text) < 40 {
		t.Fatalf("only %q", whole.Text)
	}
	for from := 1; from+12 < len(whole.Text); from += 29 {
		for _, n := range []int{1, 3, 12} {
			stop := whole.Text[from : from+n]
			want, _ := stopReference(whole.Text, []string{stop})
			r, err := e.Generate(context.Background(), Request{Prompt: c.IDs, MaxTokens: 40, IgnoreEOS: true, Stop: []string{"never in the text", stop}})
			if err != nil || r.Text != want || r.FinishReason != FinishStop {
				t.Fatalf("stop %q: %q, want %q (%s, %v)", stop, r.Text, want, r.FinishReason, err)
			}
			if u := r.Usage; u.CompletionTokens != len(r.Tokens) {
				t.Errorf("stop %q: %+v for %d tokens", stop, u, len(r.Tokens))
			}
		}
	}
	id := whole.Tokens[7].ID
	at := slices.IndexFunc(whole.Tokens, func(t Token) bool { return t.ID == id })
	r, err := e.Generate(context.Background(), Request{Prompt: c.IDs, MaxTokens: 40, IgnoreEOS: true, StopIDs: []uint32{id}})
	if err != nil || r.FinishReason != FinishStop || len(r.Tokens) != at+1 || !strings.HasPrefix(whole.Text, r.Text) {
		t.Errorf("stop id: %q, %d tokens, %s, %v", r.Text, len(r.Tokens), r.FinishReason, err)
	}
	// Banning everything but the end token makes the model stop at once.
	eos, ok := e.Tokenizer().EOS()
	if !ok {
		t.Fatal("no end token")
	}
	r, err = e.Generate(context.Background(), Request{Prompt: c.IDs, LogitBias: map[uint32]float32{eos: 1000}})
	if err != nil || r.FinishReason != FinishStop || len(r.Tokens) != 1 || r.Text != "" {
		t.Errorf("end token: %+v, %v", r, err)
	}
	r, err = e.Generate(context.Background(), Request{Prompt: c.IDs, LogitBias: map[uint32]float32{eos: 1000}, IgnoreEOS: true, MaxTokens: 3})
	if err != nil || r.FinishReason != FinishLength || len(r.Tokens) != 3 {
		t.Errorf("ignored end token: %+v, %v", r, err)
	}
}

func TestStreamEnds(t *testing.T) {
	e := openModel(t, Config{Model: testenv.SmolLM2(t), ContextTokens: 512})
	s, err := e.Start(context.Background(), Request{Raw: "One two three", MaxTokens: 3, IgnoreEOS: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if _, err := s.Next(); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if s.FinishReason() != FinishLength {
		t.Errorf("after Close: %s", s.FinishReason())
	}
	if _, err := s.Next(); !errors.Is(err, ErrClosed) {
		t.Errorf("Next after Close: %v", err)
	}
}
