package kvcache

import (
	"encoding/binary"
	"slices"
)

func encode(dst []byte, block *[BlockTokens]uint64) {
	for i, x := range block {
		binary.LittleEndian.PutUint64(dst[8*i:], x)
	}
}

func decode(src []byte, block *[BlockTokens]uint64) {
	for i := range block {
		block[i] = binary.LittleEndian.Uint64(src[8*i:])
	}
}

// content compares what a lease or snapshot shows with the model.
func (m *machine) content(h *holder) {
	m.t.Helper()
	length, table := 0, []uint32(nil)
	if h.l != nil {
		length, table = h.l.Len(), h.l.Table()
	} else {
		length, table = h.snap.Len(), h.snap.Blocks()
		if got := h.snap.AppendTokens(nil); !slices.Equal(got, h.text) {
			m.fatal("snapshot of %v, the model has %v", got, h.text)
		}
	}
	if length != len(h.text) {
		m.fatal("%d positions, the model has %d", length, len(h.text))
	}
	n := m.tree(h.tenant)
	for p, id := range h.text {
		n = n.kids[id]
		if b := table[p/BlockTokens]; m.arena[b][p%BlockTokens] != n.hash {
			m.fatal("position %d of %v in block %d: another sequence's keys", p, h.text, b)
		}
	}
}

// check compares all holders, then the space's own bookkeeping.
func (m *machine) check() {
	m.t.Helper()
	s := m.s
	refs := make([]int32, len(s.nodes))
	for _, h := range m.held {
		m.content(h)
		table := []uint32(nil)
		if h.l != nil {
			table = h.l.Table()
		} else {
			table = h.snap.Blocks()
		}
		for _, b := range table {
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
				m.fatal("block %d is out of place in the tree", id)
			}
			if n.n < BlockTokens && len(n.kids) > 0 {
				m.fatal("block %d has %d tokens and children", id, n.n)
			}
			if i > 0 && slices.Compare(s.nodes[kids[i-1]].key(), n.key()) > 0 {
				m.fatal("children are not sorted at block %d", id)
			}
			if n.n < BlockTokens && n.dirty {
				m.fatal("block %d is to be copied down half full", id)
			}
			inTree[id] = true
			if n.refs == 0 {
				if cached++; n.prot {
					guarded++
				}
			}
			if want := n.refs == 0 && len(n.kids) == 0; want != (n.heapAt >= 0) {
				m.fatal("block %d: evictable %v, in heap %v", id, want, n.heapAt >= 0)
			}
			walk(t, n, n.kids)
		}
	}
	blocks := 0
	for _, t := range s.tenants {
		walk(t, nil, t.kids)
		blocks += t.blocks
		if q := m.p.o.TenantBytes; q > 0 && int64(t.blocks)*s.o.BlockBytes > q {
			m.fatal("tenant %s has %d blocks, more than its quota", t.name, t.blocks)
		}
	}
	free := map[uint32]bool{}
	for _, id := range append(append(slices.Clone(s.free), s.fresh...), s.give...) {
		if free[id] || inTree[id] || refs[id] != 0 {
			m.fatal("block %d is free and in use", id)
		}
		free[id] = true
	}
	for id := range s.nodes {
		n := &s.nodes[id]
		if n.refs != refs[id] {
			m.fatal("block %d has %d references, leases hold %d", id, n.refs, refs[id])
		}
		if refs[id] > 0 {
			leased++
		} else if !inTree[uint32(id)] && !free[uint32(id)] {
			m.fatal("block %d is lost", id)
		}
	}
	if s.leased != leased || s.cached != cached || sum(s) != guarded || blocks != leased+cached {
		m.fatal("leased %d cached %d guarded %d tenants %d, counted %d %d %d", s.leased, s.cached, sum(s), blocks, leased, cached, guarded)
	}
	for g := range groups(s) {
		for k := range g.heaps {
			for i, id := range g.heaps[k] {
				n := &s.nodes[id]
				if int(n.heapAt) != i || n.heap() != &g.heaps[k] || i > 0 && s.nodes[g.heaps[k][(i-1)/2]].tick > n.tick {
					m.fatal("heap %d is broken at %d", k, i)
				}
			}
		}
	}
	var used int64
	for _, o := range m.p.spaces {
		used += int64(o.o.Blocks-len(o.fresh)) * o.o.BlockBytes
	}
	if m.p.used != used || m.p.o.Bytes > 0 && used > m.p.o.Bytes {
		m.fatal("%d bytes in use, counted %d of %d", m.p.used, used, m.p.o.Bytes)
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
