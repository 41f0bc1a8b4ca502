//go:build !purego

/* kern_avx512.c - AVX-512 F, BW, DQ, VL and VNNI. */
#if defined(__x86_64__)
#include "kern.h"
#include "isa_avx512.h"
#define KR_VARIANT kr_avx512vnni
#define KR_VARIANT_NAME "AVX512VNNI"
#include "kern_impl.h"
#endif
