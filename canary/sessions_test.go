package canary

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// clustered feeds n requests of sessions that make length of them each, 50 sessions at a time. A share of the sessions,
// by arm, fails; one that does so fails every other request. look is called once per 20 sessions until it says no.
func clustered(rng *rand.Rand, c *Controller, n, length int, share [2]float64, look func(n int) bool) {
	type session struct {
		key  string
		left int
		bad  bool
	}
	open := make([]session, 50)
	for i := range n {
		s := &open[rng.IntN(len(open))]
		if s.left == 0 {
			*s = session{fmt.Sprint(rng.Uint64()), length, false}
			arm, _ := c.Assign(s.key)
			s.bad = rng.Float64() < share[arm]
		}
		s.left--
		o := Outcome{Session: s.key, Error: s.bad && rng.IntN(2) == 0}
		o.Arm, o.Weight = c.Assign(s.key)
		c.Observe(o)
		if i%(20*length) == 0 && !look(i+1) {
			return
		}
	}
}

// TestFalsePromotions: a canary that is worse by the margin is rarely promoted, however long its sessions are and however
// often one looks. The margin is on sessions: twenty requests of one session are no more evidence than one.
func TestFalsePromotions(t *testing.T) {
	const runs = 100
	for _, length := range []int{1, 20} {
		for _, stable := range []float64{0, 0.02} {
			promoted := 0
			for run := range runs {
				p := Policy{Stages: []Stage{{0.5, 0}, {1, 0}}, MinRequests: 100, Alpha: 1e-12, ErrorObjective: -1, ErrorMargin: 0.04, Salt: fmt.Sprint(run)}
				c := mustNew(t, p)
				rng := rand.New(rand.NewPCG(uint64(run), uint64(length)))
				clustered(rng, c, 1000*length, length, [2]float64{stable, stable + 0.041}, func(int) bool {
					if d := c.Decide(epoch); d.Verdict == Pass {
						promoted++
						return false
					}
					return true
				})
			}
			// 5 % and three standard errors.
			if limit := 0.05*runs + 3*math.Sqrt(0.05*0.95*runs); float64(promoted) > limit {
				t.Errorf("sessions of %d, %.0f %% of stable's fail: %d of %d bad canaries promoted", length, 100*stable, promoted, runs)
			}
		}
	}
}

// TestTruePromotions: a healthy canary is promoted by not many more sessions than MinRequests, with default margins.
func TestTruePromotions(t *testing.T) {
	for _, c := range []struct {
		length   int
		share    float64
		sessions int
	}{{1, 0, 500}, {1, 0.0005, 700}, {20, 0.001, 700}, {1, 0.01, 2000}} {
		ctl := mustNew(t, Policy{Stages: []Stage{{0.5, 0}, {1, 0}}, ErrorObjective: -1})
		after := 0
		clustered(rand.New(rand.NewPCG(1, 1)), ctl, 10000*c.length, c.length, [2]float64{c.share, c.share}, func(n int) bool {
			after = n
			return ctl.Decide(epoch).Verdict != Pass
		})
		if served := int(ctl.evidence.samples[Canary].total()); served < 500 || served > c.sessions {
			t.Errorf("sessions of %d, %g at fault: %d canary sessions, %d requests until promotion", c.length, c.share, served, after)
		}
	}
}

// TestMinRequestsCountSessions: one session cannot make up for many.
func TestMinRequestsCountSessions(t *testing.T) {
	c := mustNew(t, Policy{Stages: []Stage{{0.5, 0}, {1, 0}}, MinRequests: 5, ErrorMargin: 0.99})
	for i := range 10000 {
		o := Outcome{Session: fmt.Sprint("s", i%4)}
		o.Arm, o.Weight = c.Assign(o.Session)
		c.Observe(o)
	}
	on := 0
	for i := range 4 {
		if a, _ := c.Assign(fmt.Sprint("s", i)); a == Canary {
			on++
		}
	}
	if d := c.Decide(epoch); on == 0 || d.Verdict != Inconclusive {
		t.Errorf("%d canary sessions: %s: %s", on, d.Verdict, d.Reason)
	}
}

