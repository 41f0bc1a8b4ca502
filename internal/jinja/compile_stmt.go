package jinja

func (c *compiler) stmt(s stmt, f *frame) error {
	var err error
	switch s := s.(type) {
	case *outputStmt:
		c.printed(s.items)
		return c.exprs(s.items, f)
	case *ifStmt:
		return c.ifStmt(s, f.softened())
	case *forStmt:
		return c.forStmt(s, f)
	case *macroStmt:
		if s.ref, err = c.lookup(s.def.name, f, s.def.line); err != nil {
			return err
		}
		s.top = f.top && c.hasBlk
		return c.macro(s.def, f)
	case *callStmt:
		if err = c.macro(s.def, f); err != nil {
			return err
		}
		call := s.call
		if err = c.sub(&call.fn, f); err != nil {
			return err
		}
		return c.args(&call.callArgs, f)
	case *generationStmt:
		return c.macro(s.def, f)
	case *filterStmt:
		in := f.inner(f.fn)
		v := visitor{in.sym}
		v.body(s.body)
		v.expr(s.filter, false)
		s.frame = c.enter(in)
		if s.body, err = c.body(s.body, in); err != nil {
			return err
		}
		_, err = c.expr(s.filter, in)
		return err
	case *withStmt:
		in := f.inner(f.fn)
		v := visitor{in.sym}
		v.exprs(s.targets, false)
		v.body(s.body)
		s.frame = c.enter(in)
		for i := range s.targets {
			if _, err = c.expr(s.targets[i], in); err != nil {
				return err
			}
			if err = c.sub(&s.values[i], f); err != nil {
				return err
			}
		}
		s.body, err = c.body(s.body, in)
		return err
	case *setStmt:
		return c.set(s, f)
	case *setBlockStmt:
		in := f.inner(f.fn)
		v := visitor{in.sym}
		v.body(s.body)
		s.frame = c.enter(in)
		if s.body, err = c.body(s.body, in); err != nil {
			return err
		}
		if s.target, err = c.expr(s.target, f); err != nil {
			return err
		}
		if s.filter != nil {
			if _, err = c.expr(s.filter, in); err != nil {
				return err
			}
		}
		s.export = c.exports(s.target, f)
		return nil
	case *scopeStmt:
		in := f.inner(f.fn)
		v := visitor{in.sym}
		v.expr(s.value, false)
		v.body(s.body)
		s.frame = c.enter(in)
		if err = c.sub(&s.value, in); err != nil {
			return err
		}
		old := c.escapes
		c.escapes = true
		s.body, err = c.body(s.body, in)
		c.escapes = old
		return err
	case *blockStmt:
		if s.scoped {
			for name, id := range f.sym.visible() {
				s.locals = append(s.locals, exportVar{name, c.ref(id, f.fn)})
			}
		}
		return nil
	case *loadStmt:
		if s.tag == "extends" && !f.top {
			return &Error{Type: "TemplateAssertionError", Msg: "cannot use extend from a non top-level scope", Line: s.line}
		}
		return c.sub(&s.source, f)
	case *breakStmt:
		if f.fn.loops == 0 {
			return outside("break", s.line)
		}
	case *continueStmt:
		if f.fn.loops == 0 {
			return outside("continue", s.line)
		}
	}
	return nil
}

func (c *compiler) ifStmt(s *ifStmt, f *frame) error {
	err := c.sub(&s.test, f)
	if err != nil {
		return err
	}
	if s.body, err = c.body(s.body, f); err != nil {
		return err
	}
	for _, e := range s.elifs {
		if err = c.ifStmt(e, f); err != nil {
			return err
		}
	}
	s.else_, err = c.body(s.else_, f)
	return err
}

