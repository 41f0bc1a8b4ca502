package sched

import (
	"errors"
	"slices"
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/sample"
	"github.com/krserve/krserve/internal/testmodel"
	"github.com/krserve/krserve/kvcache"
)

// TestFullPool: a task for which there is no block, or no place among Options.Sequences, waits for one, or fails at once
// with a typed error where the pool says so. Who runs goes on in either case.
func TestFullPool(t *testing.T) {
	for name, o := range map[string]kvcache.Options{
		"blocks": {}, "blocks, no wait": {NoWait: true}, "sequences": {Sequences: 1}, "sequences, no wait": {Sequences: 1, NoWait: true},
	} {
		t.Run(name, func(t *testing.T) {
			m := testmodel.NewHash(vocab, 32, 10)
			started, submitted := make(chan struct{}), make(chan struct{})
			steps := 0
			m.OnStep = func(*backend.Batch) error {
				if steps++; steps == 10 {
					close(started)
					<-submitted
				}
				return nil
			}
			s := start(t, m, Options{}, o)
			var prompts [2][]uint32
			var sinks [2]*sink
			for i, n := range []int{240, 150} {
				for k := range n {
					prompts[i] = append(prompts[i], uint32((k*k+i)%vocab))
				}
				sinks[i] = newSink()
				task := &Task{Prompt: prompts[i], Max: 60, Sampler: sampler(t, sample.Params{}, prompts[i]), Sink: sinks[i]}
				if i == 1 {
					<-started
				}
				if err := s.Submit(task); err != nil {
					t.Fatal(err)
				}
			}
			close(submitted)
			for i, k := range sinks {
				out := k.wait(t)
				if i == 1 && o.NoWait {
					if out.Reason != Failed || !errors.Is(out.Err, ErrNoBlocks) || !errors.Is(out.Err, kvcache.ErrFull) || len(k.ids) > 0 {
						t.Errorf("without a block: %+v, %d tokens", out, len(k.ids))
					}
					if o.Sequences > 0 && !errors.Is(out.Err, kvcache.ErrSequences) {
						t.Errorf("without a place: %v", out.Err)
					}
					continue
				}
				if out.Reason != Exhausted || !slices.Equal(k.ids, alone(t, m, sample.Params{}, prompts[i], 60)) {
					t.Errorf("task %d: %+v, %d tokens", i, out, len(k.ids))
				}
			}
			if st := s.Stats(); st.Preemptions > 0 {
				t.Errorf("%d preemptions", st.Preemptions)
			}
		})
	}
}
