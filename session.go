package krserve

import (
	"context"
	"slices"
	"strings"

	"github.com/krserve/krserve/internal/sched"
)

// Session is a chat that goes on: it keeps the turns, and hands the model exactly the tokens of its earlier answers, so
// that every turn finds the keys and values of all turns before it, or of those before the first that the chat template
// rewrites. It holds the keys and values of its last turn, also against eviction by others, until Close or until a
// request lacks room; what was lost is computed again. One goroutine at a time may use a Session.
type Session struct {
	e     *Engine
	base  Request // all but Messages
	turns []Message
	open  *Stream // the answer to the last turn, not yet among the turns
	last  *answer // the answer that ended most recently, with its prompt
	given *answer // of open
	again uint32  // answers drawn for the last turn
	kept  *sched.Kept
}

// answer is a prompt with what was drawn after it.
type answer struct {
	prompt string // rendered
	input  []uint32
	text   []byte
	ids    []uint32
	keep   *sched.Kept
}

// NewSession begins a chat with the turns in r.Messages, which may be none. The other fields of r hold for all answers;
// Raw and Prompt must not be set.
func (e *Engine) NewSession(r Request) (*Session, error) {
	if r.Raw != "" || r.Prompt != nil {
		return nil, startError(invalid("Request", "a session is made of Messages"))
	}
	s := &Session{e: e, base: r, turns: slices.Clone(r.Messages), kept: e.sched.Keep()}
	s.base.Messages = nil
	return s, nil
}

// Send adds a user's turn and starts the answer. The answer becomes a turn, as far as it was drawn, with the next call;
// until then its stream must have ended or be closed. When Send fails, nothing was added.
func (s *Session) Send(ctx context.Context, content string) (*Stream, error) {
	return s.SendMessage(ctx, Message{Role: "user", Content: content})
}

// SendMessage is Send for any turn, such as a tool's result.
func (s *Session) SendMessage(ctx context.Context, m Message) (*Stream, error) {
	if err := s.settle(); err != nil {
		return nil, err
	}
	n, before := len(s.turns), s.again
	s.turns, s.again = append(s.turns, m), 0
	st, err := s.start(ctx)
	if err != nil {
		s.turns, s.again = s.turns[:n], before
	}
	return st, err
}

// Regenerate drops the last answer and draws another one for the same turn: with Temperature, from the next Choice.
func (s *Session) Regenerate(ctx context.Context) (*Stream, error) {
	if err := s.settle(); err != nil {
		return nil, err
	}
	n := len(s.turns)
	if n < 2 || s.turns[n-1].Role != "assistant" {
		return nil, startError(invalid("Session", "there is no answer to draw again"))
	}
	dropped, last := s.turns[n-1], s.last
	s.turns, s.last = s.turns[:n-1], nil
	s.again++
	st, err := s.start(ctx)
	if err != nil {
		s.turns, s.last = append(s.turns, dropped), last
		s.again--
	}
	return st, err
}

// Messages returns the turns so far, the last answer included once it has ended.
func (s *Session) Messages() []Message {
	_ = s.settle() // an answer under way is not among the turns
	return slices.Clone(s.turns)
}

// Fork returns a session with the same turns that goes its own way. The answer under way, if any, stays behind.
func (s *Session) Fork() *Session {
	_ = s.settle()
	return &Session{e: s.e, base: s.base, turns: slices.Clone(s.turns), last: s.last, again: s.again, kept: s.kept.Fork()}
}

// Close lets go of the session's keys and values; the cache may still have them. The session stays usable, without
// holding any. It is idempotent and returns nil.
func (s *Session) Close() error {
	s.kept.Close()
	return nil
}

// settle takes an ended answer into the turns.
func (s *Session) settle() error {
	if s.open == nil {
		return nil
	}
	if s.open.FinishReason() == "" {
		return startError(invalid("Session", "the last answer is still under way: read its stream to the end or close it"))
	}
	s.open.mu.Lock()
	a := *s.given // a closed stream takes no more tokens
	s.open.mu.Unlock()
	s.open, s.given = nil, nil
	s.turns = append(s.turns, Message{Role: "assistant", Content: string(a.text)})
	s.last = &a
	return nil
}

// start asks for the answer to the turns.
func (s *Session) start(ctx context.Context) (*Stream, error) {
	r := s.base
	r.Messages = s.turns
	out, err := s.e.render(&r)
	if err != nil {
		return nil, startError(err)
	}
	a := &answer{prompt: out.Text, keep: s.kept}
	if known, from := s.known(out.Text); from > 0 {
		rest, err := s.e.encodeFrom(&r, out, from)
		if err != nil {
			return nil, startError(err)
		}
		a.input = append(known, rest...)
	} else if a.input, err = s.e.encodeFrom(&r, out, 0); err != nil {
		return nil, startError(err)
	}
	r.Messages, r.Tools, r.Kwargs, r.Prompt = nil, nil, nil, a.input
	r.Choice += s.again
	st, err := s.e.start(ctx, r, a)
	if err != nil {
		return nil, startError(err)
	}
	s.open, s.given = st, a
	return st, nil
}

// known returns the tokens of the last prompt and answer as far as the new prompt begins with their text, and that
// text's length in bytes. When the template has rewritten an earlier turn (it drops what the model thought, say), that is
// all up to the last special token before the change: text is encoded anew from there on without a seam.
func (s *Session) known(text string) ([]uint32, int) {
	if s.last == nil {
		return nil, 0
	}
	tokens := slices.Concat(s.last.input, s.last.ids)
	whole := s.last.prompt + s.e.tok.Decode(s.last.ids)
	if strings.HasPrefix(text, whole) {
		return tokens, len(whole)
	}
	same := 0
	for same < len(text) && same < len(whole) && text[same] == whole[same] {
		same++
	}
	d := s.e.tok.NewDecoder(false)
	n, at, bytes := 0, 0, 0
	for i, id := range tokens {
		piece := d.Next(id)
		if !strings.HasPrefix(whole[min(bytes, len(whole)):], piece) {
			break // this vocabulary's tokens are not the text's bytes in order
		}
		if bytes += len(piece); bytes > same {
			break
		}
		if s.e.tok.IsSpecial(id) {
			n, at = i+1, bytes
		}
	}
	return tokens[:n], at
}
