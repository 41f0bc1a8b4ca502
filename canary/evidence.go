package canary

import (
	"fmt"
	"math"
	"sort"
	"time"

	"github.com/krserve/krserve/internal/stats"
)

// Names of the built-in gates. Each compares the canary's rate of one kind of fault with stable's.
const (
	GateErrors    = "errors"
	GateTTFT      = "ttft"        // time to first token above stable's quantile
	GateITL       = "inter_token" // mean time between tokens above stable's quantile
	GateTimeout   = "timeout"     // the caller's deadline passed before the answer was complete
	GateEmpty     = "empty"
	GateTruncated = "truncated"
	GateRepeated  = "repetition"
	GateObjective = "error_objective" // absolute, not relative to stable
)

var builtinGates = []string{GateErrors, GateTimeout, GateTTFT, GateITL, GateEmpty, GateTruncated, GateRepeated}

// alphaShare splits Policy.Alpha among the gates; errors get the largest part.
func alphaShare(p Policy, gate string) float64 {
	n := float64(len(builtinGates) - 1 + len(p.Custom))
	switch gate {
	case GateErrors:
		return 0.4 * p.Alpha
	case GateObjective:
		return 0.1 * p.Alpha
	}
	return 0.5 * p.Alpha / n
}

// Outcome is one finished request. Requests cancelled by the caller are not outcomes.
type Outcome struct {
	Arm     Arm
	Session string        // the key that was assigned
	Weight  float64       // the canary weight in force when the request was assigned
	Error   bool          // the engine failed
	Timeout bool          // the caller's deadline passed before the answer was complete
	TTFT    time.Duration // time to first token; 0 when none came
	ITL     time.Duration // mean time between tokens; 0 when fewer than two came
	Empty   bool          // no text in the answer
	Cut     bool          // truncated where stable's answers would end
	Loop    bool          // degenerate repetition
	Custom  []string      // names of custom faults
}

// maxSessions bounds the memory of which sessions have failed per gate. Beyond it the oldest half is forgotten.
const maxSessions = 1 << 16

// gate is the evidence about one kind of fault.
type gate struct {
	test     *stats.EventTest
	requests [2]int64 // judged requests per arm
	faults   [2]int64 // first faults per session and arm
	failed   map[uint64]bool
	order    []uint64 // sessions in failed, oldest first
}

func (g *gate) observe(arm Arm, session string, weight float64, fault bool) {
	g.requests[arm]++
	if !fault {
		return
	}
	key := hash(session)
	if g.failed[key] {
		return
	}
	if len(g.order) >= maxSessions {
		for _, s := range g.order[:maxSessions/2] {
			delete(g.failed, s)
		}
		g.order = append(g.order[:0], g.order[maxSessions/2:]...)
	}
	g.failed[key] = true
	g.order = append(g.order, key)
	g.faults[arm]++
	g.test.Observe(arm == Canary, weight)
}

// Evidence is what is known about both arms. It is not safe for concurrent use.
type Evidence struct {
	policy   Policy
	gates    map[string]*gate
	requests [2]int64
	stage    int64 // canary requests in this stage
	// Slow thresholds are fixed by the first LatencyBaseline stable answers; until then no answer is judged.
	baseline  map[string][]time.Duration
	threshold map[string]time.Duration
}

// NewEvidence returns empty evidence.
func NewEvidence(p Policy) *Evidence {
	p = p.withDefaults()
	e := &Evidence{policy: p, gates: map[string]*gate{}, baseline: map[string][]time.Duration{}, threshold: map[string]time.Duration{}}
	for _, name := range p.gates() {
		e.gates[name] = &gate{test: stats.NewEventTest(1), failed: map[uint64]bool{}}
	}
	return e
}

// Observe adds one outcome.
func (e *Evidence) Observe(o Outcome) {
	if o.Arm != Canary {
		o.Arm = Stable
	}
	e.requests[o.Arm]++
	if o.Arm == Canary {
		e.stage++
	}
	see := func(name string, fault bool) { e.gates[name].observe(o.Arm, o.Session, o.Weight, fault) }
	see(GateErrors, o.Error)
	see(GateTimeout, o.Timeout)
	for _, c := range e.policy.Custom {
		see(c, contains(o.Custom, c))
	}
	if o.Error || o.Timeout {
		return // no whole answer to judge
	}
	see(GateEmpty, o.Empty)
	see(GateTruncated, o.Cut)
	see(GateRepeated, o.Loop)
	e.latency(GateTTFT, o, o.TTFT)
	e.latency(GateITL, o, o.ITL)
}

