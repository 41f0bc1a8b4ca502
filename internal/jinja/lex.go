package jinja

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// tok is the type of a token; its text is what Jinja's messages call it.
type tok string

const (
	tokEOF      tok = "end of template"
	tokData     tok = "template data / text"
	tokVarOpen  tok = "begin of print statement"
	tokVarEnd   tok = "end of print statement"
	tokBlkOpen  tok = "begin of statement block"
	tokBlkEnd   tok = "end of statement block"
	tokName     tok = "name"
	tokString   tok = "string"
	tokInt      tok = "integer"
	tokFloat    tok = "float"
	tokAssign   tok = "="
	tokComma    tok = ","
	tokColon    tok = ":"
	tokDot      tok = "."
	tokPipe     tok = "|"
	tokTilde    tok = "~"
	tokLParen   tok = "("
	tokRParen   tok = ")"
	tokLBracket tok = "["
	tokRBracket tok = "]"
	tokLBrace   tok = "{"
	tokRBrace   tok = "}"
	tokMul      tok = "*"
	tokPow      tok = "**"
	tokAdd      tok = "+"
	tokSub      tok = "-"
)

// operators are longest first.
var operators = [...]tok{"//", "**", "==", "!=", ">=", "<=",
	"+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"}

type token struct {
	typ  tok
	val  string // name, operator, data or string
	num  Value
	line int
}

func (t token) describe() string {
	if t.typ == tokName {
		return t.val
	}
	return string(t.typ)
}

func syntaxErr(line int, format string, args ...any) error {
	return &Error{Type: "TemplateSyntaxError", Msg: fmt.Sprintf(format, args...), Line: line}
}

// isSpace is Python's str.isspace for one character, and \s of its regular expressions.
func isSpace(r rune) bool {
	if r < utf8.RuneSelf {
		return r == ' ' || r >= '\t' && r <= '\r' || r >= 0x1c && r <= 0x1f
	}
	return r == 0x85 || unicode.Is(unicode.Z, r)
}

func trimLeftSpace(s string) string  { return strings.TrimLeftFunc(s, isSpace) }
func trimRightSpace(s string) string { return strings.TrimRightFunc(s, isSpace) }

// lexer follows jinja2.lexer with trim_blocks and lstrip_blocks.
type lexer struct {
	s         string
	i         int
	line      int
	lineStart bool // the last match ended with a newline
	balance   []byte
	toks      []token
}

func lex(src string) ([]token, error) {
	src = strings.ReplaceAll(strings.ReplaceAll(src, "\r\n", "\n"), "\r", "\n")
	src = strings.TrimSuffix(src, "\n")
	l := &lexer{s: src, line: 1, lineStart: true}
	for l.i < len(l.s) {
		if err := l.root(); err != nil {
			return nil, err
		}
	}
	l.emit(token{typ: tokEOF})
	return l.toks, nil
}

func (l *lexer) emit(t token) {
	t.line = l.line
	l.toks = append(l.toks, t)
}

// skip moves over n bytes that one rule matched.
func (l *lexer) skip(n int) {
	if n > 0 {
		m := l.s[l.i : l.i+n]
		l.line += strings.Count(m, "\n")
		l.lineStart = m[n-1] == '\n'
		l.i += n
	}
}

// data emits text before a tag, trimmed as the tag's sign asks.
func (l *lexer) data(text string, sign byte, isVar bool) {
	full := text
	switch {
	case sign == '-':
		text = trimRightSpace(text)
	case sign != '+' && !isVar:
		at := strings.LastIndexByte(text, '\n') + 1
		if (at > 0 || l.lineStart) && at < len(text) && trimLeftSpace(text[at:]) == "" {
			text = text[:at]
		}
	}
	if text != "" {
		l.emit(token{typ: tokData, val: text})
	}
	l.line += strings.Count(full, "\n")
}

func signAt(s string, i int) byte {
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		return s[i]
	}
	return 0
}

func (l *lexer) root() error {
	rest := l.s[l.i:]
	at := 0
	for {
		j := strings.IndexByte(rest[at:], '{')
		if j < 0 || at+j+1 >= len(rest) {
			l.emit(token{typ: tokData, val: rest})
			l.i = len(l.s)
			return nil
		}
		at += j
		if c := rest[at+1]; c == '{' || c == '%' || c == '#' {
			break
		}
		at++
	}
	c := rest[at+1]
	sign := signAt(rest, at+2)
	l.data(rest[:at], sign, c == '{')
	l.i += at
	if c == '%' {
		if n := rawOpen(rest[at:]); n > 0 {
			l.skip(n)
			return l.raw()
		}
	}
	n := 2
	if sign != 0 {
		n = 3
	}
	switch c {
	case '#':
		l.skip(n)
		return l.comment()
	case '{':
		l.emit(token{typ: tokVarOpen})
		l.skip(n)
		return l.code(true)
	}
	l.emit(token{typ: tokBlkOpen})
	l.skip(n)
	return l.code(false)
}

