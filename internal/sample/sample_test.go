package sample

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
)

func TestExpNeg(t *testing.T) {
	for i := range 600001 {
		d := float64(i) * 1e-4
		got, want := expNeg(d), math.Exp(-d)
		if math.Abs(got-want) > 2e-12*want {
			t.Fatalf("expNeg(%v) = %v, want %v: relative error %v", d, got, want, got/want-1)
		}
	}
}

// refDistribution is the obvious reading of the package comment: sort everything, cut, normalise.
func refDistribution(logits []float32, p Params, prompt, answer []uint32) []float64 {
	x := make([]float64, len(logits))
	l32 := slices.Clone(logits)
	for _, b := range p.Bias {
		l32[b.ID] += b.Value
	}
	count, seen := map[uint32]int{}, map[uint32]bool{}
	for _, id := range prompt {
		seen[id] = true
	}
	for _, id := range answer {
		seen[id] = true
		count[id]++
	}
	for i := range x {
		v := l32[i]
		if p.Repetition != 0 && seen[uint32(i)] {
			if v < 0 {
				v *= p.Repetition
			} else {
				v /= p.Repetition
			}
		}
		if n := count[uint32(i)]; n > 0 {
			v -= p.Frequency*float32(n) + p.Presence
		}
		x[i] = float64(v)
	}
	idx := make([]int, len(x))
	for i := range idx {
		idx[i] = i
	}
	sort.SliceStable(idx, func(a, b int) bool { return x[idx[a]] > x[idx[b]] })
	out := make([]float64, len(x))
	if p.Temperature == 0 {
		out[idx[0]] = 1
		return out
	}
	w := func(i int) float64 { return math.Exp((x[i] - x[idx[0]]) / float64(p.Temperature)) }
	keep := len(idx)
	if p.TopK > 0 {
		keep = min(keep, p.TopK)
	}
	if p.TopP > 0 && p.TopP < 1 {
		total, sum := 0.0, 0.0
		for _, i := range idx[:keep] {
			total += w(i)
		}
		for n, i := range idx[:keep] {
			if sum += w(i); sum >= float64(p.TopP)*total {
				keep = n + 1
				break
			}
		}
	}
	total := 0.0
	for n, i := range idx[:keep] {
		if n > 0 && w(i) < float64(p.MinP) {
			keep = n
			break
		}
	}
	for _, i := range idx[:keep] {
		out[i] = w(i)
		total += out[i]
	}
	for i := range out {
		out[i] /= total
	}
	return out
}

func randomLogits(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		switch r.IntN(20) {
		case 0:
			x[i] = float32(math.Inf(-1))
		case 1, 2:
			x[i] = float32(r.IntN(4)) // ties
		default:
			x[i] = float32(r.NormFloat64() * 4)
		}
	}
	x[r.IntN(n)] = 5
	return x
}

func randomParams(r *rand.Rand, vocab int) Params {
	pick := func(v ...float32) float32 { return v[r.IntN(len(v))] }
	p := Params{
		Temperature: pick(0, 0.1, 0.7, 1, 1.5, 3), TopP: pick(0, 0, 0.05, 0.3, 0.9, 0.999, 1), MinP: pick(0, 0, 0.02, 0.2, 1),
		TopK: []int{0, 0, 1, 2, 5, vocab - 1, vocab, vocab + 5}[r.IntN(8)], Repetition: pick(0, 1, 1.3, 0.8),
		Presence: pick(0, 0, 0.5, -0.5), Frequency: pick(0, 0, 0.3, -0.2), Seed: r.Uint64(), Choice: r.Uint32N(3),
	}
	for range r.IntN(4) {
		p.Bias = append(p.Bias, Bias{r.Uint32N(uint32(vocab)), pick(-100, -1, 0.5, 3, float32(math.Inf(-1)))})
	}
	return p
}

