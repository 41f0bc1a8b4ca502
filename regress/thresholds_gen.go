//go:build ignore

// Command thresholds_gen prints the false-alarm rates of thresholds.go: how often per commit the rank scan over the last Window
// commits of an exchangeable history first exceeds a limit, once the window is full.
package main

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
)

const window, horizon, bins, low, step = 128, 200, 33, 2.4, 0.1

func main() {
	paths := flag.Int("paths", 1000000, "simulated histories")
	workers := flag.Int("workers", 2, "threads")
	flag.Parse()
	scale := make([][]float32, window+1)
	for n := range scale {
		scale[n] = make([]float32, n+1)
		for k := 1; k < n; k++ {
			scale[n][k] = float32(1 / math.Sqrt(float64(k)*float64(n-k)*float64(n+1)/3))
		}
	}
	type tally struct{ before, whole [bins]int64 }
	out := make([]tally, *workers)
	var wg sync.WaitGroup
	for w := range *workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rng := rand.New(rand.NewPCG(uint64(w), 20261125))
			xs, rank := make([]uint32, 0, window+horizon), make([]int32, 0, window+horizon)
			for p := w; p < *paths; p += *workers {
				xs, rank = xs[:0], rank[:0]
				var top [2]float32 // while the window fills, and until the end
				start := 0
				for t := range window + horizon {
					if t >= window {
						gone := xs[start]
						start++
						for i := start; i < len(xs); i++ {
							if xs[i] > gone {
								rank[i]--
							}
						}
					}
					x, r := rng.Uint32(), int32(1)
					for i := start; i < len(xs); i++ {
						if xs[i] > x {
							rank[i]++
						} else {
							r++
						}
					}
					xs, rank = append(xs, x), append(rank, r)
					n, u := len(xs)-start, int32(0)
					sc := scale[n]
					best := float32(0)
					for k := 1; k < n; k++ {
						u += int32(n) + 1 - 2*rank[start+k-1]
						z := float32(u) * sc[k]
						if z < 0 {
							z = -z
						}
						if z > best {
							best = z
						}
					}
					if t < window {
						top[0] = max(top[0], best)
					}
					top[1] = max(top[1], best)
				}
				for b := range bins {
					h := float32(low + step*float64(b))
					if top[0] > h {
						out[w].before[b]++
					}
					if top[1] > h {
						out[w].whole[b]++
					}
				}
			}
		}()
	}
	wg.Wait()
	for b := range bins {
		var before, whole float64
		for _, o := range out {
			before += float64(o.before[b])
			whole += float64(o.whole[b])
		}
		n := float64(*paths)
		rate := math.Log((n-before)/(n-whole)) / horizon
		fmt.Printf("{%.2f, %.4g}, // %.0f\n", low+step*float64(b), rate, whole-before)
	}
}
