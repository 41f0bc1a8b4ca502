package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// parts are the members of an object: their text and where it begins.
type parts struct {
	text map[string][]byte
	at   map[string]int
	end  int
}

// members takes an object apart without looking into the values; nested gets that of one key, taken apart in turn.
func members(b []byte, from int, nested string) (p, inner *parts, err error) {
	p = &parts{text: map[string][]byte{}, at: map[string]int{}}
	s := &jsonScan{b: b, p: from}
	err = s.object(func(key string) error {
		p.at[key] = s.p
		if key == nested && s.p < len(b) && b[s.p] == '{' {
			var err error
			if inner, _, err = members(b, s.p, ""); err != nil {
				return err
			}
			p.text[key] = b[s.p:inner.end]
			s.p = inner.end
			return nil
		}
		v, err := s.skip()
		p.text[key] = v
		return err
	})
	p.end = s.p
	return p, inner, err
}

// parseJSON reads a tokenizer.json.
func parseJSON(data []byte, cfg Config) (*Tokenizer, error) {
	file, model, err := members(data, 0, "model")
	if err != nil {
		return nil, err
	}
	parts := file.text
	rest := jsonScan{b: data, p: file.end}
	if rest.ws(); rest.p < len(data) {
		return nil, rest.fail("the end of the file")
	}
	if model == nil {
		return nil, fmt.Errorf("%w: no object \"model\"", ErrFormat)
	}
	t := newTokenizer(cfg)
	if err := t.stage(stages{parts["normalizer"], parts["pre_tokenizer"], parts["decoder"]}); err != nil {
		return nil, err
	}
	if t.post, err = buildPost(parts["post_processor"]); err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	if err := t.loadModel(data, model); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if err := t.loadAdded(data, parts["added_tokens"], file.at["added_tokens"]); err != nil {
		return nil, fmt.Errorf("added_tokens: %w", err)
	}
	return t, t.finish()
}

func (t *Tokenizer) loadModel(data []byte, p *parts) error {
	parts, at := p.text, p.at
	small := map[string]json.RawMessage{}
	for k, v := range parts {
		if k != "vocab" && k != "merges" {
			small[k] = v
		}
	}
	text, err := json.Marshal(small)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrFormat, err)
	}
	var m modelJSON
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("%w: %v", ErrFormat, err)
	}
	kind := m.Type
	if kind == "" { // files of old versions tell by their fields
		switch {
		case parts["merges"] != nil:
			kind = "BPE"
		case len(parts["vocab"]) > 0 && parts["vocab"][0] == '[':
			kind = "Unigram"
		case parts["continuing_subword_prefix"] != nil:
			kind = "WordPiece"
		case parts["vocab"] != nil:
			kind = "WordLevel"
		}
	}
	if parts["vocab"] == nil {
		return fmt.Errorf("%w: no field \"vocab\"", ErrFormat)
	}
	s := &jsonScan{b: data, p: at["vocab"]}
	switch kind {
	case "BPE":
		if parts["merges"] == nil {
			return fmt.Errorf("%w: no field \"merges\"", ErrFormat)
		}
		return t.loadBPE(s, len(parts["vocab"]), at["merges"], &m)
	case "Unigram":
		return t.loadUnigram(s, &m)
	case "WordPiece", "WordLevel":
		v := newVocab(len(parts["vocab"])/16, false)
		if err := v.readJSON(s); err != nil {
			return fmt.Errorf("vocab: %w", err)
		}
		return t.loadWords(kind, v, &m)
	}
	return fmt.Errorf("%w: model type %q", ErrUnsupported, kind)
}

// modelJSON has the small fields of every model type.
type modelJSON struct {
	Type         string   `json:"type"`
	Dropout      *float64 `json:"dropout"`
	UnkToken     *string  `json:"unk_token"`
	Prefix       *string  `json:"continuing_subword_prefix"`
	Suffix       *string  `json:"end_of_word_suffix"`
	FuseUnk      bool     `json:"fuse_unk"`
	ByteFallback bool     `json:"byte_fallback"`
	IgnoreMerges bool     `json:"ignore_merges"`
	UnkID        *uint32  `json:"unk_id"`
	MaxChars     *int     `json:"max_input_chars_per_word"`
}

