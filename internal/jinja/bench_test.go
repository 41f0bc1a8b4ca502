package jinja

import "testing"

// BenchmarkQwen3Tools renders Qwen3's template with tools from values that exist already.
func BenchmarkQwen3Tools(b *testing.B) {
	for _, c := range readGoldens(b, "templates.jsonl.gz") {
		if c.Tokenizer != "qwen3" || len(c.Tools) < 10 {
			continue
		}
		b.Run(string(rune('0'+c.Case)), func(b *testing.B) {
			t, err := Compile(c.Template, Options{})
			if err != nil {
				b.Fatal(err)
			}
			vars, err := c.vars(b)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := t.Render(vars, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCompileQwen3 compiles Qwen3's template.
func BenchmarkCompileQwen3(b *testing.B) {
	for _, c := range readGoldens(b, "templates.jsonl.gz") {
		if c.Tokenizer == "qwen3" {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Compile(c.Template, Options{}); err != nil {
					b.Fatal(err)
				}
			}
			return
		}
	}
}
