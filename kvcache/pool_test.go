package kvcache

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"
)

func attach(t testing.TB, o Options, so SpaceOptions) (*Pool, *Space) {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if so.BlockBytes == 0 {
		so.BlockBytes = 100
	}
	s, err := p.Attach(so)
	if err != nil {
		t.Fatal(err)
	}
	return p, s
}

func seq(from, n int) []uint32 {
	out := make([]uint32, n)
	for i := range out {
		out[i] = uint32(from + i)
	}
	return out
}

// fill runs a sequence from start to end and returns how much of it was cached.
func fill(t testing.TB, s *Space, tenant string, tokens []uint32) int {
	t.Helper()
	var l Lease
	hit, err := s.Acquire(&l, tenant, tokens, -1)
	if err != nil {
		t.Fatal(err)
	}
	l.Copied()
	if err := l.Grow(len(tokens)); err != nil {
		t.Fatal(err)
	}
	l.Copied()
	if err := l.Commit(tokens[hit:]); err != nil {
		t.Fatal(err)
	}
	l.Release()
	return hit
}

func peek(t testing.TB, s *Space, tenant string, tokens []uint32) int {
	t.Helper()
	var l Lease
	hit, err := s.Acquire(&l, tenant, tokens, -1)
	if err != nil {
		t.Fatal(err)
	}
	l.Copied()
	l.Release()
	return hit
}

func TestPrefixToTheToken(t *testing.T) {
	_, s := attach(t, Options{}, SpaceOptions{Blocks: 100})
	if n := fill(t, s, "", seq(0, 100)); n != 0 {
		t.Errorf("found %d tokens in an empty cache", n)
	}
	for _, n := range []int{0, 1, 31, 32, 33, 64, 95, 96, 97, 99, 100} {
		if got := peek(t, s, "", append(seq(0, n), 7777)); got != n {
			t.Errorf("found %d tokens of %d", got, n)
		}
	}
	var l Lease
	if got, err := s.Acquire(&l, "", seq(0, 100), 99); got != 99 || err != nil {
		t.Errorf("with limit 99: %d, %v", got, err)
	}
	l.Copied()
	l.Release()
}

func TestTenantsAreApart(t *testing.T) {
	_, s := attach(t, Options{}, SpaceOptions{Blocks: 100})
	fill(t, s, "a", seq(0, 64))
	if n := peek(t, s, "b", seq(0, 64)); n != 0 {
		t.Errorf("tenant b found %d tokens of a's", n)
	}
	if n := peek(t, s, "a", seq(0, 64)); n != 64 {
		t.Errorf("tenant a found %d of its own", n)
	}
}

func TestTTL(t *testing.T) {
	now := time.Unix(0, 0)
	_, s := attach(t, Options{TTL: time.Minute, Now: func() time.Time { return now }}, SpaceOptions{Blocks: 100})
	fill(t, s, "", seq(0, 100))
	now = now.Add(time.Minute)
	if n := peek(t, s, "", seq(0, 100)); n != 100 {
		t.Errorf("found %d in time", n)
	}
	now = now.Add(time.Minute + 1)
	if n := peek(t, s, "", seq(0, 100)); n != 0 {
		t.Errorf("found %d after the TTL", n)
	}
	fill(t, s, "", seq(500, 100))
	now = now.Add(2 * time.Minute)
	s.Expire()
	if st := s.Stats(); st.Cached != 0 || st.Expired != 8 {
		t.Errorf("after Expire: %+v", st)
	}
}

func TestQuota(t *testing.T) {
	_, s := attach(t, Options{TenantBytes: 500}, SpaceOptions{Blocks: 100})
	fill(t, s, "b", seq(0, 96))
	for i := range 20 {
		fill(t, s, "a", seq(1000*i, 96))
	}
	if n := peek(t, s, "b", seq(0, 96)); n != 96 {
		t.Errorf("a's traffic left %d of b's 96 tokens", n)
	}
	var l Lease
	if _, err := s.Acquire(&l, "a", nil, -1); err != nil {
		t.Fatal(err)
	}
	if err := l.Grow(6 * BlockTokens); !errors.Is(err, ErrQuota) {
		t.Errorf("six blocks with a quota of five: %v", err)
	}
	if err := l.Grow(5 * BlockTokens); err != nil {
		t.Errorf("five blocks: %v", err)
	}
	l.Release()
}

