package redisstore

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/krserve/krserve/internal/sample"
	"github.com/krserve/krserve/internal/sched"
	"github.com/krserve/krserve/internal/testmodel"
	"github.com/krserve/krserve/kvcache"
)

// server is a real Redis or Valkey on a socket, without persistence.
type server struct {
	t    *testing.T
	path string
	cmd  *exec.Cmd
}

func startServer(t *testing.T) *server {
	dir, err := os.MkdirTemp("", "kv") // t.TempDir is too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, path: filepath.Join(dir, "s")}
	s.start()
	t.Cleanup(func() {
		s.kill()
		_ = os.RemoveAll(dir)
	})
	return s
}

func (s *server) start() {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		if program, err = exec.LookPath("valkey-server"); err != nil {
			s.t.Fatalf("%v; make testdata installs it", err)
		}
	}
	s.cmd = exec.Command(program, "--port", "0", "--unixsocket", s.path, "--save", "", "--appendonly", "no", "--dir", filepath.Dir(s.path))
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	c := s.client()
	defer c.Close()
	until(s.t, "the server to answer", func() bool { return c.Ping(context.Background()).Err() == nil })
}

// kill is kill -9.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *server) client() *redis.Client {
	return redis.NewClient(&redis.Options{Network: "unix", Addr: s.path, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
}

// until waits for something to come true.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

func TestStore(t *testing.T) {
	ctx := context.Background()
	srv := startServer(t)
	c := srv.client()
	defer c.Close()
	s := New(c, Options{})
	keys := make([]kvcache.Key, 40)
	for i := range keys {
		keys[i][0] = byte(i)
	}
	value := bytes.Repeat([]byte("0\x00\xff\r\n"), 100_000)
	for i, k := range keys[:30] {
		if err := s.Put(ctx, k, value[:len(value)-i], 0); err != nil {
			t.Fatal(err)
		}
	}
	dst := make([]byte, len(value))
	for i, k := range keys[:30] {
		got := dst[:len(value)-i]
		clear(got)
		if ok, err := s.Get(ctx, k, got); !ok || err != nil || !bytes.Equal(got, value[:len(got)]) {
			t.Fatalf("value %d: %v %v", i, ok, err)
		}
		for _, n := range []int{len(got) - 1, len(got) + 1} {
			if ok, err := s.Get(ctx, k, make([]byte, n)); ok || err != nil {
				t.Errorf("value %d of %d bytes as one of %d: %v %v", i, len(got), n, ok, err)
			}
		}
	}
	if ok, err := s.Get(ctx, keys[35], dst); ok || err != nil {
		t.Errorf("a value that is not there: %v %v", ok, err)
	}
	if n, err := s.Prefix(ctx, keys); n != 30 || err != nil {
		t.Errorf("prefix of %d, %v", n, err)
	}
	c.Del(ctx, s.key(keys[7]))
	if n, err := s.Prefix(ctx, keys); n != 7 || err != nil {
		t.Errorf("prefix before a gap of %d, %v", n, err)
	}
	if n, err := s.Prefix(ctx, nil); n != 0 || err != nil {
		t.Errorf("no keys: %d, %v", n, err)
	}
	short := New(c, Options{Prefix: "other:", TTL: time.Hour})
	if n, err := short.Prefix(ctx, keys); n != 0 || err != nil {
		t.Errorf("another prefix holds %d, %v", n, err)
	}
	for ttl, want := range map[time.Duration]time.Duration{0: time.Hour, time.Minute: time.Minute, 2 * time.Hour: time.Hour} {
		if err := short.Put(ctx, keys[0], value[:1], ttl); err != nil {
			t.Fatal(err)
		}
		if got := c.PTTL(ctx, short.key(keys[0])).Val(); got <= 0 || got > want {
			t.Errorf("ttl %v: expires in %v, want %v", ttl, got, want)
		}
	}
	srv.kill()
	if _, err := s.Get(ctx, keys[0], dst); err == nil {
		t.Error("Get from a dead server succeeds")
	}
	if _, err := s.Prefix(ctx, keys); err == nil {
		t.Error("Prefix of a dead server succeeds")
	}
	if err := s.Put(ctx, keys[0], value, 0); err == nil {
		t.Error("Put to a dead server succeeds")
	}
}

// replica is an engine's inside, on a pool of its own over the shared server.
type replica struct {
	t     *testing.T
	s     *sched.Scheduler
	m     *testmodel.Hash
	pool  *kvcache.Pool
	close func()

	mu     sync.Mutex
	clock  time.Time
	events map[kvcache.EventKind]int
}

const vocab = 64

func newReplica(t *testing.T, srv *server, o kvcache.Options) *replica {
	c := srv.client()
	r := &replica{t: t, m: testmodel.NewHash(vocab, 64, 400), clock: time.Now(), events: map[kvcache.EventKind]int{}}
	o.Store = New(c, Options{})
	o.Now = func() time.Time { r.mu.Lock(); defer r.mu.Unlock(); return r.clock }
	o.OnEvent = func(e kvcache.Event) { r.mu.Lock(); defer r.mu.Unlock(); r.events[e.Kind]++ }
	var err error
	if r.pool, err = kvcache.New(o); err != nil {
		t.Fatal(err)
	}
	if r.s, err = sched.New(sched.Options{Model: r.m, Pool: r.pool, Identity: "hash", Rows: 64, Vocab: vocab}); err != nil {
		t.Fatal(err)
	}
	r.close = sync.OnceFunc(func() {
		r.s.Close()
		if err := r.pool.Close(); err != nil {
			t.Error(err)
		}
		_ = c.Close()
	})
	t.Cleanup(r.close)
	return r
}

func (r *replica) seen(k kvcache.EventKind) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[k]
}

