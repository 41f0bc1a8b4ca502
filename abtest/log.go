package abtest

import (
	"maps"
	"sort"
	"sync"
	"time"
)

// Log is the record of a running experiment: who was exposed to which variant since when, and what was observed of
// them. It is safe for concurrent use. Its Data hold all of it; a Log restored from them goes on as if nothing had
// happened.
type Log struct {
	exp     Experiment
	metrics map[string]Metric
	now     func() time.Time

	mu      sync.RWMutex
	units   map[string]*Row
	changed bool // since the last look
	looks   int
}

// NewLog returns an empty log. now stamps first exposures; nil is time.Now.
func NewLog(e Experiment, metrics []Metric, now func() time.Time) (*Log, error) {
	return RestoreLog(Data{Experiment: e, Metrics: metrics}, now)
}

// RestoreLog returns a log that goes on from d. Its experiment must name its variants; one may have been added since.
func RestoreLog(d Data, now func() time.Time) (*Log, error) {
	if err := d.Experiment.Validate(); err != nil {
		return nil, err
	}
	byName, err := index(d.Metrics)
	if err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	l := &Log{exp: d.Experiment, metrics: byName, now: now, looks: d.Looks, units: make(map[string]*Row, len(d.Rows))}
	if len(d.Rows) == 0 {
		return l, nil
	}
	if d.Metrics == nil { // a log of assignments alone
		d.Metrics = []Metric{{Name: "none"}}
	}
	if _, err := d.resolve(); err != nil {
		return nil, err
	}
	for _, r := range d.Rows {
		l.units[r.Unit] = r.clone()
	}
	return l, nil
}

func (r Row) clone() *Row {
	r.Segments, r.Values = maps.Clone(r.Segments), maps.Clone(r.Values)
	if r.Values == nil {
		r.Values = map[string]Value{}
	}
	return &r
}

// Expose assigns the unit, records its first exposure with the segments it has then, and returns its variant; false
// says that the unit takes no part. A unit that is on record keeps its variant, even when a variant was added since.
func (l *Log) Expose(unit string, segments map[string]string) (variant string, ok bool) {
	l.mu.RLock()
	u := l.units[unit]
	l.mu.RUnlock()
	if u != nil {
		return u.Variant, true
	}
	i, ok := l.exp.assign(unit)
	if !ok {
		return "", false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if u := l.units[unit]; u != nil {
		return u.Variant, true
	}
	l.units[unit] = Row{Unit: unit, Variant: l.exp.Variants[i].Name, At: l.now(), Segments: segments}.clone()
	l.changed = true
	return l.exp.Variants[i].Name, true
}

// Observe adds one observation of an exposed unit: Value.Value, for a ratio also Value.Den. What several observations
// of one unit make is said at Kind.
func (l *Log) Observe(unit, metric string, v Value) error {
	m, ok := l.metrics[metric]
	if !ok {
		return invalid("metric %q is not one of the log's", metric)
	}
	if err := v.check(m); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.units[unit]
	if u == nil {
		return invalid("unit %q was not exposed", unit)
	}
	if old, ok := u.Values[metric]; ok {
		v = old.add(v, m.Kind)
		if err := v.check(m); err != nil {
			return err
		}
	}
	u.Values[metric] = v
	l.changed = true
	return nil
}

// Len returns the number of exposed units.
func (l *Log) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.units)
}

// Data returns a copy of everything, rows in order of their units and metrics in order of their names.
func (l *Log) Data() Data {
	l.mu.RLock()
	defer l.mu.RUnlock()
	d := Data{Experiment: l.exp, Looks: l.looks, Rows: make([]Row, 0, len(l.units))}
	for _, m := range l.metrics {
		d.Metrics = append(d.Metrics, m)
	}
	sort.Slice(d.Metrics, func(i, j int) bool { return d.Metrics[i].Name < d.Metrics[j].Name })
	for _, u := range l.units {
		d.Rows = append(d.Rows, *u.clone())
	}
	byUnit(d.Rows)
	return d
}

// Analyze judges the units so far. The log counts the looks that could have ended the experiment, those at Planned units
// or more after something new, and reports them as Options.Looks.
func (l *Log) Analyze(o Options) (Report, error) {
	l.mu.Lock()
	if len(l.units) >= o.Planned && (l.changed || l.looks == 0) {
		l.looks++
		l.changed = false
	}
	l.mu.Unlock()
	return Analyze(l.Data(), o)
}
