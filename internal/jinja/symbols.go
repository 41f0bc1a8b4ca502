package jinja

// The rules of scope follow jinja2.idtracking: every scope that stores a name gets a variable of its own, which
// starts as a copy of the outer one; the body of an if shares its surrounding scope.

// function is a Python function of the code that Jinja would generate: the template, a macro, a block, a recursive
// loop, or the filter of a loop. Its variables live in one activation.
type function struct {
	parent *function
	depth  int
	slots  int
	idents map[identKey]*ident
	block  bool
	loops  int // open loops, for break and continue
}

type identKey struct {
	level int
	name  string
}

// ident is a variable.
type ident struct {
	name string
	fn   *function
	slot int
}

func (f *function) ident(level int, name string) *ident {
	k := identKey{level, name}
	id := f.idents[k]
	if id == nil {
		id = &ident{name, f, f.slots}
		f.slots++
		f.idents[k] = id
	}
	return id
}

func newFunction(parent *function) *function {
	f := &function{parent: parent, idents: map[identKey]*ident{}}
	if parent != nil {
		f.depth = parent.depth + 1
	}
	return f
}

type load struct {
	kind uint8
	name string // loadResolve
	from *ident // loadAlias
}

type symbols struct {
	level  int
	parent *symbols
	fn     *function
	refs   map[string]*ident
	loads  map[*ident]load
	order  []*ident // of loads
	stores map[string]bool
}

func newSymbols(parent *symbols, fn *function) *symbols {
	s := &symbols{parent: parent, fn: fn, refs: map[string]*ident{}, loads: map[*ident]load{}, stores: map[string]bool{}}
	if parent != nil {
		s.level = parent.level + 1
	}
	return s
}

func (s *symbols) setLoad(id *ident, l load) {
	if _, ok := s.loads[id]; !ok {
		s.order = append(s.order, id)
	}
	s.loads[id] = l
}

func (s *symbols) define(name string, l load) *ident {
	id := s.fn.ident(s.level, name)
	s.refs[name] = id
	s.setLoad(id, l)
	return id
}

func (s *symbols) findRef(name string) *ident {
	for ; s != nil; s = s.parent {
		if id := s.refs[name]; id != nil {
			return id
		}
	}
	return nil
}

func (s *symbols) copy() *symbols {
	c := *s
	c.refs, c.loads, c.stores = map[string]*ident{}, map[*ident]load{}, map[string]bool{}
	for k, v := range s.refs {
		c.refs[k] = v
	}
	for k, v := range s.loads {
		c.loads[k] = v
	}
	for k := range s.stores {
		c.stores[k] = true
	}
	c.order = append([]*ident(nil), s.order...)
	return &c
}

func (s *symbols) store(name string) {
	s.stores[name] = true
	if s.refs[name] != nil {
		return
	}
	if outer := s.parent.findRef(name); outer != nil {
		s.define(name, load{kind: loadAlias, from: outer})
		return
	}
	s.define(name, load{kind: loadMissing})
}

func (s *symbols) param(name string) *ident {
	s.stores[name] = true
	return s.define(name, load{kind: loadParam})
}

func (s *symbols) load(name string) {
	if s.findRef(name) == nil {
		s.define(name, load{kind: loadResolve, name: name})
	}
}

// branches merges what the branches of an if did.
func (s *symbols) branches(bs ...*symbols) {
	var names []string
	seen := map[string]bool{}
	for _, b := range bs {
		for n := range b.stores {
			if !s.stores[n] && !seen[n] {
				seen[n] = true
				names = append(names, n)
			}
		}
	}
	for _, b := range bs {
		for k, v := range b.refs {
			s.refs[k] = v
		}
		for _, id := range b.order {
			s.setLoad(id, b.loads[id])
		}
		for n := range b.stores {
			s.stores[n] = true
		}
	}
	for _, n := range names {
		target := s.findRef(n)
		if outer := s.parent.findRef(n); outer != nil {
			s.setLoad(target, load{kind: loadAlias, from: outer})
		} else {
			s.setLoad(target, load{kind: loadResolve, name: n})
		}
	}
}

// visible lists the stored names that a scope sees, innermost first.
func (s *symbols) visible() map[string]*ident {
	out := map[string]*ident{}
	for n := s; n != nil; n = n.parent {
		for name := range n.stores {
			if out[name] == nil {
				out[name] = s.findRef(name)
			}
		}
	}
	return out
}

// visitor finds the names that a piece of the tree loads and stores in its own scope.
type visitor struct{ s *symbols }

func (v *visitor) body(list []stmt) {
	for _, x := range list {
		v.stmt(x)
	}
}

func (v *visitor) stmt(x stmt) {
	switch x := x.(type) {
	case *outputStmt:
		v.exprs(x.items, false)
	case *ifStmt:
		v.ifStmt(x)
	case *forStmt:
		v.expr(x.iter, false)
	case *macroStmt:
		v.s.store(x.def.name)
	case *callStmt:
		v.expr(x.call, false)
	case *filterStmt:
		v.expr(x.filter, false)
	case *withStmt:
		v.exprs(x.values, false)
	case *setStmt:
		v.expr(x.value, false)
		v.expr(x.target, false)
	case *setBlockStmt:
		v.expr(x.target, false)
	case *loadStmt:
		v.expr(x.source, false)
		for _, n := range x.names {
			v.s.store(n)
		}
	}
}

