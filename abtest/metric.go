package abtest

import (
	"math"
	"strconv"
	"strings"
)

// Kind says how the values of a metric become one figure per variant.
type Kind string

const (
	Mean       Kind = "mean"       // mean over units of the sum of the unit's values; the zero Kind
	Proportion Kind = "proportion" // share of units with any value of 1; values are 0 or 1
	Ratio      Kind = "ratio"      // sum of numerators over sum of denominators, over all units
	Quantile   Kind = "quantile"   // quantile over units of the mean of the unit's values
)

// Metric is one measured quantity. Units of measurement are the caller's; results come in the same.
type Metric struct {
	Name     string  `json:"name"`
	Kind     Kind    `json:"kind,omitempty"`
	Quantile float64 `json:"quantile,omitempty"` // of Kind Quantile, between 0 and 1; 0 is 0.95
	// Column names the column, or the entry of a row's metrics, that holds the values; empty is Name.
	Column string `json:"column,omitempty"`
	// LowerIsBetter turns the verdict round: latencies, error rates.
	LowerIsBetter bool `json:"lower_is_better,omitempty"`
	// CUPED reduces variance by each unit's value from before the experiment, Value.Pre (Deng, Xu, Kohavi, Walker, WSDM
	// 2013). For Mean and Proportion.
	CUPED bool `json:"cuped,omitempty"`
	// MissingIsZero counts exposed units without a value as 0, as fits what a unit does or leaves; otherwise they take no
	// part. Not for Ratio and Quantile.
	MissingIsZero bool `json:"missing_is_zero,omitempty"`
}

// Validate names the first field that is out of range.
func (m Metric) Validate() error {
	for _, name := range []string{m.Name, m.column()} {
		if name == "" {
			return invalid("Metric.Name is empty")
		}
		if strings.ContainsAny(name, ":=") || strings.HasSuffix(name, denSuffix) || strings.HasSuffix(name, preSuffix) {
			return invalid("metric %q: a name holds no : and =, and does not end in %s or %s", name, denSuffix, preSuffix)
		}
	}
	switch m.Kind {
	case "", Mean, Proportion, Ratio, Quantile:
	default:
		return invalid("metric %q: Kind %q is none of mean, proportion, ratio, quantile", m.Name, m.Kind)
	}
	if m.Quantile != 0 && !(m.Quantile > 0 && m.Quantile < 1) {
		return invalid("metric %q: Quantile is %g, not between 0 and 1", m.Name, m.Quantile)
	}
	if m.CUPED && (m.Kind == Ratio || m.Kind == Quantile) {
		return invalid("metric %q: CUPED is for mean and proportion, not %s", m.Name, m.Kind)
	}
	if m.MissingIsZero && (m.Kind == Ratio || m.Kind == Quantile) {
		return invalid("metric %q: MissingIsZero is for mean and proportion, not %s", m.Name, m.Kind)
	}
	return nil
}

func (m Metric) column() string {
	if m.Column == "" {
		return m.Name
	}
	return m.Column
}

func (m Metric) withDefaults() Metric {
	if m.Kind == "" {
		m.Kind = Mean
	}
	if m.Quantile == 0 {
		m.Quantile = 0.95
	}
	return m
}

// ParseMetric reads the form of command lines and CSV headers: [NAME=]COLUMN[:KIND][:lower][:cuped][:zero], where KIND
// is mean, proportion, ratio, or p and a percentage (p50, p99.9). Without KIND the metric is a mean; zero is
// MissingIsZero.
func ParseMetric(s string) (Metric, error) {
	parts := strings.Split(s, ":")
	m := Metric{Name: strings.TrimSpace(parts[0])}
	if name, column, ok := strings.Cut(m.Name, "="); ok {
		if m.Name, m.Column = strings.TrimSpace(name), strings.TrimSpace(column); m.Column == "" {
			return Metric{}, invalid("metric %q: no column behind =", s)
		}
	}
	for _, p := range parts[1:] {
		switch p = strings.TrimSpace(p); {
		case p == "lower":
			m.LowerIsBetter = true
		case p == "cuped":
			m.CUPED = true
		case p == "zero":
			m.MissingIsZero = true
		case m.Kind != "":
			return Metric{}, invalid("metric %q: %q where lower, cuped or zero is wanted", s, p)
		case p == string(Mean) || p == string(Proportion) || p == string(Ratio):
			m.Kind = Kind(p)
		case strings.HasPrefix(p, "p"):
			q, err := strconv.ParseFloat(p[1:], 64)
			if err != nil || !(q > 0 && q < 100) {
				return Metric{}, invalid("metric %q: kind %q is none of mean, proportion, ratio, p50, p95, …", s, p)
			}
			// Through decimal text, so that p95 is 0.95 to the last bit.
			q, _ = strconv.ParseFloat(p[1:]+"e-2", 64)
			m.Kind, m.Quantile = Quantile, q
		default:
			return Metric{}, invalid("metric %q: kind %q is none of mean, proportion, ratio, p50, p95, …", s, p)
		}
	}
	return m, m.Validate()
}

// String is the form that ParseMetric reads.
func (m Metric) String() string {
	m = m.withDefaults()
	s := m.Name
	if m.column() != m.Name {
		s += "=" + m.Column
	}
	if m.Kind == Quantile {
		s += ":p" + strconv.FormatFloat(math.Round(m.Quantile*1e12)/1e10, 'f', -1, 64)
	} else {
		s += ":" + string(m.Kind)
	}
	if m.LowerIsBetter {
		s += ":lower"
	}
	if m.CUPED {
		s += ":cuped"
	}
	if m.MissingIsZero {
		s += ":zero"
	}
	return s
}
