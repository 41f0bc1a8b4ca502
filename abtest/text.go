package abtest

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// WriteText writes the report as tables for a terminal.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	if r.Experiment != "" {
		fmt.Fprintf(&b, "%s: ", r.Experiment)
	}
	fmt.Fprintf(&b, "%d units, %s verdicts at %s, correction %s\n", r.Units, r.Method, percent(1-r.Alpha), r.Correction)
	for i, v := range r.Variants {
		sep := ", "
		if i == 0 {
			sep = ""
		}
		fmt.Fprintf(&b, "%s%s %d (%s of the weight)", sep, v.Name, v.Units, percent(v.Share))
	}
	fmt.Fprintf(&b, "; split p = %.2g\n", r.SRM)
	for _, x := range r.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", x)
	}
	b.WriteByte('\n')
	writeTable(&b, r.Comparisons)
	for _, s := range r.Segments {
		value := s.Value
		if value == "" {
			value = "(none)"
		}
		fmt.Fprintf(&b, "\n%s = %s, %d units\n", s.Dimension, value, s.Units)
		writeTable(&b, s.Comparisons)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// String is the warning in one line.
func (w Warning) String() string {
	var where []string
	for _, s := range []string{w.Metric, w.Variant, w.Segment} {
		if s != "" {
			where = append(where, s)
		}
	}
	s := string(w.Code)
	if len(where) > 0 {
		s += " (" + strings.Join(where, ", ") + ")"
	}
	return s + ": " + w.Text
}

func writeTable(b *strings.Builder, cs []Comparison) {
	t := tabwriter.NewWriter(b, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "metric\tvariant\tn\tcontrol\tvalue\tdifference\tinterval\trelative\tadj. p\tchance\tverdict")
	for _, c := range cs {
		relative, chance := "-", "-"
		if c.Relative != nil {
			relative = fmt.Sprintf("%s %s", signed(100*c.Relative.Estimate)+"%", c.Relative.CI.text(100, "%"))
		}
		if c.Bayes != nil {
			chance = percent(c.Bayes.ChanceToWin)
		}
		fmt.Fprintf(t, "%s\t%s\t%d/%d\t%s\t%s\t%s\t%s\t%s\t%.2g\t%s\t%s\n", c.Metric, c.Variant, c.Control.N, c.Arm.N, short(c.Control.Value), short(c.Arm.Value),
			signed(c.Absolute.Estimate), c.Absolute.CI.text(1, ""), relative, c.PAdjusted, chance, c.Verdict)
	}
	t.Flush()
}

func (iv Interval) text(scale float64, unit string) string {
	end := func(x float64) string {
		switch {
		case math.IsInf(x, -1):
			return "-∞"
		case math.IsInf(x, 1):
			return "+∞"
		}
		return signed(x*scale) + unit
	}
	return "[" + end(iv.Low) + ", " + end(iv.High) + "]"
}

func short(x float64) string { return strconv.FormatFloat(x, 'g', 4, 64) }

func signed(x float64) string {
	if x > 0 {
		return "+" + short(x)
	}
	return short(x)
}

func percent(x float64) string { return strconv.FormatFloat(100*x, 'g', 4, 64) + "%" }
