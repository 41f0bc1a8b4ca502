/* attn_impl.h - softmax(scale * q.K) V over paged keys and values.
 *
 * Blocks of 32 keys are taken by absolute position. A block's keys and values become 16-bit codes with float scales per
 * key, queries and softmax weights too, so that dot products are exact integers; what is float goes key by key or block
 * by block in one order. Within a segment of KR_SEG positions the softmax runs online; segments start afresh and are
 * merged in order, so that they may be computed apart. Rows share each block's codes, but no row's arithmetic depends
 * on another's.
 *
 * Few rows (decode): lanes are keys, then head elements. Many rows (prefill): lanes are rows. The bits are the same. */
#define LOW -3e38f             /* below every score */
#define ROWS_FEW 12            /* up to here lanes are keys */

typedef struct {
    int nq, ld, few;           /* rows x heads, padded to 16 */
    int32_t *kt, *vt, *q, *p;  /* kt[pad/2][32], vt[16][pad], q[pad/2][ld], p[groups of V][16][ld]: pairs */
    float *ks, *vs;            /* [groups][32] */
    float *s, *ps, *qs;        /* few: s[nq][32], else s[32][ld]; ps[groups of V][ld]; qs[ld] */
    float *m, *l, *o;          /* one segment; few: o[nq][pad], else o[pad][ld] */
    float *mm, *ll, *oo;       /* all segments so far */
    float *t;                  /* 2*pad + 64 */
} attn;

/* x = H x / sqrt(n) for each n of x's len, H the Hadamard matrix; n is a power of two. */
static KT void hadamard(float *x, int len, int n) {
    const float norm = 1 / sqrtf((float)n);
    for (int b = 0; b < len; b += n)
        for (int h = 1; h < n; h *= 2)
            for (int i = b; i < b + n; i += 2 * h)
                for (int j = i; j < i + h; j++) { float u = x[j], v = x[j + h]; x[j] = u + v; x[j + h] = u - v; }
    for (int i = 0; i < len; i++) x[i] *= norm;
}

/* ---- storage ---- */
static KT void kv_store(const kr_kv *y, uint8_t *unit, int slot, int value, const float *x, float *t) {
    const int pad = y->pad;
    uint8_t *u = unit + (value ? y->v : 0);
    uint16_t *sc = (uint16_t *)(void *)(unit + (value ? y->vs : y->ks)) + slot;
    memcpy(t, x, 4 * (size_t)y->dim);
    for (int i = y->dim; i < pad; i++) t[i] = 0;
    if (y->type == KR_KV_Q4) hadamard(t, pad, y->rot);
    for (int i = 0; i < pad; i += VL) vf_store(t + i, vf_max(vf_min(vf_load(t + i), vf_set(65504)), vf_set(-65504)));
    if (y->type == KR_KV_F16) {
        uint16_t *h = (uint16_t *)(void *)(t + pad), mx = 0, *p = (uint16_t *)(void *)u;
        for (int i = 0; i < pad; i += VL) vf_storeh(h + i, vf_load(t + i));
        for (int i = 0; i < pad; i++) { uint16_t a = h[i] & 0x7fff; mx = a > mx ? a : mx; }
        *sc = mx;
        if (value) memcpy(p + slot * pad, h, 2 * (size_t)pad);
        else for (int i = 0; i < pad; i++) p[i * 32 + slot] = h[i];
    } else if (y->type == KR_KV_Q8) {
        kr_xblk b;
        for (int g = 0; g < pad; g += 32) {
            quantize(t + g, 32, &b);
            sc[g] = kr_to_f16(b.d);
            if (value) memcpy(u + slot * pad + g, b.q, 32);
            else for (int i = 0; i < 32; i++) u[(g + i) * 32 + slot] = (uint8_t)b.q[i];
        }
    } else for (int g = 0; g < pad; g += 32) {      /* code = x/d + 8, the largest |x| at 0 */
        float mx = 0, top = 0;
        for (int i = 0; i < 32; i++) { float a = fabsf(t[g + i]); if (a > mx) { mx = a; top = t[g + i]; } }
        sc[g] = kr_to_f16(top * -0.125f);
        const float d = kr_f16(sc[g]), inv = d != 0 ? 1 / d : 0;
        uint8_t c[32];
        for (int i = 0; i < 32; i++) { float a = t[g + i] * inv + 8.5f; c[i] = (uint8_t)(a < 0 ? 0 : a > 15 ? 15 : a); }
        for (int i = 0; i < 16; i++)
            if (value) u[(slot * pad + g) / 2 + i] = (uint8_t)(c[i] | c[i + 16] << 4);
            else u[(g / 2 + i) * 32 + slot] = (uint8_t)(c[2 * i] | c[2 * i + 1] << 4);
    }
}
static KT void kv_write(const kr_kv *y, uint8_t *unit, int slot, const float *k, const float *v, float *t) {
    kv_store(y, unit, slot, 0, k, t);
    kv_store(y, unit, slot, 1, v, t);
}