// readJSON reads {"piece": id, …}.
func (v *vocab) readJSON(s *jsonScan) error {
	if err := s.need('{'); err != nil {
		return err
	}
	if s.eat('}') {
		return nil
	}
	for {
		start := len(v.arena)
		s.ws()
		at := s.p
		in, plain, err := s.raw()
		if err != nil {
			return err
		}
		literal := false
		if v.raw {
			if !plain {
				s.p = at
				if in, err = s.str(nil); err != nil {
					return err
				}
			}
			var ok bool
			if v.arena, ok = appendUnalphabet(v.arena, in); !ok {
				v.arena, literal = v.arena[:start], true
			}
		} else if plain {
			v.arena = append(v.arena, in...)
		} else {
			s.p = at
			if v.arena, err = s.str(v.arena); err != nil {
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
			v.addLiteral(string(in), id)
		} else if err := v.add(start, id); err != nil {
			return fmt.Errorf("%w: JSON offset %d: %v", ErrFormat, s.p, err)
		}
		if !s.eat(',') {
			return s.need('}')
		}
	}
}

func (t *Tokenizer) loadBPE(s *jsonScan, vocabBytes, mergesAt int, m *modelJSON) error {
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
	vocabAt := s.p
	for {
		v := newVocab(vocabBytes/18, raw)
		v.arena = make([]byte, 0, vocabBytes/2)
		if err := v.readJSON(s); err != nil {
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
		raw, s.p = false, vocabAt // an unknown byte becomes unk: work on the spelled alphabet
	}
	s.p = mergesAt
	if err := b.readMerges(s); err != nil {
		return fmt.Errorf("merges: %w", err)
	}
	t.setBPE(b, raw)
	return nil
}

// readMerges reads ["a b", …] or [["a", "b"], …].
func (m *bpeText) readMerges(s *jsonScan) error {
	if err := s.need('['); err != nil {
		return err
	}
	if s.eat(']') {
		return nil
	}
	v := m.vocab
	m.merges = make([]mergeRule, 0, min(v.size()*2, len(s.b)/8))
	var buf, esc []byte
	bad := func(at int, what string, b []byte) error {
		return fmt.Errorf("%w: JSON offset %d: %s %q is not in the vocabulary", ErrFormat, at, what, b)
	}
	// text returns a string as the vocabulary has it, appended to buf.
	text := func() error {
		at := s.p
		in, plain, err := s.raw()
		if err != nil {
			return err
		}
		if !plain {
			s.p = at
			if esc, err = s.str(esc[:0]); err != nil {
				return err
			}
			in = esc
		}
		if !v.raw {
			buf = append(buf, in...)
			return nil
		}
		var ok bool
		if buf, ok = appendUnalphabet(buf, in); !ok {
			return bad(at, "merge part", in)
		}
		return nil
	}
	for rank := uint32(0); ; rank++ {
		s.ws()
		at := s.p
		buf = buf[:0]
		cut := 0
		if s.eat('[') {
			s.ws()
			if err := text(); err != nil {
				return err
			}
			cut = len(buf)
			if err := s.need(','); err != nil {
				return err
			}
			s.ws()
			if err := text(); err != nil {
				return err
			}
			if err := s.need(']'); err != nil {
				return err
			}
		} else {
			in, plain, err := s.raw()
			if err != nil {
				return err
			}
			if !plain {
				s.p = at
				if esc, err = s.str(esc[:0]); err != nil {
					return err
				}
				in = esc
			}
			k := bytes.IndexByte(in, ' ')
			if k < 0 || bytes.IndexByte(in[k+1:], ' ') >= 0 {
				return fmt.Errorf("%w: JSON offset %d: merge %q is not two parts", ErrFormat, at, in)
			}
			if v.raw {
				ok, ok2 := false, false
				if buf, ok = appendUnalphabet(buf, in[:k]); ok {
					cut = len(buf)
					buf, ok2 = appendUnalphabet(buf, in[k+1:])
				}
				if !ok || !ok2 {
					return bad(at, "merge part", in)
				}
			} else {
				buf = append(append(buf, in[:k]...), in[k+1:]...)
				cut = k
			}
		}
		if err := m.addMerge(buf, cut, rank); err != nil {
			return fmt.Errorf("%w: JSON offset %d: %v", ErrFormat, at, err)
		}
		if s.eat(',') {
			continue
		}
		if err := s.need(']'); err != nil {
			return err
		}
		break
	}
	m.dropDuplicates()
	return nil
}

// addMerge enters the merge of text[:cut] with text[cut:].
func (m *bpeText) addMerge(text []byte, cut int, rank uint32) error {
	v := m.vocab
	a, ok := v.find(text[:cut])
	if !ok {
		return fmt.Errorf("merge part %q is not in the vocabulary", text[:cut])
	}
	b, ok := v.find(text[cut:])
	if !ok {
		return fmt.Errorf("merge part %q is not in the vocabulary", text[cut:])
	}
	if k := len(m.prefix); k > 0 {
		if len(text)-cut < k {
			return fmt.Errorf("merge part %q is shorter than the prefix", text[cut:])
		}
		text = append(text[:cut:cut], text[cut+k:]...)
	}
	out, ok := v.find(text)
	if !ok {
		return fmt.Errorf("merged piece %q is not in the vocabulary", text)
	}
	m.merges = append(m.merges, mergeRule{a, b, out, rank})
	return nil
}
