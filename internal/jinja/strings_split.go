package jinja

import (
	"strings"
)

// splitArgs reads sep and maxsplit; sep is missing for whitespace.
func splitArgs(name string, a args) (sep Value, most int, err error) {
	p, err := a.bind(name, 0, "sep", "maxsplit")
	if err != nil {
		return
	}
	sep, most = p[0], -1
	if sep.k == KindNone {
		sep = Value{}
	}
	if sep.k != KindMissing {
		if sep.k != KindString {
			return sep, 0, typeErr("must be str or None, not %s", typeName(sep))
		}
		if sep.s == "" {
			return sep, 0, valueErr("empty separator")
		}
	}
	if p[1].k != KindMissing {
		most, err = toInt(p[1])
	}
	return
}

func strSplit(st *state, self Value, a args) (Value, error) {
	sep, most, err := splitArgs("split", a)
	if err != nil {
		return Value{}, err
	}
	var parts []Value
	s, at := self.s, 0
	if err := st.spendText(2*len(s), 0); err != nil {
		return Value{}, err
	}
	if sep.k == KindString {
		for most < 0 || len(parts) < most {
			i := strings.Index(s[at:], sep.s)
			if i < 0 {
				break
			}
			parts = append(parts, self.sub(at, at+i))
			at += i + len(sep.s)
		}
		parts = append(parts, self.sub(at, len(s)))
	} else {
		for {
			at = len(s) - len(trimLeftSpace(s[at:]))
			if at == len(s) {
				break
			}
			end := strings.IndexFunc(s[at:], isSpace)
			if end < 0 || most >= 0 && len(parts) >= most {
				end = len(s)
				if most >= 0 && len(parts) >= most {
					end = len(s)
				}
				parts = append(parts, self.sub(at, end))
				break
			}
			parts = append(parts, self.sub(at, at+end))
			at += end
		}
	}
	return NewList(parts), st.spendProduct(len(parts), valueBytes)
}

func strRSplit(st *state, self Value, a args) (Value, error) {
	sep, most, err := splitArgs("rsplit", a)
	if err != nil {
		return Value{}, err
	}
	var parts []Value
	s := self.s
	end := len(s)
	if err := st.spendText(2*len(s), 0); err != nil {
		return Value{}, err
	}
	if sep.k == KindString {
		for most < 0 || len(parts) < most {
			i := strings.LastIndex(s[:end], sep.s)
			if i < 0 {
				break
			}
			parts = append(parts, self.sub(i+len(sep.s), end))
			end = i
		}
		parts = append(parts, self.sub(0, end))
	} else {
		for {
			end = len(trimRightSpace(s[:end]))
			if end == 0 {
				break
			}
			if most >= 0 && len(parts) >= most {
				parts = append(parts, self.sub(0, end))
				break
			}
			i := strings.LastIndexFunc(s[:end], isSpace)
			if i >= 0 {
				i += runeLen(s[i:])
			} else {
				i = 0
			}
			parts = append(parts, self.sub(i, end))
			end = i
		}
	}
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return NewList(parts), st.spendProduct(len(parts), valueBytes)
}

func strSplitLines(st *state, self Value, a args) (Value, error) {
	p, err := a.bind("splitlines", 0, "keepends")
	if err != nil {
		return Value{}, err
	}
	lines := splitLines(self.s, truth(p[0]))
	if err := st.spendProduct(len(lines), valueBytes); err != nil {
		return Value{}, err
	}
	parts := make([]Value, len(lines))
	for i, l := range lines {
		parts[i] = self.sub(l[0], l[1])
	}
	return NewList(parts), st.spendText(4*len(self.s), 0)
}

func sepArg(name string, a args) (Value, error) {
	p, err := a.plain(name, 1, 1)
	if err != nil {
		return Value{}, err
	}
	if err := wantStr(p[0], "argument"); err != nil {
		return Value{}, err
	}
	if p[0].s == "" {
		return Value{}, valueErr("empty separator")
	}
	return p[0], nil
}

func strPartition(st *state, self Value, a args) (Value, error) {
	sep, err := sepArg("partition", a)
	if err != nil {
		return Value{}, err
	}
	i := strings.Index(self.s, sep.s)
	if i < 0 {
		return newTuple(self, vEmpty, vEmpty), st.spendText(len(self.s), 0)
	}
	j := i + len(sep.s)
	return newTuple(self.sub(0, i), self.sub(i, j), self.sub(j, len(self.s))), st.spendText(len(self.s), 0)
}

func strRPartition(st *state, self Value, a args) (Value, error) {
	sep, err := sepArg("rpartition", a)
	if err != nil {
		return Value{}, err
	}
	i := strings.LastIndex(self.s, sep.s)
	if i < 0 {
		return newTuple(vEmpty, vEmpty, self), st.spendText(len(self.s), 0)
	}
	j := i + len(sep.s)
	return newTuple(self.sub(0, i), self.sub(i, j), self.sub(j, len(self.s))), st.spendText(len(self.s), 0)
}
