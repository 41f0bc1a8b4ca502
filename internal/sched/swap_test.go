package sched

import (
	"slices"
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/sample"
	"github.com/krserve/krserve/internal/testmodel"
	"github.com/krserve/krserve/kvcache"
)

// TestPreemptionSwaps: what a preempted task had computed goes to the host tier, if there is one, and comes back from
// there: only rows of a block that was not full are computed again. Without tiers all of it is.
func TestPreemptionSwaps(t *testing.T) {
	var again [2]int // rows beyond those that two tasks need
	for run, o := range []kvcache.Options{{}, {HostBytes: 1 << 20}} {
		m := testmodel.NewHash(vocab, 32, 14)
		both := make(chan struct{})
		m.OnStep = func(*backend.Batch) error { <-both; return nil }
		s := start(t, m, Options{NoSpeculation: true, Identity: "hash"}, o)
		if err := s.Do(func() { s.perRow = 1 }); err != nil { // computing is slow
			t.Fatal(err)
		}
		const n = 9 * kvcache.BlockTokens
		var tasks []*Task
		for i := range uint32(2) {
			task := &Task{Prompt: []uint32{i, 7, 7}, Max: n, Sampler: sampler(t, sample.Params{}, nil), Sink: newSink()}
			if err := s.Submit(task); err != nil {
				t.Fatal(err)
			}
			tasks = append(tasks, task)
		}
		close(both)
		for i, task := range tasks {
			k := task.Sink.(*sink)
			if o := k.wait(t); o.Reason != Exhausted || !slices.Equal(k.ids, alone(t, m, sample.Params{}, task.Prompt, task.Max)) {
				t.Errorf("task %d: %+v", i, o)
			}
		}
		s.Close()
		st := s.Stats()
		again[run] = int(st.Rows) - 2*(n+2)
		t.Logf("%d rows again, %+v, %+v", again[run], st, s.Cache())
		if st.Preemptions == 0 || run == 1 && st.RestoredTokens == 0 {
			t.Errorf("%+v", st)
		}
	}
	if again[0] < 2*kvcache.BlockTokens || again[1] >= kvcache.BlockTokens {
		t.Errorf("%d rows are computed again, with a host tier %d", again[0], again[1])
	}
}
