package jinja

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
)

// filterFunc is a filter; the filtered value is the first positional argument.
type filterFunc func(st *state, a args) (Value, error)

// filters are Jinja's, with transformers' tojson. Set in init, since map and its kin look others up by name.
var filters map[string]filterFunc

func init() {
	filters = map[string]filterFunc{
		"abs": filterAbs, "attr": filterAttr, "batch": filterBatch, "capitalize": textFilter("capitalize"),
		"center": filterCenter, "count": filterLength, "d": filterDefault, "default": filterDefault,
		"dictsort": filterDictSort, "e": filterEscape, "escape": filterEscape, "filesizeformat": filterFileSize,
		"first": filterFirst, "float": filterFloat, "forceescape": filterForceEscape, "format": filterFormat,
		"groupby": filterGroupBy, "indent": filterIndent, "int": filterInt, "join": filterJoin, "last": filterLast,
		"length": filterLength, "list": filterList, "lower": textFilter("lower"), "items": filterItems, "map": filterMap,
		"min": filterMin, "max": filterMax, "pprint": filterPprint, "random": filterRandom,
		"reject": selector("reject", false, true), "rejectattr": selector("rejectattr", true, true),
		"replace": filterReplace, "reverse": filterReverse, "round": filterRound, "safe": filterSafe,
		"select": selector("select", false, false), "selectattr": selector("selectattr", true, false),
		"slice": filterSlice, "sort": filterSort, "string": filterString, "striptags": filterStripTags, "sum": filterSum,
		"title": filterTitle, "trim": filterTrim, "truncate": filterTruncate, "unique": filterUnique,
		"upper": textFilter("upper"), "urlencode": filterURLEncode, "urlize": unsupportedFilter("urlize"),
		"wordcount": filterWordCount, "wordwrap": filterWordWrap, "xmlattr": filterXMLAttr, "tojson": filterToJSON,
	}
}

func unsupportedFilter(name string) filterFunc {
	return func(*state, args) (Value, error) { return Value{}, filterErr("the filter %s is not supported", name) }
}

// textFilter is soft_str(s).name().
func textFilter(name string) filterFunc {
	return func(st *state, a args) (Value, error) {
		p, err := a.bind("do_"+name, 1, "s")
		if err != nil {
			return Value{}, err
		}
		s, err := softStr(st, p[0])
		if err != nil {
			return Value{}, err
		}
		return strMethods[name](st, s, args{})
	}
}

func filterAbs(_ *state, a args) (Value, error) {
	p, err := a.plain("abs", 1, 1)
	if err != nil {
		return Value{}, err
	}
	switch v := p[0]; {
	case v.k == KindFloat:
		return Float(math.Abs(v.float())), nil
	case v.isIntegral():
		return bigInt(new(big.Int).Abs(toBig(v))), nil
	case v.k == KindUndefined:
		return Value{}, typeErr("bad operand type for abs(): 'Undefined'")
	default:
		return Value{}, typeErr("bad operand type for abs(): '%s'", typeName(v))
	}
}

// filterAttr is getattr without the fallback to items.
func filterAttr(st *state, a args) (Value, error) {
	p, err := a.bind("do_attr", 2, "obj", "name")
	if err != nil {
		return Value{}, err
	}
	if p[1].k != KindString {
		return Value{}, typeErr("attribute name must be string, not '%s'", typeName(p[1]))
	}
	if p[0].k == KindUndefined {
		return getattr(st, p[0], p[1].s, methodsNamed[p[1].s])
	}
	v, ok, err := attribute(st, p[0], p[1].s, methodsNamed[p[1].s])
	if err != nil || ok {
		return v, err
	}
	return undefinedItem(p[0], p[1]), nil
}

func filterCenter(st *state, a args) (Value, error) {
	p, err := a.bind("do_center", 1, "value", "width")
	if err != nil {
		return Value{}, err
	}
	if p[1].k == KindMissing {
		p[1] = Int(80)
	}
	s, err := softStr(st, p[0])
	if err != nil {
		return Value{}, err
	}
	return strMethods["center"](st, s, args{pos: p[1:2]})
}

func filterLength(st *state, a args) (Value, error) {
	p, err := a.plain("len", 1, 1)
	if err != nil {
		return Value{}, err
	}
	n, ok, err := length(st, p[0])
	if err == nil && !ok {
		err = typeErr("object of type '%s' has no len()", typeName(p[0]))
	}
	return Int(int64(n)), err
}

