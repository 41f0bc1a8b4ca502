package jinja

import (
	"math"
	"strconv"
)

type entry struct{ key, val Value }

// Dict is a Python dict: it keeps the order of insertion. Up to eight entries are searched in order; beyond
// that an index is kept.
type Dict struct {
	entries []entry
	str     map[string]int // index of string keys
	other   map[string]int // index of other keys by hashKey
	indexed bool
}

const smallDict = 8

// NewDict returns an empty dict with room for n entries.
func NewDict(n int) *Dict { return &Dict{entries: make([]entry, 0, n)} }

// Value returns d as a Python value.
func (d *Dict) Value() Value { return Value{k: KindDict, o: d} }

// Len returns the number of entries.
func (d *Dict) Len() int {
	if d == nil {
		return 0
	}
	return len(d.entries)
}

// At returns entry i in order of insertion.
func (d *Dict) At(i int) (key, val Value) { return d.entries[i].key, d.entries[i].val }

// Set sets the value of a trusted string key. A dict must not be changed once a template sees it.
func (d *Dict) Set(key string, v Value) { d.setValue(String(key), v) }

func (d *Dict) getString(key string) (Value, bool) {
	if i := d.findString(key); i >= 0 {
		return d.entries[i].val, true
	}
	return Value{}, false
}

func (d *Dict) findString(key string) int {
	if d.indexed {
		if i, ok := d.str[key]; ok {
			return i
		}
		return -1
	}
	for i := range d.entries {
		if e := &d.entries[i]; e.key.k == KindString && e.key.s == key {
			return i
		}
	}
	return -1
}

// get looks a hashable value up; an unhashable one is a TypeError.
func (d *Dict) get(key Value) (Value, bool, error) {
	i, err := d.find(key)
	if err != nil || i < 0 {
		return Value{}, false, err
	}
	return d.entries[i].val, true, nil
}

func (d *Dict) find(key Value) (int, error) {
	if key.k == KindString {
		return d.findString(key.s), nil
	}
	h, err := hashKey(key, 0)
	if err != nil {
		return -1, err
	}
	if d.indexed {
		if i, ok := d.other[h]; ok {
			return i, nil
		}
		return -1, nil
	}
	for i := range d.entries {
		if k := d.entries[i].key; k.k != KindString {
			if g, err := hashKey(k, 0); err == nil && g == h {
				return i, nil
			}
		}
	}
	return -1, nil
}

func (d *Dict) setValue(key, v Value) error {
	i, err := d.find(key)
	if err != nil {
		return err
	}
	if i >= 0 {
		d.entries[i].val = v
		return nil
	}
	d.entries = append(d.entries, entry{key, v})
	if d.indexed {
		d.index(len(d.entries) - 1)
	} else if len(d.entries) > smallDict {
		d.indexed = true
		d.str = make(map[string]int, 2*len(d.entries))
		for i := range d.entries {
			d.index(i)
		}
	}
	return nil
}

func (d *Dict) index(i int) {
	k := d.entries[i].key
	if k.k == KindString {
		d.str[k.s] = i
		return
	}
	if d.other == nil {
		d.other = map[string]int{}
	}
	h, _ := hashKey(k, 0)
	d.other[h] = i
}

func (d *Dict) copy() *Dict {
	c := NewDict(len(d.entries))
	for _, e := range d.entries {
		c.setValue(e.key, e.val)
	}
	return c
}

// hashKey maps values that Python holds for equal keys (1, 1.0, True) to the same text.
func hashKey(v Value, depth int) (string, error) {
	if depth > maxNesting {
		return "", errRecursion()
	}
	switch v.k {
	case KindString:
		return "s" + v.s, nil
	case KindNone:
		return "n", nil
	case KindUndefined, KindMissing:
		return "u", nil
	case KindBool, KindInt:
		return "i" + strconv.FormatInt(v.int(), 10), nil
	case KindBig:
		return "i" + v.big().Text(16), nil
	case KindFloat:
		f := v.float()
		if f == math.Trunc(f) && math.Abs(f) < 1<<62 {
			return "i" + strconv.FormatInt(int64(f), 10), nil
		}
		return "f" + strconv.FormatFloat(f, 'b', -1, 64), nil
	case KindTuple:
		h := []byte{'t'}
		for _, x := range v.items() {
			g, err := hashKey(x, depth+1)
			if err != nil {
				return "", err
			}
			h = strconv.AppendInt(h, int64(len(g)), 10)
			h = append(h, ':')
			h = append(h, g...)
			if len(h) > 1<<20 {
				return "", budgetErr("a tuple is too large as a key")
			}
		}
		return string(h), nil
	case KindList, KindDict:
		return "", typeErr("unhashable type: '%s'", typeName(v))
	case KindRange:
		return "r" + v.o.(*rangeObj).repr(), nil
	case KindIterator:
		return "p" + strconv.FormatUint(identity(v), 16), nil
	}
	if _, ok := v.o.(*dictView); ok {
		return "", typeErr("unhashable type: '%s'", typeName(v))
	}
	return "p" + strconv.FormatUint(identity(v), 16), nil
}

type dictView struct {
	d    *Dict
	what int // 0 keys, 1 values, 2 items
}

func (w *dictView) at(i int) Value {
	e := w.d.entries[i]
	switch w.what {
	case 0:
		return e.key
	case 1:
		return e.val
	}
	return newTuple(e.key, e.val)
}