/* Codes and scales of a block whose first n keys are there; the others' values get scale 0. The next block is fetched
 * line by line meanwhile: it lies elsewhere, where no hardware prefetcher follows. */
#define FETCH(bytes) do { __builtin_prefetch(next, 0, 2); next += (bytes); } while (0)
static KT void unpack_kv(const kr_kv *y, const uint8_t *u, const uint8_t *next, int n, const attn *w) {
    const int pad = y->pad, half = pad / 2, np = (n + 1) / 2;
    const uint16_t *ksc = (const uint16_t *)(const void *)(u + y->ks), *vsc = (const uint16_t *)(const void *)(u + y->vs);
    const uint8_t *v8 = u + y->v;
    for (size_t i = y->ks; i < y->unit; i += 64) __builtin_prefetch(next + i, 0, 2);
    for (int i = 0; i < 32 * y->groups; i += VL) { vf_store(w->ks + i, vf_loadh(ksc + i)); vf_store(w->vs + i, vf_loadh(vsc + i)); }
    for (int g = 0; g < y->groups; g++) for (int k = n; k < 32; k++) w->vs[32 * g + k] = 0;
    if (y->type == KR_KV_F16) {                     /* scales are the largest |x| */
        const uint16_t *k = (const uint16_t *)(const void *)u, *v = (const uint16_t *)(const void *)v8;
        float ki[32], vi_[32];
        for (int i = 0; i < 32; i++) {
            ki[i] = w->ks[i] > 0 ? (float)KR_PAIR / w->ks[i] : 0;
            vi_[i] = w->vs[i] > 0 ? (float)KR_PAIR / w->vs[i] : 0;
        }
        for (int c = 0; c < 32; c += VL) {
            vf inv = vf_load(ki + c);
            vf_store(w->ks + c, vf_mul(vf_load(w->ks + c), vf_set(1.0f / KR_PAIR)));
            vf_store(w->vs + c, vf_mul(vf_load(w->vs + c), vf_set(1.0f / KR_PAIR)));
            for (int p = 0; p < half; p++) {
                FETCH(4 * VL);
                vi_store(w->kt + 32 * p + c, vi_pair(vf_int(vf_mul(vf_loadh(k + 64 * p + c), inv)), vf_int(vf_mul(vf_loadh(k + 64 * p + 32 + c), inv))));
            }
        }
        for (int p = 0; p < np; p++) {
            const vf i0 = vf_set(vi_[2 * p]), i1 = vf_set(vi_[2 * p + 1]);
            const uint16_t *a = v + (size_t)(2 * p) * (size_t)pad, *b = a + pad;
            int32_t *o = w->vt + (size_t)p * (size_t)pad;
            for (int d = 0; d < pad; d += VL) {
                FETCH(4 * VL);
                vi_store(o + d, vi_pair(vf_int(vf_mul(vf_loadh(a + d), i0)), vf_int(vf_mul(vf_loadh(b + d), i1))));
            }
        }
    } else if (y->type == KR_KV_Q8) {
        for (int c = 0; c < 32; c += VL)
            for (int p = 0; p < half; p++) {
                FETCH(2 * VL);
                vi_store(w->kt + 32 * p + c, vi_pair(vi_load8(u + 64 * p + c), vi_load8(u + 64 * p + 32 + c)));
            }
        for (int p = 0; p < np; p++)
            for (int d = 0; d < pad; d += VL) {
                FETCH(2 * VL);
                vi_store(w->vt + p * pad + d, vi_pair(vi_load8(v8 + 2 * p * pad + d), vi_load8(v8 + (2 * p + 1) * pad + d)));
            }
    } else {
        for (int c = 0; c < 32; c += VL)
            for (int p = 0; p < half; p++) { FETCH(VL); vi b = vi_load8(u + 32 * p + c); vi_store(w->kt + 32 * p + c, vi_pair(vi_low4(b), vi_high4(b))); }
        for (int p = 0; p < np; p++)
            for (int g = 0; g < pad; g += 32)
                for (int d = 0; d < 16; d += VL) {
                    FETCH(2 * VL);
                    vi a = vi_load8(v8 + (2 * p * pad + g) / 2 + d), b = vi_load8(v8 + ((2 * p + 1) * pad + g) / 2 + d);
                    vi_store(w->vt + p * pad + g + d, vi_pair(vi_low4(a), vi_low4(b)));
                    vi_store(w->vt + p * pad + g + 16 + d, vi_pair(vi_high4(a), vi_high4(b)));
                }
    }
}

