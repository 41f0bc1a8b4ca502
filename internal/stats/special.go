package stats

import (
	"math"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

var stdNormal = distuv.Normal{Mu: 0, Sigma: 1}

// NormalQuantile returns the p-quantile of the standard normal distribution.
func NormalQuantile(p float64) float64 { return stdNormal.Quantile(p) }

// NormalSurvival returns P(Z > z), accurate in the far tail.
func NormalSurvival(z float64) float64 { return 0.5 * math.Erfc(z/math.Sqrt2) }

// StudentSurvival returns P(T > t) for Student's distribution with nu degrees of freedom.
func StudentSurvival(t, nu float64) float64 { return tSurvival(t, nu) }

// logSumExp returns log(Σ exp(xs[i])) without overflow.
func logSumExp(xs []float64) float64 {
	m := math.Inf(-1)
	for _, x := range xs {
		m = math.Max(m, x)
	}
	if math.IsInf(m, 0) {
		return m
	}
	s := 0.0
	for _, x := range xs {
		s += math.Exp(x - m)
	}
	return m + math.Log(s)
}

// tSurvival returns P(T > t) for Student's distribution with nu degrees of freedom.
func tSurvival(t, nu float64) float64 {
	if math.IsInf(nu, 1) {
		return NormalSurvival(t)
	}
	if t < 0 {
		return 1 - tSurvival(-t, nu)
	}
	y := (t / nu) * t
	if nu > 1e5 {
		// Here the incomplete beta function would lose the digits of t²/nu beside 1: Hill's normal transformation
		// (Algorithm 395, Communications of the ACM 1970), whose error is of order nu⁻⁴.
		a := nu - 0.5
		b := 48 * a * a
		z2 := a * math.Log1p(y)
		c := (((-0.4*z2-3.3)*z2-24)*z2 - 85.5) / (0.8*z2*z2 + 100 + b)
		return NormalSurvival(((c+z2+3)/b + 1) * math.Sqrt(z2))
	}
	if y < 1e-3 {
		return 0.5 - 0.5*mathext.RegIncBeta(0.5, nu/2, y/(1+y))
	}
	return 0.5 * mathext.RegIncBeta(nu/2, 0.5, 1/(1+y))
}

// tUpper returns the t with P(T > t) = q for Student's distribution, 0 < q < 1.
func tUpper(q, nu float64) float64 {
	if q > 0.5 {
		return -tUpper(1-q, nu)
	}
	if math.IsInf(nu, 1) {
		return normalUpper(q)
	}
	// Newton's method on log P(T > t), which is concave where it matters; a bracket catches what leaves it.
	f := func(t float64) float64 { return math.Log(tSurvival(t, nu)) - math.Log(q) }
	lo, hi := 0.0, math.Max(1, normalUpper(q))
	for hi < 1e300 && f(hi) > 0 {
		lo, hi = hi, hi*2
	}
	density := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: nu}
	x := lo + (hi-lo)/2
	for range 200 {
		v := f(x)
		if v > 0 {
			lo = x
		} else {
			hi = x
		}
		next := x + v*tSurvival(x, nu)/density.Prob(x)
		if !(next > lo && next < hi) {
			next = lo + (hi-lo)/2
		}
		if math.Abs(next-x) <= 4e-16*x {
			return next
		}
		x = next
	}
	return x
}

// normalUpper returns the z with P(Z > z) = q.
func normalUpper(q float64) float64 {
	z := -stdNormal.Quantile(q)
	if q < 0.5 && q > 0 { // one Newton step on the logarithm of the tail restores the last digits
		if s := NormalSurvival(z); s > 0 {
			z += (math.Log(s) - math.Log(q)) * s / stdNormal.Prob(z)
		}
	}
	return z
}

// logBeta returns log B(a, b) for positive a and b without the cancellation of three large log-gammas
// (Didonato and Morris, Algorithm 708).
func logBeta(a, b float64) float64 {
	if a > b {
		a, b = b, a
	}
	if b < 10 {
		return mathext.Lbeta(a, b)
	}
	h := a / b
	if a >= 10 {
		return -0.5*math.Log(b) + 0.5*math.Log(2*math.Pi) + stirling(a) + stirling(b) - stirling(a+b) +
			(a-0.5)*math.Log(h/(1+h)) - b*math.Log1p(h)
	}
	lg, _ := math.Lgamma(a)
	return lg + stirling(b) - stirling(a+b) + a - a*math.Log(a+b) - (b-0.5)*math.Log1p(h)
}

// stirling returns log Γ(x) − ((x − 1/2) log x − x + log(2π)/2) for x ≥ 10 (DLMF 5.11.1).
func stirling(x float64) float64 {
	y := 1 / (x * x)
	return (1.0/12 - y*(1.0/360-y*(1.0/1260-y*(1.0/1680-y*(1.0/1188-y*691.0/360360))))) / x
}

// pOf turns an upper-tail survival function at z into a p-value for the side.
func pOf(side Side, upper, lower float64) float64 {
	switch side {
	case Greater:
		return upper
	case Less:
		return lower
	}
	return math.Min(1, 2*math.Min(upper, lower))
}

// bisect finds a root of the monotone function f in [lo, hi], where f(lo) and f(hi) differ in sign.
func bisect(lo, hi float64, f func(float64) float64) float64 {
	flo := f(lo)
	for range 200 {
		mid := lo + (hi-lo)/2
		if mid == lo || mid == hi {
			break
		}
		if fm := f(mid); (fm > 0) == (flo > 0) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo + (hi-lo)/2
}
