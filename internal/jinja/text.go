package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

func runeCount(s string) int { return utf8.RuneCountInString(s) }

func runeLen(s string) int {
	if s[0] < utf8.RuneSelf {
		return 1
	}
	_, n := utf8.DecodeRuneInString(s)
	return n
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// byteOffset is where character i of s starts; i may be the length.
func byteOffset(s string, i int) int {
	at := 0
	for ; i > 0 && at < len(s); i-- {
		if s[at] < utf8.RuneSelf {
			at++
			continue
		}
		_, n := utf8.DecodeRuneInString(s[at:])
		at += n
	}
	return at
}

// runeOffsets lists where each character starts, and the length.
func runeOffsets(s string) []int {
	offs := make([]int, 0, len(s)+1)
	for i := range s {
		offs = append(offs, i)
	}
	return append(offs, len(s))
}

// digitValue is the value of a decimal digit of any script.
func digitValue(c string) (int, bool) {
	if c[0] < utf8.RuneSelf {
		return int(c[0] - '0'), decimal(c[0])
	}
	r, _ := utf8.DecodeRuneInString(c)
	if !unicode.IsDigit(r) {
		return 0, false
	}
	// Decimal digits come in runs of ten from zero; the runs start at multiples of ten from the first of their table.
	for _, t := range unicode.Nd.R16 {
		if r >= rune(t.Lo) && r <= rune(t.Hi) {
			return int(r-rune(t.Lo)) % 10, true
		}
	}
	for _, t := range unicode.Nd.R32 {
		if r >= rune(t.Lo) && r <= rune(t.Hi) {
			return int(r-rune(t.Lo)) % 10, true
		}
	}
	return 0, false
}

func inRanges(table [][2]rune, r rune) bool {
	for _, t := range table {
		if r >= t[0] && r <= t[1] {
			return true
		}
	}
	return false
}

func isLower(r rune) bool { return unicode.IsLower(r) || unicode.Is(unicode.Other_Lowercase, r) }
func isUpper(r rune) bool { return unicode.IsUpper(r) || unicode.Is(unicode.Other_Uppercase, r) }
func isCased(r rune) bool { return isLower(r) || isUpper(r) || unicode.IsTitle(r) }

func pyIsDigit(r rune) bool { return unicode.IsDigit(r) || inRanges(digitRanges[:], r) }

func pyIsNumeric(r rune) bool { return pyIsDigit(r) || inRanges(numericRanges[:], r) }

func pyIsAlnum(r rune) bool { return unicode.IsLetter(r) || pyIsNumeric(r) }

func mapCase(s string, special map[rune]string, simple func(rune) rune) string {
	var b strings.Builder
	for _, r := range s {
		if m, ok := special[r]; ok && r >= utf8.RuneSelf {
			b.WriteString(m)
		} else {
			b.WriteRune(simple(r))
		}
	}
	return b.String()
}

func pyUpper(s string) string {
	if isASCII(s) {
		return strings.ToUpper(s)
	}
	return mapCase(s, specialUpper, unicode.ToUpper)
}

func pyLower(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	if !strings.ContainsRune(s, 'Σ') {
		return mapCase(s, specialLower, unicode.ToLower)
	}
	var b strings.Builder
	for i, r := range s {
		if m, ok := specialLower[r]; ok {
			b.WriteString(m)
		} else if r == 'Σ' && finalSigma(s, i) {
			b.WriteRune('ς')
		} else {
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// finalSigma is Unicode's condition Final_Sigma at byte i.
func finalSigma(s string, i int) bool {
	before := false
	for j := i; j > 0; {
		r, n := utf8.DecodeLastRuneInString(s[:j])
		j -= n
		if !caseIgnorable(r) {
			before = isCased(r)
			break
		}
	}
	if !before {
		return false
	}
	for _, r := range s[i+len("Σ"):] {
		if !caseIgnorable(r) {
			return !isCased(r)
		}
	}
	return true
}

func caseIgnorable(r rune) bool {
	switch r {
	case '\'', '.', ':', '^', '`', 0xa8, 0xad, 0xaf, 0xb4, 0xb7, 0xb8, 0x2018, 0x2019, 0x2024, 0x2027, 0xfe13, 0xfe52, 0xfe55, 0xff07, 0xff0e, 0xff1a:
		return true
	}
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk)
}

func pyFold(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return mapCase(s, specialFold, func(r rune) rune {
		if f, ok := simpleFold[r]; ok {
			return f
		}
		return unicode.ToLower(r)
	})
}

func titleRune(b *strings.Builder, r rune) {
	if m, ok := specialTitle[r]; ok {
		b.WriteString(m)
	} else {
		b.WriteRune(unicode.ToTitle(r))
	}
}

func pyTitle(s string) string {
	var b strings.Builder
	lower := pyLower(s)
	direct := runeCount(lower) == runeCount(s)
	prev := false
	low := []rune(lower)
	i := 0
	for _, r := range s {
		switch {
		case !prev:
			titleRune(&b, r)
		case direct:
			b.WriteRune(low[i])
		default:
			b.WriteString(pyLower(string(r)))
		}
		prev = isCased(r)
		i++
	}
	return b.String()
}

func pyCapitalize(s string) string {
	if s == "" {
		return s
	}
	n := runeLen(s)
	var b strings.Builder
	r, _ := utf8.DecodeRuneInString(s)
	titleRune(&b, r)
	b.WriteString(strings.TrimPrefix(pyLower(s), pyLower(s[:n])))
	return b.String()
}

func pySwapCase(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case isUpper(r):
			b.WriteString(pyLower(string(r)))
		case isLower(r):
			b.WriteString(pyUpper(string(r)))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// allRunes is Python's family of "is" methods: false for the empty string.
func allRunes(s string, f func(rune) bool) bool {
	for _, r := range s {
		if !f(r) {
			return false
		}
	}
	return s != ""
}

func pyIsTitle(s string) bool {
	prev, any := false, false
	for _, r := range s {
		switch {
		case isUpper(r) || unicode.IsTitle(r):
			if prev {
				return false
			}
			prev, any = true, true
		case isLower(r):
			if !prev {
				return false
			}
			any = true
		default:
			prev = false
		}
	}
	return any
}

// oneCase reports whether s has cased characters and all of them are of one case.
func oneCase(s string, want func(rune) bool) bool {
	any := false
	for _, r := range s {
		if isCased(r) {
			if !want(r) {
				return false
			}
			any = true
		}
	}
	return any
}

// lineEnd is the length of Python's line boundary at the start of s, or 0.
func lineEnd(s string) int {
	switch c := s[0]; {
	case c == '\r':
		if len(s) > 1 && s[1] == '\n' {
			return 2
		}
		return 1
	case c >= '\n' && c <= '\f', c >= 0x1c && c <= 0x1e:
		return 1
	case c == 0xc2 && strings.HasPrefix(s, "\u0085"):
		return 2
	case c == 0xe2 && (strings.HasPrefix(s, "\u2028") || strings.HasPrefix(s, "\u2029")):
		return 3
	}
	return 0
}

// splitLines returns the bounds of Python's str.splitlines.
func splitLines(s string, keep bool) [][2]int {
	var out [][2]int
	start := 0
	for i := 0; i < len(s); {
		n := lineEnd(s[i:])
		if n == 0 {
			i++
			continue
		}
		end := i
		if keep {
			end = i + n
		}
		out = append(out, [2]int{start, end})
		i += n
		start = i
	}
	if start < len(s) {
		out = append(out, [2]int{start, len(s)})
	}
	return out
}
