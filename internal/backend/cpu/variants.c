//go:build !purego

/* variants.c - the table of kernel variants that this binary holds. */
#include "kern.h"

const kr_kernels *const kr_variants[] = {
#if defined(KR_AMX)
    &kr_amxint8,
#endif
#if defined(__x86_64__)
    &kr_avx512vnni, &kr_avxvnni, &kr_avx2,
#elif defined(__aarch64__)
    &kr_i8mm, &kr_dotprod, &kr_neon,
#endif
    &kr_generic, NULL,
};
