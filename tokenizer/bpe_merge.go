package tokenizer

import (
	"sync"
	"unsafe"
)

// Three ways to merge, by length. All do the merges in the same order, so they agree.
const (
	shortMax     = 24  // symbols that are searched one by one for the lowest rank
	treeMax      = 256 // symbols that fit a tournament tree in the L1 cache; also the window of longer pieces
	treeRankBits = 24  // bits of a priority in a tree's key; the other 8 hold the position
)

// shortWork is the scratch of one piece of at most shortMax symbols: the n that are left, and the priority of each with the next.
type shortWork struct {
	id, rank [shortMax + 1]uint32
	n        int
}

// bytes begins with the symbols of at least one byte.
func (w *shortWork) bytes(g *merger, piece []byte) {
	for i, b := range piece {
		w.id[i] = g.byteID[b]
	}
	for i := range len(piece) - 1 {
		w.rank[i] = g.first[int(piece[i])<<8|int(piece[i+1])]
	}
	w.n = len(piece)
}

// symbols begins with the first n ids.
func (w *shortWork) symbols(g *merger, n int) {
	for i := range n - 1 {
		w.rank[i] = g.pairs.rank(w.id[i], w.id[i+1])
	}
	w.n = n
}

// step does the merge of lowest rank; false when there is none.
func (w *shortWork) step(g *merger) bool {
	n := w.n
	if n <= 1 {
		return false
	}
	best, at := noRank, 0
	for i, r := range w.rank[:n-1] {
		if r < best {
			best, at = r, i
		}
	}
	if best == noRank {
		return false
	}
	w.id[at] = g.pairs.merged(w.id[at], w.id[at+1], best)
	n--
	w.n = n
	for i := at + 1; i < n; i++ {
		w.id[i], w.rank[i] = w.id[i+1], w.rank[i+1]
	}
	if at+1 < n {
		w.rank[at] = g.pairs.rank(w.id[at], w.id[at+1])
	}
	if at > 0 {
		w.rank[at-1] = g.pairs.rank(w.id[at-1], w.id[at])
	}
	return true
}

// short merges until nothing is left to merge.
func (g *merger) short(dst []uint32, w *shortWork) []uint32 {
	if !mergeShort(w, &g.tables) {
		for w.step(g) {
		}
	}
	return append(dst, w.id[:w.n]...)
}

// mergeMost is how many symbols mergeShort takes.
const mergeMost = 16

// mergeTables are a pairTable for mergeShort, which knows the places of these fields. slots is nil where it cannot use them.
type mergeTables struct {
	slots, filter, out     unsafe.Pointer // out is nil where merged symbols are numbered from base on
	mask                   uint64
	shift, filterShift     uint64
	symBits, idxBits, base uint64
}

func (p *pairTable) mergeTables() (t mergeTables) {
	if p.wide != nil || p.prio != nil || len(p.out) >= 1<<27 || len(p.out) == 0 {
		return t
	}
	t = mergeTables{unsafe.Pointer(&p.slots[0]), unsafe.Pointer(&p.filter[0]), unsafe.Pointer(&p.out[0]), uint64(len(p.slots) - 1),
		uint64(p.shift), uint64(p.fshift), uint64(p.symBit), uint64(p.idxBit), uint64(p.base)}
	if p.dense {
		t.out = nil
	}
	return t
}

// source is a piece before merging: bytes, or symbols where bytes is nil.
type source struct {
	bytes []byte
	syms  []uint32
	n     int
}

// load copies the symbols from..to, and the priorities of neighbours, to the front of id and rank.
func (g *merger) load(s *source, from, to int, id, rank []uint32) {
	n := to - from
	if s.bytes != nil {
		b := s.bytes[from:to]
		id, rank = id[:len(b)], rank[:len(b)]
		for i, c := range b {
			id[i] = g.byteID[c]
		}
		for i := 0; i+1 < len(b); i++ {
			rank[i] = g.first[int(b[i])<<8|int(b[i+1])]
		}
	} else {
		copy(id[:n], s.syms[from:to])
		for i := 0; i+1 < n; i++ {
			rank[i] = g.pairs.rank(id[i], id[i+1])
		}
	}
	rank[n-1] = noRank
}

