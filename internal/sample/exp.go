package sample

import "math"

const expSteps = 32

// expTable[i] is 2^(i/32).
var expTable = func() (t [expSteps]float64) {
	for i := range t {
		t[i] = math.Exp2(float64(i) / expSteps)
	}
	return t
}()

// maxGap is the distance in nats below the best candidate from which a weight counts as 0.
const maxGap = 60

// expNeg returns exp(-d) for 0 ≤ d ≤ maxGap within 2e-12: 2^(k/32) from a table times a polynomial of degree 4
// on the rest, |r| ≤ ln2/64.
func expNeg(d float64) float64 {
	const magic = 0x1.8p52 // adding it rounds to an integer that then stands in the low bits
	t := d*(-expSteps*math.Log2E) + magic
	k := int64(math.Float64bits(t)&(1<<52-1)) - 1<<51
	r := -d - (t-magic)*(math.Ln2/expSteps)
	p := 1 + r*(1+r*(1.0/2+r*(1.0/6+r*(1.0/24))))
	scaled := math.Float64bits(expTable[k&(expSteps-1)]) + uint64(k>>5)<<52
	return math.Float64frombits(scaled) * p
}
