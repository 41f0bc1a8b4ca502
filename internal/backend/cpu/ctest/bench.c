/* bench.c - speed of the matmuls of every kernel variant that this CPU runs, on one thread.
 * The best of many short runs, so that other processes disturb little. bench [type [variant]]: pin it, `taskset -c 0 ./bench Q4_1`. */
#include "../kern.h"
#include "ctest.h"
#include <time.h>

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec; }

static void one(const kr_kernels *k, int type, int wide) {
    enum { K = 1536, N = 4096 };
    static const int ms[] = { 512, 16, 10, 8, 4, 2, 1 };
    const int nb = K / QK, mats = 6;
    kr_weight w = test_weight(type, N * mats, K, 64, KR_BF16);
    float *x = tmem(4ul * 512 * K), *y = tmem(4ul * 512 * N);
    const size_t xs = KR_XSIZE(wide) * (size_t)nb;
    char *q = tmem(xs * 512);
    kr_xblk *xq = (kr_xblk *)(void *)q;
    void *tile = tmem(KR_TILE_BYTES);
    for (size_t i = 0; i < 512ul * K; i++) x[i] = rndf();
    for (int r = 0; r < 512; r++) {
        void *xr = q + (size_t)r * xs;
        if (wide) k->quantize2(x + (size_t)r * K, K, xr); else k->quantize(x + (size_t)r * K, K, xr);
    }
    printf("%-11s %-7s %s", k->name, kr_types[type].name, wide ? "2 terms" : type > KR_BF16 ? "1 term " : "       ");
    for (int i = 0; i < 7; i++) {
        const int m = ms[i], n = m == 512 ? 64 : m >= 8 ? 512 : 1024;
        double best = 1e9;
        for (int rep = 0; rep < 40; rep++) {
            int from = rep % mats * N;
            double t = now();
            if (type > KR_BF16) k->matmul(&w, from, from + n, xq, xs, m, y - from, N, tile, wide);
            else k->matmulf(&w, from, from + n, x, K, m, y - from, N, tile);
            t = now() - t;
            best = t < best ? t : best;
        }
        if (m > 1) printf("  M=%d %5.1f", m, (double)m * n * K / best * 1e-9);
        else printf("  M=1 %5.1f GMAC/s, %5.1f GB/s", (double)n * K / best * 1e-9, (double)n * ((double)w.stride + 2 * (double)w.astride) / best * 1e-9);
    }
    puts("");
    fflush(stdout);
    free_weight(&w); tfree(x); tfree(y); tfree(q); tfree(tile);
}

int main(int argc, char **argv) {
    for (int i = 0; kr_variants[i]; i++) {
        const kr_kernels *k = kr_variants[i];
        if (!kr_supported(k) || (argc > 2 && strcmp(argv[2], k->name)) || (argc <= 2 && !strcmp(k->name, "generic"))) continue;
        for (int t = KR_F32; t < KR_NTYPES; t++)
            if (argc <= 1 || !strcmp(argv[1], "all") || !strcmp(argv[1], kr_types[t].name)) for (int wide = 0; wide <= (t > KR_BF16); wide++) one(k, t, wide);
    }
    return 0;
}
