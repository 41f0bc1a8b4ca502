package regress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func goBench(name string, values ...float64) string {
	s := ""
	for _, v := range values {
		s += fmt.Sprintf("Benchmark%s 1 %g ns/op\n", name, v)
	}
	return s
}

func around(rng *rand.Rand, level float64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = level * (1 + 0.01*rng.NormFloat64())
	}
	return out
}

func parse(t *testing.T, text string) []Sample {
	t.Helper()
	list, err := Parse([]byte(text), "test")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestCompare(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	before := parse(t, goBench("Slower", around(rng, 100, 12)...)+goBench("Faster", around(rng, 100, 12)...)+
		goBench("Same", 5, 5, 5, 5, 5, 5)+goBench("Few", 1, 1)+goBench("Gone", 1))
	after := parse(t, goBench("Slower", around(rng, 120, 12)...)+goBench("Faster", around(rng, 80, 12)...)+
		goBench("Same", 5, 5, 5, 5, 5, 5)+goBench("Few", 9, 9)+goBench("Fresh", 1))
	rep, err := Compare(before, after, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Verdict{"Slower": Regression, "Faster": Improvement, "Same": Same, "Few": Unclear}
	for _, r := range rep.Results {
		if r.Verdict != want[r.Name] {
			t.Errorf("%s: %s: %s", r.Name, r.Verdict, r.Reason)
		}
	}
	if len(rep.Results) != len(want) || len(rep.OnlyOld) != 1 || len(rep.OnlyNew) != 1 || len(rep.Regressions()) != 1 {
		t.Errorf("%+v", rep)
	}
}

// TestWriteGo sends samples through the format that benchstat reads.
func TestWriteGo(t *testing.T) {
	want := []Sample{{Name: "A", Unit: "sec/op", Values: []float64{1, 2.5}}, {Name: "B/x=1", Unit: "tok/s", Higher: true, Values: []float64{3}}}
	var b bytes.Buffer
	if err := WriteGo(&b, want); err != nil {
		t.Fatal(err)
	}
	if got := parse(t, b.String()); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestParseRejects(t *testing.T) {
	for _, text := range []string{"", "no results\n", "{", `{"prefill_tok_s": "x"}`, "BenchmarkX 1 NaN ns/op\n"} {
		if _, err := Parse([]byte(text), "file"); !errors.Is(err, ErrInput) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestRun measures a side against itself, and one that is slower.
func TestRun(t *testing.T) {
	for _, c := range []struct {
		factor float64
		want   int
	}{{1, 0}, {1.3, 1}} {
		rng := rand.New(rand.NewPCG(3, 4))
		side := func(level float64) Measure {
			return func(context.Context) ([]Sample, error) {
				return []Sample{{Name: "X", Unit: "sec/op", Values: around(rng, level, 1)}}, nil
			}
		}
		job, err := Run(context.Background(), Plan{Old: side(1), New: side(c.factor)})
		if err != nil {
			t.Fatal(err)
		}
		got := job.Report.Regressions()
		if len(got) != c.want || c.want == 1 && !got[0].Confirmed {
			t.Errorf("factor %g: %+v", c.factor, job.Report.Results)
		}
	}
}

// TestFalseAlarms looks at flat histories after every one of 100 commits: at most 5 % may ever raise an alarm.
func TestFalseAlarms(t *testing.T) {
	alarms := 0
	const runs = 400
	for i := range runs {
		rng := rand.New(rand.NewPCG(uint64(i), 99))
		if len(Detect(around(rng, 100, 100), HistoryOptions{MinEffect: 1e-9})) > 0 {
			alarms++
		}
	}
	// 5 % of the runs, and three standard errors.
	if limit := 0.05*runs + 3*math.Sqrt(0.05*0.95*runs); float64(alarms) > limit {
		t.Errorf("%d of %d flat histories raised an alarm, want at most %.0f", alarms, runs, limit)
	}
}

// TestDetect finds a step where it is, and its alarms are those of every longer history.
func TestDetect(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	xs := append(around(rng, 100, 40), around(rng, 110, 40)...)
	all := Detect(xs, HistoryOptions{})
	if len(all) != 1 || all[0].First > 40 || all[0].Last < 40 || all[0].Kind != Step || all[0].Passing {
		t.Fatalf("%+v", all)
	}
	for n := range len(xs) {
		got := Detect(xs[:n], HistoryOptions{})
		if want := n > all[0].Alarm; (len(got) == 1) != want {
			t.Errorf("after %d commits %d alarms; the alarm is at %d", n, len(got), all[0].Alarm)
		}
	}
}

func TestHistory(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	text := "commit,X (sec/op),Y (tok/s)\n"
	for i, v := range append(around(rng, 100, 30), around(rng, 150, 30)...) {
		text += fmt.Sprintf("c%d,%g,%g\n", i, v, v)
	}
	series, err := ParseHistory([]byte(text), "h.csv")
	if err != nil {
		t.Fatal(err)
	}
	found, err := History(series, HistoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 || found[0].Regressed != 0 || found[1].Regressed != -1 {
		t.Fatalf("%+v", found) // X is a time, Y a rate
	}
	if first, last := found[0].Range(found[0].Changes[0]); first != "c30" || last != "c30" {
		t.Errorf("%s … %s", first, last)
	}
}