/* Queries of one lane as codes, with their scale times a->scale. */
static KT void load_q(const struct kr_attn *a, const attn *w) {
    const kr_kv *y = a->kv;
    int32_t c[VL];
    for (int i = w->nq; i < w->ld; i++) {
        w->qs[i] = 1;
        for (int p = 0; p < y->pad / 2; p++) w->q[(size_t)p * (size_t)w->ld + (size_t)i] = 0;
    }
    for (int i = 0; i < w->nq; i++) {
        memcpy(w->t, a->q + (size_t)(i / a->group) * a->qs + (size_t)(i % a->group) * (size_t)y->dim, 4 * (size_t)y->dim);
        for (int d = y->dim; d < y->pad; d++) w->t[d] = 0;
        if (y->type == KR_KV_Q4) hadamard(w->t, y->pad, y->rot);
        vf m = vf_zero();
        for (int d = 0; d < y->pad; d += VL) m = vf_max(m, vf_abs(vf_load(w->t + d)));
        float mx = vf_most(m);
        if (mx < 1e-30f) mx = 0;
        const vf inv = vf_set(mx > 0 ? (float)KR_PAIR / mx : 0);
        w->qs[i] = (mx > 0 ? mx / (float)KR_PAIR : 1) * a->scale;
        for (int d = 0; d < y->pad; d += VL) {
            vi_store(c, vf_int(vf_mul(vf_load(w->t + d), inv)));
            for (int k = 0; k < VL; k += 2) w->q[(size_t)((d + k) / 2) * (size_t)w->ld + (size_t)i] = (int32_t)(((uint32_t)c[k] & 0xffff) | (uint32_t)c[k + 1] << 16);
        }
    }
}

INL float exp1(float x) {
    float t[VL];
    vf_store(t, vexp(vf_set(x)));
    return t[0];
}
INL float max32(const vf x[NVF]) {
    vf m = x[0];
    for (int v = 1; v < NVF; v++) m = vf_max(m, x[v]);
    return vf_most(m);
}

