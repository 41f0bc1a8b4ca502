package jinja

import (
	"math/big"
	"time"
)

func bigFloat(f float64) *big.Float { return new(big.Float).SetFloat64(f) }

// maxRange is the longest range that the sandbox makes.
const maxRange = 100000

// globals are the names that every template knows.
var globals map[string]Value

func init() {
	class := func(name string, repr string, fn func(*state, args) (Value, error)) Value {
		return object(&builtin{name: name, typ: "type", repr: repr, fn: fn})
	}
	function := func(name string, fn func(*state, args) (Value, error)) Value {
		return object(&builtin{name: name, typ: "function", repr: "<function " + name + " at 0x7f0000000000>", fn: fn})
	}
	globals = map[string]Value{
		"range":           function("range", newRange),
		"dict":            object(&builtin{name: "dict", typ: "TemplateDict", repr: "<TemplateDict object at 0x7f0000000000>", fn: newDict}),
		"namespace":       class("namespace", "<class 'TemplateNamespace'>", newNamespace),
		"cycler":          class("cycler", "<class 'jinja2.utils.Cycler'>", newCycler),
		"joiner":          class("joiner", "<class 'jinja2.utils.Joiner'>", newJoiner),
		"lipsum":          function("lipsum", func(*state, args) (Value, error) { return Value{}, typeErr("lipsum is not supported") }),
		"raise_exception": function("raise_exception", raiseException),
		"strftime_now":    function("strftime_now", strftimeNow),
	}
}

func raiseException(st *state, a args) (Value, error) {
	p, err := a.bind("raise_exception", 1, "message")
	if err != nil {
		return Value{}, err
	}
	msg, err := toStr(st, p[0])
	if err != nil {
		return Value{}, err
	}
	return Value{}, &Error{Type: "TemplateError", Msg: msg.s}
}

func strftimeNow(st *state, a args) (Value, error) {
	p, err := a.bind("strftime_now", 1, "format")
	if err == nil {
		err = wantStr(p[0], "strftime() argument 1")
	}
	if err != nil {
		return Value{}, err
	}
	now := time.Now
	if st.now != nil {
		now = st.now
	}
	s := strftime(now(), p[0].s)
	return p[0].like(s), st.spendText(len(p[0].s), len(s))
}

func newRange(_ *state, a args) (Value, error) {
	p, err := a.plain("range", 1, 3)
	if err != nil {
		return Value{}, err
	}
	var n [3]int64
	for i, v := range p[:len(a.pos)] {
		switch v.k {
		case KindInt, KindBool:
			n[i] = v.int()
		case KindUndefined:
			return Value{}, undefError(v)
		case KindBig:
			return Value{}, errf("OverflowError", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", maxRange)
		default:
			return Value{}, typeErr("'%s' object cannot be interpreted as an integer", typeName(v))
		}
	}
	r := &rangeObj{n[0], n[1], n[2]}
	switch len(a.pos) {
	case 1:
		r = &rangeObj{0, n[0], 1}
	case 2:
		r.step = 1
	}
	if r.step == 0 {
		return Value{}, valueErr("range() arg 3 must not be zero")
	}
	if l := r.len(); l > maxRange || l < 0 {
		return Value{}, errf("OverflowError", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", maxRange)
	}
	return Value{k: KindRange, o: r}, nil
}

// newDict is Python's dict(mapping or pairs, **kwargs).
func newDict(st *state, a args) (Value, error) {
	d, err := dictFrom(st, a)
	if err != nil {
		return Value{}, err
	}
	return d.Value(), nil
}

func dictFrom(st *state, a args) (*Dict, error) {
	if len(a.pos) > 1 {
		return nil, typeErr("dict expected at most 1 argument, got %d", len(a.pos))
	}
	d := NewDict(len(a.kw))
	if len(a.pos) == 1 {
		src := a.pos[0]
		if src.k == KindDict {
			if err := st.spendProduct(src.dict().Len(), 2*valueBytes); err != nil {
				return nil, err
			}
			d = src.dict().copy()
		} else {
			it, err := iterate(st, src)
			if err != nil {
				return nil, err
			}
			for i := 0; ; i++ {
				x, ok, err := it.next(st)
				if err == nil && ok {
					err = st.spend(1, 2*valueBytes)
				}
				if err != nil {
					return nil, err
				}
				if !ok {
					break
				}
				if _, err := iterate(st, x); err != nil {
					return nil, typeErr("cannot convert dictionary update sequence element #%d to a sequence", i)
				}
				pair, err := toList(st, x)
				if err != nil {
					return nil, err
				}
				if len(pair) != 2 {
					return nil, valueErr("dictionary update sequence element #%d has length %d; 2 is required", i, len(pair))
				}
				if err := d.setValue(pair[0], pair[1]); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, k := range a.kw {
		if err := d.setValue(k.key(), k.v); err != nil {
			return nil, err
		}
	}
	return d, st.spend(1, 2*valueBytes*len(a.kw))
}

func newNamespace(st *state, a args) (Value, error) {
	d, err := dictFrom(st, a)
	if err != nil {
		return Value{}, err
	}
	for _, e := range d.entries {
		if err := checkNamespaceKey(e.key); err != nil {
			return Value{}, err
		}
	}
	return object(&namespace{d}), nil
}

func newCycler(st *state, a args) (Value, error) {
	if len(a.kw) > 0 {
		return Value{}, typeErr("Cycler.__init__() got an unexpected keyword argument '%s'", a.kw[0].name)
	}
	if len(a.pos) == 0 {
		return Value{}, errf("RuntimeError", "at least one item has to be provided")
	}
	return object(&cycler{items: append([]Value(nil), a.pos...)}), st.spend(1, valueBytes*len(a.pos))
}

func newJoiner(_ *state, a args) (Value, error) {
	p, err := a.bind("Joiner.__init__", 0, "sep")
	if err != nil {
		return Value{}, err
	}
	if p[0].k == KindMissing {
		p[0] = String(", ")
	}
	return object(&joiner{sep: p[0]}), nil
}
