package main

import (
	"context"
	"fmt"
	"io"
)

// ablation compares everything on with one feature off: medians over the repetitions.
type ablation struct {
	Feature     string      `json:"feature"`
	Baseline    float64     `json:"baseline_tok_s"`  // without the feature
	With        float64     `json:"feature_tok_s"`   // everything on
	Improvement float64     `json:"improvement_pct"` // of tokens per second
	First       pair        `json:"ttft_first_ms_p50"`
	Later       pair        `json:"ttft_later_ms_p50"`
	HitRate     pair        `json:"hit_rate"`
	Reps        [][]float64 `json:"reps"` // per repetition: tok/s without and with
}

type pair struct {
	Baseline float64 `json:"baseline"`
	With     float64 `json:"feature"`
}

var ablations = []struct {
	name string
	off  without
}{
	{"parallel encode", without{serialEncode: true}},
	{"pool", without{noPool: true}},
	{"prefix sharing", without{noSharing: true}},
	{"batching", without{noBatching: true}},
	{"speculation", without{noDrafts: true}},
	{"all of them", without{true, true, true, true, true}},
}

// ablate runs the chats with everything on and with each feature off, in turn, reps times.
func (r *chatRunner) ablate(ctx context.Context, reps int) ([]ablation, error) {
	r.whole = nil
	all := make([][]chatResult, len(ablations))
	for range reps {
		res, err := r.run(ctx, without{})
		if err != nil {
			return nil, err
		}
		r.whole = append(r.whole, res)
		for i, a := range ablations {
			if res, err = r.run(ctx, a.off); err != nil {
				return nil, fmt.Errorf("without %s: %w", a.name, err)
			}
			all[i] = append(all[i], res)
		}
	}
	var rows []ablation
	for i, a := range ablations {
		both := func(value func(chatResult) float64) pair {
			return pair{medianOf(all[i], value), medianOf(r.whole, value)}
		}
		rate := both(func(c chatResult) float64 { return c.Rate })
		row := ablation{Feature: a.name, Baseline: rate.Baseline, With: rate.With, Improvement: 100 * (rate.With/rate.Baseline - 1),
			First:   both(func(c chatResult) float64 { return c.First.P50 }),
			Later:   both(func(c chatResult) float64 { return c.Later.P50 }),
			HitRate: both(func(c chatResult) float64 { return c.HitRate })}
		for k := range reps {
			row.Reps = append(row.Reps, []float64{all[i][k].Rate, r.whole[k].Rate})
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func printAblation(w io.Writer, rows []ablation) error {
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintf(w, "%-18s%12s%12s%13s%22s%22s\n", "tok/s", "baseline", "+feature", "improvement", "first TTFT p50, ms", "later TTFT p50, ms")
	for _, r := range rows {
		_, err := fmt.Fprintf(w, "%-18s%12.1f%12.1f%+12.1f%%%22s%22s\n", r.Feature, r.Baseline, r.With, r.Improvement, r.First, r.Later)
		if err != nil {
			return err
		}
	}
	return nil
}

func (p pair) String() string { return fmt.Sprintf("%.0f → %.0f", p.Baseline, p.With) }
