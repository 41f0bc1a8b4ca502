package jinja

func (e *constExpr) eval(*state) (Value, error) { return e.v, nil }
func (e *dataExpr) eval(*state) (Value, error)  { return String(e.text), nil }

func (e *nameExpr) eval(st *state) (Value, error) {
	v := *st.at(e.ref)
	if v.k == KindMissing {
		return undefinedName(e.name), nil
	}
	return v, nil
}

func (e *nsRef) eval(st *state) (Value, error) { return *st.at(e.ref), nil }

func evalAll(st *state, list []expr) ([]Value, error) {
	if err := st.spend(1, valueBytes*len(list)); err != nil {
		return nil, err
	}
	items := make([]Value, len(list))
	for i, x := range list {
		v, err := x.eval(st)
		if err != nil {
			return nil, err
		}
		items[i] = v
	}
	return items, nil
}

func (e *tupleExpr) eval(st *state) (Value, error) {
	items, err := evalAll(st, e.items)
	return newTuple(items...), err
}

func (e *listExpr) eval(st *state) (Value, error) {
	items, err := evalAll(st, e.items)
	return NewList(items), err
}

func (e *dictExpr) eval(st *state) (Value, error) {
	if err := st.spend(1, 2*valueBytes*len(e.keys)); err != nil {
		return Value{}, err
	}
	d := NewDict(len(e.keys))
	for i := range e.keys {
		k, err := e.keys[i].eval(st)
		if err != nil {
			return Value{}, err
		}
		v, err := e.vals[i].eval(st)
		if err != nil {
			return Value{}, err
		}
		if err := d.setValue(k, v); err != nil {
			return Value{}, err
		}
	}
	return d.Value(), nil
}

func (e *attrExpr) eval(st *state) (Value, error) {
	obj, err := e.obj.eval(st)
	if err != nil {
		return obj, err
	}
	if obj.k == KindDict && e.m == nil {
		if v, ok := obj.dict().getString(e.name); ok {
			return v, nil
		}
	}
	return getattr(st, obj, e.name, e.m)
}

func (e *itemExpr) eval(st *state) (Value, error) {
	obj, err := e.obj.eval(st)
	if err != nil {
		return obj, err
	}
	key, err := e.key.eval(st)
	if err != nil {
		return key, err
	}
	if obj.k == KindDict && key.k == KindString {
		if v, ok := obj.dict().getString(key.s); ok {
			return v, nil
		}
	}
	return getitem(st, obj, key)
}

func (e *sliceExpr) eval(st *state) (Value, error) {
	obj, err := e.obj.eval(st)
	if err != nil {
		return obj, err
	}
	var part [3]Value
	for i, x := range [...]expr{e.start, e.stop, e.step} {
		part[i] = None
		if x != nil {
			if part[i], err = x.eval(st); err != nil {
				return Value{}, err
			}
		}
	}
	v, err := slice(st, obj, part[0], part[1], part[2])
	if st.folding && isType(err, "TypeError") {
		return undefinedHint("a slice of " + typeName(obj)), nil
	}
	return v, err
}

func (e *binExpr) eval(st *state) (Value, error) {
	if st.steps--; st.steps < 0 {
		return Value{}, budgetErr("the template runs for too long")
	}
	l, err := e.left.eval(st)
	if err != nil {
		return l, err
	}
	r, err := e.right.eval(st)
	if err != nil {
		return r, err
	}
	v, err := binary(st, e.op, l, r)
	if err != nil {
		return v, withLine(err, e.line)
	}
	return v, nil
}

func (e *logicExpr) eval(st *state) (Value, error) {
	l, err := e.left.eval(st)
	if err != nil || truth(l) == e.or {
		return l, err
	}
	return e.right.eval(st)
}

func (e *notExpr) eval(st *state) (Value, error) {
	v, err := e.obj.eval(st)
	if err != nil {
		return v, err
	}
	return Bool(!truth(v)), nil
}

func (e *negExpr) eval(st *state) (Value, error) {
	v, err := e.obj.eval(st)
	if err != nil {
		return v, err
	}
	return negate(v, "-")
}

func (e *posExpr) eval(st *state) (Value, error) {
	v, err := e.obj.eval(st)
	if err != nil {
		return v, err
	}
	return negate(v, "+")
}

func (e *catExpr) eval(st *state) (Value, error) {
	var b strBuilder
	if st.autoescape {
		return e.escaped(st)
	}
	for _, x := range e.items {
		v, err := x.eval(st)
		if err != nil {
			return v, err
		}
		if err := appendStr(&b, v); err != nil {
			return v, err
		}
		if len(b.b) > st.maxBytes {
			return v, budgetErr("the template uses too much memory")
		}
	}
	return b.value(), st.spendText(len(b.b), len(b.b))
}

