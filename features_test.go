package krserve

import (
	"context"
	"reflect"
	"testing"

	"github.com/krserve/krserve/internal/backend"
)

// TestFeaturesBatch: nothing that a request may ask for takes it out of the batch. One step has rows of requests with
// penalties, seeds, log-probabilities, a mask, a bias, drafts, stops and several choices, and each has the tokens that
// it has alone and without drafts.
func TestFeaturesBatch(t *testing.T) {
	few := map[uint32]float32{}
	for id := range uint32(fakeVocab) {
		if id > 3 {
			few[id] = -1000
		}
	}
	base := Request{MaxTokens: 40, IgnoreEOS: true}
	var names []string
	var reqs []Request
	add := func(name string, edit func(r *Request)) {
		r := base
		r.Prompt = fake("prompt of " + name)
		edit(&r)
		names, reqs = append(names, name), append(reqs, r)
	}
	add("nothing", func(*Request) {})
	add("penalties", func(r *Request) { r.RepetitionPenalty, r.PresencePenalty, r.FrequencyPenalty = 1.3, 0.5, 0.4 })
	add("seed", func(r *Request) { r.Temperature, r.Seed, r.TopK, r.TopP, r.MinP = 1.2, 5, 50, 0.95, 0.01 })
	add("log-probabilities", func(r *Request) { r.LogProbs, r.TopLogProbs = true, 20 })
	add("mask", func(r *Request) { r.Mask = parity })
	add("bias and drafts", func(r *Request) { r.LogitBias = few })
	add("stops", func(r *Request) { r.Stop, r.StopIDs = []string{"no such text"}, []uint32{fakeVocab - 1} })
	choices := base
	choices.Prompt, choices.Temperature, choices.Seed = fake("several answers"), 1, 3
	const n = 3

	plain, _ := openFake(t, Config{NoSpeculation: true}, 1000, 400)
	var want []Result
	for i := range len(reqs) + n {
		r := choices
		r.Choice = uint32(i - len(reqs))
		if i < len(reqs) {
			r = reqs[i]
		}
		res, err := plain.Generate(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, res)
	}

	e, m := openFake(t, Config{alwaysDraft: true}, 1000, 400)
	all, largest, drafted := make(chan struct{}), 0, false
	m.OnStep = func(b *backend.Batch) error {
		<-all
		largest = max(largest, len(b.Tables))
		drafted = drafted || len(b.Tables) == len(want) && len(b.Sample) > len(want)
		return nil
	}
	var streams []*Stream
	for _, r := range reqs {
		st, err := e.Start(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, st)
	}
	more, err := e.StartChoices(context.Background(), choices, n)
	if err != nil {
		t.Fatal(err)
	}
	close(all)
	for i, st := range append(streams, more...) {
		got := drain(t, st)
		if i < len(reqs) && !reflect.DeepEqual(got.Tokens, want[i].Tokens) {
			t.Errorf("%s: %q, alone %q", names[i], got.Text, want[i].Text)
		} else if !reflect.DeepEqual(got.Tokens, want[i].Tokens) {
			t.Errorf("choice %d: %q, alone %q", i-len(reqs), got.Text, want[i].Text)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if st := e.Stats(); largest != len(want) || st.LargestBatch != largest || !drafted || st.AcceptedTokens == 0 {
		t.Errorf("%d of %d requests in one step, with drafts %v: %+v", largest, len(want), drafted, st)
	}
}
