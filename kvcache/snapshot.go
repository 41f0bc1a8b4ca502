package kvcache

import (
	"context"
	"errors"
	"fmt"
)

// Snapshot holds the blocks of a sequence's state: they are neither evicted nor expired until Release. It pins a prefix,
// and sequences can go on from it. The zero value is empty.
type Snapshot struct{ l Lease }

// Snapshot makes to hold the lease's positions as they are. It takes no block and no place among Options.Sequences.
func (l *Lease) Snapshot(to *Snapshot) error { return l.share(&to.l, false) }

// Pin makes to hold what the tenant's tree has of tokens, in whole blocks, and returns how many tokens that is.
func (s *Space) Pin(to *Snapshot, tenantName string, tokens []uint32) (int, error) {
	s.lock()
	defer s.pool.mu.Unlock()
	l := &to.l
	if s.closed {
		return 0, ErrClosed
	}
	if l.s != nil {
		return 0, fmt.Errorf("%w: Pin into a snapshot that is in use", ErrInvalid)
	}
	l.begin(s, s.tenant(tenantName))
	kids := &l.t.kids
	for len(tokens)-l.length >= BlockTokens {
		n, m := s.longest(*kids, tokens[l.length:])
		if m < BlockTokens || s.stale(n, s.now) {
			break
		}
		s.hold(n)
		l.table = append(l.table, n.id)
		l.length += m
		kids = &n.kids
	}
	return l.length, nil
}

// Len returns the number of positions held.
func (p *Snapshot) Len() int { return p.l.length }

// Blocks returns the blocks held, as Lease.Table does.
func (p *Snapshot) Blocks() []uint32 { return p.l.table }

// AppendTokens appends the tokens of the positions held.
func (p *Snapshot) AppendTokens(dst []uint32) []uint32 {
	if p.l.s == nil {
		return dst
	}
	p.l.s.pool.mu.Lock()
	defer p.l.s.pool.mu.Unlock()
	for i, id := range p.l.table {
		n := &p.l.s.nodes[id]
		dst = append(dst, n.tokens[:min(p.l.length-i*BlockTokens, BlockTokens)]...)
	}
	return dst
}

// Restore makes l a lease on the snapshot's positions. It takes no block.
func (p *Snapshot) Restore(l *Lease) error { return p.l.share(l, true) }

// Release lets the blocks go.
func (p *Snapshot) Release() { p.l.Release() }

// GrowWait is Grow that waits, when no block can be had, until others let some go. It must not be called by whom the
// others wait for, such as the one goroutine that runs a model.
func (l *Lease) GrowWait(ctx context.Context, n int) error {
	for {
		freed, err := l.grow(n)
		if err == nil || !errors.Is(err, ErrFull) && !errors.Is(err, ErrQuota) {
			return err
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}
