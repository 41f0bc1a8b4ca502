//go:build !purego

/* kern_generic.c - the kernels in portable C. */
#define KR_SCALAR_UNPACK 1
#include "kern.h"
#include "isa_generic.h"
#define KR_VARIANT kr_generic
#define KR_VARIANT_NAME "generic"
#include "kern_impl.h"
