package abtest

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/krserve/krserve/internal/stats"
)

// srmLevel is the p-value below which a split counts as mismatched; at 5 % every twentieth sound experiment would.
const srmLevel = 0.001

// Analyze compares every variant with the control in every metric. It is a pure function: equal arguments give equal
// reports.
func Analyze(d Data, o Options) (Report, error) {
	if err := o.Validate(); err != nil {
		return Report{}, err
	}
	o = o.withDefaults()
	d, err := d.resolve()
	if err != nil {
		return Report{}, err
	}
	if o.Looks == 0 {
		o.Looks = max(d.Looks, 1)
	}
	r := Report{Experiment: d.Experiment.Name, Method: o.Method, Alpha: o.Alpha, Correction: o.Correction, Units: len(d.Rows), Planned: o.Planned,
		Warnings: []Warning{}}
	if o.Method == FixedHorizon {
		r.Looks = o.Looks
	}
	counts := make([]int64, len(d.Experiment.Variants))
	for _, row := range d.Rows {
		counts[d.Experiment.variant(row.Variant)]++
	}
	if counts[0] < 2 || slices.Max(counts[1:]) < 2 {
		return Report{}, wrap(ErrTooFew, "%d in the control %q and %d in the largest other variant, 2 in each are needed",
			counts[0], d.Experiment.Variants[0].Name, slices.Max(counts[1:]))
	}
	if err := r.split(d.Experiment, counts, o); err != nil {
		return Report{}, err
	}
	if r.Comparisons, err = r.family(d, d.Rows, o, d.simultaneous(o, 1), ""); err != nil {
		return Report{}, err
	}
	if err := r.correct(d.Metrics, o, r.Comparisons); err != nil {
		return Report{}, err
	}
	if o.Correction == NoCorrection && len(r.Comparisons) > 1 {
		r.warn(WarnNotPaid, "%d comparisons without a correction: the chance of a wrong verdict is up to %.2g", len(r.Comparisons), math.Min(1, o.Alpha*float64(len(r.Comparisons))))
	}
	if err := r.peeking(o); err != nil {
		return Report{}, err
	}
	if err := r.segments(d, o); err != nil {
		return Report{}, err
	}
	return r, nil
}

func (r *Report) warn(c Code, format string, args ...any) {
	r.Warnings = append(r.Warnings, Warning{Code: c, Text: fmt.Sprintf(format, args...)})
}

// split tests the numbers of units against the weights, by a test that fits the way the report is looked at.
func (r *Report) split(e Experiment, counts []int64, o Options) error {
	weights, total := make([]float64, len(counts)), 0.0
	for i, v := range e.Variants {
		weights[i] = v.weight()
		total += weights[i]
	}
	for i, v := range e.Variants {
		r.Variants = append(r.Variants, Count{v.Name, int(counts[i]), weights[i] / total})
	}
	var err error
	if o.Method == Sequential {
		var logE float64
		logE, err = stats.SequentialSRM(counts, weights)
		r.SRM = math.Min(1, math.Exp(-logE))
	} else {
		r.SRM, err = stats.SRM(counts, weights)
	}
	if err != nil {
		return invalid("%s", clean(err))
	}
	if r.SRM < srmLevel {
		r.warn(WarnSRM, "the split of units does not fit the weights (p = %.2g): units are lost or counted twice on one side; no comparison is to be trusted", r.SRM)
	}
	return nil
}

// family makes all comparisons over some rows; alpha is the level of simultaneous intervals.
func (r *Report) family(d Data, rows []Row, o Options, alpha float64, segment string) ([]Comparison, error) {
	variants := d.Experiment.Variants
	var out []Comparison
	for _, m := range d.Metrics {
		columns := make([]column, len(variants))
		for _, row := range rows {
			columns[d.Experiment.variant(row.Variant)].add(row, m)
		}
		for i := 1; i < len(variants); i++ {
			warn := func(code Code, format string, args ...any) {
				r.Warnings = append(r.Warnings, Warning{code, m.Name, variants[i].Name, segment, fmt.Sprintf(format, args...)})
			}
			if err := missing(&columns[0], &columns[i], warn); err != nil {
				return nil, err
			}
			c := comparer{m: m, o: o, a: &columns[0], b: &columns[i], alpha: alpha, warn: warn}
			c.out.Variant = variants[i].Name
			if err := c.compare(); err != nil {
				if segment != "" {
					err = fmt.Errorf("%w, segment %s", err, segment)
				}
				return nil, err
			}
			if c.exact && segment == "" {
				warn(WarnFewEvents, "fewer than %d events or non-events in an arm: %s instead of the normal approximation", fewEvents, c.out.Test)
			}
			out = append(out, c.out)
		}
	}
	return out, nil
}

// simultaneous is the level that pays for all comparisons of a number of families.
func (d Data) simultaneous(o Options, families int) float64 {
	if o.Correction == NoCorrection {
		return o.Alpha
	}
	return o.Alpha / float64(families*len(d.Metrics)*(len(d.Experiment.Variants)-1))
}

// missing tests whether both arms lack values equally often.
func missing(a, b *column, warn func(Code, string, ...any)) error {
	if a.missing+b.missing == 0 {
		return nil
	}
	na, nb := float64(a.missing+len(a.values)), float64(b.missing+len(b.values))
	if na == 0 || nb == 0 {
		return nil
	}
	p, err := stats.Proportions(float64(a.missing), na, float64(b.missing), nb, stats.TwoSided, 0.05)
	if err != nil {
		return invalid("%s", clean(err))
	}
	if p.P < srmLevel {
		warn(WarnMissing, "%.3g %% of the control's units and %.3g %% of the variant's have no value (p = %.2g): those that have one may be selected", 100*float64(a.missing)/na, 100*float64(b.missing)/nb, p.P)
	}
	return nil
}

