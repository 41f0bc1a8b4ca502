//go:build cgo && !(darwin || openblas) && !purego && !windows

package cpu

/*
#include "model.h"
*/
import "C"

import (
	"fmt"

	"github.com/krserve/krserve/internal/backend"
)

// Accelerate is the name of a variant that this build lacks.
const Accelerate = "Accelerate"

func accelerated() (*C.kr_kernels, error) {
	return nil, fmt.Errorf("cpu: kernel %q: this build has no Accelerate framework: %w", Accelerate, backend.ErrUnsupported)
}
