package kvcache

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// machine runs random operations on a space and on the plainest model of it. Every sequence is a path in a trie of all
// that was ever committed; every place of the arena remembers which prefix was written there; a prefix must be there, to
// the token, as long as a lease or snapshot holds it, or nothing has been evicted and its TTL has not passed; nothing is
// lost that was not counted; and what Acquire finds is exactly the longest of what is there.
type machine struct {
	t     *testing.T
	r     *rand.Rand
	p     *Pool
	s     *Space
	ttl   time.Duration
	clock *time.Time
	arena [][BlockTokens]uint64
	trees map[string]*trie
	held  []*holder
	calm  uint64 // evictions before Clear was last called
	gen   int    // calls of Clear, from 1 on
	saved map[Key][BlockTokens]uint64
	ops   map[string]int
	log   []operation // the last ones

	there   []*trie // what the space held when account last looked, every prefix of it
	spare   []*trie // there, before
	counted uint64  // evictions and expiries then
	looked  int     // how often account has looked
	cleared int     // gen then
}

// operation is a line of the log: what was done to the sequence of text, with which number or error.
type operation struct {
	kind string
	text []uint32
	n    int
	err  error
}

// holder is a lease or a snapshot, and the sequence that it should hold.
type holder struct {
	l      *Lease
	snap   *Snapshot
	tenant string
	text   []uint32
}

// trie holds every prefix that was committed, and when it was last let go.
type trie struct {
	kids [letters]*trie
	up   *trie
	id   uint32
	hash uint64
	used time.Time
	gen  int // machine.gen then
	seen int // machine.looked when a block last held it
}

const letters = 3

// walk returns the longest known prefix of text.
func (n *trie) walk(text []uint32) (known int, last *trie) {
	for known < len(text) && n.kids[text[known]] != nil {
		n = n.kids[text[known]]
		known++
	}
	return known, n
}

// add returns the node of text.
func (n *trie) add(text []uint32) *trie {
	for _, id := range text {
		if n.kids[id] == nil {
			h := (n.hash + uint64(id) + 1) * 0x9E3779B97F4A7C15
			n.kids[id] = &trie{up: n, id: id, hash: h ^ h>>29}
		}
		n = n.kids[id]
	}
	return n
}

func (m *machine) tree(tenant string) *trie {
	if m.trees[tenant] == nil {
		m.trees[tenant] = &trie{hash: uint64(tenant[0]) * 31}
	}
	return m.trees[tenant]
}

// used notes that text was let go now.
func (m *machine) used(tenant string, text []uint32) {
	_, n := m.tree(tenant).walk(text)
	for ; n.up != nil && (n.gen != m.gen || n.used.Before(*m.clock)); n = n.up {
		n.used, n.gen = *m.clock, m.gen
	}
}

// fresh returns how much of text was let go since Clear and within the TTL.
func (m *machine) fresh(tenant string, text []uint32) (fresh int) {
	n := m.tree(tenant)
	for fresh < len(text) {
		n = n.kids[text[fresh]]
		if n == nil || n.gen != m.gen || m.ttl > 0 && m.clock.Sub(n.used) > m.ttl {
			break
		}
		fresh++
	}
	return fresh
}

func (m *machine) fatal(format string, args ...any) {
	m.t.Helper()
	for _, o := range m.log {
		m.t.Log(o.kind, o.text, o.n, o.err)
	}
	m.t.Fatalf(format, args...)
}

// did logs an operation.
func (m *machine) did(kind string, text []uint32, n int, err error) {
	m.ops[kind]++
	if len(m.log) > 30 {
		m.log = m.log[:copy(m.log, m.log[1:])]
	}
	m.log = append(m.log, operation{kind, text, n, err})
}

