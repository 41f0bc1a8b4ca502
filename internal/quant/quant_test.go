package quant

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// blockTypes are all but the affine ones.
func blockTypes() []Type {
	var out []Type
	for t := F32; !t.Affine(); t++ {
		out = append(out, t)
	}
	return out
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func floats(b []byte) []float32 {
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(le.Uint32(b[4*i:]))
	}
	return out
}

// compare wants the same bits; of a NaN only that it is one.
func compare(t *testing.T, what string, got, want []float32) (nans int) {
	t.Helper()
	for i, w := range want {
		g := got[i]
		if w != w && g != g {
			nans++
			continue
		}
		if math.Float32bits(g) != math.Float32bits(w) {
			t.Fatalf("%s: weight %d is %v (%#x), want %v (%#x)", what, i, g, math.Float32bits(g), w, math.Float32bits(w))
		}
	}
	return nans
}

// TestDequantizeGolden compares with PyPI gguf on random blocks; half of them have NaN, infinite, zero or subnormal scales.
func TestDequantizeGolden(t *testing.T) {
	for _, typ := range blockTypes() {
		b := read(t, typ.String()+".bin")
		n := len(b) / (typ.BlockBytes() + 4*typ.BlockSize())
		src, want := b[:n*typ.BlockBytes()], floats(b[n*typ.BlockBytes():])
		if n < 16 || len(want) != n*typ.BlockSize() {
			t.Fatalf("%v: golden of %d bytes", typ, len(b))
		}
		got := make([]float32, len(want))
		if err := Dequantize(got, src, typ); err != nil {
			t.Fatal(err)
		}
		nans := compare(t, typ.String(), got, want)
		t.Logf("%v: %d weights, %d NaN", typ, len(want), nans)
	}
}

func TestQuantizeGolden(t *testing.T) {
	for _, typ := range []Type{F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, MXFP4} {
		b := read(t, typ.String()+".quantized.bin")
		n := len(b) / (typ.BlockBytes() + 4*typ.BlockSize())
		src, want := floats(b[:4*n*typ.BlockSize()]), b[4*n*typ.BlockSize():]
		got := make([]byte, len(want))
		if err := Quantize(got, src, typ); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if s := typ.BlockBytes(); !bytes.Equal(got[i*s:(i+1)*s], want[i*s:(i+1)*s]) {
				t.Errorf("%v: block %d is %x, want %x", typ, i, got[i*s:(i+1)*s], want[i*s:(i+1)*s])
			}
		}
	}
}

var affineTypes = []Type{Affine2, Affine3, Affine4, Affine5, Affine6, Affine8}

// TestAffineGolden compares with MLX. Values and order are those of testdata/make_affine.py.
func TestAffineGolden(t *testing.T) {
	const n = 256
	b := read(t, "affine.bin")
	next := func(size int) []byte {
		if size > len(b) {
			t.Fatal("golden is too short")
		}
		head := b[:size]
		b = b[size:]
		return head
	}
	got := make([]float32, n)
	for _, typ := range affineTypes {
		for _, group := range []int{32, 64, 128} {
			for _, aux := range []Type{F32, F16, BF16} {
				codes, scales, biases := next(typ.RowBytes(n)), next(n/group*aux.BlockBytes()), next(n/group*aux.BlockBytes())
				want := floats(next(4 * n))
				if err := DequantizeAffine(got, codes, scales, biases, typ, aux, group); err != nil {
					t.Fatal(err)
				}
				compare(t, typ.String()+" "+aux.String(), got, want)
			}
		}
	}
	for _, typ := range affineTypes {
		for _, group := range []int{32, 64, 128} {
			w := floats(next(4 * n))
			parts := [3][]byte{next(typ.RowBytes(n)), next(n / group * 4), next(n / group * 4)}
			var have [3][]byte
			for i := range have {
				have[i] = make([]byte, len(parts[i]))
			}
			if err := QuantizeAffine(have[0], have[1], have[2], w, typ, F32, group); err != nil {
				t.Fatal(err)
			}
			for i, name := range []string{"codes", "scales", "biases"} {
				if !bytes.Equal(have[i], parts[i]) {
					t.Errorf("%v, groups of %d: %s are %x, want %x", typ, group, name, have[i], parts[i])
				}
			}
		}
	}
	if len(b) != 0 {
		t.Errorf("%d bytes of the golden are unused", len(b))
	}
}

// TestQuantizeError bounds the error of every type on random weights, relative to the largest weight of a block.
func TestQuantizeError(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, 64*256)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	limits := map[Type]float64{F32: 0, F16: 5e-4, BF16: 4e-3, Q8_0: 5e-3, Q6_K: 0.025, Q5_0: 0.063, Q5_1: 0.035, Q5_K: 0.035,
		Q4_0: 0.126, Q4_1: 0.075, Q4_K: 0.075, IQ4_NL: 0.11, MXFP4: 0.251, Q3_K: 0.26, Q2_K: 0.35}
	for _, typ := range blockTypes() {
		b := make([]byte, typ.RowBytes(len(x)))
		for i := range b {
			b[i] = 0xa5 // Quantize writes every bit
		}
		if err := Quantize(b, x, typ); err != nil {
			t.Fatal(err)
		}
		y := make([]float32, len(x))
		if err := Dequantize(y, b, typ); err != nil {
			t.Fatal(err)
		}
		worst := 0.0
		n := max(typ.BlockSize(), 32)
		for at := 0; at < len(x); at += n {
			top := abs(extreme(x[at : at+n]))
			for i := at; i < at+n; i++ {
				worst = max(worst, math.Abs(float64(x[i]-y[i]))/float64(top))
			}
		}
		if !(worst <= limits[typ]) {
			t.Errorf("%v: error of %.4f, at most %.4f", typ, worst, limits[typ])
		}
		t.Logf("%v: largest relative error %.4f", typ, worst)
	}
}

