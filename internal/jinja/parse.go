package jinja

import (
	"strings"
)

// parser follows jinja2.parser.
type parser struct {
	toks  []token
	i     int
	depth int
	tags  []string   // open tags
	ends  [][]string // the tags that would end each open block
}

// maxParseDepth bounds nesting in the source.
const maxParseDepth = 200

func parse(src string) ([]stmt, error) {
	toks, err := lex(src)
	if err != nil {
		return nil, err
	}
	p := &parser{toks: toks}
	return p.subparse(nil)
}

func (p *parser) cur() token { return p.toks[p.i] }
func (p *parser) next() token {
	t := p.toks[p.i]
	if p.i < len(p.toks)-1 {
		p.i++
	}
	return t
}
func (p *parser) look() token { return p.toks[min(p.i+1, len(p.toks)-1)] }

func (p *parser) enter() error {
	if p.depth++; p.depth > maxParseDepth {
		return errf("RecursionError", "the template is nested too deeply")
	}
	return nil
}

func (p *parser) isName(name string) bool {
	t := p.cur()
	return t.typ == tokName && t.val == name
}

func (p *parser) skipName(name string) bool {
	if p.isName(name) {
		p.next()
		return true
	}
	return false
}

func (p *parser) skipIf(t tok) bool {
	if p.cur().typ == t {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(t tok) (token, error) { return p.want(t, "", string(t)) }

func (p *parser) expectName(name string) (token, error) { return p.want(tokName, name, name) }

func (p *parser) want(t tok, name, shown string) (token, error) {
	c := p.cur()
	if c.typ == t && (name == "" || c.val == name) {
		return p.next(), nil
	}
	if c.typ == tokEOF {
		return c, syntaxErr(c.line, "unexpected end of template, expected '%s'.", shown)
	}
	return c, syntaxErr(c.line, "expected token '%s', got %s", shown, pyRepr(c.describe()))
}

func quoteEach(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = "'" + n + "'"
	}
	return strings.Join(q, " or ")
}

// failTag reports an unknown tag, or the end of the template inside a block.
func (p *parser) failTag(name string, unknown bool, ends [][]string, line int) error {
	msg := "Unexpected end of template."
	if unknown {
		msg = "Encountered unknown tag '" + name + "'."
	}
	if len(ends) > 0 {
		looking := quoteEach(ends[len(ends)-1])
		expected := false
		for _, set := range ends {
			for _, e := range set {
				expected = expected || unknown && e == name
			}
		}
		if expected {
			msg += " You probably made a nesting mistake. Jinja is expecting this tag, but currently looking for " + looking + "."
		} else {
			msg += " Jinja was looking for the following tags: " + looking + "."
		}
	}
	if len(p.tags) > 0 {
		msg += " The innermost block that needs to be closed is '" + p.tags[len(p.tags)-1] + "'."
	}
	return syntaxErr(line, "%s", msg)
}

func (p *parser) subparse(ends []string) ([]stmt, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if ends != nil {
		p.ends = append(p.ends, ends)
		defer func() { p.ends = p.ends[:len(p.ends)-1] }()
	}
	var body []stmt
	var out *outputStmt
	add := func(e expr, line int) {
		if out == nil {
			out = &outputStmt{line: line}
			body = append(body, out)
		}
		out.items = append(out.items, e)
	}
	for {
		t := p.cur()
		switch t.typ {
		case tokEOF:
			return body, nil
		case tokData:
			p.next()
			add(&dataExpr{t.val}, t.line)
		case tokVarOpen:
			p.next()
			e, err := p.tuple(tupleOpts{cond: true})
			if err != nil {
				return nil, err
			}
			add(e, t.line)
			if _, err := p.expect(tokVarEnd); err != nil {
				return nil, err
			}
		default:
			out = nil
			p.next()
			if c := p.cur(); c.typ == tokName {
				for _, e := range ends {
					if e == c.val {
						return body, nil
					}
				}
			}
			s, err := p.statement()
			if err != nil {
				return nil, err
			}
			body = append(body, s)
			if _, err := p.expect(tokBlkEnd); err != nil {
				return nil, err
			}
		}
	}
}

// statements parses a block's body up to one of the end tags, which it leaves as the current token unless drop.
func (p *parser) statements(drop bool, ends ...string) ([]stmt, error) {
	p.skipIf(tokColon)
	if _, err := p.expect(tokBlkEnd); err != nil {
		return nil, err
	}
	body, err := p.subparse(ends)
	if err != nil {
		return nil, err
	}
	if p.cur().typ == tokEOF {
		return nil, p.failTag("", false, append(p.ends, ends), p.cur().line)
	}
	if drop {
		p.next()
	}
	return body, nil
}

func (p *parser) statement() (stmt, error) {
	t := p.cur()
	if t.typ != tokName {
		return nil, syntaxErr(t.line, "tag name expected")
	}
	p.tags = append(p.tags, t.val)
	s, err := p.tag(t)
	p.tags = p.tags[:len(p.tags)-1]
	return s, err
}

func (p *parser) tag(t token) (stmt, error) {
	line := t.line
	switch t.val {
	case "for":
		return p.forTag()
	case "if":
		return p.ifTag()
	case "set":
		return p.setTag()
	case "macro":
		return p.macroTag()
	case "call":
		return p.callTag()
	case "block":
		return p.blockTag()
	case "with":
		return p.withTag()
	case "extends", "include", "import", "from":
		return p.loadTag()
	}
	switch t.val {
	case "filter":
		p.next()
		f, err := p.filter(nil, true)
		if err != nil {
			return nil, err
		}
		s := &filterStmt{line: line, filter: f.(*filterExpr)}
		s.body, err = p.statements(true, "endfilter")
		return s, err
	case "print":
		p.next()
		s := &outputStmt{line: line}
		for p.cur().typ != tokBlkEnd {
			if len(s.items) > 0 {
				if _, err := p.expect(tokComma); err != nil {
					return nil, err
				}
			}
			e, err := p.expression(true)
			if err != nil {
				return nil, err
			}
			s.items = append(s.items, e)
		}
		return s, nil
	case "autoescape":
		p.next()
		e, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		s := &scopeStmt{value: e, line: line}
		s.body, err = p.statements(true, "endautoescape")
		return s, err
	case "generation":
		p.next()
		body, err := p.statements(true, "endgeneration")
		return &generationStmt{def: &macroDef{body: body, line: line}, line: line}, err
	case "break":
		p.next()
		return &breakStmt{line}, nil
	case "continue":
		p.next()
		return &continueStmt{line}, nil
	}
	p.tags = p.tags[:len(p.tags)-1]
	err := p.failTag(t.val, true, p.ends, line)
	p.tags = append(p.tags, t.val)
	return nil, err
}

func (p *parser) setTag() (stmt, error) {
	line := p.next().line
	target, err := p.assignTarget(tupleOpts{simple: true, ns: true})
	if err != nil {
		return nil, err
	}
	if p.skipIf(tokAssign) {
		v, err := p.tuple(tupleOpts{cond: true})
		return &setStmt{target: target, value: v, line: line}, err
	}
	s := &setBlockStmt{target: target, line: line}
	f, err := p.filter(nil, false)
	if err != nil {
		return nil, err
	}
	s.filter, _ = f.(*filterExpr)
	s.body, err = p.statements(true, "endset")
	return s, err
}

func (p *parser) forTag() (stmt, error) {
	s := &forStmt{line: p.next().line}
	var err error
	start := p.i
	if s.target, err = p.assignTarget(tupleOpts{simple: true, end: "in"}); err != nil {
		return nil, err
	}
	after := p.i
	p.i = start
	s.testVar, _ = p.assignTarget(tupleOpts{simple: true, end: "in"})
	p.i = after
	if _, err = p.expectName("in"); err != nil {
		return nil, err
	}
	if s.iter, err = p.tuple(tupleOpts{end: "recursive"}); err != nil {
		return nil, err
	}
	if p.skipName("if") {
		if s.test, err = p.expression(true); err != nil {
			return nil, err
		}
	}
	s.recursive = p.skipName("recursive")
	if s.body, err = p.statements(false, "endfor", "else"); err != nil {
		return nil, err
	}
	if p.next().val == "else" {
		s.else_, err = p.statements(true, "endfor")
		s.hasElse = len(s.else_) > 0
	}
	return s, err
}

func (p *parser) ifTag() (stmt, error) {
	root := &ifStmt{line: p.next().line}
	s := root
	for {
		var err error
		if s.test, err = p.tuple(tupleOpts{}); err != nil {
			return nil, err
		}
		if s.body, err = p.statements(false, "elif", "else", "endif"); err != nil {
			return nil, err
		}
		switch t := p.next(); t.val {
		case "elif":
			s = &ifStmt{line: p.cur().line}
			root.elifs = append(root.elifs, s)
			continue
		case "else":
			root.else_, err = p.statements(true, "endif")
		}
		return root, err
	}
}

func (p *parser) withTag() (stmt, error) {
	s := &withStmt{line: p.next().line}
	for p.cur().typ != tokBlkEnd {
		if len(s.targets) > 0 {
			if _, err := p.expect(tokComma); err != nil {
				return nil, err
			}
		}
		t, err := p.assignTarget(tupleOpts{simple: true})
		if err != nil {
			return nil, err
		}
		setCtx(t, ctxParam)
		if _, err := p.expect(tokAssign); err != nil {
			return nil, err
		}
		v, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		s.targets, s.values = append(s.targets, t), append(s.values, v)
	}
	var err error
	s.body, err = p.statements(true, "endwith")
	return s, err
}

func (p *parser) nameOnly() (*nameExpr, error) {
	t, err := p.expect(tokName)
	if err != nil {
		return nil, err
	}
	if !canAssign(t.val) {
		return nil, syntaxErr(t.line, "can't assign to 'name'")
	}
	return &nameExpr{name: t.val, ctx: ctxStore, line: t.line}, nil
}

func (p *parser) signature(d *macroDef) error {
	if _, err := p.expect(tokLParen); err != nil {
		return err
	}
	for p.cur().typ != tokRParen {
		if len(d.args) > 0 {
			if _, err := p.expect(tokComma); err != nil {
				return err
			}
		}
		arg, err := p.nameOnly()
		if err != nil {
			return err
		}
		arg.ctx = ctxParam
		if p.skipIf(tokAssign) {
			v, err := p.expression(true)
			if err != nil {
				return err
			}
			d.defaults = append(d.defaults, v)
		} else if len(d.defaults) > 0 {
			return syntaxErr(p.cur().line, "non-default argument follows default argument")
		}
		for _, a := range d.args {
			if a.name == arg.name {
				return &Error{Type: "SyntaxError", Msg: "duplicate argument '" + arg.name + "' in function definition", Line: arg.line}
			}
		}
		d.args = append(d.args, arg)
	}
	p.next()
	return nil
}

func (p *parser) macroTag() (stmt, error) {
	d := &macroDef{line: p.next().line}
	name, err := p.nameOnly()
	if err != nil {
		return nil, err
	}
	d.name = name.name
	if err := p.signature(d); err != nil {
		return nil, err
	}
	d.body, err = p.statements(true, "endmacro")
	return &macroStmt{def: d}, err
}

func (p *parser) callTag() (stmt, error) {
	d := &macroDef{line: p.next().line}
	if p.cur().typ == tokLParen {
		if err := p.signature(d); err != nil {
			return nil, err
		}
	}
	e, err := p.expression(true)
	if err != nil {
		return nil, err
	}
	call, ok := e.(*callExpr)
	if !ok {
		return nil, syntaxErr(d.line, "expected call")
	}
	call.caller = d
	d.body, err = p.statements(true, "endcall")
	return &callStmt{def: d, call: call, line: d.line}, err
}

func (p *parser) blockTag() (stmt, error) {
	s := &blockStmt{line: p.next().line}
	t, err := p.expect(tokName)
	if err != nil {
		return nil, err
	}
	s.name = t.val
	s.scoped = p.skipName("scoped")
	s.required = p.skipName("required")
	if p.cur().typ == tokSub {
		return nil, syntaxErr(p.cur().line, "Block names in Jinja have to be valid Python identifiers and may not contain hyphens, use an underscore instead.")
	}
	if s.body, err = p.statements(true, "endblock"); err != nil {
		return nil, err
	}
	if s.required {
		for _, b := range s.body {
			out, ok := b.(*outputStmt)
			for i := 0; ok && i < len(out.items); i++ {
				var d *dataExpr
				d, ok = out.items[i].(*dataExpr)
				ok = ok && trimLeftSpace(d.text) == ""
			}
			if !ok {
				return nil, syntaxErr(p.cur().line, "Required blocks can only contain comments or whitespace")
			}
		}
	}
	p.skipName(s.name)
	return s, nil
}

func (p *parser) loadTag() (stmt, error) {
	t := p.next()
	s := &loadStmt{tag: t.val, line: t.line}
	var err error
	if s.source, err = p.expression(true); err != nil {
		return nil, err
	}
	context := func() bool {
		if (p.isName("with") || p.isName("without")) && p.look().typ == tokName && p.look().val == "context" {
			p.next()
			p.next()
			return true
		}
		return false
	}
	switch t.val {
	case "include":
		if p.isName("ignore") && p.look().typ == tokName && p.look().val == "missing" {
			p.next()
			p.next()
		}
		context()
	case "import":
		if _, err := p.expectName("as"); err != nil {
			return nil, err
		}
		n, err := p.nameOnly()
		if err != nil {
			return nil, err
		}
		s.names = []string{n.name}
		context()
	case "from":
		if _, err := p.expectName("import"); err != nil {
			return nil, err
		}
		for {
			if len(s.names) > 0 {
				if _, err := p.expect(tokComma); err != nil {
					return nil, err
				}
			}
			if p.cur().typ != tokName {
				_, err := p.expect(tokName)
				return nil, err
			}
			if context() {
				break
			}
			n, err := p.nameOnly()
			if err != nil {
				return nil, err
			}
			if strings.HasPrefix(n.name, "_") {
				return nil, &Error{Type: "TemplateAssertionError", Msg: "names starting with an underline can not be imported", Line: n.line}
			}
			if p.skipName("as") {
				if n, err = p.nameOnly(); err != nil {
					return nil, err
				}
			}
			s.names = append(s.names, n.name)
			if context() || p.cur().typ != tokComma {
				break
			}
		}
	}
	return s, nil
}
