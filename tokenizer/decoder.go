package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A decodeStep is one decoder of the chain as a state machine: push takes the next string of the list, flush ends it. A new
// state is made for every text.
type decodeStep interface {
	push(s string, out func(string))
	flush(out func(string))
}

// decoderSpec makes the steps of one text.
type decoderSpec struct {
	steps []func() decodeStep
	kind  decoderKind
}

// decoderKind names the chains that have a direct implementation.
type decoderKind uint8

const (
	decodeChain     decoderKind = iota
	decodeByteLevel             // ByteLevel alone
	decodeMarks                 // Replace ▁ by space, ByteFallback, Fuse, optionally Strip one space in front
)

type perTokenState struct {
	f func(i int, s string) (string, bool)
	i int
}

func (p *perTokenState) push(s string, out func(string)) {
	if r, keep := p.f(p.i, s); keep {
		out(r)
	}
	p.i++
}
func (p *perTokenState) flush(func(string)) {}

// each makes a step that rewrites every string by itself.
func each(f func(i int, s string) (string, bool)) func() decodeStep {
	return func() decodeStep { return &perTokenState{f: f} }
}

// whole makes a step over a text that is already joined: all of it is needed.
type wholeState struct {
	f func(string) string
	b strings.Builder
}

func (w *wholeState) push(s string, _ func(string)) { w.b.WriteString(s) }
func (w *wholeState) flush(out func(string))        { out(w.f(w.b.String())) }

// byteLevelState turns the alphabet into bytes and the bytes into text, one U+FFFD for each maximal invalid part.
type byteLevelState struct{ tail []byte }

func (b *byteLevelState) push(s string, out func(string)) {
	start := len(b.tail)
	var ok bool
	if b.tail, ok = appendUnalphabet(b.tail, s); !ok {
		b.tail = append(b.tail[:start], s...)
	}
	var text []byte
	text, b.tail = appendLossy(nil, b.tail, false)
	if len(text) > 0 {
		out(string(text))
	}
}

func (b *byteLevelState) flush(out func(string)) {
	if len(b.tail) > 0 {
		text, _ := appendLossy(nil, b.tail, true)
		b.tail = nil
		out(string(text))
	}
}

// appendLossy appends b as UTF-8 with one U+FFFD for each maximal invalid part (Unicode §3.9). Unless last, an incomplete character
// at the end is left over.
func appendLossy(dst, b []byte, last bool) (text, rest []byte) {
	for len(b) > 0 {
		if c := b[0]; c < utf8.RuneSelf {
			i := 1
			for i < len(b) && b[i] < utf8.RuneSelf {
				i++
			}
			dst = append(dst, b[:i]...)
			b = b[i:]
			continue
		}
		if r, n := utf8.DecodeRune(b); r != utf8.RuneError || n > 1 {
			dst = append(dst, b[:n]...)
			b = b[n:]
			continue
		}
		n, complete := invalidPrefix(b)
		if !complete && !last {
			return dst, b
		}
		dst = append(dst, "\uFFFD"...)
		b = b[n:]
	}
	return dst, nil
}

// invalidPrefix is the length of the maximal invalid subpart at the start of b; complete is false when more bytes could make a
// character of it.
func invalidPrefix(b []byte) (n int, complete bool) {
	lo, hi, want := byte(0x80), byte(0xbf), 0
	switch c := b[0]; {
	case c >= 0xc2 && c <= 0xdf:
		want = 1
	case c >= 0xe0 && c <= 0xef:
		want = 2
		switch c {
		case 0xe0:
			lo = 0xa0
		case 0xed:
			hi = 0x9f
		}
	case c >= 0xf0 && c <= 0xf4:
		want = 3
		switch c {
		case 0xf0:
			lo = 0x90
		case 0xf4:
			hi = 0x8f
		}
	default:
		return 1, true
	}
	for n = 1; n <= want; n++ {
		if n == len(b) {
			return n, false
		}
		if b[n] < lo || b[n] > hi {
			return n, true
		}
		lo, hi = 0x80, 0xbf
	}
	return n, true
}

// byteFallbackState joins runs of <0xNN>; a run that is not valid UTF-8 becomes one U+FFFD for each byte.
type byteFallbackState struct{ run []byte }

func (b *byteFallbackState) push(s string, out func(string)) {
	if c, ok := bytePiece(s); ok {
		b.run = append(b.run, c)
		return
	}
	b.flush(out)
	out(s)
}

