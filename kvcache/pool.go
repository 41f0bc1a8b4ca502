// Package kvcache decides which KV blocks hold which tokens. A Pool is a byte budget; each model attaches a Space, its
// own address range of blocks of 32 positions, and takes a Lease per sequence. The package owns no KV memory and knows
// no model: it deals in token ids and block numbers, and the lease's holder copies and fills the blocks.
//
// Filled blocks stay in a radix tree per tenant after their lease ends. Acquire finds the longest prefix that the tree
// holds, to the token; the block in which the match ends is copied, all others are shared. Leased blocks are never
// evicted; the rest goes by segmented LRU (Karedla, Love, Wherry, "Caching strategies to improve disk system
// performance", IEEE Computer 1994), leaves first.
package kvcache

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// BlockTokens is the number of positions in one block.
const BlockTokens = 32

var (
	// ErrFull is returned when no block can be had: all are leased, or the budget is spent. Waiting may help.
	ErrFull = errors.New("kvcache: no free block")
	// ErrSequences is returned when as many sequences as Options.Sequences are held. It is an ErrFull.
	ErrSequences = fmt.Errorf("%w: as many sequences as the pool admits", ErrFull)
	// ErrQuota is returned when a tenant's own leases use up its quota.
	ErrQuota = errors.New("kvcache: the tenant's quota is leased out")
	// ErrInvalid is returned for options and arguments out of range; the text names them.
	ErrInvalid = errors.New("kvcache: invalid argument")
	// ErrClosed is returned by a Space after Close.
	ErrClosed = errors.New("kvcache: space is closed")
)

// Options configure a Pool. The zero value has no limit but each space's own size, and no tier below the arena.
type Options struct {
	Bytes     int64 // budget over all spaces; 0 = none
	Sequences int   // most leases at a time over all spaces; 0 = no limit
	// TenantBytes bounds each tenant in each space; 0 = none. Tenants whose quotas fit the space together do not
	// influence each other: what a request finds in the space depends on its own tenant's requests alone. In the tiers
	// below, whose keys differ, the room is shared.
	TenantBytes int64
	TTL         time.Duration // an unused prefix is forgotten after this time; 0 = never
	// NoWait lets an engine fail a request for which there is no block, instead of letting it wait for one.
	NoWait bool
	Now    func() time.Time // clock; nil = time.Now
	// OnEvent is told what happens, with locks held: it must not block nor call the pool.
	OnEvent func(Event)

	// The tiers below the arena. Each keeps the arena's exact bytes with a checksum; a block goes to all that there are
	// soon after it has filled up, and comes back from the first that has it when that beats computing it.
	HostBytes int64  // of main memory; 0 = none
	File      string // path of the file tier, which survives restarts; "" = none. One pool at a time may have it open
	FileBytes int64  // its size; 0 = 8 GiB
	Store     Store  // shared by processes and machines; nil = none
	// StoreTimeout is how long a look into the Store may take before the request goes on without it; 0 = 250 ms.
	StoreTimeout time.Duration
}

// Pool is a budget that spaces share, with the tiers below. It is safe for concurrent use.
type Pool struct {
	o         Options
	mu        sync.Mutex // guards the pool and all its spaces
	used      int64      // bytes of committed blocks of all spaces
	sequences int        // leases held
	spaces    []*Space
	freed     chan struct{} // closed when blocks come free; nil when nobody waits
	tiers     *tiers        // nil when there are none
}

