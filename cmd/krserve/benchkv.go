package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"sort"
	"strings"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/model"
	"github.com/krserve/krserve/tokenizer"
)

// kvBench is what `bench kv -json` prints: what each storage type of keys and values costs in quality, against the
// first of the list, over the same text.
type kvBench struct {
	Device  string    `json:"device"`
	Model   string    `json:"model"`
	Backend string    `json:"backend"`
	File    string    `json:"file"`
	Tokens  int       `json:"tokens"` // predicted
	Window  int       `json:"window"` // tokens of a context; each starts afresh
	Types   []kvScore `json:"types"`
}

// kvScore is one type's part: natural logarithms throughout.
type kvScore struct {
	Type       string  `json:"type"`
	TokenBytes int     `json:"bytes_per_token"`
	Perplexity float64 `json:"perplexity"`
	KLMean     float64 `json:"kl_mean"` // D(first ‖ this) per position
	KLP99      float64 `json:"kl_p99"`
	KLMax      float64 `json:"kl_max"`
	TopSame    float64 `json:"top1_same"` // positions whose likeliest token is the same
}

const kvRows = 64 // positions of a step: all their logits are wanted

func benchKV(ctx context.Context, c *call) (err error) {
	m := modelFlags(c)
	file := c.flags.String("file", "", "text to predict")
	limit := c.flags.Int("tokens", 20000, "tokens of the file to predict; 0 is all")
	window := c.flags.Int("window", 2048, "tokens of a context; each starts afresh")
	types := c.flags.String("types", "f16,q8_0,q4", "storage types, comma-separated; all are held against the first")
	asJSON := c.flags.Bool("json", false, "print one JSON object")
	if err := c.parseOnly("bench kv -model M -file F [-backend B] [-tokens 20000] [-window 2048] [-types f16,q8_0,q4] [-json]"); err != nil {
		return err
	}
	switch {
	case m.model == "":
		return usage("-model is missing")
	case *file == "":
		return usage("-file is missing")
	case *limit < 0 || *window < 2:
		return usage("-tokens must be at least 0, -window 2")
	}
	text, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	m.context = min(*window, 512) // only the path and the tokenizer are wanted of this engine
	e, err := m.open(ctx, c)
	if err != nil {
		return err
	}
	path, tok := e.Info().Path, e.Tokenizer()
	if err := e.Close(); err != nil {
		return err
	}
	ids, err := tok.EncodeWith(string(text), tokenizer.Options{Special: tokenizer.AsText})
	if err != nil {
		return err
	}
	if *limit > 0 && len(ids) > *limit {
		ids = ids[:*limit]
	}
	mod, err := model.Open(path)
	if err != nil {
		return err
	}
	defer mod.Close()
	b, ok := backend.Lookup(m.backend)
	if !ok {
		return fmt.Errorf("no backend %q", m.backend)
	}
	if *window > mod.Context {
		return usage("-window %d: the model was trained for %d", *window, mod.Context)
	}
	k := &kvBencher{window: *window}
	defer func() { err = errors.Join(err, k.close()) }()
	if bos, ok := tok.BOS(); ok {
		k.bos = []uint32{bos}
	}
	out := kvBench{Device: cpuName(), Model: m.model, Backend: b.Name(), File: *file, Window: *window}
	for _, name := range strings.Split(*types, ",") {
		kv, ok := backend.ParseKV(name)
		if !ok {
			return usage("-types: %q is not f16, q8_0, q4 or f32", name)
		}
		bm, err := b.Load(mod.Graph, backend.Limits{Rows: kvRows, Blocks: (*window + backend.BlockTokens) / backend.BlockTokens,
			Threads: m.threads, KV: kv, Kernel: m.kernel})
		if err != nil {
			return err
		}
		k.models = append(k.models, bm)
		out.Types = append(out.Types, kvScore{Type: name, TokenBytes: kv.BlockBytes(mod.Graph) / backend.BlockTokens})
	}
	k.scores = make([]kvSum, len(k.models))
	for len(ids) > 1 {
		n := min(len(ids), *window-len(k.bos))
		if err := k.text(ctx, ids[:n]); err != nil {
			return err
		}
		ids = ids[n:]
	}
	out.Tokens = k.n
	for i := range out.Types {
		t, s := &out.Types[i], &k.scores[i]
		sort.Float64s(s.kl)
		n := float64(k.n)
		t.Perplexity, t.KLMean, t.TopSame = math.Exp(-s.logprob/n), s.klSum/n, float64(s.same)/n
		t.KLP99, t.KLMax = s.kl[len(s.kl)*99/100], s.kl[len(s.kl)-1]
	}
	if *asJSON {
		return printJSON(c.stdout, out)
	}
	fmt.Fprintf(c.stdout, "%s on %s: %d tokens of %s in contexts of %d\n", out.Model, out.Device, out.Tokens, out.File, out.Window)
	fmt.Fprintf(c.stdout, "%-6s %12s %12s %12s %12s %12s %10s\n", "type", "bytes/token", "perplexity", "KL mean", "KL p99", "KL max", "top-1")
	for _, t := range out.Types {
		fmt.Fprintf(c.stdout, "%-6s %12d %12.4f %12.3g %12.3g %12.3g %9.2f%%\n", t.Type, t.TokenBytes, t.Perplexity, t.KLMean, t.KLP99, t.KLMax, 100*t.TopSame)
	}
	return nil
}

