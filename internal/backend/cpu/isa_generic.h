/* isa_generic.h - eight lanes in portable C; compilers may make of the loops what they can. */
#define KT
#define INL static inline
#define VL 8
#define MRI 2
#define MRF 2
#define KR_S8_FLIP 0

typedef struct { float v[VL]; } vf;
typedef struct { int32_t v[VL]; } vi;
typedef struct { int8_t v[VL * 4]; } vb;
#define EACH for (int i_ = 0; i_ < VL; i_++)
#define MAP2(name, expr) INL vf name(vf a, vf b) { vf r; EACH { float x = a.v[i_], y = b.v[i_]; r.v[i_] = (expr); } return r; }
MAP2(vf_add, x + y)
MAP2(vf_sub, x - y)
MAP2(vf_mul, x * y)
MAP2(vf_div, x / y)
MAP2(vf_max, x > y ? x : y)
MAP2(vf_min, x < y ? x : y)
#undef MAP2
INL vf vf_set(float x) { vf r; EACH r.v[i_] = x; return r; }
INL vf vf_zero(void) { return vf_set(0); }
INL vf vf_load(const float *p) { vf r; memcpy(r.v, p, sizeof r.v); return r; }
INL void vf_store(float *p, vf a) { memcpy(p, a.v, sizeof a.v); }
INL vf vf_fma(vf a, vf b, vf c) { vf r; EACH r.v[i_] = fmaf(a.v[i_], b.v[i_], c.v[i_]); return r; }
INL vf vf_abs(vf a) { EACH a.v[i_] = fabsf(a.v[i_]); return a; }
INL vf vf_round(vf a) { EACH a.v[i_] = rintf(a.v[i_]); return a; }
INL vi vf_int(vf a) { vi r; EACH r.v[i_] = a.v[i_] >= -0x1p31f && a.v[i_] < 0x1p31f ? (int32_t)rintf(a.v[i_]) : INT32_MIN; return r; }
INL vf vf_zero_below(vf v, vf x, float lo) { EACH v.v[i_] = x.v[i_] < lo ? 0 : v.v[i_]; return v; }
INL vf vi_float(vi a) { vf r; EACH r.v[i_] = (float)a.v[i_]; return r; }
INL vf vi_pow2(vi n) { vf r; EACH { uint32_t u = (uint32_t)(n.v[i_] + 127) << 23; memcpy(&r.v[i_], &u, 4); } return r; }
INL vi vi_set(int32_t x) { vi r; EACH r.v[i_] = x; return r; }
INL vi vi_zero(void) { return vi_set(0); }
INL vi vi_add(vi a, vi b) { EACH a.v[i_] += b.v[i_]; return a; }
INL vi vi_sub(vi a, vi b) { EACH a.v[i_] -= b.v[i_]; return a; }
INL vi vi_shl(vi a, int n) { EACH a.v[i_] *= 1 << n; return a; }
INL vi vi_sra(vi a, int n) { EACH a.v[i_] >>= n; return a; }
INL int32_t vi_sum(vi a) { int32_t s = 0; EACH s += a.v[i_]; return s; }
INL float vf_most(vf a) { float m = a.v[0]; EACH m = a.v[i_] > m ? a.v[i_] : m; return m; }
INL vf vf_loadh(const uint16_t *p) { vf r; EACH r.v[i_] = kr_f16(kr_u16((const uint8_t *)p + 2 * i_)); return r; }
INL void vf_storeh(uint16_t *p, vf a) { EACH p[i_] = kr_to_f16(a.v[i_]); }
INL void vi_store8(int8_t *p, vi a) { EACH p[i_] = (int8_t)a.v[i_]; }
INL vb vb_bcast4(const int8_t *p) { vb r; EACH memcpy(r.v + 4 * i_, p, 4); return r; }
INL void dot_step(const int grp, const int s8, const int j, vi *s16, vi *s, vb w, vb a) {
    (void)grp; (void)j; (void)s16;
    EACH for (int k = 0; k < 4; k++) s->v[i_] += (s8 ? w.v[4 * i_ + k] : (int)(uint8_t)w.v[4 * i_ + k]) * a.v[4 * i_ + k];
}
