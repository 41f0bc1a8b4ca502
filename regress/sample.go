package regress

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// Sample is every measurement of one benchmark in one unit.
type Sample struct {
	Name   string    `json:"name"`             // without "Benchmark"
	Unit   string    `json:"unit"`             // base units: sec/op, B/op, tok/s
	Higher bool      `json:"higher,omitempty"` // larger values are better
	Values []float64 `json:"values"`
}

// HigherIsBetter guesses a unit's direction as Go's benchmarks use it: rates are better high, all else low.
func HigherIsBetter(unit string) bool {
	return strings.HasSuffix(unit, "/s") || strings.HasSuffix(unit, "/sec")
}

// ReadFile reads measurements in Go's benchmark format or as `krserve bench -json` writes them; the first byte tells.
func ReadFile(path string) ([]Sample, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(data, path)
}

// Parse is ReadFile for bytes; name is for errors.
func Parse(data []byte, name string) ([]Sample, error) {
	var set samples
	var err error
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		err = set.readJSON(trimmed, name)
	} else {
		err = set.readGo(data, name, nil)
	}
	if err == nil && len(set.list) == 0 {
		err = fmt.Errorf("%w: %s: no benchmark results among %d lines; want those of go test -bench or of krserve bench -json",
			ErrInput, name, bytes.Count(data, []byte("\n")))
	}
	if err != nil {
		return nil, err
	}
	return set.list, nil
}

// samples collects values by name and unit, in order of appearance.
type samples struct {
	list  []Sample
	index map[[2]string]int
}

func (s *samples) add(name, unit string, higher bool, v float64) {
	if s.index == nil {
		s.index = map[[2]string]int{}
	}
	key := [2]string{name, unit}
	i, ok := s.index[key]
	if !ok {
		i = len(s.list)
		s.index[key] = i
		s.list = append(s.list, Sample{Name: name, Unit: unit, Higher: higher})
	}
	s.list[i].Values = append(s.list[i].Values, v)
}

// readGo reads Go's benchmark format. each, if given, sees every result in place of the collection. A benchmark that more
// than one package has bears its package's name.
func (s *samples) readGo(data []byte, name string, each func(r *benchfmt.Result, series string, v benchfmt.Value, higher bool) error) error {
	packages := map[string]string{} // by benchmark; "*" are several
	for rd := benchfmt.NewReader(bytes.NewReader(data), name); rd.Scan(); {
		if r, ok := rd.Result().(*benchfmt.Result); ok {
			if p, seen := packages[string(r.Name)]; !seen {
				packages[string(r.Name)] = r.GetConfig("pkg")
			} else if p != r.GetConfig("pkg") {
				packages[string(r.Name)] = "*"
			}
		}
	}
	rd := benchfmt.NewReader(bytes.NewReader(data), name)
	for rd.Scan() {
		switch r := rd.Result().(type) {
		case *benchfmt.SyntaxError:
			return fmt.Errorf("%w: %s", ErrInput, r.Error())
		case *benchfmt.Result:
			series := string(r.Name)
			if p := r.GetConfig("pkg"); packages[series] == "*" && p != "" {
				series = p + "." + series
			}
			for _, v := range r.Values {
				higher := HigherIsBetter(v.Unit)
				if m := rd.Units()[benchfmt.UnitMetadataKey{Unit: v.Unit, Key: "better"}]; m != nil {
					higher = m.Value == "higher"
				}
				if math.IsNaN(v.Value) || math.IsInf(v.Value, 0) {
					_, line := r.Pos()
					return fmt.Errorf("%w: %s:%d: %s has the value %g %s", ErrInput, name, line, r.Name, v.Value, v.Unit)
				}
				if each != nil {
					if err := each(r, series, v, higher); err != nil {
						return err
					}
					continue
				}
				s.add(series, v.Unit, higher, v.Value)
			}
		}
	}
	return rd.Err()
}

