package abtest

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Names of CSV columns: a metric's own carries its form for ParseMetric.
const (
	unitColumn    = "unit"
	variantColumn = "variant"
	atColumn      = "at"
	segmentPrefix = "segment."
	denSuffix     = ".den" // of a ratio's denominator
	preSuffix     = ".pre" // of a value from before the experiment
)

// ReadCSV reads a table with one row per unit: columns unit, variant, at (RFC 3339; may be missing), segment.NAME, and
// for each metric its form for ParseMetric, with NAME.den and NAME.pre beside where it has them. An empty cell is a
// missing value.
func ReadCSV(r io.Reader, o ReadOptions) (Data, error) {
	in := bufio.NewReader(r)
	if bom, err := in.Peek(3); err == nil && string(bom) == "\ufeff" {
		if _, err := in.Discard(3); err != nil {
			return Data{}, err
		}
	}
	c := csv.NewReader(in)
	c.ReuseRecord = true
	head, err := c.Read()
	if errors.Is(err, io.EOF) {
		return Data{}, ErrEmpty
	}
	if err != nil {
		return Data{}, wrap(ErrFormat, "%v", err)
	}
	t, err := newTable(slices.Clone(head), &o)
	if err != nil {
		return Data{}, err
	}
	b, err := newBuilder(o)
	if err != nil {
		return Data{}, err
	}
	for {
		cells, err := c.Read()
		if errors.Is(err, io.EOF) {
			return b.done()
		}
		if err != nil {
			return Data{}, wrap(ErrFormat, "%v", err)
		}
		line, _ := c.FieldPos(0)
		row, err := t.row(cells)
		if err != nil {
			return Data{}, fmt.Errorf("%w, line %d", err, line)
		}
		if err := b.add(row, line); err != nil {
			return Data{}, err
		}
	}
}

// table is the meaning of a CSV file's columns.
type table struct {
	unit, variant, at int
	segments          map[string]int
	values            []valueColumns
}

type valueColumns struct {
	name            string // of the column
	value, den, pre int
	ratio           bool
}

func newTable(head []string, o *ReadOptions) (*table, error) {
	column := map[string]int{} // by the name before a colon
	var declared []Metric
	unit, variant := o.Unit, o.Variant
	if unit == "" {
		unit = unitColumn
	}
	if variant == "" {
		variant = variantColumn
	}
	t := &table{at: -1, segments: map[string]int{}}
	segment := func(name string) bool {
		return slices.Contains(o.Segments, name) || slices.Contains(o.Segments, strings.TrimPrefix(name, segmentPrefix))
	}
	for i, h := range head {
		h = strings.TrimSpace(h)
		name, _, form := strings.Cut(h, ":")
		if _, ok := column[name]; ok {
			return nil, wrap(ErrFormat, "line 1: column %q occurs twice", name)
		}
		column[name] = i
		switch {
		case name == unit || name == variant:
		case name == atColumn && !form:
			t.at = i
		case segment(name) || len(o.Segments) == 0 && strings.HasPrefix(name, segmentPrefix):
			t.segments[strings.TrimPrefix(name, segmentPrefix)] = i
		case strings.HasPrefix(name, segmentPrefix) || strings.HasSuffix(name, denSuffix) || strings.HasSuffix(name, preSuffix):
		case len(o.Metrics) == 0:
			m, err := ParseMetric(h)
			if err != nil {
				return nil, fmt.Errorf("%w, line 1, column %d", err, i+1)
			}
			declared = append(declared, m)
		}
	}
	for _, s := range o.Segments {
		if _, ok := t.segments[strings.TrimPrefix(s, segmentPrefix)]; !ok {
			return nil, wrap(ErrFormat, "line 1: no column %q or %q", s, segmentPrefix+s)
		}
	}
	var ok bool
	if t.unit, ok = column[unit]; !ok {
		return nil, wrap(ErrFormat, "line 1: no column %q", unit)
	}
	if t.variant, ok = column[variant]; !ok {
		return nil, wrap(ErrFormat, "line 1: no column %q", variant)
	}
	if len(o.Metrics) == 0 {
		o.Metrics = declared
	}
	if len(o.Metrics) == 0 {
		return nil, wrap(ErrFormat, "line 1: no column of a metric")
	}
	for _, m := range o.Metrics {
		c := valueColumns{name: m.column(), den: -1, pre: -1, ratio: m.Kind == Ratio}
		if c.value, ok = column[c.name]; !ok {
			return nil, wrap(ErrFormat, "line 1: no column %q for metric %q", c.name, m.Name)
		}
		if i, ok := column[c.name+denSuffix]; ok {
			c.den = i
		} else if c.ratio {
			return nil, wrap(ErrFormat, "line 1: no column %q for the ratio %q", c.name+denSuffix, m.Name)
		}
		if i, ok := column[c.name+preSuffix]; ok {
			c.pre = i
		} else if m.CUPED {
			return nil, wrap(ErrFormat, "line 1: no column %q for CUPED of %q", c.name+preSuffix, m.Name)
		}
		t.values = append(t.values, c)
	}
	return t, nil
}

