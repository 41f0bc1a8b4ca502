package tokenizer

// The pre-tokenizers that have a scanner, as their patterns are spelled in tokenizer.json.
const (
	patternGPT2     = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	patternQwen2    = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternCL100K   = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternO200K    = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternNumbers3 = `\p{N}{1,3}`
	patternCJK      = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
	patternDeepSeek = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
)

// scanKindOf recognises a sequence of splits.
func scanKindOf(patterns []string) (scanKind, bool) {
	one := ""
	switch len(patterns) {
	case 1:
		one = patterns[0]
	case 2:
		if patterns[0] == "digits1" && (patterns[1] == "gpt2" || patterns[1] == patternGPT2) {
			return scanSmol, true
		}
	case 3:
		if patterns[0] == patternNumbers3 && patterns[1] == patternCJK && patterns[2] == patternDeepSeek {
			return scanDeepSeek, true
		}
	}
	switch one {
	case "gpt2", patternGPT2:
		return scanGPT2, true
	case patternQwen2:
		return scanQwen2, true
	case patternCL100K:
		return scanCL100K, true
	case patternO200K:
		return scanO200K, true
	}
	return 0, false
}

// scanFunc gives the end of the match of a covering pattern that begins at text[from], valid UTF-8.
type scanFunc func(text []byte, from int) (end int)

// scannerFor gives the hand-written matcher of a pattern that leaves no text unmatched.
func scannerFor(pattern string) (scanFunc, bool) {
	kind, ok := scanKindOf([]string{pattern})
	if !ok {
		return nil, false
	}
	tab, step := classTables[kind](), steppers[kind]
	return func(text []byte, from int) int { return step(tab, text, from) }, true
}
