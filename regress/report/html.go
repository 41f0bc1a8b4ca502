package report

import (
	"bytes"
	"cmp"
	"fmt"
	"html/template"
	"image/color"
	"io"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/krserve/krserve/regress"
)

var (
	blue = color.RGBA{R: 0x2b, G: 0x6c, B: 0xb0, A: 0xff}
	grey = color.RGBA{R: 0x88, G: 0x88, B: 0x88, A: 0xff}
	red  = color.RGBA{R: 0xc5, G: 0x30, B: 0x30, A: 0xff}
	teal = color.RGBA{R: 0x2c, G: 0x7a, B: 0x7b, A: 0xff}
)

// Page is an HTML page of tables and plots that needs nothing else.
type Page struct {
	Title, Summary string
	Head           []string
	Rows           [][]string
	Plots          []Plot
}

// Plot is a drawing with a caption.
type Plot struct {
	Title string
	SVG   template.HTML
}

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%;margin:1rem 0}th,td{text-align:left;padding:.25rem .7rem;border-bottom:1px solid #ddd}
h1{font-size:1.5rem}h2{font-size:1.05rem;margin:1.5rem 0 .2rem}svg{max-width:100%;height:auto}.regression{color:#c53030;font-weight:600}
.improvement{color:#2c7a7b}.noise,.unclear,.same{color:#666}
</style></head><body>
<h1>{{.Title}}</h1><p>{{.Summary}}</p>
<table><thead><tr>{{range .Head}}<th>{{.}}</th>{{end}}</tr></thead>
<tbody>{{range .Rows}}<tr>{{range .}}<td{{if eq . "regression" "improvement" "noise" "unclear" "same"}} class="{{.}}"{{end}}>{{.}}</td>{{end}}</tr>
{{end}}</tbody></table>
{{range .Plots}}<h2>{{.Title}}</h2>{{.SVG}}
{{end}}</body></html>
`))

// Write renders the page.
func (p Page) Write(w io.Writer) error { return page.Execute(w, p) }

// Compare makes the page of a comparison: a table and a plot of all intervals.
func Compare(title string, r regress.Report) (Page, error) {
	p := Page{Title: title, Head: []string{"series", "unit", "old", "new", "change", "interval", "p", "n", "verdict", "why"}}
	counts := map[regress.Verdict]int{}
	for _, x := range r.Results {
		counts[x.Verdict]++
		p.Rows = append(p.Rows, []string{x.Name, x.Unit, value(x.Old, x.Unit), value(x.New, x.Unit), percent(x.Effect.Ratio),
			interval(x.Effect), fmt.Sprintf("%.3g", x.Adjusted), fmt.Sprintf("%d+%d", x.OldN, x.NewN), string(x.Verdict), x.Reason})
	}
	p.Summary = fmt.Sprintf("%d series: %d regressions, %d improvements, %d the same, %d unclear, %d noise. Only old: %d, only new: %d.",
		len(r.Results), counts[regress.Regression], counts[regress.Improvement], counts[regress.Same], counts[regress.Unclear],
		counts[regress.Noise], len(r.OnlyOld), len(r.OnlyNew))
	if len(r.Results) == 0 {
		return p, nil
	}
	drawn, title := r.Results, "Change of every series, with its interval; grey is the control"
	if len(drawn) > most {
		// The largest changes that are certain, then the rest.
		drawn = slices.Clone(drawn)
		slices.SortStableFunc(drawn, func(a, b regress.Result) int {
			return cmp.Or(order(a)-order(b), cmp.Compare(math.Abs(math.Log(math.Abs(b.Effect.Ratio))), math.Abs(math.Log(math.Abs(a.Effect.Ratio)))))
		})
		drawn, title = drawn[:most], fmt.Sprintf("The %d most certain and largest changes, with their intervals; grey is the control", most)
	}
	svg, err := intervals(drawn)
	p.Plots = []Plot{{title, svg}}
	return p, err
}

// most is how many series a page draws.
const most = 100

// order puts first what a reader looks for.
func order(x regress.Result) int {
	return slices.Index([]regress.Verdict{regress.Regression, regress.Improvement, regress.Noise, regress.Unclear, regress.Same}, x.Verdict)
}

// History makes the page of histories: a table of changes and a plot of every series.
func History(title string, list []regress.Finding) (Page, error) {
	p := Page{Title: title, Head: []string{"series", "unit", "change", "before", "after", "commits", "what", "alarm at"}}
	changes, standing, quiet := 0, 0, most
	for _, f := range list {
		if f.Regressed >= 0 {
			standing++
		}
		for i, c := range f.Changes {
			changes++
			p.Rows = append(p.Rows, []string{f.Name, f.Unit, percent(c.Ratio()), value(c.Before, f.Unit), value(c.After, f.Unit),
				where(f.Series, c), what(f, i), f.Commits[c.Alarm]})
		}
		if len(f.Changes) == 0 && len(list) > most {
			// Of many series only some flat ones are drawn.
			if quiet--; quiet < 0 {
				continue
			}
		}
		svg, err := line(f)
		if err != nil {
			return p, err
		}
		p.Plots = append(p.Plots, Plot{strings.TrimSpace(f.Name + " " + f.Unit), svg})
	}
	p.Summary = fmt.Sprintf("%d series, %d changes, %d regressions in force.", len(list), changes, standing)
	return p, nil
}

// intervals draws one horizontal interval per series.
func intervals(list []regress.Result) (template.HTML, error) {
	p := plot.New()
	p.X.Label.Text = "change in percent"
	var names []string
	pct := func(x float64) float64 { return math.Max(-200, math.Min(1000, 100*(x-1))) }
	bar := func(e regress.Effect, y float64, c color.Color) {
		if e.Bounded() {
			l, err := plotter.NewLine(plotter.XYs{{X: pct(e.Low), Y: y}, {X: pct(e.High), Y: y}})
			if err == nil {
				l.Color, l.Width = c, vg.Points(2)
				p.Add(l)
			}
		}
		s, err := plotter.NewScatter(plotter.XYs{{X: pct(e.Ratio), Y: y}})
		if err == nil {
			s.GlyphStyle = draw.GlyphStyle{Color: c, Radius: vg.Points(3), Shape: draw.CircleGlyph{}}
			p.Add(s)
		}
	}
	n := len(list)
	for i, x := range list {
		y := float64(n - 1 - i)
		c := color.Color(blue)
		switch x.Verdict {
		case regress.Regression:
			c = red
		case regress.Improvement:
			c = teal
		}
		if x.Control != nil {
			bar(*x.Control, y-0.25, grey)
		}
		bar(x.Effect, y, c)
	}
	for i := n - 1; i >= 0; i-- {
		names = append(names, list[i].Name+" "+list[i].Unit)
	}
	zero, err := plotter.NewLine(plotter.XYs{{X: 0, Y: -0.7}, {X: 0, Y: float64(n) - 0.3}})
	if err != nil {
		return "", err
	}
	zero.Color, zero.Dashes = grey, []vg.Length{vg.Points(3), vg.Points(3)}
	p.Add(zero)
	p.NominalY(names...)
	return render(p, 22, 2+0.6*float64(n))
}

// line draws a series with its levels; changes are marked, the commits they may lie in shaded.
func line(f regress.Finding) (template.HTML, error) {
	p := plot.New()
	p.Y.Label.Text = f.Unit
	p.X.Label.Text = "commit"
	pts := make(plotter.XYs, len(f.Values))
	low, high := math.Inf(1), math.Inf(-1)
	for i, v := range f.Values {
		pts[i] = plotter.XY{X: float64(i), Y: v}
		low, high = math.Min(low, v), math.Max(high, v)
	}
	s, err := plotter.NewScatter(pts)
	if err != nil {
		return "", err
	}
	s.GlyphStyle = draw.GlyphStyle{Color: blue, Radius: vg.Points(1.6), Shape: draw.CircleGlyph{}}
	standing := slices.DeleteFunc(slices.Clone(f.Changes), func(c regress.Change) bool { return c.Passing })
	for _, c := range f.Changes {
		col := color.NRGBA{R: 0x2c, G: 0x7a, B: 0x7b, A: 0x40}
		if f.Worse(c) {
			col = color.NRGBA{R: 0xc5, G: 0x30, B: 0x30, A: 0x40}
		}
		x0, x1 := float64(c.First)-0.5, float64(c.Last)+0.5
		poly, err := plotter.NewPolygon(plotter.XYs{{X: x0, Y: low}, {X: x1, Y: low}, {X: x1, Y: high}, {X: x0, Y: high}})
		if err != nil {
			return "", err
		}
		poly.Color, poly.LineStyle.Width = col, 0
		p.Add(poly)
	}
	for i, c := range standing {
		from, to := 0, len(f.Values)-1
		if i > 0 {
			from = standing[i-1].Index
		}
		if i+1 < len(standing) {
			to = standing[i+1].Index - 1
		}
		for _, seg := range [][3]float64{{float64(from), float64(c.Index) - 0.5, c.Before}, {float64(c.Index) - 0.5, float64(to), c.After}} {
			l, err := plotter.NewLine(plotter.XYs{{X: seg[0], Y: seg[2]}, {X: seg[1], Y: seg[2]}})
			if err != nil {
				return "", err
			}
			l.Color = grey
			p.Add(l)
		}
	}
	p.Add(s)
	return render(p, 22, 6)
}

func render(p *plot.Plot, width, height float64) (template.HTML, error) {
	c := vgsvg.New(vg.Length(width)*vg.Centimeter, vg.Length(height)*vg.Centimeter)
	p.Draw(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return "", err
	}
	// Inside HTML an image has neither XML declaration nor document type.
	s := b.String()
	if i := strings.Index(s, "<svg"); i > 0 {
		s = s[i:]
	}
	return template.HTML(s), nil
}
