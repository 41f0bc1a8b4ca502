package jinja

import (
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
)

var opNames = map[byte]string{'+': "+", '-': "-", '*': "*", '/': "/", 'f': "//", '%': "%", 'p': "** or pow()"}

// binary is Python's arithmetic.
func binary(st *state, op byte, a, b Value) (Value, error) {
	if op == '+' && a.k == KindString && b.k == KindString && (a.f|b.f)&flagMarkup == 0 {
		n := len(a.s) + len(b.s)
		if n > st.maxBytes {
			return Value{}, budgetErr("the template uses too much memory")
		}
		st.steps -= n >> 6
		if st.bytes -= n; st.bytes < 0 {
			return Value{}, budgetErr("the template uses too much memory")
		}
		return concat(a, b), nil
	}
	if a.k == KindUndefined || a.k == KindMissing {
		return Value{}, undefError(a)
	}
	if op == '%' && a.k == KindString {
		return formatPercent(st, a, b)
	}
	if b.k == KindUndefined || b.k == KindMissing {
		if op == '*' && a.isMarkup() {
			return Value{}, typeErr("'Undefined' object cannot be interpreted as an integer")
		}
		return Value{}, undefError(b)
	}
	if a.isNumber() && b.isNumber() {
		return arithmetic(op, a, b)
	}
	switch op {
	case '+':
		switch {
		case a.k == KindString && b.k == KindString:
			return joinMarkup(st, a, b)
		case a.isSequence() && a.k == b.k:
			x, y := a.items(), b.items()
			if err := st.spendProduct(len(x)+len(y), valueBytes); err != nil {
				return Value{}, err
			}
			items := append(append(make([]Value, 0, len(x)+len(y)), x...), y...)
			return Value{k: a.k, o: &List{items: items}}, nil
		case a.k == KindString, a.k == KindList, a.k == KindTuple:
			t := typeName(a)
			if a.isMarkup() {
				break
			}
			return Value{}, typeErr("can only concatenate %s (not \"%s\") to %s", t, typeName(b), t)
		}
	case '*':
		if b.isIntegral() {
			if v, ok, err := repeat(st, a, b); ok {
				return v, err
			}
		} else if a.isIntegral() {
			if v, ok, err := repeat(st, b, a); ok {
				return v, err
			}
		}
		if a.k == KindString || a.isSequence() {
			return Value{}, typeErr("can't multiply sequence by non-int of type '%s'", typeName(b))
		}
		if b.k == KindString || b.isSequence() {
			return Value{}, typeErr("can't multiply sequence by non-int of type '%s'", typeName(a))
		}
	}
	return Value{}, typeErr("unsupported operand type(s) for %s: '%s' and '%s'", opNames[op], typeName(a), typeName(b))
}

func repeat(st *state, seq, times Value) (Value, bool, error) {
	if seq.k != KindString && !seq.isSequence() {
		return Value{}, false, nil
	}
	n := 0
	switch {
	case times.k == KindBig:
		return Value{}, true, errf("OverflowError", "cannot fit 'int' into an index-sized integer")
	default:
		n = int(max(0, min(times.int(), math.MaxInt32)))
	}
	if seq.k == KindString {
		if seq.s == "" {
			n = 0
		}
		if err := st.spendProduct(n, len(seq.s)); err != nil {
			return Value{}, true, err
		}
		return seq.like(strings.Repeat(seq.s, n)), true, nil
	}
	items := seq.items()
	if len(items) == 0 {
		n = 0
	}
	if err := st.spendProduct(n, valueBytes*len(items)); err != nil {
		return Value{}, true, err
	}
	out := make([]Value, 0, n*len(items))
	for range n {
		out = append(out, items...)
	}
	return Value{k: seq.k, o: &List{items: out}}, true, nil
}

func toFloat(v Value) (float64, error) {
	switch v.k {
	case KindFloat:
		return v.float(), nil
	case KindBig:
		f, _ := new(big.Float).SetInt(v.big()).Float64()
		if math.IsInf(f, 0) {
			return 0, errf("OverflowError", "int too large to convert to float")
		}
		return f, nil
	}
	return float64(v.int()), nil
}

func arithmetic(op byte, a, b Value) (Value, error) {
	if a.k == KindFloat || b.k == KindFloat || op == '/' {
		return floatArithmetic(op, a, b)
	}
	if a.k != KindBig && b.k != KindBig {
		x, y := a.int(), b.int()
		switch op {
		case '+':
			if s := x + y; (s > x) == (y > 0) {
				return Int(s), nil
			}
		case '-':
			if s := x - y; (s < x) == (y > 0) {
				return Int(s), nil
			}
		case '*':
			hi, lo := bits.Mul64(uint64(abs64(x)), uint64(abs64(y)))
			if hi == 0 && lo < 1<<63 {
				if (x < 0) != (y < 0) {
					return Int(-int64(lo)), nil
				}
				return Int(int64(lo)), nil
			}
		case 'f', '%':
			if y == 0 {
				if op == '%' {
					return Value{}, errf("ZeroDivisionError", "integer modulo by zero")
				}
				return Value{}, errf("ZeroDivisionError", "integer division or modulo by zero")
			}
			if y == -1 {
				break // the lowest integer overflows
			}
			q, r := x/y, x%y
			if r != 0 && (r < 0) != (y < 0) {
				q, r = q-1, r+y
			}
			if op == 'f' {
				return Int(q), nil
			}
			return Int(r), nil
		}
	}
	return bigArithmetic(op, toBig(a), toBig(b))
}

