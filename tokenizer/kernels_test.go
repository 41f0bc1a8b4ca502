//go:build (amd64 || arm64) && !purego

package tokenizer

import (
	"bytes"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
	"unicode/utf8"
	"unsafe"
)

// randomUTF8 makes a text of n bytes or a few more.
func randomUTF8(r *rand.Rand, n int) (b []byte) {
	tops := []int{0x80, 0x80, 0x800, 0x3100, 0xa000, 0x10000, 0x110000}
	top := tops[r.IntN(len(tops))]
	for len(b) < n {
		if r.IntN(20) == 0 {
			top = tops[r.IntN(len(tops))]
		}
		if c := rune(r.IntN(top)); utf8.ValidRune(c) {
			b = utf8.AppendRune(b, c)
		}
	}
	return b
}

// kernelSwitch turns on the kernels of one instruction set; kernelSwitches has those of the architecture.
type kernelSwitch struct {
	name    string
	on      *bool
	kernels []string
}

var kernelTests = map[string]func(*testing.T){
	"keys": testKeys, "emit": testEmit, "merge": testMerge, "places": testPlaces, "classify": testClassify, "valid": testValid, "suspects": testSuspects,
}

// eachKernel runs f with every assembly variant that this CPU has, alone, and then with Go code only, in one binary.
func eachKernel(t *testing.T, f func(t *testing.T, kernels []string)) {
	has := make([]bool, len(kernelSwitches))
	for i, s := range kernelSwitches {
		has[i] = *s.on
		defer func() { *s.on = has[i] }()
		*s.on = false
	}
	for i, s := range kernelSwitches {
		if !has[i] {
			t.Logf("%s did not run: this CPU lacks it", s.name)
			continue
		}
		*s.on = true
		t.Run(s.name, func(t *testing.T) { f(t, s.kernels) })
		*s.on = false
	}
	t.Run("Go", func(t *testing.T) { f(t, nil) })
}

// TestKernels holds the kernels to the Go code, and encoding by each variant to the plain way.
func TestKernels(t *testing.T) {
	eachKernel(t, func(t *testing.T, kernels []string) {
		for _, k := range kernels {
			t.Run(k, kernelTests[k])
		}
		t.Run("encode", TestFastAgainstPlain)
	})
}

func testClassify(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	for k := range scanKinds {
		tab := classTables[k]()
		var text [64]byte
		for round := range 2000 {
			for i := range text {
				if text[i] = byte(r.IntN(256)); round%3 > 0 {
					text[i] &= 0x7f
				}
			}
			var a, b masks
			classifyGo(&tab.ascii, unsafe.Pointer(&text), &a)
			classify(tab, unsafe.Pointer(&text), &b)
			if a != b {
				t.Fatalf("kind %d %q:\n%x\n%x", k, text, a, b)
			}
		}
	}
}

func testSuspects(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 11))
	rows := &classTables[scanQwen2]().nfcRows
	for range 3000 {
		text := randomUTF8(r, 64*5+1)
		n, mask := suspectsGo(rows, unsafe.Pointer(&text[0]), 5)
		if n2, mask2 := suspects(rows, unsafe.Pointer(&text[0]), 5); n2 != n || mask2 != mask {
			t.Fatalf("%q: %d %x, want %d %x", text, n2, mask2, n, mask)
		}
	}
}

func testValid(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 13))
	ends := []byte{'a', 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc2, 0xf4}
	for i := range 1 << 16 { // all neighbours, and some of what follows them
		b := bytes.Repeat([]byte{'a'}, 5*64)
		copy(b[r.IntN(len(b)-4):], []byte{byte(i >> 8), byte(i), ends[r.IntN(len(ends))], ends[r.IntN(len(ends))]})
		if validText(b) != utf8.Valid(b) {
			t.Fatalf("%x: %v", b, validText(b))
		}
	}
	for range 20000 {
		b := randomUTF8(r, 256+r.IntN(300))
		for range r.IntN(3) { // mostly one or two errors
			b[r.IntN(len(b))] = byte(r.IntN(256))
		}
		b = b[:len(b)-r.IntN(4)]
		if validText(b) != utf8.Valid(b) {
			t.Fatalf("%x: %v", b, validText(b))
		}
	}
}

