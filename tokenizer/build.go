package tokenizer

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// componentJSON has the fields of all normalizers, pre-tokenizers and decoders.
type componentJSON struct {
	Type          string            `json:"type"`
	Normalizers   []json.RawMessage `json:"normalizers"`
	PreTokenizers []json.RawMessage `json:"pretokenizers"`
	Decoders      []json.RawMessage `json:"decoders"`

	CleanText     *bool `json:"clean_text"`
	ChineseChars  *bool `json:"handle_chinese_chars"`
	StripAccents  *bool `json:"strip_accents"`
	Lowercase     *bool `json:"lowercase"`
	StripLeft     *bool `json:"strip_left"`
	StripRight    *bool `json:"strip_right"`
	AddPrefix     *bool `json:"add_prefix_space"`
	UseRegex      *bool `json:"use_regex"`
	Split         *bool `json:"split"`
	Invert        *bool `json:"invert"`
	Individual    *bool `json:"individual_digits"`
	Cleanup       *bool `json:"cleanup"`
	Pattern       *patternJSON
	Prepend       *string         `json:"prepend"`
	Content       *string         `json:"content"`
	Charsmap      *string         `json:"precompiled_charsmap"`
	Behavior      *string         `json:"behavior"`
	Delimiter     *string         `json:"delimiter"`
	Replacement   *string         `json:"replacement"`
	PrependScheme *string         `json:"prepend_scheme"`
	Length        *int            `json:"length"`
	Start         *int            `json:"start"`
	Stop          *int            `json:"stop"`
	Suffix        *string         `json:"suffix"`
	Prefix        *string         `json:"prefix"`
	PadToken      *string         `json:"pad_token"`
	WordDelimiter *string         `json:"word_delimiter_token"`
	Ignored       json.RawMessage `json:"trim_offsets"`
}

// patternJSON is {"String": …} or {"Regex": …}.
type patternJSON struct {
	String *string
	Regex  *string
}

func component(raw json.RawMessage) (*componentJSON, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	c := &componentJSON{}
	if err := json.Unmarshal(raw, c); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	if c.Type == "" {
		return nil, fmt.Errorf("%w: no field \"type\"", ErrFormat)
	}
	return c, nil
}

func missing(kind, field string) error {
	return fmt.Errorf("%w: %s has no field %q", ErrFormat, kind, field)
}

func orDefault[T any](p *T, v T) T {
	if p != nil {
		return *p
	}
	return v
}

// compile makes a finder of a pattern; pattern is the regular expression, "" for a literal.
func (p *patternJSON) compile(kind string) (re *regex, literal string, err error) {
	switch {
	case p == nil:
		return nil, "", missing(kind, "pattern")
	case p.String != nil:
		return literalRegex(*p.String), *p.String, nil
	case p.Regex != nil:
		re, err := compileRegex(*p.Regex)
		if err != nil {
			return nil, "", fmt.Errorf("%w: %s: %v", ErrUnsupported, kind, err)
		}
		return re, "", nil
	}
	return nil, "", fmt.Errorf("%w: %s: pattern is neither String nor Regex", ErrFormat, kind)
}

func buildNormalizer(raw json.RawMessage) (normalizer, error) {
	c, err := component(raw)
	if c == nil {
		return nil, err
	}
	switch c.Type {
	case "Sequence":
		seq := normSequence{}
		for _, r := range c.Normalizers {
			n, err := buildNormalizer(r)
			if err != nil {
				return nil, err
			}
			if n != nil {
				seq = append(seq, n)
			}
		}
		return seq, nil
	case "NFC", "NFD", "NFKC", "NFKD":
		return normForm{compatible: len(c.Type) == 4, compose: c.Type[len(c.Type)-1] == 'C'}, nil
	case "Lowercase":
		return normLower{}, nil
	case "Nmt":
		return normNmt{}, nil
	case "StripAccents":
		return normAccents{}, nil
	case "ByteLevel":
		return normBytes{}, nil
	case "Strip":
		return normStrip{orDefault(c.StripLeft, false), orDefault(c.StripRight, false)}, nil
	case "Prepend":
		return normPrepend{orDefault(c.Prepend, "")}, nil
	case "Replace":
		re, lit, err := c.Pattern.compile("Replace")
		if err != nil {
			return nil, err
		}
		return normReplace{re: re, text: lit, content: orDefault(c.Content, "")}, nil
	case "BertNormalizer", "Bert":
		lower := orDefault(c.Lowercase, true)
		return normBert{orDefault(c.CleanText, true), orDefault(c.ChineseChars, true), orDefault(c.StripAccents, lower), lower}, nil
	case "Precompiled":
		b, err := base64.StdEncoding.DecodeString(orDefault(c.Charsmap, ""))
		if err != nil {
			return nil, fmt.Errorf("%w: precompiled_charsmap: %v", ErrFormat, err)
		}
		return parseCharsmap(b)
	}
	return nil, fmt.Errorf("%w: normalizer %q", ErrUnsupported, c.Type)
}