func (b *byteFallbackState) flush(out func(string)) {
	if len(b.run) == 0 {
		return
	}
	if utf8.Valid(b.run) {
		out(string(b.run))
	} else {
		for range b.run {
			out("\uFFFD")
		}
	}
	b.run = b.run[:0]
}

// bytePiece reads <0xNN>.
func bytePiece(s string) (byte, bool) {
	if len(s) != 6 || s[:3] != "<0x" || s[5] != '>' {
		return 0, false
	}
	// Rust's from_str_radix takes a sign, too.
	if s[3] == '+' && hexDigit(s[4]) >= 0 {
		return byte(hexDigit(s[4])), true
	}
	h, l := hexDigit(s[3]), hexDigit(s[4])
	return byte(h<<4 | l), h >= 0 && l >= 0
}

// bpeSuffixState replaces the end-of-word suffix by a space, by nothing in the last string.
type bpeSuffixState struct {
	suffix string
	held   string
	have   bool
}

func (b *bpeSuffixState) push(s string, out func(string)) {
	if b.have {
		out(strings.ReplaceAll(b.held, b.suffix, " "))
	}
	b.held, b.have = s, true
}

func (b *bpeSuffixState) flush(out func(string)) {
	if b.have {
		out(strings.ReplaceAll(b.held, b.suffix, ""))
		b.have = false
	}
}

// ctcState drops repetitions and the padding.
type ctcState struct {
	pad, delimiter string
	cleanup        bool
	last           string
	have           bool
}

func (c *ctcState) push(s string, out func(string)) {
	if c.have && s == c.last {
		return
	}
	c.last, c.have = s, true
	r := strings.ReplaceAll(s, c.pad, "")
	if c.cleanup {
		r = strings.ReplaceAll(wordpieceCleanup(r), c.delimiter, " ")
	}
	if r != "" {
		out(r)
	}
}
func (c *ctcState) flush(func(string)) {}