// testTables are empty tables of pieces.
func testTables() *tables {
	return &tables{unsafe.Pointer(unsafe.SliceData(make([]entry, 1<<10))), 54, unsafe.Pointer(unsafe.SliceData(make([]midEntry, 1<<8))), 56}
}

func testKeys(t *testing.T) {
	r := rand.New(rand.NewPCG(14, 15))
	tab := testTables()
	text := make([]byte, 1<<13)
	for i := range text {
		text[i] = byte(r.IntN(256))
	}
	for range 500 {
		starts := []uint32{uint32(r.IntN(100))}
		for range 1 + r.IntN(127) {
			starts = append(starts, starts[len(starts)-1]+1+uint32(r.IntN(40)))
		}
		var a, b probes
		keysGo(unsafe.Pointer(&text[0]), starts, tab, &a)
		keys(unsafe.Pointer(&text[0]), starts, tab, &b)
		if a != b {
			t.Fatalf("keys differ for %v", starts)
		}
	}
}

// testEmit runs over home entries that hold the piece, have it beside them, have another one, or have more ids than fit.
func testEmit(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 17))
	tab := make([]entry, 256)
	for range 500 {
		clear(tab)
		var q probes
		n := 1 + r.IntN(probesMost)
		for i := range n {
			q.key[i] = [2]uint64{r.Uint64N(3), 1 + r.Uint64N(3)}
			slot := r.IntN(len(tab))
			q.slot[i] = uint64(slot) * 32
			switch r.IntN(30) {
			case 0:
				q.key[i][1] = isLong
			case 1:
				q.key[i] = [2]uint64{0, isMid}
			case 2:
			case 3:
				tab[slot] = entry{q.key[i][0], q.key[i][1] | spilled<<60, [4]uint32{}}
			default:
				tab[slot^r.IntN(2)] = entry{q.key[i][0], q.key[i][1] | uint64(1+r.IntN(4))<<60, [4]uint32{r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32()}}
			}
		}
		var a, b [4*probesMost + idSlack]uint32
		for i := 0; i <= n; i++ {
			ends := [2]int{}
			for v, out := range []*[4*probesMost + idSlack]uint32{&a, &b} {
				f := emitHitsGo
				if v == 1 {
					f = emitHits
				}
				next, to := f(&q, i, n, unsafe.Pointer(&tab[0]), unsafe.Pointer(out))
				ends[v] = next<<32 | int(uintptr(to)-uintptr(unsafe.Pointer(out)))
			}
			if ends[0] != ends[1] || a != b {
				t.Fatalf("from %d of %d: ends %x, want %x", i, n, ends[1], ends[0])
			}
			i = ends[0] >> 32
		}
	}
}

// testMerge holds the kernel of short pieces to merging step by step.
func testMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(18, 19))
	for round := range 300 {
		m := randomModel(r, 1+r.IntN(3), r.IntN(60), false)
		g := newMerger(m)
		if round%2 == 0 {
			g.pairs.dense = false
			g.tables = g.pairs.mergeTables()
		}
		for range 100 {
			piece := make([]byte, 1+r.IntN(mergeMost))
			for i := range piece {
				piece[i] = "abcd"[r.IntN(4)]
			}
			if g.drops || len(m.merges) == 0 {
				continue
			}
			var a, b shortWork
			a.bytes(g, piece)
			b = a
			for a.step(g) {
			}
			if !mergeShort(&b, &g.tables) {
				if g.tables.slots != nil {
					t.Fatal("no kernel ran")
				}
				continue
			}
			if a.n != b.n || !slices.Equal(a.id[:a.n], b.id[:b.n]) {
				t.Fatalf("%q: %v, want %v", piece, b.id[:b.n], a.id[:a.n])
			}
		}
	}
}

func testPlaces(t *testing.T) {
	r := rand.New(rand.NewPCG(20, 21))
	for i := range 3000 {
		st, pos := r.Uint64(), r.Uint32()>>1
		for range i % 4 {
			st &= r.Uint64()
		}
		if i%50 == 0 {
			st = ^uint64(0)
		}
		var a, b [blockBytes + 1]uint32
		emitPlacesGo(unsafe.Pointer(&a), pos, st)
		emitPlaces(unsafe.Pointer(&b), pos, st)
		if n := bits.OnesCount64(st); !slices.Equal(a[:n], b[:n]) || b[blockBytes] != 0 {
			t.Fatalf("%x from %d: %v, want %v", st, pos, b, a)
		}
	}
}
