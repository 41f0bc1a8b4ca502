package jinja

import "fmt"

// maxExprDepth bounds the depth of an expression's tree.
const maxExprDepth = 1000

// maxSource bounds a template's source in bytes.
const maxSource = 1 << 20

type compiler struct {
	free    map[string]int // names that come from the context
	names   []string
	blocks  map[string]*blockDef
	fold    *state // evaluates constants
	hasBlk  bool
	escapes bool // inside autoescape: printed constants are not final
}

// blockDef is the code of a block.
type blockDef struct {
	body     []stmt
	slots    int
	frame    frameInit
	self     int // slot, or -1
	super    int
	name     string
	required bool
}

// frame is the compile-time view of a scope, as in jinja2.compiler.
type frame struct {
	sym  *symbols
	fn   *function
	top  bool // the root, through ifs
	soft bool // inside an if: unknown filters fail only when reached
}

func (f *frame) inner(fn *function) *frame {
	return &frame{sym: newSymbols(f.sym, fn), fn: fn}
}

func (f *frame) softened() *frame {
	c := *f
	c.sym = f.sym.copy()
	c.soft = true
	return &c
}

func (c *compiler) freeName(name string) int {
	i, ok := c.free[name]
	if !ok {
		i = len(c.names)
		c.free[name] = i
		c.names = append(c.names, name)
	}
	return i
}

func (c *compiler) ref(id *ident, fn *function) varRef {
	return varRef{fn.depth - id.fn.depth, id.slot}
}

func (c *compiler) lookup(name string, f *frame, line int) (varRef, error) {
	id := f.sym.findRef(name)
	if id == nil {
		return varRef{}, &Error{Type: "AssertionError", Line: line,
			Msg: "Tried to resolve a name to a reference that was unknown to the frame (" + pyRepr(name) + ")"}
	}
	return c.ref(id, f.fn), nil
}

func (c *compiler) enter(f *frame) frameInit {
	var init frameInit
	for _, id := range f.sym.order {
		l := f.sym.loads[id]
		init.clear = append(init.clear, id.slot)
		fl := frameLoad{slot: id.slot, kind: l.kind, name: l.name}
		switch l.kind {
		case loadParam:
			continue
		case loadResolve:
			fl.free = c.freeName(l.name)
		case loadAlias:
			fl.from = c.ref(l.from, f.fn)
		}
		init.loads = append(init.loads, fl)
	}
	return init
}

// compileTemplate resolves names to slots and checks what Jinja checks at compile time.
func compileTemplate(body []stmt) (*Template, error) {
	if err := checkDepth(body); err != nil {
		return nil, err
	}
	c := &compiler{free: map[string]int{}, blocks: map[string]*blockDef{}}
	c.fold = newFoldState()
	t := &Template{}
	var blocks []*blockStmt
	if err := c.findBlocks(body, &blocks); err != nil {
		return nil, err
	}
	c.hasBlk = len(blocks) > 0
	fn := newFunction(nil)
	root := &frame{sym: newSymbols(nil, fn), fn: fn, top: true}
	t.selfSlot = -1
	if undeclared(body, "self")["self"] {
		t.selfSlot = root.sym.param("self").slot
	}
	v := visitor{root.sym}
	v.body(body)
	t.frame = c.enter(root)
	var err error
	if t.body, err = c.body(body, root); err != nil {
		return nil, err
	}
	t.slots = fn.slots
	for _, b := range blocks {
		if err := c.block(b); err != nil {
			return nil, err
		}
	}
	t.blocks, t.free = c.blocks, c.names
	return t, nil
}

func (c *compiler) findBlocks(body []stmt, out *[]*blockStmt) error {
	var err error
	var walk func([]stmt)
	walk = func(list []stmt) {
		for _, s := range list {
			b, ok := s.(*blockStmt)
			if !ok {
				continue
			}
			for _, o := range *out {
				if o.name == b.name && err == nil {
					err = &Error{Type: "TemplateAssertionError", Msg: "block " + pyRepr(b.name) + " defined twice", Line: b.line}
				}
			}
			*out = append(*out, b)
			walk(b.body)
			walkStmts(b.body, func(expr) {}, func(s stmt) bool { walk(bodiesOf(s)); return true })
		}
	}
	walk(body)
	walkStmts(body, func(expr) {}, func(s stmt) bool { walk(bodiesOf(s)); return true })
	return err
}

// bodiesOf lists the statements directly inside s.
func bodiesOf(s stmt) []stmt {
	switch s := s.(type) {
	case *ifStmt:
		return append(append([]stmt(nil), s.body...), s.else_...)
	case *forStmt:
		return append(append([]stmt(nil), s.body...), s.else_...)
	case *macroStmt:
		return s.def.body
	case *callStmt:
		return s.def.body
	case *generationStmt:
		return s.def.body
	case *filterStmt:
		return s.body
	case *withStmt:
		return s.body
	case *setBlockStmt:
		return s.body
	case *scopeStmt:
		return s.body
	}
	return nil
}

