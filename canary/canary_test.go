package canary

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// quick is a policy whose stages can pass after a few requests.
func quick() Policy {
	return Policy{
		Stages:      []Stage{{0.1, time.Minute}, {0.5, time.Minute}, {1, 0}},
		MinRequests: 50, ErrorMargin: 0.3, SlowMargin: 0.5, LatencyBaseline: 20,
	}
}

func mustNew(t testing.TB, p Policy) *Controller {
	t.Helper()
	c, err := New(p, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve sends n requests of fresh sessions through the controller; bad marks the canary's answers.
func serve(c *Controller, n int, bad func(*Outcome)) {
	for range n {
		session := fmt.Sprint(c.evidence.requests)
		arm, w := c.Assign(session)
		o := Outcome{Arm: arm, Session: session, Weight: w, TTFT: time.Second, ITL: time.Millisecond}
		if arm == Canary && bad != nil {
			bad(&o)
		}
		c.Observe(o)
	}
}

func TestDecide(t *testing.T) {
	c := mustNew(t, quick())
	step := func(after time.Duration, want Phase, stage int) Decision {
		t.Helper()
		d := c.Decide(epoch.Add(after))
		if again := c.Decide(epoch.Add(after)); !reflect.DeepEqual(d, again) {
			t.Fatalf("not pure: %+v and %+v", d, again)
		}
		c.Apply(d)
		if s := c.State(); s.Phase != want || s.Stage != stage {
			t.Fatalf("after %s: %s in stage %d, want %s in %d (%s)", after, s.Phase, s.Stage, want, stage, d.Reason)
		}
		return d
	}
	step(24*time.Hour, Progressing, 0) // no traffic holds
	serve(c, 3000, nil)
	c.state.Since = epoch.Add(24 * time.Hour)
	step(24*time.Hour+59*time.Second, Progressing, 0) // the window is open
	step(24*time.Hour+time.Minute, Progressing, 1)
	step(24*time.Hour+2*time.Minute, Progressing, 1) // a new stage counts anew
	serve(c, 300, nil)
	step(24*time.Hour+3*time.Minute, Progressing, 2)
	serve(c, 300, nil)
	step(24*time.Hour+3*time.Minute, Succeeded, 2)
	if c.Weight() != 1 {
		t.Errorf("weight %g after success", c.Weight())
	}
	step(24*time.Hour+4*time.Minute, Succeeded, 2)
}

// TestGates shows every gate its own fault, and that stable having it as well is no reason to roll back.
func TestGates(t *testing.T) {
	faults := map[string]func(*Outcome){
		GateErrors:    func(o *Outcome) { o.Error = true },
		GateTimeout:   func(o *Outcome) { o.Timeout = true },
		GateTTFT:      func(o *Outcome) { o.TTFT = 10 * time.Second },
		GateITL:       func(o *Outcome) { o.ITL = time.Second },
		GateEmpty:     func(o *Outcome) { o.Empty = true },
		GateTruncated: func(o *Outcome) { o.Cut = true },
		GateRepeated:  func(o *Outcome) { o.Loop = true },
		"refusal":     func(o *Outcome) { o.Custom = []string{"refusal"} },
	}
	for name, bad := range faults {
		t.Run(name, func(t *testing.T) {
			p := quick()
			p.Custom, p.ErrorObjective = []string{"refusal"}, -1
			c := mustNew(t, p)
			serve(c, 1000, nil)
			if d := c.Decide(epoch); d.Verdict == Fail {
				t.Fatalf("healthy canary: %s", d.Reason)
			}
			serve(c, 200, bad)
			d := c.Decide(epoch)
			if d.Verdict != Fail || d.To.Phase != Failed || d.Weight != 0 {
				t.Fatalf("%s, %s, weight %g: %s", d.Verdict, d.To.Phase, d.Weight, d.Reason)
			}
			for _, r := range d.Reports {
				if r.Fail != (r.Gate == name) {
					t.Errorf("gate %s: fail %v", r.Gate, r.Fail)
				}
			}

			both := mustNew(t, p)
			serve(both, 1000, nil)
			rng := rand.New(rand.NewPCG(1, 2))
			for i := range 5000 {
				o := Outcome{Session: fmt.Sprint("b", i), TTFT: time.Second, ITL: time.Millisecond}
				o.Arm, o.Weight = both.Assign(o.Session)
				if rng.Float64() < 0.1 {
					bad(&o)
				}
				both.Observe(o)
			}
			if d := both.Decide(epoch); d.Verdict == Fail {
				t.Errorf("a fault that both arms share: %s", d.Reason)
			}
		})
	}
}

func TestObjective(t *testing.T) {
	// The objective is absolute: it fires at full weight too, where nothing is left to compare with, but not on a rate
	// that may be within it.
	for _, c := range []struct {
		n, errors int
		fail      bool
	}{{10, 0, false}, {20000, 1, false}, {3, 3, true}, {1000, 6, true}} {
		p := quick()
		p.Stages = []Stage{{1, 0}}
		ctl := mustNew(t, p)
		for i := range c.n {
			ctl.Observe(Outcome{Arm: Canary, Session: fmt.Sprint(i), Weight: 1, Error: i < c.errors})
		}
		if d := ctl.Decide(epoch); (d.Verdict == Fail) != c.fail {
			t.Errorf("%d errors in %d: %s: %s", c.errors, c.n, d.Verdict, d.Reason)
		}
	}
}

func TestSessionsCountOnce(t *testing.T) {
	p := quick()
	p.ErrorObjective = -1
	c := mustNew(t, p)
	for range 1000 {
		c.Observe(Outcome{Arm: Canary, Session: "one", Weight: 0.1, Error: true})
	}
	if r := c.Reports()[0]; r.Faults[Canary] != 1 || r.Fail {
		t.Errorf("one session failing 1000 times: %+v", r)
	}
}

func TestRollbackFromEveryPhase(t *testing.T) {
	for _, phase := range []Phase{Progressing, Waiting, Paused, Succeeded} {
		for _, holdback := range []float64{0, 0.2} {
			p := quick()
			p.Holdback = holdback
			c := mustNew(t, p)
			serve(c, 200, func(o *Outcome) { o.Error = true })
			c.state.Phase = phase
			want := Failed
			if phase == Succeeded && holdback == 0 {
				want = Succeeded // stable may be gone
			}
			if d := c.Decide(epoch); d.To.Phase != want {
				t.Errorf("from %s with holdback %g: %s", phase, holdback, d.To.Phase)
			}
		}
	}
}

// TestDue: due is what a decision would roll back, from the very outcome that brought it about.
func TestDue(t *testing.T) {
	for _, c := range []struct {
		change func(*Policy)
		phase  Phase
		want   bool
	}{
		{nil, Progressing, true}, {nil, Waiting, true}, {nil, Paused, true}, {nil, Succeeded, false}, {nil, Failed, false},
		{func(p *Policy) { p.Holdback = 0.2 }, Succeeded, true},
		{func(p *Policy) { p.DryRun = true }, Progressing, false},
	} {
		p := quick()
		if c.change != nil {
			c.change(&p)
		}
		ctl := mustNew(t, p)
		ctl.state.Phase = c.phase
		serve(ctl, 100, nil)
		if ctl.Due() {
			t.Fatalf("%s: a healthy canary is due", c.phase)
		}
		crossed := false
		for i := 0; !crossed && i < 100; i++ {
			ctl.Observe(Outcome{Arm: Canary, Session: fmt.Sprint("bad ", i), Weight: 0.1, Error: true})
			d := ctl.Decide(epoch)
			crossed = d.Verdict == Fail || c.phase.Done() && i == 99
			if due := ctl.Due(); due != (d.To.Phase == Failed && d.Changed()) {
				t.Fatalf("%s: due %v after %d faults, decision %+v", c.phase, due, i+1, d)
			}
		}
		if ctl.Due() != c.want || !crossed {
			t.Errorf("%s: due %v, want %v", c.phase, ctl.Due(), c.want)
		}
	}
}

// TestClockGoesBack: a stage that seems to begin in the future begins now. No window is shorter for it or endless.
func TestClockGoesBack(t *testing.T) {
	c := mustNew(t, quick())
	serve(c, 3000, nil)
	back := epoch.Add(-10 * 365 * 24 * time.Hour)
	c.Apply(c.Decide(back))
	if s := c.State(); s.Phase != Progressing || s.Stage != 0 || !s.Since.Equal(back) {
		t.Fatalf("%+v", s)
	}
	if d := c.Decide(back.Add(59 * time.Second)); d.Changed() {
		t.Errorf("within the window: %s", d.Reason)
	}
	if d := c.Decide(back.Add(time.Minute)); d.To.Stage != 1 {
		t.Errorf("after it: %s", d.Reason)
	}
	serve(c, 500, func(o *Outcome) { o.Error = true })
	if d := c.Decide(back.Add(-time.Hour)); d.To.Phase != Failed {
		t.Errorf("a bad canary at an earlier time: %s", d.Reason)
	}
}

// TestLeft: who leaves before the first token has seen a slow answer if the wait was one, and nothing else.
func TestLeft(t *testing.T) {
	c := mustNew(t, quick())
	left := func(arm Arm, i int, waited time.Duration) {
		c.Observe(Outcome{Arm: arm, Session: fmt.Sprint("left ", arm, i), Weight: 0.1, TTFT: waited, Left: true})
	}
	left(Canary, 0, time.Hour) // no threshold yet
	serve(c, 1000, nil)
	before := c.evidence.samples[Canary].total()
	for i := range 50 {
		left(Canary, i, time.Millisecond)
	}
	if c.evidence.samples[Canary].total() != before || c.Due() {
		t.Error("short waits are evidence")
	}
	for i := range 50 {
		left(Canary, i, time.Minute)
		left(Stable, i, time.Millisecond)
	}
	for _, r := range c.Reports() {
		if slow := r.Gate == GateTTFT; r.Fail != slow || r.Faults[Canary] != map[bool]int64{true: 50}[slow] {
			t.Errorf("%+v", r)
		}
	}
}

func TestCommands(t *testing.T) {
	type result struct {
		phase Phase
		stage int
	}
	no := result{}
	for _, c := range []struct {
		cmd  Command
		from State
		want result
	}{
		{Approve, State{Phase: Waiting}, result{Waiting, 0}},
		{Approve, State{Phase: Progressing}, no}, // not a manual policy
		{Approve, State{Phase: Paused}, no},
		{Pause, State{Phase: Progressing, Stage: 1}, result{Paused, 1}},
		{Pause, State{Phase: Paused}, no},
		{Pause, State{Phase: Succeeded}, no},
		{Resume, State{Phase: Paused, Resume: Waiting}, result{Waiting, 0}},
		{Resume, State{Phase: Progressing}, no},
		{Promote, State{Phase: Progressing}, result{Progressing, 1}},
		{Promote, State{Phase: Paused, Stage: 1}, result{Progressing, 2}},
		{Promote, State{Phase: Progressing, Stage: 2}, result{Succeeded, 2}},
		{Promote, State{Phase: Failed}, no},
		{Rollback, State{Phase: Paused, Stage: 1}, result{Failed, 1}},
		{Rollback, State{Phase: Succeeded, Stage: 2}, result{Failed, 2}},
		{Rollback, State{Phase: Failed}, no},
		{"dance", State{Phase: Progressing}, no},
	} {
		ctl := mustNew(t, quick())
		ctl.state = c.from
		d, err := ctl.Do(c.cmd, epoch)
		if c.want == no {
			if !errors.Is(err, ErrPhase) {
				t.Errorf("%s while %s: %v", c.cmd, c.from.Phase, err)
			}
			continue
		}
		if got := (result{d.To.Phase, d.To.Stage}); err != nil || got != c.want {
			t.Errorf("%s while %s: %+v, %v; want %+v", c.cmd, c.from.Phase, got, err, c.want)
		}
	}
}

func TestManual(t *testing.T) {
	p := quick()
	p.Manual = true
	c := mustNew(t, p)
	serve(c, 3000, nil)
	at := epoch.Add(time.Hour)
	c.Apply(c.Decide(at))
	if s := c.State(); s.Phase != Waiting || s.Stage != 0 {
		t.Fatalf("%+v", s)
	}
	serve(c, 10, nil)
	if d := c.Decide(at); d.Changed() {
		t.Errorf("waiting changes the state to %+v", d.To) // every change is a journal write and a hook
	}
	d, err := c.Do(Approve, at)
	if err != nil {
		t.Fatal(err)
	}
	c.Apply(d)
	c.Apply(c.Decide(at))
	if s := c.State(); s.Phase != Progressing || s.Stage != 1 || s.Approved {
		t.Errorf("after approval: %+v", s)
	}
}

func TestDryRun(t *testing.T) {
	p := quick()
	p.DryRun = true
	c := mustNew(t, p)
	serve(c, 500, func(o *Outcome) { o.Error = true })
	d := c.Decide(epoch.Add(time.Hour))
	if d.Verdict != Fail || d.Changed() || d.Weight != 0.1 || !d.DryRun {
		t.Errorf("%+v", d)
	}
}

func TestHoldback(t *testing.T) {
	p := quick()
	p.Holdback = 0.25
	c := mustNew(t, p)
	c.state.Stage = 2
	if c.Weight() != 0.75 {
		t.Errorf("last stage at %g", c.Weight())
	}
	c.state.Phase = Succeeded
	if c.Weight() != 0.75 {
		t.Errorf("after success %g", c.Weight())
	}
}

func TestAssign(t *testing.T) {
	const n = 100000
	for _, w := range []float64{0, 0.1, 0.25, 0.5, 1} {
		on := 0
		for i := range n {
			key := fmt.Sprint(i)
			a := Assign("salt", key, w)
			if a == Canary {
				on++
				if Assign("salt", key, min(1, w+0.1)) != Canary {
					t.Fatal("not monotone in the weight")
				}
			}
		}
		if d := float64(on)/n - w; d > 0.007 || d < -0.007 { // four standard errors
			t.Errorf("weight %g: share %g", w, float64(on)/n)
		}
	}
	same := 0
	for i := range n {
		if (Bucket("a", fmt.Sprint(i)) < 0.5) == (Bucket("b", fmt.Sprint(i)) < 0.5) {
			same++
		}
	}
	if d := float64(same)/n - 0.5; d > 0.007 || d < -0.007 {
		t.Errorf("two rollouts agree on %g of the sessions", float64(same)/n)
	}
}

// TestRestoreAtEveryEvent cuts a rollout after each event, sends the snapshot through JSON, and demands the same
// decisions from there on.
func TestRestoreAtEveryEvent(t *testing.T) {
	p := quick()
	p.Custom = []string{"refusal"}
	p.MinRequests = 5
	outcome := func(c *Controller, i int) Outcome {
		rng := rand.New(rand.NewPCG(7, uint64(i)))
		o := Outcome{Session: fmt.Sprint(i / 3), Error: rng.IntN(20) == 0, Empty: rng.IntN(30) == 0, Timeout: rng.IntN(40) == 0,
			TTFT: time.Duration(1 + rng.IntN(1e9)), ITL: time.Duration(1 + rng.IntN(1e6))}
		o.Arm, o.Weight = c.Assign(o.Session)
		return o
	}
	whole, cut := mustNew(t, p), mustNew(t, p)
	for i := range 400 {
		at := epoch.Add(time.Duration(i) * time.Second)
		for _, c := range []*Controller{whole, cut} {
			c.Observe(outcome(c, i))
			c.Apply(c.Decide(at))
		}
		data, err := json.Marshal(cut.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		var s Snapshot
		if err := json.Unmarshal(data, &s); err != nil {
			t.Fatal(err)
		}
		if cut, err = Restore(p, s); err != nil {
			t.Fatal(err)
		}
		again, _ := json.Marshal(cut.Snapshot())
		straight, _ := json.Marshal(whole.Snapshot())
		if string(again) != string(data) || string(straight) != string(data) {
			t.Fatalf("event %d: restored\n%s\nsnapshot\n%s\nunbroken\n%s", i, again, data, straight)
		}
		a, _ := json.Marshal(whole.Decide(at))
		b, _ := json.Marshal(cut.Decide(at))
		if string(a) != string(b) {
			t.Fatalf("event %d: decisions differ:\n%s\n%s", i, a, b)
		}
	}
}

func TestRestoreRejects(t *testing.T) {
	for name, spoil := range map[string]func(*Snapshot){
		"stage":       func(s *Snapshot) { s.State.Stage = 9 },
		"phase":       func(s *Snapshot) { s.State.Phase = "asleep" },
		"resume":      func(s *Snapshot) { s.State.Phase, s.State.Resume = Paused, Failed },
		"salt":        func(s *Snapshot) { s.Salt = "another rollout" },
		"gate":        func(s *Snapshot) { delete(s.Gates, GateErrors) },
		"gate's test": func(s *Snapshot) { g := s.Gates[GateErrors]; g.Test.Bets = g.Test.Bets[1:]; s.Gates[GateErrors] = g },
		"ranks":       func(s *Snapshot) { g := s.Gates[GateITL]; g.Ranks = nil; s.Gates[GateITL] = g },
		"ranks' bets": func(s *Snapshot) { g := s.Gates[GateITL]; g.Ranks.Bets = nil; s.Gates[GateITL] = g },
		"evidence":    func(s *Snapshot) { g := s.Gates[GateTTFT]; g.MaxLogE = 100; s.Gates[GateTTFT] = g },
		"ranked":      func(s *Snapshot) { s.Ranked.Seen = []byte{1} },
	} {
		s := mustNew(t, quick()).Snapshot()
		spoil(&s)
		if _, err := Restore(quick(), s); !errors.Is(err, ErrState) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPolicyValidate(t *testing.T) {
	if err := (Policy{}).Validate(); err != nil {
		t.Error(err)
	}
	for i, p := range []Policy{
		{Stages: []Stage{{0.5, 0}}}, {Stages: []Stage{{0.5, 0}, {0.5, 0}, {1, 0}}}, {Stages: []Stage{{1.5, 0}}},
		{Alpha: 1}, {Alpha: -1}, {MinRequests: -1}, {ErrorMargin: 2}, {Holdback: 1}, {Interval: -1}, {LatencyBaseline: 3}, {SlowTolerance: -0.1}, {Warmup: 1.5},
		{Custom: []string{""}}, {Custom: []string{GateErrors}}, {Custom: []string{"a", "a"}},
	} {
		if err := p.Validate(); !errors.Is(err, ErrPolicy) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestLateBaseline ends at full weight a stream of stable that carries the first latency of the whole rollout. Stable
// gets no more traffic, so a baseline that still waits for more of it must not hold the last stage for ever.
func TestLateBaseline(t *testing.T) {
	c := mustNew(t, quick())
	at := epoch
	for stage := range 3 {
		for i := range 2000 {
			session := fmt.Sprint(stage, "-", i)
			arm, w := c.Assign(session)
			c.Observe(Outcome{Arm: arm, Session: session, Weight: w})
		}
		if stage == 2 {
			c.Observe(Outcome{Arm: Stable, Session: "late", Weight: 0.5, TTFT: time.Minute, ITL: time.Second})
			c.Observe(Outcome{Arm: Canary, Session: "long", Weight: 1, TTFT: time.Minute, ITL: time.Second})
		}
		at = at.Add(time.Minute)
		c.Apply(c.Decide(at))
	}
	if s := c.State(); s.Phase != Succeeded {
		t.Errorf("%s in stage %d: %s", s.Phase, s.Stage, c.Decide(at.Add(time.Hour)).Reason)
	}
}
