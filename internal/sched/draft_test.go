package sched

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/sample"
	"github.com/krserve/krserve/internal/testmodel"
	"github.com/krserve/krserve/kvcache"
)

// recorder is a sink that keeps whole draws.
type recorder struct {
	*sink
	draws []sample.Draw
}

func (r *recorder) Token(d sample.Draw, last bool) bool {
	r.draws = append(r.draws, d)
	return r.sink.Token(d, last)
}

// few bans all but the first n tokens, so that texts repeat themselves.
func few(n uint32) []sample.Bias {
	var b []sample.Bias
	for id := n; id < vocab; id++ {
		b = append(b, sample.Bias{ID: id, Value: -1000})
	}
	return b
}

// TestSpeculationChangesNothing: with drafts in every step, tasks have the draws that they have alone and without, in
// tight caches, with penalties, masks, stops and log-probabilities.
func TestSpeculationChangesNothing(t *testing.T) {
	odd := func(answer []uint32, allowed []uint64) error {
		if len(answer)%3 == 2 {
			allowed[0] &= 0b101 << (answer[len(answer)-1] % 2)
		}
		return nil
	}
	for _, blocks := range []int{1000, 24} {
		m := testmodel.NewHash(vocab, 48, blocks)
		var runs [2][][]sample.Draw
		for run := range runs {
			r := rand.New(rand.NewPCG(7, uint64(blocks)))
			all := make(chan struct{})
			m.OnStep = func(*backend.Batch) error { <-all; return nil }
			s := start(t, m, Options{AlwaysDraft: run == 1, NoSpeculation: run == 0}, kvcache.Options{})
			var tasks []*Task
			for i := range 40 {
				p := randomParams(r)
				p.Bias, p.LogProbs, p.Top = few(3), i%2 == 0, i%5
				prompt := randomPrompt(r, nil, 1+r.IntN(40))
				k := &recorder{sink: newSink()}
				k.stop = r.IntN(2) * (1 + r.IntN(30))
				task := &Task{Prompt: prompt, Max: 1 + r.IntN(70), Sampler: sampler(t, p, prompt), Sink: k, Priority: r.IntN(2)}
				if i%4 == 0 {
					task.Mask = odd
				}
				if err := s.Submit(task); err != nil {
					t.Fatal(err)
				}
				tasks = append(tasks, task)
			}
			close(all)
			for i, task := range tasks {
				k := task.Sink.(*recorder)
				if o := k.wait(t); o.Reason != Exhausted && o.Reason != Stopped {
					t.Fatalf("task %d: %+v", i, o)
				}
				runs[run] = append(runs[run], k.draws)
			}
			s.Close()
			st := s.Stats()
			t.Logf("%+v", st)
			if run == 1 && (st.AcceptedTokens == 0 || st.AcceptedTokens == st.DraftTokens) || run == 0 && st.DraftTokens > 0 {
				t.Errorf("drafts: %+v", st)
			}
			if c := s.Cache(); c.Leased != 0 {
				t.Errorf("%d blocks leaked", c.Leased)
			}
		}
		for i := range runs[0] {
			if !reflect.DeepEqual(runs[0][i], runs[1][i]) {
				t.Errorf("%d blocks, task %d: %+v, with drafts %+v", blocks, i, runs[0][i], runs[1][i])
			}
		}
	}
}

// TestSpeculationWhenItPays: repetitions are drafted by themselves, noise is not for long.
func TestSpeculationWhenItPays(t *testing.T) {
	c := costs{}
	if c.at(3) != 0 {
		t.Error("an estimate from nothing")
	}
	for range 100 {
		c.learn(1, 0.010)
		c.learn(8, 0.017)
		c.learn(64, 0.100)
	}
	for rows, want := range map[float64]float64{1: 0.010, 4.5: 0.0135, 8: 0.017, 36: 0.0585} {
		if got := c.at(rows); got < want*0.99 || got > want*1.01 {
			t.Errorf("%v rows: %v, want %v", rows, got, want)
		}
	}
	s := &Scheduler{costs: c}
	cheap, busy := s.drafting(1), s.drafting(60)
	if cheap > 0.2 || busy < 0.5 {
		t.Errorf("a draft must be true with %.2f alone and with %.2f among 60", cheap, busy)
	}
}

