package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/krserve/krserve"
	"github.com/krserve/krserve/internal/testenv"
)

// TestBenchMultiTurn replays a prompt file of bench/load.py with every feature off in turn.
func TestBenchMultiTurn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "prompts.json")
	script := filepath.Join(testenv.Root(), "bench", "load.py")
	if out, err := exec.Command("python3", script, "write", file, "3", "2", "7", "40").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got multiTurnBench
	out := ok(t, "", "bench", "multi-turn", "-model", testenv.SmolLM2(t), "-prompts", file, "-gen", "6", "-reps", "1", "-ablate", "-json")
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Users != 3 || got.Turns != 2 || got.Tokens != 36 || got.Rate <= 0 || len(got.PerTurn) != 2 || len(got.Reps) != 1 {
		t.Errorf("%+v", got)
	}
	for _, turn := range got.PerTurn {
		if p := turn.TTFT; p.P50 <= 0 || p.P50 > p.P95 || p.P95 > p.P99 || turn.ITL.P99 <= 0 || turn.Prompt <= 0 {
			t.Errorf("%+v", turn)
		}
	}
	if hits := got.PerTurn[1].HitRate; hits < 0.5 || hits >= 1 || got.HitRate < 0.5 {
		t.Errorf("hit rates %v, second turn %v", got.HitRate, hits)
	}
	if len(got.Ablated) != len(ablations) {
		t.Fatalf("%+v", got.Ablated)
	}
	for i, a := range got.Ablated {
		if a.Feature != ablations[i].name || a.Baseline <= 0 || a.With != got.Rate || a.HitRate.With != got.HitRate {
			t.Errorf("%+v", a)
		}
		// Others start together: how much of a first prompt is found depends on who is first.
		if fewer := a.Feature == "pool" || a.Feature == "all of them"; fewer && a.HitRate.Baseline >= a.HitRate.With {
			t.Errorf("without %s: hit rates %+v", a.Feature, a.HitRate)
		}
	}
	if last := got.Ablated[len(ablations)-1]; last.HitRate.Baseline != 0 {
		t.Errorf("without anything %v of the prompts are found", last.HitRate.Baseline)
	}
	text := ok(t, "", "bench", "multi-turn", "-model", testenv.SmolLM2(t), "-users", "2", "-turns", "1", "-gen", "2", "-system", "3", "-reps", "1")
	if !strings.Contains(text, "2 users × 1 turns × 2 tokens") {
		t.Errorf("%s", text)
	}
}

// TestBenchPrefix: what one process has computed is there for the next one that has the same file.
func TestBenchPrefix(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kv")
	for life := range 2 {
		var got prefixBench
		out := ok(t, "", "bench", "prefix", "-model", testenv.SmolLM2(t), "-tokens", "200", "-more", "40", "-gen", "4", "-reps", "2", "-file", file, "-json")
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.First) != 2 || len(got.Second) != 2 || got.Open <= 0 || got.Backend == "" {
			t.Fatalf("%+v", got)
		}
		for i, f := range got.First {
			if s := got.Second[i]; s.Prompt != 244 || f.Prompt != 200 || s.TTFT <= 0 || f.TTFT <= 0 || s.Cached < 203 {
				t.Errorf("life %d: %+v, %+v", life, f, s)
			}
		}
		// The engine's first request knows no speed yet, and restores whatever is there.
		if f := got.First[0]; life == 0 && f.Cached != 0 || life == 1 && (f.Cached != 192 || got.Restored < 192) {
			t.Errorf("life %d: %+v, %d tokens restored", life, f, got.Restored)
		}
	}
	text := ok(t, "", "bench", "prefix", "-model", testenv.SmolLM2(t), "-tokens", "40", "-reps", "1")
	if !strings.Contains(text, "prompt of 40 tokens, 0 found") {
		t.Errorf("%s", text)
	}
}

func TestChatWork(t *testing.T) {
	a, b, c := newChatWork(3, 2, 10, 1), newChatWork(3, 2, 10, 1), newChatWork(3, 2, 10, 2)
	if fmt.Sprint(a) != fmt.Sprint(b) || a.System == c.System || len(a.Users) != 3 || len(a.Users[2]) != 2 || a.Users[0][0] == a.Users[1][0] {
		t.Errorf("%+v\n%+v", a, c)
	}
	for _, bad := range []string{"", "[]", `{"users":[]}`, `{"users":[["a"],["b","c"]]}`, `{"users":[[]]}`} {
		path := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(path, []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readChatWork(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestPercentiles: ranks as bench/load.py takes them, and the same numbers from replies.
func TestPercentiles(t *testing.T) {
	var v []float64
	for i := range 100 {
		v = append(v, float64(99-i))
	}
	if p := percentilesOf(v); p != (percentiles{50, 95, 99, 49.5}) {
		t.Errorf("%+v", p)
	}
	if p := percentilesOf([]float64{3}); p != (percentiles{3, 3, 3, 3}) || percentilesOf(nil) != (percentiles{}) {
		t.Errorf("%+v", p)
	}
	at := func(ms int) time.Time { return time.Unix(1, 0).Add(time.Duration(ms) * time.Millisecond) }
	rs := []reply{{began: at(0), spoke: at(7), arrived: []time.Time{at(5), at(7), at(17)}, usage: krserve.Usage{PromptTokens: 8, CachedTokens: 6}},
		{began: at(1), spoke: at(4), arrived: []time.Time{at(4)}, usage: krserve.Usage{PromptTokens: 2}}}
	if f, i, h := ttfts(rs), itls(rs), hitRate(rs); f.P50 != 7 || f.Mean != 5 || i.P50 != 10 || i.Mean != 6 || h != 0.6 {
		t.Errorf("%+v, %+v, %v", f, i, h)
	}
}
