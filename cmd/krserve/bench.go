package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/krserve/krserve"
)

func runBench(ctx context.Context, c *call) error {
	if len(c.args) > 0 {
		switch c.args[0] {
		case "tokenizer":
			c.args = c.args[1:]
			return benchTokenizer(c)
		case "multi-turn":
			c.args = c.args[1:]
			return benchMultiTurn(ctx, c)
		case "kv":
			c.args = c.args[1:]
			return benchKV(ctx, c)
		case "prefix":
			c.args = c.args[1:]
			return benchPrefix(ctx, c)
		}
	}
	return benchModel(ctx, c)
}

// modelBench is what `bench -json` prints: medians, with every repetition under reps.
type modelBench struct {
	Backend   string          `json:"backend"`
	Device    string          `json:"device"`
	Threads   int             `json:"threads"`
	Prefill   float64         `json:"prefill_tok_s"`
	Decode    float64         `json:"decode_tok_s"`
	TTFT      float64         `json:"ttft_ms"`
	Bandwidth float64         `json:"bandwidth_fraction"` // bytes of weights that decoding reads per second, of what plain reading reaches
	Parallel  []parallelBench `json:"parallel"`
	Model     string          `json:"model"`
	Prompt    int             `json:"prompt"`
	Gen       int             `json:"gen"`
	Depth     int             `json:"depth"`
	Kernels   []string        `json:"kernels"`
	ReadGBps  float64         `json:"read_gb_s"` // plain reading, measured here
	PeakMB    float64         `json:"peak_mb"`   // resident, after the single requests; 0 where the system does not tell
	Reps      []singleRep     `json:"reps"`
}

// singleRep is one request alone: Prefill and TTFT of the prompt, Decode of gen tokens after depth tokens of context.
type singleRep struct {
	Prefill float64 `json:"prefill_tok_s"`
	Decode  float64 `json:"decode_tok_s"`
	TTFT    float64 `json:"ttft_ms"`
}

// parallelBench is n requests at once, each with its own prompt.
type parallelBench struct {
	N       int           `json:"n"`
	Prompt  int           `json:"prompt"`
	Gen     int           `json:"gen"`
	Prefill float64       `json:"prefill_tok_s"` // all prompts, until the last first token
	Decode  float64       `json:"decode_tok_s"`  // all tokens after that
	Total   float64       `json:"total_tok_s"`   // prompts and answers over the whole time
	TTFT    percentiles   `json:"ttft_ms"`       // of the requests of all repetitions
	ITL     percentiles   `json:"itl_ms"`        // between two tokens of one answer
	HitRate float64       `json:"hit_rate"`      // prompt tokens found in the pool; the prompts share nothing
	Reps    []parallelRep `json:"reps"`
	Ablated []ablation    `json:"ablation,omitempty"`
}

type parallelRep struct {
	Prefill float64 `json:"prefill_tok_s"`
	Decode  float64 `json:"decode_tok_s"`
	Total   float64 `json:"total_tok_s"`
}

func benchModel(ctx context.Context, c *call) error {
	m := modelFlags(c)
	var (
		prompt   = c.flags.Int("prompt", 512, "tokens of a prompt")
		gen      = c.flags.Int("gen", 64, "tokens of an answer")
		parallel = c.flags.String("parallel", "1,4,10", "numbers of requests at once, comma-separated; empty for none")
		depth    = c.flags.Int("depth", 0, "tokens of context before decoding starts")
		reps     = c.flags.Int("reps", 3, "repetitions")
		kv       = c.flags.Int64("kv-bytes", 2<<30, "bound on keys and values of all requests at once; committed as used")
		ablate   = c.flags.Bool("ablate", false, "for every number of requests, chats of one turn with each feature off in turn")
		drafts   = c.flags.Bool("drafts", true, "verify guessed tokens; without them, decoding is one row per step")
		asJSON   = c.flags.Bool("json", false, "print one JSON object")
	)
	if err := c.parseOnly("bench -model M [-backend B] [-threads T] [-kv f16|q8_0|q4] [-prompt 512] [-gen 64] [-depth 0] [-parallel 1,4,10] [-reps 3] [-drafts=false] [-ablate] [-json]"); err != nil {
		return err
	}
	ns, err := counts(*parallel)
	switch {
	case err != nil:
		return err
	case m.model == "":
		return usage("-model is missing")
	case *prompt < 1 || *gen < 2 || *depth < 0 || *reps < 1:
		return usage("-prompt must be at least 1, -gen 2, -depth 0, -reps 1")
	}
	m.kvBytes = *kv
	e, err := m.open(ctx, c, func(c *krserve.Config) { c.NoSpeculation = !*drafts })
	if err != nil {
		return err
	}
	defer e.Close()
	b := &bencher{ctx: ctx, e: e, prompt: *prompt, gen: *gen, depth: *depth, rng: rand.New(rand.NewPCG(1, 2))}
	out := modelBench{Device: cpuName(), Model: m.model, Prompt: *prompt, Gen: *gen, Depth: *depth, Parallel: []parallelBench{}}
	if err := b.single(&singleRep{}); err != nil { // the first run pays for page faults
		return err
	}
	for range *reps {
		var r singleRep
		if err := b.single(&r); err != nil {
			return err
		}
		out.Reps = append(out.Reps, r)
	}
	out.PeakMB = peakMB() // before readBandwidth's own buffer
	read := readBandwidth(e.Stats().Threads)
	out.Prefill = medianOf(out.Reps, func(r singleRep) float64 { return r.Prefill })
	out.Decode = medianOf(out.Reps, func(r singleRep) float64 { return r.Decode })
	out.TTFT = medianOf(out.Reps, func(r singleRep) float64 { return r.TTFT })
	for _, n := range ns {
		p := parallelBench{N: n, Prompt: *prompt, Gen: *gen}
		var replies []reply
		for range *reps {
			r, all, err := b.parallel(n)
			if err != nil {
				return err
			}
			p.Reps, replies = append(p.Reps, r), append(replies, all...)
		}
		p.TTFT, p.ITL, p.HitRate = ttfts(replies), itls(replies), hitRate(replies)
		p.Prefill = medianOf(p.Reps, func(r parallelRep) float64 { return r.Prefill })
		p.Decode = medianOf(p.Reps, func(r parallelRep) float64 { return r.Decode })
		p.Total = medianOf(p.Reps, func(r parallelRep) float64 { return r.Total })
		out.Parallel = append(out.Parallel, p)
	}
	s := e.Stats()
	out.Backend, out.Threads, out.Kernels = s.Backend, s.Threads, s.Kernels
	out.ReadGBps = max(read, readBandwidth(s.Threads)) // twice: a neighbour slows one of them
	out.Bandwidth = out.Decode * float64(s.WeightBytes) / 1e9 / out.ReadGBps
	if *ablate {
		if err := e.Close(); err != nil {
			return err
		}
		for i := range out.Parallel {
			p := &out.Parallel[i]
			r := &chatRunner{c: c, m: m, work: newChatWork(p.N, 1, systemWords, 1), gen: *gen}
			if p.Ablated, err = r.ablate(ctx, *reps); err != nil {
				return err
			}
		}
	}
	if *asJSON {
		return printJSON(c.stdout, out)
	}
	fmt.Fprintf(c.stdout, "%s on %s, %d threads: prefill %.1f tok/s, decode %.1f tok/s, first token after %.1f ms, %.0f%% of %.1f GB/s\n",
		out.Backend, out.Device, out.Threads, out.Prefill, out.Decode, out.TTFT, 100*out.Bandwidth, out.ReadGBps)
	for _, k := range out.Kernels {
		fmt.Fprintf(c.stdout, "    %s\n", k)
	}
	for _, p := range out.Parallel {
		fmt.Fprintf(c.stdout, "%3d at once: prefill %.1f, decode %.1f, total %.1f tok/s; first token after %v, then every %v\n",
			p.N, p.Prefill, p.Decode, p.Total, p.TTFT, p.ITL)
		printAblation(c.stdout, p.Ablated)
	}
	return nil
}

