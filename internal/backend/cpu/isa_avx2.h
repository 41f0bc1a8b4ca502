/* isa_avx2.h - eight lanes. With KR_VNNI the dot product is AVX-VNNI's VPDPBUSD instead of VPMADDUBSW + VPMADDWD. */
#include <immintrin.h>
#ifdef KR_VNNI
#define KT __attribute__((target("avx2,fma,f16c,avxvnni")))
#else
#define KT __attribute__((target("avx2,fma,f16c")))
#endif
#define INL static inline __attribute__((always_inline)) KT
#define VL 8
#define MRI 3          /* rows of the integer micro-kernel: 3 x 2 vectors of 16 and of 32 bit, 16 registers in all */
#define MRF 3          /* rows of the float micro-kernel over 32 columns */

typedef __m256 vf;
typedef __m256i vi;    /* 8 x int32 */
typedef __m256i vb;    /* 8 rows x 4 bytes */

INL vf vf_zero(void) { return _mm256_setzero_ps(); }
INL vf vf_set(float x) { return _mm256_set1_ps(x); }
INL vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
INL void vf_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
INL vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
INL vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
INL vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
INL vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
INL vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
INL vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
INL vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INL vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
INL vf vf_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INL vi vf_int(vf a) { return _mm256_cvtps_epi32(a); }
INL vf vf_zero_below(vf v, vf x, float lo) { return _mm256_and_ps(v, _mm256_cmp_ps(x, _mm256_set1_ps(lo), _CMP_NLT_UQ)); }
INL vf vi_float(vi a) { return _mm256_cvtepi32_ps(a); }
INL vf vi_pow2(vi n) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23)); }
INL vi vi_zero(void) { return _mm256_setzero_si256(); }
INL vi vi_set(int32_t x) { return _mm256_set1_epi32(x); }
INL vi vi_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
INL vi vi_sub(vi a, vi b) { return _mm256_sub_epi32(a, b); }
#define vi_shl(a, n) _mm256_slli_epi32(a, n)
#define vi_sra(a, n) _mm256_srai_epi32(a, n)
INL int32_t vi_sum(vi a) {
    __m128i t = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(t, _mm_shuffle_epi32(t, 0xb1)));
}
INL float vf_most(vf a) {
    __m128 t = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    t = _mm_max_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_max_ss(t, _mm_shuffle_ps(t, t, 1)));
}
INL vf vf_loadh(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
INL void vf_storeh(uint16_t *p, vf a) { _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT)); }
INL vf vf_loadb(const uint16_t *p) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16)); }
/* signed bytes of eight int32 within ±127 */
INL void vi_store8(int8_t *p, vi a) {
    __m256i t = _mm256_packs_epi32(a, a);
    t = _mm256_permute4x64_epi64(_mm256_packs_epi16(t, t), 0x08);
    t = _mm256_shuffle_epi32(t, 0xd8);
    _mm_storel_epi64((__m128i *)p, _mm_shuffle_epi32(_mm_unpacklo_epi32(_mm256_castsi256_si128(t), _mm_srli_si128(_mm256_castsi256_si128(t), 8)), 0xd8));
}
INL vb vb_bcast4(const int8_t *p) { int32_t v; memcpy(&v, p, 4); return _mm256_set1_epi32(v); }

