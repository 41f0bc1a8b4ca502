package tokenizer

// A stepper finds the end of the pre-tokenizer's piece that begins at text[i], a piece's begin, by reading character
// by character. Steppers state what the patterns mean; the block scanners must agree with them.
type stepper func(t *classTable, text []byte, i int) int

var steppers = [scanKinds]stepper{
	scanGPT2: stepGPT2, scanSmol: stepSmol, scanQwen2: stepQwen2, scanCL100K: stepCL100K, scanO200K: stepO200K, scanDeepSeek: stepDeepSeek,
}

// run gives the end of the characters from i on that have a class of want and none of not.
func (t *classTable) run(text []byte, i int, want, not uint32) int {
	for i < len(text) {
		c, n := t.at(text, i)
		if c&want == 0 || c&not != 0 {
			break
		}
		i += n
	}
	return i
}

// others gives the end of the characters from i on that have no class of not.
func (t *classTable) others(text []byte, i int, not uint32) int {
	for i < len(text) {
		c, n := t.at(text, i)
		if c&not != 0 {
			break
		}
		i += n
	}
	return i
}

// contraction gives the length of (?i:'s|'t|'re|'ve|'m|'ll|'d) at text[i], or 0. U+017F folds to s.
func contraction(text []byte, i int) int {
	if i+1 >= len(text) || text[i] != '\'' {
		return 0
	}
	next := byte(0)
	if i+2 < len(text) {
		next = text[i+2]
	}
	switch text[i+1] | 0x20 {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v':
		if next|0x20 == 'e' {
			return 3
		}
	case 'l':
		if next|0x20 == 'l' {
			return 3
		}
	case 0xe5: // 0xC5|0x20
		if text[i+1] == 0xc5 && next == 0xbf {
			return 3
		}
	}
	return 0
}

// lowerContraction is contraction for small letters only.
func lowerContraction(text []byte, i int) int {
	n := contraction(text, i)
	for _, c := range text[i+min(n, 1) : i+n] {
		if c < 'a' || c > 'z' {
			return 0
		}
	}
	return n
}

// space gives the end of \s+(?!\S)|\s+ over the white space i..e, where another character follows unless last.
func (t *classTable) space(text []byte, i, e int, last bool) int {
	if last {
		return e
	}
	p := e - 1
	for p > i && text[p]&0xc0 == 0x80 {
		p--
	}
	if p > i {
		return p
	}
	return e
}

// lineBreaks gives the end of \s*[\r\n]+ over the white space i..e, or i.
func lineBreaks(text []byte, i, e int) int {
	for e > i && text[e-1] != '\n' && text[e-1] != '\r' {
		e--
	}
	return e
}

func isBreak(b byte) bool { return b == '\n' || b == '\r' }

// stepGPT2: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func stepGPT2(t *classTable, text []byte, i int) int {
	if n := lowerContraction(text, i); n > 0 {
		return i + n
	}
	j := i
	if text[i] == ' ' && i+1 < len(text) {
		j++
	}
	c, _ := t.at(text, j)
	switch {
	case c&clsL != 0:
		return t.run(text, j, clsL, 0)
	case c&clsN != 0:
		return t.run(text, j, clsN, 0)
	case c&clsS == 0:
		return t.others(text, j, clsL|clsN|clsS)
	}
	e := t.run(text, i, clsS, 0)
	return t.space(text, i, e, e == len(text))
}

// stepSmol: each number by itself, and GPT-2's pattern on what lies between.
func stepSmol(t *classTable, text []byte, i int) int {
	c, n := t.at(text, i)
	if c&clsN != 0 {
		return i + n
	}
	if text[i] == ' ' && i+1 < len(text) {
		if d, _ := t.at(text, i+1); d&clsN != 0 {
			return i + 1
		}
	}
	if c&clsS != 0 {
		e := t.run(text, i, clsS, 0)
		if e < len(text) {
			if d, _ := t.at(text, e); d&clsN != 0 {
				return e
			}
		}
	}
	return stepGPT2(t, text, i)
}

func stepQwen2(t *classTable, text []byte, i int) int { return stepTiktoken(t, text, i, 1) }

func stepCL100K(t *classTable, text []byte, i int) int { return stepTiktoken(t, text, i, 3) }

// stepTiktoken: (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|
// \s*[\r\n]+|\s+(?!\S)|\s+
func stepTiktoken(t *classTable, text []byte, i, digits int) int {
	if n := contraction(text, i); n > 0 {
		return i + n
	}
	c, n := t.at(text, i)
	if c&clsN != 0 {
		return t.numbers(text, i, digits)
	}
	if c&clsL != 0 {
		return t.run(text, i, clsL, 0)
	}
	if !isBreak(text[i]) && i+n < len(text) {
		if d, _ := t.at(text, i+n); d&clsL != 0 {
			return t.run(text, i+n, clsL, 0)
		}
	}
	j := i
	if text[i] == ' ' {
		j++
	}
	if e := t.others(text, j, clsL|clsN|clsS); e > j {
		for e < len(text) && isBreak(text[e]) {
			e++
		}
		return e
	}
	e := t.run(text, i, clsS, 0)
	if b := lineBreaks(text, i, e); b > i {
		return b
	}
	return t.space(text, i, e, e == len(text))
}