func buildPreTokenizer(raw json.RawMessage) (preTokenizer, error) {
	c, err := component(raw)
	if c == nil {
		return nil, err
	}
	t := uni()
	where := func(flag uint16) func(rune) bool { return func(r rune) bool { return t.has(r, flag) } }
	switch c.Type {
	case "Sequence":
		seq := preSequence{}
		for _, r := range c.PreTokenizers {
			p, err := buildPreTokenizer(r)
			if err != nil {
				return nil, err
			}
			if p == nil {
				continue
			}
			if s, ok := p.(preSequence); ok {
				seq = append(seq, s...)
			} else {
				seq = append(seq, p)
			}
		}
		return seq, nil
	case "ByteLevel":
		b := &preByteLevel{prefixSpace: orDefault(c.AddPrefix, true), regex: orDefault(c.UseRegex, true)}
		if b.regex {
			re, err := compileRegex(gpt2Pattern)
			if err != nil {
				return nil, err
			}
			b.find = scanFinder(re, gpt2Pattern)
		}
		return b, nil
	case "Split":
		if c.Pattern == nil {
			return nil, missing("Split", "pattern")
		}
		re, lit, err := c.Pattern.compile("Split")
		if err != nil {
			return nil, err
		}
		b, ok := behaviorNames[orDefault(c.Behavior, "")]
		if !ok {
			return nil, fmt.Errorf("%w: Split behavior %q", ErrUnsupported, orDefault(c.Behavior, ""))
		}
		s := &preSplit{find: re.findAll, behavior: b, invert: orDefault(c.Invert, false), literal: lit}
		if c.Pattern.Regex != nil {
			s.pattern = *c.Pattern.Regex
			s.find = scanFinder(re, s.pattern)
		}
		return s, nil
	case "Digits":
		b := behContiguous
		name := "digits"
		if orDefault(c.Individual, false) {
			b, name = behIsolated, "digits1"
		}
		return &preSplit{find: findRunes(where(ufNumeric)), behavior: b, pattern: name}, nil
	case "Punctuation":
		b, ok := behaviorNames[orDefault(c.Behavior, "Isolated")]
		if !ok {
			return nil, fmt.Errorf("%w: Punctuation behavior %q", ErrUnsupported, *c.Behavior)
		}
		return &preSplit{find: findRunes(where(ufPunct)), behavior: b}, nil
	case "WhitespaceSplit":
		return &preSplit{find: findRunes(where(ufWhite)), behavior: behRemoved}, nil
	case "BertPreTokenizer":
		return preSequence{&preSplit{find: findRunes(where(ufWhite)), behavior: behRemoved},
			&preSplit{find: findRunes(where(ufPunct)), behavior: behIsolated}}, nil
	case "Whitespace":
		return &preSplit{find: findWords, behavior: behRemoved, invert: true}, nil
	case "CharDelimiterSplit", "Delimiter":
		d := []rune(orDefault(c.Delimiter, ""))
		if len(d) != 1 {
			return nil, fmt.Errorf("%w: delimiter %q is not one character", ErrFormat, string(d))
		}
		return &preSplit{find: findRunes(func(r rune) bool { return r == d[0] }), behavior: behRemoved}, nil
	case "Metaspace":
		m := &preMetaspace{replacement: orDefault(c.Replacement, "▁"), split_: orDefault(c.Split, true), space: literalRegex(" ")}
		r, n := utf8.DecodeRuneInString(m.replacement)
		if n != len(m.replacement) {
			return nil, fmt.Errorf("%w: Metaspace replacement %q is not one character", ErrFormat, m.replacement)
		}
		if m.scheme, err = c.scheme(); err != nil {
			return nil, err
		}
		m.find = findRunes(func(c rune) bool { return c == r })
		return m, nil
	case "UnicodeScripts":
		return preScripts{}, nil
	case "FixedLength":
		n := orDefault(c.Length, 5)
		if n < 1 {
			return nil, fmt.Errorf("%w: FixedLength of %d", ErrFormat, n)
		}
		return preFixed{n}, nil
	}
	return nil, fmt.Errorf("%w: pre-tokenizer %q", ErrUnsupported, c.Type)
}

// scheme reads Metaspace's prepend_scheme and its older name add_prefix_space.
func (c *componentJSON) scheme() (prependScheme, error) {
	s := prependAlways
	switch name := orDefault(c.PrependScheme, "always"); name {
	case "always":
	case "first":
		s = prependFirst
	case "never":
		s = prependNever
	default:
		return 0, fmt.Errorf("%w: prepend_scheme %q", ErrUnsupported, name)
	}
	if c.AddPrefix != nil && !*c.AddPrefix {
		if s != prependNever && c.PrependScheme != nil {
			return 0, fmt.Errorf("%w: add_prefix_space does not match prepend_scheme", ErrFormat)
		}
		s = prependNever
	}
	return s, nil
}

// findWords is the pattern \w+|[^\w\s]+ of the regex crate.
func findWords(text []byte, f func(i, j int, match bool) bool) {
	t := uni()
	kind := func(r rune) int {
		switch fl := t.rec(r).flags; {
		case fl&ufRegexWord != 0:
			return 1
		case fl&ufRegexSpace != 0:
			return 0
		}
		return 2
	}
	if len(text) == 0 {
		f(0, 0, false)
	}
	from, last := 0, -1
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if k := kind(r); k != last {
			if i > from && !f(from, i, last > 0) {
				return
			}
			from, last = i, k
		}
		i += n
	}
	if from < len(text) {
		f(from, len(text), last > 0)
	}
}

// scanFinder uses a hand-written scanner where one is known for the pattern.
func scanFinder(re *regex, pattern string) finder {
	scan, ok := scannerFor(pattern)
	if !ok {
		return re.findAll
	}
	return func(text []byte, f func(i, j int, match bool) bool) {
		for i := 0; i < len(text); {
			j := scan(text, i)
			if !f(i, j, true) {
				return
			}
			i = j
		}
	}
}
