package canary

import (
	"fmt"
	"time"
)

// State is where a rollout stands, as plain data.
type State struct {
	Phase  Phase     `json:"phase"`
	Stage  int       `json:"stage"` // index into Policy.Stages
	Since  time.Time `json:"since"` // when the stage began
	Reason string    `json:"reason"`
	// Approved is set by Approve and consumed by the promotion that it allows.
	Approved bool `json:"approved,omitempty"`
	// Resume is the phase that Resume returns to.
	Resume Phase `json:"resume,omitempty"`
}

// Start returns the state of a rollout that begins now.
func Start(now time.Time) State {
	return State{Phase: Progressing, Since: now, Reason: "started"}
}

// Weight returns the canary's share of sessions in a state.
func (s State) Weight(p Policy) float64 {
	p = p.withDefaults()
	switch {
	case s.Phase == Failed:
		return 0
	case s.Phase == Succeeded:
		return p.finalWeight()
	case s.Stage < 0 || s.Stage >= len(p.Stages):
		return 0
	}
	return min(p.Stages[s.Stage].Weight, p.finalWeight())
}

// revocable reports whether a failed gate rolls back from here: after success only if a holdback has kept stable.
func (s State) revocable(p Policy) bool {
	return s.Phase != Failed && (s.Phase != Succeeded || p.Holdback > 0)
}

// Verdict is what the evidence says about the current stage.
type Verdict string

// Pass, Fail and Inconclusive are the verdicts on a stage: promote, roll back, gather more.
const (
	Pass         Verdict = "pass"
	Fail         Verdict = "fail"
	Inconclusive Verdict = "inconclusive"
)

// Decision is the outcome of one look at the evidence.
type Decision struct {
	Time    time.Time `json:"time"`
	Verdict Verdict   `json:"verdict"`
	From    State     `json:"from"`
	To      State     `json:"to"`
	Weight  float64   `json:"weight"` // the canary's share from now on
	Reason  string    `json:"reason"`
	Reports []Report  `json:"reports,omitempty"` // of decisions that change the state
	DryRun  bool      `json:"dry_run,omitempty"`
}

// Changed reports whether the decision moves the rollout.
func (d Decision) Changed() bool { return d.From != d.To }

// Decide looks at the evidence at a time. It is a pure function: equal arguments give equal decisions.
//
// A failed gate rolls back from every phase but Failed; after success it does so as long as a holdback leaves a stable
// to return to. A stage passes when its window is over, it has MinRequests canary sessions, and every gate shows the
// canary to be worse than stable by less than the margin. Anything else, no traffic included, holds.
func Decide(p Policy, s State, e *Evidence, now time.Time) Decision {
	p = p.withDefaults()
	d := Decision{Time: now, From: s, To: s, Verdict: Inconclusive, DryRun: p.DryRun}
	d.Verdict, d.Reason = judge(p, s, e, now)
	next := s
	switch {
	case !s.revocable(p), s.Phase == Succeeded && d.Verdict != Fail:
		d.Reason = s.Reason
	case d.Verdict == Fail:
		next = State{Phase: Failed, Stage: s.Stage, Since: now, Reason: d.Reason}
	case now.Before(s.Since):
		// The clock was set back. Windows are no shorter for it, and no longer than one of them.
		next.Since, next.Reason = now, fmt.Sprintf("the clock went back by %s: the window begins again", s.Since.Sub(now))
		d.Reason = next.Reason
	case s.Phase == Paused:
		d.Reason = "paused: " + d.Reason
	case d.Verdict == Pass && p.Manual && !s.Approved && !last(p, s):
		if s.Phase == Waiting {
			d.Reason = s.Reason // the state holds until someone approves
			break
		}
		next.Phase, next.Reason = Waiting, "waiting for approval: "+d.Reason
	case d.Verdict == Pass && last(p, s):
		next = State{Phase: Succeeded, Stage: s.Stage, Since: now, Reason: d.Reason}
	case d.Verdict == Pass:
		next = State{Phase: Progressing, Stage: s.Stage + 1, Since: now, Reason: d.Reason}
	case s.Phase == Waiting:
		// New evidence has widened a bound again: back to gathering.
		next.Phase, next.Reason = Progressing, d.Reason
	}
	if !p.DryRun {
		d.To = next
	}
	d.Weight = d.To.Weight(p)
	if d.Changed() {
		d.Reports = e.Reports(s.Weight(p))
	}
	return d
}

func last(p Policy, s State) bool { return s.Stage >= len(p.Stages)-1 }

func judge(p Policy, s State, e *Evidence, now time.Time) (Verdict, string) {
	if r, bad := e.failing(); bad && r.Gate == GateObjective {
		return Fail, fmt.Sprintf("%s: %d faults in %d canary requests show a rate above the objective of %g (anytime-valid p = %.2g)",
			r.Gate, r.Faults[Canary], r.Requests[Canary], p.ErrorObjective, r.PValue)
	} else if bad && r.ByRank {
		return Fail, fmt.Sprintf("%s: the latencies of %d canary sessions rank above those of %d stable ones (anytime-valid p = %.2g)",
			r.Gate, r.Ranked[Canary], r.Ranked[Stable], r.PValue)
	} else if bad {
		return Fail, fmt.Sprintf("%s: %d faults in %d canary requests, %d in %d stable ones (anytime-valid p = %.2g)",
			r.Gate, r.Faults[Canary], r.Requests[Canary], r.Faults[Stable], r.Requests[Stable], r.PValue)
	}
	if s.Stage < len(p.Stages) {
		if left := p.Stages[s.Stage].Window - now.Sub(s.Since); left > 0 {
			return Inconclusive, fmt.Sprintf("stage %d: window open for another %s", s.Stage+1, left.Round(time.Second))
		}
	}
	served := e.samples[Canary].total()
	if served < int64(p.MinRequests) {
		return Inconclusive, fmt.Sprintf("stage %d: %d of %d canary sessions", s.Stage+1, served, p.MinRequests)
	}
	for i, g := range e.gates {
		if why := e.holds(i, s.Weight(p)); why != "" {
			return Inconclusive, fmt.Sprintf("stage %d: %s: %s", s.Stage+1, g.name, why)
		}
	}
	return Pass, fmt.Sprintf("stage %d passed with %d canary sessions", s.Stage+1, served)
}
