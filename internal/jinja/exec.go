package jinja

func runBody(st *state, body []stmt) (control, error) {
	for _, s := range body {
		if st.steps--; st.steps < 0 {
			return ctlNext, budgetErr("the template runs for too long")
		}
		ctl, err := s.exec(st)
		if ctl != ctlNext || err != nil {
			return ctl, err
		}
	}
	return ctlNext, nil
}

func (s *outputStmt) exec(st *state) (control, error) {
	for _, e := range s.items {
		if d, ok := e.(*dataExpr); ok {
			if err := st.writeData(d.text); err != nil {
				return ctlNext, err
			}
			continue
		}
		var err error
		if p, ok := e.(printer); ok {
			err = p.print(st)
		} else {
			var v Value
			if v, err = e.eval(st); err == nil {
				err = st.write(v)
			}
		}
		if err != nil {
			return ctlNext, withLine(err, s.line)
		}
	}
	return ctlNext, nil
}

func (s *ifStmt) exec(st *state) (control, error) {
	v, err := s.test.eval(st)
	if err != nil {
		return ctlNext, withLine(err, s.line)
	}
	if truth(v) {
		return runBody(st, s.body)
	}
	for _, e := range s.elifs {
		if v, err = e.test.eval(st); err != nil {
			return ctlNext, withLine(err, e.line)
		}
		if truth(v) {
			return runBody(st, e.body)
		}
	}
	return runBody(st, s.else_)
}

func (s *setStmt) exec(st *state) (control, error) {
	for _, r := range s.nsRefs {
		if _, ok := st.at(r.ref).o.(*namespace); !ok {
			return ctlNext, &Error{Type: "TemplateRuntimeError", Msg: "cannot assign attribute on non-namespace object", Line: s.line}
		}
	}
	v, err := s.value.eval(st)
	if err == nil {
		err = assign(st, s.target, v)
	}
	if err != nil {
		return ctlNext, withLine(err, s.line)
	}
	st.export(s.export)
	return ctlNext, nil
}

func (st *state) export(vars []exportVar) {
	for _, x := range vars {
		st.setContext(x.name, *st.at(x.ref))
	}
}

func (st *state) setContext(name string, v Value) {
	if st.ctx == nil {
		st.ctx = map[string]Value{}
	}
	st.ctx[name] = v
}

func assign(st *state, target expr, v Value) error {
	switch t := target.(type) {
	case *nameExpr:
		*st.at(t.ref) = v
		return nil
	case *nsRef:
		ns, ok := st.at(t.ref).o.(*namespace)
		if !ok {
			return errf("TemplateRuntimeError", "cannot assign attribute on non-namespace object")
		}
		return ns.set(st, String(t.attr), v)
	case *tupleExpr:
		want := len(t.items)
		var items []Value
		if v.isSequence() {
			items = v.items()
		} else {
			it, err := iterate(st, v)
			if err != nil {
				if v.k == KindUndefined {
					return err
				}
				return typeErr("cannot unpack non-iterable %s object", typeName(v))
			}
			for len(items) <= want {
				x, ok, err := it.next(st)
				if err != nil {
					return err
				}
				if !ok {
					break
				}
				items = append(items, x)
			}
		}
		if len(items) < want {
			return valueErr("not enough values to unpack (expected %d, got %d)", want, len(items))
		}
		if len(items) > want {
			return valueErr("too many values to unpack (expected %d)", want)
		}
		for i, x := range t.items {
			if err := assign(st, x, items[i]); err != nil {
				return err
			}
		}
		return nil
	}
	return typeErr("cannot assign")
}

func (s *setBlockStmt) exec(st *state) (control, error) {
	st.enter(&s.frame)
	v, ctl, err := st.capture(func() (control, error) { return runBody(st, s.body) })
	if err != nil || ctl != ctlNext {
		return ctl, err
	}
	if st.autoescape {
		v = v.withMarkup()
	}
	if s.filter != nil {
		if v, err = s.filter.apply(st, v); err != nil {
			return ctlNext, withLine(err, s.line)
		}
	}
	if st.autoescape {
		if v, err = markup(st, v); err != nil {
			return ctlNext, withLine(err, s.line)
		}
	}
	if err := assign(st, s.target, v); err != nil {
		return ctlNext, withLine(err, s.line)
	}
	st.export(s.export)
	st.leave(&s.frame)
	return ctlNext, nil
}

