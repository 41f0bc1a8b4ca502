/* accel_openblas.h - what accel.c takes from Accelerate, over OpenBLAS and plain loops. Signatures are those of Apple's
 * vDSP and vForce references; strides are always 1 here. */
#ifndef KR_ACCEL_OPENBLAS_H
#define KR_ACCEL_OPENBLAS_H
#include <cblas.h>
#include <math.h>

typedef unsigned long vDSP_Length;
typedef long vDSP_Stride;

#define ELEMENTWISE(name, params, expr) \
static inline void name params { (void)ia; (void)io; for (vDSP_Length i = 0; i < n; i++) o[i] = expr; }
ELEMENTWISE(vDSP_vsmul, (const float *a, vDSP_Stride ia, const float *s, float *o, vDSP_Stride io, vDSP_Length n), a[i] * *s)
ELEMENTWISE(vDSP_vsadd, (const float *a, vDSP_Stride ia, const float *s, float *o, vDSP_Stride io, vDSP_Length n), a[i] + *s)
#undef ELEMENTWISE
#define ELEMENTWISE(name, expr) \
static inline void name(const float *a, vDSP_Stride ia, const float *b, vDSP_Stride ib, float *o, vDSP_Stride io, vDSP_Length n) { \
    (void)ia; (void)ib; (void)io; for (vDSP_Length i = 0; i < n; i++) o[i] = expr; }
ELEMENTWISE(vDSP_vadd, a[i] + b[i])
ELEMENTWISE(vDSP_vmul, a[i] * b[i])
ELEMENTWISE(vDSP_vdiv, b[i] / a[i])
#undef ELEMENTWISE
static inline void vDSP_svesq(const float *a, vDSP_Stride ia, float *s, vDSP_Length n) {
    float t = 0;
    (void)ia;
    for (vDSP_Length i = 0; i < n; i++) t += a[i] * a[i];
    *s = t;
}
static inline void vvexpf(float *o, const float *a, const int *n) { for (int i = 0; i < *n; i++) o[i] = expf(a[i]); }
static inline void vvtanhf(float *o, const float *a, const int *n) { for (int i = 0; i < *n; i++) o[i] = tanhf(a[i]); }
#endif
