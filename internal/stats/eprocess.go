package stats

import (
	"fmt"
	"math"
)

// ratios are the rate ratios that an EventTest bets on.
var ratios = [...]float64{1.5, 2, 3, 10, 100}

// Stakes are the shares of an EventTest's stake on the rate ratios 1.5, 2, 3, 10 and 100.
type Stakes [len(ratios)]float64

// Gradual stakes most on a double or triple rate, where events are dear, and a little on what a few events show whatever
// was staked. Sudden stakes as much on ten times the rate as on three times: for events that are rare until something
// breaks.
var (
	Gradual = Stakes{0.15, 0.45, 0.25, 0.08, 0.07}
	Sudden  = Stakes{0.05, 0.15, 0.3, 0.3, 0.2}
)

// EventTest compares the rates of a bad event (an error, a slow answer) between a treatment arm, which gets a known
// share w of the traffic, and a control arm, by looking at events only.
//
// The null hypothesis is rate_treatment ≤ Margin · rate_control. Given that an event happened, under the null it
// happened in the treatment with probability at most w' = Margin·w / (Margin·w + 1 − w), whatever the common rate is
// and however it moves with time. The e-process is the mixture over a few rate ratios θ > Margin of the likelihood
// ratio of "in treatment with probability q(θ)" against w' (a count form of [LM20]). It is exact for any number of
// events, needs no estimate of the control's rate, and stays valid when the weight changes, since each event is judged
// by the weight in force when its request was assigned.
//
// A test at level α has no use for an e-value above 1/α. A bet that could exceed it is therefore cut to reach it
// exactly, and what the cut saves is kept for the other outcome: the conditional mean under the null stays 1, and the
// limit is reached sooner (Fischer, Ramdas: Improving Wald's sequential probability ratio test by avoiding overshoot,
// arXiv 2410.16076).
//
// With Reverse the roles are swapped: the null is rate_treatment ≥ Margin · rate_control and θ < Margin, so that
// evidence gathers for the treatment being at most Margin times as bad (non-inferiority).
type EventTest struct {
	margin  float64
	reverse bool
	alpha   float64   // 0 without a level
	limit   float64   // log of 1/α, or infinite
	bets    []float64 // log of each θ's likelihood ratio times its share
	wealth  float64   // log e-value: the sum of the bets, but for what cuts have changed
	maxLogE float64
	events  [2]int64 // control, treatment
}

// NewEventTest returns a test with the given margin; 1 asks whether the treatment is worse at all. A margin that is not
// positive and finite counts as 1. alpha is the level at which the test will reject; with 0, or anything else that is
// no level, it has none and its e-value is unbounded.
func NewEventTest(margin, alpha float64, stakes Stakes) *EventTest {
	return newEventTest(margin, alpha, false, stakes)
}

// NewNonInferiorityTest returns the reversed test: evidence that the treatment's rate is below margin times the control's.
func NewNonInferiorityTest(margin, alpha float64) *EventTest {
	return newEventTest(margin, alpha, true, Gradual)
}

func newEventTest(margin, alpha float64, reverse bool, stakes Stakes) *EventTest {
	if !(margin > 0) || math.IsInf(margin, 0) {
		margin = 1
	}
	t := &EventTest{margin: margin, reverse: reverse, limit: math.Inf(1), bets: make([]float64, len(ratios))}
	if alpha > 0 && alpha < 1 {
		t.alpha, t.limit = alpha, -math.Log(alpha)
	}
	for i, share := range stakes {
		t.bets[i] = math.Log(share)
	}
	return t
}