// correct adjusts the p-values of a family and gives the verdicts.
func (r *Report) correct(metrics []Metric, o Options, family []Comparison) error {
	ps := make([]float64, len(family))
	for i, c := range family {
		ps[i] = c.Absolute.P
	}
	adjusted, err := ps, error(nil)
	switch o.Correction {
	case Holm:
		adjusted, err = stats.Holm(ps)
	case BenjaminiHochberg:
		adjusted, err = stats.BenjaminiHochberg(ps)
	}
	if err != nil {
		return invalid("%s", clean(err))
	}
	lower := map[string]bool{}
	for _, m := range metrics {
		lower[m.Name] = m.LowerIsBetter
	}
	for i := range family {
		c := &family[i]
		c.PAdjusted = adjusted[i]
		c.Verdict = Inconclusive
		switch {
		case c.Reason != "":
		case o.Method == FixedHorizon && r.Units < o.Planned:
			c.Reason = fmt.Sprintf("%d of %d planned units", r.Units, o.Planned)
		case c.PAdjusted > o.Alpha && c.Absolute.P <= o.Alpha:
			c.Reason = fmt.Sprintf("p = %.2g alone, but %.2g as one of %d comparisons", c.Absolute.P, c.PAdjusted, len(family))
		case c.PAdjusted > o.Alpha:
			c.Reason = fmt.Sprintf("adjusted p = %.2g", c.PAdjusted)
		default:
			c.Verdict = Worse
			if c.Absolute.Estimate > 0 != lower[c.Metric] {
				c.Verdict = Better
			}
			c.Reason = fmt.Sprintf("adjusted p = %.2g, at most %g", c.PAdjusted, o.Alpha)
		}
	}
	return nil
}

// peeking warns of looks that a fixed-horizon verdict does not stand.
func (r *Report) peeking(o Options) error {
	if o.Method != FixedHorizon {
		return nil
	}
	if r.Units < o.Planned {
		r.warn(WarnPeeking, "%d of %d planned units: verdicts are withheld, p-values and intervals before the end mislead", r.Units, o.Planned)
	}
	if o.Looks > 1 {
		level, err := stats.PeekingLevel(o.Alpha, o.Looks)
		if err != nil {
			return invalid("%s", clean(err))
		}
		r.warn(WarnPeeking, "look %d at a fixed-horizon verdict: without any effect the chance that one of so many looks, evenly spaced, finds one is %.2g instead of %g; sequential verdicts stand it", o.Looks, level, o.Alpha)
	}
	if o.Planned == 0 {
		r.warn(WarnUnplanned, "a fixed-horizon verdict holds only at a number of units chosen beforehand, and none was given")
	}
	return nil
}

// segments reports every value of the dimensions asked for. All their comparisons are one family.
func (r *Report) segments(d Data, o Options) error {
	var sizes []int
	for _, dim := range o.Segments {
		rows := map[string][]Row{}
		for _, row := range d.Rows {
			v := row.Segments[dim]
			rows[v] = append(rows[v], row)
		}
		if len(rows) == 1 && rows[""] != nil {
			return invalid("segment %q: no unit has a value", dim)
		}
		for _, v := range slices.Sorted(maps.Keys(rows)) {
			r.Segments = append(r.Segments, Segment{Dimension: dim, Value: v, Units: len(rows[v])})
		}
	}
	var all []Comparison
	for i := range r.Segments {
		s := &r.Segments[i]
		var rows []Row
		for _, row := range d.Rows {
			if row.Segments[s.Dimension] == s.Value {
				rows = append(rows, row)
			}
		}
		// The simultaneous intervals of segments pay for all of them.
		cs, err := r.family(d, rows, o, d.simultaneous(o, len(r.Segments)), s.Dimension+"="+s.Value)
		if err != nil {
			return err
		}
		sizes = append(sizes, len(cs))
		all = append(all, cs...)
	}
	if len(all) == 0 {
		return nil
	}
	if err := r.correct(d.Metrics, o, all); err != nil {
		return err
	}
	for i, n := range sizes {
		r.Segments[i].Comparisons, all = all[:n:n], all[n:]
	}
	r.contradictions()
	return nil
}

// contradictions warns where two segments of a dimension have opposite verdicts.
func (r *Report) contradictions() {
	type key struct{ dimension, metric, variant string }
	seen := map[key]map[Verdict]string{}
	var order []key
	for _, s := range r.Segments {
		for _, c := range s.Comparisons {
			if c.Verdict == Inconclusive {
				continue
			}
			k := key{s.Dimension, c.Metric, c.Variant}
			if seen[k] == nil {
				seen[k] = map[Verdict]string{}
				order = append(order, k)
			}
			if seen[k][c.Verdict] == "" {
				seen[k][c.Verdict] = s.Value
			}
		}
	}
	for _, k := range order {
		if len(seen[k]) == 2 {
			r.Warnings = append(r.Warnings, Warning{WarnContradicted, k.metric, k.variant, k.dimension,
				fmt.Sprintf("better for %q and worse for %q: the figure over all units is a mixture of both", seen[k][Better], seen[k][Worse])})
		}
	}
}
