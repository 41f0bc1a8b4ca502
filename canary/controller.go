package canary

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/krserve/krserve/internal/stats"
)

// Controller is a rollout: a policy, its state and its evidence. It is not safe for concurrent use; canary/router
// serialises access.
type Controller struct {
	policy   Policy
	state    State
	evidence *Evidence
}

// New returns a rollout that begins now.
func New(p Policy, now time.Time) (*Controller, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	p = p.withDefaults()
	return &Controller{policy: p, state: Start(now), evidence: NewEvidence(p)}, nil
}

// Policy returns the policy with all defaults filled in.
func (c *Controller) Policy() Policy { return c.policy }

// State returns where the rollout stands.
func (c *Controller) State() State { return c.state }

// Weight returns the canary's share of sessions now.
func (c *Controller) Weight() float64 { return c.state.Weight(c.policy) }

// Assign returns the arm of a session now, and the weight to report with its outcome.
func (c *Controller) Assign(session string) (Arm, float64) {
	w := c.Weight()
	return Assign(c.policy.Salt, session, w), w
}

// Warming reports whether a stage has just begun, so that the time to first token of a request that starts now says
// little about the arm (Policy.Warmup).
func (c *Controller) Warming(now time.Time) bool {
	window := time.Duration(0)
	if c.state.Stage < len(c.policy.Stages) {
		window = c.policy.Stages[c.state.Stage].Window
	}
	return now.Sub(c.state.Since) < time.Duration(c.policy.Warmup*float64(window))
}

// Reports returns every gate's evidence.
func (c *Controller) Reports() []Report { return c.evidence.Reports(c.Weight()) }

// Observe adds the outcome of one request.
func (c *Controller) Observe(o Outcome) { c.evidence.Observe(o) }

// Due reports whether a decision now would roll back, which the last outcome may have brought about: evidence may be
// looked at any time, so who asks after each outcome need not let the interval pass.
func (c *Controller) Due() bool {
	if c.policy.DryRun || !c.state.revocable(c.policy) {
		return false
	}
	_, bad := c.evidence.failing()
	return bad
}

// Decide looks at the evidence and returns what follows from it, without applying it.
func (c *Controller) Decide(now time.Time) Decision {
	return Decide(c.policy, c.state, c.evidence, now)
}

// Apply makes a decision's state current. Callers that keep a journal write the decision there first.
func (c *Controller) Apply(d Decision) {
	if d.To.Stage != c.state.Stage {
		c.evidence.NextStage(State{Stage: d.To.Stage}.Weight(c.policy))
	}
	c.state = d.To
}

// Command is what an operator may ask for.
type Command string

const (
	Approve  Command = "approve"  // allow the promotion that a Manual policy waits for
	Pause    Command = "pause"    // hold the stage; gates still roll back
	Resume   Command = "resume"   // end a pause
	Promote  Command = "promote"  // go to the next stage at once
	Rollback Command = "rollback" // give all traffic back to stable
)

// Do returns the decision that carries out a command; apply it with Apply.
func (c *Controller) Do(cmd Command, now time.Time) (Decision, error) {
	s := c.state
	next, ok := s, false
	switch cmd {
	case Approve:
		ok = s.Phase == Waiting || s.Phase == Progressing && c.policy.Manual
		next.Approved = true
	case Pause:
		ok = s.Phase == Progressing || s.Phase == Waiting
		next.Phase, next.Resume = Paused, s.Phase
	case Resume:
		ok = s.Phase == Paused
		next.Phase, next.Resume = s.Resume, ""
	case Promote:
		ok = !s.Phase.Done()
		if last(c.policy, s) {
			next = State{Phase: Succeeded, Stage: s.Stage, Since: now}
		} else {
			next = State{Phase: Progressing, Stage: s.Stage + 1, Since: now}
		}
	case Rollback:
		ok = s.Phase != Failed
		next = State{Phase: Failed, Stage: s.Stage, Since: now}
	}
	if !ok {
		return Decision{}, fmt.Errorf("%w: %s while %s", ErrPhase, cmd, s.Phase)
	}
	next.Reason = string(cmd) + " by operator"
	return Decision{Time: now, Verdict: Inconclusive, From: s, To: next, Weight: next.Weight(c.policy), Reason: next.Reason}, nil
}

// Snapshot is a Controller as plain data.
type Snapshot struct {
	Salt      string                     `json:"salt,omitempty"` // of the policy: names the rollout
	State     State                      `json:"state"`
	Requests  [2]int64                   `json:"requests"`
	Sessions  [2]SampleSnapshot          `json:"sessions"` // of the stage, of stable and canary
	Ranked    SessionsSnapshot           `json:"ranked"`   // sessions whose latencies were ranked
	Gates     map[string]GateSnapshot    `json:"gates"`
	Baseline  map[string][]time.Duration `json:"baseline,omitempty"`
	Threshold map[string]time.Duration   `json:"threshold,omitempty"`
}

