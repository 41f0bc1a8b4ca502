package main

import (
	"context"
	"fmt"
	"runtime"
	"strings"

	"github.com/klauspost/cpuid/v2"

	"github.com/krserve/krserve/internal/backend"
)

// diagnosis is what `doctor -json` prints.
type diagnosis struct {
	Version   string         `json:"version"`
	OS        string         `json:"os"`
	Arch      string         `json:"arch"`
	CPU       string         `json:"cpu"`
	Cores     int            `json:"physical_cores"`
	Threads   int            `json:"usable_threads"`
	Features  []string       `json:"features"`
	GPU       string         `json:"gpu"`
	ReadGBps  float64        `json:"read_gb_s"`
	Default   string         `json:"default_backend"`
	Kernels   []kernelReport `json:"kernels"`
	Speed     []string       `json:"speed"` // per weight type: the kernels chosen by measurement, for matrices that need several MB
	Unhealthy int            `json:"failures"`
}

// kernelReport is the self-test of one kernel variant of one backend.
type kernelReport struct {
	Backend string   `json:"backend"`
	Kernel  string   `json:"kernel"`
	Usable  bool     `json:"usable"` // this CPU has its instructions
	Types   int      `json:"types"`  // weight types tried
	Worst   float64  `json:"worst_error"`
	Chosen  []string `json:"chosen,omitempty"`
	Errors  []string `json:"errors,omitempty"`
}

// features are the instruction sets that matter to some kernel.
var features = []cpuid.FeatureID{
	cpuid.SSE4, cpuid.AVX, cpuid.AVX2, cpuid.FMA3, cpuid.F16C, cpuid.AVXVNNI, cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512VL,
	cpuid.AVX512VNNI, cpuid.AVX512BF16, cpuid.AVX512FP16, cpuid.AMXTILE, cpuid.AMXINT8, cpuid.AMXBF16,
	cpuid.ASIMD, cpuid.ASIMDHP, cpuid.ASIMDDP, cpuid.SVE,
}

func runDoctor(_ context.Context, c *call) error {
	asJSON := c.flags.Bool("json", false, "print one JSON object")
	if err := c.parseOnly("doctor [-json]"); err != nil {
		return err
	}
	d := diagnosis{
		Version: version, OS: runtime.GOOS, Arch: runtime.GOARCH, CPU: cpuName(), Cores: cpuid.CPU.PhysicalCores,
		Threads: runtime.GOMAXPROCS(0), GPU: "none: this build has no GPU backend", Features: []string{},
	}
	for _, f := range features {
		if cpuid.CPU.Supports(f) {
			d.Features = append(d.Features, f.String())
		}
	}
	d.ReadGBps = readBandwidth(d.Threads)
	if b, ok := backend.Lookup(""); ok {
		d.Default = b.Name()
	}
	for _, name := range backend.Names() {
		for _, v := range variants(name) {
			r := selfTest(name, v)
			d.Unhealthy += len(r.Errors)
			d.Kernels = append(d.Kernels, r)
		}
	}
	d.Speed = speeds(d.Default)
	if *asJSON {
		if err := printJSON(c.stdout, d); err != nil {
			return err
		}
	} else {
		d.print(c)
	}
	if d.Unhealthy > 0 {
		return fmt.Errorf("%d self-tests failed", d.Unhealthy)
	}
	return nil
}

func (d *diagnosis) print(c *call) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(c.stdout, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("krserve", "%s on %s/%s", d.Version, d.OS, d.Arch)
	row("cpu", "%s, %d physical cores, %d threads usable", d.CPU, d.Cores, d.Threads)
	row("features", "%s", strings.Join(d.Features, " "))
	row("gpu", "%s", d.GPU)
	row("memory", "%.1f GB/s read by %d threads", d.ReadGBps, d.Threads)
	row("backend", "%s by default", d.Default)
	for _, k := range d.Kernels {
		name := k.Backend
		if k.Kernel != "" {
			name += " " + k.Kernel
		}
		switch {
		case !k.Usable:
			row("kernel", "%-22s not usable on this CPU", name)
		case len(k.Errors) > 0:
			row("kernel", "%-22s FAILED: %s", name, strings.Join(k.Errors, "; "))
		default:
			row("kernel", "%-22s ok: %d weight types, largest deviation %.2g", name, k.Types, k.Worst)
		}
	}
	for _, s := range d.Speed {
		row("speed", "%s", s)
	}
}
