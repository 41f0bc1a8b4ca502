package simulate

import (
	"math"
	"slices"
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

func (r *policyRule) Weight() float64 { return r.c.Weight() }

// Observe decides at once when the evidence calls for it, as canary/router does.
func (r *policyRule) Observe(o canary.Outcome, now time.Time) bool {
	r.c.Observe(o)
	return r.c.Due() && r.Tick(now)
}

func (r *policyRule) Tick(now time.Time) bool {
	d := r.c.Decide(now)
	r.c.Apply(d)
	return d.To.Phase == canary.Failed
}

type never struct{}

func (never) Observe(canary.Outcome, time.Time) bool { return false }
func (never) Weight() float64                        { return 0 }
func (never) Tick(time.Time) bool                    { return false }

// watch looks at one metric of the canary in one way, at several settings, and raises alarms by the setting's index.
type watch interface {
	observe(o canary.Outcome)
	tick(now time.Time)
}

// watchRule rolls back when the watch's only setting has raised more than limit alarms.
type watchRule struct {
	watch
	alarms, limit int
}

func rule(w func(raise func(int)) watch, limit int) func() Rule {
	return func() Rule {
		r := &watchRule{limit: limit}
		r.watch = w(func(int) { r.alarms++ })
		return r
	}
}

func (r *watchRule) Weight() float64 { return 0.1 }

func (r *watchRule) Observe(o canary.Outcome, _ time.Time) bool {
	r.observe(o)
	return r.alarms > r.limit
}

func (r *watchRule) Tick(now time.Time) bool {
	r.tick(now)
	return r.alarms > r.limit
}

// FixedRule rolls back after more than limit one-minute windows whose success rate is below threshold: the shape of Argo
// Rollouts' analysis (failureLimit) and of Flagger's thresholdRange with a number of failed checks.
func FixedRule(threshold float64, limit int) func() Rule {
	return rule(windowsOf(failed, time.Minute, []float64{1 - threshold}), limit)
}

// AsymptoticRule rolls back when the lower confidence bound of the difference of error rates exceeds zero, in a one-sided
// asymptotic confidence sequence as GrowthBook's safe rollouts compute it.
func AsymptoticRule(alpha, tuned float64) func() Rule {
	return rule(sequence(failed, []sequenceSetting{{alpha, tuned, 0}}), 0)
}

// metric reads one number of an outcome: 1 for a fault and 0 for none, or a latency; no number is NaN.
type metric func(o *canary.Outcome) float64

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func failed(o *canary.Outcome) float64 { return flag(o.Error) }

func empty(o *canary.Outcome) float64 {
	if o.Error {
		return math.NaN()
	}
	return flag(o.Empty)
}

func seconds(d time.Duration) float64 {
	if d <= 0 {
		return math.NaN()
	}
	return d.Seconds()
}

func ttft(o *canary.Outcome) float64       { return seconds(o.TTFT) }
func interToken(o *canary.Outcome) float64 { return seconds(o.ITL) }

// windows raises an alarm for each window in which the canary's share of faults, or its 95th percentile of a latency, is
// above a bound. Windows without traffic are skipped.
type windows struct {
	of       metric
	latency  bool
	every    time.Duration
	bounds   []float64 // ascending
	raise    func(int)
	end      time.Time
	n, total float64
	values   []float64 // of a latency
}

func windowsOf(of metric, every time.Duration, bounds []float64) func(func(int)) watch {
	return func(raise func(int)) watch { return &windows{of: of, every: every, bounds: bounds, raise: raise} }
}

func latencyWindows(of metric, every time.Duration, bounds []float64) func(func(int)) watch {
	return func(raise func(int)) watch {
		return &windows{of: of, latency: true, every: every, bounds: bounds, raise: raise}
	}
}

func (w *windows) observe(o canary.Outcome) {
	if o.Arm != canary.Canary {
		return
	}
	x := w.of(&o)
	switch {
	case math.IsNaN(x):
	case w.latency:
		w.values = append(w.values, x)
	default:
		w.n++
		w.total += x
	}
}

func (w *windows) tick(now time.Time) {
	if w.end.IsZero() {
		w.end = time.Unix(0, 0).UTC().Add(w.every)
	}
	if now.Before(w.end) {
		return
	}
	w.end = w.end.Add(w.every)
	x := math.Inf(-1)
	switch {
	case len(w.values) > 0:
		slices.Sort(w.values)
		x = w.values[int(math.Ceil(0.95*float64(len(w.values))))-1]
	case w.n > 0:
		x = w.total / w.n
	}
	for i := 0; i < len(w.bounds) && x > w.bounds[i]; i++ {
		w.raise(i)
	}
	w.n, w.total, w.values = 0, 0, w.values[:0]
}

// asymptotic raises an alarm once the lower confidence bound of the difference of means exceeds zero. It counts
// sessions, of a fault's metric, and looks whenever the canary's mean may have risen. There is no verdict while either
// arm's variance is zero.
type asymptotic struct {
	of       metric
	latency  bool
	settings []sequenceSetting
	raise    func(int)
	raised   []bool
	n, sum   [2]float64
	squares  [2]float64
	session  string // the present one
	fault    bool   // it has had one
}

// sequenceSetting is a level, the number of requests for which the bound is tightest, and how many canary sessions come
// before the first look.
type sequenceSetting struct{ alpha, tuned, after float64 }

func sequence(of metric, settings []sequenceSetting) func(func(int)) watch {
	return func(raise func(int)) watch {
		return &asymptotic{of: of, settings: settings, raise: raise, raised: make([]bool, len(settings))}
	}
}

func latencySequence(of metric, settings []sequenceSetting) func(func(int)) watch {
	return func(raise func(int)) watch {
		return &asymptotic{of: of, latency: true, settings: settings, raise: raise, raised: make([]bool, len(settings))}
	}
}

func (a *asymptotic) observe(o canary.Outcome) {
	x := a.of(&o)
	if math.IsNaN(x) {
		return
	}
	if !a.latency {
		if fresh := o.Session != a.session; fresh {
			a.session, a.fault = o.Session, false
			a.n[o.Arm]++
		}
		if x == 0 || a.fault {
			return
		}
		a.fault = true
	} else {
		a.n[o.Arm]++
	}
	a.sum[o.Arm] += x
	a.squares[o.Arm] += x * x
	if o.Arm != canary.Canary || a.n[0] < 2 || a.n[1] < 2 {
		return
	}
	var mean, variance [2]float64
	for i := range mean {
		mean[i] = a.sum[i] / a.n[i]
		variance[i] = a.squares[i]/a.n[i] - mean[i]*mean[i]
	}
	diff, n := mean[1]-mean[0], a.n[0]+a.n[1]
	if !(variance[0] > 0) || !(variance[1] > 0) || diff <= 0 {
		return
	}
	v := n * (variance[0]/a.n[0] + variance[1]/a.n[1])
	if diff*diff*n < 3*v {
		return // 1.7 standard errors: no bound of a level up to 0.4 is so near
	}
	for i, s := range a.settings {
		if !a.raised[i] && a.n[1] >= s.after && stats.AsymptoticLowerCS(diff, v, n, s.alpha, s.tuned).Low > 0 {
			a.raised[i] = true
			a.raise(i)
		}
	}
}

func (a *asymptotic) tick(time.Time) {}
