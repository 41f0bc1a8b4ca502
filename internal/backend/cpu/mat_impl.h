/* mat_impl.h - matmuls, written once for every instruction set.
 *
 * A strip of VL weight rows is unpacked block by block into vectors of VL rows x 4 weights, so that each lane is one
 * output and nothing is summed across lanes. One row of X takes the vectors straight from registers; more rows take them
 * from a tile in L1 which two strips share. Of a block in two terms the sum over the high ones is shifted and goes on
 * over the low ones: both pay for one set of float operations. */

typedef struct {
    vb w[8];
    vf d[2], m[2];
} tblk;

INL const kr_xblk *xat(const char *x, size_t off) { return (const kr_xblk *)(const void *)(x + off); }
/* Where the integer sum of a block, or of its half h, starts. */
INL vi dot_start(const int zk, const int s8, const int min, const int half, const int h, const kr_xblk *x) {
    if (!zk || (s8 && (!min) != KR_S8_FLIP)) return vi_zero();
    const vi z = vi_set(half ? x->zh[h] : x->z);
    return s8 && min ? vi_sub(vi_zero(), vi_shl(z, zk)) : vi_shl(z, zk);
}
INL const int8_t *terms(const kr_xblk *x, int term) { return term ? ((const kr_xblk2 *)(const void *)x)->lo : x->q; }

/* One block of MR rows of X, off bytes into each, and NV strips: the rule of quant.h. */
INL void block_dots(const int MR, const int NV, const int zk, const int grp, const int s8, const int min, const int half, const int wide,
                    const char *const x[], size_t off, const tblk *const t[2], vf acc[MRI][2]) {
    const int nh = half ? 2 : 1, nj = half ? 4 : 8;
UNROLL
    for (int h = 0; h < nh; h++) {
        vi s[MRI][2], s16[MRI][2], hi[MRI][2];
UNROLL
        for (int r = 0; r < MR; r++) {
            const vi z = wide ? vi_zero() : dot_start(zk, s8, min, half, h, xat(x[r], off));
UNROLL
            for (int v = 0; v < NV; v++) s[r][v] = s16[r][v] = hi[r][v] = z;
        }
UNROLL
        for (int term = 0; term <= wide; term++) {
            if (term && MR * NV <= 2) {            /* two short chains instead of a long one */
UNROLL
                for (int r = 0; r < MR; r++)
UNROLL
                    for (int v = 0; v < NV; v++) { hi[r][v] = s[r][v]; s[r][v] = s16[r][v] = dot_start(zk, s8, min, half, h, xat(x[r], off)); }
            } else if (term) {
UNROLL
                for (int r = 0; r < MR; r++)
UNROLL
                    for (int v = 0; v < NV; v++) {
                        s[r][v] = vi_shl(s[r][v], 7);
                        if (zk) s[r][v] = vi_add(s[r][v], dot_start(zk, s8, min, half, h, xat(x[r], off)));
                    }
            }
UNROLL
            for (int j = 0; j < nj; j++) {
                vb w[2];
UNROLL
                for (int v = 0; v < NV; v++) w[v] = t[v]->w[(4 * h + j) & 7];
UNROLL
                for (int r = 0; r < MR; r++) {
                    const vb a = vb_bcast4(terms(xat(x[r], off), term) + 16 * h + 4 * j);
UNROLL
                    for (int v = 0; v < NV; v++) dot_step(grp, s8, j, &s16[r][v], &s[r][v], w[v], a);
                }
            }
        }
UNROLL
        for (int r = 0; r < MR; r++) {
            const kr_xblk *xb = xat(x[r], off);
            const vf xd = vf_set(xb->d), xs = vf_set(half ? xb->sh[h] : xb->s);
UNROLL
            for (int v = 0; v < NV; v++) {
                if (wide && MR * NV <= 2) s[r][v] = vi_add(s[r][v], vi_shl(hi[r][v], 7));
                acc[r][v] = vf_fma(vf_mul(t[v]->d[h], xd), vi_float(s[r][v]), acc[r][v]);
                if (min) acc[r][v] = vf_fma(t[v]->m[h], xs, acc[r][v]);
            }
        }
    }
}

