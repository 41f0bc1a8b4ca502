package jinja

import (
	"math"
	"math/big"
	"strings"
)

var (
	nan = math.NaN()
	inf = math.Inf(1)
)

// rangeObj is Python's range.
type rangeObj struct{ start, stop, step int64 }

func (r *rangeObj) len() int {
	switch {
	case r.step > 0 && r.start < r.stop:
		return int((uint64(r.stop)-uint64(r.start)-1)/uint64(r.step)) + 1
	case r.step < 0 && r.start > r.stop:
		return int((uint64(r.start)-uint64(r.stop)-1)/uint64(-r.step)) + 1
	}
	return 0
}

func (r *rangeObj) at(i int) int64 { return r.start + int64(i)*r.step }

func (r *rangeObj) repr() string {
	s := "range(" + itoa(int(r.start)) + ", " + itoa(int(r.stop))
	if r.step != 1 {
		s += ", " + itoa(int(r.step))
	}
	return s + ")"
}

// equal is Python's a == b.
func equal(st *state, a, b Value, depth int) (bool, error) {
	if depth > maxNesting {
		return false, errRecursion()
	}
	if a.k == KindString && b.k == KindString {
		if len(a.s) == len(b.s) && len(a.s) > 256 {
			if err := st.spend(len(a.s)>>8, 0); err != nil {
				return false, err
			}
		}
		return a.s == b.s, nil
	}
	if a.isNumber() && b.isNumber() {
		return compareNumbers(a, b) == 0, nil
	}
	if a.k != b.k {
		return false, nil
	}
	if err := st.spend(1, 0); err != nil {
		return false, err
	}
	switch a.k {
	case KindNone, KindUndefined, KindMissing:
		return true, nil
	case KindList, KindTuple:
		x, y := a.items(), b.items()
		if len(x) != len(y) {
			return false, nil
		}
		for i := range x {
			if eq, err := same(st, x[i], y[i], depth+1); !eq || err != nil {
				return false, err
			}
		}
		return true, nil
	case KindDict:
		x, y := a.dict(), b.dict()
		if x.Len() != y.Len() {
			return false, nil
		}
		for _, e := range x.entries {
			v, ok, err := y.get(e.key)
			if err != nil || !ok {
				return false, err
			}
			if eq, err := same(st, e.val, v, depth+1); !eq || err != nil {
				return false, err
			}
		}
		return true, nil
	case KindRange:
		x, y := a.o.(*rangeObj), b.o.(*rangeObj)
		n := x.len()
		return n == y.len() && (n == 0 || x.start == y.start && (n == 1 || x.step == y.step)), nil
	}
	return identity(a) == identity(b), nil
}

// same is the comparison inside containers: identity first, which matters for NaN.
func same(st *state, a, b Value, depth int) (bool, error) {
	if a.k == KindFloat && b.k == KindFloat && a.n == b.n {
		return true, nil
	}
	return equal(st, a, b, depth)
}

// compareNumbers returns -1, 0, 1, or 2 if unordered.
func compareNumbers(a, b Value) int {
	if a.k != KindFloat && b.k != KindFloat {
		if a.k != KindBig && b.k != KindBig {
			x, y := a.int(), b.int()
			switch {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		}
		return toBig(a).Cmp(toBig(b))
	}
	if a.k == KindFloat && b.k == KindFloat {
		x, y := a.float(), b.float()
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		case x == y:
			return 0
		}
		return 2
	}
	f, i, sign := a, b, 1
	if a.k != KindFloat {
		f, i, sign = b, a, -1
	}
	x := f.float()
	switch {
	case math.IsNaN(x):
		return 2
	case math.IsInf(x, 0):
		if x > 0 {
			return sign
		}
		return -sign
	}
	return sign * new(big.Float).SetFloat64(x).Cmp(new(big.Float).SetInt(toBig(i)))
}

func toBig(v Value) *big.Int {
	if v.k == KindBig {
		return v.big()
	}
	return big.NewInt(v.int())
}

