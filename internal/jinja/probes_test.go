package jinja

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"testing"
)

// TestProbes compares with several hundred templates that transformers rendered: every corner that probes.txt
// names, and generated ones. testdata/make_probes.py makes the file.
func TestProbes(t *testing.T) {
	f, err := os.Open("testdata/probes.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(z)
	sc.Buffer(nil, 16<<20)
	n := 0
	var messages json.RawMessage
	for sc.Scan() {
		var c goldenCase
		if err := json.Unmarshal(sc.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		if len(c.Messages) > 0 {
			messages = c.Messages
		}
		c.Messages = messages // the first line's stand for all
		c.check(t)
		n++
	}
	if err := sc.Err(); err != nil || n < 700 {
		t.Fatalf("%d probes, %v", n, err)
	}
}