// numbers gives the end of at most digits numbers.
func (t *classTable) numbers(text []byte, i, digits int) int {
	for ; digits > 0 && i < len(text); digits-- {
		c, n := t.at(text, i)
		if c&clsN == 0 {
			break
		}
		i += n
	}
	return i
}

// stepO200K, with U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}], W = [\p{Ll}\p{Lm}\p{Lo}\p{M}] and 's for the contractions:
// [^\r\n\p{L}\p{N}]?U*W+(?i:'s)?|[^\r\n\p{L}\p{N}]?U+W*(?i:'s)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|
// \s+(?!\S)|\s+
func stepO200K(t *classTable, text []byte, i int) int {
	c, n := t.at(text, i)
	if c&clsN != 0 {
		return t.numbers(text, i, 3)
	}
	e := -1
	prefix := (c&clsL == 0 || c&clsMark != 0) && !isBreak(text[i])
	if prefix {
		e = t.mixedCase(text, i+n)
	}
	if e < 0 {
		e = t.mixedCase(text, i)
	}
	if e < 0 && prefix {
		e = t.upperCase(text, i+n)
	}
	if e < 0 {
		e = t.upperCase(text, i)
	}
	if e >= 0 {
		return e + contraction(text, e)
	}
	j := i
	if text[i] == ' ' {
		j++
	}
	if e = t.notWords(text, j); e > j {
		for e < len(text) && (isBreak(text[e]) || text[e] == '/') {
			e++
		}
		return e
	}
	e = t.run(text, i, clsS, 0)
	if b := lineBreaks(text, i, e); b > i {
		return b
	}
	return t.space(text, i, e, e == len(text))
}

// notWords gives the end of [^\s\p{L}\p{N}]*, where marks count as letters in the table but not here.
func (t *classTable) notWords(text []byte, i int) int {
	for i < len(text) {
		c, n := t.at(text, i)
		if c&(clsN|clsS) != 0 || c&(clsL|clsMark) == clsL {
			break
		}
		i += n
	}
	return i
}

// mixedCase gives the end of U*W+ at i, or -1: after the last W when U* is as long as it can be.
func (t *classTable) mixedCase(text []byte, i int) int {
	both := -1 // end of the last character that U* may give back to W+
	for i < len(text) {
		c, n := t.at(text, i)
		if c&clsL == 0 {
			break
		}
		if c&clsLower != 0 {
			return t.run(text, i, clsL, clsUpper)
		}
		i += n
		if c&clsUpper == 0 {
			both = i
		}
	}
	return both
}

// upperCase gives the end of U+W* at i, or -1, where mixedCase has failed.
func (t *classTable) upperCase(text []byte, i int) int {
	if e := t.run(text, i, clsL, clsLower); e > i {
		return e
	}
	return -1
}

// stepDeepSeek: three splits, each within what the one before left: \p{N}{1,3}, then the characters of clsCJK, then
// [ASCII punctuation][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
// What no alternative matches stays together. Its text ends where the section of an earlier split ends.
func stepDeepSeek(t *classTable, text []byte, i int) int {
	c, n := t.at(text, i)
	if c&clsN != 0 {
		return t.numbers(text, i, 3)
	}
	// at gives class 0 and size 0 outside of the section.
	at := func(j int) (uint32, int) {
		if j < len(text) {
			if d, m := t.at(text, j); d&clsN == 0 && (d^c)&clsCJK == 0 {
				return d, m
			}
		}
		return 0, 0
	}
	run := func(j int, want uint32) int {
		for {
			d, m := at(j)
			if d&want == 0 {
				return j
			}
			j += m
		}
	}
	next, _ := at(i + n)
	if c&clsPunct != 0 && text[i] < 0x80 && i+1 < len(text) && isASCIILetter(text[i+1]) {
		for i += 2; i < len(text) && isASCIILetter(text[i]); i++ {
		}
		return i
	}
	if c&clsL != 0 {
		return run(i, clsL)
	}
	if c&clsPunct == 0 && !isBreak(text[i]) && next&clsL != 0 {
		return run(i+n, clsL)
	}
	j := i
	if text[i] == ' ' {
		j++
	}
	if e := run(j, clsPunct); e > j {
		if c&clsCJK == 0 {
			for e < len(text) && isBreak(text[e]) {
				e++
			}
		}
		return e
	}
	if c&clsS != 0 {
		e := run(i, clsS)
		if b := lineBreaks(text, i, e); b > i {
			return b
		}
		_, m := at(e)
		return t.space(text, i, e, m == 0)
	}
	// Controls, unassigned: unmatched up to the one that a letter follows.
	for j = i + n; ; {
		d, m := at(j)
		if m == 0 || d&(clsL|clsPunct|clsS) != 0 {
			return j
		}
		if next, _ := at(j + m); next&clsL != 0 {
			return j
		}
		j += m
	}
}

func isASCIILetter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }
