package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/krserve/krserve/abtest"
)

func runABTest(ctx context.Context, c *call) error {
	return c.dispatch(ctx, verb{"analyze", "[flags] FILE", runABAnalyze}, verb{"power", "[flags]", runABPower})
}

// list is a flag that may be repeated or hold several values, with commas between them.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }
func (l *list) Set(s string) error {
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			return errors.New("an empty value")
		}
		*l = append(*l, part)
	}
	return nil
}

func runABAnalyze(_ context.Context, c *call) error {
	var metrics, segments, weights list
	var o abtest.Options
	var in abtest.ReadOptions
	fs := c.flags
	fs.Var(&metrics, "metric", "[NAME=]COLUMN[:mean|proportion|ratio|pNN][:lower][:cuped][:zero]; repeatable (default: what the file declares)")
	fs.Var(&segments, "segment", "dimension to report apart; repeatable")
	fs.Var(&weights, "weights", "VARIANT=WEIGHT, the control first; repeatable (default: all equal)")
	control := fs.String("control", "", "the variant to compare with (default: control, or the first)")
	method := fs.String("method", "sequential", "sequential: verdicts hold at any look; fixed: at one look")
	correction := fs.String("correction", "holm", "holm, bh or none")
	fs.Float64Var(&o.Alpha, "alpha", 0.05, "level of the verdicts")
	fs.Float64Var(&o.Tuned, "tuned", 5000, "units at which sequential intervals are tightest")
	fs.IntVar(&o.Planned, "planned", 0, "units planned for a fixed verdict")
	fs.IntVar(&o.Looks, "looks", 0, "looks at a fixed verdict so far, with this one")
	fs.BoolVar(&in.Merge, "merge", false, "several rows of a unit are observations of it")
	fs.StringVar(&in.Unit, "unit", "unit", "column of units (CSV)")
	fs.StringVar(&in.Variant, "variant", "variant", "column of variants (CSV)")
	format := fs.String("format", "", "csv or jsonl (default: by the file's name, or its first byte)")
	asJSON := fs.Bool("json", false, "print the report as JSON")
	html := fs.String("html", "", "write the report to this file as HTML")
	files, err := c.parse("abtest analyze [flags] FILE (- is standard input)")
	if err != nil {
		return err
	}
	if len(files) != 1 {
		return usage("want one FILE, got %d", len(files))
	}
	o.Method, o.Correction, o.Segments = abtest.Method(*method), abtest.Correction(*correction), segments
	if o.Alpha == 0 || o.Tuned == 0 {
		return usage("-alpha and -tuned are positive")
	}
	if err := o.Validate(); err != nil {
		return usage("%s", abText(err))
	}
	if *format != "" && *format != "csv" && *format != "jsonl" {
		return usage("-format %q is neither csv nor jsonl", *format)
	}
	in.Segments = segments
	for _, text := range metrics {
		m, err := abtest.ParseMetric(text)
		if err != nil {
			return usage("-metric: %s", abText(err))
		}
		in.Metrics = append(in.Metrics, m)
	}
	variants, err := abWeights(weights)
	if err != nil {
		return err
	}
	d, err := abRead(c.stdin, files[0], *format, in)
	if err != nil {
		return err
	}
	if len(variants) > 0 {
		d.Experiment.Variants = variants
	}
	if *control != "" {
		if d.Experiment.Variants, err = controlFirst(d, *control); err != nil {
			return fmt.Errorf("%s: %s", files[0], abText(err))
		}
	}
	r, err := abtest.Analyze(d, o)
	if err != nil {
		return fmt.Errorf("%s: %s", files[0], abText(err))
	}
	if *html != "" {
		if err := writeFile(*html, r.WriteHTML); err != nil {
			return err
		}
	}
	if *asJSON {
		return abPrint(c.stdout, r)
	}
	return r.WriteText(c.stdout)
}

