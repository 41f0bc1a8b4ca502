package regress

import "container/heap"

// medians is a growing sample that knows the sum of distances to its median: two heaps, the lower half's maximum and
// the upper half's minimum on top.
type medians struct {
	low, high       floats // low is negated
	lowSum, highSum float64
}

type floats []float64

func (f floats) Len() int           { return len(f) }
func (f floats) Less(i, j int) bool { return f[i] < f[j] }
func (f floats) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *floats) Push(x any)        { *f = append(*f, x.(float64)) }
func (f *floats) Pop() any {
	x := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return x
}

func (m *medians) add(x float64) {
	if len(m.low) == 0 || x <= -m.low[0] {
		heap.Push(&m.low, -x)
		m.lowSum += x
	} else {
		heap.Push(&m.high, x)
		m.highSum += x
	}
	switch {
	case len(m.low) > len(m.high)+1:
		v := -heap.Pop(&m.low).(float64)
		m.lowSum -= v
		heap.Push(&m.high, v)
		m.highSum += v
	case len(m.high) > len(m.low):
		v := heap.Pop(&m.high).(float64)
		m.highSum -= v
		heap.Push(&m.low, -v)
		m.lowSum += v
	}
}

// cost is the sum of distances to the median.
func (m *medians) cost() float64 {
	med := -m.low[0]
	return med*float64(len(m.low)) - m.lowSum + m.highSum - med*float64(len(m.high))
}
