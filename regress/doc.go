// Package regress tells whether a program has become slower, from benchmark results.
//
// Compare judges two sets of measurements, Run makes them interleaved in one job, with a control that measures the old
// side against itself, and Detect finds where a history of measurements changed, as often as it is asked.
//
// Each promises a rate of false alarms that holds for all series together: Options.Alpha for one comparison,
// HistoryOptions.Alpha for every HistoryOptions.Commits commits of continuous use. What differs by less than MinEffect
// is no finding however certain it is, and what the control shows as well is called noise.
//
// Inputs are Go's benchmark format (read and written by golang.org/x/perf/benchfmt), the JSON of `krserve bench`, and
// histories as CSV, JSON lines or Go benchmark files with commit lines. The package prints nothing; regress/report
// renders findings.
package regress

import "errors"

// Sentinel errors, to be tested with errors.Is.
var (
	// ErrInput is returned for measurements that cannot be read; the text names file and line.
	ErrInput = errors.New("regress: invalid input")
	// ErrOptions is returned for an option out of range; the text names the field.
	ErrOptions = errors.New("regress: invalid options")
)
