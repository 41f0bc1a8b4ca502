package canary

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// latencies feeds n requests in sessions of length requests each. Latency is the session's own, lognormal; the canary's
// is factor times as long. It gives how many canary requests came before the rollback.
func latencies(c *Controller, rng *rand.Rand, n, length int, factor float64) (served int, failed bool) {
	own := time.Duration(0)
	for i := range n {
		if i%length == 0 {
			own = time.Duration(math.Exp(0.3*rng.NormFloat64()) * 2e7)
		}
		o := Outcome{Session: fmt.Sprint(rng.Uint64(), i/length), TTFT: 10 * own, ITL: own}
		if length > 1 {
			o.Session = fmt.Sprint("s", i/length)
		}
		if o.Arm, o.Weight = c.Assign(o.Session); o.Arm == Canary {
			served++
			o.TTFT, o.ITL = time.Duration(factor*float64(o.TTFT)), time.Duration(factor*float64(o.ITL))
		}
		if c.Observe(o); c.Due() {
			return served, true
		}
	}
	return served, false
}

// TestRanks: a canary whose answers are all a fifth slower is found long before its tail has shown it; one within the
// tolerance, or faster, is not; and the reason says what was compared.
func TestRanks(t *testing.T) {
	p := Policy{ErrorObjective: -1}
	for _, c := range []struct {
		factor, tolerance float64
		bad               bool
	}{{1.2, 0, true}, {1, 0, false}, {0.8, 0, false}, {1.2, 0.25, false}, {1.5, 0.25, true}} {
		p.SlowTolerance = c.tolerance
		found, late := 0, 0
		for run := range 20 {
			p.Salt = fmt.Sprint(run)
			ctl := mustNew(t, p)
			n, failed := latencies(ctl, rand.New(rand.NewPCG(uint64(run), 3)), 2500, 1, c.factor)
			if failed {
				found++
				if n > 200 {
					late++
				}
				d := ctl.Decide(epoch)
				if r := d.To.Reason; d.To.Phase != Failed || !strings.Contains(r, "rank above") || !strings.HasPrefix(r, GateITL) && !strings.HasPrefix(r, GateTTFT) {
					t.Errorf("×%g: %s: %s", c.factor, d.To.Phase, r)
				}
			}
		}
		if want := 20; c.bad && (found != want || late > 0) || !c.bad && found > 0 {
			t.Errorf("×%g, tolerance %g: %d of 20 rolled back, %d of them late", c.factor, c.tolerance, found, late)
		}
	}
}

// TestRanksCountSessions: the same slow session again and again is one observation; canaries alike stable in which each
// session makes fifty requests are not rolled back.
func TestRanksCountSessions(t *testing.T) {
	failed := 0
	for run := range 40 {
		c := mustNew(t, Policy{ErrorObjective: -1, Alpha: 0.05, Salt: fmt.Sprint(run)})
		if _, bad := latencies(c, rand.New(rand.NewPCG(uint64(run), 4)), 6000, 50, 1); bad {
			failed++
		}
	}
	if failed > 6 { // 5 % and three standard errors
		t.Errorf("%d of 40 healthy canaries rolled back", failed)
	}
}

// TestSessions: each session is new once, however many there are; the set is bounded and goes through a snapshot.
func TestSessions(t *testing.T) {
	s := newSessions()
	taken := map[int]bool{}
	for pass := range 2 {
		for i := range 3 * maxRanked {
			if s.add(fmt.Sprint(i)) {
				if pass > 0 || taken[i] {
					t.Fatalf("session %d is new again", i)
				}
				taken[i] = true
			}
			if len(s.of) > maxRanked {
				t.Fatalf("%d sessions kept", len(s.of))
			}
		}
	}
	if len(taken) < maxRanked {
		t.Errorf("%d sessions counted", len(taken))
	}
	snap := s.snapshot()
	back, err := restoreSessions(snap)
	if err != nil || fmt.Sprint(back) != fmt.Sprint(s) {
		t.Errorf("restored with %v", err)
	}
	if data, _ := json.Marshal(snap); len(data) > 200_000 {
		t.Errorf("a snapshot of %d bytes", len(data))
	}
	for name, bad := range map[string]SessionsSnapshot{
		"length": {Seen: make([]byte, 7)}, "level": {Level: 64}, "twice": {Seen: make([]byte, 16)}, "level's hash": {Level: 1, Seen: []byte{1, 0, 0, 0, 0, 0, 0, 0}},
		"size": {Seen: make([]byte, 8*maxRanked+8)},
	} {
		if _, err := restoreSessions(bad); !errors.Is(err, ErrState) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
