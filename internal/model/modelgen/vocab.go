package modelgen

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/krserve/krserve/internal/gguf"
)

// Token types of tokenizer.ggml.token_type (llama.cpp, llama.h).
const (
	tokenNormal      = 1
	tokenControl     = 3
	tokenUserDefined = 4
	tokenUnused      = 5
)

// tokenizerJSON is what a GGUF vocabulary takes from Hugging Face's tokenizer.json.
type tokenizerJSON struct {
	AddedTokens []struct {
		ID      int    `json:"id"`
		Content string `json:"content"`
		Special bool   `json:"special"`
	} `json:"added_tokens"`
	Normalizer   *stage `json:"normalizer"`
	PreTokenizer *stage `json:"pre_tokenizer"`
	Model        struct {
		Type         string            `json:"type"`
		ByteFallback bool              `json:"byte_fallback"`
		IgnoreMerges bool              `json:"ignore_merges"`
		Vocab        map[string]int    `json:"vocab"`
		Merges       []json.RawMessage `json:"merges"`
	} `json:"model"`
}

// stage is a normalizer or a pre-tokenizer.
type stage struct {
	Type          string  `json:"type"`
	Normalizers   []stage `json:"normalizers"`
	Pretokenizers []stage `json:"pretokenizers"`
	Pattern       struct {
		Regex string `json:"Regex"`
	} `json:"pattern"`
	UseRegex *bool `json:"use_regex"` // of ByteLevel: true when absent
}

// String spells a stage for pres.
func (s *stage) String() string {
	switch {
	case s == nil:
		return ""
	case s.Type == "Sequence":
		var all []string
		for _, part := range append(s.Normalizers, s.Pretokenizers...) {
			all = append(all, part.String())
		}
		return strings.Join(all, " ")
	case s.Type == "ByteLevel" && (s.UseRegex == nil || *s.UseRegex):
		return "ByteLevel+regex"
	}
	return s.Type + s.Pattern.Regex
}

// pres names normalizers and pre-tokenizers as tokenizer.ggml.pre does (llama.cpp, llama-vocab.cpp).
var pres = map[string]string{
	`NFC; Split(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ ByteLevel`: "qwen2",
	"; Digits ByteLevel+regex": "smollm",
	"; ByteLevel+regex":        "gpt-2",
}

// textEnds are the names of the tokens that begin and end a text, tried in order: tokenizer.json does not say which do.
var textEnds = []struct {
	key   string
	names []string
}{
	{"tokenizer.ggml.bos_token_id", []string{"<|endoftext|>"}},
	{"tokenizer.ggml.eos_token_id", []string{"<|im_end|>", "<|endoftext|>"}},
}

// vocabulary writes the tokens of the byte-level BPE in s.Tokenizer, with unused ones up to s.Vocab.
func (s Spec) vocabulary(w *gguf.Writer) error {
	data, err := os.ReadFile(s.Tokenizer)
	if err != nil {
		return fmt.Errorf("modelgen: %w", err)
	}
	var t tokenizerJSON
	if err := json.Unmarshal(data, &t); err != nil {
		return fmt.Errorf("modelgen: %s: %w", s.Tokenizer, err)
	}
	if t.Model.Type != "BPE" || t.Model.ByteFallback || !strings.Contains(t.PreTokenizer.String(), "ByteLevel") {
		return fmt.Errorf("modelgen: %s: not a byte-level BPE, the only kind that a GGUF file is given", s.Tokenizer)
	}
	rule := t.Normalizer.String() + "; " + t.PreTokenizer.String()
	pre, ok := pres[rule]
	if !ok || t.Model.IgnoreMerges {
		return fmt.Errorf("modelgen: %s: no tokenizer.ggml.pre is known for %q", s.Tokenizer, rule)
	}
	tokens, types := make([]string, s.Vocab), make([]int32, s.Vocab)
	ids := map[string]uint32{}
	put := func(token string, id int, kind int32) error {
		if id < 0 || id >= s.Vocab {
			return fmt.Errorf("modelgen: %s: token %q is number %d of a vocabulary of %d", s.Tokenizer, token, id, s.Vocab)
		}
		tokens[id], types[id], ids[token] = token, kind, uint32(id)
		return nil
	}
	for token, id := range t.Model.Vocab {
		if err := put(token, id, tokenNormal); err != nil {
			return err
		}
	}
	for _, a := range t.AddedTokens {
		kind := int32(tokenUserDefined)
		if a.Special {
			kind = tokenControl
		}
		if err := put(a.Content, a.ID, kind); err != nil {
			return err
		}
	}
	for i := range tokens {
		if types[i] == 0 {
			tokens[i], types[i] = fmt.Sprintf("[PAD%d]", i), tokenUnused
		}
	}
	merges := make([]string, len(t.Model.Merges))
	for i, raw := range t.Model.Merges {
		if json.Unmarshal(raw, &merges[i]) == nil { // the older form: "left right"
			continue
		}
		var pair [2]string
		if err := json.Unmarshal(raw, &pair); err != nil {
			return fmt.Errorf("modelgen: %s: merge %d: %w", s.Tokenizer, i, err)
		}
		merges[i] = pair[0] + " " + pair[1]
	}
	w.Set("tokenizer.ggml.model", "gpt2")
	w.Set("tokenizer.ggml.pre", pre)
	w.Set("tokenizer.ggml.tokens", tokens)
	w.Set("tokenizer.ggml.token_type", types)
	w.Set("tokenizer.ggml.merges", merges)
	w.Set("tokenizer.ggml.add_bos_token", false)
	for _, e := range textEnds {
		for _, name := range e.names {
			if id, ok := ids[name]; ok {
				w.Set(e.key, id)
				break
			}
		}
	}
	return nil
}
