package regress

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

var thresholdPaths = flag.Int("threshold-paths", 0, "simulated histories of TestThresholds, whose rates it then prints as thresholds.go has them")

// TestThresholds simulates exchangeable histories: the scan exceeds a limit for the first time as often per commit as the table
// says, for windows of every length.
func TestThresholds(t *testing.T) {
	paths := 400
	if *thresholdPaths > 0 {
		paths = *thresholdPaths
	}
	const columns, rows = len(lengths), len(limits)
	var risk, hits [columns][rows]float64
	var mu sync.Mutex
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for p := w; p < paths; p += workers {
				rng := rand.New(rand.NewPCG(uint64(p), 20261130))
				d := detector{}
				var top [columns]float64
				for i := range Window + fullCommits {
					d.push(rng.Float64())
					if i+1 >= lengths[0] {
						_, score := split(d.rank[d.start:])
						c := column(i + 1)
						top[c] = max(top[c], score)
					}
				}
				mu.Lock()
				for b, limit := range limits {
					for c := range columns {
						risk[c][b]++
						if top[c] > limit {
							hits[c][b]++
							break
						}
					}
				}
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	for c := range columns {
		commits := float64(fullCommits)
		if c+1 < columns {
			commits = float64(lengths[c+1] - lengths[c])
		}
		if *thresholdPaths > 0 {
			fmt.Printf("\t{ // from %d commits on\n\t\t", lengths[c])
		}
		for b, limit := range limits {
			share := hits[c][b] / risk[c][b]
			if *thresholdPaths > 0 {
				if math.IsInf(math.Log1p(-share), 0) {
					share = 0.999
				}
				fmt.Printf("%.4g,%s", -math.Log1p(-share)/commits, []string{" ", "\n\t\t"}[(b+1)%9/8*min(1, rows-1-b)])
				continue
			}
			// Binomial: four standard errors.
			want := -math.Expm1(-rates[c][b] * commits)
			if n := risk[c][b]; n > 50 && math.Abs(share-want) > 4*math.Sqrt(want*(1-want)/n)+1/n {
				t.Errorf("from %d commits on, limit %.2f: exceeded in %.4f of the histories, want %.4f", lengths[c], limit, share, want)
			}
		}
		if *thresholdPaths > 0 {
			fmt.Print("\n\t},\n")
		}
	}
}
