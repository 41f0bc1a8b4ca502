package abtest

import (
	"fmt"
	"html/template"
	"io"
	"math"
)

// WriteHTML writes the report as one page without scripts or outside files; intervals are drawn beside their numbers.
func (r Report) WriteHTML(w io.Writer) error { return page.Execute(w, r) }

// bar places an interval on a line from −1 to 1, scaled so that all intervals of a metric fit.
type bar struct{ Low, High, At float64 }

func bars(cs []Comparison) []bar {
	reach := map[string]float64{}
	for _, c := range cs {
		for _, x := range []float64{c.Absolute.CI.Low, c.Absolute.CI.High, c.Absolute.Estimate} {
			if finite(x) {
				reach[c.Metric] = math.Max(reach[c.Metric], math.Abs(x))
			}
		}
	}
	out := make([]bar, len(cs))
	for i, c := range cs {
		s := reach[c.Metric]
		if s == 0 {
			s = 1
		}
		clip := func(x float64) float64 { return 100 + 95*math.Max(-1, math.Min(1, x/s)) }
		out[i] = bar{clip(c.Absolute.CI.Low), clip(c.Absolute.CI.High), clip(c.Absolute.Estimate)}
	}
	return out
}

var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"percent": percent, "short": short, "signed": signed,
	"ci":   func(iv Interval) string { return iv.text(1, "") },
	"p":    func(x float64) string { return fmt.Sprintf("%.2g", x) },
	"f":    func(x float64) string { return fmt.Sprintf("%.1f", x) },
	"bars": bars,
	"relative": func(e *Effect) string {
		if e == nil {
			return "–"
		}
		return signed(100*e.Estimate) + "% " + e.CI.text(100, "%")
	},
	"sub": func(x float64) float64 { return 1 - x },
}).Parse(`{{define "table"}}{{$bars := bars .}}<table><tr><th>metric<th>variant<th>units<th>control<th>value<th>difference<th>interval<th><th>relative<th>adjusted p<th>chance<th>verdict</tr>
{{range $i, $c := .}}{{$b := index $bars $i}}<tr><td>{{.Metric}}<td>{{.Variant}}<td>{{.Control.N}} / {{.Arm.N}}<td>{{short .Control.Value}}<td>{{short .Arm.Value}}<td>{{signed .Absolute.Estimate}}<td>{{ci .Absolute.CI}}<td><svg width="200" height="14"><line x1="100" x2="100" y1="0" y2="14" stroke="#999"/><line x1="{{f $b.Low}}" x2="{{f $b.High}}" y1="7" y2="7" stroke="#246" stroke-width="3"/><circle cx="{{f $b.At}}" cy="7" r="4" fill="#246"/></svg><td>{{relative .Relative}}<td>{{p .PAdjusted}}<td>{{with .Bayes}}{{percent .ChanceToWin}}{{else}}–{{end}}<td class="{{.Verdict}}" title="{{.Reason}}">{{.Verdict}}</tr>
{{end}}</table>{{end}}<!doctype html><html lang="en"><meta charset="utf-8"><title>{{or .Experiment "experiment"}}</title>
<style>body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:80em;padding:0 1em}table{border-collapse:collapse}td,th{padding:.3em .7em;text-align:left;border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}.better{color:#060;font-weight:bold}.worse{color:#a00;font-weight:bold}.warn{background:#fff4d6;padding:.4em .8em;margin:.3em 0}</style>
<h1>{{or .Experiment "experiment"}}</h1>
<p>{{.Units}} units, {{.Method}} verdicts at {{percent (sub .Alpha)}}, correction {{.Correction}}.{{range .Variants}} {{.Name}} {{.Units}} ({{percent .Share}} of the weight).{{end}} Split p = {{p .SRM}}.</p>
{{range .Warnings}}<p class="warn">{{.}}</p>
{{end}}{{template "table" .Comparisons}}
{{range .Segments}}<h2>{{.Dimension}} = {{or .Value "(none)"}}</h2><p>{{.Units}} units</p>{{template "table" .Comparisons}}
{{end}}</html>
`))
