package tokenizer

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/krserve/krserve/internal/testenv"
)

type chatGolden struct {
	Tokenizer string          `json:"tokenizer"`
	Messages  json.RawMessage `json:"messages"`
	Tools     json.RawMessage `json:"tools"`
	Kwargs    json.RawMessage `json:"kwargs"`
	Generate  *bool           `json:"add_generation_prompt"`
	BOS       string          `json:"bos_token"`
	EOS       string          `json:"eos_token"`
	Template  string          `json:"template"`
	Rendered  *string         `json:"rendered"`
	Error     string          `json:"error"`
}

func (g *chatGolden) chat() Chat {
	return Chat{Messages: g.Messages, Tools: g.Tools, Kwargs: g.Kwargs, AddGenerationPrompt: g.Generate == nil || *g.Generate}
}

func chatGoldens(t *testing.T) []chatGolden {
	f, err := os.Open(testenv.Golden("templates.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []chatGolden
	sc := bufio.NewScanner(z)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var g chatGolden
		if err := json.Unmarshal(sc.Bytes(), &g); err != nil {
			t.Fatal(err)
		}
		out = append(out, g)
	}
	if sc.Err() != nil || len(out) < 30 {
		t.Fatalf("%d goldens, %v", len(out), sc.Err())
	}
	return out
}

var chatTokenizers = map[string]*Tokenizer{}

// chatTokenizer opens each tokenizer once for the tests of this file, which run one after another.
func chatTokenizer(t *testing.T, name string) *Tokenizer {
	tok := chatTokenizers[name]
	if tok == nil {
		var err error
		if tok, err = Open(filepath.Dir(testenv.Tokenizer(t, name))); err != nil {
			t.Fatal(err)
		}
		chatTokenizers[name] = tok
	}
	return tok
}

// TestTemplateGoldens: the template of each model's own files renders what transformers renders, and a chat that spells no
// special token has the ids of its text.
func TestTemplateGoldens(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range chatGoldens(t) {
		seen[g.Tokenizer] = true
		tok := chatTokenizer(t, g.Tokenizer)
		tmpl, ok := tok.ChatTemplate()
		if !ok || tok.ChatTemplateSource() != g.Template {
			// The golden's template came from elsewhere: render that.
			tmpl = NewTemplate(g.Template, map[string]string{"bos_token": g.BOS, "eos_token": g.EOS})
		}
		r, err := tmpl.Render(g.chat())
		if g.Rendered == nil {
			msg := strings.TrimPrefix(g.Error, "TemplateError: ")
			if !errors.Is(err, ErrTemplate) || !strings.Contains(err.Error(), msg) {
				t.Errorf("%s: %v, want %s", g.Tokenizer, err, g.Error)
			}
			continue
		}
		if err != nil || r.Text != *g.Rendered {
			t.Errorf("%s: %v\n got %+v\nwant %q", g.Tokenizer, err, r, *g.Rendered)
			continue
		}
		if len(r.Plain) == 0 {
			t.Errorf("%s: no bytes come from the chat", g.Tokenizer)
		}
		ids, err := tok.EncodeWith(r.Text, Options{Plain: r.Plain})
		if err != nil || !slices.Equal(ids, tok.Encode(r.Text)) {
			t.Errorf("%s: the ids differ from those of the text (%v): %q", g.Tokenizer, err, r.Text)
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d tokenizers", len(seen))
	}
}

// TestContentSpellsSpecials: no string of a chat turns into special tokens, whatever the template does with it, and the
// text stays what it is.
func TestContentSpellsSpecials(t *testing.T) {
	for _, name := range []string{"qwen3", "smollm2", "gemma3", "llama3_1", "deepseek_v3"} {
		tok := chatTokenizer(t, name)
		tmpl, ok := tok.ChatTemplate()
		if !ok {
			for _, g := range chatGoldens(t) {
				if g.Tokenizer == name {
					tmpl = NewTemplate(g.Template, map[string]string{"bos_token": g.BOS, "eos_token": g.EOS})
				}
			}
		}
		specials := func(ids []uint32) (n int) {
			for _, id := range ids {
				if tok.IsSpecial(id) {
					n++
				}
			}
			return n
		}
		encode := func(text string, allow bool) (string, []uint32) {
			msgs, _ := json.Marshal([]map[string]string{{"role": "user", "content": "hi"}, {"role": "assistant", "content": text}, {"role": "user", "content": text + "x"}})
			r, err := tmpl.Render(Chat{Messages: msgs, AddGenerationPrompt: true})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			o := Options{Plain: r.Plain}
			if allow {
				o.Plain = nil
			}
			ids, err := tok.EncodeWith(r.Text, o)
			if err != nil {
				t.Fatal(err)
			}
			return r.Text, ids
		}
		_, plain := encode("ab", false)
		for _, s := range []string{"<|im_end|>", "<|im_start|>system", "<end_of_turn>", "<|eot_id|>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "</s>", "<|endoftext|>"} {
			text, ids := encode("a"+s+"b", false)
			if got := specials(ids); got != specials(plain) {
				t.Errorf("%s: %q makes %d special tokens of %d", name, s, got, specials(plain))
			}
			if back := tok.Decode(ids); name != "gemma3" && back != text {
				t.Errorf("%s: %q decodes as %q", name, text, back)
			}
			if _, allowed := encode("a"+s+"b", true); !slices.Equal(allowed, tok.Encode(text)) {
				t.Errorf("%s: allowed special tokens differ from those of the text", name)
			}
		}
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func dirTemplates(dir string) (templateSources, error) {
	s, err := readSiblings(dir)
	if err != nil {
		return templateSources{}, err
	}
	t := &Tokenizer{pieces: newVocab(0, false)}
	if err := t.takeSiblings(s); err != nil {
		return templateSources{}, err
	}
	var config map[string]json.RawMessage
	if s.config != nil {
		if err := json.Unmarshal(s.config, &config); err != nil {
			return templateSources{}, err
		}
	}
	return s.templates(config)
}

// TestTemplateFiles: where templates and special tokens come from, and which of several is taken.
func TestTemplateFiles(t *testing.T) {
	const chat = `[{"role": "user", "content": "c"}]`
	render := func(dir string, c Chat) string {
		s, err := dirTemplates(dir)
		if err != nil {
			return "error " + err.Error()
		}
		c.Messages = json.RawMessage(chat)
		r, err := newTemplate(s).Render(c)
		if err != nil {
			return "error " + err.Error()
		}
		return r.Text
	}
	tools := Chat{Tools: json.RawMessage(`[{"name": "f"}]`)}
	dir := t.TempDir()
	write(t, dir, "chat_template.json", `{"chat_template": "json {{ messages[0].content }}"}`)
	if got := render(dir, Chat{}); got != "json c" {
		t.Error(got)
	}
	write(t, dir, "tokenizer_config.json", `{"bos_token": "<s>", "eos_token": {"content": "</s>", "special": true}, "pad_token": null,
		"chat_template": [{"name": "default", "template": "{{ bos_token }}d{{ eos_token }}{{ pad_token is defined }}"},
		{"name": "tool_use", "template": "t{{ tools|length }}"}, {"name": "rag", "template": "r"}]}`)
	for c, want := range map[*Chat]string{{}: "<s>d</s>False", &tools: "t1", {Template: "rag"}: "r"} {
		if got := render(dir, *c); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := render(dir, Chat{Template: "nope"}); !strings.Contains(got, `"nope" among ["default" "rag" "tool_use"]`) {
		t.Error(got)
	}
	write(t, dir, "chat_template.jinja", "file{{ bos_token }}\n")
	write(t, dir, "additional_chat_templates/rag.jinja", "r2")
	for c, want := range map[*Chat]string{{}: "file<s>", &tools: "file<s>", {Template: "rag"}: "r2"} {
		if got := render(dir, *c); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, bad := range []string{`{"chat_template": 5}`, `{"chat_template": [{"name": "x"}]}`, `{`, `[]`} {
		write(t, dir, "tokenizer_config.json", bad)
		if _, err := dirTemplates(dir); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if s, err := dirTemplates(t.TempDir()); err != nil || len(s.text) != 0 {
		t.Errorf("an empty directory: %v, %v", s, err)
	}
}

func TestTemplateInput(t *testing.T) {
	tmpl := NewTemplate("{{ x }}{{ documents|length if documents }}{{ messages[0].role }}{{ strftime_now('%d %b %Y') if x }}", nil)
	for _, c := range []struct {
		chat Chat
		want string
	}{
		{Chat{Messages: json.RawMessage(`[{"role": "user"}]`)}, "user"},
		{Chat{Messages: json.RawMessage(`[{"role": "user"}]`), Kwargs: json.RawMessage(`{"x": 1}`), Documents: json.RawMessage(`[{}]`), Tools: json.RawMessage(`null`),
			Now: func() time.Time { return time.Date(2031, 2, 3, 0, 0, 0, 0, time.UTC) }}, "11user03 Feb 2031"},
		{Chat{}, "ERR"},
		{Chat{Messages: json.RawMessage(`[]`)}, "ERR"},
		{Chat{Messages: json.RawMessage(`{}`)}, "ERR Chat.Messages is not a JSON array"},
		{Chat{Messages: json.RawMessage(`[5]`)}, "ERR"},
		{Chat{Messages: json.RawMessage(`[`)}, "ERR Chat.Messages"},
		{Chat{Messages: json.RawMessage(`[{}]`), Kwargs: json.RawMessage(`[]`)}, "ERR Chat.Kwargs is not a JSON object"},
		{Chat{Messages: json.RawMessage(`[{}]`), Kwargs: json.RawMessage(`{"messages": 1}`)}, "ERR"},
	} {
		r, err := tmpl.Render(c.chat)
		want, fails := strings.CutPrefix(c.want, "ERR")
		switch {
		case fails && (!errors.Is(err, ErrTemplate) || !strings.Contains(err.Error(), strings.TrimSpace(want))):
			t.Errorf("%s: %v, want %s", c.chat.Messages, err, c.want)
		case !fails && (err != nil || r.Text != want):
			t.Errorf("%s: %v, %v, want %s", c.chat.Messages, r, err, want)
		}
	}
	if err := NewTemplate("{% if %}", nil).Check(); !errors.Is(err, ErrTemplate) || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("Check: %v", err)
	}
	if err := tmpl.Check(); err != nil {
		t.Error(err)
	}
}

// TestGGUFTemplate: the template and special tokens inside the model file.
func TestGGUFTemplate(t *testing.T) {
	if tok, err := Open(testenv.Gemma3(t)); err != nil {
		t.Fatal(err)
	} else if _, ok := tok.ChatTemplate(); ok || tok.ChatTemplateSource() != "" {
		t.Error("the Gemma file has a template")
	} else if _, err := tok.EncodeChat(Chat{Messages: json.RawMessage(`[{}]`)}, false); !errors.Is(err, ErrTemplate) {
		t.Errorf("EncodeChat without a template: %v", err)
	}
	for path, want := range map[string]string{
		testenv.SmolLM2(t): "<|im_start|>user\n{<|im_end|>}<|im_end|>\n<|im_start|>assistant\n",
	} {
		tok, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		c := Chat{Messages: json.RawMessage(`[{"role": "user", "content": "{<|im_end|>}"}]`), AddGenerationPrompt: true}
		tmpl, ok := tok.ChatTemplate()
		if !ok {
			t.Fatalf("%s has no template", path)
		}
		r, err := tmpl.Render(c)
		if err != nil || !strings.HasSuffix(r.Text, want) {
			t.Errorf("%s: %v, %v", filepath.Base(path), r, err)
			continue
		}
		safe, err := tok.EncodeChat(c, false)
		if err != nil {
			t.Fatal(err)
		}
		open, err := tok.EncodeChat(c, true)
		if err != nil || !slices.Equal(open, tok.Encode(r.Text)) {
			t.Errorf("%s: allowed special tokens: %v", filepath.Base(path), err)
		}
		if end, ok := tok.TokenID("<|im_end|>"); ok && slices.Equal(safe, open) {
			t.Errorf("%s: content makes token %d", filepath.Base(path), end)
		}
	}
}
