// Package abtest runs experiments: it assigns units (users, sessions, requests) to variants, keeps the log of who saw
// what, and judges metrics, either once at a sample size planned beforehand or at any time.
//
// An Experiment assigns by hash: no state, the same answer on every machine, and a variant added later takes units from
// the others in proportion and moves no other unit. A Log collects exposures and observations concurrently; its Data go
// out and come back as JSON lines or CSV. Analyze is a pure function of Data: it compares every variant with the
// control, corrects for the number of comparisons, tests for a sample ratio mismatch, and reports what makes a verdict
// doubtful as Warning values. Plan answers how many units a comparison needs.
//
//	exp := abtest.Experiment{Name: "sampler", Variants: []abtest.Variant{{Name: "greedy"}, {Name: "warm"}}}
//	variant, _, err := exp.Assign(user)
//
// Fixed-horizon verdicts hold at one look. Sequential verdicts may be looked at after every unit: the chance that a
// variant without effect is ever called better or worse is at most Alpha. How is said at each Method. docs/abtest.md has
// the formulas and the simulated operating characteristics.
//
// Experiment, Metric, Plan and the functions are values without state and may be used by many goroutines at once; so may
// a Log. Nothing here starts goroutines, reads clocks that were not given, or does I/O beyond the readers and writers
// passed in.
package abtest

import (
	"errors"
	"fmt"
)

// ErrInput is wrapped by every error about an argument or a file that cannot be used. The errors below it say what is
// wrong, their text names the field, or the line, the unit and the metric.
var (
	ErrInput     = errors.New("abtest: invalid input")
	ErrEmpty     = fmt.Errorf("%w: no rows", ErrInput)
	ErrFormat    = fmt.Errorf("%w: format", ErrInput)
	ErrVariant   = fmt.Errorf("%w: unknown variant", ErrInput)
	ErrDuplicate = fmt.Errorf("%w: duplicate exposure", ErrInput)
	ErrValue     = fmt.Errorf("%w: value", ErrInput)
	ErrTooFew    = fmt.Errorf("%w: too few units", ErrInput)
)

func invalid(format string, args ...any) error { return wrap(ErrInput, format, args...) }

func wrap(sentinel error, format string, args ...any) error {
	return fmt.Errorf("%w: %s", sentinel, fmt.Sprintf(format, args...))
}
