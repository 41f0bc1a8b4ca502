package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/cpuid/v2"
)

// peakMB is the largest resident size so far, 0 where /proc does not tell.
func peakMB() float64 {
	data, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	var kb float64
	_, _ = fmt.Sscan(rest, &kb)
	return kb / 1024
}

func cpuName() string {
	if name := cpuid.CPU.BrandName; name != "" {
		return name
	}
	return "unknown CPU"
}

// readBandwidth measures how fast this many threads read memory that no cache holds, in GB/s (10⁹ bytes): the best of
// several passes. Its buffer is gone when it returns.
func readBandwidth(threads int) float64 {
	defer debug.FreeOSMemory()
	const size = 256 << 20
	threads = max(1, threads)
	parts := make([][]uint64, threads)
	for i := range parts {
		parts[i] = make([]uint64, size/8/threads)
		for j := range parts[i] {
			parts[i][j] = uint64(j)
		}
	}
	best := 0.0
	var sink uint64
	var mu sync.Mutex
	for range 5 {
		var wg sync.WaitGroup
		start := time.Now()
		for _, p := range parts {
			wg.Go(func() {
				s := sum(p)
				mu.Lock()
				sink += s
				mu.Unlock()
			})
		}
		wg.Wait()
		best = max(best, float64(threads*len(parts[0])*8)/1e9/time.Since(start).Seconds())
	}
	if sink == 1 { // keeps the sums alive
		return 0
	}
	return best
}

// sum reads every word; eight chains keep enough loads in flight for one core's share of the memory.
func sum(p []uint64) uint64 {
	var a, b, c, d, e, f, g, h uint64
	for len(p) >= 8 {
		q := (*[8]uint64)(p)
		a, b, c, d = a+q[0], b+q[1], c+q[2], d+q[3]
		e, f, g, h = e+q[4], f+q[5], g+q[6], h+q[7]
		p = p[8:]
	}
	return a + b + c + d + e + f + g + h
}
