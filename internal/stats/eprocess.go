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
// Bets never reach beyond the level (see wager).
//
// With Reverse the roles are swapped: the null is rate_treatment ≥ Margin · rate_control and θ < Margin, so that
// evidence gathers for the treatment being at most Margin times as bad (non-inferiority).
type EventTest struct {
	wager
	margin  float64
	reverse bool
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
	return &EventTest{wager: newWager(alpha, stakes[:]), margin: margin, reverse: reverse}
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
	var in, out [len(ratios)]float64 // the bets after an event in the treatment, and in the control
	for i, ratio := range ratios {
		if t.reverse {
			ratio = 1 / ratio
		}
		// log of (1 − q)/(1 − w'), and of q/w' = θ/Margin · (1 + Margin·odds)/(1 + θ·odds).
		out[i] = t.bets[i] + null - math.Log1p(t.margin*ratio*odds)
		in[i] = out[i] + math.Log(ratio)
	}
	logIn, logOut := math.Log(t.margin)+math.Log(odds)-null, -null // of the two outcomes under the null
	t.settle(in[:], out[:], logIn, logOut, inTreatment)
}

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
	if t.margin != s.Margin || s.Events[0] < 0 || s.Events[1] < 0 {
		return nil, fmt.Errorf("%w: event state has margin %g and %d events", ErrInput, s.Margin, s.Events)
	}
	if err := t.restore("event", s.Alpha, s.Bets, s.LogE, s.MaxLogE); err != nil {
		return nil, err
	}
	t.events = s.Events
	return t, nil
}
