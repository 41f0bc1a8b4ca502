package krserve

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/krserve/krserve/internal/testmodel"
	"github.com/krserve/krserve/kvcache"
)

var (
	soakTime   = flag.Duration("soak", 0, "how long TestServeSoak runs; 0 = 20 s, or 3 s with -short")
	soakModel  = flag.String("soakmodel", "", "model of TestServeSoak; empty = the hash model")
	soakServer = flag.Bool("soakredis", false, "TestServeSoak uses a redis-server, which it kills and restarts")
)

// moodyStore is a Store in memory that fails, hangs and forgets.
type moodyStore struct {
	mu     sync.Mutex
	values map[kvcache.Key][]byte
	mood   atomic.Int32 // 0 well, 1 down, 2 hanging
}

func (s *moodyStore) ready(ctx context.Context) error {
	switch s.mood.Load() {
	case 1:
		return errors.New("connection refused")
	case 2:
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (s *moodyStore) Prefix(ctx context.Context, keys []kvcache.Key) (int, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, k := range keys {
		if s.values[k] == nil {
			return i, nil
		}
	}
	return len(keys), nil
}

func (s *moodyStore) Get(ctx context.Context, key kvcache.Key, dst []byte) (bool, error) {
	if err := s.ready(ctx); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.values[key]
	return len(v) == len(dst) && copy(dst, v) > 0, nil
}

func (s *moodyStore) Put(ctx context.Context, key kvcache.Key, value []byte, _ time.Duration) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.values) > 2000 {
		clear(s.values) // it restarts empty
	}
	s.values[key] = append([]byte(nil), value...)
	return nil
}

// soaker is one run of TestServeSoak.
type soaker struct {
	engines                                                           []*Engine
	requests                                                          []Request
	want                                                              []Result // of each request alone
	finished, busy, cancelled, expired, abandoned, sessions, mistakes atomic.Int64
	problem                                                           atomic.Pointer[string]
}

func (k *soaker) fail(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	k.problem.CompareAndSwap(nil, &s)
	k.mistakes.Add(1)
}

// soakRequests make random requests that share prefixes, within tenants and across.
func soakRequests(r *rand.Rand, n, vocab, unit int) []Request {
	random := func(n int) []uint32 {
		ids := make([]uint32, n)
		for i := range ids {
			ids[i] = r.Uint32N(uint32(vocab))
		}
		return ids
	}
	system := random(6 * unit)
	var all []Request
	for i := range n {
		prompt := append(append([]uint32(nil), system[:r.IntN(len(system)+1)]...), random(1+r.IntN(2*unit))...)
		q := Request{Prompt: prompt, MaxTokens: 1 + r.IntN(unit), IgnoreEOS: true, Tenant: string(rune('a' + i%3)), Priority: r.IntN(3)}
		if i%2 == 0 {
			q.Temperature, q.Seed, q.TopK, q.RepetitionPenalty = 0.8, uint64(i)+1, r.IntN(40), 1.1
		}
		if i%5 == 0 {
			q.TopLogProbs = 3
		}
		if i%4 == 1 { // few tokens, which repeat, so that drafts come true
			q.LogitBias = map[uint32]float32{1: 100, 2: 100, 3: 100}
		}
		all = append(all, q)
	}
	return all
}

// user does one thing after another with a random engine until the time is over.
func (k *soaker) user(r *rand.Rand, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		default:
		}
		i := r.IntN(len(k.requests))
		e := k.engines[r.IntN(len(k.engines))]
		if r.IntN(6) == 0 {
			k.session(r, e, i)
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		act := r.IntN(6)
		if act == 0 {
			cancel()
			ctx, cancel = context.WithTimeout(context.Background(), time.Duration(r.IntN(30_000))*time.Microsecond)
		}
		k.request(ctx, cancel, r, e, i, act)
		cancel()
	}
}

func (k *soaker) request(ctx context.Context, cancel func(), r *rand.Rand, e *Engine, i, act int) {
	st, err := e.Start(ctx, k.requests[i])
	switch {
	case errors.Is(err, ErrBusy):
		k.busy.Add(1)
		runtime.Gosched()
		return
	case err != nil && ctx.Err() != nil:
		k.expired.Add(1)
		return
	case err != nil:
		k.fail("Start: %v", err)
		return
	}
	defer st.Close()
	stop := -1
	if act == 1 || act == 2 {
		stop = r.IntN(len(k.want[i].Tokens) + 1)
	}
	k.read(st, i, func(n int) bool {
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
		if ctx.Err() == nil {
			k.fail("request %d: %v", i, err)
		} else if act == 0 {
			k.expired.Add(1)
		}
	})
}

// read compares an answer with the one the request has alone.
func (k *soaker) read(st *Stream, i int, before func(n int) bool, ended func(error)) {
	want := k.want[i].Tokens
	for n := 0; before(n); n++ {
		tok, err := st.Next()
		switch {
		case errors.Is(err, io.EOF):
			if n != len(want) {
				k.fail("request %d: %d tokens, alone %d", i, n, len(want))
			}
			k.finished.Add(1)
			return
		case err != nil:
			ended(err)
			return
		case n >= len(want) || !reflect.DeepEqual(tok, want[n]):
			k.fail("request %d: token %d is %+v, alone it is another", i, n, tok)
			return
		}
	}
}

