package abtest

import (
	"errors"
	"fmt"
	"math"
	"sort"
	"strings"

	"github.com/krserve/krserve/internal/stats"
)

const (
	// minSequential is the number of units per arm before an asymptotic confidence sequence gives a verdict.
	minSequential = 20
	// fewEvents is the number of successes and of failures per arm below which the normal approximation of a proportion
	// is left for exact methods.
	fewEvents = 5
)

// column is what one variant has of one metric.
type column struct {
	values, dens, pres []float64
	noPre              int // pres that are not known, NaN until filled in
	missing            int // exposed units that take no part
}

func (c *column) add(r Row, m Metric) {
	v, ok := r.Values[m.Name]
	if !ok && !m.MissingIsZero {
		c.missing++
		return
	}
	c.values = append(c.values, v.Value)
	if m.Kind == Ratio {
		c.dens = append(c.dens, v.Den)
	}
	if m.CUPED {
		pre := math.NaN()
		if v.Pre != nil {
			pre = *v.Pre
		} else {
			c.noPre++
		}
		c.pres = append(c.pres, pre)
	}
}

// comparer is one comparison under way.
type comparer struct {
	m     Metric
	o     Options
	a, b  *column // control and variant
	alpha float64 // level of the simultaneous interval
	out   Comparison
	warn  func(c Code, format string, args ...any)

	exact  bool // by counts: sa of na, sb of nb
	sa, sb float64
	sorted [2][]float64 // of a sequential quantile
	sum    [2]stats.Summary
	base   [2]float64 // values before CUPED
}

var errApart = errors.New("the difference to the control overflows float64; rescale the values")

// unusable ends a comparison without a verdict.
type unusable struct {
	code Code
	text string
}

func (u *unusable) Error() string { return u.text }

func few(format string, args ...any) error {
	return &unusable{WarnTooFew, fmt.Sprintf(format, args...)}
}

// clean drops the sentinel of internal/stats from a message.
func clean(err error) string { return strings.ReplaceAll(err.Error(), stats.ErrInput.Error()+": ", "") }

// compare fills in everything but PAdjusted and Verdict. An error is about values that no analysis can hold.
func (c *comparer) compare() error {
	c.out.Metric = c.m.Name
	c.out.Arm.N, c.out.Control.N = len(c.b.values), len(c.a.values)
	nothing := Interval{math.Inf(-1), math.Inf(1)}
	c.out.Absolute = Effect{CI: nothing, P: 1}
	c.out.Simultaneous = nothing
	err := c.summarize()
	if err == nil {
		err = c.effects()
	}
	if u, ok := err.(*unusable); ok {
		c.warn(u.code, "%s", u.text)
		c.out.Reason = u.text
		return nil
	}
	return err
}

func (c *comparer) summarize() error {
	na, nb := len(c.a.values), len(c.b.values)
	if na < 2 || nb < 2 {
		c.out.Test = "none"
		return few("%d units of the control and %d of the variant have a value, 2 of each are needed", na, nb)
	}
	var err error
	switch {
	case c.m.CUPED:
		c.out.Test = "Welch, CUPED"
		err = c.cuped()
	case c.m.Kind == Proportion:
		c.out.Test = "Welch"
		for i, col := range []*column{c.a, c.b} {
			s, n := 0.0, float64(len(col.values))
			for _, v := range col.values {
				s += v
			}
			c.sum[i] = stats.Summary{N: n, Mean: s / n, Variance: s / n * (1 - s/n)}
			if i == 0 {
				c.sa = s
			} else {
				c.sb = s
			}
			c.exact = c.exact || min(s, n-s) < fewEvents
		}
	case c.m.Kind == Ratio:
		c.out.Test = "Welch, delta method"
		for i, col := range []*column{c.a, c.b} {
			if zero(col.dens) {
				return few("the denominators of the %s are all 0", side(i))
			}
			if c.sum[i], err = stats.RatioSummary(col.values, col.dens); err != nil {
				return c.overflow(i, err)
			}
		}
	case c.m.Kind == Quantile:
		return c.quantiles()
	default:
		c.out.Test = "Welch"
		for i, col := range []*column{c.a, c.b} {
			if c.sum[i], err = stats.Summarize(col.values); err != nil {
				return c.overflow(i, err)
			}
		}
	}
	if err != nil {
		return err
	}
	if !c.m.CUPED {
		c.base = [2]float64{c.sum[0].Mean, c.sum[1].Mean}
	}
	return nil
}

