/* unpack_impl.h - the storage types, unpacked for VL rows at a time. Sixteen bytes of every row are transposed as
 * dwords, which gives vectors of VL rows x 4 bytes, or lie so in packed weights; the rest is bytewise on those.
 * UNPACK_<type> is the number of blocks of 32 that one call fills. */

/* Scales and minima of a run of groups of an affine type, or of the eight blocks of one of Q4_K and Q5_K. */
typedef struct {
    vf d[8], m[8];
    int first, end;               /* groups, of Q4_K and Q5_K the stored block; end is 0 of none */
} group_run;
/* Rows [n, n+VL) of w. */
typedef struct {
    const kr_weight *w;
    int n, packed, split;         /* packed: from w->packed; split: affine codes of 4 bits as even and odd ones */
    group_run *run;
} strip;

#ifdef KR_SCALAR_UNPACK
#define X(t, kind, off, bytes, per) \
    enum { UNPACK_##t = 1 }; \
    INL void unpack_##t(const strip s, int b, tblk *t) { unpack_scalar(s.w, s.n, b, t); }
KR_QUANT_TYPES(X)
#undef X
#else

/* A place in the blocks of VL rows, which are `stride` bytes apart or packed, the first one lane `lane`. */
typedef struct { const uint8_t *p; size_t stride; int lane, packed; } place;
INL place block_at(const strip s, int b, const int bytes, const int per) {
    const size_t g = (size_t)(b / per), lane = (size_t)s.n % KR_STRIP;
    if (s.packed) return (place){ s.w->packed + ((size_t)s.n - lane) * s.w->stride + g * (size_t)(KR_STRIP * bytes), 0, (int)lane, 1 };
    return (place){ s.w->data + (size_t)s.n * s.w->stride + g * (size_t)bytes, s.w->stride, 0, 0 };
}
INL place plus(place a, const int off) { a.p += (a.packed ? KR_STRIP : 1) * off; return a; }
/* dwords 0 to 3 from there */
INL void dwords4(const place a, vb o[4]) {
    if (!a.packed) { vb_load16(a.p, a.stride, o); return; }
UNROLL
    for (int j = 0; j < 4; j++) o[j] = vb_load(a.p + 4 * KR_STRIP * j + 4 * a.lane);
}
/* the dword there: of a block that goes on for twelve bytes, or that ends behind it */
INL vb dword(const place a) { return a.packed ? vb_load(a.p + 4 * a.lane) : vb_head(a.p, a.stride); }
INL vb last_dword(const place a) { return a.packed ? vb_load(a.p + 4 * a.lane) : vb_tail(a.p - 12, a.stride); }
/* the half float there, likewise */
INL vf packed_half(const place a) {
    uint16_t h[VL];
    memcpy(h, a.p + 2 * a.lane, sizeof h);
    return vf_loadh(h);
}
INL vf half(const place a) { return a.packed ? packed_half(a) : vb_half_lo(vb_head(a.p, a.stride)); }
INL vf last_half(const place a) { return a.packed ? packed_half(a) : vb_half_hi(vb_tail(a.p - 14, a.stride)); }

enum { UNPACK_Q4_0 = 1, UNPACK_Q4_1 = 1, UNPACK_Q5_0 = 1, UNPACK_Q5_1 = 1, UNPACK_Q8_0 = 1, UNPACK_IQ4_NL = 1, UNPACK_MXFP4 = 1,
       UNPACK_Q2_K = 8, UNPACK_Q3_K = 8, UNPACK_Q4_K = 2, UNPACK_Q5_K = 2, UNPACK_Q6_K = 8,
       UNPACK_AFF2 = 1, UNPACK_AFF3 = 1, UNPACK_AFF4 = 1, UNPACK_AFF5 = 1, UNPACK_AFF6 = 1, UNPACK_AFF8 = 1 };

/* 4-bit codes, weight i low and i+16 high in byte i */
INL void nibbles(const place p, vb o[8]) {
    const vb lo = vb_set(15);
    vb q[4];
    dwords4(p, q);
UNROLL
    for (int j = 0; j < 4; j++) { o[j] = vb_and(q[j], lo); o[4 + j] = vb_and(vb_shr(q[j], 4), lo); }
}
INL void unpack_Q4_0(const strip s, int b, tblk *t) {
    const place p = block_at(s, b, 18, 1);
    t->d[0] = half(p);
    nibbles(plus(p, 2), t->w);
}
INL void unpack_Q4_1(const strip s, int b, tblk *t) {
    const place p = block_at(s, b, 20, 1);
    const vb dm = dword(p);
    t->d[0] = vb_half_lo(dm);
    t->m[0] = vb_half_hi(dm);
    nibbles(plus(p, 4), t->w);
}
INL void unpack_IQ4_NL(const strip s, int b, tblk *t) {
    const place p = block_at(s, b, 18, 1);
    t->d[0] = half(p);
    nibbles(plus(p, 2), t->w);
UNROLL
    for (int j = 0; j < 8; j++) {
        t->w[j] = vb_lut16(kr_iq4nl, t->w[j]);
        if (KR_S8_FLIP) t->w[j] = vb_xor(t->w[j], vb_set(0x80));
    }
}
INL void unpack_MXFP4(const strip s, int b, tblk *t) {
    static const int8_t codes[16] = { 16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4 };
    const place p = block_at(s, b, 17, 1);
    float d[VL];
    for (int i = 0; i < VL; i++) d[i] = kr_e8m0_half(p.packed ? p.p[p.lane + i] : p.p[(size_t)i * p.stride]);
    t->d[0] = vf_load(d);
    nibbles(plus(p, 1), t->w);
UNROLL
    for (int j = 0; j < 8; j++) t->w[j] = vb_lut16(codes, t->w[j]);
}
INL void fifth(vb qh, vb o[8]) {
UNROLL
    for (int j = 0; j < 8; j++) o[j] = vb_or(o[j], vb_spread4(qh, j, 16));
}
INL void unpack_Q5_0(const strip s, int b, tblk *t) {
    const place p = block_at(s, b, 22, 1);
    t->d[0] = half(p);
    nibbles(plus(p, 6), t->w);
    fifth(dword(plus(p, 2)), t->w);
}
INL void unpack_Q5_1(const strip s, int b, tblk *t) {
    const place p = block_at(s, b, 24, 1);
    vb h[4];
    dwords4(p, h);
    t->d[0] = vb_half_lo(h[0]);
    t->m[0] = vb_half_hi(h[0]);
    nibbles(plus(p, 8), t->w);
    fifth(h[1], t->w);
}
INL void bytes32(const place p, vb o[8]) {
    dwords4(p, o);
    dwords4(plus(p, 16), o + 4);
}
INL void unpack_Q8_0(const strip s, int b, tblk *t) {
    const place p = block_at(s, b, 34, 1);
    t->d[0] = half(p);
    bytes32(plus(p, 2), t->w);
UNROLL
    for (int j = 0; j < 8; j++) if (KR_S8_FLIP) t->w[j] = vb_xor(t->w[j], vb_set(0x80));
}

/* Q4_K and Q5_K, two blocks of the eight at p: scales and minima of all of them, which are packed into 6 bits, with the first. */
INL void k4_scales(const place p, const int b, group_run *a, tblk *t) {
    if (b / 8 != a->first || !a->end) {
        const vb m6 = vb_set(0x3f), m4 = vb_set(0x0f), m2 = vb_set(0x30);
        vb h[4];
        dwords4(p, h);
        const vf d = vb_half_lo(h[0]), m = vf_sub(vf_zero(), vb_half_hi(h[0]));
        const vb sc[2] = { vb_and(h[1], m6), vb_or(vb_and(h[3], m4), vb_and(vb_shr(h[1], 2), m2)) };
        const vb mn[2] = { vb_and(h[2], m6), vb_or(vb_and(vb_shr(h[3], 4), m4), vb_and(vb_shr(h[2], 2), m2)) };
UNROLL
        for (int i = 0; i < 8; i++) {
            a->d[i] = vf_mul(d, vb_byte(sc[i / 4], i & 3));
            a->m[i] = vf_mul(m, vb_byte(mn[i / 4], i & 3));
        }
        a->first = b / 8;
        a->end = 1;
    }
UNROLL
    for (int i = 0; i < 2; i++) { t[i].d[0] = a->d[b % 8 + i]; t[i].m[0] = a->m[b % 8 + i]; }
}
INL void unpack_Q4_K(const strip s, int b, tblk *t) {
    const place p = block_at(s, b, 144, 8);
    const vb lo = vb_set(15);
    k4_scales(p, b, s.run, t);
    vb q[8];
    bytes32(plus(p, 16 + 16 * (b % 8)), q);
UNROLL
    for (int j = 0; j < 8; j++) { t[0].w[j] = vb_and(q[j], lo); t[1].w[j] = vb_and(vb_shr(q[j], 4), lo); }
}
INL void unpack_Q5_K(const strip s, int b, tblk *t) {
    const place p = block_at(s, b, 176, 8);
    const vb lo = vb_set(15), one = vb_set(1);
    k4_scales(p, b, s.run, t);
    vb h[8], q[8];
    bytes32(plus(p, 16), h);
    bytes32(plus(p, 48 + 16 * (b % 8)), q);
UNROLL
    for (int j = 0; j < 8; j++) {
        t[0].w[j] = vb_or(vb_and(q[j], lo), vb_shl(vb_and(vb_shr(h[j], b % 8), one), 4));
        t[1].w[j] = vb_or(vb_and(vb_shr(q[j], 4), lo), vb_shl(vb_and(vb_shr(h[j], b % 8 + 1), one), 4));
    }
}
INL void unpack_Q6_K(const strip s, int b, tblk *t) {
    const place p = block_at(s, b, 210, 8);
    const vb lo = vb_set(15), hi = vb_set(0x30);
    vb sc[4];
    dwords4(plus(p, 192), sc);
    vf d = last_half(plus(p, 208));
UNROLL
    for (int i = 0; i < 16; i++) t[i / 2].d[i & 1] = vf_mul(d, vb_sbyte(sc[i / 4], i & 3));
UNROLL
    for (int h = 0; h < 2; h++) {
        tblk *o = t + 4 * h;
        vb l[2][8], u[8];
        bytes32(plus(p, 64 * h), l[0]);
        bytes32(plus(p, 64 * h + 32), l[1]);
        bytes32(plus(p, 128 + 32 * h), u);
UNROLL
        for (int j = 0; j < 8; j++) {
            o[0].w[j] = vb_or(vb_and(l[0][j], lo), vb_and(vb_shl(u[j], 4), hi));
            o[1].w[j] = vb_or(vb_and(l[1][j], lo), vb_and(vb_shl(u[j], 2), hi));
            o[2].w[j] = vb_or(vb_and(vb_shr(l[0][j], 4), lo), vb_and(u[j], hi));
            o[3].w[j] = vb_or(vb_and(vb_shr(l[1][j], 4), lo), vb_and(vb_shr(u[j], 2), hi));
        }
    }
}
INL void unpack_Q2_K(const strip s, int b, tblk *t) {
    const place p = block_at(s, b, 84, 8);
    const vb lo = vb_set(15), m2 = vb_set(3);
    vb sc[4], dm = last_dword(plus(p, 80));
    dwords4(p, sc);
    vf d = vb_half_lo(dm), m = vf_sub(vf_zero(), vb_half_hi(dm));
UNROLL
    for (int i = 0; i < 16; i++) {
        t[i / 2].d[i & 1] = vf_mul(d, vb_byte(vb_and(sc[i / 4], lo), i & 3));
        t[i / 2].m[i & 1] = vf_mul(m, vb_byte(vb_and(vb_shr(sc[i / 4], 4), lo), i & 3));
    }
UNROLL
    for (int g = 0; g < 2; g++) {
        vb q[8];
        bytes32(plus(p, 16 + 32 * g), q);
UNROLL
        for (int j = 0; j < 8; j++) {
            t[4 * g].w[j] = vb_and(q[j], m2);
            t[4 * g + 1].w[j] = vb_and(vb_shr(q[j], 2), m2);
            t[4 * g + 2].w[j] = vb_and(vb_shr(q[j], 4), m2);
            t[4 * g + 3].w[j] = vb_and(vb_shr(q[j], 6), m2);
        }
    }
}
INL void unpack_Q3_K(const strip s, int b, tblk *t) {
    const place p = block_at(s, b, 110, 8);
    const vb lo = vb_set(15), m2 = vb_set(3), hi = vb_set(0x30), b2 = vb_set(4);
    vb a[4], h[8];
    dwords4(plus(p, 92), a);
    const vb a0 = a[1], a1 = a[2], a2 = a[3];
    vf d = last_half(plus(p, 108)), c32 = vf_set(32);
    vb sc[4] = { vb_or(vb_and(a0, lo), vb_and(vb_shl(a2, 4), hi)), vb_or(vb_and(a1, lo), vb_and(vb_shl(a2, 2), hi)),
                 vb_or(vb_and(vb_shr(a0, 4), lo), vb_and(a2, hi)), vb_or(vb_and(vb_shr(a1, 4), lo), vb_and(vb_shr(a2, 2), hi)) };
UNROLL
    for (int i = 0; i < 16; i++) t[i / 2].d[i & 1] = vf_mul(d, vf_sub(vb_byte(sc[i / 4], i & 3), c32));
    bytes32(p, h);
UNROLL
    for (int g = 0; g < 2; g++) {
        vb q[8];
        bytes32(plus(p, 32 + 32 * g), q);
UNROLL
        for (int j = 0; j < 8; j++) {
            vb x0 = g ? vb_shr(h[j], 2) : vb_shl(h[j], 2), x1 = g ? vb_shr(h[j], 3) : vb_shl(h[j], 1);
            vb x2 = g ? vb_shr(h[j], 4) : h[j], x3 = g ? vb_shr(h[j], 5) : vb_shr(h[j], 1);
            t[4 * g].w[j] = vb_or(vb_and(q[j], m2), vb_and(x0, b2));
            t[4 * g + 1].w[j] = vb_or(vb_and(vb_shr(q[j], 2), m2), vb_and(x1, b2));
            t[4 * g + 2].w[j] = vb_or(vb_and(vb_shr(q[j], 4), m2), vb_and(x2, b2));
            t[4 * g + 3].w[j] = vb_or(vb_and(vb_shr(q[j], 6), m2), vb_and(x3, b2));
        }
    }
}

/* ---- MLX affine: scales and biases apart, codes of N bits without padding ---- */
/* Dword at byte `at` of each row of `n` bytes: by sixteen bytes that the row has, where it has so many. */
INL vb row_dword(const uint8_t *p, size_t at, size_t n, size_t stride) {
    if (n - at >= 16) return vb_head(p + at, stride);
    if (at >= 12) return vb_tail(p + at - 12, stride);
    return vb_load4(p + at, stride);
}
/* Element i of each row of n scales or biases. */
INL vf gather_aux(const uint8_t *p, size_t i, size_t n, size_t stride, int aux) {
    if (aux == KR_F32) return vb_float(row_dword(p, 4 * i, 4 * n, stride));
    if (n - i < 8 && i < 7) return aux == KR_F16 ? vf_gatherh(p + 2 * i, stride) : vf_gatherb(p + 2 * i, stride);
    if (n - i >= 8) {
        const vb a = vb_head(p + 2 * i, stride);
        return aux == KR_F16 ? vb_half_lo(a) : vb_float(vd_shl(a, 16));
    }
    const vb a = vb_tail(p + 2 * i - 14, stride);
    return aux == KR_F16 ? vb_half_hi(a) : vb_float(vb_and(a, vd_set(0xffff0000)));
}
/* Elements i .. i+8 of each row of 16-bit floats. */
INL void gather8(const uint8_t *p, size_t stride, int aux, vf o[8]) {
    vb a[4];
    vb_load16(p, stride, a);
UNROLL
    for (int j = 0; j < 4; j++) {
        o[2 * j] = aux == KR_F16 ? vb_half_lo(a[j]) : vb_float(vd_shl(a[j], 16));
        o[2 * j + 1] = aux == KR_F16 ? vb_half_hi(a[j]) : vb_float(vb_and(a[j], vd_set(0xffff0000)));
    }
}
/* The run of groups that begins with g, or ends with the last one. */
static KT __attribute__((noinline)) void next_run(const kr_weight *w, int n, int g, group_run *a) {
    const int groups = w->cols / w->group;
    const uint8_t *d = w->scales + (size_t)n * w->astride, *m = w->biases + (size_t)n * w->astride;
    if (groups < 8 || w->aux == KR_F32) {
        a->first = g;
        a->end = g + 1;
        a->d[0] = gather_aux(d, (size_t)g, (size_t)groups, w->astride, w->aux);
        a->m[0] = gather_aux(m, (size_t)g, (size_t)groups, w->astride, w->aux);
        return;
    }
    a->first = g < groups - 8 ? g : groups - 8;
    a->end = a->first + 8;
    gather8(d + 2 * (size_t)a->first, w->astride, w->aux, a->d);
    gather8(m + 2 * (size_t)a->first, w->astride, w->aux, a->m);
}
/* four codes of N bits at the bottom of each dword to its four bytes */
INL vb codes4(vb a, const int bits) {
    const uint32_t m = (1u << bits) - 1;
    vb o = vb_or(vb_and(a, vd_set(m)), vb_and(vd_shl(a, 8 - bits), vd_set(m << 8)));
    return vb_or(o, vb_or(vb_and(vd_shl(a, 16 - 2 * bits), vd_set(m << 16)), vb_and(vd_shl(a, 24 - 3 * bits), vd_set(m << 24))));
}
/* The codes of a block. */
INL void affine_codes(const strip s, int b, tblk *t, const int bits) {
    const place p = block_at(s, b, 4 * bits, 1);
    if (bits == 8) {
        bytes32(p, t->w);
UNROLL
        for (int j = 0; j < 8; j++) if (!KR_S8_FLIP) t->w[j] = vb_xor(t->w[j], vb_set(0x80));
        return;
    }
    if (bits == 4 && s.split) { nibbles(p, t->w); return; }
    vb q[9], h[4];
    if (bits >= 4) dwords4(p, q);
    if (bits == 5) q[4] = last_dword(plus(p, 16));
    if (bits == 6 && p.packed) { q[4] = last_dword(plus(p, 16)); q[5] = last_dword(plus(p, 20)); }
    if (bits == 6 && !p.packed) { dwords4(plus(p, 8), h); q[4] = h[2]; q[5] = h[3]; }
    const size_t at = (size_t)(4 * bits * b), row = (size_t)(4 * bits) * (size_t)(s.w->cols / QK);
UNROLL
    for (int i = 0; bits < 4 && i < bits; i++) q[i] = p.packed ? dword(plus(p, 4 * i)) : row_dword(p.p - at, at + 4 * (size_t)i, row, p.stride);
    if (bits == 4) {                            /* four codes are two bytes: each twice, then its halves */
UNROLL
        for (int j = 0; j < 8; j++) {
            const vb a = vb_twice(q[j / 2], j % 2);
            t->w[j] = vb_or(vb_and(a, vd_set(0x000f000f)), vb_and(vb_shr(a, 4), vd_set(0x0f000f00)));
        }
        return;
    }
UNROLL
    for (int j = 0; j < 8; j++) {
        const int at = 4 * j * bits, k = at / 32, r = at % 32;
        vb a = r ? vd_shr(q[k], r) : q[k];
        if (r + 4 * bits > 32) a = vb_or(a, vd_shl(q[k + 1], 32 - r));
        t->w[j] = codes4(a, bits);
    }
}
INL void unpack_affine(const strip s, int b, tblk *t, const int bits) {
    const int g = b * QK / s.w->group;
    if (g < s.run->first || g >= s.run->end) next_run(s.w, s.n, g, s.run);
    t->d[0] = s.run->d[g - s.run->first];
    t->m[0] = s.run->m[g - s.run->first];
    affine_codes(s, b, t, bits);
}
INL void unpack_AFF2(const strip s, int b, tblk *t) { unpack_affine(s, b, t, 2); }
INL void unpack_AFF3(const strip s, int b, tblk *t) { unpack_affine(s, b, t, 3); }
INL void unpack_AFF4(const strip s, int b, tblk *t) { unpack_affine(s, b, t, 4); }
INL void unpack_AFF5(const strip s, int b, tblk *t) { unpack_affine(s, b, t, 5); }
INL void unpack_AFF6(const strip s, int b, tblk *t) { unpack_affine(s, b, t, 6); }
INL void unpack_AFF8(const strip s, int b, tblk *t) { unpack_affine(s, b, t, 8); }
#endif
