package jinja

import (
	"os"
	"strings"
	"testing"
	"time"
)

// FuzzTemplate: no source makes the engine panic or run for long, and spans stay in order and inside the text.
func FuzzTemplate(f *testing.F) {
	data, err := os.ReadFile("testdata/probes.txt")
	if err != nil {
		f.Fatal(err)
	}
	for i, src := range strings.Split(string(data), "\n====\n") {
		if i%3 == 0 {
			f.Add(src)
		}
	}
	for _, c := range readGoldens(f, "templates.jsonl.gz") {
		if c.Case == 0 {
			f.Add(c.Template)
		}
	}
	vars, err := FromJSON([]byte(`{"messages": [{"role": "user", "content": "Zürich <a> & 'q' \"d\"\n"},
		{"role": "assistant", "z": 1, "a": [1, 2.5, true, null, "x"], "f": 1e20, "d": {"k": "v", "b": []}}], "tools": null, "x": -7}`))
	if err != nil {
		f.Fatal(err)
	}
	o := Options{MaxSteps: 20000, MaxDepth: 50, MaxOutput: 1 << 18, MaxBytes: 1 << 20}
	f.Fuzz(func(t *testing.T, src string) {
		start := time.Now()
		tmpl, err := Compile(src, o)
		if err != nil {
			return
		}
		r, err := tmpl.Render(vars.Dict(), goldenClock)
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("took %v", d)
		}
		if err != nil {
			return
		}
		again, err := tmpl.Render(vars.Dict(), goldenClock)
		if err != nil || again.Text != r.Text && !strings.Contains(src, "random") {
			t.Errorf("a second rendering differs: %q, %q, %v", r.Text, again.Text, err)
		}
		end := 0
		for _, s := range r.Tainted {
			if s.Start < end || s.End <= s.Start || s.End > len(r.Text) {
				t.Errorf("span %v after %d in %d bytes", s, end, len(r.Text))
			}
			end = s.End
		}
	})
}

// FuzzJSON: no document makes the parser panic, and what it accepts prints and reads back as the same.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a": [1, -2.5e3, "x\u00e9\ud83d\ude00\ud800", null, true, {}], "a": 1}`, `NaN`, `[-Infinity, 123456789012345678901234567890]`, `"\x"`, `[01]`, `{"a":}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := FromJSON(data)
		if err != nil {
			return
		}
		tmpl, err := Compile("{{ v|tojson }}", Options{})
		if err != nil {
			t.Fatal(err)
		}
		print := func(v Value) string {
			d := NewDict(1)
			d.Set("v", v)
			r, err := tmpl.Render(d, nil)
			if err != nil {
				t.Fatal(err)
			}
			return r.Text
		}
		text := print(v)
		back, err := FromJSON([]byte(text))
		if err != nil {
			t.Fatalf("%q reads back with %v", text, err)
		}
		if again := print(back); again != text {
			t.Errorf("%q and %q", text, again)
		}
	})
}
