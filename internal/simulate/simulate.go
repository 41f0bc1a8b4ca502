// Package simulate runs rollout policies against invented traffic: how often a healthy canary is rolled back, and how
// soon a faulty one is. The rules of other tools are run on the same requests for comparison.
package simulate

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/krserve/krserve/canary"
)

// Health describes how one arm answers.
type Health struct {
	Error   float64 // share of requests that fail
	Empty   float64 // share of answers without text
	Latency float64 // factor on the latency; 0 = 1
}

// Scenario is a traffic pattern and the health of both arms.
type Scenario struct {
	Name           string
	Stable, Canary Health
	// Rate is the mean number of requests per second, as a Poisson process. Default 5.
	Rate float64
	// Requests ends the run. Default 60,000.
	Requests int
	// Weight is a constant canary weight; 0 follows the policy's stages.
	Weight float64
	// Steps are canary weights of equal parts of the run, in place of Weight.
	Steps []float64
	// Ramp is what both arms' error rates have been multiplied by at the end of the run, rising steadily. Default 1.
	Ramp float64
	// Burst multiplies both arms' error rates in every fifth period of 200 requests: a common cause. Default 1.
	Burst float64
	// PerSession is the number of requests per session. Default 1.
	PerSession int
	// Clustered concentrates errors: only one session in Clustered can fail, at Clustered times the rate. Default 1.
	Clustered int
}

func (s Scenario) withDefaults() Scenario {
	def := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	def(&s.Rate, 5)
	def(&s.Burst, 1)
	def(&s.Ramp, 1)
	def(&s.Stable.Latency, 1)
	def(&s.Canary.Latency, 1)
	s.Requests = max(s.Requests, 0)
	if s.Requests == 0 {
		s.Requests = 60000
	}
	s.PerSession, s.Clustered = max(1, s.PerSession), max(1, s.Clustered)
	return s
}

// Rule watches outcomes and says when to roll back.
type Rule interface {
	// Observe adds an outcome and reports whether to roll back at once.
	Observe(o canary.Outcome, now time.Time) bool
	// Tick looks at the evidence at a time and reports whether to roll back. It is called once per interval.
	Tick(now time.Time) bool
	// Weight is the canary's share now.
	Weight() float64
}

// Run is the outcome of one simulated rollout.
type Run struct {
	RolledBack     bool
	CanaryRequests int // until the rollback, or in all
	Requests       int
	Elapsed        time.Duration
}

// Simulate runs one rollout. Equal seeds give equal traffic for every rule as long as weights agree: arms follow from
// the session's hash, and faults from draws that are made whether or not they are used.
func Simulate(s Scenario, rule Rule, tick time.Duration, seed uint64) Run {
	var run Run
	start := time.Unix(0, 0).UTC()
	s.withDefaults().traffic(tick, seed, rule.Weight, func(now time.Time) bool {
		run.Elapsed, run.RolledBack = now.Sub(start), rule.Tick(now)
		return !run.RolledBack
	}, func(o canary.Outcome, now time.Time) bool {
		run.Requests++
		if o.Arm == canary.Canary {
			run.CanaryRequests++
		}
		run.Elapsed, run.RolledBack = now.Sub(start), rule.Observe(o, now)
		return !run.RolledBack
	})
	return run
}

// traffic invents requests until Requests of them are over, or look or serve says that it is enough. look is called
// every tick.
func (s Scenario) traffic(tick time.Duration, seed uint64, weight func() float64, look func(time.Time) bool, serve func(canary.Outcome, time.Time) bool) {
	rng := rand.New(rand.NewPCG(seed, 0x5851f42d4c957f2d))
	now := time.Unix(0, 0).UTC()
	next := now.Add(tick)
	session, left := "", 0
	cluster := false
	salt := strconv.FormatUint(seed, 36)
	for i := range s.Requests {
		now = now.Add(time.Duration(rng.ExpFloat64() / s.Rate * float64(time.Second)))
		for ; !now.Before(next); next = next.Add(tick) {
			if !look(next) {
				return
			}
		}
		if left == 0 {
			session, left = salt+"-"+strconv.Itoa(i), s.PerSession
			cluster = rng.IntN(s.Clustered) == 0
		}
		left--
		var w float64
		switch {
		case len(s.Steps) > 0:
			w = s.Steps[i*len(s.Steps)/s.Requests]
		case s.Weight > 0:
			w = s.Weight
		default:
			w = weight()
		}
		arm := canary.Assign(salt, session, w)
		h := s.Stable
		if arm == canary.Canary {
			h = s.Canary
		}
		rate := h.Error * (1 + (s.Ramp-1)*float64(i)/float64(s.Requests))
		if (i+1)/200%5 == 4 {
			rate *= s.Burst
		}
		if s.Clustered > 1 {
			rate *= float64(s.Clustered)
			if !cluster {
				rate = 0
			}
		}
		u, v, z1, z2 := rng.Float64(), rng.Float64(), rng.NormFloat64(), rng.NormFloat64()
		o := canary.Outcome{Arm: arm, Session: session, Weight: w, Error: u < rate, Empty: v < h.Empty}
		if !o.Error {
			o.TTFT = time.Duration(h.Latency * math.Exp(ttftSigma*z1) * float64(ttftMedian))
			o.ITL = time.Duration(h.Latency * math.Exp(itlSigma*z2) * float64(itlMedian))
		}
		if !serve(o, now) {
			return
		}
	}
}

