package stats

import (
	"fmt"
	"math"
	"slices"
)

const (
	rankWindow = 256 // the control's last values, among which a new one is ranked
	rankLeast  = 20  // values of the control before the first bet
)

// shifts are what a RankTest bets on, in standard deviations of what the control's values would be if they were normal,
// and shiftStakes their shares of its stake.
var (
	shifts      = [...]float64{0.15, 0.3, 0.6, 1.2, 2.4}
	shiftStakes = [len(shifts)]float64{0.15, 0.25, 0.3, 0.2, 0.1}
)

// RankTest compares a quantity of which more is worse (a latency) between a treatment arm, which gets a known share w of
// the traffic, and a control arm, by all of its distribution and not by a threshold.
//
// The null hypothesis is that the treatment's values are stochastically no larger than the control's. A new value x is
// ranked among the control's last ones, which gives a normal score z(x). If both arms are alike, x tells nothing about
// its arm: it is the treatment with probability w. The bet on a shift δ says w·λ / (w·λ + 1 − w) instead, where
// λ(x) = exp(δz − δ²/2): what z would say if both arms' values were normal. The e-process is the mixture over a few
// shifts of these likelihood ratios.
//
// It is exact, whatever the distributions are and however they move with time: given the past, the mean of the next
// factor is 1 + w·∫(f₁ − f₀)·λ/(w·λ + 1 − w), and as λ does not fall with x, the integral is not positive where f₁ is
// stochastically no larger than f₀. Each value must come from a unit of its own that was assigned to its arm with
// probability w. Ranks cost no power against normal values with known spread beyond the mixture (normal scores, van der
// Waerden), and outliers cannot carry it.
//
// Bets never reach beyond the level (see wager).
type RankTest struct {
	wager
	values [2]int64  // control, treatment
	window []float64 // the control's last values, the oldest at next once it is full
	next   int
	sorted []float64
}

// NewRankTest returns a test at level alpha; with 0, or anything else that is no level, its e-value is unbounded.
func NewRankTest(alpha float64) *RankTest {
	return &RankTest{wager: newWager(alpha, shiftStakes[:])}
}

// Observe adds one value. weight is the treatment's share when the unit was assigned; at 0 or 1 a value carries no
// evidence. A value that is not finite is ignored.
func (t *RankTest) Observe(x float64, inTreatment bool, weight float64) {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return
	}
	if weight > 0 && weight < 1 && len(t.sorted) >= rankLeast {
		t.bet(t.score(x), inTreatment, weight)
	}
	if inTreatment {
		t.values[1]++
		return
	}
	t.values[0]++
	t.remember(x)
}

// score is the normal score of x among the window; equal values count by half.
func (t *RankTest) score(x float64) float64 {
	below, equal := slices.BinarySearch(t.sorted, x)
	rank := float64(below)
	for equal && below < len(t.sorted) && t.sorted[below] == x {
		below++
		rank += 0.5
	}
	return stdNormal.Quantile((rank + 0.5) / float64(len(t.sorted)+1))
}

func (t *RankTest) bet(z float64, inTreatment bool, weight float64) {
	var in, out [len(shifts)]float64 // the bets if the value is the treatment's, and the control's
	for i, delta := range shifts {
		loglr := delta*z - delta*delta/2
		out[i] = t.bets[i] - math.Log1p(weight*math.Expm1(loglr))
		in[i] = out[i] + loglr
	}
	t.settle(in[:], out[:], math.Log(weight), math.Log1p(-weight), inTreatment)
}

// remember puts a value of the control in the window, in place of the oldest when that is full.
func (t *RankTest) remember(x float64) {
	if len(t.window) < rankWindow {
		t.window = append(t.window, x)
	} else {
		old, _ := slices.BinarySearch(t.sorted, t.window[t.next])
		t.sorted = slices.Delete(t.sorted, old, old+1)
		t.window[t.next] = x
		t.next = (t.next + 1) % rankWindow
	}
	at, _ := slices.BinarySearch(t.sorted, x)
	t.sorted = slices.Insert(t.sorted, at, x)
}

// Values returns how many values of each arm were observed.
func (t *RankTest) Values() (control, treatment int64) { return t.values[0], t.values[1] }

// RankState is a RankTest as plain data, to be stored and restored without loss.
type RankState struct {
	Alpha   float64   `json:"alpha,omitempty"` // 0 without a level
	Bets    []float64 `json:"bets"`
	LogE    float64   `json:"log_e"`
	MaxLogE float64   `json:"max_log_e"`
	Values  [2]int64  `json:"values"`
	Window  []float64 `json:"window,omitempty"` // oldest first
}

// State returns the test as plain data.
func (t *RankTest) State() RankState {
	return RankState{t.alpha, slices.Clone(t.bets), t.wealth, t.maxLogE, t.values, slices.Concat(t.window[t.next:], t.window[:t.next])}
}

// RestoreRankTest rebuilds a test from its State.
func RestoreRankTest(s RankState) (*RankTest, error) {
	t := NewRankTest(s.Alpha)
	if err := t.restore("rank", s.Alpha, s.Bets, s.LogE, s.MaxLogE); err != nil {
		return nil, err
	}
	if want := min(s.Values[0], rankWindow); s.Values[0] < 0 || s.Values[1] < 0 || int64(len(s.Window)) != want {
		return nil, fmt.Errorf("%w: rank state has %d values of %d in its window", ErrInput, len(s.Window), s.Values[0])
	}
	if err := checkFinite("rank state", s.Window); err != nil {
		return nil, err
	}
	t.values, t.window, t.sorted = s.Values, slices.Clone(s.Window), slices.Sorted(slices.Values(s.Window))
	return t, nil
}
