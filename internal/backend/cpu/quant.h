/* quant.h - weight storage types as matmuls see them, and the int8 form of activations.
 *
 * Every quantised type is, per 32 weights along K, unsigned codes with w = d*(code - OFF) + m, where d and m are
 * float32 per 32 weights, or per 16 where HALF is set. One rule holds in every kernel: an output is built from 0 by
 * the same float operations in the same order, block after block along K:
 *
 *     y = fma(d*xd, (float)isum, y)        isum = sum((code - OFF)*Q), an exact integer
 *     y = fma(m, xs, y)                    where the type has minima, xs = xd*sum(Q)
 *
 * where x = xd*Q: Q is of 8 bits (one term, q), or of 15 (two terms, Q = 128*q + lo).
 *
 * so a row's bits depend neither on batch size nor on tiling, thread count or instruction set. */
#ifndef KR_QUANT_H
#define KR_QUANT_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

#define QK 32

/* Numbers of internal/quant.Type. */
enum kr_type {
    KR_F32 = 1, KR_F16, KR_BF16, KR_Q4_0, KR_Q4_1, KR_Q5_0, KR_Q5_1, KR_Q8_0, KR_Q2_K, KR_Q3_K, KR_Q4_K, KR_Q5_K, KR_Q6_K,
    KR_IQ4_NL, KR_MXFP4, KR_AFF2, KR_AFF3, KR_AFF4, KR_AFF5, KR_AFF6, KR_AFF8, KR_NTYPES
};

/* Kinds of inner loop: name, ZK, GRP, S8, MIN, HALF. ZK: log2 of OFF, 0 for none (of the bias that storing 8-bit codes
 * unsigned or signed takes, for S8). GRP: how many products of pairs, code*127*2 each, add up in 16 bits. S8: codes need
 * all 8 bits. */
#define KR_KINDS(X) \
    X(B4M, 0, 8, 0, 1, 0) X(B4, 3, 8, 0, 0, 0) X(B5M, 0, 4, 0, 1, 0) X(B5, 4, 4, 0, 0, 0) X(B6M, 0, 2, 0, 1, 0) \
    X(B8, 7, 1, 1, 0, 0) X(B8M, 7, 1, 1, 1, 0) X(B2MH, 0, 4, 0, 1, 1) X(B3H, 2, 4, 0, 0, 1) X(B6H, 5, 2, 0, 0, 1)
/* Types: name, kind, OFF, bytes of a stored block, blocks of 32 in it. */
#define KR_QUANT_TYPES(X) \
    X(Q4_0, B4, 8, 18, 1) X(Q4_1, B4M, 0, 20, 1) X(Q5_0, B5, 16, 22, 1) X(Q5_1, B5M, 0, 24, 1) X(Q8_0, B8, 128, 34, 1) \
    X(Q2_K, B2MH, 0, 84, 8) X(Q3_K, B3H, 4, 110, 8) X(Q4_K, B4M, 0, 144, 8) X(Q5_K, B5M, 0, 176, 8) X(Q6_K, B6H, 32, 210, 8) \
    X(IQ4_NL, B8, 128, 18, 1) X(MXFP4, B5, 16, 17, 1) \
    X(AFF2, B4M, 0, 8, 1) X(AFF3, B4M, 0, 12, 1) X(AFF4, B4M, 0, 16, 1) X(AFF5, B5M, 0, 20, 1) X(AFF6, B6M, 0, 24, 1) X(AFF8, B8M, 0, 32, 1)

/* Activations: 32 values, x = d*Q, in one term of 8 bits (kr_xblk) or two (kr_xblk2). */
typedef struct {
    float d;
    float s, sh[2];           /* d * sum(Q), and of each half */
    int32_t z, zh[2], pad;    /* -sum(Q) */
    int8_t q[QK];             /* within ±127 */
} kr_xblk;
typedef struct {
    kr_xblk x;
    int8_t lo[QK];            /* Q = 128*q + lo, lo within ±64 */
} kr_xblk2;
#define KR_XSIZE(wide) ((wide) ? sizeof(kr_xblk2) : sizeof(kr_xblk))

/* Rows of a packed strip. */
#define KR_STRIP 16

