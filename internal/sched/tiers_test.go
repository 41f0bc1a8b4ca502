package sched

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/krserve/krserve/internal/sample"
	"github.com/krserve/krserve/internal/testmodel"
	"github.com/krserve/krserve/kvcache"
)

// open starts a scheduler over a new model on a pool of its own; shut closes both in order.
func open(t testing.TB, blocks int, o Options, po kvcache.Options) (s *Scheduler, m *testmodel.Hash, pool *kvcache.Pool, shut func()) {
	t.Helper()
	m = testmodel.NewHash(vocab, 64, blocks)
	pool, err := kvcache.New(po)
	if err != nil {
		t.Fatal(err)
	}
	o.Model, o.Pool, o.Vocab, o.Rows = m, pool, vocab, 64
	if o.Identity == "" {
		o.Identity = "hash"
	}
	if s, err = New(o); err != nil {
		t.Fatal(err)
	}
	return s, m, pool, sync.OnceFunc(func() {
		s.Close()
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
}

// one runs a prompt and compares its tokens with those it has alone.
func one(t testing.TB, s *Scheduler, m *testmodel.Hash, tenant string, prompt []uint32) (cached int) {
	t.Helper()
	k := newSink()
	if err := s.Submit(&Task{Prompt: prompt, Max: 5, Sampler: sampler(t, sample.Params{}, prompt), Sink: k, Tenant: tenant}); err != nil {
		t.Fatal(err)
	}
	if o := k.wait(t); o.Reason != Exhausted {
		t.Fatalf("%+v", o)
	}
	if !slices.Equal(k.ids, alone(t, m, sample.Params{}, prompt, 5)) {
		t.Fatal("other tokens than alone")
	}
	return k.cached
}

// TestRestart: what one process computed, the next one finds in the file.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kv")
	r := rand.New(rand.NewPCG(1, 2))
	prompt := randomPrompt(r, nil, 1000)
	for i := range 3 {
		s, m, pool, shut := open(t, 100, Options{}, kvcache.Options{File: path, FileBytes: 1 << 20})
		want := 992
		if i == 0 {
			want = 0
		}
		if got := one(t, s, m, "a", prompt); got != want {
			t.Errorf("start %d: %d tokens cached, want %d", i, got, want)
		}
		if got := one(t, s, m, "b", prompt[:320]); got != 0 && i == 0 {
			t.Errorf("another tenant found %d", got)
		}
		if i > 0 {
			if st := s.Stats(); st.RestoredTokens != 992+288 {
				t.Errorf("restored %d tokens", st.RestoredTokens)
			}
		}
		shut()
		_ = pool
	}
	s, m, _, shut := open(t, 100, Options{Identity: "another model"}, kvcache.Options{File: path, FileBytes: 1 << 20})
	if got := one(t, s, m, "a", prompt); got != 0 {
		t.Errorf("another model found %d tokens", got)
	}
	shut()
}

// TestHostTier: prompts that together exceed the arena come back from memory.
func TestHostTier(t *testing.T) {
	s, m, pool, shut := open(t, 20, Options{}, kvcache.Options{HostBytes: 4 << 20})
	defer shut()
	r := rand.New(rand.NewPCG(1, 3))
	var prompts [][]uint32
	for range 6 {
		prompts = append(prompts, randomPrompt(r, nil, 500))
	}
	for round := range 3 {
		for i, p := range prompts {
			if got := one(t, s, m, "", p); round > 0 && got < 480 {
				t.Errorf("round %d prompt %d: %d tokens cached", round, i, got)
			}
		}
	}
	t.Logf("%+v", pool.Tiers())
}

// mapStore is a Store in memory that can be broken.
type mapStore struct {
	mu    sync.Mutex
	m     map[kvcache.Key][]byte
	gate  func() error // called without the lock before every operation
	calls int
}

func (s *mapStore) enter() error {
	s.mu.Lock()
	s.calls++
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		return gate()
	}
	return nil
}

func (s *mapStore) Prefix(_ context.Context, keys []kvcache.Key) (int, error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, k := range keys {
		if s.m[k] == nil {
			return i, nil
		}
	}
	return len(keys), nil
}

func (s *mapStore) Get(_ context.Context, k kvcache.Key, dst []byte) (bool, error) {
	if err := s.enter(); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.m[k]) == len(dst) && copy(dst, s.m[k]) > 0, nil
}

func (s *mapStore) Put(_ context.Context, k kvcache.Key, v []byte, _ time.Duration) error {
	if err := s.enter(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[k] = slices.Clone(v)
	return nil
}

// TestReplicas: what one replica computed, another finds in the store; damaged values are not used.
func TestReplicas(t *testing.T) {
	store := &mapStore{m: map[kvcache.Key][]byte{}}
	prompt := randomPrompt(rand.New(rand.NewPCG(1, 4)), nil, 700)
	a, m, _, shut := open(t, 100, Options{}, kvcache.Options{Store: store})
	one(t, a, m, "", prompt)
	shut()
	b, m, _, shut := open(t, 100, Options{}, kvcache.Options{Store: store})
	if got := one(t, b, m, "", prompt); got != 672 {
		t.Errorf("the second replica found %d tokens", got)
	}
	shut()
	for _, v := range store.m {
		v[len(v)/2] ^= 1
	}
	c, m, pool, shut := open(t, 100, Options{}, kvcache.Options{Store: store})
	if got := one(t, c, m, "", prompt); got != 0 {
		t.Errorf("found %d tokens in damaged values", got)
	}
	if st := pool.Tiers(); st.Store.Damaged == 0 {
		t.Errorf("%+v", st)
	}
	shut()
}

// TestBadStores: stores that fail, hang, lie or panic cost no request its answer, and are left alone.
func TestBadStores(t *testing.T) {
	for name, gate := range map[string]func() error{
		"fails":  func() error { return errors.New("no connection") },
		"panics": func() error { panic("store") },
		"hangs":  func() error { select {} },
	} {
		t.Run(name, func(t *testing.T) {
			store := &mapStore{m: map[kvcache.Key][]byte{}, gate: gate}
			downs := 0
			var mu sync.Mutex
			now := time.Now()
			s, m, pool, shut := open(t, 200, Options{}, kvcache.Options{Store: store, StoreTimeout: time.Millisecond,
				Now: func() time.Time { return now }, // the breaker stays open
				OnEvent: func(e kvcache.Event) {
					mu.Lock()
					defer mu.Unlock()
					if e.Kind == kvcache.StoreDown {
						downs++
					}
				}})
			r := rand.New(rand.NewPCG(1, 5))
			for range 8 {
				one(t, s, m, "", randomPrompt(r, nil, 300))
			}
			if st := pool.Tiers(); !st.StoreDown || st.Store.Failures < 3 {
				t.Errorf("%+v", st)
			}
			store.mu.Lock()
			before := store.calls
			store.mu.Unlock()
			for range 8 {
				one(t, s, m, "", randomPrompt(r, nil, 300))
			}
			store.mu.Lock()
			if store.calls != before {
				t.Errorf("%d calls to a store that is down", store.calls-before)
			}
			store.mu.Unlock()
			shut()
			mu.Lock()
			defer mu.Unlock()
			if downs != 1 {
				t.Errorf("%d events of the store going down", downs)
			}
		})
	}
}
