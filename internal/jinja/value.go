package jinja

import (
	"math"
	"math/big"
	"strconv"
)

// Kind is the Python type that a Value stands for.
type Kind uint8

// Kinds of values. The zero Kind is a variable that was never set.
const (
	KindMissing Kind = iota
	KindUndefined
	KindNone
	KindBool
	KindInt
	KindBig // an integer that does not fit 64 bits
	KindFloat
	KindString
	KindList
	KindTuple
	KindDict
	KindRange
	KindIterator // a generator: can be read once
	KindObject   // callables, namespaces, loops, views
)

const (
	flagMarkup  uint8 = 1 << iota // a string that is safe for HTML
	flagTainted                   // a string all of whose bytes came from data
)

// Value is a Python value. Strings are UTF-8; lists and dicts are shared by reference and never change once a
// template sees them. The zero Value is "missing".
type Value struct {
	s string // text; name of an undefined value
	o any    // *List, *Dict, *big.Int, *rangeObj, iterator, object; of a string: *spanSet where taint is partial
	n uint64 // integer, float bits, bool, or the reason of an undefined value
	k Kind
	f uint8
}

// Span is a half-open range of bytes.
type Span struct{ Start, End int }

type spanSet struct{ spans []Span }

// List is the storage of a Python list or tuple.
type List struct {
	items []Value
	group bool // a pair of groupby, with named items
}

// None is Python's None.
var None = Value{k: KindNone}

var (
	vTrue  = Value{k: KindBool, n: 1}
	vFalse = Value{k: KindBool}
	vEmpty = Value{k: KindString}
)

// Bool returns a Python bool.
func Bool(b bool) Value {
	if b {
		return vTrue
	}
	return vFalse
}

// Int returns a Python int.
func Int(i int64) Value { return Value{k: KindInt, n: uint64(i)} }

// Float returns a Python float.
func Float(f float64) Value { return Value{k: KindFloat, n: math.Float64bits(f)} }

// String returns a trusted Python str: none of its bytes are tainted. s must be valid UTF-8.
func String(s string) Value { return Value{k: KindString, s: s} }

// Tainted returns a Python str whose bytes all came from data. s must be valid UTF-8.
func Tainted(s string) Value {
	if s == "" {
		return vEmpty
	}
	return Value{k: KindString, s: s, f: flagTainted}
}

// NewList returns a Python list. The slice is kept.
func NewList(items []Value) Value { return Value{k: KindList, o: &List{items: items}} }

func newTuple(items ...Value) Value { return Value{k: KindTuple, o: &List{items: items}} }

func bigInt(b *big.Int) Value {
	if b.IsInt64() {
		return Int(b.Int64())
	}
	return Value{k: KindBig, o: b}
}

func object(o any) Value { return Value{k: KindObject, o: o} }

func (v Value) withMarkup() Value { v.f |= flagMarkup; return v }

func (v Value) isMarkup() bool   { return v.k == KindString && v.f&flagMarkup != 0 }
func (v Value) int() int64       { return int64(v.n) }
func (v Value) float() float64   { return math.Float64frombits(v.n) }
func (v Value) items() []Value   { return v.o.(*List).items }
func (v Value) dict() *Dict      { return v.o.(*Dict) }
func (v Value) big() *big.Int    { return v.o.(*big.Int) }
func (v Value) isString() bool   { return v.k == KindString }
func (v Value) isSequence() bool { return v.k == KindList || v.k == KindTuple }

// isIntegral reports Python's isinstance(v, int), which holds for bools.
func (v Value) isIntegral() bool { return v.k == KindInt || v.k == KindBool || v.k == KindBig }
func (v Value) isNumber() bool   { return v.isIntegral() || v.k == KindFloat }

// Kind returns the type of v.
func (v Value) Kind() Kind { return v.k }

// Text returns the text of a string, and "" for other kinds.
func (v Value) Text() string {
	if v.k != KindString {
		return ""
	}
	return v.s
}

// Len returns the number of items of a list, tuple or dict, and 0 for other kinds.
func (v Value) Len() int {
	switch v.k {
	case KindList, KindTuple:
		return len(v.items())
	case KindDict:
		return v.dict().Len()
	}
	return 0
}

// Index returns item i of a list or tuple; the caller keeps i in range.
func (v Value) Index(i int) Value { return v.items()[i] }

// Get returns the value at a string key of a dict.
func (v Value) Get(key string) (Value, bool) {
	if v.k != KindDict {
		return Value{}, false
	}
	return v.dict().getString(key)
}

// Dict returns the storage of a dict, or nil for other kinds.
func (v Value) Dict() *Dict {
	if v.k != KindDict {
		return nil
	}
	return v.dict()
}

// Reasons why a value is undefined, in the low byte of n; the kind of the object is above it.
const (
	undefName    = iota // a variable of that name does not exist
	undefAttr           // an object lacks the attribute
	undefElem           // an object lacks the element; s is its repr
	undefHint           // s is the message
	undefUnsafe         // s is the message of a SecurityError
	undefPercent = 8    // shift of the object's kind
)

