package router_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/krserve/krserve"
	"github.com/krserve/krserve/canary"
	"github.com/krserve/krserve/canary/router"
	"github.com/krserve/krserve/internal/testenv"
)

// stream and arm pass an Engine through, with a fault.
type stream struct {
	*krserve.Stream
	fault string
	n     int
	start time.Time
}

func (s *stream) Next() (krserve.Token, error) {
	tok, err := s.Stream.Next()
	s.n++
	switch {
	case err == nil && s.fault == "errors" && s.n == 2:
		return krserve.Token{}, krserve.ErrBackend
	case err == nil && s.fault == "empty":
		tok.Text = ""
	case s.fault == "slow" && s.n == 1:
		time.Sleep(max(300*time.Millisecond, 10*time.Since(s.start))) // slow on a slow machine too
	}
	return tok, err
}

type arm struct {
	*krserve.Engine
	fault  string
	closed atomic.Bool
}

func (a *arm) Start(ctx context.Context, req krserve.Request) (*stream, error) {
	start := time.Now()
	s, err := a.Engine.Start(ctx, req)
	if err != nil {
		return nil, err
	}
	return &stream{Stream: s, fault: a.fault, start: start}, nil
}

func (a *arm) Close() error {
	a.closed.Store(true)
	return a.Engine.Close()
}

// fast is the system's clock with its hours passing in milliseconds.
type fast struct{ start time.Time }

func (f fast) Now() time.Time {
	d := time.Since(f.start)
	return f.start.Add(d * 10000)
}
func (f fast) After(d time.Duration) <-chan time.Time {
	return time.After(max(20*time.Millisecond, d/10000))
}

// TestEngines rolls out a second engine of the same model under concurrent streaming load: a good one takes over all
// traffic and the old one is closed, a bad one is rolled back. Halfway the router is closed and opened again.
func TestEngines(t *testing.T) {
	path := testenv.SmolLM2(t)
	for _, fault := range []string{"", "errors", "slow", "empty"} {
		t.Run("fault="+fault, func(t *testing.T) {
			open := func(fault string) *arm {
				e, err := krserve.Open(context.Background(), krserve.Config{Model: path, ContextTokens: 64})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { e.Close() })
				return &arm{Engine: e, fault: fault}
			}
			stable, can := open(""), open(fault)
			cfg := router.Config[krserve.Request, krserve.Token, *stream]{
				Stable: stable, Canary: can, Clock: fast{time.Now()}, Journal: filepath.Join(t.TempDir(), "journal"),
				Text:  func(t krserve.Token) string { return t.Text },
				Fault: func(err error) bool { return !errors.Is(err, krserve.ErrInvalid) },
				// Few requests fit a test: margins are wide, windows short in real time; and the noise of no machine rolls back.
				Policy: canary.Policy{MinRequests: 8, LatencyBaseline: 20, ErrorMargin: 0.6, SlowMargin: 0.9, ErrorObjective: -1, Alpha: 1e-4,
					Stages: []canary.Stage{{Weight: 0.1, Window: time.Hour}, {Weight: 0.25, Window: time.Hour}, {Weight: 0.5, Window: time.Hour}, {Weight: 1}}},
			}
			want := canary.Failed
			if fault == "" {
				want = canary.Succeeded
			}
			var next atomic.Int64
			load := func(until func(router.Status) bool) {
				r, err := router.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				deadline := time.Now().Add(5 * time.Minute)
				for range 4 {
					wg.Add(1)
					go func() {
						defer wg.Done()
						for !until(r.Status()) && time.Now().Before(deadline) {
							id := next.Add(1)
							s, err := r.Start(context.Background(), fmt.Sprint(id), krserve.Request{Raw: "The sea", MaxTokens: 2, IgnoreEOS: true})
							if err != nil {
								t.Error(err)
								return
							}
							for err == nil {
								_, err = s.Next()
							}
							if err != io.EOF && !(fault == "errors" && s.Arm() == canary.Canary) {
								t.Errorf("%s: %v", s.Arm(), err)
							}
							s.Close()
						}
					}()
				}
				wg.Wait()
				if err := r.Close(); err != nil {
					t.Error(err)
				}
				if s := r.Status(); !until(s) {
					t.Fatalf("%+v after %d requests", s, next.Load())
				}
			}
			load(func(s router.Status) bool { return next.Load() >= 30 })
			load(func(s router.Status) bool { return s.State.Phase == want })
			if stable.closed.Load() != (want == canary.Succeeded) || can.closed.Load() != (want == canary.Failed) {
				t.Errorf("stable closed %v, canary closed %v", stable.closed.Load(), can.closed.Load())
			}
			t.Logf("%s after %d requests", want, next.Load())
		})
	}
}