// New returns an empty pool. With Options.File it opens or creates that file, and Close must be called.
func New(o Options) (*Pool, error) {
	bad := func(field string, v any) (*Pool, error) { return nil, fmt.Errorf("%w: %s = %v", ErrInvalid, field, v) }
	switch {
	case o.Bytes < 0:
		return bad("Bytes", o.Bytes)
	case o.Sequences < 0:
		return bad("Sequences", o.Sequences)
	case o.TenantBytes < 0:
		return bad("TenantBytes", o.TenantBytes)
	case o.TTL < 0:
		return bad("TTL", o.TTL)
	case o.HostBytes < 0:
		return bad("HostBytes", o.HostBytes)
	case o.FileBytes < 0 || o.FileBytes > 0 && o.File == "":
		return bad("FileBytes", o.FileBytes)
	case o.StoreTimeout < 0:
		return bad("StoreTimeout", o.StoreTimeout)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &Pool{o: o}
	if o.HostBytes > 0 || o.File != "" || o.Store != nil {
		var err error
		if p.tiers, err = openTiers(o); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Close writes what is on its way to the lower tiers, for a few seconds at most, and closes them. The pool's spaces
// should have been closed; those that are not go on without tiers. Further calls do nothing.
func (p *Pool) Close() error {
	if p.tiers == nil {
		return nil
	}
	return p.tiers.close()
}

// Tiered reports whether there are tiers below the arena.
func (p *Pool) Tiered() bool { return p.tiers != nil }

// NoWait returns the option of that name.
func (p *Pool) NoWait() bool { return p.o.NoWait }

// SpaceOptions describe one model's blocks.
type SpaceOptions struct {
	Blocks     int   // block numbers are 0 … Blocks-1
	BlockBytes int64 // memory of one block
	// Identity names everything that decides the bits of a block: weights, backend, kernels and their version, storage
	// type, layout. Blocks of equal identities are exchanged through the lower tiers. Empty uses none.
	Identity string
	// Wake is called, with locks held, when this space has blocks to hand back (TakeReleased) or when memory that it
	// failed to get may now be had. It must not block nor call the pool. nil is allowed.
	Wake func()
}

// Attach adds a space to the pool.
func (p *Pool) Attach(o SpaceOptions) (*Space, error) {
	switch {
	case o.Blocks <= 0 || int64(o.Blocks) > 1<<31-1:
		return nil, fmt.Errorf("%w: Blocks = %d", ErrInvalid, o.Blocks)
	case o.BlockBytes <= 0:
		return nil, fmt.Errorf("%w: BlockBytes = %d", ErrInvalid, o.BlockBytes)
	case p.o.Bytes > 0 && p.o.Bytes < o.BlockBytes:
		return nil, fmt.Errorf("%w: Bytes = %d does not hold one block of %d bytes", ErrInvalid, p.o.Bytes, o.BlockBytes)
	}
	s := &Space{pool: p, o: o, nodes: make([]node, o.Blocks), tenants: map[string]*tenant{}, lru: newSegments(o.Blocks)}
	if o.Identity != "" && p.tiers != nil {
		if err := p.tiers.fits(o.BlockBytes); err != nil {
			return nil, err
		}
		s.tiers, s.root = p.tiers, newRoot(o.Identity, o.BlockBytes)
	}
	s.fresh = make([]uint32, o.Blocks)
	for i := range s.fresh {
		s.fresh[i] = uint32(o.Blocks - 1 - i)
	}
	for i := range s.nodes {
		s.nodes[i].heapAt = -1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spaces = append(p.spaces, s)
	return s, nil
}

// Stats counts blocks and tokens of one space.
type Stats struct {
	Blocks      int // address space
	BlockBytes  int64
	Leased      int // blocks that a lease holds
	Cached      int // blocks that only the tree holds
	Committed   int // blocks that have memory, free ones included
	Acquires    uint64
	HitTokens   uint64 // tokens that Acquire found
	AskedTokens uint64 // tokens that Acquire was asked for
	Copies      uint64 // blocks copied on write
	Merged      uint64 // blocks given up because an equal one was there
	Evictions   uint64
	Expired     uint64 // blocks forgotten by TTL
	Unsaved     uint64 // blocks that gave way before they had been copied to the lower tiers
}

// Stats returns a snapshot.
func (s *Space) Stats() Stats {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	st := s.stats
	st.Blocks, st.BlockBytes = s.o.Blocks, s.o.BlockBytes
	st.Leased, st.Cached = s.leased, s.cached
	st.Committed = s.o.Blocks - len(s.fresh)
	return st
}

// Used returns the bytes of all committed blocks and the budget (0 = none).
func (p *Pool) Used() (used, budget int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used, p.o.Bytes
}
