package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// specialVars are the special tokens that Hugging Face passes to templates.
var specialVars = [...]string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// configTemplates reads templates and special tokens from the bytes of a tokenizer_config.json: one template, or a list of
// named ones.
func (s *templateSources) configTemplates(config []byte) error {
	var c map[string]json.RawMessage
	if err := json.Unmarshal(config, &c); err != nil {
		return fmt.Errorf("%w: tokenizer_config.json: %w", ErrFormat, err)
	}
	s.complete = true
	for _, name := range specialVars {
		var tok tokenName
		if json.Unmarshal(c[name], &tok) == nil && tok != "" {
			s.setSpecial(name, string(tok))
		}
	}
	return s.templates(c["chat_template"])
}

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

// dirTemplates reads the templates in a model's directory. Files of their own stand above tokenizer_config.json.
func dirTemplates(dir string) (templateSources, error) {
	var s templateSources
	read := func(name string) ([]byte, error) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return b, err
	}
	b, err := read("tokenizer_config.json")
	if err == nil && b != nil {
		err = s.configTemplates(b)
	}
	if err != nil {
		return s, err
	}
	if b, err = read("chat_template.json"); err == nil && b != nil && len(s.text) == 0 {
		var c struct {
			Template json.RawMessage `json:"chat_template"`
		}
		if err := json.Unmarshal(b, &c); err != nil {
			return s, fmt.Errorf("%w: chat_template.json: %w", ErrFormat, err)
		}
		err = s.templates(c.Template)
	}
	if err != nil {
		return s, err
	}
	if b, err = read("chat_template.jinja"); err != nil {
		return s, err
	} else if b != nil {
		s.text = nil
		s.add(defaultTemplate, string(b))
	}
	const folder = "additional_chat_templates"
	more, err := os.ReadDir(filepath.Join(dir, folder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	for _, e := range more {
		name, ok := strings.CutSuffix(e.Name(), ".jinja")
		if !ok {
			continue
		}
		if b, err = read(filepath.Join(folder, e.Name())); err != nil {
			return s, err
		}
		s.add(name, string(b))
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