func side(i int) string { return [2]string{"control", "variant"}[i] }

func zero(xs []float64) bool {
	for _, x := range xs {
		if x != 0 {
			return false
		}
	}
	return true
}

func (c *comparer) overflow(arm int, err error) error {
	name := "the control"
	if arm == 1 {
		name = fmt.Sprintf("variant %q", c.out.Variant)
	}
	return wrap(ErrValue, "metric %q, %s: %s", c.m.Name, name, clean(err))
}

func (c *comparer) cuped() error {
	known, n := 0.0, 0.0
	for _, col := range []*column{c.a, c.b} {
		for _, p := range col.pres {
			if !math.IsNaN(p) {
				n++
			}
		}
	}
	if n == 0 {
		return &unusable{WarnCovariate, "no unit has a value from before the experiment"}
	}
	for _, col := range []*column{c.a, c.b} {
		for _, p := range col.pres {
			if !math.IsNaN(p) {
				known += p / n
			}
		}
	}
	if c.a.noPre+c.b.noPre > 0 {
		c.warn(WarnCovariate, "%d of %d units have no value from before the experiment and are taken at its mean", c.a.noPre+c.b.noPre, len(c.a.pres)+len(c.b.pres))
	}
	// Copies: the control's column serves several comparisons, each with its own mean.
	filled := func(col *column) []float64 {
		out := append([]float64(nil), col.pres...)
		for i, p := range out {
			if math.IsNaN(p) {
				out[i] = known
			}
		}
		return out
	}
	for i, col := range []*column{c.a, c.b} {
		s, err := stats.Summarize(col.values)
		if err != nil {
			return c.overflow(i, err)
		}
		c.base[i] = s.Mean
	}
	var err error
	c.sum[0], c.sum[1], c.out.Theta, err = stats.CUPED(c.a.values, filled(c.a), c.b.values, filled(c.b))
	if err != nil {
		return c.overflow(1, err)
	}
	return nil
}

// quantiles sorts both arms. Their spread is known only beyond some number of units, which a sequential test does not
// wait for.
func (c *comparer) quantiles() error {
	c.out.Test = "order statistics"
	if c.o.Method == Sequential {
		c.out.Test = "exact quantile e-process"
	}
	var missing error
	for i, col := range []*column{c.a, c.b} {
		c.sorted[i] = append([]float64(nil), col.values...)
		sort.Float64s(c.sorted[i])
		q, err := stats.Quantile(c.sorted[i], c.m.Quantile)
		if err != nil {
			return c.overflow(i, err)
		}
		c.base[i] = q
		c.sum[i], err = stats.QuantileSummary(c.sorted[i], c.m.Quantile)
		p := c.m.Quantile
		h := 1.96 * math.Sqrt(p*(1-p)/float64(len(col.values)))
		switch {
		case err == nil:
		case p-h > 0 && p+h < 1:
			return c.overflow(i, err)
		case c.o.Method == FixedHorizon:
			missing = few("%s: %s", side(i), clean(err))
		}
	}
	c.out.Control.Value, c.out.Arm.Value = c.base[0], c.base[1]
	c.out.Absolute.Estimate = c.base[1] - c.base[0]
	if !finite(c.out.Absolute.Estimate) {
		return c.overflow(1, errApart)
	}
	return missing
}

func (c *comparer) effects() error {
	c.out.Control.Value, c.out.Arm.Value = c.base[0], c.base[1]
	c.out.Control.SD, c.out.Arm.SD = math.Sqrt(c.sum[0].Variance), math.Sqrt(c.sum[1].Variance)
	abs, err := c.absolute(c.o.Alpha)
	c.out.Absolute = abs
	if err != nil {
		return err
	}
	c.out.Simultaneous = abs.CI
	if c.alpha < c.o.Alpha {
		all, err := c.absolute(c.alpha)
		if err != nil {
			return err
		}
		c.out.Simultaneous = all.CI
	}
	c.out.Relative = c.relative()
	c.out.Bayes = bayes(abs.Estimate, abs.StdErr, c.base[0], c.o, c.m.LowerIsBetter)
	if n := min(c.out.Arm.N, c.out.Control.N); c.o.Method == Sequential && !c.exact && c.m.Kind != Quantile && n < minSequential {
		return few("%d units in the smaller arm, %d are needed before a sequential verdict", n, minSequential)
	}
	return nil
}

