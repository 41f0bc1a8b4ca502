package krserve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/krserve/krserve/internal/sample"
	"github.com/krserve/krserve/internal/sched"
)

// Start begins an answer. The stream lives until it has ended, ctx is done, or it or the engine is closed. The prompt's
// first step may be later, when other requests are ahead. Errors wrap ErrInvalid and name the field, ErrContextLength,
// ErrNoTemplate, ErrTemplate, ErrBusy or ErrClosed.
func (e *Engine) Start(ctx context.Context, r Request) (*Stream, error) {
	s, err := e.start(ctx, r, nil)
	if err != nil {
		return nil, startError(err)
	}
	return s, nil
}

// StartChoices begins n answers to one request, with Choice counting up from the request's. They share the prompt, which
// is computed once, and its memory, and run together. It starts all or none.
func (e *Engine) StartChoices(ctx context.Context, r Request, n int) ([]*Stream, error) {
	if n < 1 || n > maxChoices {
		return nil, startError(invalid("n", "%d: want 1 to %d", n, maxChoices))
	}
	st, err := e.startAll(ctx, r, nil, n)
	if err != nil {
		return nil, startError(err)
	}
	return st, nil
}

// maxChoices bounds StartChoices.
const maxChoices = 1024

// startError adds the operation, and moves the field's name, if the error has one, into its place.
func startError(err error) error {
	var f *fieldError
	if errors.As(err, &f) {
		return &Error{Op: "start", Path: f.field, Err: f.err}
	}
	return &Error{Op: "start", Err: err}
}

// fieldError names a field that is out of range.
type fieldError struct {
	field string
	err   error
}

func (f *fieldError) Error() string { return f.field + ": " + f.err.Error() }
func (f *fieldError) Unwrap() error { return f.err }

func invalid(field, format string, args ...any) error {
	return &fieldError{field, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)}
}

func (e *Engine) start(ctx context.Context, r Request, a *answer) (*Stream, error) {
	st, err := e.startAll(ctx, r, a, 1)
	if err != nil {
		return nil, err
	}
	return st[0], nil
}

// startAll starts n choices of one request, all or none.
func (e *Engine) startAll(ctx context.Context, r Request, a *answer, n int) ([]*Stream, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if e.closed() {
		return nil, ErrClosed
	}
	params, err := r.params(e.info.Vocab)
	if err != nil {
		return nil, err
	}
	prompt, err := e.prompt(&r)
	if err != nil {
		return nil, err
	}
	if len(prompt) >= e.info.Context {
		return nil, fmt.Errorf("%w: the prompt has %d tokens, prompt and answer may have %d", ErrContextLength, len(prompt), e.info.Context)
	}
	room := e.info.Context - len(prompt)
	if r.MaxTokens > 0 {
		room = min(room, r.MaxTokens)
	}
	streams, tasks := make([]*Stream, n), make([]*sched.Task, n)
	for i := range streams {
		sampler, err := sample.New(params, e.info.Vocab)
		if err != nil {
			return nil, err
		}
		sampler.Prompt(prompt)
		s := &Stream{e: e, answer: a, seed: params.Seed, decoder: e.tok.NewDecoder(true), stops: newStopper(r.Stop), buf: make([]Token, streamBuffer),
			news: make(chan struct{}, 1), usage: Usage{PromptTokens: len(prompt)}}
		s.stopIDs = append(s.stopIDs, r.StopIDs...)
		if !r.IgnoreEOS {
			s.stopIDs = append(s.stopIDs, e.ends...)
		}
		s.task = &sched.Task{Context: ctx, Prompt: prompt, Max: room, Sampler: sampler, Sink: streamSink{s}, Mask: r.Mask,
			Tenant: r.Tenant, Priority: r.Priority}
		if a != nil {
			s.task.Keep = a.keep
		}
		streams[i], tasks[i] = s, s.task
		params.Choice++
	}
	for _, s := range streams {
		s.unhook = context.AfterFunc(ctx, func() { e.sched.Cancel(s.task, context.Cause(ctx)) })
	}
	if err := e.sched.Submit(tasks...); err != nil {
		for _, s := range streams {
			s.unhook()
		}
		return nil, submitError(err)
	}
	return streams, nil
}

func submitError(err error) error {
	switch {
	case errors.Is(err, sched.ErrClosed):
		return ErrClosed
	case errors.Is(err, sched.ErrBusy):
		return ErrBusy
	}
	return err
}

