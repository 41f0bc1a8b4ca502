package router

import (
	"context"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/krserve/krserve/canary"
)

// Routed is a stream that reports its outcome when it ends. One goroutine at a time may call Next; Close may be called
// from any.
type Routed[Req, T any, S Stream[T]] struct {
	router *Router[Req, T, S]
	stream S
	ctx    context.Context // the caller's, to tell its end from the engine's errors
	req    Req
	out    canary.Outcome
	shadow bool
	// warming says that no time to first token is judged.
	warming bool

	start, first, last time.Time
	tokens             int
	text               strings.Builder
	broken             bool // a function of the caller's has panicked: the answer cannot be judged
	once               sync.Once
	begun              atomic.Bool // a token has come
	left               atomic.Bool // Close was called
}

// Arm returns the arm that serves the stream.
func (s *Routed[Req, T, S]) Arm() canary.Arm { return s.out.Arm }

// Stream returns the engine's own stream, for its usage and finish reason.
func (s *Routed[Req, T, S]) Stream() S { return s.stream }

// Next returns the next token, as the engine's stream does.
func (s *Routed[Req, T, S]) Next() (T, error) {
	t, err := s.stream.Next()
	if err != nil {
		s.finish(err)
		return t, err
	}
	s.last = s.router.clock.Now()
	if s.tokens == 0 {
		s.first = s.last
		s.begun.Store(true)
	}
	s.tokens++
	if s.text.Len() < judgedBytes {
		s.broken = !s.router.guard("Text", func() { s.text.WriteString(s.router.cfg.Text(t)) }) || s.broken
	}
	return t, nil
}

// Close ends the stream. A stream that is closed before its end is no outcome: its reader has left. But one that was
// still without its first token was slow, if the wait was.
func (s *Routed[Req, T, S]) Close() error {
	s.left.Store(true)
	err := s.stream.Close()
	s.finish(context.Canceled)
	return err
}

// finish reports the outcome once.
func (s *Routed[Req, T, S]) finish(err error) {
	s.once.Do(func() {
		o, counts, returned := s.out, false, false
		// Deferred for a function that calls Goexit. Who left early has left Next running, and nothing of it counts.
		defer func() { s.router.done(o, counts && returned && (o.Left || !s.broken), s.shadow) }()
		returned = s.router.guard("Fault, Cut or Custom", func() { counts = s.judge(&o, err) })
	})
}

// judge fills in the outcome of a stream that ended with err and reports whether it is one. A reader who has left is no
// outcome unless nothing had come yet; a deadline that passed is a timeout, for which the engine may be to blame: the
// comparison with stable tells.
func (s *Routed[Req, T, S]) judge(o *canary.Outcome, err error) bool {
	cfg := &s.router.cfg
	if !eof(err) {
		switch end := s.ctx.Err(); {
		case s.left.Load(), errors.Is(end, context.Canceled):
			o.Left, o.TTFT = true, s.router.clock.Now().Sub(s.start)
			return !s.begun.Load() && !s.shadow && !s.warming
		case errors.Is(end, context.DeadlineExceeded):
			o.Timeout = true
		case cfg.Fault != nil && !cfg.Fault(err):
			return false
		default:
			o.Error = true
		}
	}
	if s.tokens > 0 && !s.warming {
		o.TTFT = s.first.Sub(s.start)
	}
	if s.tokens > 1 {
		o.ITL = s.last.Sub(s.first) / time.Duration(s.tokens-1)
	}
	if o.Error || o.Timeout {
		return true
	}
	text := s.text.String()
	o.Empty = strings.TrimSpace(text) == ""
	o.Loop = Repetitive(text)
	if cfg.Cut != nil {
		o.Cut = cfg.Cut(s.stream)
	}
	if cfg.Custom != nil {
		o.Custom = cfg.Custom(s.req, text)
	}
	return true
}

// judgedBytes bounds how much of an answer is kept for judging.
const judgedBytes = 16 << 10

// Repetitive reports whether an answer has degenerated into a loop: its last part consists of one piece of at most 64
// bytes repeated at least eight times over at least 64 bytes.
func Repetitive(text string) bool {
	for n := 1; n <= 64; n++ {
		reps := max(8, (64+n-1)/n)
		if len(text) < n*reps {
			break
		}
		tail := text[len(text)-n*reps:]
		if tail[n:] == tail[:len(tail)-n] {
			return strings.TrimSpace(tail) != ""
		}
	}
	return false
}

// anonymous returns a fresh session key.
func anonymous() string {
	var b [16]byte
	for i := 0; i < 16; i += 8 {
		x := rand.Uint64()
		for k := range 8 {
			b[i+k] = byte(x >> (8 * k))
		}
	}
	return hex.EncodeToString(b[:])
}
