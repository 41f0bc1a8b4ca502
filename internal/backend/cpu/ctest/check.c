/* check.c - every kernel variant that this CPU can run against the plain rule of quant.c, bit for bit. */
#include "../kern.h"
#include "ctest.h"

static int fails;

/* One matrix: all rows by the rule; then any batch size (from 8 on, any by `step`) and any cut of N must give the same
 * bits, from the weights as they are stored and packed. */
static int check_matmul(const kr_kernels *k, int type, int rows, int cols, int group, int aux, int m, int wide, int step) {
    kr_weight w = test_weight(type, rows, cols, group, aux);
    size_t nb = (size_t)cols / QK, nc = KR_PAD32((size_t)cols);
    float *x = tmem(4 * nc * (size_t)m), *y = tmem(4 * (size_t)(m * rows)), *z = tmem(4 * (size_t)(m * rows));
    const size_t xs = nb * KR_XSIZE(wide);
    char *q = tmem((xs + 64) * (size_t)m);
    void *tile = tmem(KR_TILE_BYTES);
    int bad = 0;
    for (size_t i = 0; i < nc * (size_t)m; i++) x[i] = rndf() * (i % 97 ? 1 : 30);
    for (int r = 0; r < m; r++) {
        if (type > KR_BF16) {
            kr_xblk *xr = (kr_xblk *)(void *)(q + (size_t)r * xs);
            if (wide) kr_generic.quantize2(x + (size_t)r * nc, cols, (kr_xblk2 *)xr); else kr_generic.quantize(x + (size_t)r * nc, cols, xr);
            kr_dot_rows(&w, 0, rows, xr, y + (size_t)(r * rows), wide);
        }
        else kr_dot_rows_float(&w, 0, rows, x + (size_t)r * nc, y + (size_t)(r * rows));
    }
    uint8_t *packed = test_pack(&w), *row = tmem(w.stride);
    for (int r = 0; packed && r < rows; r++) {
        w.packed = packed;
        kr_packed_row(&w, (size_t)r, row);
        if (memcmp(row, w.data + (size_t)r * w.stride, w.stride)) { printf("  %s: row %d comes back otherwise\n", kr_types[type].name, r); bad++; }
    }
    for (int turn = 0; turn <= (packed != NULL); turn++)
    for (int g = 1; g <= m; g = turn ? 3 * g : g < 8 ? g + 1 : step ? g + step : g * 2) {
        w.packed = turn ? packed : NULL;
        memset(z, 0xff, 4 * (size_t)(m * rows));
        for (int r = 0; r < m; r += g) {
            int gm = m - r < g ? m - r : g, cut = rows / 2 / k->vl * k->vl;
            if (type > KR_BF16) {
                const kr_xblk *xr = (const kr_xblk *)(const void *)(q + (size_t)r * xs);
                k->matmul(&w, 0, cut, xr, xs, gm, z + (size_t)(r * rows), (size_t)rows, tile, wide);
                k->matmul(&w, cut, rows, xr, xs, gm, z + (size_t)(r * rows), (size_t)rows, tile, wide);
            } else {
                k->matmulf(&w, 0, cut, x + (size_t)r * nc, nc, gm, z + (size_t)(r * rows), (size_t)rows, tile);
                k->matmulf(&w, cut, rows, x + (size_t)r * nc, nc, gm, z + (size_t)(r * rows), (size_t)rows, tile);
            }
        }
        bad += memcmp(y, z, 4 * (size_t)(m * rows)) != 0;
    }
    if (bad) {
        printf("  %s %s %dx%d group %d aux %d m %d terms %d: other bits, as stored or packed\n", k->name, kr_types[type].name, rows, cols, group, aux, m, wide + 1);
        for (int i = 0, c = 0; i < m * rows && c < 4; i++) if (memcmp(y + i, z + i, 4)) { printf("    [%d][%d] %g, want %g\n", i / rows, i % rows, (double)z[i], (double)y[i]); c++; }
    }
    free_weight(&w); tfree(packed); tfree(row); tfree(x); tfree(y); tfree(z); tfree(q); tfree(tile);
    return bad;
}