// full reports whether err is a lack of room, and fails for other errors.
func (m *machine) full(err error) bool {
	m.t.Helper()
	if err != nil && !errors.Is(err, ErrFull) && !errors.Is(err, ErrQuota) {
		m.fatal("%v", err)
	}
	if err != nil {
		m.ops["full"]++
	}
	return err != nil
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

// write is the model's step and the commit: n more random tokens, in pieces.
func (m *machine) write(h *holder, n int) {
	for n > 0 {
		piece := n
		if m.r.IntN(2) == 0 {
			piece = 1 + m.r.IntN(n)
		}
		n -= piece
		from := h.l.Len()
		for range piece {
			h.text = append(h.text, m.r.Uint32N(letters))
		}
		m.put(h, from)
	}
}

// put writes and commits the sequence from a position on.
func (m *machine) put(h *holder, from int) {
	n := m.tree(h.tenant).add(h.text)
	for p := len(h.text) - 1; p >= from; p, n = p-1, n.up {
		m.arena[h.l.Table()[p/BlockTokens]][p%BlockTokens] = n.hash
	}
	if err := h.l.Commit(h.text[from:]); err != nil {
		m.fatal("commit: %v", err)
	}
	m.keys(h.tenant, h.text, from)
}

// keys notes what the lower tiers may hold under the keys of text's blocks.
func (m *machine) keys(tenant string, text []uint32, from int) {
	if m.s.tiers == nil || len(text)/BlockTokens == from/BlockTokens {
		return
	}
	k, n := m.s.root.tenant(tenant), m.tree(tenant)
	for len(text) >= BlockTokens {
		k = k.next(text)
		var block [BlockTokens]uint64
		for i, id := range text[:BlockTokens] {
			n = n.kids[id]
			block[i] = n.hash
		}
		m.saved[k], text = block, text[BlockTokens:]
	}
}

// prompt is often an extension of something known.
func (m *machine) prompt(tenant string) []uint32 {
	var p []uint32
	if m.r.IntN(4) > 0 {
		if len(m.held) > 0 && m.r.IntN(2) == 0 {
			if h := m.held[m.r.IntN(len(m.held))]; h.tenant == tenant {
				p = slices.Clone(h.text)
			}
		}
		for _, n := m.tree(tenant).walk(p); m.r.IntN(100) > 0; { // along a random path of what is known
			var ids []uint32
			for id, k := range n.kids {
				if k != nil {
					ids = append(ids, uint32(id))
				}
			}
			if len(ids) == 0 {
				break
			}
			id := ids[m.r.IntN(len(ids))]
			p, n = append(p, id), n.kids[id]
		}
		if m.r.IntN(3) == 0 {
			p = p[:m.r.IntN(len(p)+1)]
		}
	}
	for range m.r.IntN(2) * m.r.IntN(20) {
		p = append(p, m.r.Uint32N(letters))
	}
	return p
}

// exact returns how much of p the blocks of the tenant's tree hold. It tries every block and relies on no order.
func (m *machine) exact(tenant string, p []uint32) int {
	t := m.s.tenants[tenant]
	if t == nil {
		return 0
	}
	var longest func(kids, p []uint32) int
	longest = func(kids, p []uint32) (most int) {
		for _, id := range kids {
			n := &m.s.nodes[id]
			if m.ttl > 0 && n.refs == 0 && m.clock.Sub(n.used) > m.ttl {
				continue
			}
			same := common(n.tokens[:n.n], p)
			if same == BlockTokens {
				same += longest(n.kids, p[same:])
			}
			most = max(most, same)
		}
		return most
	}
	return longest(t.kids, p)
}

// account fails when a prefix that the space held at the last call is gone and no eviction, expiry or Clear was counted
// that can have taken it.
func (m *machine) account() {
	m.t.Helper()
	m.looked++
	had := m.there
	m.there, m.spare = m.spare[:0], had
	var walk func(at *trie, kids []uint32)
	walk = func(at *trie, kids []uint32) {
		for _, id := range kids {
			n, x := &m.s.nodes[id], at
			for _, token := range n.tokens[:n.n] {
				if x = x.kids[token]; x == nil {
					m.fatal("block %d holds what was never committed", id)
				}
				if x.seen != m.looked {
					x.seen = m.looked
					m.there = append(m.there, x)
				}
			}
			walk(x, n.kids)
		}
	}
	for _, t := range m.s.tenants {
		walk(m.tree(t.name), t.kids)
	}
	lost := 0
	for _, x := range had {
		if x.seen != m.looked {
			lost++
		}
	}
	counted := m.s.stats.Evictions + m.s.stats.Expired
	if uint64(lost) > BlockTokens*(counted-m.counted) && m.cleared == m.gen {
		m.fatal("%d tokens are lost, %d evictions and expiries were counted", lost, counted-m.counted)
	}
	m.counted, m.cleared = counted, m.gen
}

// bounds returns how much of p must be there, and how much may be.
func (m *machine) bounds(tenant string, p []uint32) (least, most int) {
	known, _ := m.tree(tenant).walk(p)
	fresh := m.fresh(tenant, p)
	for _, h := range m.held {
		if h.tenant == tenant {
			least = max(least, common(h.text, p))
		}
	}
	if m.s.stats.Evictions == m.calm {
		least = max(least, fresh)
	}
	most = known
	if m.ttl > 0 { // whole blocks are used, whole blocks expire
		most = min(known, blocksFor(max(least, fresh))*BlockTokens)
	}
	return least, most
}

// found fails unless n, which was found of exact tokens that were there, is all of them; where there is no room to copy
// the block in which they end, whole blocks will do. bounds has said how many may be there.
func (m *machine) found(what string, n, exact, least, most int, room bool) {
	m.t.Helper()
	if exact < least || exact > most {
		m.fatal("%s: %d tokens are there, want %d to %d", what, exact, least, most)
	}
	if n != exact && (room || n != exact/BlockTokens*BlockTokens) {
		m.fatal("%s: found %d tokens of %d that are there", what, n, exact)
	}
	m.ops["exact to the token"] += min(n%BlockTokens, 1)
}

func (m *machine) lease(l *Lease, tenant string, text []uint32) *holder {
	h := &holder{l: l, tenant: tenant, text: slices.Clone(text)}
	m.held = append(m.held, h)
	return h
}

// let takes a holder off the list.
func (m *machine) let(h *holder) {
	m.used(h.tenant, h.text)
	m.held = slices.DeleteFunc(m.held, func(x *holder) bool { return x == h })
}

func (m *machine) acquire() {
	tenant := []string{"a", "b", "c"}[m.r.IntN(3)]
	p := m.prompt(tenant)
	limit := len(p) - 1
	if m.r.IntN(4) == 0 {
		limit = -1
	}
	want := p
	if limit >= 0 {
		want = p[:limit]
	}
	least, most := m.bounds(tenant, want)
	exact := m.exact(tenant, want)
	var f *Fetch
	if m.s.tiers != nil {
		f = m.s.Fetch(tenant, want, 0)
		defer f.Close()
		for !f.Found() {
			time.Sleep(50 * time.Microsecond)
		}
	}
	l := new(Lease)
	n, err := m.s.Acquire(l, tenant, p, limit)
	if errors.Is(err, ErrSequences) && m.p.sequences >= m.p.o.Sequences && m.p.o.Sequences > 0 {
		m.ops["sequences"]++
		return
	}
	if err != nil {
		m.fatal("acquire: %v", err)
	}
	m.did("acquire", want, n, nil)
	m.found("acquire", n, exact, least, most, m.s.Available() > 1 && m.p.o.TenantBytes == 0) // one may be what was to be copied
	m.copies(l)
	h := m.lease(l, tenant, p[:n])
	if _, to := f.Span(); to > l.Len() {
		m.restore(h, f, p)
	}
	m.content(h)
}

// restore brings what a search of the lower tiers has found into the arena, as a model's owner does.
func (m *machine) restore(h *holder, f *Fetch, p []uint32) {
	from, to := f.Span()
	whole := h.l.Len() / BlockTokens * BlockTokens
	if from > whole {
		return
	}
	m.used(h.tenant, h.text)
	if err := h.l.Rollback(whole); err != nil {
		m.fatal("%v", err)
	}
	h.text = h.text[:whole]
	if m.full(h.l.Grow(to)) {
		return
	}
	m.copies(h.l)
	f.Load(whole)
	for {
		data, more := f.Next()
		if data == nil {
			if !more {
				break
			}
			time.Sleep(50 * time.Microsecond)
			continue
		}
		at := h.l.Len()
		decode(data, &m.arena[h.l.Table()[at/BlockTokens]])
		if err := h.l.Commit(p[at : at+BlockTokens]); err != nil {
			m.fatal("restore: %v", err)
		}
		f.Moved(time.Microsecond)
		h.text = slices.Clone(p[:at+BlockTokens])
		m.ops["restored"]++
	}
	m.did("restore", h.text, whole, nil)
}

// pick returns a random lease, or snapshot; nil if there is none.
func (m *machine) pick(snap bool) *holder {
	var of []*holder
	for _, h := range m.held {
		if (h.snap != nil) == snap {
			of = append(of, h)
		}
	}
	if len(of) == 0 {
		return nil
	}
	return of[m.r.IntN(len(of))]
}

func (m *machine) step() {
	op := m.r.IntN(100)
	l, snap := m.pick(false), m.pick(true)
	if op < 25 && len(m.held) >= 12 {
		op = 99
	}
	switch {
	case l == nil || op < 25:
		m.acquire()
	case op < 50:
		n := 1 + m.r.IntN(1+m.r.IntN(150))
		spare := m.r.IntN(2) * m.r.IntN(40)
		err := l.l.Grow(l.l.Len() + n + spare)
		m.did("extend", l.text, n, err)
		if !m.full(err) {
			m.copies(l.l)
			m.write(l, n)
		}
		m.spill()
	case op < 57:
		f := new(Lease)
		if err := l.l.Fork(f); !m.full(err) {
			m.lease(f, l.tenant, l.text)
		}
		m.did("fork", l.text, 0, nil)
	case op < 65:
		n := m.r.IntN(l.l.Len() + 1)
		m.did("rollback", l.text, n, nil)
		m.used(l.tenant, l.text)
		if err := l.l.Rollback(n); err != nil {
			m.fatal("%v", err)
		}
		l.text = l.text[:n:n]
	case op < 68:
		h := &holder{snap: new(Snapshot), tenant: l.tenant, text: slices.Clone(l.text)}
		if err := l.l.Snapshot(h.snap); err != nil {
			m.fatal("%v", err)
		}
		m.held = append(m.held, h)
		m.did("snapshot", l.text, 0, nil)
	case op < 70:
		h := &holder{snap: new(Snapshot), tenant: l.tenant}
		p := m.prompt(h.tenant)
		least, most := m.bounds(h.tenant, p)
		exact := m.exact(h.tenant, p)
		n, err := m.s.Pin(h.snap, h.tenant, p)
		if err != nil {
			m.fatal("%v", err)
		}
		m.did("pin", p, n, nil)
		m.found("pin", n, exact, least, most, false)
		if n%BlockTokens != 0 {
			m.fatal("pin: %d tokens are no whole blocks", n)
		}
		h.text = slices.Clone(p[:n])
		m.held = append(m.held, h)
	case op < 73 && snap != nil:
		f := new(Lease)
		if err := snap.snap.Restore(f); !m.full(err) {
			m.lease(f, snap.tenant, snap.text)
		}
		m.did("resume", snap.text, 0, nil)
	case op < 79 && snap != nil:
		m.did("unpin", snap.text, 0, nil)
		snap.snap.Release()
		m.let(snap)
	case op < 81:
		*m.clock = m.clock.Add(time.Duration(m.r.IntN(40)) * time.Second)
		m.did("expire", nil, int(m.clock.Unix()-1e9), nil)
		m.s.Expire()
	case op < 82 && m.r.IntN(4) == 0:
		m.did("clear", nil, 0, nil)
		m.s.Clear()
		m.calm = m.s.stats.Evictions
		m.gen++
	case op < 84:
		give := m.s.TakeReleased(nil)
		m.s.Released(give)
		m.did("hand back", nil, len(give), nil)
	default:
		m.did("release", l.text, 0, nil)
		l.l.Release()
		m.let(l)
	}
}

// spill copies blocks to the tiers below, which must hold under every key what belongs there.
func (m *machine) spill() {
	if m.s.tiers == nil || m.r.IntN(2) == 0 {
		return
	}
	read := func(dst []byte, ids []uint32) error { encode(dst, &m.arena[ids[0]]); return nil }
	if _, err := m.s.Spill(read, 1+m.r.IntN(8)); err != nil {
		m.fatal("%v", err)
	}
	m.did("spill", nil, 0, nil)
	h := m.s.tiers.host
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, e := range h.entries {
		var got [BlockTokens]uint64
		decode(e.rec[headerBytes:], &got)
		if want, ok := m.saved[k]; !ok || got != want {
			m.fatal("spill: a record holds another sequence's bytes")
		}
	}
}
