package krserve

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/backend"
)

// TestBatchInvariant: a request has the same tokens and bit-equal log-probabilities alone in a fresh engine, among
// others, with its prefix cached, and in small chunks on one thread with drafts and too few blocks, on every backend.
func TestBatchInvariant(t *testing.T) {
	for _, b := range backend.Names() {
		t.Run(b, func(t *testing.T) {
			t.Parallel()
			n := 12
			if b == "reference" {
				n = 3
			}
			c := Config{Model: modelPath(t, "smollm2"), Backend: b, ContextTokens: 512}
			var reqs []Request
			long := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 4)
			for i, text := range []string{"Once", long + "Then", long + "Later the fox", "def add(a, b):\n", "Größe, 東京 and"} {
				reqs = append(reqs, Request{Raw: text, MaxTokens: n + i, IgnoreEOS: true, TopLogProbs: 3,
					Temperature: float32(i % 2), Seed: uint64(i) + 1, FrequencyPenalty: float32(i%3) / 3})
			}
			alone := make([]Result, len(reqs))
			for i, r := range reqs {
				e := openModel(t, c)
				var err error
				if alone[i], err = e.Generate(context.Background(), r); err != nil {
					t.Fatal(err)
				}
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
			}
			e := openModel(t, c)
			for _, round := range []string{"together", "cached"} {
				var streams []*Stream
				for _, r := range reqs {
					s, err := e.Start(context.Background(), r)
					if err != nil {
						t.Fatal(err)
					}
					streams = append(streams, s)
				}
				for i, s := range streams {
					var got []Token
					for tok, err := range s.All() {
						if err != nil {
							t.Fatal(err)
						}
						got = append(got, tok)
					}
					if !reflect.DeepEqual(got, alone[i].Tokens) {
						t.Errorf("%s, request %d:\n%+v\nalone\n%+v", round, i, got, alone[i].Tokens)
					}
					if u := s.Usage(); round == "cached" && u.CachedTokens != u.PromptTokens-1 {
						t.Errorf("%s, request %d: %d of %d tokens cached", round, i, u.CachedTokens, u.PromptTokens)
					}
				}
			}
			if st := e.Stats(); st.LargestBatch < 3 {
				t.Errorf("largest batch %d", st.LargestBatch)
			}
			// Odd chunks, one thread, drafts in every step, and a cache too small for all, so that some are computed again.
			tight := c
			tight.rows, tight.Threads, tight.alwaysDraft, tight.ContextTokens = 7, 1, true, 128
			tight.KVBytes = 5 * e.sched.Cache().BlockBytes
			e = openModel(t, tight)
			var streams []*Stream
			for _, r := range reqs {
				s, err := e.Start(context.Background(), r)
				if err != nil {
					t.Fatal(err)
				}
				streams = append(streams, s)
			}
			for i, s := range streams {
				if got := drain(t, s); !reflect.DeepEqual(got.Tokens, alone[i].Tokens) {
					t.Errorf("in chunks of at most 7, request %d:\n%+v\nalone\n%+v", i, got.Tokens, alone[i].Tokens)
				}
			}
		})
	}
}
