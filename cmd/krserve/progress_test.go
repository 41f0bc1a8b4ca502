package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestBar(t *testing.T) {
	for _, width := range []int{20, 40, 79, 200} {
		for _, c := range []struct{ done, total int64 }{{0, 100e6}, {50e6, 100e6}, {100e6, 100e6}, {7e6, -1}, {3e12, 9e12}, {5, 3}} {
			line := bar("SmolLM2-135M-Instruct.Q4_1.gguf", c.done, c.total, 12.5e6, width)
			if len(line) != width || strings.ContainsAny(line, "\r\n") {
				t.Errorf("width %d, %d of %d: %d characters: %q", width, c.done, c.total, len(line), line)
			}
		}
	}
	half := bar("model.gguf", 50e6, 100e6, 10e6, 79)
	for _, want := range []string{"model.gguf [", " 50%", "50.0 MB/100.0 MB", "10.0 MB/s", "5s"} {
		if !strings.Contains(half, want) {
			t.Errorf("no %q in %q", want, half)
		}
	}
	if full, empty := strings.Count(half, "#"), strings.Count(half[:strings.Index(half, "]")], " "); full < empty-2 || full > empty+2 {
		t.Errorf("half is %d of %d cells: %q", full, full+empty, half)
	}
}

// TestProgressElsewhere: in a file or a pipe there is one line per fetched file and no bar.
func TestProgressElsewhere(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b)
	for done := int64(0); done <= 100; done += 10 {
		p.update("dir/a.gguf", done*1e6, 100e6)
	}
	p.update("b.json", 0, -1)
	p.done()
	if got := b.String(); got != "fetching a.gguf (100.0 MB)\nfetching b.json\n" {
		t.Errorf("%q", got)
	}
}
