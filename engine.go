package krserve

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/gguf"
	"github.com/krserve/krserve/internal/model"
	"github.com/krserve/krserve/internal/sched"
	"github.com/krserve/krserve/kvcache"
	"github.com/krserve/krserve/tokenizer"
)

// stepRows is the most tokens that one step computes. A prompt is cut into such chunks, or smaller ones when the
// machine is slow, so that cancellation and other requests need not wait long.
const stepRows = 256

// minKVTokens is the least that the default of Config.KVBytes holds.
const minKVTokens = 8192

// Engine is a loaded model. It is safe for concurrent use; requests run together, a few tokens of each in every step.
type Engine struct {
	tok      *Tokenizer
	info     Info
	ends     []uint32
	sched    *sched.Scheduler
	compute  backend.Model
	template *tokenizer.Template // nil when the model has none

	mu   sync.Mutex
	shut bool
	done chan struct{} // closed when Close has finished
	err  error         // of Close
	last Stats
	// bandwidth is measured when Stats are first asked for, between steps; read again at Close.
	bandwidth float64
	unload    func() error
}

// Info describes the model of an Engine.
type Info struct {
	Path       string // file or directory
	Name       string // the model's own name
	Arch       string // "llama", "qwen2", "qwen3", "gemma3"
	Parameters int64
	Layers     int
	Width      int
	Vocab      int    // logits per position
	Trained    int    // longest context that the model was trained for, in tokens
	Context    int    // longest prompt plus answer here
	Template   bool   // it has a chat template
	KVType     string // storage of keys and values: Config.KVType

	identity string // of the bits of KV blocks; see backend.Stats
}

// Stats says what an Engine holds and has done. Counters start at Open.
type Stats struct {
	Backend      string
	Kernels      []string // chosen kernel per weight type, and per shape with its measured speed
	Threads      int
	WeightBytes  int64
	KVBytes      int64 // memory of keys and values
	ScratchBytes int64

	Running, Waiting int   // requests
	Steps, Rows      int64 // steps and the tokens computed in them
	StepSeconds      float64
	BandwidthGBps    float64 // 10⁹ bytes per second of a plain read of the weights by all threads; 0 where not measured
	DecodeGBps       float64 // the same of weights read by steps of one token: how near decoding is to BandwidthGBps
	PromptTokens     int64   // of all requests
	CachedTokens     int64   // of these, found in the cache or a tier below it
	RestoredTokens   int64   // brought back from the pool's lower tiers
	CompletionTokens int64
	DraftTokens      int64 // guessed from the text before and verified
	AcceptedTokens   int64 // of these, part of an answer
	Preemptions      int64 // requests that gave their blocks back and were computed again
	CacheBlocks      int   // KV blocks of 32 tokens that hold prefixes of ended requests
	LargestBatch     int   // most requests in one step
}

// Open loads a model. It reads files and, with Config.Fetch, the network; ctx bounds that. Errors wrap ErrInvalid,
// ErrNotFound, ErrFormat, ErrUnsupported, ErrMemory or the context's cause.
func Open(ctx context.Context, c Config) (*Engine, error) {
	e, err := open(ctx, c)
	if err != nil {
		var f *fieldError
		if errors.As(err, &f) {
			return nil, &Error{Op: "open", Path: f.field, Err: f.err}
		}
		return nil, &Error{Op: "open", Path: c.Model, Err: err}
	}
	return e, nil
}

func (c *Config) validate() error {
	switch {
	case c.Model == "":
		return invalid("Config.Model", "empty")
	case c.Threads < 0:
		return invalid("Config.Threads", "%d: want ≥ 0", c.Threads)
	case c.ContextTokens < 0:
		return invalid("Config.ContextTokens", "%d: want ≥ 0", c.ContextTokens)
	case c.KVBytes < 0:
		return invalid("Config.KVBytes", "%d: want ≥ 0", c.KVBytes)
	case c.MaxQueue < 0:
		return invalid("Config.MaxQueue", "%d: want ≥ 0", c.MaxQueue)
	case c.MaxRunning < 0:
		return invalid("Config.MaxRunning", "%d: want ≥ 0", c.MaxRunning)
	}
	if a := c.ActivationBits; a != 0 && a != 8 && a != 16 {
		return invalid("Config.ActivationBits", "%d: want 8 or 16", a)
	}
	if _, ok := backend.ParseKV(c.KVType); !ok && c.KVType != "" {
		return invalid("Config.KVType", "%q: want f16, q8_0 or q4", c.KVType)
	}
	return nil
}

