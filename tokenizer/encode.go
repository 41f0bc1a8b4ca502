package tokenizer

import (
	"math"
	"time"
	"unsafe"
)

// Encode gives the ids of a text. Special tokens spelled in it are recognised, none are added. Invalid UTF-8 becomes U+FFFD.
func (t *Tokenizer) Encode(text string) []uint32 {
	return t.AppendEncode(make([]uint32, 0, min(len(text)/4, 1<<15)+8), unsafe.Slice(unsafe.StringData(text), len(text)))
}

// AppendEncode appends what Encode gives for text, which it does not keep.
func (t *Tokenizer) AppendEncode(dst []uint32, text []byte) []uint32 {
	start, have := time.Now(), len(dst)
	dst, _ = t.appendText(dst, text, &searchModes[Recognise]) // fails for Refuse alone
	t.stats.add(len(text), len(dst)-have, start)
	return dst
}

// Count is the number of ids that Encode gives.
func (t *Tokenizer) Count(text string) int {
	n, _ := t.CountUpTo(text, math.MaxInt)
	return n
}

// CountUpTo counts ids up to a limit, and stops there. within reports that the text has no more than limit ids.
func (t *Tokenizer) CountUpTo(text string, limit int) (n int, within bool) {
	if limit < 0 {
		return 0, false
	}
	b := unsafe.Slice(unsafe.StringData(text), len(text))
	if t.fast != nil && (len(b)/8 <= limit || t.fast.cuttable(t)) {
		n, _ = t.fast.countUpTo(t, b, limit)
	} else {
		n = t.walkCount(validUTF8(b), limit)
	}
	return min(n, limit), n <= limit
}

// walkCount counts the ids of a text through all stages, and stops above a limit.
func (t *Tokenizer) walkCount(b []byte, limit int) (n int) {
	var buf []uint32
	// Options that cannot fail.
	_ = t.walk(nstring{text: b, hi: len(b)}, &searchModes[Recognise], func(uint32, nstring) bool {
		n++
		return n <= limit
	}, func(p nstring) bool {
		buf = t.model.appendIDs(buf[:0], p.text)
		n += len(buf)
		return n <= limit
	})
	return n
}

// validUTF8 replaces every maximal invalid subpart by U+FFFD.
func validUTF8(b []byte) []byte {
	if validText(b) {
		return b
	}
	out, _ := appendLossy(make([]byte, 0, len(b)+len(b)/2), b, true)
	return out
}

// appendText encodes any bytes.
func (t *Tokenizer) appendText(dst []uint32, text []byte, o *searchOptions) ([]uint32, error) {
	if t.fast != nil && o.mode != Refuse && len(o.plain) == 0 {
		if cuts := t.fast.cuts(t, t.before, text); cuts != nil {
			return t.fast.appendParts(t, t.before, dst, text, cuts, o), nil
		}
		if p := t.fast; p.threads < 2 && len(text) >= p.minParallel && p.parted(t, t.before) {
			return p.appendSteps(t, t.before, dst, text, o), nil
		}
	}
	if validText(text) {
		return t.appendIDs(dst, nstring{text: text[:len(text):len(text)], hi: len(text)}, o)
	}
	if o.mode == Refuse || len(o.plain) > 0 { // positions in the original matter
		return t.appendIDs(dst, traced(string(text)), o)
	}
	valid := validUTF8(text)
	return t.appendIDs(dst, nstring{text: valid, hi: len(valid)}, o)
}

// appendIDs runs the pipeline for ids alone; the text is valid UTF-8.
func (t *Tokenizer) appendIDs(dst []uint32, n nstring, o *searchOptions) ([]uint32, error) {
	n.track = len(o.plain) > 0 || o.mode == Refuse
	return t.encodeBy(t.before, dst, n, o)
}

// betweenTokens is appendIDs for a stretch in which the tokens of the raw text were found already.
func (t *Tokenizer) betweenTokens(dst []uint32, n nstring, o *searchOptions) ([]uint32, error) {
	return t.encodeBy(nil, dst, n, o)
}

func (t *Tokenizer) encodeBy(before *addedMatcher, dst []uint32, n nstring, o *searchOptions) ([]uint32, error) {
	if t.fast != nil {
		return t.fast.appendIDs(t, before, dst, n, o)
	}
	return t.walkIDs(before, dst, n, o)
}

// walkIDs is apart from encodeBy, which must not allocate: the callbacks move dst to the heap.
func (t *Tokenizer) walkIDs(before *addedMatcher, dst []uint32, n nstring, o *searchOptions) ([]uint32, error) {
	err := t.walkBy(before, n, o, func(id uint32, _ nstring) bool {
		dst = append(dst, id)
		return true
	}, func(p nstring) bool {
		dst = t.model.appendIDs(dst, p.text)
		return true
	})
	return dst, err
}

// walk cuts a text into added tokens and the pieces that the model sees, in order, until tok or piece returns false.
func (t *Tokenizer) walk(n nstring, o *searchOptions, tok func(id uint32, n nstring) bool, piece func(n nstring) bool) error {
	return t.walkBy(t.before, n, o, tok, piece)
}

func (t *Tokenizer) walkBy(before *addedMatcher, n nstring, o *searchOptions, tok func(id uint32, n nstring) bool,
	piece func(n nstring) bool) error {
	if len(n.text) == 0 {
		return nil
	}
	if t.position {
		n.track = true
	}
	var failed error
	cutPieces := func(n nstring) bool {
		if len(n.text) == 0 {
			return true
		}
		if t.pre == nil {
			return piece(n)
		}
		return t.pre.split(n, func(p nstring) bool { return len(p.text) == 0 || piece(p) })
	}
	section := func(n nstring) bool {
		if t.norm != nil {
			t.norm.normalize(&n)
		}
		if len(n.text) == 0 {
			return true
		}
		if t.after == nil {
			return cutPieces(n)
		}
		more := true
		failed = t.after.split(&n, o, func(i, j int) bool {
			more = cutPieces(n.slice(i, j))
			return more
		}, func(a *addedToken, i, j int) bool {
			more = tok(a.id, n.slice(i, j))
			return more
		})
		return more && failed == nil
	}
	err := before.split(&n, o, func(i, j int) bool { return section(n.slice(i, j)) },
		func(a *addedToken, i, j int) bool { return tok(a.id, n.slice(i, j)) })
	if err != nil {
		return err
	}
	return failed
}

// needsPosition reports that a pre-tokenizer asks where in the original its text begins.
func (t *Tokenizer) needsPosition() bool {
	has := func(p preTokenizer) bool {
		m, ok := p.(*preMetaspace)
		return ok && m.scheme == prependFirst
	}
	if s, ok := t.pre.(preSequence); ok {
		for _, p := range s {
			if has(p) {
				return true
			}
		}
		return false
	}
	return has(t.pre)
}