INL void micro(const int MR, const int NV, const int zk, const int grp, const int s8, const int min, const int half, const int wide,
               const kr_xblk *x, size_t xs, const tblk *t0, const tblk *t1, int nb, float *y, size_t ldy, int first) {
    vf acc[MRI][2];
    const char *xr[MRI];
UNROLL
    for (int r = 0; r < MR; r++) {
        xr[r] = (const char *)x + (size_t)r * xs;
UNROLL
        for (int v = 0; v < NV; v++) acc[r][v] = first ? vf_zero() : vf_load(y + (size_t)r * ldy + VL * v);
    }
    for (int b = 0; b < nb; b++) {
        const tblk *const t[2] = { t0 + b, t1 + b };
        block_dots(MR, NV, zk, grp, s8, min, half, wide, xr, (size_t)b * KR_XSIZE(wide), t, acc);
    }
UNROLL
    for (int r = 0; r < MR; r++)
UNROLL
        for (int v = 0; v < NV; v++) vf_store(y + (size_t)r * ldy + VL * v, acc[r][v]);
}

/* Many rows against the tiles of one or two strips. */
INL void tile_rows(const int NV, const int zk, const int grp, const int s8, const int min, const int half, const int wide, int m,
                   const kr_xblk *x, size_t xs, const tblk *t0, const tblk *t1, int nb, float *y, size_t ldy, int first) {
#define ROWS(n) { micro(n, NV, zk, grp, s8, min, half, wide, x, xs, t0, t1, nb, y, ldy, first); m -= n; x = xat((const char *)x, n * xs); y += n * ldy; }
    while (m >= MRI) ROWS(MRI)
#if MRI > 4
    if (m >= 4) ROWS(4)
#endif
#if MRI > 2
    if (m >= 2) ROWS(2)
#endif
    if (m) ROWS(1)
#undef ROWS
}

#ifdef KR_SCALAR_UNPACK
/* Unpacking through the scalar decoder, from weights as they are stored: block b of rows [n, n+VL). */
static KT __attribute__((noinline)) void unpack_scalar(const kr_weight *w, int n, int b, tblk *t) {
    const kr_traits *tr = &kr_types[w->type];
    uint8_t *o = (uint8_t *)t->w;
    float dd[2][VL], mm[2][VL];
    for (int i = 0; i < VL; i++) {
        uint8_t c[QK]; float d[2], m[2];
        kr_decode(w, (size_t)(n + i), (size_t)b, c, d, m);
        for (int k = 0; k < QK; k++) o[k / 4 * VL * 4 + i * 4 + k % 4] = tr->s8 && !KR_S8_FLIP ? c[k] ^ 0x80 : c[k];
        for (int h = 0; h < 2; h++) { dd[h][i] = d[h]; mm[h][i] = m[h]; }
    }
    for (int h = 0; h < 2; h++) { t->d[h] = vf_load(dd[h]); t->m[h] = vf_load(mm[h]); }
}
#endif

#include "unpack_impl.h"

#define X(k, zk, grp, s8, min, half) \
static KT void rows_##k(int wide, int two, int m, const kr_xblk *x, size_t xs, const tblk *t0, const tblk *t1, int nb, float *y, size_t ldy, int first) { \
    if (wide && two) tile_rows(2, zk, grp, s8, min, half, 1, m, x, xs, t0, t1, nb, y, ldy, first); \
    else if (wide) tile_rows(1, zk, grp, s8, min, half, 1, m, x, xs, t0, t1, nb, y, ldy, first); \
    else if (two) tile_rows(2, zk, grp, s8, min, half, 0, m, x, xs, t0, t1, nb, y, ldy, first); \
    else tile_rows(1, zk, grp, s8, min, half, 0, m, x, xs, t0, t1, nb, y, ldy, first); \
} \
INL void dots1_##k(int wide, const char *const x[1], size_t off, const tblk *t, vf acc[MRI][2]) { \
    const tblk *const tt[2] = { t, t }; \
    block_dots(1, 1, zk, grp, s8, min, half, wide, x, off, tt, acc); \
}
KR_KINDS(X)
#undef X

