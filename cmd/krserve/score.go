package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/krserve/krserve"
)

// A score line answers in this shape.
type score struct {
	IDs      []uint32     `json:"ids"`
	LogProbs []float32    `json:"logprobs"` // of ids[i+1] after ids[..i]
	Top      [][2]topItem `json:"top"`      // the 20 best next tokens after the last id
	Logits   []float32    `json:"logits_first64"`
	Greedy   []uint32     `json:"greedy"`
}

// topItem is an id or a log-probability: JSON arrays of two kinds of numbers.
type topItem any

func runScore(ctx context.Context, c *call) error {
	m := modelFlags(c)
	if err := c.parseOnly("score -model M [-backend B] [-kv f16|q8_0|q4] <lines >lines"); err != nil {
		return err
	}
	if m.model == "" {
		return usage("-model is missing")
	}
	e, err := m.open(ctx, c)
	if err != nil {
		return err
	}
	defer e.Close()
	return jsonLines(c.stdin, c.stdout, func(line []byte) (any, error) { return scoreLine(ctx, e, line) })
}

func scoreLine(ctx context.Context, e *krserve.Engine, line []byte) (any, error) {
	var in struct {
		IDs    *[]uint32 `json:"ids"`
		Text   *string   `json:"text"`
		Greedy int       `json:"greedy"`
	}
	if err := object(line, &in); err != nil {
		return nil, err
	}
	var ids []uint32
	switch {
	case (in.IDs == nil) == (in.Text == nil):
		return nil, errors.New(`want either "ids" or "text"`)
	case in.IDs != nil:
		ids = *in.IDs
	default:
		ids = e.Tokenizer().Encode(*in.Text)
	}
	if in.Greedy < 0 {
		return nil, fmt.Errorf("greedy is %d", in.Greedy)
	}
	s, err := e.Score(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := score{IDs: ids, LogProbs: s.LogProbs, Logits: s.Logits[:min(64, len(s.Logits))], Greedy: []uint32{}}
	for _, t := range s.Top {
		out.Top = append(out.Top, [2]topItem{t.ID, t.LogProb})
	}
	if out.LogProbs == nil {
		out.LogProbs = []float32{}
	}
	if in.Greedy > 0 {
		r, err := e.Generate(ctx, krserve.Request{Prompt: ids, MaxTokens: in.Greedy, IgnoreEOS: true})
		if err != nil {
			return nil, err
		}
		for _, t := range r.Tokens {
			out.Greedy = append(out.Greedy, t.ID)
		}
	}
	return out, nil
}
