package krserve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// soaker is one run of TestServeSoak.
type soaker struct {
	engines  []*Engine
	cases    []soakCase
	chats    [][][]Token // of each chat and turn, alone
	embedded [][]float32 // of soakTexts, alone
	scored   Scores      // of the first case's prompt, alone
	patience time.Duration

	finished, busy, cancelled, expired, abandoned, turns, vectors, mistakes atomic.Int64
	problem                                                                 atomic.Pointer[string]
}

// soakCase is a request, and for every choice of it the tokens that it has alone.
type soakCase struct {
	Request
	want [][]Token
}

var soakTexts = []string{"a small boat", "the sea at night, and again the sea at night", "x"}

const (
	soakChats = 12
	soakTurns = 3
)

func (k *soaker) fail(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	k.problem.CompareAndSwap(nil, &s)
	k.mistakes.Add(1)
}

// parity masks the odd and the even tokens in turn.
func parity(answer []uint32, allowed []uint64) error {
	for i := range allowed {
		allowed[i] &= 0x5555555555555555 << (len(answer) % 2)
	}
	return nil
}

// soakCases make random requests that share prefixes, within tenants and across.
func soakCases(r *rand.Rand, n, vocab, unit int) []soakCase {
	random := func(n int) []uint32 {
		ids := make([]uint32, n)
		for i := range ids {
			ids[i] = r.Uint32N(uint32(vocab))
		}
		return ids
	}
	system := random(6 * unit)
	var all []soakCase
	for i := range n {
		prompt := append(append([]uint32(nil), system[:r.IntN(len(system)+1)]...), random(1+r.IntN(2*unit))...)
		q := Request{Prompt: prompt, MaxTokens: 1 + r.IntN(unit), IgnoreEOS: true, Tenant: string(rune('a' + i%3)), Priority: r.IntN(3)}
		choices := 1
		if i%2 == 0 {
			q.Temperature, q.Seed, q.TopK, q.RepetitionPenalty = 0.8, uint64(i)+1, r.IntN(40), 1.1
			q.PresencePenalty, q.FrequencyPenalty = float32(i%3)/5, float32(i%7)/9
		}
		if i%5 == 0 {
			q.TopLogProbs = 3
		}
		switch i % 6 {
		case 1: // few tokens, which repeat, so that drafts come true
			q.LogitBias = map[uint32]float32{1: 100, 2: 100, 3: 100}
		case 2:
			choices = 3
		case 3:
			q.Mask = parity
		}
		all = append(all, soakCase{q, make([][]Token, choices)})
	}
	return all
}

// chat begins chat i: half of them draw at random.
func (k *soaker) chat(e *Engine, i int, tenant string) (*Session, error) {
	q := k.cases[i].Request
	return e.NewSession(Request{MaxTokens: q.MaxTokens, IgnoreEOS: true, Temperature: q.Temperature, Seed: q.Seed, Tenant: tenant})
}

func soakLine(chat, turn int) string { return fmt.Sprint("say ", chat, " and then ", turn) }

// alone answers everything one by one, each for a tenant of its own, so that nothing is cached, batched or guessed.
func (k *soaker) alone(t *testing.T, e *Engine) {
	began, answers := time.Now(), 0
	for i := range k.cases {
		c := &k.cases[i]
		for j := range c.want {
			q := c.Request
			q.Tenant, q.Choice = fmt.Sprint("alone ", i, j), uint32(j)
			res, err := e.Generate(context.Background(), q)
			if err != nil {
				t.Fatal(err)
			}
			c.want[j] = res.Tokens
			answers++
		}
	}
	k.patience = 24 * time.Since(began) / time.Duration(answers)
	for i := range soakChats {
		s, err := k.chat(e, i, fmt.Sprint("alone in chat ", i))
		if err != nil {
			t.Fatal(err)
		}
		k.chats = append(k.chats, nil)
		for turn := range soakTurns {
			k.chats[i] = append(k.chats[i], say(t, s, soakLine(i, turn)).Tokens)
		}
		_ = s.Close()
	}
	for i, text := range soakTexts {
		v, _, err := e.Embed(context.Background(), []string{text}, EmbedOptions{Tenant: fmt.Sprint("alone in text ", i)})
		if err != nil {
			t.Fatal(err)
		}
		k.embedded = append(k.embedded, v[0])
	}
	var err error
	if k.scored, err = e.Score(context.Background(), k.cases[0].Prompt); err != nil {
		t.Fatal(err)
	}
}