// checkDepth bounds the trees that later passes walk recursively.
func checkDepth(body []stmt) error {
	type node struct {
		e     expr
		depth int
	}
	var stack []node
	deep := false
	var check func(list []stmt)
	visit := func(e expr) {
		stack = append(stack[:0], node{e, 0})
		for len(stack) > 0 && !deep {
			n := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			deep = n.depth > maxExprDepth
			children(n.e, func(x expr) { stack = append(stack, node{x, n.depth + 1}) })
		}
	}
	check = func(list []stmt) {
		for _, s := range list {
			if b, ok := s.(*blockStmt); ok {
				check(b.body)
			}
		}
		walkStmts(list, visit, func(s stmt) bool {
			for _, x := range bodiesOf(s) {
				if b, ok := x.(*blockStmt); ok {
					check(b.body)
				}
			}
			return true
		})
	}
	check(body)
	if deep {
		return errf("RecursionError", "an expression is nested too deeply")
	}
	return nil
}

func (c *compiler) block(b *blockStmt) error {
	fn := newFunction(nil)
	fn.block = true
	f := &frame{sym: newSymbols(nil, fn), fn: fn}
	d := &blockDef{name: b.name, required: b.required, self: -1, super: -1}
	names := undeclared(b.body, "self", "super")
	if names["self"] {
		d.self = f.sym.param("self").slot
	}
	if names["super"] {
		d.super = f.sym.param("super").slot
	}
	v := visitor{f.sym}
	v.body(b.body)
	d.frame = c.enter(f)
	var err error
	d.body, err = c.body(b.body, f)
	d.slots = fn.slots
	c.blocks[b.name] = d
	return err
}

