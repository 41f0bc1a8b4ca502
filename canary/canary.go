// Package canary decides how a new model version takes over from an old one: in stages, by evidence, with automatic
// rollback.
//
// The package is pure. Evidence gathers outcomes, Decide turns evidence and a clock reading into a Decision, and
// Controller keeps the two together; none of them reads a clock, starts a goroutine or touches a file. canary/journal
// makes decisions durable, canary/router puts two live engines behind one Start.
//
// Every gate is an anytime-valid test (see internal/stats): it may be looked at after every request, and the chance
// that a canary no worse than stable is ever rolled back is at most Policy.Alpha over the whole rollout. Rollback and
// promotion count sessions, because sessions are what is randomised: one that makes twenty requests, all of which fail,
// is one observation with a fault. Requests without a session are each a session of their own.
package canary

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Sentinel errors, to be tested with errors.Is.
var (
	// ErrPolicy is returned when a field of Policy is out of range; the text names it.
	ErrPolicy = errors.New("canary: invalid policy")
	// ErrState is returned when a stored state cannot be restored.
	ErrState = errors.New("canary: invalid state")
	// ErrPhase is returned by a command that the current phase does not allow.
	ErrPhase = errors.New("canary: not possible in this phase")
)

// Arm is one side of a rollout.
type Arm int

// Stable is the version that serves now, Canary the one that may replace it.
const (
	Stable Arm = iota
	Canary
)

func (a Arm) String() string {
	if a == Canary {
		return "canary"
	}
	return "stable"
}

// Phase is where a rollout stands.
type Phase string

const (
	Progressing Phase = "progressing" // a stage is running
	Waiting     Phase = "waiting"     // the stage has passed and waits for Approve
	Paused      Phase = "paused"      // held by an operator; gates still roll back
	Succeeded   Phase = "succeeded"   // the canary has all traffic but the holdback
	Failed      Phase = "failed"      // rolled back
)

// Done reports whether the phase is final.
func (p Phase) Done() bool { return p == Succeeded || p == Failed }

// Stage is one step of the traffic ramp.
type Stage struct {
	Weight float64       // canary share of sessions, in (0, 1]
	Window time.Duration // shortest time at this weight
}

// Policy says how a rollout proceeds. The zero value of every field is its default.
type Policy struct {
	// Stages ascend in weight and end at 1. Default: 10 % for 2 h, 25 % for 1 h, 50 % for 1 h, 100 %.
	Stages []Stage
	// Alpha bounds the chance that a canary no worse than stable, and within ErrorObjective, is ever rolled back.
	// Default 0.01.
	Alpha float64
	// MinRequests is how many canary requests, each of another session, every stage needs before promotion. Default 500.
	MinRequests int
	// ErrorObjective is the promised error rate; a canary whose rate is shown to exceed it is rolled back even if
	// stable is as bad. Default 0.0001; negative switches the gate off.
	ErrorObjective float64
	// ErrorMargin is by how much the canary's share of sessions with an error may exceed stable's at promotion, as the
	// stage's sessions have to show with confidence 1 − PromoteAlpha; so for every gate but the latencies. Default 0.02.
	ErrorMargin float64
	// SlowMargin is the same for sessions with an answer slower than stable's p95. Default 0.05.
	SlowMargin float64
	// SlowTolerance is the share by which the canary's latencies may be longer than stable's without counting against it:
	// with 0.1, only what is left of them divided by 1.1 is compared, for the rollback and the promotion. Default 0.
	SlowTolerance float64
	// PromoteAlpha is the chance that a stage promotes a canary that is worse by a margin. Default 0.05.
	PromoteAlpha float64
	// LatencyQuantile is the quantile of stable's latency that counts as slow. Default 0.95.
	LatencyQuantile float64
	// LatencyBaseline is how many stable answers fix the slow thresholds. Default 200.
	LatencyBaseline int
	// Warmup is the share of each stage's window, from its begin, in which no time to first token is judged: sessions that
	// have just moved find nothing of theirs in the canary's KV cache. Default 0.05; negative is none.
	Warmup float64
	// Custom names further kinds of fault that Outcome.Custom may report, each a gate of its own.
	Custom []string
	// Manual asks for Approve before every promotion.
	Manual bool
	// DryRun decides and reports, but never changes the weight or the phase.
	DryRun bool
	// Holdback is the share of sessions kept on stable at the last stage and after success, where the gates go on
	// comparing and can still roll back. Without it nothing is left to compare with at 100 %: only ErrorObjective
	// guards there. Default 0.
	Holdback float64
	// Interval is the longest time between decisions; canary/router also decides as soon as Controller.Due. Default 10 s.
	Interval time.Duration
	// Salt separates the session hash of this rollout from others', and its snapshots.
	Salt string
}

