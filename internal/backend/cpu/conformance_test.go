//go:build cgo && !purego && !windows

package cpu_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/cpuid/v2"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/backend/backendtest"
	"github.com/krserve/krserve/internal/backend/cpu"
	_ "github.com/krserve/krserve/internal/backend/reference"
)

// features are the instruction sets for which kernels are written; a machine that has one must run its variant.

var features = map[string]cpuid.FeatureID{
	"AVX2": cpuid.AVX2, "AVXVNNI": cpuid.AVXVNNI, "AVX512VNNI": cpuid.AVX512VNNI, "AMXINT8": cpuid.AMXINT8, "NEON": cpuid.ASIMD, "DOTPROD": cpuid.ASIMDDP, "I8MM": cpuid.I8MM,
}

// TestConformance runs the suite of all backends on every kernel variant that this machine has, from weights as they
// are stored and, but for what is portable C, packed.
func TestConformance(t *testing.T) {
	b, err := cpu.New()
	if err != nil {
		t.Fatal(err)
	}
	names, usable := cpu.Variants()
	var table []string
	ran := map[string]bool{}
	for i, name := range names {
		if !usable[i] {
			table = append(table, name+": not run, this machine lacks it")
			continue
		}
		ran[name] = true
		ok := t.Run(name, func(t *testing.T) {
			o := backendtest.Options{ActBlock: 32, Limits: backend.Limits{KV: backend.KVF16, Kernel: name}}
			if o.Brief = name == "generic"; o.Brief || testing.Short() { // slow, or emulated
				o.Threads = []int{1, 3}
			}
			backendtest.Run(t, b, o)
			if o.Brief && testing.Short() {
				return
			}
			o.Threads = []int{3}
			o.Limits.Packed = filepath.Join(t.TempDir(), "w"+backend.PackedSuffix)
			o.Limits.ActivationBits = 8
			t.Run("8", func(t *testing.T) { backendtest.Run(t, b, o) })
			o.Limits.ActivationBits = 0
			for _, kv := range []backend.KVType{backend.KVQ8, backend.KVQ4} {
				o.Limits.KV = kv
				t.Run(kv.String(), func(t *testing.T) { backendtest.RunKV(t, b, o) })
			}
		})
		if ok {
			table = append(table, name+": ok")
		} else {
			table = append(table, name+": FAIL")
		}
	}
	t.Logf("kernel variants:\n\t%s", strings.Join(table, "\n\t"))
	for name, f := range features {
		if cpuid.CPU.Has(f) && !ran[name] {
			t.Errorf("this machine has %v, but the variant %s was not tested", f, name)
		}
	}
}