// user does one thing after another with a random engine until the time is over.
func (k *soaker) user(r *rand.Rand, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		default:
		}
		e := k.engines[r.IntN(len(k.engines))]
		switch r.IntN(16) {
		case 0, 1:
			k.session(r, e, r.IntN(soakChats))
			continue
		case 2:
			k.vector(r, e)
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		act := r.IntN(6)
		if act == 0 {
			cancel()
			ctx, cancel = context.WithTimeout(context.Background(), time.Duration(r.Int64N(int64(k.patience))))
		}
		k.request(ctx, cancel, r, e, r.IntN(len(k.cases)), act)
		cancel()
	}
}

// full says that the queue was, and lets others go on.
func (k *soaker) full() {
	k.busy.Add(1)
	time.Sleep(time.Millisecond)
}

func (k *soaker) request(ctx context.Context, cancel func(), r *rand.Rand, e *Engine, i, act int) {
	c := &k.cases[i]
	streams, err := e.StartChoices(ctx, c.Request, len(c.want))
	switch {
	case errors.Is(err, ErrBusy):
		k.full()
		return
	case err != nil && ctx.Err() != nil:
		k.expired.Add(1)
		return
	case err != nil:
		k.fail("Start: %v", err)
		return
	}
	for j, st := range streams {
		stop := -1
		if act == 1 || act == 2 {
			stop = r.IntN(len(c.want[j]) + 1)
		}
		k.read(st, fmt.Sprintf("request %d, choice %d", i, j), c.want[j], func(n int) bool {
			switch {
			case n != stop:
				return true
			case act == 1: // the reader cancels, and reads what is still there
				k.cancelled.Add(1)
				cancel()
				return true
			}
			k.abandoned.Add(1) // it goes away
			return false
		}, func(err error) {
			switch {
			case ctx.Err() == nil, act == 0 && !(errors.Is(err, context.DeadlineExceeded) && strings.Contains(err.Error(), "the deadline passed")):
				k.fail("request %d: %v", i, err)
			case act == 0:
				k.expired.Add(1)
			}
		})
		_ = st.Close()
	}
}

// read compares an answer with the one the request has alone.
func (k *soaker) read(st *Stream, name string, want []Token, before func(n int) bool, ended func(error)) {
	for n := 0; before(n); n++ {
		tok, err := st.Next()
		switch {
		case errors.Is(err, io.EOF):
			if n != len(want) {
				k.fail("%s: %d tokens, alone %d", name, n, len(want))
			}
			k.finished.Add(1)
			return
		case err != nil:
			ended(err)
			return
		case n >= len(want) || !reflect.DeepEqual(tok, want[n]):
			k.fail("%s: token %d is %+v, alone it is another", name, n, tok)
			return
		}
	}
}

// session lets a chat go on for some turns, now and then in a fork.
func (k *soaker) session(r *rand.Rand, e *Engine, i int) {
	s, err := k.chat(e, i, k.cases[i].Tenant)
	if err != nil {
		k.fail("NewSession: %v", err)
		return
	}
	defer func() { _ = s.Close() }()
	for turn := range 1 + r.IntN(soakTurns) {
		st, err := s.Send(context.Background(), soakLine(i, turn))
		if errors.Is(err, ErrBusy) {
			k.full()
			return
		}
		if err != nil {
			k.fail("Send: %v", err)
			return
		}
		name := fmt.Sprintf("chat %d, turn %d", i, turn)
		k.read(st, name, k.chats[i][turn], func(int) bool { return true }, func(err error) { k.fail("%s: %v", name, err) })
		k.turns.Add(1)
		if r.IntN(3) == 0 {
			f := s.Fork()
			_ = s.Close()
			s = f
		}
	}
}

// vector embeds or scores.
func (k *soaker) vector(r *rand.Rand, e *Engine) {
	if r.IntN(2) == 0 {
		got, err := e.Score(context.Background(), k.cases[0].Prompt)
		switch {
		case errors.Is(err, ErrBusy):
			k.full()
		case err != nil || !reflect.DeepEqual(got, k.scored):
			k.fail("Score differs from alone: %v", err)
		default:
			k.vectors.Add(1)
		}
		return
	}
	got, _, err := e.Embed(context.Background(), soakTexts, EmbedOptions{Tenant: string(rune('a' + r.IntN(3))), Priority: r.IntN(3)})
	switch {
	case errors.Is(err, ErrBusy):
		k.full()
	case err != nil || !reflect.DeepEqual(got, k.embedded):
		k.fail("Embed differs from alone: %v", err)
	default:
		k.vectors.Add(1)
	}
}
