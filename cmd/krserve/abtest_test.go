package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/krserve/krserve/abtest"
)

// experiment is a CSV file in which warm answers are two tokens longer.
func experiment(t *testing.T) string {
	var b strings.Builder
	b.WriteString("unit,variant,segment.lang,tokens,good\n")
	for i := range 400 {
		arm := i % 2
		fmt.Fprintf(&b, "u%d,%s,%s,%d,%d\n", i, []string{"control", "warm"}[arm], []string{"de", "en"}[i/2%2], 10+2*arm+i*7%5, i%3%2)
	}
	file := filepath.Join(t.TempDir(), "experiment.csv")
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestABTestAnalyze(t *testing.T) {
	file := experiment(t)
	page := filepath.Join(t.TempDir(), "report.html")
	var r abtest.Report
	if err := json.Unmarshal([]byte(ok(t, "", "abtest", "analyze", file, "-json", "-html", page, "-metric", "tokens:lower,p50=tokens:p50", "--metric=good:proportion", "-segment", "lang")), &r); err != nil {
		t.Fatal(err)
	}
	c, found := r.Comparison("tokens", "warm")
	if !found || c.Verdict != abtest.Worse || c.Absolute.Estimate != 2 || len(r.Comparisons) != 3 || len(r.Segments) != 2 || len(r.Warnings) != 0 {
		t.Errorf("%+v", r)
	}
	html, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(html), "<svg") || strings.Contains(string(html), "ZgotmplZ") {
		t.Errorf("%v\n%s", err, html)
	}
	text := ok(t, "", "abtest", "analyze", "-method", "fixed", "-control", "warm", "-weights", "warm=1,control=1", file)
	if !strings.Contains(text, "warning: unplanned") || !strings.Contains(text, "worse") {
		t.Error(text)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if piped := ok(t, string(data), "abtest", "analyze", "-"); piped != ok(t, "", "abtest", "analyze", file) {
		t.Errorf("standard input: %s", piped)
	}
	if out := ok(t, `{"unit":"a","variant":"x","metrics":{"m":1}}`+"\n"+`{"unit":"b","variant":"y","metrics":{"m":1}}`+"\n"+`{"unit":"c","variant":"x","metrics":{"m":2}}`+"\n"+
		`{"unit":"d","variant":"y","metrics":{"m":1}}`, "abtest", "analyze", "-"); !strings.Contains(out, "too_few") {
		t.Error(out)
	}
}

// TestABTestDocs: docs/abtest.md shows what the command prints.
func TestABTestDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/abtest.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, block := range strings.Split(string(doc), "```\n$ krserve ")[1:] {
		line, rest, _ := strings.Cut(block, "\n")
		want, _, _ := strings.Cut(rest, "```")
		args := strings.Fields(line)
		for i, a := range args {
			if strings.HasSuffix(a, ".csv") {
				args[i] = "../../" + a
			}
		}
		if got := ok(t, "", args...); got != want {
			t.Errorf("krserve %s:\n%s\nthe page says\n%s", line, got, want)
		}
		shown++
	}
	if shown != 2 {
		t.Errorf("%d examples", shown)
	}
}

func TestABTestErrors(t *testing.T) {
	file := experiment(t)
	for _, c := range []struct {
		status int
		says   string
		stdin  string
		args   []string
	}{
		{2, "analyze or power", "", nil},
		{2, "not \"guess\"", "", []string{"guess"}},
		{2, "one FILE", "", []string{"analyze"}},
		{2, "Options.Method", "", []string{"analyze", file, "-method", "often"}},
		{2, "median", "", []string{"analyze", file, "-metric", "tokens:median"}},
		{2, "VARIANT=WEIGHT", "", []string{"analyze", file, "-weights", "warm"}},
		{1, "no such file", "", []string{"analyze", file + "x"}},
		{1, "no column \"latency\"", "", []string{"analyze", file, "-metric", "latency"}},
		{1, "unknown variant", "", []string{"analyze", file, "-control", "nobody"}},
		{1, "unknown variant", "", []string{"analyze", file, "-weights", "control=1,other=1"}},
		{1, "no rows", "", []string{"analyze", "-"}},
		{1, "duplicate exposure", "unit,variant,m\nu,a,1\nu,a,2\n", []string{"analyze", "-"}},
		{1, "line 2", "unit,variant,m\nu,a,NaN\n", []string{"analyze", "-"}},
		{1, "too few units", "unit,variant,m\nu,a,1\n", []string{"analyze", "-"}},
		{1, "overflow", "unit,variant,m\nu,a,1e300\nv,a,-1e300\nw,b,1\nx,b,2\n", []string{"analyze", "-"}},
		{2, "Plan.SD", "", []string{"power", "-effect", "1"}},
		{2, "Plan.Baseline", "", []string{"power", "-kind", "proportion", "-baseline", "2", "-effect", "1"}},
		{2, "unexpected argument", "", []string{"power", "x"}},
	} {
		r := run(t, c.stdin, append([]string{"abtest"}, c.args...)...)
		if r.status != c.status || r.out != "" || !strings.Contains(r.err, c.says) || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%q: status %d, %q, %q", c.args, r.status, r.out, r.err)
		}
	}
}

func TestABTestPower(t *testing.T) {
	var out struct {
		Control, Variant, Total int64
		Power, Effect           float64
	}
	power := func(args ...string) {
		t.Helper()
		if err := json.Unmarshal([]byte(ok(t, "", append([]string{"abtest", "power", "-json"}, args...)...)), &out); err != nil {
			t.Fatal(err)
		}
	}
	// statsmodels: NormalIndPower().solve_power(0.2, alpha=0.05, power=0.8) = 392.44.
	power("-sd", "10", "-effect", "2", "-method", "fixed")
	if out.Control != 393 || out.Total != 786 || out.Power < 0.8 {
		t.Errorf("%+v", out)
	}
	power("-sd", "10", "-n", "393", "-method", "fixed")
	if out.Effect > 2 || out.Effect < 1.99 {
		t.Errorf("%+v", out)
	}
	power("-kind", "proportion", "-baseline", "0.1", "-effect", "0.2", "-relative")
	if out.Effect < 0.0199 || out.Effect > 0.0201 || out.Control < 3000 {
		t.Errorf("%+v", out)
	}
	if text := ok(t, "", "abtest", "power", "-sd", "10", "-effect", "2"); !strings.Contains(text, "total") {
		t.Error(text)
	}
}
