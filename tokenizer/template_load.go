package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
)

// specialVars are the special tokens that Hugging Face passes to templates.
var specialVars = [...]string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

func (s *templateSources) templates(raw json.RawMessage) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		s.add(defaultTemplate, one)
		return nil
	}
	var list []struct{ Name, Template *string }
	if err := json.Unmarshal(raw, &list); err != nil {
		return fmt.Errorf("%w: chat_template is neither a string nor a list of named templates", ErrFormat)
	}
	for i, e := range list {
		if e.Name == nil || e.Template == nil {
			return fmt.Errorf("%w: chat_template[%d] lacks its name or template", ErrFormat, i)
		}
		s.add(*e.Name, *e.Template)
	}
	return nil
}

// templates gives the templates of a model's directory, of which config is the tokenizer_config.json. Files of their own stand above it.
func (f *siblings) templates(config map[string]json.RawMessage) (templateSources, error) {
	var s templateSources
	if f.config != nil {
		s.complete = true
		for _, name := range specialVars {
			var tok tokenName
			if json.Unmarshal(config[name], &tok) == nil && tok != "" {
				s.setSpecial(name, string(tok))
			}
		}
		if err := s.templates(config["chat_template"]); err != nil {
			return s, err
		}
	}
	if f.chat != nil && len(s.text) == 0 {
		var c struct {
			Template json.RawMessage `json:"chat_template"`
		}
		if err := json.Unmarshal(f.chat, &c); err != nil {
			return s, fmt.Errorf("%w: chat_template.json: %w", ErrFormat, err)
		}
		if err := s.templates(c.Template); err != nil {
			return s, err
		}
	}
	if f.jinja != nil {
		s.text = nil
		s.add(defaultTemplate, string(f.jinja))
	}
	for _, m := range f.more {
		s.add(m.name, string(m.text))
	}
	return s, nil
}

// templates reads tokenizer.chat_template, its named variants and the special tokens of a GGUF.
func (g *ggufVocab) templates(t *Tokenizer) (templateSources, error) {
	const key = "tokenizer.chat_template"
	var s templateSources
	for k := range g.f.Keys() {
		name, named := strings.CutPrefix(k, key+".")
		if k != key && !named {
			continue
		}
		text, err := g.f.Text(k)
		if err != nil {
			return s, fmt.Errorf("%w: %s: %w", ErrFormat, k, err)
		}
		if !named {
			name = defaultTemplate
		}
		s.add(name, text)
	}
	for _, v := range [...]struct{ name, id string }{{"bos_token", "bos"}, {"eos_token", "eos"}, {"unk_token", "unknown"},
		{"sep_token", "seperator"}, {"pad_token", "padding"}, {"cls_token", "cls"}, {"mask_token", "mask"}} {
		if id := g.id(v.id + "_token_id"); id != noID {
			s.setSpecial(v.name, t.Piece(id))
		}
	}
	return s, nil
}
