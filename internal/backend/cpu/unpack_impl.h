/* unpack_impl.h - the storage types, unpacked for VL rows at a time. Sixteen bytes of every row are transposed as
 * dwords, which gives vectors of VL rows x 4 bytes; the rest is bytewise on those. UNPACK_<type> is the number of
 * blocks of 32 that one call fills. */

#ifdef KR_SCALAR_UNPACK
#define X(t, kind, off, bytes, per) \
    enum { UNPACK_##t = 1 }; \
    INL void unpack_##t(const kr_weight *w, int n, int b, tblk *t) { unpack_scalar(w, n, b, t); }
KR_QUANT_TYPES(X)
#undef X
#else

#define AT(bytes, per) (w->data + (size_t)n * w->stride + (size_t)(b / (per)) * (bytes))
enum { UNPACK_Q4_0 = 1, UNPACK_Q4_1 = 1, UNPACK_Q5_0 = 1, UNPACK_Q5_1 = 1, UNPACK_Q8_0 = 1, UNPACK_IQ4_NL = 1, UNPACK_MXFP4 = 1,
       UNPACK_Q2_K = 8, UNPACK_Q3_K = 8, UNPACK_Q4_K = 8, UNPACK_Q5_K = 8, UNPACK_Q6_K = 8,
       UNPACK_AFF2 = 1, UNPACK_AFF3 = 1, UNPACK_AFF4 = 1, UNPACK_AFF5 = 1, UNPACK_AFF6 = 1, UNPACK_AFF8 = 1 };

/* 4-bit codes, weight i low and i+16 high in byte i */
INL void nibbles(const uint8_t *p, size_t s, vb o[8]) {
    const vb lo = vb_set(15);
    vb q[4];
    vb_load16(p, s, q);
UNROLL
    for (int j = 0; j < 4; j++) { o[j] = vb_and(q[j], lo); o[4 + j] = vb_and(vb_shr(q[j], 4), lo); }
}
INL void unpack_Q4_0(const kr_weight *w, int n, int b, tblk *t) {
    const uint8_t *p = AT(18, 1);
    t->d[0] = vb_half_lo(vb_head(p, w->stride));
    nibbles(p + 2, w->stride, t->w);
}
INL void unpack_Q4_1(const kr_weight *w, int n, int b, tblk *t) {
    const uint8_t *p = AT(20, 1);
    const vb dm = vb_head(p, w->stride);
    t->d[0] = vb_half_lo(dm);
    t->m[0] = vb_half_hi(dm);
    nibbles(p + 4, w->stride, t->w);
}
INL void unpack_IQ4_NL(const kr_weight *w, int n, int b, tblk *t) {
    const uint8_t *p = AT(18, 1);
    t->d[0] = vb_half_lo(vb_head(p, w->stride));
    nibbles(p + 2, w->stride, t->w);
UNROLL
    for (int j = 0; j < 8; j++) {
        t->w[j] = vb_lut16(kr_iq4nl, t->w[j]);
        if (KR_S8_FLIP) t->w[j] = vb_xor(t->w[j], vb_set(0x80));
    }
}
INL void unpack_MXFP4(const kr_weight *w, int n, int b, tblk *t) {
    static const int8_t codes[16] = { 16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4 };
    const uint8_t *p = AT(17, 1);
    float d[VL];
    for (int i = 0; i < VL; i++) d[i] = kr_e8m0_half(p[(size_t)i * w->stride]);
    t->d[0] = vf_load(d);
    nibbles(p + 1, w->stride, t->w);
UNROLL
    for (int j = 0; j < 8; j++) t->w[j] = vb_lut16(codes, t->w[j]);
}
INL void fifth(vb qh, vb o[8]) {
UNROLL
    for (int j = 0; j < 8; j++) o[j] = vb_or(o[j], vb_spread4(qh, j, 16));
}
INL void unpack_Q5_0(const kr_weight *w, int n, int b, tblk *t) {
    const uint8_t *p = AT(22, 1);
    t->d[0] = vb_half_lo(vb_head(p, w->stride));
    nibbles(p + 6, w->stride, t->w);
    fifth(vb_head(p + 2, w->stride), t->w);
}
INL void unpack_Q5_1(const kr_weight *w, int n, int b, tblk *t) {
    const uint8_t *p = AT(24, 1);
    vb h[4];
    vb_load16(p, w->stride, h);
    t->d[0] = vb_half_lo(h[0]);
    t->m[0] = vb_half_hi(h[0]);
    nibbles(p + 8, w->stride, t->w);
    fifth(h[1], t->w);
}
INL void bytes32(const uint8_t *p, size_t s, vb o[8]) {
    vb_load16(p, s, o);
    vb_load16(p + 16, s, o + 4);
}
INL void unpack_Q8_0(const kr_weight *w, int n, int b, tblk *t) {
    const uint8_t *p = AT(34, 1);
    t->d[0] = vb_half_lo(vb_head(p, w->stride));
    bytes32(p + 2, w->stride, t->w);
UNROLL
    for (int j = 0; j < 8; j++) if (KR_S8_FLIP) t->w[j] = vb_xor(t->w[j], vb_set(0x80));
}

/* d, dmin and the packed 6-bit scales of Q4_K and Q5_K */
INL void k4_scales(const uint8_t *p, size_t s, tblk *t) {
    const vb m6 = vb_set(0x3f), m4 = vb_set(0x0f), m2 = vb_set(0x30);
    vb h[4];
    vb_load16(p, s, h);
    vf d = vb_half_lo(h[0]), m = vf_sub(vf_zero(), vb_half_hi(h[0]));
    vb sc[2] = { vb_and(h[1], m6), vb_or(vb_and(h[3], m4), vb_and(vb_shr(h[1], 2), m2)) };
    vb mn[2] = { vb_and(h[2], m6), vb_or(vb_and(vb_shr(h[3], 4), m4), vb_and(vb_shr(h[2], 2), m2)) };
UNROLL
    for (int i = 0; i < 8; i++) {
        t[i].d[0] = vf_mul(d, vb_byte(sc[i / 4], i & 3));
        t[i].m[0] = vf_mul(m, vb_byte(mn[i / 4], i & 3));
    }
}
INL void unpack_Q4_K(const kr_weight *w, int n, int b, tblk *t) {
    const uint8_t *p = AT(144, 8);
    const vb lo = vb_set(15);
    k4_scales(p, w->stride, t);
UNROLL
    for (int g = 0; g < 4; g++) {
        vb q[8];
        bytes32(p + 16 + 32 * g, w->stride, q);
UNROLL
        for (int j = 0; j < 8; j++) { t[2 * g].w[j] = vb_and(q[j], lo); t[2 * g + 1].w[j] = vb_and(vb_shr(q[j], 4), lo); }
    }
}
INL void unpack_Q5_K(const kr_weight *w, int n, int b, tblk *t) {
    const uint8_t *p = AT(176, 8);
    const vb lo = vb_set(15), hi = vb_set(16);
    vb h[8];
    k4_scales(p, w->stride, t);
    bytes32(p + 16, w->stride, h);
UNROLL
    for (int g = 0; g < 4; g++) {
        vb q[8];
        bytes32(p + 48 + 32 * g, w->stride, q);
UNROLL
        for (int j = 0; j < 8; j++) {
            vb a = g < 2 ? vb_shl(h[j], 4 - 2 * g) : vb_shr(h[j], 2 * g - 4), c = g < 2 ? vb_shl(h[j], 3 - 2 * g) : vb_shr(h[j], 2 * g - 3);
            t[2 * g].w[j] = vb_or(vb_and(q[j], lo), vb_and(a, hi));
            t[2 * g + 1].w[j] = vb_or(vb_and(vb_shr(q[j], 4), lo), vb_and(c, hi));
        }
    }
}
INL void unpack_Q6_K(const kr_weight *w, int n, int b, tblk *t) {
    const uint8_t *p = AT(210, 8);
    const vb lo = vb_set(15), hi = vb_set(0x30);
    vb sc[4];
    vb_load16(p + 192, w->stride, sc);
    vf d = vb_half_hi(vb_tail(p + 194, w->stride));
UNROLL
    for (int i = 0; i < 16; i++) t[i / 2].d[i & 1] = vf_mul(d, vb_sbyte(sc[i / 4], i & 3));
UNROLL
    for (int h = 0; h < 2; h++) {
        tblk *o = t + 4 * h;
        vb l[2][8], u[8];
        bytes32(p + 64 * h, w->stride, l[0]);
        bytes32(p + 64 * h + 32, w->stride, l[1]);
        bytes32(p + 128 + 32 * h, w->stride, u);
UNROLL
        for (int j = 0; j < 8; j++) {
            o[0].w[j] = vb_or(vb_and(l[0][j], lo), vb_and(vb_shl(u[j], 4), hi));
            o[1].w[j] = vb_or(vb_and(l[1][j], lo), vb_and(vb_shl(u[j], 2), hi));
            o[2].w[j] = vb_or(vb_and(vb_shr(l[0][j], 4), lo), vb_and(u[j], hi));
            o[3].w[j] = vb_or(vb_and(vb_shr(l[1][j], 4), lo), vb_and(vb_shr(u[j], 2), hi));
        }
    }
}
INL void unpack_Q2_K(const kr_weight *w, int n, int b, tblk *t) {
    const uint8_t *p = AT(84, 8);
    const vb lo = vb_set(15), m2 = vb_set(3);
    vb sc[4], dm = vb_tail(p + 68, w->stride);
    vb_load16(p, w->stride, sc);
    vf d = vb_half_lo(dm), m = vf_sub(vf_zero(), vb_half_hi(dm));
UNROLL
    for (int i = 0; i < 16; i++) {
        t[i / 2].d[i & 1] = vf_mul(d, vb_byte(vb_and(sc[i / 4], lo), i & 3));
        t[i / 2].m[i & 1] = vf_mul(m, vb_byte(vb_and(vb_shr(sc[i / 4], 4), lo), i & 3));
    }
UNROLL
    for (int g = 0; g < 2; g++) {
        vb q[8];
        bytes32(p + 16 + 32 * g, w->stride, q);
UNROLL
        for (int j = 0; j < 8; j++) {
            t[4 * g].w[j] = vb_and(q[j], m2);
            t[4 * g + 1].w[j] = vb_and(vb_shr(q[j], 2), m2);
            t[4 * g + 2].w[j] = vb_and(vb_shr(q[j], 4), m2);
            t[4 * g + 3].w[j] = vb_and(vb_shr(q[j], 6), m2);
        }
    }
}
INL void unpack_Q3_K(const kr_weight *w, int n, int b, tblk *t) {
    const uint8_t *p = AT(110, 8);
    const vb lo = vb_set(15), m2 = vb_set(3), hi = vb_set(0x30), b2 = vb_set(4);
    vb a[4], h[8];
    vb_load16(p + 92, w->stride, a);
    const vb a0 = a[1], a1 = a[2], a2 = a[3];
    vf d = vb_half_hi(vb_tail(p + 94, w->stride)), c32 = vf_set(32);
    vb sc[4] = { vb_or(vb_and(a0, lo), vb_and(vb_shl(a2, 4), hi)), vb_or(vb_and(a1, lo), vb_and(vb_shl(a2, 2), hi)),
                 vb_or(vb_and(vb_shr(a0, 4), lo), vb_and(a2, hi)), vb_or(vb_and(vb_shr(a1, 4), lo), vb_and(vb_shr(a2, 2), hi)) };
UNROLL
    for (int i = 0; i < 16; i++) t[i / 2].d[i & 1] = vf_mul(d, vf_sub(vb_byte(sc[i / 4], i & 3), c32));
    bytes32(p, w->stride, h);
UNROLL
    for (int g = 0; g < 2; g++) {
        vb q[8];
        bytes32(p + 32 + 32 * g, w->stride, q);
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
INL vb row_dword(const uint8_t *p, size_t at, size_t n, size_t s) {
    if (n - at >= 16) return vb_head(p + at, s);
    if (at >= 12) return vb_tail(p + at - 12, s);
    return vb_load4(p + at, s);
}
/* Element i of each row of n scales or biases. */
INL vf gather_aux(const uint8_t *p, size_t i, size_t n, size_t s, int aux) {
    if (aux == KR_F32) return vb_float(row_dword(p, 4 * i, 4 * n, s));
    if (n - i < 8 && i < 7) return aux == KR_F16 ? vf_gatherh(p + 2 * i, s) : vf_gatherb(p + 2 * i, s);
    if (n - i >= 8) {
        const vb a = vb_head(p + 2 * i, s);
        return aux == KR_F16 ? vb_half_lo(a) : vb_float(vd_shl(a, 16));
    }
    const vb a = vb_tail(p + 2 * i - 14, s);
    return aux == KR_F16 ? vb_half_hi(a) : vb_float(vb_and(a, vd_set(0xffff0000)));
}
INL void affine_scales(const kr_weight *w, int n, int b, tblk *t) {
    const size_t at = (size_t)n * w->astride, i = (size_t)(b * QK / w->group), groups = (size_t)(w->cols / w->group);
    t->d[0] = gather_aux(w->scales + at, i, groups, w->astride, w->aux);
    t->m[0] = gather_aux(w->biases + at, i, groups, w->astride, w->aux);
}
/* four codes of N bits at the bottom of each dword to its four bytes */
INL vb codes4(vb a, const int bits) {
    const uint32_t m = (1u << bits) - 1;
    vb o = vb_or(vb_and(a, vd_set(m)), vb_and(vd_shl(a, 8 - bits), vd_set(m << 8)));
    return vb_or(o, vb_or(vb_and(vd_shl(a, 16 - 2 * bits), vd_set(m << 16)), vb_and(vd_shl(a, 24 - 3 * bits), vd_set(m << 24))));
}
/* The codes of a block. Those of 4 bits with split: even ones, then odd ones. */
INL void affine_codes(const kr_weight *w, int n, int b, tblk *t, const int bits, const int split) {
    const uint8_t *p = AT(4 * bits, 1);
    if (bits == 8) {
        bytes32(p, w->stride, t->w);
UNROLL
        for (int j = 0; j < 8; j++) if (!KR_S8_FLIP) t->w[j] = vb_xor(t->w[j], vb_set(0x80));
        return;
    }
    if (bits == 4 && split) { nibbles(p, w->stride, t->w); return; }
    vb q[9], h[4];
    if (bits >= 4) vb_load16(p, w->stride, q);
    if (bits == 5) q[4] = vb_tail(p + 4, w->stride);
    if (bits == 6) vb_load16(p + 8, w->stride, h);
    if (bits == 6) { q[4] = h[2]; q[5] = h[3]; }
    const size_t at = (size_t)(4 * bits * b), row = (size_t)(4 * bits) * (size_t)(w->cols / QK);
UNROLL
    for (int i = 0; bits < 4 && i < bits; i++) q[i] = row_dword(p - at, at + 4 * (size_t)i, row, w->stride);
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
        const int at = 4 * j * bits, k = at / 32, s = at % 32;
        vb a = s ? vd_shr(q[k], s) : q[k];
        if (s + 4 * bits > 32) a = vb_or(a, vd_shl(q[k + 1], 32 - s));
        t->w[j] = codes4(a, bits);
    }
}
INL void unpack_affine(const kr_weight *w, int n, int b, tblk *t, const int bits) {
    affine_scales(w, n, b, t);
    affine_codes(w, n, b, t, bits, 0);
}
INL void unpack_AFF2(const kr_weight *w, int n, int b, tblk *t) { unpack_affine(w, n, b, t, 2); }
INL void unpack_AFF3(const kr_weight *w, int n, int b, tblk *t) { unpack_affine(w, n, b, t, 3); }
INL void unpack_AFF4(const kr_weight *w, int n, int b, tblk *t) { unpack_affine(w, n, b, t, 4); }
INL void unpack_AFF5(const kr_weight *w, int n, int b, tblk *t) { unpack_affine(w, n, b, t, 5); }
INL void unpack_AFF6(const kr_weight *w, int n, int b, tblk *t) { unpack_affine(w, n, b, t, 6); }
INL void unpack_AFF8(const kr_weight *w, int n, int b, tblk *t) { unpack_affine(w, n, b, t, 8); }

/* Scales and biases of a run of groups, for blocks in order from the first on. */
typedef struct {
    vf d[8], m[8];
    int g, first, end, next;      /* this group, the first of the run, behind its last; block where another group begins */
} affine_run;
/* Elements i .. i+8 of each row of 16-bit floats. */
INL void gather8(const uint8_t *p, size_t s, int aux, vf o[8]) {
    vb a[4];
    vb_load16(p, s, a);
UNROLL
    for (int j = 0; j < 4; j++) {
        o[2 * j] = aux == KR_F16 ? vb_half_lo(a[j]) : vb_float(vd_shl(a[j], 16));
        o[2 * j + 1] = aux == KR_F16 ? vb_half_hi(a[j]) : vb_float(vb_and(a[j], vd_set(0xffff0000)));
    }
}
static KT __attribute__((noinline)) void affine_one(const kr_weight *w, int n, int b, affine_run *a) {
    tblk t;
    affine_scales(w, n, b, &t);
    a->d[0] = t.d[0]; a->m[0] = t.m[0];
    a->first = a->g; a->end = a->g + 1;
}
INL void affine_next(const kr_weight *w, int n, int b, affine_run *a) {
    const int groups = w->cols / w->group;
    a->g++;
    a->next += w->group / QK;
    if (a->g < a->end) return;
    const size_t at = (size_t)n * w->astride;
    if (groups < 8 || w->aux == KR_F32) {
        affine_one(w, n, b, a);
        return;
    }
    a->first = a->g < groups - 8 ? a->g : groups - 8;
    a->end = a->first + 8;
    gather8(w->scales + at + 2 * (size_t)a->first, w->astride, w->aux, a->d);
    gather8(w->biases + at + 2 * (size_t)a->first, w->astride, w->aux, a->m);
}
INL void affine_block(const kr_weight *w, int n, int b, tblk *t, const int bits, const int split, affine_run *a) {
    if (b == a->next) affine_next(w, n, b, a);
    t->d[0] = a->d[a->g - a->first];
    t->m[0] = a->m[a->g - a->first];
    affine_codes(w, n, b, t, bits, split);
}
#undef AT
#endif