// order compares for < and its kin: -1, 0, 1, or 2 if no relation holds.
func order(st *state, op string, a, b Value, depth int) (int, error) {
	if depth > maxNesting {
		return 0, errRecursion()
	}
	if a.k == KindUndefined {
		return 0, undefError(a)
	}
	if b.k == KindUndefined {
		return 0, undefError(b)
	}
	switch {
	case a.isNumber() && b.isNumber():
		return compareNumbers(a, b), nil
	case a.k == KindString && b.k == KindString:
		if err := st.spend(min(len(a.s), len(b.s))>>8, 0); err != nil {
			return 0, err
		}
		return strings.Compare(a.s, b.s), nil
	case a.isSequence() && a.k == b.k:
		x, y := a.items(), b.items()
		for i := 0; i < len(x) && i < len(y); i++ {
			if err := st.spend(1, 0); err != nil {
				return 0, err
			}
			eq, err := same(st, x[i], y[i], depth+1)
			if err != nil {
				return 0, err
			}
			if !eq {
				return order(st, op, x[i], y[i], depth+1)
			}
		}
		return compareNumbers(Int(int64(len(x))), Int(int64(len(y)))), nil
	}
	return 0, typeErr("'%s' not supported between instances of '%s' and '%s'", op, typeName(a), typeName(b))
}

func lessThan(st *state, a, b Value, depth int) (bool, error) {
	c, err := order(st, "<", a, b, depth)
	return c == -1, err
}

func compare(st *state, op cmpOp, a, b Value) (bool, error) {
	switch op {
	case opEq, opNe:
		eq, err := equal(st, a, b, 0)
		return eq == (op == opEq), err
	case opIn, opNotIn:
		in, err := contains(st, b, a)
		return in == (op == opIn), err
	}
	c, err := order(st, [...]string{"==", "!=", "<", "<=", ">", ">="}[op], a, b, 0)
	if err != nil || c == 2 {
		return false, err
	}
	switch op {
	case opLt:
		return c < 0, nil
	case opLe:
		return c <= 0, nil
	case opGt:
		return c > 0, nil
	}
	return c >= 0, nil
}

// contains is Python's x in box.
func contains(st *state, box, x Value) (bool, error) {
	switch box.k {
	case KindString:
		if x.k != KindString {
			return false, typeErr("'in <string>' requires string as left operand, not %s", typeName(x))
		}
		if err := st.spend(1+len(box.s)>>6, 0); err != nil {
			return false, err
		}
		return strings.Contains(box.s, x.s), nil
	case KindDict:
		_, ok, err := box.dict().get(x)
		return ok, err
	case KindRange:
		if r := box.o.(*rangeObj); x.k == KindInt || x.k == KindBool {
			n := x.int()
			if r.step > 0 {
				return n >= r.start && n < r.stop && (n-r.start)%r.step == 0, nil
			}
			return n <= r.start && n > r.stop && (r.start-n)%-r.step == 0, nil
		}
	case KindUndefined, KindMissing:
		return false, nil
	}
	it, err := iterate(st, box)
	if err != nil {
		return false, typeErr("argument of type '%s' is not iterable", typeName(box))
	}
	for {
		v, ok, err := it.next(st)
		if err != nil || !ok {
			return false, err
		}
		if eq, err := same(st, v, x, 0); eq || err != nil {
			return eq, err
		}
		if err := st.spend(1, 0); err != nil {
			return false, err
		}
	}
}

// getattr is the sandbox's obj.name: attributes before items.
func getattr(st *state, obj Value, name string, m *methodSet) (Value, error) {
	if obj.k == KindUndefined || obj.k == KindMissing {
		if len(name) > 3 && name[:2] == "__" && name[len(name)-2:] == "__" && dunder(obj, name) {
			return unsafeAttr(obj, name), nil
		}
		return Value{}, undefError(obj)
	}
	v, ok, err := attribute(st, obj, name, m)
	if ok || err != nil {
		return v, err
	}
	switch o := obj.o.(type) {
	case *Dict:
		if v, ok := o.getString(name); ok {
			return v, nil
		}
	case *selfRef:
		if d := st.tmpl.blocks[name]; d != nil {
			return object(&blockRef{d}), nil
		}
	}
	return undefinedItem(obj, String(name)), nil
}

func unsafeAttr(obj Value, name string) Value {
	return Value{k: KindUndefined, n: undefUnsafe,
		s: "access to attribute " + pyRepr(name) + " of " + pyRepr(typeName(obj)) + " object is unsafe."}
}

