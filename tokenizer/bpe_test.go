package tokenizer

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// refMerge is BPE as Sennrich et al. (2016) state it: look for the lowest rank, leftmost, join, repeat.
func refMerge(merges []mergeRule, syms []uint32) []uint32 {
	type pair struct{ a, b uint32 }
	rules := map[pair]mergeRule{}
	for _, e := range merges {
		rules[pair{e.a, e.b}] = e
	}
	s := slices.Clone(syms)
	for {
		at := -1
		var best mergeRule
		for i := 0; i+1 < len(s); i++ {
			if e, ok := rules[pair{s[i], s[i+1]}]; ok && (at < 0 || e.rank < best.rank) {
				at, best = i, e
			}
		}
		if at < 0 {
			return s
		}
		s[at] = best.out
		s = slices.Delete(s, at+1, at+2)
	}
}

// randomModel makes a consistent vocabulary over few letters: a symbol is a string, and a merge's result is the
// strings joined. Ranks are in no relation to how a token comes about.
func randomModel(r *rand.Rand, letters, tokens int, ties bool) *bpeModel {
	m := &bpeModel{byteLevel: true, symbols: 256}
	ids := map[string]uint32{}
	for b := range 256 {
		m.byteID[b] = uint32(b)
		ids[string([]byte{byte(b)})] = uint32(b)
	}
	var names []string
	for i := range letters {
		names = append(names, string(rune('a'+i)))
	}
	for range tokens {
		s := names[r.IntN(len(names))] + names[r.IntN(len(names))]
		if _, ok := ids[s]; !ok && len(s) <= 40 {
			names = append(names, s)
			ids[s] = uint32(m.symbols)
			m.symbols++
		}
	}
	for _, s := range names {
		for k := 1; k < len(s); k++ {
			a, ok1 := ids[s[:k]]
			b, ok2 := ids[s[k:]]
			if ok1 && ok2 && r.IntN(8) > 0 {
				m.merges = append(m.merges, mergeRule{a: a, b: b, out: ids[s]})
			}
		}
	}
	for i, j := range r.Perm(len(m.merges)) {
		m.merges[i].rank = uint32(j)
		if ties {
			m.merges[i].rank /= 3
		}
	}
	return m
}

func randomText(r *rand.Rand, letters, n int) []byte {
	b := make([]byte, n)
	period := 1 + r.IntN(7)
	mode := r.IntN(3)
	for i := range b {
		switch {
		case mode == 0, i < period:
			b[i] = byte('a' + r.IntN(letters))
		case mode == 1 || r.IntN(50) > 0:
			b[i] = b[i-period]
		default:
			b[i] = byte('a' + r.IntN(letters))
		}
	}
	return b
}

func TestMergeAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 400 {
		letters := 1 + r.IntN(5)
		m := randomModel(r, letters, r.IntN(60), round%4 == 3)
		g := newMerger(m)
		for _, n := range []int{0, 1, 2, 7, shortMax, shortMax + 1, 31, 64, 65, 200, 256, 257, 300, 1000, 3000} {
			if round%8 != 0 && n > 300 {
				continue
			}
			text := randomText(r, letters, n)
			syms := make([]uint32, n)
			for i, c := range text {
				syms[i] = m.byteID[c]
			}
			want := refMerge(m.merges, syms)
			if got := g.appendBytes(nil, text); !slices.Equal(got, want) {
				t.Fatalf("round %d, %q: got %v want %v", round, text, got, want)
			}
			if got := g.appendSymbols(nil, slices.Clone(syms)); !slices.Equal(got, want) {
				t.Fatalf("round %d, symbols of %q: got %v want %v", round, text, got, want)
			}
			if n > 1 { // the tree and the heap on one window of everything
				for _, tree := range []bool{true, false} {
					var w window
					g.treeRanks = tree
					g.merge(&w, &source{syms: syms, n: n}, 0, n)
					if !slices.Equal(w.id[:w.count], want) {
						t.Fatalf("round %d, tree %v: got %v want %v", round, tree, w.id[:w.count], want)
					}
				}
				g.treeRanks = true
			}
		}
	}
}

