package regress

import "math"

// lengths are the window lengths from which the columns of rates hold; the last is of a full window, over fullCommits.
var lengths = [...]int{6, 8, 10, 12, 14, 17, 20, 25, 30, 40, 50, 65, 80, 100, Window}

const fullCommits = 100

// column returns the one of a window's length.
func column(n int) int {
	c := len(lengths) - 1
	for c > 0 && lengths[c] > n {
		c--
	}
	return c
}

// limits are the rows of rates.
var limits = [...]float64{2.4, 2.5, 2.6, 2.7, 2.8, 2.9, 3.0, 3.1, 3.2, 3.3, 3.4, 3.5, 3.6, 3.7, 3.8, 3.9, 4.0, 4.1, 4.2, 4.3, 4.4, 4.5, 4.6, 4.7, 4.8, 4.9, 5.0}

// rarest is the lowest rate that the simulation resolves. Below, the limit is that of a full window, whose square falls in
// proportion to the logarithm of the rate, as it does from 4.2 to 5.
const rarest = 1e-5

// limitOfRate returns the limit of the rank scan that a window of n commits exceeds at a rate per commit.
func limitOfRate(rate float64, n int) float64 {
	c := column(n)
	if rate < rarest {
		last := rates[len(rates)-1]
		const from = 18 // the row of 4.2
		a, b := math.Log(last[from]), math.Log(last[len(limits)-1])
		x, y := limits[from]*limits[from], limits[len(limits)-1]*limits[len(limits)-1]
		return math.Sqrt(x + (math.Log(rate)-a)/(b-a)*(y-x))
	}
	for i := range limits {
		r := rates[c][i]
		if r > rate {
			continue
		}
		if i == 0 || r == 0 {
			return limits[i]
		}
		// Log-linear in the square.
		above, x, y := rates[c][i-1], limits[i-1]*limits[i-1], limits[i]*limits[i]
		return math.Sqrt(x + (math.Log(rate)-math.Log(above))/(math.Log(r)-math.Log(above))*(y-x))
	}
	return limits[len(limits)-1]
}
