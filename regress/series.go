package regress

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// Series is the history of one benchmark in one unit.
type Series struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit"`
	Higher  bool      `json:"higher,omitempty"`
	Commits []string  `json:"commits"` // oldest first
	Values  []float64 `json:"values"`  // the median of each commit's measurements
}

// ReadHistory reads series whose commits stand in the file from the oldest to the newest. The file is one of
//
//   - CSV with a header: a column commit, optionally time, branch and version, and one column per series
//   - JSON lines: {"commit", "name", "unit", "value" or "values"}, or the object of `krserve bench -json` with "commit"
//   - Go's benchmark format with a configuration line `commit: …` before each commit's results
func ReadHistory(path string) ([]Series, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ParseHistory(data, path)
}

// ParseHistory is ReadHistory for bytes; name is for errors.
func ParseHistory(data []byte, name string) ([]Series, error) {
	h := &histories{index: map[[2]string]int{}}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	trimmed := bytes.TrimLeft(data, " \t\r\n")
	head, _, _ := bytes.Cut(trimmed, []byte("\n"))
	var err error
	switch {
	case len(trimmed) > 0 && trimmed[0] == '{':
		err = h.readLines(data, name)
	case bytes.ContainsAny(head, ",;\t") && !bytes.HasPrefix(head, []byte("Benchmark")):
		err = h.readCSV(data, name)
	default:
		err = h.readGo(data, name)
	}
	if err != nil {
		return nil, err
	}
	if len(h.list) == 0 {
		return nil, fmt.Errorf("%w: %s: no measurements with a commit", ErrInput, name)
	}
	out := make([]Series, len(h.list))
	for i, s := range h.list {
		out[i] = s.Series
		for _, vs := range s.raw {
			out[i].Values = append(out[i].Values, median(vs))
		}
	}
	return out, nil
}

type history struct {
	Series
	raw [][]float64 // per commit
}

type histories struct {
	list  []history
	index map[[2]string]int
}

func (h *histories) add(name, unit string, higher bool, commit string, vs ...float64) {
	key := [2]string{name, unit}
	i, ok := h.index[key]
	if !ok {
		i = len(h.list)
		h.index[key] = i
		h.list = append(h.list, history{Series: Series{Name: name, Unit: unit, Higher: higher}})
	}
	s := &h.list[i]
	if n := len(s.Commits); n == 0 || s.Commits[n-1] != commit {
		s.Commits = append(s.Commits, commit)
		s.raw = append(s.raw, nil)
	}
	s.raw[len(s.raw)-1] = append(s.raw[len(s.raw)-1], vs...)
}

func (h *histories) readCSV(data []byte, name string) error {
	r := csv.NewReader(bytes.NewReader(data))
	r.TrimLeadingSpace = true
	head, err := r.Read()
	if err != nil {
		return fmt.Errorf("%w: %s: %v", ErrInput, name, err)
	}
	commit := slices.Index(head, "commit")
	if commit < 0 {
		return fmt.Errorf("%w: %s:1: no column \"commit\" among the comma-separated %q", ErrInput, name, head)
	}
	for i, column := range head {
		if k := slices.Index(head, column); k < i {
			return fmt.Errorf("%w: %s:1: columns %d and %d are both %q", ErrInput, name, k+1, i+1, column)
		}
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %v", ErrInput, name, err)
		}
		line, _ := r.FieldPos(0)
		if strings.TrimSpace(row[commit]) == "" {
			return fmt.Errorf("%w: %s:%d: no commit", ErrInput, name, line)
		}
		for i, field := range row {
			switch head[i] {
			case "commit", "time", "branch", "version":
				continue
			}
			if strings.TrimSpace(field) == "" {
				continue // not measured
			}
			v, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("%w: %s:%d: column %q: %q is not a finite number", ErrInput, name, line, head[i], field)
			}
			// A unit may follow the name in parentheses or after a space.
			series, unit, _ := strings.Cut(strings.TrimSuffix(head[i], ")"), " ")
			unit = strings.TrimPrefix(unit, "(")
			h.add(series, unit, HigherIsBetter(unit), row[commit], v)
		}
	}
}

func (h *histories) readLines(data []byte, name string) error {
	for i, line := range bytes.Split(data, []byte("\n")) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		at := func(format string, args ...any) error {
			return fmt.Errorf("%w: %s:%d: %s", ErrInput, name, i+1, fmt.Sprintf(format, args...))
		}
		var o struct {
			benchJSON
			Commit string    `json:"commit"`
			Name   string    `json:"name"`
			Unit   string    `json:"unit"`
			Better string    `json:"better"`
			Value  *float64  `json:"value"`
			Values []float64 `json:"values"`
		}
		if err := json.Unmarshal(line, &o); err != nil {
			return at("%v", err)
		}
		if o.Commit == "" {
			return at("no \"commit\"")
		}
		var set samples
		set.addBench(o.benchJSON)
		for _, s := range set.list {
			h.add(s.Name, s.Unit, s.Higher, o.Commit, s.Values...)
		}
		vs := o.Values
		if o.Value != nil {
			vs = append(vs, *o.Value)
		}
		switch {
		case o.Name == "" && len(set.list) == 0:
			return at("neither \"name\" and \"value\" nor the fields of a benchmark")
		case o.Name != "" && len(vs) == 0:
			return at("%q has neither \"value\" nor \"values\"", o.Name)
		case o.Better != "" && o.Better != "higher" && o.Better != "lower":
			return at("\"better\" is %q, neither \"higher\" nor \"lower\"", o.Better)
		case o.Name != "":
			h.add(o.Name, o.Unit, o.Better == "higher" || o.Better == "" && HigherIsBetter(o.Unit), o.Commit, vs...)
		}
	}
	return nil
}

func (h *histories) readGo(data []byte, name string) error {
	var set samples
	return set.readGo(data, name, func(r *benchfmt.Result, series string, v benchfmt.Value, higher bool) error {
		commit := r.GetConfig("commit")
		if commit == "" {
			_, line := r.Pos()
			return fmt.Errorf("%w: %s:%d: %s has no commit; a line `commit: …` goes before each commit's results", ErrInput, name, line, r.Name)
		}
		h.add(series, v.Unit, higher, commit, v.Value)
		return nil
	})
}

// Finding is a series with its changes.
type Finding struct {
	Series
	Changes []Change `json:"changes"`
	// Regressed is the index in Changes of the step that made the series worse and that no later one has undone; −1 none.
	Regressed int `json:"regressed"`
}

// Worse reports whether a change of the series is for the worse.
func (s Series) Worse(c Change) bool { return (c.After > c.Before) != s.Higher && c.After != c.Before }

// Range names the commits of which one made a change.
func (s Series) Range(c Change) (first, last string) { return s.Commits[c.First], s.Commits[c.Last] }

// History looks for changes in all series. The promised rate of false alarms holds for all of them together.
func History(series []Series, o HistoryOptions) ([]Finding, error) {
	if o.Series == 0 {
		o.Series = max(1, len(series))
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	out := make([]Finding, len(series))
	for i, s := range series {
		f := Finding{Series: s, Changes: Detect(s.Values, o), Regressed: -1}
		// The latest step for the worse stands, unless the level has since come back.
		for k, c := range f.Changes {
			if c.Kind != Step || c.Passing {
				continue
			}
			if s.Worse(c) {
				f.Regressed = k
			} else if f.Regressed >= 0 && !s.Worse(Change{Before: f.Changes[f.Regressed].Before, After: c.After}) {
				f.Regressed = -1
			}
		}
		out[i] = f
	}
	return out, nil
}
