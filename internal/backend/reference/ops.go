package reference

import (
	"math"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/graph"
)

// inline is the number of elements below which an op runs on the calling goroutine alone.
const inline = 8192

func (m *Model) bind() {
	for i := range m.weights {
		w := &m.weights[i]
		if w.keep {
			w.f32 = make([]float32, w.Rows*w.Cols)
			w.ready = make([]bool, (w.Rows+stripRows-1)/stripRows)
		}
	}
	m.tasks = [graph.NumKinds]func(worker, item int){
		graph.Embed:      m.embedRow,
		graph.RMSNorm:    m.normRow,
		graph.Linear:     m.linearStrip,
		graph.Rope:       m.ropeRow,
		graph.KVWrite:    m.kvRow,
		graph.Attention:  m.attendHead,
		graph.Gate:       m.gateRow,
		graph.Add:        m.addRow,
		graph.Scale:      m.scaleRow,
		graph.Softcap:    m.softcapRow,
		graph.SelectRows: m.selectRow,
	}
}

// run executes one op on all rows.
func (m *Model) run(op *graph.Op) error {
	m.op = op
	items, work := m.rows, 0
	switch op.Kind {
	case graph.Linear:
		items, work = (m.weights[op.W].Rows+stripRows-1)/stripRows, inline
	case graph.Attention:
		items, work = m.rows*m.g.KVHeads, inline
	case graph.SelectRows:
		items = len(m.batch.Sample)
		work = items * m.g.Values[op.In].Width
	case graph.Embed:
		work = m.rows * m.g.Values[op.Out].Width
	default:
		work = m.rows * m.g.Values[op.In].Width
	}
	task := m.tasks[op.Kind]
	if err := m.pool.run(items, work < inline, task); err != nil {
		return err
	}
	if op.Kind == graph.SelectRows {
		m.gathered = true
	}
	if m.gathered {
		m.rows = len(m.batch.Sample)
	}
	if f := m.failure.Load(); f != nil {
		return *f
	}
	return nil
}

func (m *Model) fail(err error) { m.failure.CompareAndSwap(nil, &err) }

// row returns row r of a value.
func (m *Model) row(v, r int) []float32 {
	w := m.g.Values[v].Width
	return m.values[v][r*w:][:w]
}

// at returns the batch row that row r of the current op is.
func (m *Model) at(r int) int {
	if m.gathered {
		return int(m.batch.Sample[r])
	}
	return r
}

// vector returns a norm's weight or a bias.
func (m *Model) vector(i int) []float32 { return m.vectors[i] }

func (m *Model) embedRow(_, r int) {
	op, w := m.op, &m.weights[m.op.W]
	out := m.row(op.Out, r)
	t := int(m.batch.Tokens[r])
	if err := w.dequantize(out, t, t+1); err != nil {
		m.fail(err)
		return
	}
	if op.Scale != 1 {
		for i := range out {
			out[i] *= op.Scale
		}
	}
}

func (m *Model) normRow(_, r int) {
	op := m.op
	in, out, w := m.row(op.In, r), m.row(op.Out, r), m.vector(op.W)
	for len(in) > 0 {
		x, y := in[:op.Dim], out[:op.Dim]
		sum := 0.0
		for _, v := range x {
			sum += float64(v) * float64(v)
		}
		s := float32(1 / math.Sqrt(sum/float64(op.Dim)+float64(op.Eps)))
		for i, v := range x {
			y[i] = float32(v*s) * w[i]
		}
		in, out = in[op.Dim:], out[op.Dim:]
	}
}

func (m *Model) ropeRow(_, r int) {
	op := m.op
	in, out := m.row(op.In, r), m.row(op.Out, r)
	spec := &m.g.Ropes[op.Rope]
	half := spec.Dims / 2
	b := m.at(r)
	cos, sin := m.cos[op.Rope][b*half:][:half], m.sin[op.Rope][b*half:][:half]
	step, far := 1, half
	if spec.Interleaved {
		step, far = 2, 1
	}
	for len(in) > 0 {
		x, y := in[:op.Dim], out[:op.Dim]
		for i := range half {
			a, b := x[i*step], x[i*step+far]
			y[i*step] = float32(a*cos[i]) - float32(b*sin[i])
			y[i*step+far] = float32(a*sin[i]) + float32(b*cos[i])
		}
		copy(y[spec.Dims:], x[spec.Dims:])
		in, out = in[op.Dim:], out[op.Dim:]
	}
}

