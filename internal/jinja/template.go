package jinja

import (
	"math"
	"sync"
	"time"
)

// Options bounds what a template may do. Zero fields are defaults.
type Options struct {
	MaxSteps  int // evaluated nodes and items, 2 million
	MaxDepth  int // nested macro calls and recursive loops, 200
	MaxOutput int // bytes of rendered text, 64 MiB
	MaxBytes  int // bytes of all values that a rendering makes on its way, 256 MiB
}

func (o Options) withDefaults() Options {
	def := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	def(&o.MaxSteps, 2_000_000)
	def(&o.MaxDepth, 200)
	def(&o.MaxOutput, 64<<20)
	def(&o.MaxBytes, 256<<20)
	return o
}

// Template is a compiled template: immutable and safe for concurrent use.
type Template struct {
	body     []stmt
	frame    frameInit
	slots    int
	selfSlot int
	free     []string // names that are read from the context
	blocks   map[string]*blockDef
	opts     Options
	pool     sync.Pool // of *state
}

// Compile parses and checks a template. Errors are *Error.
func Compile(src string, o Options) (*Template, error) {
	if len(src) > maxSource {
		return nil, budgetErr("the template is too long")
	}
	body, err := parse(src)
	if err != nil {
		return nil, err
	}
	t, err := compileTemplate(body)
	if err != nil {
		return nil, err
	}
	t.opts = o.withDefaults()
	return t, nil
}

// Result is a rendered text.
type Result struct {
	Text      string
	Tainted   []Span // bytes that came from data, in order and disjoint
	Generated []Span // bytes inside {% generation %} blocks
}

// Render renders the template with the variables of a dict. now is the clock of strftime_now, in the zone to be
// shown; nil is time.Now. Errors are *Error.
func (t *Template) Render(vars *Dict, now func() time.Time) (Result, error) {
	st, _ := t.pool.Get().(*state)
	if st == nil {
		st = &state{tmpl: t, free: make([]Value, len(t.free)), root: activation{slots: make([]Value, t.slots)}}
	}
	st.start(vars, now)
	_, err := runBody(st, t.body)
	if err == nil {
		err = st.joinErr
	}
	var r Result
	if err == nil {
		r.Text = string(st.out.b)
		if len(st.out.t) > 0 {
			r.Tainted = append([]Span(nil), st.out.t...)
		}
		r.Generated = st.generated
	}
	st.release()
	t.pool.Put(st)
	return r, err
}

// activation holds the variables of one call of a function.
type activation struct {
	slots  []Value
	parent *activation
}

// state is one rendering.
type state struct {
	tmpl  *Template
	root  activation
	act   *activation
	out   strBuilder
	free  []Value // of Template.free
	vars  *Dict
	ctx   map[string]Value // context variables that blocks see
	now   func() time.Time
	stack []Value // arguments of open calls
	kws   []kwArg

	steps, bytes     int // left
	depth            int
	maxDepth, maxOut int
	maxBytes         int // of one value
	autoescape       bool
	folding          bool  // at compile time, where Jinja takes slices through getitem
	joinErr          error // of the text that is being joined
	generated        []Span
	iters            int // generators that are being read inside one another
	captures         int // open captures: offsets in out are not final
}

func (st *state) start(vars *Dict, now func() time.Time) {
	t := st.tmpl
	st.vars, st.now = vars, now
	st.steps, st.bytes = t.opts.MaxSteps, t.opts.MaxBytes
	st.maxDepth, st.maxOut = t.opts.MaxDepth, t.opts.MaxOutput
	st.maxBytes = t.opts.MaxBytes
	st.act = &st.root
	for i, name := range t.free {
		st.free[i] = st.resolve(name)
	}
	if t.selfSlot >= 0 {
		st.root.slots[t.selfSlot] = object(&selfRef{})
	}
	st.enter(&t.frame)
}

