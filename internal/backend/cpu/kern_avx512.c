//go:build !purego

/* kern_avx512.c - AVX-512 F, BW, DQ, VL and VNNI; with AMX, the same but for matmuls of many rows. */
#if defined(__x86_64__)
#include "kern.h"
#include "isa_avx512.h"
#define KR_VARIANT kr_avx512vnni
#define KR_VARIANT_NAME "AVX512VNNI"
#include "kern_impl.h"
#if defined(KR_AMX)
#include "amx_impl.h"
const kr_kernels kr_amxint8 = KR_TABLE("AMXINT8", &kr_avx512vnni, matmul_amx, amx_peak);
#endif
#endif
