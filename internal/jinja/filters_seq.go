package jinja

import (
	"sort"
	"strings"
)

// attrPath is an attribute argument: parts with dots between them, digits are indices.
type attrPath []Value

func attrParts(v Value) attrPath {
	if v.k == KindMissing || v.k == KindNone {
		return nil
	}
	if v.k != KindString {
		return attrPath{v}
	}
	var parts attrPath
	for _, s := range strings.Split(v.s, ".") {
		if n, ok := parseInt(s, 10); ok && allRunes(s, pyIsDigit) {
			parts = append(parts, n)
		} else {
			parts = append(parts, String(s))
		}
	}
	return parts
}

// get follows the path; def, if set, stands for undefined values on the way.
func (p attrPath) get(st *state, v Value, def Value) (Value, error) {
	for _, part := range p {
		var err error
		if v, err = getitem(st, v, part); err != nil {
			return v, err
		}
		if v.k == KindUndefined && def.k != KindMissing && def.k != KindNone {
			v = def
		}
	}
	return v, nil
}

func ignoreCase(v Value) Value {
	if v.k == KindString {
		return v.like(pyLower(v.s))
	}
	return v
}

func filterList(st *state, a args) (Value, error) {
	p, err := a.bind("do_list", 1, "value")
	if err != nil {
		return Value{}, err
	}
	items, err := toList(st, p[0])
	return NewList(items), err
}

func filterItems(st *state, a args) (Value, error) {
	p, err := a.bind("do_items", 1, "value")
	if err != nil {
		return Value{}, err
	}
	v := p[0]
	i := 0
	return generator(func(*state) (Value, bool, error) {
		if v.k == KindUndefined {
			return Value{}, false, nil
		}
		if v.k != KindDict {
			return Value{}, false, typeErr("Can only get item pairs from a mapping.")
		}
		d := v.dict()
		if i >= d.Len() {
			return Value{}, false, nil
		}
		i++
		return newTuple(d.entries[i-1].key, d.entries[i-1].val), true, nil
	}), nil
}

func filterFirst(st *state, a args) (Value, error) {
	p, err := a.bind("do_first", 1, "seq")
	if err != nil {
		return Value{}, err
	}
	if p[0].k == KindString && p[0].s != "" {
		p[0].f &^= flagMarkup
		return p[0].sub(0, runeLen(p[0].s)), nil
	}
	it, err := iterate(st, p[0])
	if err != nil {
		return Value{}, err
	}
	v, ok, err := it.next(st)
	if err == nil && !ok {
		v = undefinedHint("No first item, sequence was empty.")
	}
	return v, err
}

// reversed is Python's reversed(v); false when v cannot be.
func reversed(st *state, v Value) ([]Value, string, bool, error) {
	name := "reversed"
	switch v.k {
	case KindList:
		name = "list_reverseiterator"
	case KindTuple, KindString, KindUndefined:
	case KindRange:
		name = "range_iterator"
	case KindDict:
		name = "dict_reversekeyiterator"
	default:
		w, ok := v.o.(*dictView)
		if !ok {
			return nil, "", false, nil
		}
		name = [...]string{"dict_reversekeyiterator", "dict_reversevalueiterator", "dict_reverseitemiterator"}[w.what]
	}
	items, err := toList(st, v)
	if err == nil {
		err = st.spendProduct(len(items), valueBytes)
	}
	if err != nil {
		return nil, "", true, err
	}
	out := make([]Value, len(items))
	for i, x := range items {
		out[len(items)-1-i] = x
	}
	return out, name, true, nil
}

func filterLast(st *state, a args) (Value, error) {
	p, err := a.bind("do_last", 1, "seq")
	if err != nil {
		return Value{}, err
	}
	v := p[0]
	if n := v.Len(); n > 0 && v.isSequence() {
		return v.items()[n-1], nil
	}
	items, _, ok, err := reversed(st, v)
	switch {
	case err != nil:
		return Value{}, err
	case !ok:
		return Value{}, typeErr("'%s' object is not reversible", typeName(v))
	case len(items) == 0:
		return undefinedHint("No last item, sequence was empty."), nil
	}
	return items[0], nil
}

