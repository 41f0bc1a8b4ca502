package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/krserve/krserve/internal/jinja"
)

// ErrTemplate is wrapped by every error of a chat template: its source is malformed, it rejects the chat, it runs over its
// budgets, or the chat's JSON is not what templates take.
var ErrTemplate = errors.New("tokenizer: chat template")

// Chat is what a chat template renders, in the terms of Hugging Face's apply_chat_template. All parts are JSON; nil is absent.
type Chat struct {
	Messages            json.RawMessage // array of objects with "role", "content" and what else the template reads
	Tools               json.RawMessage // array of tool definitions
	Documents           json.RawMessage // array of objects
	Kwargs              json.RawMessage // object of further variables, such as {"enable_thinking": false}
	AddGenerationPrompt bool            // end with what begins an answer
	// Template names one of the model's templates; "" is "tool_use" for chats with tools where there is one, else the default.
	Template string
	// Now is the clock of templates that print a date; nil is time.Now.
	Now func() time.Time
}

// Rendered is a chat as text. EncodeWith of Text with Options.Plain set to Plain is the prompt: special tokens count where
// the template wrote them, and are text where the chat's own strings spell them.
type Rendered struct {
	Text      string
	Plain     []Span // bytes of Text that came from the chat, ascending and disjoint
	Generated []Span // bytes inside {% generation %} blocks: what the model said
}

// Template is the chat template of a model, or several by name. It is safe for concurrent use and compiles on first use. A
// template is code from the model's file: it runs in a sandbox with budgets of time, depth and memory.
type Template struct {
	special *jinja.Dict
	named   map[string]*namedTemplate // "default" is the unnamed one
}

type namedTemplate struct {
	source string
	once   sync.Once
	t      *jinja.Template
	err    error
}

const defaultTemplate = "default"

// NewTemplate makes a template of its source. special maps variables such as "bos_token" to the spelling of special tokens.
func NewTemplate(source string, special map[string]string) *Template {
	return newTemplate(templateSources{text: map[string]string{defaultTemplate: source}, special: special})
}

// templateSources is what files say about templates.
type templateSources struct {
	text    map[string]string // by name
	special map[string]string // variables
	// complete says that a file lists the special tokens: one that it leaves out does not exist.
	complete bool
}

func (s *templateSources) add(name, source string) {
	if s.text == nil {
		s.text = map[string]string{}
	}
	s.text[name] = source
}

func (s *templateSources) setSpecial(name, token string) {
	if s.special == nil {
		s.special = map[string]string{}
	}
	s.special[name] = token
}

// fill makes sure that begin and end tokens are known where no file names them.
func (s templateSources) fill(t *Tokenizer) templateSources {
	for name, get := range map[string]func() (uint32, bool){"bos_token": t.BOS, "eos_token": t.EOS} {
		if id, ok := get(); ok && s.special[name] == "" && !s.complete {
			s.setSpecial(name, t.Piece(id))
		}
	}
	return s
}

func newTemplate(s templateSources) *Template {
	t := &Template{special: jinja.NewDict(len(s.special)), named: map[string]*namedTemplate{}}
	for name, src := range s.text {
		t.named[name] = &namedTemplate{source: src}
	}
	for name, token := range s.special {
		t.special.Set(name, jinja.String(token))
	}
	return t
}

// Names lists the template's names in order; the unnamed one is "default".
func (t *Template) Names() []string {
	names := make([]string, 0, len(t.named))
	for n := range t.named {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Special lists the special tokens that the template sees, by variable.
func (t *Template) Special() map[string]string {
	m := make(map[string]string, t.special.Len())
	for i := range t.special.Len() {
		k, v := t.special.At(i)
		m[k.Text()] = v.Text()
	}
	return m
}

// Check compiles all templates and returns the first error.
func (t *Template) Check() error {
	for _, n := range t.Names() {
		if _, err := t.named[n].compile(); err != nil {
			return err
		}
	}
	return nil
}

func (n *namedTemplate) compile() (*jinja.Template, error) {
	n.once.Do(func() { n.t, n.err = jinja.Compile(n.source, jinja.Options{}) })
	if n.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemplate, n.err)
	}
	return n.t, nil
}