// Observe adds one event. weight is the treatment's share of traffic when the request was assigned; at 0 or 1 an event
// carries no evidence and only counts.
func (t *EventTest) Observe(inTreatment bool, weight float64) {
	if inTreatment {
		t.events[1]++
	} else {
		t.events[0]++
	}
	if !(weight > 0 && weight < 1) {
		return
	}
	odds := weight / (1 - weight)
	null := math.Log1p(t.margin * odds)
	before := logSumExp(t.bets)
	var in, out [8]float64 // the bets after an event in the treatment, and in the control
	for i, ratio := range ratios {
		if t.reverse {
			ratio = 1 / ratio
		}
		// log of (1 − q)/(1 − w'), and of q/w' = θ/Margin · (1 + Margin·odds)/(1 + θ·odds).
		out[i] = t.bets[i] + null - math.Log1p(t.margin*ratio*odds)
		in[i] = out[i] + math.Log(ratio)
	}
	n := len(t.bets)
	gainIn, gainOut := logSumExp(in[:n])-before, logSumExp(out[:n])-before
	logIn, logOut := math.Log(t.margin)+math.Log(odds)-null, -null // of the two outcomes under the null
	if t.reverse {
		gainOut, gainIn = cut(t.limit-t.wealth, gainOut, gainIn, logOut, logIn)
	} else {
		gainIn, gainOut = cut(t.limit-t.wealth, gainIn, gainOut, logIn, logOut)
	}
	if inTreatment {
		copy(t.bets, in[:n])
		t.wealth += gainIn
	} else {
		copy(t.bets, out[:n])
		t.wealth += gainOut
	}
	if t.wealth > t.limit-1e-12 {
		t.wealth = t.limit
	}
	t.maxLogE = math.Max(t.maxLogE, t.wealth)
}

// cut bounds the gain of the favourable outcome by what the limit leaves, and raises the other's so that the mean stays
// 1. The log probabilities are those of the two outcomes under the null.
func cut(room, gain, loss, logP, logOther float64) (float64, float64) {
	switch {
	case room <= 0:
		return 0, 0 // rejected: it stays at that
	case gain <= room:
		return gain, loss
	}
	return room, math.Max(loss, math.Log1p(-math.Min(1, math.Exp(logP+room)))-logOther)
}

// LogE returns the natural logarithm of the e-value now. Under the null its exponential has mean at most 1 at any
// stopping time.
func (t *EventTest) LogE() float64 { return t.wealth }

// MaxLogE returns the largest LogE so far. P(max e ≥ 1/α) ≤ α under the null (Ville's inequality).
func (t *EventTest) MaxLogE() float64 { return t.maxLogE }

// PValue returns the anytime-valid p-value 1/max e.
func (t *EventTest) PValue() float64 { return math.Min(1, math.Exp(-t.maxLogE)) }

// Rejected reports whether the null is rejected at level alpha at some time so far.
func (t *EventTest) Rejected(alpha float64) bool { return t.maxLogE >= -math.Log(alpha) }

// Events returns the events counted per arm.
func (t *EventTest) Events() (control, treatment int64) { return t.events[0], t.events[1] }

// EventState is an EventTest as plain data, to be stored and restored without loss.
type EventState struct {
	Margin  float64   `json:"margin"`
	Alpha   float64   `json:"alpha,omitempty"` // 0 without a level
	Reverse bool      `json:"reverse,omitempty"`
	Bets    []float64 `json:"bets"`
	LogE    float64   `json:"log_e"`
	MaxLogE float64   `json:"max_log_e"`
	Events  [2]int64  `json:"events"`
}

// State returns the test as plain data.
func (t *EventTest) State() EventState {
	return EventState{t.margin, t.alpha, t.reverse, append([]float64(nil), t.bets...), t.wealth, t.maxLogE, t.events}
}

// RestoreEventTest rebuilds a test from its State.
func RestoreEventTest(s EventState) (*EventTest, error) {
	t := newEventTest(s.Margin, s.Alpha, s.Reverse, Gradual)
	if len(s.Bets) != len(t.bets) || t.margin != s.Margin || t.alpha != s.Alpha {
		return nil, fmt.Errorf("%w: event state has %d bets, margin %g and level %g", ErrInput, len(s.Bets), s.Margin, s.Alpha)
	}
	for _, x := range append([]float64{s.LogE}, s.Bets...) {
		if math.IsNaN(x) || math.IsInf(x, 1) {
			return nil, fmt.Errorf("%w: event state holds %g", ErrInput, x)
		}
	}
	if !(s.MaxLogE >= 0) || math.IsInf(s.MaxLogE, 1) || s.LogE > s.MaxLogE || s.MaxLogE > t.limit || s.Events[0] < 0 || s.Events[1] < 0 {
		return nil, fmt.Errorf("%w: event state has a maximum of %g after %d events", ErrInput, s.MaxLogE, s.Events)
	}
	copy(t.bets, s.Bets)
	t.wealth, t.maxLogE, t.events = s.LogE, s.MaxLogE, s.Events
	return t, nil
}
