/* ctest.h - what the C tests share. */
#ifndef CTEST_H
#define CTEST_H
#include "../kern.h"
#include <stdio.h>
#include <stdlib.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

static inline uint32_t rnd(void) { static uint32_t s = 1; s ^= s << 13; s ^= s >> 17; s ^= s << 5; return s; }
static inline float rndf(void) { return (float)((int32_t)rnd() >> 8) * 0x1p-23f; }
/* 64-aligned, with a guard of nothing: ASan sees any byte beyond. */
static inline void *tmem(size_t n) { void *p = NULL; if (posix_memalign(&p, 64, n ? n : 1)) abort(); return p; }
static inline void tfree(void *p) { free(p); }

kr_weight test_weight(int type, int rows, int cols, int group, int aux);
/* All strips of w, for w.packed; NULL for floats. */
uint8_t *test_pack(const kr_weight *w);
void free_weight(kr_weight *w);

/* Whether this CPU and system run a variant. */
static inline int kr_supported(const kr_kernels *k) {
    if (!strcmp(k->name, "generic")) return 1;
#if defined(__x86_64__)
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (!strcmp(k->name, "AVX2")) return avx2;
    int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
    unsigned a = 7, b, c = 0, d, a1 = 7, b1, c1 = 1, d1;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    __asm__ volatile("cpuid" : "+a"(a1), "=b"(b1), "+c"(c1), "=d"(d1));
    if (!strcmp(k->name, "AVX512VNNI")) return avx512;
    if (!strcmp(k->name, "AVXVNNI")) return avx2 && (a1 >> 4 & 1);
    if (!strcmp(k->name, "AMXINT8")) return avx512 && (d >> 24 & 3) == 3 && kr_amx_permit();
#elif defined(__aarch64__)
    unsigned long h = getauxval(AT_HWCAP), h2 = getauxval(AT_HWCAP2);
    if (!strcmp(k->name, "NEON")) return 1;
    if (!strcmp(k->name, "DOTPROD")) return (h & (1ul << 20)) != 0;
    if (!strcmp(k->name, "I8MM")) return (h2 & (1ul << 13)) != 0;
#endif
    return 0;
}
#endif