// pick follows transformers' get_chat_template.
func (t *Template) pick(c *Chat, tools bool) (*namedTemplate, error) {
	name := c.Template
	if name == "" {
		name = defaultTemplate
		if _, ok := t.named["tool_use"]; ok && tools {
			name = "tool_use"
		}
	}
	if n := t.named[name]; n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("%w: no template %q among %q", ErrTemplate, name, t.Names())
}

// Render renders a chat. Errors wrap ErrTemplate; the text of one that the template raised says what it objects to.
func (t *Template) Render(c Chat) (*Rendered, error) {
	chat := jinja.Chat{AddGenerationPrompt: c.AddGenerationPrompt, Special: t.special}
	parts := [...]struct {
		name string
		raw  json.RawMessage
		kind jinja.Kind
		to   *jinja.Value
	}{
		{"Messages", c.Messages, jinja.KindList, &chat.Messages},
		{"Tools", c.Tools, jinja.KindList, &chat.Tools},
		{"Documents", c.Documents, jinja.KindList, &chat.Documents},
		{"Kwargs", c.Kwargs, jinja.KindDict, new(jinja.Value)},
	}
	for i := range parts {
		p := &parts[i]
		if len(p.raw) == 0 {
			continue
		}
		v, err := jinja.FromJSON(p.raw)
		if err != nil {
			return nil, fmt.Errorf("%w: Chat.%s: %w", ErrTemplate, p.name, err)
		}
		if v.Kind() == jinja.KindNone {
			continue
		}
		if v.Kind() != p.kind {
			want := map[jinja.Kind]string{jinja.KindList: "array", jinja.KindDict: "object"}[p.kind]
			return nil, fmt.Errorf("%w: Chat.%s is not a JSON %s", ErrTemplate, p.name, want)
		}
		*p.to = v
	}
	chat.Kwargs = parts[3].to.Dict()
	n, err := t.pick(&c, chat.Tools.Kind() == jinja.KindList)
	if err != nil {
		return nil, err
	}
	code, err := n.compile()
	if err != nil {
		return nil, err
	}
	vars, err := chat.Vars()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	out, err := code.Render(vars, c.Now)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	return &Rendered{Text: out.Text, Plain: toSpans(out.Tainted), Generated: toSpans(out.Generated)}, nil
}

func toSpans(in []jinja.Span) []Span {
	if len(in) == 0 {
		return nil
	}
	out := make([]Span, len(in))
	for i, s := range in {
		out[i] = Span(s)
	}
	return out
}

// ChatTemplate is the model's chat template, if its files have one.
func (t *Tokenizer) ChatTemplate() (*Template, bool) { return t.template, t.template != nil }

// ChatTemplateSource is the Jinja source of the model's default chat template, "" if its files have none.
func (t *Tokenizer) ChatTemplateSource() string {
	if t.template != nil {
		if n := t.template.named[defaultTemplate]; n != nil {
			return n.source
		}
	}
	return ""
}

// setTemplates takes over what the files say.
func (t *Tokenizer) setTemplates(s templateSources) {
	if len(s.text) > 0 {
		t.template = newTemplate(s.fill(t))
	}
}

// EncodeChat renders a chat with the model's template and encodes it. Special tokens that the chat's own strings spell are
// text, unless allowSpecial is set. Errors wrap ErrTemplate.
func (t *Tokenizer) EncodeChat(c Chat, allowSpecial bool) ([]uint32, error) {
	if t.template == nil {
		return nil, fmt.Errorf("%w: the model has none", ErrTemplate)
	}
	r, err := t.template.Render(c)
	if err != nil {
		return nil, err
	}
	var o Options
	if !allowSpecial {
		o.Plain = r.Plain
	}
	return t.EncodeWith(r.Text, o)
}
