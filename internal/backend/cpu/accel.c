//go:build (darwin || openblas) && !purego

/* accel.c - the variant "Accelerate": matmuls of many rows through cblas_sgemm over weights unpacked strip by strip,
 * row operations through vDSP and vForce. Elsewhere than on darwin the same calls go to OpenBLAS and plain loops
 * (accel_openblas.h), which is how they are tested. Sums run in the library's order, which varies with the number of
 * rows: this variant is close to the others, not equal to them, and only runs where it is asked for. */
#include "kern.h"
#include <pthread.h>
#if defined(__APPLE__)
#define ACCELERATE_NEW_LAPACK
#include <Accelerate/Accelerate.h>
#else
#include "accel_openblas.h"
#endif

#define STRIP 64                                   /* weight rows unpacked at once */
#define DEPTH 512                                  /* of K: STRIP*DEPTH floats fill the thread's tile */
_Static_assert(STRIP * DEPTH * 4 <= KR_TILE_BYTES, "the tile is too small");

static void sgemm(const kr_weight *w, int n0, int n1, const float *x, size_t xs, int m, float *y, size_t ldy, void *tile) {
    float *t = tile;
    for (int n = n0; n < n1; n += STRIP) {
        const int c = n1 - n < STRIP ? n1 - n : STRIP;
        for (int k = 0; k < w->cols; k += DEPTH) {
            const int d = w->cols - k < DEPTH ? w->cols - k : DEPTH;
            for (int i = 0; i < c; i++) kr_dequant(w, (size_t)(n + i), k, d, t + (size_t)i * DEPTH);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, c, d, 1, x + k, (int)xs, t, DEPTH, k ? 1 : 0, y + n, (int)ldy);
        }
    }
}

static void rmsnorm(const float *x, const float *w, float *o, int n, int dim, float eps) {
    for (int h = 0; h < n; h += dim) {
        float s;
        vDSP_svesq(x + h, 1, &s, (vDSP_Length)dim);
        s = 1.0f / sqrtf(s / (float)dim + eps);
        vDSP_vsmul(x + h, 1, &s, o + h, 1, (vDSP_Length)dim);
        if (w) vDSP_vmul(o + h, 1, w, 1, o + h, 1, (vDSP_Length)dim);
    }
}

/* o = a*sigmoid(z)*b, z = a or what gelu's tanh form makes of it: 2*sqrt(2/pi)*(a + 0.044715 a^3). */
static void gate(const float *a, const float *b, float *o, int n, int gelu) {
    enum { CHUNK = 256 };
    const float one = 1;
    for (int i = 0; i < n; i += CHUNK) {
        const int c = n - i < CHUNK ? n - i : CHUNK;
        float z[CHUNK];
        for (int k = 0; k < c; k++) {
            const float v = a[i + k];
            z[k] = gelu ? -1.5957691216057308f * v * (1 + 0.044715f * v * v) : -v;
        }
        vvexpf(z, z, &c);
        vDSP_vsadd(z, 1, &one, z, 1, (vDSP_Length)c);
        vDSP_vdiv(z, 1, a + i, 1, z, 1, (vDSP_Length)c);          /* vDSP_vdiv divides its second argument by its first */
        vDSP_vmul(z, 1, b + i, 1, o + i, 1, (vDSP_Length)c);
    }
}
static void add(const float *a, const float *b, float *o, int n) { vDSP_vadd(a, 1, b, 1, o, 1, (vDSP_Length)n); }
static void scale(const float *a, float s, float *o, int n) { vDSP_vsmul(a, 1, &s, o, 1, (vDSP_Length)n); }
static void softcap(const float *a, float cap, float *o, int n) {
    const float in = 1 / cap;
    vDSP_vsmul(a, 1, &in, o, 1, (vDSP_Length)n);
    vvtanhf(o, o, &n);
    vDSP_vsmul(o, 1, &cap, o, 1, (vDSP_Length)n);
}

const kr_kernels *kr_accelerate(const kr_kernels *base) {
    static kr_kernels k;
    static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&once);
    if (!k.name) {
        k = *base;
        k.sgemm = sgemm;
        k.rmsnorm = rmsnorm; k.gate = gate; k.add = add; k.scale = scale; k.softcap = softcap;
        k.name = "Accelerate";
#if !defined(__APPLE__)
        openblas_set_num_threads(1);               /* chunks run on the model's own threads */
#endif
    }
    pthread_mutex_unlock(&once);
    return &k;
}
