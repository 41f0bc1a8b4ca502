package krserve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/testenv"
	"github.com/krserve/krserve/internal/testmodel"
	"github.com/krserve/krserve/tokenizer"
)

var fakeTokenizer = sync.OnceValues(func() (*Tokenizer, error) {
	return tokenizer.Open(testenv.Root() + "/.testdata/tok/smollm2/tokenizer.json")
})

const fakeVocab = 2000

// openFake returns an engine over a model that hashes its context: as fast as a model can be, and sensitive to
// everything that could go wrong above it.
func openFake(t testing.TB, c Config, contextTokens, blocks int) (*Engine, *testmodel.Hash) {
	t.Helper()
	return openHash(t, c, fakeVocab, contextTokens, blocks)
}

// openHash is openFake for a vocabulary; 0 is the tokenizer's.
func openHash(t testing.TB, c Config, vocab, contextTokens, blocks int) (*Engine, *testmodel.Hash) {
	t.Helper()
	tok, err := fakeTokenizer()
	if err != nil {
		t.Fatal(err)
	}
	if vocab == 0 {
		vocab = tok.Size()
	}
	m := testmodel.NewHash(vocab, stepRows, blocks)
	e, err := newEngine(c, tok, Info{Path: "hash", Vocab: vocab, Trained: contextTokens, Context: contextTokens}, tok.EndIDs(), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e, m
}

// fake makes a prompt of the fake model's ids.
func fake(text string) []uint32 {
	ids := make([]uint32, len(text))
	for i := range ids {
		ids[i] = uint32(text[i]) + uint32(i%7)
	}
	return ids
}

// noLeaks fails when goroutines outlive the test's engines.
func noLeaks(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for range 100 {
			if runtime.NumGoroutine() <= before {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		buf := make([]byte, 1<<16)
		t.Errorf("%d goroutines before, %d after\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
	})
}

func TestRequestErrors(t *testing.T) {
	e, _ := openFake(t, Config{}, 100, 100)
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	ok := []uint32{1, 2}
	for _, c := range []struct {
		r     Request
		names string
	}{
		{Request{}, "Request"},
		{Request{Raw: "a", Prompt: ok}, "Request"},
		{Request{Raw: "a", Messages: []Message{{Role: "user"}}}, "Request"},
		{Request{Prompt: []uint32{}}, "Request"},
		{Request{Prompt: []uint32{1, fakeVocab}}, "Request.Prompt[1]"},
		{Request{Messages: []Message{}}, "Request.Messages"},
		{Request{Messages: []Message{{Role: "user"}, {}}}, "Request.Messages[1].Role"},
		{Request{Messages: []Message{{Role: "user", Extra: json.RawMessage(`[1]`)}}}, "Request.Messages[0].Extra"},
		{Request{Messages: []Message{{Role: "user"}}, Tools: json.RawMessage(`{"a":1}`)}, "Request.Tools"},
		{Request{Messages: []Message{{Role: "user"}}, Kwargs: json.RawMessage(`nope`)}, "Request.Kwargs"},
		{Request{Raw: "a", Tools: json.RawMessage(`[]`)}, "Request.Tools"},
		{Request{Raw: "a", Kwargs: json.RawMessage(`{}`)}, "Request.Kwargs"},
		{Request{Prompt: ok, MaxTokens: -1}, "Request.MaxTokens"},
		{Request{Prompt: ok, MaxTokens: math.MaxInt32 + 1}, "Request.MaxTokens"},
		{Request{Prompt: ok, Temperature: nan}, "Request.Temperature"},
		{Request{Prompt: ok, Temperature: -1}, "Request.Temperature"},
		{Request{Prompt: ok, Temperature: inf}, "Request.Temperature"},
		{Request{Prompt: ok, TopK: -1}, "Request.TopK"},
		{Request{Prompt: ok, TopP: 1.5}, "Request.TopP"},
		{Request{Prompt: ok, MinP: nan}, "Request.MinP"},
		{Request{Prompt: ok, RepetitionPenalty: -2}, "Request.RepetitionPenalty"},
		{Request{Prompt: ok, PresencePenalty: inf}, "Request.PresencePenalty"},
		{Request{Prompt: ok, FrequencyPenalty: nan}, "Request.FrequencyPenalty"},
		{Request{Prompt: ok, TopLogProbs: 21}, "Request.TopLogProbs"},
		{Request{Prompt: ok, LogitBias: map[uint32]float32{fakeVocab: 1}}, "Request.LogitBias"},
		{Request{Prompt: ok, Stop: []string{"a", ""}}, "Request.Stop[1]"},
		{Request{Prompt: ok, StopIDs: []uint32{fakeVocab}}, "Request.StopIDs[0]"},
	} {
		s, err := e.Start(context.Background(), c.r)
		var ke *Error
		if s != nil || !errors.Is(err, ErrInvalid) || !errors.As(err, &ke) || ke.Op != "start" || ke.Path != c.names {
			t.Errorf("%+v: %v; want ErrInvalid at %s", c.r, err, c.names)
		}
	}
}

// TestSameSeedSameText: the text depends on seed and choice alone, not on company.
func TestSameSeedSameText(t *testing.T) {
	noLeaks(t)
	e, _ := openFake(t, Config{}, 1000, 400)
	req := Request{Prompt: fake("Once upon a time"), MaxTokens: 40, Temperature: 1, TopP: 0.95, Seed: 11, IgnoreEOS: true}
	want, err := e.Generate(context.Background(), req)
	if err != nil || want.Seed != 11 {
		t.Fatal(want.Seed, err)
	}
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			r := req
			if i%3 == 1 {
				r.Choice = 1
			} else if i%3 == 2 {
				r.Seed = 0
			}
			got, err := e.Generate(context.Background(), r)
			if err != nil || got.Seed == 0 || (got.Text == want.Text) != (i%3 == 0) {
				t.Errorf("run %d: seed %d, %v\n%q\n%q", i, got.Seed, err, got.Text, want.Text)
			}
		})
	}
	wg.Wait()
}

