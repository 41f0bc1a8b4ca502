package tokenizer

import (
	"cmp"
	"slices"
)

// pieceTrie finds the pieces that a text begins with. It is a double array (Aoe 1989): the child of state s by byte c is at base[s]+c if
// check there is s.
type pieceTrie struct {
	base  []int32
	check []int32 // parent state + 1
	id    []uint32
}

type trieEntry struct {
	text string
	id   uint32
}

// newPieceTrie builds the trie; of equal texts the last entry counts. Texts must not be empty.
func newPieceTrie(entries []trieEntry) *pieceTrie {
	slices.SortStableFunc(entries, func(a, b trieEntry) int { return cmp.Compare(a.text, b.text) })
	t := &pieceTrie{}
	t.grow(512)
	t.check[0] = -1
	t.place(entries)
	return t
}

func (t *pieceTrie) grow(n int) {
	for len(t.base) < n {
		t.base, t.check, t.id = append(t.base, 0), append(t.check, 0), append(t.id, noID)
	}
}

type trieJob struct {
	state, lo, hi, depth int
}

// place gives every state its children, breadth first.
func (t *pieceTrie) place(entries []trieEntry) {
	free := 1 // no free slot is below
	queue := []trieJob{{0, 0, len(entries), 0}}
	var labels []byte
	var ends []int
	for len(queue) > 0 {
		j := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		lo := j.lo
		for lo < j.hi && len(entries[lo].text) == j.depth {
			t.id[j.state] = entries[lo].id
			lo++
		}
		labels, ends = labels[:0], ends[:0]
		for i := lo; i < j.hi; {
			c := entries[i].text[j.depth]
			for i < j.hi && entries[i].text[j.depth] == c {
				i++
			}
			labels, ends = append(labels, c), append(ends, i)
		}
		if len(labels) == 0 {
			continue
		}
		for free < len(t.check) && t.check[free] != 0 {
			free++
		}
		base, tries := max(1, free-int(labels[0])), 0
	search:
		for ; ; base++ {
			t.grow(base + 256)
			if tries++; tries > 2000 { // leave a crowded region alone
				free, tries = base, 0
			}
			for _, c := range labels {
				if t.check[base+int(c)] != 0 {
					continue search
				}
			}
			break
		}
		t.base[j.state] = int32(base)
		for k, c := range labels {
			s := base + int(c)
			t.check[s] = int32(j.state + 1)
			queue = append(queue, trieJob{s, lo, ends[k], j.depth + 1})
			lo = ends[k]
		}
	}
}

// step follows c from state s; 0 is no state.
func (t *pieceTrie) step(s int, c byte) int {
	b := int(t.base[s])
	if b == 0 {
		return 0
	}
	if n := b + int(c); t.check[n] == int32(s+1) {
		return n
	}
	return 0
}

// longest finds the longest piece that text begins with; n is 0 when there is none.
func (t *pieceTrie) longest(text []byte) (id uint32, n int) {
	s := 0
	for i, c := range text {
		if s = t.step(s, c); s == 0 {
			break
		}
		if t.id[s] != noID {
			id, n = t.id[s], i+1
		}
	}
	return id, n
}