func abPrint(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// abText is an error without the package's name, which the command's stands for.
func abText(err error) string { return strings.TrimPrefix(err.Error(), "abtest: ") }

func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	if err := errors.Join(write(w), w.Flush()); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

func abWeights(weights []string) ([]abtest.Variant, error) {
	var out []abtest.Variant
	for _, w := range weights {
		name, text, ok := strings.Cut(w, "=")
		x, err := strconv.ParseFloat(text, 64)
		if !ok || name == "" || err != nil || !(x > 0) {
			return nil, usage("-weights: %q is not VARIANT=WEIGHT", w)
		}
		out = append(out, abtest.Variant{Name: name, Weight: x})
	}
	return out, nil
}

func abRead(stdin io.Reader, file, format string, o abtest.ReadOptions) (abtest.Data, error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return abtest.Data{}, err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return abtest.Data{}, &fs.PathError{Op: "read", Path: file, Err: errors.New("is a directory")}
		}
		in = f
	}
	r := bufio.NewReader(in)
	if format == "" {
		switch filepath.Ext(file) {
		case ".csv":
			format = "csv"
		case ".jsonl", ".ndjson":
			format = "jsonl"
		default:
			format = "csv"
			if head, _ := r.Peek(512); strings.HasPrefix(strings.TrimLeft(strings.TrimPrefix(string(head), "\ufeff"), " \r\n\t"), "{") {
				format = "jsonl"
			}
		}
	}
	read := abtest.ReadCSV
	if format == "jsonl" {
		read = abtest.ReadJSONL
	}
	d, err := read(r, o)
	if err != nil {
		return abtest.Data{}, fmt.Errorf("%s: %s", file, abText(err))
	}
	return d, nil
}

// controlFirst lists the variants with the control first.
func controlFirst(d abtest.Data, control string) ([]abtest.Variant, error) {
	variants := d.Experiment.Variants
	if len(variants) == 0 {
		seen := map[string]bool{}
		for _, r := range d.Rows {
			if !seen[r.Variant] {
				seen[r.Variant] = true
				variants = append(variants, abtest.Variant{Name: r.Variant})
			}
		}
	}
	out := []abtest.Variant{{Name: control}}
	found := false
	for _, v := range variants {
		if v.Name == control {
			out[0], found = v, true
		} else {
			out = append(out, v)
		}
	}
	if !found {
		return nil, fmt.Errorf("%w: -control %q", abtest.ErrVariant, control)
	}
	return out, nil
}

func runABPower(_ context.Context, c *call) error {
	var p abtest.Plan
	fs := c.flags
	kind := fs.String("kind", "mean", "mean, proportion, ratio or quantile")
	fs.Float64Var(&p.Baseline, "baseline", 0, "the control's value")
	fs.Float64Var(&p.SD, "sd", 0, "standard deviation of one unit (not for proportions)")
	fs.Float64Var(&p.Effect, "effect", 0, "difference to find, in the metric's units")
	fs.BoolVar(&p.Relative, "relative", false, "-effect is relative to -baseline: 0.05 is 5 %")
	fs.Float64Var(&p.Alpha, "alpha", 0.05, "level of the verdict")
	fs.Float64Var(&p.Power, "power", 0.8, "wanted chance to find the effect")
	fs.IntVar(&p.Comparisons, "comparisons", 1, "metrics times variants, among which -alpha is divided")
	fs.Float64Var(&p.Ratio, "ratio", 1, "units of the variant per unit of the control")
	fs.Float64Var(&p.Correlation, "correlation", 0, "with the value from before the experiment (CUPED)")
	method := fs.String("method", "sequential", "sequential or fixed")
	fs.Float64Var(&p.Tuned, "tuned", 5000, "units at which the sequential interval is tightest")
	n := fs.Int64("n", 0, "units of the control: print the power, or without -effect the least effect found")
	asJSON := fs.Bool("json", false, "print JSON")
	if err := c.parseOnly("abtest power [flags]"); err != nil {
		return err
	}
	p.Kind, p.Method = abtest.Kind(*kind), abtest.Method(*method)
	wrong := func(err error) error { return usage("%s", abText(err)) }
	var out struct {
		Plan abtest.Plan `json:"plan"`
		abtest.Size
		Effect float64 `json:"effect"`
	}
	var err error
	if *n != 0 && p.Effect == 0 {
		if p.Effect, err = p.EffectAt(*n); err != nil {
			return wrong(err)
		}
		p.Relative = false
	}
	out.Plan, out.Effect = p, p.Effect
	if p.Relative {
		out.Effect *= max(p.Baseline, -p.Baseline)
	}
	if *n != 0 {
		if out.Power, err = p.PowerAt(*n); err != nil {
			return wrong(err)
		}
		out.Control = *n
		out.Variant = int64(float64(*n) * p.Ratio)
		out.Total = out.Control + out.Variant
	} else if out.Size, err = p.Size(); err != nil {
		return wrong(err)
	}
	if *asJSON {
		return abPrint(c.stdout, out)
	}
	_, err = fmt.Fprintf(c.stdout, "control  %d units\nvariant  %d units\ntotal    %d units\neffect   %.4g\npower    %.4g\n", out.Control, out.Variant, out.Total, out.Effect, out.Power)
	return err
}
