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
	Observe(o canary.Outcome)
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
	Reason         string
}

// Simulate runs one rollout. Equal seeds give equal traffic for every rule as long as weights agree: arms follow from
// the session's hash, and faults from draws that are made whether or not they are used.
func Simulate(s Scenario, rule Rule, tick time.Duration, seed uint64) Run {
	s = s.withDefaults()
	rng := rand.New(rand.NewPCG(seed, 0x5851f42d4c957f2d))
	now := time.Unix(0, 0).UTC()
	next := now.Add(tick)
	var run Run
	session, left := "", 0
	cluster := false
	salt := strconv.FormatUint(seed, 36)
	for run.Requests < s.Requests {
		now = now.Add(time.Duration(rng.ExpFloat64() / s.Rate * float64(time.Second)))
		for !now.Before(next) {
			if rule.Tick(next) {
				run.RolledBack, run.Elapsed = true, next.Sub(time.Unix(0, 0))
				return run
			}
			next = next.Add(tick)
		}
		if left == 0 {
			session, left = salt+"-"+strconv.Itoa(run.Requests), s.PerSession
			cluster = rng.IntN(s.Clustered) == 0
		}
		left--
		w := rule.Weight()
		if s.Weight > 0 {
			w = s.Weight
		}
		arm := canary.Assign(salt, session, w)
		h := s.Stable
		if arm == canary.Canary {
			h = s.Canary
			run.CanaryRequests++
		}
		run.Requests++
		rate := h.Error
		if run.Requests/200%5 == 4 {
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
			o.TTFT = time.Duration(h.Latency * math.Exp(0.6*z1) * 2e8)
			o.ITL = time.Duration(h.Latency * math.Exp(0.3*z2) * 2e7)
		}
		rule.Observe(o)
	}
	run.Elapsed = now.Sub(time.Unix(0, 0))
	return run
}

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
	workers := runtime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := w; i < runs; i += workers {
				r := Simulate(s, rule(), tick, uint64(i+1))
				delays[i], minutes[i] = math.Inf(1), math.Inf(1)
				if r.RolledBack {
					delays[i], minutes[i] = float64(r.CanaryRequests), r.Elapsed.Minutes()
				}
			}
		}()
	}
	wg.Wait()
	sort.Float64s(delays)
	sort.Float64s(minutes)
	back := sort.SearchFloat64s(delays, math.Inf(1))
	p90 := min(runs-1, runs*9/10)
	return Row{Scenario: s.Name, Rule: name, Runs: runs, RolledBack: float64(back) / float64(runs), Delays: delays,
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
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|---|---|---:|---:|---:|---:|---:|\n", strings.Join(Head(), " | "))
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(r.Cells(), " | "))
	}
	return b.String()
}
