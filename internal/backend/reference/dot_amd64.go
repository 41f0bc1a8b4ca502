//go:build !purego

package reference

import "github.com/klauspost/cpuid/v2"

var useAVX2 = cpuid.CPU.Supports(cpuid.AVX2)

//go:noescape
func dot4x2(dst *[8]float32, x0, x1, x2, x3, w0, w1 *float32, n int)

//go:noescape
func dot1x4(dst *[4]float32, x, w0, w1, w2, w3 *float32, n int)

//go:noescape
func axpy32(out, w, v *float32, rows, dim int)

func dotName() string {
	if useAVX2 {
		return "AVX2"
	}
	return "generic"
}

// matmul is matmulGeneric to the bit: a tile computes several dot products side by side, each in the same order.
func matmul(dst []float32, ld int, x, w []float32, rows, outs, n int) {
	if !useAVX2 || n == 0 || outs == 0 {
		matmulGeneric(dst, ld, x, w, rows, outs, n)
		return
	}
	_, _ = x[:rows*n], w[:outs*n]
	var t [8]float32
	r := 0
	for ; r+4 <= rows; r += 4 {
		x0, x1, x2, x3 := &x[r*n], &x[(r+1)*n], &x[(r+2)*n], &x[(r+3)*n]
		for j := 0; j < outs; j += 2 {
			j1 := min(j+1, outs-1) // an odd last output is computed twice
			dot4x2(&t, x0, x1, x2, x3, &w[j*n], &w[j1*n], n)
			for k := range 4 {
				dst[(r+k)*ld+j], dst[(r+k)*ld+j1] = t[2*k], t[2*k+1]
			}
		}
	}
	var s [4]float32
	for ; r < rows; r++ {
		row := dst[r*ld:][:outs]
		for j := 0; j < outs; j += 4 {
			last := outs - 1
			dot1x4(&s, &x[r*n], &w[j*n], &w[min(j+1, last)*n], &w[min(j+2, last)*n], &w[min(j+3, last)*n], n)
			copy(row[j:], s[:])
		}
	}
}

// axpy is axpyGeneric to the bit.
func axpy(out, w, v []float32) {
	if n := len(out); useAVX2 && n%32 == 0 && n > 0 && len(w) > 0 {
		_ = v[:len(w)*n]
		axpy32(&out[0], &w[0], &v[0], len(w), n)
		return
	}
	axpyGeneric(out, w, v)
}