/* A weight matrix as the file stores it. */
typedef struct {
    const uint8_t *data;
    const uint8_t *packed;             /* the same bytes as pack.c orders them, or NULL */
    const uint8_t *scales, *biases;    /* affine types: cols/group per row */
    int32_t type, rows, cols;
    int32_t group, aux;                /* weights per scale; F32, F16 or BF16 */
    size_t stride, astride;            /* bytes of a row of data, of scales */
} kr_weight;

static inline float kr_f16(uint16_t h) {
    uint32_t s = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 1023, u;
    if (e == 31) u = s | 0x7f800000 | m << 13 | (m ? 0x400000 : 0);
    else if (e) u = s | (e + 112) << 23 | m << 13;
    else { float f = (float)(int32_t)m * 0x1p-24f; memcpy(&u, &f, 4); u |= s; }
    float f; memcpy(&f, &u, 4); return f;
}
static inline uint16_t kr_to_f16(float f) {          /* round to nearest even */
    uint32_t u; memcpy(&u, &f, 4);
    uint32_t s = u >> 16 & 0x8000, a = u & 0x7fffffff;
    if (a > 0x7f800000) return (uint16_t)(s | 0x7c00 | 0x200 | (a >> 13 & 0x3ff));
    if (a >= 0x477ff000) return (uint16_t)(s | 0x7c00);
    if (a < 0x38800000) {                             /* subnormal: let the adder round */
        float x; memcpy(&x, &a, 4); x += 0.5f; memcpy(&a, &x, 4);
        return (uint16_t)(s | (a - 0x3f000000));
    }
    a += 0xfff + (a >> 13 & 1);
    return (uint16_t)(s | (a - 0x38000000) >> 13);
}
static inline float kr_bf16(uint16_t h) { uint32_t u = (uint32_t)h << 16; float f; memcpy(&f, &u, 4); return f; }
static inline uint16_t kr_u16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static inline uint32_t kr_u32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline float kr_float(int type, const uint8_t *p, size_t i) {
    if (type == KR_F32) { float f; memcpy(&f, p + 4 * i, 4); return f; }
    uint16_t v = kr_u16(p + 2 * i);
    return type == KR_F16 ? kr_f16(v) : kr_bf16(v);
}

/* 2^(e-128): the scale of doubled MXFP4 values (OCP Microscaling, E8M0). */
static inline float kr_e8m0_half(uint8_t e) {
    uint32_t u = e < 2 ? 0x200000u << e : (uint32_t)(e - 1) << 23;
    float f; memcpy(&f, &u, 4); return f;
}
extern const int8_t kr_iq4nl[16];
extern const int8_t kr_mxfp4[16];      /* doubled */

/* Per type: blocks of 32 that one stored block holds, its bytes, and the traits above. */
typedef struct { const char *name; int per, bytes, off, s8, min, half; } kr_traits;
extern const kr_traits kr_types[KR_NTYPES];

/* The obvious decoding of 32 weights: block b (of 32) of row r. d[1], m[1] only for HALF types. */
void kr_decode(const kr_weight *w, size_t r, size_t b, uint8_t code[QK], float d[2], float m[2]);
/* Columns [k, k+n) of row r as float32; k is a multiple of 32. */
void kr_dequant(const kr_weight *w, size_t r, int k, int n, float *out);
/* Row r as float32. */
void kr_dequant_row(const kr_weight *w, size_t r, float *out);
/* The rule above, said plainly, for rows [n0,n1) and one x. Also what kernels use for rows that fill no vector. */
void kr_dot_rows(const kr_weight *w, int n0, int n1, const kr_xblk *x, float *y, int wide);
/* pack.c: rows [16*strip, 16*strip+16) as 16*stride bytes, those that w lacks as zeros. */
void kr_pack(const kr_weight *w, int strip, uint8_t *out);
/* Row r of packed weights as it is stored: stride bytes. */
void kr_packed_row(const kr_weight *w, size_t r, uint8_t *out);
/* The same for F32, F16 and BF16 weights: y = fma(w[k], x[k], y) for k = 0, 1, … */
void kr_dot_rows_float(const kr_weight *w, int n0, int n1, const float *x, float *y);
#endif