type kvSum struct {
	logprob, klSum float64
	same           int
	kl             []float64
}

type kvBencher struct {
	models []backend.Model
	scores []kvSum
	bos    []uint32
	window int
	n      int // predicted
	first  []float64
	lps    []float64
}

func (k *kvBencher) close() (err error) {
	for _, m := range k.models {
		err = errors.Join(err, m.Close())
	}
	return err
}

// text runs one context through all models and sums what they say of each next token.
func (k *kvBencher) text(ctx context.Context, ids []uint32) error {
	all := append(append([]uint32(nil), k.bos...), ids...)
	table := make([]backend.BlockID, (len(all)+backend.BlockTokens-1)/backend.BlockTokens)
	for i := range table {
		table[i] = backend.BlockID(i)
	}
	for lo := 0; lo < len(all)-1; lo += kvRows {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		hi := min(lo+kvRows, len(all)-1)
		b := &backend.Batch{Tables: [][]backend.BlockID{table}}
		for p := lo; p < hi; p++ {
			b.Tokens, b.Pos, b.Seq = append(b.Tokens, all[p]), append(b.Pos, int32(p)), append(b.Seq, 0)
			b.Sample = append(b.Sample, int32(p-lo))
		}
		for i, m := range k.models {
			l, err := m.Step(b)
			if err != nil {
				return err
			}
			if err := k.add(i, l, all[lo+1:hi+1]); err != nil {
				return err
			}
		}
		k.n += hi - lo
		runtime.Gosched()
	}
	return nil
}

// add sums a step's rows of model i; those of the first model are kept for the others.
func (k *kvBencher) add(i int, l backend.Logits, next []uint32) error {
	if len(k.first) == 0 {
		k.first, k.lps = make([]float64, kvRows*l.Width), make([]float64, l.Width)
	}
	s := &k.scores[i]
	for r, id := range next {
		first := k.first[r*l.Width:][:l.Width]
		lp := k.lps
		if i == 0 {
			lp = first
		}
		if err := logSoftmax(lp, l.Row(r)); err != nil {
			return err
		}
		kl, top, topFirst := 0.0, 0, 0
		for j, v := range first {
			kl += math.Exp(v) * (v - lp[j])
			if v > first[topFirst] {
				topFirst = j
			}
			if lp[j] > lp[top] {
				top = j
			}
		}
		s.logprob += lp[id]
		s.klSum += kl
		s.kl = append(s.kl, kl)
		if top == topFirst {
			s.same++
		}
	}
	return nil
}

// logSoftmax turns logits into natural logarithms of probabilities.
func logSoftmax(dst []float64, logits []float32) error {
	top, sum := float32(math.Inf(-1)), 0.0
	for _, v := range logits {
		top = max(top, v)
	}
	for i, v := range logits {
		d := float64(v - top)
		dst[i] = d
		sum += math.Exp(d)
	}
	if math.IsNaN(sum) {
		return errors.New("a logit is not a number")
	}
	log := math.Log(sum)
	for i := range dst {
		dst[i] -= log
	}
	return nil
}