/* The rows of a strip are VL separate streams, too many for a hardware prefetcher: what comes later is fetched by hand,
 * linearly, as many bytes as are consumed. What is fetched belongs to the strips after those in work: nearer, most of it
 * would lie in rows whose beginnings have been read. A prefetch cannot fault, so it may run past the end. */
#define AHEAD(w, strips) ((size_t)(strips) * VL * (w)->stride + (6 << 10))
#define AHEAD_ROWS 64      /* of X; with more of them the weights are a small part */
INL void prefetch(const uint8_t *p, int n) {
    for (int i = 0; i < n; i += 64) __builtin_prefetch(p + i, 0, 2);
}

/* Blocks along K in one tile: two strips and a few rows of X stay within 32 KB. */
#define KB_MOST (VL == 16 ? 18 : 24)
INL int tile_blocks(int nb, const int step) {
    const int most = KB_MOST / step * step, n = (nb + most - 1) / most, kb = (nb + n - 1) / n;
    return (kb + step - 1) / step * step;
}

/* For one row of X, affine codes of 4 bits, which lie in pairs, are taken as even and odd ones, and x is put in that
 * order: the sums are exact and have none. */
#ifdef KR_SCALAR_UNPACK
#define SPLITS(t) 0
#else
#define SPLITS(t) ((t) == KR_AFF4)
#endif
/* Of 32 bytes, the even ones and then the odd ones. */
INL void halves(const int8_t *x, int8_t *o) {
#if defined(KR_SCALAR_UNPACK)
    for (int i = 0; i < QK / 2; i++) { o[i] = x[2 * i]; o[QK / 2 + i] = x[2 * i + 1]; }
#elif defined(__x86_64__)
    const __m128i a = _mm_loadu_si128((const __m128i *)(const void *)x), b = _mm_loadu_si128((const __m128i *)(const void *)(x + 16)), lo = _mm_set1_epi16(255);
    _mm_storeu_si128((__m128i *)(void *)o, _mm_packus_epi16(_mm_and_si128(a, lo), _mm_and_si128(b, lo)));
    _mm_storeu_si128((__m128i *)(void *)(o + 16), _mm_packus_epi16(_mm_srli_epi16(a, 8), _mm_srli_epi16(b, 8)));
#else
    const int8x16x2_t v = vld2q_s8(x);
    vst1q_s8(o, v.val[0]);
    vst1q_s8(o + 16, v.val[1]);
#endif
}
INL void even_odd(const kr_xblk *x, int nb, const int wide, void *o) {
    const size_t size = KR_XSIZE(wide);
    for (int b = 0; b < nb; b++) {
        const kr_xblk *from = xat((const char *)x, (size_t)b * size);
        kr_xblk *to = (kr_xblk *)(void *)((char *)o + (size_t)b * size);
        memcpy(to, from, offsetof(kr_xblk, q));
        halves(from->q, to->q);
        if (wide) halves(terms(from, 1), ((kr_xblk2 *)(void *)to)->lo);
    }
}

/* A packed strip is one stream; the hardware follows it, but not from page to page. */
#define AHEAD_PACKED (6 << 10)
/* Fetches what comes `strips` after the blocks [b, b+per) of rows [n, n+VL), per being what is stored as one. */
INL void fetch(const kr_weight *w, int n, int b, const int packed, const int bytes, const int per, int strips) {
    const size_t at = (size_t)(b / per), stride = w->stride;
    if (b % per) return;
    if (!packed) prefetch(w->data + (size_t)n * stride + AHEAD(w, strips) + at * (size_t)(VL * bytes), VL * bytes);
    else if (n % KR_STRIP == 0) prefetch(w->packed + (size_t)n * stride + AHEAD_PACKED + at * (size_t)(KR_STRIP * bytes), KR_STRIP * bytes);
}

