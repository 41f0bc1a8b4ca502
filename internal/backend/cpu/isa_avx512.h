/* isa_avx512.h - sixteen lanes, dot products by VPDPBUSD. */
#include <immintrin.h>
#define KT __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")))
#define INL static inline __attribute__((always_inline)) KT
#define VL 16
#define MRI 6          /* 6 x 2 sums and 6 x 2 outputs in 32 registers */
#define MRF 6

typedef __m512 vf;
typedef __m512i vi;    /* 16 x int32 */
typedef __m512i vb;    /* 16 rows x 4 bytes */

INL vf vf_zero(void) { return _mm512_setzero_ps(); }
INL vf vf_set(float x) { return _mm512_set1_ps(x); }
INL vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
INL void vf_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
INL vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
INL vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
INL vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
INL vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
INL vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
INL vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
INL vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
INL vf vf_abs(vf a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
INL vf vf_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INL vi vf_int(vf a) { return _mm512_cvtps_epi32(a); }
INL vf vf_zero_below(vf v, vf x, float lo) { return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(lo), _CMP_NLT_UQ), v); }
INL vf vi_float(vi a) { return _mm512_cvtepi32_ps(a); }
INL vf vi_pow2(vi n) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23)); }
INL vi vi_zero(void) { return _mm512_setzero_si512(); }
INL vi vi_set(int32_t x) { return _mm512_set1_epi32(x); }
INL vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
INL vi vi_sub(vi a, vi b) { return _mm512_sub_epi32(a, b); }
#define vi_shl(a, n) _mm512_slli_epi32(a, (unsigned)(n))
#define vi_sra(a, n) _mm512_srai_epi32(a, (unsigned)(n))
INL int32_t vi_sum(vi a) { return _mm512_reduce_add_epi32(a); }
INL float vf_most(vf a) { return _mm512_reduce_max_ps(a); }
INL vf vf_loadh(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p)); }
INL void vf_storeh(uint16_t *p, vf a) { _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT)); }
INL void vi_store8(int8_t *p, vi a) { _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtsepi32_epi8(a)); }
INL vb vb_bcast4(const int8_t *p) { int32_t v; memcpy(&v, p, 4); return _mm512_set1_epi32(v); }

/* ---- bytes ---- */
INL vb vb_load(const uint8_t *p) { return _mm512_loadu_si512(p); }
INL vb vb_set(int x) { return _mm512_set1_epi8((char)x); }
INL vb vd_set(uint32_t x) { return _mm512_set1_epi32((int)x); }
INL vb vb_and(vb a, vb b) { return _mm512_and_si512(a, b); }
INL vb vb_or(vb a, vb b) { return _mm512_or_si512(a, b); }
INL vb vb_xor(vb a, vb b) { return _mm512_xor_si512(a, b); }
#define vb_shr(a, n) _mm512_srli_epi16(a, (unsigned)(n))    /* 16-bit shifts: mask what crosses bytes */
#define vb_shl(a, n) _mm512_slli_epi16(a, (unsigned)(n))
#define vd_shr(a, n) _mm512_srli_epi32(a, (unsigned)(n))
#define vd_shl(a, n) _mm512_slli_epi32(a, (unsigned)(n))
INL vf vb_float(vb a) { return _mm512_castsi512_ps(a); }
INL vb vb_lut16(const int8_t *tab, vb i) { return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)tab)), i); }
/* 16 bytes of each row: a[i] has rows i, i+4, i+8, i+12 */
INL void vb_rows16(const uint8_t *p, size_t stride, vb a[4]) {
#define ROW(r) _mm_loadu_si128((const __m128i *)(const void *)(p + (size_t)(r) * stride))
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        a[i] = _mm512_castsi128_si512(ROW(i));
        a[i] = _mm512_inserti32x4(a[i], ROW(i + 4), 1);
        a[i] = _mm512_inserti32x4(a[i], ROW(i + 8), 2);
        a[i] = _mm512_inserti32x4(a[i], ROW(i + 12), 3);
    }