// TestMergeFarInfluence has ranks that fall from left to right, so that the last symbol of a run decides every token
// of it: windows must grow until they see the run's end.
func TestMergeFarInfluence(t *testing.T) {
	const run = 2500
	m := &bpeModel{symbols: 2*run + 1}
	for i := range uint32(run - 1) {
		m.merges = append(m.merges, mergeRule{a: i, b: i + 1, out: run + i, rank: run - i})
	}
	g := newMerger(m)
	for _, n := range []int{run, run - 1, run - 2} {
		var syms []uint32
		for len(syms) < 3*run {
			for i := range uint32(n) {
				syms = append(syms, i)
			}
		}
		// By hand: from the right end of each run, two by two.
		var want []uint32
		for s := 0; s < len(syms); s += n {
			i := uint32(0)
			if n%2 == 1 {
				want = append(want, 0)
				i = 1
			}
			for ; i < uint32(n); i += 2 {
				want = append(want, run+i)
			}
		}
		if got := g.appendSymbols(nil, syms); !slices.Equal(got, want) {
			t.Fatalf("runs of %d: differs", n)
		}
	}
}

func TestPairTableWide(t *testing.T) {
	// Symbols of 31 bits leave two for the handle: the table must do without slots.
	merges := []mergeRule{{a: 1 << 30, b: 5, out: 7, rank: 3}, {a: 7, b: 7, out: 8, rank: 1}, {a: 9, b: 7, out: 10, rank: 2}, {a: 5, b: 5, out: 11, rank: 4}}
	p := newPairTable(merges, 1<<31)
	if p.wide == nil {
		t.Fatal("slots with too few bits")
	}
	for _, e := range merges {
		r := p.rank(e.a, e.b)
		if r == noRank || p.merged(e.a, e.b, r) != e.out {
			t.Fatalf("%v not found", e)
		}
	}
	if p.rank(5, 7) != noRank {
		t.Fatal("found a pair that is none")
	}
}

func FuzzMerge(f *testing.F) {
	f.Add(uint64(1), []byte("abcabcaabbccabcab"))
	f.Add(uint64(7), []byte("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"))
	f.Fuzz(func(t *testing.T, seed uint64, text []byte) {
		r := rand.New(rand.NewPCG(seed, 0))
		m := randomModel(r, 1+r.IntN(4), r.IntN(40), seed%2 == 0)
		syms := make([]uint32, len(text))
		for i := range text {
			text[i] = 'a' + text[i]%4
			syms[i] = m.byteID[text[i]]
		}
		if len(text) > 2000 {
			return
		}
		if got, want := newMerger(m).appendBytes(nil, text), refMerge(m.merges, syms); !slices.Equal(got, want) {
			t.Fatalf("%q: got %v want %v", text, got, want)
		}
	})
}

// TestMergeLinear: time per symbol of an unbroken run does not grow with its length.
func TestMergeLinear(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	m := randomModel(r, 4, 400, false)
	g := newMerger(m)
	rate := func(text []byte) time.Duration {
		best := time.Hour
		for range 3 {
			t0 := time.Now()
			g.appendBytes(nil, text)
			best = min(best, time.Since(t0))
		}
		return best * 1000 / time.Duration(len(text))
	}
	small, large := randomText(r, 4, 100_000), randomText(r, 4, 2_000_000)
	// Quadratic work would be twenty times as much per byte; the bound leaves room for a busy machine.
	if a, b := rate(small), rate(large); b > 6*a {
		t.Errorf("100 KB: %v per KB, 2 MB: %v per KB", a, b)
	}
	if got := g.appendBytes(nil, slices.Repeat([]byte("a"), 1<<20)); len(got) == 0 {
		t.Error("no ids")
	}
}
