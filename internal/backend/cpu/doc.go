// Package cpu runs graphs with C kernels chosen at run time by CPU and, among those of equal bits, by measurement
// (tune.go): AVX2, AVX-VNNI, AVX-512 VNNI, AMX int8, NEON, NEON dotprod, i8mm, and portable C.
//
// Weights are read as the file stores them. Activations are rounded to 8-bit integers, 32 to a scale, once per
// matmul; integer sums are exact, and the float operations on them run in one fixed order along K (quant.h states
// the rule), so a row's bits are the same for any batch, chunking, thread count and kernel variant. Attention takes
// keys by absolute position, 32 at a time. A step is one call into C, where threads of the model's own share its
// phases (pool.h).
//
// The package is empty without cgo or with the build tag purego: New then returns ErrNotBuilt.
package cpu

import "errors"

// ErrNotBuilt is returned by New in binaries built without cgo or with the tag purego.
var ErrNotBuilt = errors.New("cpu backend: not in this binary (built without cgo)")