// TestLookup compares with the definition.
func TestLookup(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		tokens := make([]uint32, 1+r.IntN(60))
		for i := range tokens {
			tokens[i] = r.Uint32N(1 + r.Uint32N(5))
		}
		n, limit := len(tokens), 1+r.IntN(7)
		want, match := []uint32(nil), 0
		for end := n - 1; end > 0; end-- {
			m := 0
			for m < maxMatch && m < end && tokens[end-1-m] == tokens[n-1-m] {
				m++
			}
			if m >= minMatch && m > match {
				match = m
				long := slices.Clone(tokens)
				for k := range limit {
					long = append(long, long[end+k])
				}
				want = long[n:]
			}
		}
		got, gotMatch := lookup(nil, tokens, limit)
		if gotMatch != match || !slices.Equal(got, want) {
			t.Fatalf("%v: %v after %d, want %v after %d", tokens, got, gotMatch, want, match)
		}
	}
}

func TestMask(t *testing.T) {
	m := testmodel.NewHash(vocab, 32, 100)
	s := start(t, m, Options{}, kvcache.Options{})
	boom := errors.New("boom")
	run := func(mask func([]uint32, []uint64) error) (*sink, Outcome) {
		k := newSink()
		if err := s.Submit(&Task{Prompt: []uint32{1}, Max: 20, Sampler: sampler(t, sample.Params{Temperature: 2, Seed: 1}, nil), Sink: k, Mask: mask}); err != nil {
			t.Fatal(err)
		}
		return k, k.wait(t)
	}
	k, o := run(func(answer []uint32, allowed []uint64) error { // ascending by one from 5
		allowed[0] = 1 << (5 + len(answer))
		return nil
	})
	if o.Reason != Exhausted || len(k.ids) != 20 || k.ids[0] != 5 || k.ids[19] != 24 {
		t.Errorf("%v %+v", k.ids, o)
	}
	k, o = run(func(answer []uint32, allowed []uint64) error {
		if len(answer) == 3 {
			return boom
		}
		return nil
	})
	if o.Reason != Failed || !errors.Is(o.Err, boom) || len(k.ids) != 3 {
		t.Errorf("failing mask: %d tokens, %+v", len(k.ids), o)
	}
	if k, o = run(func(_ []uint32, allowed []uint64) error { clear(allowed); return nil }); o.Reason != Failed || !errors.Is(o.Err, sample.ErrMask) {
		t.Errorf("empty mask: %d tokens, %+v", len(k.ids), o)
	}
	if k, o = run(func([]uint32, []uint64) error { panic("mask") }); o.Reason != Failed || len(k.ids) != 0 {
		t.Errorf("panicking mask: %+v", o)
	}
	calm, bad := newSink(), newSink()
	fine := &Task{Prompt: []uint32{1}, Max: 20, Sampler: sampler(t, sample.Params{}, nil), Sink: calm}
	wild := &Task{Prompt: []uint32{2}, Max: 20, Sampler: sampler(t, sample.Params{}, nil), Sink: bad,
		Mask: func(answer []uint32, _ []uint64) error {
			if len(answer) == 5 {
				panic("mask")
			}
			return nil
		}}
	if err := s.Submit(fine, wild); err != nil {
		t.Fatal(err)
	}
	if o := bad.wait(t); o.Reason != Failed || len(bad.ids) != 5 {
		t.Errorf("a mask that panics late: %d tokens, %+v", len(bad.ids), o)
	}
	if o := calm.wait(t); o.Reason != Exhausted || len(calm.ids) != 20 {
		t.Errorf("beside a mask that panics: %d tokens, %+v", len(calm.ids), o)
	}
}