// TestHalves visits every 16-bit number, and the float32 numbers around the middles between them.
func TestHalves(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := F16ToF32(h)
		exp, frac, sign := int(h>>10&31), float64(h&0x3ff), 1.0
		if h>>15 == 1 {
			sign = -1
		}
		want := sign * math.Ldexp(1+frac/1024, exp-15)
		switch {
		case exp == 31 && frac == 0:
			want = math.Inf(int(sign))
		case exp == 31:
			want = math.NaN()
		case exp == 0:
			want = sign * math.Ldexp(frac, -24)
		}
		if float64(f) != want && want == want || (f != f) != (want != want) || math.Signbit(float64(f)) != (sign < 0) {
			t.Fatalf("F16ToF32(%#04x) = %v, want %v", h, f, want)
		}
		if back := F32ToF16(f); back != h && (want == want || back != h|0x200) {
			t.Fatalf("F32ToF16(%v) = %#04x, want %#04x", f, back, h)
		}
		if back := F32ToBF16(BF16ToF32(h)); back != h && (BF16ToF32(h) == BF16ToF32(h) || back != h|0x40) {
			t.Fatalf("bfloat16 %#04x comes back as %#04x", h, back)
		}
		if exp >= 30 && h&0x3ff == 0x3ff || exp == 31 {
			continue
		}
		// Halfway to the next number goes to the even one, anything beside it to the nearer one.
		mid := float32((float64(F16ToF32(h)) + float64(F16ToF32(h+1))) / 2)
		bits := math.Float32bits(mid)
		even := h + h&1
		for _, c := range []struct {
			bits uint32
			want uint16
		}{{bits, even}, {bits - 1, h}, {bits + 1, h + 1}} {
			if got := F32ToF16(math.Float32frombits(c.bits)); got != c.want {
				t.Fatalf("F32ToF16(%#08x) = %#04x, want %#04x", c.bits, got, c.want)
			}
		}
	}
	for f, want := range map[float32]uint16{65519.996: 0x7bff, 65520: 0x7c00, float32(math.Inf(1)): 0x7c00, -1e30: 0xfc00, 1e-30: 0, -1e-30: 0x8000} {
		if got := F32ToF16(f); got != want {
			t.Errorf("F32ToF16(%v) = %#04x, want %#04x", f, got, want)
		}
	}
}

func TestRefuses(t *testing.T) {
	y := make([]float32, 64)
	b := make([]byte, 1024)
	for _, typ := range blockTypes() {
		n := typ.BlockSize()
		for _, c := range []struct{ weights, bytes int }{{n, typ.BlockBytes() - 1}, {n, typ.BlockBytes() + 1}, {n, 0}, {n - 1, typ.BlockBytes()}, {0, typ.BlockBytes()}} {
			z := make([]float32, c.weights)
			if err := Dequantize(z, b[:c.bytes], typ); !errors.Is(err, ErrSize) {
				t.Errorf("Dequantize of %d bytes to %d weights of %v: %v", c.bytes, c.weights, typ, err)
			}
			if err := Quantize(b[:c.bytes], z, typ); !errors.Is(err, ErrSize) {
				t.Errorf("Quantize of %d weights to %d bytes of %v: %v", c.weights, c.bytes, typ, err)
			}
		}
		if err := Dequantize(nil, nil, typ); err != nil {
			t.Errorf("nothing of %v: %v", typ, err)
		}
	}
	for _, typ := range []Type{Invalid, Affine4, numTypes, 255} {
		if err := Dequantize(y, b, typ); !errors.Is(err, ErrType) {
			t.Errorf("Dequantize of %v: %v", typ, err)
		}
		if err := Quantize(b, y, typ); !errors.Is(err, ErrType) {
			t.Errorf("Quantize to %v: %v", typ, err)
		}
	}
	for name, c := range map[string]struct {
		err                   error
		codes, scales, biases int
		t, aux                Type
		group                 int
	}{
		"type":    {ErrType, 32, 8, 8, Q4_0, F32, 32},
		"aux":     {ErrType, 32, 8, 8, Affine4, Q4_0, 32},
		"group 0": {ErrSize, 32, 8, 8, Affine4, F32, 0},
		"group":   {ErrSize, 32, 8, 8, Affine4, F32, 48},
		"codes":   {ErrSize, 31, 8, 8, Affine4, F32, 32},
		"scales":  {ErrSize, 32, 4, 8, Affine4, F32, 32},
		"biases":  {ErrSize, 32, 8, 9, Affine4, F32, 32},
	} {
		if err := DequantizeAffine(y, b[:c.codes], b[:c.scales], b[:c.biases], c.t, c.aux, c.group); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bits := range []int{2, 3, 4, 5, 6, 8} {
		if typ := AffineOf(bits); typ.Bits() != bits {
			t.Errorf("AffineOf(%d) = %v of %d bits", bits, typ, typ.Bits())
		}
	}
	if AffineOf(7) != Invalid || Q4_0.Bits() != 0 {
		t.Error("bits of types that are not affine")
	}
}

func BenchmarkDequantize(b *testing.B) {
	y := make([]float32, 1<<16)
	for _, typ := range blockTypes() {
		src := make([]byte, typ.RowBytes(len(y)))
		for i := range src {
			src[i] = byte(i)
		}
		b.Run(typ.String(), func(b *testing.B) {
			b.SetBytes(int64(4 * len(y)))
			for b.Loop() {
				if err := Dequantize(y, src, typ); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