// TestAgainstReference draws with many settings and requires tokens of the reference's support, at the frequencies
// that its probabilities say: a chi-square test per setting.
func TestAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var tmp Scratch
	over := 0
	const settings, draws = 400, 3000
	for n := range settings {
		vocab := 2 + r.IntN(60)
		logits, p := randomLogits(r, vocab), randomParams(r, vocab)
		prompt, answer := randomIDs(r, vocab, 6), randomIDs(r, vocab, 6)
		want := refDistribution(logits, p, prompt, answer)
		if slices.ContainsFunc(want, math.IsNaN) {
			continue // every token banned
		}
		s, err := New(p, vocab)
		if err != nil {
			t.Fatal(err)
		}
		s.Prompt(prompt)
		for _, id := range answer {
			s.Accept(id)
		}
		before := slices.Clone(logits)
		got := make([]float64, vocab)
		for i := range uint64(draws) {
			d, err := s.Sample(logits, i, nil, &tmp)
			if err != nil {
				t.Fatalf("setting %d %+v: %v", n, p, err)
			}
			got[d.ID]++
		}
		if !slices.Equal(before, logits) {
			t.Fatal("the logits were not restored")
		}
		stat, cells, rest, restWant := 0.0, 0, 0.0, 0.0
		for i := range got {
			e := want[i] * draws
			if e == 0 && got[i] > 0 {
				t.Fatalf("setting %d %+v: token %d drawn %v times, which the reference excludes", n, p, i, got[i])
			}
			if e < 5 {
				rest, restWant = rest+got[i], restWant+e
				continue
			}
			stat += (got[i] - e) * (got[i] - e) / e
			cells++
		}
		if restWant >= 5 {
			stat += (rest - restWant) * (rest - restWant) / restWant
			cells++
		}
		if cells > 1 && stat > chiSquare(cells-1, 3.09) {
			over++
		}
	}
	// A share of 0.001 of correct settings exceeds the 99.9 % point; five of 400 has a chance below 1e-4.
	if over > 4 {
		t.Errorf("%d of %d settings exceed the 99.9 %% point of chi-square", over, settings)
	}
}

// chiSquare approximates the quantile of z standard deviations: Wilson and Hilferty, PNAS 1931.
func chiSquare(df int, z float64) float64 {
	k := float64(df)
	return k * math.Pow(1-2/(9*k)+z*math.Sqrt(2/(9*k)), 3)
}

func randomIDs(r *rand.Rand, vocab, n int) []uint32 {
	ids := make([]uint32, r.IntN(n))
	for i := range ids {
		ids[i] = r.Uint32N(uint32(vocab))
	}
	return ids
}

// TestChiSquareCatches: the test above must see a wrong distribution.
func TestChiSquareCatches(t *testing.T) {
	const draws = 3000
	want := []float64{0.5, 0.3, 0.2}
	s, _ := New(Params{Temperature: 1.25, Seed: 1}, 3)
	logits := []float32{float32(math.Log(0.5)), float32(math.Log(0.3)), float32(math.Log(0.2))}
	var tmp Scratch
	got := make([]float64, 3)
	for i := range uint64(draws) {
		d, err := s.Sample(logits, i, nil, &tmp)
		if err != nil {
			t.Fatal(err)
		}
		got[d.ID]++
	}
	stat := 0.0
	for i := range got {
		e := want[i] * draws
		stat += (got[i] - e) * (got[i] - e) / e
	}
	if stat < chiSquare(2, 3.09) {
		t.Errorf("a temperature of 1.25 passes for 1: statistic %v", stat)
	}
}

func TestLargeVocabulary(t *testing.T) {
	const vocab = 262144
	r := rand.New(rand.NewPCG(3, 4))
	logits := make([]float32, vocab)
	for i := range logits {
		logits[i] = float32(r.NormFloat64() * 3)
	}
	var tmp Scratch
	for _, p := range []Params{
		{Temperature: 1}, {Temperature: 1, TopP: 0.9}, {Temperature: 0.7, TopK: 40, TopP: 0.95}, {Temperature: 1, MinP: 0.05}, {Temperature: 2, TopP: 0.99, MinP: 0.001},
	} {
		want := refDistribution(logits, p, nil, nil)
		p.Seed = 7
		s, err := New(p, vocab)
		if err != nil {
			t.Fatal(err)
		}
		// The mean log-probability of the draws is minus the entropy, within five standard errors.
		entropy, second := 0.0, 0.0
		for _, q := range want {
			if q > 0 {
				entropy -= q * math.Log(q)
				second += q * math.Log(q) * math.Log(q)
			}
		}
		const draws = 300
		sum := 0.0
		for i := range uint64(draws) {
			d, err := s.Sample(logits, i, nil, &tmp)
			if err != nil {
				t.Fatal(err)
			}
			if want[d.ID] == 0 {
				t.Fatalf("%+v: token %d is outside the support", p, d.ID)
			}
			sum -= math.Log(want[d.ID])
		}
		se := math.Sqrt(max(second-entropy*entropy, 1e-12) / draws)
		if diff := math.Abs(sum/draws - entropy); diff > 5*se {
			t.Errorf("%+v: mean surprise %v, entropy %v, standard error %v", p, sum/draws, entropy, se)
		}
	}
}

