package cpu

// Rate is what one candidate reaches: bytes of weights per second for one row, multiply-adds per second for more.
type Rate[K comparable] struct {
	K    K
	Best float64
}

// chooseGain is by how much another variant must be faster than the default: less is noise.
const chooseGain = 1.1

// Choose puts the fastest first. What would displace def is measured again together with it: a thread that lost its core
// for a moment must not decide.
func Choose[K comparable](rs []Rate[K], def K, again func([]Rate[K])) []Rate[K] {
	for turn := 0; ; turn++ {
		d, best := 0, 0
		for i := range rs {
			if rs[i].K == def {
				d = i
			}
			if rs[i].Best > rs[best].Best {
				best = i
			}
		}
		if rs[best].Best <= chooseGain*rs[d].Best {
			best = d
		}
		if best == d || turn == 2 {
			rs[0], rs[best] = rs[best], rs[0]
			return rs
		}
		again(rs)
	}
}