/* ---- few rows: lanes are keys, then elements ---- */
INL void few_scores(const int J, const attn *w, int i0, int g, int kstep) {
    vi c[NJ][PX];
    pair_dots(J, NVF, w->q + (size_t)(16 * g) * (size_t)w->ld + i0, (size_t)w->ld, w->kt + 512 * g, 32, 16, c);
UNROLL
    for (int j = 0; j < J; j++)
UNROLL
        for (int v = 0; v < NVF; v++) {
            float *s = w->s + 32 * (i0 + j) + VL * v;
            vf x = vi_float(c[j][v]), k = vf_load(w->ks + kstep * g + VL * v);
            vf_store(s, g ? vf_fma(x, k, vf_load(s)) : vf_mul(x, k));
        }
}
INL void few_values(const int J, const attn *w, int pad, int i0, int g, int d, int np) {
    vi c[NJ][PX];
    pair_dots(J, NVF, w->p + (size_t)(16 * g) * (size_t)w->ld + i0, (size_t)w->ld, w->vt + d, (size_t)pad, np, c);
UNROLL
    for (int j = 0; j < J; j++)
UNROLL
        for (int v = 0; v < NVF; v++) {
            float *o = w->o + (i0 + j) * pad + d + VL * v;
            vf_store(o, vf_fma(vi_float(c[j][v]), vf_set(w->ps[g * w->ld + i0 + j]), vf_load(o)));
        }
}
static KT void few_block(const struct kr_attn *a, const attn *w, int k0, int n) {
    const kr_kv *y = a->kv;
    const int pad = y->pad, G = pad / 32, kstep = y->groups > 1 ? 32 : 0, np = (n + 1) / 2;
    int i;
    for (int g = 0; g < G; g++) {
        for (i = 0; i + NJ <= w->nq; i += NJ) few_scores(NJ, w, i, g, kstep);
#if NJ > 2
        if (i + 3 == w->nq) { few_scores(3, w, i, g, kstep); i += 3; }
        if (i + 2 == w->nq) { few_scores(2, w, i, g, kstep); i += 2; }
#endif
        if (i < w->nq) few_scores(1, w, i, g, kstep);
    }
    float mx[16], f[16], c[16];
    for (i = 0; i < 16; i++) mx[i] = LOW;
    for (i = 0; i < w->nq; i++) {
        const int p = a->pos + i / a->group;
        int lo = a->window && p - a->window + 1 > k0 ? p - a->window + 1 - k0 : 0, hi = p - k0 < 31 ? p - k0 + 1 : 32;
        float *s = w->s + 32 * i;
        vf x[NVF];
        for (int v = 0; v < NVF; v++) {
            x[v] = vf_mul(vf_load(s + VL * v), vf_set(w->qs[i]));
            if (a->cap != 0) x[v] = vsoftcap(x[v], a->cap);
            vf_store(s + VL * v, x[v]);
        }
        if (lo > 0 || hi < 32) {
            for (int k = 0; k < 32; k++) if (k < lo || k >= hi) s[k] = -INFINITY;
            for (int v = 0; v < NVF; v++) x[v] = vf_load(s + VL * v);
        }
        const float top = max32(x);
        mx[i] = top > LOW ? top : LOW;
    }
    for (i = 0; i < 16; i += VL) {
        const vf x = vf_load(mx + i), m0 = vf_load(w->m + i), m = vf_max(x, m0);
        vf_store(f + i, vexp(vf_sub(x, m)));
        vf_store(c + i, vexp(vf_sub(m0, m)));
        vf_store(w->m + i, m);
    }
    for (i = 0; i < w->nq; i++) {
        vf x[NVF], sum[NV16];
        for (int v = 0; v < NVF; v++) x[v] = vexp(vf_sub(vf_load(w->s + 32 * i + VL * v), vf_set(mx[i])));
        for (int v = 0; v < NV16; v++) sum[v] = vf_add(x[v], x[v + NV16]);
        w->l[i] = fmaf(w->l[i], c[i], sum16(sum) * f[i]);
        for (int g = 0; g < y->groups; g++) {
            vf t[NVF], b[NVF];
            int16_t code[32];
            int32_t d[16];
            for (int v = 0; v < NVF; v++) { t[v] = vf_mul(x[v], vf_load(w->vs + 32 * g + VL * v)); b[v] = vf_abs(t[v]); }
            const float pm = max32(b), inv = pm < 1e-30f ? 0 : (float)KR_PAIR / pm;
            w->ps[g * w->ld + i] = pm * (1.0f / KR_PAIR) * f[i];
            for (int v = 0; v < NVF; v++) vi_store16(code + VL * v, vf_int(vf_mul(t[v], vf_set(inv))));
            memcpy(d, code, sizeof d);
            for (int k = 0; k < 16; k++) w->p[(size_t)(16 * g + k) * (size_t)w->ld + (size_t)i] = d[k];
        }
        if (c[i] != 1) for (int d = 0; d < pad; d += VL) vf_store(w->o + i * pad + d, vf_mul(vf_load(w->o + i * pad + d), vf_set(c[i])));
    }
    for (int d = 0; d < pad; d += 32) {
        const int g = y->groups > 1 ? d / 32 : 0;
        for (i = 0; i + NJ <= w->nq; i += NJ) few_values(NJ, w, pad, i, g, d, np);
#if NJ > 2
        if (i + 3 == w->nq) { few_values(3, w, pad, i, g, d, np); i += 3; }
        if (i + 2 == w->nq) { few_values(2, w, pad, i, g, d, np); i += 2; }
#endif
        if (i < w->nq) few_values(1, w, pad, i, g, d, np);
    }
}