// attribute is Python's getattr(obj, name) under the rules of the sandbox; false is AttributeError.
func attribute(st *state, obj Value, name string, m *methodSet) (Value, bool, error) {
	if ns, ok := obj.o.(*namespace); ok {
		if name == "__class__" {
			return unsafeAttr(obj, name), true, nil
		}
		v, ok := ns.attrs.getString(name)
		return v, ok, nil
	}
	if name != "" && name[0] == '_' {
		if dunder(obj, name) {
			return unsafeAttr(obj, name), true, nil
		}
		return Value{}, false, nil
	}
	if m != nil {
		if f := m.of(obj); f != nil {
			return object(&boundMethod{obj, name, f}), true, nil
		}
		if m.unsafeFor(obj) {
			return unsafeAttr(obj, name), true, nil
		}
	}
	switch o := obj.o.(type) {
	case *loopCtx:
		return o.attr(st, name)
	case *rangeObj:
		switch name {
		case "start":
			return Int(o.start), true, nil
		case "stop":
			return Int(o.stop), true, nil
		case "step":
			return Int(o.step), true, nil
		}
	case *builtin:
		if o.name == "dict" && name == "fromkeys" {
			return object(&builtin{typ: "method", repr: "<bound method TemplateDict.fromkeys>", fn: dictFromKeys}), true, nil
		}
	case *macro:
		return o.attr(name)
	case *cycler:
		return o.attr(name)
	case *joiner:
		switch name {
		case "sep":
			return o.sep, true, nil
		case "used":
			return Bool(o.used), true, nil
		}
	case *List:
		if g, ok := groupAttr(obj, name); ok {
			return g, true, nil
		}
	}
	if obj.isNumber() {
		return numberAttr(obj, name)
	}
	return Value{}, false, nil
}

func (m *macro) attr(name string) (Value, bool, error) {
	d := m.def
	switch name {
	case "name":
		if d.name == "" {
			return None, true, nil
		}
		return String(d.name), true, nil
	case "arguments":
		var names []Value
		for _, a := range d.args {
			names = append(names, String(a.name))
		}
		return newTuple(names...), true, nil
	case "catch_kwargs":
		return Bool(d.kwargs), true, nil
	case "catch_varargs":
		return Bool(d.varargs), true, nil
	case "caller":
		return Bool(d.caller), true, nil
	case "explicit_caller":
		return Bool(d.explicitCaller), true, nil
	}
	return Value{}, false, nil
}

func (c *cycler) attr(name string) (Value, bool, error) {
	switch name {
	case "current":
		return c.items[c.pos], true, nil
	case "items":
		return newTuple(c.items...), true, nil
	case "pos":
		return Int(int64(c.pos)), true, nil
	case "next":
		return object(&builtin{typ: "method", repr: "<bound method Cycler.next>", fn: func(*state, args) (Value, error) {
			v := c.items[c.pos]
			c.pos = (c.pos + 1) % len(c.items)
			return v, nil
		}}), true, nil
	case "reset":
		return object(&builtin{typ: "method", repr: "<bound method Cycler.reset>", fn: func(*state, args) (Value, error) {
			c.pos = 0
			return None, nil
		}}), true, nil
	}
	return Value{}, false, nil
}

// getitem is the sandbox's obj[key]: items before attributes.
func getitem(st *state, obj, key Value) (Value, error) {
	switch obj.k {
	case KindUndefined, KindMissing:
		return Value{}, undefError(obj)
	case KindDict:
		if v, ok, err := obj.dict().get(key); err == nil && ok {
			return v, nil
		}
	case KindList, KindTuple, KindString, KindRange:
		if key.k == KindInt || key.k == KindBool {
			if v, ok := index(st, obj, key.int()); ok {
				return v, nil
			}
			return undefinedItem(obj, key), nil
		}
	}
	if r, ok := obj.o.(*selfRef); ok && r != nil && key.k == KindString {
		if d := st.tmpl.blocks[key.s]; d != nil {
			return object(&blockRef{d}), nil
		}
	}
	if key.k == KindString {
		v, ok, err := attribute(st, obj, key.s, methodsNamed[key.s])
		if ok || err != nil {
			return v, err
		}
	}
	return undefinedItem(obj, key), nil
}

