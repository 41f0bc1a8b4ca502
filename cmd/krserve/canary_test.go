package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/simulate"
)

func TestCanarySimulate(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.html")
	args := []string{"canary", "simulate", "-runs", "20", "-requests", "3000", "-pattern", "none,total", "-html", page}
	text := ok(t, "", args...)
	if again := ok(t, "", args...); again != text {
		t.Errorf("not reproducible:\n%s\n%s", text, again)
	}
	if strings.Count(text, "\n") != 14 || !strings.Contains(text, "| none | krserve | 0.0 % | – |") || !strings.Contains(text, "| total | krserve | 100.0 % |") {
		t.Errorf("%s", text)
	}
	html, err := os.ReadFile(page)
	if err != nil || strings.Count(string(html), "<svg") != 2 || strings.Contains(string(html), "ZgotmplZ") {
		t.Errorf("%v\n%s", err, html)
	}
	var rows []struct {
		Scenario, Rule string
		Share          float64  `json:"rolled_back"`
		Median         *float64 `json:"median_canary_requests"`
		Minutes        *float64 `json:"median_minutes"`
	}
	if err := json.Unmarshal([]byte(ok(t, "", append(args, "-json", "-peers=false")...)), &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || rows[0].Median != nil || rows[1].Share != 1 || rows[1].Median == nil || rows[1].Minutes == nil {
		t.Fatalf("%+v", rows)
	}
	// A stricter level is later, rarer decisions are not; the stages' own weights are followed on request.
	delay := func(more ...string) float64 {
		t.Helper()
		if err := json.Unmarshal([]byte(ok(t, "", append([]string{"canary", "simulate", "-runs", "20", "-requests", "4000", "-pattern", "10x", "-peers=false", "-json"}, more...)...)), &rows); err != nil {
			t.Fatal(err)
		}
		if rows[0].Median == nil {
			t.Fatalf("%q: %+v", more, rows)
		}
		return *rows[0].Median
	}
	plain := delay()
	if strict := delay("-alpha", "1e-6"); strict <= plain {
		t.Errorf("alpha 1e-6 after %v canary requests, 0.01 after %v", strict, plain)
	}
	if rare := delay("-interval", "5m"); rare != plain {
		t.Errorf("decisions every 5 minutes: after %v canary requests, every 10 s: after %v", rare, plain)
	}
	if delay("-weight", "0", "-stages", "0.5:2h,1") == plain {
		t.Error("-stages without effect")
	}
}

// TestCanaryTune: every rule gets a setting per fault, and one that cannot see a fault never does.
func TestCanaryTune(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.html")
	args := []string{"canary", "simulate", "-tune", "-runs", "8", "-requests", "2000", "-pattern", "none,total,slow", "-html", page, "-json"}
	var rows []struct {
		Scenario, Rule, Setting string
		Median                  *float64 `json:"median_canary_requests"`
	}
	text := ok(t, "", args...)
	if err := json.Unmarshal([]byte(text), &rows); err != nil {
		t.Fatal(err)
	}
	if again := ok(t, "", args...); again != text || len(rows) != 6 {
		t.Fatalf("%s\n%s", text, again)
	}
	for _, r := range rows {
		if never := r.Scenario == "total" && strings.HasPrefix(r.Rule, "sequence"); never != (r.Median == nil) || r.Setting == "" {
			t.Errorf("%+v", r)
		}
	}
	if html, err := os.ReadFile(page); err != nil || strings.Count(string(html), "<svg") != 2 || !strings.Contains(string(html), rows[0].Setting) {
		t.Errorf("%v\n%s", err, html)
	}
	if text := ok(t, "", args[:len(args)-3]...); strings.Count(text, "\n") != 8 {
		t.Error(text)
	}
}

// TestCanaryPatterns: every pattern is a scenario, and none makes an impossible rate.
func TestCanaryPatterns(t *testing.T) {
	list, err := chosen(nil, simulate.Scenario{}, 0.5)
	if err != nil || len(list) != len(patterns) {
		t.Fatalf("%d, %v", len(list), err)
	}
	for _, s := range list {
		if s.Canary.Error > 1 {
			t.Errorf("%+v", s)
		}
	}
}

func TestCanaryErrors(t *testing.T) {
	for _, c := range []struct {
		says string
		args []string
	}{
		{"want simulate", nil},
		{"not \"start\"", []string{"start"}},
		{"unexpected argument", []string{"simulate", "x"}},
		{"-alpha", []string{"simulate", "-alpha", "0"}},
		{"-alpha", []string{"simulate", "-alpha", "NaN"}},
		{"-interval", []string{"simulate", "-interval", "0s"}},
		{"-min-requests", []string{"simulate", "-min-requests", "-1"}},
		{"-stages", []string{"simulate", "-stages", "0.1:soon,1"}},
		{"-stages", []string{"simulate", "-stages", ""}},
		{"Stages[1].Weight", []string{"simulate", "-stages", "0.5:1h,0.1:1h,1"}},
		{"last weight", []string{"simulate", "-stages", "0.5:1h"}},
		{"-objective", []string{"simulate", "-objective", "1"}},
		{"-weight", []string{"simulate", "-weight", "1.5"}},
		{"-base", []string{"simulate", "-base", "-0.1"}},
		{"-rate", []string{"simulate", "-rate", "0"}},
		{"-requests", []string{"simulate", "-requests", "0"}},
		{"-runs", []string{"simulate", "-runs", "0"}},
		{"-runs", []string{"simulate", "-runs", "1000000000"}},
		{"-requests", []string{"simulate", "-requests", "1000000000"}},
		{"-interval", []string{"simulate", "-interval", "1ms", "-rate", "0.001"}},
		{"-tune", []string{"simulate", "-tune", "-weight", "0"}},
		{"-tune", []string{"simulate", "-tune", "-pattern", "none"}},
		{"no pattern \"4x\"", []string{"simulate", "-pattern", "none,4x"}},
		{"-seed", []string{"simulate", "-seed", "1"}},
	} {
		r := run(t, "", append([]string{"canary"}, c.args...)...)
		if r.status != 2 || r.out != "" || !strings.Contains(r.err, c.says) || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%q: status %d, %q, %q", c.args, r.status, r.out, r.err)
		}
	}
	if r := run(t, "", "canary", "simulate", "-html", filepath.Join(t.TempDir(), "no", "page"), "-runs", "1", "-requests", "10"); r.status != 1 {
		t.Errorf("a page that cannot be written: status %d, %q", r.status, r.err)
	}
}