/* ---- many rows: lanes are rows; V vectors of them from c on ---- */
INL void many_scores(const int V, const attn *w, int c, int G, int kstep) {
    const size_t ld = (size_t)w->ld;
    for (int g = 0; g < G; g++)
        for (int k = 0; k < 32; k += PJ) {
            vi t[PJ][PX];
            pair_dots(PJ, V, w->kt + 512 * g + k, 32, w->q + (size_t)(16 * g) * ld + c, ld, 16, t);
UNROLL
            for (int j = 0; j < PJ; j++)
UNROLL
                for (int v = 0; v < V; v++) {
                    float *s = w->s + (size_t)(k + j) * ld + c + VL * v;
                    vf x = vi_float(t[j][v]), ks = vf_set(w->ks[kstep * g + k + j]);
                    vf_store(s, g ? vf_fma(x, ks, vf_load(s)) : vf_mul(x, ks));
                }
        }
}
INL void many_values(const int V, const attn *w, int c, int pad, int groups, int np) {
    const size_t ld = (size_t)w->ld;
    for (int d = 0; d < pad; d += PJ) {
        const size_t g = groups > 1 ? (size_t)d / 32 : 0;
        vi t[PJ][PX];
        pair_dots(PJ, V, w->vt + d, (size_t)pad, w->p + 16 * g * ld + c, ld, np, t);
UNROLL
        for (int v = 0; v < V; v++) {
            vf ps = vf_load(w->ps + g * ld + c + VL * v);
UNROLL
            for (int j = 0; j < PJ; j++) {
                float *o = w->o + (size_t)(d + j) * ld + c + VL * v;
                vf_store(o, vf_fma(vi_float(t[j][v]), ps, vf_load(o)));
            }
        }
    }
}
/* Softmax weights of the rows [c, c+VL) as codes. */
INL void many_weights(const struct kr_attn *a, const attn *w, int c, int k0, int masked) {
    const size_t ld = (size_t)w->ld;
    const int pad = a->kv->pad;
    float *s = w->s + c;
    const vf qs = vf_load(w->qs + c);
    vf mx = vf_set(LOW);
    for (int k = 0; k < 32; k++) {
        vf x = vf_mul(vf_load(s + k * ld), qs);
        if (a->cap != 0) x = vsoftcap(x, a->cap);
        vf_store(s + k * ld, x);
        mx = vf_max(x, mx);
    }
    if (masked) {
        mx = vf_set(LOW);
        for (int k = 0; k < 32; k++) {      /* rows that see the key are contiguous */
            const int from = (k0 + k - a->pos) * a->group - c, to = a->window ? from + a->window * a->group : VL;
            for (int i = 0; i < VL; i++) if (i < from || i >= to) s[k * ld + (size_t)i] = -INFINITY;
            mx = vf_max(vf_load(s + k * ld), mx);
        }
    }
    const vf m0 = vf_load(w->m + c), m = vf_max(mx, m0), f = vexp(vf_sub(mx, m)), e = vexp(vf_sub(m0, m));
    for (int k = 0; k < 32; k++) vf_store(s + k * ld, vexp(vf_sub(vf_load(s + k * ld), mx)));
    vf sum[4];
UNROLL
    for (int i = 0; i < 4; i++) {           /* the order of sum16 */
        vf t[4];
UNROLL
        for (int j = 0; j < 4; j++) t[j] = vf_add(vf_load(s + (size_t)(i + 4 * j) * ld), vf_load(s + (size_t)(i + 4 * j + 16) * ld));
        sum[i] = vf_add(vf_add(t[0], t[2]), vf_add(t[1], t[3]));
    }
    vf_store(w->l + c, vf_fma(vf_load(w->l + c), e, vf_mul(vf_add(vf_add(sum[0], sum[2]), vf_add(sum[1], sum[3])), f)));
    vf_store(w->m + c, m);
    for (int g = 0; g < a->kv->groups; g++) {
        const float *vs = w->vs + 32 * g;
        int32_t *p = w->p + (size_t)(16 * g) * ld + c;
        vf pm = vf_zero();
        for (int k = 0; k < 32; k++) pm = vf_max(vf_mul(vf_load(s + k * ld), vf_set(fabsf(vs[k]))), pm);
        const vf inv = vf_zero_below(vf_div(vf_set((float)KR_PAIR), pm), pm, 1e-30f);
        vf_store(w->ps + (size_t)g * ld + c, vf_mul(vf_mul(pm, vf_set(1.0f / KR_PAIR)), f));
        for (int k = 0; k < 32; k += 2) {
            vf x = vf_mul(vf_load(s + k * ld), vf_set(vs[k])), z = vf_mul(vf_load(s + (k + 1) * ld), vf_set(vs[k + 1]));
            vi_store(p + (size_t)(k / 2) * ld, vi_pair(vf_int(vf_mul(x, inv)), vf_int(vf_mul(z, inv))));
        }
    }
    if (vf_any(e, 1)) for (int d = 0; d < pad; d++) vf_store(w->o + (size_t)d * ld + c, vf_mul(vf_load(w->o + (size_t)d * ld + c), e));
}
INL void many_block(const int V, const struct kr_attn *a, const attn *w, int c, int k0, int n) {
    const int pad = a->kv->pad, groups = a->kv->groups;
    const int r0 = a->pos + c / a->group, end = c + V * VL, r1 = a->pos + ((end < w->nq ? end : w->nq) - 1) / a->group;
    if (k0 > r1 || (a->window && k0 + 31 <= r0 - a->window)) return;        /* no row sees a key */
    const int masked = k0 + 31 > r0 || (a->window && k0 <= r1 - a->window);
    many_scores(V, w, c, pad / 32, groups > 1 ? 32 : 0);
    for (int v = 0; v < V; v++) many_weights(a, w, c + VL * v, k0, masked);
    many_values(V, w, c, pad, groups, (n + 1) / 2);
}

