package jinja

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestHostile: whatever a template does, it ends soon and with an error.
func TestHostile(t *testing.T) {
	nest := func(open, mid, end string, n int) string {
		return strings.Repeat(open, n) + mid + strings.Repeat(end, n)
	}
	cases := map[string]string{
		"long string":        `{{ 'a' * 10**9 }}`,
		"long string twice":  `{% set x = 'a' * 10**8 %}{% set y = x * 10 %}`,
		"long list":          `{{ [0] * 10**9 }}`,
		"big power":          `{{ 9**(9**9) }}`,
		"big power loop":     `{% set ns = namespace(x=3) %}{% for i in range(100) %}{% set ns.x = ns.x * ns.x %}{% endfor %}{{ ns.x }}`,
		"nested range":       `{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}{% endfor %}{% endfor %}{% endfor %}`,
		"nested range out":   `{% for a in range(100000) %}{% for b in range(100000) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}{% endfor %}`,
		"doubling":           `{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}`,
		"doubling ~":         `{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}`,
		"doubling %":         `{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = '%s%s' % (ns.x, ns.x) %}{% endfor %}`,
		"doubling format":    `{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = '{0}{0}'.format(ns.x) %}{% endfor %}`,
		"doubling join":      `{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x]|join %}{% endfor %}`,
		"doubling replace":   `{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x.replace('a', 'aaaa') %}{% endfor %}`,
		"doubling list":      `{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}`,
		"doubling set":       `{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set t %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = t %}{% endfor %}`,
		"doubling escape":    `{% set ns = namespace(x='<') %}{% for i in range(99) %}{% set ns.x = ns.x|forceescape|string ~ ns.x %}{% endfor %}`,
		"billion laughs":     `{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}`,
		"laughs tojson":      `{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|tojson }}`,
		"laughs equal":       `{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}`,
		"laughs hash":        `{% set ns = namespace(x=(1,)) %}{% for i in range(60) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ {ns.x: 1} }}`,
		"laughs order":       `{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x < ns.y }}`,
		"deep list":          `{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}`,
		"deep tojson":        `{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = {'a': ns.x} %}{% endfor %}{{ ns.x|tojson }}`,
		"self in namespace":  `{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}`,
		"macro recursion":    `{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}`,
		"macro pair":         `{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}`,
		"macro tree":         `{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(150) }}`,
		"caller recursion":   `{% macro f() %}{% call f() %}{% endcall %}{% endmacro %}{{ f() }}`,
		"loop recursion":     `{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}`,
		"block recursion":    `{% block a %}{{ self.a() }}{% endblock %}`,
		"default recursion":  `{% macro f(x=f()) %}{% endmacro %}{{ f() }}`,
		"map recursion":      `{% set ns = namespace(x=[1]) %}{% for i in range(100000) %}{% set ns.x = ns.x|map('string') %}{% endfor %}{{ ns.x|list }}`,
		"wide format":        `{{ '{:999999999}'.format(1) }}`,
		"wide percent":       `{{ '%999999999d' % 1 }}`,
		"wide percent star":  `{{ '%*d' % (999999999, 1) }}`,
		"deep precision":     `{{ '%.999999999f' % 1 }}`,
		"wide center":        `{{ 'a'.center(10**10) }}`,
		"wide ljust":         `{{ 'a'|center(10**10) }}`,
		"wide indent":        `{{ 'a'|indent(10**10, true) }}`,
		"wide json":          `{{ [[1]]|tojson(indent=10**9) }}`,
		"tabs":               `{{ ('\t' * 1000).expandtabs(10**9) }}`,
		"batch fill":         `{{ [1]|batch(10**9, 0)|list }}`,
		"many slices":        `{{ [1]|slice(10**9)|list }}`,
		"slow in":            `{% set x = 'a' * 10**6 %}{% for i in range(100000) %}{{ (x ~ 'b') in x }}{% endfor %}`,
		"slow count":         `{% set x = 'ab' * 10**6 %}{% for i in range(100000) %}{{ x.count('a') }}{% endfor %}`,
		"slow sort":          `{% set x = range(100000)|list %}{% for i in range(100000) %}{{ x|sort|first }}{% endfor %}`,
		"slow length":        `{% set x = 'é' * 10**6 %}{% for i in range(100000) %}{{ x|length }}{% endfor %}`,
		"slow strip":         `{% set x = 'ab' * 10**6 %}{% for i in range(100000) %}{{ x.strip('abcdefghijklmnopqrstuvwxyz0123456789')|length }}{% endfor %}`,
		"range too big":      `{{ range(10**18) }}`,
		"deep parens":        `{{ ` + nest("(", "1", ")", 100000) + ` }}`,
		"deep lists":         `{{ ` + nest("[", "1", "]", 100000) + ` }}`,
		"deep not":           `{{ ` + nest("not ", "1", "", 100000) + ` }}`,
		"deep minus":         `{{ ` + nest("- ", "1", "", 100000) + ` }}`,
		"deep else":          `{{ ` + nest("1 if x else ", "1", "", 50000) + ` }}`,
		"deep sum":           `{{ x` + nest(" + x", "", "", 100000) + ` }}`,
		"deep and":           `{{ x` + nest(" and x", "", "", 100000) + ` }}`,
		"deep attributes":    `{{ messages` + nest(".x", "", "", 100000) + ` }}`,
		"deep calls":         `{{ x` + nest("()", "", "", 100000) + ` }}`,
		"deep filters":       `{{ x` + nest("|upper", "", "", 100000) + ` }}`,
		"deep ifs":           nest("{% if 1 %}", "x", "{% endif %}", 10000),
		"deep fors":          nest("{% for x in [1] %}", "x", "{% endfor %}", 10000),
		"deep macros":        nest("{% macro f() %}", "x", "{% endmacro %}", 10000),
		"deep blocks":        nest("{% call x() %}", "x", "{% endcall %}", 10000),
		"long source":        strings.Repeat("x", 2<<20),
		"brackets":           strings.Repeat("{{ [(", 10000),
		"big literal":        `{{ ` + strings.Repeat("9", 100000) + ` }}`,
		"print big":          `{{ 2**30000 }}`,
		"dict of everything": `{% set ns = namespace(d={}) %}{% for i in range(100000) %}{% set ns.d = dict(ns.d, **{i|string: i}) %}{% endfor %}`,
		"namespace flood":    `{% for i in range(100000) %}{% set x = namespace(a=range(1000)|list) %}{% for j in range(1000) %}{{ x.a|length }}{% endfor %}{% endfor %}`,
		"unique flood":       `{% for i in range(100000) %}{{ range(100000)|unique|list|length }}{% endfor %}`,
		"wordwrap":           `{% for i in range(100000) %}{{ ('a ' * 100000)|wordwrap(3)|length }}{% endfor %}`,
		"infinite joiner":    `{% set j = joiner('x' * 10**7) %}{% for i in range(1000) %}{{ j() }}{% endfor %}`,
		"varargs":            `{% macro f() %}{{ varargs|length }}{% endmacro %}{% for i in range(100000) %}{{ f(*range(100000)) }}{% endfor %}`,
	}
	for name, src := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			msg := NewDict(1)
			msg.Set("content", Tainted("hello"))
			vars := NewDict(1)
			vars.Set("messages", NewList([]Value{msg.Value()}))
			tmpl, err := Compile(src, Options{})
			var r Result
			if err == nil {
				r, err = tmpl.Render(vars, nil)
			}
			if err == nil {
				t.Errorf("rendered %d bytes", len(r.Text))
			}
			var e *Error
			if err != nil && !errors.As(err, &e) {
				t.Errorf("%T is not an *Error: %v", err, err)
			}
			if d := time.Since(start); d > 20*time.Second {
				t.Errorf("took %v: %v", d, err)
			} else {
				t.Logf("%v: %v", d.Round(time.Millisecond), err)
			}
		})
	}
}

// TestBudgets: each budget is enforced where it is set, and errors.Is finds it.
func TestBudgets(t *testing.T) {
	cases := []struct {
		name, src string
		opts      Options
	}{
		{"steps", `{% for i in range(1000) %}x{% endfor %}`, Options{MaxSteps: 500}},
		{"depth", `{% macro f(n) %}{% if n %}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(20) }}`, Options{MaxDepth: 10}},
		{"output", `{% for i in range(1000) %}xxxxxxxxxx{% endfor %}`, Options{MaxOutput: 5000}},
		{"bytes", `{% for i in range(1000) %}{% set x = 'xxxxxxxxxx' ~ i %}{% endfor %}`, Options{MaxBytes: 5000}},
	}
	for _, c := range cases {
		for _, tight := range []bool{true, false} {
			o := Options{}
			if tight {
				o = c.opts
			}
			tmpl, err := Compile(c.src, o)
			if err != nil {
				t.Fatal(err)
			}
			_, err = tmpl.Render(NewDict(0), nil)
			if errors.Is(err, ErrBudget) != tight || !tight && err != nil {
				t.Errorf("%s, tight %v: %v", c.name, tight, err)
			}
		}
	}
}
