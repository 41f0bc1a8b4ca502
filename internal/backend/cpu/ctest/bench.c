/* bench.c - speed of matmuls on one thread, the kernel variants that this CPU runs in turn, the best of many short runs.
 * Weights as they are stored, and packed.
 * bench [type|all [variant[,variant...]|all [K N]]]: pin it, `taskset -c 0 ./build/bench Q4_1 AMXINT8,AVX512VNNI 576 1536`. */
#include "../kern.h"
#include "ctest.h"
#include <time.h>

enum { ROWS = 512, VARIANTS = 8, REPS = 200 };
static const kr_kernels *ks[VARIANTS];
static int nk;

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec; }

static void one(int type, int wide, int packed, int K, int N) {
    static const int ms[] = { ROWS, 64, 32, 24, 16, 12, 8, 4, 2, 1 };
    const int nb = K / QK, mats = 1 + (int)(24e6 / ((double)N * K * 0.6));      /* more than a second-level cache */
    kr_weight w = test_weight(type, N * mats, K, 64, KR_BF16);
    uint8_t *strips = packed ? test_pack(&w) : NULL;
    w.packed = strips;
    float *x = tmem((size_t)ROWS * (size_t)K * 4), *y = tmem((size_t)ROWS * (size_t)N * 4);
    const size_t xs = KR_XSIZE(wide) * (size_t)nb;
    char *q = tmem(xs * ROWS);
    void *tile = tmem(KR_TILE_BYTES);
    for (size_t i = 0; i < (size_t)ROWS * (size_t)K; i++) x[i] = rndf();
    for (int r = 0; r < ROWS; r++) {
        void *xr = q + (size_t)r * xs;
        if (wide) ks[0]->quantize2(x + (size_t)r * (size_t)K, K, xr); else ks[0]->quantize(x + (size_t)r * (size_t)K, K, xr);
    }
    for (size_t i = 0; i < sizeof ms / sizeof *ms; i++) {
        const int m = ms[i], most = m == ROWS ? 96 : 1024, n = N < most ? N : most;
        const double work = (double)m * n * K;
        double best[VARIANTS];
        for (int k = 0; k < nk; k++) best[k] = 1e9;
        for (int rep = 0; rep < REPS; rep++)
            for (int k = 0; k < nk; k++) {
                const int from = rep % mats * N;
                double t = now();
                if (type > KR_BF16) ks[k]->matmul(&w, from, from + n, (const kr_xblk *)(const void *)q, xs, m, y - from, (size_t)N, tile, wide);
                else ks[k]->matmulf(&w, from, from + n, x, (size_t)K, m, y - from, (size_t)N, tile);
                t = now() - t;
                best[k] = t < best[k] ? t : best[k];
            }
        printf("%-7s %s %s %5dx%-5d M=%-3d", kr_types[type].name, packed ? "packed" : "stored", wide ? "2 terms" : type > KR_BF16 ? "1 term " : "       ", K, N, m);
        for (int k = 0; k < nk; k++) {
            if (m > 1) printf("  %s %6.1f", ks[k]->name, work / best[k] * 1e-9);
            else printf("  %s %6.1f GB/s", ks[k]->name, (double)n * ((double)w.stride + 2 * (double)w.astride) / best[k] * 1e-9);
        }
        puts(m > 1 ? " GMAC/s" : "");
        fflush(stdout);
    }
    free_weight(&w); tfree(strips); tfree(x); tfree(y); tfree(q); tfree(tile);
}

static int listed(const char *list, const char *name) {
    const size_t n = strlen(name);
    for (const char *p = list; p; p = strchr(p, ',')) {
        p += *p == ',';
        if (!strncmp(p, name, n) && (!p[n] || p[n] == ',')) return 1;
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *type = argc > 1 ? argv[1] : "all", *list = argc > 2 ? argv[2] : "all";
    const int K = argc > 4 ? atoi(argv[3]) : 1536, N = argc > 4 ? atoi(argv[4]) : 4096;
    if (K <= 0 || N <= 0) { puts("K and N must be positive"); return 2; }
    for (int i = 0; kr_variants[i]; i++) {
        const kr_kernels *k = kr_variants[i];
        if (kr_supported(k) && (!strcmp(list, "all") ? strcmp(k->name, "generic") != 0 : listed(list, k->name))) ks[nk++] = k;
    }
    if (!nk) { puts("no such variant on this CPU"); return 2; }
    for (int t = KR_F32; t < KR_NTYPES; t++)
        if (K % (t > KR_BF16 ? QK * kr_types[t].per : 1) == 0 && (!strcmp(type, "all") || !strcmp(type, kr_types[t].name)))
            for (int i = 0; i <= 3 * (t > KR_BF16); i++) one(t, i / 2, i % 2, K, N);
    return 0;
}