func open(ctx context.Context, c Config) (*Engine, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	b, ok := backend.Lookup(c.Backend)
	if !ok {
		return nil, &fieldError{"Config.Backend", fmt.Errorf("%w: %q: this build has %s", ErrUnsupported, c.Backend, strings.Join(backend.Names(), ", "))}
	}
	path, err := resolve(ctx, &c)
	if err != nil {
		return nil, err
	}
	m, err := model.Open(path)
	if err != nil {
		return nil, fileError(err)
	}
	e, err := load(ctx, c, b, m)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return e, nil
}

// load makes an engine of an open model.
func load(ctx context.Context, c Config, b backend.Backend, m *model.Model) (*Engine, error) {
	tok := c.Tokenizer
	if tok == nil {
		var err error
		if tok, err = tokenizer.OpenConfig(m.Tokenizer, tokenizer.Config{CacheDir: c.CacheDir}); err != nil {
			return nil, fmt.Errorf("tokenizer: %w", fileError(err))
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	g := m.Graph
	if c.ContextTokens > m.Context {
		return nil, invalid("Config.ContextTokens", "%d: the model was trained for %d", c.ContextTokens, m.Context)
	}
	kv := backend.DefaultKV(b)
	if c.KVType != "" {
		kv, _ = backend.ParseKV(c.KVType)
	}
	contextTokens, blocks, err := c.plan(m.Context, int64(kv.BlockBytes(g)))
	if err != nil {
		return nil, err
	}
	limits := backend.Limits{Rows: cmp.Or(c.rows, stepRows), Blocks: blocks, Threads: c.Threads, KV: kv, Kernel: c.Kernel, ActivationBits: c.ActivationBits}
	if c.CacheDir != "" && !c.NoPackedWeights {
		limits.Packed, limits.Source, limits.Forget = packedPath(c.CacheDir, m.Path), m.Source, m.Forget
	}
	compute, err := b.Load(g, limits)
	if err != nil {
		return nil, fmt.Errorf("backend %s: %w", b.Name(), loadError(err))
	}
	info := Info{Path: m.Path, Name: m.Name, Arch: m.Arch, Parameters: m.Parameters(), Layers: g.Layers, Width: g.Width,
		Vocab: g.Vocab, Trained: m.Context, Context: contextTokens, KVType: kv.String()}
	if c.Pool != nil && c.Pool.Tiered() {
		if id := compute.Stats().Identity; id != "" {
			info.identity = fmt.Sprintf("%x %s kv=%d", m.Digest(), id, limits.KV)
		}
	}
	ends := slices.Clone(m.EndIDs)
	for _, id := range tok.EndIDs() {
		if !slices.Contains(ends, id) {
			ends = append(ends, id)
		}
	}
	e, err := newEngine(c, tok, info, ends, compute, m.Close)
	if err != nil {
		return nil, errors.Join(err, compute.Close())
	}
	if c.Logger != nil {
		st := compute.Stats()
		c.Logger.Info("model loaded", "path", m.Path, "arch", m.Arch, "backend", st.Backend, "kernels", st.Kernels, "threads", st.Threads,
			"context", contextTokens, "weight_bytes", st.WeightBytes)
	}
	return e, nil
}

// packedPath is where a model's packed weights are kept: one file for each model's place, whatever links lead there.
func packedPath(dir, model string) string {
	if abs, err := filepath.Abs(model); err == nil {
		model = abs
	}
	if real, err := filepath.EvalSymlinks(model); err == nil {
		model = real
	}
	return filepath.Join(dir, fmt.Sprintf("%x", sha256.Sum256([]byte(model)))+backend.PackedSuffix)
}

// plan chooses the context and the number of KV blocks.
func (c *Config) plan(trained int, blockBytes int64) (contextTokens, blocks int, err error) {
	if contextTokens = c.ContextTokens; contextTokens == 0 {
		contextTokens = trained
	}
	budget, field := c.KVBytes, "Config.KVBytes"
	if c.Pool != nil {
		if _, bytes := c.Pool.Used(); bytes > 0 && (budget == 0 || bytes < budget) {
			budget, field = bytes, "Config.Pool"
		}
	}
	if budget == 0 {
		return contextTokens, blocksFor(max(contextTokens, minKVTokens)), nil
	}
	blocks = int(min(budget/blockBytes, int64(blocksFor(1<<30))))
	fits := blocks * backend.BlockTokens
	if blocks == 0 || c.ContextTokens > fits {
		want := max(c.ContextTokens, 1)
		return 0, 0, &fieldError{field, fmt.Errorf("%w: %d bytes hold %d tokens; a context of %d needs %d bytes",
			ErrMemory, budget, fits, want, int64(blocksFor(want))*blockBytes)}
	}
	return min(contextTokens, fits), blocks, nil
}

func blocksFor(tokens int) int { return (tokens + backend.BlockTokens - 1) / backend.BlockTokens }

// newEngine joins the parts; unload releases what the weights are mapped from.
func newEngine(c Config, tok *Tokenizer, info Info, ends []uint32, compute backend.Model, unload func() error) (*Engine, error) {
	pool := c.Pool
	if pool == nil {
		var err error
		if pool, err = kvcache.New(kvcache.Options{}); err != nil {
			return nil, err
		}
	}
	s, err := sched.New(sched.Options{Model: compute, Pool: pool, Rows: cmp.Or(c.rows, stepRows), Vocab: info.Vocab, MaxQueue: c.MaxQueue, MaxRunning: c.MaxRunning,
		NoSpeculation: c.NoSpeculation, AlwaysDraft: c.alwaysDraft, Identity: info.identity})
	if err != nil {
		return nil, err
	}
	info.Template = tok.ChatTemplateSource() != ""
	template, _ := tok.ChatTemplate()
	return &Engine{tok: tok, info: info, ends: ends, template: template, sched: s, compute: compute, unload: unload, done: make(chan struct{})}, nil
}

// fileError maps what the readers say to the root package's sentinels.
func fileError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case errors.Is(err, model.ErrUnsupported), errors.Is(err, tokenizer.ErrUnsupported), errors.Is(err, gguf.ErrType):
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	case errors.Is(err, model.ErrFormat), errors.Is(err, tokenizer.ErrFormat), errors.Is(err, gguf.ErrFormat):
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return err
}

// loadError maps what backends say.
func loadError(err error) error {
	switch {
	case errors.Is(err, backend.ErrMemory):
		return fmt.Errorf("%w: %w", ErrMemory, err)
	case errors.Is(err, backend.ErrUnsupported):
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return fmt.Errorf("%w: %w", ErrBackend, err)
}

func (e *Engine) closed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.shut
}

// Close cancels all streams, waits for the step that runs and frees the model. Streams end with FinishCancelled. It is
// idempotent and safe to call from several goroutines; all wait.
func (e *Engine) Close() error {
	e.mu.Lock()
	if e.shut {
		e.mu.Unlock()
		<-e.done
		return e.err
	}
	e.shut = true
	e.mu.Unlock()
	e.sched.Close()
	st := e.snapshot(e.compute.Stats(), e.bandwidth)
	err := e.compute.Close()
	if e.unload != nil {
		err = errors.Join(err, e.unload())
	}
	if err != nil {
		err = &Error{Op: "close", Path: e.info.Path, Err: err}
	}
	e.mu.Lock()
	e.last, e.err = st, err
	e.mu.Unlock()
	close(e.done)
	return err
}

// Tokenizer returns the model's tokenizer. It outlives the engine.
func (e *Engine) Tokenizer() *Tokenizer { return e.tok }

// Info describes the model.
func (e *Engine) Info() Info { return e.info }

// Stats returns what the engine holds and has done; after Close, what it had at the end. It may wait for a step, and the
// first call measures BandwidthGBps.
func (e *Engine) Stats() Stats {
	var b backend.Stats
	var bandwidth float64
	measure := func() {
		b = e.compute.Stats()
		bandwidth = e.compute.Bandwidth()
		e.bandwidth = bandwidth
	}
	if err := e.sched.Do(measure); err != nil {
		e.mu.Lock()
		shut := e.shut
		e.mu.Unlock()
		if shut {
			<-e.done
		}
		return e.last
	}
	return e.snapshot(b, bandwidth)
}

func (e *Engine) snapshot(b backend.Stats, bandwidth float64) Stats {
	s, c := e.sched.Stats(), e.sched.Cache()
	return Stats{Backend: b.Backend, Kernels: b.Kernels, Threads: b.Threads, WeightBytes: b.WeightBytes, KVBytes: b.KVBytes,
		ScratchBytes: b.ScratchBytes, Running: s.Running, Waiting: s.Waiting, Steps: b.Steps, Rows: b.Rows, StepSeconds: b.StepSeconds,
		BandwidthGBps: bandwidth, DecodeGBps: b.DecodeGBps,
		PromptTokens: int64(s.PromptTokens), CachedTokens: int64(s.CachedTokens), RestoredTokens: int64(s.RestoredTokens), CompletionTokens: int64(s.DrawnTokens),
		DraftTokens: int64(s.DraftTokens), AcceptedTokens: int64(s.AcceptedTokens), Preemptions: int64(s.Preemptions), CacheBlocks: c.Cached, LargestBatch: s.Largest}
}