func (v *visitor) ifStmt(x *ifStmt) {
	v.expr(x.test, false)
	orig := v.s
	branch := func(visit func()) *symbols {
		v.s = orig.copy()
		visit()
		c := v.s
		v.s = orig
		return c
	}
	body := branch(func() { v.body(x.body) })
	elifs := branch(func() {
		for _, e := range x.elifs {
			v.ifStmt(e)
		}
	})
	other := branch(func() { v.body(x.else_) })
	orig.branches(body, elifs, other)
}

func (v *visitor) exprs(list []expr, param bool) {
	for _, e := range list {
		v.expr(e, param)
	}
}

func (v *visitor) expr(e expr, param bool) {
	if n, ok := e.(*nameExpr); ok {
		switch {
		case param || n.ctx == ctxParam:
			v.s.param(n.name)
		case n.ctx == ctxStore:
			v.s.store(n.name)
		default:
			v.s.load(n.name)
		}
		return
	}
	if n, ok := e.(*nsRef); ok {
		v.s.load(n.name)
		return
	}
	children(e, func(x expr) { v.expr(x, param) })
}

// children calls f for each expression directly inside e, in the order of Jinja's node fields.
func children(e expr, f func(expr)) {
	each := func(list []expr) {
		for _, x := range list {
			f(x)
		}
	}
	opt := func(x expr) {
		if x != nil {
			f(x)
		}
	}
	call := func(a *callArgs) {
		each(a.pos)
		each(a.kwVals)
		opt(a.dynPos)
		opt(a.dynKw)
	}
	switch e := e.(type) {
	case *tupleExpr:
		each(e.items)
	case *listExpr:
		each(e.items)
	case *dictExpr:
		for i := range e.keys {
			f(e.keys[i])
			f(e.vals[i])
		}
	case *attrExpr:
		f(e.obj)
	case *itemExpr:
		f(e.obj)
		f(e.key)
	case *sliceExpr:
		opt(e.obj)
		opt(e.start)
		opt(e.stop)
		opt(e.step)
	case *callExpr:
		f(e.fn)
		call(&e.callArgs)
	case *filterExpr:
		opt(e.obj)
		call(&e.callArgs)
	case *testExpr:
		f(e.obj)
		call(&e.callArgs)
	case *binExpr:
		f(e.left)
		f(e.right)
	case *logicExpr:
		f(e.left)
		f(e.right)
	case *notExpr:
		f(e.obj)
	case *negExpr:
		f(e.obj)
	case *posExpr:
		f(e.obj)
	case *catExpr:
		each(e.items)
	case *cmpExpr:
		f(e.first)
		each(e.rest)
	case *condExpr:
		f(e.test)
		f(e.yes)
		opt(e.no)
	}
}

// undeclared reports which of names are read in list without a store of them before, in the order of the source
// and through all scopes but blocks.
func undeclared(list []stmt, names ...string) map[string]bool {
	u := &undeclaredVisitor{names: map[string]bool{}, found: map[string]bool{}}
	for _, n := range names {
		u.names[n] = true
	}
	u.body(list)
	return u.found
}

type undeclaredVisitor struct{ names, found map[string]bool }

func (u *undeclaredVisitor) expr(e expr) {
	if n, ok := e.(*nameExpr); ok {
		if n.ctx == ctxLoad && u.names[n.name] {
			u.found[n.name] = true
		} else {
			delete(u.names, n.name)
		}
		return
	}
	if e != nil {
		children(e, u.expr)
	}
}

func (u *undeclaredVisitor) body(list []stmt) {
	walkStmts(list, u.expr, func(stmt) bool { return true })
}

// walkStmts calls f for the expressions of statements in the order of Jinja's node fields. enter decides whether
// to go into a statement; blocks are never entered.
func walkStmts(list []stmt, f func(expr), enter func(stmt) bool) {
	each := func(l []expr) {
		for _, e := range l {
			f(e)
		}
	}
	macro := func(d *macroDef) {
		for _, a := range d.args {
			f(a)
		}
		each(d.defaults)
		walkStmts(d.body, f, enter)
	}
	for _, x := range list {
		if _, ok := x.(*blockStmt); ok || !enter(x) {
			continue
		}
		switch x := x.(type) {
		case *outputStmt:
			each(x.items)
		case *ifStmt:
			f(x.test)
			walkStmts(x.body, f, enter)
			for _, e := range x.elifs {
				walkStmts([]stmt{e}, f, enter)
			}
			walkStmts(x.else_, f, enter)
		case *forStmt:
			f(x.target)
			f(x.iter)
			walkStmts(x.body, f, enter)
			walkStmts(x.else_, f, enter)
			if x.test != nil {
				f(x.test)
			}
		case *macroStmt:
			macro(x.def)
		case *callStmt:
			f(x.call)
			macro(x.def)
		case *generationStmt:
			macro(x.def)
		case *filterStmt:
			walkStmts(x.body, f, enter)
			f(x.filter)
		case *withStmt:
			each(x.targets)
			each(x.values)
			walkStmts(x.body, f, enter)
		case *setStmt:
			f(x.target)
			f(x.value)
		case *setBlockStmt:
			f(x.target)
			if x.filter != nil {
				f(x.filter)
			}
			walkStmts(x.body, f, enter)
		case *scopeStmt:
			f(x.value)
			walkStmts(x.body, f, enter)
		case *loadStmt:
			f(x.source)
		}
	}
}
