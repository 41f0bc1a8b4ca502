package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/krserve/krserve"
	"github.com/krserve/krserve/kvcache"
)

// prefixBench is what `bench prefix -json` prints: how long a first token takes after a long prompt, and after the turn
// that follows. With a file, what one process computed is there for the next.
type prefixBench struct {
	Device   string       `json:"device"`
	Backend  string       `json:"backend"`
	Threads  int          `json:"threads"`
	Kernels  []string     `json:"kernels"`
	Model    string       `json:"model"`
	KVType   string       `json:"kv_type"`
	Open     float64      `json:"open_ms"`
	First    []prefixTurn `json:"first"`  // one per repetition, each with its own prompt
	Second   []prefixTurn `json:"second"` // the turn after
	Restored int64        `json:"restored_tokens"`
}

// prefixTurn is one request.
type prefixTurn struct {
	Prompt int     `json:"prompt_tokens"`
	Cached int     `json:"cached_tokens"`
	TTFT   float64 `json:"ttft_ms"`
}

func benchPrefix(ctx context.Context, c *call) (err error) {
	m := modelFlags(c)
	var (
		tokens = c.flags.Int("tokens", 4096, "tokens of a first prompt")
		more   = c.flags.Int("more", 32, "tokens of the turn after, besides the answer before it")
		gen    = c.flags.Int("gen", 16, "tokens of an answer")
		reps   = c.flags.Int("reps", 3, "repetitions; the first begins with the first request of the engine")
		seed   = c.flags.Uint64("seed", 1, "of the prompts: the same seed gives the same ones")
		kv     = c.flags.Int64("kv-bytes", 1<<30, "bound on keys and values; committed as used")
		file   = c.flags.String("file", "", "tier in a file: run again with the same one to see a restart")
		asJSON = c.flags.Bool("json", false, "print one JSON object")
	)
	if err := c.parseOnly("bench prefix -model M [-backend B] [-threads T] [-kv f16|q8_0|q4] [-tokens 4096] [-more 32] [-gen 16] [-reps 3] [-seed 1] [-file F] [-json]"); err != nil {
		return err
	}
	switch {
	case m.model == "":
		return usage("-model is missing")
	case *tokens < 1 || *more < 1 || *gen < 1 || *reps < 1:
		return usage("-tokens, -more, -gen and -reps must be at least 1")
	}
	m.kvBytes = *kv
	pool, err := krserve.NewKVPool(kvcache.Options{File: *file})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	began := time.Now()
	e, err := m.open(ctx, c, func(c *krserve.Config) { c.Pool = pool })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	out := prefixBench{Device: cpuName(), Model: m.model, KVType: e.Info().KVType, Open: 1e3 * time.Since(began).Seconds()}
	b := &bencher{ctx: ctx, e: e, rng: rand.New(rand.NewPCG(*seed, 0))}
	for range *reps {
		ids, news := b.ids(*tokens), b.ids(*more)
		first, err := b.run(ids, *gen)
		if err != nil {
			return err
		}
		second, err := b.run(append(append(ids, first.ids...), news...), *gen)
		if err != nil {
			return err
		}
		out.First, out.Second = append(out.First, turnOf(first)), append(out.Second, turnOf(second))
	}
	s := e.Stats()
	out.Backend, out.Threads, out.Kernels, out.Restored = s.Backend, s.Threads, s.Kernels, s.RestoredTokens
	if *asJSON {
		return printJSON(c.stdout, out)
	}
	return out.print(c.stdout)
}

func turnOf(r reply) prefixTurn {
	return prefixTurn{Prompt: r.usage.PromptTokens, Cached: r.usage.CachedTokens, TTFT: 1e3 * r.arrived[0].Sub(r.began).Seconds()}
}

func (b *prefixBench) print(w io.Writer) error {
	fmt.Fprintf(w, "%s on %s, %d threads: opened in %.0f ms, %d tokens restored\n", b.Backend, b.Device, b.Threads, b.Open, b.Restored)
	for i := range b.First {
		f, s := b.First[i], b.Second[i]
		_, err := fmt.Fprintf(w, "prompt of %d tokens, %d found: first token after %.1f ms; next turn, %d of %d found: %.1f ms\n",
			f.Prompt, f.Cached, f.TTFT, s.Cached, s.Prompt, s.TTFT)
		if err != nil {
			return err
		}
	}
	return nil
}
