/* pair_impl.h - pairs of 16-bit integers: a lane is a dword that holds two. Products of codes within ±KR_PAIR add up to
 * 32 bits exactly over 32 pairs' halves, so sums of them have no order. Included after an isa_*.h. */
#define KR_PAIR 8191               /* 32 * 8191^2 < 2^31 */

#if defined(EACH)                  /* portable C */
INL vi vi_load(const int32_t *p) { vi r; memcpy(r.v, p, sizeof r.v); return r; }
INL void vi_store(int32_t *p, vi a) { memcpy(p, a.v, sizeof a.v); }
INL vi vi_load8(const uint8_t *p) { vi r; EACH r.v[i_] = (int8_t)p[i_]; return r; }
INL vi vi_pair(vi lo, vi hi) { vi r; EACH r.v[i_] = (int32_t)(((uint32_t)lo.v[i_] & 0xffff) | (uint32_t)hi.v[i_] << 16); return r; }
INL vi vi_low4(vi a) { EACH a.v[i_] = (a.v[i_] & 15) - 8; return a; }
INL vi vi_high4(vi a) { EACH a.v[i_] = (a.v[i_] >> 4 & 15) - 8; return a; }
INL void vi_store16(int16_t *p, vi a) { EACH p[i_] = (int16_t)a.v[i_]; }
INL vi vi_dot2(vi s, vi a, vi b) { EACH s.v[i_] += (int16_t)a.v[i_] * (int16_t)b.v[i_] + (a.v[i_] >> 16) * (b.v[i_] >> 16); return s; }
INL int vf_any(vf a, float x) { int n = 0; EACH n |= a.v[i_] != x; return n; }
#elif VL == 16
INL vi vi_load(const int32_t *p) { return _mm512_loadu_si512(p); }
INL void vi_store(int32_t *p, vi a) { _mm512_storeu_si512(p, a); }
INL vi vi_load8(const uint8_t *p) { return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)); }
INL vi vi_pair(vi lo, vi hi) { return _mm512_mask_blend_epi16(0xaaaaaaaa, lo, _mm512_slli_epi32(hi, 16)); }
INL vi vi_low4(vi a) { return _mm512_sub_epi32(_mm512_and_si512(a, _mm512_set1_epi32(15)), _mm512_set1_epi32(8)); }
INL vi vi_high4(vi a) { return _mm512_sub_epi32(_mm512_and_si512(_mm512_srli_epi32(a, 4), _mm512_set1_epi32(15)), _mm512_set1_epi32(8)); }
INL void vi_store16(int16_t *p, vi a) { _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(a)); }
/* By its mnemonic: gcc copies the sums of the intrinsic from register to register around loops, and spills them. */
INL vi vi_dot2(vi s, vi a, vi b) { __asm__("vpdpwssd %2, %1, %0" : "+v"(s) : "v"(a), "v"(b)); return s; }
INL int vf_any(vf a, float x) { return _mm512_cmp_ps_mask(a, _mm512_set1_ps(x), _CMP_NEQ_UQ) != 0; }
#elif VL == 8
INL vi vi_load(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
INL void vi_store(int32_t *p, vi a) { _mm256_storeu_si256((__m256i *)(void *)p, a); }
INL vi vi_load8(const uint8_t *p) { return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)); }
INL vi vi_pair(vi lo, vi hi) { return _mm256_blend_epi16(lo, _mm256_slli_epi32(hi, 16), 0xaa); }
INL vi vi_low4(vi a) { return _mm256_sub_epi32(_mm256_and_si256(a, _mm256_set1_epi32(15)), _mm256_set1_epi32(8)); }
INL vi vi_high4(vi a) { return _mm256_sub_epi32(_mm256_and_si256(_mm256_srli_epi32(a, 4), _mm256_set1_epi32(15)), _mm256_set1_epi32(8)); }
INL void vi_store16(int16_t *p, vi a) {
    __m256i t = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, a), 0x08);
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_castsi256_si128(t));
}
#ifdef KR_VNNI
INL vi vi_dot2(vi s, vi a, vi b) { __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(s) : "x"(a), "x"(b)); return s; }
#else
INL vi vi_dot2(vi s, vi a, vi b) { return _mm256_add_epi32(s, _mm256_madd_epi16(a, b)); }
#endif
INL int vf_any(vf a, float x) { return _mm256_movemask_ps(_mm256_cmp_ps(a, _mm256_set1_ps(x), _CMP_NEQ_UQ)) != 0; }
#elif VL == 4
INL vi vi_load(const int32_t *p) { return vld1q_s32(p); }
INL void vi_store(int32_t *p, vi a) { vst1q_s32(p, a); }
INL vi vi_load8(const uint8_t *p) {
    uint32_t v; memcpy(&v, p, 4);
    return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(v)))));
}
INL vi vi_pair(vi lo, vi hi) { return vsliq_n_s32(lo, hi, 16); }
INL vi vi_low4(vi a) { return vsubq_s32(vandq_s32(a, vdupq_n_s32(15)), vdupq_n_s32(8)); }
INL vi vi_high4(vi a) { return vi_low4(vshrq_n_s32(a, 4)); }
INL void vi_store16(int16_t *p, vi a) { vst1_s16(p, vmovn_s32(a)); }
INL vi vi_dot2(vi s, vi a, vi b) {
    int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(b);
    return vaddq_s32(s, vpaddq_s32(vmull_s16(vget_low_s16(x), vget_low_s16(y)), vmull_high_s16(x, y)));
}
INL int vf_any(vf a, float x) { return vminvq_u32(vceqq_f32(a, vdupq_n_f32(x))) == 0; }
#endif

/* Sums of a micro-kernel: PJ x PV of these and the operands fit the registers. */
#if VL == 16
#define PJ 8
#define PV 3
#define NJ 4           /* few rows: NJ x 32 columns */
#define PX 3
#else
#define PJ 4
#define PV (16 / VL)
#define NJ 2
#define PX (32 / VL)
#endif

/* s[j][v] = sum over n pairs of b[p][j] * x[p][v]: j a dword that all lanes share, v a vector. Strides in dwords. */
INL void pair_dots(const int J, const int V, const int32_t *b, size_t bs, const int32_t *x, size_t xs, int n, vi s[][PX]) {
UNROLL
    for (int j = 0; j < J; j++)
UNROLL
        for (int v = 0; v < V; v++) s[j][v] = vi_set(0);
    for (int p = 0; p < n; p++, b += bs, x += xs) {
        vi xv[PX];
UNROLL
        for (int v = 0; v < V; v++) xv[v] = vi_load(x + VL * v);
UNROLL
        for (int j = 0; j < J; j++) {
            const vi bj = vi_set(b[j]);
UNROLL
            for (int v = 0; v < V; v++) s[j][v] = vi_dot2(s[j][v], bj, xv[v]);
        }
    }
}
