package kvcache

// segments is a segmented LRU of cached blocks, of one tenant or of a whole space. Only leaves of the tree are listed:
// whoever is found again is protected, and the protected give way to the rest when they exceed four fifths.
type segments struct {
	heaps   [2]lru // evictable leaves: probation, protected
	guarded int    // cached blocks of the protected segment, inner ones included
	limit   int    // of guarded
}

func newSegments(blocks int) *segments { return &segments{limit: blocks * 4 / 5} }

// oldest returns the next victim, nil if there is none.
func (g *segments) oldest(s *Space) *node {
	for i := range g.heaps {
		if len(g.heaps[i]) > 0 {
			return &s.nodes[g.heaps[i][0]]
		}
	}
	return nil
}

// demote keeps the protected segment to its limit.
func (g *segments) demote(s *Space) {
	for g.guarded > g.limit && len(g.heaps[1]) > 0 {
		d := &s.nodes[g.heaps[1][0]]
		g.heaps[1].remove(s, 0)
		d.prot = false
		g.guarded--
		s.tick++
		d.tick = s.tick
		g.heaps[0].push(s, d.id)
	}
}

// heap returns the heap that n belongs to.
func (n *node) heap() *lru {
	if n.prot {
		return &n.owner.lru.heaps[1]
	}
	return &n.owner.lru.heaps[0]
}

// lru is a binary heap of blocks, least recently used first; every node knows its place.
type lru []uint32

func (h *lru) push(s *Space, id uint32) {
	*h = append(*h, id)
	s.nodes[id].heapAt = int32(len(*h) - 1)
	h.up(s, len(*h)-1)
}

func (h *lru) remove(s *Space, at int32) {
	i, last := int(at), len(*h)-1
	h.swap(s, i, last)
	s.nodes[(*h)[last]].heapAt = -1
	*h = (*h)[:last]
	if i < last {
		h.down(s, i)
		h.up(s, i)
	}
}

func (h *lru) swap(s *Space, i, j int) {
	a := *h
	a[i], a[j] = a[j], a[i]
	s.nodes[a[i]].heapAt, s.nodes[a[j]].heapAt = int32(i), int32(j)
}

func (h *lru) less(s *Space, i, j int) bool { return s.nodes[(*h)[i]].tick < s.nodes[(*h)[j]].tick }

func (h *lru) up(s *Space, i int) {
	for i > 0 {
		p := (i - 1) / 2
		if !h.less(s, i, p) {
			return
		}
		h.swap(s, i, p)
		i = p
	}
}

func (h *lru) down(s *Space, i int) {
	for {
		c := 2*i + 1
		if c >= len(*h) {
			return
		}
		if c+1 < len(*h) && h.less(s, c+1, c) {
			c++
		}
		if !h.less(s, c, i) {
			return
		}
		h.swap(s, i, c)
		i = c
	}
}
