package abtest

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"
)

type goldenEffect struct{ Estimate, Low, High, P float64 }

type goldenBayes struct {
	Chance, Estimate, Low, High, Risk float64
	RiskControl                       float64 `json:"risk_control"`
}

// goldens are what testdata/make_goldens.py wrote.
type goldens struct {
	Tuned, Level float64
	Arms         map[string]map[string][]float64
	Assignments  []struct {
		Salt     string
		Weights  map[string]float64
		Traffic  float64
		Variants []string
	}
	Comparisons []struct {
		Metric, Variant    string
		Theta              float64
		FixedAbsolute      goldenEffect `json:"fixed_absolute"`
		FixedRelative      goldenEffect `json:"fixed_relative"`
		SequentialAbsolute goldenEffect `json:"sequential_absolute"`
		SequentialRelative goldenEffect `json:"sequential_relative"`
		Flat, Prior        goldenBayes
	}
	Holm, BH []float64
	SRM      float64
	SRMScipy float64 `json:"srm_scipy"`
	Fisher   [][5]float64
	Power    []struct{ Delta, SD, Alpha, Ratio, N, Power, Size float64 }
}

func loadGoldens(t *testing.T) goldens {
	t.Helper()
	data, err := os.ReadFile("testdata/goldens.json")
	if err != nil {
		t.Fatal(err)
	}
	var g goldens
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// data is the goldens' experiment as rows.
func (g goldens) data() Data {
	d := Data{
		Experiment: Experiment{Name: "golden", Variants: []Variant{{Name: "control"}, {Name: "warm"}, {Name: "hot"}}},
		Metrics: []Metric{
			{Name: "tokens"}, {Name: "adjusted", CUPED: true}, {Name: "good", Kind: Proportion}, {Name: "hits", Kind: Ratio},
			{Name: "seconds", Kind: Quantile, Quantile: g.Level, LowerIsBetter: true},
		},
	}
	for _, v := range d.Experiment.Variants {
		a := g.Arms[v.Name]
		for i := range a["tokens"] {
			d.Rows = append(d.Rows, Row{Unit: fmt.Sprint(v.Name, i), Variant: v.Name, Values: map[string]Value{
				"tokens": {Value: a["tokens"][i]}, "adjusted": {Value: a["tokens"][i], Pre: &a["pre"][i]}, "good": {Value: a["good"][i]},
				"hits": {Value: a["hits"][i], Den: a["asked"][i]}, "seconds": {Value: a["seconds"][i]},
			}})
		}
	}
	return d
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-9*(1+math.Abs(want))) {
		t.Errorf("%s: %.15g, want %.15g", what, got, want)
	}
}

func (g goldenEffect) check(t *testing.T, what string, e Effect) {
	t.Helper()
	near(t, what+" estimate", e.Estimate, g.Estimate)
	near(t, what+" low", e.CI.Low, g.Low)
	near(t, what+" high", e.CI.High, g.High)
	near(t, what+" p", e.P, g.P)
}

func (g goldenBayes) check(t *testing.T, what string, b *Bayes) {
	t.Helper()
	if b == nil {
		t.Errorf("%s: no posterior", what)
		return
	}
	near(t, what+" chance", b.ChanceToWin, g.Chance)
	near(t, what+" estimate", b.Estimate, g.Estimate)
	near(t, what+" low", b.CI.Low, g.Low)
	near(t, what+" high", b.CI.High, g.High)
	near(t, what+" risk", b.Risk, g.Risk)
	near(t, what+" risk of the control", b.RiskControl, g.RiskControl)
}

// TestGrowthBook compares whole reports with gbstats, and their correction with statsmodels.
func TestGrowthBook(t *testing.T) {
	g := loadGoldens(t)
	d := g.data()
	fixed, err := Analyze(d, Options{Method: FixedHorizon})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "SRM", fixed.SRM, g.SRM)
	near(t, "SRM of scipy", fixed.SRM, g.SRMScipy)
	bh, err := Analyze(d, Options{Method: FixedHorizon, Correction: BenjaminiHochberg, Prior: &Prior{0.01, 0.3}})
	if err != nil {
		t.Fatal(err)
	}
	sequential, err := Analyze(d, Options{Tuned: g.Tuned})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range g.Comparisons {
		what := want.Metric + "/" + want.Variant
		f, ok := fixed.Comparison(want.Metric, want.Variant)
		s, ok2 := sequential.Comparison(want.Metric, want.Variant)
		b, ok3 := bh.Comparison(want.Metric, want.Variant)
		if !ok || !ok2 || !ok3 {
			t.Fatalf("%s: no comparison", what)
		}
		want.FixedAbsolute.check(t, what+" fixed", f.Absolute)
		want.FixedRelative.check(t, what+" fixed relative", *f.Relative)
		near(t, what+" theta", f.Theta, want.Theta)
		near(t, what+" Holm", f.PAdjusted, g.Holm[i])
		near(t, what+" BH", b.PAdjusted, g.BH[i])
		want.Flat.check(t, what+" flat", f.Bayes)
		want.Prior.check(t, what+" prior", b.Bayes)
		if want.Metric == "seconds" { // gbstats has no sequential quantiles; ours is exact
			if !(s.Absolute.CI.Low < want.FixedAbsolute.Low && s.Absolute.CI.High > want.FixedAbsolute.High) {
				t.Errorf("%s: sequential interval %v within the fixed one", what, s.Absolute.CI)
			}
			continue
		}
		want.SequentialAbsolute.check(t, what+" sequential", s.Absolute)
		want.SequentialRelative.check(t, what+" sequential relative", *s.Relative)
	}
}

func TestFisherTakesOver(t *testing.T) {
	for _, f := range loadGoldens(t).Fisher {
		d := counts(int(f[0]), int(f[1]), int(f[2]), int(f[3]))
		r, err := Analyze(d, Options{Method: FixedHorizon})
		if err != nil {
			t.Fatal(err)
		}
		near(t, fmt.Sprint(f), r.Comparisons[0].Absolute.P, f[4])
		if !r.Has(WarnFewEvents) {
			t.Errorf("%v: no warning", f)
		}
	}
}

// counts is an experiment with sa of na and sb of nb successes.
func counts(sa, na, sb, nb int) Data {
	d := Data{Metrics: []Metric{{Name: "ok", Kind: Proportion}}}
	for i, c := range [][2]int{{sa, na}, {sb, nb}} {
		for j := range c[1] {
			v := Value{}
			if j < c[0] {
				v.Value = 1
			}
			name := [2]string{"control", "new"}[i]
			d.Rows = append(d.Rows, Row{Unit: fmt.Sprint(name, j), Variant: name, Values: map[string]Value{"ok": v}})
		}
	}
	return d
}

func TestPlanAgainstStatsmodels(t *testing.T) {
	for _, w := range loadGoldens(t).Power {
		p := Plan{SD: w.SD, Effect: w.Delta, Alpha: w.Alpha, Ratio: w.Ratio, Method: FixedHorizon}
		got, err := p.PowerAt(int64(w.N))
		if err != nil {
			t.Fatal(err)
		}
		near(t, "power", got, w.Power)
		s, err := p.Size()
		if err != nil || float64(s.Control) != math.Ceil(w.Size) {
			t.Errorf("%+v: %+v, %v; want %g", p, s, err, w.Size)
		}
		e, err := p.EffectAt(s.Control)
		if err != nil || e > w.Delta || e < 0.97*w.Delta {
			t.Errorf("%+v: least effect %g, %v", p, e, err)
		}
	}
}
