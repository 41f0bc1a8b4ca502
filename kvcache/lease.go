package kvcache

import (
	"fmt"
	"slices"
)

// Copy says that the first Tokens positions of block Src are wanted in block Dst; copying the whole block is fine.
type Copy struct {
	Dst, Src uint32
	Tokens   int
}

// Lease is one sequence's hold on its blocks. The zero value is empty; Acquire and Fork fill it, Release empties it
// for reuse. One goroutine at a time may use a lease. After Acquire, Fork and Grow the holder performs Copies on the
// model, before the model's next step, and calls Copied.
type Lease struct {
	s      *Space
	t      *tenant
	table  []uint32
	length int
	hit    int
	counts bool   // among Options.Sequences
	failed uint64 // the space's count of failures after its own last one
	copies []Copy
}

// begin makes an empty lease one of a tenant.
func (l *Lease) begin(s *Space, t *tenant) {
	l.s, l.t = s, t
	t.leases++
	l.table, l.copies, l.length, l.hit, l.counts, l.failed = l.table[:0], l.copies[:0], 0, 0, false, 0
}

// count takes a place among Options.Sequences.
func (l *Lease) count(s *Space) error {
	p := s.pool
	if p.o.Sequences > 0 && p.sequences >= p.o.Sequences {
		s.starved = true
		return ErrSequences
	}
	p.sequences++
	return nil
}

// Acquire makes l a lease on the longest prefix of tokens that the tenant's tree holds, and returns its length: at most
// limit tokens (limit < 0: all). It never fails for lack of blocks; the match is then cut to whole blocks. With
// Options.Sequences it may return ErrSequences.
// Tenants do not see each other's prefixes; an adapter is part of the tenant's name.
func (s *Space) Acquire(l *Lease, tenantName string, tokens []uint32, limit int) (int, error) {
	s.lock()
	defer s.pool.mu.Unlock()
	if s.closed {
		return 0, ErrClosed
	}
	if l.s != nil {
		return 0, fmt.Errorf("%w: Acquire on a lease that is in use", ErrInvalid)
	}
	if err := l.count(s); err != nil {
		return 0, err
	}
	s.stats.Acquires++
	s.stats.AskedTokens += uint64(len(tokens))
	if limit >= 0 && limit < len(tokens) {
		tokens = tokens[:limit]
	}
	l.begin(s, s.tenant(tenantName))
	l.counts = true
	kids := &l.t.kids
	for l.length < len(tokens) {
		n, m := s.longest(*kids, tokens[l.length:])
		if m == 0 {
			break
		}
		if s.stale(n, s.now) {
			if !s.prune(n) {
				break
			}
			continue
		}
		whole := m == BlockTokens
		adopt := !whole && m == int(n.n) && n.refs == 0 && len(n.kids) == 0
		s.hold(n)
		if whole || adopt {
			n.prot = true
			l.table = append(l.table, n.id)
			l.length += m
			if adopt {
				break
			}
			kids = &n.kids
			continue
		}
		c, err := s.alloc(l.t)
		if err != nil {
			s.drop(n)
			break
		}
		l.copyTo(c, n, m)
		l.table = append(l.table, c.id)
		l.length += m
		break
	}
	l.hit = l.length
	s.stats.HitTokens += uint64(l.length)
	if l.hit > 0 {
		s.event(Found, l.t, l.hit)
	}
	return l.length, nil
}

// longest returns the child with the longest common prefix with key, and that prefix's length. Among sorted children
// it is a neighbour of the place where key belongs.
func (s *Space) longest(kids []uint32, key []uint32) (*node, int) {
	key = key[:min(len(key), BlockTokens)]
	if len(kids) == 1 {
		n := &s.nodes[kids[0]]
		return n, common(n.key(), key)
	}
	i := s.lowerBound(kids, key)
	var best *node
	m := 0
	if i < len(kids) {
		best = &s.nodes[kids[i]]
		m = common(best.key(), key)
	}
	if i > 0 && m < len(key) {
		if n := &s.nodes[kids[i-1]]; common(n.key(), key) > m {
			best, m = n, common(n.key(), key)
		}
	}
	return best, m
}

// prune drops a stale node with everything below it, and reports whether it could.
func (s *Space) prune(n *node) bool {
	for len(n.kids) > 0 {
		k := &s.nodes[n.kids[len(n.kids)-1]]
		if k.refs > 0 || !s.prune(k) {
			return false
		}
	}
	s.expire(n)
	return true
}

