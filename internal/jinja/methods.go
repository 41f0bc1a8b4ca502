package jinja

// method is a method of a built-in type. The receiver has the type that the method was found for.
type method func(st *state, self Value, a args) (Value, error)

// methodSet is all methods of one name.
type methodSet struct {
	str, dict, list, tuple, rng, view method
	unsafeDict, unsafeList            bool // changes its receiver: the sandbox refuses it
}

// of returns the method that obj has, or nil.
func (m *methodSet) of(obj Value) method {
	switch obj.k {
	case KindString:
		return m.str
	case KindDict:
		return m.dict
	case KindList:
		return m.list
	case KindTuple:
		return m.tuple
	case KindRange:
		return m.rng
	case KindObject:
		if _, ok := obj.o.(*dictView); ok {
			return m.view
		}
	}
	return nil
}

func (m *methodSet) unsafeFor(obj Value) bool {
	return obj.k == KindDict && m.unsafeDict || obj.k == KindList && m.unsafeList
}

// methodsNamed lists every method of built-in types by name. Set in init, since formatting looks methods up.
var methodsNamed map[string]*methodSet

func init() {
	sets := map[string]*methodSet{}
	set := func(name string) *methodSet {
		if sets[name] == nil {
			sets[name] = &methodSet{}
		}
		return sets[name]
	}
	for n, f := range strMethods {
		set(n).str = f
	}
	for n, f := range dictMethods {
		set(n).dict = f
	}
	for _, n := range []string{"clear", "pop", "popitem", "setdefault", "update"} {
		set(n).unsafeDict = true
	}
	for _, n := range []string{"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"} {
		set(n).unsafeList = true
	}
	set("copy").list = func(st *state, self Value, a args) (Value, error) {
		if _, err := a.plain("copy", 0, 0); err != nil {
			return Value{}, err
		}
		return NewList(self.items()), nil
	}
	for _, s := range []func(*methodSet) *method{
		func(m *methodSet) *method { return &m.list }, func(m *methodSet) *method { return &m.tuple }, func(m *methodSet) *method { return &m.rng }} {
		*s(set("count")) = seqCount
		*s(set("index")) = seqIndex
	}
	set("isdisjoint").view = func(st *state, self Value, a args) (Value, error) {
		p, err := a.plain("isdisjoint", 1, 1)
		if err != nil {
			return Value{}, err
		}
		other, err := toList(st, p[0])
		if err != nil {
			return Value{}, err
		}
		for _, x := range other {
			if in, err := contains(st, self, x); in || err != nil {
				return vFalse, err
			}
		}
		return vTrue, nil
	}
	methodsNamed = sets
}

func seqCount(st *state, self Value, a args) (Value, error) {
	p, err := a.plain("count", 1, 1)
	if err != nil {
		return Value{}, err
	}
	items, err := toList(st, self)
	if err != nil {
		return Value{}, err
	}
	n := int64(0)
	for _, x := range items {
		eq, err := same(st, x, p[0], 0)
		if err == nil {
			err = st.spend(1, 0)
		}
		if err != nil {
			return Value{}, err
		}
		if eq {
			n++
		}
	}
	return Int(n), nil
}

func seqIndex(st *state, self Value, a args) (Value, error) {
	p, err := a.plain("index", 1, 3)
	if err != nil {
		return Value{}, err
	}
	items, err := toList(st, self)
	if err != nil {
		return Value{}, err
	}
	lo, hi, err := bounds(p[1], p[2], len(items))
	if err != nil {
		return Value{}, err
	}
	for i := lo; i < hi; i++ {
		eq, err := same(st, items[i], p[0], 0)
		if err == nil {
			err = st.spend(1, 0)
		}
		if err != nil {
			return Value{}, err
		}
		if eq {
			return Int(int64(i)), nil
		}
	}
	var b strBuilder
	if err := appendRepr(&b, p[0], 0); err != nil {
		return Value{}, err
	}
	return Value{}, valueErr("%s is not in %s", b.b, typeName(self))
}

// bounds clips optional start and stop arguments to [0, n].
func bounds(start, stop Value, n int) (lo, hi int, err error) {
	clip := func(v Value, def int) (int, error) {
		if v.k == KindMissing {
			return def, nil
		}
		i, err := sliceIndex(v, def)
		if i < 0 {
			i += n
		}
		return max(0, min(i, n)), err
	}
	if lo, err = clip(start, 0); err != nil {
		return
	}
	hi, err = clip(stop, n)
	return
}

var dictMethods = map[string]method{
	"get": func(st *state, self Value, a args) (Value, error) {
		p, err := a.plain("get", 1, 2)
		if err != nil {
			return Value{}, err
		}
		v, ok, err := self.dict().get(p[0])
		if err != nil || ok {
			return v, err
		}
		if p[1].k == KindMissing {
			return None, nil
		}
		return p[1], nil
	},
	"items":  func(_ *state, self Value, a args) (Value, error) { return view(self, a, "items", 2) },
	"keys":   func(_ *state, self Value, a args) (Value, error) { return view(self, a, "keys", 0) },
	"values": func(_ *state, self Value, a args) (Value, error) { return view(self, a, "values", 1) },
	"copy": func(_ *state, self Value, a args) (Value, error) {
		_, err := a.plain("copy", 0, 0)
		return self, err
	},
	"fromkeys": func(st *state, _ Value, a args) (Value, error) { return dictFromKeys(st, a) },
}

func view(self Value, a args, name string, what int) (Value, error) {
	if _, err := a.plain(name, 0, 0); err != nil {
		return Value{}, err
	}
	return object(&dictView{self.dict(), what}), nil
}

func dictFromKeys(st *state, a args) (Value, error) {
	p, err := a.plain("fromkeys", 1, 2)
	if err != nil {
		return Value{}, err
	}
	if p[1].k == KindMissing {
		p[1] = None
	}
	keys, err := toList(st, p[0])
	if err != nil {
		return Value{}, err
	}
	if err := st.spendProduct(len(keys), 2*valueBytes); err != nil {
		return Value{}, err
	}
	d := NewDict(len(keys))
	for _, k := range keys {
		if err := d.setValue(k, p[1]); err != nil {
			return Value{}, err
		}
	}
	return d.Value(), nil
}

// dunder reports whether Python's objects of this kind have the special attribute name.
func dunder(v Value, name string) bool {
	switch name {
	case "__class__", "__delattr__", "__dir__", "__doc__", "__eq__", "__format__", "__ge__", "__getattribute__", "__getstate__",
		"__gt__", "__hash__", "__init__", "__init_subclass__", "__le__", "__lt__", "__ne__", "__new__", "__reduce__",
		"__reduce_ex__", "__repr__", "__setattr__", "__sizeof__", "__str__", "__subclasshook__":
		return true
	case "__len__", "__iter__", "__contains__":
		return v.k == KindString || v.isSequence() || v.k == KindDict || v.k == KindRange
	case "__getitem__", "__mul__", "__rmul__", "__add__":
		return v.k == KindString || v.isSequence()
	case "__bool__", "__int__", "__float__", "__sub__":
		return v.isNumber()
	case "__call__", "__name__", "__self__":
		switch v.o.(type) {
		case *builtin, *boundMethod, *macro:
			return true
		}
	case "__html__":
		return v.isMarkup()
	}
	return false
}
