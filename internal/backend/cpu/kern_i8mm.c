//go:build !purego

/* kern_i8mm.c - Advanced SIMD with SDOT and SMMLA (FEAT_I8MM). */
#if defined(__aarch64__)
#define KR_MMLA 1
#include "kern.h"
#include "isa_neon.h"
#define KR_VARIANT kr_i8mm
#define KR_VARIANT_NAME "I8MM"
#include "kern_impl.h"
#endif
