package simulate

import (
	"time"

	"github.com/krserve/krserve/canary"
	"github.com/krserve/krserve/internal/stats"
)

// policyRule is krserve's own controller.
type policyRule struct{ c *canary.Controller }

// Policy returns the rule of a policy. The policy must be valid.
func Policy(p canary.Policy) func() Rule {
	return func() Rule {
		c, err := canary.New(p, time.Unix(0, 0).UTC())
		if err != nil {
			return never{}
		}
		return &policyRule{c}
	}
}

func (r *policyRule) Observe(o canary.Outcome) { r.c.Observe(o) }
func (r *policyRule) Weight() float64          { return r.c.Weight() }
func (r *policyRule) Tick(now time.Time) bool {
	d := r.c.Decide(now)
	r.c.Apply(d)
	return d.To.Phase == canary.Failed
}

type never struct{}

func (never) Observe(canary.Outcome) {}
func (never) Weight() float64        { return 0 }
func (never) Tick(time.Time) bool    { return false }

// windows is a fixed rule on one-minute windows of the canary's success rate, the shape of Argo Rollouts' web analysis
// (failureLimit) and of Flagger's thresholdRange with a number of failed checks. Windows without traffic are skipped.
type windows struct {
	threshold float64
	limit     int
	every     time.Duration
	end       time.Time
	n, bad    int
	failed    int
}

// FixedRule rolls back after more than limit one-minute windows whose success rate is below threshold.
func FixedRule(threshold float64, limit int) func() Rule {
	return func() Rule { return &windows{threshold: threshold, limit: limit, every: time.Minute} }
}

func (w *windows) Observe(o canary.Outcome) {
	if o.Arm == canary.Canary {
		w.n++
		if o.Error {
			w.bad++
		}
	}
}

func (w *windows) Weight() float64 { return 0.1 }

func (w *windows) Tick(now time.Time) bool {
	if w.end.IsZero() {
		w.end = now.Add(w.every)
	}
	if now.Before(w.end) {
		return false
	}
	w.end = w.end.Add(w.every)
	if w.n > 0 && float64(w.n-w.bad)/float64(w.n) < w.threshold {
		w.failed++
	}
	w.n, w.bad = 0, 0
	return w.failed > w.limit
}

// asymptotic is a one-sided asymptotic confidence sequence for the difference of error rates, looked at every tick, as
// GrowthBook's safe rollouts compute it: no verdict while either arm's variance is zero.
type asymptotic struct {
	alpha, tuned float64
	n, bad       [2]float64
}

// AsymptoticRule rolls back when the lower confidence bound of the difference of error rates exceeds zero.
func AsymptoticRule(alpha, tuned float64) func() Rule {
	return func() Rule { return &asymptotic{alpha: alpha, tuned: tuned} }
}

func (a *asymptotic) Observe(o canary.Outcome) {
	a.n[o.Arm]++
	if o.Error {
		a.bad[o.Arm]++
	}
}

func (a *asymptotic) Weight() float64 { return 0.1 }

func (a *asymptotic) Tick(time.Time) bool {
	if a.n[0] < 2 || a.n[1] < 2 {
		return false
	}
	pc, pt := a.bad[0]/a.n[0], a.bad[1]/a.n[1]
	vc, vt := pc*(1-pc), pt*(1-pt)
	if vc == 0 || vt == 0 {
		return false
	}
	n := a.n[0] + a.n[1]
	return stats.AsymptoticLowerCS(pt-pc, n*(vc/a.n[0]+vt/a.n[1]), n, a.alpha, a.tuned).Low > 0
}
