package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// specialIDs are the tokens that a model's loop needs to know.
type specialIDs struct {
	bos, eos uint32
	ends     []uint32
}

// endNames are special tokens that end a turn in the chat formats in use, whatever the file calls its end of text.
var endNames = []string{"<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|return|>", "<|call|>",
	"<|eot|>", "<|EOT|>", "<end_of_turn>", "<turn|>", "<end_of_utterance>", "<｜end▁of▁sentence｜>", "</s>", "<eos>", "<EOT>"}

// findSpecials guesses what the file does not say: a begin token is what the post-processor puts first, an end token one known by name.
func (t *Tokenizer) findSpecials() {
	t.special = specialIDs{bos: noID, eos: noID}
	if t.post != nil && len(t.post.single) > 0 && t.post.single[0].seq < 0 && len(t.post.single[0].ids) > 0 {
		t.special.bos = t.post.single[0].ids[0]
	}
	_, harmony := t.addedID["<|return|>"]
	for _, name := range endNames {
		if id, ok := t.addedID[name]; ok && !(harmony && name == "<|end|>") { // gpt-oss: <|end|> ends one message of several
			t.special.ends = append(t.special.ends, id)
			if t.special.eos == noID {
				t.special.eos = id
			}
		}
	}
}

// setEOS takes over what a file says about the end of text.
func (t *Tokenizer) setEOS(id uint32) {
	t.special.eos = id
	if !slices.Contains(t.special.ends, id) {
		t.special.ends = append(t.special.ends, id)
	}
}

// BOS is the token that begins a text, if the model has one.
func (t *Tokenizer) BOS() (uint32, bool) { return t.special.bos, t.special.bos != noID }

// EOS is the token that ends a text, if the model has one.
func (t *Tokenizer) EOS() (uint32, bool) { return t.special.eos, t.special.eos != noID }

// EndIDs are all tokens that end an answer: end of text, of a turn and of a message. The caller must not change them.
func (t *Tokenizer) EndIDs() []uint32 { return t.special.ends }

// siblings are the files beside a tokenizer.json; nil is one that is not there.
type siblings struct {
	config, generation, chat, jinja []byte
	more                            []namedSource // additional_chat_templates
}

type namedSource struct {
	name string
	text []byte
}

func readSiblings(dir string) (*siblings, error) {
	read := func(name string) ([]byte, error) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return b, err
	}
	s := &siblings{}
	var err error
	for _, f := range []struct {
		name string
		to   *[]byte
	}{{"tokenizer_config.json", &s.config}, {"generation_config.json", &s.generation}, {"chat_template.json", &s.chat},
		{"chat_template.jinja", &s.jinja}} {
		if *f.to, err = read(f.name); err != nil {
			return nil, err
		}
	}
	const folder = "additional_chat_templates"
	more, err := os.ReadDir(filepath.Join(dir, folder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range more {
		name, ok := strings.CutSuffix(e.Name(), ".jinja")
		if !ok {
			continue
		}
		b, err := read(filepath.Join(folder, e.Name()))
		if err != nil {
			return nil, err
		}
		s.more = append(s.more, namedSource{name, b})
	}
	return s, nil
}

// parts are the contents in an order, each behind its name.
func (s *siblings) parts() [][]byte {
	var out [][]byte
	add := func(name string, b []byte) {
		if b != nil {
			out = append(out, []byte(name), b)
		}
	}
	add("tokenizer_config.json", s.config)
	add("generation_config.json", s.generation)
	add("chat_template.json", s.chat)
	add("chat_template.jinja", s.jinja)
	for _, m := range s.more {
		add("+"+m.name, m.text)
	}
	return out
}

// takeSiblings reads begin and end tokens and the chat template.
func (t *Tokenizer) takeSiblings(s *siblings) error {
	config := map[string]json.RawMessage{}
	if s.config != nil {
		if err := json.Unmarshal(s.config, &config); err != nil {
			return fmt.Errorf("%w: tokenizer_config.json: %w", ErrFormat, err)
		}
	}
	var g struct {
		EOS json.RawMessage `json:"eos_token_id"`
	}
	if s.generation != nil {
		if err := json.Unmarshal(s.generation, &g); err != nil {
			return fmt.Errorf("%w: generation_config.json: %w", ErrFormat, err)
		}
	}
	var bos, eos tokenName
	for _, f := range []struct {
		name string
		to   *tokenName
	}{{"bos_token", &bos}, {"eos_token", &eos}} {
		if raw := config[f.name]; raw != nil {
			if err := json.Unmarshal(raw, f.to); err != nil {
				return fmt.Errorf("%w: tokenizer_config.json: %s: %w", ErrFormat, f.name, err)
			}
		}
	}
	if id, ok := t.TokenID(string(bos)); ok && bos != "" {
		t.special.bos = id
	}
	if id, ok := t.TokenID(string(eos)); ok && eos != "" {
		t.setEOS(id)
	}
	var one uint32
	var many []uint32
	if json.Unmarshal(g.EOS, &one) == nil && g.EOS != nil {
		many = []uint32{one}
	} else if g.EOS != nil {
		_ = json.Unmarshal(g.EOS, &many) // anything else says nothing about ids
	}
	for _, id := range many {
		if int(id) < t.size && !slices.Contains(t.special.ends, id) {
			t.special.ends = append(t.special.ends, id)
		}
	}
	sources, err := s.templates(config)
	if err != nil {
		return err
	}
	t.setTemplates(sources)
	return nil
}

// tokenName is a token in tokenizer_config.json: a string, or an object with its content.
type tokenName string

// UnmarshalJSON reads either form.
func (n *tokenName) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*n = tokenName(s)
		return nil
	}
	var o struct{ Content string }
	if err := json.Unmarshal(b, &o); err == nil {
		*n = tokenName(o.Content)
	}
	return nil
}