func TestLogProbsOfTokens(t *testing.T) {
	e, m := openFake(t, Config{}, 1000, 400)
	prompt := []uint32{5, 6, 7}
	r, err := e.Generate(context.Background(), Request{Prompt: prompt, MaxTokens: 5, TopLogProbs: 4, IgnoreEOS: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, tok := range r.Tokens {
		logits := m.Logits(prompt)
		sum := 0.0
		for _, x := range logits {
			sum += math.Exp(float64(x))
		}
		want := float64(logits[tok.ID]) - math.Log(sum)
		if math.Abs(float64(tok.LogProb)-want) > 1e-5 || len(tok.Top) != 4 || tok.Top[0].ID != tok.ID || tok.Top[0].LogProb != tok.LogProb {
			t.Errorf("token %d: %+v, want %v", i, tok, want)
		}
		prompt = append(prompt, tok.ID)
	}
}

// TestCancel: a context ends its stream within one step, and the error is its cause.
func TestCancel(t *testing.T) {
	noLeaks(t)
	e, m := openFake(t, Config{}, 100000, 4000)
	steps := make(chan struct{}, 1)
	hold := make(chan struct{})
	m.OnStep = func(*backend.Batch) error {
		select {
		case steps <- struct{}{}:
		default:
		}
		<-hold
		return nil
	}
	cause := errors.New("the user left")
	ctx, cancel := context.WithCancelCause(context.Background())
	s, err := e.Start(ctx, Request{Prompt: make([]uint32, 50000)})
	if err != nil {
		t.Fatal(err)
	}
	<-steps
	cancel(cause)
	before := m.Stats().Steps
	close(hold)
	if _, err := s.Next(); !errors.Is(err, cause) {
		t.Errorf("Next: %v", err)
	}
	if n := m.Stats().Steps; n > before+2 {
		t.Errorf("%d steps after the cancellation", n-before)
	}
	if s.FinishReason() != FinishCancelled {
		t.Errorf("finish reason %s", s.FinishReason())
	}
	if _, err := e.Start(ctx, Request{Prompt: fake("a")}); !errors.Is(err, cause) {
		t.Errorf("Start with a cancelled context: %v", err)
	}
	short, stop := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer stop()
	r, err := e.Generate(short, Request{Prompt: fake("a"), IgnoreEOS: true})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), fmt.Sprintf("the deadline passed after %d tokens", len(r.Tokens))) || r.FinishReason != FinishCancelled || len(r.Tokens) == 0 || r.Text == "" {
		t.Errorf("deadline: %d tokens, %s, %v", len(r.Tokens), r.FinishReason, err)
	}
}

