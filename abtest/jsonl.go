package abtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// ReadOptions say how the rows of a file become units; the zero value takes what the file says.
type ReadOptions struct {
	// Metrics are those to read. Empty takes those that the file declares, or else a mean of everything.
	Metrics []Metric
	// Merge takes several rows of a unit in one variant as observations of that unit; otherwise a unit in two rows is an
	// error.
	Merge bool
	// Unit, Variant and Segments name columns of a CSV file; empty are "unit", "variant" and all named "segment.…".
	Unit, Variant string
	Segments      []string
}

// maxLine bounds one line of JSON: a unit is small.
const maxLine = 16 << 20

// header is the first line of a JSON lines file, if it has one.
type header struct {
	Experiment *Experiment `json:"experiment"`
	Metrics    []Metric    `json:"metrics"`
	Looks      int         `json:"looks"`
}

// ReadJSONL reads one JSON object per line: Data without rows first, if at all, then one Row each.
func ReadJSONL(r io.Reader, o ReadOptions) (Data, error) {
	b, err := newBuilder(o)
	if err != nil {
		return Data{}, err
	}
	in := bufio.NewReaderSize(r, 64<<10)
	first := true
	for line := 1; ; line++ {
		text, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return Data{}, fmt.Errorf("line %d: %w", line, err)
		}
		end := err != nil
		if line == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			if first && isHeader(text) {
				if err := b.header(text); err != nil {
					return Data{}, fmt.Errorf("%w, line %d", err, line)
				}
			} else {
				var row Row
				if err := json.Unmarshal(text, &row); err != nil {
					return Data{}, wrap(ErrFormat, "line %d: %v", line, err)
				}
				if err := b.add(row, line); err != nil {
					return Data{}, err
				}
			}
			first = false
		}
		if end {
			return b.done()
		}
	}
}

func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return nil, wrap(ErrFormat, "more than %d bytes", maxLine)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

func isHeader(text []byte) bool {
	var h struct {
		Experiment, Metrics json.RawMessage
		Unit                *string
	}
	return json.Unmarshal(text, &h) == nil && h.Unit == nil && (h.Experiment != nil || h.Metrics != nil)
}

// WriteJSONL writes what ReadJSONL reads.
func (d Data) WriteJSONL(w io.Writer) error {
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(d); err != nil {
		return err
	}
	for _, r := range d.Rows {
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("unit %q: %w", r.Unit, err)
		}
	}
	return out.Flush()
}

// builder gathers rows as they are read.
type builder struct {
	o     ReadOptions
	d     Data
	at    map[string]int // row of a unit
	lines []int          // of rows
	names map[string]bool
}

func newBuilder(o ReadOptions) (*builder, error) {
	if _, err := index(o.Metrics); err != nil {
		return nil, err
	}
	return &builder{o: o, d: Data{Metrics: o.Metrics}, at: map[string]int{}, names: map[string]bool{}}, nil
}

func (b *builder) header(text []byte) error {
	var h header
	if err := json.Unmarshal(text, &h); err != nil {
		return wrap(ErrFormat, "%v", err)
	}
	if h.Experiment != nil && len(h.Experiment.Variants) > 0 {
		if err := h.Experiment.validate(); err != nil {
			return err
		}
		b.d.Experiment = *h.Experiment
	}
	b.d.Looks = h.Looks
	if len(b.o.Metrics) > 0 {
		return nil
	}
	if _, err := index(h.Metrics); err != nil {
		return err
	}
	// The file's rows go by metric names already.
	for _, m := range h.Metrics {
		m.Column = ""
		b.d.Metrics = append(b.d.Metrics, m)
	}
	return nil
}

// add takes one row; line is where it ends.
func (b *builder) add(r Row, line int) error {
	if r.Unit == "" {
		return wrap(ErrFormat, "line %d: no unit", line)
	}
	if r.Variant == "" {
		return wrap(ErrVariant, "line %d: unit %q has none", line, r.Unit)
	}
	if v := b.d.Experiment.Variants; len(v) > 0 && b.d.Experiment.variant(r.Variant) < 0 {
		return wrap(ErrVariant, "line %d: unit %q has %q, which is none of the experiment's", line, r.Unit, r.Variant)
	}
	if len(b.d.Metrics) > 0 {
		all := r.Values
		r.Values = make(map[string]Value, len(b.d.Metrics))
		for _, m := range b.d.Metrics {
			if v, ok := all[m.column()]; ok {
				if err := v.check(m); err != nil {
					return fmt.Errorf("%w, line %d, unit %q", err, line, r.Unit)
				}
				r.Values[m.Name] = v
				b.names[m.Name] = true
			}
		}
	} else {
		for name, v := range r.Values {
			if err := v.check(Metric{Name: name}); err != nil {
				return fmt.Errorf("%w, line %d, unit %q", err, line, r.Unit)
			}
			b.names[name] = true
		}
	}
	i, ok := b.at[r.Unit]
	if !ok {
		b.at[r.Unit] = len(b.d.Rows)
		b.d.Rows, b.lines = append(b.d.Rows, r), append(b.lines, line)
		return nil
	}
	old := &b.d.Rows[i]
	if !b.o.Merge || old.Variant != r.Variant {
		return duplicate(r.Unit, old.Variant, r.Variant, b.lines[i], line, "line")
	}
	for name, v := range r.Values {
		kind := Mean
		for _, m := range b.d.Metrics {
			if m.Name == name {
				kind = m.Kind
			}
		}
		if before, ok := old.Values[name]; ok {
			v = before.add(v, kind)
		} else if old.Values == nil {
			old.Values = map[string]Value{}
		}
		old.Values[name] = v
	}
	return nil
}

func (b *builder) done() (Data, error) {
	if len(b.d.Rows) == 0 {
		return Data{}, ErrEmpty
	}
	if len(b.d.Metrics) == 0 {
		for _, name := range slices.Sorted(maps.Keys(b.names)) {
			m := Metric{Name: name}
			if err := m.Validate(); err != nil {
				return Data{}, err
			}
			b.d.Metrics = append(b.d.Metrics, m)
		}
		if len(b.d.Metrics) == 0 {
			return Data{}, wrap(ErrFormat, "no row has a metric")
		}
	}
	for _, m := range b.d.Metrics {
		if !b.names[m.Name] {
			return Data{}, wrap(ErrFormat, "no row has a value of metric %q (column %q)", m.Name, m.column())
		}
	}
	return b.d, nil
}
