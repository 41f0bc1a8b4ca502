package jinja

import (
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// TestTaint: bytes from data are known through every operation; [ ] stand around them in the wanted text.
func TestTaint(t *testing.T) {
	data, err := FromJSON([]byte(`{"u": "ab<x>cd", "s": "  p q  ", "d": {"k": "v\n\"w"}, "l": ["1", "22"], "e": "", "n": 5}`))
	if err != nil {
		t.Fatal(err)
	}
	for src, want := range map[string]string{
		`<{{ u }}>`:                                         `<[ab<x>cd]>`,
		`{{ 'T' + u + 'T' }}`:                               `T[ab<x>cd]T`,
		`{{ 'T' ~ u ~ n }}`:                                 `T[ab<x>cd]5`,
		`{{ ('T' + u)[1:4] }}`:                              `[ab<]`,
		`{{ ('T' + u)[:3] }}`:                               `T[ab]`,
		`{{ ('T' + u + 'T').strip('T') }}`:                  `[ab<x>cd]`,
		`{{ s|trim }}`:                                      `[p q]`,
		`{{ (s + '|').strip() }}`:                           `[p q  ]|`,
		`{{ u.replace('<x>', '<y>') }}`:                     `[ab]<y>[cd]`,
		`{{ '<y>z'.replace('z', u) }}`:                      `<y>[ab<x>cd]`,
		`{{ u.split('<x>') }}`:                              `['[ab]', '[cd]']`,
		`{{ (u ~ '|t').split('|')[1] }}`:                    `t`,
		`{{ (u ~ '|t').split('|')[0] }}`:                    `[ab<x>cd]`,
		`{{ ('<s>' ~ u).partition('x')[0] }}`:               `<s>[ab<]`,
		`{{ d|tojson }}`:                                    `{"[k]": "[v\n\"w]"}`,
		`{{ d }}`:                                           `{'[k]': '[v\n"w]'}`,
		`{{ l|join(',') }}`:                                 `[1],[22]`,
		`{{ ', '.join(l) }}`:                                `[1], [22]`,
		`{{ u|upper }}`:                                     `[AB<X>CD]`,
		`{{ ('t' ~ u)|upper }}`:                             `[TAB<X>CD]`,
		`{{ u|e }}`:                                         `[ab&lt;x&gt;cd]`,
		`{{ '%s=%d' % (u, n) }}`:                            `[ab<x>cd]=5`,
		`{{ '{}={:>8}'.format(n, u) }}`:                     `5= [ab<x>cd]`,
		`{{ u|indent(2, true) }}`:                           `  [ab<x>cd]`,
		`{% set x %}<{{ u }}>{% endset %}{{ x }}{{ x[0] }}`: `<[ab<x>cd]><`,
		`{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(u) }}{{ m('k') }}`:                    `<[ab<x>cd]><k>`,
		`{% macro m() %}({{ caller() }}){% endmacro %}{% call m() %}{{ u }}!{% endcall %}`: `([ab<x>cd]!)`,
		`{% filter replace('b', '-') %}<b>{{ u }}{% endfilter %}`:                          `<->[a]-[<x>cd]`,
		`{% for c in u[:3] %}{{ c }}.{% endfor %}`:                                         `[a].[b].[<].`,
		`{% for k, v in d.items() %}{{ k }}={{ v|length }}{% endfor %}`:                    `[k]=4`,
		`{{ (u if n else 'x') }}{{ e or 'dflt' }}{{ u|first }}{{ u[-1] }}{{ u|reverse }}`:  `[ab<x>cd]dflt[addc>x<ba]`,
		`{{ dict(a=u, **d) }}`:                                  `{'a': '[ab<x>cd]', '[k]': '[v\n"w]'}`,
		`{% macro m() %}{{ kwargs }}{% endmacro %}{{ m(**d) }}`: `{'[k]': '[v\n"w]'}`,
		`{{ u }}{{ u }}`:                                        `[ab<x>cdab<x>cd]`,
		`{% set ns = namespace(x='<') %}{% set ns.x = ns.x + u %}{{ ns.x }}`: `<[ab<x>cd]`,
	} {
		tmpl, err := Compile(src, Options{})
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		r, err := tmpl.Render(data.Dict(), nil)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		var b strings.Builder
		at := 0
		for _, s := range r.Tainted {
			b.WriteString(r.Text[at:s.Start] + "[" + r.Text[s.Start:s.End] + "]")
			at = s.End
		}
		b.WriteString(r.Text[at:])
		if b.String() != want {
			t.Errorf("%s\ngot  %s\nwant %s", src, b.String(), want)
		}
	}
}

// TestTaintCoversContent: in the goldens every message's content that shows up is marked, and no tag of the template is.
func TestTaintCoversContent(t *testing.T) {
	checked := 0
	for _, c := range readGoldens(t, "templates.jsonl.gz") {
		r, err := c.render(t)
		if err != nil {
			continue
		}
		for i, s := range r.Tainted {
			if i > 0 && r.Tainted[i-1].End >= s.Start || !utf8.ValidString(r.Text[s.Start:s.End]) {
				t.Errorf("%s: spans %v", c.Tokenizer, r.Tainted)
			}
			for _, tag := range []string{"<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<|eot_id|>", "<｜User｜>"} {
				if strings.Contains(r.Text[s.Start:s.End], tag) {
					t.Errorf("%s: %q is marked as data", c.Tokenizer, tag)
				}
			}
			checked++
		}
	}
	if checked < 50 {
		t.Errorf("%d spans", checked)
	}
}

// TestConcurrent: one template renders in many goroutines.
func TestConcurrent(t *testing.T) {
	for _, c := range readGoldens(t, "templates.jsonl.gz") {
		if c.Rendered == nil || c.Case != 3 {
			continue
		}
		tmpl, err := Compile(c.Template, Options{})
		if err != nil {
			t.Fatal(err)
		}
		vars, err := c.vars(t)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					r, err := tmpl.Render(vars, nil)
					if err != nil || r.Text != *c.Rendered {
						t.Errorf("%s: %v", c.Tokenizer, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}
