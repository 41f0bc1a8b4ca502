package quant

// The k-quants (ggml-common.h): super-blocks of 256 weights in groups of 16 or 32, whose scales are quantised, too.

// scaleMin unpacks the 6-bit scale and minimum of group j of a Q4_K or Q5_K block.
func scaleMin(s []byte, j int) (scale, minimum byte) {
	if j < 4 {
		return s[j] & 63, s[j+4] & 63
	}
	return s[j+4]&15 | s[j-4]>>6<<4, s[j+4]>>4 | s[j]>>6<<4
}

// scaleQ3K unpacks the signed 6-bit scale of group j of a Q3_K block.
func scaleQ3K(s []byte, j int) int {
	low := s[j%8] >> (j / 8 * 4) & 15
	high := s[8+j%4] >> (j / 4 * 2) & 3
	return int(low|high<<4) - 32
}

// Q2_K: scales[16] (low nibble scale, high nibble minimum), qs[64], d, dmin.
func decodeQ2K(y []float32, b []byte) {
	y, b = y[:256], b[:84]
	scales, qs := b[:16], b[16:80]
	d, dmin := F16ToF32(le.Uint16(b[80:])), F16ToF32(le.Uint16(b[82:]))
	for g := range 16 {
		dl, ml := d*float32(scales[g]&15), dmin*float32(scales[g]>>4)
		q, shift, out := qs[g/8*32+g%2*16:][:16], g/2%4*2, y[g*16:][:16]
		for l, v := range q {
			out[l] = float32(dl*float32(v>>shift&3)) - ml
		}
	}
}

// Q3_K: hmask[32] (a clear bit subtracts 4), qs[64], scales[12], d.
func decodeQ3K(y []float32, b []byte) {
	y, b = y[:256], b[:110]
	hmask, qs, scales := b[:32], b[32:96], b[96:108]
	d := F16ToF32(le.Uint16(b[108:]))
	for g := range 16 {
		dl := d * float32(scaleQ3K(scales, g))
		half := g % 2 * 16
		q, h, out := qs[g/8*32+half:][:16], hmask[half:][:16], y[g*16:][:16]
		shift, bit := g/2%4*2, g/2
		for l, v := range q {
			out[l] = dl * float32(int(v>>shift&3)-int(^h[l]>>bit&1)<<2)
		}
	}
}

// Q4_K: d, dmin, scales[12], qs[128].
func decodeQ4K(y []float32, b []byte) {
	y, b = y[:256], b[:144]
	d, dmin := F16ToF32(le.Uint16(b)), F16ToF32(le.Uint16(b[2:]))
	scales, qs := b[4:16], b[16:144]
	for g := range 8 {
		s, m := scaleMin(scales, g)
		dl, ml := d*float32(s), dmin*float32(m)
		shift, out := g%2*4, y[g*32:][:32]
		for l, v := range qs[g/2*32:][:32] {
			out[l] = float32(dl*float32(v>>shift&15)) - ml
		}
	}
}

// Q5_K: d, dmin, scales[12], qh[32], qs[128].
func decodeQ5K(y []float32, b []byte) {
	y, b = y[:256], b[:176]
	d, dmin := F16ToF32(le.Uint16(b)), F16ToF32(le.Uint16(b[2:]))
	scales, qh, qs := b[4:16], b[16:48], b[48:176]
	for g := range 8 {
		s, m := scaleMin(scales, g)
		dl, ml := d*float32(s), dmin*float32(m)
		shift, out := g%2*4, y[g*32:][:32]
		for l, v := range qs[g/2*32:][:32] {
			out[l] = float32(dl*float32(v>>shift&15|qh[l]>>g&1<<4)) - ml
		}
	}
}

// Q6_K: ql[128], qh[64], scales[16] (signed), d.
func decodeQ6K(y []float32, b []byte) {
	y, b = y[:256], b[:210]
	ql, qh, scales := b[:128], b[128:192], b[192:208]
	d := F16ToF32(le.Uint16(b[208:]))
	for g := range 16 {
		dl := d * float32(int8(scales[g]))
		half, part := g/8, g/2%4 // part: which 32 of the 128 weights of this half
		low := ql[half*64+part%2*32+g%2*16:][:16]
		high := qh[half*32+g%2*16:][:16]
		nibble, shift, out := part/2*4, part*2, y[g*16:][:16]
		for l, v := range low {
			out[l] = dl * float32(int(v>>nibble&15|high[l]>>shift&3<<4)-32)
		}
	}
}