func filterReverse(st *state, a args) (Value, error) {
	p, err := a.bind("do_reverse", 1, "value")
	if err != nil {
		return Value{}, err
	}
	v := p[0]
	if v.k == KindString {
		return slice(st, v, None, None, Int(-1))
	}
	items, name, ok, err := reversed(st, v)
	if err != nil {
		return Value{}, err
	}
	if ok {
		return Value{k: KindIterator, o: &sliceIter{items: items, typ: name}}, nil
	}
	if items, err = toList(st, v); err != nil {
		if isType(err, "TypeError") {
			err = filterErr("argument must be iterable")
		}
		return Value{}, err
	}
	out := make([]Value, len(items))
	for i, x := range items {
		out[len(items)-1-i] = x
	}
	return NewList(out), nil
}

func filterJoin(st *state, a args) (Value, error) {
	p, err := a.bind("do_join", 1, "value", "d", "attribute")
	if err != nil {
		return Value{}, err
	}
	it, err := iterate(st, p[0])
	if err != nil {
		return Value{}, err
	}
	if p[1].k == KindMissing {
		p[1] = vEmpty
	}
	path := attrParts(p[2])
	var items []Value
	safe := p[1].isMarkup()
	for {
		v, ok, err := it.next(st)
		if err == nil && ok {
			if err = st.spend(1, valueBytes); err == nil {
				v, err = path.get(st, v, Value{})
			}
		}
		if err != nil {
			return Value{}, err
		}
		if !ok {
			break
		}
		safe = safe || v.isMarkup()
		items = append(items, v)
	}
	conv := toStr
	if safe = safe && st.autoescape; safe {
		conv = escapeHTML
	}
	sep, err := conv(st, p[1])
	if err != nil {
		return Value{}, err
	}
	var b strBuilder
	for i, v := range items {
		if v, err = conv(st, v); err != nil {
			return Value{}, err
		}
		if i > 0 {
			b.add(sep)
		}
		b.add(v)
		if err := st.spendText(0, len(sep.s)+len(v.s)); err != nil {
			return Value{}, err
		}
	}
	v := b.value()
	if safe {
		v = v.withMarkup()
	}
	return v, nil
}

// sortBy sorts stably by keys; reverse keeps the order of equal items, as Python does.
func sortBy(st *state, items, keys []Value, reverse bool) ([]Value, error) {
	if err := st.spendProduct(len(items), 2*valueBytes); err != nil {
		return nil, err
	}
	idx := make([]int, len(items))
	for i := range idx {
		idx[i] = i
	}
	var failed error
	sort.SliceStable(idx, func(i, j int) bool {
		if failed != nil {
			return false
		}
		x, y := keys[idx[i]], keys[idx[j]]
		if reverse {
			x, y = y, x
		}
		less, err := lessThan(st, x, y, 0)
		if err == nil {
			err = st.spend(1, 0)
		}
		if err != nil {
			failed = err
		}
		return less
	})
	if failed != nil {
		return nil, failed
	}
	out := make([]Value, len(items))
	for i, j := range idx {
		out[i] = items[j]
	}
	return out, nil
}

func filterSort(st *state, a args) (Value, error) {
	p, err := a.bind("do_sort", 1, "value", "reverse", "case_sensitive", "attribute")
	if err != nil {
		return Value{}, err
	}
	items, err := toList(st, p[0])
	if err != nil {
		return Value{}, err
	}
	var paths []attrPath
	if p[3].k == KindString {
		for _, s := range strings.Split(p[3].s, ",") {
			paths = append(paths, attrParts(String(s)))
		}
	} else {
		paths = []attrPath{attrParts(p[3])}
	}
	keys := make([]Value, len(items))
	for i, x := range items {
		row := make([]Value, len(paths))
		for j, path := range paths {
			if row[j], err = path.get(st, x, Value{}); err != nil {
				return Value{}, err
			}
			if !truth(p[2]) {
				row[j] = ignoreCase(row[j])
			}
		}
		if err := st.spend(1, valueBytes*len(paths)); err != nil {
			return Value{}, err
		}
		keys[i] = NewList(row)
	}
	out, err := sortBy(st, items, keys, truth(p[1]))
	return NewList(out), err
}