#undef ROW
}
/* bytes 2h and 2h+1 of each dword, each twice */
INL vb vb_twice(vb a, int h) {
    const __m128i p = _mm_setr_epi32(0x01010000, 0x05050404, 0x09090808, 0x0d0d0c0c);
    return _mm512_shuffle_epi8(a, _mm512_broadcast_i32x4(_mm_add_epi8(p, _mm_set1_epi8((char)(2 * h)))));
}
/* out[j], row r = dword j of the 16 bytes at p + r*stride */
INL void vb_load16(const uint8_t *p, size_t stride, vb out[4]) {
    vb a[4];
    vb_rows16(p, stride, a);
    __m512i b0 = _mm512_unpacklo_epi32(a[0], a[1]), b1 = _mm512_unpackhi_epi32(a[0], a[1]);
    __m512i b2 = _mm512_unpacklo_epi32(a[2], a[3]), b3 = _mm512_unpackhi_epi32(a[2], a[3]);
    out[0] = _mm512_unpacklo_epi64(b0, b2); out[1] = _mm512_unpackhi_epi64(b0, b2);
    out[2] = _mm512_unpacklo_epi64(b1, b3); out[3] = _mm512_unpackhi_epi64(b1, b3);
}
/* row r = dword 0, or 3, of the 16 bytes at p + r*stride: fewer shuffles than dword by dword */
INL vb vb_head(const uint8_t *p, size_t stride) {
    vb a[4];
    vb_rows16(p, stride, a);
    return _mm512_unpacklo_epi64(_mm512_unpacklo_epi32(a[0], a[1]), _mm512_unpacklo_epi32(a[2], a[3]));
}
INL vb vb_tail(const uint8_t *p, size_t stride) {
    vb a[4];
    vb_rows16(p, stride, a);
    return _mm512_unpackhi_epi64(_mm512_unpackhi_epi32(a[0], a[1]), _mm512_unpackhi_epi32(a[2], a[3]));
}
/* row r = the dword at p + r*stride */
INL vb vb_load4(const uint8_t *p, size_t s) {
#define G(i) (int)kr_u32(p + (size_t)(i) * s)
    return _mm512_setr_epi32(G(0), G(1), G(2), G(3), G(4), G(5), G(6), G(7), G(8), G(9), G(10), G(11), G(12), G(13), G(14), G(15));
#undef G
}
INL vf vf_gatherh(const uint8_t *p, size_t s) {
#define G(i) (short)kr_u16(p + (size_t)(i) * s)
    return _mm512_cvtph_ps(_mm256_setr_epi16(G(0), G(1), G(2), G(3), G(4), G(5), G(6), G(7), G(8), G(9), G(10), G(11), G(12), G(13), G(14), G(15)));
#undef G
}
INL vf vf_gatherb(const uint8_t *p, size_t s) {
#define G(i) (short)kr_u16(p + (size_t)(i) * s)
    __m256i h = _mm256_setr_epi16(G(0), G(1), G(2), G(3), G(4), G(5), G(6), G(7), G(8), G(9), G(10), G(11), G(12), G(13), G(14), G(15));
#undef G
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
INL vf vb_half_lo(vb a) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a)); }
INL vf vb_half_hi(vb a) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(a, 16))); }
INL vf vb_byte(vb a, int i) { return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(a, (unsigned)(8 * i)), _mm512_set1_epi32(255))); }
INL vf vb_sbyte(vb a, int i) { return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(a, (unsigned)(24 - 8 * i)), 24)); }
/* bits [4j, 4j+4) of each dword to its four bytes, as v where set */
INL vb vb_spread4(vb a, int j, int v) {
    const __m512i pick = _mm512_set1_epi32(0x01010101 * (j / 2));
    const __m512i lane = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c));
    const __m512i bit = _mm512_set1_epi32((int)(j & 1 ? 0x80402010u : 0x08040201u));
    return _mm512_maskz_set1_epi8(_mm512_test_epi8_mask(_mm512_shuffle_epi8(a, _mm512_add_epi8(pick, lane)), bit), (char)v);
}

/* ---- integer dot products ---- */
#define KR_S8_FLIP 1           /* 8-bit codes stay unsigned */
INL void dot_step(const int grp, const int s8, const int j, vi *s16, vi *s, vb w, vb a) {
    (void)grp; (void)s8; (void)j; (void)s16;
    *s = _mm512_dpbusd_epi32(*s, w, a);
}
