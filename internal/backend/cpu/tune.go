//go:build cgo && !purego && !windows

package cpu

/*
#include "model.h"
*/
import "C"

import (
	"fmt"
	"sync"
	"time"
	"unsafe"

	"github.com/krserve/krserve/internal/graph"
	"github.com/krserve/krserve/internal/quant"
)

// All variants give the same bits, so which one multiplies a matrix is a matter of speed alone. It is measured at Load,
// on the model's own weights, per shape and for three numbers of rows.

const (
	tuneLeast = 4 << 20 // bytes of weights of one shape below which nothing is gained
	tuneBytes = 1 << 20 // of weights read by one measurement
	tuneReps  = 3
)

// tuneRows are the rows of activations that stand for one, a few (2 to 15) and many.
var tuneRows = [C.KR_PICKS]int{1, 4, 32}

// shape is what the speed of a matmul depends on. Rows of weights only repeat it.
type shape struct {
	typ        quant.Type
	cols       int
	group, aux int
	wide       bool
}

type rate = Rate[*C.kr_kernels]

// picked is the outcome for one shape: per number of rows all variants, the chosen one first.
type picked struct {
	shape
	bytes int64
	rates [C.KR_PICKS][]rate
	read  float64 // bytes per second of a plain read of the same weights
}

// tune fills in the picks of all matrices and returns what was measured. k is what is used where nothing is; forced
// leaves it everywhere.
func tune(g *graph.Graph, p *plan, c *C.kr_plan, k *C.kr_kernels, forced bool) []picked {
	mats, picks := unsafe.Slice(c.mats, len(g.Weights)), unsafe.Slice(c.picks, len(g.Weights))
	for i := range picks {
		for r := range picks[i].by {
			picks[i].by[r] = k
		}
	}
	if forced {
		return nil
	}
	var order []shape
	of, bytes := map[shape][]int{}, map[shape]int64{}
	for i := range p.nodes {
		n := &p.nodes[i]
		if !n.matrix {
			continue
		}
		w := &g.Weights[n.w]
		s := shape{w.Type, w.Cols, w.Group, int(w.AuxType), n.kind == opLinearWide}
		if of[s] == nil {
			order = append(order, s)
		}
		of[s] = append(of[s], n.w)
		bytes[s] += int64(w.Rows * w.Type.RowBytes(w.Cols))
	}
	var done []picked
	for _, s := range order {
		if bytes[s] < tuneLeast {
			continue
		}
		m := picked{shape: s, bytes: bytes[s]}
		m.measure(&mats[of[s][0]], k)
		for _, w := range of[s] {
			for r := range m.rates {
				picks[w].by[r] = m.rates[r][0].K
			}
		}
		if m.read > 0 { // its matrices have rows enough
			done = append(done, m)
		}
	}
	return done
}

// forRows is the variant that does what k passes on where r, an index of tuneRows, stands for few rows.
func forRows(k *C.kr_kernels, r int) *C.kr_kernels {
	if r < C.KR_MANY_ROWS && k.few != nil {
		return k.few
	}
	return k
}

// candidates are the variants that this machine runs, portable C left out, and those that pass these rows on.
func candidates(r int) []*C.kr_kernels {
	var ks []*C.kr_kernels
	for _, k := range variants() {
		if n := nameOf(k); supported(n) && n != "generic" && forRows(k, r) == k {
			ks = append(ks, k)
		}
	}
	return ks
}

func (m *picked) measure(w *C.kr_weight, k *C.kr_kernels) {
	wide := cbool(m.wide)
	for r, rows := range tuneRows {
		k, ks := forRows(k, r), candidates(r)
		n := min(max(32, tuneBytes/int(w.stride)/rows/32*32), int(w.rows)/32*32)
		if n == 0 || len(ks) == 0 {
			m.rates[r] = []rate{{K: k}}
			continue
		}
		work := float64(n) * float64(w.stride)
		if r > 0 {
			work = float64(n) * float64(w.cols) * float64(rows)
		}
		if r == 0 { // brings the pages in, too
			from := w.data
			if w.packed != nil {
				from = w.packed
			}
			for range tuneReps + 1 {
				m.read = max(m.read, float64(C.kr_read_speed(from, C.uint64_t(work))))
			}
		}
		var rs []rate
		for _, c := range ks {
			rs = append(rs, rate{K: c})
		}
		round := func(rs []rate) {
			for i := range rs {
				if t := float64(C.kr_time_matmul(rs[i].K, w, C.int(n), C.int(rows), wide, tuneReps)); t > 0 {
					rs[i].Best = max(rs[i].Best, work/t)
				}
			}
		}
		round(rs)
		m.rates[r] = Choose(rs, k, round)
	}
}

// peaks holds what each variant does on registers alone, measured once per process.
var peaks struct {
	sync.Mutex
	of map[*C.kr_kernels]float64
}

func peakOf(k *C.kr_kernels) float64 {
	peaks.Lock()
	defer peaks.Unlock()
	if peaks.of == nil {
		peaks.of = map[*C.kr_kernels]float64{}
	}
	v, ok := peaks.of[k]
	if !ok {
		v = float64(C.kr_peak(k))
		peaks.of[k] = v
	}
	return v
}

// String says what was chosen, what it reaches and what it was chosen over. All figures are one thread's.
func (m *picked) String() string {
	s := fmt.Sprintf("%v of %d columns, %.0f MB: ", m.typ, m.cols, float64(m.bytes)/1e6)
	for r, what := range []string{"1 row ", "; 2-15 rows ", "; more "} {
		for i, x := range m.rates[r] {
			name := nameOf(x.K)
			switch {
			case i == 1:
				s += fmt.Sprintf(" (%s %.3g", name, x.Best/1e9)
			case i > 0:
				s += fmt.Sprintf(", %s %.3g", name, x.Best/1e9)
			case r == 0:
				s += fmt.Sprintf("%s%s %.3g GB/s, %.0f %% of a plain read", what, name, x.Best/1e9, percent(x.Best, m.read))
			case m.typ <= quant.BF16:
				s += fmt.Sprintf("%s%s %.3g GMAC/s", what, name, x.Best/1e9)
			default:
				terms := 1.0
				if m.wide {
					terms = 2
				}
				s += fmt.Sprintf("%s%s %.3g GMAC/s, %.0f %% of peak", what, name, x.Best/1e9, percent(terms*x.Best, peakOf(x.K)))
			}
		}
		if len(m.rates[r]) > 1 {
			s += ")"
		}
	}
	return s
}

func percent(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return 100 * a / b
}

// readSpeed is what the given number of threads read of b per second, in GB. The whole costs a few milliseconds; b is read
// through once before.
func readSpeed(b []byte, threads int) float64 {
	const most, least = 32 << 20, 4 << 20
	if b = b[:min(len(b), most)]; len(b) < least {
		return 0
	}
	per := len(b) / threads &^ 63
	best := 0.0
	for range 3 {
		var wg sync.WaitGroup
		start := time.Now()
		for t := range threads {
			wg.Go(func() { C.kr_read_speed((*C.uint8_t)(unsafe.Pointer(&b[t*per])), C.uint64_t(per)) })
		}
		wg.Wait()
		best = max(best, float64(per*threads)/time.Since(start).Seconds())
	}
	return best / 1e9
}
