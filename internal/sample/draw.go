package sample

import (
	"math"
	"slices"
)

// cand is a candidate: a logit and its token.
type cand struct {
	x  float32
	id uint32
}

// order puts larger logits first and, among equals, lower ids.
func order(a, b cand) int {
	switch {
	case a.x > b.x:
		return -1
	case a.x < b.x:
		return 1
	case a.id < b.id:
		return -1
	case a.id > b.id:
		return 1
	}
	return 0
}

// best appends the k first candidates in order, sorted. A heap keeps the worst of the best on top.
func best(dst []cand, x []float32, k int) []cand {
	if k <= 0 {
		return dst
	}
	for i, v := range x {
		switch {
		case len(dst) < k:
			dst = append(dst, cand{v, uint32(i)})
			if len(dst) == k {
				for j := k/2 - 1; j >= 0; j-- {
					sink(dst, j)
				}
			}
		case v > dst[0].x: // an equal logit has a higher id and is worse
			dst[0] = cand{v, uint32(i)}
			sink(dst, 0)
		}
	}
	slices.SortFunc(dst, order)
	return dst
}

// sink restores the heap below j.
func sink(h []cand, j int) {
	for {
		c := 2*j + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && order(h[c], h[c+1]) < 0 {
			c++
		}
		if order(h[j], h[c]) > 0 {
			return
		}
		h[j], h[c] = h[c], h[j]
		j = c
	}
}

// draw picks a token at the point u of the distribution; best is the largest logit.
func (s *Sampler) draw(x []float32, top float32, u float64, t *Scratch) uint32 {
	p := &s.p
	sc := scale{float64(top), 1 / float64(p.Temperature)}
	switch {
	case p.TopK > 0:
		t.cands = best(t.cands[:0], x, p.TopK)
		return pick(s.prefix(t.cands, sc), sc, u)
	case p.TopP > 0:
		return pick(s.nucleus(x, sc, t), sc, u)
	}
	return pickAll(x, sc, s.gap(), u, t)
}

// scale maps logits to distances below the best in nats.
type scale struct{ top, inv float64 }

func (s scale) gap(x float32) float64 { return (s.top - float64(x)) * s.inv }

// weight is exp(-gap), 0 beyond maxGap.
func (s scale) weight(x float32) float64 {
	if d := s.gap(x); d < maxGap {
		return expNeg(d)
	}
	return 0
}

// gap is the largest distance that min-p keeps.
func (s *Sampler) gap() float64 {
	if s.p.MinP == 0 {
		return maxGap
	}
	return min(maxGap, -math.Log(float64(s.p.MinP)))
}

// prefix cuts sorted candidates by top-p of their own mass, then by min-p.
func (s *Sampler) prefix(c []cand, sc scale) []cand {
	if s.p.TopP > 0 {
		total := 0.0
		for i := range c {
			total += sc.weight(c[i].x)
		}
		c = cut(c, sc, float64(s.p.TopP)*total)
	}
	limit, n := s.gap(), 1
	for n < len(c) && sc.gap(c[n].x) <= limit {
		n++
	}
	return c[:n]
}

// cut returns the shortest prefix that has the mass, at least one candidate.
func cut(c []cand, sc scale, mass float64) []cand {
	sum := 0.0
	for i := range c {
		if sum += sc.weight(c[i].x); sum >= mass {
			return c[:i+1]
		}
	}
	return c
}

// nucleus collects the candidates that top-p and min-p keep. A histogram over the distance finds the bucket in which
// the mass is reached; only that bucket is sorted. The others stay in order of id.
func (s *Sampler) nucleus(x []float32, sc scale, t *Scratch) []cand {
	const perNat, buckets = 16, maxGap * 16
	var mass [buckets]float64
	for _, v := range x {
		if d := sc.gap(v); d < maxGap {
			mass[int(d*perNat)] += expNeg(d)
		}
	}
	total := 0.0
	for _, m := range mass {
		total += m
	}
	want, sum, last := float64(s.p.TopP)*total, 0.0, 0
	for ; last < buckets-1 && sum+mass[last] < want; last++ {
		sum += mass[last]
	}
	limit, c, edge := s.gap(), t.cands[:0], t.edge[:0]
	for i, v := range x {
		d := sc.gap(v)
		if d >= maxGap {
			continue
		}
		if k := int(d * perNat); k == last {
			edge = append(edge, cand{v, uint32(i)})
		} else if k < last && d <= limit {
			c = append(c, cand{v, uint32(i)})
		}
	}
	t.edge = edge
	slices.SortFunc(edge, order)
	edge = cut(edge, sc, want-sum)
	for len(edge) > 0 && sc.gap(edge[len(edge)-1].x) > limit {
		edge = edge[:len(edge)-1]
	}
	t.cands = append(c, edge...)
	return t.cands
}

// pick draws from a list that is not empty.
func pick(c []cand, sc scale, u float64) uint32 {
	total := 0.0
	for i := range c {
		total += sc.weight(c[i].x)
	}
	u *= total
	last := c[0].id
	for i := range c {
		w := sc.weight(c[i].x)
		if w > 0 {
			last = c[i].id
		}
		if u -= w; u < 0 {
			break
		}
	}
	return last
}

// pickAll draws from the whole vocabulary within a distance: sums per chunk first, then inside one chunk.
func pickAll(x []float32, sc scale, limit float64, u float64, t *Scratch) uint32 {
	const chunk = 256
	t.sums = t.sums[:0]
	weight := func(v float32) float64 {
		if d := sc.gap(v); d < maxGap && d <= limit {
			return expNeg(d)
		}
		return 0
	}
	total := 0.0
	for from := 0; from < len(x); from += chunk {
		sum := 0.0
		for _, v := range x[from:min(from+chunk, len(x))] {
			sum += weight(v)
		}
		t.sums = append(t.sums, sum)
		total += sum
	}
	u *= total
	at, before := 0, 0.0
	for i, sum := range t.sums {
		if sum == 0 {
			continue
		}
		if at = i; u < before+sum {
			break
		}
		before += sum
	}
	if u -= before; u >= t.sums[at] { // rounding at the end of the last chunk
		u = t.sums[at]
	}
	from := at * chunk
	last := from
	for i, v := range x[from:min(from+chunk, len(x))] {
		w := weight(v)
		if w > 0 {
			last = from + i
		}
		if u -= w; u < 0 {
			break
		}
	}
	return uint32(last)
}
