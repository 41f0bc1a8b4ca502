package regress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Measure runs one side's benchmarks once and returns what it measured.
type Measure func(ctx context.Context) ([]Sample, error)

// Plan is an interleaved comparison. Old and New are required.
type Plan struct {
	Old, New Measure
	// Blocks is how often each side is measured. Default 12. In every block the order is random.
	Blocks int
	// Warmup is how often each side runs before the first block, unmeasured. Default 1; negative none.
	Warmup int
	// Budget bounds the time: no block begins that would exceed it, going by the longest so far. Default 10 minutes.
	Budget time.Duration
	// NoControl leaves out the second measurement of Old in every block, against which noise is told.
	NoControl bool
	// NoConfirm leaves out the second run, which repeats the blocks if the first finds a regression: only a regression in
	// both counts.
	NoConfirm bool
	// Seed makes the order of measurements repeatable.
	Seed uint64
	// Options judge the result; Paired and Control are set by Run.
	Options Options
	// Now is the clock; nil is the system's. Progress, if given, is called before every measurement.
	Now      func() time.Time
	Progress func(block, of int)
}

// Job is what a Run measured and found.
type Job struct {
	Report  Report   `json:"report"`
	Old     []Sample `json:"old_samples"` // i-th values belong to the i-th block
	New     []Sample `json:"new_samples"`
	Control []Sample `json:"control_samples,omitempty"`
	// Incomplete are series that some measurement lacked, which are not judged.
	Incomplete []string      `json:"incomplete,omitempty"`
	Blocks     int           `json:"blocks"`
	Elapsed    time.Duration `json:"elapsed"`
	// Cut says that the budget ended the run before all blocks.
	Cut bool `json:"cut,omitempty"`
}

func (p Plan) withDefaults() Plan {
	p.Blocks = cmp.Or(p.Blocks, 12)
	p.Warmup = cmp.Or(p.Warmup, 1)
	p.Budget = cmp.Or(p.Budget, 10*time.Minute)
	if p.Now == nil {
		p.Now = time.Now
	}
	return p
}

// Validate reports the first field that is out of range. Zero fields other than Old and New are valid.
func (p Plan) Validate() error {
	p = p.withDefaults()
	switch {
	case p.Old == nil:
		return fmt.Errorf("%w: Old is nil", ErrOptions)
	case p.New == nil:
		return fmt.Errorf("%w: New is nil", ErrOptions)
	case p.Blocks < 2:
		return fmt.Errorf("%w: Blocks = %d", ErrOptions, p.Blocks)
	case p.Budget < 0:
		return fmt.Errorf("%w: Budget = %s", ErrOptions, p.Budget)
	}
	return p.Options.Validate()
}

// Run measures both sides in turn and compares them block by block, so that what changes while it runs, such as the
// machine's clock or a neighbour, meets both sides alike.
func Run(ctx context.Context, p Plan) (Job, error) {
	if err := p.Validate(); err != nil {
		return Job{}, err
	}
	p = p.withDefaults()
	start := p.Now()
	for range p.Warmup {
		for _, m := range []Measure{p.Old, p.New} {
			if _, err := m(ctx); err != nil {
				return Job{}, fmt.Errorf("regress: warm-up: %w", err)
			}
		}
	}
	rng := rand.New(rand.NewPCG(p.Seed, 0x2545f4914f6cdd1d))
	job, err := p.blocks(ctx, rng, start)
	if err != nil {
		return Job{}, err
	}
	if !p.NoConfirm && len(job.Report.Regressions()) > 0 {
		again, err := p.blocks(ctx, rng, start)
		if err != nil && !errors.Is(err, errBudget) {
			return Job{}, err
		}
		job.confirm(again, err != nil, p.Options.withDefaults())
	}
	job.Elapsed = p.Now().Sub(start)
	return job, nil
}

// errBudget says that not even two blocks fit.
var errBudget = errors.New("regress: the budget ended before two blocks were measured")

func (p Plan) blocks(ctx context.Context, rng *rand.Rand, start time.Time) (Job, error) {
	sides := []Measure{p.Old, p.New}
	if !p.NoControl {
		sides = append(sides, p.Old)
	}
	kept := make([]blocks, len(sides))
	var job Job
	longest := time.Duration(0)
	for b := range p.Blocks {
		began := p.Now()
		if began.Add(longest).Sub(start) > p.Budget {
			job.Cut = true
			break
		}
		for _, i := range rng.Perm(len(sides)) {
			if p.Progress != nil {
				p.Progress(b+1, p.Blocks)
			}
			list, err := sides[i](ctx)
			if err != nil {
				return Job{}, fmt.Errorf("regress: block %d: %w", b+1, err)
			}
			kept[i].add(b, list)
		}
		job.Blocks++
		longest = max(longest, p.Now().Sub(began))
	}
	if job.Blocks < 2 {
		return Job{}, errBudget
	}
	job.Old, job.New = kept[0].complete(job.Blocks), kept[1].complete(job.Blocks)
	for i := range kept {
		for _, name := range kept[i].incomplete(job.Blocks) {
			if !slices.Contains(job.Incomplete, name) {
				job.Incomplete = append(job.Incomplete, name)
			}
		}
	}
	o := p.Options
	o.Paired = true
	if !p.NoControl {
		job.Control = kept[2].complete(job.Blocks)
		o.Control = job.Control
	}
	var err error
	job.Report, err = Compare(job.Old, job.New, o)
	return job, err
}

// confirm keeps the regressions that the second run shows too, each at level Alpha by itself.
func (j *Job) confirm(again Job, missing bool, o Options) {
	for i := range j.Report.Results {
		r := &j.Report.Results[i]
		if r.Verdict != Regression {
			continue
		}
		if missing {
			r.Reason += "; no time was left to confirm it"
			continue
		}
		for _, s := range again.Report.Results {
			if s.Name != r.Name || s.Unit != r.Unit {
				continue
			}
			s.Adjusted = s.Effect.P
			judge(&s, o)
			if s.Verdict == Regression {
				r.Confirmed = true
				r.Reason += fmt.Sprintf("; confirmed by a second run: %+.2f %%", 100*(s.Effect.Ratio-1))
			} else {
				r.Verdict, r.Reason = Noise, fmt.Sprintf("%s at first, then %+.2f %% with p = %.2g in a second run", r.Reason, 100*(s.Effect.Ratio-1), s.Effect.P)
			}
		}
	}
	j.Cut = j.Cut || missing || again.Cut
	j.Blocks += again.Blocks
}

// blocks collects one value per series and block: the median of what the block printed.
type blocks struct {
	set  samples
	seen map[[2]string]int // values so far
}

func (k *blocks) add(b int, list []Sample) {
	if k.seen == nil {
		k.seen = map[[2]string]int{}
	}
	for _, s := range list {
		key := [2]string{s.Name, s.Unit}
		if k.seen[key] != b || len(s.Values) == 0 {
			k.seen[key] = -1 // missing in an earlier block
			continue
		}
		k.seen[key]++
		k.set.add(s.Name, s.Unit, s.Higher, median(s.Values))
	}
}

// complete returns the series that every block measured.
func (k *blocks) complete(n int) []Sample {
	var out []Sample
	for _, s := range k.set.list {
		if k.seen[[2]string{s.Name, s.Unit}] == n {
			out = append(out, s)
		}
	}
	return out
}

// incomplete names the series that some blocks measured.
func (k *blocks) incomplete(n int) []string {
	var out []string
	for key, seen := range k.seen {
		if seen != n {
			out = append(out, strings.TrimSpace(key[0]+" "+key[1]))
		}
	}
	slices.Sort(out)
	return out
}