// length is Python's len(v); false when v has none.
func length(st *state, v Value) (int, bool, error) {
	switch v.k {
	case KindString:
		return runeCount(v.s), true, st.spend(len(v.s)>>6, 0)
	case KindList, KindTuple:
		return len(v.items()), true, nil
	case KindDict:
		return v.dict().Len(), true, nil
	case KindRange:
		return v.o.(*rangeObj).len(), true, nil
	case KindUndefined:
		return 0, true, nil
	}
	switch o := v.o.(type) {
	case *dictView:
		return o.d.Len(), true, nil
	case *loopCtx:
		n, err := o.length(st)
		return n, true, err
	}
	return 0, false, nil
}

func filterDefault(_ *state, a args) (Value, error) {
	p, err := a.bind("do_default", 1, "value", "default_value", "boolean")
	if err != nil {
		return Value{}, err
	}
	if p[1].k == KindMissing {
		p[1] = vEmpty
	}
	if p[0].k == KindUndefined || truth(p[2]) && !truth(p[0]) {
		return p[1], nil
	}
	return p[0], nil
}

func filterEscape(st *state, a args) (Value, error) {
	p, err := a.plain("escape", 1, 1)
	if err != nil {
		return Value{}, err
	}
	return escapeHTML(st, p[0])
}

func filterForceEscape(st *state, a args) (Value, error) {
	p, err := a.bind("do_forceescape", 1, "value")
	if err != nil {
		return Value{}, err
	}
	s, err := toStr(st, p[0])
	if err != nil {
		return Value{}, err
	}
	return escapeHTML(st, s)
}

func filterSafe(st *state, a args) (Value, error) {
	p, err := a.bind("do_mark_safe", 1, "value")
	if err != nil {
		return Value{}, err
	}
	return markup(st, p[0])
}

func filterString(st *state, a args) (Value, error) {
	p, err := a.plain("soft_str", 1, 1)
	if err != nil {
		return Value{}, err
	}
	return softStr(st, p[0])
}

func filterFileSize(st *state, a args) (Value, error) {
	p, err := a.bind("do_filesizeformat", 1, "value", "binary")
	if err != nil {
		return Value{}, err
	}
	n, err := floatOf(p[0])
	if err != nil {
		return Value{}, err
	}
	base, suffix := 1000.0, "B"
	units := "kMGTPEZY"
	if truth(p[1]) {
		base, suffix, units = 1024, "iB", "KMGTPEZY"
	}
	switch {
	case n == 1:
		return String("1 Byte"), nil
	case n < base:
		i, err := truncate(n)
		if err != nil {
			return Value{}, err
		}
		return String(i.big0() + " Bytes"), nil
	}
	unit := base
	for i := range len(units) {
		unit *= base
		if n < unit || i == len(units)-1 {
			return String(strconv.FormatFloat(base*n/unit, 'f', 1, 64) + " " + units[i:i+1] + suffix), nil
		}
	}
	return vEmpty, nil
}

func (v Value) big0() string { return toBig(v).String() }

// floatOf is Python's float(v).
func floatOf(v Value) (float64, error) {
	switch {
	case v.isNumber():
		return toFloat(v)
	case v.k == KindString:
		f, ok := parseFloat(v.s)
		if !ok {
			return 0, valueErr("could not convert string to float: %s", pyRepr(v.s))
		}
		return f, nil
	case v.k == KindUndefined:
		return 0, undefError(v)
	}
	return 0, typeErr("float() argument must be a string or a real number, not '%s'", typeName(v))
}

func isType(err error, types ...string) bool {
	e, ok := err.(*Error)
	for _, t := range types {
		if ok && e.Type == t {
			return true
		}
	}
	return false
}

func filterFloat(_ *state, a args) (Value, error) {
	p, err := a.bind("do_float", 1, "value", "default")
	if err != nil {
		return Value{}, err
	}
	f, err := floatOf(p[0])
	if err == nil {
		return Float(f), nil
	}
	if !isType(err, "TypeError", "ValueError") {
		return Value{}, err
	}
	if p[1].k == KindMissing {
		return Float(0), nil
	}
	return p[1], nil
}

