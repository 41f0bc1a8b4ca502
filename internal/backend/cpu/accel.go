//go:build cgo && (darwin || openblas) && !purego && !windows

package cpu

/*
#cgo darwin LDFLAGS: -framework Accelerate
#cgo openblas LDFLAGS: -lopenblas
#include "model.h"
const kr_kernels *kr_accelerate(const kr_kernels *base);
*/
import "C"

// Accelerate is the name of the variant that works through Accelerate, or OpenBLAS with the build tag openblas. It is
// never chosen by itself: its sums vary with the number of rows.
const Accelerate = "Accelerate"

func accelerated() (*C.kr_kernels, error) {
	base, err := kernels("")
	if err != nil {
		return nil, err
	}
	return C.kr_accelerate(base), nil
}
