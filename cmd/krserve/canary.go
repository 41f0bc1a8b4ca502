package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/krserve/krserve/canary"
	"github.com/krserve/krserve/internal/simulate"
	"github.com/krserve/krserve/regress/report"
)

func runCanary(ctx context.Context, c *call) error {
	return c.dispatch(ctx, verb{"simulate", "[flags]", canarySimulate})
}

// patterns are what canary simulate can make of a canary whose stable fails at a base rate.
var patterns = []struct {
	name   string
	change func(s *simulate.Scenario)
}{
	{"none", func(*simulate.Scenario) {}},
	{"bursts", func(s *simulate.Scenario) { s.Burst = 6 }},
	{"clustered", func(s *simulate.Scenario) { s.PerSession, s.Clustered = 20, 20 }},
	{"ramp", func(s *simulate.Scenario) { s.Ramp = 3 }},
	{"steps", func(s *simulate.Scenario) { s.Ramp, s.Steps = 3, []float64{0.1, 0.25, 0.5} }},
	{"2x", func(s *simulate.Scenario) { s.Canary.Error *= 2 }},
	{"3x", func(s *simulate.Scenario) { s.Canary.Error *= 3 }},
	{"10x", func(s *simulate.Scenario) { s.Canary.Error *= 10 }},
	{"total", func(s *simulate.Scenario) { s.Canary.Error = 1 }},
	{"slow", func(s *simulate.Scenario) { s.Canary.Latency = 1.2 }},
	{"empty", func(s *simulate.Scenario) { s.Canary.Empty = 0.02 }},
}

// parseStages reads stages such as "0.1:2h,0.5:1h,1".
func parseStages(text string) ([]canary.Stage, error) {
	var out []canary.Stage
	for _, part := range strings.Split(text, ",") {
		weight, window, timed := strings.Cut(strings.TrimSpace(part), ":")
		w, err := strconv.ParseFloat(weight, 64)
		var d time.Duration
		if err == nil && timed {
			d, err = time.ParseDuration(window)
		}
		if err != nil {
			return nil, usage("-stages: %q is not WEIGHT[:WINDOW]", part)
		}
		out = append(out, canary.Stage{Weight: w, Window: d})
	}
	return out, nil
}

func canarySimulate(_ context.Context, c *call) error {
	var p canary.Policy
	var only list
	base := simulate.Scenario{}
	fs := c.flags
	fs.Float64Var(&p.Alpha, "alpha", 0.01, "chance that a healthy canary is rolled back")
	fs.DurationVar(&p.Interval, "interval", 10*time.Second, "time between decisions")
	fs.IntVar(&p.MinRequests, "min-requests", 500, "canary requests that every stage needs")
	stages := fs.String("stages", "0.1:2h,0.25:1h,0.5:1h,1", "`WEIGHT[:WINDOW]` of every stage")
	objective := fs.Float64("objective", 0, "promised error rate; 0 switches its gate off, as -base may be above any promise")
	fs.Float64Var(&base.Weight, "weight", 0.1, "constant share of the canary; 0 follows -stages, which only krserve's policy does")
	errorRate := fs.Float64("base", 0.01, "error rate of stable")
	fs.Float64Var(&base.Rate, "rate", 5, "requests per second")
	fs.IntVar(&base.Requests, "requests", 30000, "requests of a run, both arms together")
	runs := fs.Int("runs", 200, "runs of every pattern, with seeds from 1 on")
	peers := fs.Bool("peers", true, "also show the rules of Argo Rollouts, Flagger and GrowthBook on the same traffic")
	tune := fs.Bool("tune", false, "compare rules that are each set, on other seeds, to roll back at most a share -alpha of healthy canaries")
	fs.Var(&only, "pattern", "none, bursts, clustered, ramp, steps, 2x, 3x, 10x, total, slow or empty; repeatable (default: all)")
	out := c.outputs()
	if err := c.parseOnly("canary simulate [flags]"); err != nil {
		return err
	}
	var err error
	if p.Stages, err = parseStages(*stages); err != nil {
		return err
	}
	share := func(x float64) bool { return x >= 0 && x <= 1 } // false for NaN
	switch {
	case !(p.Alpha > 0 && p.Alpha < 1):
		return usage("-alpha: %v is not between 0 and 1", p.Alpha)
	case p.Interval < time.Millisecond:
		return usage("-interval: %v is shorter than 1ms", p.Interval)
	case p.MinRequests < 1:
		return usage("-min-requests: %d is not positive", p.MinRequests)
	case !(*objective >= 0 && *objective < 1):
		return usage("-objective: %v is not between 0 and 1", *objective)
	case !share(base.Weight):
		return usage("-weight: %v is not between 0 and 1", base.Weight)
	case !share(*errorRate):
		return usage("-base: %v is not between 0 and 1", *errorRate)
	case !(base.Rate >= 0.001 && base.Rate <= 1e6):
		return usage("-rate: %v is not between 0.001 and 1e6", base.Rate)
	case base.Requests < 1 || base.Requests > 100_000_000:
		return usage("-requests: %d is not between 1 and 100000000", base.Requests)
	case *runs < 1 || *runs > 100_000:
		return usage("-runs: %d is not between 1 and 100000", *runs)
	case float64(base.Requests)/base.Rate/p.Interval.Seconds() > 1e7:
		return usage("-interval: %v makes more than 1e7 decisions in a run", p.Interval)
	case *tune && base.Weight == 0:
		return usage("-tune: needs a constant -weight")
	}
	if p.ErrorObjective = *objective; p.ErrorObjective == 0 {
		p.ErrorObjective = -1
	}
	if err := p.Validate(); err != nil {
		return usage("-stages: %v", err)
	}
	scenarios, err := chosen(only, base, *errorRate)
	if err != nil {
		return err
	}
	title := fmt.Sprintf("%d runs of %d requests each, %g per second, %g %% errors on stable, decisions every %s", *runs, base.Requests, base.Rate, 100**errorRate, p.Interval)
	if *tune {
		return canaryTune(c, out, scenarios, base, *errorRate, p, *runs, title)
	}
	rules := map[string]func() simulate.Rule{"krserve": simulate.Policy(p)}
	if *peers {
		rules["Argo: 1 min ≥ 95 %, failureLimit 3"] = simulate.FixedRule(0.95, 3)
		rules["Argo: 1 min ≥ 99 %, failureLimit 3"] = simulate.FixedRule(0.99, 3)
		rules["Flagger: 1 min ≥ 99 %, threshold 10"] = simulate.FixedRule(0.99, 9)
		for _, alpha := range []float64{0.05, p.Alpha} { // its default, and krserve's level
			rules[fmt.Sprintf("GrowthBook: sequence, %g %%", 100*alpha)] = simulate.AsymptoticRule(alpha, 5000)
		}
	}
	rows := simulate.Table(scenarios, rules, p.Interval, *runs)
	return out.write(c.stdout, rows, simulate.Markdown(rows), func() (report.Page, error) { return simulatePage(title, rows, simulate.Head(), simulate.Row.Cells) })
}

