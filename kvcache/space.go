package kvcache

import (
	"slices"
	"time"
)

// Space is one model's range of blocks with its prefix trees. It is safe for concurrent use.
type Space struct {
	pool     *Pool
	o        SpaceOptions
	nodes    []node   // by block number
	fresh    []uint32 // blocks without memory
	free     []uint32 // blocks with memory and without content
	give     []uint32 // blocks whose memory is to be handed back
	tenants  map[string]*tenant
	lru      *segments // of all tenants when there is no quota
	tick     uint64
	now      time.Time // when the operation under way began
	leased   int
	cached   int
	starved  bool   // somebody found no block
	pressed  bool   // another space lacked memory that this one's leases and snapshots hold
	quiet    bool   // blocks come free that were free before
	failures uint64 // operations that found no block
	closed   bool
	stats    Stats

	tiers *tiers // nil without lower tiers
	root  Key    // of the chains of this space's identity
	dirty queue  // full blocks that the lower tiers may lack
	move  rate   // bytes per second into the arena
}

// tenant is the root of a tree.
type tenant struct {
	name   string
	key    Key
	kids   []uint32
	lru    *segments
	blocks int // leased and cached
	leases int
}

// node describes the content of one block.
type node struct {
	refs   int32 // leases and snapshots that hold it, and copies under way
	heapAt int32 // index in its heap, or -1
	n      uint8 // valid tokens
	prot   bool  // protected segment: it was found by a later Acquire
	inTree bool
	dirty  bool  // it waits in Space.dirty
	parent *node // nil below the root
	owner  *tenant
	kids   []uint32 // in the tree, sorted by tokens
	used   time.Time
	tick   uint64
	id     uint32
	tokens [BlockTokens]uint32
	chain  Key // of a full block, when there are lower tiers
}

func (n *node) key() []uint32 { return n.tokens[:n.n] }

// siblings returns the list that holds n.
func (n *node) siblings() *[]uint32 {
	if n.parent == nil {
		return &n.owner.kids
	}
	return &n.parent.kids
}

// lock begins an operation.
func (s *Space) lock() {
	s.pool.mu.Lock()
	s.now = s.pool.o.Now()
}

func (s *Space) tenant(name string) *tenant {
	t := s.tenants[name]
	if t == nil {
		t = &tenant{name: name, lru: s.lru}
		if q := s.pool.o.TenantBytes; q > 0 {
			t.lru = newSegments(int(min(q/s.o.BlockBytes, int64(s.o.Blocks))))
		}
		if s.tiers != nil {
			t.key = s.root.tenant(name)
		}
		s.tenants[name] = t
	}
	return t
}

