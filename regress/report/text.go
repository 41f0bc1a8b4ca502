// Package report renders what regress finds: tables for terminals, self-contained HTML pages with plots.
package report

import (
	"fmt"
	"math"
	"strings"
	"text/tabwriter"

	"golang.org/x/perf/benchunit"

	"github.com/krserve/krserve/regress"
)

// value shows a measurement in its unit with an SI prefix.
func value(v float64, unit string) string {
	s := benchunit.Scale(v, benchunit.ClassOf(unit))
	if unit == "sec" || unit == "sec/op" {
		return s + "s"
	}
	return s
}

func percent(ratio float64) string {
	if math.IsInf(ratio, 0) || math.IsNaN(ratio) || math.Abs(ratio) > 1e6 {
		return "?"
	}
	return fmt.Sprintf("%+.2f%%", 100*(ratio-1))
}

func interval(e regress.Effect) string {
	if !e.Bounded() {
		return "too few"
	}
	return percent(e.Low) + " … " + percent(e.High)
}

// Text renders a comparison as a table, one series per line.
func Text(r regress.Report) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "series\tunit\told\tnew\tchange\tinterval\tp\tverdict\t")
	for _, x := range r.Results {
		verdict := string(x.Verdict)
		if x.Verdict == regress.Noise || x.Verdict == regress.Regression && x.Confirmed {
			verdict += ": " + x.Reason
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%.3f n=%d+%d\t%s\t\n", x.Name, x.Unit, value(x.Old, x.Unit), value(x.New, x.Unit),
			percent(x.Effect.Ratio), interval(x.Effect), x.Adjusted, x.OldN, x.NewN, verdict)
	}
	w.Flush()
	out := trimLines(b.String())
	for _, s := range r.OnlyOld {
		out += "only old: " + s + "\n"
	}
	for _, s := range r.OnlyNew {
		out += "only new: " + s + "\n"
	}
	return out
}

// HistoryText renders the changes of all series as a table; series without any are counted.
func HistoryText(list []regress.Finding) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	quiet := 0
	for _, f := range list {
		if len(f.Changes) == 0 {
			quiet++
			continue
		}
		for i, c := range f.Changes {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s → %s\t%s\t%s\talarm at %s\t\n", f.Name, f.Unit, percent(c.Ratio()), value(c.Before, f.Unit),
				value(c.After, f.Unit), where(f.Series, c), what(f, i), f.Commits[c.Alarm])
		}
	}
	w.Flush()
	return trimLines(b.String()) + fmt.Sprintf("%d series, %d without a change\n", len(list), quiet)
}

func where(s regress.Series, c regress.Change) string {
	first, last := s.Range(c)
	if first == last {
		return first
	}
	return first + " … " + last + ", most likely " + s.Commits[c.Index]
}

// what names the i-th change of a series.
func what(f regress.Finding, i int) string {
	c := f.Changes[i]
	s := "improvement"
	if f.Worse(c) {
		s = "regression"
	}
	switch {
	case c.Kind == regress.Drift:
		s = "drift, " + s
	case c.Passing:
		s = "passing " + s
	case f.Worse(c) && i != f.Regressed:
		s += ", since undone or overtaken"
	}
	return s
}

func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}