// canaryTune compares rules at equal false-alarm rate on those of the scenarios that have a fault.
func canaryTune(c *call, out outputs, scenarios []simulate.Scenario, base simulate.Scenario, errorRate float64, p canary.Policy, runs int, title string) error {
	healthy, err := chosen(list{"none", "bursts", "clustered", "ramp"}, base, errorRate)
	if err != nil {
		return err
	}
	var faulty []simulate.Scenario
	for _, s := range scenarios {
		if s.Canary != s.Stable {
			faulty = append(faulty, s)
		}
	}
	if len(faulty) == 0 {
		return usage("-tune: no -pattern with a fault")
	}
	tuned := simulate.Tuned(healthy, faulty, p, p.Interval, p.Alpha, runs)
	rows, cells := make([]simulate.Row, len(tuned)), map[string][]string{}
	for i, r := range tuned {
		rows[i], cells[r.Scenario+r.Rule] = r.Row, r.Cells()
	}
	return out.write(c.stdout, tuned, simulate.TunedMarkdown(tuned), func() (report.Page, error) {
		return simulatePage(title, rows, simulate.TunedHead(), func(r simulate.Row) []string { return cells[r.Scenario+r.Rule] })
	})
}

// chosen returns the scenarios of the named patterns, or of all.
func chosen(only []string, base simulate.Scenario, errorRate float64) ([]simulate.Scenario, error) {
	var out []simulate.Scenario
	known := map[string]bool{}
	for _, p := range patterns {
		known[p.name] = true
		wanted := len(only) == 0
		for _, name := range only {
			wanted = wanted || name == p.name
		}
		if !wanted {
			continue
		}
		s := base
		s.Name = p.name
		s.Stable = simulate.Health{Error: errorRate, Empty: 0.002}
		s.Canary = s.Stable
		p.change(&s)
		s.Canary.Error = min(1, s.Canary.Error)
		out = append(out, s)
	}
	for _, name := range only {
		if !known[name] {
			return nil, usage("-pattern: no pattern %q", name)
		}
	}
	return out, nil
}

// simulatePage has the table, and per pattern how many runs had been rolled back after how many canary requests.
func simulatePage(title string, rows []simulate.Row, head []string, cells func(simulate.Row) []string) (report.Page, error) {
	page := report.Page{Title: "Simulated canaries", Summary: title, Head: head}
	for i := 0; i < len(rows); {
		var curves []report.Curve
		limit, first := 1.0, i
		for ; i < len(rows) && rows[i].Scenario == rows[first].Scenario; i++ {
			r := rows[i]
			page.Rows = append(page.Rows, cells(r))
			ends := r.Delays
			for len(ends) > 0 && math.IsInf(ends[len(ends)-1], 1) {
				ends = ends[:len(ends)-1]
			}
			if len(ends) > 0 {
				limit = max(limit, ends[len(ends)-1])
			}
			curves = append(curves, report.Curve{Name: r.Rule, Ends: ends, Total: r.Runs})
		}
		svg, err := report.Curves("canary requests until the rollback", limit, curves)
		if err != nil {
			return page, err
		}
		page.Plots = append(page.Plots, report.Plot{Title: rows[first].Scenario, SVG: svg})
	}
	return page, nil
}