// later lets the circuit breaker try again.
func (r *replica) later() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock = r.clock.Add(time.Minute)
}

type sink struct {
	ids    []uint32
	cached int
	done   chan sched.Outcome
}

func (k *sink) Token(d sample.Draw, _ bool) bool { k.ids = append(k.ids, d.ID); return true }
func (k *sink) Room() int                        { return 1 << 20 }
func (k *sink) Start(cached int)                 { k.cached = cached }
func (k *sink) Done(o sched.Outcome)             { k.done <- o }

const answer = 6

// run answers a prompt, compares with the model alone, and returns how much of the prompt was found.
func (r *replica) run(prompt []uint32) int {
	r.t.Helper()
	smp, err := sample.New(sample.Params{}, vocab)
	if err != nil {
		r.t.Fatal(err)
	}
	k := &sink{done: make(chan sched.Outcome, 1)}
	if err := r.s.Submit(&sched.Task{Prompt: prompt, Max: answer, Sampler: smp, Sink: k}); err != nil {
		r.t.Fatal(err)
	}
	select {
	case o := <-k.done:
		if o.Reason != sched.Exhausted {
			r.t.Fatalf("%+v", o)
		}
	case <-time.After(time.Minute):
		r.t.Fatal("no answer in a minute")
	}
	all := slices.Clone(prompt)
	for range answer {
		logits := r.m.Logits(all)
		best := 0
		for i, x := range logits {
			if x > logits[best] {
				best = i
			}
		}
		all = append(all, uint32(best))
	}
	if !slices.Equal(k.ids, all[len(prompt):]) {
		r.t.Fatalf("tokens %v, alone %v", k.ids, all[len(prompt):])
	}
	return k.cached
}

func randomPrompt(r *rand.Rand, n int) []uint32 {
	p := make([]uint32, n)
	for i := range p {
		p[i] = r.Uint32N(vocab)
	}
	return p
}

// TestReplicas: what one replica has computed, another finds; after the server was killed and started again, empty, they
// go on, and share again.
func TestReplicas(t *testing.T) {
	srv := startServer(t)
	r := rand.New(rand.NewPCG(1, 1))
	a := newReplica(t, srv, patient)
	share := func(n int) {
		t.Helper()
		p := randomPrompt(r, n)
		before := a.pool.Tiers().Store.Written
		if got := a.run(p); got >= kvcache.BlockTokens {
			t.Errorf("the first replica found %d tokens of a new prompt", got)
		}
		whole := uint64(n+answer-1) / kvcache.BlockTokens
		until(t, "the blocks to be written", func() bool { return a.pool.Tiers().Store.Written >= before+whole })
		b := newReplica(t, srv, patient) // new: it does not know yet that the model is faster than any store
		if got, want := b.run(p), (n-1)/kvcache.BlockTokens*kvcache.BlockTokens; got != want {
			t.Errorf("the second replica found %d tokens, want %d", got, want)
		}
		b.close()
	}
	share(500)
	share(97)

	srv.kill()
	until(t, "the store to be given up", func() bool { a.run(randomPrompt(r, 150)); return a.seen(kvcache.StoreDown) == 1 })
	for range 5 {
		a.run(randomPrompt(r, 150))
	}
	srv.start()
	until(t, "the store to be taken up", func() bool { a.later(); a.run(randomPrompt(r, 150)); return a.seen(kvcache.StoreUp) == 1 })
	share(500)
	if st := a.pool.Tiers(); st.StoreDown || st.Store.Damaged > 0 {
		t.Errorf("%+v", st)
	}
}

// patient never gives a store up for the machine's slowness.
var patient = kvcache.Options{StoreTimeout: 30 * time.Second}

// TestForeignValues: what somebody else has put under the keys is not used.
func TestForeignValues(t *testing.T) {
	srv := startServer(t)
	a := newReplica(t, srv, patient)
	p := randomPrompt(rand.New(rand.NewPCG(1, 3)), 400)
	a.run(p)
	a.close()
	ctx, c := context.Background(), srv.client()
	defer c.Close()
	keys := c.Keys(ctx, "krserve:kv:*").Val()
	if len(keys) < 12 {
		t.Fatalf("%d keys on the server", len(keys))
	}
	for i, k := range keys {
		switch v := []byte(c.Get(ctx, k).Val()); i % 4 {
		case 0:
			v[len(v)-1] ^= 1
			c.Set(ctx, k, v, 0)
		case 1:
			c.Set(ctx, k, c.Get(ctx, keys[(i+1)%len(keys)]).Val(), 0)
		case 2:
			c.Set(ctx, k, append(v, 0), 0)
		case 3:
			c.Del(ctx, k)
			c.LPush(ctx, k, "a list")
		}
	}
	b := newReplica(t, srv, patient)
	for range 3 {
		b.run(p)
	}
}
