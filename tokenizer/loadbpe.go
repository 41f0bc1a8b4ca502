package tokenizer

import (
	"bytes"
	"context"
	"fmt"
	"slices"
)

// inParallel calls do for each i below n on several goroutines, and gives the error of the least i that has one.
func inParallel(n int, do func(i int) error) error {
	errs := make([]error, n)
	_ = forEach(context.Background(), 0, n, func(i int) error { // never fails
		errs[i] = do(i)
		return nil
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// vocabPart is what one stretch of a vocabulary holds.
type vocabPart struct {
	arena   []byte
	literal []string // what the byte-level alphabet does not spell
	items   []vocabItem
}

// vocabItem is arena[start:start+n], or literal[start] where n is isLiteral.
type vocabItem struct {
	start, n, id uint32
	at           uint32 // JSON offset
	hash         uint64
}

const isLiteral = 1<<32 - 1

// readJSON reads {"piece": id, …}: stretches of it in parallel, and enters them in order.
func (v *vocab) readJSON(data []byte, val *jsonValue) error {
	all, err := val.stretches(data, '{', '}')
	if err != nil {
		return err
	}
	parts := make([]vocabPart, len(all))
	if err := inParallel(len(all), func(i int) error { return parts[i].read(data, all[i], v.raw) }); err != nil {
		return err
	}
	size, most := len(v.arena), uint32(0)
	for _, p := range parts {
		size += len(p.arena)
		for i := range p.items {
			most = max(most, p.items[i].id)
		}
	}
	v.arena = slices.Grow(v.arena, size-len(v.arena))
	v.grow(int(most) + 1)
	for _, p := range parts {
		base := len(v.arena)
		v.arena = append(v.arena, p.arena...)
		for i := range p.items {
			it := &p.items[i]
			if it.n == isLiteral {
				v.addLiteral(p.literal[it.start], it.id)
			} else if err := v.enter(base+int(it.start), int(it.n), it.id, it.hash); err != nil {
				return fmt.Errorf("%w: JSON offset %d: %v", ErrFormat, it.at, err)
			}
		}
	}
	return nil
}

func (p *vocabPart) read(data []byte, part stretch, raw bool) error {
	s := &jsonScan{b: data, p: part.from}
	p.arena = make([]byte, 0, (part.to-part.from)/2)
	p.items = make([]vocabItem, 0, (part.to-part.from)/16)
	return s.members(part.to, func() error {
		start := len(p.arena)
		at := s.p
		in, plain, err := s.raw()
		if err != nil {
			return err
		}
		literal := false
		if raw {
			if !plain {
				s.p = at
				if in, err = s.str(nil); err != nil {
					return err
				}
			}
			var ok bool
			if p.arena, ok = appendUnalphabet(p.arena, in); !ok {
				p.arena, literal = p.arena[:start], true
			}
		} else if plain {
			p.arena = append(p.arena, in...)
		} else {
			s.p = at
			if p.arena, err = s.str(p.arena); err != nil {
				return err
			}
		}
		if err := s.need(':'); err != nil {
			return err
		}
		id, err := s.uint()
		if err != nil {
			return err
		}
		if id >= maxVocab {
			return fmt.Errorf("%w: JSON offset %d: id %d is beyond the limit of %d", ErrFormat, s.p, id, maxVocab)
		}
		if int(id) > 64*len(s.b) { // ids far beyond what the file could name would only allocate
			return fmt.Errorf("%w: JSON offset %d: id %d in a file of %d bytes", ErrFormat, s.p, id, len(s.b))
		}
		if literal {
			p.items = append(p.items, vocabItem{uint32(len(p.literal)), isLiteral, id, uint32(s.p), 0})
			p.literal = append(p.literal, string(in))
			return nil
		}
		b := p.arena[start:]
		p.items = append(p.items, vocabItem{uint32(start), uint32(len(b)), id, uint32(s.p), hashPiece(b)})
		return nil
	})
}

func (t *Tokenizer) loadBPE(data []byte, pieces, merges *jsonValue, m *modelJSON) error {
	if m.Dropout != nil && *m.Dropout != 0 {
		return fmt.Errorf("%w: BPE dropout", ErrUnsupported)
	}
	b := &bpeText{bpeModel: &bpeModel{ignoreMerges: m.IgnoreMerges, unk: noID, fuseUnk: m.FuseUnk, byteFallback: m.ByteFallback}}
	if m.Prefix != nil {
		b.prefix = *m.Prefix
	}
	if m.Suffix != nil {
		b.suffix = *m.Suffix
	}
	raw := t.endsInByteLevel() && b.prefix == "" && b.suffix == "" && !b.byteFallback
	for {
		v := newVocab(len(pieces.text)/18, raw)
		if err := v.readJSON(data, pieces); err != nil {
			return fmt.Errorf("vocab: %w", err)
		}
		b.vocab, b.byteLevel = v, raw
		b.finish()
		if m.UnkToken == nil {
			break
		}
		id, ok := v.tokenID(*m.UnkToken)
		if !ok {
			return fmt.Errorf("%w: unk_token %q is not in the vocabulary", ErrFormat, *m.UnkToken)
		}
		b.unk = id
		if !raw || !slices.Contains(b.byteID[:], noID) {
			break
		}
		raw = false // an unknown byte becomes unk: work on the spelled alphabet
	}
	if err := b.readMerges(data, merges); err != nil {
		return fmt.Errorf("merges: %w", err)
	}
	t.setBPE(b, raw)
	return nil
}

// readMerges reads ["a b", …] or [["a", "b"], …], stretches of it in parallel.
func (m *bpeText) readMerges(data []byte, val *jsonValue) error {
	all, err := val.stretches(data, '[', ']')
	if err != nil {
		return err
	}
	parts := make([][]mergeRule, len(all))
	if err := inParallel(len(all), func(i int) (err error) {
		r := mergeReader{jsonScan: jsonScan{b: data, p: all[i].from}, v: m.vocab}
		parts[i] = make([]mergeRule, 0, (all[i].to-all[i].from)/16)
		return r.members(all[i].to, func() error {
			at := r.p
			cut, err := r.pair()
			if err != nil {
				return err
			}
			rule, err := m.ruleOf(r.buf, cut)
			if err != nil {
				return fmt.Errorf("%w: JSON offset %d: %v", ErrFormat, at, err)
			}
			parts[i] = append(parts[i], rule)
			return nil
		})
	}); err != nil {
		return err
	}
	m.merges = slices.Concat(parts...)
	for i := range m.merges {
		m.merges[i].rank = uint32(i)
	}
	m.dropDuplicates()
	return nil
}

// mergeReader reads merges into buf, both parts as the vocabulary has them.
type mergeReader struct {
	jsonScan
	v        *vocab
	buf, esc []byte
}

// text takes a string.
func (r *mergeReader) text() (in []byte, err error) {
	at := r.p
	in, plain, err := r.raw()
	if err == nil && !plain {
		r.p = at
		r.esc, err = r.str(r.esc[:0])
		in = r.esc
	}
	return in, err
}

func (r *mergeReader) append(in []byte, at int) error {
	if !r.v.raw {
		r.buf = append(r.buf, in...)
		return nil
	}
	var ok bool
	if r.buf, ok = appendUnalphabet(r.buf, in); !ok {
		return fmt.Errorf("%w: JSON offset %d: merge part %q is not in the vocabulary", ErrFormat, at, in)
	}
	return nil
}

// pair reads one merge, whose first part is buf[:cut].
func (r *mergeReader) pair() (cut int, err error) {
	at := r.p
	r.buf = r.buf[:0]
	if !r.eat('[') {
		in, err := r.text()
		if err != nil {
			return 0, err
		}
		k := bytes.IndexByte(in, ' ')
		if k < 0 || bytes.IndexByte(in[k+1:], ' ') >= 0 {
			return 0, fmt.Errorf("%w: JSON offset %d: merge %q is not two parts", ErrFormat, at, in)
		}
		if err := r.append(in[:k], at); err != nil {
			return 0, err
		}
		cut = len(r.buf)
		return cut, r.append(in[k+1:], at)
	}
	for i, end := range []byte{',', ']'} {
		r.ws()
		at := r.p
		in, err := r.text()
		if err != nil {
			return 0, err
		}
		if err := r.append(in, at); err != nil {
			return 0, err
		}
		if i == 0 {
			cut = len(r.buf)
		}
		if err := r.need(end); err != nil {
			return 0, err
		}
	}
	return cut, nil
}

// ruleOf looks up the merge of text[:cut] with text[cut:].
func (m *bpeText) ruleOf(text []byte, cut int) (r mergeRule, err error) {
	v := m.vocab
	a, ok := v.find(text[:cut])
	if !ok {
		return r, fmt.Errorf("merge part %q is not in the vocabulary", text[:cut])
	}
	b, ok := v.find(text[cut:])
	if !ok {
		return r, fmt.Errorf("merge part %q is not in the vocabulary", text[cut:])
	}
	if k := len(m.prefix); k > 0 {
		if len(text)-cut < k {
			return r, fmt.Errorf("merge part %q is shorter than the prefix", text[cut:])
		}
		text = append(text[:cut:cut], text[cut+k:]...)
	}
	out, ok := v.find(text)
	if !ok {
		return r, fmt.Errorf("merged piece %q is not in the vocabulary", text)
	}
	return mergeRule{a: a, b: b, out: out}, nil
}