func abs64(x int64) int64 {
	if x < 0 {
		return -x
	}
	return x
}

func bigArithmetic(op byte, x, y *big.Int) (Value, error) {
	z := new(big.Int)
	if x.BitLen()+y.BitLen() > 2*maxBits {
		return Value{}, budgetErr("an integer is too large")
	}
	switch op {
	case '+':
		z.Add(x, y)
	case '-':
		z.Sub(x, y)
	case '*':
		z.Mul(x, y)
	case 'f', '%':
		if y.Sign() == 0 {
			return Value{}, errf("ZeroDivisionError", "integer division or modulo by zero")
		}
		r := new(big.Int)
		z.QuoRem(x, y, r)
		if r.Sign() != 0 && r.Sign() != y.Sign() {
			z.Sub(z, big.NewInt(1))
			r.Add(r, y)
		}
		if op == '%' {
			z = r
		}
	case 'p':
		if y.Sign() < 0 {
			if x.Sign() == 0 {
				return Value{}, errf("ZeroDivisionError", "0.0 cannot be raised to a negative power")
			}
			return floatArithmetic('p', bigInt(x), bigInt(y))
		}
		if x.BitLen() > 1 && (!y.IsInt64() || y.Int64() > maxBits || int64(x.BitLen())*y.Int64() > 2*maxBits) {
			return Value{}, budgetErr("an integer is too large")
		}
		if x.BitLen() <= 1 { // -1, 0, 1
			switch {
			case y.Sign() == 0:
				return Int(1), nil
			case y.Bit(0) == 0:
				return bigInt(new(big.Int).Mul(x, x)), nil
			}
			return bigInt(x), nil
		}
		z.Exp(x, y, nil)
	}
	if z.BitLen() > maxBits {
		return Value{}, budgetErr("an integer is too large")
	}
	return bigInt(z), nil
}

func floatArithmetic(op byte, a, b Value) (Value, error) {
	if op == '/' && a.k != KindFloat && b.k != KindFloat {
		y := toBig(b)
		if y.Sign() == 0 {
			return Value{}, errf("ZeroDivisionError", "division by zero")
		}
		if a.k == KindBig || b.k == KindBig || abs64(a.int())>>53 != 0 || abs64(b.int())>>53 != 0 {
			f, _ := new(big.Rat).SetFrac(toBig(a), y).Float64()
			if math.IsInf(f, 0) {
				return Value{}, errf("OverflowError", "integer division result too large for a float")
			}
			return Float(f), nil
		}
	}
	x, err := toFloat(a)
	if err != nil {
		return Value{}, err
	}
	y, err := toFloat(b)
	if err != nil {
		return Value{}, err
	}
	switch op {
	case '+':
		return Float(x + y), nil
	case '-':
		return Float(x - y), nil
	case '*':
		return Float(x * y), nil
	case '/':
		if y == 0 {
			return Value{}, errf("ZeroDivisionError", "float division by zero")
		}
		return Float(x / y), nil
	case 'f', '%':
		if y == 0 {
			if op == '%' {
				return Value{}, errf("ZeroDivisionError", "float modulo")
			}
			return Value{}, errf("ZeroDivisionError", "float floor division by zero")
		}
		div, mod := floatDivmod(x, y)
		if op == '%' {
			return Float(mod), nil
		}
		return Float(div), nil
	}
	if x == 0 && y < 0 {
		return Value{}, errf("ZeroDivisionError", "0.0 cannot be raised to a negative power")
	}
	if x < 0 && y != math.Trunc(y) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
		return Value{}, typeErr("complex numbers are not supported")
	}
	z := math.Pow(x, y)
	if math.IsInf(z, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
		return Value{}, errf("OverflowError", "(34, 'Numerical result out of range')")
	}
	return Float(z), nil
}

// floatDivmod follows CPython's float_divmod.
func floatDivmod(x, y float64) (div, mod float64) {
	mod = math.Mod(x, y)
	div = (x - mod) / y
	if mod != 0 {
		if (y < 0) != (mod < 0) {
			mod += y
			div--
		}
	} else {
		mod = math.Copysign(0, y)
	}
	if div != 0 {
		fl := math.Floor(div)
		if div-fl > 0.5 {
			fl++
		}
		return fl, mod
	}
	return math.Copysign(0, x/y), mod
}