func (e *Evidence) latency(name string, o Outcome, d time.Duration) {
	if d <= 0 {
		return
	}
	if t, ok := e.threshold[name]; ok {
		e.gates[name].observe(o.Arm, o.Session, o.Weight, d > t)
		return
	}
	if o.Arm != Stable {
		return
	}
	b := append(e.baseline[name], d)
	e.baseline[name] = b
	if len(b) >= e.policy.LatencyBaseline {
		sort.Slice(b, func(i, j int) bool { return b[i] < b[j] })
		e.threshold[name] = b[int(math.Ceil(e.policy.LatencyQuantile*float64(len(b))))-1]
		delete(e.baseline, name)
	}
}

// NextStage starts the count of a new stage's requests. The tests go on: they stay valid when the weight changes.
func (e *Evidence) NextStage() { e.stage = 0 }

// Report is one gate's evidence in figures.
type Report struct {
	Gate      string        `json:"gate"`
	Requests  [2]int64      `json:"requests"` // judged, stable and canary
	Faults    [2]int64      `json:"faults"`   // first of each session
	LogE      float64       `json:"log_e"`    // evidence that the canary is worse; rolls back at Limit
	Limit     float64       `json:"limit"`
	PValue    float64       `json:"p_value"`             // anytime-valid
	Upper     float64       `json:"upper"`               // confidence bound of the canary's fault rate
	Lower     float64       `json:"lower"`               // confidence bound of stable's fault rate
	Threshold time.Duration `json:"threshold,omitempty"` // what counts as slow
	Fail      bool          `json:"fail"`
	// Holds says why this gate does not allow promotion yet; empty if it does.
	Holds string `json:"holds,omitempty"`
}

// failing returns the first gate whose evidence rolls the canary back.
func (e *Evidence) failing() (Report, bool) {
	for _, name := range e.policy.gates() {
		if r := e.report(name); r.Fail {
			return r, true
		}
	}
	r := e.objective()
	return r, r.Fail
}

// Reports returns every gate's evidence with its confidence bounds, the objective last. weight is the canary's share
// now: at 1 stable answers no more, so a latency baseline that is still incomplete stays so and no longer holds.
func (e *Evidence) Reports(weight float64) []Report {
	var out []Report
	for _, name := range e.policy.gates() {
		r := e.report(name)
		e.bounds(&r, weight)
		out = append(out, r)
	}
	if e.policy.ErrorObjective >= 0 {
		r := e.objective()
		r.Lower = stats.BernoulliLower(r.Faults[Canary], r.Requests[Canary], alphaShare(e.policy, GateObjective))
		out = append(out, r)
	}
	return out
}

func (e *Evidence) report(name string) Report {
	g := e.gates[name]
	r := Report{Gate: name, Requests: g.requests, Faults: g.faults, LogE: g.test.MaxLogE(), Limit: -math.Log(alphaShare(e.policy, name)),
		PValue: g.test.PValue(), Threshold: e.threshold[name]}
	r.Fail = r.LogE >= r.Limit
	return r
}

// objective tests that the canary's error rate is at most the objective. Its evidence reaches the limit exactly when
// the lower confidence bound of the rate exceeds the objective.
func (e *Evidence) objective() Report {
	g := e.gates[GateErrors]
	r := Report{Gate: GateObjective, Requests: g.requests, Faults: g.faults, Limit: -math.Log(alphaShare(e.policy, GateObjective)), PValue: 1}
	if e.policy.ErrorObjective >= 0 {
		r.LogE = stats.BernoulliLogE(g.faults[Canary], g.requests[Canary], e.policy.ErrorObjective)
		r.PValue = math.Min(1, math.Exp(-r.LogE))
		r.Fail = r.LogE >= r.Limit
	}
	return r
}

// bounds fills in the confidence bounds and whether they allow promotion.
func (e *Evidence) bounds(r *Report, weight float64) {
	p, g := e.policy, e.gates[r.Gate]
	r.Upper = stats.BernoulliUpper(g.faults[Canary], g.requests[Canary], p.PromoteAlpha/2)
	r.Lower = stats.BernoulliLower(g.faults[Stable], g.requests[Stable], p.PromoteAlpha/2)
	margin := p.ErrorMargin
	if r.Gate == GateTTFT || r.Gate == GateITL {
		margin = p.SlowMargin
		if _, fixed := e.threshold[r.Gate]; !fixed && (len(e.baseline[r.Gate]) == 0 || weight >= 1) {
			r.Upper = 0 // nothing to compare with: the caller reports no such latency, or stable none any more
		}
		// Stable exceeds its own quantile at the nominal rate.
		r.Lower = math.Max(r.Lower, 1-p.LatencyQuantile)
	}
	if r.Upper > r.Lower+margin {
		r.Holds = fmt.Sprintf("canary's rate may be %.4f, stable's %.4f, margin %.4f", r.Upper, r.Lower, margin)
	}
}

func contains(xs []string, x string) bool {
	for _, v := range xs {
		if v == x {
			return true
		}
	}
	return false
}
