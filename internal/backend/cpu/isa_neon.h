/* isa_neon.h - four lanes. Dot products by SMULL and SADALP; with KR_DOT by SDOT; with KR_MMLA, pairs of rows by
 * SMMLA. */
#include <arm_neon.h>
#if defined(KR_MMLA)
#define KR_DOT 1
#define KT __attribute__((target("arch=armv8.2-a+dotprod+i8mm")))
#elif defined(KR_DOT)
#define KT __attribute__((target("arch=armv8.2-a+dotprod")))
#else
#define KT
#endif
#define INL static inline __attribute__((always_inline)) KT
#define VL 4
#define MRI 4          /* 4 x 2 sums and 4 x 2 outputs in 32 registers */
#define MRF 3

typedef float32x4_t vf;
typedef int32x4_t vi;
typedef uint8x16_t vb;    /* 4 rows x 4 bytes */

INL vf vf_zero(void) { return vdupq_n_f32(0); }
INL vf vf_set(float x) { return vdupq_n_f32(x); }
INL vf vf_load(const float *p) { return vld1q_f32(p); }
INL void vf_store(float *p, vf a) { vst1q_f32(p, a); }
INL vf vf_add(vf a, vf b) { return vaddq_f32(a, b); }
INL vf vf_sub(vf a, vf b) { return vsubq_f32(a, b); }
INL vf vf_mul(vf a, vf b) { return vmulq_f32(a, b); }
INL vf vf_div(vf a, vf b) { return vdivq_f32(a, b); }
INL vf vf_max(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
INL vf vf_min(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
INL vf vf_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
INL vf vf_abs(vf a) { return vabsq_f32(a); }
INL vf vf_round(vf a) { return vrndnq_f32(a); }
INL vi vf_int(vf a) { return vcvtnq_s32_f32(a); }
INL vf vf_zero_below(vf v, vf x, float lo) { return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(v), vcltq_f32(x, vdupq_n_f32(lo)))); }
INL vf vi_float(vi a) { return vcvtq_f32_s32(a); }
INL vf vi_pow2(vi n) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23)); }
INL vi vi_zero(void) { return vdupq_n_s32(0); }
INL vi vi_set(int32_t x) { return vdupq_n_s32(x); }
INL vi vi_add(vi a, vi b) { return vaddq_s32(a, b); }
INL vi vi_sub(vi a, vi b) { return vsubq_s32(a, b); }
INL vi vi_shl(vi a, int n) { return vshlq_s32(a, vdupq_n_s32(n)); }
INL vi vi_sra(vi a, int n) { return vshlq_s32(a, vdupq_n_s32(-n)); }
INL int32_t vi_sum(vi a) { return vaddvq_s32(a); }
INL float vf_most(vf a) { return vmaxvq_f32(a); }
INL vf vf_half(uint16x4_t h) { return vcvt_f32_f16(vreinterpret_f16_u16(h)); }
INL vf vf_loadh(const uint16_t *p) { return vf_half(vreinterpret_u16_u8(vld1_u8((const uint8_t *)p))); }
INL void vf_storeh(uint16_t *p, vf a) { vst1_u8((uint8_t *)p, vreinterpret_u8_f16(vcvt_f16_f32(a))); }
INL void vi_store8(int8_t *p, vi a) {
    int16x4_t t = vqmovn_s32(a);
    int8x8_t b = vqmovn_s16(vcombine_s16(t, t));
    vst1_lane_s32((int32_t *)(void *)p, vreinterpret_s32_s8(b), 0);
}
INL vb vb_bcast4(const int8_t *p) { uint32_t v; memcpy(&v, p, 4); return vreinterpretq_u8_u32(vdupq_n_u32(v)); }

