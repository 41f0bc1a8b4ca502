package jinja

import (
	"reflect"
	"strconv"
)

func itoa(n int) string { return strconv.Itoa(n) }

// identity is Python's id() for "is" and for hashing objects.
func identity(v Value) uint64 {
	if v.o == nil {
		return 0
	}
	r := reflect.ValueOf(v.o)
	if r.Kind() == reflect.Pointer {
		return uint64(r.Pointer())
	}
	return 0
}

// builtin is a function or class that templates can name.
type builtin struct {
	name, typ, repr string
	fn              func(st *state, a args) (Value, error)
}

// boundMethod is a method that was read but not called.
type boundMethod struct {
	self Value
	name string
	m    method
}

type namespace struct{ attrs *Dict }

func (n *namespace) set(st *state, key, v Value) error {
	if err := checkNamespaceKey(key); err != nil {
		return err
	}
	if err := st.spend(1, 2*valueBytes); err != nil {
		return err
	}
	return n.attrs.setValue(key, v)
}

func checkNamespaceKey(key Value) error {
	if key.k == KindString && key.s != "" && key.s[0] == '_' {
		return errf("SecurityError", "Chat templates cannot store underscore-prefixed attributes on a namespace, but got %s. Please rename the attribute.", pyRepr(key.s))
	}
	return nil
}

type cycler struct {
	items []Value
	pos   int
}

type joiner struct {
	sep  Value
	used bool
}

// selfRef is the variable "self", whose items are the template's blocks.
type selfRef struct{}

type blockRef struct{ def *blockDef }

// macro is a macro or the body of a call block, with the scope that it was defined in.
type macro struct {
	def    *macroDef
	act    *activation
	escape bool
}

func (m *macro) call(st *state, a args) (Value, error) {
	d := m.def
	if err := st.push(d.slots); err != nil {
		return Value{}, err
	}
	defer func() { st.depth-- }()
	act := &activation{slots: make([]Value, d.slots), parent: m.act}
	kw := a.kw
	owned := false
	take := func(name string) (Value, bool) {
		for i := range kw {
			if kw[i].name == name {
				if !owned {
					kw = append([]kwArg(nil), kw...)
					owned = true
				}
				v := kw[i].v
				kw = append(kw[:i], kw[i+1:]...)
				return v, true
			}
		}
		return Value{}, false
	}
	n := min(len(a.pos), len(d.args))
	for i := range n {
		act.slots[d.args[i].ref.slot] = a.pos[i]
	}
	foundCaller := false
	if n < len(d.args) {
		for _, p := range d.args[n:] {
			v, _ := take(p.name)
			act.slots[p.ref.slot] = v
			foundCaller = foundCaller || p.name == "caller"
		}
	} else {
		foundCaller = d.explicitCaller
	}
	if d.caller && !foundCaller {
		v, ok := take("caller")
		if !ok || v.k == KindNone {
			v = undefinedHint("No caller defined")
		}
		act.slots[d.callerSlot] = v
	}
	if d.kwargs {
		kd := NewDict(len(kw))
		for _, k := range kw {
			kd.setValue(k.key(), k.v)
		}
		act.slots[d.kwSlot] = kd.Value()
	} else if len(kw) > 0 {
		name := "None"
		if d.name != "" {
			name = pyRepr(d.name)
		}
		for _, k := range kw {
			if k.name == "caller" {
				return Value{}, typeErr("macro %s was invoked with two values for the special caller argument. This is most likely a bug.", name)
			}
		}
		return Value{}, typeErr("macro %s takes no keyword argument %s", name, pyRepr(kw[0].name))
	}
	if d.varargs {
		var rest []Value
		if len(a.pos) > len(d.args) {
			rest = append(rest, a.pos[len(d.args):]...)
		}
		act.slots[d.varSlot] = newTuple(rest...)
	} else if len(a.pos) > len(d.args) {
		name := "None"
		if d.name != "" {
			name = pyRepr(d.name)
		}
		return Value{}, typeErr("macro %s takes not more than %d argument(s)", name, len(d.args))
	}
	return m.run(st, act)
}

func (m *macro) run(st *state, act *activation) (Value, error) {
	d := m.def
	old, auto := st.act, st.autoescape
	st.act = act
	st.enter(&d.frame)
	for i, p := range d.args {
		slot := &act.slots[p.ref.slot]
		if slot.k != KindMissing {
			continue
		}
		j := i - (len(d.args) - len(d.defaults))
		if j < 0 {
			*slot = undefinedHint("parameter " + pyRepr(p.name) + " was not provided")
			continue
		}
		v, err := d.defaults[j].eval(st)
		if err != nil {
			st.act = old
			return Value{}, err
		}
		act.slots[p.ref.slot] = v
	}
	v, _, err := st.capture(func() (control, error) { return runBody(st, d.body) })
	st.act, st.autoescape = old, auto
	if auto {
		v = v.withMarkup()
	}
	return v, err
}