func (s *filterStmt) exec(st *state) (control, error) {
	st.enter(&s.frame)
	v, ctl, err := st.capture(func() (control, error) { return runBody(st, s.body) })
	if err != nil || ctl != ctlNext {
		return ctl, err
	}
	if st.autoescape {
		v = v.withMarkup()
	}
	if v, err = s.filter.apply(st, v); err == nil {
		err = st.writeJoined(v)
	}
	st.leave(&s.frame)
	return ctlNext, withLine(err, s.line)
}

// writeJoined writes what Jinja passes to "".join without str(). The join comes last, and so does its error.
func (st *state) writeJoined(v Value) error {
	if v.k != KindString {
		if st.joinErr == nil {
			st.joinErr = typeErr("sequence item 0: expected str instance, %s found", typeName(v))
		}
		return nil
	}
	auto := st.autoescape
	st.autoescape = false
	err := st.write(v)
	st.autoescape = auto
	return err
}

func (s *withStmt) exec(st *state) (control, error) {
	st.enter(&s.frame)
	for i, t := range s.targets {
		v, err := s.values[i].eval(st)
		if err == nil {
			err = assign(st, t, v)
		}
		if err != nil {
			return ctlNext, withLine(err, s.line)
		}
	}
	ctl, err := runBody(st, s.body)
	st.leave(&s.frame)
	return ctl, err
}

func (s *scopeStmt) exec(st *state) (control, error) {
	st.enter(&s.frame)
	old := st.autoescape
	v, err := s.value.eval(st)
	if err != nil {
		return ctlNext, withLine(err, s.line)
	}
	st.autoescape = truth(v)
	ctl, err := runBody(st, s.body)
	if ctl == ctlNext {
		st.autoescape = old // a break leaves it set, as in Jinja
	}
	st.leave(&s.frame)
	return ctl, err
}

func (s *breakStmt) exec(*state) (control, error)    { return ctlBreak, nil }
func (s *continueStmt) exec(*state) (control, error) { return ctlContinue, nil }

func (s *macroStmt) exec(st *state) (control, error) {
	v := object(&macro{def: s.def, act: st.act, escape: st.autoescape})
	*st.at(s.ref) = v
	if s.top {
		st.setContext(s.def.name, v)
	}
	return ctlNext, st.spend(1, 64)
}

func (s *callStmt) exec(st *state) (control, error) {
	v, err := s.call.call(st, object(&macro{def: s.def, act: st.act, escape: st.autoescape}))
	if err == nil {
		err = st.writeJoined(v)
	}
	if err != nil {
		return ctlNext, withLine(err, s.line)
	}
	return ctlNext, nil
}

func (s *generationStmt) exec(st *state) (control, error) {
	at := len(st.out.b)
	v, err := (&macro{def: s.def, act: st.act, escape: st.autoescape}).call(st, args{})
	if err == nil {
		err = st.writeJoined(v)
	}
	if err == nil && st.captures == 0 {
		st.generated = append(st.generated, Span{at, len(st.out.b)})
	}
	return ctlNext, err
}

func (s *loadStmt) exec(st *state) (control, error) {
	if _, err := s.source.eval(st); err != nil {
		return ctlNext, withLine(err, s.line)
	}
	return ctlNext, &Error{Type: "TypeError", Msg: "no loader for this environment specified", Line: s.line}
}

func (s *blockStmt) exec(st *state) (control, error) {
	d := st.tmpl.blocks[s.name]
	if s.required {
		return ctlNext, &Error{Type: "TemplateRuntimeError", Msg: "Required block " + pyRepr(s.name) + " not found", Line: s.line}
	}
	if !s.scoped {
		return ctlNext, st.runBlock(d)
	}
	old := st.ctx
	ctx := make(map[string]Value, len(old)+len(s.locals))
	for k, v := range old {
		ctx[k] = v
	}
	for _, l := range s.locals {
		if v := *st.at(l.ref); v.k != KindMissing {
			ctx[l.name] = v
		}
	}
	if err := st.spend(1, 64*len(ctx)); err != nil {
		return ctlNext, err
	}
	st.ctx = ctx
	err := st.runBlock(d)
	st.ctx = old
	return ctlNext, err
}

// runBlock runs a block in a fresh scope that sees the context.
func (st *state) runBlock(d *blockDef) error {
	if err := st.push(d.slots); err != nil {
		return err
	}
	old := st.act
	st.act = &activation{slots: make([]Value, d.slots)}
	if d.self >= 0 {
		st.act.slots[d.self] = object(&selfRef{})
	}
	if d.super >= 0 {
		st.act.slots[d.super] = undefinedHint("there is no parent block called " + pyRepr(d.name) + ".")
	}
	if st.ctx == nil {
		st.ctx = map[string]Value{} // names are looked up when the block is entered
	}
	st.enter(&d.frame)
	_, err := runBody(st, d.body)
	st.act = old
	st.depth--
	return err
}

