package abtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAssign(t *testing.T) {
	two := Experiment{Name: "sampler", Variants: []Variant{{Name: "a"}, {Name: "b", Weight: 3}}}
	three := two
	three.Variants = append([]Variant{{Name: "new", Weight: 4}}, two.Variants...) // the order does not matter either
	part := two
	part.Traffic = 0.25
	more := part
	more.Traffic = 0.5
	const n = 20000
	var b, moved, in, inMore int
	for i := range n {
		unit := fmt.Sprint("user-", i)
		was, ok, err := two.Assign(unit)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if was == "b" {
			b++
		}
		is, _, _ := three.Assign(unit)
		if is == "new" {
			moved++
		} else if is != was {
			t.Fatalf("%s moves from %s to %s", unit, was, is)
		}
		if v, ok, _ := part.Assign(unit); ok {
			in++
			w, ok, _ := more.Assign(unit)
			if !ok || v != was || w != was {
				t.Fatalf("%s: %s of all, %s in part, %s in more (%v)", unit, was, v, w, ok)
			}
		}
		if _, ok, _ := more.Assign(unit); ok {
			inMore++
		}
	}
	for _, c := range []struct {
		what string
		got  int
		want float64
	}{{"b", b, 0.75}, {"moved", moved, 0.5}, {"traffic", in, 0.25}, {"more traffic", inMore, 0.5}} {
		if sd := math.Sqrt(c.want * (1 - c.want) * n); math.Abs(float64(c.got)-c.want*n) > 5*sd {
			t.Errorf("%s: %d of %d, want %g", c.what, c.got, n, c.want)
		}
	}
}

// TestAssignStays pins the hash, computed apart from this code: an assignment survives upgrades of this package.
func TestAssignStays(t *testing.T) {
	for _, g := range loadGoldens(t).Assignments {
		e := Experiment{Name: "any", Salt: g.Salt, Traffic: g.Traffic}
		for name, w := range g.Weights {
			e.Variants = append(e.Variants, Variant{name, w})
		}
		for i, want := range g.Variants {
			if got, ok, err := e.Assign(fmt.Sprintf("unit-%d-ü", i)); err != nil || got != want || ok != (want != "") {
				t.Errorf("unit %d: %q, want %q (%v)", i, got, want, err)
			}
		}
	}
}

func TestAssignIndependently(t *testing.T) {
	a := Experiment{Name: "one", Variants: []Variant{{Name: "x"}, {Name: "y"}}}
	b := a
	b.Salt = "other"
	same := 0
	const n = 10000
	for i := range n {
		u, _, _ := a.Assign(fmt.Sprint(i))
		v, _, _ := b.Assign(fmt.Sprint(i))
		if u == v {
			same++
		}
	}
	if math.Abs(float64(same)-n/2) > 250 {
		t.Errorf("%d of %d alike", same, n)
	}
}

