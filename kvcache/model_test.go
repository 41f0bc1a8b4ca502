package kvcache

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// machine runs random operations on a space and on the plainest model of it: every lease is a list of tokens, and every
// block of the arena remembers per place which prefix was written there.
type machine struct {
	t      *testing.T
	r      *rand.Rand
	s      *Space
	arena  [][BlockTokens]uint64
	leases []*Lease
	texts  [][]uint32
	owner  []string
	known  map[string][][]uint32 // per tenant: everything ever committed
	clock  time.Time
	roomy  bool // the space is large enough that nothing is ever evicted
	ops    map[string]int
}

// root and next make the hash of a prefix, token by token.
func root(tenant string) uint64 { return uint64(len(tenant))*31 + uint64(tenant[len(tenant)-1]) }

func next(h uint64, id uint32) uint64 {
	h = (h + uint64(id) + 1) * 0x9E3779B97F4A7C15
	return h ^ h>>29
}

// copies performs what the lease asks for.
func (m *machine) copies(l *Lease) {
	for _, c := range l.Copies() {
		copy(m.arena[c.Dst][:c.Tokens], m.arena[c.Src][:c.Tokens])
		for i := c.Tokens; i < BlockTokens; i++ {
			m.arena[c.Dst][i] = 0
		}
	}
	l.Copied()
}

func (m *machine) extend(i, n int) {
	l := m.leases[i]
	if err := l.Grow(l.Len() + n); err != nil {
		if !errors.Is(err, ErrFull) && !errors.Is(err, ErrQuota) {
			m.t.Fatal(err)
		}
		m.ops["full"]++
		return
	}
	m.copies(l)
	from := l.Len()
	for range n {
		m.texts[i] = append(m.texts[i], m.r.Uint32N(3))
	}
	h := root(m.owner[i])
	for p, id := range m.texts[i] { // the "step" writes keys and values
		if h = next(h, id); p >= from {
			m.arena[l.Table()[p/BlockTokens]][p%BlockTokens] = h
		}
	}
	if err := l.Commit(m.texts[i][from:]); err != nil {
		m.t.Fatal(err)
	}
	m.known[m.owner[i]] = append(m.known[m.owner[i]], slices.Clone(m.texts[i]))
}

// prompt is often an extension of something known.
func (m *machine) prompt(tenant string) []uint32 {
	var p []uint32
	if k := m.known[tenant]; len(k) > 0 && m.r.IntN(4) > 0 {
		p = slices.Clone(k[m.r.IntN(len(k))])
		p = p[:m.r.IntN(len(p)+1)]
	}
	for range m.r.IntN(20) {
		p = append(p, m.r.Uint32N(3))
	}
	return p
}

func (m *machine) step() {
	op := m.r.IntN(100)
	if len(m.leases) == 0 {
		op = 0
	}
	pick := func() int { return m.r.IntN(len(m.leases)) }
	switch {
	case op < 25:
		tenant := []string{"a", "b", "c"}[m.r.IntN(3)]
		p := m.prompt(tenant)
		limit := len(p) - 1
		if m.r.IntN(4) == 0 {
			limit = -1
		}
		l := new(Lease)
		n, err := m.s.Acquire(l, tenant, p, limit)
		if err != nil {
			m.t.Fatal(err)
		}
		best := 0
		for _, k := range m.known[tenant] {
			best = max(best, common(k, p))
		}
		if limit >= 0 {
			best = min(best, limit)
		}
		if n > best {
			m.t.Fatalf("found %d tokens of a prompt of which %d are known", n, best)
		}
		if m.roomy && n != best {
			m.t.Fatalf("found %d tokens of %d although nothing was evicted", n, best)
		}
		m.copies(l)
		m.leases, m.texts, m.owner = append(m.leases, l), append(m.texts, p[:n:n]), append(m.owner, tenant)
		m.ops["acquire"]++
	case op < 60:
		m.extend(pick(), 1+m.r.IntN(1+m.r.IntN(80)))
		m.ops["extend"]++
	case op < 70:
		i, f := pick(), new(Lease)
		if err := m.leases[i].Fork(f); err != nil {
			m.t.Fatal(err)
		}
		m.leases, m.texts, m.owner = append(m.leases, f), append(m.texts, slices.Clone(m.texts[i])), append(m.owner, m.owner[i])
		m.ops["fork"]++
	case op < 78:
		i := pick()
		n := m.r.IntN(m.leases[i].Len() + 1)
		if err := m.leases[i].Rollback(n); err != nil {
			m.t.Fatal(err)
		}
		m.texts[i] = m.texts[i][:n:n]
		m.ops["rollback"]++
	case op < 80:
		m.clock = m.clock.Add(time.Duration(m.r.IntN(40)) * time.Second)
		m.s.Expire()
	default:
		i := pick()
		m.leases[i].Release()
		m.leases, m.texts, m.owner = slices.Delete(m.leases, i, i+1), slices.Delete(m.texts, i, i+1), slices.Delete(m.owner, i, i+1)
		m.ops["release"]++
	}
}