func negate(v Value, op string) (Value, error) {
	switch v.k {
	case KindInt, KindBool:
		if op == "+" {
			return Int(v.int()), nil
		}
		if v.int() == math.MinInt64 {
			return bigInt(new(big.Int).Neg(toBig(v))), nil
		}
		return Int(-v.int()), nil
	case KindBig:
		if op == "+" {
			return v, nil
		}
		return bigInt(new(big.Int).Neg(v.big())), nil
	case KindFloat:
		if op == "+" {
			return v, nil
		}
		return Float(-v.float()), nil
	case KindUndefined, KindMissing:
		return Value{}, undefError(v)
	}
	return Value{}, typeErr("bad operand type for unary %s: '%s'", op, typeName(v))
}

// parseInt is Python's int(s, base); false is ValueError.
func parseInt(s string, base int) (Value, bool) {
	s = strings.TrimFunc(s, isSpace)
	neg := false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		neg = s[0] == '-'
		s = s[1:]
	}
	if base < 0 || base == 1 || base > 36 {
		return Value{}, false
	}
	prefix := func(b int, c byte) bool {
		return (base == b || base == 0) && len(s) > 2 && s[0] == '0' && s[1]|0x20 == c
	}
	under := false
	switch {
	case prefix(16, 'x'):
		s, base, under = s[2:], 16, true
	case prefix(8, 'o'):
		s, base, under = s[2:], 8, true
	case prefix(2, 'b'):
		s, base, under = s[2:], 2, true
	case base == 0:
		base = 10
		if len(s) > 1 && s[0] == '0' && strings.Trim(s, "0_") != "" {
			return Value{}, false
		}
	}
	var digits []byte
	for i := 0; i < len(s); {
		n := runeLen(s[i:])
		switch d, ok := digitValue(s[i : i+n]); {
		case s[i] == '_' && (i > 0 || under) && i+1 < len(s) && s[i+1] != '_':
		case ok:
			digits = append(digits, '0'+byte(d))
		case n == 1:
			digits = append(digits, s[i])
		default:
			return Value{}, false
		}
		i += n
	}
	if len(digits) == 0 || len(digits) > maxDigits || digits[0] == '-' || digits[0] == '+' {
		return Value{}, false
	}
	b, ok := new(big.Int).SetString(string(digits), base)
	if !ok {
		return Value{}, false
	}
	if neg {
		b.Neg(b)
	}
	return bigInt(b), true
}

// parseFloat is Python's float(s); false is ValueError.
func parseFloat(s string) (float64, bool) {
	s = strings.TrimFunc(s, isSpace)
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		n := runeLen(s[i:])
		if d, ok := digitValue(s[i : i+n]); ok {
			b = append(b, '0'+byte(d))
		} else if s[i] == '_' {
			if i == 0 || i+1 >= len(s) || !decimal(s[i-1]) || !decimal(s[i+1]) {
				return 0, false
			}
		} else if n > 1 || s[i]|0x20 == 'x' || s[i]|0x20 == 'p' {
			return 0, false
		} else {
			b = append(b, s[i])
		}
		i += n
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

func numberAttr(v Value, name string) (Value, bool, error) {
	whole := v.k != KindFloat
	method := func(f func() (Value, error)) (Value, bool, error) {
		return object(&builtin{typ: "builtin_function_or_method", repr: "<built-in method " + name + " of " + typeName(v) + " object at 0x7f0000000000>",
			fn: func(_ *state, a args) (Value, error) {
				if _, err := a.plain(name, 0, 0); err != nil {
					return Value{}, err
				}
				return f()
			}}), true, nil
	}
	plus := func() (Value, error) { return negate(v, "+") }
	switch {
	case name == "real", whole && name == "numerator":
		x, err := plus()
		return x, true, err
	case name == "imag":
		if whole {
			return Int(0), true, nil
		}
		return Float(0), true, nil
	case whole && name == "denominator":
		return Int(1), true, nil
	case name == "conjugate":
		return method(plus)
	case whole && name == "bit_length":
		return method(func() (Value, error) { return Int(int64(toBig(v).BitLen())), nil })
	case whole && name == "bit_count":
		return method(func() (Value, error) {
			n := 0
			for _, w := range new(big.Int).Abs(toBig(v)).Bits() {
				n += bits.OnesCount(uint(w))
			}
			return Int(int64(n)), nil
		})
	case !whole && name == "is_integer":
		return method(func() (Value, error) {
			f := v.float()
			return Bool(f == math.Trunc(f) && !math.IsInf(f, 0)), nil
		})
	case !whole && name == "hex", name == "as_integer_ratio", whole && (name == "to_bytes" || name == "from_bytes"), !whole && name == "fromhex":
		return method(func() (Value, error) { return Value{}, typeErr("%s is not supported", name) })
	}
	return Value{}, false, nil
}