/* ---- segments ---- */
static KT void segment(const struct kr_attn *a, const attn *w, int seg) {
    const int pad = a->kv->pad, last = a->pos + a->rows - 1, from = a->window && a->pos >= a->window ? a->pos - a->window + 1 : 0;
    const int start = seg * KR_SEG < from ? from / 32 * 32 : seg * KR_SEG, end = seg * KR_SEG + KR_SEG <= last ? seg * KR_SEG + KR_SEG : last + 1;
    for (int i = 0; i < w->ld; i++) { w->m[i] = LOW; w->l[i] = 0; }
    memset(w->o, 0, 4 * (size_t)w->ld * (size_t)pad);
    for (int k0 = start; k0 < end; k0 += 32) {
        const uint8_t *u = a->arena + a->table[k0 / 32] * a->block;
        const int n = k0 + 32 <= last + 1 ? 32 : last + 1 - k0;
        unpack_kv(a->kv, u, k0 + 32 <= last ? a->arena + a->table[k0 / 32 + 1] * a->block : u, n, w);
        if (w->few) { few_block(a, w, k0, n); continue; }
        int c = 0;
        for (; c + PV * VL <= w->ld; c += PV * VL) many_block(PV, a, w, c, k0, n);
#if VL == 16
        if (c + 32 == w->ld) many_block(2, a, w, c, k0, n);
        else if (c < w->ld) many_block(1, a, w, c, k0, n);
#endif
    }
}
/* Adds a segment's (m, l, o) to (mm, ll, oo). */
static KT void merge(const struct kr_attn *a, const attn *w, const float *m, const float *l, const float *o) {
    const size_t pad = (size_t)a->kv->pad, ld = (size_t)w->ld;
    float *c0 = w->s, *c1 = w->s + ld;
    for (size_t i = 0; i < ld; i++) {
        if (!(l[i] > 0)) { c0[i] = 1; c1[i] = 0; continue; }
        const float mx = m[i] > w->mm[i] ? m[i] : w->mm[i];
        c0[i] = exp1(w->mm[i] - mx); c1[i] = exp1(m[i] - mx);
        w->ll[i] = fmaf(w->ll[i], c0[i], l[i] * c1[i]);
        w->mm[i] = mx;
    }
    if (w->few) {
        for (size_t i = 0; i < (size_t)w->nq; i++)
            for (size_t d = i * pad; d < (i + 1) * pad; d += VL) vf_store(w->oo + d, vf_fma(vf_load(w->oo + d), vf_set(c0[i]), vf_mul(vf_load(o + d), vf_set(c1[i]))));
        return;
    }
    for (size_t d = 0; d < pad; d++)
        for (size_t c = 0; c < ld; c += VL) {
            float *x = w->oo + d * ld + c;
            vf_store(x, vf_fma(vf_load(x), vf_load(c0 + c), vf_mul(vf_load(o + d * ld + c), vf_load(c1 + c))));
        }
}
static KT void finish(const struct kr_attn *a, const attn *w) {
    const kr_kv *y = a->kv;
    for (int i = 0; i < w->nq; i++) {
        const float inv = 1 / w->ll[i], *x = w->few ? w->oo + (size_t)i * (size_t)y->pad : w->oo + i;
        const size_t step = w->few ? 1 : (size_t)w->ld;
        float *o = a->o + (size_t)(i / a->group) * a->os + (size_t)(i % a->group) * (size_t)y->dim;
        for (int d = 0; d < y->pad; d++) w->t[d] = x[(size_t)d * step] * inv + 0.0f;      /* no -0 */
        if (y->type == KR_KV_Q4) hadamard(w->t, y->pad, y->rot);
        memcpy(o, w->t, 4 * (size_t)y->dim);
    }
}