// absolute is the difference with an interval at level 1 − alpha.
func (c *comparer) absolute(alpha float64) (Effect, error) {
	e := Effect{Estimate: c.sum[1].Mean - c.sum[0].Mean, CI: Interval{math.Inf(-1), math.Inf(1)}, P: 1}
	if c.m.Kind == Quantile {
		e.Estimate = c.base[1] - c.base[0]
	}
	if !finite(e.Estimate) {
		return Effect{}, c.overflow(1, errApart)
	}
	se := math.Sqrt(c.sum[0].Variance/c.sum[0].N + c.sum[1].Variance/c.sum[1].N)
	if finite(se) {
		e.StdErr = se
	}
	switch {
	case c.exact:
		return c.counts(e, alpha)
	case c.m.Kind == Quantile && c.o.Method == Sequential:
		d, err := stats.QuantileDifference(c.sorted[0], c.sorted[1], c.m.Quantile, stats.TwoSided, alpha)
		if err != nil {
			return e, c.overflow(1, err)
		}
		e.CI, e.P = Interval(d.CI), d.P
		return e, nil
	case c.m.Kind == Quantile && (c.sum[0].Variance == 0 || c.sum[1].Variance == 0):
		return e, &unusable{WarnNoVariance, "ties around the quantile hide its spread"}
	case se == 0:
		return e, &unusable{WarnNoVariance, "all units of each arm have one value: nothing is known about the spread"}
	}
	r, err := stats.Welch(c.sum[0], c.sum[1], stats.TwoSided, alpha)
	if err != nil {
		return e, c.overflow(1, err)
	}
	e = c.effect(r, alpha)
	return e, nil
}

// effect turns a result of the fixed-horizon test, whose estimate and standard error serve both methods, into that of the
// chosen one.
func (c *comparer) effect(r stats.Result, alpha float64) Effect {
	e := Effect{Estimate: r.Estimate, StdErr: r.StdErr, CI: Interval(r.CI), P: r.P}
	if c.o.Method == Sequential {
		n := c.sum[0].N + c.sum[1].N
		v := r.StdErr * r.StdErr * n
		e.CI = Interval(stats.AsymptoticCS(r.Estimate, v, n, alpha, c.o.Tuned))
		e.P = stats.AsymptoticPValue(r.Estimate, v, n, alpha, c.o.Tuned)
	}
	return e
}

func (c *comparer) counts(e Effect, alpha float64) (Effect, error) {
	na, nb := c.sum[0].N, c.sum[1].N
	if c.o.Method == Sequential {
		c.out.Test = "exact e-process of counts"
		d, err := stats.ProportionDifference(int64(c.sa), int64(na), int64(c.sb), int64(nb), stats.TwoSided, alpha)
		if err != nil {
			return e, c.overflow(1, err)
		}
		e.CI, e.P = Interval(d.CI), d.P
		return e, nil
	}
	c.out.Test = "Fisher, Newcombe's interval"
	r, err := stats.Proportions(c.sa, na, c.sb, nb, stats.TwoSided, alpha)
	if err != nil {
		return e, c.overflow(1, err)
	}
	e.CI = Interval(r.CI)
	if e.P, err = stats.FisherExact(int64(c.sa), int64(na), int64(c.sb), int64(nb), stats.TwoSided); err != nil {
		return e, c.overflow(1, err)
	}
	return e, nil
}

// relative is nil where the control's value is 0 or a ratio to it is beyond the delta method.
func (c *comparer) relative() *Effect {
	if c.exact || c.base[0] == 0 || c.sum[0].N < 2 || c.sum[1].N < 2 || c.sum[0].Variance+c.sum[1].Variance == 0 {
		return nil
	}
	if c.m.Kind == Quantile && c.o.Method == Sequential {
		return nil
	}
	r, err := stats.RelativeTo(c.sum[0], c.sum[1], c.base[0], c.base[1], stats.TwoSided, c.o.Alpha)
	if err != nil {
		return nil
	}
	e := c.effect(r, c.o.Alpha)
	return &e
}