// params checks the fields that steer sampling and stopping.
func (r *Request) params(vocab int) (sample.Params, error) {
	p := sample.Params{Temperature: r.Temperature, TopK: r.TopK, TopP: r.TopP, MinP: r.MinP, Repetition: r.RepetitionPenalty,
		Presence: r.PresencePenalty, Frequency: r.FrequencyPenalty, Seed: r.Seed, Choice: r.Choice,
		LogProbs: r.LogProbs || r.TopLogProbs > 0, Top: r.TopLogProbs}
	for id, v := range r.LogitBias {
		p.Bias = append(p.Bias, sample.Bias{ID: id, Value: v})
	}
	for p.Seed == 0 {
		p.Seed = rand.Uint64()
	}
	if err := p.Validate(vocab); err != nil {
		var re *sample.RangeError
		if errors.As(err, &re) {
			return p, invalid("Request."+re.Field, "%v: want %s", re.Value, re.Want)
		}
		return p, err
	}
	if r.MaxTokens < 0 || r.MaxTokens > math.MaxInt32 {
		return p, invalid("Request.MaxTokens", "%d: want 0 to %d", r.MaxTokens, math.MaxInt32)
	}
	for i, s := range r.Stop {
		if s == "" {
			return p, invalid(fmt.Sprintf("Request.Stop[%d]", i), "empty")
		}
	}
	for i, id := range r.StopIDs {
		if int64(id) >= int64(vocab) {
			return p, invalid(fmt.Sprintf("Request.StopIDs[%d]", i), "%d: the vocabulary has %d tokens", id, vocab)
		}
	}
	return p, nil
}

// prompt returns the ids that the request asks to continue.
func (e *Engine) prompt(r *Request) ([]uint32, error) {
	set := 0
	for _, is := range []bool{r.Messages != nil, r.Raw != "", r.Prompt != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		return nil, invalid("Request", "%d of Messages, Raw and Prompt are set: want one", set)
	}
	if r.Messages == nil {
		switch {
		case r.Tools != nil:
			return nil, invalid("Request.Tools", "set without Messages")
		case r.Kwargs != nil:
			return nil, invalid("Request.Kwargs", "set without Messages")
		}
	}
	ids := r.Prompt
	switch {
	case r.Messages != nil:
		var err error
		if ids, err = e.encodeChat(r); err != nil {
			return nil, err
		}
	case r.Raw != "":
		ids = e.tok.Encode(r.Raw)
	}
	if len(ids) == 0 {
		return nil, invalid("Request", "the prompt has no tokens")
	}
	for i, id := range ids {
		if int64(id) >= int64(e.info.Vocab) {
			if r.Prompt == nil {
				return nil, invalid("Config.Tokenizer", "it makes token %d of the request's text; the model has %d", id, e.info.Vocab)
			}
			return nil, invalid(fmt.Sprintf("Request.Prompt[%d]", i), "%d: the vocabulary has %d tokens", id, e.info.Vocab)
		}
	}
	return ids, nil
}

// checkMessages looks at what the template would only stumble over.
func checkMessages(r *Request) error {
	if len(r.Messages) == 0 {
		return invalid("Request.Messages", "empty")
	}
	object := func(field string, raw json.RawMessage) error {
		var v map[string]json.RawMessage
		if raw == nil {
			return nil
		}
		if err := json.Unmarshal(raw, &v); err != nil || v == nil {
			return invalid(field, "not a JSON object")
		}
		return nil
	}
	for i, m := range r.Messages {
		if m.Role == "" {
			return invalid(fmt.Sprintf("Request.Messages[%d].Role", i), "empty")
		}
		if err := object(fmt.Sprintf("Request.Messages[%d].Extra", i), m.Extra); err != nil {
			return err
		}
	}
	if r.Tools != nil {
		var v []json.RawMessage
		if err := json.Unmarshal(r.Tools, &v); err != nil {
			return invalid("Request.Tools", "not a JSON array")
		}
	}
	return object("Request.Kwargs", r.Kwargs)
}

// Result is a whole answer.
type Result struct {
	Text         string
	Tokens       []Token
	FinishReason FinishReason
	Usage        Usage
	Seed         uint64
}

// Generate is Start and the reading of the whole stream. With an error other than Start's, Result holds what came
// before it.
func (e *Engine) Generate(ctx context.Context, r Request) (Result, error) {
	s, err := e.Start(ctx, r)
	if err != nil {
		return Result{}, err
	}
	defer s.Close()
	res := Result{Seed: s.Seed()}
	var text strings.Builder
	for {
		tok, err := s.Next()
		if err != nil {
			res.Text, res.FinishReason, res.Usage = text.String(), s.FinishReason(), s.Usage()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return res, err
		}
		text.WriteString(tok.Text)
		res.Tokens = append(res.Tokens, tok)
	}
}
