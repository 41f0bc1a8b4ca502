//go:build amd64 && !purego

package tokenizer

import (
	"math/rand/v2"
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

// TestKernels runs every assembly variant that this CPU has against the Go code, in one binary.
func TestKernels(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	for _, v := range []struct {
		name     string
		has      bool
		classify func(*[8][16]byte, unsafe.Pointer, *masks)
	}{{"classifyAVX2", useAVX2, classifyAVX2}, {"classifyAVX512", useAVX512, classifyAVX512}} {
		if !v.has {
			t.Logf("%s did not run: this CPU lacks it", v.name)
			continue
		}
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
				v.classify(&tab.rows, unsafe.Pointer(&text), &b)
				if a != b {
					t.Fatalf("%s, kind %d %q:\n%x\n%x", v.name, k, text, a, b)
				}
			}
		}
		t.Logf("%s checked", v.name)
	}
	qwen := classTables[scanQwen2]()
	for _, v := range []struct {
		name     string
		has      bool
		suspects func(*[8][16]byte, unsafe.Pointer, int) (int, uint64)
	}{{"suspectsAVX2", useAVX2, suspectsAVX2}, {"suspectsAVX512", useAVX512, suspectsAVX512}} {
		if !v.has {
			t.Logf("%s did not run: this CPU lacks it", v.name)
			continue
		}
		for range 3000 {
			text := randomUTF8(r, 64*5+1)
			n, mask := suspectsGo(&qwen.nfcRows, unsafe.Pointer(&text[0]), 5)
			if n2, mask2 := v.suspects(&qwen.nfcRows, unsafe.Pointer(&text[0]), 5); n2 != n || mask2 != mask {
				t.Fatalf("%s %q: %d %x, want %d %x", v.name, text, n2, mask2, n, mask)
			}
		}
		t.Logf("%s checked", v.name)
	}
	for _, wide := range []bool{true, false} {
		if wide && !useAVX512 || !useAVX2 {
			t.Log("a kernel of UTF-8 did not run: this CPU lacks it")
			continue
		}
		func() {
			defer func(x bool) { useAVX512 = x }(useAVX512)
			useAVX512 = wide
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
		}()
	}
	if useBMI2 {
		tab := tables{unsafe.Pointer(unsafe.SliceData(make([]entry, 1<<10))), 54, unsafe.Pointer(unsafe.SliceData(make([]midEntry, 1<<8))), 56}
		text := make([]byte, 1<<13)
		for i := range text {
			text[i] = byte(r.IntN(256))
		}
		for range 500 {
			starts := []uint32{uint32(r.IntN(100))}
			for range 1 + r.IntN(127) {
				starts = append(starts, starts[len(starts)-1]+1+uint32(r.IntN(40)))
			}
			var a, b [128]probe
			keysGo(unsafe.Pointer(&text[0]), starts, &tab, &a)
			keysBMI2(unsafe.Pointer(&text[0]), &starts[0], len(starts)-1, &tab, &b[0])
			if a != b {
				t.Fatalf("keys differ for %v", starts)
			}
		}
		t.Log("keysBMI2 checked")
	}
	defer func(x, y, z bool) { useBMI2, useAVX2, useAVX512 = x, y, z }(useBMI2, useAVX2, useAVX512)
	useAVX512 = false
	t.Run("without AVX-512", TestFastAgainstPlain)
	useBMI2, useAVX2 = false, false
	t.Run("pure Go", TestFastAgainstPlain)
}
