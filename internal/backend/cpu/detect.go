//go:build cgo && !purego && !windows

package cpu

// #include "kern.h"
import "C"

import (
	"sync"

	"github.com/klauspost/cpuid/v2"
)

// tiles asks the system for AMX's tile state, once.
var tiles = sync.OnceValue(func() bool { return C.kr_amx_permit() != 0 })

// supported reports whether this machine and its system run a kernel variant.
func supported(variant string) bool {
	c := &cpuid.CPU
	avx2 := c.Supports(cpuid.AVX2, cpuid.FMA3, cpuid.F16C)
	switch variant {
	case "generic":
		return true
	case "AVX2":
		return avx2
	case "AVXVNNI":
		return avx2 && c.Supports(cpuid.AVXVNNI)
	case "AVX512VNNI":
		return avx2 && c.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512VL, cpuid.AVX512DQ, cpuid.AVX512VNNI)
	case "AMXINT8":
		return supported("AVX512VNNI") && c.Supports(cpuid.AMXTILE, cpuid.AMXINT8) && tiles()
	case "NEON":
		return c.Supports(cpuid.ASIMD)
	case "DOTPROD":
		return c.Supports(cpuid.ASIMD, cpuid.ASIMDDP)
	case "I8MM":
		return c.Supports(cpuid.ASIMD, cpuid.ASIMDDP, cpuid.I8MM)
	}
	return false
}
