//go:build cgo && openblas && !purego && !windows

package cpu_test

import (
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/backend/backendtest"
	"github.com/krserve/krserve/internal/backend/cpu"
)

// TestAccelerate runs the conformance suite on the variant of accel.c, whose sums promise closeness only.
func TestAccelerate(t *testing.T) {
	b, err := cpu.New()
	if err != nil {
		t.Fatal(err)
	}
	backendtest.Run(t, b, backendtest.Options{ActBlock: 32, Inexact: true, Limits: backend.Limits{KV: backend.KVF16, Kernel: cpu.Accelerate}})
}
