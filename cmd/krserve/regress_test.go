package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRegressCompare(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, level float64) string {
		var b strings.Builder
		for i := range 12 {
			fmt.Fprintf(&b, "BenchmarkX 1 %g ns/op\n", level+0.1*float64(i))
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	before, after, page := file("old", 100), file("new", 120), filepath.Join(dir, "r.html")
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{before, after, "-html", page}, 3}, {[]string{after, before}, 0}, {[]string{before, before, "-json"}, 0},
		{[]string{before}, 2}, {[]string{before, before, "-alpha", "7"}, 2}, {[]string{before, "missing"}, 1},
	} {
		if r := run(t, "", append([]string{"regress", "compare"}, c.args...)...); r.status != c.code {
			t.Errorf("%v: exit %d, want %d: %s", c.args, r.status, c.code, r.err)
		}
	}
	if data, err := os.ReadFile(page); err != nil || !strings.Contains(string(data), "<svg") {
		t.Errorf("report without a plot: %v", err)
	}
}