func index(st *state, obj Value, i int64) (Value, bool) {
	n := int64(0)
	switch obj.k {
	case KindString:
		if isASCII(obj.s) {
			n = int64(len(obj.s))
		} else {
			n = int64(runeCount(obj.s))
		}
		st.steps -= len(obj.s) >> 6
	case KindRange:
		n = int64(obj.o.(*rangeObj).len())
	default:
		n = int64(len(obj.items()))
	}
	if i < 0 {
		i += n
	}
	if i < 0 || i >= n {
		return Value{}, false
	}
	switch obj.k {
	case KindString:
		at := byteOffset(obj.s, int(i))
		return obj.sub(at, at+runeLen(obj.s[at:])), true
	case KindRange:
		return Int(obj.o.(*rangeObj).at(int(i))), true
	}
	return obj.items()[i], true
}

// sliceIndex converts a slice's bound; def is its value for None.
func sliceIndex(v Value, def int) (int, error) {
	switch v.k {
	case KindNone:
		return def, nil
	case KindInt, KindBool:
		return int(max(min(v.int(), math.MaxInt32*8), -math.MaxInt32*8)), nil
	case KindBig:
		return v.big().Sign() * math.MaxInt32 * 8, nil
	case KindUndefined:
		return 0, typeErr("slice indices must be integers or None or have an __index__ method")
	}
	return 0, typeErr("slice indices must be integers or None or have an __index__ method")
}

// slice is Python's obj[a:b:c].
func slice(st *state, obj, a, b, c Value) (Value, error) {
	n := 0
	switch obj.k {
	case KindString:
		n = runeCount(obj.s)
	case KindList, KindTuple:
		n = len(obj.items())
	case KindRange:
		n = obj.o.(*rangeObj).len()
	case KindUndefined, KindMissing:
		return Value{}, undefError(obj)
	case KindDict:
		return Value{}, typeErr("unhashable type: 'slice'")
	default:
		return Value{}, typeErr("'%s' object is not subscriptable", typeName(obj))
	}
	step, err := sliceIndex(c, 1)
	if err != nil {
		return Value{}, err
	}
	if step == 0 {
		return Value{}, valueErr("slice step cannot be zero")
	}
	lo, hi := 0, n
	if step < 0 {
		lo, hi = n-1, -1
	}
	bound := func(v Value, def int) (int, error) {
		i, err := sliceIndex(v, def)
		if err != nil || v.k == KindNone {
			return def, err
		}
		if i < 0 {
			i += n
		}
		if step > 0 {
			return max(0, min(i, n)), nil
		}
		return max(-1, min(i, n-1)), nil
	}
	start, err := bound(a, lo)
	if err != nil {
		return Value{}, err
	}
	stop, err := bound(b, hi)
	if err != nil {
		return Value{}, err
	}
	count := 0
	if step > 0 && start < stop {
		count = (stop-start-1)/step + 1
	} else if step < 0 && start > stop {
		count = (start-stop-1)/-step + 1
	}
	switch obj.k {
	case KindString:
		return sliceString(st, obj, start, stop, step, count)
	case KindRange:
		r := obj.o.(*rangeObj)
		return Value{k: KindRange, o: &rangeObj{r.at(start), r.at(stop), r.step * int64(step)}}, nil
	}
	if err := st.spendProduct(count, valueBytes); err != nil {
		return Value{}, err
	}
	src := obj.items()
	var items []Value
	if step == 1 && count > 0 {
		items = src[start:stop:stop] // items never change
	} else {
		items = make([]Value, count)
		for i := range items {
			items[i] = src[start+i*step]
		}
	}
	return Value{k: obj.k, o: &List{items: items}}, nil
}

func sliceString(st *state, v Value, start, stop, step, count int) (Value, error) {
	if err := st.spendText(len(v.s), count); err != nil {
		return Value{}, err
	}
	if count == 0 {
		return v.sub(0, 0), nil
	}
	if step == 1 {
		from := byteOffset(v.s, start)
		return v.sub(from, from+byteOffset(v.s[from:], count)), nil
	}
	offs := runeOffsets(v.s)
	var b strBuilder
	for i := range count {
		j := start + i*step
		b.add(v.sub(offs[j], offs[j+1]))
	}
	r := b.value()
	r.f |= v.f & flagMarkup
	return r, nil
}
