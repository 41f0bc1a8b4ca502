package krserve

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/krserve/krserve/internal/testenv"
	"github.com/krserve/krserve/internal/testmodel"
	"github.com/krserve/krserve/kvcache"
)

// TestSharedPool: two engines on one budget, each of which could fill it, both finish with the tokens they have alone.
func TestSharedPool(t *testing.T) {
	noLeaks(t)
	blockBytes := int64(testmodel.NewHash(1, 1, 1).BlockBytes())
	pool, err := NewKVPool(kvcache.Options{Bytes: 24 * blockBytes})
	if err != nil {
		t.Fatal(err)
	}
	own, _ := openFake(t, Config{}, 600, 100)
	a, _ := openFake(t, Config{Pool: pool}, 600, 24)
	b, _ := openFake(t, Config{Pool: pool}, 600, 24)
	var wg sync.WaitGroup
	for i := range 24 {
		r := Request{Prompt: slices.Concat(fake("some words"), make([]uint32, 20*(i%8)), []uint32{uint32(i)}), MaxTokens: 100, IgnoreEOS: true, Temperature: 1, Seed: 5}
		want, err := own.Generate(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range []*Engine{a, b} {
			wg.Go(func() {
				got, err := e.Generate(context.Background(), r)
				if err != nil || got.Text != want.Text {
					t.Errorf("request %d: %q, alone %q, %v", i, got.Text, want.Text, err)
				}
			})
		}
	}
	wg.Wait()
	if used, budget := pool.Used(); used > budget {
		t.Errorf("%d bytes of %d", used, budget)
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	if used, _ := pool.Used(); used != 0 {
		t.Errorf("%d bytes are left after Close", used)
	}
	if _, err := NewKVPool(kvcache.Options{Bytes: -1}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

// TestSharedPoolOfTwoModels: engines of different models, whose blocks differ in size, on one budget that is too small for
// both, above one memory tier and one file: each answers as it does alone, and finds nothing of the other's.
func TestSharedPoolOfTwoModels(t *testing.T) {
	tok, err := fakeTokenizer()
	if err != nil {
		t.Fatal(err)
	}
	var alone, together []*Engine
	var largest int64
	models := []string{testenv.Golden("mlx", "gemma3-4bit-g64"), testenv.Golden("mlx", "qwen3-8bit-g64")}
	for _, m := range models {
		e := openModel(t, Config{Model: m, Tokenizer: tok, ContextTokens: 512})
		alone = append(alone, e)
		largest = max(largest, e.sched.Cache().BlockBytes)
	}
	if a, b := alone[0].sched.Cache().BlockBytes, alone[1].sched.Cache().BlockBytes; a == b {
		t.Fatalf("both models have blocks of %d bytes", a)
	}
	pool, err := NewKVPool(kvcache.Options{Bytes: 24 * largest, HostBytes: 16 * (largest + 8192), File: filepath.Join(t.TempDir(), "kv"), FileBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
		if used, _ := pool.Used(); used != 0 {
			t.Errorf("%d bytes are left after Close", used)
		}
	})
	for _, m := range models {
		together = append(together, openModel(t, Config{Model: m, Tokenizer: tok, ContextTokens: 512, Pool: pool}))
	}
	requests := make([]Request, 12)
	for i := range requests {
		prompt := make([]uint32, 150+20*i)
		for k := range prompt {
			prompt[k] = uint32(3 + (k*k*7+k+k/160*i)%900)
		}
		requests[i] = Request{Prompt: prompt, MaxTokens: 8, IgnoreEOS: true, Temperature: 1, Seed: uint64(i) + 1, LogProbs: true}
	}
	var want [2][]Result
	for k, e := range alone {
		for i, r := range requests {
			r.Tenant = fmt.Sprint(i) // nothing cached
			res, err := e.Generate(context.Background(), r)
			if err != nil {
				t.Fatal(err)
			}
			want[k] = append(want[k], res)
		}
	}
	if first, _ := together[0].Generate(context.Background(), requests[0]); first.Usage.CachedTokens != 0 {
		t.Errorf("a cold start found %d tokens", first.Usage.CachedTokens)
	}
	if first, _ := together[1].Generate(context.Background(), requests[0]); first.Usage.CachedTokens != 0 {
		t.Errorf("one model found %d tokens of the other's", first.Usage.CachedTokens)
	}
	for range 2 {
		var wg sync.WaitGroup
		for k, e := range together {
			for i, r := range requests {
				wg.Go(func() {
					got, err := e.Generate(context.Background(), r)
					if err != nil || !reflect.DeepEqual(got.Tokens, want[k][i].Tokens) {
						t.Errorf("model %d, request %d: %q, alone %q, %v", k, i, got.Text, want[k][i].Text, err)
					}
				})
			}
		}
		wg.Wait()
	}
	if used, budget := pool.Used(); used > budget {
		t.Errorf("%d bytes of %d", used, budget)
	}
	if st := pool.Tiers(); st.Host.Hits+st.File.Hits == 0 || st.File.Damaged > 0 {
		t.Errorf("%+v", st)
	}
}

// TestTenants: a tenant's prefix is not found by another.
func TestTenants(t *testing.T) {
	e, _ := openFake(t, Config{}, 600, 100)
	for i, want := range []int{0, 299, 0, 299} {
		r := Request{Prompt: make([]uint32, 300), MaxTokens: 1, Tenant: []string{"a", "b"}[i/2]}
		got, err := e.Generate(context.Background(), r)
		if err != nil || got.Usage.CachedTokens != want {
			t.Errorf("request %d: %d tokens cached, want %d (%v)", i, got.Usage.CachedTokens, want, err)
		}
	}
}