/* ---- bytes ---- */
INL vb vb_load(const uint8_t *p) { return vld1q_u8(p); }
INL vb vb_set(int x) { return vdupq_n_u8((uint8_t)x); }
INL vb vd_set(uint32_t x) { return vreinterpretq_u8_u32(vdupq_n_u32(x)); }
INL vb vb_and(vb a, vb b) { return vandq_u8(a, b); }
INL vb vb_or(vb a, vb b) { return vorrq_u8(a, b); }
INL vb vb_xor(vb a, vb b) { return veorq_u8(a, b); }
INL vb vb_shl(vb a, int n) { return vshlq_u8(a, vdupq_n_s8((int8_t)n)); }
INL vb vb_shr(vb a, int n) { return vshlq_u8(a, vdupq_n_s8((int8_t)-n)); }
INL vb vd_shl(vb a, int n) { return vreinterpretq_u8_u32(vshlq_u32(vreinterpretq_u32_u8(a), vdupq_n_s32(n))); }
INL vb vd_shr(vb a, int n) { return vd_shl(a, -n); }
INL vf vb_float(vb a) { return vreinterpretq_f32_u8(a); }
INL vb vb_lut16(const int8_t *tab, vb i) { return vqtbl1q_u8(vld1q_u8((const uint8_t *)tab), i); }
/* bytes 2h and 2h+1 of each dword, each twice */
INL vb vb_twice(vb a, int h) {
    static const uint8_t p[16] = { 0, 0, 1, 1, 4, 4, 5, 5, 8, 8, 9, 9, 12, 12, 13, 13 };
    return vqtbl1q_u8(a, vaddq_u8(vld1q_u8(p), vdupq_n_u8((uint8_t)(2 * h))));
}
/* out[j], row r = dword j of the 16 bytes at p + r*stride */
INL void vb_load16(const uint8_t *p, size_t s, vb out[4]) {
#define ROW(r) vreinterpretq_u32_u8(vld1q_u8(p + (size_t)(r) * s))
    uint32x4_t a = ROW(0), b = ROW(1), c = ROW(2), d = ROW(3);
#undef ROW
    uint64x2_t e = vreinterpretq_u64_u32(vzip1q_u32(a, b)), f = vreinterpretq_u64_u32(vzip2q_u32(a, b));
    uint64x2_t g = vreinterpretq_u64_u32(vzip1q_u32(c, d)), h = vreinterpretq_u64_u32(vzip2q_u32(c, d));
    out[0] = vreinterpretq_u8_u64(vzip1q_u64(e, g)); out[1] = vreinterpretq_u8_u64(vzip2q_u64(e, g));
    out[2] = vreinterpretq_u8_u64(vzip1q_u64(f, h)); out[3] = vreinterpretq_u8_u64(vzip2q_u64(f, h));
}
INL vb vb_load4(const uint8_t *p, size_t s) {
    uint32x4_t a = vdupq_n_u32(kr_u32(p));
    a = vsetq_lane_u32(kr_u32(p + s), a, 1);
    a = vsetq_lane_u32(kr_u32(p + 2 * s), a, 2);
    return vreinterpretq_u8_u32(vsetq_lane_u32(kr_u32(p + 3 * s), a, 3));
}
INL vb vb_head(const uint8_t *p, size_t s) { return vb_load4(p, s); }
INL vb vb_tail(const uint8_t *p, size_t s) { return vb_load4(p + 12, s); }
INL uint16x4_t gather16(const uint8_t *p, size_t s) {
    uint16x4_t a = vdup_n_u16(kr_u16(p));
    a = vset_lane_u16(kr_u16(p + s), a, 1);
    a = vset_lane_u16(kr_u16(p + 2 * s), a, 2);
    return vset_lane_u16(kr_u16(p + 3 * s), a, 3);
}
INL vf vf_gatherh(const uint8_t *p, size_t s) { return vf_half(gather16(p, s)); }
INL vf vf_gatherb(const uint8_t *p, size_t s) { return vreinterpretq_f32_u32(vshll_n_u16(gather16(p, s), 16)); }
INL vf vb_half_lo(vb a) { return vf_half(vmovn_u32(vreinterpretq_u32_u8(a))); }
INL vf vb_half_hi(vb a) { return vf_half(vshrn_n_u32(vreinterpretq_u32_u8(a), 16)); }
INL vf vb_byte(vb a, int i) { return vcvtq_f32_u32(vandq_u32(vreinterpretq_u32_u8(vd_shr(a, 8 * i)), vdupq_n_u32(255))); }
INL vf vb_sbyte(vb a, int i) { return vcvtq_f32_s32(vshrq_n_s32(vreinterpretq_s32_u8(vd_shl(a, 24 - 8 * i)), 24)); }
/* bits [4j, 4j+4) of each dword to its four bytes, as v where set */
INL vb vb_spread4(vb a, int j, int v) {
    static const uint8_t lane[16] = { 0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12 };
    const uint8x16_t bit = vreinterpretq_u8_u32(vdupq_n_u32(j & 1 ? 0x80402010u : 0x08040201u));
    uint8x16_t t = vqtbl1q_u8(a, vaddq_u8(vld1q_u8(lane), vdupq_n_u8((uint8_t)(j / 2))));
    return vandq_u8(vtstq_u8(t, bit), vdupq_n_u8((uint8_t)v));
}

/* ---- integer dot products: codes below 128, or signed ---- */
#define KR_S8_FLIP 0
INL void dot_step(const int grp, const int s8, const int j, vi *s16, vi *s, vb w, vb a) {
    (void)grp; (void)s8; (void)j; (void)s16;
    int8x16_t x = vreinterpretq_s8_u8(w), y = vreinterpretq_s8_u8(a);
#if defined(KR_DOT)
    *s = vdotq_s32(*s, x, y);
#else
    int32x4_t lo = vpaddlq_s16(vmull_s8(vget_low_s8(x), vget_low_s8(y))), hi = vpaddlq_s16(vmull_high_s8(x, y));
    *s = vaddq_s32(*s, vpaddq_s32(lo, hi));
#endif
}
#if defined(KR_MMLA)
/* Two rows of X against 4 weight rows, 8 steps along K: sums of rows (0,1) and (2,3) by both rows of X. */
INL void mmla_step(vi p[2], vb w0, vb w1, const int8_t *x0, const int8_t *x1) {
    int32x4_t a = vreinterpretq_s32_u8(w0), b = vreinterpretq_s32_u8(w1);
    int8x16_t x = vcombine_s8(vld1_s8(x0), vld1_s8(x1));
    p[0] = vmmlaq_s32(p[0], vreinterpretq_s8_s32(vzip1q_s32(a, b)), x);
    p[1] = vmmlaq_s32(p[1], vreinterpretq_s8_s32(vzip2q_s32(a, b)), x);
}
INL void mmla_rows(const vi p[2], vi *s0, vi *s1) {
    *s0 = vaddq_s32(*s0, vuzp1q_s32(p[0], p[1]));
    *s1 = vaddq_s32(*s1, vuzp2q_s32(p[0], p[1]));
}
#endif