// session lets a chat go on for some turns, with forks, and leaves it open or closed.
func (k *soaker) session(r *rand.Rand, e *Engine, i int) {
	q := k.requests[i]
	s, err := e.NewSession(Request{MaxTokens: q.MaxTokens, IgnoreEOS: true, Temperature: q.Temperature, Seed: q.Seed, Tenant: q.Tenant})
	if err != nil {
		k.fail("NewSession: %v", err)
		return
	}
	defer s.Close()
	for range 1 + r.IntN(3) {
		st, err := s.Send(context.Background(), fmt.Sprint("say ", i))
		if errors.Is(err, ErrBusy) || errors.Is(err, ErrContextLength) {
			return
		}
		if err != nil {
			k.fail("Send: %v", err)
			return
		}
		for _, err := range st.All() {
			if err != nil {
				k.fail("session: %v", err)
			}
		}
		if r.IntN(3) == 0 {
			f := s.Fork()
			defer f.Close()
		}
	}
	k.sessions.Add(1)
}

// residentBytes is the process's resident memory, 0 where the system does not tell.
func residentBytes() uint64 {
	var size, pages uint64
	if data, err := os.ReadFile("/proc/self/statm"); err == nil {
		_, _ = fmt.Sscan(string(data), &size, &pages)
	}
	return pages * uint64(os.Getpagesize())
}

// TestServeSoak: random requests, cancellations, deadlines, readers who go away, chats with forks, a full queue and a full
// pool shared by two engines, above tiers of which the store fails and hangs. Every finished request has the tokens and
// log-probabilities that it has alone, and nothing is left behind.
func TestServeSoak(t *testing.T) {
	noLeaks(t)
	length := *soakTime
	if length == 0 {
		length = 20 * time.Second
		if testing.Short() {
			length = 3 * time.Second
		}
	}
	moody := &moodyStore{values: map[kvcache.Key][]byte{}}
	var store kvcache.Store = moody
	upset := func(mood int) { moody.mood.Store(int32(mood)) }
	if *soakServer {
		server := newSoakRedis(t)
		store, upset = server.store(), func(mood int) { server.alive(mood == 0) }
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	k := &soaker{}
	var alone *Engine
	open := func(pool *KVPool) *Engine {
		c := Config{Pool: pool, MaxQueue: 12, alwaysDraft: pool != nil && len(k.engines) == 0, NoSpeculation: pool == nil}
		if *soakModel != "" {
			c.Model, c.ContextTokens, c.Threads = *soakModel, 1024, 1
			e, err := Open(context.Background(), c)
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		tok, err := fakeTokenizer()
		if err != nil {
			t.Fatal(err)
		}
		m := testmodel.NewHash(tok.Size(), stepRows, 48)
		e, err := newEngine(c, tok, Info{Path: "hash", Vocab: tok.Size(), Trained: 1024, Context: 1024, identity: "hash"}, tok.EndIDs(), m, nil)
		if err != nil {
			t.Fatal(err)
		}
		e.template = compiled("{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}>")
		return e
	}
	alone = open(nil)
	k.requests = soakRequests(r, 60, alone.Info().Vocab, 40)
	for i, q := range k.requests {
		q.Tenant = fmt.Sprint("alone ", i)
		res, err := alone.Generate(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		k.want = append(k.want, res)
	}
	blockBytes := alone.sched.Cache().BlockBytes
	if err := alone.Close(); err != nil {
		t.Fatal(err)
	}
	pool, err := NewKVPool(kvcache.Options{Bytes: 60 * blockBytes, HostBytes: 20 * blockBytes, File: filepath.Join(t.TempDir(), "kv"),
		FileBytes: max(100*blockBytes, 1<<20), Store: store, StoreTimeout: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		k.engines = append(k.engines, open(pool))
	}
	over := make(chan struct{})
	var wg sync.WaitGroup
	for u := range 24 {
		wg.Go(func() { k.user(rand.New(rand.NewPCG(seed, uint64(u)+2)), over) })
	}
	var heaps, resident []uint64
	looks := max(8, int(length/(10*time.Second)))
	for range looks { // the store's health changes, and memory is looked at
		time.Sleep(length / time.Duration(looks))
		upset(r.IntN(3))
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		heaps = append(heaps, m.HeapAlloc)
		resident = append(resident, residentBytes())
	}
	close(over)
	wg.Wait()
	for i, e := range k.engines {
		for e.sched.Cache().Leased > 0 || e.sched.Stats().Running > 0 { // cancelled tasks end with the next step
			if err := e.sched.Do(func() {}); err != nil {
				t.Fatal(err)
			}
			if t.Context().Err() != nil {
				return
			}
		}
		t.Logf("engine %d: %+v, %+v", i, e.sched.Stats(), e.sched.Cache())
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
	if used, _ := pool.Used(); used != 0 {
		t.Errorf("%d bytes of the pool are still used", used)
	}
	if first, last := heaps[looks/4], heaps[looks-1]; last > first+first/4+32<<20 {
		t.Errorf("the heap has grown from %d to %d bytes", first, last)
	}
	// Short runs are still taking their first memory in.
	if first, last := resident[looks/4], resident[looks-1]; length >= 5*time.Minute && last > first+first/4+64<<20 {
		t.Errorf("resident memory has grown from %d to %d bytes", first, last)
	}
	t.Logf("%d finished, %d busy, %d cancelled, %d expired, %d abandoned, %d sessions; heap %d to %d, resident %d to %d bytes",
		k.finished.Load(), k.busy.Load(), k.cancelled.Load(), k.expired.Load(), k.abandoned.Load(), k.sessions.Load(),
		heaps[looks/4], heaps[looks-1], resident[looks/4], resident[looks-1])
	if p := k.problem.Load(); p != nil {
		t.Errorf("%d mistakes, first: %s", k.mistakes.Load(), *p)
	}
	if k.finished.Load() == 0 {
		t.Error("nothing finished")
	}
}
