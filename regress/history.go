package regress

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// HistoryOptions says what Detect promises. Zero values are the defaults.
type HistoryOptions struct {
	// Alpha bounds the chance of any false alarm in any series within Commits commits, however often the history is
	// looked at while it grows. Default 0.05.
	Alpha float64
	// Commits is the span that Alpha is promised for. Default 100.
	Commits int
	// Series is the number of series that are watched together. Default: 1 for Detect, all for History.
	Series int
	// MinEffect is the smallest change of the median worth an alarm, as a share of the old median. Default 0.01.
	MinEffect float64
}

func (o HistoryOptions) withDefaults() HistoryOptions {
	o.Alpha = cmp.Or(o.Alpha, 0.05)
	o.Commits = cmp.Or(o.Commits, 100)
	o.Series = cmp.Or(o.Series, 1)
	o.MinEffect = cmp.Or(o.MinEffect, 0.01)
	return o
}

// Validate reports the first field that is out of range. Zero fields are valid.
func (o HistoryOptions) Validate() error {
	o = o.withDefaults()
	switch {
	case !(o.Alpha > 0 && o.Alpha < 1):
		return fmt.Errorf("%w: Alpha = %g", ErrOptions, o.Alpha)
	case o.Commits < 1:
		return fmt.Errorf("%w: Commits = %d", ErrOptions, o.Commits)
	case o.Series < 1:
		return fmt.Errorf("%w: Series = %d", ErrOptions, o.Series)
	case !(o.MinEffect >= 0 && o.MinEffect < 1e6):
		return fmt.Errorf("%w: MinEffect = %g", ErrOptions, o.MinEffect)
	}
	return nil
}

// Kind is the shape of a change.
type Kind string

// Step is a change between two commits, Drift a slow slope without one commit to blame.
const (
	Step  Kind = "step"
	Drift Kind = "drift"
)

// Change is one alarm. Indices count measured commits from 0.
type Change struct {
	Kind  Kind `json:"kind"`
	Index int  `json:"index"` // the first commit at the new level, most likely
	First int  `json:"first"` // the change is one of commits First … Last, with 95 % confidence
	Last  int  `json:"last"`
	Alarm int  `json:"alarm"` // the commit whose measurement raised the alarm
	// Before and After are the medians on both sides, up to the neighbouring changes.
	Before float64 `json:"before"`
	After  float64 `json:"after"`
	// Score is the evidence at the alarm, to be compared with Limit.
	Score float64 `json:"score"`
	Limit float64 `json:"limit"`
	// Passing marks an alarm that later measurements no longer support: a disturbance that went by.
	Passing bool `json:"passing,omitempty"`
}

// Ratio is After over Before.
func (c Change) Ratio() float64 { return c.After / c.Before }

// Window is how many commits since the last change are remembered.
const Window = 128

// Detect finds where a history changed. It is a pure function of the values, and causal: the alarms of a history's
// beginning are the first alarms of the whole, so that looking again after every commit costs no false alarms.
//
// The test is the Mann–Whitney change-point model of Hawkins and Deng (A nonparametric change-point control chart,
// Journal of Quality Technology 42(2), 2010): after every commit, the largest standardised rank statistic over all ways
// to split the commits since the last change, exact where few stand on one side. Its limit keeps the false alarms of
// exchangeable measurements, whatever their distribution, at the promised rate per commit; apart and jump see the large
// steps that ranks cannot tell within a few commits. Measurements that depend on their predecessors raise the limit by
// the inflation of variance that their autocorrelation explains. Neither one outlier nor two in a row are ever an
// alarm. NaN and infinite values count as commits without measurement.
func Detect(values []float64, o HistoryOptions) []Change {
	o = o.withDefaults()
	rate := -math.Log1p(-o.Alpha/float64(o.Series)) / float64(o.Commits)
	d := detector{o: o, rate: rate}
	for n := range d.limit {
		d.limit[n] = limitOfRate(rate, n)
	}
	at := make([]int, 0, len(values)) // indices of measured commits
	for i, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			d.add(v)
			at = append(at, i)
		}
	}
	out := d.settle()
	for i := range out {
		c := &out[i]
		c.Index, c.First, c.Last, c.Alarm = at[c.Index], at[c.First], at[c.Last], at[c.Alarm]
	}
	return out
}

