package tokenizer

import (
	"encoding/json"
	"fmt"
)

// jsonValue is a member of an object: its text, where that begins, and where it may be cut.
type jsonValue struct {
	text []byte
	at   int
	cuts []int
}

// members takes an object apart without looking into the values; inner gets those of the object that key names.
func members(b []byte, from int, key string) (all, inner map[string]jsonValue, end int, err error) {
	all = map[string]jsonValue{}
	s := &jsonScan{b: b, p: from}
	err = s.object(func(k string) error {
		at := s.p
		if k == key && at < len(b) && b[at] == '{' {
			var err error
			if inner, _, s.p, err = members(b, at, ""); err != nil {
				return err
			}
			all[k] = jsonValue{b[at:s.p], at, nil}
			return nil
		}
		v, err := s.skip()
		all[k] = jsonValue{v, at, s.cuts}
		return err
	})
	return all, inner, s.p, err
}

// parseJSON reads a tokenizer.json.
func parseJSON(data []byte, cfg Config) (*Tokenizer, error) {
	parts, model, end, err := members(data, 0, "model")
	if err != nil {
		return nil, err
	}
	rest := jsonScan{b: data, p: end}
	if rest.ws(); rest.p < len(data) {
		return nil, rest.fail("the end of the file")
	}
	if model == nil {
		return nil, fmt.Errorf("%w: no object \"model\"", ErrFormat)
	}
	t := newTokenizer(cfg)
	if err := t.stage(stages{parts["normalizer"].text, parts["pre_tokenizer"].text, parts["decoder"].text}); err != nil {
		return nil, err
	}
	if t.post, err = buildPost(parts["post_processor"].text); err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	if err := t.loadModel(data, model); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if err := t.loadAdded(data, parts["added_tokens"].text, parts["added_tokens"].at); err != nil {
		return nil, fmt.Errorf("added_tokens: %w", err)
	}
	return t, t.finish()
}

func (t *Tokenizer) loadModel(data []byte, parts map[string]jsonValue) error {
	small := map[string]json.RawMessage{}
	for k, v := range parts {
		if k != "vocab" && k != "merges" {
			small[k] = v.text
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
		case parts["merges"].text != nil:
			kind = "BPE"
		case len(parts["vocab"].text) > 0 && parts["vocab"].text[0] == '[':
			kind = "Unigram"
		case parts["continuing_subword_prefix"].text != nil:
			kind = "WordPiece"
		case parts["vocab"].text != nil:
			kind = "WordLevel"
		}
	}
	pieces := parts["vocab"]
	if pieces.text == nil {
		return fmt.Errorf("%w: no field \"vocab\"", ErrFormat)
	}
	switch kind {
	case "BPE":
		merges := parts["merges"]
		if merges.text == nil {
			return fmt.Errorf("%w: no field \"merges\"", ErrFormat)
		}
		return t.loadBPE(data, &pieces, &merges, &m)
	case "Unigram":
		return t.loadUnigram(&jsonScan{b: data, p: pieces.at}, &m)
	case "WordPiece", "WordLevel":
		v := newVocab(len(pieces.text)/16, false)
		if err := v.readJSON(data, &pieces); err != nil {
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
