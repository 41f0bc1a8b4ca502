package regress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
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
		goBench("Same", 5, 5, 5, 5, 5, 5)+goBench("Few", 1, 1)+goBench("One", 1)+goBench("Gone", 1))
	after := parse(t, goBench("Slower", around(rng, 120, 12)...)+goBench("Faster", around(rng, 80, 12)...)+
		goBench("Same", 5, 5, 5, 5, 5, 5)+goBench("Few", 9, 9)+goBench("One", 1)+goBench("Fresh", 1))
	rep, err := Compare(before, after, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Verdict{"Slower": Regression, "Faster": Improvement, "Same": Same, "Few": Unclear, "One": Unclear}
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

// TestParseRejects: what cannot be read is named by file and line.
func TestParseRejects(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "file: no benchmark results",
		"no results\n":               "file: no benchmark results among 1 lines",
		"{":                          "file: JSON before byte 0",
		`{"prefill_tok_s": "x"}`:     "file: JSON before byte",
		"\nBenchmarkX 1 NaN ns/op\n": "file:2: X has the value NaN",
		"BenchmarkX 1 +Inf ns/op\n":  "file:1: X has the value +Inf",
		"BenchmarkX 1 5\n":           "file:1: ",
	} {
		if _, err := Parse([]byte(text), "file"); !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                               "file: no measurements with a commit",
		"commit,a\nx,1\ny,nan\n":         `file:3: column "a": "nan" is not a finite number`,
		"commit,a\nx,1\n,2\n":            "file:3: no commit",
		"commit,a\nx,1,2\n":              "file: record on line 2",
		"commit,a,a\nx,1,2\n":            `file:1: columns 2 and 3 are both "a"`,
		"time;commit;a\n1;x;2\n":         `file:1: no column "commit"`,
		"sha,a\nx,1\n":                   `file:1: no column "commit"`,
		"commit,a\nx,\ny,\n":             "file: no measurements with a commit",
		"BenchmarkX 1 5 ns/op\n":         "file:1: X has no commit",
		`{"name":"a","value":1}`:         `file:1: no "commit"`,
		`{"commit":"x","name":"a"}`:      `file:1: "a" has neither`,
		"{\"commit\":\"x\"}\n":           "file:1: neither",
		`{"commit":"x","value":1e999}`:   "file:1: ",
		"{\"commit\":\"x\",\n\"a\":1}\n": "file:1: ",
	} {
		if _, err := ParseHistory([]byte(text), "file"); !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestPackages: benchmarks of one name in two packages are two series; one that only one package has keeps its name.
func TestPackages(t *testing.T) {
	list := parse(t, "pkg: x/a\nBenchmarkE 1 5 ns/op\nBenchmarkF 1 5 ns/op\npkg: x/b\nBenchmarkE 1 900 ns/op\n")
	var names []string
	for _, s := range list {
		names = append(names, s.Name)
	}
	if got := strings.Join(names, " "); got != "x/a.E F x/b.E" {
		t.Error(got)
	}
}

// TestNegative: values of either sign are compared by their difference.
func TestNegative(t *testing.T) {
	rep, err := Compare(parse(t, goBench("X", -3, -2, -1, 0, 1, 2)), parse(t, goBench("X", 97, 98, 99, 100, 101, 102)), Options{})
	if err != nil || rep.Results[0].Verdict != Regression {
		t.Errorf("%+v, %v", rep, err)
	}
}

// TestManySeries: the correction holds for thousands of series, and one that is far worse is still found among them.
func TestManySeries(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	var before, after []Sample
	for i := range 1000 {
		name, level := fmt.Sprint("S", i), 100.0
		if i == 234 {
			level = 200
		}
		before = append(before, Sample{Name: name, Unit: "sec/op", Values: around(rng, 100, 10)})
		after = append(after, Sample{Name: name, Unit: "sec/op", Values: around(rng, level, 10)})
	}
	rep, err := Compare(before, after, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if worse := rep.Regressions(); len(worse) != 1 || worse[0].Name != "S234" {
		t.Errorf("%+v", worse)
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

// TestRunNoise: what differs as much when the old side is measured twice is noise, and what some blocks lack is named.
func TestRunNoise(t *testing.T) {
	calls, level := 0, 1.0
	machine := func(context.Context) ([]Sample, error) {
		calls++
		level *= 1.02 // a machine that slows down all the time
		list := []Sample{{Name: "X", Unit: "sec/op", Values: []float64{level}}}
		if calls%5 > 0 {
			list = append(list, Sample{Name: "Y", Unit: "sec/op", Values: []float64{1}})
		}
		return list, nil
	}
	job, err := Run(context.Background(), Plan{Old: machine, New: machine})
	if err != nil {
		t.Fatal(err)
	}
	if len(job.Report.Regressions()) > 0 || len(job.Report.Results) != 1 {
		t.Errorf("%+v", job.Report.Results)
	}
	if len(job.Incomplete) != 1 || job.Incomplete[0] != "Y sec/op" {
		t.Errorf("incomplete: %q", job.Incomplete)
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