// window is the scratch of merging one window: the result is count symbols in id, each beginning at the symbol of
// the same index in at (relative to the window).
type window struct {
	id, at, rank []uint32
	next, prev   []int32
	heap         []uint64
	count        int
	tree         [2 * treeMax]uint32
}

func (w *window) grow(n int) {
	if len(w.id) < n {
		n = max(n, treeMax)
		w.id, w.at, w.rank = make([]uint32, n), make([]uint32, n), make([]uint32, n)
		w.next, w.prev = make([]int32, n), make([]int32, n)
	}
}

// merge encodes the symbols from..to by themselves.
func (g *merger) merge(w *window, s *source, from, to int) {
	n := to - from
	w.grow(n)
	g.load(s, from, to, w.id, w.rank)
	if n <= treeMax && g.treeRanks {
		g.mergeTree(w, n)
	} else {
		g.mergeHeap(w, n)
	}
	k := 0
	for i := 0; i < n; i = int(w.next[i]) {
		w.id[k], w.at[k] = w.id[i], uint32(i)
		k++
	}
	w.count = k
}

// mergeTree finds each lowest rank at the root of a tournament tree whose leaves are rank<<8 | position.
func (g *merger) mergeTree(w *window, n int) {
	size := 32
	for size < n {
		size *= 2
	}
	t := w.tree[:2*size]
	id, next, prev := w.id[:n], w.next[:n], w.prev[:n]
	for i, r := range w.rank[:n] {
		// noRank's upper bits are cut off, its lower ones stay all ones.
		t[size+i] = r<<8 | uint32(i)
		next[i], prev[i] = int32(i+1), int32(i-1)
	}
	for i := size + n; i < 2*size; i++ {
		t[i] = noRank
	}
	for i := size - 1; i > 0; i-- {
		t[i] = min(t[2*i], t[2*i+1])
	}
	for {
		top := t[1]
		if top>>8 == 1<<treeRankBits-1 {
			return
		}
		i := int(top & 0xff)
		j := int(next[i])
		id[i] = g.pairs.merged(id[i], id[j], top>>8)
		k := int(next[j])
		next[i] = int32(k)
		t[size+j] = noRank
		r := noRank
		if k < n {
			prev[k] = int32(i)
			r = g.pairs.rank(id[i], id[k])
		}
		t[size+i] = r<<8 | uint32(i)
		p := i
		if h := int(prev[i]); h >= 0 {
			t[size+h] = g.pairs.rank(id[h], id[i])<<8 | uint32(h)
			p = h
		}
		// The three leaves' ancestors, level by level.
		a, b, c := (size+p)>>1, (size+i)>>1, (size+j)>>1
		for a != c {
			t[a], t[b], t[c] = min(t[2*a], t[2*a+1]), min(t[2*b], t[2*b+1]), min(t[2*c], t[2*c+1])
			a, b, c = a>>1, b>>1, c>>1
		}
		for ; a > 0; a >>= 1 {
			t[a] = min(t[2*a], t[2*a+1])
		}
	}
}

