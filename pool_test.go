package krserve

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

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
