package stats

import (
	"fmt"
	"math"
)

// defaultThetas are the rate ratios that an EventTest bets on. They span barely worse to failing always.
var defaultThetas = []float64{1.2, 1.5, 2, 3, 5, 10, 30, 100}

// EventTest compares the rates of a bad event (an error, a slow answer) between a treatment arm, which gets a known
// share w of the traffic, and a control arm, by looking at events only.
//
// The null hypothesis is rate_treatment ≤ Margin · rate_control. Given that an event happened, under the null it
// happened in the treatment with probability at most w' = Margin·w / (Margin·w + 1 − w), whatever the common rate is
// and however it moves with time. The e-process is the mixture over a grid of rate ratios θ > Margin of the likelihood
// ratio of "in treatment with probability q(θ)" against w' (a count form of [LM20]). It is exact for any number of
// events, needs no estimate of the control's rate, and stays valid when the weight changes, since each event is judged
// by the weight in force when its request was assigned.
//
// With Reverse the roles are swapped: the null is rate_treatment ≥ Margin · rate_control and θ < Margin, so that
// evidence gathers for the treatment being at most Margin times as bad (non-inferiority).
type EventTest struct {
	margin  float64
	reverse bool
	thetas  []float64
	logE    []float64 // log of each θ's likelihood ratio
	maxLogE float64
	events  [2]int64 // control, treatment
}

// NewEventTest returns a test with the given margin; 1 asks whether the treatment is worse at all. A margin that is not
// positive and finite counts as 1.
func NewEventTest(margin float64) *EventTest { return newEventTest(margin, false) }

// NewNonInferiorityTest returns the reversed test: evidence that the treatment's rate is below margin times the control's.
func NewNonInferiorityTest(margin float64) *EventTest { return newEventTest(margin, true) }

func newEventTest(margin float64, reverse bool) *EventTest {
	if !(margin > 0) || math.IsInf(margin, 0) {
		margin = 1
	}
	t := &EventTest{margin: margin, reverse: reverse, thetas: make([]float64, len(defaultThetas)), logE: make([]float64, len(defaultThetas))}
	for i, th := range defaultThetas {
		if reverse {
			t.thetas[i] = margin / th
		} else {
			t.thetas[i] = margin * th
		}
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
	for i, th := range t.thetas {
		// log of (1 − q)/(1 − w'), and of q/w' = θ/Margin · (1 + Margin·odds)/(1 + θ·odds).
		t.logE[i] += null - math.Log1p(th*odds)
		if inTreatment {
			t.logE[i] += math.Log(th / t.margin)
		}
	}
	t.maxLogE = math.Max(t.maxLogE, t.LogE())
}

// LogE returns the natural logarithm of the e-value now. Under the null its exponential has mean at most 1 at any
// stopping time.
func (t *EventTest) LogE() float64 { return logSumExp(t.logE) - math.Log(float64(len(t.logE))) }

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
	Reverse bool      `json:"reverse,omitempty"`
	LogE    []float64 `json:"log_e"`
	MaxLogE float64   `json:"max_log_e"`
	Events  [2]int64  `json:"events"`
}

// State returns the test as plain data.
func (t *EventTest) State() EventState {
	return EventState{t.margin, t.reverse, append([]float64(nil), t.logE...), t.maxLogE, t.events}
}

// RestoreEventTest rebuilds a test from its State.
func RestoreEventTest(s EventState) (*EventTest, error) {
	t := newEventTest(s.Margin, s.Reverse)
	if len(s.LogE) != len(t.logE) || t.margin != s.Margin {
		return nil, fmt.Errorf("%w: event state has %d terms and margin %g", ErrInput, len(s.LogE), s.Margin)
	}
	for _, x := range s.LogE {
		if math.IsNaN(x) || math.IsInf(x, 1) {
			return nil, fmt.Errorf("%w: event state holds %g", ErrInput, x)
		}
	}
	if !(s.MaxLogE >= 0) || math.IsInf(s.MaxLogE, 1) || s.Events[0] < 0 || s.Events[1] < 0 {
		return nil, fmt.Errorf("%w: event state has a maximum of %g after %d events", ErrInput, s.MaxLogE, s.Events)
	}
	copy(t.logE, s.LogE)
	t.maxLogE, t.events = s.MaxLogE, s.Events
	return t, nil
}
