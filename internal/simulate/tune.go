package simulate

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/krserve/krserve/canary"
)

// peer is a way of deciding, with settings to choose. krserve's policy has but one: its level is its promise.
type peer struct {
	name     string
	settings []string // as text, in the order of the watch's alarms
	watch    func(raise func(int)) watch
	// counted peers roll back after more than a number of alarms, which is a setting too; others at the first.
	counted bool
	reads   string  // the faults that it can be set to see: errors, empty, latency, or "" for all
	share   float64 // of the false alarms of the whole rule, which reads four metrics
}

// Shares of a rule's metrics, about as krserve divides its own Alpha.
const (
	errorShare = 0.7
	otherShare = 0.1 // answers without text, time to first token, time between tokens
)

// policyWatch raises an alarm when the evidence of a policy calls for a rollback.
type policyWatch struct {
	c     *canary.Controller
	raise func(int)
}

func (w *policyWatch) tick(time.Time) {}
func (w *policyWatch) observe(o canary.Outcome) {
	if w.c == nil {
		return
	}
	if w.c.Observe(o); w.c.Due() {
		w.raise(0)
		w.c = nil
	}
}

// Settings of sequences.
var (
	sequenceLevels = []float64{0.001, 0.01, 0.05, 0.1, 0.2, 0.4}
	sequenceTuned  = []float64{500, 5000, 20000}
	sequenceAfter  = []float64{0, 100}
)

// peers returns krserve's policy and the rules of other tools, each on every metric that it can be given. The bounds of
// latencies are multiples of stable's true 95th percentile, which a user of such rules has to know.
func peers(p canary.Policy, level float64) []peer {
	var out []peer
	p.Alpha = level
	out = append(out, peer{name: policyName, settings: []string{fmt.Sprintf("Alpha %g", level)}, watch: func(raise func(int)) watch {
		c, err := canary.New(p, time.Unix(0, 0).UTC())
		if err != nil {
			c = nil // never an alarm
		}
		return &policyWatch{c, raise}
	}})
	for _, every := range []time.Duration{time.Minute, 5 * time.Minute} {
		minutes := fmt.Sprintf("%g min", every.Minutes())
		shares := []float64{0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 0.9}
		var successes []string
		for _, b := range shares {
			successes = append(successes, fmt.Sprintf("%s ≥ %g %%", minutes, 100*(1-b)))
		}
		out = append(out, peer{fixedName, successes, windowsOf(failed, every, shares), true, "errors", errorShare}, peer{fixedName, successes, windowsOf(empty, every, shares), true, "empty", otherShare})
		for _, l := range []struct {
			name          string
			of            metric
			median, sigma float64
		}{{"TTFT", ttft, ttftMedian.Seconds(), ttftSigma}, {"inter-token", interToken, itlMedian.Seconds(), itlSigma}} {
			p95 := l.median * math.Exp(1.6448536269514722*l.sigma)
			var bounds []float64
			var names []string
			for _, times := range []float64{1, 1.05, 1.1, 1.15, 1.2, 1.3, 1.5, 2} {
				bounds = append(bounds, p95*times)
				names = append(names, fmt.Sprintf("%s %s p95 ≤ %g × stable's", minutes, l.name, times))
			}
			out = append(out, peer{fixedName, names, latencyWindows(l.of, every, bounds), true, "latency", otherShare})
		}
	}
	var settings []sequenceSetting
	var names []string
	for _, tuned := range sequenceTuned {
		for _, a := range sequenceLevels {
			for _, after := range sequenceAfter {
				settings = append(settings, sequenceSetting{a, tuned, after})
				names = append(names, fmt.Sprintf("%g %%, N* = %g, after %g canary requests", 100*a, tuned, after))
			}
		}
	}
	suffix := func(s string) (out []string) {
		for _, n := range names {
			out = append(out, n+s)
		}
		return out
	}
	return append(out,
		peer{sequenceName, names, sequence(failed, settings), false, "errors", errorShare},
		peer{sequenceName, names, sequence(empty, settings), false, "empty", otherShare},
		peer{sequenceName, suffix(", mean TTFT"), latencySequence(ttft, settings), false, "latency", otherShare},
		peer{sequenceName, suffix(", mean inter-token"), latencySequence(interToken, settings), false, "latency", otherShare})
}

const (
	policyName   = "krserve"
	fixedName    = "fixed windows (Argo, Flagger)"
	sequenceName = "sequence (GrowthBook)"
)

