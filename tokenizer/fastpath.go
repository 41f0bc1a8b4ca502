package tokenizer

// fastPath is the direct way through recognised pipelines, for ids alone.
type fastPath struct {
	*fast
	prefix    bool // "▁" before each section
	normalize bool // the section is normalised before (tokens are looked for in the normalised text)
}

// newFastPath recognises pipelines of byte-level BPE, and of SentencePiece's BPE with byte fallback; nil for all others. tables may be
// nil.
func (t *Tokenizer) newFastPath(tables *fastTables) *fastPath {
	b := t.bpe
	if b == nil || b.prefix != "" || b.suffix != "" || b.user != nil || len(b.pseudo) > 0 || t.position {
		return nil
	}
	norm, nfc, marks, prefix := normKind(t.norm)
	if !norm {
		return nil
	}
	p := &fastPath{prefix: prefix, normalize: t.after != nil && (nfc || marks)}
	spec := fastSpec{nfc: nfc && !p.normalize}
	if p.normalize {
		p.prefix = false
	}
	ok := false
	if t.raw {
		spec.patterns, ok = splitPatterns(t.pre)
		ok = ok && !marks
	} else if marks && b.byteFallback && !b.ignoreMerges {
		ok = t.pre == nil || splitsSpace(t.pre)
		for _, id := range b.byteID {
			ok = ok && id != noID
		}
		b.spaceMark = true
	}
	if !ok {
		return nil
	}
	if p.fast = fastOf(b.bpeModel, t.model.(*hfBPE).engine, spec, t.cfg, tables); p.fast == nil {
		return nil
	}
	return p
}

// normKind tells the normalizers apart that the fast path includes: none, NFC, spaces to "▁" with or without one in front.
func normKind(n normalizer) (ok, nfc, marks, prefix bool) {
	switch n := n.(type) {
	case nil:
		return true, false, false, false
	case normForm:
		return n.compose && !n.compatible, true, false, false
	case normReplace:
		return n.text == " " && n.content == "▁", false, true, false
	case normSequence:
		switch len(n) {
		case 0:
			return true, false, false, false
		case 1:
			return normKind(n[0])
		case 2:
			if p, is := n[0].(normPrepend); is && p.text == "▁" {
				ok, _, marks, _ = normKind(n[1])
				return ok && marks, false, marks, true
			}
		}
	}
	return false, false, false, false
}

// splitPatterns lists the patterns of a pre-tokenizer that isolates their matches and ends in ByteLevel.
func splitPatterns(p preTokenizer) ([]string, bool) {
	seq, ok := p.(preSequence)
	if !ok {
		seq = preSequence{p}
	}
	var out []string
	for i, s := range seq {
		switch s := s.(type) {
		case *preSplit:
			isolated := s.behavior == behIsolated && !s.invert
			inverted := s.behavior == behRemoved && s.invert && len(seq) <= 2 // every known pattern covers all of a text
			digits := s.pattern == "digits" && s.behavior == behContiguous
			if s.pattern == "" || !isolated && !inverted && !digits {
				return nil, false
			}
			out = append(out, s.pattern)
		case *preByteLevel:
			if s.prefixSpace || i != len(seq)-1 {
				return nil, false
			}
			if s.regex {
				out = append(out, "gpt2")
			}
		default:
			return nil, false
		}
	}
	return out, true
}

// splitsSpace reports a split at the space character, of which a text with "▁" for spaces has none.
func splitsSpace(p preTokenizer) bool {
	s, ok := p.(*preSplit)
	return ok && s.pattern == "" && s.literal == " "
}

// appendIDs is appendIDs of Tokenizer by the fast path.
func (p *fastPath) appendIDs(t *Tokenizer, before *addedMatcher, dst []uint32, n nstring, o *searchOptions) ([]uint32, error) {
	if !n.track {
		if cuts := p.cuts(t, before, n.text); cuts != nil {
			return p.appendParts(t, before, dst, n.text, cuts, o), nil
		}
	}
	var w *worker
	err := p.sections(t, before, n, o, func(id uint32) { dst = append(dst, id) }, func(text []byte, first bool) {
		if text = p.normal(text); len(text) >= p.minParallel && p.threads > 1 {
			dst = p.parallel(dst, text, p.prefix)
			return
		}
		if w == nil {
			w = p.acquire()
		}
		dst = w.append(dst, text, p.prefix)
	})
	if w != nil {
		p.release(w)
	}
	return dst, err
}

// count is the number of ids of a text; inner says that it was cut off behind other text.
func (p *fastPath) count(t *Tokenizer, n nstring, inner bool) (ids int) {
	if cuts := p.cuts(t, t.before, n.text); cuts != nil {
		return p.countParts(t, t.before, n.text, cuts, inner)
	}
	var w *worker
	_ = p.sections(t, t.before, n, &searchModes[Recognise], func(uint32) { ids++ }, func(text []byte, first bool) {
		prefix := p.prefix && !(first && inner)
		if text = p.normal(text); len(text) >= p.minParallel && p.threads > 1 {
			ids += p.parallelCount(text, prefix)
			return
		}
		if w == nil {
			w = p.acquire()
		}
		ids += w.count(text, prefix)
	})
	if w != nil {
		p.release(w)
	}
	return ids
}

// normalized is n normalised. It is a function of its own because n moves to the heap.
func normalized(by normalizer, n nstring) nstring {
	by.normalize(&n)
	return n
}

// sections cuts a text at its added tokens; first says that a stretch stands at the text's begin.
func (p *fastPath) sections(t *Tokenizer, before *addedMatcher, n nstring, o *searchOptions, id func(uint32), text func(text []byte, first bool)) error {
	var failed error
	tok := func(a *addedToken, _, _ int) bool {
		id(a.id)
		return true
	}
	section := func(i, j int) bool {
		if i == j {
			return true
		}
		if t.after == nil {
			text(n.text[i:j], i == 0)
			return true
		}
		s := n.slice(i, j)
		if p.normalize {
			s = normalized(t.norm, s)
		}
		failed = t.after.split(&s, o, func(i, j int) bool {
			if i < j {
				text(s.text[i:j], false)
			}
			return true
		}, tok)
		return failed == nil
	}
	if err := before.split(&n, o, section, tok); err != nil {
		return err
	}
	return failed
}
