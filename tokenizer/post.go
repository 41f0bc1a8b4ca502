package tokenizer

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// postItem is an element of a post-processor's template: a sequence, or tokens that are added.
type postItem struct {
	seq    int // 0 = first text, 1 = second, -1 = added tokens
	ids    []uint32
	typeID uint32
}

// postProcessor is what happens to token ids behind the model: trimming of offsets, then a template.
type postProcessor struct {
	single, pair []postItem // nil = the texts one after another
	trims        []trimOffsets
	zeroTypes    bool // every type id is 0 when nothing is added (Roberta)
}

// trimOffsets takes white space out of the offsets.
type trimOffsets struct{ prefixSpace bool }

type postJSON struct {
	Type       string            `json:"type"`
	Processors []json.RawMessage `json:"processors"`
	Sep        json.RawMessage   `json:"sep"`
	Cls        json.RawMessage   `json:"cls"`
	Trim       *bool             `json:"trim_offsets"`
	AddPrefix  *bool             `json:"add_prefix_space"`
	Single     json.RawMessage   `json:"single"`
	Pair       json.RawMessage   `json:"pair"`
	Specials   map[string]struct {
		IDs []uint32 `json:"ids"`
	} `json:"special_tokens"`
}

func buildPost(raw json.RawMessage) (*postProcessor, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	p := &postProcessor{}
	return p, p.add(raw)
}

func (p *postProcessor) add(raw json.RawMessage) error {
	var c postJSON
	if err := json.Unmarshal(raw, &c); err != nil {
		return fmt.Errorf("%w: %v", ErrFormat, err)
	}
	template := func(single, pair []postItem) error {
		if p.single != nil {
			return fmt.Errorf("%w: two templates in one post-processor", ErrUnsupported)
		}
		p.single, p.pair = single, pair
		return nil
	}
	added := func(t uint32, ids ...uint32) postItem { return postItem{-1, ids, t} }
	switch c.Type {
	case "Sequence":
		for _, r := range c.Processors {
			if err := p.add(r); err != nil {
				return err
			}
		}
		return nil
	case "ByteLevel":
		if orDefault(c.Trim, true) {
			p.trims = append(p.trims, trimOffsets{orDefault(c.AddPrefix, true)})
		}
		return nil
	case "BertProcessing", "RobertaProcessing":
		sep, err := pairToken(c.Sep, "sep")
		if err != nil {
			return err
		}
		cls, err := pairToken(c.Cls, "cls")
		if err != nil {
			return err
		}
		first := []postItem{added(0, cls), {seq: 0}, added(0, sep)}
		if c.Type == "BertProcessing" {
			return template(first, append(first[:3:3], postItem{seq: 1, typeID: 1}, added(1, sep)))
		}
		if orDefault(c.Trim, true) {
			p.trims = append(p.trims, trimOffsets{orDefault(c.AddPrefix, true)})
		}
		p.zeroTypes = true
		return template(first, append(first[:3:3], added(0, sep), postItem{seq: 1}, added(0, sep)))
	case "TemplateProcessing":
		single, err := c.template(c.Single, "single")
		if err != nil {
			return err
		}
		pair, err := c.template(c.Pair, "pair")
		if err != nil {
			return err
		}
		return template(single, pair)
	}
	return fmt.Errorf("%w: post-processor %q", ErrUnsupported, c.Type)
}

// pairToken reads ["[SEP]", 102].
func pairToken(raw json.RawMessage, field string) (uint32, error) {
	var p [2]any
	if err := json.Unmarshal(raw, &p); err != nil {
		return 0, fmt.Errorf("%w: field %q: %v", ErrFormat, field, err)
	}
	f, ok := p[1].(float64)
	if !ok || f < 0 || f >= maxVocab || f != float64(uint32(f)) {
		return 0, fmt.Errorf("%w: field %q is not a token and its id", ErrFormat, field)
	}
	return uint32(f), nil
}

func (c *postJSON) template(raw json.RawMessage, field string) ([]postItem, error) {
	var items []map[string]struct {
		ID   string `json:"id"`
		Type uint32 `json:"type_id"`
	}
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, fmt.Errorf("%w: field %q: %v", ErrFormat, field, err)
	}
	out := []postItem{}
	for _, it := range items {
		for kind, v := range it {
			switch {
			case kind == "Sequence" && (v.ID == "A" || v.ID == "B"):
				out = append(out, postItem{seq: int(v.ID[0] - 'A'), typeID: v.Type})
			case kind == "SpecialToken":
				s, ok := c.Specials[v.ID]
				if !ok {
					return nil, fmt.Errorf("%w: template token %q is not in special_tokens", ErrFormat, v.ID)
				}
				out = append(out, postItem{-1, s.IDs, v.Type})
			default:
				return nil, fmt.Errorf("%w: template item %q %q", ErrUnsupported, kind, v.ID)
			}
		}
	}
	return out, nil
}

// items is the template for one or two texts.
func (p *postProcessor) items(pair bool) []postItem {
	if p != nil && p.single != nil {
		if pair {
			return p.pair
		}
		return p.single
	}
	if pair {
		return plainItems[:]
	}
	return plainItems[:1]
}

// plainItems is the template of texts alone.
var plainItems = [2]postItem{{seq: 0}, {seq: 1, typeID: 1}}

// added is how many tokens the template adds.
func (p *postProcessor) added(pair bool) int {
	n := 0
	for _, it := range p.items(pair) {
		n += len(it.ids)
	}
	return n
}

// blanks counts the spaces that a token begins and ends with.
type blanks struct{ lead, trail int }

// measure notes the blanks of tokens where offsets are to be trimmed.
func (p *postProcessor) measure(t *Tokenizer, toks []fullToken, e *Encoding) {
	if p == nil || len(p.trims) == 0 {
		return
	}
	u := uni()
	space := func(r rune) bool { return r == byteRune[' '] || u.has(r, ufWhite) }
	e.blanks = make([]blanks, len(toks))
	for i, k := range toks {
		s := k.text
		if s == "" {
			s, _ = t.pieces.piece(k.id)
		}
		b := &e.blanks[i]
		for _, r := range s {
			if !space(r) {
				break
			}
			b.lead++
		}
		for s != "" {
			r, n := utf8.DecodeLastRuneInString(s)
			if !space(r) {
				break
			}
			s = s[:len(s)-n]
			b.trail++
		}
	}
}

// trim takes white space out of a token's offsets.
func (o trimOffsets) trim(i int, b blanks, s Span) Span {
	if b.lead > 0 {
		if (i == 0 || s.Start == 0) && o.prefixSpace && b.lead == 1 {
			b.lead = 0
		}
		s.Start = min(s.Start+b.lead, s.End)
	}
	if b.trail > 0 && s.End >= b.trail {
		s.End = max(s.End-b.trail, s.Start)
	}
	return s
}