// escaped joins as markupsafe does: from the first safe string on, the others are escaped.
func (e *catExpr) escaped(st *state) (Value, error) {
	items, err := evalAll(st, e.items)
	if err != nil {
		return Value{}, err
	}
	safe := false
	for _, v := range items {
		safe = safe || v.isMarkup()
	}
	var b strBuilder
	for _, v := range items {
		if safe {
			if v, err = escapeHTML(st, v); err != nil {
				return Value{}, err
			}
		}
		if err := appendStr(&b, v); err != nil {
			return Value{}, err
		}
	}
	v := b.value()
	if safe {
		v = v.withMarkup()
	}
	return v, st.spendText(len(b.b), len(b.b))
}

func (e *cmpExpr) eval(st *state) (Value, error) {
	l, err := e.first.eval(st)
	if err != nil {
		return l, err
	}
	for i, op := range e.ops {
		r, err := e.rest[i].eval(st)
		if err != nil {
			return r, err
		}
		ok, err := compare(st, op, l, r)
		if err != nil || !ok {
			return vFalse, err
		}
		l = r
	}
	return vTrue, nil
}

func (e *condExpr) eval(st *state) (Value, error) {
	t, err := e.test.eval(st)
	if err != nil {
		return t, err
	}
	if truth(t) {
		return e.yes.eval(st)
	}
	if e.no == nil {
		return undefinedHint("the inline if-expression on line " + itoa(e.line) + " evaluated to false and no else section was defined."), nil
	}
	return e.no.eval(st)
}

// kwArg is a keyword argument.
type kwArg struct {
	name string
	v    Value
	f    uint8 // flagTainted: the name came from data, through **
}

// key is the argument's name as a value.
func (k kwArg) key() Value { return Value{k: KindString, s: k.name, f: k.f} }

// args is what a callable gets. The slices are only lent for the call.
type args struct {
	pos []Value
	kw  []kwArg
}

// eval pushes the arguments on the state's stacks; first, if set, goes before the others. The caller pops.
func (c *callArgs) eval(st *state, first *Value, caller *Value) (args, int, int, error) {
	base, kbase := len(st.stack), len(st.kws)
	fail := func(err error) (args, int, int, error) {
		st.stack, st.kws = st.stack[:base], st.kws[:kbase]
		return args{}, base, kbase, err
	}
	if err := st.spend(1+len(c.pos), 0); err != nil {
		return fail(err)
	}
	if first != nil {
		st.stack = append(st.stack, *first)
	}
	for _, x := range c.pos {
		v, err := x.eval(st)
		if err != nil {
			return fail(err)
		}
		st.stack = append(st.stack, v)
	}
	for i, x := range c.kwVals {
		v, err := x.eval(st)
		if err != nil {
			return fail(err)
		}
		st.kws = append(st.kws, kwArg{name: c.kwNames[i], v: v})
	}
	if caller != nil {
		st.kws = append(st.kws, kwArg{name: "caller", v: *caller})
	}
	if c.dynPos != nil {
		v, err := c.dynPos.eval(st)
		if err != nil {
			return fail(err)
		}
		it, err := iterate(st, v)
		if err != nil {
			if v.k == KindUndefined {
				return fail(err)
			}
			return fail(typeErr("argument after * must be an iterable, not %s", typeName(v)))
		}
		for {
			x, ok, err := it.next(st)
			if err == nil && ok {
				err = st.spend(1, valueBytes)
			}
			if err != nil {
				return fail(err)
			}
			if !ok {
				break
			}
			st.stack = append(st.stack, x)
		}
	}
	if c.dynKw != nil {
		v, err := c.dynKw.eval(st)
		if err != nil {
			return fail(err)
		}
		if v.k != KindDict {
			if v.k == KindUndefined {
				return fail(undefError(v))
			}
			return fail(typeErr("argument after ** must be a mapping, not %s", typeName(v)))
		}
		for _, e := range v.dict().entries {
			if e.key.k != KindString {
				return fail(typeErr("keywords must be strings"))
			}
			for _, k := range st.kws[kbase:] {
				if k.name == e.key.s {
					return fail(typeErr("got multiple values for keyword argument '%s'", e.key.s))
				}
			}
			st.kws = append(st.kws, kwArg{e.key.s, e.val, e.key.like(e.key.s).f & flagTainted})
			if err := st.spend(1, valueBytes); err != nil {
				return fail(err)
			}
		}
	}
	return args{st.stack[base:len(st.stack):len(st.stack)], st.kws[kbase:len(st.kws):len(st.kws)]}, base, kbase, nil
}