// GateSnapshot is one gate's evidence as plain data.
type GateSnapshot struct {
	Test     stats.EventState `json:"test"`
	Requests [2]int64         `json:"requests"`
	Faults   [2]int64         `json:"faults"`
	Failed   []uint64         `json:"failed,omitempty"` // hashes of the sessions that have failed, oldest first
	// Of a latency gate: the comparison by ranks, and the largest evidence of both tests.
	Ranks   *stats.RankState `json:"ranks,omitempty"`
	MaxLogE float64          `json:"max_log_e,omitempty"`
}

// Snapshot returns everything needed to continue the rollout elsewhere.
func (c *Controller) Snapshot() Snapshot {
	e := c.evidence
	s := Snapshot{Salt: c.policy.Salt, State: c.state, Requests: e.requests, Gates: map[string]GateSnapshot{},
		Sessions: [2]SampleSnapshot{e.samples[Stable].snapshot(), e.samples[Canary].snapshot()},
		Ranked:   e.ranked.snapshot(), Baseline: map[string][]time.Duration{}, Threshold: map[string]time.Duration{}}
	for _, g := range e.gates {
		gs := GateSnapshot{Test: g.test.State(), Requests: g.requests, Faults: g.faults, Failed: append([]uint64(nil), g.order...)}
		if g.ranks != nil {
			r := g.ranks.State()
			gs.Ranks, gs.MaxLogE = &r, g.max
		}
		s.Gates[g.name] = gs
		if g.threshold > 0 {
			s.Threshold[g.name] = g.threshold
		}
		if len(g.baseline) > 0 {
			s.Baseline[g.name] = append([]time.Duration(nil), g.baseline...)
		}
	}
	return s
}

// Restore returns the rollout of a snapshot under the policy that it was made with.
func Restore(p Policy, s Snapshot) (*Controller, error) {
	c, err := New(p, s.State.Since)
	if err != nil {
		return nil, err
	}
	if s.Salt != c.policy.Salt {
		return nil, fmt.Errorf("%w: of the rollout with salt %q, not %q", ErrState, s.Salt, c.policy.Salt)
	}
	if s.State.Stage < 0 || s.State.Stage >= len(c.policy.Stages) {
		return nil, fmt.Errorf("%w: stage %d of %d", ErrState, s.State.Stage, len(c.policy.Stages))
	}
	switch s.State.Phase {
	case Progressing, Waiting, Paused, Succeeded, Failed:
	default:
		return nil, fmt.Errorf("%w: phase %q", ErrState, s.State.Phase)
	}
	switch r := s.State.Resume; {
	case s.State.Phase != Paused && r == "", s.State.Phase == Paused && (r == Progressing || r == Waiting):
	default:
		return nil, fmt.Errorf("%w: %s, to resume %q", ErrState, s.State.Phase, r)
	}
	c.state = s.State
	e := c.evidence
	e.requests, e.weight = s.Requests, State{Stage: s.State.Stage}.Weight(c.policy)
	for arm, snap := range s.Sessions {
		if e.samples[arm], err = restoreSample(len(e.gates), snap); err != nil {
			return nil, err
		}
	}
	if e.ranked, err = restoreSessions(s.Ranked); err != nil {
		return nil, err
	}
	for _, g := range e.gates {
		gs, ok := s.Gates[g.name]
		if !ok {
			return nil, fmt.Errorf("%w: no evidence for gate %q; the policy has changed", ErrState, g.name)
		}
		if err := g.restore(gs); err != nil {
			return nil, fmt.Errorf("%w: gate %q: %w", ErrState, g.name, err)
		}
		g.order = append(g.order, gs.Failed...)
		for _, session := range gs.Failed {
			g.failed[session] = true
		}
		g.baseline, g.threshold = append([]time.Duration(nil), s.Baseline[g.name]...), s.Threshold[g.name]
	}
	return c, nil
}

// restore takes over the tests and counts of a snapshot made with the gate's own levels.
func (g *gate) restore(s GateSnapshot) (err error) {
	if want := g.test.Alpha(); s.Test.Alpha != want {
		return fmt.Errorf("level %g, not %g; the policy has changed", s.Test.Alpha, want)
	}
	if g.test, err = stats.RestoreEventTest(s.Test); err != nil {
		return err
	}
	g.requests, g.faults = s.Requests, s.Faults
	if g.ranks == nil {
		return nil
	}
	if s.Ranks == nil || s.Ranks.Alpha != s.Test.Alpha {
		return errors.New("no ranks at the gate's level")
	}
	if g.ranks, err = stats.RestoreRankTest(*s.Ranks); err != nil {
		return err
	}
	if g.max = s.MaxLogE; !(g.max >= 0 && g.max <= g.limit+math.Ln2) {
		return fmt.Errorf("evidence of %g beyond the limit", g.max)
	}
	return nil
}