// TestFairness: a tenant with one short request does not wait for another's flood, nor for its long prompt.
func TestFairness(t *testing.T) {
	m := testmodel.NewHash(vocab, 32, 4000)
	all := make(chan struct{})
	m.OnStep = func(*backend.Batch) error { <-all; return nil }
	s := start(t, m, Options{MaxRunning: 4}, kvcache.Options{})
	submit := func(tenant string, prompt, max int, seed uint64) *sink {
		k := newSink()
		p := randomPrompt(rand.New(rand.NewPCG(seed, 3)), nil, prompt)
		if err := s.Submit(&Task{Prompt: p, Max: max, Sampler: sampler(t, sample.Params{}, nil), Sink: k, Tenant: tenant}); err != nil {
			t.Fatal(err)
		}
		return k
	}
	var flood []*sink
	for i := range uint64(50) {
		flood = append(flood, submit("flood", 100, 20, i))
	}
	long := submit("long", 3000, 1, 99)
	small := submit("small", 10, 2, 100)
	before := func(k *sink, at int) *int { // how many of the flood end before k's at-th token
		n := new(int)
		k.at, k.then = at, func() {
			for _, f := range flood {
				select {
				case <-f.done:
					*n++
				default:
				}
			}
		}
		return n
	}
	smallWaits, longWaits := before(small, 2), before(long, 1)
	close(all)
	small.wait(t)
	long.wait(t)
	if *smallWaits > 8 || *longWaits < 5 || *longWaits > 45 {
		t.Errorf("of 50 others, %d came before the small request and %d before the long one", *smallWaits, *longWaits)
	}
	s.Do(func() {
		for i := range 10000 { // names that come once are forgotten
			s.arrive(&Task{Tenant: string(rune(i)), Prompt: []uint32{1}})
			s.waiting = s.waiting[:len(s.waiting)-1]
		}
		if len(s.served) > 5000 {
			t.Errorf("%d counters are kept", len(s.served))
		}
	})
	for _, k := range flood {
		k.wait(t)
	}
}

// TestStates: hidden states come for the rows asked for, once each, beside decoding and after preemption.
func TestStates(t *testing.T) {
	m := testmodel.NewHash(vocab, 32, 20)
	all := make(chan struct{})
	m.OnStep = func(*backend.Batch) error { <-all; return nil }
	s := start(t, m, Options{}, kvcache.Options{})
	r := rand.New(rand.NewPCG(5, 5))
	decode := newSink()
	if err := s.Submit(&Task{Prompt: []uint32{1, 2}, Max: 200, Sampler: sampler(t, sample.Params{}, nil), Sink: decode}); err != nil {
		t.Fatal(err)
	}
	type job struct {
		k    *sink
		p    []uint32
		from int
		next int
	}
	var jobs []*job
	for i := range 10 {
		j := &job{k: newSink(), p: randomPrompt(r, nil, 100+r.IntN(100))}
		if i%2 == 1 {
			j.from = len(j.p) - 1
		}
		j.next = j.from
		err := s.Submit(&Task{Prompt: j.p, Sink: j.k, States: true, EachFrom: j.from, Each: func(p int, row []float32) error {
			if p != j.next || !slices.Equal(row, m.Hidden(j.p[:p+1])) {
				return errors.New("wrong row")
			}
			j.next++
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, j)
	}
	close(all)
	for i, j := range jobs {
		if o := j.k.wait(t); o.Reason != Stopped || j.next != len(j.p) {
			t.Errorf("job %d: %+v at %d of %d", i, o, j.next, len(j.p))
		}
	}
	if o := decode.wait(t); o.Reason != Exhausted || !slices.Equal(decode.ids, alone(t, m, sample.Params{}, []uint32{1, 2}, 200)) {
		t.Errorf("%+v", o)
	}
}

// TestDeadline: a request whose time is up ends with the context's cause, wherever it is.
func TestDeadline(t *testing.T) {
	m := testmodel.NewHash(vocab, 16, 100)
	s := start(t, m, Options{MaxRunning: 1}, kvcache.Options{})
	late := errors.New("late")
	ctx, cancel := context.WithCancelCause(context.Background())
	m.OnStep = func(*backend.Batch) error { cancel(late); return nil }
	running, waiting := newSink(), newSink()
	for _, k := range []*sink{running, waiting} {
		if err := s.Submit(&Task{Context: ctx, Prompt: make([]uint32, 500), Max: 5, Sampler: sampler(t, sample.Params{}, nil), Sink: k}); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range []*sink{running, waiting} {
		if o := k.wait(t); o.Reason != Cancelled || o.Err != late {
			t.Errorf("%+v", o)
		}
	}
	if n := m.Stats().Steps; n != 1 {
		t.Errorf("%d steps", n)
	}
}