// breaks names what a scenario's canary does worse than stable.
func (s Scenario) breaks() string {
	switch {
	case s.Canary.Error != s.Stable.Error:
		return "errors"
	case s.Canary.Empty != s.Stable.Empty:
		return "empty"
	case s.Canary.Latency != s.Stable.Latency:
		return "latency"
	}
	return ""
}

// alarms is, for each peer and setting, after how many canary requests each alarm of a run came.
type alarms [][][]int32

// sweep runs the chosen peers over the same traffic, until all that is chosen has rolled back.
func sweep(s Scenario, all []peer, tick time.Duration, seed uint64, chosen []choice) alarms {
	s = s.withDefaults()
	out := make(alarms, len(all))
	watches := make([]watch, 0, len(all))
	n := int32(0)
	open := len(chosen)
	for i, p := range all {
		if !slices.ContainsFunc(chosen, func(c choice) bool { return c.peer == i }) {
			continue
		}
		out[i] = make([][]int32, len(p.settings))
		watches = append(watches, p.watch(func(k int) {
			out[i][k] = append(out[i][k], n)
			for _, c := range chosen {
				if c.peer == i && c.setting == k && len(out[i][k]) == c.limit+1 {
					open--
				}
			}
		}))
	}
	s.traffic(tick, seed, func() float64 { return 0 }, func(now time.Time) bool {
		for _, w := range watches {
			w.tick(now)
		}
		return open > 0
	}, func(o canary.Outcome, _ time.Time) bool {
		if o.Arm == canary.Canary {
			n++
		}
		for _, w := range watches {
			w.observe(o)
		}
		return open > 0
	})
	return out
}

// choice is a peer's setting, and how many alarms it lets pass.
type choice struct{ peer, setting, limit int }

func (c choice) text(all []peer) string {
	p := all[c.peer]
	if p.counted {
		return fmt.Sprintf("%s, rollback at the %d. failure", p.settings[c.setting], c.limit+1)
	}
	return p.settings[c.setting]
}

// delay is after how many canary requests a choice rolled a run back.
func (c choice) delay(a alarms) float64 {
	if ends := a[c.peer][c.setting]; len(ends) > c.limit {
		return float64(ends[c.limit])
	}
	return math.Inf(1)
}

// TunedRow is one line of a comparison at equal false-alarm rate.
type TunedRow struct {
	Row
	Setting string `json:"setting"`
	// FalseAlarms is the share of healthy canaries rolled back, in the worst of the healthy scenarios.
	FalseAlarms float64 `json:"false_alarms"`
}

// Tuned compares rules at equal false-alarm rate. Each rule gets, for each fault anew, the setting that sees it soonest in
// the median among all settings that are quiet enough: both by other runs, half and a quarter as many. Rows are then of
// seeds 1 … runs. krserve's policy takes the level as its Alpha. A rule is quiet enough if it rolls back at most a share level of the canaries in each of the healthy
// scenarios: the other rules read errors, answers without text, and two latencies, and each metric has its part of that.
func Tuned(healthy, faulty []Scenario, p canary.Policy, tick time.Duration, level float64, runs int) []TunedRow {
	all := peers(p, level)
	feasible := calibrate(healthy, all, tick, level, (runs+1)/2)
	chosen := make([][]choice, len(faulty))
	for f, s := range faulty {
		chosen[f] = best(s, all, feasible, tick, runs)
	}
	worst := falseAlarms(healthy, all, chosen, tick, runs)
	var out []TunedRow
	for f, s := range faulty {
		delays := make([][]float64, len(chosen[f]))
		for i := range delays {
			delays[i] = make([]float64, runs)
		}
		parallel(runs, func(run int) {
			a := sweep(s, all, tick, uint64(run+1), chosen[f])
			for i, c := range chosen[f] {
				delays[i][run] = c.delay(a)
			}
		})
		for i, c := range chosen[f] {
			row := TunedRow{summary(s.Name, all[c.peer].name, delays[i], delays[i]), c.text(all), worst[c]}
			row.Minutes, row.P90Minutes = Delay(math.Inf(1)), Delay(math.Inf(1)) // not counted
			out = append(out, row)
		}
		for _, name := range []string{fixedName, policyName, sequenceName} {
			if !slices.ContainsFunc(chosen[f], func(c choice) bool { return all[c.peer].name == name }) {
				never := Delay(math.Inf(1))
				out = append(out, TunedRow{Row{Scenario: s.Name, Rule: name, Runs: runs, Median: never, P90: never, Minutes: never, P90Minutes: never}, "none is quiet enough", 0})
			}
		}
	}
	return out
}

