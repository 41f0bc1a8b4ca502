package sched

import "math/bits"

// Drafts are guessed by prompt lookup (Saxena, "Prompt Lookup Decoding", 2023): what followed the latest earlier place
// at which the sequence's last tokens stand. A step verifies them as further rows. Every position is drawn from its own
// logits with its own key, and a draft counts only while it equals the draw, so that drafts never change a token.

const (
	maxDraft  = 7
	maxMatch  = 8       // longest end of the sequence that is compared
	minMatch  = 2       // shortest
	maxWindow = 1 << 14 // tokens that are searched
)

// lookup appends up to limit guesses of what follows tokens, and returns the length of the match that they follow.
func lookup(dst, tokens []uint32, limit int) ([]uint32, int) {
	n := len(tokens)
	best, at := minMatch-1, -1
	for i := n - 2; i >= max(0, n-maxWindow) && best < maxMatch; i-- {
		if tokens[i] != tokens[n-1] {
			continue
		}
		m := 1
		for m < maxMatch && m <= i && tokens[i-m] == tokens[n-1-m] {
			m++
		}
		if m > best {
			best, at = m, i
		}
	}
	if at < 0 {
		return dst, 0
	}
	from := len(dst)
	for k := range limit {
		if p := at + 1 + k; p < n {
			dst = append(dst, tokens[p])
		} else {
			dst = append(dst, dst[from+p-n]) // the repetition goes on
		}
	}
	return dst, best
}

// odds are the rates at which guesses have come true, by the length of the match, and how many of them there were.
type odds struct {
	rate [3]float64
	seen [3]int
}

func grade(match int) int {
	switch {
	case match <= 2:
		return 0
	case match <= 4:
		return 1
	}
	return 2
}

// learn keeps the mean of what there was and of what was expected, which counts as two; later a moving one of the given weight.
func (o *odds) learn(g int, hit bool, weight float64) {
	x := 0.0
	if hit {
		x = 1
	}
	o.seen[g]++
	o.rate[g] += (x - o.rate[g]) * max(weight, 1/float64(o.seen[g]+2))
}

// costs keeps what steps without prompt chunks last, by the number of rows: a moving average per power of two.
type costs struct{ rows, secs [10]float64 }

func (c *costs) learn(rows int, secs float64) {
	i := min(bits.Len(uint(rows-1)), len(c.rows)-1)
	if c.rows[i] == 0 {
		c.rows[i], c.secs[i] = float64(rows), secs
		return
	}
	c.rows[i] += (float64(rows) - c.rows[i]) / 8
	c.secs[i] += (secs - c.secs[i]) / 8
}

// at estimates what a step of so many rows lasts; 0 when nothing is known.
func (c *costs) at(rows float64) float64 {
	a, b := -1, -1 // the nearest measurements below and above
	for i, r := range c.rows {
		if r == 0 {
			continue
		}
		if r <= rows {
			a = i
		} else if b < 0 {
			b = i
		}
	}
	switch {
	case a < 0 && b < 0:
		return 0
	case a < 0:
		return c.secs[b]
	case b < 0: // unknown: half of what the rows cost that are known, so that it comes to be tried
		return c.secs[a] * (1 + (rows/c.rows[a]-1)/2)
	}
	return c.secs[a] + (c.secs[b]-c.secs[a])*(rows-c.rows[a])/(c.rows[b]-c.rows[a])
}

// drafting returns how likely a draft must be for its row to pay: a row pays when it brings a token more cheaply than
// the step without it does.
func (s *Scheduler) drafting(decoding int) float64 {
	if s.o.NoSpeculation || decoding == 0 {
		return 2
	}
	if s.o.AlwaysDraft {
		return 0
	}
	base := s.costs.at(float64(decoding))
	if base == 0 {
		return 2
	}
	more := float64(min(4, decoding+1))
	marginal := max(0, s.costs.at(float64(decoding)+more)-base) / more
	return max(0.05, 1.1*marginal*float64(decoding)/base)
}

// propose guesses the next tokens of a task and keeps as many drafts as pay and fit.
func (s *Scheduler) propose(t *Task, need float64, rows int) {
	t.guess, t.match = t.guess[:0], 0
	if s.o.NoSpeculation {
		return
	}
	limit := min(maxDraft, t.Max-t.drawn-1, t.Sink.Room()-1)
	if limit < 1 {
		return
	}
	t.guess, t.match = lookup(t.guess, t.tokens, limit)
	if t.match == 0 {
		return
	}
	p := t.odds.rate[grade(t.match)]
	q := p
	for _, id := range t.guess {
		if q < need || len(t.draft) >= rows {
			return
		}
		t.draft = append(t.draft, id)
		q *= p
	}
}

// judge learns from what was drawn where something had been guessed, whether or not the guess had a row.
func (s *Scheduler) judge(t *Task) (drafted, accepted int) {
	if t.match == 0 || len(t.draws) == 0 {
		return 0, 0
	}
	g := grade(t.match)
	for i := range t.draws {
		if i >= len(t.guess) || i > 0 && i >= len(t.draft) {
			break
		}
		hit := t.guess[i] == t.draws[i].ID
		t.odds.learn(g, hit, 1.0/8)
		s.odds.learn(g, hit, 1.0/64)
		if hit && i < len(t.draft) {
			accepted++
		}
	}
	t.match = 0
	return len(t.draft), accepted
}
