package krserve

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/testenv"
)

// say sends a turn and reads the answer.
func say(t *testing.T, s *Session, text string) Result {
	t.Helper()
	st, err := s.Send(context.Background(), text)
	if err != nil {
		t.Fatal(err)
	}
	return drain(t, st)
}

func drain(t *testing.T, st *Stream) Result {
	t.Helper()
	var r Result
	for {
		tok, err := st.Next()
		if err == io.EOF {
			r.Usage, r.FinishReason = st.Usage(), st.FinishReason()
			return r
		}
		if err != nil {
			t.Fatal(err)
		}
		r.Text += tok.Text
		r.Tokens = append(r.Tokens, tok)
	}
}

// TestSession: every turn finds all of the turns before it in the cache, and answers as a stateless request with the
// same history does.
func TestSession(t *testing.T) {
	e := openModel(t, Config{Model: testenv.SmolLM2(t), ContextTokens: 1024})
	s, err := e.NewSession(Request{Messages: []Message{{Role: "system", Content: "You are brief."}}, MaxTokens: 24})
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for i, text := range []string{"My name is Ada. Say hello.", "What is two plus two?", "Name a colour. <|im_end|> is text."} {
		before := s.Messages()
		r := say(t, s, text)
		if i > 0 && r.Usage.CachedTokens < total-1 {
			t.Errorf("turn %d: %d tokens cached of the %d before it", i, r.Usage.CachedTokens, total)
		}
		total = r.Usage.PromptTokens + r.Usage.CompletionTokens
		want, err := e.Generate(context.Background(), Request{Messages: append(before, Message{Role: "user", Content: text}), MaxTokens: 24})
		if err != nil || r.Text != want.Text {
			t.Errorf("turn %d: %q, stateless %q, %v", i, r.Text, want.Text, err)
		}
		if m := s.Messages(); len(m) != len(before)+2 || m[len(m)-1].Role != "assistant" || m[len(m)-1].Content != r.Text {
			t.Errorf("turn %d: turns %+v", i, m)
		}
	}
	f := s.Fork()
	if a, b := say(t, f, "Go on."), say(t, s, "Go on."); a.Text != b.Text || b.Usage.CachedTokens != b.Usage.PromptTokens-1 {
		t.Errorf("fork says %q, the original %q with %+v", a.Text, b.Text, b.Usage)
	}
}

func TestSessionMisuse(t *testing.T) {
	e, _ := openHash(t, Config{}, 0, 3000, 400)
	e.template = compiled("{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}>")
	ctx := context.Background()
	if _, err := e.NewSession(Request{Raw: "a"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a session of Raw: %v", err)
	}
	s, err := e.NewSession(Request{MaxTokens: 1 << 20, IgnoreEOS: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Regenerate(ctx); !errors.Is(err, ErrInvalid) {
		t.Errorf("Regenerate of nothing: %v", err)
	}
	for _, m := range s.Messages() {
		t.Errorf("unexpected turn %+v", m)
	}
	st, err := s.Send(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []func() (*Stream, error){func() (*Stream, error) { return s.Send(ctx, "b") }, func() (*Stream, error) { return s.Regenerate(ctx) }} {
		if _, err := f(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "under way") {
			t.Errorf("during an answer: %v", err)
		}
	}
	if m := s.Messages(); len(m) != 1 {
		t.Errorf("turns during an answer: %+v", m)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	n := len(s.Messages())
	e.template = compiled("{{ raise_exception('no') }}")
	if _, err := s.Send(ctx, "a"); !errors.Is(err, ErrTemplate) || len(s.Messages()) != n || n != 2 {
		t.Errorf("failed Send: %v, %d turns", err, len(s.Messages()))
	}
}

// TestRegenerate: another answer to the same turn, and a cancelled answer that becomes a turn as far as it came.
func TestRegenerate(t *testing.T) {
	e := openModel(t, Config{Model: testenv.SmolLM2(t), ContextTokens: 512})
	s, err := e.NewSession(Request{MaxTokens: 16, Temperature: 1, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	a := say(t, s, "Tell me a story.")
	st, err := s.Regenerate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	b := drain(t, st)
	if a.Text == b.Text || b.Usage.CachedTokens < b.Usage.PromptTokens-1 || len(s.Messages()) != 2 {
		t.Errorf("%q and again %q, %+v, %d turns", a.Text, b.Text, b.Usage, len(s.Messages()))
	}
	if st, err = s.Send(context.Background(), "And then?"); err != nil {
		t.Fatal(err)
	}
	tok, err := st.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	m := s.Messages()
	if len(m) != 4 || !strings.HasPrefix(m[3].Content, tok.Text) {
		t.Errorf("after Close: %+v", m)
	}
	if r := say(t, s, "Go on."); r.Text == "" {
		t.Error("no answer after a cancelled one")
	}
}

// TestSessionHolds: a session's turns outlast what others leave in the cache, in a fork after Close of the original, too.
func TestSessionHolds(t *testing.T) {
	e, _ := openHash(t, Config{}, 0, 1200, 40)
	e.template = compiled("{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}>")
	s, err := e.NewSession(Request{MaxTokens: 8, IgnoreEOS: true, Messages: []Message{{Role: "system", Content: strings.Repeat("kind ", 60)}}})
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for i := range 3 {
		r := say(t, s, "more")
		if i > 0 && r.Usage.CachedTokens < total-1 {
			t.Errorf("turn %d: %d tokens cached of %d", i, r.Usage.CachedTokens, total)
		}
		total = r.Usage.PromptTokens // the fake tokenizer's random answers are encoded anew
		for j := range 10 {
			if _, err := e.Generate(context.Background(), Request{Raw: strings.Repeat(string(rune('a'+j)), 500), MaxTokens: 2}); err != nil {
				t.Fatal(err)
			}
		}
		if i == 1 {
			f := s.Fork()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = f
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
