package jinja

import ()

func filterUnique(st *state, a args) (Value, error) {
	p, err := a.bind("do_unique", 1, "value", "case_sensitive", "attribute")
	if err != nil {
		return Value{}, err
	}
	path := attrParts(p[2])
	fold := !truth(p[1])
	seen := map[string]bool{}
	var it iterator
	return generator(func(st *state) (Value, bool, error) {
		if it == nil {
			var err error
			if it, err = iterate(st, p[0]); err != nil {
				return Value{}, false, err
			}
		}
		for {
			v, ok, err := it.next(st)
			if err != nil || !ok {
				return v, false, err
			}
			key, err := path.get(st, v, Value{})
			if err != nil {
				return v, false, err
			}
			if fold {
				key = ignoreCase(key)
			}
			h, err := hashKey(key, 0)
			if err == nil {
				err = st.spend(1, len(h)+valueBytes)
			}
			if err != nil {
				return v, false, err
			}
			if !seen[h] {
				seen[h] = true
				return v, true, nil
			}
		}
	}), nil
}

func filterSlice(st *state, a args) (Value, error) {
	p, err := a.bind("do_slice", 2, "value", "slices", "fill_with")
	if err != nil {
		return Value{}, err
	}
	n := 0
	var seq []Value
	i, offset, started := 0, 0, false
	return generator(func(st *state) (Value, bool, error) {
		if !started {
			started = true
			var err error
			if seq, err = toList(st, p[0]); err != nil {
				return Value{}, false, err
			}
			if n, err = toInt(p[1]); err != nil {
				return Value{}, false, typeErr("unsupported operand type(s) for //: 'int' and '%s'", typeName(p[1]))
			}
			if n == 0 {
				return Value{}, false, errf("ZeroDivisionError", "integer division or modulo by zero")
			}
		}
		if i >= n {
			return Value{}, false, nil
		}
		per, extra := len(seq)/n, len(seq)%n
		start := offset + i*per
		if i < extra {
			offset++
		}
		end := offset + (i+1)*per
		part := append([]Value(nil), seq[start:end]...)
		if p[2].k != KindMissing && p[2].k != KindNone && i >= extra {
			part = append(part, p[2])
		}
		i++
		return NewList(part), true, st.spend(1, valueBytes*(1+len(part)))
	}), nil
}

func filterBatch(st *state, a args) (Value, error) {
	p, err := a.bind("do_batch", 2, "value", "linecount", "fill_with")
	if err != nil {
		return Value{}, err
	}
	var it iterator
	var n int
	var head Value
	more := false
	return generator(func(st *state) (Value, bool, error) {
		if it == nil {
			var err error
			if it, err = iterate(st, p[0]); err != nil {
				return Value{}, false, err
			}
			if n, err = toInt(p[1]); err != nil {
				n = -1 // compares unequal to every length
			}
			if n == 0 {
				return NewList(nil), true, nil
			}
		}
		var row []Value
		if more {
			row, more = append(row, head), false
		}
		for {
			v, ok, err := it.next(st)
			if err == nil && ok {
				err = st.spend(1, valueBytes)
			}
			if err != nil {
				return Value{}, false, err
			}
			if !ok {
				break
			}
			if len(row) == n || n == 0 && len(row) > 0 {
				head, more = v, true
				return NewList(row), true, nil
			}
			row = append(row, v)
		}
		if len(row) == 0 {
			return Value{}, false, nil
		}
		if p[2].k != KindMissing && p[2].k != KindNone && len(row) < n {
			if err := st.spendProduct(n-len(row), valueBytes); err != nil {
				return Value{}, false, err
			}
			for len(row) < n {
				row = append(row, p[2])
			}
		}
		return NewList(row), true, nil
	}), nil
}

// lazily makes a generator over p that starts to read when it is first asked, as Jinja's map and select do.
func lazily(v Value, step func(st *state, x Value) (Value, bool, error)) Value {
	var it iterator
	return generator(func(st *state) (Value, bool, error) {
		if it == nil {
			if !truth(v) {
				return Value{}, false, nil
			}
			var err error
			if it, err = iterate(st, v); err != nil {
				return Value{}, false, err
			}
		}
		for {
			x, ok, err := it.next(st)
			if err != nil || !ok {
				return x, false, err
			}
			y, keep, err := step(st, x)
			if err != nil || keep {
				return y, true, err
			}
			if err := st.spend(1, 0); err != nil {
				return x, false, err
			}
		}
	})
}

func (a args) clone() args {
	return args{append([]Value(nil), a.pos...), append([]kwArg(nil), a.kw...)}
}

func filterMap(st *state, a args) (Value, error) {
	a = a.clone()
	src := a.pos[0]
	var attribute, def Value
	byAttr := false
	if len(a.pos) == 1 {
		for _, k := range a.kw {
			byAttr = byAttr || k.name == "attribute"
		}
	}
	var bad error
	if byAttr {
		for _, k := range a.kw {
			switch k.name {
			case "attribute":
				attribute = k.v
			case "default":
				def = k.v
			default:
				bad = filterErr("Unexpected keyword argument %s", pyRepr(k.name))
			}
		}
	} else if len(a.pos) == 1 {
		bad = filterErr("map requires a filter argument")
	}
	path := attrParts(attribute)
	return lazily(src, func(st *state, x Value) (Value, bool, error) {
		if bad != nil {
			return x, false, bad
		}
		if byAttr {
			v, err := path.get(st, x, def)
			return v, true, err
		}
		f, err := namedFilter(a.pos[1])
		if err != nil {
			return x, false, err
		}
		pos := append([]Value{x}, a.pos[2:]...)
		v, err := f(st, args{pos, a.kw})
		return v, true, err
	}), nil
}

func missingName(kind string, v Value) error {
	var b strBuilder
	appendRepr(&b, v, 0)
	msg := "No " + kind + " named " + string(b.b) + "."
	if v.k == KindUndefined {
		if e, ok := undefError(v).(*Error); ok {
			msg += " (" + e.Msg + "; did you forget to quote the callable name?)"
		}
	}
	return errf("TemplateRuntimeError", "%s", msg)
}

func namedFilter(v Value) (filterFunc, error) {
	if f := filters[v.Text()]; f != nil {
		return f, nil
	}
	return nil, missingName("filter", v)
}

func selector(name string, byAttr, reject bool) filterFunc {
	return func(st *state, a args) (Value, error) {
		a = a.clone()
		off := 1
		var path attrPath
		var bad error
		if byAttr {
			off = 2
			if len(a.pos) < 2 {
				bad = filterErr("Missing parameter for attribute name")
			} else {
				path = attrParts(a.pos[1])
			}
		}
		return lazily(a.pos[0], func(st *state, x Value) (Value, bool, error) {
			if bad != nil {
				return x, false, bad
			}
			v, err := path.get(st, x, Value{})
			if err != nil {
				return x, false, err
			}
			ok := false
			if len(a.pos) > off {
				f := tests[a.pos[off].Text()]
				if f == nil {
					return x, false, missingName("test", a.pos[off])
				}
				pos := append([]Value{v}, a.pos[off+1:]...)
				r, err := f(st, args{pos, a.kw})
				if err != nil {
					return x, false, err
				}
				ok = truth(r)
			} else {
				ok = truth(v)
			}
			return x, ok != reject, nil
		}), nil
	}
}
