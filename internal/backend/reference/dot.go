package reference

// dotGeneric is the one definition of a dot product in this package: eight lanes, element i in lane i mod 8, the lanes
// summed as a tree. The explicit float32 conversions forbid fused multiply-add (Go specification, "Floating-point
// operators"), so that the same bits come out on every architecture.
func dotGeneric(x, w []float32) float32 {
	var s0, s1, s2, s3, s4, s5, s6, s7 float32
	w = w[:len(x)]
	for len(x) >= 8 && len(w) >= 8 {
		s0 += float32(x[0] * w[0])
		s1 += float32(x[1] * w[1])
		s2 += float32(x[2] * w[2])
		s3 += float32(x[3] * w[3])
		s4 += float32(x[4] * w[4])
		s5 += float32(x[5] * w[5])
		s6 += float32(x[6] * w[6])
		s7 += float32(x[7] * w[7])
		x, w = x[8:], w[8:]
	}
	s := [8]float32{s0, s1, s2, s3, s4, s5, s6, s7}
	for i, v := range x {
		s[i&7] += float32(v * w[i])
	}
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

// matmulGeneric sets dst[r*ld+j] = x_r · w_j for rows of n elements.
func matmulGeneric(dst []float32, ld int, x, w []float32, rows, outs, n int) {
	for r := range rows {
		xr := x[r*n:][:n]
		for j := range outs {
			dst[r*ld+j] = dotGeneric(xr, w[j*n:][:n])
		}
	}
}

// axpyGeneric adds w[p]*v_p to out for every row v_p of v, in order.
func axpyGeneric(out, w, v []float32) {
	for p, a := range w {
		row := v[p*len(out):][:len(out)]
		for i, e := range row {
			out[i] += float32(a * e)
		}
	}
}