/* ---- bytes ---- */
INL vb vb_load(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
INL vb vb_set(int x) { return _mm256_set1_epi8((char)x); }
INL vb vb_and(vb a, vb b) { return _mm256_and_si256(a, b); }
INL vb vb_or(vb a, vb b) { return _mm256_or_si256(a, b); }
INL vb vb_xor(vb a, vb b) { return _mm256_xor_si256(a, b); }
#define vb_shr(a, n) _mm256_srli_epi16(a, n)     /* 16-bit shifts: mask what crosses bytes */
#define vb_shl(a, n) _mm256_slli_epi16(a, n)
INL vb vb_lut16(const int8_t *tab, vb i) { return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)tab)), i); }
INL vb vd_set(uint32_t x) { return _mm256_set1_epi32((int)x); }
#define vd_shr(a, n) _mm256_srli_epi32(a, n)
#define vd_shl(a, n) _mm256_slli_epi32(a, n)
INL vf vb_float(vb a) { return _mm256_castsi256_ps(a); }
/* 16 bytes of each row: a[i] has rows i, i+4 */
INL void vb_rows16(const uint8_t *p, size_t stride, vb a[4]) {
    for (int i = 0; i < 4; i++)
        a[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(p + (size_t)i * stride))),
                                       _mm_loadu_si128((const __m128i *)(p + (size_t)(i + 4) * stride)), 1);
}
/* bytes 2h and 2h+1 of each dword, each twice */
INL vb vb_twice(vb a, int h) {
    const __m128i p = _mm_setr_epi32(0x01010000, 0x05050404, 0x09090808, 0x0d0d0c0c);
    return _mm256_shuffle_epi8(a, _mm256_broadcastsi128_si256(_mm_add_epi8(p, _mm_set1_epi8((char)(2 * h)))));
}
/* out[j], row r = dword j of the 16 bytes at p + r*stride */
INL void vb_load16(const uint8_t *p, size_t stride, vb out[4]) {
    vb a[4];
    vb_rows16(p, stride, a);
    __m256i b0 = _mm256_unpacklo_epi32(a[0], a[1]), b1 = _mm256_unpackhi_epi32(a[0], a[1]);
    __m256i b2 = _mm256_unpacklo_epi32(a[2], a[3]), b3 = _mm256_unpackhi_epi32(a[2], a[3]);
    out[0] = _mm256_unpacklo_epi64(b0, b2); out[1] = _mm256_unpackhi_epi64(b0, b2);
    out[2] = _mm256_unpacklo_epi64(b1, b3); out[3] = _mm256_unpackhi_epi64(b1, b3);
}
/* row r = dword 0, or 3, of the 16 bytes at p + r*stride: fewer shuffles than dword by dword */
INL vb vb_head(const uint8_t *p, size_t stride) {
    vb a[4];
    vb_rows16(p, stride, a);
    return _mm256_unpacklo_epi64(_mm256_unpacklo_epi32(a[0], a[1]), _mm256_unpacklo_epi32(a[2], a[3]));
}
INL vb vb_tail(const uint8_t *p, size_t stride) {
    vb a[4];
    vb_rows16(p, stride, a);
    return _mm256_unpackhi_epi64(_mm256_unpackhi_epi32(a[0], a[1]), _mm256_unpackhi_epi32(a[2], a[3]));
}
/* row r = the dword at p + r*stride */
INL vb vb_load4(const uint8_t *p, size_t s) {
#define G(i) (int)kr_u32(p + (size_t)(i) * s)
    __m128i a = _mm_insert_epi32(_mm_insert_epi32(_mm_insert_epi32(_mm_cvtsi32_si128(G(0)), G(1), 1), G(2), 2), G(3), 3);
    __m128i b = _mm_insert_epi32(_mm_insert_epi32(_mm_insert_epi32(_mm_cvtsi32_si128(G(4)), G(5), 1), G(6), 2), G(7), 3);
#undef G
    return _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
}
/* row r = the half float at p + r*stride */
INL vf vf_gatherh(const uint8_t *p, size_t s) {
#define G(i) (short)kr_u16(p + (size_t)(i) * s)
    __m128i a = _mm_setr_epi16(G(0), G(1), G(2), G(3), G(4), G(5), G(6), G(7));
#undef G
    return _mm256_cvtph_ps(a);
}
INL vf vf_gatherb(const uint8_t *p, size_t s) {
#define G(i) (int)((uint32_t)kr_u16(p + (size_t)(i) * s) << 16)
    __m256i a = _mm256_setr_epi32(G(0), G(1), G(2), G(3), G(4), G(5), G(6), G(7));
#undef G
    return _mm256_castsi256_ps(a);
}
INL vf vb_half_lo(vb a) {      /* the low 16 bits of each dword as half floats */
    __m256i t = _mm256_and_si256(a, _mm256_set1_epi32(0xffff));
    t = _mm256_permute4x64_epi64(_mm256_packus_epi32(t, t), 0x08);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(t));
}
INL vf vb_half_hi(vb a) {
    __m256i t = _mm256_srli_epi32(a, 16);
    t = _mm256_permute4x64_epi64(_mm256_packus_epi32(t, t), 0x08);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(t));
}
INL vf vb_byte(vb a, int i) { return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(a, 8 * i), _mm256_set1_epi32(255))); }
INL vf vb_sbyte(vb a, int i) { return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(a, 24 - 8 * i), 24)); }
/* bits [4j, 4j+4) of each dword to bit 0 of its four bytes, times v */
INL vb vb_spread4(vb a, int j, int v) {
    const __m256i pick = _mm256_set1_epi32(0x01010101 * (j / 2));
    const __m256i lane = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404, 0x08080808, 0x0c0c0c0c);
    const __m256i bit = _mm256_set1_epi32((int)(j & 1 ? 0x80402010u : 0x08040201u));
    __m256i t = _mm256_and_si256(_mm256_shuffle_epi8(a, _mm256_add_epi8(pick, lane)), bit);
    return _mm256_and_si256(_mm256_cmpeq_epi8(t, bit), _mm256_set1_epi8((char)v));
}

/* ---- integer dot products: eight steps of 4 weights x 8 rows ---- */
#ifdef KR_VNNI
#define KR_S8_FLIP 1           /* 8-bit codes stay unsigned */
INL void dot_step(const int grp, const int s8, const int j, vi *s16, vi *s, vb w, vb a) {
    (void)grp; (void)s8; (void)j; (void)s16;
    *s = _mm256_dpbusd_avx_epi32(*s, w, a);
}
#else
#define KR_S8_FLIP 0           /* 8-bit codes are stored signed */
INL void dot_step(const int grp, const int s8, const int j, vi *s16, vi *s, vb w, vb a) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i p = s8 ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w)) : _mm256_maddubs_epi16(w, a);
    *s16 = j % grp ? _mm256_add_epi16(*s16, p) : p;
    __asm__("" : "+x"(*s16));      /* compilers would reorder the sum into a tree, which needs more registers than there are */
    if (j % grp == grp - 1) *s = _mm256_add_epi32(*s, _mm256_madd_epi16(*s16, ones));
}
#endif
