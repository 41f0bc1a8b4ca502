package report

import (
	"html/template"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// Curve is the share of runs, Total in all, that had ended at each of the ascending values Ends.
type Curve struct {
	Name  string
	Ends  []float64
	Total int
}

// Curves draws cumulative shares as steps up to x = limit.
func Curves(label string, limit float64, list []Curve) (template.HTML, error) {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = label, "share"
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, limit, 0, 1
	p.Legend.Top, p.Legend.Left = true, false
	for i, c := range list {
		points := plotter.XYs{{X: 0, Y: 0}}
		share := 0.0
		for j, x := range c.Ends {
			points = append(points, plotter.XY{X: x, Y: share})
			share = float64(j+1) / float64(c.Total)
			points = append(points, plotter.XY{X: x, Y: share})
		}
		l, err := plotter.NewLine(append(points, plotter.XY{X: limit, Y: share}))
		if err != nil {
			return "", err
		}
		l.Color = []color.Color{blue, red, teal, grey}[i%4]
		if i >= 4 {
			l.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
		}
		p.Add(l)
		p.Legend.Add(c.Name, l)
	}
	return render(p, 22, 7)
}
