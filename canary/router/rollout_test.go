package router_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/krserve/krserve"
	"github.com/krserve/krserve/canary"
	"github.com/krserve/krserve/canary/journal"
	"github.com/krserve/krserve/internal/testenv"
)

const rolloutEnv = "KRSERVE_TEST_ROLLOUT"

// TestRollout rolls out a second engine of the same model under concurrent streaming load, in a process that is killed
// and started again: a good canary takes over all traffic, a bad one is rolled back, and the arm that lost is drained
// and closed. No stream is dropped or mixed. No decision that the process has reported is lost, and no evidence that was
// known one decision before the last.
func TestRollout(t *testing.T) {
	if spec := os.Getenv(rolloutEnv); spec != "" {
		if err := serveRollout(spec); err != nil {
			emit(event{Kind: "failed", Text: err.Error()})
			os.Exit(1)
		}
		return
	}
	model, cache := testenv.SmolLM2(t), t.TempDir()
	texts := alone(t, model, cache)
	for i, c := range []struct {
		fault string
		kills []string // when each life ends but the last: after a decision, or after some outcomes
		want  string   // decisions, as a regular expression
	}{
		{"", []string{"decision", "outcomes", "decision"}, `^\[progressing1 progressing2 progressing3 succeeded3\]$`},
		{"errors", []string{"outcomes", "decision"}, `^\[failed0\]$`},
		{"slow", []string{"outcomes", "outcomes"}, `^\[(progressing\d )*failed\d\]$`}, // where stable is slow at times, later
		{"empty", []string{"outcomes"}, `^\[failed0\]$`},
	} {
		t.Run("fault="+c.fault, func(t *testing.T) {
			if testing.Short() {
				c.kills = c.kills[:1]
			}
			p := &parent{T: t, rng: rand.New(rand.NewPCG(uint64(i), 7)), rollout: rollout{Model: model, Cache: cache, Fault: c.fault, Texts: texts,
				Journal: filepath.Join(t.TempDir(), "journal"), Start: time.Now(), Canary: map[string]bool{}}}
			for _, when := range append(c.kills, "") {
				p.live(when)
				p.Life++
			}
			var got []string
			for _, d := range p.durable {
				got = append(got, fmt.Sprint(d.To.Phase, d.To.Stage))
			}
			if !regexp.MustCompile(c.want).MatchString(fmt.Sprint(got)) {
				t.Errorf("decisions %v, want %s", got, c.want)
			}
			gate := map[string]string{"errors": canary.GateErrors, "slow": canary.GateTTFT, "empty": canary.GateEmpty}[c.fault]
			if last := p.durable[len(p.durable)-1]; !strings.HasPrefix(last.To.Reason, gate) {
				t.Errorf("decided because of %q", last.To.Reason)
			}
			t.Logf("%d lives, %d outcomes", p.Life, p.served)
		})
	}
}

// alone returns what each arm's version answers when nothing else runs.
func alone(t *testing.T, model, cache string) (texts [2][]string) {
	e, err := krserve.Open(context.Background(), krserve.Config{Model: model, CacheDir: cache, ContextTokens: 64, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for v, version := range versions {
		for i := range prompts {
			r, err := e.Generate(context.Background(), request(i, version))
			if err != nil {
				t.Fatal(err)
			}
			texts[v] = append(texts[v], r.Text)
		}
	}
	for i := range prompts {
		if texts[0][i] == texts[1][i] || texts[0][i] == texts[0][(i+1)%len(prompts)] {
			t.Fatalf("answers that a mix-up would not change: %q", texts)
		}
	}
	return texts
}

// parent starts and kills serving processes and compares what they report with what they leave behind.
type parent struct {
	*testing.T
	rollout
	rng      *rand.Rand
	acked    []canary.State // decisions that were reported
	evidence int64          // outcomes that were reported as durable
	served   int64
	durable  []canary.Decision // in the journal
}

// live runs one process, to its end or until the moment of its death has come.
func (p *parent) live(kill string) {
	p.Helper()
	spec, err := json.Marshal(p.rollout)
	if err != nil {
		p.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestRollout$")
	cmd.Env = append(os.Environ(), rolloutEnv+"="+string(spec))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.Fatal(err)
	}
	left := 1 + p.rng.Int64N(60) // outcomes until death
	delay := time.Duration(p.rng.Int64N(3_000_000))
	killed, ended := false, false
	die := func() {
		if !killed {
			time.Sleep(delay)
			killed = true
			cmd.Process.Kill()
		}
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue // the test binary's own words
		}
		switch e.Kind {
		case "recovered":
			p.recovered(e)
			if _, _, err := journal.Open(p.Journal); !killed && !errors.Is(err, journal.ErrLocked) {
				p.Errorf("a second process opens the journal: %v", err)
			}
		case "decision":
			p.acked = append(p.acked, *e.State)
			if kill == "decision" {
				die()
			}
		case "evidence":
			p.evidence = max(p.evidence, e.N)
		case "served":
			p.served++
			if e.Text == canary.Canary.String() {
				p.Canary[e.Key] = true
			}
			if left--; kill == "outcomes" && left < 0 {
				die()
			}
		case "failed":
			p.Error(e.Text)
		case "ended":
			ended = true
		}
	}
	if err := cmd.Wait(); !killed && (err != nil || !ended) {
		p.Errorf("life %d: %v, ended %v", p.Life, err, ended)
	}
	p.autopsy()
	if p.Failed() {
		p.FailNow()
	}
}

// recovered compares where a process begins with where the one before it was.
func (p *parent) recovered(e event) {
	want := fmt.Sprint(canary.Progressing, 0)
	if n := len(p.durable); n > 0 {
		want = text(p.durable[n-1].To)
		if got := text(*e.State); got != want {
			p.Errorf("life %d begins with %s after %s", p.Life, got, want)
		}
	} else if got := fmt.Sprint(e.State.Phase, e.State.Stage); got != want {
		p.Errorf("life %d begins with %s", p.Life, got)
	}
	// Up to four outcomes of each life were known and not reported.
	if most := p.served + 4*int64(p.Life); e.N < p.evidence || e.N > most {
		p.Errorf("life %d begins with %d outcomes, of %d that were durable and %d that there may have been", p.Life, e.N, p.evidence, most)
	}
}

// autopsy reads the journal: all that was reported is there, in order, and each decision follows from the one before.
func (p *parent) autopsy() {
	j, rec, err := journal.Open(p.Journal)
	if err != nil {
		p.Fatalf("life %d: %v", p.Life, err)
	}
	defer j.Close()
	p.durable = nil
	for _, r := range rec.Records {
		if r.Decision != nil {
			p.durable = append(p.durable, *r.Decision)
		}
	}
	for i, d := range p.durable {
		if i > 0 && text(d.From) != text(p.durable[i-1].To) {
			p.Errorf("decision %d from %s after %s", i, text(d.From), text(p.durable[i-1].To))
		}
	}
	if len(p.acked) > len(p.durable) {
		p.Fatalf("life %d: %d decisions were reported, %d are durable", p.Life, len(p.acked), len(p.durable))
	}
	for i, s := range p.acked {
		if text(s) != text(p.durable[i].To) {
			p.Errorf("life %d: decision %d was %s and is %s", p.Life, i, text(s), text(p.durable[i].To))
		}
	}
	p.acked = p.acked[:0]
	for _, d := range p.durable {
		p.acked = append(p.acked, d.To) // what was durable and not yet reported counts as well
	}
}

func text(s canary.State) string {
	b, _ := json.Marshal(s)
	return string(b)
}
