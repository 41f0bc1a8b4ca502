package stats

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"testing"
)

// num is a float64 that JSON may spell "inf" or "nan".
type num float64

func (n *num) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		b = b[1 : len(b)-1]
	}
	v, err := strconv.ParseFloat(string(b), 64)
	*n = num(v)
	return err
}

func floats(ns []num) []float64 {
	out := make([]float64, len(ns))
	for i, n := range ns {
		out[i] = float64(n)
	}
	return out
}

type goldens struct {
	Welch []struct {
		A, B     []num
		Side     float64
		T, DF, P num
		CI       []num
	}
	MannWhitney []struct {
		A, B []num
		Side float64
		U, P num
	}
	TSurvival, TUpper, Wilson, Newcombe, Fisher   [][]num
	Power, Design, SampleSize, Bernoulli, LogBeta [][]num
	Shift                                         []struct {
		A, B   []num
		Median num
	}
	CUPED []struct {
		YC, PC, YT, PT     []num
		Theta, Estimate, P num
		Relative           num
		CI                 []num
		SeqCI              []num `json:"seq_ci"`
		SeqP               num   `json:"seq_p"`
	}
	Quantile []struct {
		A, B           []num
		Q, Estimate, P num
		CI             []num
	}
	MeanCS struct {
		X, Low, High []num
		At           []num
	}
	SeqSRM []struct {
		Counts, Weights []num
		LogE            num
	}
	Events []struct {
		Margin, Reverse num
		Alpha           num
		Weights, Arm    []num
		LogE            num
	}
	Adjust []struct{ P, Holm, BH []num }
	SRM    []struct {
		Counts, Weights []num
		P               num
	}
	Proportions []struct {
		Args []num
		Side float64
		Z, P num
	}
	GBStats []struct {
		A, B        []num
		Relative    float64
		Estimate, P num
		CI          []num
		SeqCI       []num `json:"seq_ci"`
	}
	Ratio struct {
		Num, Den       []num
		Mean, Variance num
	}
}