// DefaultStages is the ramp used when Policy.Stages is empty.
func DefaultStages() []Stage {
	return []Stage{{0.10, 2 * time.Hour}, {0.25, time.Hour}, {0.50, time.Hour}, {1, 0}}
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// withDefaults returns the policy with every zero field filled in.
func (p Policy) withDefaults() Policy {
	if len(p.Stages) == 0 {
		p.Stages = DefaultStages()
	}
	def(&p.Alpha, 0.01)
	def(&p.MinRequests, 500)
	def(&p.ErrorObjective, 0.0001)
	def(&p.ErrorMargin, 0.02)
	def(&p.SlowMargin, 0.05)
	def(&p.PromoteAlpha, 0.05)
	def(&p.LatencyQuantile, 0.95)
	def(&p.LatencyBaseline, 200)
	def(&p.Warmup, 0.05)
	def(&p.Interval, 10*time.Second)
	return p
}

// Validate reports the first field that is out of range. Zero fields are valid.
func (p Policy) Validate() error {
	p = p.withDefaults()
	bad := func(field string, v any) error { return fmt.Errorf("%w: %s = %v", ErrPolicy, field, v) }
	in := func(v, lo, hi float64) bool { return v > lo && v < hi && !math.IsNaN(v) }
	for i, s := range p.Stages {
		if !(s.Weight > 0 && s.Weight <= 1) || i > 0 && s.Weight <= p.Stages[i-1].Weight {
			return bad(fmt.Sprintf("Stages[%d].Weight", i), s.Weight)
		}
		if s.Window < 0 {
			return bad(fmt.Sprintf("Stages[%d].Window", i), s.Window)
		}
	}
	switch {
	case p.Stages[len(p.Stages)-1].Weight != 1:
		return bad("Stages: the last weight", p.Stages[len(p.Stages)-1].Weight)
	case !in(p.Alpha, 0, 1):
		return bad("Alpha", p.Alpha)
	case !(p.SlowTolerance >= 0 && p.SlowTolerance <= 100):
		return bad("SlowTolerance", p.SlowTolerance)
	case !in(p.PromoteAlpha, 0, 1):
		return bad("PromoteAlpha", p.PromoteAlpha)
	case p.MinRequests < 0:
		return bad("MinRequests", p.MinRequests)
	case !(p.ErrorObjective < 1):
		return bad("ErrorObjective", p.ErrorObjective)
	case !in(p.ErrorMargin, 0, 1):
		return bad("ErrorMargin", p.ErrorMargin)
	case !in(p.SlowMargin, 0, 1):
		return bad("SlowMargin", p.SlowMargin)
	case !in(p.LatencyQuantile, 0, 1):
		return bad("LatencyQuantile", p.LatencyQuantile)
	case p.LatencyBaseline < 20:
		return bad("LatencyBaseline", p.LatencyBaseline)
	case !(p.Holdback >= 0 && p.Holdback < 1):
		return bad("Holdback", p.Holdback)
	case !(p.Warmup <= 1):
		return bad("Warmup", p.Warmup)
	case p.Interval < 0:
		return bad("Interval", p.Interval)
	}
	if n := 64 - len(builtinGates); len(p.Custom) > n {
		return fmt.Errorf("%w: Custom has %d names; at most %d are possible", ErrPolicy, len(p.Custom), n)
	}
	seen := map[string]bool{}
	for _, g := range builtinGates {
		seen[g] = true
	}
	for i, c := range p.Custom {
		if c == "" || seen[c] {
			return bad(fmt.Sprintf("Custom[%d]", i), c)
		}
		seen[c] = true
	}
	return nil
}

// gates lists the names of all relative gates in a fixed order.
func (p Policy) gates() []string { return append(append([]string(nil), builtinGates...), p.Custom...) }

// finalWeight is the canary's share of sessions after success.
func (p Policy) finalWeight() float64 { return 1 - p.Holdback }
