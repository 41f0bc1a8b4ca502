package tokenizer

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/krserve/krserve/internal/gguf"
)

// t5 is a Unigram model as Hugging Face converts it: SentencePiece's normaliser, words at white space, "▁" before each.
func (g *ggufVocab) t5(t *Tokenizer) error {
	if g.scores == nil {
		return fmt.Errorf("%w: no tokenizer.ggml.scores", ErrFormat)
	}
	var charsmap []byte
	if v := g.f.Value("tokenizer.ggml.precompiled_charsmap"); g.f.Has("tokenizer.ggml.precompiled_charsmap") {
		if v.Kind() != gguf.Array || v.Elem() != gguf.Uint8 && v.Elem() != gguf.Int8 {
			return fmt.Errorf("%w: tokenizer.ggml.precompiled_charsmap is not an array of bytes", ErrFormat)
		}
		for _, e := range v.Elems() {
			n, err := e.Int()
			if err != nil {
				return fmt.Errorf("%w: %w", ErrFormat, err)
			}
			charsmap = append(charsmap, byte(n))
		}
	}
	var norm json.RawMessage
	if len(charsmap) > 0 {
		norm = fmt.Appendf(nil, `{"type":"Precompiled","precompiled_charsmap":"%s"}`, base64.StdEncoding.EncodeToString(charsmap))
	}
	const space = `{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"}`
	if err := t.stage(stages{norm, json.RawMessage(`{"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},` + space + `]}`),
		json.RawMessage(space)}); err != nil {
		return err
	}
	v, err := g.pieces(false, nil)
	if err != nil {
		return err
	}
	scores := make([]float64, len(g.scores))
	for i, s := range g.scores {
		scores[i] = float64(s)
	}
	unk := g.id("unknown_token_id")
	if unk == noID {
		unk = 2
	}
	if err := t.setUnigram(v, scores, unk, false); err != nil {
		return err
	}
	g.added(t)
	return g.template(t, false, true, false)
}

// bert is WordPiece. The file marks the start of words by "▁" instead of marking the rest by "##".
func (g *ggufVocab) bert(t *Tokenizer) error {
	lower, err := g.flag("normalizer.lowercase", true)
	if err != nil {
		return err
	}
	v, err := g.pieces(false, func(id int, s string) string {
		if k := g.kind(id); k == ggufControl || k == ggufUnknown {
			return s
		}
		if w, ok := strings.CutPrefix(s, "▁"); ok {
			return w
		}
		if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
			return s
		}
		return "##" + s
	})
	if err != nil {
		return err
	}
	unk := "[UNK]"
	if id := g.id("unknown_token_id"); id != noID {
		unk, _ = v.piece(id)
	}
	if err := t.loadWords("WordPiece", v, &modelJSON{UnkToken: &unk}); err != nil {
		return err
	}
	if err := t.stage(stages{fmt.Appendf(nil, `{"type":"BertNormalizer","lowercase":%v}`, lower),
		json.RawMessage(`{"type":"BertPreTokenizer"}`), json.RawMessage(`{"type":"WordPiece"}`)}); err != nil {
		return err
	}
	g.added(t)
	return g.template(t, true, false, true)
}
