package krserve

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
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

// residentBytes is the process's resident memory, 0 where the system does not tell.
func residentBytes() uint64 {
	var size, pages uint64
	if data, err := os.ReadFile("/proc/self/statm"); err == nil {
		_, _ = fmt.Sscan(string(data), &size, &pages)
	}
	return pages * uint64(os.Getpagesize())
}

// TestServeSoak: random requests with penalties, masks, several choices and log-probabilities, cancellations, deadlines,
// readers who go away, chats with forks, embeddings and scores, a full queue and a full pool shared by two engines, above
// tiers of which the store fails and hangs. Whatever finishes is, to the bit, what it is alone, and nothing is left
// behind.
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
	upset, patience := func(mood int) { moody.mood.Store(int32(mood)) }, 5*time.Millisecond
	if *soakServer {
		server := newSoakRedis(t)
		// The server shares the machine with the engines: what it has may take a while.
		store, upset, patience = server.store(), func(mood int) { server.alive(mood == 0) }, 250*time.Millisecond
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
		e, err := newEngine(c, tok, Info{Path: "hash", Vocab: tok.Size(), Width: testmodel.Width, Trained: 1024, Context: 1024, identity: "hash"}, tok.EndIDs(), m, nil)
		if err != nil {
			t.Fatal(err)
		}
		e.template = compiled("{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}>")
		return e
	}
	alone = open(nil)
	k.cases = soakCases(r, 60, alone.Info().Vocab, 40)
	k.alone(t, alone)
	blockBytes := alone.sched.Cache().BlockBytes
	if err := alone.Close(); err != nil {
		t.Fatal(err)
	}
	pool, err := NewKVPool(kvcache.Options{Bytes: 60 * blockBytes, HostBytes: 20 * blockBytes, File: filepath.Join(t.TempDir(), "kv"),
		FileBytes: max(40*blockBytes, 1<<20), Store: store, StoreTimeout: patience})
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
	for look := range looks { // the store's health changes, and memory is looked at
		time.Sleep(length / time.Duration(looks))
		upset(max(0, r.IntN(4)-1))
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		heaps = append(heaps, m.HeapAlloc)
		resident = append(resident, residentBytes())
		if look%6 == 5 && length > time.Minute {
			t.Logf("%v: %d finished, %d mistakes, %d goroutines, heap %d, resident %d bytes", time.Duration(look+1)*length/time.Duration(looks),
				k.finished.Load(), k.mistakes.Load(), runtime.NumGoroutine(), m.HeapAlloc, resident[look])
		}
	}
	close(over)
	wg.Wait()
	tiers := pool.Tiers()
	t.Logf("tiers: %+v", tiers)
	if length > time.Minute && *soakServer && (tiers.Host.Hits == 0 || tiers.File.Hits == 0 || tiers.Store.Hits == 0) {
		t.Error("a tier was of no use")
	}
	for i, e := range k.engines {
		for n := 0; e.sched.Cache().Leased > 0 || e.sched.Stats().Running+e.sched.Stats().Waiting > 0; n++ { // they end with the next step
			if err := e.sched.Do(func() {}); err != nil {
				t.Fatal(err)
			}
			if n == 10000 {
				t.Fatalf("engine %d: held with nobody there: %+v, %+v", i, e.sched.Stats(), e.sched.Cache())
			}
		}
		st := e.sched.Stats()
		t.Logf("engine %d: %+v, %+v", i, st, e.sched.Cache())
		if drafts := e.Stats().AcceptedTokens; length > time.Minute && (st.Preemptions == 0 || st.CachedTokens == 0 || st.RestoredTokens == 0 || i == 0 && drafts == 0) {
			t.Errorf("engine %d preempted, cached, restored or guessed nothing", i)
		}
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
	t.Logf("%d answers finished, %d of them in chats, %d vectors and scores, %d busy, %d cancelled, %d expired, %d abandoned; heap %d to %d, resident %d to %d bytes",
		k.finished.Load(), k.turns.Load(), k.vectors.Load(), k.busy.Load(), k.cancelled.Load(), k.expired.Load(), k.abandoned.Load(),
		heaps[looks/4], heaps[looks-1], resident[looks/4], resident[looks-1])
	if p := k.problem.Load(); p != nil {
		t.Errorf("%d mistakes, first: %s", k.mistakes.Load(), *p)
	}
	if k.finished.Load() == 0 {
		t.Error("nothing finished")
	}
}