// TestSample: within its bound a sample counts sessions exactly; beyond, it keeps a bounded random part with everything
// that is known of it, in any order of arrival, and goes through a snapshot unchanged.
func TestSample(t *testing.T) {
	const n = 60000
	s := newSample(3)
	for pass := range 2 {
		for i := range n {
			m := marks{judged: 1}
			if i%10 == 0 && pass == 1 {
				m = marks{judged: 3, faulty: 1}
			}
			s.observe(fmt.Sprint(i), m)
			if len(s.of) > maxSample {
				t.Fatalf("%d sessions kept", len(s.of))
			}
			if pass == 0 && i < maxSample && (s.total() != int64(i+1) || s.judged[0] != s.total()) {
				t.Fatalf("%d of %d sessions", s.total(), i+1)
			}
		}
	}
	kept := float64(len(s.of))
	if total := float64(s.total()); math.Abs(total/n-1) > 4/math.Sqrt(kept) {
		t.Errorf("%g sessions estimated, %d served", total, n)
	}
	if share := float64(s.faulty[0]) / float64(s.judged[0]); math.Abs(share-0.1) > 4*math.Sqrt(0.09/kept) || s.judged[0] != int64(kept) || s.judged[1] != s.faulty[0] || s.judged[2] != 0 {
		t.Errorf("judged %v, faulty %v of %g", s.judged, s.faulty, kept)
	}
	back, err := restoreSample(3, s.snapshot())
	if err != nil || fmt.Sprint(back) != fmt.Sprint(s) {
		t.Errorf("restored with %v: %v %v, %v %v", err, back.judged, back.faulty, s.judged, s.faulty)
	}
	for name, bad := range map[string]SampleSnapshot{
		"length": {Sessions: make([]byte, 23)}, "level": {Level: 64}, "gate": {Sessions: append(make([]byte, 8), 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)},
		"fault without judgement": {Sessions: append(make([]byte, 16), 1, 0, 0, 0, 0, 0, 0, 0)}, "twice": {Sessions: make([]byte, 48)},
		"level's hash": {Level: 1, Sessions: append([]byte{1}, make([]byte, 23)...)},
	} {
		if _, err := restoreSample(3, bad); !errors.Is(err, ErrState) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// An arm that has served very many sessions still makes a snapshot of a few hundred kB.
	if data, _ := json.Marshal(s.snapshot()); len(data) > 300_000 {
		t.Errorf("a snapshot of %d bytes", len(data))
	}
}

// TestLateOutcome: a request that was assigned in an earlier stage is no evidence about this one.
func TestLateOutcome(t *testing.T) {
	c := mustNew(t, quick())
	d, err := c.Do(Promote, epoch)
	if err != nil {
		t.Fatal(err)
	}
	c.Observe(Outcome{Arm: Canary, Session: "old", Weight: 0.1})
	c.Apply(d)
	c.Observe(Outcome{Arm: Canary, Session: "late", Weight: 0.1})
	c.Observe(Outcome{Arm: Canary, Session: "new", Weight: 0.5})
	if n := c.evidence.samples[Canary].total(); n != 1 || c.evidence.requests[Canary] != 3 {
		t.Errorf("%d sessions in the stage, %d requests", n, c.evidence.requests[Canary])
	}
}

// TestFullWeight: at 100 % the canary is compared with stable's last stage, and without any stable the margin is absolute.
func TestFullWeight(t *testing.T) {
	for _, c := range []struct {
		stages []Stage
		bad    float64
		want   Phase
	}{
		{[]Stage{{0.5, 0}, {1, 0}}, 0, Succeeded}, {[]Stage{{0.5, 0}, {1, 0}}, 0.2, Progressing},
		{[]Stage{{1, 0}}, 0, Succeeded}, {[]Stage{{1, 0}}, 0.2, Progressing},
	} {
		ctl := mustNew(t, Policy{Stages: c.stages, ErrorObjective: -1, MinRequests: 100})
		rng := rand.New(rand.NewPCG(3, 3))
		for range 3 {
			clustered(rng, ctl, 3000, 1, [2]float64{0, c.bad * float64(ctl.state.Stage+2-len(c.stages))}, func(int) bool { return true })
			ctl.Apply(ctl.Decide(epoch.Add(time.Hour)))
		}
		if s := ctl.State(); s.Phase != c.want || s.Stage != len(c.stages)-1 {
			t.Errorf("%d stages, %g at fault: %s in stage %d: %s", len(c.stages), c.bad, s.Phase, s.Stage, ctl.Decide(epoch).Reason)
		}
	}
}
