package cpu

import (
	"runtime"

	"github.com/klauspost/cpuid/v2"
)

const maxThreads = 256 // KR_MAX_THREADS

// defaultThreads is one per physical core that the process may use: the CPUs of its affinity mask, halved where two
// share a core, and no more than its control group's quota. runtime.GOMAXPROCS(0) has the quota since Go 1.25.
func defaultThreads() int {
	n := runtime.NumCPU() // by affinity mask
	if per := cpuid.CPU.ThreadsPerCore; per > 1 && n >= per {
		n /= per
	}
	return max(1, min(n, runtime.GOMAXPROCS(0), maxThreads))
}