// counts reads a list such as "1,4,10".
func counts(list string) ([]int, error) {
	var ns []int
	for _, f := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		n, err := strconv.Atoi(f)
		if err != nil || n < 1 || n > 1<<16 {
			return nil, usage("-parallel %q is not a list of positive numbers", list)
		}
		ns = append(ns, n)
	}
	return ns, nil
}

type bencher struct {
	ctx                context.Context
	e                  *krserve.Engine
	prompt, gen, depth int
	rng                *rand.Rand
}

// ids makes a random prompt of n tokens: no two share a prefix that a cache could hold.
func (b *bencher) ids(n int) []uint32 {
	ids := make([]uint32, n)
	for i := range ids {
		ids[i] = uint32(b.rng.IntN(b.e.Info().Vocab))
	}
	return ids
}

// run generates gen tokens after a prompt.
func (b *bencher) run(ids []uint32, gen int) (reply, error) {
	began := time.Now()
	st, err := b.e.Start(b.ctx, krserve.Request{Prompt: ids, MaxTokens: gen, IgnoreEOS: true})
	if err != nil {
		return reply{}, err
	}
	defer st.Close()
	return readReply(st, began, gen)
}

func (b *bencher) single(r *singleRep) error {
	a, err := b.run(b.ids(b.prompt), 1)
	if err != nil {
		return err
	}
	took := a.arrived[0].Sub(a.began).Seconds()
	r.Prefill, r.TTFT = float64(b.prompt)/took, 1e3*took
	if a, err = b.run(b.ids(1+b.depth), b.gen); err != nil {
		return err
	}
	r.Decode = float64(b.gen-1) / a.arrived[b.gen-1].Sub(a.arrived[0]).Seconds()
	return nil
}

func (b *bencher) parallel(n int) (parallelRep, []reply, error) {
	prompts := make([][]uint32, n)
	for i := range prompts {
		prompts[i] = b.ids(b.prompt)
	}
	got, errs := make([]reply, n), make([]error, n)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range n {
		wg.Go(func() { got[i], errs[i] = b.run(prompts[i], b.gen) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return parallelRep{}, nil, err
	}
	var first, last time.Time // of the slowest
	for _, r := range got {
		if t := r.arrived[0]; t.After(first) {
			first = t
		}
		if t := r.arrived[b.gen-1]; t.After(last) {
			last = t
		}
	}
	prefill, whole := first.Sub(start).Seconds(), last.Sub(start).Seconds()
	return parallelRep{
		Prefill: float64(n*b.prompt) / prefill,
		Decode:  float64(n*(b.gen-1)) / max(whole-prefill, 1e-9),
		Total:   float64(n*(b.prompt+b.gen)) / whole,
	}, got, nil
}

func medianOf[T any](items []T, value func(T) float64) float64 {
	vs := make([]float64, len(items))
	for i, it := range items {
		vs[i] = value(it)
	}
	sort.Float64s(vs)
	if n := len(vs); n%2 == 1 {
		return vs[n/2]
	}
	return (vs[len(vs)/2-1] + vs[len(vs)/2]) / 2
}