func TestLogProbs(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var tmp Scratch
	for range 200 {
		vocab := 2 + r.IntN(100)
		logits, p := randomLogits(r, vocab), randomParams(r, vocab)
		p.LogProbs, p.Top, p.Bias = true, r.IntN(MaxTop+1), nil
		s, err := New(p, vocab)
		if err != nil {
			t.Fatal(err)
		}
		d, err := s.Sample(logits, 9, nil, &tmp)
		if err != nil {
			t.Fatal(err)
		}
		want := refDistribution(logits, Params{Temperature: 1}, nil, nil)
		if got := math.Exp(float64(d.LogProb)); math.Abs(got-want[d.ID]) > 1e-6 {
			t.Errorf("probability of %d = %v, want %v", d.ID, got, want[d.ID])
		}
		ids := make([]uint32, 0, vocab)
		for i, x := range logits {
			if !math.IsInf(float64(x), -1) {
				ids = append(ids, uint32(i))
			}
		}
		sort.SliceStable(ids, func(a, b int) bool { return logits[ids[a]] > logits[ids[b]] })
		ids = ids[:min(p.Top, len(ids))]
		if len(d.Top) != len(ids) {
			t.Fatalf("%d top tokens, want %d", len(d.Top), len(ids))
		}
		for i, c := range d.Top {
			if c.ID != ids[i] || math.Abs(math.Exp(float64(c.LogProb))-want[c.ID]) > 1e-6 {
				t.Errorf("top %d is %+v, want %d with %v", i, c, ids[i], want[ids[i]])
			}
		}
		got, err := LogProbOf(logits, d.ID)
		if err != nil || got != d.LogProb {
			t.Errorf("LogProbOf = %v, %v; want %v", got, err, d.LogProb)
		}
	}
}

func TestBadLogits(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	var tmp Scratch
	for _, p := range []Params{{}, {Temperature: 1}, {Temperature: 1, TopK: 2}, {Temperature: 1, TopP: 0.5}, {LogProbs: true, Top: 3}} {
		for _, x := range [][]float32{{1, nan, 2}, {nan, 1, 2}, {1, 2, nan}, {inf, 1, 2}, {-inf, -inf, -inf}, {nan, nan, nan}, {1, 2}, {}} {
			s, err := New(p, 3)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Sample(x, 0, nil, &tmp); !errors.Is(err, ErrLogits) {
				t.Errorf("%+v on %v: error %v, want ErrLogits", p, x, err)
			}
		}
	}
	s, err := New(Params{Bias: []Bias{{0, -inf}, {1, -inf}, {2, -inf}}}, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sample([]float32{1, 2, 3}, 0, nil, &tmp); !errors.Is(err, ErrLogits) {
		t.Errorf("every token banned: error %v, want ErrLogits", err)
	}
}

func TestValidate(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		p     Params
		field string
	}{
		{Params{Temperature: nan}, "Temperature"}, {Params{Temperature: -1}, "Temperature"}, {Params{Temperature: inf}, "Temperature"},
		{Params{TopK: -1}, "TopK"}, {Params{TopP: nan}, "TopP"}, {Params{TopP: 1.1}, "TopP"}, {Params{TopP: -0.1}, "TopP"},
		{Params{MinP: nan}, "MinP"}, {Params{MinP: 2}, "MinP"}, {Params{Repetition: -1}, "RepetitionPenalty"}, {Params{Repetition: nan}, "RepetitionPenalty"},
		{Params{Presence: inf}, "PresencePenalty"}, {Params{Frequency: nan}, "FrequencyPenalty"}, {Params{Top: 21}, "TopLogProbs"}, {Params{Top: -1}, "TopLogProbs"},
		{Params{Bias: []Bias{{10, 1}}}, "LogitBias"}, {Params{Bias: []Bias{{1, nan}}}, "LogitBias"}, {Params{Bias: []Bias{{1, inf}}}, "LogitBias"},
	} {
		_, err := New(c.p, 10)
		var re *RangeError
		if !errors.As(err, &re) || re.Field != c.field {
			t.Errorf("%+v: error %v, want one that names %s", c.p, err, c.field)
		}
	}
	if _, err := New(Params{Temperature: 1e-45, TopP: 1, MinP: 1, Repetition: 1, Top: 20}, 1); err != nil {
		t.Error(err)
	}
}