func summarize(t *testing.T, xs []num) Summary {
	t.Helper()
	s, err := Summarize(floats(xs))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func load(t *testing.T) goldens {
	t.Helper()
	b, err := os.ReadFile("testdata/goldens.json")
	if err != nil {
		t.Fatal(err)
	}
	var g goldens
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// near reports whether got agrees with want to a relative 1e-9, or absolutely below 1e-300.
func near(t *testing.T, what string, got float64, want num) {
	t.Helper()
	w := float64(want)
	if got == w || math.IsNaN(got) && math.IsNaN(w) || math.Abs(got-w) <= 1e-9*math.Abs(w)+1e-300 {
		return
	}
	t.Errorf("%s = %.17g, reference %.17g", what, got, w)
}

func TestGoldenTwoSample(t *testing.T) {
	g := load(t)
	for i, c := range g.Welch {
		r, err := Welch(summarize(t, c.A), summarize(t, c.B), Side(c.Side), 0.05)
		if err != nil {
			t.Fatal(err)
		}
		name := "welch " + strconv.Itoa(i)
		near(t, name+" t", r.Statistic, c.T)
		near(t, name+" df", r.DF, c.DF)
		near(t, name+" p", r.P, c.P)
		near(t, name+" low", r.CI.Low, c.CI[0])
		near(t, name+" high", r.CI.High, c.CI[1])
	}
	for i, c := range g.MannWhitney {
		r, err := MannWhitney(floats(c.A), floats(c.B), Side(c.Side))
		if err != nil {
			t.Fatal(err)
		}
		near(t, "mannwhitney "+strconv.Itoa(i)+" U", r.Statistic, c.U)
		near(t, "mannwhitney "+strconv.Itoa(i)+" p", r.P, c.P)
	}
	for i, c := range g.Proportions {
		a := floats(c.Args)
		r, err := Proportions(a[0], a[1], a[2], a[3], Side(c.Side), 0.05)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "proportions "+strconv.Itoa(i)+" z", r.Statistic, c.Z)
		near(t, "proportions "+strconv.Itoa(i)+" p", r.P, c.P)
	}
	for _, c := range g.Wilson {
		iv := Wilson(float64(c[0]), float64(c[1]), 0.05)
		if math.Abs(iv.Low-float64(c[2])) > 1e-12 || math.Abs(iv.High-float64(c[3])) > 1e-12 {
			t.Errorf("Wilson(%g, %g) = %v, reference %v", c[0], c[1], iv, c[2:])
		}
	}
}

func TestGoldenTails(t *testing.T) {
	g := load(t)
	for _, c := range g.TSurvival {
		near(t, "tSurvival "+strconv.FormatFloat(float64(c[0]), 'g', -1, 64), tSurvival(float64(c[0]), float64(c[1])), c[2])
	}
	for _, c := range g.Bernoulli {
		got := BernoulliLogE(int64(c[0]), int64(c[1]), float64(c[2]))
		if math.Abs(got-float64(c[3])) > 1e-9*math.Max(1, math.Abs(float64(c[3]))) {
			t.Errorf("BernoulliLogE(%g, %g, %g) = %.15g, quadrature %.15g", c[0], c[1], c[2], got, c[3])
		}
	}
}

func TestGoldenCorrections(t *testing.T) {
	g := load(t)
	for i, c := range g.Adjust {
		holm, err := Holm(floats(c.P))
		if err != nil {
			t.Fatal(err)
		}
		bh, err := BenjaminiHochberg(floats(c.P))
		if err != nil {
			t.Fatal(err)
		}
		for k, p := range holm {
			near(t, "holm "+strconv.Itoa(i), p, c.Holm[k])
		}
		for k, p := range bh {
			near(t, "bh "+strconv.Itoa(i), p, c.BH[k])
		}
	}
	for i, c := range g.SRM {
		counts := make([]int64, len(c.Counts))
		for k := range counts {
			counts[k] = int64(c.Counts[k])
		}
		p, err := SRM(counts, floats(c.Weights))
		if err != nil {
			t.Fatal(err)
		}
		near(t, "srm "+strconv.Itoa(i), p, c.P)
	}
	for _, c := range g.Power {
		p, err := PowerMeans(float64(c[0]), 1, float64(c[1]), Design{Alpha: float64(c[2])})
		if err != nil {
			t.Fatal(err)
		}
		near(t, "power", p, c[3])
	}
	for _, c := range g.Design {
		d := Design{Alpha: float64(c[2]), Ratio: float64(c[3]), Side: Side(c[4])}
		p, err := PowerMeans(float64(c[0]), 1, float64(c[1]), d)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "design", p, c[5])
	}
	for _, c := range g.SampleSize {
		n, err := SampleSizeMeans(float64(c[0]), 1, Design{Alpha: float64(c[1]), Power: float64(c[2])})
		if err != nil || n != math.Ceil(float64(c[3])) {
			t.Errorf("SampleSizeMeans(%v) = %v, %v; reference %v", c[:3], n, err, c[3])
		}
	}
}

// TestGoldenGBStats compares with GrowthBook's engine, whose intervals use the same Welch degrees of freedom.
func TestGoldenGBStats(t *testing.T) {
	g := load(t)
	for i, c := range g.GBStats {
		a := Summary{float64(c.A[0]), float64(c.A[1]), float64(c.A[2])}
		b := Summary{float64(c.B[0]), float64(c.B[1]), float64(c.B[2])}
		f := Welch
		if c.Relative == 1 {
			f = RelativeDifference
		}
		r, err := f(a, b, TwoSided, 0.05)
		if err != nil {
			t.Fatal(err)
		}
		name := "gbstats " + strconv.Itoa(i)
		near(t, name+" estimate", r.Estimate, c.Estimate)
		near(t, name+" p", r.P, c.P)
		near(t, name+" low", r.CI.Low, c.CI[0])
		near(t, name+" high", r.CI.High, c.CI[1])
		n := a.N + b.N
		iv := AsymptoticCS(r.Estimate, r.StdErr*r.StdErr*n, n, 0.05, 5000)
		near(t, name+" sequential low", iv.Low, c.SeqCI[0])
		near(t, name+" sequential high", iv.High, c.SeqCI[1])
	}
	s, err := RatioSummary(floats(g.Ratio.Num), floats(g.Ratio.Den))
	if err != nil {
		t.Fatal(err)
	}
	near(t, "ratio mean", s.Mean, g.Ratio.Mean)
	near(t, "ratio variance", s.Variance, g.Ratio.Variance)
}