func TestExperimentValidate(t *testing.T) {
	two := []Variant{{Name: "a"}, {Name: "b"}}
	for field, e := range map[string]Experiment{
		"Name":               {Variants: two},
		"Variants has":       {Name: "x", Variants: two[:1]},
		"Variants[0].Name":   {Name: "x", Variants: []Variant{{}, {Name: "b"}}},
		"occurs twice":       {Name: "x", Variants: []Variant{{Name: "b"}, {Name: "b"}}},
		"Variants[1].Weight": {Name: "x", Variants: []Variant{{Name: "a"}, {Name: "b", Weight: math.NaN()}}},
		"Traffic":            {Name: "x", Variants: two, Traffic: math.NaN()},
	} {
		_, _, err := e.Assign("u")
		if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestParseMetric(t *testing.T) {
	for text, want := range map[string]Metric{
		"x":                        {Name: "x"},
		"x:mean":                   {Name: "x", Kind: Mean},
		"err:proportion:lower":     {Name: "err", Kind: Proportion, LowerIsBetter: true},
		"p99=ttft:p99.9:lower":     {Name: "p99", Column: "ttft", Kind: Quantile, Quantile: 0.999, LowerIsBetter: true},
		"tokens:cuped:zero":        {Name: "tokens", CUPED: true, MissingIsZero: true},
		"a=a:ratio":                {Name: "a", Column: "a", Kind: Ratio},
		"good:proportion:zero":     {Name: "good", Kind: Proportion, MissingIsZero: true},
		" spaced : p95 : lower   ": {Name: "spaced", Kind: Quantile, Quantile: 0.95, LowerIsBetter: true},
	} {
		got, err := ParseMetric(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
		again, err := ParseMetric(got.String())
		if again.Column == "" && got.Column == got.Name {
			again.Column = got.Column
		}
		if err != nil || again != got.withDefaultsFor(again) {
			t.Errorf("%q: String %q gives %+v, %v", text, got.String(), again, err)
		}
	}
	for _, bad := range []string{"", ":mean", "x:median", "x:p0", "x:p100", "x:pNaN", "x:mean:ratio", "x:p95:cuped", "x:ratio:zero", "x.den", "x.pre:mean", "=x", "x="} {
		if m, err := ParseMetric(bad); !errors.Is(err, ErrInput) {
			t.Errorf("%q: %+v, %v", bad, m, err)
		}
	}
}

// withDefaultsFor is m with the defaults that String spells out.
func (m Metric) withDefaultsFor(o Metric) Metric {
	if m.Kind == "" {
		m.Kind = Mean
	}
	if m.Kind == Quantile && math.Abs(m.Quantile-o.Quantile) < 1e-15 {
		m.Quantile = o.Quantile
	}
	return m
}

func TestLog(t *testing.T) {
	clock := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	exp := Experiment{Name: "sampler", Variants: []Variant{{Name: "control"}, {Name: "warm"}}}
	metrics := []Metric{{Name: "tokens"}, {Name: "good", Kind: Proportion, MissingIsZero: true}, {Name: "ttft", Kind: Quantile, Quantile: 0.5, LowerIsBetter: true},
		{Name: "rate", Kind: Ratio}}
	l, err := NewLog(exp, metrics, func() time.Time { return clock })
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 100 {
				unit := fmt.Sprint("u", i)
				v, ok := l.Expose(unit, map[string]string{"lang": []string{"de", "en"}[i%2]})
				if want, _, _ := exp.Assign(unit); !ok || v != want {
					t.Errorf("%s: %s, want %s", unit, v, want)
				}
				for name, v := range map[string]Value{"tokens": {Value: 1}, "ttft": {Value: float64(w)}, "rate": {Value: 1, Den: 2}} {
					if err := l.Observe(unit, name, v); err != nil {
						t.Error(err)
					}
				}
				if i%3 == 0 && w%2 == 0 {
					if err := l.Observe(unit, "good", Value{Value: 1}); err != nil {
						t.Error(err)
					}
				}
			}
		}()
	}
	wg.Wait()
	d := l.Data()
	if len(d.Rows) != 100 || l.Len() != 100 {
		t.Fatalf("%d rows", len(d.Rows))
	}
	for _, r := range d.Rows {
		if r.Values["tokens"].Value != 8 || r.Values["tokens"].N != 8 || math.Abs(r.Values["ttft"].Value-3.5) > 1e-12 || r.Values["rate"] != (Value{Value: 8, Den: 16, N: 8}) || r.At != clock {
			t.Fatalf("%+v", r)
		}
	}
	for _, bad := range []error{l.Observe("nobody", "tokens", Value{}), l.Observe("u1", "nothing", Value{}), l.Observe("u1", "tokens", Value{Value: math.NaN()}), l.Observe("u1", "good", Value{Value: 0.5})} {
		if !errors.Is(bad, ErrInput) {
			t.Errorf("%v", bad)
		}
	}

	// Through JSON lines into a log that goes on, with a variant added: nobody on record moves.
	var text strings.Builder
	if err := d.WriteJSONL(&text); err != nil {
		t.Fatal(err)
	}
	back, err := ReadJSONL(strings.NewReader(text.String()), ReadOptions{})
	if err != nil || !reflect.DeepEqual(back, d) {
		t.Fatalf("%v\n%+v\n%+v", err, back.Rows[0], d.Rows[0])
	}
	back.Experiment.Variants = append(back.Experiment.Variants, Variant{Name: "hot", Weight: 5})
	again, err := RestoreLog(back, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range d.Rows {
		if v, ok := again.Expose(r.Unit, nil); !ok || v != r.Variant {
			t.Fatalf("%s moved from %s to %s", r.Unit, r.Variant, v)
		}
	}
	hot := 0
	for i := range 100 {
		if v, _ := again.Expose(fmt.Sprint("later", i), nil); v == "hot" {
			hot++
		}
	}
	if hot < 50 {
		t.Errorf("%d of 100 new units in the new variant", hot)
	}
}

// TestLogCountsLooks counts only looks that could have ended the experiment.
func TestLogCountsLooks(t *testing.T) {
	l, err := NewLog(Experiment{Name: "x", Variants: []Variant{{Name: "a"}, {Name: "b"}}}, []Metric{{Name: "m"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	add := func(from, to int) {
		for i := from; i < to; i++ {
			unit := fmt.Sprint(i)
			l.Expose(unit, nil)
			if err := l.Observe(unit, "m", Value{Value: float64(i % 7)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	look := func(o Options) Report {
		o.Method = FixedHorizon
		r, err := l.Analyze(o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	add(0, 50)
	if r := look(Options{Planned: 100}); r.Looks != 1 || !r.Has(WarnPeeking) || r.Comparisons[0].Verdict != Inconclusive || r.Comparisons[0].Reason != "50 of 100 planned units" {
		t.Errorf("before the plan: %+v", r)
	}
	add(50, 100)
	if r := look(Options{Planned: 100}); r.Looks != 1 || len(r.Warnings) != 0 {
		t.Errorf("at the plan: %+v", r)
	}
	if r := look(Options{Planned: 100}); r.Looks != 1 { // nothing new
		t.Errorf("again: %+v", r)
	}
	add(100, 120)
	if r := look(Options{Planned: 100}); r.Looks != 2 || !r.Has(WarnPeeking) || !strings.Contains(r.Warnings[0].Text, "0.083") {
		t.Errorf("after the plan: %+v", r)
	}
	l2, err := RestoreLog(l.Data(), nil)
	if err != nil || l2.Data().Looks != 2 {
		t.Errorf("looks are lost: %v", err)
	}
}

func TestReportJSON(t *testing.T) {
	d := counts(0, 3, 3, 3)
	r, err := Analyze(d, Options{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("%v: %s", err, text)
	}
}

// TestTotalFailure is what asymptotic methods cannot see: no variance in either arm.
func TestTotalFailure(t *testing.T) {
	for _, m := range []Method{Sequential, FixedHorizon} {
		r, err := Analyze(counts(40, 40, 0, 40), Options{Method: m})
		if err != nil || r.Comparisons[0].Verdict != Worse {
			t.Errorf("%s: %+v, %v", m, r.Comparisons, err)
		}
	}
}

// generate makes an experiment in which every metric has an effect in standard deviations.
func generate(seed uint64, n int, effects ...float64) Data {
	rng := rand.New(rand.NewPCG(seed, 1))
	d := Data{Metrics: []Metric{{Name: "m"}}, Experiment: Experiment{Name: "g"}}
	for i := range effects {
		d.Experiment.Variants = append(d.Experiment.Variants, Variant{Name: fmt.Sprint("v", i)})
	}
	for i := range n {
		v := i % len(effects)
		d.Rows = append(d.Rows, Row{Unit: fmt.Sprint(i), Variant: fmt.Sprint("v", v), Values: map[string]Value{"m": {Value: 10 + effects[v] + rng.NormFloat64()}}})
	}
	return d
}

func TestVerdictsAndSegments(t *testing.T) {
	d := generate(1, 3000, 0, 1, -1)
	for i := range d.Rows {
		d.Rows[i].Segments = map[string]string{"lang": []string{"de", "en"}[i/3%2]}
		if i%50 == 0 {
			d.Rows[i].Segments = nil
		}
	}
	want := map[string]Verdict{"v1": Better, "v2": Worse}
	for _, m := range []Method{Sequential, FixedHorizon} {
		r, err := Analyze(d, Options{Method: m, Segments: []string{"lang"}})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Segments) != 3 || len(r.Segments[1].Comparisons) != 2 {
			t.Fatalf("%d segments", len(r.Segments))
		}
		for _, c := range append(r.Comparisons, r.Segments[1].Comparisons...) {
			if c.Verdict != want[c.Variant] {
				t.Errorf("%s %s: %+v", m, c.Variant, c)
			}
			if !(c.Simultaneous.Low < c.Absolute.CI.Low && c.Simultaneous.High > c.Absolute.CI.High) {
				t.Errorf("%s: simultaneous %v within %v", m, c.Simultaneous, c.Absolute.CI)
			}
		}
		d2 := d
		d2.Metrics = []Metric{{Name: "m", LowerIsBetter: true}}
		r, err = Analyze(d2, Options{Method: m})
		if err != nil || r.Comparisons[0].Verdict != Worse || r.Comparisons[1].Verdict != Better {
			t.Errorf("lower is better: %+v, %v", r.Comparisons, err)
		}
	}
	// Opposite effects in two segments.
	for i := range d.Rows {
		v := d.Rows[i].Values["m"]
		d.Rows[i].Segments = map[string]string{"lang": "en"}
		if i/3%2 == 0 {
			v.Value = 20 - v.Value
			d.Rows[i].Segments = map[string]string{"lang": "de"}
		}
		d.Rows[i].Values = map[string]Value{"m": v}
	}
	r, err := Analyze(d, Options{Segments: []string{"lang"}})
	if err != nil || !r.Has(WarnContradicted) {
		t.Errorf("no contradiction: %+v, %v", r.Warnings, err)
	}
}

// TestMetamorphic: the order of rows, a shift, a scale and the names of units change nothing but the scale.
func TestMetamorphic(t *testing.T) {
	g := loadGoldens(t)
	base := g.data()
	for _, m := range []Method{Sequential, FixedHorizon} {
		o := Options{Method: m}
		want, err := Analyze(base, o)
		if err != nil {
			t.Fatal(err)
		}
		d := base
		d.Rows = append([]Row(nil), base.Rows...)
		rand.New(rand.NewPCG(9, 9)).Shuffle(len(d.Rows), func(i, j int) { d.Rows[i], d.Rows[j] = d.Rows[j], d.Rows[i] })
		const scale = 1024
		for i, r := range d.Rows {
			c := r.clone()
			c.Unit = fmt.Sprint("other", i)
			for name, v := range c.Values {
				if name == "tokens" || name == "seconds" {
					v.Value *= scale
				}
				c.Values[name] = v
			}
			d.Rows[i] = *c
		}
		got, err := Analyze(d, o)
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range want.Comparisons {
			f := 1.0
			if w.Metric == "tokens" || w.Metric == "seconds" {
				f = scale
			}
			c := got.Comparisons[i]
			near(t, w.Metric+" estimate", c.Absolute.Estimate/f, w.Absolute.Estimate)
			near(t, w.Metric+" low", c.Absolute.CI.Low/f, w.Absolute.CI.Low)
			near(t, w.Metric+" p", c.PAdjusted, w.PAdjusted)
			if c.Verdict != w.Verdict {
				t.Errorf("%s: %s, was %s", w.Metric, c.Verdict, w.Verdict)
			}
		}
	}
}

func TestWarnings(t *testing.T) {
	d := generate(2, 2000, 0, 0)
	for i := range d.Rows { // 1000 against 700
		if i%2 == 1 && i > 1400 {
			d.Rows[i].Variant = "v0"
		}
	}
	for _, m := range []Method{Sequential, FixedHorizon} {
		r, err := Analyze(d, Options{Method: m})
		if err != nil || !r.Has(WarnSRM) {
			t.Errorf("%s: %+v, %v", m, r.Warnings, err)
		}
	}
	weighted := d
	weighted.Experiment.Variants = []Variant{{Name: "v0", Weight: 1300}, {Name: "v1", Weight: 700}}
	if r, err := Analyze(weighted, Options{}); err != nil || r.Has(WarnSRM) {
		t.Errorf("fits its weights: %+v, %v", r.Warnings, err)
	}
	r, err := Analyze(generate(3, 100, 0, 0, 0), Options{Correction: NoCorrection, Method: FixedHorizon})
	if err != nil || !r.Has(WarnNotPaid) || !r.Has(WarnUnplanned) {
		t.Errorf("%+v, %v", r.Warnings, err)
	}
	d = generate(4, 400, 0, 0)
	for i := range d.Rows {
		if d.Rows[i].Variant == "v1" && i%4 == 1 {
			d.Rows[i].Values = nil
		}
	}
	if r, err := Analyze(d, Options{}); err != nil || !r.Has(WarnMissing) || r.Comparisons[0].Arm.N != 100 {
		t.Errorf("%+v, %v", r.Warnings, err)
	}
	d.Metrics = []Metric{{Name: "m", MissingIsZero: true}}
	if r, err := Analyze(d, Options{}); err != nil || r.Has(WarnMissing) || r.Comparisons[0].Arm.N != 200 || r.Comparisons[0].Verdict != Worse {
		t.Errorf("%+v, %v", r, err)
	}
	d = generate(5, 100, 0, 0)
	for i := range d.Rows {
		d.Rows[i].Values = map[string]Value{"m": {Value: float64(i % 2)}}
	}
	for _, m := range []Metric{{Name: "m"}, {Name: "m", Kind: Quantile, Quantile: 0.5}} {
		d.Metrics = []Metric{m}
		if r, err := Analyze(d, Options{Method: FixedHorizon}); err != nil || !r.Has(WarnNoVariance) || r.Comparisons[0].Verdict != Inconclusive {
			t.Errorf("%+v, %v", r, err)
		}
	}
	d.Metrics = []Metric{{Name: "m", CUPED: true}}
	if r, err := Analyze(d, Options{}); err != nil || !r.Has(WarnCovariate) || r.Comparisons[0].Verdict != Inconclusive {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestPlanValidate(t *testing.T) {
	good := Plan{SD: 1, Effect: 0.1}
	for field, p := range map[string]Plan{
		"SD is 0":     {Effect: 1},
		"Effect is 0": {SD: 1},
		"Baseline":    {SD: 1, Effect: 0.1, Relative: true},
		"Kind":        {SD: 1, Effect: 1, Kind: "mode"},
		"Power":       {SD: 1, Effect: 1, Power: 0.01},
		"Alpha":       {SD: 1, Effect: 1, Alpha: math.NaN()},
		"Correlation": {SD: 1, Effect: 1, Correlation: 1},
		"proportion":  {Kind: Proportion, Baseline: 0.9, Effect: 0.2},
		"no proporti": {Kind: Proportion, Baseline: 1.2, Effect: 0.2},
		"Ratio":       {SD: 1, Effect: 1, Ratio: -1},
		"find it":     {SD: 1e300, Effect: 1e-300},
		"Method":      {SD: 1, Effect: 1, Method: "often"},
		"Tuned":       {SD: 1, Effect: 1, Tuned: -3},
		"Comparisons": {SD: 1, Effect: 1, Comparisons: -3},
	} {
		if _, err := p.Size(); !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, m := range []Method{FixedHorizon, Sequential} {
		p := good
		p.Method = m
		s, err := p.Size()
		if err != nil {
			t.Fatal(err)
		}
		before, err := p.PowerAt(s.Control - 1)
		if err != nil || before >= 0.8 || s.Power < 0.8 {
			t.Errorf("%s: %+v, %g before, %v", m, s, before, err)
		}
		p.Comparisons, p.Correlation = 4, 0.7
		smaller, err := p.Size()
		p.Correlation = 0
		larger, err2 := p.Size()
		if err != nil || err2 != nil || !(smaller.Total < larger.Total && larger.Total > s.Total) {
			t.Errorf("%s: %+v, %+v, %+v", m, s, smaller, larger)
		}
	}
	if _, err := good.PowerAt(1); !errors.Is(err, ErrInput) {
		t.Error(err)
	}
}