// loopCtx is the variable "loop". Exactly one of items and src is read.
type loopCtx struct {
	items   []Value
	src     iterator
	index0  int
	n       int // length, when src had to be read to its end; else 0
	known   bool
	before  Value
	current Value
	after   Value // peeked from src
	peeked  bool
	ended   bool // src ended while peeking
	changed args
	hasLast bool

	stmt   *forStmt
	outer  *activation
	depth0 int
}

func (l *loopCtx) advance(st *state) (bool, error) {
	var x Value
	if l.src == nil {
		if l.index0+1 >= len(l.items) {
			return false, nil
		}
		x = l.items[l.index0+1]
	} else {
		v, ok, err := l.peek(st)
		if err != nil || !ok {
			return false, err
		}
		x = v
		l.peeked = false
	}
	l.index0++
	l.before, l.current = l.current, x
	return true, nil
}

// peek returns the next item without taking it.
func (l *loopCtx) peek(st *state) (Value, bool, error) {
	if l.src == nil {
		if l.index0+1 < len(l.items) {
			return l.items[l.index0+1], true, nil
		}
		return Value{}, false, nil
	}
	if l.peeked {
		return l.after, true, nil
	}
	if l.ended {
		return Value{}, false, nil
	}
	v, ok, err := l.src.next(st)
	if err != nil || !ok {
		l.ended = true
		return Value{}, false, err
	}
	l.after, l.peeked = v, true
	return v, true, nil
}

// length reads a generator to its end. Without a state, an unread generator counts what is known.
func (l *loopCtx) length(st *state) (int, error) {
	if l.src == nil {
		return len(l.items), nil
	}
	if l.known || st == nil {
		return max(l.n, l.index0+1), nil
	}
	var rest []Value
	if !l.ended {
		for {
			v, ok, err := l.src.next(st)
			if err == nil && ok {
				err = st.spend(1, valueBytes)
			}
			if err != nil {
				return 0, err
			}
			if !ok {
				break
			}
			rest = append(rest, v)
		}
	}
	l.n = len(rest) + l.index0 + 1
	if l.peeked {
		l.n++
	}
	l.known, l.ended = true, false
	l.src = &sliceIter{items: rest}
	return l.n, nil
}

func (l *loopCtx) attr(st *state, name string) (Value, bool, error) {
	switch name {
	case "index":
		return Int(int64(l.index0 + 1)), true, nil
	case "index0":
		return Int(int64(l.index0)), true, nil
	case "first":
		return Bool(l.index0 == 0), true, nil
	case "last":
		_, ok, err := l.peek(st)
		return Bool(!ok), true, err
	case "length":
		n, err := l.length(st)
		return Int(int64(n)), true, err
	case "revindex":
		n, err := l.length(st)
		return Int(int64(n - l.index0)), true, err
	case "revindex0":
		n, err := l.length(st)
		return Int(int64(n - l.index0 - 1)), true, err
	case "depth":
		return Int(int64(l.depth0 + 1)), true, nil
	case "depth0":
		return Int(int64(l.depth0)), true, nil
	case "previtem":
		if l.index0 == 0 {
			return undefinedHint("there is no previous item"), true, nil
		}
		return l.before, true, nil
	case "nextitem":
		v, ok, err := l.peek(st)
		if err == nil && !ok {
			v = undefinedHint("there is no next item")
		}
		return v, true, err
	case "cycle":
		return object(&builtin{typ: "method", repr: "<bound method LoopContext.cycle of <LoopContext>>", fn: func(_ *state, a args) (Value, error) {
			if len(a.pos) == 0 {
				return Value{}, typeErr("no items for cycling given")
			}
			return a.pos[l.index0%len(a.pos)], nil
		}}), true, nil
	case "changed":
		return object(&builtin{typ: "method", repr: "<bound method LoopContext.changed of <LoopContext>>", fn: l.change}), true, nil
	}
	return Value{}, false, nil
}

func (l *loopCtx) change(st *state, a args) (Value, error) {
	same := l.hasLast && len(l.changed.pos) == len(a.pos)
	for i := 0; same && i < len(a.pos); i++ {
		eq, err := equal(st, l.changed.pos[i], a.pos[i], 0)
		if err != nil {
			return Value{}, err
		}
		same = eq
	}
	if !same {
		l.changed.pos, l.hasLast = append([]Value(nil), a.pos...), true
	}
	return Bool(!same), nil
}

func (l *loopCtx) call(st *state, a args) (Value, error) {
	p, err := a.bind("LoopContext.__call__", 1, "iterable")
	if err != nil {
		return Value{}, err
	}
	if !l.stmt.recursive {
		return Value{}, typeErr("The loop must have the 'recursive' marker to be called recursively.")
	}
	return l.stmt.recurse(st, p[0], l.outer, l.depth0+1)
}

// iterator yields items once, in order.
type iterator interface {
	next(st *state) (Value, bool, error)
}