/* The quantised matmul against float64 on what the weights say and the activations were rounded to. */
static int check_value(int type, int wide) {
    kr_weight w = test_weight(type, 16, 512, 64, KR_F16);
    float x[512], y[16], wr[512]; kr_xblk q[16]; kr_xblk2 q2[16];
    for (int i = 0; i < 512; i++) x[i] = rndf();
    kr_generic.quantize(x, 512, q);
    kr_generic.quantize2(x, 512, q2);
    if (type > KR_BF16) kr_dot_rows(&w, 0, 16, wide ? &q2[0].x : q, y, wide); else kr_dot_rows_float(&w, 0, 16, x, y);
    double num = 0, den = 0;
    for (int n = 0; n < 16; n++) {
        double s = 0;
        kr_dequant_row(&w, (size_t)n, wr);
        for (int i = 0; i < 512; i++) {
            const kr_xblk2 *b = &q2[i / 32];
            double v = wide ? (double)b->x.d * (128 * b->x.q[i % 32] + b->lo[i % 32]) : (double)q[i / 32].d * q[i / 32].q[i % 32];
            if (fabs(v - (double)x[i]) > 0.51 * (double)(wide ? b->x.d : q[i / 32].d)) { printf("  %g quantised to %g\n", (double)x[i], v); return 1; }
            s += (double)wr[i] * (type > KR_BF16 ? v : (double)x[i]);
        }
        num += (s - (double)y[n]) * (s - (double)y[n]); den += s * s;
    }
    free_weight(&w);
    if (!(num <= 1e-11 * den)) { printf("  %s: relative error %g\n", kr_types[type].name, sqrt(num / den)); return 1; }
    return 0;
}

static int same(const char *what, const kr_kernels *k, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, 4)) { printf("  %s %s: [%zu] %.9g, want %.9g\n", k->name, what, i, (double)a[i], (double)b[i]); return 1; }
    return 0;
}

static int check_rows(const kr_kernels *k) {
    enum { N = 1040 };
    static float a[N], b[N], y[N], z[N]; static kr_xblk p[N / 32], q[N / 32]; static kr_xblk2 p2[N / 32], q2[N / 32];
    const kr_kernels *g = &kr_generic;
    int bad = 0;
    for (int i = 0; i < N; i++) { a[i] = rndf() * (float)(i % 13); b[i] = rndf(); }
    memset(p, 0, sizeof p); memset(q, 0, sizeof q);
    g->quantize(a, 1024, p); k->quantize(a, 1024, q);
    g->quantize2(a, 1024, p2); k->quantize2(a, 1024, q2);
    if (memcmp(p, q, sizeof p) || memcmp(p2, q2, sizeof p2)) { printf("  %s quantize: other bits\n", k->name); bad++; }
    const int dims[] = { 1024, 64, 20, 1, 16, 100 };
    for (int i = 0; i < 6; i++) {
        int n = dims[i] < 100 ? dims[i] * 10 : dims[i];
        g->rmsnorm(a, b, y, n, dims[i], 1e-6f); k->rmsnorm(a, b, z, n, dims[i], 1e-6f); bad += same("rmsnorm", k, z, y, (size_t)n);
    }
    for (int gelu = 0; gelu < 2; gelu++) { g->gate(a, b, y, 1000, gelu); k->gate(a, b, z, 1000, gelu); bad += same("gate", k, z, y, 1000); }
    g->add(a, b, y, 1000); k->add(a, b, z, 1000); bad += same("add", k, z, y, 1000);
    g->scale(a, 3, y, 1000); k->scale(a, 3, z, 1000); bad += same("scale", k, z, y, 1000);
    g->softcap(a, 5, y, 1000); k->softcap(a, 5, z, 1000); bad += same("softcap", k, z, y, 1000);
    return bad;
}

