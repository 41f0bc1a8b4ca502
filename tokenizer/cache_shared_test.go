package tokenizer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// TestPieceCache has goroutines look pieces up and enter them while the cache grows and begins anew: what is found is right.
func TestPieceCache(t *testing.T) {
	f := &fast{bounds: boundsOf(1 << 15)}
	f.forget()
	idsOf := func(n uint64, most int) (ids []uint32) {
		for k := range int(n)%most + 1 {
			ids = append(ids, uint32(n)+uint32(k))
		}
		return ids
	}
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(g, 1))
			found := 0
			for range 20_000 {
				n := r.Uint64N(1 << (4 + r.IntN(10)))
				c := f.pieces()
				k0, k1 := n*fibonacci, 15<<56|n
				hash := pieceHash(k0, k1)
				if e := c.find(k0, k1, hash); e == nil {
					c.put(k0, k1, hash, idsOf(n, 15))
				} else if found++; !slices.Equal(c.idsOf(e), idsOf(n, 15)) {
					t.Errorf("piece %d has ids %v", n, c.idsOf(e))
					return
				}
				k := [4]uint64{n, n, ^n, n}
				hash = midHash(&k, 20)
				if e := c.findMid(&k, 20, hash); e == nil {
					c.putMid(&k, 20, hash, idsOf(n, 20))
				} else if found++; !slices.Equal(c.idsOfMid(e), idsOf(n, 20)) {
					t.Errorf("middle piece %d has ids %v", n, c.idsOfMid(e))
					return
				}
			}
			if found == 0 {
				t.Error("nothing is found again")
			}
		})
	}
	wg.Wait()
	if c := f.cache.Load(); len(c.tab) > 1<<f.bounds.log || len(c.mid) > 1<<f.bounds.mlog || c.old.Load() == nil {
		t.Errorf("%d and %d entries; the bounds are %+v", len(c.tab), len(c.mid), f.bounds)
	}
}

// TestWholeTokens: a token said to be whole is what its text merges to, and nearly all that are so are known.
func TestWholeTokens(t *testing.T) {
	for name := range fastSpecs {
		if testing.Short() && name != "smollm2" { // the smallest
			continue
		}
		l := loadReal(t, name)
		if !l.m.byteLevel {
			continue
		}
		plain := *l.mg
		plain.whole = nil
		whole := wholeTokens(l.m, l.mg, l.m.byteID[:])
		if whole == nil {
			t.Fatalf("%s: no set", name)
		}
		known, are := 0, 0
		var ids []uint32
		for _, e := range l.m.merges {
			ids = plain.appendBytes(ids[:0], l.m.vocab.bytes(e.out))
			is := len(ids) == 1 && ids[0] == e.out
			bit := whole[e.out>>6]>>(e.out&63)&1 != 0
			if bit && !is {
				t.Fatalf("%s: token %d is not what %q merges to: %v", name, e.out, l.m.vocab.bytes(e.out), ids)
			}
			if is {
				are++
			}
			if bit {
				known++
			}
		}
		if known < are*99/100 || known == 0 {
			t.Errorf("%s: %d of %d are known", name, known, are)
		}
	}
	// Vocabularies of which most tokens are not.
	r := rand.New(rand.NewPCG(31, 32))
	for round := range 300 {
		m := randomModel(r, 1+r.IntN(3), r.IntN(60), false)
		slices.SortFunc(m.merges, func(a, b mergeRule) int { return int(a.rank) - int(b.rank) })
		g := newMerger(m)
		text := map[uint32][]byte{}
		for b, id := range m.byteID {
			text[id] = []byte{byte(b)}
		}
		for len(text) < m.symbols { // ids are in the order in which tokens came about
			n := len(text)
			for _, e := range m.merges {
				if a, b := text[e.a], text[e.b]; a != nil && b != nil && text[e.out] == nil {
					text[e.out] = slices.Concat(a, b)
				}
			}
			if len(text) == n {
				break
			}
		}
		for w, bits := range wholeTokens(m, g, m.byteID[:]) {
			for i := range 64 {
				id := uint32(w*64 + i)
				if bits>>i&1 == 0 {
					continue
				}
				var syms []uint32
				for _, c := range text[id] {
					syms = append(syms, m.byteID[c])
				}
				if got := refMerge(m.merges, syms); !slices.Equal(got, []uint32{id}) {
					t.Fatalf("round %d: %q merges to %v, not to %d", round, text[id], got, id)
				}
			}
		}
	}
}

// TestSplitTable compares with looking every half up in a map.
func TestSplitTable(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	var texts [][]byte
	last := map[string]uint32{}
	for id := range uint32(3000) {
		b := randomText(r, 3, 1+r.IntN(12))
		if id%5 == 0 {
			b = append([]byte("é中"), b...)
		}
		texts = append(texts, b)
		last[string(b)] = id
	}
	s := newSplitTable(len(texts), func(id uint32) []byte { return texts[id] })
	for id := range s.fill(len(texts)) {
		if last[string(texts[id])] == id {
			t.Fatalf("%q is not shadowed", texts[id])
		}
	}
	var hashes []uint64
	total := 0
	for _, b := range texts {
		var got, want []string
		hashes = s.each(b, hashes, func(l, r uint32) { got = append(got, fmt.Sprint(l, r)) })
		for k := 1; k < len(b); k++ {
			l, ok := last[string(b[:k])]
			r, ok2 := last[string(b[k:])]
			if ok && ok2 && !bytes.Contains([]byte("\xa9\xb8\xad"), b[k:k+1]) { // not inside a character
				want = append(want, fmt.Sprint(l, r))
			}
		}
		if total += len(want); !slices.Equal(got, want) {
			t.Fatalf("%q: %v, want %v", b, got, want)
		}
	}
	if total == 0 {
		t.Error("nothing to find")
	}
}
