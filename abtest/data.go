package abtest

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"
)

// Value is what one unit contributes to one metric. In JSON a plain number is a Value too.
type Value struct {
	Value float64  `json:"value"`         // the numerator of a ratio
	Den   float64  `json:"den,omitempty"` // the denominator of a ratio
	Pre   *float64 `json:"pre,omitempty"` // the unit's value from before the experiment, for CUPED
	N     int      `json:"n,omitempty"`   // observations in it; 0 is 1
}

// MarshalJSON writes a plain number where nothing else is known.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.Den == 0 && v.Pre == nil && v.N == 0 {
		return json.Marshal(v.Value)
	}
	type plain Value
	return json.Marshal(plain(v))
}

// UnmarshalJSON reads what MarshalJSON writes.
func (v *Value) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		type plain Value
		return json.Unmarshal(b, (*plain)(v))
	}
	*v = Value{}
	return json.Unmarshal(b, &v.Value)
}

// add merges another observation of the same unit, by the rule of the metric's kind.
func (v Value) add(w Value, k Kind) Value {
	a, b := float64(max(v.N, 1)), float64(max(w.N, 1))
	out := Value{Value: v.Value + w.Value, Den: v.Den + w.Den, Pre: v.Pre, N: max(v.N, 1) + max(w.N, 1)}
	switch k {
	case Proportion:
		out.Value = math.Max(v.Value, w.Value)
	case Quantile:
		out.Value = v.Value*(a/(a+b)) + w.Value*(b/(a+b))
	}
	if w.Pre != nil {
		out.Pre = w.Pre
	}
	return out
}

func finite(xs ...float64) bool {
	for _, x := range xs {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return false
		}
	}
	return true
}

// check refuses what the kind cannot hold.
func (v Value) check(m Metric) error {
	if !finite(v.Value, v.Den) || v.Pre != nil && !finite(*v.Pre) {
		return wrap(ErrValue, "metric %q: a number that is not finite", m.Name)
	}
	if m.Kind == Proportion && v.Value != 0 && v.Value != 1 {
		return wrap(ErrValue, "metric %q: %g where a proportion wants 0 or 1", m.Name, v.Value)
	}
	if v.N < 0 || v.N > math.MaxInt32 {
		return wrap(ErrValue, "metric %q: %d observations", m.Name, v.N)
	}
	return nil
}

// Row is one unit with everything known about it.
type Row struct {
	Unit     string            `json:"unit"`
	Variant  string            `json:"variant"`
	At       time.Time         `json:"at,omitzero"` // first exposure
	Segments map[string]string `json:"segments,omitempty"`
	Values   map[string]Value  `json:"metrics,omitempty"` // by the metric's name
}

// Data are an experiment's units and what is needed to judge them. ReadCSV, ReadJSONL and Log.Data return it.
type Data struct {
	// Experiment names the variants, the control first, and their weights. Without variants those of the rows are taken
	// with equal weights; the control is then the one named "control", or that of the first row.
	Experiment Experiment `json:"experiment"`
	Metrics    []Metric   `json:"metrics"`
	Looks      int        `json:"looks,omitempty"` // verdicts asked of a Log so far; Options.Looks takes it up
	Rows       []Row      `json:"-"`
}

// resolve fills in the variants and checks everything but the number of units.
func (d Data) resolve() (Data, error) {
	if len(d.Rows) == 0 {
		return d, ErrEmpty
	}
	if len(d.Metrics) == 0 {
		return d, invalid("no metrics")
	}
	metrics, err := index(d.Metrics)
	if err != nil {
		return d, err
	}
	if len(d.Experiment.Variants) == 0 {
		for _, r := range d.Rows {
			if r.Variant == "" {
				return d, wrap(ErrVariant, "unit %q has none", r.Unit)
			}
			if d.Experiment.variant(r.Variant) < 0 {
				d.Experiment.Variants = append(slices.Clip(d.Experiment.Variants), Variant{Name: r.Variant})
			}
		}
		if i := d.Experiment.variant("control"); i > 0 {
			v := d.Experiment.Variants
			d.Experiment.Variants = slices.Concat(v[i:i+1], v[:i], v[i+1:])
		}
	}
	if len(d.Experiment.Variants) < 2 {
		return d, wrap(ErrTooFew, "variant %q is alone, there is nothing to compare it with", d.Experiment.Variants[0].Name)
	}
	if err := d.Experiment.validate(); err != nil {
		return d, err
	}
	seen := make(map[string]int, len(d.Rows))
	for i, r := range d.Rows {
		if d.Experiment.variant(r.Variant) < 0 {
			return d, wrap(ErrVariant, "unit %q has %q, which is none of the experiment's", r.Unit, r.Variant)
		}
		if j, ok := seen[r.Unit]; ok {
			return d, duplicate(r.Unit, d.Rows[j].Variant, r.Variant, j+1, i+1, "row")
		}
		seen[r.Unit] = i
		for name, v := range r.Values {
			m, ok := metrics[name]
			if !ok {
				continue
			}
			if err := v.check(m); err != nil {
				return d, fmt.Errorf("%w, unit %q", err, r.Unit)
			}
		}
	}
	d.Metrics = slices.Clone(d.Metrics)
	for i, m := range d.Metrics {
		d.Metrics[i] = m.withDefaults()
	}
	return d, nil
}

func duplicate(unit, old, now string, at, again int, what string) error {
	if old == now {
		return wrap(ErrDuplicate, "unit %q in %s %d and again in %s %d", unit, what, at, what, again)
	}
	return wrap(ErrDuplicate, "unit %q has variant %q in %s %d and %q in %s %d; leave units out that saw both", unit, old, what, at, now, what, again)
}

func (e Experiment) variant(name string) int {
	return slices.IndexFunc(e.Variants, func(v Variant) bool { return v.Name == name })
}

func index(metrics []Metric) (map[string]Metric, error) {
	byName := map[string]Metric{}
	for _, m := range metrics {
		if err := m.Validate(); err != nil {
			return nil, err
		}
		if _, ok := byName[m.Name]; ok {
			return nil, invalid("metric %q occurs twice", m.Name)
		}
		byName[m.Name] = m.withDefaults()
	}
	return byName, nil
}

// byUnit sorts rows, so that what is written does not depend on the order of a map.
func byUnit(rows []Row) {
	sort.Slice(rows, func(i, j int) bool { return rows[i].Unit < rows[j].Unit })
}