/* e^x through SiLU-free means: gate(a, 1) = a/(1+e^-a). Here the exponential alone is read off softmax of two keys. */
static int check_gate_value(void) {
    static float a[4096], one[4096], y[4096];
    double worst = 0;
    for (int i = 0; i < 4096; i++) { a[i] = -80 + 160 * (float)i / 4095; one[i] = 1; }
    kr_generic.gate(a, one, y, 4096, 0);
    for (int i = 0; i < 4096; i++) {
        double x = (double)a[i], want = x / (1 + exp(-x)), e = fabs((double)y[i] - want) / (fabs(want) + 1e-38);
        if (e > worst) worst = e;
    }
    printf("silu: worst relative error %.2e\n", worst);
    return !(worst < 4e-7);
}

static double attention_error;

/* What a slot of a unit holds, in the space it is stored in. */
static void kv_decode(const kr_kv *y, const uint8_t *u, int slot, int value, double *x) {
    const uint8_t *p = u + (value ? y->v : 0), *sc = u + (value ? y->vs : y->ks);
    for (int d = 0; d < y->pad; d++) {
        const double s = (double)kr_f16(kr_u16(sc + 2 * (d * y->groups / y->pad * 32 + slot)));
        int b, hi;
        switch (y->type) {
        case KR_KV_F16: x[d] = (double)kr_f16(kr_u16(p + 2 * (value ? slot * y->pad + d : d * 32 + slot))); break;
        case KR_KV_Q8: x[d] = s * (int8_t)p[value ? slot * y->pad + d : d * 32 + slot]; break;
        default:
            b = p[value ? slot * y->pad / 2 + d / 32 * 16 + d % 16 : d / 2 * 32 + slot];
            hi = value ? d % 32 >= 16 : d % 2;
            x[d] = s * ((hi ? b >> 4 : b & 15) - 8);
        }
    }
}
static void rotate(double *x, int len, int n) {
    for (int b = 0; b < len; b += n) {
        double y[4096];
        for (int i = 0; i < n; i++) {
            y[i] = 0;
            for (int j = 0; j < n; j++) y[i] += __builtin_parity((unsigned)(i & j)) ? -x[b + j] : x[b + j];
        }
        for (int i = 0; i < n; i++) x[b + i] = y[i] / sqrt((double)n);
    }
}

/* Attention of random rows against float64, and every variant, every cut into chunks and into segments against the
 * first's bits. */
