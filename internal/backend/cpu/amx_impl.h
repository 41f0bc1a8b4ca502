/* amx_impl.h - matmuls of many rows by AMX tiles; included after mat_impl.h for AVX-512.
 *
 * The weights of a tblk, 8 vectors of 16 rows x 4 codes, are a B tile as they lie; 16 rows of X, 32 bytes of each, are an A
 * tile in place. A tile instruction per term gives the sums of 16 x 16 outputs over a block or half. They go through L1 to
 * the vector units, whose float operations are those of block_dots: the bits are the same. While one block's sums are
 * converted, the tiles compute the next one's. Offsets are taken from the codes, not from the sums.
 *
 * On Sapphire Rapids TDP and TILESTORED of a tile take 16 cycles each, one after the other, and for some 500 cycles after
 * any tile instruction 512-bit float operations and shifts have one port: five per 16 outputs, 80 cycles per block of two
 * terms, are what remains. */

/* Fewer rows than this are quicker by VPDPBUSD: bench/results/kernels-2026-11-30.md. */
#define AMX_ROWS(wide) ((wide) ? 16 : 32)
/* Unpacked blocks: strips x blocks along K, in L2. A row group's part of X and the sums stay in L1. */
#define AMX_TBLKS 144
#define AMX_SUMS 2048          /* bytes of sums of one block or half: 16x16 of the first term, then of the second */

_Static_assert(AMX_TBLKS * sizeof(tblk) + 4 * AMX_SUMS <= KR_TILE_BYTES, "tile");

#define TILE_LOAD(n, p, at, stride) __asm__ volatile("tileloadd %c2(%0,%1,1), %%tmm" #n :: "r"(p), "r"(stride), "i"(at) : "memory")
#define TILE_STORE(n, p, at, stride) __asm__ volatile("tilestored %%tmm" #n ", %c2(%0,%1,1)" :: "r"(p), "r"(stride), "i"(at) : "memory")
#define TILE_DOTS(c, a, b) do { \
    __asm__ volatile("tilezero %%tmm" #c ::: "memory"); \
    if (min) __asm__ volatile("tdpbsud %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::: "memory"); \
    else __asm__ volatile("tdpbssd %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::: "memory"); } while (0)
/* Compilers keep every multiple of a stride that they can see in a register of its own, and have too few. */
#define HIDE(v) __asm__("" : "+r"(v))

/* Tiles 0, 1: sums; 2, 3: rows of X; 4: weights. */
INL void amx_open(int rows, int half) {
    struct { uint8_t palette, start, pad[14]; uint16_t bytes[16]; uint8_t rows[16]; } c = { .palette = 1 };
    for (int i = 0; i < 5; i++) {
        c.bytes[i] = i == 2 || i == 3 ? (half ? 16 : 32) : 64;
        c.rows[i] = (uint8_t)(i < 4 ? rows : half ? 4 : 8);
    }
    __asm__ volatile("ldtilecfg %0" :: "m"(c) : "memory");
}
INL void amx_close(void) { __asm__ volatile("tilerelease" ::: "memory"); }

/* The dots of half h of a block, in four parts that go between what adds the sums before. */
#define Q_AT (int)offsetof(kr_xblk2, x.q)
#define LO_AT (int)offsetof(kr_xblk2, lo)
#define AMX_DOTS0(h, x, t) do { TILE_LOAD(4, t, 256 * h, s64); TILE_LOAD(2, x, Q_AT + 16 * h, xs); TILE_DOTS(0, 2, 4); } while (0)
#define AMX_DOTS1(h, x, t) do { if (wide) { TILE_LOAD(3, x, LO_AT + 16 * h, xs); TILE_DOTS(1, 3, 4); } } while (0)
#define AMX_SUMS0(h, c) TILE_STORE(0, c, AMX_SUMS * h, s64)
#define AMX_SUMS1(h, c) do { if (wide) TILE_STORE(1, c, AMX_SUMS * h + AMX_SUMS / 2, s64); } while (0)

/* A block's sums c into the outputs of four rows. */
INL void amx_add(const int min, const int half, const int wide, const int h, const char *x, size_t xs, size_t xs3, const tblk *t, const char *c, vf acc[4]) {
    c += AMX_SUMS * h;
#define ROW(r, off) { \
    const kr_xblk *xb = xat(x, off); \
    vi s = _mm512_load_si512(c + 64 * r); \
    if (wide) s = vi_add(vi_shl(s, 7), _mm512_load_si512(c + AMX_SUMS / 2 + 64 * r)); \
    acc[r] = vf_fma(vf_mul(t->d[h], vf_set(xb->d)), vi_float(s), acc[r]); \
    if (min) acc[r] = vf_fma(t->m[h], vf_set(half ? xb->sh[h] : xb->s), acc[r]); }
    ROW(0, 0) ROW(1, xs) ROW(2, 2 * xs) ROW(3, xs3)