// rawOpen returns the length of {% raw %} at the start of s, or 0.
func rawOpen(s string) int {
	i := 2
	if signAt(s, i) != 0 {
		i++
	}
	rest := trimLeftSpace(s[i:])
	if !strings.HasPrefix(rest, "raw") {
		return 0
	}
	rest = trimLeftSpace(rest[3:])
	switch {
	case strings.HasPrefix(rest, "-%}"):
		return len(s) - len(trimLeftSpace(rest[3:]))
	case strings.HasPrefix(rest, "%}"):
		return len(s) - len(rest) + 2
	}
	return 0
}

// closing returns the length of a tag's end at the start of s, with the whitespace it eats, or 0.
func closing(s, end string, plus bool) int {
	switch {
	case plus && strings.HasPrefix(s, "+"+end):
		return 1 + len(end)
	case strings.HasPrefix(s, "-"+end):
		return len(s) - len(trimLeftSpace(s[1+len(end):]))
	case strings.HasPrefix(s, end):
		if plus && len(s) > len(end) && s[len(end)] == '\n' {
			return len(end) + 1
		}
		return len(end)
	}
	return 0
}

func (l *lexer) comment() error {
	rest := l.s[l.i:]
	if at := strings.Index(rest, "#}"); at >= 0 {
		if at > 0 && (rest[at-1] == '-' || rest[at-1] == '+') {
			at--
		}
		l.skip(at + closing(rest[at:], "#}", true))
		return nil
	}
	if rest != "" {
		return syntaxErr(l.line, "Missing end of comment tag")
	}
	return nil
}

func (l *lexer) raw() error {
	rest := l.s[l.i:]
	for at := 0; ; at += 2 {
		j := strings.Index(rest[at:], "{%")
		if j < 0 {
			break
		}
		at += j
		sign := signAt(rest, at+2)
		i := at + 2
		if sign != 0 {
			i++
		}
		end := trimLeftSpace(rest[i:])
		if !strings.HasPrefix(end, "endraw") {
			continue
		}
		end = trimLeftSpace(end[6:])
		n := closing(end, "%}", true)
		if n == 0 {
			continue
		}
		l.data(rest[:at], sign, false)
		l.i += at
		l.skip(len(rest) - len(end) + n - at)
		return nil
	}
	if rest != "" {
		return syntaxErr(l.line, "Missing end of raw directive")
	}
	return nil
}

// code reads the inside of a tag up to its end.
func (l *lexer) code(isVar bool) error {
	for l.i < len(l.s) {
		rest := l.s[l.i:]
		if len(l.balance) == 0 {
			end, typ := "%}", tokBlkEnd
			if isVar {
				end, typ = "}}", tokVarEnd
			}
			if n := closing(rest, end, !isVar); n > 0 {
				l.emit(token{typ: typ})
				l.skip(n)
				return nil
			}
		}
		if n := len(rest) - len(trimLeftSpace(rest)); n > 0 {
			l.skip(n)
			continue
		}
		ok, err := l.number(rest)
		if err != nil {
			return err
		}
		if ok {
			continue
		}
		if n := nameLen(rest); n > 0 {
			if !isIdentifier(rest[:n]) {
				return syntaxErr(l.line, "Invalid character in identifier")
			}
			l.emit(token{typ: tokName, val: rest[:n]})
			l.skip(n)
			continue
		}
		if n := stringLen(rest); n > 0 {
			val, err := unescape(rest[1 : n-1])
			if err != nil {
				return syntaxErr(l.line, "%s", err)
			}
			l.emit(token{typ: tokString, val: val})
			l.skip(n)
			continue
		}
		if err := l.operator(rest); err != nil {
			return err
		}
	}
	return nil
}

func (l *lexer) operator(rest string) error {
	for _, op := range operators {
		if !strings.HasPrefix(rest, string(op)) {
			continue
		}
		switch op {
		case "(", "[", "{":
			l.balance = append(l.balance, map[tok]byte{"(": ')', "[": ']', "{": '}'}[op])
		case ")", "]", "}":
			n := len(l.balance)
			if n == 0 {
				return syntaxErr(l.line, "unexpected '%s'", op)
			}
			if want := l.balance[n-1]; want != op[0] {
				return syntaxErr(l.line, "unexpected '%s', expected '%c'", op, want)
			}
			l.balance = l.balance[:n-1]
		}
		l.emit(token{typ: op, val: string(op)})
		l.skip(len(op))
		return nil
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return syntaxErr(l.line, "unexpected char %s at %d", pyRepr(string(r)), utf8.RuneCountInString(l.s[:l.i]))
}

// nameLen is the length of the word at the start of s. Jinja takes \w and then asks str.isidentifier.
func nameLen(s string) int {
	for i, r := range s {
		if r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Mc, r) || unicode.Is(unicode.Pc, r) {
			continue
		}
		return i
	}
	return len(s)
}

func isIdentifier(s string) bool {
	for i, r := range s {
		start := r == '_' || unicode.IsLetter(r) || unicode.Is(unicode.Nl, r)
		if !start && (i == 0 || !(unicode.IsDigit(r) || unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Mc, r) || unicode.Is(unicode.Pc, r))) {
			return false
		}
	}
	return s != ""
}

