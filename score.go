package krserve

import (
	"context"
	"fmt"
	"slices"

	"github.com/krserve/krserve/internal/sample"
	"github.com/krserve/krserve/internal/sched"
)

// Scores are what a model thinks of a given text.
type Scores struct {
	LogProbs []float32      // LogProbs[i] = log p(ids[i+1] | ids[..i]); one less than ids
	Top      []TokenLogProb // the 20 best tokens after the last id
	Logits   []float32      // the logits after the last id, one per token of the vocabulary
}

// scoreSink waits for a task that draws nothing.
type scoreSink struct{ done chan sched.Outcome }

// Token implements sched.Sink.
func (scoreSink) Token(sample.Draw, bool) bool { return false }

// Room implements sched.Sink.
func (scoreSink) Room() int { return 1 }

// Start implements sched.Sink.
func (scoreSink) Start(int) {}

// Done implements sched.Sink.
func (k scoreSink) Done(o sched.Outcome) { k.done <- o }

// Score runs the model over ids, without drawing anything.
func (e *Engine) Score(ctx context.Context, ids []uint32) (Scores, error) {
	out, err := e.score(ctx, ids)
	if err != nil {
		err = startError(err)
		err.(*Error).Op = "score"
		return Scores{}, err
	}
	return out, nil
}

func (e *Engine) score(ctx context.Context, ids []uint32) (Scores, error) {
	var out Scores
	if ctx.Err() != nil {
		return out, context.Cause(ctx)
	}
	ids, err := e.prompt(&Request{Prompt: slices.Clone(ids)})
	if err != nil {
		return out, err
	}
	if len(ids) > e.info.Context {
		return out, fmt.Errorf("%w: %d tokens, at most %d", ErrContextLength, len(ids), e.info.Context)
	}
	var tmp sample.Scratch
	sink := scoreSink{make(chan sched.Outcome, 1)}
	t := &sched.Task{Context: ctx, Prompt: ids, Sink: sink, Each: func(i int, logits []float32) error {
		if i+1 < len(ids) {
			lp, err := sample.LogProbOf(logits, ids[i+1])
			out.LogProbs = append(out.LogProbs, lp)
			return err
		}
		out.Logits = slices.Clone(logits)
		for _, t := range sample.TopLogProbs(logits, sample.MaxTop, &tmp) {
			out.Top = append(out.Top, TokenLogProb{t.ID, t.LogProb})
		}
		return nil
	}}
	unhook := context.AfterFunc(ctx, func() { e.sched.Cancel(t, context.Cause(ctx)) })
	defer unhook()
	if err := e.sched.Submit(t); err != nil {
		return out, submitError(err)
	}
	switch o := <-sink.done; o.Reason {
	case sched.Cancelled:
		return out, cause(o.Err)
	case sched.Failed:
		return out, backendError(o.Err)
	}
	return out, nil
}