// calibrate returns all settings that are quiet enough, with the smallest limit that makes them so.
func calibrate(healthy []Scenario, all []peer, tick time.Duration, level float64, runs int) []choice {
	limit := make([][]int, len(all))
	for i, p := range all {
		limit[i] = make([]int, len(p.settings))
	}
	var others []choice // all but krserve
	for i, p := range all {
		for k := range p.settings {
			if p.name != policyName {
				others = append(others, choice{i, k, math.MaxInt - 1}) // to the end of the run
			}
		}
	}
	for _, s := range healthy {
		counts := make([][][]int, len(all)) // peer, setting, run
		for i, p := range all {
			counts[i] = make([][]int, len(p.settings))
			for k := range counts[i] {
				counts[i][k] = make([]int, runs)
			}
		}
		parallel(runs, func(run int) {
			for i, settings := range sweep(s, all, tick, uint64(1<<32+run), others) {
				for k, ends := range settings {
					counts[i][k][run] = len(ends)
				}
			}
		})
		for i := range counts {
			for k, c := range counts[i] {
				sort.Ints(c)
				// At most a share level of the runs may have more alarms than the limit.
				limit[i][k] = max(limit[i][k], c[runs-1-int(level*all[i].share*float64(runs))])
			}
		}
	}
	var out []choice
	for i, p := range all {
		for k, l := range limit[i] {
			if p.counted || l == 0 {
				out = append(out, choice{i, k, l})
			}
		}
	}
	return out
}

// best returns for each rule's name the feasible setting with the smallest median delay; for one that never is quiet
// enough there is none.
func best(s Scenario, all []peer, feasible []choice, tick time.Duration, runs int) []choice {
	var open []choice
	for _, c := range feasible {
		if r := all[c.peer].reads; r == "" || r == s.breaks() {
			open = append(open, c)
		}
	}
	runs = (runs + 3) / 4
	delays := make([][]float64, len(open))
	for i := range delays {
		delays[i] = make([]float64, runs)
	}
	parallel(runs, func(run int) {
		a := sweep(s, all, tick, uint64(1<<33+run), open)
		for i, c := range open {
			delays[i][run] = c.delay(a)
		}
	})
	median := map[string]float64{}
	found := map[string]choice{}
	var names []string
	for i, c := range open {
		sort.Float64s(delays[i])
		name := all[c.peer].name
		m, known := median[name]
		if !known {
			names = append(names, name)
		}
		if d := delays[i][runs/2]; !known || d < m {
			median[name], found[name] = d, c
		}
	}
	sort.Strings(names)
	var out []choice
	for _, n := range names {
		out = append(out, found[n])
	}
	return out
}

// falseAlarms returns the share of healthy canaries that each choice rolls back, in the worst scenario.
func falseAlarms(healthy []Scenario, all []peer, chosen [][]choice, tick time.Duration, runs int) map[choice]float64 {
	var cs []choice
	worst := map[choice]float64{}
	for _, list := range chosen {
		for _, c := range list {
			if _, twice := worst[c]; !twice {
				worst[c] = 0
				cs = append(cs, c)
			}
		}
	}
	for _, s := range healthy {
		back := make([][]bool, runs)
		parallel(runs, func(run int) {
			a := sweep(s, all, tick, uint64(run+1), cs)
			for _, c := range cs {
				back[run] = append(back[run], !math.IsInf(c.delay(a), 1))
			}
		})
		for i, c := range cs {
			n := 0
			for run := range back {
				if back[run][i] {
					n++
				}
			}
			worst[c] = max(worst[c], float64(n)/float64(runs))
		}
	}
	return worst
}

// TunedHead names the columns of TunedRow.Cells.
func TunedHead() []string {
	return []string{"scenario", "rule", "setting", "worst false alarms", "rolled back", "median canary requests", "p90"}
}

// Cells is a row as text.
func (r TunedRow) Cells() []string {
	c := r.Row.Cells()
	return []string{c[0], c[1], r.Setting, fmt.Sprintf("%.1f %%", 100*r.FalseAlarms), c[2], c[3], c[4]}
}

// TunedMarkdown renders a comparison for people.
func TunedMarkdown(rows []TunedRow) string {
	return table(TunedHead(), 3, rows)
}
