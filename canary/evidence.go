package canary

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/krserve/krserve/internal/stats"
)

// Names of the built-in gates. Each compares the canary's rate of one kind of fault with stable's.
const (
	GateErrors    = "errors"
	GateTTFT      = "ttft"        // time to first token: above stable's quantile, or later by ranks
	GateITL       = "inter_token" // mean time between tokens: above stable's quantile, or longer by ranks
	GateTimeout   = "timeout"     // the caller's deadline passed before the answer was complete
	GateEmpty     = "empty"
	GateTruncated = "truncated"
	GateRepeated  = "repetition"
	GateObjective = "error_objective" // absolute, not relative to stable
)

var builtinGates = []string{GateErrors, GateTimeout, GateTTFT, GateITL, GateEmpty, GateTruncated, GateRepeated}

// Indices into builtinGates.
const (
	errorsAt = iota
	timeoutAt
	ttftAt
	itlAt
	emptyAt
	truncatedAt
	repeatedAt
)

// alphaShare splits Policy.Alpha among the gates; errors get the largest part, and the objective's if that is off.
func alphaShare(p Policy, gate string) float64 {
	n := float64(len(builtinGates) - 1 + len(p.Custom))
	switch {
	case gate == GateErrors && p.ErrorObjective >= 0:
		return 0.6 * p.Alpha
	case gate == GateErrors:
		return 0.7 * p.Alpha
	case gate == GateObjective:
		return 0.1 * p.Alpha
	}
	return 0.3 * p.Alpha / n
}

// Outcome is one finished request. A request whose caller left is one only as far as Left says.
type Outcome struct {
	Arm     Arm
	Session string        // the key that was assigned
	Weight  float64       // the canary weight in force when the request was assigned, as Controller.Assign returned it
	Error   bool          // the engine failed
	Timeout bool          // the caller's deadline passed before the answer was complete
	TTFT    time.Duration // time to first token; 0 when none came
	ITL     time.Duration // mean time between tokens; 0 when fewer than two came
	Empty   bool          // no text in the answer
	Cut     bool          // truncated where stable's answers would end
	Loop    bool          // degenerate repetition
	Custom  []string      // names of custom faults
	// Left says that the caller left before the first token, after waiting TTFT. That is a slow answer if it was longer
	// than the threshold, and nothing else: what would have come is unknown.
	Left bool
}

// maxSessions bounds the memory of which sessions have failed per gate. Beyond it the oldest half is forgotten.
const maxSessions = 1 << 16

// gate is the evidence for a rollback because of one kind of fault.
type gate struct {
	name     string
	limit    float64 // evidence that rolls back
	test     *stats.EventTest
	requests [2]int64 // judged requests per arm
	faults   [2]int64 // first faults per session and arm
	failed   map[uint64]bool
	order    []uint64 // sessions in failed, oldest first
	// Of a latency gate: the threshold is fixed by the first LatencyBaseline stable answers; until then it is 0, and no
	// answer is judged.
	baseline  []time.Duration
	threshold time.Duration
	// Of a latency gate: compares all of both arms' latencies. Evidence is then the mean of both tests' e-values, each of
	// which may show all of it alone.
	ranks *stats.RankTest
	max   float64 // largest evidence so far, with ranks
}

// isLatency reports whether the gate at i judges a latency.
func isLatency(i int) bool { return i == ttftAt || i == itlAt }

// newGate returns a gate at the policy's level for it.
func newGate(p Policy, i int, name string) *gate {
	alpha := alphaShare(p, name)
	g := &gate{name: name, limit: -math.Log(alpha), failed: map[uint64]bool{}}
	stakes := stats.Sudden // what a model gets wrong, it gets wrong often
	switch {
	case i == errorsAt:
		stakes = stats.Gradual
	case isLatency(i):
		stakes, alpha = stats.Gradual, alpha/2
		g.ranks = stats.NewRankTest(alpha)
	}
	g.test = stats.NewEventTest(1, alpha, stakes)
	return g
}

// logE is the largest evidence so far that the canary is worse.
func (g *gate) logE() float64 {
	if g.ranks == nil {
		return g.test.MaxLogE()
	}
	return g.max
}

// weigh takes note of a latency gate's evidence now.
func (g *gate) weigh() {
	if g.ranks == nil {
		return
	}
	a, b := g.test.LogE(), g.ranks.LogE()
	hi := math.Max(a, b)
	g.max = math.Max(g.max, hi+math.Log((math.Exp(a-hi)+math.Exp(b-hi))/2))
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
	g.weigh()
}

// Evidence is what is known about both arms. It is not safe for concurrent use.
//
// Its unit is the session. For the rollback a session is one event of each kind of fault, over the whole rollout; for the
// promotion it is one observation of each gate, with a fault or without, in each stage: only within a stage have both
// arms had the same time to show a fault.
type Evidence struct {
	policy   Policy
	gates    []*gate // builtinGates, then Policy.Custom
	requests [2]int64
	weight   float64   // of the stage
	samples  [2]sample // sessions of the stage; of stable's last stage when the canary has all traffic
	ranked   sessions  // whose first latencies were ranked
}