func (m *Model) kvRow(worker, r int) {
	op, b, dim := m.op, m.batch, m.g.HeadDim
	k, v := m.row(op.In, r), m.row(op.In2, r)
	pos := int(b.Pos[r])
	id := b.Tables[b.Seq[r]][pos/backend.BlockTokens]
	at := pos % backend.BlockTokens * m.kv.bytes
	for h := range m.g.KVHeads {
		m.kv.encode(m.kv.rows(id, op.Layer, 0, h)[at:][:m.kv.bytes], k[h*dim:][:dim], m.scratch[worker].kv)
		m.kv.encode(m.kv.rows(id, op.Layer, 1, h)[at:][:m.kv.bytes], v[h*dim:][:dim], m.scratch[worker].kv)
	}
}

// attendHead computes the query heads of one key-value head of one row. Scores and sums go by absolute position.
func (m *Model) attendHead(worker, item int) {
	op, g := m.op, m.g
	r, kvHead := item/g.KVHeads, item%g.KVHeads
	dim, group, width := g.HeadDim, g.Heads/g.KVHeads, m.kv.width
	b := m.at(r)
	pos := int(m.batch.Pos[b])
	table := m.batch.Tables[m.batch.Seq[b]]
	first := 0
	if op.Window > 0 {
		first = max(0, pos-op.Window+1)
	}
	n := pos + 1 - first
	s := &m.scratch[worker]
	if cap(s.scores) < n*group {
		s.scores = make([]float32, (n+n/2)*group)
	}
	scores := s.scores[:n*group]
	clear(s.heads)
	for h := range group {
		q := s.heads[h*width:][:width]
		copy(q, m.row(op.In, r)[(kvHead*group+h)*dim:][:dim])
		if m.kv.rotated() {
			rotate(q)
		}
	}
	for p := first; p <= pos; {
		at := p % backend.BlockTokens
		end := min(p-at+backend.BlockTokens, pos+1)
		k := m.kv.read(table[p/backend.BlockTokens], op.Layer, 0, kvHead, at, at+end-p, s.kv)
		for h := range group {
			matmul(scores[h*n+p-first:], 0, s.heads[h*width:][:width], k, 1, end-p, width)
		}
		p = end
	}
	for h := range group {
		softmax(scores[h*n:][:n], op.Scale, op.Cap)
	}
	clear(s.heads)
	for p := first; p <= pos; {
		at := p % backend.BlockTokens
		end := min(p-at+backend.BlockTokens, pos+1)
		v := m.kv.read(table[p/backend.BlockTokens], op.Layer, 1, kvHead, at, at+end-p, s.kv)
		for h := range group {
			axpy(s.heads[h*width:][:width], scores[h*n+p-first:h*n+end-first], v)
		}
		p = end
	}
	for h := range group {
		out := s.heads[h*width:][:width]
		if m.kv.rotated() {
			rotate(out)
		}
		copy(m.row(op.Out, r)[(kvHead*group+h)*dim:][:dim], out)
	}
}

// softmax turns scores into weights that sum to 1.
func softmax(s []float32, scale, limit float32) {
	top := float32(math.Inf(-1))
	for i, v := range s {
		v *= scale
		if limit > 0 {
			v = limit * float32(math.Tanh(float64(v/limit)))
		}
		s[i] = v
		top = max(top, v)
	}
	sum := 0.0
	for i, v := range s {
		e := math.Exp(float64(v - top))
		s[i] = float32(e)
		sum += e
	}
	inv := float32(1 / sum)
	for i := range s {
		s[i] *= inv
	}
}

func (m *Model) gateRow(_, r int) {
	op := m.op
	in, in2, out := m.row(op.In, r), m.row(op.In2, r), m.row(op.Out, r)
	for i, v := range in {
		x := float64(v)
		var a float64
		if op.Act == graph.GELU {
			a = 0.5 * x * (1 + math.Tanh(0.7978845608028654*(x+0.044715*x*x*x)))
		} else {
			a = x / (1 + math.Exp(-x))
		}
		out[i] = float32(a) * in2[i]
	}
}

func (m *Model) addRow(_, r int) {
	in, in2, out := m.row(m.op.In, r), m.row(m.op.In2, r), m.row(m.op.Out, r)
	for i, v := range in {
		out[i] = v + in2[i]
	}
}

func (m *Model) scaleRow(_, r int) {
	in, out := m.row(m.op.In, r), m.row(m.op.Out, r)
	for i, v := range in {
		out[i] = v * m.op.Scale
	}
}

func (m *Model) softcapRow(_, r int) {
	in, out, c := m.row(m.op.In, r), m.row(m.op.Out, r), m.op.Cap
	for i, v := range in {
		out[i] = c * float32(math.Tanh(float64(v/c)))
	}
}

func (m *Model) selectRow(_, i int) {
	copy(m.row(m.op.Out, i), m.row(m.op.In, int(m.batch.Sample[i])))
}
