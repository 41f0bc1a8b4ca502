package jinja

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/krserve/krserve/internal/testenv"
)

// goldenCase is one rendering by transformers.
type goldenCase struct {
	Name                string          `json:"name"`
	Tokenizer           string          `json:"tokenizer"`
	Case                int             `json:"case"`
	Template            string          `json:"template"`
	Messages            json.RawMessage `json:"messages"`
	Tools               json.RawMessage `json:"tools"`
	AddGenerationPrompt *bool           `json:"add_generation_prompt"`
	Kwargs              json.RawMessage `json:"kwargs"`
	BOS                 *string         `json:"bos_token"`
	EOS                 *string         `json:"eos_token"`
	Rendered            *string         `json:"rendered"`
	Error               *string         `json:"error"`
	UsesDate            bool            `json:"uses_date"`
}

// goldenClock is the clock of goldens that print a date.
func goldenClock() time.Time { return time.Date(2025, 3, 9, 14, 5, 7, 123456000, time.UTC) }

func readGoldens(tb testing.TB, elem ...string) []goldenCase {
	tb.Helper()
	data, err := os.ReadFile(testenv.Golden(elem...))
	if err != nil {
		tb.Fatal(err)
	}
	var r io.Reader = bytes.NewReader(data)
	if strings.HasSuffix(elem[len(elem)-1], ".gz") {
		if r, err = gzip.NewReader(r); err != nil {
			tb.Fatal(err)
		}
	}
	var out []goldenCase
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 64<<20)
	for sc.Scan() {
		var c goldenCase
		if err := json.Unmarshal(sc.Bytes(), &c); err != nil {
			tb.Fatal(err)
		}
		out = append(out, c)
	}
	if err := sc.Err(); err != nil || len(out) == 0 {
		tb.Fatalf("%d goldens, %v", len(out), err)
	}
	return out
}

func fromJSON(tb testing.TB, raw json.RawMessage) Value {
	tb.Helper()
	if len(raw) == 0 {
		return Value{}
	}
	v, err := FromJSON(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func (c *goldenCase) vars(tb testing.TB) (*Dict, error) {
	chat := Chat{Messages: fromJSON(tb, c.Messages), Tools: fromJSON(tb, c.Tools), AddGenerationPrompt: true, Special: NewDict(2)}
	if c.AddGenerationPrompt != nil {
		chat.AddGenerationPrompt = *c.AddGenerationPrompt
	}
	if c.BOS != nil {
		chat.Special.Set("bos_token", String(*c.BOS))
	}
	if c.EOS != nil {
		chat.Special.Set("eos_token", String(*c.EOS))
	}
	chat.Kwargs = fromJSON(tb, c.Kwargs).Dict()
	return chat.Vars()
}

func (c *goldenCase) render(tb testing.TB) (Result, error) {
	t, err := Compile(c.Template, Options{})
	if err != nil {
		return Result{}, err
	}
	vars, err := c.vars(tb)
	if err != nil {
		return Result{}, err
	}
	return t.Render(vars, goldenClock)
}

// check compares with the golden: text byte by byte, errors by their type, and by message if the template raised it.
func (c *goldenCase) check(t *testing.T) {
	t.Helper()
	r, err := c.render(t)
	switch {
	case c.Error != nil && err == nil:
		t.Errorf("%s\n%s\nrendered %q, want error %s", c.Name, c.Template, r.Text, *c.Error)
	case c.Error != nil:
		typ, msg, _ := strings.Cut(*c.Error, ": ")
		e, ok := err.(*Error)
		if !ok || e.Type != typ {
			t.Errorf("%s\n%s\nerror %v, want %s", c.Name, c.Template, err, *c.Error)
		} else if typ == "TemplateError" && e.Msg != msg {
			t.Errorf("%s\n%s\nraised %q, want %q", c.Name, c.Template, e.Msg, msg)
		}
	case err != nil:
		t.Errorf("%s\n%s\nerror %v, want %q", c.Name, c.Template, err, *c.Rendered)
	case r.Text != *c.Rendered && !strings.Contains(*c.Rendered, " at 0x"):
		t.Errorf("%s\n%s\ngot  %q\nwant %q", c.Name, c.Template, r.Text, *c.Rendered)
	}
}

func TestGoldenTemplates(t *testing.T) {
	for _, c := range readGoldens(t, "templates.jsonl.gz") {
		if c.UsesDate {
			t.Errorf("%s %d uses the date of its making", c.Tokenizer, c.Case)
		}
		c.Name = c.Tokenizer
		c.check(t)
	}
}

func TestGoldenProbes(t *testing.T) {
	for _, c := range readGoldens(t, "jinja-probes.jsonl") {
		c.check(t)
	}
}