// TestScanResistance: prefixes in use survive a flood of prompts that come once.
func TestScanResistance(t *testing.T) {
	_, s := attach(t, Options{}, SpaceOptions{Blocks: 40})
	hot := seq(0, 320)
	fill(t, s, "", hot)
	peek(t, s, "", hot)
	for i := range 50 {
		fill(t, s, "", seq(10000*(i+1), 320))
	}
	if n := peek(t, s, "", hot); n != 320 {
		t.Errorf("the flood left %d of 320 tokens", n)
	}
}

func TestLeasedIsNeverEvicted(t *testing.T) {
	_, s := attach(t, Options{}, SpaceOptions{Blocks: 4})
	var a, b Lease
	if _, err := s.Acquire(&a, "", nil, -1); err != nil {
		t.Fatal(err)
	}
	if err := a.Grow(96); err != nil {
		t.Fatal(err)
	}
	if err := a.Commit(seq(0, 96)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Acquire(&b, "", nil, -1); err != nil {
		t.Fatal(err)
	}
	if err := b.Grow(33); !errors.Is(err, ErrFull) {
		t.Errorf("two blocks of one: %v", err)
	}
	if len(b.Table()) != 0 {
		t.Errorf("a failed Grow kept %d blocks", len(b.Table()))
	}
	a.Release()
	if err := b.Grow(128); err != nil {
		t.Error(err)
	}
	b.Release()
}

// TestForksShare: a hundred sequences with ten forks each cost no block beyond the tail that a fork writes into.
// hundred holds 100 sequences of 500 tokens.
func hundred(tb testing.TB, s *Space) []*Lease {
	tb.Helper()
	var held []*Lease
	for i := range 100 {
		l := new(Lease)
		if _, err := s.Acquire(l, "", nil, -1); err != nil {
			tb.Fatal(err)
		}
		if err := errors.Join(l.Grow(500), l.Commit(seq(1000*i, 500))); err != nil {
			tb.Fatal(err)
		}
		held = append(held, l)
	}
	return held
}

// fork makes n forks of sequences, lets each go its own way, and returns how many blocks that took.
func fork(tb testing.TB, s *Space, of []*Lease, n int) (blocks int, forks []*Lease) {
	tb.Helper()
	before := s.Stats().Leased
	forks = make([]*Lease, n)
	for i := range forks {
		forks[i] = new(Lease)
		if err := of[i%len(of)].Fork(forks[i]); err != nil {
			tb.Fatal(err)
		}
	}
	if n := s.Stats().Leased - before; n != 0 {
		tb.Errorf("the forks took %d blocks before any wrote", n)
	}
	for i, f := range forks {
		if err := f.Grow(501); err != nil {
			tb.Fatal(err)
		}
		f.Copied()
		if err := f.Commit([]uint32{uint32(100000 + i)}); err != nil {
			tb.Fatal(err)
		}
	}
	return s.Stats().Leased - before, forks
}

func TestForksShare(t *testing.T) {
	_, s := attach(t, Options{}, SpaceOptions{Blocks: 5000})
	if n, _ := fork(t, s, hundred(t, s), 1000); n > 1000 {
		t.Errorf("1000 forks took %d blocks", n)
	}
}

// BenchmarkForks makes 1,000 forks of 100 sequences, each with a token of its own, and reports the blocks per fork and the
// bytes of bookkeeping, the block's node included.
func BenchmarkForks(b *testing.B) {
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	var blocks, bytes float64
	for b.Loop() {
		_, s := attach(b, Options{}, SpaceOptions{Blocks: 5000})
		of, before := hundred(b, s), heap()
		n, forks := fork(b, s, of, 1000)
		blocks = float64(n) / float64(len(forks))
		bytes = (heap()-before)/float64(len(forks)) + blocks*float64(unsafe.Sizeof(node{}))
		runtime.KeepAlive(of)
		runtime.KeepAlive(forks)
	}
	b.ReportMetric(blocks, "blocks/fork")
	b.ReportMetric(bytes, "B/fork")
}

// TestTwoSpacesOneBudget: a space that needs memory gets what the other has cached, never what it has leased.
func TestTwoSpacesOneBudget(t *testing.T) {
	woken := 0
	p, a := attach(t, Options{Bytes: 1000}, SpaceOptions{Blocks: 10, Wake: func() { woken++ }})
	b, err := p.Attach(SpaceOptions{Blocks: 10, BlockBytes: 100})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, a, "", seq(0, 8*BlockTokens))
	var held, l Lease
	if _, err := a.Acquire(&held, "", seq(0, 2*BlockTokens), -1); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Acquire(&l, "", nil, -1); err != nil {
		t.Fatal(err)
	}
	if err := l.Grow(5 * BlockTokens); !errors.Is(err, ErrFull) {
		t.Errorf("five blocks while two are free: %v", err)
	}
	if woken == 0 {
		t.Error("the other space was not asked")
	}
	give := a.TakeReleased(nil)
	a.Released(give)
	if len(give) < 3 {
		t.Errorf("handed back %d blocks", len(give))
	}
	if err := l.Grow(5 * BlockTokens); err != nil {
		t.Errorf("after the hand-back: %v", err)
	}
	if n := peek(t, a, "", seq(0, 2*BlockTokens)); n != 2*BlockTokens {
		t.Errorf("the leased prefix has %d tokens left", n)
	}
	if used, budget := p.Used(); used > budget {
		t.Errorf("%d bytes of %d", used, budget)
	}
	held.Release()
	l.Release()
	if err := errors.Join(a.Close(), b.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	if used, _ := p.Used(); used != 0 {
		t.Errorf("%d bytes in use after Close", used)
	}
}

func TestMisuse(t *testing.T) {
	for _, o := range []Options{{Bytes: -1}, {TenantBytes: -1}, {TTL: -1}} {
		if _, err := New(o); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	p, s := attach(t, Options{Bytes: 50 * 100}, SpaceOptions{Blocks: 10})
	for _, o := range []SpaceOptions{{Blocks: 0, BlockBytes: 1}, {Blocks: 1}, {Blocks: 1, BlockBytes: 1 << 40}} {
		if _, err := p.Attach(o); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	var l, f Lease
	if err := errors.Join(l.Grow(1), l.Commit(nil)); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	l.Release()
	l.Copied()
	if _, err := s.Acquire(&l, "", nil, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Acquire(&l, "", nil, -1); !errors.Is(err, ErrInvalid) {
		t.Errorf("Acquire twice: %v", err)
	}
	if err := l.Commit([]uint32{1}); !errors.Is(err, ErrInvalid) {
		t.Errorf("Commit without room: %v", err)
	}
	if err := l.Rollback(1); !errors.Is(err, ErrInvalid) {
		t.Errorf("Rollback forward: %v", err)
	}
	if err := errors.Join(l.Grow(40), l.Commit(seq(0, 40)), l.Fork(&f)); err != nil {
		t.Fatal(err)
	}
	if err := l.Commit([]uint32{1}); !errors.Is(err, ErrInvalid) {
		t.Errorf("Commit into a shared tail: %v", err)
	}
	l.Release()
	f.Release()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Acquire(&l, "", nil, -1); !errors.Is(err, ErrClosed) {
		t.Errorf("Acquire after Close: %v", err)
	}
}

// TestRollbackKeeps: what was rolled back is found until it is evicted, whoever goes on from the middle of its block; only
// without a free block it gives way.
func TestRollbackKeeps(t *testing.T) {
	_, s := attach(t, Options{HostBytes: 1 << 20}, SpaceOptions{Blocks: 2, Identity: "m"})
	var l, f Lease
	write := func(l *Lease, tokens ...uint32) {
		t.Helper()
		if err := l.Grow(l.Len() + len(tokens)); err != nil {
			t.Fatal(err)
		}
		l.Copied()
		if err := l.Commit(tokens); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Acquire(&l, "", nil, -1); err != nil {
		t.Fatal(err)
	}
	write(&l, seq(0, BlockTokens)...)
	if err := l.Fork(&f); err != nil {
		t.Fatal(err)
	}
	l.Release()
	if err := f.Rollback(2); err != nil {
		t.Fatal(err)
	}
	write(&f, 7)
	var pin Snapshot
	if n, err := s.Pin(&pin, "", seq(0, BlockTokens)); n != BlockTokens || err != nil {
		t.Errorf("found %d of %d tokens of a released sequence after its fork was rolled back (%v)", n, BlockTokens, err)
	}
	if n := s.Stats().Evictions; n != 0 {
		t.Errorf("%d evictions", n)
	}
	write(&f, seq(100, BlockTokens-3)...) // it fills up, and waits to be copied down
	if err := f.Rollback(2); err != nil {
		t.Fatal(err)
	}
	write(&f, 8) // in place: both blocks are held
	if n := s.Stats().Evictions; n != 1 {
		t.Errorf("%d evictions, want that of the end of a block", n)
	}
	spilled := 0
	if _, err := s.Spill(func([]byte, []uint32) error { spilled++; return nil }, 10); err != nil || spilled != 1 {
		t.Errorf("%d blocks copied down, want the pinned one (%v)", spilled, err)
	}
	f.Release()
	pin.Release()
}

// TestUseOfExtension: a sequence that ends where another goes on is as recent as its last use.
func TestUseOfExtension(t *testing.T) {
	now := time.Unix(0, 0)
	_, s := attach(t, Options{TTL: time.Minute, Now: func() time.Time { return now }}, SpaceOptions{Blocks: 10})
	var l Lease
	if _, err := s.Acquire(&l, "", nil, -1); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Grow(10), l.Commit(seq(0, 10))); err != nil {
		t.Fatal(err)
	}
	fill(t, s, "", seq(0, 20))
	now = now.Add(50 * time.Second)
	l.Release()
	now = now.Add(50 * time.Second)
	if n := peek(t, s, "", seq(0, 10)); n != 10 {
		t.Errorf("found %d of 10 tokens within their TTL", n)
	}
}

// turnOver is one request with a 4k-token match, as a benchmark and for the count of allocations.
func turnOver(tb testing.TB, s *Space, l *Lease, tokens []uint32) {
	n, err := s.Acquire(l, "", tokens, len(tokens)-1)
	if err != nil || n != len(tokens)-1 {
		tb.Fatal(n, err)
	}
	l.Copied()
	l.Release()
}

func manyPrefixes(tb testing.TB) (*Space, []uint32) {
	_, s := attach(tb, Options{}, SpaceOptions{Blocks: 20000})
	r := rand.New(rand.NewPCG(1, 1))
	system := seq(0, 400)
	var tokens []uint32
	for range 100 { // users after one system prompt
		tokens = slices.Clone(system)
		for len(tokens) < 4096 {
			tokens = append(tokens, r.Uint32N(50000))
		}
		fill(tb, s, "", tokens)
	}
	return s, tokens
}

func TestNoAllocation(t *testing.T) {
	s, tokens := manyPrefixes(t)
	var l Lease
	turnOver(t, s, &l, tokens)
	if n := testing.AllocsPerRun(100, func() { turnOver(t, s, &l, tokens) }); n > 0 {
		t.Errorf("%v allocations per request", n)
	}
}

func BenchmarkAcquire4k(b *testing.B) {
	s, tokens := manyPrefixes(b)
	var l Lease
	for b.Loop() {
		turnOver(b, s, &l, tokens)
	}
}
