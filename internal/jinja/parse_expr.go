package jinja

func canAssign(name string) bool {
	switch name {
	case "true", "false", "none", "True", "False", "None":
		return false
	}
	return true
}

// assignTarget parses a name, a tuple of names or, where ns is set, a namespace attribute.
func (p *parser) assignTarget(o tupleOpts) (expr, error) {
	line := p.cur().line
	t, err := p.tuple(o)
	if err != nil {
		return nil, err
	}
	if what := notAssignable(t); what != "" {
		return nil, syntaxErr(line, "can't assign to '%s'", what)
	}
	setCtx(t, ctxStore)
	return t, nil
}

// notAssignable names the kind of node that cannot be assigned to.
func notAssignable(e expr) string {
	switch e := e.(type) {
	case *nameExpr, *nsRef:
		return ""
	case *tupleExpr:
		for _, x := range e.items {
			if notAssignable(x) != "" {
				return "tuple"
			}
		}
		return ""
	case *constExpr:
		return "const"
	case *listExpr:
		return "list"
	case *dictExpr:
		return "dict"
	}
	return "expression"
}

func setCtx(e expr, ctx uint8) {
	switch e := e.(type) {
	case *nameExpr:
		e.ctx = ctx
	case *tupleExpr:
		for _, x := range e.items {
			setCtx(x, ctx)
		}
	}
}

func (p *parser) expression(cond bool) (expr, error) {
	if cond {
		return p.condExpr()
	}
	return p.or()
}

func (p *parser) condExpr() (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	line := p.cur().line
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	for p.skipName("if") {
		c := &condExpr{yes: e, line: line}
		if c.test, err = p.or(); err != nil {
			return nil, err
		}
		if p.skipName("else") {
			if c.no, err = p.condExpr(); err != nil {
				return nil, err
			}
		}
		e, line = c, p.cur().line
	}
	return e, nil
}

func (p *parser) or() (expr, error) {
	left, err := p.and()
	for err == nil && p.skipName("or") {
		var right expr
		right, err = p.and()
		left = &logicExpr{or: true, left: left, right: right}
	}
	return left, err
}

func (p *parser) and() (expr, error) {
	left, err := p.not()
	for err == nil && p.skipName("and") {
		var right expr
		right, err = p.not()
		left = &logicExpr{left: left, right: right}
	}
	return left, err
}

