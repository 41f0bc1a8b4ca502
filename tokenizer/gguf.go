package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"

	"github.com/krserve/krserve/internal/gguf"
)

// Token types of tokenizer.ggml.token_type (llama.cpp, llama.h).
const (
	ggufUnknown     = 2
	ggufControl     = 3
	ggufUserDefined = 4
	ggufByte        = 6
)

// ggufVocab is the vocabulary of a GGUF file before it becomes a model.
type ggufVocab struct {
	f      *gguf.File
	tokens gguf.Value
	types  []int32 // empty: all normal
	scores []float32
	n      int
}

// FromGGUF makes the tokenizer of an open GGUF file, which it does not keep.
func FromGGUF(f *gguf.File) (*Tokenizer, error) { return fromGGUF(f, Config{}) }

func fromGGUF(f *gguf.File, cfg Config) (*Tokenizer, error) {
	kind, err := f.Text("tokenizer.ggml.model")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	g := &ggufVocab{f: f, tokens: f.Value("tokenizer.ggml.tokens")}
	if _, err := g.tokens.Bytes(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if g.n = g.tokens.Len(); g.n > maxVocab {
		return nil, fmt.Errorf("%w: %d tokens; the limit is %d", ErrFormat, g.n, maxVocab)
	}
	if f.Has("tokenizer.ggml.token_type") {
		if g.types, err = f.Int32s("tokenizer.ggml.token_type"); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		if len(g.types) != g.n {
			return nil, fmt.Errorf("%w: %d token types for %d tokens", ErrFormat, len(g.types), g.n)
		}
	}
	if f.Has("tokenizer.ggml.scores") {
		if g.scores, err = f.Float32s("tokenizer.ggml.scores"); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		if len(g.scores) != g.n {
			return nil, fmt.Errorf("%w: %d scores for %d tokens", ErrFormat, len(g.scores), g.n)
		}
		for i, s := range g.scores {
			if math.IsNaN(float64(s)) {
				return nil, fmt.Errorf("%w: score of token %d is not a number", ErrFormat, i)
			}
		}
	}
	t := newTokenizer(cfg)
	switch kind {
	case "gpt2":
		err = g.gpt2(t)
	case "llama":
		err = g.llama(t)
	case "t5":
		err = g.t5(t)
	case "bert":
		err = g.bert(t)
	default:
		err = fmt.Errorf("%w: tokenizer.ggml.model %q", ErrUnsupported, kind)
	}
	if err != nil {
		return nil, err
	}
	if err := t.finish(); err != nil {
		return nil, err
	}
	return t, g.specials(t)
}

func (g *ggufVocab) kind(id int) int32 {
	if len(g.types) == 0 {
		return 1
	}
	return g.types[id]
}

// flag reads an optional bool.
func (g *ggufVocab) flag(key string, def bool) (bool, error) {
	b, err := gguf.Or(def)(g.f.Bool("tokenizer.ggml." + key))
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return b, nil
}

// id reads an optional token id; noID when it is absent or beyond the vocabulary (some files say -1).
func (g *ggufVocab) id(key string) uint32 {
	v, err := g.f.Uint("tokenizer.ggml." + key)
	if err != nil || v >= uint64(g.n) {
		return noID
	}
	return uint32(v)
}

// pieces enters all tokens into a vocabulary; spell may change the spelling.
func (g *ggufVocab) pieces(raw bool, spell func(id int, piece string) string) (*vocab, error) {
	v := newVocab(g.n, raw)
	all, err := g.tokens.Bytes()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	size := 0
	for _, b := range all {
		size += len(b)
	}
	v.arena = make([]byte, 0, size)
	for i, b := range all {
		if spell == nil {
			err = addText(v, b, uint32(i))
		} else {
			err = v.addString(spell(i, string(b)), uint32(i))
		}
		if err != nil {
			return nil, fmt.Errorf("%w: tokenizer.ggml.tokens: %v", ErrFormat, err)
		}
	}
	return v, nil
}

// added registers control tokens as special and user-defined ones as plain added tokens.
func (g *ggufVocab) added(t *Tokenizer) {
	all, err := g.tokens.Bytes()
	if err != nil || len(g.types) == 0 {
		return
	}
	for i, b := range all {
		switch k := g.types[i]; k {
		case ggufControl, ggufUserDefined, ggufUnknown:
			t.addToken(addedToken{content: string(b), id: uint32(i), special: k != ggufUserDefined})
		}
	}
}

// template sets what is put around a text.
func (g *ggufVocab) template(t *Tokenizer, bos, eos, sep bool) error {
	var err error
	if bos, err = g.flag("add_bos_token", bos); err != nil {
		return err
	}
	if eos, err = g.flag("add_eos_token", eos); err != nil {
		return err
	}
	p := &postProcessor{}
	ids := func(on bool, key string, typ uint32) []postItem {
		if id := g.id(key); on && id != noID {
			return []postItem{{-1, []uint32{id}, typ}}
		}
		return nil
	}
	half := func(seq int) []postItem {
		typ := uint32(seq)
		items := ids(bos && !(sep && seq == 1), "bos_token_id", typ)
		items = append(items, postItem{seq: seq, typeID: typ})
		items = append(items, ids(eos, "eos_token_id", typ)...)
		if sep {
			items = append(items, ids(true, "seperator_token_id", typ)...)
		}
		return items
	}
	p.single = half(0)
	p.pair = append(half(0), half(1)...)
	t.post = p
	return nil
}

// llama is SentencePiece's BPE: pieces by score, with bytes for what has no piece.
func (g *ggufVocab) llama(t *Tokenizer) error {
	prefix, err := g.flag("add_space_prefix", true)
	if err != nil {
		return err
	}
	if g.scores == nil {
		return fmt.Errorf("%w: no tokenizer.ggml.scores", ErrFormat)
	}
	v, err := g.pieces(false, nil)
	if err != nil {
		return err
	}
	unk := g.id("unknown_token_id")
	if unk == noID {
		unk = 0
	}
	skip := func(id uint32) bool {
		k := g.kind(int(id))
		return k == ggufControl || k == ggufUnknown || k == ggufByte
	}
	norm := `{"type":"Replace","pattern":{"String":" "},"content":"▁"}`
	steps := `{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"}`
	if prefix {
		norm = `{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},` + norm + `]}`
		steps += `,{"type":"Strip","content":" ","start":1,"stop":0}`
	}
	if err := t.stage(stages{norm: json.RawMessage(norm), dec: json.RawMessage(`{"type":"Sequence","decoders":[` + steps + `]}`)}); err != nil {
		return err
	}
	b := &bpeText{bpeModel: &bpeModel{vocab: v, unk: unk, fuseUnk: true, byteFallback: true}}
	b.mergesByScore(g.scores, skip)
	b.finish()
	t.setBPE(b, false)
	g.added(t)
	return g.template(t, true, false, false)
}

// specials takes over the file's begin, end and turn tokens and its chat template.
func (g *ggufVocab) specials(t *Tokenizer) error {
	if id := g.id("bos_token_id"); id != noID {
		t.special.bos = id
	}
	if id := g.id("eos_token_id"); id != noID {
		t.setEOS(id)
	}
	for _, key := range []string{"eot_token_id", "eom_token_id"} {
		if id := g.id(key); id != noID {
			eos := t.special.eos
			t.setEOS(id)
			t.special.eos = eos
		}
	}
	s, err := g.templates(t)
	if err != nil {
		return err
	}
	t.setTemplates(s)
	return nil
}

// gpt2 is byte-level BPE with the pre-tokenizer that tokenizer.ggml.pre names.
func (g *ggufVocab) gpt2(t *Tokenizer) error {
	name, err := gguf.Or("default")(g.f.Text("tokenizer.ggml.pre"))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	pre, ok := ggufPre[name]
	if !ok {
		return fmt.Errorf("%w: tokenizer.ggml.pre %q", ErrUnsupported, name)
	}
	if err := pre.install(t); err != nil {
		return err
	}
	v, err := g.pieces(true, nil)
	if err != nil {
		return err
	}
	b := &bpeText{bpeModel: &bpeModel{vocab: v, unk: noID, byteLevel: true, ignoreMerges: pre.ignoreMerges}}
	merges, err := g.f.Value("tokenizer.ggml.merges").Bytes()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	var all [][]byte
	for _, m := range merges {
		all = append(all, m)
	}
	b.merges = make([]mergeRule, len(all))
	const stride = 1 << 13
	if err := inParallel((len(all)+stride-1)/stride, func(k int) error {
		var buf []byte
		for i := k * stride; i < min(len(all), (k+1)*stride); i++ {
			m := all[i]
			space := bytes.IndexByte(m, ' ')
			if space < 0 {
				return fmt.Errorf("%w: tokenizer.ggml.merges[%d] %q is not two parts", ErrFormat, i, m)
			}
			left, ok := appendUnalphabet(buf[:0], m[:space])
			both, ok2 := appendUnalphabet(left, m[space+1:])
			if !ok || !ok2 {
				return fmt.Errorf("%w: tokenizer.ggml.merges[%d] %q is not of the byte-level alphabet", ErrFormat, i, m)
			}
			rule, err := b.ruleOf(both, len(left))
			if err != nil {
				return fmt.Errorf("%w: tokenizer.ggml.merges[%d]: %v", ErrFormat, i, err)
			}
			rule.rank = uint32(i)
			b.merges[i] = rule
			buf = both
		}
		return nil
	}); err != nil {
		return err
	}
	b.dropDuplicates()
	b.finish()
	t.setBPE(b, true)
	g.added(t)
	return g.template(t, pre.bos, false, false)
}
