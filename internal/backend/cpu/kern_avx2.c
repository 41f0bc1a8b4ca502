//go:build !purego

/* kern_avx2.c - AVX2, FMA and F16C. */
#if defined(__x86_64__)
#include "kern.h"
#include "isa_avx2.h"
#define KR_VARIANT kr_avx2
#define KR_VARIANT_NAME "AVX2"
#include "kern_impl.h"
#endif
