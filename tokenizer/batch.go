package tokenizer

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Batch is the ids of many texts, one after another.
type Batch struct {
	IDs []uint32
	// Starts has one entry more than there are texts: text i is IDs[Starts[i]:Starts[i+1]].
	Starts []int
}

// Text gives the ids of text i.
func (b *Batch) Text(i int) []uint32 { return b.IDs[b.Starts[i]:b.Starts[i+1]:b.Starts[i+1]] }

// EncodeBatch encodes many texts on Config.Threads goroutines. o.Pad pads all to one length. The first error, or that of ctx, ends it.
func (t *Tokenizer) EncodeBatch(ctx context.Context, texts []string, o Options) (*Batch, error) {
	pad := o.Pad
	o.Pad = nil
	parts := make([][]uint32, len(texts))
	if err := t.forEach(ctx, len(texts), func(i int) (err error) {
		parts[i], err = t.EncodeWith(texts[i], o)
		return err
	}); err != nil {
		return nil, err
	}
	if pad != nil {
		all := make([]*Encoding, len(parts))
		for i, p := range parts {
			all[i] = &Encoding{IDs: p}
		}
		if err := padAll(all, *pad); err != nil {
			return nil, err
		}
		for i, e := range all {
			parts[i] = e.IDs
		}
	}
	b := &Batch{Starts: make([]int, len(texts)+1)}
	for i, p := range parts {
		b.Starts[i+1] = b.Starts[i] + len(p)
	}
	b.IDs = make([]uint32, 0, b.Starts[len(texts)])
	for _, p := range parts {
		b.IDs = append(b.IDs, p...)
	}
	return b, nil
}

// EncodeFullBatch is EncodeFull for many texts, on Config.Threads goroutines; with pairs, which are then as many as texts, EncodePair.
// o.Pad without To pads all to the longest.
func (t *Tokenizer) EncodeFullBatch(ctx context.Context, texts, pairs []string, o Options) ([]*Encoding, error) {
	if pairs != nil && len(pairs) != len(texts) {
		return nil, fmt.Errorf("%w: %d pairs for %d texts", ErrOptions, len(pairs), len(texts))
	}
	pad := o.Pad
	o.Pad = nil
	all := make([]*Encoding, len(texts))
	if err := t.forEach(ctx, len(texts), func(i int) (err error) {
		if pairs != nil {
			all[i], err = t.EncodePair(texts[i], pairs[i], o)
		} else {
			all[i], err = t.EncodeFull(texts[i], o)
		}
		return err
	}); err != nil {
		return nil, err
	}
	if pad != nil {
		if err := padAll(all, *pad); err != nil {
			return nil, err
		}
		if o.Offsets == NoOffsets {
			for _, e := range all {
				e.each(func(e *Encoding) { e.Offsets = nil })
			}
		}
	}
	return all, nil
}

// forEach calls f for every text on several goroutines.
func (t *Tokenizer) forEach(ctx context.Context, n int, f func(i int) error) error {
	return forEach(ctx, t.cfg.Threads, n, func(i int) error {
		if err := f(i); err != nil {
			return fmt.Errorf("text %d: %w", i, err)
		}
		return nil
	})
}

// forEach calls f(0..n-1) on several goroutines, as many as there are processors if workers is 0, the work shared out one
// index at a time, until one gives an error. A panic is the caller's.
func forEach(ctx context.Context, workers, n int, f func(i int) error) error {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	var thrown atomic.Pointer[any]
	for range min(workers, n) {
		group.Go(func() error {
			defer func() {
				if r := recover(); r != nil {
					thrown.CompareAndSwap(nil, &r)
				}
			}()
			for thrown.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := f(i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	if r := thrown.Load(); r != nil {
		//lint:allow panic: one that a goroutine caught already, passed on to the caller whose work it was
		panic(*r)
	}
	return err
}

// Future is an encoding under way.
type Future struct {
	done chan struct{}
	ids  []uint32
	err  error
}

// EncodeAsync begins to encode a text on a goroutine of its own.
func (t *Tokenizer) EncodeAsync(ctx context.Context, text string, o Options) *Future {
	f := &Future{done: make(chan struct{})}
	go func() {
		defer close(f.done)
		if f.err = ctx.Err(); f.err == nil {
			f.ids, f.err = t.EncodeWith(text, o)
		}
	}()
	return f
}

// Done is closed when the result is there.
func (f *Future) Done() <-chan struct{} { return f.done }

// Wait gives the result, or the error of ctx when that ends first; the encoding then goes on unseen.
func (f *Future) Wait(ctx context.Context) ([]uint32, error) {
	select {
	case <-f.done:
		return f.ids, f.err
	default:
	}
	select {
	case <-f.done:
		return f.ids, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
