package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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

// readSiblings reads what Hugging Face keeps beside a tokenizer.json: begin and end tokens and the chat template.
func (t *Tokenizer) readSiblings(dir string) error {
	read := func(name string, v any) error {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			if err = json.Unmarshal(b, v); err != nil {
				err = fmt.Errorf("%w: %v", ErrFormat, err)
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	var c struct {
		BOS tokenName `json:"bos_token"`
		EOS tokenName `json:"eos_token"`
	}
	if err := read("tokenizer_config.json", &c); err != nil {
		return err
	}
	var g struct {
		EOS json.RawMessage `json:"eos_token_id"`
	}
	if err := read("generation_config.json", &g); err != nil {
		return err
	}
	if id, ok := t.TokenID(string(c.BOS)); ok && c.BOS != "" {
		t.special.bos = id
	}
	if id, ok := t.TokenID(string(c.EOS)); ok && c.EOS != "" {
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
	sources, err := dirTemplates(dir)
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