// check compares everything that a caller can see, then the space's own bookkeeping.
func (m *machine) check() {
	for i, l := range m.leases {
		if l.Len() != len(m.texts[i]) {
			m.t.Fatalf("lease has %d positions, the model %d", l.Len(), len(m.texts[i]))
		}
		h := root(m.owner[i])
		for p, id := range m.texts[i] {
			b := l.Table()[p/BlockTokens]
			if h = next(h, id); m.arena[b][p%BlockTokens] != h {
				m.t.Fatalf("lease %d position %d in block %d: another sequence's keys", i, p, b)
			}
		}
	}
	s := m.s
	refs := make([]int32, len(s.nodes))
	for _, l := range m.leases {
		for _, b := range l.Table() {
			refs[b]++
		}
	}
	leased, cached, guarded := 0, 0, 0
	inTree := map[uint32]bool{}
	var walk func(t *tenant, parent *node, kids []uint32)
	walk = func(t *tenant, parent *node, kids []uint32) {
		for i, id := range kids {
			n := &s.nodes[id]
			if inTree[id] || !n.inTree || n.parent != parent || n.owner != t || n.n == 0 || n.id != id {
				m.t.Fatalf("block %d is out of place in the tree", id)
			}
			if n.n < BlockTokens && len(n.kids) > 0 {
				m.t.Fatalf("block %d has %d tokens and children", id, n.n)
			}
			if i > 0 && slices.Compare(s.nodes[kids[i-1]].key(), n.key()) > 0 {
				m.t.Fatalf("children are not sorted at block %d", id)
			}
			inTree[id] = true
			if n.refs == 0 {
				if cached++; n.prot {
					guarded++
				}
			}
			if want := n.refs == 0 && len(n.kids) == 0; want != (n.heapAt >= 0) {
				m.t.Fatalf("block %d: evictable %v, in heap %v", id, want, n.heapAt >= 0)
			}
			walk(t, n, n.kids)
		}
	}
	blocks := 0
	for _, t := range s.tenants {
		walk(t, nil, t.kids)
		blocks += t.blocks
	}
	free := map[uint32]bool{}
	for _, id := range append(append(slices.Clone(s.free), s.fresh...), s.give...) {
		if free[id] || inTree[id] || refs[id] != 0 {
			m.t.Fatalf("block %d is free and in use", id)
		}
		free[id] = true
	}
	for id := range s.nodes {
		n := &s.nodes[id]
		if n.refs != refs[id] {
			m.t.Fatalf("block %d has %d references, leases hold %d", id, n.refs, refs[id])
		}
		if refs[id] > 0 {
			leased++
		} else if !inTree[uint32(id)] && !free[uint32(id)] {
			m.t.Fatalf("block %d is lost", id)
		}
	}
	if s.leased != leased || s.cached != cached || sum(s) != guarded || blocks != leased+cached {
		m.t.Fatalf("leased %d cached %d guarded %d tenants %d, counted %d %d %d", s.leased, s.cached, sum(s), blocks, leased, cached, guarded)
	}
	for g := range groups(s) {
		for k := range g.heaps {
			for i, id := range g.heaps[k] {
				n := &s.nodes[id]
				if int(n.heapAt) != i || n.heap() != &g.heaps[k] || i > 0 && s.nodes[g.heaps[k][(i-1)/2]].tick > n.tick {
					m.t.Fatalf("heap %d is broken at %d", k, i)
				}
			}
		}
	}
}

// groups returns the LRU lists of a space.
func groups(s *Space) map[*segments]bool {
	g := map[*segments]bool{s.lru: true}
	for _, t := range s.tenants {
		g[t.lru] = true
	}
	return g
}

func sum(s *Space) (guarded int) {
	for g := range groups(s) {
		guarded += g.guarded
	}
	return guarded
}

func runMachine(t *testing.T, seed uint64, ops, blocks int, o Options) map[string]int {
	m := &machine{t: t, r: rand.New(rand.NewPCG(seed, 1)), known: map[string][][]uint32{}, clock: time.Unix(1e9, 0), ops: map[string]int{},
		arena: make([][BlockTokens]uint64, blocks), roomy: blocks > 3000}
	o.Now = func() time.Time { return m.clock }
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if m.s, err = p.Attach(SpaceOptions{Blocks: blocks, BlockBytes: 1000}); err != nil {
		t.Fatal(err)
	}
	for range ops {
		m.step()
		m.check()
	}
	for _, l := range m.leases {
		l.Release()
	}
	m.leases, m.texts, m.owner = nil, nil, nil
	m.check()
	m.s.Clear()
	m.check()
	if st := m.s.Stats(); st.Leased != 0 || st.Cached != 0 || len(m.s.tenants) != 0 {
		t.Fatalf("after the end: %+v, %d tenants", st, len(m.s.tenants))
	}
	return m.ops
}

// TestModel runs random operations against the model: tight spaces that evict, quotas, TTL, and one that never evicts,
// in which every known prefix must be found to the token.
func TestModel(t *testing.T) {
	total := map[string]int{}
	for seed := range uint64(60) {
		blocks := []int{4, 9, 40, 200}[seed%4]
		o := Options{}
		switch seed % 5 {
		case 1:
			o.TenantBytes = int64(blocks) * 400
		case 2:
			o.TTL = time.Minute
		case 3:
			o.Bytes = int64(blocks) * 700
		}
		for k, v := range runMachine(t, seed, 300, blocks, o) {
			total[k] += v
		}
	}
	for seed := range uint64(3) {
		for k, v := range runMachine(t, 1000+seed, 250, 4000, Options{}) {
			total[k] += v
		}
	}
	for _, k := range []string{"acquire", "extend", "fork", "rollback", "release", "full"} {
		if total[k] < 100 {
			t.Errorf("only %d operations of kind %s: %v", total[k], k, total)
		}
	}
}