func (c *compiler) body(list []stmt, f *frame) ([]stmt, error) {
	out := make([]stmt, 0, len(list))
	for _, s := range list {
		if err := c.stmt(s, f); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func (c *compiler) exprs(list []expr, f *frame) error {
	for i, e := range list {
		x, err := c.expr(e, f)
		if err != nil {
			return err
		}
		list[i] = x
	}
	return nil
}

func (c *compiler) sub(e *expr, f *frame) error {
	if *e == nil {
		return nil
	}
	x, err := c.expr(*e, f)
	*e = x
	return err
}

func (c *compiler) subs(f *frame, list ...*expr) error {
	for _, e := range list {
		if err := c.sub(e, f); err != nil {
			return err
		}
	}
	return nil
}

func (c *compiler) args(a *callArgs, f *frame) error {
	if err := c.exprs(a.pos, f); err != nil {
		return err
	}
	if err := c.exprs(a.kwVals, f); err != nil {
		return err
	}
	return c.subs(f, &a.dynPos, &a.dynKw)
}

// expr resolves names in e and replaces constant parts, as Jinja's optimizer does: what a constant condition
// leaves out is never checked.
func (c *compiler) expr(e expr, f *frame) (expr, error) {
	switch e.(type) {
	case *constExpr, *nameExpr, *nsRef, *dataExpr:
	default:
		if v, ok := c.constant(e); ok {
			return &constExpr{v}, nil
		}
	}
	var err error
	switch e := e.(type) {
	case *nameExpr:
		e.ref, err = c.lookup(e.name, f, e.line)
	case *nsRef:
		e.ref, err = c.lookup(e.name, f, e.line)
	case *tupleExpr:
		err = c.exprs(e.items, f)
	case *listExpr:
		err = c.exprs(e.items, f)
	case *dictExpr:
		if err = c.exprs(e.keys, f); err == nil {
			err = c.exprs(e.vals, f)
		}
	case *attrExpr:
		err = c.sub(&e.obj, f)
	case *itemExpr:
		err = c.subs(f, &e.obj, &e.key)
	case *sliceExpr:
		if e.obj == nil {
			return nil, &Error{Type: "SyntaxError", Msg: "invalid syntax"}
		}
		err = c.subs(f, &e.obj, &e.start, &e.stop, &e.step)
	case *callExpr:
		if err = c.sub(&e.fn, f); err == nil {
			err = c.args(&e.callArgs, f)
		}
	case *filterExpr:
		if e.fn = filters[e.name]; e.fn == nil && !f.soft {
			return nil, &Error{Type: "TemplateAssertionError", Msg: "No filter named " + pyRepr(e.name) + ".", Line: e.line}
		}
		if err = c.sub(&e.obj, f); err == nil {
			err = c.args(&e.callArgs, f)
		}
		if a := &e.callArgs; e.name == "tojson" && !e.open() && len(a.pos)+len(a.kwVals) == 0 && a.dynPos == nil && a.dynKw == nil {
			return &jsonExpr{*e}, err
		}
	case *testExpr:
		if e.fn = tests[e.name]; e.fn == nil && !f.soft {
			return nil, &Error{Type: "TemplateAssertionError", Msg: "No test named " + pyRepr(e.name) + ".", Line: e.line}
		}
		if err = c.sub(&e.obj, f); err == nil {
			err = c.args(&e.callArgs, f)
		}
	case *binExpr:
		if err = c.subs(f, &e.left, &e.right); err == nil && e.op == '+' {
			return flatten(e), nil
		}
	case *logicExpr:
		err = c.subs(f, &e.left, &e.right)
	case *notExpr:
		err = c.sub(&e.obj, f)
	case *negExpr:
		err = c.sub(&e.obj, f)
	case *posExpr:
		err = c.sub(&e.obj, f)
	case *catExpr:
		err = c.exprs(e.items, f)
	case *cmpExpr:
		if err = c.sub(&e.first, f); err == nil {
			err = c.exprs(e.rest, f)
		}
	case *condExpr:
		err = c.subs(f.softened(), &e.yes, &e.test, &e.no)
	}
	return e, err
}

// constant evaluates e if Jinja would at compile time: no names, no calls, no filters that need the context.
func (c *compiler) constant(e expr) (Value, bool) {
	v, ok := c.evaluate(e)
	return v, ok && safeRepr(v, 0)
}

func (c *compiler) evaluate(e expr) (Value, bool) {
	if !c.foldable(e) {
		return Value{}, false
	}
	c.fold.steps, c.fold.bytes = 10_000, 1<<16
	v, err := e.eval(c.fold)
	return v, err == nil
}

// printed replaces constants that are printed by their text.
func (c *compiler) printed(list []expr) {
	for i, e := range list {
		if _, ok := e.(*dataExpr); ok || c.escapes {
			continue
		}
		v, ok := c.evaluate(e)
		if !ok || v.k == KindIterator || v.k == KindObject {
			continue
		}
		var b strBuilder
		if appendStr(&b, v) == nil && len(b.b) < 1<<16 {
			list[i] = &dataExpr{string(b.b)}
		}
	}
}

func (c *compiler) foldable(e expr) bool {
	switch e := e.(type) {
	case *constExpr:
		return true
	case *nameExpr, *nsRef, *callExpr, *dataExpr:
		return false
	case *logicExpr:
		l, ok := c.evaluate(e.left)
		if !ok {
			return false
		}
		return truth(l) == e.or || c.foldable(e.right) // or the right side is never looked at
	case *condExpr:
		t, ok := c.evaluate(e.test)
		switch {
		case ok && truth(t):
			return c.foldable(e.yes)
		case ok && e.no != nil:
			return c.foldable(e.no)
		}
		return false
	case *filterExpr:
		e.fn = filters[e.name]
		switch e.name {
		case "map", "select", "reject", "selectattr", "rejectattr", "random":
			return false
		}
		if e.fn == nil || e.obj == nil {
			return false
		}
	case *testExpr:
		if e.fn = tests[e.name]; e.fn == nil {
			return false
		}
	}
	ok := true
	children(e, func(x expr) { ok = ok && c.foldable(x) })
	return ok
}

// safeRepr reports whether a constant may stand in the code: plain data only.
func safeRepr(v Value, depth int) bool {
	switch v.k {
	case KindNone, KindBool, KindInt, KindBig, KindFloat, KindString, KindRange:
		return true
	case KindList, KindTuple:
		for _, x := range v.items() {
			if depth > 50 || !safeRepr(x, depth+1) {
				return false
			}
		}
		return true
	case KindDict:
		for _, e := range v.dict().entries {
			if depth > 50 || !safeRepr(e.key, depth+1) || !safeRepr(e.val, depth+1) {
				return false
			}
		}
		return true
	}
	return false
}

// exports lists the names that an assignment at the top also puts into the context, for blocks to see.
func (c *compiler) exports(target expr, f *frame) []exportVar {
	if !c.hasBlk || !f.top {
		return nil
	}
	var out []exportVar
	var walk func(expr)
	walk = func(e expr) {
		switch e := e.(type) {
		case *nameExpr:
			out = append(out, exportVar{e.name, e.ref})
		case *tupleExpr:
			for _, x := range e.items {
				walk(x)
			}
		}
	}
	walk(target)
	return out
}

func outside(what string, line int) error {
	if what == "continue" {
		return &Error{Type: "SyntaxError", Msg: "'continue' not properly in loop", Line: line}
	}
	return &Error{Type: "SyntaxError", Msg: fmt.Sprintf("'%s' outside loop", what), Line: line}
}