func (c *compiler) set(s *setStmt, f *frame) error {
	var walk func(expr) error
	seen := map[string]bool{}
	walk = func(e expr) error {
		switch e := e.(type) {
		case *nsRef:
			if !seen[e.name] {
				seen[e.name] = true
				s.nsRefs = append(s.nsRefs, e)
			}
		case *tupleExpr:
			for _, x := range e.items {
				if err := walk(x); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := walk(s.target); err != nil {
		return err
	}
	if err := c.subs(f, &s.target, &s.value); err != nil {
		return err
	}
	s.export = c.exports(s.target, f)
	return nil
}

func (c *compiler) forStmt(s *forStmt, f *frame) error {
	fn := f.fn
	if s.recursive {
		fn = newFunction(f.fn)
	}
	loop, other := f.inner(fn), f.inner(fn)
	s.extended = s.recursive || undeclared(s.body, "loop")["loop"] || hasScopedBlock(s.body) || hasScopedBlock(s.else_)
	if s.extended {
		s.loopRef = c.ref(loop.sym.param("loop"), fn)
	}
	v := visitor{loop.sym}
	v.expr(s.target, true)
	v.body(s.body)
	if s.hasElse {
		v := visitor{other.sym}
		v.body(s.else_)
	}
	if s.test != nil {
		tfn := newFunction(f.fn)
		tf := f.inner(tfn)
		v := visitor{tf.sym}
		v.expr(s.testVar, true)
		v.expr(s.test, false)
		s.testFrame = c.enter(tf)
		if _, err := c.expr(s.testVar, tf); err != nil {
			return err
		}
		if err := c.sub(&s.test, tf); err != nil {
			return err
		}
		s.testSlots = tfn.slots
	}
	if line := storesLoop(s); line > 0 {
		return &Error{Type: "TemplateAssertionError", Msg: "Can't assign to special loop variable in for-loop target", Line: line}
	}
	if _, err := c.expr(s.target, loop); err != nil {
		return err
	}
	if err := c.sub(&s.iter, f); err != nil {
		return err
	}
	s.frame = c.enter(loop)
	var err error
	fn.loops++
	s.body, err = c.body(s.body, loop)
	fn.loops--
	if err == nil && s.hasElse {
		s.elseFrame = c.enter(other)
		s.else_, err = c.body(s.else_, other)
	}
	s.slots = fn.slots
	return err
}

func hasScopedBlock(list []stmt) bool {
	for _, s := range list {
		if b, ok := s.(*blockStmt); ok && b.scoped || hasScopedBlock(bodiesOf(s)) {
			return true
		}
		if i, ok := s.(*ifStmt); ok {
			for _, e := range i.elifs {
				if hasScopedBlock(e.body) {
					return true
				}
			}
		}
	}
	return false
}

// storesLoop returns the line of an assignment to "loop" anywhere inside s, or 0.
func storesLoop(s *forStmt) int {
	line := 0
	var visit func(expr)
	visit = func(e expr) {
		if n, ok := e.(*nameExpr); ok && n.ctx == ctxStore && n.name == "loop" {
			line = max(n.line, 1)
		}
		if e != nil {
			children(e, visit)
		}
	}
	walkStmts([]stmt{s}, visit, func(stmt) bool { return true })
	return line
}

func (c *compiler) macro(d *macroDef, outer *frame) error {
	fn := newFunction(outer.fn)
	f := outer.inner(fn)
	v := visitor{f.sym}
	for _, a := range d.args {
		v.expr(a, false)
	}
	v.exprs(d.defaults, false)
	v.body(d.body)
	skip := map[string]bool{}
	explicit := -1
	for i, a := range d.args {
		skip[a.name] = true
		if a.name == "caller" {
			explicit = i
			d.explicitCaller = true
		}
	}
	names := undeclared(d.body, "caller", "kwargs", "varargs")
	if names["caller"] {
		if explicit >= 0 {
			if explicit < len(d.args)-len(d.defaults) {
				return &Error{Type: "TemplateAssertionError", Line: d.line,
					Msg: `When defining macros or call blocks the special "caller" argument must be omitted or be given a default.`}
			}
		} else {
			d.callerSlot = f.sym.param("caller").slot
		}
		d.caller = true
	}
	if names["kwargs"] && !skip["kwargs"] {
		d.kwargs, d.kwSlot = true, f.sym.param("kwargs").slot
	}
	if names["varargs"] && !skip["varargs"] {
		d.varargs, d.varSlot = true, f.sym.param("varargs").slot
	}
	d.frame = c.enter(f)
	for _, a := range d.args {
		var err error
		if a.ref, err = c.lookup(a.name, f, a.line); err != nil {
			return err
		}
	}
	if err := c.exprs(d.defaults, f); err != nil {
		return err
	}
	var err error
	d.body, err = c.body(d.body, f)
	d.slots = fn.slots
	return err
}