func ints(ns []num) []int64 {
	out := make([]int64, len(ns))
	for i, n := range ns {
		out[i] = int64(n)
	}
	return out
}

func TestGoldenSpecial(t *testing.T) {
	g := load(t)
	for _, c := range g.TUpper {
		near(t, fmt.Sprintf("tUpper %v", c[:2]), tUpper(float64(c[0]), float64(c[1])), c[2])
	}
	for _, c := range g.LogBeta {
		near(t, fmt.Sprintf("logBeta %v", c[:2]), logBeta(float64(c[0]), float64(c[1])), c[2])
	}
	for _, c := range g.Newcombe {
		r, err := Proportions(float64(c[0]), float64(c[1]), float64(c[2]), float64(c[3]), TwoSided, 0.05)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(r.CI.Low-float64(c[4])) > 1e-12 || math.Abs(r.CI.High-float64(c[5])) > 1e-12 {
			t.Errorf("newcombe %v = %v", c, r.CI)
		}
	}
	for _, c := range g.Fisher {
		p, err := FisherExact(int64(c[0]), int64(c[1]), int64(c[2]), int64(c[3]), Side(c[4]))
		if err != nil {
			t.Fatal(err)
		}
		near(t, fmt.Sprintf("fisher %v", c[:5]), p, c[5])
	}
	for i, c := range g.Shift {
		r, err := MannWhitney(floats(c.A), floats(c.B), TwoSided)
		if err != nil {
			t.Fatal(err)
		}
		near(t, fmt.Sprintf("shift %d", i), r.Estimate, c.Median)
	}
	for i, c := range g.SeqSRM {
		logE, err := SequentialSRM(ints(c.Counts), floats(c.Weights))
		if err != nil || math.Abs(logE-float64(c.LogE)) > 1e-7 {
			t.Errorf("sequential srm %d = %.12g, %v; reference %.12g", i, logE, err, c.LogE)
		}
	}
	for i, c := range g.Events {
		e := newEventTest(float64(c.Margin), float64(c.Alpha), c.Reverse != 0, Gradual)
		for k, w := range c.Weights {
			e.Observe(c.Arm[k] != 0, float64(w))
		}
		if math.Abs(e.LogE()-float64(c.LogE)) > 1e-9*math.Max(1, math.Abs(float64(c.LogE))) {
			t.Errorf("events %d: log e = %.15g, reference %.15g", i, e.LogE(), c.LogE)
		}
	}
}

func TestGoldenMeanCS(t *testing.T) {
	g := load(t).MeanCS
	for _, scale := range []float64{1, 1000} {
		c, err := NewMeanCS(0.05, 0, scale)
		if err != nil {
			t.Fatal(err)
		}
		k := 0
		for i, x := range g.X {
			if err := c.Observe(scale * float64(x)); err != nil {
				t.Fatal(err)
			}
			if num(i+1) == g.At[k] {
				iv := c.Interval()
				near(t, "mean low", iv.Low, num(scale)*g.Low[k])
				near(t, "mean high", iv.High, num(scale)*g.High[k])
				if c, err = RestoreMeanCS(c.State()); err != nil {
					t.Fatal(err)
				}
				k++
			}
		}
	}
}