func (st *state) pop(base, kbase int) { st.stack, st.kws = st.stack[:base], st.kws[:kbase] }

func (e *callExpr) eval(st *state) (Value, error) {
	v, err := e.call(st, Value{})
	if err != nil {
		return v, withLine(err, e.line)
	}
	return v, nil
}

// call calls with a caller, if it is not missing.
func (e *callExpr) call(st *state, caller Value) (Value, error) {
	var self Value
	var m method
	var fn Value
	var err error
	if a, ok := e.fn.(*attrExpr); ok && a.m != nil {
		if self, err = a.obj.eval(st); err != nil {
			return self, err
		}
		if m = a.m.of(self); m == nil {
			fn, err = getattr(st, self, a.name, a.m)
		}
	} else {
		fn, err = e.fn.eval(st)
	}
	if err != nil {
		return fn, err
	}
	var cp *Value
	if caller.k != KindMissing {
		cp = &caller
	}
	a, base, kbase, err := e.callArgs.eval(st, nil, cp)
	if err != nil {
		return Value{}, err
	}
	var v Value
	if m != nil {
		v, err = m(st, self, a)
	} else {
		v, err = callValue(st, fn, a)
	}
	st.pop(base, kbase)
	return v, err
}

func callValue(st *state, fn Value, a args) (Value, error) {
	if fn.k == KindUndefined || fn.k == KindMissing {
		return Value{}, undefError(fn)
	}
	if err := st.spend(1, 0); err != nil {
		return Value{}, err
	}
	switch o := fn.o.(type) {
	case *builtin:
		return o.fn(st, a)
	case *boundMethod:
		return o.m(st, o.self, a)
	case *macro:
		return o.call(st, a)
	case *loopCtx:
		return o.call(st, a)
	case *joiner:
		if len(a.pos)+len(a.kw) > 0 {
			return Value{}, typeErr("Joiner.__call__() takes 1 positional argument but %d were given", 1+len(a.pos))
		}
		if o.used {
			return o.sep, nil
		}
		o.used = true
		return vEmpty, nil
	case *blockRef:
		return st.captureBlock(o.def)
	}
	return Value{}, typeErr("'%s' object is not callable", typeName(fn))
}

func (st *state) captureBlock(d *blockDef) (Value, error) {
	v, _, err := st.capture(func() (control, error) { return ctlNext, st.runBlock(d) })
	if st.autoescape {
		v = v.withMarkup()
	}
	return v, err
}

func (e *filterExpr) eval(st *state) (Value, error) {
	v, err := e.obj.eval(st)
	if err != nil {
		return v, err
	}
	if v, err = e.apply(st, v); err != nil {
		return v, withLine(err, e.line)
	}
	return v, nil
}

// apply runs the filter on v, and in a filter block the filters before it.
func (e *filterExpr) apply(st *state, v Value) (Value, error) {
	if inner, ok := e.obj.(*filterExpr); ok && inner.open() {
		var err error
		if v, err = inner.apply(st, v); err != nil {
			return v, err
		}
	}
	a, base, kbase, err := e.callArgs.eval(st, &v, nil)
	if err != nil {
		return v, err
	}
	if e.fn == nil {
		err = errf("TemplateRuntimeError", "No filter named %s found.", pyRepr(e.name))
		if len(a.kw) > 0 {
			err = typeErr("got an unexpected keyword argument '%s'", a.kw[0].name)
		}
	} else {
		v, err = e.fn(st, a)
	}
	st.pop(base, kbase)
	return v, err
}

// open reports whether a chain of filters starts at the text of a block.
func (e *filterExpr) open() bool {
	for {
		if e.obj == nil {
			return true
		}
		inner, ok := e.obj.(*filterExpr)
		if !ok {
			return false
		}
		e = inner
	}
}

func (e *testExpr) eval(st *state) (Value, error) {
	v, err := e.obj.eval(st)
	if err != nil {
		return v, err
	}
	if e.fn == nil {
		return v, errf("TemplateRuntimeError", "No test named %s found.", pyRepr(e.name))
	}
	if len(e.pos) == 0 && len(e.kwVals) == 0 && e.dynPos == nil && e.dynKw == nil {
		if simple := simpleTests[e.name]; simple != nil {
			return Bool(simple(v)), nil
		}
	}
	a, base, kbase, err := e.callArgs.eval(st, &v, nil)
	if err != nil {
		return v, err
	}
	v, err = e.fn(st, a)
	st.pop(base, kbase)
	if err != nil {
		return v, withLine(err, e.line)
	}
	return v, nil
}