// push pays for a call with n variables.
func (st *state) push(n int) error {
	if st.depth++; st.depth > st.maxDepth {
		return errRecursion()
	}
	return st.spend(2, 64+valueBytes*n)
}

func (s *forStmt) exec(st *state) (control, error) {
	v, err := s.iter.eval(st)
	if err != nil {
		return ctlNext, withLine(err, s.line)
	}
	if s.recursive {
		out, err := s.recurse(st, v, st.act, 0)
		if err == nil {
			err = st.writeJoined(out)
		}
		return ctlNext, err
	}
	ctl, err := s.run(st, v, st.act, 0)
	return ctl, err
}

// recurse runs a recursive loop over v and returns its text. outer is the activation around the loop.
func (s *forStmt) recurse(st *state, v Value, outer *activation, depth0 int) (Value, error) {
	if err := st.push(s.slots); err != nil {
		return Value{}, err
	}
	old := st.act
	st.act = &activation{slots: make([]Value, s.slots), parent: outer}
	out, _, err := st.capture(func() (control, error) { return s.run(st, v, outer, depth0) })
	st.act = old
	st.depth--
	if st.autoescape {
		out = out.withMarkup()
	}
	return out, err
}

// run is the loop itself, in the current activation.
func (s *forStmt) run(st *state, v Value, outer *activation, depth0 int) (control, error) {
	done := false // an iteration ran to its end: the else branch is off
	var src iterator
	var items []Value
	if v.isSequence() && s.test == nil {
		items = v.items()
	} else {
		it, err := iterate(st, v)
		if err != nil {
			return ctlNext, withLine(err, s.line)
		}
		if s.test != nil {
			it = &loopFilter{loop: s, src: it, act: &activation{slots: make([]Value, s.testSlots), parent: outer}}
		}
		if l, ok := it.(*sliceIter); ok {
			items = l.items
		} else {
			src = it
		}
	}
	var loop *loopCtx
	if s.extended {
		loop = &loopCtx{items: items, src: src, index0: -1, stmt: s, outer: outer, depth0: depth0}
	}
	for i := 0; ; i++ {
		if st.steps--; st.steps < 0 {
			return ctlNext, budgetErr("the template runs for too long")
		}
		var x Value
		switch {
		case loop != nil:
			ok, err := loop.advance(st)
			if err != nil {
				return ctlNext, withLine(err, s.line)
			}
			if !ok {
				return s.finish(st, done)
			}
			x = loop.current
		case src != nil:
			y, ok, err := src.next(st)
			if err != nil {
				return ctlNext, withLine(err, s.line)
			}
			if !ok {
				return s.finish(st, done)
			}
			x = y
		default:
			if i >= len(items) {
				return s.finish(st, done)
			}
			x = items[i]
		}
		if err := assign(st, s.target, x); err != nil {
			return ctlNext, withLine(err, s.line)
		}
		if loop != nil {
			*st.at(s.loopRef) = Value{k: KindObject, o: loop}
		}
		st.enter(&s.frame)
		ctl, err := runBody(st, s.body)
		if err != nil {
			return ctlNext, err
		}
		if ctl == ctlBreak {
			return s.finish(st, done)
		}
		if ctl == ctlNext {
			done = true
		}
	}
}

func (s *forStmt) finish(st *state, done bool) (control, error) {
	if !s.recursive {
		st.leave(&s.frame)
	}
	if done || !s.hasElse {
		return ctlNext, nil
	}
	st.enter(&s.elseFrame)
	ctl, err := runBody(st, s.else_)
	st.leave(&s.elseFrame)
	return ctl, err
}

// loopFilter yields the items of a loop that pass its condition.
type loopFilter struct {
	loop    *forStmt
	src     iterator
	act     *activation
	started bool
}

func (l *loopFilter) next(st *state) (Value, bool, error) {
	if st.iters++; st.iters > maxNesting {
		return Value{}, false, errRecursion()
	}
	old := st.act
	st.act = l.act
	defer func() { st.act = old; st.iters-- }()
	if !l.started {
		l.started = true
		st.enter(&l.loop.testFrame)
	}
	for {
		if err := st.spend(1, 0); err != nil {
			return Value{}, false, err
		}
		x, ok, err := l.src.next(st)
		if err != nil || !ok {
			return Value{}, false, err
		}
		if err := assign(st, l.loop.testVar, x); err != nil {
			return Value{}, false, err
		}
		v, err := l.loop.test.eval(st)
		if err != nil {
			return Value{}, false, err
		}
		if truth(v) {
			return x, true, nil
		}
	}
}