func (p *parser) not() (expr, error) {
	if !p.isName("not") {
		return p.compare()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	p.next()
	e, err := p.not()
	return &notExpr{e}, err
}

var compareOps = map[tok]cmpOp{"==": opEq, "!=": opNe, "<": opLt, "<=": opLe, ">": opGt, ">=": opGe}

func (p *parser) compare() (expr, error) {
	first, err := p.sum()
	if err != nil {
		return nil, err
	}
	c := &cmpExpr{first: first}
	for {
		op, ok := compareOps[p.cur().typ]
		switch {
		case ok:
			p.next()
		case p.skipName("in"):
			op = opIn
		case p.isName("not") && p.look().typ == tokName && p.look().val == "in":
			p.next()
			p.next()
			op = opNotIn
		default:
			if len(c.ops) == 0 {
				return first, nil
			}
			return c, nil
		}
		e, err := p.sum()
		if err != nil {
			return nil, err
		}
		c.ops, c.rest = append(c.ops, op), append(c.rest, e)
	}
}

func (p *parser) sum() (expr, error) {
	left, err := p.concat()
	for err == nil && (p.cur().typ == tokAdd || p.cur().typ == tokSub) {
		t := p.next()
		var right expr
		right, err = p.concat()
		left = &binExpr{op: t.val[0], left: left, right: right, line: t.line}
	}
	return left, err
}

func (p *parser) concat() (expr, error) {
	e, err := p.product()
	if err != nil || p.cur().typ != tokTilde {
		return e, err
	}
	c := &catExpr{items: []expr{e}}
	for p.skipIf(tokTilde) {
		if e, err = p.product(); err != nil {
			return nil, err
		}
		c.items = append(c.items, e)
	}
	return c, nil
}

func (p *parser) product() (expr, error) {
	left, err := p.power()
	for err == nil {
		t := p.cur()
		if t.typ != tokMul && t.typ != "/" && t.typ != "//" && t.typ != "%" {
			break
		}
		p.next()
		op := t.val[0]
		if t.typ == "//" {
			op = 'f'
		}
		var right expr
		right, err = p.power()
		left = &binExpr{op: op, left: left, right: right, line: t.line}
	}
	return left, err
}

func (p *parser) power() (expr, error) {
	left, err := p.unary(true)
	for err == nil && p.cur().typ == tokPow {
		t := p.next()
		var right expr
		right, err = p.unary(true)
		left = &binExpr{op: 'p', left: left, right: right, line: t.line}
	}
	return left, err
}

func (p *parser) unary(filters bool) (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	var e expr
	var err error
	switch p.cur().typ {
	case tokSub:
		p.next()
		e, err = p.unary(false)
		e = &negExpr{e}
	case tokAdd:
		p.next()
		e, err = p.unary(false)
		e = &posExpr{e}
	default:
		e, err = p.primary(false)
	}
	if err != nil {
		return nil, err
	}
	if e, err = p.postfix(e); err != nil || !filters {
		return e, err
	}
	return p.filterExpr(e)
}

func (p *parser) primary(ns bool) (expr, error) {
	t := p.cur()
	switch t.typ {
	case tokName:
		p.next()
		switch t.val {
		case "true", "True":
			return &constExpr{vTrue}, nil
		case "false", "False":
			return &constExpr{vFalse}, nil
		case "none", "None":
			return &constExpr{None}, nil
		}
		if ns && p.skipIf(tokDot) {
			a, err := p.expect(tokName)
			return &nsRef{name: t.val, attr: a.val, line: t.line}, err
		}
		return &nameExpr{name: t.val, line: t.line}, nil
	case tokString:
		s := ""
		for p.cur().typ == tokString {
			s += p.next().val
		}
		return &constExpr{String(s)}, nil
	case tokInt, tokFloat:
		p.next()
		return &constExpr{t.num}, nil
	case tokLParen:
		p.next()
		e, err := p.tuple(tupleOpts{cond: true, parens: true})
		if err != nil {
			return nil, err
		}
		_, err = p.expect(tokRParen)
		return e, err
	case tokLBracket:
		p.next()
		l := &listExpr{}
		err := p.commaList(tokRBracket, func() error {
			e, err := p.expression(true)
			l.items = append(l.items, e)
			return err
		})
		return l, err
	case tokLBrace:
		p.next()
		d := &dictExpr{}
		err := p.commaList(tokRBrace, func() error {
			k, err := p.expression(true)
			if err != nil {
				return err
			}
			if _, err := p.expect(tokColon); err != nil {
				return err
			}
			v, err := p.expression(true)
			d.keys, d.vals = append(d.keys, k), append(d.vals, v)
			return err
		})
		return d, err
	}
	return nil, syntaxErr(t.line, "unexpected %s", pyRepr(t.describe()))
}

// commaList parses items with commas between them, and one after the last if need be, up to end.
func (p *parser) commaList(end tok, item func() error) error {
	for n := 0; p.cur().typ != end; n++ {
		if n > 0 {
			if _, err := p.expect(tokComma); err != nil {
				return err
			}
			if p.cur().typ == end {
				break
			}
		}
		if err := item(); err != nil {
			return err
		}
	}
	_, err := p.expect(end)
	return err
}

type tupleOpts struct {
	simple bool   // names and literals only
	cond   bool   // conditional expressions are allowed
	ns     bool   // namespace attributes are allowed
	parens bool   // inside parentheses, where an empty tuple is fine
	end    string // a name that ends the tuple
}

func (p *parser) tuple(o tupleOpts) (expr, error) {
	var args []expr
	isTuple := false
	for {
		if len(args) > 0 {
			if _, err := p.expect(tokComma); err != nil {
				return nil, err
			}
		}
		if c := p.cur(); c.typ == tokVarEnd || c.typ == tokBlkEnd || c.typ == tokRParen || o.end != "" && p.isName(o.end) {
			break
		}
		var e expr
		var err error
		if o.simple {
			if err = p.enter(); err != nil {
				return nil, err
			}
			e, err = p.primary(o.ns)
			p.depth--
		} else {
			e, err = p.expression(o.cond)
		}
		if err != nil {
			return nil, err
		}
		args = append(args, e)
		if p.cur().typ != tokComma {
			break
		}
		isTuple = true
	}
	if !isTuple {
		if len(args) > 0 {
			return args[0], nil
		}
		if !o.parens {
			return nil, syntaxErr(p.cur().line, "Expected an expression, got %s", pyRepr(p.cur().describe()))
		}
	}
	return &tupleExpr{args}, nil
}

// maxChain bounds calls, subscripts and filters that follow one another.
const maxChain = 500

func (p *parser) postfix(e expr) (expr, error) {
	for n := 0; ; n++ {
		var err error
		switch p.cur().typ {
		case tokDot, tokLBracket:
			e, err = p.subscript(e)
		case tokLParen:
			e, err = p.call(e)
		default:
			return e, nil
		}
		if err == nil && n > maxChain {
			err = errf("RecursionError", "the template is nested too deeply")
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) filterExpr(e expr) (expr, error) {
	for n := 0; ; n++ {
		var err error
		switch {
		case p.cur().typ == tokPipe:
			e, err = p.filter(e, false)
		case p.isName("is"):
			e, err = p.test(e)
		case p.cur().typ == tokLParen:
			e, err = p.call(e)
		default:
			return e, nil
		}
		if err == nil && n > maxChain {
			err = errf("RecursionError", "the template is nested too deeply")
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) subscript(e expr) (expr, error) {
	if p.next().typ == tokDot {
		a := p.next()
		switch a.typ {
		case tokName:
			return &attrExpr{obj: e, name: a.val, m: methodsNamed[a.val]}, nil
		case tokInt:
			return &itemExpr{e, &constExpr{a.num}}, nil
		}
		return nil, syntaxErr(a.line, "expected name or number")
	}
	var keys []expr
	for p.cur().typ != tokRBracket {
		if len(keys) > 0 {
			if _, err := p.expect(tokComma); err != nil {
				return nil, err
			}
		}
		k, err := p.subscribed()
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	p.next()
	if len(keys) == 1 {
		if s, ok := keys[0].(*sliceExpr); ok {
			s.obj = e
			return s, nil
		}
		return &itemExpr{e, keys[0]}, nil
	}
	return &itemExpr{e, &tupleExpr{keys}}, nil
}

func (p *parser) subscribed() (expr, error) {
	s := &sliceExpr{}
	var err error
	if p.cur().typ != tokColon {
		if s.start, err = p.expression(true); err != nil || p.cur().typ != tokColon {
			return s.start, err
		}
	}
	p.next()
	ends := func() bool { t := p.cur().typ; return t == tokRBracket || t == tokComma }
	if !ends() && p.cur().typ != tokColon {
		if s.stop, err = p.expression(true); err != nil {
			return nil, err
		}
	}
	if p.skipIf(tokColon) && !ends() {
		s.step, err = p.expression(true)
	}
	return s, err
}

func (p *parser) args(a *callArgs) error {
	t, err := p.expect(tokLParen)
	if err != nil {
		return err
	}
	bad := func() error { return syntaxErr(t.line, "invalid syntax for function call expression") }
	return p.commaList(tokRParen, func() error {
		switch {
		case p.cur().typ == tokMul:
			if a.dynPos != nil || a.dynKw != nil {
				return bad()
			}
			p.next()
			a.dynPos, err = p.expression(true)
		case p.cur().typ == tokPow:
			if a.dynKw != nil {
				return bad()
			}
			p.next()
			a.dynKw, err = p.expression(true)
		case p.cur().typ == tokName && p.look().typ == tokAssign:
			if a.dynKw != nil {
				return bad()
			}
			name := p.next().val
			p.next()
			for _, n := range a.kwNames {
				if n == name {
					return &Error{Type: "SyntaxError", Msg: "keyword argument repeated: " + name, Line: t.line}
				}
			}
			var v expr
			v, err = p.expression(true)
			a.kwNames, a.kwVals = append(a.kwNames, name), append(a.kwVals, v)
		default:
			if a.dynPos != nil || a.dynKw != nil || len(a.kwNames) > 0 {
				return bad()
			}
			var v expr
			v, err = p.expression(true)
			a.pos = append(a.pos, v)
		}
		return err
	})
}

func (p *parser) call(fn expr) (expr, error) {
	c := &callExpr{fn: fn, line: p.cur().line}
	err := p.args(&c.callArgs)
	return c, err
}

func (p *parser) dotted() (string, error) {
	t, err := p.expect(tokName)
	name := t.val
	for err == nil && p.skipIf(tokDot) {
		t, err = p.expect(tokName)
		name += "." + t.val
	}
	return name, err
}

// filter parses filters as long as they follow; inline starts at a filter's name. Without any it returns e.
func (p *parser) filter(e expr, inline bool) (expr, error) {
	for n := 0; inline || p.cur().typ == tokPipe; n++ {
		if !inline {
			p.next()
		}
		inline = false
		f := &filterExpr{obj: e, line: p.cur().line}
		var err error
		if f.name, err = p.dotted(); err != nil {
			return nil, err
		}
		if p.cur().typ == tokLParen {
			if err := p.args(&f.callArgs); err != nil {
				return nil, err
			}
		}
		if n > maxChain {
			return nil, errf("RecursionError", "the template is nested too deeply")
		}
		e = f
	}
	return e, nil
}

func (p *parser) test(e expr) (expr, error) {
	line := p.next().line
	negated := p.skipName("not")
	t := &testExpr{obj: e, line: line}
	var err error
	if t.name, err = p.dotted(); err != nil {
		return nil, err
	}
	switch c := p.cur(); c.typ {
	case tokLParen:
		err = p.args(&t.callArgs)
	case tokName, tokString, tokInt, tokFloat, tokLBracket, tokLBrace:
		if c.typ == tokName && (c.val == "else" || c.val == "or" || c.val == "and") {
			break
		}
		if c.typ == tokName && c.val == "is" {
			return nil, syntaxErr(c.line, "You cannot chain multiple tests with is")
		}
		var arg expr
		if err = p.enter(); err != nil {
			return nil, err
		}
		if arg, err = p.primary(false); err == nil {
			arg, err = p.postfix(arg)
		}
		p.depth--
		t.pos = []expr{arg}
	}
	if err != nil {
		return nil, err
	}
	if negated {
		return &notExpr{t}, nil
	}
	return t, nil
}