#undef ROW
}

/* Up to 4*Q rows of X against ns strips of nb blocks. Rows come in fours; the last four end with the last row and may
 * overlap the ones before: what is done twice is the same. */
INL void amx_micro(const int Q, const int min, const int half, const int wide, int rows, const char *x, size_t xs, const tblk *t, int ns, int nb,
                   float *y, size_t ldy, int first, char *c) {
    const size_t last = (size_t)(rows - 4);
#define QUAD(k) ((k) == Q - 1 ? last : 4u * (k))
    const char *next = x, *const end = x + (size_t)nb * KR_XSIZE(wide);
    size_t s64 = 64, xs3 = 3 * xs, at = 0;
    HIDE(s64); HIDE(xs3);
    const int size = half ? 2 * AMX_SUMS : AMX_SUMS;
    AMX_DOTS0(0, next, t); AMX_DOTS1(0, next, t); AMX_SUMS0(0, c); AMX_SUMS1(0, c);
    if (half) { AMX_DOTS0(1, next, t); AMX_DOTS1(1, next, t); AMX_SUMS0(1, c); AMX_SUMS1(1, c); }
    for (; ns; ns--, y += VL) {
        vf acc[16];
        const char *p[4];
        const size_t tail = 64 * QUAD(Q - 1);
UNROLL
        for (int k = 0; k < Q; k++) {
            float *o = y + QUAD(k) * ldy;
            p[k] = x + QUAD(k) * xs;
            HIDE(p[k]);
UNROLL
            for (int r = 0; r < 4; r++, o += ldy) { HIDE(o); acc[4 * k + r] = first ? vf_zero() : vf_load(o); }
        }
        do {
            next += KR_XSIZE(wide);
            if (next == end) next = x;
            const char *from = c + at, *const to = c + (at ^ (size_t)size);
#define ADD(h, k) if (Q > k) amx_add(min, half, wide, h, p[k], xs, xs3, t, from + (k == Q - 1 ? tail : 256u * k), acc + (Q > k ? 4 * k : 0))
            AMX_DOTS0(0, next, t + 1);
            ADD(0, 0);
            AMX_DOTS1(0, next, t + 1);
            ADD(0, 1);
            AMX_SUMS0(0, to);
            ADD(0, 2);
            AMX_SUMS1(0, to);
            ADD(0, 3);
            if (half) {
                AMX_DOTS0(1, next, t + 1);
                ADD(1, 0);
                AMX_DOTS1(1, next, t + 1);
                ADD(1, 1);
                AMX_SUMS0(1, to);
                ADD(1, 2);
                AMX_SUMS1(1, to);
                ADD(1, 3);
            }
#undef ADD
            at ^= (size_t)size;
            t++;
UNROLL
            for (int k = 0; k < Q; k++) p[k] += KR_XSIZE(wide);
        } while (p[0] != end);
UNROLL
        for (int k = 0; k < Q; k++) {
            float *o = y + QUAD(k) * ldy;
UNROLL
            for (int r = 0; r < 4; r++, o += ldy) { HIDE(o); vf_store(o, acc[4 * k + r]); }
        }
    }
#undef QUAD
}

#define X(min, half, wide) \
static KT void amx_rows_##min##half##wide(int rows, const char *x, size_t xs, const tblk *t, int ns, int nb, float *y, size_t ldy, int first, char *c) { \
    if (rows == 16) amx_micro(4, min, half, wide, 16, x, xs, t, ns, nb, y, ldy, first, c); \
    else if (rows > 12) amx_micro(4, min, half, wide, rows, x, xs, t, ns, nb, y, ldy, first, c); \
    else if (rows > 8) amx_micro(3, min, half, wide, rows, x, xs, t, ns, nb, y, ldy, first, c); \
    else if (rows > 4) amx_micro(2, min, half, wide, rows, x, xs, t, ns, nb, y, ldy, first, c); \
    else amx_micro(1, min, half, wide, 4, x, xs, t, ns, nb, y, ldy, first, c); \
}
X(0, 0, 0) X(0, 0, 1) X(0, 1, 0) X(0, 1, 1) X(1, 0, 0) X(1, 0, 1) X(1, 1, 0) X(1, 1, 1)
#undef X