/* A matmul per type: UNPACK_<type> blocks per call of its unpacking. */
#define X(type, kind, off, bytes, per) \
INL void gemv_##type(const int wide, const int split, const int packed, const kr_weight *w, int n, const kr_xblk *x, float *y) { \
    vf acc[MRI][2]; \
    const char *const xr[1] = { (const char *)x }; \
    group_run run; \
    run.first = run.end = 0; \
    const strip s = { w, n, packed, split, &run }; \
    const int nb = w->cols / QK; \
    acc[0][0] = vf_zero(); \
    for (int b = 0; b < nb; b += UNPACK_##type) { \
        tblk t[UNPACK_##type]; \
        fetch(w, n, b, packed, bytes, per, 1); \
        unpack_##type(s, b, t); \
        for (int i = 0; i < UNPACK_##type; i++) dots1_##kind(wide, xr, (size_t)(b + i) * KR_XSIZE(wide), t + i, acc); \
    } \
    vf_store(y, acc[0][0]); \
} \
INL void rows_of_##type(const int packed, const kr_weight *w, int n0, int n1, const kr_xblk *x, size_t xs, int m, float *y, size_t ldy, void *tile, int wide) { \
    const int nb = w->cols / QK, kb = tile_blocks(nb, UNPACK_##type); \
    int n = n0; \
    if (m == 1 && SPLITS(KR_##type) && (size_t)nb * KR_XSIZE(wide) <= KR_TILE_BYTES) { \
        if (wide) even_odd(x, nb, 1, tile); else even_odd(x, nb, 0, tile); \
        if (wide) for (; n + VL <= n1; n += VL) gemv_##type(1, SPLITS(KR_##type), packed, w, n, tile, y + n); \
        else for (; n + VL <= n1; n += VL) gemv_##type(0, SPLITS(KR_##type), packed, w, n, tile, y + n); \
    } else if (m == 1 && wide) { for (; n + VL <= n1; n += VL) gemv_##type(1, 0, packed, w, n, x, y + n); } \
    else if (m == 1) { for (; n + VL <= n1; n += VL) gemv_##type(0, 0, packed, w, n, x, y + n); } \
    else for (int two; n + VL <= n1; n += two ? 2 * VL : VL) { \
        tblk *t0 = tile, *t1 = t0 + KB_MOST; \
        group_run run[2]; \
        run[0].first = run[0].end = run[1].first = run[1].end = 0; \
        two = n + 2 * VL <= n1; \
        for (int b = 0; b < nb; b += kb) { \
            const int k = nb - b < kb ? nb - b : kb; \
            for (int v = 0; v <= two; v++) { \
                const strip s = { w, n + v * VL, packed, 0, run + v }; \
                for (int i = 0; i < k; i += UNPACK_##type) { \
                    if (m <= AHEAD_ROWS) fetch(w, n + v * VL, b + i, packed, bytes, per, 1 + two); \
                    unpack_##type(s, b + i, (v ? t1 : t0) + i); \
                } \
            } \
            rows_##kind(wide, two, m, xat((const char *)x, (size_t)b * KR_XSIZE(wide)), xs, t0, two ? t1 : t0, k, y + n, ldy, b == 0); \
        } \
    } \
    if (n < n1) for (int r = 0; r < m; r++) kr_dot_rows(w, n, n1, xat((const char *)x, (size_t)r * xs), y + (size_t)r * ldy, wide); \
} \
static KT void mat_##type(const kr_weight *w, int n0, int n1, const kr_xblk *x, size_t xs, int m, float *y, size_t ldy, void *tile, int wide) { \
    if (w->packed) rows_of_##type(1, w, n0, n1, x, xs, m, y, ldy, tile, wide); \
    else rows_of_##type(0, w, n0, n1, x, xs, m, y, ldy, tile, wide); \
}
KR_QUANT_TYPES(X)
#undef X

static KT void matmul(const kr_weight *w, int n0, int n1, const kr_xblk *x, size_t xs, int m, float *y, size_t ldy, void *tile, int wide) {
    switch (w->type) {
#define X(t, kind, off, bytes, per) case KR_##t: mat_##t(w, n0, n1, x, xs, m, y, ldy, tile, wide); break;
    KR_QUANT_TYPES(X)
#undef X
    }
}

/* ---- float weights and attention: MR rows of A against a tile B[k][32] ---- */
#define NVF (32 / VL)

/* c[r][0..32) += sum over k of a[r][k] * B[k], k ascending; B's rows are ldb floats apart. */
INL void fmicro(const int MR, const int NV, const float *a, size_t lda, const float *b, size_t ldb, int nk, float *c, size_t ldc, int first) {
    vf acc[MRF][NVF];
UNROLL
    for (int r = 0; r < MR; r++)
UNROLL
        for (int v = 0; v < NV; v++) acc[r][v] = first ? vf_zero() : vf_load(c + (size_t)r * ldc + VL * v);
    for (int k = 0; k < nk; k++) {
        vf av[MRF];
UNROLL
        for (int r = 0; r < MR; r++) av[r] = vf_set(a[(size_t)r * lda + k]);
UNROLL
        for (int v = 0; v < NV; v++) {
            vf bv = vf_load(b + (size_t)k * ldb + VL * v);
UNROLL
            for (int r = 0; r < MR; r++) acc[r][v] = vf_fma(av[r], bv, acc[r][v]);
        }
    }
UNROLL
    for (int r = 0; r < MR; r++)
UNROLL
        for (int v = 0; v < NV; v++) vf_store(c + (size_t)r * ldc + VL * v, acc[r][v]);
}

static KT void fgemm32(int m, const float *a, size_t lda, const float *b, size_t ldb, int nk, float *c, size_t ldc, int first) {
    for (; m >= MRF; m -= MRF, a += MRF * lda, c += MRF * ldc) fmicro(MRF, NVF, a, lda, b, ldb, nk, c, ldc, first);
    for (; m > 0; m--, a += lda, c += ldc) fmicro(1, NVF, a, lda, b, ldb, nk, c, ldc, first);
}

#define FK 64          /* of K in a float tile: 8 KB */
/* A tile of 32 weight rows, transposed: B[k][32]. */
static KT void unpackf(const kr_weight *w, int n, int k0, int nk, float *t) {
    const size_t size = w->type == KR_F32 ? 4 : 2;
    const uint8_t *p = w->data + (size_t)n * w->stride + (size_t)k0 * size;
    int k = 0;
#ifndef KR_SCALAR_UNPACK
    for (; (size_t)(nk - k) * size >= 16; k += 16 / (int)size)
        for (int v = 0; v < NVF; v++) {
            float *o = t + 32 * k + VL * v;
            vb q[4];
            vb_load16(p + (size_t)(v * VL) * w->stride + (size_t)k * size, w->stride, q);
            UNROLL
            for (int j = 0; j < 4; j++) {
                if (w->type == KR_F32) vf_store(o + 32 * j, vb_float(q[j]));
                else if (w->type == KR_F16) { vf_store(o + 64 * j, vb_half_lo(q[j])); vf_store(o + 64 * j + 32, vb_half_hi(q[j])); }
                else { vf_store(o + 64 * j, vb_float(vd_shl(q[j], 16))); vf_store(o + 64 * j + 32, vb_float(vb_and(q[j], vd_set(0xffff0000)))); }
            }
        }
#endif
    for (; k < nk; k++) for (int i = 0; i < 32; i++) t[32 * k + i] = kr_float(w->type, p + (size_t)i * w->stride, (size_t)k);
}
static KT void matmulf(const kr_weight *w, int n0, int n1, const float *x, size_t xs, int m, float *y, size_t ldy, void *tile) {
    int n = n0;
    for (; n + 32 <= n1; n += 32)
        for (int k = 0; k < w->cols; k += FK) {
            int nk = w->cols - k < FK ? w->cols - k : FK;
            unpackf(w, n, k, nk, tile);
            fgemm32(m, x + k, xs, tile, 32, nk, y + n, ldy, k == 0);
        }
    if (n < n1) for (int r = 0; r < m; r++) kr_dot_rows_float(w, n, n1, x + (size_t)r * xs, y + (size_t)r * ldy);
}