type detector struct {
	o       HistoryOptions
	rate    float64             // of false alarms per commit
	limit   [Window + 1]float64 // of the rank scan, by the length of the window
	xs      []float64
	rank    []int // in doubled midranks within xs[start:], for the same indices as xs
	start   int   // of the window
	changes []Change
}

// add takes the next measurement and raises an alarm if the window has split.
func (d *detector) add(x float64) {
	d.push(x)
	w := d.xs[d.start:]
	if k, score := split(d.rank[d.start:]); score > d.limit[len(w)] {
		if limit := d.limit[len(w)] * math.Sqrt(inflation(w, k)); score > limit && d.alarm(w, k, score, limit) {
			return
		}
	}
	if k, score, limit := apart(w, d.rate); k > 0 && d.alarm(w, k, score, limit) {
		return
	}
	if k, score := jump(w, d.rate); k > 0 {
		d.alarm(w, k, score, jumpSpreads)
	}
}

// push appends a measurement to the window and updates the ranks.
func (d *detector) push(x float64) {
	if len(d.xs)-d.start >= Window {
		d.drop()
	}
	r := 2
	for i := d.start; i < len(d.xs); i++ {
		switch {
		case d.xs[i] > x:
			d.rank[i] += 2
		case d.xs[i] < x:
			r += 2
		default:
			d.rank[i]++
			r++
		}
	}
	d.xs, d.rank = append(d.xs, x), append(d.rank, r)
}

func (d *detector) drop() {
	gone := d.xs[d.start]
	d.start++
	for i := d.start; i < len(d.xs); i++ {
		switch {
		case d.xs[i] > gone:
			d.rank[i] -= 2
		case d.xs[i] == gone:
			d.rank[i]--
		}
	}
}

// alarm records a change, unless it is smaller than the least that counts.
func (d *detector) alarm(w []float64, k int, score, limit float64) bool {
	before, after := median(w[:k]), median(w[k:])
	if math.Abs(after-before) < d.o.MinEffect*math.Abs(before) {
		return false
	}
	c := Change{Kind: Step, Index: d.start + k, Alarm: len(d.xs) - 1, Before: before, After: after, Score: score, Limit: limit}
	if slopes(w, k) {
		c.Kind = Drift
	}
	c.First, c.Last = c.Index, c.Index
	d.changes = append(d.changes, c)
	// What follows the change is the new history.
	d.start += k
	d.rerank()
	return true
}

func (d *detector) rerank() {
	w := d.xs[d.start:]
	for i, x := range w {
		r := 1
		for _, y := range w {
			switch {
			case y < x:
				r += 2
			case y == x:
				r++
			}
		}
		d.rank[d.start+i] = r
	}
}

// inflation is by how much autocorrelation increases the variance of the difference of both sides' levels: (1+φ)/(1−φ)
// for the lag-one correlation φ of what remains around the two medians, outliers clipped. The estimate is corrected for
// its bias (Marriott, Pope 1954) and raised by part of its standard error, because a low estimate and a false alarm
// come together.
func inflation(w []float64, k int) float64 {
	r := residuals(w, k)
	n := float64(len(r))
	spread := make([]float64, len(r))
	for i, x := range r {
		spread[i] = math.Abs(x)
	}
	clip := 3 * 1.4826 * median(spread)
	if clip == 0 {
		return 1
	}
	var num, den float64
	for i, x := range r {
		r[i] = math.Max(-clip, math.Min(clip, x))
		den += r[i] * r[i]
		if i > 0 && i != k {
			num += r[i] * r[i-1]
		}
	}
	phi := num / den
	phi = (phi+2/n)/math.Max(0.5, 1-6/n) + 0.1/math.Sqrt(n) + 2/n
	phi = math.Max(0, math.Min(0.95, phi))
	return (1 + phi) / (1 - phi)
}

func residuals(w []float64, k int) []float64 {
	r := make([]float64, len(w))
	a, b := median(w[:k]), median(w[k:])
	for i, x := range w {
		if i < k {
			r[i] = x - a
		} else {
			r[i] = x - b
		}
	}
	return r
}