func undefinedName(name string) Value { return Value{k: KindUndefined, s: name} }
func undefinedHint(msg string) Value  { return Value{k: KindUndefined, s: msg, n: undefHint} }

func undefinedItem(obj, key Value) Value {
	u := Value{k: KindUndefined, n: undefAttr | uint64(obj.k)<<undefPercent}
	if obj.k == KindObject || obj.k == KindIterator {
		u.o = obj.o
	}
	if key.k == KindString {
		u.s = key.s
		return u
	}
	u.n = undefElem | uint64(obj.k)<<undefPercent
	var b strBuilder
	if appendRepr(&b, key, 0) != nil {
		b.b = append(b.b[:0], "..."...)
	}
	u.s = string(b.b)
	return u
}

// undefError is the error of every operation on an undefined value but printing, iterating and testing it.
func undefError(u Value) error {
	switch u.n & 0xff {
	case undefName:
		return errf("UndefinedError", "%s is undefined", pyRepr(u.s))
	case undefHint:
		return errf("UndefinedError", "%s", u.s)
	case undefUnsafe:
		return errf("SecurityError", "%s", u.s)
	}
	owner := Value{k: Kind(u.n >> undefPercent), o: u.o}
	t := typeName(owner)
	if owner.k != KindNone {
		t = objectTypePrefix(owner) + t + " object"
	} else {
		t = "None"
	}
	if u.n&0xff == undefElem {
		return errf("UndefinedError", "%s has no element %s", t, u.s)
	}
	return errf("UndefinedError", "%s has no attribute %s", pyRepr(t), pyRepr(u.s))
}

func objectTypePrefix(v Value) string {
	switch v.o.(type) {
	case *loopCtx, *macro, *blockRef, *selfRef:
		return "jinja2.runtime."
	case *cycler, *joiner:
		return "jinja2.utils."
	}
	return ""
}

// typeName is Python's type(v).__name__.
func typeName(v Value) string {
	switch v.k {
	case KindUndefined, KindMissing:
		return "Undefined"
	case KindNone:
		return "NoneType"
	case KindBool:
		return "bool"
	case KindInt, KindBig:
		return "int"
	case KindFloat:
		return "float"
	case KindString:
		if v.f&flagMarkup != 0 {
			return "Markup"
		}
		return "str"
	case KindList:
		return "list"
	case KindTuple:
		return "tuple"
	case KindDict:
		return "dict"
	case KindRange:
		return "range"
	case KindIterator:
		if it, ok := v.o.(*sliceIter); ok {
			return it.typ
		}
		return "generator"
	}
	switch o := v.o.(type) {
	case *macro:
		return "Macro"
	case *loopCtx:
		return "LoopContext"
	case *namespace:
		return "TemplateNamespace"
	case *cycler:
		return "Cycler"
	case *joiner:
		return "Joiner"
	case *dictView:
		return [...]string{"dict_keys", "dict_values", "dict_items"}[o.what]
	case *boundMethod:
		return "builtin_function_or_method"
	case *builtin:
		return o.typ
	case *selfRef:
		return "TemplateReference"
	case *blockRef:
		return "BlockReference"
	}
	return "object"
}

// truth is Python's bool(v).
func truth(v Value) bool {
	switch v.k {
	case KindMissing, KindUndefined, KindNone:
		return false
	case KindBool, KindInt:
		return v.n != 0
	case KindFloat:
		return v.float() != 0
	case KindBig:
		return true
	case KindString:
		return v.s != ""
	case KindList, KindTuple:
		return len(v.items()) > 0
	case KindDict:
		return v.dict().Len() > 0
	case KindRange:
		return v.o.(*rangeObj).len() > 0
	case KindObject:
		switch o := v.o.(type) {
		case *dictView:
			return o.d.Len() > 0
		case *loopCtx:
			n, err := o.length(nil)
			return err != nil || n > 0
		}
	}
	return true
}

// pyFloat is Python's repr of a float: the shortest digits that read back, in fixed notation from 1e-4 below 1e16.
func pyFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	a := math.Abs(f)
	if a == 0 || a >= 1e-4 && a < 1e16 {
		s := strconv.FormatFloat(f, 'f', -1, 64)
		for i := 0; i < len(s); i++ {
			if s[i] == '.' {
				return s
			}
		}
		return s + ".0"
	}
	return strconv.FormatFloat(f, 'e', -1, 64) // two exponent digits at least, as Python
}

// maxDigits bounds the text of an integer, as CPython's sys.int_info.default_max_str_digits.
const maxDigits = 4300

// maxBits bounds integers, well above what maxDigits can print.
const maxBits = 1 << 16

func bigText(b *big.Int) (string, error) {
	if b.BitLen() > maxDigits*3322/1000+8 {
		return "", valueErr("Exceeds the limit (%d digits) for integer string conversion", maxDigits)
	}
	s := b.String()
	if len(s) > maxDigits+1 || len(s) > maxDigits && s[0] != '-' {
		return "", valueErr("Exceeds the limit (%d digits) for integer string conversion", maxDigits)
	}
	return s, nil
}