// wordpieceCleanup undoes English tokenisation, replacement by replacement.
func wordpieceCleanup(s string) string {
	for _, p := range [...][2]string{{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"},
		{" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}} {
		s = strings.ReplaceAll(s, p[0], p[1])
	}
	return s
}

// stripState removes up to start characters at the beginning of a joined text, up to stop at its end.
type stripState struct {
	char        rune
	start, stop int
	tail        string
}

func (p *stripState) push(s string, out func(string)) {
	for p.start > 0 && s != "" {
		r, n := utf8.DecodeRuneInString(s)
		if r != p.char {
			p.start = 0
			break
		}
		s = s[n:]
		p.start--
	}
	if p.stop == 0 {
		if s != "" {
			out(s)
		}
		return
	}
	s = p.tail + s
	keep := len(s)
	for range p.stop {
		r, n := utf8.DecodeLastRuneInString(s[:keep])
		if n == 0 || r != p.char {
			break
		}
		keep -= n
	}
	p.tail = s[keep:]
	if keep > 0 {
		out(s[:keep])
	}
}

func (p *stripState) flush(func(string)) {}

func stripToken(s string, char rune, start, stop int) string {
	for range start {
		r, n := utf8.DecodeRuneInString(s)
		if n == 0 || r != char {
			break
		}
		s = s[n:]
	}
	for range stop {
		r, n := utf8.DecodeLastRuneInString(s)
		if n == 0 || r != char {
			break
		}
		s = s[:len(s)-n]
	}
	return s
}

func replaceText(re *regex, s, content string) string {
	var b strings.Builder
	re.findAll([]byte(s), func(i, j int, match bool) bool {
		if match {
			b.WriteString(content)
		} else {
			b.WriteString(s[i:j])
		}
		return true
	})
	return b.String()
}

// buildDecoder makes the chain of a decoder.
func buildDecoder(raw json.RawMessage) (*decoderSpec, error) {
	c, err := component(raw)
	if c == nil {
		return nil, err
	}
	d := &decoderSpec{}
	joined := false
	var names []string
	if err := d.add(c, &joined, &names); err != nil {
		return nil, err
	}
	switch strings.Join(names, " ") {
	case "ByteLevel":
		d.kind = decodeByteLevel
	case "Mark ByteFallback Fuse", "Mark ByteFallback Fuse Strip1":
		d.kind = decodeMarks
	}
	return d, nil
}

// add appends the steps of one decoder; joined tells that the list before it is one string.
func (d *decoderSpec) add(c *componentJSON, joined *bool, names *[]string) error {
	step := func(f func() decodeStep) { d.steps = append(d.steps, f) }
	text := func(name string, f func(i int, s string) (string, bool)) {
		*names = append(*names, name)
		if *joined {
			step(func() decodeStep {
				return &wholeState{f: func(s string) string { r, _ := f(0, s); return r }}
			})
		} else {
			step(each(f))
		}
	}
	switch c.Type {
	case "Sequence":
		for _, r := range c.Decoders {
			sub, err := component(r)
			if err != nil {
				return err
			}
			if sub != nil {
				if err := d.add(sub, joined, names); err != nil {
					return err
				}
			}
		}
	case "ByteLevel":
		*names = append(*names, "ByteLevel")
		if *joined {
			text("", func(_ int, s string) (string, bool) {
				b, ok := appendUnalphabet(nil, s)
				if !ok {
					return s, true
				}
				b, _ = appendLossy(nil, b, true)
				return string(b), true
			})
		} else {
			step(func() decodeStep { return &byteLevelState{} })
		}
		*joined = true
	case "ByteFallback":
		*names = append(*names, "ByteFallback")
		if *joined {
			text("", func(_ int, s string) (r string, _ bool) {
				b := &byteFallbackState{}
				out := func(s string) { r += s }
				b.push(s, out)
				b.flush(out)
				return r, true
			})
		} else {
			step(func() decodeStep { return &byteFallbackState{} })
		}
	case "Fuse":
		*names = append(*names, "Fuse")
		*joined = true
	case "Metaspace":
		r := orDefault(c.Replacement, "▁")
		scheme, err := c.scheme()
		if err != nil {
			return err
		}
		text("Metaspace", func(i int, s string) (string, bool) {
			if i == 0 && scheme != prependNever {
				return strings.ReplaceAll(s, r, ""), true
			}
			return strings.ReplaceAll(s, r, " "), true
		})
	case "WordPiece":
		prefix, cleanup := orDefault(c.Prefix, "##"), orDefault(c.Cleanup, true)
		text("WordPiece", func(i int, s string) (string, bool) {
			if i > 0 {
				if t, ok := strings.CutPrefix(s, prefix); ok {
					s = t
				} else {
					s = " " + s
				}
			}
			if cleanup {
				s = wordpieceCleanup(s)
			}
			return s, true
		})
	case "BPEDecoder":
		suffix := orDefault(c.Suffix, "</w>")
		*names = append(*names, "BPEDecoder")
		step(func() decodeStep { return &bpeSuffixState{suffix: suffix} })
		if *joined {
			d.steps = d.steps[:len(d.steps)-1]
			text("", func(_ int, s string) (string, bool) { return strings.ReplaceAll(s, suffix, ""), true })
		}
	case "CTC":
		pad, del, clean := orDefault(c.PadToken, "<pad>"), orDefault(c.WordDelimiter, "|"), orDefault(c.Cleanup, true)
		*names = append(*names, "CTC")
		if *joined {
			return fmt.Errorf("%w: decoder CTC behind a joining decoder", ErrUnsupported)
		}
		step(func() decodeStep { return &ctcState{pad: pad, delimiter: del, cleanup: clean} })
	case "Strip":
		r := []rune(orDefault(c.Content, " "))
		if len(r) != 1 {
			return fmt.Errorf("%w: decoder Strip: content %q is not one character", ErrFormat, string(r))
		}
		start, stop := orDefault(c.Start, 0), orDefault(c.Stop, 0)
		if start < 0 || stop < 0 {
			return fmt.Errorf("%w: decoder Strip: negative count", ErrFormat)
		}
		if *joined {
			name := "Strip"
			if start == 1 && stop == 0 && r[0] == ' ' {
				name = "Strip1"
			}
			*names = append(*names, name)
			step(func() decodeStep { return &stripState{char: r[0], start: start, stop: stop} })
		} else {
			text("Strip", func(_ int, s string) (string, bool) { return stripToken(s, r[0], start, stop), true })
		}
	case "Replace":
		re, lit, err := c.Pattern.compile("decoder Replace")
		if err != nil {
			return err
		}
		content := orDefault(c.Content, "")
		name := "Replace"
		if lit == "▁" && content == " " {
			name = "Mark"
		}
		text(name, func(_ int, s string) (string, bool) {
			if lit != "" {
				return strings.ReplaceAll(s, lit, content), true
			}
			return replaceText(re, s, content), true
		})
	default:
		return fmt.Errorf("%w: decoder %q", ErrUnsupported, c.Type)
	}
	return nil
}
