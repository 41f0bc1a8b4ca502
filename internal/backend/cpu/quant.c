//go:build !purego

/* quant.c - the obvious decoding of every storage type. Layouts: ggml-common.h of llama.cpp, MLX's affine_quantize. */
#include "quant.h"

const int8_t kr_iq4nl[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 };
const int8_t kr_mxfp4[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };

#define X(k, zk, grp, s8, min, half) enum { S8_##k = s8, MIN_##k = min, HALF_##k = half };
KR_KINDS(X)
#undef X

const kr_traits kr_types[KR_NTYPES] = {
    [KR_F32] = { "F32", 0, 4, 0, 0, 0, 0 }, [KR_F16] = { "F16", 0, 2, 0, 0, 0, 0 }, [KR_BF16] = { "BF16", 0, 2, 0, 0, 0, 0 },
#define X(t, kind, off, bytes, per) [KR_##t] = { #t, per, bytes, off, S8_##kind, MIN_##kind, HALF_##kind },
    KR_QUANT_TYPES(X)
#undef X
};

static void scale_min_k4(int i, const uint8_t *q, int *d, int *m) {
    if (i < 4) { *d = q[i] & 63; *m = q[i + 4] & 63; }
    else { *d = (q[i + 4] & 15) | q[i - 4] >> 6 << 4; *m = q[i + 4] >> 4 | q[i] >> 6 << 4; }
}

void kr_decode(const kr_weight *w, size_t r, size_t b, uint8_t c[QK], float d[2], float m[2]) {
    const kr_traits *t = &kr_types[w->type];
    const uint8_t *p = w->data + r * w->stride + b / (size_t)t->per * (size_t)t->bytes;
    const int i = (int)(b % (size_t)t->per);
    d[1] = m[0] = m[1] = 0;
    switch (w->type) {
    case KR_Q4_0: case KR_Q4_1: case KR_IQ4_NL: case KR_MXFP4: {
        const uint8_t *q = p + (w->type == KR_Q4_1 ? 4 : w->type == KR_MXFP4 ? 1 : 2);
        for (int k = 0; k < 16; k++) { c[k] = q[k] & 15; c[k + 16] = q[k] >> 4; }
        if (w->type == KR_MXFP4) d[0] = kr_e8m0_half(p[0]); else d[0] = kr_f16(kr_u16(p));
        if (w->type == KR_Q4_1) m[0] = kr_f16(kr_u16(p + 2));
        if (w->type == KR_IQ4_NL) for (int k = 0; k < QK; k++) c[k] = (uint8_t)(kr_iq4nl[c[k]] + 128);
        if (w->type == KR_MXFP4) for (int k = 0; k < QK; k++) c[k] = (uint8_t)(kr_mxfp4[c[k]] + 16);
        return;
    }
    case KR_Q5_0: case KR_Q5_1: {
        int h = w->type == KR_Q5_1 ? 4 : 2;
        uint32_t qh = kr_u32(p + h);
        for (int k = 0; k < 16; k++) {
            c[k] = (uint8_t)((p[h + 4 + k] & 15) | (qh >> k & 1) << 4);
            c[k + 16] = (uint8_t)(p[h + 4 + k] >> 4 | (qh >> (k + 16) & 1) << 4);
        }
        d[0] = kr_f16(kr_u16(p));
        if (h == 4) m[0] = kr_f16(kr_u16(p + 2));
        return;
    }
    case KR_Q8_0:
        for (int k = 0; k < QK; k++) c[k] = p[2 + k] ^ 0x80;
        d[0] = kr_f16(kr_u16(p));
        return;
    case KR_Q2_K: {           /* scales[16], qs[64], d, dmin */
        float dd = kr_f16(kr_u16(p + 80)), dm = kr_f16(kr_u16(p + 82));
        for (int h = 0; h < 2; h++) { uint8_t s = p[2 * i + h]; d[h] = dd * (float)(s & 15); m[h] = -dm * (float)(s >> 4); }
        for (int k = 0; k < QK; k++) c[k] = p[16 + 32 * (i / 4) + k] >> 2 * (i & 3) & 3;
        return;
    }
    case KR_Q3_K: {           /* hmask[32], qs[64], scales[12], d */
        const uint8_t *s = p + 96;
        float dd = kr_f16(kr_u16(p + 108));
        for (int h = 0; h < 2; h++) {
            int j = 2 * i + h;
            int lo = j < 8 ? s[j] & 15 : s[j - 8] >> 4, hi = s[8 + j % 4] >> 2 * (j / 4) & 3;
            d[h] = dd * (float)((lo | hi << 4) - 32);
        }
        for (int k = 0; k < QK; k++) c[k] = (uint8_t)((p[32 + 32 * (i / 4) + k] >> 2 * (i & 3) & 3) | (p[k] >> i & 1) << 2);
        return;
    }
    case KR_Q4_K: case KR_Q5_K: {    /* d, dmin, scales[12], (qh[32],) qs[128] */
        int sc, mn;
        const uint8_t *q = p + (w->type == KR_Q4_K ? 16 : 48);
        scale_min_k4(i, p + 4, &sc, &mn);
        d[0] = kr_f16(kr_u16(p)) * (float)sc;
        m[0] = -kr_f16(kr_u16(p + 2)) * (float)mn;
        for (int k = 0; k < QK; k++) c[k] = q[32 * (i / 2) + k] >> 4 * (i & 1) & 15;
        if (w->type == KR_Q5_K) for (int k = 0; k < QK; k++) c[k] |= (uint8_t)((p[16 + k] >> i & 1) << 4);
        return;
    }
    case KR_Q6_K: {           /* ql[128], qh[64], scales[16], d */
        int h = i / 4, j = i & 3;
        const uint8_t *ql = p + 64 * h + 32 * (j & 1), *qh = p + 128 + 32 * h;
        float dd = kr_f16(kr_u16(p + 208));
        for (int k = 0; k < QK; k++) c[k] = (uint8_t)((ql[k] >> 4 * (j / 2) & 15) | (qh[k] >> 2 * j & 3) << 4);
        for (int k = 0; k < 2; k++) d[k] = dd * (float)(int8_t)p[192 + 2 * i + k];
        return;
    }
    default: {                /* affine: little-endian codes of `bits` bits, no padding */
        static const int bits[] = { 2, 3, 4, 5, 6, 8 };
        int n = bits[w->type - KR_AFF2];
        for (int k = 0; k < QK; k++) {
            int at = k * n, v = p[at / 8] >> at % 8;
            if (at % 8 + n > 8) v |= p[at / 8 + 1] << (8 - at % 8);
            c[k] = (uint8_t)(v & ((1 << n) - 1));
        }
        size_t g = b * QK / (size_t)w->group;
        d[0] = kr_float(w->aux, w->scales + r * w->astride, g);
        m[0] = kr_float(w->aux, w->biases + r * w->astride, g);
    }
    }
}