// Latencies of a healthy arm are lognormal.
const (
	ttftMedian, ttftSigma = 200 * time.Millisecond, 0.6
	itlMedian, itlSigma   = 20 * time.Millisecond, 0.3
)

// Delay is a number that is infinite where nothing happened; JSON has null for that.
type Delay float64

// MarshalJSON writes null for infinity.
func (d Delay) MarshalJSON() ([]byte, error) {
	if math.IsInf(float64(d), 1) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(d))
}

// Row is one line of an operating-characteristics table.
type Row struct {
	Scenario   string  `json:"scenario"`
	Rule       string  `json:"rule"`
	Runs       int     `json:"runs"`
	RolledBack float64 `json:"rolled_back"`            // share of runs
	Median     Delay   `json:"median_canary_requests"` // of all runs; infinite when most end without a rollback
	P90        Delay   `json:"p90_canary_requests"`
	Minutes    Delay   `json:"median_minutes"`
	P90Minutes Delay   `json:"p90_minutes"`
	// Delays are the canary requests until the rollback of every run, ascending.
	Delays []float64 `json:"-"`
}

// Table runs every rule on every scenario with seeds 1 … runs, several at a time. Rules are made anew for each run.
func Table(scenarios []Scenario, rules map[string]func() Rule, tick time.Duration, runs int) []Row {
	names := make([]string, 0, len(rules))
	for n := range rules {
		names = append(names, n)
	}
	sort.Strings(names)
	var out []Row
	for _, s := range scenarios {
		for _, name := range names {
			out = append(out, row(s, name, rules[name], tick, runs))
		}
	}
	return out
}

func row(s Scenario, name string, rule func() Rule, tick time.Duration, runs int) Row {
	delays, minutes := make([]float64, runs), make([]float64, runs)
	parallel(runs, func(i int) {
		r := Simulate(s, rule(), tick, uint64(i+1))
		delays[i], minutes[i] = math.Inf(1), math.Inf(1)
		if r.RolledBack {
			delays[i], minutes[i] = float64(r.CanaryRequests), r.Elapsed.Minutes()
		}
	})
	return summary(s.Name, name, delays, minutes)
}

// parallel calls f(0) … f(n − 1), several at a time.
func parallel(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		}()
	}
	wg.Wait()
}

// summary makes a row of what every run took.
func summary(scenario, rule string, delays, minutes []float64) Row {
	runs := len(delays)
	sort.Float64s(delays)
	sort.Float64s(minutes)
	back := sort.SearchFloat64s(delays, math.Inf(1))
	p90 := min(runs-1, runs*9/10)
	return Row{Scenario: scenario, Rule: rule, Runs: runs, RolledBack: float64(back) / float64(runs), Delays: delays,
		Median: Delay(delays[runs/2]), P90: Delay(delays[p90]), Minutes: Delay(minutes[runs/2]), P90Minutes: Delay(minutes[p90])}
}

// Head names the columns of Cells.
func Head() []string {
	return []string{"scenario", "rule", "rolled back", "median canary requests", "p90", "median minutes", "p90"}
}

// Cells is a row as text.
func (r Row) Cells() []string {
	f := func(d Delay, digits int) string {
		if math.IsInf(float64(d), 1) {
			return "–"
		}
		return strconv.FormatFloat(float64(d), 'f', digits, 64)
	}
	return []string{r.Scenario, r.Rule, fmt.Sprintf("%.1f %%", 100*r.RolledBack), f(r.Median, 0), f(r.P90, 0), f(r.Minutes, 1), f(r.P90Minutes, 1)}
}

// Markdown renders a table for people.
func Markdown(rows []Row) string {
	return table(Head(), 2, rows)
}

// table renders rows for people; all but the first columns, which are text, stand to the right.
func table[R interface{ Cells() []string }](head []string, text int, rows []R) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|%s%s\n", strings.Join(head, " | "), strings.Repeat("---|", text), strings.Repeat("---:|", len(head)-text))
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(r.Cells(), " | "))
	}
	return b.String()
}
