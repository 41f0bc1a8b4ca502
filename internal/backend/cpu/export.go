//go:build cgo && !purego && !windows

package cpu

import "C"

// krgo_cpu_kernels is called by nobody. The go command compiles a cgo package again for every shared library, a minute here,
// unless it exports something: only then does it keep the header that it wants to find in its cache.
//
//export krgo_cpu_kernels
func krgo_cpu_kernels() {}
