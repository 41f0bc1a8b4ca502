//go:build !purego

/* tune.c - how fast the variants are on this machine: what Go chooses by. */
#define _POSIX_C_SOURCE 200809L
#include "kern.h"
#include <stdlib.h>
#include <time.h>

double kr_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Bytes per second of a plain read of [p, p+n) by this thread. */
double kr_read_speed(const uint8_t *p, uint64_t n) {
    uint64_t s[8] = { 0 };
    const double t0 = kr_now();
    for (uint64_t i = 0; i + 64 <= n; i += 64) {
        uint64_t v[8];
        memcpy(v, p + i, 64);
        for (int k = 0; k < 8; k++) s[k] += v[k];
    }
    const double t = kr_now() - t0;
    volatile uint64_t sink = s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
    (void)sink;
    return t > 0 ? (double)n / t : 0;
}

/* Seconds of the fastest of `reps` products of the first n rows of w, a multiple of 32, with m rows of activations; 0
 * when there is no memory. */
double kr_time_matmul(const kr_kernels *k, const kr_weight *w, int n, int m, int wide, int reps) {
    const int quantised = w->type > KR_BF16;
    const size_t xs = quantised ? (size_t)(w->cols / QK) * KR_XSIZE(wide) : 4 * (size_t)w->cols;
    const size_t xn = (xs * (size_t)m + 63) / 64 * 64, yn = (4 * (size_t)n * (size_t)m + 63) / 64 * 64;
    char *mem = NULL;
    if (posix_memalign((void **)&mem, 64, KR_TILE_BYTES + xn + yn + 64)) return 0;
    memset(mem, 0, KR_TILE_BYTES + xn + yn + 64);
    float *y = (float *)(void *)(mem + KR_TILE_BYTES + xn);
    const void *x = mem + KR_TILE_BYTES;
    double best = 0;
    for (int i = 0; i < reps; i++) {
        const double t0 = kr_now();
        if (quantised) k->matmul(w, 0, n, x, xs, m, y, (size_t)n, mem, wide);
        else k->matmulf(w, 0, n, x, xs / 4, m, y, (size_t)n, mem);
        const double t = kr_now() - t0;
        if (!best || t < best) best = t;
    }
    free(mem);
    return best;
}
double kr_peak(const kr_kernels *k) { return k->peak(); }