// stringLen is the length of the quoted string at the start of s, or 0.
func stringLen(s string) int {
	if s[0] != '\'' && s[0] != '"' {
		return 0
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if _, n := utf8.DecodeRuneInString(s[i+1:]); n > 0 {
				i += n
			}
		case s[0]:
			return i + 1
		}
	}
	return 0
}

// digitRun is the length of digits joined by single underscores: (\d+_)*\d+.
func digitRun(s string, ok func(c byte) bool) int {
	i := 0
	for i < len(s) {
		if ok(s[i]) || s[i] == '_' && i > 0 && s[i-1] != '_' && i+1 < len(s) && ok(s[i+1]) {
			i++
			continue
		}
		break
	}
	return i
}

func decimal(c byte) bool { return c-'0' < 10 }

func (l *lexer) number(s string) (bool, error) {
	if !decimal(s[0]) {
		return false, nil
	}
	if l.i == 0 || l.s[l.i-1] != '.' {
		if n := floatLen(s); n > 0 {
			f, _ := strconv.ParseFloat(strings.ReplaceAll(s[:n], "_", ""), 64)
			l.emit(token{typ: tokFloat, num: Float(f)})
			l.skip(n)
			return true, nil
		}
	}
	n, base := 0, 10
	if s[0] == '0' {
		n = digitRun(s, func(c byte) bool { return c == '0' })
		if len(s) > 2 {
			var ok func(c byte) bool
			switch s[1] | 0x20 {
			case 'b':
				base, ok = 2, func(c byte) bool { return c == '0' || c == '1' }
			case 'o':
				base, ok = 8, func(c byte) bool { return c-'0' < 8 }
			case 'x':
				base, ok = 16, func(c byte) bool { return decimal(c) || (c|0x20)-'a' < 6 }
			}
			if ok != nil {
				at := 2
				if s[2] == '_' {
					at = 3
				}
				if d := digitRun(s[at:], ok); d > 0 {
					n = at + d
				} else {
					base = 10
				}
			}
		}
	} else {
		n = digitRun(s, decimal)
	}
	text := strings.ReplaceAll(s[:n], "_", "")
	if base != 10 {
		text = text[2:]
	}
	if len(text) > maxDigits {
		return false, syntaxErr(l.line, "Exceeds the limit (%d digits) for integer string conversion", maxDigits)
	}
	b, _ := new(big.Int).SetString(text, base)
	l.emit(token{typ: tokInt, num: bigInt(b)})
	l.skip(n)
	return true, nil
}

// floatLen matches digits with a fraction, an exponent or both.
func floatLen(s string) int {
	n := digitRun(s, decimal)
	isFloat := false
	if n < len(s) && s[n] == '.' {
		if d := digitRun(s[n+1:], decimal); d > 0 {
			n += 1 + d
			isFloat = true
		}
	}
	if n < len(s) && s[n]|0x20 == 'e' {
		e := n + 1
		if signAt(s, e) != 0 {
			e++
		}
		if d := digitRun(s[e:], decimal); d > 0 {
			return e + d
		}
	}
	if !isFloat {
		return 0
	}
	return n
}

// unescape decodes backslash escapes as Python's unicode-escape codec. A character beyond ASCII after a
// backslash is spelled out, since Jinja first encodes with backslashreplace.
func unescape(s string) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, nil
	}
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 >= len(s) {
			b = append(b, s[i])
			continue
		}
		i++
		c := s[i]
		switch c {
		case '\n':
		case '\\', '\'', '"':
			b = append(b, c)
		case 'a', 'b', 'f', 'n', 'r', 't', 'v':
			b = append(b, "\a\b\f\n\r\t\v"[strings.IndexByte("abfnrtv", c)])
		case 'x', 'u', 'U':
			n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
			if i+1+n > len(s) {
				return "", fmt.Errorf("truncated \\%s escape", map[byte]string{'x': "xXX", 'u': "uXXXX", 'U': "UXXXXXXXX"}[c])
			}
			r, err := strconv.ParseUint(s[i+1:i+1+n], 16, 32)
			if err != nil || s[i+1] == '+' {
				return "", fmt.Errorf("truncated \\%s escape", map[byte]string{'x': "xXX", 'u': "uXXXX", 'U': "UXXXXXXXX"}[c])
			}
			if r > unicode.MaxRune {
				return "", fmt.Errorf("illegal Unicode character")
			}
			b = utf8.AppendRune(b, rune(r))
			i += n
		case 'N':
			return "", fmt.Errorf("\\N escapes are not supported")
		case '0', '1', '2', '3', '4', '5', '6', '7':
			n := 1
			for n < 3 && i+n < len(s) && s[i+n]-'0' < 8 {
				n++
			}
			r, _ := strconv.ParseUint(s[i:i+n], 8, 32)
			b = utf8.AppendRune(b, rune(r))
			i += n - 1
		default:
			if c < utf8.RuneSelf {
				b = append(b, '\\', c)
				break
			}
			r, n := utf8.DecodeRuneInString(s[i:])
			b = appendRuneEscape(b, r)
			i += n - 1
		}
	}
	return string(b), nil
}
