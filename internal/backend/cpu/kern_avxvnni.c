//go:build !purego

/* kern_avxvnni.c - AVX2 with the 256-bit VPDPBUSD of AVX-VNNI. */
#if defined(__x86_64__)
#define KR_VNNI 1
#include "kern.h"
#include "isa_avx2.h"
#define KR_VARIANT kr_avxvnni
#define KR_VARIANT_NAME "AVXVNNI"
#include "kern_impl.h"
#endif
