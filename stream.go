package krserve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/krserve/krserve/internal/sample"
	"github.com/krserve/krserve/internal/sched"
	"github.com/krserve/krserve/tokenizer"
)

// streamBuffer is how many tokens a Stream holds for a reader who is behind. A full one pauses its own sequence only.
const streamBuffer = 64

// Stream is one answer as it is made. One goroutine at a time calls Next, Poll or All; Close and the other methods may
// be called from any. A Stream that is no longer read is ended by its context or by Close.
type Stream struct {
	e    *Engine
	task *sched.Task
	seed uint64

	// The scheduler's goroutine alone uses these.
	decoder *tokenizer.Decoder
	stops   *stopper
	stopIDs []uint32

	mu      sync.Mutex
	buf     []Token // a ring
	head, n int
	news    chan struct{} // holds one signal when there is something to see
	started bool
	ended   bool
	closed  bool
	reason  FinishReason
	err     error // what Next says at the end, io.EOF after a normal one
	usage   Usage
	unhook  func() bool // stops watching the context
	answer  *answer     // what a Session keeps; nil without one
}

// Next waits for the next token. At the end it returns io.EOF (FinishStop, FinishLength), an error that wraps the
// context's cause or ErrClosed (FinishCancelled), or what failed (FinishError). After a deadline the error says how far
// the answer had come. Tokens drawn before the end come first.
func (s *Stream) Next() (Token, error) {
	tok, _, err := s.Poll(-1)
	return tok, err
}

// Poll is Next with a bound on the wait: ok is false when nothing came within d. A negative d waits for as long as it
// takes, 0 not at all.
func (s *Stream) Poll(d time.Duration) (tok Token, ok bool, err error) {
	var timeout <-chan time.Time
	for {
		if tok, ok, err = s.take(); ok || err != nil {
			return tok, ok, err
		}
		if d == 0 {
			return Token{}, false, nil
		}
		if d > 0 && timeout == nil {
			t := time.NewTimer(d)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-s.news:
		case <-timeout:
			d = 0 // one last look
		}
	}
}

// take removes a token that is there.
func (s *Stream) take() (Token, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		s.signal()
		return Token{}, false, streamError("", ErrClosed)
	case s.n > 0:
		tok := s.buf[s.head]
		s.buf[s.head] = Token{}
		s.head = (s.head + 1) % len(s.buf)
		s.n--
		if s.n == streamBuffer/2 && !s.ended {
			s.e.sched.Wake()
		}
		if s.n > 0 || s.ended {
			s.signal()
		}
		return tok, true, nil
	case s.ended:
		s.signal()
		return Token{}, false, s.err
	}
	return Token{}, false, nil
}

// signal wakes a reader; the caller holds mu.
func (s *Stream) signal() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// All iterates over the tokens. It ends silently after a normal end and with one error otherwise; leaving the loop
// early closes the stream.
func (s *Stream) All() iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		for {
			tok, err := s.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(tok, err) {
				_ = s.Close()
				return
			}
			if err != nil {
				return
			}
		}
	}
}

// Close ends the answer if it has not ended, and drops what was not read. It is idempotent, returns nil and does not
// wait for the step that may be running.
func (s *Stream) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	if !s.ended {
		s.reason = FinishCancelled
	}
	clear(s.buf)
	s.n = 0
	s.signal()
	s.mu.Unlock()
	s.unhook()
	s.e.sched.Cancel(s.task, ErrClosed)
	return nil
}

// FinishReason says why the stream ended; "" while it runs. It may be set before the last tokens are read.
func (s *Stream) FinishReason() FinishReason {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

// Usage counts the tokens so far.
func (s *Stream) Usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usage
}

// Seed returns the seed in use: Request.Seed, or the one that was chosen for 0.
func (s *Stream) Seed() uint64 { return s.seed }

// streamSink is the scheduler's side of a Stream.
type streamSink struct{ s *Stream }

// Start implements sched.Sink.
func (k streamSink) Start(cached int) {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	k.s.usage.CachedTokens, k.s.started = cached, true
}

// Room implements sched.Sink.
func (k streamSink) Room() int {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	return streamBuffer - k.s.n
}

// Token implements sched.Sink: it turns the drawn id into text up to a stop string.
func (k streamSink) Token(d sample.Draw, last bool) bool {
	s := k.s
	text, hit, end := "", false, slices.Contains(s.stopIDs, d.ID)
	if !end {
		text, hit = s.stops.push(s.decoder.Next(d.ID))
	}
	if !hit && (end || last) {
		var rest string
		rest, hit = s.stops.push(s.decoder.Flush())
		if text += rest; !hit {
			text += s.stops.flush()
		}
	}
	tok := Token{ID: d.ID, Text: text, LogProb: d.LogProb}
	if len(d.Top) > 0 {
		tok.Top = make([]TokenLogProb, len(d.Top))
		for i, t := range d.Top {
			tok.Top[i] = TokenLogProb{t.ID, t.LogProb}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.usage.CompletionTokens++
	if s.answer != nil {
		s.answer.text = append(s.answer.text, text...)
		s.answer.ids = append(s.answer.ids, d.ID)
	}
	s.buf[(s.head+s.n)%len(s.buf)] = tok
	s.n++
	s.signal()
	return !hit && !end
}

// Done implements sched.Sink.
func (k streamSink) Done(o sched.Outcome) {
	s := k.s
	s.unhook()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	switch o.Reason {
	case sched.Stopped:
		s.err = io.EOF
		s.finish(FinishStop)
	case sched.Exhausted:
		s.err = io.EOF
		s.finish(FinishLength)
	case sched.Cancelled:
		s.err = streamError("", s.late(cause(o.Err)))
		s.finish(FinishCancelled)
	default:
		s.err = streamError("", backendError(o.Err))
		s.finish(FinishError)
	}
	s.signal()
}

// late says how far the answer had come when its deadline passed; other causes pass. The caller holds mu.
func (s *Stream) late(err error) error {
	switch c := s.task.Context; {
	case s.closed || c == nil || !errors.Is(c.Err(), context.DeadlineExceeded) || !errors.Is(err, context.Cause(c)):
		return err
	case !s.started:
		return fmt.Errorf("the deadline passed while the request waited: %w", err)
	case s.usage.CompletionTokens == 0:
		return fmt.Errorf("the deadline passed before the first token: %w", err)
	}
	return fmt.Errorf("the deadline passed after %d tokens: %w", s.usage.CompletionTokens, err)
}

func (s *Stream) finish(r FinishReason) {
	if s.reason == "" {
		s.reason = r
	}
}

func streamError(path string, err error) error { return &Error{Op: "stream", Path: path, Err: err} }

// cause maps the scheduler's end to the root package's.
func cause(err error) error {
	if errors.Is(err, sched.ErrClosed) {
		return ErrClosed
	}
	return err
}

// backendError makes errors of a step recognisable.
func backendError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sched.ErrNoBlocks):
		return fmt.Errorf("%w: %w", ErrMemory, err)
	}
	return fmt.Errorf("%w: %w", ErrBackend, err)
}