#define X(k, zk, grp, s8, min, half) enum { OFF_##k = min ? 0 : 1 << zk };
KR_KINDS(X)
#undef X

/* Blocks [b, b+k) of a strip, one of `ahead` in work if what follows them is to be fetched, else of 0. Codes become
 * code - OFF, signed, where the type has an offset and no minima. */
INL void amx_unpack_from(const int packed, const kr_weight *w, int n, int b, int k, tblk *t, int ahead) {
    group_run run;
    run.first = run.end = 0;
    const strip s = { w, n, packed, 0, &run };
    switch (w->type) {
#define X(type, kind, off, bytes, per) \
    case KR_##type: \
        for (int i = 0; i < k; i += UNPACK_##type) { \
            if (ahead) fetch(w, n, b + i, packed, bytes, per, ahead); \
            unpack_##type(s, b + i, t + i); \
            for (int u = i; OFF_##kind && u < i + UNPACK_##type; u++) \
                for (int j = 0; j < 8; j++) t[u].w[j] = _mm512_sub_epi8(t[u].w[j], vb_set(OFF_##kind)); \
        } \
        break;
    KR_QUANT_TYPES(X)
#undef X
    }
}
static KT void amx_unpack(const kr_weight *w, int n, int b, int k, tblk *t, int ahead) {
    if (w->packed) amx_unpack_from(1, w, n, b, k, t, ahead); else amx_unpack_from(0, w, n, b, k, t, ahead);
}

static KT void matmul_amx(const kr_weight *w, int n0, int n1, const kr_xblk *x, size_t xs, int m, float *y, size_t ldy, void *tile, int wide) {
    if (m < AMX_ROWS(wide) || n1 - n0 < VL) { matmul(w, n0, n1, x, xs, m, y, ldy, tile, wide); return; }
    static void (*const by[])(int, const char *, size_t, const tblk *, int, int, float *, size_t, int, char *) = {
        amx_rows_000, amx_rows_001, amx_rows_010, amx_rows_011, amx_rows_100, amx_rows_101, amx_rows_110, amx_rows_111 };
    const kr_traits *tr = &kr_types[w->type];
    const int kind = 4 * tr->min + 2 * tr->half + wide, nb = w->cols / QK, kb = tile_blocks(nb, tr->per);
    tblk *t = tile;                                /* amx_micro reads, and ignores, one block beyond the last */
    char *c = (char *)(t + AMX_TBLKS);
    int n = n0, open = 0;
    for (int ns; n + VL <= n1; n += ns * VL) {
        ns = (n1 - n) / VL < AMX_TBLKS / kb ? (n1 - n) / VL : AMX_TBLKS / kb;
        for (int b = 0; b < nb; b += kb) {
            const int k = nb - b < kb ? nb - b : kb;
            for (int s = 0; s < ns; s++) amx_unpack(w, n + s * VL, b, k, t + s * k, m <= AHEAD_ROWS ? ns : 0);
            for (int r = 0, g; r < m; r += g) {        /* sixteen rows at a time, and no fewer than four */
                const int left = m - r;
                g = left >= 20 || left == 16 ? 16 : left > 16 ? 12 : left;
                if (g != open) amx_open(open = g, tr->half);
                by[kind](g, (const char *)xat((const char *)x, (size_t)r * xs + (size_t)b * KR_XSIZE(wide)), xs, t, ns, k, y + (size_t)r * ldy + n, ldy, b == 0, c);
            }
        }
    }
    amx_close();
    if (n < n1) for (int r = 0; r < m; r++) kr_dot_rows(w, n, n1, xat((const char *)x, (size_t)r * xs), y + (size_t)r * ldy, wide);
}

/* See peak_impl.h: tile products alone. */
static KT double amx_peak(void) {
    enum { STEPS = 4096, min = 0 };
    static const int8_t ones[1024] = { 1 };
    const size_t s64 = 64;
    double best = 0;
    amx_open(16, 0);
    TILE_LOAD(2, ones, 0, s64);
    TILE_LOAD(3, ones, 0, s64);
    TILE_LOAD(4, ones, 0, s64);
    for (int run = 0; run < 4; run++) {
        const double t0 = kr_now();
        for (int k = 0; k < STEPS; k++) { TILE_DOTS(0, 2, 4); TILE_DOTS(1, 3, 4); }
        const double t = kr_now() - t0, rate = t > 0 ? (double)STEPS * 2 * 16 * 16 * QK / t : 0;
        if (rate > best) best = rate;
    }
    amx_close();
    return best;
}