static KT void layout(const struct kr_attn *a, attn *w) {
    const size_t pad = (size_t)a->kv->pad, G = (size_t)a->kv->groups;
    w->nq = a->rows * a->group;
    w->ld = KR_PAD16(w->nq);
    w->few = w->nq <= ROWS_FEW;
    const size_t ld = (size_t)w->ld;
    float *p = a->tile;
#define TAKE(x, n) do { w->x = (void *)p; p += ((n) + 15) / 16 * 16; } while (0)
    TAKE(kt, pad / 2 * 32); TAKE(vt, 16 * pad); TAKE(ks, 32 * G); TAKE(vs, 32 * G); TAKE(t, 2 * pad + 64);
    TAKE(q, pad / 2 * ld); TAKE(p, G * 16 * ld); TAKE(s, 32 * ld); TAKE(ps, G * ld); TAKE(qs, ld);
    TAKE(m, ld); TAKE(l, ld); TAKE(o, pad * ld); TAKE(mm, ld); TAKE(ll, ld); TAKE(oo, pad * ld);
#undef TAKE
}
static KT void open_sums(const struct kr_attn *a, const attn *w) {
    for (int i = 0; i < w->ld; i++) { w->mm[i] = LOW; w->ll[i] = 0; }
    memset(w->oo, 0, 4 * (size_t)w->ld * (size_t)a->kv->pad);
}

/* Segments [seg0, seg1): all of them into o, or each one's sums into part. */
static KT void attention(const struct kr_attn *a) {
    attn w;
    layout(a, &w);
    load_q(a, &w);
    if (!a->part) open_sums(a, &w);
    for (int seg = a->seg0; seg < a->seg1; seg++) {
        if (a->part) {
            w.m = a->part + (size_t)(seg - a->first) * KR_PART((size_t)w.ld, (size_t)a->kv->pad);
            w.l = w.m + w.ld; w.o = w.l + w.ld;
        }
        segment(a, &w, seg);
        if (!a->part) merge(a, &w, w.m, w.l, w.o);
    }
    if (!a->part) finish(a, &w);
}
static KT void attention_merge(const struct kr_attn *a) {
    attn w;
    layout(a, &w);
    open_sums(a, &w);
    for (int seg = a->seg0; seg < a->seg1; seg++) {
        const float *m = a->part + (size_t)(seg - a->first) * KR_PART((size_t)w.ld, (size_t)a->kv->pad), *l = m + w.ld;
        merge(a, &w, m, l, l + w.ld);
    }
    finish(a, &w);
}
