//go:build !purego

/* kern_neon.c - Armv8-A Advanced SIMD. */
#if defined(__aarch64__)
#include "kern.h"
#include "isa_neon.h"
#define KR_VARIANT kr_neon
#define KR_VARIANT_NAME "NEON"
#include "kern_impl.h"
#endif
