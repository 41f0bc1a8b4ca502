package krserve

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/krserve/krserve/internal/sched"
	"github.com/krserve/krserve/tokenizer"
)

// EmbedOptions configure Embed. The zero value is the mean, normalised to length 1.
type EmbedOptions struct {
	// Pooling says which final hidden states make the vector: "mean" (or "") of all tokens, "last" or "cls", the first.
	Pooling      string
	Unnormalised bool // leave the vector's length as it is
	Tenant       string
	Priority     int
}

// Embed turns each input into a vector of Info.Width elements: the model's final normalised hidden states, pooled. Inputs are encoded with the
// special tokens that the tokenizer adds by itself, and run together, beside whatever else runs. Errors wrap ErrInvalid,
// ErrContextLength, ErrBusy, ErrClosed, ErrBackend or the context's cause; with one, nothing is returned.
func (e *Engine) Embed(ctx context.Context, inputs []string, o EmbedOptions) ([][]float32, Usage, error) {
	out, u, err := e.embed(ctx, inputs, o)
	if err != nil {
		err = startError(err)
		err.(*Error).Op = "embed"
		return nil, Usage{}, err
	}
	return out, u, nil
}

func (e *Engine) embed(ctx context.Context, inputs []string, o EmbedOptions) ([][]float32, Usage, error) {
	var u Usage
	if ctx.Err() != nil {
		return nil, u, context.Cause(ctx)
	}
	if e.closed() {
		return nil, u, ErrClosed
	}
	switch o.Pooling {
	case "", "mean", "last", "cls":
	default:
		return nil, u, invalid("EmbedOptions.Pooling", "%q: want mean, last or cls", o.Pooling)
	}
	tasks := make([]*sched.Task, len(inputs))
	done := make([]chan sched.Outcome, len(inputs))
	out := make([][]float32, len(inputs))
	for i, text := range inputs {
		ids, err := e.tok.EncodeWith(text, tokenizer.Options{AddSpecial: true})
		if err != nil {
			return nil, u, err
		}
		if len(ids) == 0 {
			return nil, u, invalid(fmt.Sprintf("inputs[%d]", i), "no tokens")
		}
		if ids, err = e.prompt(&Request{Prompt: ids}); err != nil {
			return nil, u, err
		}
		if len(ids) > e.info.Context {
			return nil, u, fmt.Errorf("%w: inputs[%d] has %d tokens, at most %d", ErrContextLength, i, len(ids), e.info.Context)
		}
		u.PromptTokens += len(ids)
		done[i] = make(chan sched.Outcome, 1)
		tasks[i] = e.embedTask(ctx, ids, o, &out[i], done[i])
	}
	if len(inputs) == 0 {
		return out, u, nil
	}
	unhook := context.AfterFunc(ctx, func() {
		for _, t := range tasks {
			e.sched.Cancel(t, context.Cause(ctx))
		}
	})
	defer unhook()
	if err := e.sched.Submit(tasks...); err != nil {
		return nil, u, submitError(err)
	}
	var first error
	for i := range done {
		o := <-done[i]
		switch {
		case first != nil:
		case o.Reason == sched.Cancelled:
			first = cause(o.Err)
		case o.Reason == sched.Failed:
			first = backendError(o.Err)
		}
		if first != nil { // the others are of no use any more
			for _, t := range tasks {
				e.sched.Cancel(t, first)
			}
		}
	}
	return out, u, first
}

// embedTask returns the task that fills one vector.
func (e *Engine) embedTask(ctx context.Context, ids []uint32, o EmbedOptions, to *[]float32, done chan sched.Outcome) *sched.Task {
	t := &sched.Task{Context: ctx, Prompt: ids, Sink: scoreSink{done}, States: true, Tenant: o.Tenant, Priority: o.Priority}
	sum := make([]float64, e.info.Width)
	count := 0.0
	switch o.Pooling {
	case "last":
		t.EachFrom = len(ids) - 1
	case "cls":
		t.Prompt = slices.Clone(ids[:1]) // attention is causal: nothing after the first token reaches it
	}
	last := len(t.Prompt) - 1
	t.Each = func(p int, row []float32) error {
		if len(row) != len(sum) {
			return fmt.Errorf("hidden state of %d elements, expected %d", len(row), len(sum))
		}
		for i, x := range row {
			sum[i] += float64(x)
		}
		count++
		if p == last {
			*to = pooled(sum, count, !o.Unnormalised)
		}
		return nil
	}
	return t
}

// pooled is the mean, or its direction. The zero vector has none and stays.
func pooled(sum []float64, count float64, normalise bool) []float32 {
	scale := 1 / count
	if normalise {
		square := 0.0
		for _, x := range sum {
			square += x * x
		}
		if scale = 1 / math.Sqrt(square); math.IsInf(scale, 0) {
			scale = 1
		}
	}
	out := make([]float32, len(sum))
	for i, x := range sum {
		out[i] = float32(x * scale)
	}
	return out
}