// NewEvidence returns empty evidence of a rollout's first stage.
func NewEvidence(p Policy) *Evidence {
	p = p.withDefaults()
	e := &Evidence{policy: p, weight: State{}.Weight(p)}
	for i, name := range p.gates() {
		e.gates = append(e.gates, newGate(p, i, name))
	}
	e.samples = [2]sample{newSample(len(e.gates)), newSample(len(e.gates))}
	e.ranked = newSessions()
	return e
}

// Observe adds one outcome.
func (e *Evidence) Observe(o Outcome) {
	if o.Arm != Canary {
		o.Arm = Stable
	}
	e.rank(&o)
	var m marks
	for i, g := range e.gates {
		judged, fault := e.judge(i, &o)
		if !judged {
			continue
		}
		g.observe(o.Arm, o.Session, o.Weight, fault)
		m.judged |= 1 << i
		if fault {
			m.faulty |= 1 << i
		}
	}
	if m.judged == 0 {
		return // the caller left early: nothing is known
	}
	e.requests[o.Arm]++
	if o.Weight == e.weight { // a request of an earlier stage is no evidence about this one
		e.samples[o.Arm].observe(o.Session, m)
	}
}

// latency is what the gate at i judges, with what Policy.SlowTolerance allows the canary taken off; 0 if there is none.
func (e *Evidence) latency(i int, o *Outcome) time.Duration {
	d := o.TTFT
	if i == itlAt {
		d = o.ITL
	}
	if o.Arm == Canary && d > 0 {
		d = max(1, time.Duration(float64(d)/(1+e.policy.SlowTolerance)))
	}
	return d
}

// rank compares the latencies of a session's first whole answer with those of other sessions.
func (e *Evidence) rank(o *Outcome) {
	if o.Left || o.Error || o.Timeout || o.TTFT <= 0 && o.ITL <= 0 || !e.ranked.add(o.Session) {
		return
	}
	for _, i := range []int{ttftAt, itlAt} {
		if d := e.latency(i, o); d > 0 {
			g := e.gates[i]
			g.ranks.Observe(d.Seconds(), o.Arm == Canary, o.Weight)
			g.weigh()
		}
	}
}

// judge reports whether the gate at i can judge an outcome, and whether it finds a fault.
func (e *Evidence) judge(i int, o *Outcome) (judged, fault bool) {
	whole := !o.Error && !o.Timeout
	switch {
	case o.Left:
		late := i == ttftAt && e.gates[i].threshold > 0 && e.latency(i, o) > e.gates[i].threshold
		return late, late
	case i == errorsAt:
		return true, o.Error
	case i == timeoutAt:
		return true, o.Timeout
	case isLatency(i):
		return e.slow(e.gates[i], o.Arm, e.latency(i, o), whole)
	case i == emptyAt:
		return whole, o.Empty
	case i == truncatedAt:
		return whole, o.Cut
	case i == repeatedAt:
		return whole, o.Loop
	}
	return true, slices.Contains(o.Custom, e.gates[i].name)
}

// slow judges a latency by stable's quantile, once enough of stable's answers have fixed that.
func (e *Evidence) slow(g *gate, arm Arm, d time.Duration, whole bool) (judged, fault bool) {
	switch {
	case d <= 0 || !whole:
		return false, false
	case g.threshold > 0:
		return true, d > g.threshold
	case arm != Stable:
		return false, false
	}
	g.baseline = append(g.baseline, d)
	if b := g.baseline; len(b) >= e.policy.LatencyBaseline {
		slices.Sort(b)
		g.threshold, g.baseline = b[int(math.Ceil(e.policy.LatencyQuantile*float64(len(b))))-1], nil
	}
	return false, false
}

// NextStage starts the samples of a stage with a new weight. The tests go on: they stay valid when the weight changes. At
// full weight stable's sample stays, as there will be no other.
func (e *Evidence) NextStage(weight float64) {
	e.weight = weight
	e.samples[Canary] = newSample(len(e.gates))
	if weight < 1 {
		e.samples[Stable] = newSample(len(e.gates))
	}
}