static int check_attention(const kr_kernels *k, int type, int dim, int group, int len, int window, float cap) {
    const kr_kv y = kr_kv_layout(type, dim);
    int blocks = (len + 31) / 32, bad = 0, width = group * dim;
    uint8_t *arena = tmem(y.unit * (size_t)blocks), *other = tmem(y.unit * (size_t)blocks);
    uint32_t *table = tmem(4 * (size_t)blocks);
    const size_t segs = (size_t)(len / KR_SEG + 1);
    float *q = tmem(4 * (size_t)(len * width)), *o1 = tmem(4 * (size_t)(len * width)), *o2 = tmem(4 * (size_t)(len * width));
    float *tile = tmem(4 * KR_ATTN_FLOATS(y.pad)), *part = tmem(4 * segs * KR_PART(KR_ATTN_QROWS, (size_t)y.pad)), *tmp = tmem(8 * (size_t)y.pad);
    double *kd = tmem(8 * (size_t)(len * y.pad)), *vd = tmem(8 * (size_t)(len * y.pad)), *qd = tmem(8 * (size_t)y.pad), *od = tmem(8 * (size_t)y.pad);
    memset(arena, 0xff, y.unit * (size_t)blocks);             /* what was never written is NaN */
    memset(other, 0xff, y.unit * (size_t)blocks);
    for (int i = 0; i < blocks; i++) table[i] = (uint32_t)(blocks - 1 - i);
    double loss = 0, size = 0;
    for (int p = 0; p < len; p++) {
        float *kx = tmem(4 * (size_t)dim), *vx = tmem(4 * (size_t)dim);
        double *r = tmem(8 * (size_t)y.pad);
        const size_t at = table[p / 32] * y.unit;
        for (int d = 0; d < dim; d++) { kx[d] = rndf() * 2; vx[d] = rndf() * (d == 3 ? 9 : 1); }
        kr_generic.kv_write(&y, arena + at, p % 32, kx, vx, tmp);
        k->kv_write(&y, other + at, p % 32, kx, vx, tmp);
        for (int value = 0; value < 2; value++) {
            double *x = (value ? vd : kd) + p * y.pad;
            kv_decode(&y, arena + at, p % 32, value, x);
            memset(r, 0, 8 * (size_t)y.pad);
            for (int d = 0; d < dim; d++) r[d] = (double)(value ? vx : kx)[d];
            if (type == KR_KV_Q4) rotate(r, y.pad, y.rot);
            for (int d = 0; d < dim; d++) { loss += (r[d] - x[d]) * (r[d] - x[d]); size += r[d] * r[d]; }
        }
        tfree(kx); tfree(vx); tfree(r);
    }
    const double most[] = { 3e-4, 0.01, 0.12 };
    if (!(sqrt(loss / size) < most[type])) { printf("  KV type %d dim %d: stored with error %g\n", type, dim, sqrt(loss / size)); bad++; }
    if (memcmp(arena, other, y.unit * (size_t)blocks)) { printf("  %s KV type %d dim %d: other bytes stored\n", k->name, type, dim); bad++; }
    for (int i = 0; i < len * width; i++) q[i] = rndf() * 2;
    struct kr_attn a = { .kv = &y, .arena = arena, .block = y.unit, .table = table, .group = group, .window = window,
                         .scale = 0.2f, .cap = cap, .qs = (size_t)width, .os = (size_t)width, .tile = tile };
    int rows = KR_ATTN_QROWS / group < KR_ATTN_ROWS ? KR_ATTN_QROWS / group : KR_ATTN_ROWS;
    for (int step = rows, first = 1; step; step = step > 4 ? step - step / 3 : step - 1, first = 0) {
        float *o = first ? o1 : o2;
        for (int p = 0; p < len; p += step) {
            a.pos = p; a.rows = len - p < step ? len - p : step;
            a.q = q + (size_t)p * a.qs; a.o = o + (size_t)p * a.os;
            const kr_kernels *kk = first ? &kr_generic : k;
            const int s0 = (window && p >= window ? p - window + 1 : 0) / KR_SEG, s1 = (p + a.rows - 1) / KR_SEG + 1;
            a.seg0 = a.first = s0; a.seg1 = s1; a.part = NULL;
            if (step % 2) {                                   /* segments apart, last one first */
                a.part = part;
                for (int s = s1; s-- > s0; ) { a.seg0 = s; a.seg1 = s + 1; kk->attention(&a); }
                a.seg0 = s0; a.seg1 = s1;
                kk->attention_merge(&a);
            } else kk->attention(&a);
        }
        if (!first) bad += same("attention", k, o2, o1, (size_t)(len * width));
    }
    double worst = 0;
    for (int p = 0; p < len; p += 7)
        for (int g = 0; g < group; g++) {
            double w[8192], mx = -1e30, sum = 0; int lo = window && p >= window ? p - window + 1 : 0;
            memset(qd, 0, 8 * (size_t)y.pad); memset(od, 0, 8 * (size_t)y.pad);
            for (int d = 0; d < dim; d++) qd[d] = (double)q[p * width + g * dim + d];
            if (type == KR_KV_Q4) rotate(qd, y.pad, y.rot);
            for (int j = lo; j <= p; j++) {
                double s = 0;
                for (int d = 0; d < (type == KR_KV_Q4 ? y.pad : dim); d++) s += qd[d] * kd[j * y.pad + d];
                s *= (double)a.scale;
                if (cap != 0) s = (double)cap * tanh(s / (double)cap);
                w[j] = s; mx = s > mx ? s : mx;
            }
            for (int j = lo; j <= p; j++) sum += w[j] = exp(w[j] - mx);
            for (int j = lo; j <= p; j++) for (int d = 0; d < y.pad; d++) if (d < dim || type == KR_KV_Q4) od[d] += w[j] / sum * vd[j * y.pad + d];
            if (type == KR_KV_Q4) rotate(od, y.pad, y.rot);
            for (int d = 0; d < dim; d++) {
                double e = fabs(od[d] - (double)o1[p * width + g * dim + d]);
                worst = e > worst ? e : worst;
            }
        }
    if (!(worst < 6e-3)) { printf("  attention type %d dim %d group %d len %d window %d cap %g: error %g\n", type, dim, group, len, window, (double)cap, worst); bad++; }
    attention_error = worst > attention_error ? worst : attention_error;
    tfree(arena); tfree(other); tfree(table); tfree(q); tfree(o1); tfree(o2); tfree(tile); tfree(part); tfree(tmp); tfree(kd); tfree(vd); tfree(qd); tfree(od);
    return bad;
}