// copyTo makes c a private copy of src's first m tokens, for the place of the lease's last position. Copied makes it known
// to others. The reference that the caller holds on src passes to the list of copies.
func (l *Lease) copyTo(c, src *node, m int) {
	copy(c.tokens[:m], src.tokens[:m])
	c.n = uint8(m)
	c.parent = src.parent
	l.copies = append(l.copies, Copy{Dst: c.id, Src: src.id, Tokens: m})
	l.s.stats.Copies++
}

// last returns the node before place i of the table, nil for the root.
func (l *Lease) last(i int) *node {
	if i == 0 {
		return nil
	}
	return &l.s.nodes[l.table[i-1]]
}

// Table returns the lease's blocks: block i holds positions [32i, 32(i+1)). It is valid until the next call on l.
func (l *Lease) Table() []uint32 { return l.table }

// Len returns the number of positions whose keys and values are there.
func (l *Lease) Len() int { return l.length }

// Hit returns how many of them Acquire found.
func (l *Lease) Hit() int { return l.hit }

// Copies returns the copies to be made; see Lease.
func (l *Lease) Copies() []Copy { return l.copies }

// Copied says that Copies have been made.
func (l *Lease) Copied() {
	if l.s == nil || len(l.copies) == 0 {
		return
	}
	l.s.lock()
	defer l.s.pool.mu.Unlock()
	for _, c := range l.copies {
		l.s.insert(&l.s.nodes[c.Dst])
		l.s.drop(&l.s.nodes[c.Src])
	}
	l.copies = l.copies[:0]
}

// Grow makes room for n positions in all. It takes all the blocks it needs or none (ErrFull, ErrQuota). A tail block
// that others hold or build on, or that holds tokens which were rolled back, is replaced by a copy first. Tokens that
// were rolled back give way when there is no block for that.
func (l *Lease) Grow(n int) error {
	if l.s == nil || len(l.copies) > 0 {
		return fmt.Errorf("%w: Grow on an empty lease or before Copied", ErrInvalid)
	}
	if n <= l.length {
		return nil
	}
	l.s.lock()
	defer l.s.pool.mu.Unlock()
	return l.extend(n)
}

// grow is Grow that returns, with a lack of blocks, what is closed when some come free.
func (l *Lease) grow(n int) (<-chan struct{}, error) {
	if l.s == nil || len(l.copies) > 0 || n <= l.length {
		return nil, l.Grow(n)
	}
	l.s.lock()
	defer l.s.pool.mu.Unlock()
	err := l.extend(n)
	p := l.s.pool
	if err != nil && p.freed == nil {
		p.freed = make(chan struct{})
	}
	return p.freed, err
}

func (l *Lease) extend(n int) error {
	s, had := l.s, len(l.table)
	for len(l.table)*BlockTokens < n {
		b, err := s.alloc(l.t)
		if err != nil {
			return l.shrink(had, n, err)
		}
		l.table = append(l.table, b.id)
	}
	tail, o := l.length/BlockTokens, l.length%BlockTokens
	if o == 0 {
		return nil
	}
	src := &s.nodes[l.table[tail]]
	alone := src.refs == 1 && len(src.kids) == 0
	if alone && int(src.n) == o {
		return nil
	}
	c, err := s.alloc(l.t)
	switch {
	case err == nil:
		l.copyTo(c, src, o)
		l.table[tail] = c.id
	case alone:
		s.truncate(src, o)
	default:
		return l.shrink(had, n, err)
	}
	return nil
}

// shrink takes back what extend did before it failed to make room for n positions.
func (l *Lease) shrink(had, n int, err error) error {
	s := l.s
	s.quiet = true // nobody can use what was not enough here
	for _, id := range l.table[had:] {
		s.drop(&s.nodes[id])
	}
	s.quiet = false
	l.table = l.table[:had]
	s.failures++
	l.failed = s.failures
	s.starved = true
	s.event(Full, l.t, n)
	return err
}

// truncate makes the tokens of a block from place o on give way to what its only user writes there.
func (s *Space) truncate(n *node, o int) {
	s.stats.Evictions++
	s.event(Evicted, n.owner, int(n.n)-o)
	s.clearDirty(n)
	s.remove(n)
	n.n = uint8(o)
	s.insert(n)
}