// Report is one gate's evidence in figures.
type Report struct {
	Gate      string        `json:"gate"`
	Requests  [2]int64      `json:"requests"` // judged in the whole rollout, of stable and canary
	Faults    [2]int64      `json:"faults"`   // the first of each session
	LogE      float64       `json:"log_e"`    // evidence that the canary is worse; rolls back at Limit
	Limit     float64       `json:"limit"`
	PValue    float64       `json:"p_value"`             // anytime-valid
	Threshold time.Duration `json:"threshold,omitempty"` // what counts as slow
	Fail      bool          `json:"fail"`
	// Of a latency gate: sessions whose latencies were ranked, and whether ranks say more against the canary than the
	// threshold does.
	Ranked [2]int64 `json:"ranked"`
	ByRank bool     `json:"by_rank,omitempty"`
	// Sessions of this stage that the gate has judged, of stable and canary, and how many of them had a fault. Of more
	// than 8,192 per arm it is a random part.
	Sessions [2]int64 `json:"sessions"`
	Faulty   [2]int64 `json:"faulty"`
	Upper    float64  `json:"upper"` // confidence bound of the canary's share of faulty sessions
	Lower    float64  `json:"lower"` // confidence bound of stable's
	// Holds says why this gate does not allow promotion yet; empty if it does.
	Holds string `json:"holds,omitempty"`
}

// failing returns the first gate whose evidence rolls the canary back.
func (e *Evidence) failing() (Report, bool) {
	for _, g := range e.gates {
		if g.logE() >= g.limit {
			return g.report(), true
		}
	}
	r := e.objective()
	return r, r.Fail
}

// Reports returns every gate's evidence with its confidence bounds, the objective last. weight is the canary's share
// now: at 1 stable answers no more, so a latency baseline that is still incomplete stays so and no longer holds.
func (e *Evidence) Reports(weight float64) []Report {
	var out []Report
	for i, g := range e.gates {
		r := g.report()
		for arm, s := range e.samples {
			r.Sessions[arm], r.Faulty[arm] = s.judged[i], s.faulty[i]
		}
		r.Upper = stats.BernoulliUpper(r.Faulty[Canary], r.Sessions[Canary], e.policy.PromoteAlpha/2)
		r.Lower = stats.BernoulliLower(r.Faulty[Stable], r.Sessions[Stable], e.policy.PromoteAlpha/2)
		r.Holds = e.holds(i, weight)
		out = append(out, r)
	}
	if e.policy.ErrorObjective >= 0 {
		r := e.objective()
		r.Upper = 1
		r.Lower = stats.BernoulliLower(r.Faults[Canary], r.Requests[Canary], alphaShare(e.policy, GateObjective))
		out = append(out, r)
	}
	return out
}

func (g *gate) report() Report {
	r := Report{Gate: g.name, Requests: g.requests, Faults: g.faults, LogE: g.logE(), Limit: g.limit, Threshold: g.threshold}
	r.PValue, r.Fail = math.Min(1, math.Exp(-r.LogE)), r.LogE >= r.Limit
	if g.ranks != nil {
		r.Ranked[Stable], r.Ranked[Canary] = g.ranks.Values()
		r.ByRank = g.ranks.LogE() > g.test.LogE()
	}
	return r
}

// objective tests that the canary's error rate is at most the objective. Its evidence reaches the limit exactly when
// the lower confidence bound of the rate exceeds the objective.
func (e *Evidence) objective() Report {
	g := e.gates[errorsAt]
	r := Report{Gate: GateObjective, Requests: g.requests, Faults: g.faults, Limit: -math.Log(alphaShare(e.policy, GateObjective)), PValue: 1}
	if e.policy.ErrorObjective >= 0 {
		r.LogE = stats.BernoulliLogE(g.faults[Canary], g.requests[Canary], e.policy.ErrorObjective)
		r.PValue = math.Min(1, math.Exp(-r.LogE))
		r.Fail = r.LogE >= r.Limit
	}
	return r
}

// holds says why a gate does not allow promotion yet: the stage's sessions do not show that the canary's share of faulty
// ones is above stable's by less than the margin. Without sessions of stable, the share itself has to be.
func (e *Evidence) holds(i int, weight float64) string {
	g, p := e.gates[i], e.policy
	s, c := &e.samples[Stable], &e.samples[Canary]
	margin := p.ErrorMargin
	if isLatency(i) {
		margin = p.SlowMargin
		if g.threshold == 0 && (len(g.baseline) == 0 || weight >= 1) || weight >= 1 && s.judged[i] == 0 {
			return "" // nothing to compare with: the caller reports no such latency, or stable none any more
		}
	}
	shown := stats.BernoulliLogE(c.judged[i]-c.faulty[i], c.judged[i], 1-margin) >= -math.Log(p.PromoteAlpha)
	if s.judged[i] > 0 {
		// Counts are consistent and the policy is validated, so there is no error.
		shown, _ = stats.NonInferior(s.faulty[i], s.judged[i], c.faulty[i], c.judged[i], margin, p.PromoteAlpha)
	}
	if shown {
		return ""
	}
	return fmt.Sprintf("%d of canary's %d sessions at fault, %d of stable's %d, do not show a margin below %g",
		c.faulty[i], c.judged[i], s.faulty[i], s.judged[i], margin)
}
