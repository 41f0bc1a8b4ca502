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

// TestRegressHistory: a regression fails until it is known, and the range of commits is named.
func TestRegressHistory(t *testing.T) {
	var b strings.Builder
	b.WriteString("commit,X (sec/op),<b> (sec/op)\n")
	for i := range 60 {
		fmt.Fprintf(&b, "c%d,%g,5\n", i, 100+50*float64(i/30)+0.1*float64(i*7%11))
	}
	dir := t.TempDir()
	path, page := filepath.Join(dir, "h.csv"), filepath.Join(dir, "h.html")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args      []string
		code      int
		out, errs string
	}{
		{[]string{path, "-html", page}, 3, "c30", "1 of 2 series regressed: X sec/op (c30 … c30)"},
		{[]string{path, "-since", "c31", "-json"}, 3, `"first": 30`, "regressed"},
		{[]string{path, "-since", "c40"}, 0, "regression", ""},
		{[]string{path, "-since", "nowhere"}, 1, "", `no commit "nowhere"`},
		{[]string{path, "-series", "-1"}, 2, "", "Series = -1"},
		{[]string{filepath.Join(dir, "missing")}, 1, "", "missing"},
	} {
		r := run(t, "", append([]string{"regress", "history"}, c.args...)...)
		if r.status != c.code || !strings.Contains(r.out, c.out) || !strings.Contains(r.err, c.errs) {
			t.Errorf("%v: exit %d, want %d: %s%s", c.args, r.status, c.code, r.out, r.err)
		}
	}
	if data, err := os.ReadFile(page); err != nil || strings.Count(string(data), "<svg") != 2 || strings.Contains(string(data), "<b>") {
		t.Errorf("want two plots and no markup out of a name: %v", err)
	}
}

// TestRegressRun measures by commands, saves what they printed, and exits 3.
func TestRegressRun(t *testing.T) {
	dir := t.TempDir()
	side := func(ns int) string {
		return fmt.Sprintf(`i=$(cat %[1]s/n 2>/dev/null || echo 0); i=$((i+1)); echo $i >%[1]s/n; echo BenchmarkX 1 $((%[2]d + i %% 7)) ns/op`, dir, ns)
	}
	saved := filepath.Join(dir, "s")
	r := run(t, "", "regress", "run", "-old", side(1000), "-new", side(1300), "-save", saved)
	if r.status != 3 || !strings.Contains(r.out, "confirmed by a second run") || !strings.Contains(r.err, "1 of 1 series regressed: X sec/op") {
		t.Errorf("exit %d: %s%s", r.status, r.out, r.err)
	}
	if r := run(t, "", "regress", "compare", saved+".old.txt", saved+".new.txt"); r.status != 3 {
		t.Errorf("what was saved: exit %d: %s%s", r.status, r.out, r.err)
	}
	for want, args := range map[string][]string{
		"no benchmark results": {"-old", "echo nothing", "-new", side(1)},
		"exit status 7":        {"-old", "exit 7", "-new", side(1)},
	} {
		if r := run(t, "", append([]string{"regress", "run"}, args...)...); r.status != 1 || !strings.Contains(r.err, want) {
			t.Errorf("%v: exit %d, want 1: %s", args, r.status, r.err)
		}
	}
}