func filterInt(st *state, a args) (Value, error) {
	p, err := a.bind("do_int", 1, "value", "default", "base")
	if err != nil {
		return Value{}, err
	}
	if p[1].k == KindMissing {
		p[1] = Int(0)
	}
	base := 10
	if p[2].k != KindMissing {
		if base, err = toInt(p[2]); err != nil {
			return p[1], nil
		}
	}
	v := p[0]
	switch {
	case v.isIntegral():
		return negate(v, "+")
	case v.k == KindFloat:
		i, err := truncate(v.float())
		if isType(err, "OverflowError") {
			return Value{}, err
		}
		if err != nil {
			return p[1], nil
		}
		return i, nil
	case v.k == KindUndefined:
		return Value{}, undefError(v)
	case v.k == KindString:
		if err := st.spend(1+len(v.s)>>4, 0); err != nil {
			return Value{}, err
		}
		if i, ok := parseInt(v.s, base); ok {
			return i, nil
		}
		if f, ok := parseFloat(v.s); ok {
			if i, err := truncate(f); err == nil {
				return i, nil
			}
		}
	}
	return p[1], nil
}

func filterFormat(st *state, a args) (Value, error) {
	if len(a.pos) > 1 && len(a.kw) > 0 {
		return Value{}, filterErr("can't handle positional and keyword arguments at the same time")
	}
	s, err := softStr(st, a.pos[0])
	if err != nil {
		return Value{}, err
	}
	if len(a.kw) > 0 {
		d := NewDict(len(a.kw))
		for _, k := range a.kw {
			d.Set(k.name, k.v)
		}
		return formatPercent(st, s, d.Value())
	}
	return formatPercent(st, s, newTuple(append([]Value(nil), a.pos[1:]...)...))
}

func filterRound(_ *state, a args) (Value, error) {
	p, err := a.bind("do_round", 1, "value", "precision", "method")
	if err != nil {
		return Value{}, err
	}
	how := "common"
	if p[2].k != KindMissing {
		how = p[2].Text()
	}
	if how != "common" && how != "ceil" && how != "floor" {
		return Value{}, filterErr("method must be common, ceil or floor")
	}
	prec := 0
	if p[1].k != KindMissing {
		if prec, err = toInt(p[1]); err != nil {
			return Value{}, err
		}
	}
	v := p[0]
	if v.k == KindUndefined {
		if how == "common" {
			return Value{}, typeErr("type Undefined doesn't define __round__ method")
		}
		return Value{}, undefError(v)
	}
	if !v.isNumber() {
		if how == "common" {
			return Value{}, typeErr("type %s doesn't define __round__ method", typeName(v))
		}
		return Value{}, typeErr("must be real number, not %s", typeName(v))
	}
	if how == "common" {
		if v.isIntegral() {
			return roundInt(v, prec), nil
		}
		return Float(roundFloat(v.float(), prec)), nil
	}
	if prec > 300 || prec < -300 {
		return Value{}, errf("OverflowError", "the precision is out of range")
	}
	f, err := toFloat(v)
	if err != nil {
		return Value{}, err
	}
	scale := math.Pow(10, float64(prec))
	x := math.Floor(f * scale)
	if how == "ceil" {
		x = math.Ceil(f * scale)
	}
	if math.IsInf(x, 0) || math.IsNaN(x) {
		return Value{}, errf("OverflowError", "cannot convert float infinity to integer")
	}
	return Float(x/scale + 0), nil
}

// roundInt rounds to a negative number of digits half to even.
func roundInt(v Value, prec int) Value {
	b := toBig(v)
	if prec >= 0 {
		return bigInt(b)
	}
	if prec < -maxDigits {
		return Int(0)
	}
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-prec)), nil)
	q, r := new(big.Int).DivMod(b, unit, new(big.Int))
	if c := new(big.Int).Lsh(r, 1).Cmp(unit); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
	}
	return bigInt(q.Mul(q, unit))
}

// roundFloat is Python's round(f, prec): correctly rounded, half to even.
func roundFloat(f float64, prec int) float64 {
	if math.IsInf(f, 0) || math.IsNaN(f) || prec > 323 {
		return f
	}
	if prec < -308 {
		return math.Copysign(0, f)
	}
	if prec >= 0 {
		r, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', prec, 64), 64)
		return r
	}
	scale := math.Pow(10, float64(-prec))
	return math.RoundToEven(f/scale) * scale
}

func filterPprint(st *state, a args) (Value, error) {
	p, err := a.bind("do_pprint", 1, "value")
	if err != nil {
		return Value{}, err
	}
	r, err := reprValue(st, p[0], false)
	if err == nil && runeCount(r.s) > 80 {
		err = filterErr("pprint of values wider than 80 characters is not supported")
	}
	return r, err
}

func filterRandom(st *state, a args) (Value, error) {
	p, err := a.bind("do_random", 1, "seq")
	if err != nil {
		return Value{}, err
	}
	items, err := toList(st, p[0])
	if err != nil || len(items) == 0 {
		return undefinedHint("No random item, sequence was empty."), err
	}
	return items[rand.IntN(len(items))], nil
}