// mergeHeap is for windows of any size: a binary heap of rank<<32 | position, with stale entries left in it.
func (g *merger) mergeHeap(w *window, n int) {
	id, next, prev, q := w.id[:n], w.next[:n], w.prev[:n], w.heap[:0]
	for i, r := range w.rank[:n] {
		next[i], prev[i] = int32(i+1), int32(i-1)
		if r != noRank {
			q = append(q, uint64(r)<<32|uint64(i))
		}
	}
	for i := len(q)/2 - 1; i >= 0; i-- {
		siftDown(q, i)
	}
	for len(q) > 0 {
		top := q[0]
		q[0] = q[len(q)-1]
		q = q[:len(q)-1]
		siftDown(q, 0)
		i, r := int(uint32(top)), uint32(top>>32)
		j := int(next[i])
		if j < 0 || j >= n || g.pairs.rank(id[i], id[j]) != r {
			continue
		}
		id[i] = g.pairs.merged(id[i], id[j], r)
		k := int(next[j])
		next[i], next[j] = int32(k), -1
		if k < n {
			prev[k] = int32(i)
			if r := g.pairs.rank(id[i], id[k]); r != noRank {
				q = siftUp(append(q, uint64(r)<<32|uint64(i)))
			}
		}
		if h := int(prev[i]); h >= 0 {
			if r := g.pairs.rank(id[h], id[i]); r != noRank {
				q = siftUp(append(q, uint64(r)<<32|uint64(h)))
			}
		}
	}
	w.heap = q
}

func siftDown(q []uint64, i int) {
	for {
		c := 2*i + 1
		if c >= len(q) {
			return
		}
		if c+1 < len(q) && q[c+1] < q[c] {
			c++
		}
		if q[i] <= q[c] {
			return
		}
		q[i], q[c] = q[c], q[i]
		i = c
	}
}

func siftUp(q []uint64) []uint64 {
	for i := len(q) - 1; i > 0 && q[i] < q[(i-1)/2]; i = (i - 1) / 2 {
		q[i], q[(i-1)/2] = q[(i-1)/2], q[i]
	}
	return q
}

// longWork is the scratch of one long piece. starts[i] is where the i-th symbol of the result begins.
type longWork struct {
	window
	starts []uint32
}

var longPool = sync.Pool{New: func() any { return new(longWork) }}

const (
	overlap   = 24      // symbols that neighbouring windows share at first
	keepSyms  = 1 << 16 // scratch of longer pieces is not kept
	firstStep = treeMax
)

// long encodes a piece of any length window by window.
//
// The order of merges depends only on (rank, position), so a list of tokens is the encoding of its bytes if and only
// if every two neighbours are the encoding of theirs (rust-gems, crates/bpe, states it for ids as ranks; the proof
// needs only that the lowest pair of a whole is the lowest of each part that holds it). Hence two windows' encodings
// that share a token at the same place join there into the encoding of both windows' text. Each window begins at a
// token of the one before it, a little before its end; where no token is shared, it begins earlier and ends later, at
// worst at the piece's begin. The work is linear wherever tokens depend on a bounded neighbourhood, and n log n at
// worst, since each retry doubles what is gained.
func (g *merger) long(dst []uint32, s source) []uint32 {
	w := longPool.Get().(*longWork)
	base := len(dst)
	end := min(firstStep, s.n)
	g.merge(&w.window, &s, 0, end)
	dst = append(dst, w.id[:w.count]...)
	w.starts = append(w.starts[:0], w.at[:w.count]...)
	for end < s.n {
		for back := overlap; ; back *= 2 {
			// The last token that begins back or more symbols before the end.
			k := len(w.starts) - 1
			for k > 0 && end-int(w.starts[k]) < back {
				k--
			}
			from := int(w.starts[k])
			to := min(s.n, max(from+firstStep, end+back))
			g.merge(&w.window, &s, from, to)
			i, j, joined := k, 0, from == 0
			for !joined && i < len(w.starts) && j < w.count {
				switch x, y := int(w.starts[i]), from+int(w.at[j]); {
				case x < y:
					i++
				case x > y:
					j++
				case dst[base+i] == w.id[j]:
					joined = true
				default:
					i++
					j++
				}
			}
			if joined {
				dst = append(dst[:base+i], w.id[j:w.count]...)
				w.starts = w.starts[:i]
				for _, at := range w.at[j:w.count] {
					w.starts = append(w.starts, uint32(from)+at)
				}
				end = to
				break
			}
		}
	}
	if s.n <= keepSyms && len(w.id) <= keepSyms {
		longPool.Put(w)
	}
	return dst
}
