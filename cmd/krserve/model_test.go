package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/testenv"
	"github.com/krserve/krserve/tokenizer"
)

type engineGolden struct {
	Cases []struct {
		Text     string       `json:"text"`
		IDs      []uint32     `json:"ids"`
		LogProbs []float64    `json:"logprobs"`
		Top      [][2]float64 `json:"top"`
		Greedy   []uint32     `json:"greedy"`
		Margin   []float64    `json:"margin"`
	} `json:"cases"`
}

type scoreAnswer struct {
	IDs      []uint32     `json:"ids"`
	LogProbs []float64    `json:"logprobs"`
	Top      [][2]float64 `json:"top"`
	Logits   []float64    `json:"logits_first64"`
	Greedy   []uint32     `json:"greedy"`
	Error    string       `json:"error"`
}

// TestScore holds the command against the float32 goldens: by ids and by text, on the backend that needs no C.
func TestScore(t *testing.T) {
	data, err := os.ReadFile(testenv.Golden("engine", "smollm2.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g engineGolden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	cases := g.Cases[:2]
	var in strings.Builder
	for _, c := range cases {
		in.WriteString(jsonLine(t, map[string]any{"ids": c.IDs, "greedy": 8}))
	}
	in.WriteString(jsonLine(t, map[string]any{"text": cases[0].Text}))
	in.WriteString("{\"ids\":[]}\n{\"ids\":[99999999]}\n{}\n{\"ids\":[1],\"text\":\"a\"}\n{\"ids\":[1],\"greedy\":-1}\n{\"ids\":[1]}\n")
	got := lines[scoreAnswer](t, ok(t, in.String(), "score", "-model", testenv.SmolLM2(t), "-backend", "reference"))
	if len(got) != len(cases)+7 {
		t.Fatalf("%d answers", len(got))
	}
	for i, c := range cases {
		a := got[i]
		if len(a.LogProbs) != len(c.IDs)-1 || len(a.Top) != 20 || len(a.Logits) != 64 || fmt.Sprint(a.IDs) != fmt.Sprint(c.IDs) {
			t.Fatalf("case %d: %d logprobs, %d top, %d logits, error %q", i, len(a.LogProbs), len(a.Top), len(a.Logits), a.Error)
		}
		sum := 0.0
		for j := range c.LogProbs {
			sum += math.Abs(a.LogProbs[j] - c.LogProbs[j])
		}
		if mean := sum / float64(len(c.LogProbs)); mean > 0.002 {
			t.Errorf("case %d: mean distance %.4f", i, mean)
		}
		for j := range c.Top[:5] {
			if a.Top[j][0] != c.Top[j][0] || math.Abs(a.Top[j][1]-c.Top[j][1]) > 0.01 {
				t.Errorf("case %d: top %d is %v, want %v", i, j, a.Top[j], c.Top[j])
			}
		}
		for j, id := range a.Greedy {
			if c.Margin[j] < 0.5 {
				break
			}
			if id != c.Greedy[j] {
				t.Errorf("case %d: greedy step %d is %d, want %d (margin %.2f)", i, j, id, c.Greedy[j], c.Margin[j])
			}
		}
		if len(a.Greedy) != 8 {
			t.Errorf("case %d: %d greedy ids", i, len(a.Greedy))
		}
	}
	byText := got[len(cases)]
	if fmt.Sprint(byText.IDs) != fmt.Sprint(cases[0].IDs) || byText.LogProbs[3] != got[0].LogProbs[3] || byText.Greedy == nil {
		t.Errorf("by text: %+v", byText)
	}
	for i, a := range got[len(cases)+1:] {
		if last := i == 5; (a.Error == "") != last {
			t.Errorf("bad line %d: %+v", i, a)
		} else if last && (len(a.LogProbs) != 0 || len(a.Top) != 20) {
			t.Errorf("one id: %+v", a)
		}
	}
}

func TestRun(t *testing.T) {
	model := testenv.SmolLM2(t)
	// The reference: the first token leads by 0.08 nats only, less than rounding of activations.
	if out := ok(t, "", "run", "-model", model, "-backend", "reference", "-n", "12", "What is the capital of France?"); !strings.Contains(out, "Paris") || !strings.HasSuffix(out, "\n") {
		t.Errorf("chat: %q", out)
	}
	raw := ok(t, "", "run", "-raw", "-model", model, "One, two, three,", "-n=6") // flags may follow
	if !strings.Contains(raw, "four") {
		t.Errorf("raw: %q", raw)
	}
	if piped := ok(t, "One, two, three,\n", "run", "-raw", "-model", model, "-n", "6"); piped != raw {
		t.Errorf("piped: %q, want %q", piped, raw)
	}
	if dashed := ok(t, "", "run", "-raw", "-model", model, "-n", "2", "--", "-5 and"); dashed == "" {
		t.Error("a prompt behind --: nothing")
	}
	sample := func(seed string) string {
		return ok(t, "", "run", "-raw", "-model", model, "-n", "12", "-temp", "1.2", "-seed", seed, "Once upon a time")
	}
	if a, b, c := sample("7"), sample("7"), sample("8"); a != b || a == c {
		t.Errorf("seeds: %q, %q, %q", a, b, c)
	}
	with := ok(t, "", "run", "-model", model, "-n", "12", "-system", "Answer in French.", "Good morning!")
	if without := ok(t, "", "run", "-model", model, "-n", "12", "Good morning!"); with == without {
		t.Errorf("-system changes nothing: %q", with)
	}
}

func TestBench(t *testing.T) {
	out := ok(t, "", "bench", "-model", testenv.SmolLM2(t), "-prompt", "24", "-gen", "4", "-parallel", "1,2", "-reps", "2", "-json")
	var got modelBench
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Backend == "" || got.Device == "" || got.Threads < 1 || got.Prefill <= 0 || got.Decode <= 0 || got.TTFT <= 0 ||
		got.Bandwidth <= 0 || len(got.Reps) != 2 || len(got.Parallel) != 2 {
		t.Errorf("%+v", got)
	}
	for _, p := range got.Parallel {
		if p.TTFT.P50 <= 0 || p.TTFT.P99 < p.TTFT.P50 || p.ITL.P99 <= 0 || p.HitRate != 0 || len(p.Ablated) != 0 {
			t.Errorf("%+v", p)
		}
	}
	if p := got.Parallel[1]; p.N != 2 || p.Prompt != 24 || p.Gen != 4 || p.Prefill <= 0 || p.Decode <= 0 || p.Total <= 0 || len(p.Reps) != 2 {
		t.Errorf("%+v", p)
	}
	if want := 1e3 * float64(got.Prompt) / got.Reps[0].Prefill; math.Abs(want-got.Reps[0].TTFT) > 1e-6*want {
		t.Errorf("prefill and time to first token disagree: %+v", got.Reps[0])
	}
	for _, key := range []string{"backend", "device", "threads", "prefill_tok_s", "decode_tok_s", "ttft_ms", "bandwidth_fraction", "parallel"} {
		if !strings.Contains(out, `"`+key+`":`) {
			t.Errorf("no %q in %s", key, out)
		}
	}
	out = ok(t, "", "bench", "-model", testenv.SmolLM2(t), "-prompt", "4", "-gen", "2", "-parallel", "2", "-reps", "1", "-ablate")
	for _, want := range []string{"2 at once", "improvement", "parallel encode", "speculation", "all of them"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
}

func TestBenchTokenizer(t *testing.T) {
	text := strings.Repeat("The quick brown fox jumps over 13 lazy dogs. Ä\n", 2000)
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	path := testenv.Tokenizer(t, "qwen3")
	var got tokenizerBench
	if err := json.Unmarshal([]byte(ok(t, "", "bench", "tokenizer", "-tokenizer", path, "-file", file, "-threads", "1", "-json")), &got); err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	ids := tok.Encode(text)
	sum := sha256.New()
	for _, id := range ids {
		sum.Write(binary.LittleEndian.AppendUint32(nil, id))
	}
	if got.SHA256 != hex.EncodeToString(sum.Sum(nil)) || got.Tokens != len(ids) || got.Bytes != len(text) {
		t.Errorf("%+v, want %d tokens", got, len(ids))
	}
	if got.LoadMS <= 0 || got.ColdMBs <= 0 || got.WarmMBs <= 0 {
		t.Errorf("%+v", got)
	}
}

func TestDoctor(t *testing.T) {
	var d diagnosis
	if err := json.Unmarshal([]byte(ok(t, "", "doctor", "-json")), &d); err != nil {
		t.Fatal(err)
	}
	if d.CPU == "" || d.Threads < 1 || d.ReadGBps <= 0 || d.Default == "" || d.Unhealthy != 0 || len(d.Kernels) == 0 {
		t.Errorf("%+v", d)
	}
	for _, k := range d.Kernels {
		if k.Usable && (k.Types < 10 || k.Worst > deviationLimit) {
			t.Errorf("%+v", k)
		}
	}
	if d.Default == "cpu" && runtime.GOARCH == "amd64" && len(d.Speed) != 7 {
		t.Errorf("speeds: %q", d.Speed)
	}
	if text := ok(t, "", "doctor"); !strings.Contains(text, "reference") || !strings.Contains(text, d.CPU) {
		t.Errorf("%s", text)
	}
}

// TestSelfTestSees: a kernel that gets one sign wrong is not let through.
func TestSelfTestSees(t *testing.T) {
	want := []float32{1, -2, 3, 4}
	if d := deviation(want, want); d != 0 {
		t.Errorf("equal: %v", d)
	}
	for _, got := range [][]float32{{1, 2, 3, 4}, {2, -4, 6, 8}, {1, -2, 3}, {1, -2, 3, float32(math.NaN())}, nil} {
		if d := deviation(got, want); d <= deviationLimit {
			t.Errorf("%v passes with %v", got, d)
		}
	}
}