func TestPoll(t *testing.T) {
	e, m := openFake(t, Config{}, 1000, 100)
	hold := make(chan struct{})
	m.OnStep = func(*backend.Batch) error { <-hold; return nil }
	s, err := e.Start(context.Background(), Request{Prompt: fake("a"), MaxTokens: 2, IgnoreEOS: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond} {
		began := time.Now()
		if _, ok, err := s.Poll(d); ok || err != nil {
			t.Errorf("Poll(%v) before a step: %v, %v", d, ok, err)
		}
		if time.Since(began) < d {
			t.Errorf("Poll(%v) came back early", d)
		}
	}
	close(hold)
	for range 2 {
		if _, ok, err := s.Poll(-1); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if _, ok, err := s.Poll(time.Second); ok || err != io.EOF {
		t.Errorf("at the end: %v, %v", ok, err)
	}
}

// TestUnreadStream: a stream that nobody reads holds a bounded number of tokens and stops nobody; read later, it is whole.
func TestUnreadStream(t *testing.T) {
	noLeaks(t)
	e, _ := openFake(t, Config{}, 1000, 100)
	req := Request{Prompt: fake("slow reader"), MaxTokens: 300, IgnoreEOS: true}
	slow, err := e.Start(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	want, err := e.Generate(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	if n := slow.Usage().CompletionTokens; n != streamBuffer {
		t.Errorf("the unread stream has %d tokens", n)
	}
	text := ""
	for tok, err := range slow.All() {
		if err != nil {
			t.Fatal(err)
		}
		text += tok.Text
	}
	if text != want.Text || slow.FinishReason() != FinishLength {
		t.Errorf("the paused stream says %q, want %q", text, want.Text)
	}
}

func TestBackendFailure(t *testing.T) {
	noLeaks(t)
	e, m := openFake(t, Config{}, 1000, 100)
	boom := errors.New("device lost")
	m.OnStep = func(b *backend.Batch) error {
		if slices.Contains(b.Tokens, 1999) {
			return boom
		}
		if slices.Contains(b.Tokens, 1998) {
			panic("bug")
		}
		return nil
	}
	r, err := e.Generate(context.Background(), Request{Prompt: []uint32{1999}})
	if !errors.Is(err, ErrBackend) || !errors.Is(err, boom) || r.FinishReason != FinishError {
		t.Errorf("failing step: %s, %v", r.FinishReason, err)
	}
	ban := map[uint32]float32{1999: float32(math.Inf(-1)), 1998: float32(math.Inf(-1))}
	if _, err := e.Generate(context.Background(), Request{Prompt: []uint32{1}, MaxTokens: 5, LogitBias: ban}); err != nil {
		t.Errorf("after a failing step: %v", err)
	}
	r, err = e.Generate(context.Background(), Request{Prompt: []uint32{1998}})
	if !errors.Is(err, ErrBackend) || r.FinishReason != FinishError {
		t.Errorf("panic in a step: %s, %v", r.FinishReason, err)
	}
}

func TestBusy(t *testing.T) {
	noLeaks(t)
	e, m := openFake(t, Config{MaxQueue: 2}, 1000, 100)
	hold := make(chan struct{})
	m.OnStep = func(*backend.Batch) error { <-hold; return nil }
	var err error
	started := 0
	for range 10 {
		if _, err = e.Start(context.Background(), Request{Prompt: fake("a"), MaxTokens: 1}); err != nil {
			break
		}
		started++
	}
	if !errors.Is(err, ErrBusy) || started < 2 {
		t.Errorf("%d requests started, then %v", started, err)
	}
	close(hold)
}

// TestCloseWhileStreaming: Close ends everything in time, from several goroutines, whatever readers do.
func TestCloseWhileStreaming(t *testing.T) {
	noLeaks(t)
	e, m := openFake(t, Config{}, 100000, 400)
	all := make(chan struct{})
	release := sync.OnceFunc(func() { close(all) })
	defer release()
	m.OnStep = func(*backend.Batch) error { <-all; return nil } // an unread stream pauses: no step before all have started
	var wg sync.WaitGroup
	for i := range 16 {
		s, err := e.Start(context.Background(), Request{Prompt: fake(fmt.Sprint("stream ", i)), IgnoreEOS: true})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if i%4 == 0 {
				return // nobody reads it
			}
			for _, err := range s.All() {
				if err != nil {
					if !errors.Is(err, ErrClosed) || s.FinishReason() != FinishCancelled {
						t.Errorf("stream %d: %v, %s", i, err, s.FinishReason())
					}
					return
				}
			}
			t.Errorf("stream %d came to an end", i)
		})
	}
	release()
	for end := time.Now().Add(time.Minute); e.Stats().LargestBatch < 16 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	for range 3 {
		wg.Go(func() {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := e.Start(context.Background(), Request{Prompt: fake("a")}); !errors.Is(err, ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
	if _, err := e.Score(context.Background(), []uint32{1}); !errors.Is(err, ErrClosed) {
		t.Errorf("Score after Close: %v", err)
	}
	if st := e.Stats(); st.Running != 0 || st.CompletionTokens == 0 || st.LargestBatch < 16 {
		t.Errorf("stats after Close: %+v", st)
	}
}

// TestStorm starts, reads, drops and cancels from many goroutines at random; every answer that ends normally is the
// one that its request has alone, and nothing is left over.
func TestStorm(t *testing.T) {
	noLeaks(t)
	e, _ := openFake(t, Config{}, 600, 60)
	type key struct{ prompt, seed int }
	want := map[key]string{}
	req := func(k key) Request {
		return Request{Prompt: fake(strings.Repeat("tell me more ", k.prompt+1) + fmt.Sprint(k.prompt)), MaxTokens: 60, Temperature: float32(k.seed % 2),
			Seed: uint64(k.seed + 1), IgnoreEOS: true, RepetitionPenalty: 1.1, Stop: []string{"zz"}}
	}
	for p := range 5 {
		for s := range 4 {
			r, err := e.Generate(context.Background(), req(key{p, s}))
			if err != nil {
				t.Fatal(err)
			}
			want[key{p, s}] = r.Text
		}
	}
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 5))
			for range 25 {
				k := key{r.IntN(5), r.IntN(4)}
				ctx, cancel := context.WithCancel(context.Background())
				s, err := e.Start(ctx, req(k))
				if err != nil {
					t.Error(err)
					cancel()
					return
				}
				switch r.IntN(5) {
				case 0: // leave at once
				case 1:
					_, _ = s.Next()
					_ = s.Close()
				case 2:
					n := r.IntN(30)
					for range s.All() {
						if n--; n < 0 {
							break
						}
					}
				default:
					text := ""
					for tok, err := range s.All() {
						if err != nil {
							t.Error(err)
						}
						text += tok.Text
					}
					if text != want[k] {
						t.Errorf("%v: %q, alone %q", k, text, want[k])
					}
				}
				cancel()
			}
		})
	}
	wg.Wait()
	for range 200 {
		if st := e.Stats(); st.Running+st.Waiting == 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if c := e.sched.Cache(); c.Leased != 0 {
		t.Errorf("%d blocks are still leased", c.Leased)
	}
	t.Logf("%+v", e.Stats())
}