// Commit says that the keys and values of the next tokens have been written, within the room that Grow made. A block
// that fills up is replaced by an equal one if the tree has it: the backend computes equal bits for equal prefixes.
func (l *Lease) Commit(tokens []uint32) error {
	if l.s == nil || l.length+len(tokens) > len(l.table)*BlockTokens || len(l.copies) > 0 {
		return fmt.Errorf("%w: Commit of %d tokens beyond the room or before Copied", ErrInvalid, len(tokens))
	}
	s := l.s
	s.lock()
	defer s.pool.mu.Unlock()
	for len(tokens) > 0 {
		i, o := l.length/BlockTokens, l.length%BlockTokens
		n := &s.nodes[l.table[i]]
		if n.inTree {
			if n.refs != 1 || len(n.kids) > 0 || int(n.n) != o {
				return fmt.Errorf("%w: Commit without Grow", ErrInvalid)
			}
			s.remove(n)
		}
		m := copy(n.tokens[o:], tokens)
		n.n = uint8(o + m)
		n.parent = l.last(i)
		l.length += m
		tokens = tokens[m:]
		if n.n == BlockTokens {
			s.link(n)
			list := *n.siblings()
			if j := s.lowerBound(list, n.key()); j < len(list) && slices.Equal(s.nodes[list[j]].key(), n.key()) {
				same := &s.nodes[list[j]]
				s.hold(same)
				l.table[i] = same.id
				s.drop(n)
				s.stats.Merged++
				continue
			}
		}
		s.insert(n)
		l.absorb(n)
		if n.n == BlockTokens {
			s.mark(n)
		}
	}
	return nil
}

// absorb frees cached partial leaves that n now extends.
func (l *Lease) absorb(n *node) {
	for {
		list := *n.siblings()
		i := l.s.lowerBound(list, n.key())
		if i == 0 {
			return
		}
		m := &l.s.nodes[list[i-1]]
		if m.refs > 0 || len(m.kids) > 0 || common(m.key(), n.key()) < int(m.n) {
			return
		}
		l.s.evict(m)
	}
}

// Fork makes f a lease on the same positions. It takes no block: whoever writes first into the shared tail copies it.
func (l *Lease) Fork(f *Lease) error { return l.share(f, true) }

// share makes f hold l's positions.
func (l *Lease) share(f *Lease, counts bool) error {
	if l.s == nil || f.s != nil || l == f {
		return fmt.Errorf("%w: Fork from an empty lease or into one that is in use", ErrInvalid)
	}
	s := l.s
	s.lock()
	defer s.pool.mu.Unlock()
	if len(l.copies) > 0 {
		return fmt.Errorf("%w: Fork before Copied", ErrInvalid)
	}
	if counts {
		if err := f.count(s); err != nil {
			return err
		}
	}
	f.begin(s, l.t)
	f.length, f.hit, f.counts = l.length, l.length, counts
	f.table = append(f.table, l.table[:blocksFor(l.length)]...)
	for _, id := range f.table {
		s.hold(&s.nodes[id])
	}
	return nil
}

func blocksFor(n int) int { return (n + BlockTokens - 1) / BlockTokens }

// Rollback forgets all positions from n on. What they held stays in the tree until it is evicted.
func (l *Lease) Rollback(n int) error {
	if l.s == nil || n < 0 || n > l.length || len(l.copies) > 0 {
		return fmt.Errorf("%w: Rollback to %d of %d positions, %d copies pending", ErrInvalid, n, l.length, len(l.copies))
	}
	s := l.s
	s.lock()
	defer s.pool.mu.Unlock()
	l.cutTo(n)
	return nil
}

func (l *Lease) cutTo(n int) {
	keep := blocksFor(n)
	for i := len(l.table) - 1; i >= keep; i-- { // the tail first, so that it is the first to be evicted
		l.s.drop(&l.s.nodes[l.table[i]])
	}
	l.table, l.length = l.table[:keep], n
	l.hit = min(l.hit, n)
}

// Release empties the lease. Its blocks stay cached for later prefixes.
func (l *Lease) Release() {
	if l.s == nil {
		return
	}
	s := l.s
	s.lock()
	defer s.pool.mu.Unlock()
	for _, c := range l.copies { // not made; their blocks, in no tree, are freed below
		s.drop(&s.nodes[c.Src])
	}
	l.copies = l.copies[:0]
	s.quiet = l.failed > 0 && l.failed == s.failures // what it held is no news to those who failed before it
	l.cutTo(0)
	s.quiet = false
	l.t.leases--
	s.trim(l.t)
	if l.counts {
		s.pool.sequences--
		s.pool.wakeAll()
	}
	l.s, l.t, l.length, l.hit = nil, nil, 0, 0
}
