package simulate

import (
	"math"
	"testing"
	"time"

	"github.com/krserve/krserve/canary"
)

const tick = 10 * time.Second

// policy is the default one without the absolute objective, which these base rates exceed on both arms alike.
var policy = canary.Policy{ErrorObjective: -1}

// TestFalseRollbacks bounds how often a canary exactly as good as stable is rolled back, over whole rollouts.
func TestFalseRollbacks(t *testing.T) {
	base := Health{Error: 0.01, Empty: 0.002}
	runs := 300
	if testing.Short() {
		runs = 60
	}
	atMost := 0.01*float64(runs) + 3*math.Sqrt(0.01*0.99*float64(runs)) // 1 %, and three standard errors
	for _, s := range []Scenario{
		{Name: "steady"},
		{Name: "bursts", Burst: 6},
		{Name: "sessions of 20, clustered", PerSession: 20, Clustered: 20},
		{Name: "constant weight", Weight: 0.1},
	} {
		s.Stable, s.Canary, s.Requests = base, base, 12000
		rows := Table([]Scenario{s}, map[string]func() Rule{"krserve": Policy(policy)}, tick, runs)
		if back := rows[0].RolledBack * float64(runs); back > atMost {
			t.Errorf("%s: %.0f of %d healthy rollouts rolled back", s.Name, back, runs)
		}
	}
}

// TestDelays holds the medians in canary requests at a constant 10 % weight.
func TestDelays(t *testing.T) {
	runs := 41
	if testing.Short() {
		runs = 15
	}
	for _, c := range []struct {
		name   string
		canary Health
		limit  float64
	}{
		{"total failure", Health{Error: 1}, 5},
		{"3× errors", Health{Error: 0.03}, 900},
		{"2× errors", Health{Error: 0.02}, 2500},
	} {
		s := Scenario{Name: c.name, Stable: Health{Error: 0.01}, Canary: c.canary, Weight: 0.1, Requests: 60000}
		// A decision per request isolates the test's delay from the interval's.
		rows := Table([]Scenario{s}, map[string]func() Rule{"krserve": Policy(policy)}, 200*time.Millisecond, runs)
		if float64(rows[0].Median) > c.limit {
			t.Errorf("%s: median %.0f canary requests, want ≤ %.0f", c.name, rows[0].Median, c.limit)
		}
		t.Logf("%s: median %.0f canary requests", c.name, rows[0].Median)
	}
}
