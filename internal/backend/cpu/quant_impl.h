/* quant_impl.h - activations to integers: 32 values per scale, in one term of 8 bits or two. */

/* Scale of a block and its values as integers within ±most. Scaling by 127/mx must not overflow. */
INL float block_ints(const float *x, const float most, vi q[NVF]) {
    vf m = vf_abs(vf_load(x));
UNROLL
    for (int v = 1; v < NVF; v++) m = vf_max(m, vf_abs(vf_load(x + VL * v)));
    const float mx = vf_most(m), up = mx < 1e-30f ? 0x1p60f : 1;
    const vf pre = vf_set(up), inv = vf_set(mx > 0 ? most / (mx * up) : 0.0f);
UNROLL
    for (int v = 0; v < NVF; v++) q[v] = vf_int(vf_mul(vf_mul(vf_load(x + VL * v), pre), inv));
    return mx / most;
}
INL void block_sums(const vi q[NVF], float d, kr_xblk *o) {
    vi a = q[0], b = q[NVF / 2];
UNROLL
    for (int v = 1; v < NVF / 2; v++) { a = vi_add(a, q[v]); b = vi_add(b, q[NVF / 2 + v]); }
    const int32_t s0 = vi_sum(a), s1 = vi_sum(b);
    o->d = d;
    o->s = d * (float)(s0 + s1);
    o->sh[0] = d * (float)s0;
    o->sh[1] = d * (float)s1;
    o->z = -(s0 + s1);
    o->zh[0] = -s0;
    o->zh[1] = -s1;
    o->pad = 0;
}
static KT void quantize(const float *x, int n, kr_xblk *o) {
    for (; n > 0; n -= QK, x += QK, o++) {
        vi q[NVF];
        block_sums(q, block_ints(x, 127, q), o);
UNROLL
        for (int v = 0; v < NVF; v++) vi_store8(o->q + VL * v, q[v]);
    }
}
static KT void quantize2(const float *x, int n, kr_xblk2 *o) {
    for (; n > 0; n -= QK, x += QK, o++) {
        vi q[NVF];
        block_sums(q, block_ints(x, 127 * 128, q), &o->x);
UNROLL
        for (int v = 0; v < NVF; v++) {
            vi hi = vi_sra(vi_add(q[v], vi_set(64)), 7);
            vi_store8(o->x.q + VL * v, hi);
            vi_store8(o->lo + VL * v, vi_sub(q[v], vi_shl(hi, 7)));
        }
    }
}
