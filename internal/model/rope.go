package model

import (
	"fmt"
	"math"

	"github.com/krserve/krserve/internal/graph"
)

// ropeConfig is a rotary embedding as a model file describes it.
type ropeConfig struct {
	Dims    int
	Base    float64
	Scaling string // "", "linear", "llama3" or "yarn"
	Factor  float64
	// Original is the context that the frequencies were trained for (llama3, yarn).
	Original float64
	// Low and High are llama3's low_freq_factor and high_freq_factor.
	Low, High float64
	// BetaFast and BetaSlow bound yarn's ramp in rotations over the original context.
	BetaFast, BetaSlow float64
	// Mscale multiplies sin and cos; 0 is 1.
	Mscale float64
	// Divisors divide the frequencies one by one (GGUF's rope_freqs.weight).
	Divisors []float32
}

// spec computes the frequencies: base^(-2i/Dims), scaled.
func (c ropeConfig) spec(interleaved bool) (graph.RopeSpec, error) {
	s := graph.RopeSpec{Base: c.Base, Dims: c.Dims, Interleaved: interleaved, Mscale: float32(c.Mscale)}
	if c.Dims <= 0 || c.Dims%2 != 0 {
		return s, fmt.Errorf("%w: rope over %d dimensions", ErrFormat, c.Dims)
	}
	if !(c.Base > 1) || math.IsInf(c.Base, 0) {
		return s, fmt.Errorf("%w: rope base %v", ErrFormat, c.Base)
	}
	if c.Scaling != "" && (!(c.Factor >= 1) || c.Factor > 1e6) {
		return s, fmt.Errorf("%w: rope scaling factor %v", ErrFormat, c.Factor)
	}
	if c.Divisors != nil && len(c.Divisors) != c.Dims/2 {
		return s, fmt.Errorf("%w: %d rope divisors for %d dimensions", ErrFormat, len(c.Divisors), c.Dims)
	}
	s.Freqs = make([]float32, c.Dims/2)
	for i := range s.Freqs {
		f := math.Pow(c.Base, -2*float64(i)/float64(c.Dims))
		switch c.Scaling {
		case "linear":
			f /= c.Factor
		case "llama3":
			f = c.llama3(f)
		case "yarn":
			f = c.yarn(i, f)
		}
		if c.Divisors != nil {
			f /= float64(c.Divisors[i])
		}
		s.Freqs[i] = float32(f)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return s, fmt.Errorf("%w: rope frequency %d is %v", ErrFormat, i, f)
		}
	}
	return s, nil
}

// llama3 slows long wavelengths by Factor, leaves short ones alone and blends between (Llama 3.1 model card code).
func (c ropeConfig) llama3(f float64) float64 {
	rotations := c.Original * f / (2 * math.Pi)
	switch {
	case rotations < c.Low:
		return f / c.Factor
	case rotations > c.High:
		return f
	}
	smooth := (rotations - c.Low) / (c.High - c.Low)
	return (1-smooth)*f/c.Factor + smooth*f
}

// yarn interpolates frequency i by a linear ramp over the dimensions (Peng et al. 2023, section 3.2).
func (c ropeConfig) yarn(i int, f float64) float64 {
	dim := func(rotations float64) float64 {
		return float64(c.Dims) * math.Log(c.Original/(rotations*2*math.Pi)) / (2 * math.Log(c.Base))
	}
	low := math.Max(math.Floor(dim(c.BetaFast)), 0)
	high := math.Min(math.Ceil(dim(c.BetaSlow)), float64(c.Dims-1))
	ramp := math.Min(math.Max((float64(i)-low)/math.Max(high-low, 0.001), 0), 1)
	return f/c.Factor*ramp + f*(1-ramp)
}

// yarnMscale is yarn's attention factor for a scaling factor (Peng et al. 2023, section 3.4).
func yarnMscale(factor, mscale float64) float64 {
	if factor <= 1 {
		return 1
	}
	return 0.1*mscale*math.Log(factor) + 1
}
