//go:build !purego

/* kern_dotprod.c - Advanced SIMD with SDOT (Armv8.2 FEAT_DotProd). */
#if defined(__aarch64__)
#define KR_DOT 1
#include "kern.h"
#include "isa_neon.h"
#define KR_VARIANT kr_dotprod
#define KR_VARIANT_NAME "DOTPROD"
#include "kern_impl.h"
#endif