func filterDictSort(st *state, a args) (Value, error) {
	p, err := a.bind("do_dictsort", 1, "value", "case_sensitive", "by", "reverse")
	if err != nil {
		return Value{}, err
	}
	pos := 0
	if p[2].k != KindMissing {
		switch p[2].Text() {
		case "key":
		case "value":
			pos = 1
		default:
			return Value{}, filterErr(`You can only sort by either "key" or "value"`)
		}
	}
	if p[0].k != KindDict {
		if p[0].k == KindUndefined {
			return Value{}, undefError(p[0])
		}
		return Value{}, errf("AttributeError", "'%s' object has no attribute 'items'", typeName(p[0]))
	}
	items, err := toList(st, object(&dictView{p[0].dict(), 2}))
	if err != nil {
		return Value{}, err
	}
	keys := make([]Value, len(items))
	for i, x := range items {
		keys[i] = x.items()[pos]
		if !truth(p[1]) {
			keys[i] = ignoreCase(keys[i])
		}
	}
	out, err := sortBy(st, items, keys, truth(p[3]))
	return NewList(out), err
}

func extreme(name string, better int) filterFunc {
	return func(st *state, a args) (Value, error) {
		p, err := a.bind("do_"+name, 1, "value", "case_sensitive", "attribute")
		if err != nil {
			return Value{}, err
		}
		items, err := toList(st, p[0])
		if err != nil {
			return Value{}, err
		}
		if len(items) == 0 {
			return undefinedHint("No aggregated item, sequence was empty."), nil
		}
		path := attrParts(p[2])
		var best, bestKey Value
		for i, x := range items {
			key, err := path.get(st, x, Value{})
			if err != nil {
				return Value{}, err
			}
			if !truth(p[1]) {
				key = ignoreCase(key)
			}
			if i > 0 {
				c, err := order(st, map[int]string{-1: "<", 1: ">"}[better], key, bestKey, 0)
				if err == nil {
					err = st.spend(1, 0)
				}
				if err != nil {
					return Value{}, err
				}
				if c != better {
					continue
				}
			}
			best, bestKey = x, key
		}
		return best, nil
	}
}

var filterMin, filterMax = extreme("min", -1), extreme("max", 1)

func filterSum(st *state, a args) (Value, error) {
	p, err := a.bind("do_sum", 1, "iterable", "attribute", "start")
	if err != nil {
		return Value{}, err
	}
	sum := p[2]
	if sum.k == KindMissing {
		sum = Int(0)
	}
	if sum.k == KindString {
		return Value{}, typeErr("sum() can't sum strings [use ''.join(seq) instead]")
	}
	it, err := iterate(st, p[0])
	if err != nil {
		return Value{}, err
	}
	path := attrParts(p[1])
	for {
		v, ok, err := it.next(st)
		if err != nil || !ok {
			return sum, err
		}
		if v, err = path.get(st, v, Value{}); err == nil {
			sum, err = binary(st, '+', sum, v)
		}
		if err != nil {
			return Value{}, err
		}
		if err := st.spend(1, 0); err != nil {
			return Value{}, err
		}
	}
}

// groupAttr gives the pairs of groupby their names.
func groupAttr(v Value, name string) (Value, bool) {
	l := v.o.(*List)
	if !l.group {
		return Value{}, false
	}
	switch name {
	case "grouper":
		return l.items[0], true
	case "list":
		return l.items[1], true
	}
	return Value{}, false
}

func filterGroupBy(st *state, a args) (Value, error) {
	p, err := a.bind("do_groupby", 2, "value", "attribute", "default", "case_sensitive")
	if err != nil {
		return Value{}, err
	}
	items, err := toList(st, p[0])
	if err != nil {
		return Value{}, err
	}
	path := attrParts(p[1])
	key := func(v Value, fold bool) (Value, error) {
		k, err := path.get(st, v, p[2])
		if fold && !truth(p[3]) {
			k = ignoreCase(k)
		}
		return k, err
	}
	keys := make([]Value, len(items))
	for i, x := range items {
		if keys[i], err = key(x, true); err != nil {
			return Value{}, err
		}
	}
	if items, err = sortBy(st, items, keys, false); err != nil {
		return Value{}, err
	}
	var groups []Value
	for i := 0; i < len(items); {
		k, err := key(items[i], true)
		if err != nil {
			return Value{}, err
		}
		j := i + 1
		for ; j < len(items); j++ {
			k2, err := key(items[j], true)
			if err != nil {
				return Value{}, err
			}
			eq, err := equal(st, k, k2, 0)
			if err != nil {
				return Value{}, err
			}
			if !eq {
				break
			}
		}
		if k, err = key(items[i], false); err != nil {
			return Value{}, err
		}
		groups = append(groups, Value{k: KindTuple, o: &List{items: []Value{k, NewList(items[i:j:j])}, group: true}})
		i = j
	}
	return NewList(groups), nil
}
