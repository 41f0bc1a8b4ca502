package jinja

// testFunc is a test; the tested value is the first positional argument.
type testFunc func(st *state, a args) (Value, error)

// simpleTests look at the value alone and cannot fail.
var simpleTests map[string]func(Value) bool

// tests are Jinja's.
var tests map[string]testFunc

func init() {
	simpleTests = map[string]func(Value) bool{
		"defined":   func(v Value) bool { return v.k != KindUndefined && v.k != KindMissing },
		"undefined": func(v Value) bool { return v.k == KindUndefined || v.k == KindMissing },
		"none":      func(v Value) bool { return v.k == KindNone },
		"boolean":   func(v Value) bool { return v.k == KindBool },
		"true":      func(v Value) bool { return v.k == KindBool && v.n != 0 },
		"false":     func(v Value) bool { return v.k == KindBool && v.n == 0 },
		"integer":   func(v Value) bool { return v.k == KindInt || v.k == KindBig },
		"float":     func(v Value) bool { return v.k == KindFloat },
		"number":    Value.isNumber,
		"string":    Value.isString,
		"mapping":   func(v Value) bool { return v.k == KindDict },
		"escaped":   Value.isMarkup,
		"callable":  callable,
		"iterable":  iterable,
		"sequence":  sequence,
	}
	tests = map[string]testFunc{
		"odd": parity(1), "even": parity(0), "divisibleby": testDivisible, "in": testIn, "sameas": testSameAs,
		"lower": testCase(isLower), "upper": testCase(isUpper),
		"filter": func(_ *state, a args) (Value, error) {
			return testName(a, func(s string) bool { return filters[s] != nil })
		},
		"test": func(_ *state, a args) (Value, error) {
			return testName(a, func(s string) bool { return tests[s] != nil })
		},
	}
	for name, f := range simpleTests {
		tests[name] = func(_ *state, a args) (Value, error) {
			p, err := a.bind("test_"+name, 1, "value")
			return Bool(f(p[0])), err
		}
	}
	for op, names := range map[cmpOp][]string{
		opEq: {"==", "eq", "equalto"}, opNe: {"!=", "ne"}, opGt: {">", "gt", "greaterthan"}, opGe: {"ge", ">="},
		opLt: {"<", "lt", "lessthan"}, opLe: {"<=", "le"}} {
		for _, n := range names {
			tests[n] = func(st *state, a args) (Value, error) {
				p, err := a.plain(n, 2, 2)
				if err != nil {
					return Value{}, err
				}
				ok, err := compare(st, op, p[0], p[1])
				return Bool(ok), err
			}
		}
	}
}

func callable(v Value) bool {
	if v.k == KindUndefined {
		return true // it has __call__, which raises
	}
	switch v.o.(type) {
	case *builtin, *boundMethod, *macro, *loopCtx, *joiner, *blockRef:
		return true
	}
	return false
}

func iterable(v Value) bool {
	switch v.k {
	case KindString, KindList, KindTuple, KindDict, KindRange, KindIterator, KindUndefined:
		return true
	}
	switch v.o.(type) {
	case *dictView, *loopCtx:
		return true
	}
	return false
}

// sequence holds for what has a length and items: Python asks for __len__ and __getitem__.
func sequence(v Value) bool {
	switch v.k {
	case KindString, KindList, KindTuple, KindDict, KindRange, KindUndefined:
		return true
	}
	return false
}

func parity(want int64) testFunc {
	return func(st *state, a args) (Value, error) {
		p, err := a.bind("test_parity", 1, "value")
		if err != nil {
			return Value{}, err
		}
		r, err := binary(st, '%', p[0], Int(2))
		if err != nil {
			return Value{}, err
		}
		ok, err := equal(st, r, Int(want), 0)
		return Bool(ok), err
	}
}

func testDivisible(st *state, a args) (Value, error) {
	p, err := a.bind("test_divisibleby", 2, "value", "num")
	if err != nil {
		return Value{}, err
	}
	r, err := binary(st, '%', p[0], p[1])
	if err != nil {
		return Value{}, err
	}
	ok, err := equal(st, r, Int(0), 0)
	return Bool(ok), err
}

func testIn(st *state, a args) (Value, error) {
	p, err := a.bind("test_in", 2, "value", "seq")
	if err != nil {
		return Value{}, err
	}
	ok, err := contains(st, p[1], p[0])
	return Bool(ok), err
}

// testSameAs is Python's "is". Small integers and strings of equal text count as one object.
func testSameAs(_ *state, a args) (Value, error) {
	p, err := a.bind("test_sameas", 2, "value", "other")
	if err != nil {
		return Value{}, err
	}
	x, y := p[0], p[1]
	if x.k != y.k {
		return vFalse, nil
	}
	switch x.k {
	case KindNone:
		return vTrue, nil
	case KindBool, KindInt, KindFloat:
		return Bool(x.n == y.n), nil
	case KindString:
		return Bool(x.s == y.s), nil
	case KindUndefined:
		return vFalse, nil
	}
	return Bool(identity(x) == identity(y)), nil
}

func testCase(want func(rune) bool) testFunc {
	return func(st *state, a args) (Value, error) {
		p, err := a.bind("test_case", 1, "value")
		if err != nil {
			return Value{}, err
		}
		s, err := toStr(st, p[0])
		return Bool(oneCase(s.s, want)), err
	}
}

func testName(a args, known func(string) bool) (Value, error) {
	p, err := a.bind("test_name", 1, "value")
	if err != nil {
		return Value{}, err
	}
	if p[0].k == KindList || p[0].k == KindDict {
		return Value{}, typeErr("unhashable type: '%s'", typeName(p[0]))
	}
	return Bool(known(p[0].Text())), nil
}