func (t *table) row(cells []string) (Row, error) {
	r := Row{Unit: cells[t.unit], Variant: cells[t.variant], Values: map[string]Value{}}
	if t.at >= 0 && cells[t.at] != "" {
		at, err := time.Parse(time.RFC3339Nano, cells[t.at])
		if err != nil {
			return r, wrap(ErrFormat, "column %q: %q is not a time as in RFC 3339", atColumn, cells[t.at])
		}
		r.At = at
	}
	for name, i := range t.segments {
		if cells[i] != "" {
			if r.Segments == nil {
				r.Segments = map[string]string{}
			}
			r.Segments[name] = cells[i]
		}
	}
	for _, c := range t.values {
		if cells[c.value] == "" {
			continue
		}
		var v Value
		var err error
		if v.Value, err = number(cells[c.value], c.name); err != nil {
			return r, err
		}
		if c.den >= 0 {
			if cells[c.den] == "" && c.ratio {
				return r, wrap(ErrValue, "column %q is empty beside a numerator", c.name+denSuffix)
			} else if cells[c.den] != "" {
				if v.Den, err = number(cells[c.den], c.name+denSuffix); err != nil {
					return r, err
				}
			}
		}
		if c.pre >= 0 && cells[c.pre] != "" {
			pre, err := number(cells[c.pre], c.name+preSuffix)
			if err != nil {
				return r, err
			}
			v.Pre = &pre
		}
		r.Values[c.name] = v
	}
	return r, nil
}

func number(cell, column string) (float64, error) {
	switch s := strings.TrimSpace(cell); strings.ToLower(s) {
	case "true":
		return 1, nil
	case "false":
		return 0, nil
	default:
		x, err := strconv.ParseFloat(s, 64)
		if err != nil || !finite(x) {
			return 0, wrap(ErrValue, "column %q: %q is not a finite number", column, cell)
		}
		return x, nil
	}
}

// WriteCSV writes what ReadCSV reads. The experiment's weights and Value.N have no place in it: WriteJSONL keeps them.
func (d Data) WriteCSV(w io.Writer) error {
	segments, at := map[string]bool{}, false
	den, pre := map[string]bool{}, map[string]bool{}
	for _, r := range d.Rows {
		at = at || !r.At.IsZero()
		for s := range r.Segments {
			segments[s] = true
		}
		for name, v := range r.Values {
			den[name] = den[name] || v.Den != 0
			pre[name] = pre[name] || v.Pre != nil
		}
	}
	names := slices.Sorted(maps.Keys(segments))
	head := []string{unitColumn, variantColumn}
	if at {
		head = append(head, atColumn)
	}
	for _, s := range names {
		head = append(head, segmentPrefix+s)
	}
	for _, m := range d.Metrics {
		m.Column = ""
		head = append(head, m.String())
		if den[m.Name] || m.Kind == Ratio {
			head = append(head, m.Name+denSuffix)
		}
		if pre[m.Name] || m.CUPED {
			head = append(head, m.Name+preSuffix)
		}
	}
	out := csv.NewWriter(w)
	if err := out.Write(head); err != nil {
		return err
	}
	format := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
	for _, r := range d.Rows {
		cells := append(make([]string, 0, len(head)), r.Unit, r.Variant)
		if at {
			cell := ""
			if !r.At.IsZero() {
				cell = r.At.Format(time.RFC3339Nano)
			}
			cells = append(cells, cell)
		}
		for _, s := range names {
			cells = append(cells, r.Segments[s])
		}
		for _, m := range d.Metrics {
			v, ok := r.Values[m.Name]
			value, d, p := "", "", ""
			if ok {
				value, d = format(v.Value), format(v.Den)
			}
			if v.Pre != nil {
				p = format(*v.Pre)
			}
			cells = append(cells, value)
			if den[m.Name] || m.Kind == Ratio {
				cells = append(cells, d)
			}
			if pre[m.Name] || m.CUPED {
				cells = append(cells, p)
			}
		}
		if err := out.Write(cells); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