void kr_dequant(const kr_weight *w, size_t r, int k0, int n, float *out) {
    if (w->type <= KR_BF16) {
        const uint8_t *p = w->data + r * w->stride;
        for (int k = 0; k < n; k++) out[k] = kr_float(w->type, p, (size_t)(k0 + k));
        return;
    }
    const kr_traits *t = &kr_types[w->type];
    for (int b = k0 / QK; b < (k0 + n) / QK; b++, out += QK) {
        uint8_t c[QK]; float d[2], m[2];
        kr_decode(w, r, (size_t)b, c, d, m);
        for (int k = 0; k < QK; k++) {
            int h = t->half ? k / 16 : 0;
            float v = d[h] * (float)(c[k] - t->off);
            out[k] = t->min ? v + m[h] : v;
        }
    }
}
void kr_dequant_row(const kr_weight *w, size_t r, float *out) { kr_dequant(w, r, 0, w->cols, out); }

void kr_dot_rows(const kr_weight *w, int n0, int n1, const kr_xblk *x, float *y, int wide) {
    const kr_traits *t = &kr_types[w->type];
    for (int n = n0; n < n1; n++) {
        float a = 0;
        for (int b = 0; b < w->cols / QK; b++) {
            uint8_t c[QK]; float d[2], m[2];
            kr_decode(w, (size_t)n, (size_t)b, c, d, m);
            const kr_xblk *xb = (const kr_xblk *)(const void *)((const char *)x + (size_t)b * KR_XSIZE(wide));
            const int step = t->half ? 16 : 32;
            for (int h = 0; h < 32 / step; h++) {
                int32_t s = 0;
                for (int k = h * step; k < (h + 1) * step; k++)
                    s += (c[k] - t->off) * (wide ? 128 * xb->q[k] + ((const kr_xblk2 *)(const void *)xb)->lo[k] : xb->q[k]);
                a = fmaf(d[h] * xb->d, (float)s, a);
                if (t->min) a = fmaf(m[h], t->half ? xb->sh[h] : xb->s, a);
            }
        }
        y[n] = a;
    }
}

void kr_dot_rows_float(const kr_weight *w, int n0, int n1, const float *x, float *y) {
    for (int n = n0; n < n1; n++) {
        const uint8_t *p = w->data + (size_t)n * w->stride;
        float a = 0;
        for (int k = 0; k < w->cols; k++) a = fmaf(kr_float(w->type, p, (size_t)k), x[k], a);
        y[n] = a;
    }
}
