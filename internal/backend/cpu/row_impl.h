/* row_impl.h - operations on one row of activations. Sums run over sixteen lanes, then a fixed tree, whatever the
 * vector length. Buffers are padded to multiples of 16 floats. */
#define NV16 (16 / VL)

/* e^x within 1.2 ulp for x in [-87.3, 88.3], 0 below, e^88.3 above. Reduction by ln 2 in two parts and the
 * polynomial of Cephes' expf. exp(0) is 1 exactly. */
INL vf vexp(vf x) {
    vf c = vf_min(vf_max(x, vf_set(-87.3f)), vf_set(88.3f));
    vf n = vf_round(vf_mul(c, vf_set(1.44269504088896341f)));
    vf r = vf_fma(n, vf_set(-0.693359375f), c);
    r = vf_fma(n, vf_set(2.12194440e-4f), r);
    vf p = vf_set(1.9875691500e-4f);
    p = vf_fma(p, r, vf_set(1.3981999507e-3f));
    p = vf_fma(p, r, vf_set(8.3334519073e-3f));
    p = vf_fma(p, r, vf_set(4.1665795894e-2f));
    p = vf_fma(p, r, vf_set(1.6666665459e-1f));
    p = vf_fma(p, r, vf_set(5.0000001201e-1f));
    p = vf_add(vf_fma(p, vf_mul(r, r), r), vf_set(1.0f));
    return vf_zero_below(vf_mul(p, vi_pow2(vf_int(n))), x, -87.3f);
}

/* a[i] + a[i+8], then + 4, 2, 1. */
INL float sum16(const vf s[NV16]) {
#if VL == 16
    return _mm512_reduce_add_ps(s[0]);
#elif VL == 8 && !defined(EACH)
    __m256 a = _mm256_add_ps(s[0], s[1]);
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_shuffle_ps(b, b, 1)));
#else
    float a[16];
UNROLL
    for (int v = 0; v < NV16; v++) vf_store(a + VL * v, s[v]);
    for (int k = 8; k; k /= 2) for (int i = 0; i < k; i++) a[i] += a[i + k];
    return a[0];
#endif
}

static KT void rmsnorm(const float *x, const float *w, float *o, int n, int dim, float eps) {
    for (int h = 0; h < n; h += dim) {
        vf s[NV16];
        int k = 0;
        for (int v = 0; v < NV16; v++) s[v] = vf_zero();
        for (; k + 16 <= dim; k += 16)
            for (int v = 0; v < NV16; v++) { vf a = vf_load(x + h + k + VL * v); s[v] = vf_fma(a, a, s[v]); }
        if (k < dim) {
            float t[16] = { 0 };
            for (int i = 0; k + i < dim; i++) t[i] = x[h + k + i];
            for (int v = 0; v < NV16; v++) { vf a = vf_load(t + VL * v); s[v] = vf_fma(a, a, s[v]); }
        }
        float r = 1.0f / sqrtf(sum16(s) / (float)dim + eps);
        if (w) for (k = 0; k < dim; k++) o[h + k] = x[h + k] * r * w[k];
        else for (k = 0; k < dim; k++) o[h + k] = x[h + k] * r;
    }
}

static KT void gate(const float *a, const float *b, float *o, int n, int gelu) {
    const vf one = vf_set(1);
    for (int i = 0; i < n; i += VL) {
        vf x = vf_load(a + i), z = x;
        if (gelu) {        /* x*(1+tanh(u))/2 = x*sigmoid(2u), u = sqrt(2/pi)*(x + 0.044715 x^3) */
            vf x2 = vf_mul(x, x);
            z = vf_mul(vf_mul(vf_set(1.5957691216057308f), x), vf_fma(vf_set(0.044715f), x2, one));
        }
        vf s = vf_div(x, vf_add(one, vexp(vf_sub(vf_zero(), z))));
        vf_store(o + i, vf_mul(s, vf_load(b + i)));
    }
}
static KT void add(const float *a, const float *b, float *o, int n) {
    for (int i = 0; i < n; i += VL) vf_store(o + i, vf_add(vf_load(a + i), vf_load(b + i)));
}
static KT void scale(const float *a, float s, float *o, int n) {
    for (int i = 0; i < n; i += VL) vf_store(o + i, vf_mul(vf_load(a + i), vf_set(s)));
}
/* cap*tanh(x/cap): below 0.625 the polynomial of Cephes' tanhf, above tanh(z) = 1 - 2/(1 + e^2z). */
INL vf vsoftcap(vf x, float cap) {
    const vf one = vf_set(1), z = vf_mul(x, vf_set(1 / cap)), a = vf_abs(z), c = vf_max(vf_min(z, one), vf_set(-1)), c2 = vf_mul(c, c);
    vf p = vf_set(-5.70498872745e-3f);
    p = vf_fma(p, c2, vf_set(2.06390887954e-2f));
    p = vf_fma(p, c2, vf_set(-5.37397155531e-2f));
    p = vf_fma(p, c2, vf_set(1.33314422036e-1f));
    p = vf_fma(p, c2, vf_set(-3.33332819422e-1f));
    p = vf_fma(vf_mul(p, c2), c, c);
    vf big = vf_sub(one, vf_div(vf_set(2), vf_add(one, vexp(vf_add(z, z)))));
    /* one of the two terms is 0 */
    return vf_mul(vf_set(cap), vf_add(vf_zero_below(big, a, 0.625f), vf_sub(p, vf_zero_below(p, a, 0.625f))));
}
static KT void softcap(const float *a, float cap, float *o, int n) {
    for (int i = 0; i < n; i += VL) vf_store(o + i, vsoftcap(vf_load(a + i), cap));
}
