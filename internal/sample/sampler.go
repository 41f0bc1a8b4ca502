package sample

import (
	"errors"
	"math"
	"slices"
)

// ErrLogits is returned for a row that holds NaN or +Inf, or nothing but -Inf.
var ErrLogits = errors.New("sample: the logits are not finite")

// ErrMask is returned when a mask allows no token.
var ErrMask = errors.New("sample: the mask allows no token")

// LogProb is a token and its natural log-probability.
type LogProb struct {
	ID      uint32
	LogProb float32
}

// Draw is one sampled token.
type Draw struct {
	ID      uint32
	LogProb float32   // before bias, penalties and temperature; set when Params.LogProbs is
	Top     []LogProb // the best tokens of the same distribution, best first; freshly allocated
}

// Scratch is working memory that samplers of one goroutine share.
type Scratch struct {
	cands []cand
	edge  []cand
	sums  []float64
	undo  []Bias
	row   []float32
}

// Sampler draws the tokens of one sequence. It is not safe for concurrent use.
type Sampler struct {
	p         Params
	vocab     int
	penalties bool
	seen      counts
}

// New returns a sampler for logits of vocab elements. The error is a *RangeError.
func New(p Params, vocab int) (*Sampler, error) {
	if err := p.Validate(vocab); err != nil {
		return nil, err
	}
	p = p.normalise(vocab)
	return &Sampler{p: p, vocab: vocab, penalties: p.Repetition != 0 || p.Presence != 0 || p.Frequency != 0}, nil
}

// Prompt tells the sampler which tokens stand before the answer.
func (s *Sampler) Prompt(ids []uint32) {
	if s.p.Repetition == 0 {
		return
	}
	for _, id := range ids {
		s.seen.add(id, 0)
	}
}

// Accept appends a token to the answer.
func (s *Sampler) Accept(id uint32) {
	if s.penalties {
		s.seen.add(id, 1)
	}
}

// Sample draws the token at a position from its logits, among those whose bit is set in allowed; nil allows all. It
// changes logits and restores them before it returns.
func (s *Sampler) Sample(logits []float32, position uint64, allowed []uint64, t *Scratch) (Draw, error) {
	var d Draw
	var raw summary
	p := &s.p
	if len(logits) != s.vocab {
		return d, ErrLogits
	}
	if p.LogProbs || p.Top > 0 {
		_, best, err := argmax(logits)
		if err != nil {
			return d, err
		}
		raw = summarise(logits, best)
	}
	work := logits
	if allowed != nil {
		var err error
		if work, err = t.masked(logits, allowed); err != nil {
			return d, err
		}
	}
	t.undo = t.undo[:0]
	s.adjust(work, t)
	id, best, err := argmax(work)
	if err == nil && p.Temperature != 0 {
		u := Uniform(p.Seed, p.Choice, position)
		id = s.draw(work, best, u, t)
	}
	for i := len(t.undo) - 1; i >= 0; i-- {
		work[t.undo[i].ID] = t.undo[i].Value
	}
	if err != nil {
		return d, err
	}
	d.ID = id
	if p.LogProbs {
		d.LogProb = raw.logProb(logits[id])
	}
	if p.Top > 0 {
		d.Top = TopLogProbs(logits, p.Top, t)
	}
	return d, nil
}

// masked copies logits with every token at -Inf that is not allowed.
func (t *Scratch) masked(logits []float32, allowed []uint64) ([]float32, error) {
	if len(allowed) < (len(logits)+63)/64 {
		return nil, ErrMask
	}
	t.row = append(t.row[:0], logits...)
	any := false
	for i := range t.row {
		if allowed[i/64]>>(i%64)&1 == 0 {
			t.row[i] = float32(math.Inf(-1))
		} else {
			any = true
		}
	}
	if !any {
		return nil, ErrMask
	}
	return t.row, nil
}

// adjust applies bias and penalties in place and notes the old values.
func (s *Sampler) adjust(logits []float32, t *Scratch) {
	p := &s.p
	for _, b := range p.Bias {
		t.undo = append(t.undo, Bias{b.ID, logits[b.ID]})
		logits[b.ID] += b.Value
	}
	if !s.penalties {
		return
	}
	for _, i := range s.seen.used {
		c := &s.seen.slots[i]
		if int(c.id) >= len(logits) {
			continue
		}
		x := logits[c.id]
		t.undo = append(t.undo, Bias{c.id, x})
		if p.Repetition != 0 {
			if x < 0 {
				x *= p.Repetition
			} else {
				x /= p.Repetition
			}
		}
		if c.answer > 0 {
			x -= p.Frequency*float32(c.answer) + p.Presence
		}
		logits[c.id] = x
	}
}

// argmax returns the first of the largest logits. It passes by eight at a time, none of which exceeds the best or is NaN.
func argmax(x []float32) (uint32, float32, error) {
	best, id, bad := float32(math.Inf(-1)), -1, false
	for i := 0; i < len(x); {
		if i+8 <= len(x) {
			q := x[i : i+8 : i+8]
			if q[0] <= best && q[1] <= best && q[2] <= best && q[3] <= best && q[4] <= best && q[5] <= best && q[6] <= best && q[7] <= best {
				i += 8
				continue
			}
		}
		for end := min(i+8, len(x)); i < end; i++ {
			if v := x[i]; v > best {
				best, id = v, i
			} else if v != v {
				bad = true
			}
		}
	}
	if bad || id < 0 || math.IsInf(float64(best), 1) {
		return 0, 0, ErrLogits
	}
	return uint32(id), best, nil
}

// summary turns logits into log-probabilities.
type summary struct{ best, logSum float64 }

func summarise(x []float32, best float32) summary {
	b, sum := float64(best), 0.0
	for _, v := range x {
		if d := b - float64(v); d < maxGap {
			sum += expNeg(d)
		}
	}
	return summary{b, math.Log(sum)}
}

func (s summary) logProb(x float32) float32 { return float32(float64(x) - s.best - s.logSum) }

// LogProbOf returns the log-probability of one token.
func LogProbOf(logits []float32, id uint32) (float32, error) {
	_, best, err := argmax(logits)
	if err != nil || int64(id) >= int64(len(logits)) {
		return 0, ErrLogits
	}
	return summarise(logits, best).logProb(logits[id]), nil
}

// TopLogProbs returns the n best tokens that are possible at all, best first; logits hold no NaN.
func TopLogProbs(logits []float32, n int, t *Scratch) []LogProb {
	t.cands = best(t.cands[:0], logits, n)
	for len(t.cands) > 0 && math.IsInf(float64(t.cands[len(t.cands)-1].x), -1) {
		t.cands = t.cands[:len(t.cands)-1]
	}
	if len(t.cands) == 0 {
		return nil
	}
	sum := summarise(logits, t.cands[0].x)
	out := make([]LogProb, len(t.cands))
	for i, c := range t.cands {
		out[i] = LogProb{c.id, sum.logProb(c.x)}
	}
	return out
}

// Params returns the settings.
func (s *Sampler) Params() Params {
	p := s.p
	p.Bias = slices.Clone(p.Bias)
	return p
}