func TestNoAllocation(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	logits := randomLogits(r, 5000)
	for _, p := range []Params{{}, {Temperature: 1}, {Temperature: 1, TopK: 50, TopP: 0.9}, {Temperature: 1, TopP: 0.9, MinP: 0.01, Repetition: 1.1, Frequency: 0.1, Bias: []Bias{{3, 1}}, LogProbs: true}} {
		s, err := New(p, len(logits))
		if err != nil {
			t.Fatal(err)
		}
		var tmp Scratch
		pos := uint64(0)
		step := func() {
			if _, err := s.Sample(logits, pos, nil, &tmp); err != nil {
				t.Fatal(err)
			}
			s.Accept(uint32(pos) % 40)
			pos++
		}
		for range 100 {
			step()
		}
		if n := testing.AllocsPerRun(100, step); n > 0 {
			t.Errorf("%+v: %v allocations per token", p, n)
		}
	}
}

func FuzzSample(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4}, float32(1), float32(0.9), float32(0.1), float32(1.1), 3, uint64(1))
	f.Add([]byte{0, 255, 128}, float32(0), float32(0), float32(0), float32(0), 0, uint64(0))
	f.Add([]byte{127, 127, 127, 127}, float32(1e-40), float32(1e-30), float32(1), float32(1e-38), 1, uint64(9))
	var tmp Scratch
	f.Fuzz(func(t *testing.T, raw []byte, temp, topP, minP, rep float32, k int, seed uint64) {
		logits := make([]float32, 0, len(raw))
		for i, b := range raw {
			switch {
			case b == 255:
				logits = append(logits, float32(math.Inf(1-2*(i&1))))
			case b == 254:
				logits = append(logits, float32(math.NaN()))
			case b > 250:
				logits = append(logits, math.MaxFloat32*float32(1-2*(i&1)))
			default:
				logits = append(logits, (float32(b)-125)/8)
			}
		}
		s, err := New(Params{Temperature: temp, TopP: topP, MinP: minP, Repetition: rep, TopK: k, Seed: seed, LogProbs: true, Top: 5}, len(logits))
		if err != nil {
			return
		}
		s.Prompt([]uint32{0, 1, 2})
		d, err := s.Sample(logits, seed, nil, &tmp)
		if err != nil {
			return
		}
		if int(d.ID) >= len(logits) || math.IsInf(float64(logits[d.ID]), -1) || math.IsNaN(float64(d.LogProb)) {
			t.Fatalf("drew %d with log-probability %v from %v", d.ID, d.LogProb, logits)
		}
	})
}

func BenchmarkSample(b *testing.B) {
	r := rand.New(rand.NewPCG(7, 8))
	logits := make([]float32, 262144)
	for i := range logits {
		logits[i] = float32(r.NormFloat64() * 3)
	}
	for _, c := range []struct {
		name string
		p    Params
	}{
		{"greedy", Params{}}, {"temperature", Params{Temperature: 1}}, {"top-k", Params{Temperature: 1, TopK: 40}},
		{"top-p", Params{Temperature: 1, TopP: 0.95}}, {"min-p", Params{Temperature: 1, MinP: 0.05}}, {"logprobs", Params{LogProbs: true, Top: 20}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, err := New(c.p, len(logits))
			if err != nil {
				b.Fatal(err)
			}
			var tmp Scratch
			for i := range b.N {
				if _, err := s.Sample(logits, uint64(i), nil, &tmp); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestArgmax: the first of the largest wherever it stands, and no NaN is overlooked.
func TestArgmax(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	for n := 1; n < 60; n++ {
		x := make([]float32, n)
		for range 20 {
			for i := range x {
				x[i] = float32(r.IntN(9) - 4)
				if r.IntN(10) == 0 {
					x[i] = float32(math.Inf(-1))
				}
			}
			id, best, err := argmax(x)
			switch want := slices.Max(x); {
			case math.IsInf(float64(want), -1):
				if err == nil {
					t.Fatalf("%v: %d", x, id)
				}
			case err != nil || best != want || int(id) != slices.Index(x, want):
				t.Fatalf("%v: %d, %v, %v", x, id, best, err)
			}
			k := r.IntN(n)
			x[k] = float32(math.NaN())
			if _, _, err := argmax(x); err == nil {
				t.Fatalf("%v: NaN overlooked", x)
			}
		}
	}
}