func TestGoldenAdjusted(t *testing.T) {
	g := load(t)
	for i, c := range g.CUPED {
		a, b, theta, err := CUPED(floats(c.YC), floats(c.PC), floats(c.YT), floats(c.PT))
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("cuped %d ", i)
		near(t, name+"theta", theta, c.Theta)
		r, err := Welch(a, b, TwoSided, 0.05)
		if c.Relative != 0 {
			r, err = RelativeTo(a, b, summarize(t, c.YC).Mean, summarize(t, c.YT).Mean, TwoSided, 0.05)
		}
		if err != nil {
			t.Fatal(err)
		}
		near(t, name+"estimate", r.Estimate, c.Estimate)
		if math.Abs(r.P-float64(c.P)) > 1e-9*r.P+1e-15 { // gbstats' p-value is 2·(1 − CDF), which ends at 1e-16
			t.Errorf("%sp = %g, reference %g", name, r.P, c.P)
		}
		near(t, name+"low", r.CI.Low, c.CI[0])
		near(t, name+"high", r.CI.High, c.CI[1])
		n := a.N + b.N
		iv := AsymptoticCS(r.Estimate, r.StdErr*r.StdErr*n, n, 0.05, 5000)
		near(t, name+"sequential low", iv.Low, c.SeqCI[0])
		near(t, name+"sequential high", iv.High, c.SeqCI[1])
		near(t, name+"sequential p", AsymptoticPValue(r.Estimate, r.StdErr*r.StdErr*n, n, 0.05, 5000), c.SeqP)
	}
	for i, c := range g.Quantile {
		a, err := QuantileSummary(floats(c.A), float64(c.Q))
		if err != nil {
			t.Fatal(err)
		}
		b, err := QuantileSummary(floats(c.B), float64(c.Q))
		if err != nil {
			t.Fatal(err)
		}
		r, err := Welch(a, b, TwoSided, 0.05)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("quantile %d ", i)
		near(t, name+"estimate", r.Estimate, c.Estimate)
		near(t, name+"p", r.P, c.P)
		near(t, name+"low", r.CI.Low, c.CI[0])
		near(t, name+"high", r.CI.High, c.CI[1])
	}
}

// TestPublished compares with the numbers in confseq's own tests (test/uniform_boundaries_unittest.cpp), which are
// printed to five or six digits.
func TestPublished(t *testing.T) {
	close := func(what string, got, want, tol float64) {
		if !(math.Abs(got-want) <= tol) {
			t.Errorf("%s = %.8g, published %.8g", what, got, want)
		}
	}
	close("rho of the normal mixture", 1/asymptoticRho2(0.05, 100), 12.60056, 1e-5)
	close("normal mixture bound", 100*AsymptoticCS(0, 1, 100, 0.05, 100).High, 30.35209, 1e-5)
	// S = 10, v = 100, g = 0.2, h = 0.8: 135 successes in 625 trials against 0.2; the prior's mass is (rho − gh)/gh.
	close("beta-binomial log mixture", bernoulliLogE2(135, 625, 0.2, (12.60056-0.16)/0.16), -0.6941012, 1e-5)
	for _, c := range []struct {
		s, n      int64
		tuned     float64
		low, high float64
	}{
		{700, 1000, 100, 0.651629, 0.745949}, {15, 50, 50, 0.129556, 0.511896}, {5, 50, 50, 0.013021, 0.269264}, {1, 50, 50, 0, 0.13489},
		{1, 2, 50, 0, 1}, {100, 200, 1, 0.328923, 0.671076}, {0, 1, 50, 0, 1}, {1, 1, 50, 0, 1},
	} {
		iv, err := BernoulliCS(c.s, c.n, 0.05, c.tuned)
		if err != nil {
			t.Fatal(err)
		}
		close(fmt.Sprintf("Bernoulli %d/%d low", c.s, c.n), iv.Low, c.low, 1e-5)
		close(fmt.Sprintf("Bernoulli %d/%d high", c.s, c.n), iv.High, c.high, 1e-5)
	}
}