int main(void) {
    for (int t = KR_F32; t < KR_NTYPES; t++) fails += check_value(t, 0) + (t > KR_BF16 && check_value(t, 1));
    fails += check_gate_value();
    for (int i = 0; kr_variants[i]; i++) {
        const kr_kernels *k = kr_variants[i];
        if (!kr_supported(k)) { printf("%-12s not run: this CPU lacks it\n", k->name); continue; }
        int bad = check_rows(k);
        for (int t = KR_F32; t < KR_NTYPES; t++) {
            int per = t > KR_BF16 ? QK * kr_types[t].per : 1, bt = 0;
            for (int group = 32; group <= (t >= KR_AFF2 ? 128 : 32); group *= 2)
                for (int aux = KR_F32; aux <= (t >= KR_AFF2 ? KR_BF16 : KR_F32); aux++) {
                    for (int wide = 0; wide <= (t > KR_BF16); wide++) {
                        bt += check_matmul(k, t, 83, per == 256 ? 512 : per == 1 ? 77 : 384, group, aux, 13, wide, 0);
                        bt += check_matmul(k, t, 32, per == 256 ? 1024 : 1152, group, aux, 17, wide, 0);
                        bt += check_matmul(k, t, 5, per == 256 ? 256 : 128, group, aux, 3, wide, 0);
                        if (group == 32 && aux == KR_F32) bt += check_matmul(k, t, 53, per == 256 ? 256 : 224, group, aux, 40, wide, 1);
                    }
                }
            bad += bt;
        }
        bad += check_matmul(k, KR_AFF4, 32, 45056, 64, KR_BF16, 1, 1, 0); /* a row of X that fills more than a tile's memory */
        for (int t = KR_KV_F16; t <= KR_KV_Q4; t++) {
            bad += check_attention(k, t, 64, 3, 600, 0, 0) + check_attention(k, t, 128, 7, 90, 0, 0) + check_attention(k, t, 256, 4, 333, 100, 0);
            bad += check_attention(k, t, 20, 1, 65, 0, 30) + check_attention(k, t, 80, 2, 300, 33, 0) + check_attention(k, t, 64, 48, 40, 0, 0);
        }
        kr_weight w = test_weight(KR_Q4_1, 64, 256, 32, KR_F16);
        if (!(kr_peak(k) > 0) || !(kr_time_matmul(k, &w, 64, 5, 1, 1) > 0)) { printf("  %s: no speed measured\n", k->name); bad++; }
        free_weight(&w);
        printf("%-12s %s: matmuls of %d types, row operations, attention\n", k->name, bad ? "FAIL" : "ok", KR_NTYPES - 1);
        fails += bad;
    }
    printf("attention: worst error %.2e\n", attention_error);
    return fails != 0;
}