// release drops references, so that a pooled state keeps no data alive, and keeps its buffers.
func (st *state) release() {
	const keep = 1 << 20
	if cap(st.out.b) > keep {
		st.out.b = nil
	}
	st.out.b, st.out.t = st.out.b[:0], st.out.t[:0]
	clear(st.root.slots)
	clear(st.free)
	clear(st.stack[:cap(st.stack)])
	clear(st.kws[:cap(st.kws)])
	st.stack, st.kws = st.stack[:0], st.kws[:0]
	st.vars, st.ctx, st.generated, st.joinErr = nil, nil, nil, nil
	st.depth, st.iters, st.captures, st.autoescape = 0, 0, 0, false
}

// newFoldState evaluates constants at compile time, under small budgets.
func newFoldState() *state {
	return &state{tmpl: &Template{}, maxDepth: 10, maxOut: 1 << 16, maxBytes: 1 << 16, act: &activation{}, folding: true}
}

// resolve looks a name up in the context.
func (st *state) resolve(name string) Value {
	if st.ctx != nil {
		if v, ok := st.ctx[name]; ok {
			return v
		}
	}
	if st.vars != nil {
		if v, ok := st.vars.getString(name); ok {
			return v
		}
	}
	return globals[name]
}

// spend takes steps and bytes from the budget.
func (st *state) spend(steps, bytes int) error {
	st.steps -= steps
	st.bytes -= bytes
	if st.steps < 0 {
		return budgetErr("the template runs for too long")
	}
	if st.bytes < 0 {
		return budgetErr("the template uses too much memory")
	}
	return nil
}

// spendText pays for work on a text: time for reading it, memory for a result of n bytes.
func (st *state) spendText(read, n int) error { return st.spend(1+read>>6+n>>6, n) }

// spendProduct is spend for n items of size bytes, checked for overflow.
func (st *state) spendProduct(n, size int) error {
	if n < 0 || size < 0 {
		return nil
	}
	if size > 0 && n > math.MaxInt/2/size {
		return budgetErr("the template uses too much memory")
	}
	return st.spend(1+n*size>>6, n*size)
}

const valueBytes = 48

func (st *state) enter(f *frameInit) {
	slots := st.act.slots
	for i := range f.loads {
		l := &f.loads[i]
		switch l.kind {
		case loadResolve:
			if st.ctx != nil {
				slots[l.slot] = st.resolve(l.name)
			} else {
				slots[l.slot] = st.free[l.free]
			}
		case loadAlias:
			slots[l.slot] = *st.at(l.from)
		default:
			slots[l.slot] = Value{}
		}
	}
}

func (st *state) leave(f *frameInit) {
	for _, s := range f.clear {
		st.act.slots[s] = Value{}
	}
}

// at is the place of a variable.
func (st *state) at(r varRef) *Value {
	a := st.act
	for i := r.up; i > 0; i-- {
		a = a.parent
	}
	return &a.slots[r.slot]
}

// write prints a value.
func (st *state) write(v Value) error {
	if st.autoescape && !v.isMarkup() {
		e, err := escapeHTML(st, v)
		if err != nil {
			return err
		}
		v = e
	}
	if v.k == KindString {
		st.out.add(v)
	} else if err := appendStr(&st.out, v); err != nil {
		return err
	}
	if len(st.out.b) > st.maxOut {
		return budgetErr("the output is too long")
	}
	return nil
}

func (st *state) writeData(s string) error {
	st.out.lit(s)
	if len(st.out.b) > st.maxOut {
		return budgetErr("the output is too long")
	}
	return nil
}

// capture runs f and returns what it wrote.
func (st *state) capture(f func() (control, error)) (Value, control, error) {
	at := len(st.out.b)
	// Spans must not grow over the border.
	save, join := st.out.t, st.joinErr
	st.out.t, st.joinErr = nil, nil
	st.captures++
	ctl, err := f()
	st.captures--
	if err == nil {
		err = st.joinErr
	}
	st.joinErr = join
	if err != nil {
		return Value{}, ctl, err
	}
	v := st.out.from(at)
	st.out.b = st.out.b[:at]
	st.out.t = save
	return v, ctl, st.spend(1, len(v.s))
}