// slopes reports whether a line explains a window better than a step at k, by absolute residuals around the Theil–Sen
// line and around the two medians.
func slopes(w []float64, k int) bool {
	var s []float64
	for j := range w {
		for i := range j {
			s = append(s, (w[j]-w[i])/float64(j-i))
		}
	}
	b := median(s)
	rest := make([]float64, len(w))
	for i, x := range w {
		rest[i] = x - b*float64(i)
	}
	a, line, step := median(rest), 0.0, 0.0
	for i, x := range residuals(w, k) {
		step += math.Abs(x)
		line += math.Abs(rest[i] - a)
	}
	return line < step
}

// settle places every alarm by all that is known now: between the changes beside it, with a confidence range, the levels
// on both sides, and whether it has passed. What has passed is found weakest first, as without it the others have
// longer sides.
func (d *detector) settle() []Change {
	out := slices.Clone(d.changes)
	between := func(i int) (lo, hi int) {
		hi = len(d.xs)
		for j := range out {
			switch {
			case out[j].Passing:
			case j < i:
				lo = out[j].Index
			case j > i:
				return lo, out[j].Index
			}
		}
		return lo, hi
	}
	for {
		for range 2 { // moving one changes the ranges of those beside it
			for i := range out {
				if lo, hi := between(i); !out[i].Passing && hi-lo >= 2 {
					out[i].Index = lo + bestStep(d.xs[lo:hi])
				}
			}
		}
		weakest, least := -1, 1.0
		for i, c := range out {
			if lo, hi := between(i); !c.Passing && c.Index > lo && c.Index < hi {
				if s := d.support(d.xs[lo:hi], c.Index-lo); s < least {
					weakest, least = i, s
				}
			}
		}
		if weakest < 0 {
			break
		}
		out[weakest].Passing = true
	}
	for i := range out {
		c := &out[i]
		lo, hi := between(i)
		k := c.Index - lo
		w := d.xs[lo:hi]
		if k < 1 || k >= len(w) {
			continue
		}
		c.Before, c.After = median(w[:k]), median(w[k:])
		first, last := placeRange(w, k)
		c.First, c.Last = lo+first, lo+last
	}
	return out
}

// support is how strong the evidence for a change at w[k] is, as a share of what an alarm takes.
func (d *detector) support(w []float64, k int) float64 {
	before, after := median(w[:k]), median(w[k:])
	if math.Abs(after-before) < d.o.MinEffect*math.Abs(before) {
		return 0
	}
	if abrupt(w, k, d.rate) {
		return math.Inf(1)
	}
	local := detector{xs: w, rank: make([]int, len(w))}
	local.rerank()
	_, score := split(local.rank)
	return score / d.limit[min(len(w), Window)]
}

// bestStep returns the division of w with the least absolute residuals around both medians, among those that leave at
// least one value on each side; outliers do not move it.
func bestStep(w []float64) int {
	left, right := costs(w)
	best, at := math.Inf(1), 1
	for k := 1; k < len(w); k++ {
		if c := left[k] + right[k]; c < best {
			best, at = c, k
		}
	}
	return at
}

// placeRange returns the divisions whose absolute residuals are compatible with the best one's: the likelihood-ratio
// set for Laplace errors, whose threshold is set by simulation to hold the true place in 95 % of cases.
func placeRange(w []float64, k int) (first, last int) {
	left, right := costs(w)
	n := float64(len(w))
	scale := (left[k] + right[k]) / n
	first, last = k, k
	for j := 1; j < len(w); j++ {
		if left[j]+right[j]-left[k]-right[k] <= 2.2*scale {
			first, last = min(first, j), max(last, j)
		}
	}
	return first, last
}

// costs returns, for every k, the absolute residuals of w[:k] around its median and of w[k:] around its own.
func costs(w []float64) (left, right []float64) {
	n := len(w)
	left, right = make([]float64, n+1), make([]float64, n+1)
	prefix := func(at func(int) float64, set func(int, float64)) {
		var m medians
		for i := range n {
			m.add(at(i))
			set(i+1, m.cost())
		}
	}
	prefix(func(i int) float64 { return w[i] }, func(i int, c float64) { left[i] = c })
	prefix(func(i int) float64 { return w[n-1-i] }, func(i int, c float64) { right[n-i] = c })
	return left, right
}