// sliceIter walks items that exist already.
type sliceIter struct {
	items []Value
	i     int
	typ   string // Python's name for the iterator
}

func (s *sliceIter) next(*state) (Value, bool, error) {
	if s.i >= len(s.items) {
		return Value{}, false, nil
	}
	s.i++
	return s.items[s.i-1], true, nil
}

// genIter is a generator in Go.
type genIter struct {
	f    func(st *state) (Value, bool, error)
	done bool
}

func (g *genIter) next(st *state) (Value, bool, error) {
	if g.done {
		return Value{}, false, nil
	}
	if err := st.spend(1, 0); err != nil {
		return Value{}, false, err
	}
	if st.iters++; st.iters > maxNesting {
		return Value{}, false, errRecursion()
	}
	v, ok, err := g.f(st)
	st.iters--
	g.done = !ok || err != nil
	return v, ok, err
}

func generator(f func(st *state) (Value, bool, error)) Value {
	return Value{k: KindIterator, o: &genIter{f: f}}
}

// iterate is Python's iter(v).
func iterate(st *state, v Value) (iterator, error) {
	switch v.k {
	case KindList, KindTuple:
		return &sliceIter{items: v.items()}, nil
	case KindUndefined, KindMissing:
		return &sliceIter{}, nil
	case KindIterator:
		return v.o.(iterator), nil
	case KindDict, KindString, KindRange:
		items, err := toList(st, v)
		return &sliceIter{items: items}, err
	case KindObject:
		switch o := v.o.(type) {
		case *dictView:
			items, err := toList(st, v)
			return &sliceIter{items: items}, err
		case *loopCtx:
			return &genIter{f: func(st *state) (Value, bool, error) {
				ok, err := o.advance(st)
				return newTuple(o.current, v), ok, err
			}}, nil
		}
	}
	return nil, typeErr("'%s' object is not iterable", typeName(v))
}

// toList is Python's list(v); the result is not to be changed if v is a list or tuple.
func toList(st *state, v Value) ([]Value, error) {
	var out []Value
	switch v.k {
	case KindList, KindTuple:
		return v.items(), nil
	case KindDict:
		v = object(&dictView{v.dict(), 0})
		fallthrough
	case KindObject:
		if w, ok := v.o.(*dictView); ok {
			if err := st.spendProduct(w.d.Len(), 2*valueBytes); err != nil {
				return nil, err
			}
			out = make([]Value, w.d.Len())
			for i := range out {
				out[i] = w.at(i)
			}
			return out, nil
		}
	case KindString:
		if err := st.spendProduct(runeCount(v.s), valueBytes); err != nil {
			return nil, err
		}
		v.f &^= flagMarkup // items of a Markup are plain
		for i := 0; i < len(v.s); {
			n := runeLen(v.s[i:])
			out = append(out, v.sub(i, i+n))
			i += n
		}
		return out, nil
	case KindRange:
		r := v.o.(*rangeObj)
		if err := st.spendProduct(r.len(), valueBytes); err != nil {
			return nil, err
		}
		out = make([]Value, r.len())
		for i := range out {
			out[i] = Int(r.at(i))
		}
		return out, nil
	}
	it, err := iterate(st, v)
	if err != nil {
		return nil, err
	}
	for {
		x, ok, err := it.next(st)
		if err == nil && ok {
			err = st.spend(1, valueBytes)
		}
		if err != nil || !ok {
			return out, err
		}
		out = append(out, x)
	}
}

// bind maps arguments to parameters, of which the first required ones must be given. Others are missing.
func (a args) bind(fn string, required int, names ...string) ([8]Value, error) {
	var p [8]Value
	if len(a.pos) > len(names) {
		return p, typeErr("%s() takes at most %d positional arguments but %d were given", fn, len(names), len(a.pos))
	}
	copy(p[:], a.pos)
	for _, k := range a.kw {
		i := 0
		for i < len(names) && names[i] != k.name {
			i++
		}
		switch {
		case i == len(names):
			return p, typeErr("%s() got an unexpected keyword argument '%s'", fn, k.name)
		case i < len(a.pos):
			return p, typeErr("%s() got multiple values for argument '%s'", fn, k.name)
		}
		p[i] = k.v
	}
	for i := range required {
		if p[i].k == KindMissing {
			return p, typeErr("%s() missing required argument: '%s'", fn, names[i])
		}
	}
	return p, nil
}

// plain is bind for builtins that take positional arguments only.
func (a args) plain(fn string, required, most int) ([8]Value, error) {
	var p [8]Value
	if len(a.kw) > 0 {
		return p, typeErr("%s() takes no keyword arguments", fn)
	}
	if len(a.pos) < required || len(a.pos) > most {
		return p, typeErr("%s expected %d to %d arguments, got %d", fn, required, most, len(a.pos))
	}
	copy(p[:], a.pos)
	return p, nil
}
