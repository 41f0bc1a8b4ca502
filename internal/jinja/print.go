package jinja

// printer is an expression that can write its text straight into the output.
type printer interface {
	print(st *state) error
}

// sumExpr is a chain of additions, a + b + c. Texts are joined in one go; anything else falls back to pairs.
type sumExpr struct {
	items []expr
	line  int
}

// flatten makes one node of a left operand that is such a chain already, and a right one.
func flatten(e *binExpr) expr {
	if l, ok := e.left.(*sumExpr); ok {
		l.items = append(l.items, e.right)
		return l
	}
	return &sumExpr{items: []expr{e.left, e.right}, line: e.line}
}

func plainText(v Value) bool { return v.k == KindString && v.f&flagMarkup == 0 }

// write appends the texts of the chain to the output and reports how many; if an operand is no plain text, the
// value so far and the rest are added up the long way, and nothing stays in the output.
func (e *sumExpr) write(st *state) (sum Value, texts bool, err error) {
	at := len(st.out.b)
	for i, x := range e.items {
		if st.steps--; st.steps < 0 {
			return sum, false, budgetErr("the template runs for too long")
		}
		v, err := x.eval(st)
		if err != nil {
			return sum, false, err
		}
		if plainText(v) {
			st.out.add(v)
			n := len(st.out.b) - at
			if n > st.maxBytes || n > st.maxOut {
				return sum, false, budgetErr("the template uses too much memory")
			}
			continue
		}
		if i == 0 {
			sum = v
		} else {
			acc := st.out.from(at)
			st.out.cut(at)
			if sum, err = binary(st, '+', acc, v); err != nil {
				return sum, false, withLine(err, e.line)
			}
		}
		for _, y := range e.items[i+1:] {
			if v, err = y.eval(st); err != nil {
				return sum, false, err
			}
			if sum, err = binary(st, '+', sum, v); err != nil {
				return sum, false, withLine(err, e.line)
			}
		}
		return sum, false, nil
	}
	return sum, true, nil
}

func (e *sumExpr) eval(st *state) (Value, error) {
	at := len(st.out.b)
	save := st.out.t
	st.out.t = nil // spans must not grow over the border
	v, texts, err := e.write(st)
	if err == nil && texts {
		v = st.out.from(at)
		err = st.spendText(len(v.s), len(v.s))
	}
	st.out.b = st.out.b[:at]
	st.out.t = save
	return v, err
}

func (e *sumExpr) print(st *state) error {
	if st.autoescape {
		v, err := e.eval(st)
		if err != nil {
			return err
		}
		return st.write(v)
	}
	v, texts, err := e.write(st)
	if err != nil || texts {
		return err
	}
	return st.write(v)
}

// jsonExpr is x|tojson without arguments.
type jsonExpr struct{ filterExpr }

var plainJSON = jsonStyle{item: ", ", key: ": "}

func (e *jsonExpr) print(st *state) error {
	if st.autoescape {
		v, err := e.eval(st)
		if err != nil {
			return err
		}
		return st.write(v)
	}
	v, err := e.obj.eval(st)
	if err == nil {
		at := len(st.out.b)
		if err = appendJSON(st, &st.out, v, &plainJSON, 0); err == nil {
			err = st.spend((len(st.out.b)-at)>>8, 0)
		}
	}
	if err != nil {
		return withLine(err, e.line)
	}
	if len(st.out.b) > st.maxOut {
		return budgetErr("the output is too long")
	}
	return nil
}
