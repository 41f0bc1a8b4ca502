package reference

import (
	"github.com/krserve/krserve/internal/graph"
	"github.com/krserve/krserve/internal/quant"
)

// stripRows is the number of outputs that one task computes: a strip of the weight is dequantised once and used for
// every row of the batch.
const stripRows = 16

// weight is a graph weight with its float32 form, when there is room to keep it.
type weight struct {
	*graph.Weight
	keep  bool
	f32   []float32 // Rows × Cols, filled strip by strip at first use
	ready []bool    // per strip
}

// strip returns rows lo..hi of the weight as float32, in buf unless they are kept. A strip belongs to one task at a time.
func (w *weight) strip(lo, hi int, buf []float32) ([]float32, error) {
	if !w.keep {
		buf = buf[:(hi-lo)*w.Cols]
		return buf, w.dequantize(buf, lo, hi)
	}
	out := w.f32[lo*w.Cols : hi*w.Cols]
	if s := lo / stripRows; !w.ready[s] {
		if err := w.dequantize(out, lo, hi); err != nil {
			return nil, err
		}
		w.ready[s] = true
	}
	return out, nil
}

func (w *weight) dequantize(dst []float32, lo, hi int) error {
	row := w.Type.RowBytes(w.Cols)
	data := w.Data[lo*row : hi*row]
	if !w.Type.Affine() {
		return quant.Dequantize(dst, data, w.Type)
	}
	aux := w.AuxType.RowBytes(w.Cols / w.Group)
	return quant.DequantizeAffine(dst, data, w.Scales[lo*aux:hi*aux], w.Biases[lo*aux:hi*aux], w.Type, w.AuxType, w.Group)
}

// linearStrip computes outputs [item*stripRows, …) of a Linear for every row.
func (m *Model) linearStrip(worker, item int) {
	op := m.op
	w := &m.weights[op.W]
	lo := item * stripRows
	hi := min(lo+stripRows, w.Rows)
	strip, err := w.strip(lo, hi, m.scratch[worker].strip)
	if err != nil {
		m.fail(err)
		return
	}
	n, width := w.Cols, w.Rows
	in, out := m.values[op.In], m.values[op.Out]
	matmul(out[lo:], width, in, strip, m.rows, hi-lo, n)
	if op.Bias == graph.None {
		return
	}
	bias := m.vector(op.Bias)
	for r := range m.rows {
		row := out[r*width:][lo:hi]
		for j := range row {
			row[j] += bias[lo+j]
		}
	}
}