// lowerBound returns the first child whose tokens are not less than key.
func (s *Space) lowerBound(kids []uint32, key []uint32) int {
	lo, hi := 0, len(kids)
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		if slices.Compare(s.nodes[kids[m]].key(), key) < 0 {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

// insert puts a node with at least one token into the tree.
func (s *Space) insert(n *node) {
	list := n.siblings()
	*list = slices.Insert(*list, s.lowerBound(*list, n.key()), n.id)
	n.inTree = true
}

// remove takes a node out of the tree; its parent may become evictable.
func (s *Space) remove(n *node) {
	list := n.siblings()
	i := s.lowerBound(*list, n.key())
	for (*list)[i] != n.id {
		i++
	}
	*list = slices.Delete(*list, i, i+1)
	n.inTree = false
	if n.parent != nil {
		s.settle(n.parent)
	}
}

// settle puts a node into the heap when nothing but the tree holds it and it is a leaf, and takes it out otherwise.
func (s *Space) settle(n *node) {
	evictable := n.inTree && n.refs == 0 && len(n.kids) == 0
	if evictable == (n.heapAt >= 0) {
		return
	}
	h := n.heap()
	if evictable {
		h.push(s, n.id)
	} else {
		h.remove(s, n.heapAt)
	}
}

// hold adds a reference.
func (s *Space) hold(n *node) {
	if n.refs++; n.refs == 1 && n.inTree {
		s.cached--
		s.leased++
		if n.prot {
			n.owner.lru.guarded--
		}
		s.settle(n)
	}
}

// drop gives a reference up. A node that is in no tree is freed with its last one.
func (s *Space) drop(n *node) {
	if n.refs--; n.refs > 0 {
		return
	}
	s.leased--
	if !n.inTree {
		s.recycle(n)
		return
	}
	s.cached++
	if n.prot {
		n.owner.lru.guarded++
	}
	s.tick++
	n.tick, n.used = s.tick, s.now
	s.settle(n)
	// A partial leaf that another node extends adds nothing but its use.
	if n.n < BlockTokens && len(n.kids) == 0 {
		if m := s.extension(n); m != nil {
			s.touch(m, n)
			s.evict(n)
			return
		}
	}
	n.owner.lru.demote(s)
	s.wake()
}

// extension returns a sibling that starts with all of n's tokens, nil if there is none.
func (s *Space) extension(n *node) *node {
	list := *n.siblings()
	for i := s.lowerBound(list, n.key()); i < len(list); i++ {
		m := &s.nodes[list[i]]
		if common(m.key(), n.key()) < int(n.n) {
			return nil
		}
		if m != n && !s.stale(m, s.now) {
			return m
		}
	}
	return nil
}

// touch makes m, cached or held, as recent and as protected as n, which is cached.
func (s *Space) touch(m, n *node) {
	listed := m.heapAt >= 0
	if listed {
		m.heap().remove(s, m.heapAt)
	}
	m.used, m.tick = n.used, n.tick
	if n.prot && !m.prot {
		m.prot = true
		if m.refs == 0 {
			m.owner.lru.guarded++
		}
	}
	if listed {
		m.heap().push(s, m.id)
	}
}

// evict frees a cached leaf.
func (s *Space) evict(n *node) {
	if n.heapAt >= 0 {
		n.heap().remove(s, n.heapAt)
	}
	s.cached--
	if n.prot {
		n.owner.lru.guarded--
	}
	s.remove(n)
	s.recycle(n)
}

// reap evicts for want of room.
func (s *Space) reap(n *node) {
	s.stats.Evictions++
	s.event(Evicted, n.owner, int(n.n))
	s.evict(n)
}

// recycle makes a block free.
func (s *Space) recycle(n *node) {
	s.clearDirty(n)
	n.owner.blocks--
	s.trim(n.owner)
	n.owner, n.parent, n.n, n.prot = nil, nil, 0, false
	n.kids = n.kids[:0]
	s.free = append(s.free, n.id)
	s.wake()
}

// clearDirty gives up on copying a block's content down.
func (s *Space) clearDirty(n *node) {
	if n.dirty {
		n.dirty = false
		s.stats.Unsaved++
	}
}

// trim forgets a tenant without blocks and leases.
func (s *Space) trim(t *tenant) {
	if t.blocks == 0 && t.leases == 0 {
		delete(s.tenants, t.name)
	}
}

// wake tells who waits for a block of this space that one may be had.
func (s *Space) wake() {
	if s.quiet {
		return
	}
	if s.pool.freed != nil {
		close(s.pool.freed)
		s.pool.freed = nil
	}
	if s.starved && s.o.Wake != nil {
		s.starved = false
		s.o.Wake()
	}
}

// oldest returns the next victim of one tenant, or of all when t is nil. Tenants with a quota have a list each; looking
// through all of them is needed only when the quotas add up to more than there is.
func (s *Space) oldest(t *tenant) *node {
	switch {
	case t != nil && t.lru != s.lru:
		return t.lru.oldest(s)
	case s.pool.o.TenantBytes == 0:
		return s.lru.oldest(s)
	}
	var best *node
	for _, t := range s.tenants {
		n := t.lru.oldest(s)
		if n != nil && (best == nil || !n.prot && best.prot || n.prot == best.prot && n.tick < best.tick) {
			best = n
		}
	}
	return best
}

// alloc returns a block with one reference and no content.
func (s *Space) alloc(t *tenant) (*node, error) {
	if s.closed {
		return nil, ErrClosed
	}
	p := s.pool
	if q := p.o.TenantBytes; q > 0 && int64(t.blocks+1)*s.o.BlockBytes > q {
		v := s.oldest(t)
		if v == nil {
			return nil, ErrQuota
		}
		s.reap(v)
	}
	for len(s.free) == 0 {
		if len(s.fresh) > 0 && (p.o.Bytes == 0 || p.used+s.o.BlockBytes <= p.o.Bytes) {
			p.used += s.o.BlockBytes
			s.free = append(s.free, s.fresh[len(s.fresh)-1])
			s.fresh = s.fresh[:len(s.fresh)-1]
			break
		}
		v := s.oldest(nil)
		if len(s.fresh) > 0 {
			p.reclaim(s, v)
		}
		if v == nil {
			return nil, ErrFull
		}
		s.reap(v)
	}
	id := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	n := &s.nodes[id]
	n.id, n.refs, n.owner = id, 1, t
	t.blocks++
	s.leased++
	return n, nil
}

// reclaim asks other spaces for free blocks and for cached ones that were used before s's own victim. The memory arrives
// when their owners have handed the blocks back.
func (p *Pool) reclaim(s *Space, own *node) {
	want := s.o.BlockBytes * 8
	for _, o := range p.spaces {
		if o == s || want <= 0 {
			continue
		}
		want -= int64(len(o.give)) * o.o.BlockBytes // on its way already
		had := len(o.give)
		for want > 0 {
			if len(o.free) == 0 {
				v := o.oldest(nil)
				if v == nil || own != nil && !v.used.Before(own.used) {
					break
				}
				o.reap(v)
			}
			o.give = append(o.give, o.free[len(o.free)-1])
			o.free = o.free[:len(o.free)-1]
			want -= o.o.BlockBytes
		}
		if want > 0 && own == nil {
			o.pressed = true
		}
		if (len(o.give) > had || o.pressed) && o.o.Wake != nil {
			o.o.Wake()
		}
	}
}

// Pressed reports whether, since its last call, another space found no block for want of memory that this space leases.
func (s *Space) Pressed() bool {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	p := s.pressed
	s.pressed = false
	return p
}

// TakeReleased appends the blocks whose memory this space's model is to hand back to the system. After doing so the
// caller passes the same list to Released.
func (s *Space) TakeReleased(dst []uint32) []uint32 {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	dst = append(dst, s.give...)
	s.give = s.give[:0]
	return dst
}

// Released says that the blocks' memory has been handed back.
func (s *Space) Released(ids []uint32) {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	s.fresh = append(s.fresh, ids...)
	p.used -= int64(len(ids)) * s.o.BlockBytes
	p.wakeAll()
}

func (p *Pool) wakeAll() {
	for _, o := range p.spaces {
		o.wake()
	}
}

// Available returns how many blocks can be had now: free ones, those the budget still allows, and cached ones.
func (s *Space) Available() int {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := len(s.fresh)
	if p.o.Bytes > 0 {
		fresh = int(min(int64(fresh), max(0, p.o.Bytes-p.used)/s.o.BlockBytes))
	}
	return fresh + len(s.free) + s.cached
}

// Expire forgets cached blocks that the TTL has passed, in one pass over the space.
func (s *Space) Expire() {
	if s.pool.o.TTL == 0 {
		return
	}
	s.lock()
	defer s.pool.mu.Unlock()
	for i := range s.nodes {
		for n := &s.nodes[i]; n != nil && n.heapAt >= 0 && s.stale(n, s.now); {
			up := n.parent // it may be a leaf now
			s.expire(n)
			n = up
		}
	}
}

func (s *Space) expire(n *node) {
	s.stats.Expired++
	s.event(Expired, n.owner, int(n.n))
	s.evict(n)
}

func (s *Space) stale(n *node, now time.Time) bool {
	return s.pool.o.TTL > 0 && n.refs == 0 && now.Sub(n.used) > s.pool.o.TTL
}

// Clear forgets every cached block that no lease or snapshot holds.
func (s *Space) Clear() {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	for v := s.oldest(nil); v != nil; v = s.oldest(nil) {
		s.evict(v)
	}
}

// Close detaches the space and gives its budget back. Its leases and snapshots must have been released.
func (s *Space) Close() error {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	p.used -= int64(s.o.Blocks-len(s.fresh)) * s.o.BlockBytes
	p.spaces = slices.DeleteFunc(p.spaces, func(o *Space) bool { return o == s })
	p.wakeAll()
	return nil
}

// common returns the length of the longest common prefix.
func common(a, b []uint32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
