package main

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/krserve/krserve/tokenizer"
)

// A templater renders lines, each with its own template or the tokenizer's.
type templater struct {
	own      *tokenizer.Template // the tokenizer's; nil if none
	source   string              // of own
	compiled map[templateKey]*tokenizer.Template
}

type templateKey struct{ source, bos, eos string }

func runTemplate(_ context.Context, c *call) error {
	path := c.flags.String("tokenizer", "", "directory or GGUF whose template lines without a \"template\" use")
	if err := c.parseOnly("template [-tokenizer DIR|GGUF] <lines >lines"); err != nil {
		return err
	}
	r := &templater{compiled: map[templateKey]*tokenizer.Template{}}
	if *path != "" {
		t, err := tokenizer.OpenConfig(*path, tokenizer.Config{CacheDir: cacheDir()})
		if err != nil {
			return err
		}
		r.own, _ = t.ChatTemplate()
		r.source = t.ChatTemplateSource()
	}
	return jsonLines(c.stdin, c.stdout, func(line []byte) (any, error) { return r.line(line) })
}

func (r *templater) line(line []byte) (any, error) {
	var in struct {
		Messages json.RawMessage `json:"messages"`
		Tools    json.RawMessage `json:"tools"`
		Generate *bool           `json:"add_generation_prompt"`
		Kwargs   json.RawMessage `json:"kwargs"`
		Template *string         `json:"template"`
		BOS      *string         `json:"bos_token"`
		EOS      *string         `json:"eos_token"`
	}
	if err := object(line, &in); err != nil {
		return nil, err
	}
	if in.Messages == nil {
		return nil, errors.New(`no field "messages"`)
	}
	t := r.own
	switch {
	case in.Template != nil:
		t = r.get(*in.Template, in.BOS, in.EOS)
	case t == nil:
		return nil, errors.New(`no field "template", and no tokenizer with one`)
	case in.BOS != nil || in.EOS != nil:
		own := t.Special()
		t = r.get(r.source, orOwn(in.BOS, own["bos_token"]), orOwn(in.EOS, own["eos_token"]))
	}
	out, err := t.Render(tokenizer.Chat{Messages: in.Messages, Tools: in.Tools, Kwargs: in.Kwargs, AddGenerationPrompt: in.Generate == nil || *in.Generate})
	if err != nil {
		return nil, err
	}
	return struct {
		Text string `json:"text"`
	}{out.Text}, nil
}

func orOwn(given *string, own string) *string {
	if given == nil && own != "" {
		return &own
	}
	return given
}

// get keeps the templates that it has seen, as files of many lines repeat a few.
func (r *templater) get(source string, bos, eos *string) *tokenizer.Template {
	k := templateKey{source: source}
	special := map[string]string{}
	if bos != nil {
		k.bos, special["bos_token"] = "="+*bos, *bos
	}
	if eos != nil {
		k.eos, special["eos_token"] = "="+*eos, *eos
	}
	t := r.compiled[k]
	if t == nil {
		if len(r.compiled) >= 256 {
			clear(r.compiled)
		}
		t = tokenizer.NewTemplate(source, special)
		r.compiled[k] = t
	}
	return t
}