// benchJSON is the part of `krserve bench -json` and `krserve bench tokenizer -json` that holds measurements.
type benchJSON struct {
	Model   string   `json:"model"`
	Prefill *float64 `json:"prefill_tok_s"`
	Decode  *float64 `json:"decode_tok_s"`
	TTFT    *float64 `json:"ttft_ms"`
	Reps    []struct {
		Prefill float64 `json:"prefill_tok_s"`
		Decode  float64 `json:"decode_tok_s"`
		TTFT    float64 `json:"ttft_ms"`
	} `json:"reps"`
	Parallel []struct {
		N       int     `json:"n"`
		Prefill float64 `json:"prefill_tok_s"`
		Decode  float64 `json:"decode_tok_s"`
		Total   float64 `json:"total_tok_s"`
		Reps    []struct {
			Prefill float64 `json:"prefill_tok_s"`
			Decode  float64 `json:"decode_tok_s"`
			Total   float64 `json:"total_tok_s"`
		} `json:"reps"`
	} `json:"parallel"`
	Load *float64 `json:"load_ms"`
	Cold *float64 `json:"cold_mb_s"`
	Warm *float64 `json:"warm_mb_s"`
}

// readJSON reads one or more JSON objects.
func (s *samples) readJSON(data []byte, name string) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	for {
		var b benchJSON
		switch err := dec.Decode(&b); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%w: %s: JSON before byte %d: %v", ErrInput, name, dec.InputOffset(), err)
		}
		s.addBench(b)
	}
}

func (s *samples) addBench(b benchJSON) {
	prefix := ""
	if b.Model != "" {
		base := filepath.Base(filepath.ToSlash(b.Model))
		prefix = strings.ReplaceAll(strings.TrimSuffix(base, filepath.Ext(base)), " ", "_") + "/"
	}
	single := func(name, unit string, higher bool, v *float64, scale float64) {
		if v != nil {
			s.add(prefix+name, unit, higher, *v*scale)
		}
	}
	if len(b.Reps) == 0 {
		single("prefill", "tok/s", true, b.Prefill, 1)
		single("decode", "tok/s", true, b.Decode, 1)
		single("first_token", "sec", false, b.TTFT, 1e-3)
	}
	for _, r := range b.Reps {
		s.add(prefix+"prefill", "tok/s", true, r.Prefill)
		s.add(prefix+"decode", "tok/s", true, r.Decode)
		s.add(prefix+"first_token", "sec", false, r.TTFT*1e-3)
	}
	for _, p := range b.Parallel {
		name := fmt.Sprintf("%sparallel=%d/", prefix, p.N)
		if len(p.Reps) == 0 {
			s.add(name+"prefill", "tok/s", true, p.Prefill)
			s.add(name+"decode", "tok/s", true, p.Decode)
			s.add(name+"total", "tok/s", true, p.Total)
		}
		for _, r := range p.Reps {
			s.add(name+"prefill", "tok/s", true, r.Prefill)
			s.add(name+"decode", "tok/s", true, r.Decode)
			s.add(name+"total", "tok/s", true, r.Total)
		}
	}
	single("tokenizer/load", "sec", false, b.Load, 1e-3)
	single("tokenizer/cold", "B/s", true, b.Cold, 1e6)
	single("tokenizer/warm", "B/s", true, b.Warm, 1e6)
}

// WriteGo writes samples in Go's benchmark format, which benchstat reads: one line per measurement.
func WriteGo(w io.Writer, list []Sample) error {
	out := benchfmt.NewWriter(w)
	for _, s := range list {
		if s.Higher != HigherIsBetter(s.Unit) {
			better := "lower"
			if s.Higher {
				better = "higher"
			}
			m := &benchfmt.UnitMetadata{UnitMetadataKey: benchfmt.UnitMetadataKey{Unit: s.Unit, Key: "better"}, OrigUnit: s.Unit, Value: better}
			if err := out.Write(m); err != nil {
				return err
			}
		}
		for _, v := range s.Values {
			r := &benchfmt.Result{Name: benchfmt.Name(s.Name), Iters: 1, Values: []benchfmt.Value{{Value: v, Unit: s.Unit}}}
			if err := out.Write(r); err != nil {
				return err
			}
		}
	}
	return nil
}
